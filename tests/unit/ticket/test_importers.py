from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from accelsim.errors import MappingError, TicketError
from accelsim.storage import get_format, plan_layers
from accelsim.storage.default import default_format
from accelsim.ticket.file import read_ticket, write_ticket
from accelsim.ticket.importers import ImportOptions, import_checkpoint
from accelsim.ticket.inspect import inspect
from accelsim.ticket.pack import unpack_frozen, unpack_mask, unpack_weights
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.zoo import build_network
from accelsim.trace import trace_ticket

State = dict[str, torch.Tensor]


def frozen_layer(state: State, name: str, shape: tuple[int, ...]) -> None:
    """Write one layer as the authors' state dicts have it."""
    generator = torch.Generator().manual_seed(len(state) + 1)
    draw = torch.rand(shape, generator=generator)
    frozen = torch.where(draw < 0.5, -1.0, torch.where(draw < 0.7, 1.0, 0.0))
    score = torch.rand(shape, generator=generator)
    mask = ((score > 0.66) & (frozen == 0)) | (frozen == 1)
    state[f"{name}.weight"] = torch.sign(torch.rand(shape, generator=generator) - 0.5) * 0.125
    state[f"{name}.score"] = score
    state[f"{name}.mask"] = mask.float()
    state[f"{name}.ternary_frozen_mask"] = frozen
    state[f"{name}.local_sparsity"] = 1 - mask.float().mean()
    state[f"{name}.global_sparsity"] = torch.tensor([0.7])
    state[f"{name}.scale"] = torch.tensor([2.0])
    state[f"{name}.kthvalue"] = torch.tensor([0.66])


def norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.running_mean"] = torch.linspace(-1, 1, channels)
    state[f"{name}.running_var"] = torch.linspace(0.5, 2, channels)
    state[f"{name}.num_batches_tracked"] = torch.tensor(3)


def frozen_conv6(width: int = 4) -> State:
    """Conv6 of the authors: torch.nn.Sequential with ReLU and pool inside, no normalisation."""
    state: State = {}
    channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width]
    for index, place in enumerate((0, 2, 5, 7, 10, 12)):
        frozen_layer(state, f"convs.{place}", (channels[index + 1], channels[index], 3, 3))
    frozen_layer(state, "linears.0", (4 * width, 4 * width * 16))
    frozen_layer(state, "linears.2", (4 * width, 4 * width))
    frozen_layer(state, "linears.4", (10, 4 * width))
    return state


def frozen_resnet18(width: float = 0.125) -> State:
    state: State = {}
    graph = build_network("resnet18", width_factor=width)
    shapes = weight_shapes(graph)
    for node in graph.nodes:
        if node.name in shapes:
            frozen_layer(state, node.name, shapes[node.name])
        elif node.kind == "norm":
            norm(state, node.name, node.out_shape[0])
    return state


@pytest.fixture
def save(tmp_path: Path):
    def write(content: object, **options: object) -> str:
        path = tmp_path / "checkpoint.pt"
        torch.save(content, path, **options)
        return str(path)

    return write


def test_partially_frozen_resnet(save, tmp_path: Path) -> None:
    state = frozen_resnet18()
    found = import_checkpoint(save({f"module.{name}": value for name, value in state.items()}))
    ticket = found.ticket
    assert (found.kind, ticket.graph.name, ticket.provenance, ticket.regenerable) == (
        "partially_frozen",
        "resnet18",
        "imported",
        False,
    )
    write_ticket(tmp_path / "ticket.pt", ticket)
    for layer in read_ticket(tmp_path / "ticket.pt").layers:
        assert np.array_equal(unpack_mask(layer), state[f"{layer.name}.mask"].numpy() == 1)
        assert np.array_equal(unpack_frozen(layer), state[f"{layer.name}.ternary_frozen_mask"].numpy())
        expected = np.sign(state[f"{layer.name}.weight"].numpy()) * state[f"{layer.name}.mask"].numpy()
        assert np.array_equal(unpack_weights(layer), expected)
    assert trace_ticket(ticket).layers[0].weights.source is None


