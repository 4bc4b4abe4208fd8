"""What the reader of modules counts and where their data goes: against torch's own counter and by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import accelsim
from accelsim.config.loader import load_hardware
from accelsim.errors import TraceError
from accelsim.mapping.cores import rows_part, shares
from accelsim.mapping.task import LayerTask, input_window
from accelsim.trace.emit import Operation, Work
from accelsim.trace.model import LayerTrace
from accelsim.trace.modules import trace_module
from accelsim.trace.sizes import size_of
from accelsim.trace.work import check_work

EDGE = "edge_dense"


class Call(nn.Module):
    """A module of layers and what is done with them."""

    def __init__(self, forward: Callable[..., object], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.does = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.does(self, *inputs)


def zeros(*shapes: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(shape) for shape in shapes)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def trace(forward: Callable[..., object], *shapes: tuple[int, ...], **layers: nn.Module | nn.Parameter) -> LayerTrace:
    return trace_module(Call(forward, **layers), zeros(*shapes), name="net")


def macs(found: LayerTrace) -> int:
    return sum(layer.dims.macs for layer in found.layers if layer.uses_array)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return functional.scaled_dot_product_attention(q, k, v)


CONV = {"conv": nn.Conv2d(3, 8, 3)}
LINEAR = {"linear": nn.Linear(16, 8)}
COUNTED: dict[str, tuple[Callable[..., object], tuple[tuple[int, ...], ...], dict[str, nn.Module | nn.Parameter]]] = {
    "no batch axis": (lambda m, x: m.conv(x), ((3, 9, 9),), CONV),
    "cameras in the batch": (lambda m, x: m.conv(x.view(-1, 3, 9, 9)), ((2, 6, 3, 9, 9),), CONV),
    "joined along the batch": (lambda m, x, y: m.conv(torch.cat([x, y])), ((1, 3, 9, 9), (1, 3, 9, 9)), CONV),
    "part of the batch": (lambda m, x: m.conv(x[1:4]), ((8, 3, 9, 9),), CONV),
    "batch moved": (lambda m, x: m.linear(x.permute(1, 2, 0)), ((16, 5, 4),), LINEAR),
    "repeated batch": (lambda m, x: m.conv(x.repeat(4, 1, 1, 1)), ((2, 3, 9, 9),), CONV),
    "groups": (lambda m, x: m.conv(x), ((2, 8, 9, 9),), {"conv": nn.Conv2d(8, 16, 3, 2, groups=4)}),
    "transposed groups": (lambda m, x: m.conv(x), ((2, 8, 9, 9),), {"conv": nn.ConvTranspose2d(8, 4, 4, 2, 1, 1, 2)}),
    "one dimension": (lambda m, x: m.conv(x), ((2, 8, 30),), {"conv": nn.Conv1d(8, 4, 5, 2, "valid", 2)}),
    "three dimensions": (lambda m, x: m.conv(x), ((2, 3, 6, 8, 9),), {"conv": nn.Conv3d(3, 8, 3, (1, 2, 2), 1)}),
    "depth alone": (lambda m, x: m.conv(x), ((1, 3, 6, 8, 8),), {"conv": nn.Conv3d(3, 8, (3, 1, 1))}),
    "transposed depth": (lambda m, x: m.conv(x), ((1, 4, 3, 5, 5),), {"conv": nn.ConvTranspose3d(4, 6, 2, 2)}),
    "x.t() @ w": (lambda m, x: x.t() @ m.w, ((20, 5),), {"w": parameter(20, 7)}),
    "w @ x": (lambda m, x: m.w @ x, ((3, 20, 5),), {"w": parameter(7, 20)}),
    "weights of each head": (lambda m, x: x @ m.w, ((2, 4, 9, 8), ), {"w": parameter(4, 8, 5)}),
    "tensordot": (lambda m, x: torch.tensordot(x, m.w, dims=([1, 2], [0, 1])), ((3, 4, 5),), {"w": parameter(4, 5, 6)}),
    "inner": (lambda m, x: torch.inner(x, m.w), ((3, 4, 5),), {"w": parameter(6, 5)}),
    "summed before": (lambda m, x: torch.einsum("bij,jk->bk", x, m.w), ((3, 4, 5),), {"w": parameter(5, 6)}),
    "spectral norm": (lambda m, x: m.linear(x), ((2, 16),),
                      {"linear": nn.utils.parametrizations.spectral_norm(nn.Linear(16, 8))}),
    "experts": (lambda m, x: torch.bmm(x, m.w), ((4, 9, 8),), {"w": parameter(4, 8, 5)}),
    "dense adjacency": (lambda m, x, a: a @ m.linear(x), ((9, 16), (9, 9)), LINEAR),
    "shared keys": (lambda m, q, k: q @ k[:, :, None].expand(-1, -1, 3, -1, -1).reshape(2, 6, 7, 5), (
        (2, 6, 4, 7), (2, 2, 7, 5)), {}),
    "learned queries": (lambda m, x: attend(m.q.expand(2, -1, -1, -1), x, x), ((2, 4, 9, 8),), {
        "q": parameter(1, 4, 3, 8)}),
    "cross attention": (lambda m, q, k: attend(q, k, k), ((1, 2, 5, 8), (1, 2, 9, 8)), {}),
    "einsum": (lambda m, x: torch.einsum("bhid,hde->bhie", x, m.w), ((2, 4, 9, 8),), {"w": parameter(4, 8, 5)}),
    "sequence first": (lambda m, x: m.net(x), ((5, 2, 16),), {"net": nn.TransformerEncoderLayer(16, 2, 32)}),
    "positions through a layer": (lambda m, x: x + m.linear(m.linear.weight[0] * 0 + torch.arange(16.0)), ((3, 8),),
                                  LINEAR),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_products_are_as_many_as_torch_counts(name: str) -> None:
    forward, shapes, layers = COUNTED[name]
    module, inputs = Call(forward, **layers).eval(), zeros(*shapes)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    found = trace_module(module, inputs)
    assert macs(found) == counter.get_total_flops() // 2
    assert found.num_parameters == sum(item.numel() for item in module.parameters())


def test_recurrent_layers_are_their_products_step_by_step() -> None:
    found = trace(lambda m, x: m.rnn(x)[0], (5, 2, 6), rnn=nn.LSTM(6, 4, bidirectional=True))
    assert macs(found) == 2 * 5 * 2 * (6 * 16 + 4 * 16)
    steps = [
        layer for layer in found.layers if layer.name.startswith("rnn.weight_hh_l0") and "reverse" not in layer.name
    ]
    assert [layer.weights_of for layer in steps] == ["", *["rnn.weight_hh_l0"] * 4]
    assert macs(trace(lambda m, x: m.rnn(x)[1], (5, 2, 6), rnn=nn.GRU(6, 4, batch_first=True))) == 10 * 12 * (6 + 4)


def test_a_repetition_is_no_traffic_however_it_is_written() -> None:
    """Keys that a group of queries shares: by the operator, repeated, read by an index, cut and joined, or as rows."""
    shapes = ((1, 8, 1, 16), (1, 2, 64, 16), (1, 2, 64, 16))

    heads = torch.arange(8) // 4
    spellings = [
        lambda x: x.repeat_interleave(4, 1),
        lambda x: torch.stack([x] * 4, 2).flatten(1, 2),
        lambda x: x[:, heads],
        lambda x: torch.gather(x, 1, heads.view(1, 8, 1, 1).expand(1, 8, 64, 16)),
        lambda x: torch.take_along_dim(x, heads.view(1, 8, 1, 1), 1),
        lambda x: torch.stack([x[:, head // 4] for head in range(8)], 1),
        lambda x: torch.stack([x[:, head // 4] for head in range(8)]).transpose(0, 1),
        lambda x: torch.cat([each.expand(-1, 4, -1, -1) for each in x.split(1, 1)], 1),
        lambda x: torch.cat([x[:, -2:-1], x[:, 1:]] * 4, 1),
    ]
    results = []
    for forward in (
        lambda m, q, k, v: functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        *((lambda m, q, k, v, wide=wide: attend(q, wide(k), wide(v))) for wide in spellings),
        lambda m, q, k, v: torch.softmax(q.view(1, 2, 4, 16) @ k.mT / 4, -1) @ v,
    ):
        found = trace(forward, *shapes)
        assert [layer.second_input_elements for layer in found.layers] == [2048, 2048]
        totals = accelsim.run(EDGE, found).totals
        results.append((totals.macs, totals.dram_bytes.activation_in, totals.latency_cycles, totals.energy_j))
    assert all(result == results[0] for result in results)


def test_slices_that_are_joined_twice_are_read_once() -> None:
    def forward(m: Call, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return m.a(torch.cat([x[:, 2:3], x[:, 2:3], x[:, 4:5]], 1)) + m.a(torch.cat([y[:, :1], x[:, :2]], 1))

    first, second = trace(forward, (1, 8, 16), (1, 8, 16), a=nn.Linear(16, 16)).layers
    assert (first.input_elements, second.input_elements) == ((32,), (48,))


def test_operands_of_one_projection_are_read_where_they_are() -> None:
    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax(q @ k.mT, -1) @ v

    found = trace(lambda m, x: attention(*m.qkv(x).chunk(3, -1)), (1, 16, 32), qkv=nn.Linear(32, 96, bias=False))
    assert found.layers[1].input_elements == (512,)
    assert accelsim.run(EDGE, found).totals.dram_bytes.activation_in == 512  # the input of the network alone


def test_outputs_are_written_whoever_reads_them() -> None:
    def both(m: Call, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = m.a(x)
        return h, m.b(torch.relu(h))

    found = trace(both, (1, 16, 64), a=nn.Linear(64, 64), b=nn.Linear(64, 64))
    assert accelsim.run(EDGE, found).totals.dram_write_bytes == 2 * 16 * 64


def test_a_cache_is_read_and_what_is_new_is_written() -> None:
    def step(m: Call, x: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
        cache[:, 5:6].copy_(m.key(x))
        return x @ cache.mT

    found = trace(step, (1, 1, 16), (1, 32, 16), key=nn.Linear(16, 16))
    key, scores = found.layers
    assert (key.is_output, scores.second_inputs, scores.second_input_elements) == (True, ("input", "key"), 512)
    empty = trace(lambda m, x: m.key(torch.cat([torch.zeros(1, 0, 16), x], 1)), (1, 3, 16), key=nn.Linear(16, 16))
    assert empty.layers[0].inputs == ("input",)


def test_operations_in_place_change_what_is_read_later() -> None:
    def forward(m: Call, x: torch.Tensor) -> torch.Tensor:
        y = m.a(x)
        torch.relu_(y)
        y.view(-1).sigmoid_()
        return m.b(y)

    first = trace(forward, (2, 8), a=nn.Linear(8, 8), b=nn.Linear(8, 8)).layers[0]
    assert first.post_ops == ("scale", "relu", "sigmoid")


def test_shared_weights_and_tables_are_stored_once() -> None:
    def forward(m: Call, ids: torch.Tensor) -> torch.Tensor:
        x = m.table(ids.long()) + m.place(torch.arange(4))
        return functional.linear(m.a(m.a(x)), m.table.weight)

    layers = {"table": nn.Embedding(100, 32), "place": nn.Embedding(50, 32), "a": nn.Linear(32, 32, bias=False)}
    found = trace(forward, (1, 4), **layers)
    assert [(layer.name, layer.kind, layer.weights_of) for layer in found.layers] == [
        ("table", "embedding", ""), ("place", "embedding", ""), ("a", "linear", ""), ("a_2", "linear", "a"),
        ("table_2", "linear", "table"),
    ]  # fmt: skip
    result = accelsim.run(EDGE, found)
    assert result.workload.num_weights == found.num_parameters == 150 * 32 + 32 * 32
    assert result.totals.stored_bits.weight == 8 * (150 * 32 + 32 * 32)
    by_name = {layer.name: layer.dram_bytes.weight for layer in result.layers}
    assert by_name["place"] <= 4 * 32 + 64  # four rows of fifty, in whole bursts
    assert by_name["a_2"] >= 32 * 32


def test_experts_without_a_token_are_stored_and_not_fetched() -> None:
    forward = lambda m, x, ends: torch.ops.aten._grouped_mm(x, m.w, ends.int())  # noqa: E731, SLF001
    module = Call(forward, w=nn.Parameter(torch.zeros(8, 64, 32, dtype=torch.bfloat16))).eval()
    inputs = (torch.zeros(3, 64, dtype=torch.bfloat16), torch.zeros(8))
    found = trace_module(module, inputs)
    assert macs(found) == 3 * 64 * 32
    totals = accelsim.run(EDGE, found).totals
    assert totals.stored_bits.weight == 8 * 8 * 64 * 32
    assert totals.dram_bytes.weight < 4 * 64 * 32


def test_what_multiplies_is_never_left_out() -> None:
    odd = Call(lambda m, x: torch.kron(x, m.w), w=parameter(3, 8))
    with pytest.raises(TraceError, match="kron is not supported.*cannot be left out"):
        trace_module(odd, zeros((2, 8)), skip_unsupported=True)
    with pytest.raises(TraceError, match="matmul: its operands are complex"):
        trace(lambda m, x: torch.view_as_complex(x) @ torch.view_as_complex(m.w), (3, 4, 2), w=parameter(4, 5, 2))


@pytest.mark.parametrize(("convolve", "outs"), [(functional.conv2d, 7 * 7), (functional.conv_transpose2d, 9 * 9)])
def test_convolutions_whose_weights_the_network_computes_are_products(
    convolve: Callable[..., torch.Tensor], outs: int
) -> None:
    # Of each sample its own weights, by groups, as in CondConv and the generator of StyleGAN 2.
    found = trace(lambda m, x, w: convolve(x.view(1, -1, 9, 9), torch.relu(w).flatten(0, 1), groups=2),
                  (2, 3, 9, 9), (2, 3, 3, 3, 3))  # fmt: skip
    assert macs(found) == 2 * 3 * 3 * 9 * outs
    # Read once, in bursts of 64 B: 486 B of the input, whose windows overlap, and 162 B of what becomes the weights.
    assert accelsim.run(EDGE, found).totals.dram_bytes.activation_in == 512 + 192


def test_bilinear_layers_meet_one_input_after_the_other() -> None:
    found = trace(lambda m, x, y: m.both(x, y), (3, 4), (3, 5), both=nn.Bilinear(4, 5, 6))
    assert [layer.dims.macs for layer in found.layers] == [3 * 4 * 30, 3 * 6 * 5]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 2, 2), (3, 1, 0), (5, 1, 1), (3, 2, 0)]
)
def test_windows_in_three_dimensions_read_whole_slices(kernel: int, stride: int, padding: int) -> None:
    conv = nn.Conv3d(2, 4, kernel, stride, padding)
    layer = trace(lambda m, x: m.conv(x), (1, 2, 8, 28, 28), conv=conv).layers[0]
    dims = layer.dims
    outs = (8 + 2 * padding - kernel) // stride + 1  # of the depth, which lies inside
    for num_slices in (1, 2, dims.P // outs):
        first = (dims.P // outs - num_slices) // 2
        begin, end = (place * stride - padding for place in (first, first + num_slices - 1))
        needed = 8 * (min(end + kernel, 28) - max(begin, 0))
        last = dims.start(0, (first + num_slices) * outs - 1) + dims.span(0)
        assert min(last, dims.H) - max(dims.start(0, first * outs), 0) == needed
    task = LayerTask(layer, None, load_hardware("edge", []).config, 0, False, 0, 0, 0)
    for part in (rows_part(task, share) for share in shares(dims.P, 3)):  # cut within slices
        assert input_window(part, "P", 0, part.layer.dims.P) == (0, part.layer.dims.H)


def test_a_layer_that_multiplies_otherwise_than_its_operator_is_refused() -> None:
    found = trace(lambda m, x: m.linear(x), (2, 16), **LINEAR)
    work = [Work(Operation("linear", "linear", "y"), ("linear",), 2 * 16 * 8)]
    check_work("net", work, found.layers)
    wrong = (replace(found.layers[0], dims=replace(found.layers[0].dims, P=3)),)
    with pytest.raises(TraceError, match="has 256 multiply-accumulates by its shapes, its layers have 768"):
        check_work("net", work, wrong)


def test_a_run_of_nothing_is_refused() -> None:
    with pytest.raises(TraceError, match="none of its operations computes anything"):
        accelsim.run(EDGE, trace(lambda m, x: x.view(4, 4).t(), (16,)))


def test_an_axis_that_is_worked_across_is_no_batch() -> None:
    assert trace(lambda m, x: m.linear(x), (5, 16), **LINEAR).batch == 5
    assert trace(lambda m, x: m.linear(x.mT @ x), (5, 16), **LINEAR).batch == 1
    assert trace(lambda m, x: m.conv(x), (3, 9, 9), **CONV).batch == 1


def test_sizes_are_computed_without_evaluating_code() -> None:
    assert size_of("Mul(Integer(2), Symbol('s0', positive=True, integer=True))", {"s0": 3}) == 6
    assert size_of("2*s0 + FloorDiv(s1, 2)**2 - Max(1, s0)", {"s0": 3, "s1": 9}) == 19
    for text in ("s9", "s0/2", "__import__('os')", "s0.real", "10**9**9", "(" * 3000):
        with pytest.raises(ValueError, match="size"):
            size_of(text, {"s0": 3})
