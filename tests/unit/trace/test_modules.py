from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from accelsim.errors import TraceError
from accelsim.ticket.shapes import count_parameters
from accelsim.ticket.zoo import build_network
from accelsim.trace import TraceOptions, trace_graph, trace_workload
from accelsim.trace.batch import with_batch
from accelsim.trace.modules import graph_from_file, graph_from_module, trace_module


class Block(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18 at an eighth of its width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        widths = (8, 8, 16, 32, 64)
        for stage in range(4):
            blocks = [
                Block(widths[stage], widths[stage + 1], 1 if stage == 0 else 2),
                Block(widths[stage + 1], widths[stage + 1], 1),
            ]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


class Mixed(nn.Module):
    """Depthwise and transposed convolution, concatenation, resize, gating, attention, a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8, dilation=2)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.gate = nn.Linear(8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 12))
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.silu(self.stem(x))
        gate = torch.sigmoid(self.gate(x.mean((2, 3))))
        x = functional.hardtanh(self.depthwise(x), 0, 6) * gate[:, :, None, None]
        big = torch.cat([self.up(x), functional.interpolate(x, scale_factor=2)], 1)
        tokens = functional.avg_pool2d(big, 4).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1))
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens[:, 0])


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), Renormed())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + x


class Renormed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.renorm(x, 2, 0, 1.0)


def test_a_resnet_module_gives_the_trace_of_the_zoo() -> None:
    found = trace_module(ResNet(), torch.zeros(2, 3, 32, 32))
    expected = with_batch(trace_graph(build_network("resnet18", width_factor=0.125, trained=True)), 2)
    for layer, other in zip(found.layers, expected.layers, strict=True):
        assert (layer.kind, layer.dims, layer.vector_ops, layer.num_outputs) == (
            other.kind,
            other.dims,
            other.vector_ops,
            other.num_outputs,
        )
    names = [layer.name for layer in found.layers if layer.kind != "pool"]
    assert names == [layer.name for layer in expected.layers if layer.kind != "pool"]


@pytest.fixture(scope="module")
def mixed():
    return graph_from_module(Mixed(), torch.zeros(1, 3, 16, 16)).graph


def test_parameters_of_any_module_are_counted(mixed) -> None:
    assert count_parameters(mixed) == sum(parameter.numel() for parameter in Mixed().parameters())


def test_branches_attention_and_resizing(mixed) -> None:
    layers = {layer.name: layer for layer in trace_graph(mixed).layers}
    assert layers["depthwise"].kind == "depthwise_conv2d"
    assert layers["depthwise"].dims.dilation == (2, 2)
    assert layers["up"].dims.macs == 8 * 4 * 4 * 64
    pool = next(layer for layer in layers.values() if "avg_pool" in layer.post_ops and layer.dims.R == 4)
    assert len(pool.inputs) == 2  # both branches of the concatenation
    products = [layer for layer in layers.values() if layer.kind == "matmul"]
    assert [layer.dims.macs for layer in products] == [17 * 17 * 12, 17 * 17 * 12]
    assert layers["head"].dims.P == 1


class Letters(nn.Module):
    """Attention in index notation, a gated unit, and parts of unequal size."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.gate = nn.Linear(16, 48), nn.Linear(16, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 8).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("bhid,bhjd->bhij", q, k).softmax(-1)
        mixed = torch.einsum("bhij,bhjd->bihd", scores, v).flatten(2)
        small, large = nn.functional.glu(self.gate(mixed), -1).split([6, 10], -1)
        return torch.cat([large, small], -1)


@pytest.mark.parametrize("batch", [1, 2])
def test_index_notation_counts_as_torch_counts_it(batch: int) -> None:
    module, x = Letters().eval(), torch.zeros(batch, 5, 16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    layers = trace_module(module, x).layers
    assert sum(layer.dims.macs for layer in layers if layer.uses_array) == counter.get_total_flops() // 2
    assert [layer.kind for layer in layers if layer.uses_array] == ["linear", "matmul", "matmul", "linear"]


def test_options_of_named_networks_are_refused_for_files(tmp_path: Path) -> None:
    path = tmp_path / "odd.pt2"
    torch.export.save(torch.export.export(nn.Linear(4, 2), (torch.zeros(1, 4),)), path)
    with pytest.raises(
        TraceError, match=r"--input-shape: input 'input': axis 1 is fixed at 4, not 5 as in 1x5; export it again"
    ):
        trace_workload(str(path), TraceOptions(input_shape=(5,)))
    with pytest.raises(TraceError, match=r"odd\.pt2: --width-factor: an exported module has its own"):
        trace_workload(str(path), TraceOptions(width_factor=2.0))


def test_a_fixed_batch_is_taken_where_none_is_stated_and_refused_where_another_is(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Conv2d(3, 8, 3), (torch.zeros(2, 3, 16, 16),)), path)
    assert graph_from_file(path, input_shape=(3, 16, 16)).batch == 2
    for shape, problem in (((1, 3, 16, 16), "axis 0 is fixed at 2, not 1"), ((3, 24, 24), "axis 2 is fixed at 16")):
        with pytest.raises(TraceError, match=problem):
            graph_from_file(path, input_shape=shape)


def test_several_inputs_lie_in_one() -> None:
    layer = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
    graph = graph_from_module(layer, (torch.zeros(1, 5, 16), torch.zeros(1, 7, 16))).graph
    assert graph.nodes[0].out_shape == (5 * 16 + 7 * 16,)
    assert count_parameters(graph) == sum(parameter.numel() for parameter in layer.parameters())
    products = [layer.dims.macs for layer in trace_graph(graph).layers if layer.kind == "matmul"]
    assert products == [5 * 5 * 16, 5 * 5 * 16, 5 * 7 * 16, 5 * 7 * 16]


def test_exported_files_give_the_same_graph(tmp_path: Path, mixed) -> None:
    torch.export.save(torch.export.export(Mixed().eval(), (torch.zeros(1, 3, 16, 16),)), tmp_path / "mixed.pt2")
    assert graph_from_file(tmp_path / "mixed.pt2").graph.nodes == mixed.nodes
    trace = trace_workload(str(tmp_path / "mixed.pt2"))
    assert (trace.name, trace.provenance, len(trace.sha256)) == ("mixed", "dense", 64)


def test_unsupported_operations_are_named_or_counted() -> None:
    with pytest.raises(TraceError, match=r"Odd: inner\.1: operation renorm is not supported"):
        trace_module(Odd(), torch.zeros(1, 4))
    found = graph_from_module(Odd(), torch.zeros(1, 4), skip_unsupported=True)
    assert found.skipped == {"renorm": 1}
    assert [layer.name for layer in trace_graph(found.graph).layers] == ["inner.0"]


def test_modules_that_cannot_be_exported_say_so_in_one_line() -> None:
    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(TraceError, match=r"Branch: torch\.export cannot export it") as caught:
        trace_module(Branch(), torch.zeros(1, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"{}"])
def test_foreign_exported_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pt2"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"bad\.pt2: not a file of torch\.export\.save"):
        graph_from_file(path)


def test_checkpoints_named_pt2_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "bad.pt2")
    with pytest.raises(TraceError, match="holds no exported graph"):
        graph_from_file(tmp_path / "bad.pt2")


