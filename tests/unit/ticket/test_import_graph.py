"""Checkpoints of modules of any kind, whose graph is an exported program: found by the names of their parameters."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.errors import TicketError
from accelsim.ticket.file import read_ticket
from accelsim.ticket.importers import ImportedTicket, ImportOptions, KnownGraph, import_checkpoint
from accelsim.ticket.pack import unpack_mask
from accelsim.ticket.synth import synthesize
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.parameters import read_exported_module
from accelsim.validation.verify import verify_weights
from tests.unit.ticket.checkpoint_parts import DENSE

State = dict[str, torch.Tensor]


class Block(torch.nn.Module):
    """Weights of all kinds: of two and three dimensions, transposed, standardised, inputs first, a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)
        self.time = parametrizations.weight_norm(torch.nn.Conv1d(4, 6, 3, padding=1, bias=False))
        self.mix = torch.nn.Linear(8, 8)
        self.projection = torch.nn.Parameter(torch.rand(8, 8) - 0.5)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.mix(self.time(self.norm(x)) @ self.projection)
        return self.attention(x, x, x, need_weights=False)[0]


class Wrapped(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.backbone(x)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Block, str, str]:
    torch.manual_seed(1)
    module = Block().eval()
    paths = []
    for name, item in (("plain", module), ("wrapped", Wrapped(module).eval())):
        paths.append(str(tmp_path_factory.mktemp("graphs") / f"{name}.pt2"))
        torch.export.save(torch.export.export(item, (torch.zeros(1, 4, 8),)), paths[-1])
    return module, *paths


def known(path: str) -> KnownGraph:
    module = read_exported_module(path)
    return KnownGraph(module.graph, module.transposed, module.names, module.computed)


@pytest.fixture(scope="module")
def plain_graph(exported) -> KnownGraph:
    return known(exported[1])