def test_batch_normalisation_and_scaling_fold_into_the_scales(save) -> None:
    layer = import_checkpoint(save(frozen_resnet18())).ticket.layers[0]
    variance = np.linspace(0.5, 2, layer.shape[0])
    expected = 0.125 * 2.0 / np.sqrt(variance + 1e-5)
    assert np.allclose(layer.scale_K, expected, rtol=1e-3)
    assert np.allclose(
        layer.offset_K, -np.linspace(-1, 1, layer.shape[0]) / np.sqrt(variance + 1e-5), rtol=2e-3, atol=1e-3
    )


def test_partially_frozen_conv6_has_sequential_names_and_no_norms(save) -> None:
    ticket = import_checkpoint(save(frozen_conv6()), ImportOptions(network="conv6")).ticket
    assert [layer.name for layer in ticket.layers][:3] == ["convs.0", "convs.2", "convs.5"]
    assert ticket.graph.nodes[0].out_shape == (3, 32, 32)
    assert all(node.kind != "norm" for node in ticket.graph.nodes)
    totals = inspect(ticket).totals
    assert totals.stored_bits.mask == totals.num_free


def test_normalisation_between_or_beside_the_convolutions_is_found(save) -> None:
    state = frozen_conv6()
    for index, name in enumerate(("convs.0", "convs.2", "convs.5", "convs.7", "convs.10", "convs.12")):
        norm(state, f"bns.{index}", state[f"{name}.weight"].shape[0])
    graph = import_checkpoint(save(state)).ticket.graph
    assert graph.node("bns.5").inputs == ("convs.12",)


def test_gin_takes_its_edges_from_the_checkpoint(save) -> None:
    state: State = {"adj_mask2_fixed": torch.ones(500, 1)}
    for index, shape in enumerate(((12, 128), (12, 12), (12, 12), (5, 12))):
        state[f"ginlayers.{index}.eps"] = torch.zeros(1)
        frozen_layer(state, f"ginlayers.{index}.linear", shape)
    frozen_layer(state, "linears_prediction", (5, 12))
    graph = import_checkpoint(save(state)).ticket.graph
    assert graph.node("ginlayers.3.neigh").num_edges == 500
    assert graph.nodes[-1].inputs == ("linears_prediction", "relus.3")


def test_edge_popup_keeps_the_top_scores(save) -> None:
    rng = torch.Generator().manual_seed(1)
    state = {}
    graph = build_network("resnet18", width_factor=0.125)
    for name, shape in weight_shapes(graph).items():
        full = (*shape, 1, 1) if len(shape) == 2 else shape
        key = name.replace("linear", "fc")
        state[f"module.{key}.weight"] = torch.sign(torch.rand(full, generator=rng) - 0.5)
        state[f"module.{key}.scores"] = torch.randn(full, generator=rng)
    path = save({"epoch": 3, "arch": "cResNet18", "state_dict": state, "best_acc1": 91.0})
    found = import_checkpoint(path, ImportOptions(network="resnet18", sparsity=0.6))
    assert found.kind == "edge_popup"
    layer = found.ticket.layers[1]
    scores = state["module.layer1.0.conv1.scores"].abs().numpy()
    assert np.array_equal(unpack_mask(layer), scores >= np.sort(scores.reshape(-1))[int(0.6 * scores.size)])
    assert found.ticket.layers[-1].name == "fc"
    assert "20 normalisations such as 'bn1' have no running statistics" in found.notes[-1]
    with pytest.raises(TicketError, match="state the fraction of zeros with --sparsity"):
        import_checkpoint(path)