class RowAttention(nn.Module):
    """Attention among all rows of its input, which has no batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ x.T).softmax(-1) @ x


def test_a_dynamic_first_axis_is_a_batch_only_where_twice_as_many_are_twice_the_work(tmp_path: Path) -> None:
    rows = (torch.zeros(6, 8),)
    dynamic = ({0: torch.export.Dim("rows", min=2, max=64)},)
    attention, linear = (
        torch.export.export(module, rows, dynamic_shapes=dynamic) for module in (RowAttention(), nn.Linear(8, 4))
    )
    assert sum(layer.dims.macs for layer in trace_module(linear).layers) == 32
    path = tmp_path / "attention.pt2"
    torch.export.save(attention, path)
    for read in (lambda: trace_module(attention), lambda: graph_from_file(path)):
        with pytest.raises(TraceError, match="axis 0 is dynamic and is no batch"):
            read()
    trace = graph_from_file(path, input_shape=(6, 8)).trace()
    assert sum(layer.dims.macs for layer in trace.layers if layer.uses_array) == 2 * 6 * 6 * 8


class Mapped(nn.Module):
    """A linear layer that ``torch.vmap`` maps over samples."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.vmap(self.inner)(x)


def test_what_vmap_maps_is_counted_for_all_samples_or_refused_with_the_way_on(tmp_path: Path) -> None:
    example = (torch.zeros(5, 3, 8),)
    exported = torch.export.export(Mapped(), example)
    assert [sum(layer.dims.macs for layer in trace_module(*given).layers if layer.uses_array)
            for given in ((Mapped(), example), (exported,))] == [5 * 3 * 8 * 4] * 2  # fmt: skip
    path = tmp_path / "mapped.pt2"
    torch.export.save(exported, path)
    with pytest.raises(TraceError, match=r"it is torch\.vmap, which .*run_decompositions"):
        graph_from_file(path, skip_unsupported=True)
    torch.export.save(exported.run_decompositions({}), path)
    assert sum(layer.dims.macs for layer in graph_from_file(path).trace().layers if layer.uses_array) == 5 * 3 * 8 * 4