def masked(state: State) -> State:
    """Return the state with a mask that drops the last half of each weight's rows."""
    weights = ("mix.weight", "projection", "attention.in_proj_weight", "attention.out_proj.weight")
    masks = {f"{name}_mask": torch.ones_like(state[name]) for name in weights}
    for mask in masks.values():
        mask[len(mask) // 2 :] = 0
    return state | masks


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def read(tmp_path: Path, content: object, graph: KnownGraph, **options: object) -> ImportedTicket:
    torch.save(content, tmp_path / "checkpoint.pt")
    return import_checkpoint(tmp_path / "checkpoint.pt", ImportOptions(graph=graph, **options))


def wrappers(state: State) -> dict[str, object]:
    other = {name: value + 1 for name, value in state.items()}
    average = {name: value if name.endswith("_mask") else value / 2 for name, value in state.items()}
    return {
        "bare": state,
        "parallel": {"state_dict": prefixed("module.", state), "epoch": 3},
        "compiled": prefixed("_orig_mod.", state),
        "Lightning": {"state_dict": prefixed("model.net.", state) | {"loss.weight": torch.ones(3)}, "loops": {}},
        "average beside": {"model": state, "ema": average},
        "average alone": {"ema": {"module": state}},
        "student": {"student": prefixed("backbone.", state), "teacher": prefixed("backbone.", other)},
        "among others": {"a": state, "b": other},
    }


@pytest.mark.parametrize("kind", wrappers({}))
def test_wrappers_are_stripped_and_said(exported, plain_graph, tmp_path: Path, kind: str) -> None:
    content = wrappers(masked(exported[0].state_dict()))[kind]
    found = read(tmp_path, content, plain_graph, **({"part": "a"} if kind == "among others" else {}))
    half = unpack_mask(found.ticket.layer("mix"))
    assert half[:4].all() and not half[4:].any()
    is_said = any("begin with" in note or "names of wrappers" in note for note in found.notes)
    assert is_said == (kind != "bare")


def test_averages_of_torch_and_graphs_of_a_wrapper_are_found(exported, tmp_path: Path) -> None:
    state = AveragedModel(exported[0]).state_dict()
    found = read(tmp_path, state, known(exported[2]))
    notes = " / ".join(found.notes)
    assert len(found.ticket.layers) == 5
    assert "the graph's names begin with 'backbone.', the file's do not" in notes and "n_averaged" in notes


def test_weights_stored_inputs_first_are_turned_with_their_masks(exported, plain_graph, tmp_path: Path) -> None:
    found = read(tmp_path, masked(exported[0].state_dict()), plain_graph)
    half = unpack_mask(found.ticket.layer("projection"))
    assert half[:, :4].all() and not half[:, 4:].any()
    notes = " / ".join(found.notes)
    assert "such as that of 'projection' are stored inputs first" in notes
    assert "are computed from a parameter" in notes


def test_what_does_not_belong_together_is_refused_by_name(exported, plain_graph, tmp_path: Path) -> None:
    state = exported[0].state_dict()
    without = {name: value for name, value in state.items() if not name.startswith("mix")}
    with pytest.raises(TicketError, match=r"has no tensor 'mix\.weight' for layer 'mix' .* \(1 of its 5 layers"):
        read(tmp_path, without, plain_graph)
    with pytest.raises(TicketError, match=r"mix\.weight: shape \(8, 7\) is not \(8, 8\)"):
        read(tmp_path, state | {"mix.weight": torch.ones(8, 7)}, plain_graph)
    with pytest.raises(TicketError, match=r"mix\.importance: is shaped like the layer's weight"):
        read(tmp_path, state | {"mix.importance": torch.rand(8, 8)}, plain_graph)
    other = {name: value + 1 for name, value in state.items()}
    with pytest.raises(TicketError, match="holds several networks, a, b; state one with --part"):
        read(tmp_path, {"a": state, "b": other}, plain_graph)
    several = {"student": masked(state), "ema": other, "teacher": other}
    with pytest.raises(TicketError, match="networks, student, ema, which keep other weights; state one with --part"):
        read(tmp_path, several, plain_graph)
    assert read(tmp_path, several, plain_graph, part="ema").kind == "plain"
    pruned = {f"old.{name}": value * (torch.rand(value.shape) > 0.8) for name, value in state.items()}
    with pytest.raises(TicketError, match="networks, names of its own, old, which keep other weights; state one with"):
        read(tmp_path, state | pruned, plain_graph)
    assert read(tmp_path, state | pruned, plain_graph, part=".").kind == "plain"


def test_masks_of_weights_that_the_graph_leaves_out_are_left_out_with_them(
    exported, plain_graph, tmp_path: Path
) -> None:
    # Of a table whose one row is a constant of the export (token types of BERT), as large as a layer's weight.
    kept = torch.ones(2, 32)
    kept[0] = 0
    state = masked(exported[0].state_dict()) | {"types.weight": torch.rand(2, 32), "types.weight_mask": kept}
    found = read(tmp_path, state, plain_graph)
    assert "types.weight_mask" in " / ".join(found.notes)
    del state["types.weight"]
    with pytest.raises(TicketError, match="types.weight_mask: could say which weights are kept"):
        read(tmp_path, state, plain_graph)


class Spelled(torch.nn.Module):
    """Products that are spelled as a sum, by weights without a module: a vector, a matrix inputs first, filters."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.first, self.filters = (
            torch.nn.Parameter(torch.rand(size)) for size in ((16,), (16, 8), (4, 2, 2, 2))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = (x.unsqueeze(-1) * self.first).sum(-2) * (x * self.gate).sum(-1, keepdim=True)
        return (made.view(-1, 1, 2, 2, 2) * self.filters).sum((2, 3, 4))


def test_weights_of_products_that_are_spelled_as_sums_are_found(tmp_path: Path) -> None:
    module = Spelled()
    path = tmp_path / "spelled.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(3, 16),)), path)
    found = read_exported_module(path)
    graph = KnownGraph(found.graph, found.transposed, found.names, found.computed)
    state = {name: value * (torch.rand(value.shape) < 0.5) for name, value in module.state_dict().items()}
    torch.save(state, tmp_path / "checkpoint.pt")
    ticket = import_checkpoint(tmp_path / "checkpoint.pt", ImportOptions(graph=graph)).ticket
    wanted = {"first": state["first"].T, "gate": state["gate"][None], "filters": state["filters"].flatten(1)}
    assert {layer.name: unpack_mask(layer).tolist() for layer in ticket.layers} == {
        name: (value != 0).tolist() for name, value in wanted.items()
    }


def test_onnx_files_say_how_weights_are_stored_and_whose_they_are(tmp_path: Path) -> None:
    """PyTorch notes the module beside a node; what it names after a parameter is stored as the module has it."""
    value = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "first.weight"], ["y"], "node_MatMul_1"),
        onnx.helper.make_node("MatMul", ["y", "val_0"], ["z"], "node_MatMul_2"),
    ]
    nodes[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'head.second', 'linear']")
    weights = [
        onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, (4, 4), [0.0] * 16) for name in ("first.weight", "val_0")
    ]
    ends = [value(name, onnx.TensorProto.FLOAT, (1, 4)) for name in "xz"]
    graph = onnx.helper.make_graph(nodes, "two", ends[:1], ends[1:], weights)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "two.onnx")
    state = {f"{name}.weight": torch.rand(4, 4) + 0.1 for name in ("first", "head.second")}
    for weight in state.values():
        weight[0] = 0
    first, second = read(tmp_path, state, known(str(tmp_path / "two.onnx"))).ticket.layers
    assert not unpack_mask(first)[:, 0].any() and unpack_mask(first)[:, 1:].all()
    assert not unpack_mask(second)[0].any() and unpack_mask(second)[1:].all()


def test_commands_take_an_exported_module(exported, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(masked(exported[0].state_dict()), "checkpoint.pth")
    assert main(["import", "checkpoint.pth", "--graph", exported[1], "--out", "imported.pt"]) == 0
    assert main(["synth", exported[1], "--sparsity", "0.75", "--prune-ratio", "0.5", "--out", "synthetic.pt"]) == 0
    kept = [unpack_mask(layer) for layer in read_ticket("synthetic.pt").layers]
    assert np.mean(np.concatenate([mask.reshape(-1) for mask in kept])) == pytest.approx(0.25, abs=0.04)
    assert main(["import", "checkpoint.pth", "--graph", exported[1], "--network", "conv2", "--out", "x.pt"]) == 2


class Tied(torch.nn.Module):
    """Tokens in and out of one table, as most language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = torch.nn.Embedding(100, 16), torch.nn.Linear(16, 16, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.mix(self.table(tokens)), self.table.weight)


def test_a_table_that_a_product_reads_has_a_mask(tmp_path: Path) -> None:
    module, path, checkpoint = Tied().eval(), str(tmp_path / "tied.pt2"), tmp_path / "zeros.pt"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 8, dtype=torch.long),)), path)
    state = module.state_dict()
    state["table.weight"][:, :12] = 0
    torch.save(state, checkpoint)
    found = import_checkpoint(checkpoint, ImportOptions(graph=known(path)))
    assert {layer.name: layer.num_kept for layer in found.ticket.layers} == {"table": 400, "mix": 256}
    stated = trace_workload(path, TraceOptions(sparsity=0.75))
    kept = {layer.name: layer.weights.num_kept for layer in stated.layers if layer.weights is not None}
    assert kept == {"table": 400, "mix": 64, "table_2": 400}
    ticket = synthesize(read_exported_module(path).graph, sparsity=0.75)
    assert verify_weights(load_hardware("edge"), ticket).problem is None


def test_what_a_pattern_leaves_dense_is_said(tmp_path: Path) -> None:
    torch.save(DENSE, tmp_path / "dense.pt")
    ticket = import_checkpoint(tmp_path / "dense.pt", ImportOptions(nm=(2, 4))).ticket
    said = "--nm 2:4 leaves 1 of 5 layers dense, whose inputs are not in groups of 4: 'convs.0' has 3"
    assert said in ticket.notes
    assert ticket.command.endswith(" --nm 2:4")
