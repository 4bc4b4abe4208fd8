"""Files as hidden-networks, biprop and the examples of PyTorch name their parts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from accelsim.errors import TicketError
from accelsim.storage.default import default_format
from accelsim.ticket.file import read_ticket, write_ticket
from accelsim.ticket.importers import ImportedTicket, ImportOptions, import_checkpoint
from accelsim.ticket.importers.infer import Wanted, infer_graph
from accelsim.ticket.inspect import inspect
from accelsim.ticket.pack import unpack_mask
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.zoo import build_network
from accelsim.trace import trace_ticket

State = dict[str, torch.Tensor]


@pytest.fixture
def imported(tmp_path: Path):
    def read(content: object, **options: object) -> ImportedTicket:
        torch.save(content, tmp_path / "checkpoint.pt")
        return import_checkpoint(tmp_path / "checkpoint.pt", ImportOptions(**options))

    return read


def scored(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(1)
    state: State = {}
    for index, (name, shape) in enumerate(shapes.items()):
        state[f"{name}.weight"] = torch.full(shape, 0.1)
        state[f"{name}.scores"] = torch.rand(shape, generator=generator) * (index + 1)
    return state


CONV2 = {
    "convs.0": (4, 3, 3, 3), "convs.2": (4, 4, 3, 3),
    "linear.0": (8, 64, 1, 1), "linear.2": (8, 8, 1, 1), "linear.4": (10, 8, 1, 1),
}  # fmt: skip


def masks(found: ImportedTicket) -> list[np.ndarray]:
    return [unpack_mask(layer).reshape(-1) for layer in found.ticket.layers]


def test_one_threshold_of_biprop_serves_all_layers(imported) -> None:
    state = scored(CONV2)
    found = imported({"state_dict": state, "prune_rate": 0.3, "conv_type": "GlobalSubnetConv"})
    scores = np.concatenate([value.reshape(-1) for key, value in state.items() if key.endswith("scores")])
    cut = np.sort(scores)[int(0.7 * scores.size)]
    assert np.array_equal(np.concatenate(masks(found)), scores >= cut)
    assert any("one threshold" in note for note in found.notes)
    with pytest.raises(TicketError, match=r"--sparsity: 0\.9 is not the 0\.7 that prune_rate 0\.3 leaves"):
        imported({"state_dict": state, "prune_rate": 0.3}, sparsity=0.9)
    with pytest.raises(TicketError, match=r"checkpoint\.pt: prune_rate: -1 is not above 0"):
        imported({"state_dict": state, "prune_rate": -1.0})


def test_fixed_subnets_hold_their_mask_as_scores(imported) -> None:
    state = {key: (value > 0.6).float() if key.endswith("scores") else value for key, value in scored(CONV2).items()}
    expected = [value.numpy().reshape(-1) for key, value in state.items() if key.endswith("scores")]
    assert all(np.array_equal(mask, scores) for mask, scores in zip(masks(imported(state)), expected, strict=True))


def test_binary_activations_pool_before_the_normalisation(imported) -> None:
    places = {"convs.0": 1, "convs.3": 5, "linear.0": 1, "linear.3": 4}
    shapes = dict(zip(("convs.0", "convs.3", "linear.0", "linear.3", "linear.6"), CONV2.values(), strict=True))
    state: State = {}
    for key, value in scored(shapes).items():
        state[key] = value
        name, _, part = key.rpartition(".")
        if part == "scores" and name in places:
            norm = f"{name.partition('.')[0]}.{places[name]}"
            state |= {
                f"{norm}.running_mean": torch.zeros(value.shape[0]),
                f"{norm}.running_var": torch.full((value.shape[0],), 4.0),
            }
    ticket = imported({"state_dict": state, "arch": "Conv2_BinAct", "prune_rate": 0.5}).ticket
    order = [node.name for node in ticket.graph.nodes][1:8]
    assert order == ["convs.0", "convs.1", "convs.0.relu", "convs.3", "pools.0", "convs.5", "convs.3.relu"]
    assert np.allclose(ticket.layer("convs.3").scale_K, 0.05, rtol=1e-3)
    del state["convs.3.weight"], state["convs.3.scores"]
    with pytest.raises(TicketError, match=r"convs\.3"):
        imported({"state_dict": state, "arch": "Conv2_BinAct", "prune_rate": 0.5})


def test_scores_without_a_freezing_map_are_a_ticket_of_which_nothing_is_frozen(imported) -> None:
    state: State = {}
    for key, value in scored(CONV2).items():
        name, _, part = key.rpartition(".")
        state[key.replace("scores", "score")] = value
        if part == "scores":
            state |= {f"{name}.mask": (value > 0.5).float(), f"{name}.kthvalue": torch.tensor([0.5])}
    found = imported(state)
    assert (found.kind, found.ticket.layers[0].num_free) == ("partially_frozen", 108)
    assert any("no freezing map" in note for note in found.notes)
    assert default_format(trace_ticket(found.ticket)) == "slt"


def test_examples_of_pytorch_are_known_by_their_names(imported) -> None:
    shapes = {"conv1": (32, 1, 3, 3), "conv2": (64, 32, 3, 3), "fc1": (16, 9216), "fc2": (10, 16)}
    assert (
        imported({f"{name}.weight": torch.ones(shape) for name, shape in shapes.items()}).ticket.graph.name
        == "mnist_cnn"
    )
    for name in ("dcgan_generator", "deit_small"):
        shapes = weight_shapes(build_network(name))
        assert weight_shapes(infer_graph("file", shapes, (), Wanted())) == shapes


def test_a_ticket_says_what_its_import_gave_up(imported, tmp_path: Path) -> None:
    state = {key: value * torch.rand(value.shape) for key, value in scored(CONV2).items()}
    found = imported(state, sparsity=0.5)
    write_ticket(tmp_path / "ticket.pt", found.ticket)
    notes = inspect(read_ticket(tmp_path / "ticket.pt")).notes
    assert notes == found.notes
    assert notes[0].startswith("read as an edge-popup") and "weights of varied size" in notes[1]


def test_scales_that_are_one_number_are_stored_once(imported) -> None:
    state = {key: value for key, value in scored(CONV2).items() if key.endswith("weight")}
    state |= {"linear.0.bias": torch.arange(8.0), "linear.4.bias": torch.arange(10.0)}
    ticket = imported(state).ticket
    expected = [16, 16, 16 + 16 * 8, 16, 16 + 16 * 10]
    assert [layer.stored_bits.scale for layer in inspect(ticket).layers] == expected
    weights = [layer.weights for layer in trace_ticket(ticket).layers if layer.weights is not None]
    assert [layer.num_scale_bits for layer in weights] == expected


def test_a_few_zeros_do_not_make_a_network_pruned(imported) -> None:
    state = {key: value for key, value in scored(CONV2).items() if key.endswith("weight")}
    state["linear.0.weight"][0, :5] = 0
    found = imported(state)
    assert default_format(trace_ticket(found.ticket)) == "dense-int8"
    assert any("too few for pruning" in note for note in found.notes)
