"""The search: what moves, what is kept, what repeats, what is stored. Small networks, seconds."""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn import functional

from accelsim.errors import ConfigError, TicketError
from accelsim.prng import RandomSource, freezing_map, layer_weights, thresholds
from accelsim.slt import search as search_module
from accelsim.slt.checkpoint import read_checkpoint
from accelsim.slt.config import SearchConfig
from accelsim.slt.data import Digits, generate_blocks, load_data, load_digits
from accelsim.slt.export import TicketNetwork
from accelsim.slt.layers import EdgePopupLayer
from accelsim.slt.network import sign_of
from accelsim.slt.search import calibrate, epoch_steps, evaluate_ticket, run_epochs, search, start_search
from accelsim.slt.select import num_to_keep
from accelsim.ticket.digest import filter_digests
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import unpack_mask, unpack_weights

SMALL = SearchConfig(
    network="resnet18",
    width_factor=0.0625,
    prune_ratio=0.5,
    lock_ratio=0.2,
    num_epochs=2,
    batch_size=32,
    precision="float32",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Digits:
    whole = load_digits()
    train, test = torch.arange(0, 4000, 31), torch.arange(0, 1000, 9)
    return Digits(
        whole.train_images[train], whole.train_labels[train], whole.test_images[test], whole.test_labels[test]
    )


@pytest.fixture(scope="module")
def searched(digits) -> Ticket:
    return search(SMALL, data=digits, command="made by hand")


def _layer(prune: float = 0.5, lock: float = 0.2) -> EdgePopupLayer:
    prune_threshold, lock_threshold = thresholds(prune, lock, 16)
    source = RandomSource(seed=5, prune_threshold=prune_threshold, lock_threshold=lock_threshold)
    return EdgePopupLayer(source, (16, 8, 3, 3), np.random.default_rng(0))


def test_only_free_weights_have_scores_and_frozen_weights_never_move(digits):
    state = start_search(SMALL, digits)
    frozen = {name: freezing_map(layer.source, layer.shape) for name, layer in state.network.layers().items()}
    before = {name: layer.scores.detach().clone() for name, layer in state.network.layers().items()}
    for _ in epoch_steps(state, 0):
        pass
    for name, layer in state.network.layers().items():
        assert layer.scores.numel() == np.count_nonzero(frozen[name] == 0)
        assert not torch.equal(layer.scores, before[name])
        weight = layer().detach().numpy()
        sign = layer_weights(layer.source, layer.shape)
        assert not weight[frozen[name] == -1].any()
        locked = frozen[name] == 1
        assert np.array_equal(weight[locked], np.float32(layer.scale) * sign[locked])


@pytest.mark.parametrize("scope", ["layer", "network"])
def test_kept_fraction_is_exact(scope, digits):
    state = start_search(SMALL.model_copy(update={"prune_ratio": 0.4, "lock_ratio": 0.1}), digits)
    state.network.update_masks(0.7, scope)
    layers = state.network.layers().values()
    groups = [[layer] for layer in layers] if scope == "layer" else [list(layers)]
    for group in groups:
        total, free = sum(layer.num_weights for layer in group), sum(layer.num_free for layer in group)
        locked = sum(layer.num_locked for layer in group)
        # The smallest layers may lock more, or leave fewer, than the mask should keep.
        assert sum(layer.num_kept for layer in group) == min(max(num_to_keep(total, 0.7), locked), locked + free)


def test_gradient_passes_the_threshold_straight_through():
    layer = _layer()
    layer.kept = torch.from_numpy(np.random.default_rng(1).random(layer.num_free) < 0.3)
    layer.scale = 0.25
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(3))
    functional.conv2d(x, layer()).square().sum().backward()

    sign = torch.from_numpy(layer_weights(layer.source, layer.shape).astype(np.float32))
    dense = (torch.from_numpy(layer.mask()) * sign * 0.25).requires_grad_()
    functional.conv2d(x, dense).square().sum().backward()
    expected = (dense.grad * sign * 0.25).reshape(-1)[layer.free_index]
    torch.testing.assert_close(layer.scores.grad, expected)
    assert (layer.scores.grad[~layer.kept] != 0).any()  # dropped weights learn too