def test_plain_networks_may_be_dense_pruned_or_n_to_m(save) -> None:
    shapes = weight_shapes(build_network("vgg16", width_factor=0.0625, input_shape=(3, 32, 32), num_classes=10))
    rng = torch.Generator().manual_seed(1)
    state = {f"{name}.weight": torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    options = ImportOptions(network="vgg16", width_factor=0.0625, input_shape=(3, 32, 32))
    dense = import_checkpoint(save(state), options)
    assert (dense.kind, inspect(dense.ticket).totals.sparsity) == ("plain", 0.0)
    for value in state.values():
        if value.shape[1] % 4 == 0:
            value[:, 1::4] = 0
            value[:, 2::4] = 0
    found = import_checkpoint(save(state), options)
    assert "2:4 pattern" in " ".join(found.notes)
    assert default_format(trace_ticket(found.ticket)) == "nm-2:4-int8"
    state["classifier.0.weight"][0] = 1.0
    assert default_format(trace_ticket(import_checkpoint(save(state), options).ticket)) == "bitmap-int8"


def test_trained_weights_are_no_supermask(save, tmp_path: Path) -> None:
    state = {key: value for key, value in frozen_conv6().items() if key.endswith(".weight")}
    write_ticket(tmp_path / "ticket.pt", import_checkpoint(save(state)).ticket)
    trace = trace_ticket(read_ticket(tmp_path / "ticket.pt"))
    assert default_format(trace) == "dense-int8"
    for name in ("slt", "slt-entropy", "multicoat", "folded"):
        with pytest.raises(MappingError, match="weights are trained values; give a ticket"):
            plan_layers(get_format(name), trace.layers)


def test_what_edge_popup_leaves_dense_is_stored_as_int8(save) -> None:
    state = {key: value for key, value in frozen_conv6().items() if key.endswith(".weight")}
    for key in list(state):
        if not key.startswith("linears.4"):
            state[key.replace("weight", "scores")] = torch.rand(state[key].shape)
    found = import_checkpoint(save(state), ImportOptions(sparsity=0.5))
    trace = trace_ticket(found.ticket)
    assert default_format(trace) == "slt"
    *_, before, last = [plan for plan in plan_layers(get_format("slt"), trace.layers) if plan is not None]
    assert (last.stored_bits.weight, last.stored_bits.mask, last.arithmetic) == (8 * 160, 0, "int8")
    assert (before.stored_bits.weight, before.stored_bits.mask) == (0, 256)
    assert any("'linears.4' have no scores" in note for note in found.notes)


def small_resnet(blocks: tuple[int, ...], planes: tuple[int, ...], stem: int) -> State:
    """Return an edge-popup file of a CIFAR ResNet as multi-prize tickets have it: any number of stages, any widths."""
    shapes = {"conv1": (stem, 3, 3, 3)}
    width = stem
    for stage, (num_blocks, channels) in enumerate(zip(blocks, planes, strict=True), start=1):
        for block in range(num_blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1"] = (channels, width, 3, 3)
            shapes[f"{name}.conv2"] = (channels, channels, 3, 3)
            if block == 0 and stage > 1:
                shapes[f"{name}.shortcut.0"] = (channels, width, 1, 1)
            width = channels
    shapes["fc"] = (10, width, 1, 1)
    state = {f"module.{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    return state | {f"module.{name}.scores": torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("blocks", "planes", "stem", "name"),
    [
        ((3, 3, 3), (16, 32, 64), 16, "resnet20"),
        ((5, 5, 5), (16, 32, 64), 16, "resnet32"),
        ((2, 2, 2, 2), (8, 24, 48, 96), 8, "wide_resnet18"),
    ],
)
def test_multi_prize_resnets_have_the_stages_of_their_file(save, blocks, planes, stem: int, name: str) -> None:
    path = save({"arch": "cResNet_BinAct", "state_dict": small_resnet(blocks, planes, stem)})
    found = import_checkpoint(path, ImportOptions(sparsity=0.5))
    graph = found.ticket.graph
    assert graph.name == name
    assert graph.node(f"layer{len(blocks)}.0.conv1").out_shape[0] == planes[-1]
    assert {node.function for node in graph.nodes if node.kind == "activation"} == {"sign"}
    assert any("signs" in note for note in found.notes)
    if stem == 16:
        with pytest.raises(TicketError, match="state --width-factor 1$"):
            import_checkpoint(path, ImportOptions(sparsity=0.5, width_factor=2))


def test_files_of_torch_pruning_are_read(save) -> None:
    state = {key: value for key, value in frozen_conv6().items() if key.endswith(".weight")}
    module = torch.nn.Conv2d(4, 4, 3, bias=False)
    prune.random_unstructured(module, "weight", 0.5)
    layers = {}
    for key, value in state.items():
        pruned = {f"convs.2.{name}": tensor for name, tensor in module.state_dict().items()}
        layers |= pruned if key == "convs.2.weight" else {key: value}
    layer = import_checkpoint(save(layers)).ticket.layer("convs.2")
    assert np.array_equal(unpack_mask(layer), module.weight_mask.numpy() == 1)
    layers["convs.2.weight_mask"] = torch.ones(3)
    with pytest.raises(TicketError, match=r"convs\.2\.weight_mask: shape"):
        import_checkpoint(save(layers))


def test_numpy_scalars_beside_the_tensors_are_named(save) -> None:
    path = save({"state_dict": frozen_conv6(), "best_acc1": np.float64(0.9)})
    with pytest.raises(TicketError, match=r"holds NumPy values .*save the state_dict alone"):
        import_checkpoint(path)


def test_old_torch_files_are_read(save) -> None:
    path = save(frozen_conv6(), _use_new_zipfile_serialization=False)
    assert import_checkpoint(path).ticket.graph.name == "conv6"


def test_missing_masks_are_rebuilt_from_the_scores(save) -> None:
    state = frozen_conv6()
    mask = state["convs.2.mask"].numpy() == 1
    state = {key: value for key, value in state.items() if not key.endswith(".mask")}
    assert np.array_equal(unpack_mask(import_checkpoint(save(state)).ticket.layer("convs.2")), mask)


def contradict(state: State) -> None:
    mask = state["convs.5.mask"]
    mask[state["convs.5.ternary_frozen_mask"] == -1] = 1


def half(state: State) -> None:
    state["convs.2.mask"] = state["convs.2.mask"] * 0.5


def misshape(state: State) -> None:
    state["linears.2.mask"] = state["linears.2.mask"][:-1]


def cut_channels(state: State) -> None:
    for part in ("weight", "score", "mask", "ternary_frozen_mask"):
        state[f"convs.7.{part}"] = state[f"convs.7.{part}"][:, :-1]


def no_map(state: State) -> None:
    del state["convs.7.ternary_frozen_mask"]


def not_finite(state: State) -> None:
    state["convs.0.weight"][0, 0, 0, 0] = float("nan")


def put(**values: object):
    """Return a damage that overwrites tensors of the last two layers; __ stands for a dot, None removes."""

    def damage(state: State) -> None:
        for key, value in values.items():
            name = key.replace("__", ".")
            del state[name]
            if value is not None:
                state[name] = torch.as_tensor(value)

    return damage


def flip(state: State) -> None:
    free = state["convs.7.ternary_frozen_mask"] == 0
    state["convs.7.mask"][free] = 1 - state["convs.7.mask"][free]


def own_thresholds(state: State) -> None:
    state["convs.0.kthvalue"] = torch.tensor([0.6599])
    state["linears.0.local_sparsity"] = torch.tensor([0.3])


def orphan(state: State) -> None:
    del state["convs.7.weight"]


def bias(state: State) -> None:
    state["linears.2.bias"] = torch.zeros(3)


def half_norms(state: State) -> None:
    layers = dict(state)
    state.clear()
    for key, value in layers.items():
        if key == "convs.2.weight":
            norm(state, "convs.1", 4)
        state[key] = value


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (flip, r"convs\.7\.mask: contradicts \|convs\.7\.score\| > convs\.7\.kthvalue at \d+ of \d+ free"),
        (own_thresholds, r"linears\.0\.local_sparsity: 0\.3 is not the 0\.6\d+ of its mask"),
        (put(linears__0__local_sparsity=[1.5]), r"linears\.0\.local_sparsity: 1\.5 is not from 0 to 1"),
        (put(linears__0__global_sparsity=[-0.1]), r"linears\.0\.global_sparsity: -0\.1 is not from 0 to 1"),
        (put(linears__0__kthvalue=[float("nan")]), r"linears\.0\.kthvalue: not a number"),
        (put(linears__0__score=torch.zeros(3)), r"linears\.0\.score: shape \(3,\) is not"),
        (
            put(linears__4__score=torch.full((10, 16), float("nan"))),
            r"linears\.4\.score: has values that are not finite",
        ),
        (put(linears__0__global_sparsity=[0.5]), r"linears\.0\.global_sparsity: 0\.5 is not the"),
        (put(linears__0__kthvalue=[1.0, 2.0]), r"linears\.0\.kthvalue: 2 values"),
        (put(linears__0__ternary_frozen_mask=torch.full((16, 256), 2.0)), "has values besides -1, 0 and 1"),
        (put(linears__0__scale=[-2.0]), r"linears\.0\.scale: -2 is not above 0"),
        (put(linears__0__scale=[float("nan")]), r"linears\.0\.scale: not a number"),
        (put(linears__0__scale=[1.0, 2.0]), r"linears\.0\.scale: 2 values where a layer has one"),
        (put(linears__0__scale=None), r"linears\.0\.scale: missing, though layer 'convs\.0' has one"),
        (put(linears__0__mask=None), r"linears\.0\.mask: missing, though layer 'convs\.0' has one"),
        (orphan, r"convs\.7\.weight: missing"),
        (bias, r"linears\.2\.bias: 3 values for 16 channels"),
        (half_norms, r"convs\.2: no normalisation follows it, though one follows other"),
        (contradict, r"convs\.5\.mask: contradicts convs\.5\.ternary_frozen_mask at \d+ weights"),
        (half, r"convs\.2\.mask: has values besides 0 and 1"),
        (misshape, r"linears\.2\.mask: shape"),
        (cut_channels, r"convs\.7\.weight: shape \(8, 7, 3, 3\) is not \(8, 8, 3, 3\)"),
        (no_map, r"convs\.7\.ternary_frozen_mask: missing"),
        (not_finite, r"convs\.0\.weight: has values that are not finite"),
    ],
)
def test_inconsistent_layers_are_refused_by_name(save, damage, match: str) -> None:
    state = frozen_conv6()
    damage(state)
    path = save(state)
    with pytest.raises(TicketError, match=match) as caught:
        import_checkpoint(path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_layers_are_refused_by_name(save) -> None:
    state = {name: value for name, value in frozen_resnet18().items() if not name.startswith("layer3.1.conv2.")}
    with pytest.raises(TicketError, match=r"layer 'layer3\.1\.conv2' of resnet18 is missing"):
        import_checkpoint(save(state))
    state = {name: value for name, value in frozen_resnet18().items() if not name.startswith("layer3.1.")}
    with pytest.raises(TicketError, match=r"stages of \[2, 2, 1, 2\] blocks are those of no ResNet"):
        import_checkpoint(save(state))
    state = {name: value for name, value in frozen_resnet18().items() if not name.startswith("layer4.")}
    with pytest.raises(TicketError, match=r"'layer4\.0\.conv1' is missing: 'linear' takes 64 channels"):
        import_checkpoint(save(state))
    for missing in ("convs.7", "linears.4"):
        state = {name: value for name, value in frozen_conv6().items() if not name.startswith(f"{missing}.")}
        with pytest.raises(TicketError, match=f"layer '{missing}' is missing"):
            import_checkpoint(save(state))
    state = frozen_resnet18()
    frozen_layer(state, "extra", (4, 4))
    with pytest.raises(TicketError, match="layer 'extra' has no place in resnet18"):
        import_checkpoint(save(state))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (ImportOptions(network="resnet34"), "its layers are those of conv6, not resnet34"),
        (ImportOptions(network="conv66"), "'conv66' is unknown; did you mean conv6"),
        (ImportOptions(width_factor=0.5), "has 4 filters, width_factor 0.5 gives 32; state --width-factor 0.0625"),
        (ImportOptions(input_shape=(3, 64, 64)), r"linears\.0\.weight: shape"),
        (ImportOptions(sparsity=0.5), "--sparsity: the checkpoint has its own masks"),
        (ImportOptions(width_factor=0), "--width-factor: 0 is not above 0"),
        (ImportOptions(width_factor=-1), "--width-factor: -1 is not above 0"),
        (ImportOptions(width_factor=float("nan")), "--width-factor: nan is not above 0"),
    ],
)
def test_statements_against_the_checkpoint_are_refused(save, options: ImportOptions, match: str) -> None:
    with pytest.raises(TicketError, match=match):
        import_checkpoint(save(frozen_conv6()), options)