@pytest.mark.parametrize("rank", ["value", "magnitude"])
def test_a_step_along_the_gradient_ranks_wanted_weights_higher(rank):
    prune_threshold, lock_threshold = thresholds(0.5, 0.2, 16)
    source = RandomSource(seed=5, prune_threshold=prune_threshold, lock_threshold=lock_threshold)
    layer = EdgePopupLayer(source, (16, 8, 3, 3), np.random.default_rng(0), rank=rank)
    before = layer.ranks().copy()
    wanted = torch.randn(layer.shape, generator=torch.Generator().manual_seed(1))
    (layer() * -wanted).sum().backward()  # loss falls where a weight of the same sign as ``wanted`` is kept
    with torch.no_grad():
        layer.scores -= 1e-4 * layer.scores.grad
    rises = (wanted.flatten()[layer.free_index] * layer.free_values > 0).numpy()
    assert np.array_equal(layer.ranks() > before, rises)


@pytest.mark.parametrize("scope", ["layer", "network"])
def test_coats_are_nested_keep_the_same_fraction_and_are_stored(scope, digits):
    config = SMALL.model_copy(update={"coats": 3, "threshold_scope": scope, "num_epochs": 1})
    state = start_search(config, digits)
    run_epochs(state, Console(quiet=True))
    layers = state.network.layers()
    groups = [[layer] for layer in layers.values()] if scope == "layer" else [list(layers.values())]
    for group in groups:
        counts = [sum(int((layer.kept >= coat).sum()) for layer in group) for coat in (1, 2, 3)]
        assert counts[1:] == [num_to_keep(counts[0], 0.7), num_to_keep(counts[1], 0.7)]
    for layer in layers.values():
        better, worse = layer.ranks()[layer.kept == 2], layer.ranks()[layer.kept == 1]
        assert not better.size or not worse.size or better.min() >= worse.max()
    calibrate(state)
    stored = search_module.export_ticket(state.network, "raw")
    for part in stored.layers:
        layer = layers[part.name]
        expected = layer_weights(layer.source, layer.shape).astype(np.int32) * layer.coat_sums()
        assert np.array_equal(unpack_weights(part), expected)
        assert part.digest_payload == filter_digests(expected)
        assert layer.scale == pytest.approx(layer.base_scale / np.sqrt(np.mean(layer.coat_sums().astype(float) ** 2)))
    with torch.no_grad():
        searched = state.network(digits.test_images)
    torch.testing.assert_close(TicketNetwork(stored).run(digits.test_images), searched, rtol=0.02, atol=0.05)


def test_dynamic_scaling_follows_the_kept_fraction(digits):
    state = start_search(SMALL, digits)
    state.network.update_masks(0.7, "layer")
    state.network.update_scales("dynamic", 0.7)
    layer = state.network.layer("layer4.1.conv2")
    fan_in = 32 * 9
    assert layer.scale == pytest.approx((2 / fan_in / (layer.num_kept / layer.num_weights)) ** 0.5)


def test_same_seed_gives_the_same_ticket_and_another_seed_another(digits, searched):
    assert [layer.mask_payload for layer in search(SMALL, data=digits).layers] == [
        layer.mask_payload for layer in searched.layers
    ]
    other = search(SMALL.model_copy(update={"seed": 2, "num_epochs": 1}), data=digits)
    assert other.layers[5].source.seed != searched.layers[5].source.seed
    assert other.layers[5].mask_payload != searched.layers[5].mask_payload


def test_resumed_search_equals_the_uninterrupted_one(digits, searched, tmp_path, monkeypatch):
    config = SMALL.model_copy(update={"checkpoint_path": str(tmp_path / "state.pt")})

    def interrupted(state, epoch):
        for step, result in enumerate(epoch_steps(state, epoch)):
            if epoch == 1 and step == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(search_module, "epoch_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(config, data=digits)
    monkeypatch.undo()
    assert read_checkpoint(str(tmp_path / "state.pt")).num_epochs_done == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]

    resumed = search(config, data=digits, resume=True)
    for before, after in zip(searched.layers, resumed.layers, strict=True):
        assert before.mask_payload == after.mask_payload
        assert np.array_equal(before.offset_K, after.offset_K)
    assert resumed.accuracy == searched.accuracy


def test_stored_ticket_is_the_searched_network_bit_for_bit(digits):
    config = SMALL.model_copy(update={"codec": "entropy"})
    state = start_search(config, digits)
    run_epochs(state, Console(quiet=True))
    calibrate(state)
    ticket = search_module.export_ticket(state.network, config.codec)
    for stored in ticket.layers:
        layer = state.network.layer(stored.name)
        assert np.array_equal(unpack_mask(stored), layer.mask())
        searched = layer().detach().numpy() / np.float32(layer.scale)
        assert np.array_equal(unpack_weights(stored), np.rint(searched))
    with torch.no_grad():
        searched = state.network(digits.test_images)
    # float16 scales are all that differs: 2^-11 relative each, over some twenty layers in a row.
    torch.testing.assert_close(TicketNetwork(ticket).run(digits.test_images), searched, rtol=0.02, atol=0.02)