def test_real_files_may_have_infinite_thresholds_stale_bits_and_extra_tensors(save) -> None:
    state = frozen_conv6()
    state["convs.0.ternary_frozen_mask"][:] = -1.0
    state["convs.0.mask"][:] = 0.0
    state["convs.0.kthvalue"] = torch.tensor([-float("inf")])
    state["convs.0.scale"] = torch.tensor(float("inf"))
    state["convs.0.local_sparsity"] = torch.tensor(1.0)
    free = (state["linears.0.ternary_frozen_mask"] == 0).nonzero()[0]
    state["linears.0.mask"][tuple(free)] = 1 - state["linears.0.mask"][tuple(free)]
    state["linears.4.prune_rate"] = torch.tensor([0.5])
    state["odd.table"] = torch.zeros(3)
    notes = " ".join(import_checkpoint(save(state)).notes)
    assert "1 tensors belong to no layer and were left out: odd.table" in notes
    assert "1 mask bits are not those of the scores" in notes


def test_batch_normalisations_of_another_size_or_missing_are_refused(save) -> None:
    state = frozen_resnet18()
    norm(state, "layer2.0.bn1", 3)
    with pytest.raises(
        TicketError, match=r"layer2\.0\.bn1\.running_mean: 3 values for the 16 channels of 'layer2\.0\.conv1'"
    ):
        import_checkpoint(save(state))
    del state["layer2.0.bn1.running_mean"]
    with pytest.raises(TicketError, match=r"layer2\.0\.bn1\.running_mean: missing, though 'bn1' has one"):
        import_checkpoint(save(state))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (ImportOptions(network="resnet18-imagenet"), "its stem has 3x3 filters.*state --network resnet18$"),
        (ImportOptions(network="resnet18-cifar", width_factor=0.5), "state --width-factor 0.125"),
    ],
)
def test_another_stem_or_width_of_a_resnet_is_refused(save, options: ImportOptions, match: str) -> None:
    with pytest.raises(TicketError, match=match):
        import_checkpoint(save(frozen_resnet18()), options)


def test_files_without_a_network_are_refused(save) -> None:
    with pytest.raises(TicketError, match="holds no tensors"):
        import_checkpoint(save({"epoch": 3}))
    with pytest.raises(TicketError, match="no dictionary of tensors"):
        import_checkpoint(save([torch.zeros(3)]))
    with pytest.raises(TicketError, match="fit no known network"):
        import_checkpoint(save({"somewhere.weight": torch.ones(3, 3)}))


def test_inspection_counts_trained_values(save) -> None:
    state = {key: value for key, value in frozen_conv6().items() if key.endswith(".weight")}
    state["convs.0.weight"][0] = 0
    state["linears.0.weight"][:] = 0
    totals = inspect(import_checkpoint(save(state)).ticket)
    first, second = totals.layers[:2]
    assert (first.stored_bits.mask, first.stored_bits.weight) == (108, 8 * 81)
    assert (second.stored_bits.mask, second.stored_bits.weight, second.stored_bits.seed) == (144, 8 * 144, 0)
    assert totals.totals.stored_bits_total == sum(layer.stored_bits.total for layer in totals.layers)
    assert any("trained weights" in sentence for sentence in totals.assumed)