def test_ticket_carries_measured_accuracy_and_densities(digits, searched):
    ticket = searched
    assert ticket.provenance == "searched"
    assert ticket.command == "made by hand"
    scores = TicketNetwork(ticket).run(digits.test_images)
    num_right = int((scores.argmax(1) == digits.test_labels).sum())
    assert ticket.accuracy == num_right / len(digits.test_labels)
    densities = [layer.input_density for layer in ticket.layers]
    assert densities[0] == 1.0  # a normalised image has no zeros
    assert all(0.0 < density < 1.0 for density in densities[1:-1])


def test_checkpoint_lies_beside_the_ticket_until_it_is_written(digits, tmp_path, monkeypatch):
    config = SMALL.model_copy(update={"output_path": str(tmp_path / "t.pt"), "num_epochs": 1})

    def full_disk(path, ticket):
        raise TicketError(f"{path}: disk is full")

    monkeypatch.setattr(search_module, "write_ticket", full_disk)
    with pytest.raises(TicketError, match="disk is full"):
        search(config, data=digits)
    assert [path.name for path in tmp_path.iterdir()] == ["t.pt.ckpt"]
    monkeypatch.undo()
    search(config, data=digits, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["t.pt"]


def test_resume_with_other_settings_is_refused(digits, tmp_path):
    config = SMALL.model_copy(update={"checkpoint_path": str(tmp_path / "s.pt"), "num_epochs": 1})
    search(config, data=digits)
    said = r"s\.pt: checkpoint was made with other settings: momentum 0.9, not 0.8, seed 1, not 9; use those, or remove"
    with pytest.raises(ConfigError, match=said):
        search(config.model_copy(update={"seed": 9, "momentum": 0.8}), data=digits, resume=True)


def test_a_new_search_does_not_overwrite_a_checkpoint(digits, tmp_path):
    config = SMALL.model_copy(update={"output_path": str(tmp_path / "t.pt"), "num_epochs": 1})
    (tmp_path / "t.pt.ckpt").write_bytes(b"hours of work")
    with pytest.raises(ConfigError, match=r"t\.pt\.ckpt: is there already.* --resume, or remove the file"):
        search(config, data=digits)
    assert (tmp_path / "t.pt.ckpt").read_bytes() == b"hours of work"


def test_an_interrupt_in_the_first_epoch_promises_no_checkpoint(digits, tmp_path, monkeypatch):
    def interrupted(state, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(search_module, "epoch_steps", interrupted)
    said = Console(record=True, quiet=False, file=io.StringIO(), width=200)
    with pytest.raises(KeyboardInterrupt):
        search(SMALL.model_copy(update={"output_path": str(tmp_path / "t.pt")}), data=digits, console=said)
    assert "interrupted after 0 of 2 epochs: nothing saved yet; start again without --resume" in said.export_text()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    for content in (b"", b"PK\x03\x04 not a zip", b"\x80\x04cos\nsystem\n"):
        path.write_bytes(content)
        with pytest.raises(TicketError, match="is not a checkpoint of a search"):
            read_checkpoint(str(path))
    torch.save({"format": "something else"}, path)
    with pytest.raises(TicketError, match="is not a search checkpoint of version 2"):
        read_checkpoint(str(path))
    with pytest.raises(TicketError, match="does not exist"):
        read_checkpoint(str(tmp_path / "none.pt"))


def test_impossible_ratios_are_refused():
    for change, text in (
        ({"prune_ratio": 0.8}, "prune_ratio 0.8 is not <= sparsity 0.7"),
        ({"lock_ratio": 0.4}, "lock_ratio 0.4 is not <= 1 - sparsity"),
        ({"prune_ratio": 0.7, "lock_ratio": 0.7}, "is not <= 1"),
        ({"learning_rate": 0.0}, "greater than 0"),
        ({"coats": 4}, "coats 4 is not 1, 2, 3 or 7"),
        ({"coats": 2, "codec": "entropy"}, "codec entropy is not raw"),
    ):
        with pytest.raises(ValueError, match=text):
            SearchConfig(**change)


def test_split_is_stratified_and_disjoint():
    whole = load_digits()
    assert torch.bincount(whole.train_labels).tolist() == [400] * 10
    assert torch.bincount(whole.test_labels).tolist() == [100] * 10
    assert whole.train_images.shape == (4000, 3, 32, 32)
    train = {image.numpy().tobytes() for image in whole.train_images[:, 0]}
    assert len(train) == 4000
    assert not any(image.numpy().tobytes() in train for image in whole.test_images[:, 0])


@pytest.mark.parametrize("name", ["digits", "blocks"])
def test_validation_takes_a_fifth_of_the_training_data_and_none_of_the_test_data(name):
    whole, held_out = load_data(name), load_data(name, "validation")
    assert held_out.title == f"{whole.title}, validation part of the training data"
    kept, taken, before, test = (
        torch.cat([_identity(batch) for batch in batches])
        for batches in (
            held_out.calibration_batches(),
            held_out.test_batches(),
            whole.calibration_batches(),
            whole.test_batches(),
        )
    )
    assert len(taken) == len(before) // 5
    assert sorted(torch.cat([kept, taken]).tolist()) == sorted(before.tolist())
    assert not set(taken.tolist()) & set(test.tolist())
    labels = torch.cat([batch.labels for batch in held_out.test_batches()])
    assert torch.bincount(labels).unique().numel() == 1


def _identity(batch):
    """Return something that tells the inputs of a batch apart."""
    if batch.rows is not None:
        return batch.rows
    return (batch.inputs.double().flatten(1) @ torch.linspace(1.0, 2.0, 3072, dtype=torch.float64)).mul(1e6).round()


def test_network_that_cannot_be_searched_is_refused(digits):
    with pytest.raises(TicketError, match="norm"):
        graph = start_search(SMALL, digits).network.graph
        nodes = tuple(replace(node, affine=node.kind == "norm") for node in graph.nodes)
        search_module.SearchNetwork(replace(graph, nodes=nodes), {}, np.random.default_rng(0))


def test_graph_network_is_searched_and_stored():
    data = generate_blocks(400)
    config = SearchConfig(
        network="gin_ogbn_arxiv",
        dataset="blocks",
        width_factor=0.25,
        prune_ratio=0.35,
        lock_ratio=0.15,
        num_epochs=40,
        precision="float32",
    )
    ticket = search(config, data=data)
    assert ticket.accuracy > 0.7  # eight classes; features alone give 0.56
    assert {node.num_edges for node in ticket.graph.nodes if node.kind == "aggregate"} == {3200}


def test_ticket_of_other_images_is_not_evaluated(searched):
    nodes = (replace(searched.graph.nodes[0], out_shape=(3, 64, 64)), *searched.graph.nodes[1:])
    with pytest.raises(TicketError, match=r"takes \(3, 64, 64\) and gives 10 classes"):
        evaluate_ticket(replace(searched, graph=replace(searched.graph, nodes=nodes)))


def test_a_network_with_sums_learns_faster_by_default(digits):
    assert start_search(SMALL, digits).learning_rate == 0.4
    conv = SMALL.model_copy(update={"network": "conv2"})
    assert start_search(conv, digits).learning_rate == 0.1
    state = start_search(conv.model_copy(update={"learning_rate": 0.3}), digits)
    next(epoch_steps(state, 0))
    assert state.optimizer.param_groups[0]["lr"] == 0.3


def test_network_and_data_must_fit():
    with pytest.raises(ConfigError, match="dataset: digits: gin_ogbn_arxiv does not take it; use dataset blocks"):
        search(SMALL.model_copy(update={"network": "gin_ogbn_arxiv"}))


def test_sign_activations_are_signs_with_a_clipped_gradient(digits):
    state = start_search(SMALL.model_copy(update={"activations": "sign"}), digits)
    assert {node.function for node in state.network.graph.nodes if node.kind == "activation"} == {"sign"}
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
    out = sign_of(x)
    out.sum().backward()
    assert out.tolist() == [-1.0, -1.0, 1.0, 1.0, 1.0]
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_wider_random_weights_have_the_kaiming_deviation(digits):
    for change in ({"weights": "uniform", "weight_bits": 4}, {"weights": "normal", "weight_bits": 4}):
        config = SMALL.model_copy(update={**change, "prune_ratio": 0.0, "lock_ratio": 0.0, "scaling": "none"})
        layer = start_search(config, digits).network.layer("layer4.1.conv2")
        assert float(layer().detach().std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.03)


def test_graph_networks_are_searched_in_float32() -> None:
    config = SearchConfig(network="gin_ogbn_arxiv", dataset="blocks", num_epochs=1, width_factor=0.0625)
    assert config.precision == "bfloat16"
    state = start_search(config, generate_blocks())
    next(epoch_steps(state, 0))
    assert state.config.precision == "float32"
