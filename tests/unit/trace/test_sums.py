"""Sums of products that modules spell as products by elements and sums, and chains of matrices."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from accelsim.errors import TraceError
from accelsim.trace.exported import program_of
from accelsim.trace.modules import graph_from_program, trace_module
from accelsim.trace.records import Ref

X, Y, WEIGHTS = torch.zeros(4, 10, 32), torch.zeros(4, 10), torch.zeros(7, 32)
Forward = Callable[["Spelled", torch.Tensor, torch.Tensor], torch.Tensor]
# how a module writes it, and what it multiplies
SPELLINGS: dict[str, tuple[Forward, int]] = {
    "weights of one output": (lambda m, x, y: (x * m.w[0]).sum(-1), 4 * 320),
    "a linear layer": (lambda m, x, y: (x.unsqueeze(-2) * m.w).sum(-1), 7 * 4 * 320),
    "a linear layer, kept axis": (lambda m, x, y: (m.w * x[:, :, None]).mean(-1, keepdim=True), 7 * 4 * 320),
    "views and numbers between": (
        lambda m, x, y: (x * m.w[0] * 0.5).double().transpose(1, 2).flatten(1).sum(1),
        4 * 320,
    ),
    "axes that a view cuts": (lambda m, x, y: (x * m.w[0]).view(4, 10, 4, 8).sum(-1), 4 * 320),
    "all axes": (lambda m, x, y: (x * m.w[0]).sum(), 4 * 320),
    "weights of positions": (lambda m, x, y: (x * y.unsqueeze(-1).expand(x.shape)).sum(1) / y.sum(1, True), 4 * 320),
    "nothing that both have": (lambda m, x, y: (x * y.unsqueeze(-1)).sum(-1), 0),
    "a norm": (lambda m, x, y: (x * x).sum(-1), 0),
    "a product that is read elsewhere": (lambda m, x, y: (z := x * m.w[0]) + z.sum(-1, True), 0),
}


class Spelled(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.w, self.spelled = nn.Parameter(WEIGHTS.clone()), forward

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.spelled(self, x, y)


def macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    return sum(layer.dims.macs for layer in trace_module(module, inputs).layers if layer.uses_array)


@pytest.mark.parametrize("name", SPELLINGS)
def test_products_that_go_only_into_a_sum_are_matrix_products(name: str) -> None:
    forward, expected = SPELLINGS[name]
    assert macs(Spelled(forward), X, Y) == expected


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x, y: torch.linalg.multi_dot([y.T, x[:, 0], m.w.T]),
        lambda m, x, y: torch.linalg.multi_dot([y[:, 0], x[:, 0], m.w.T]),
        lambda m, x, y: torch.linalg.multi_dot([x[0].T, y.T, x[:, 0], m.w.T]),
        lambda m, x, y: torch.einsum("bb,bk,nk->bn", x[:, :4, 0], x[:, 0], m.w),
    ],
)
def test_chains_and_diagonals_count_as_torch_counts_them(forward: Forward) -> None:
    module = Spelled(forward)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(X, Y)
    assert macs(module, X, Y) == counter.get_total_flops() // 2


def test_sums_behind_a_view_that_cuts_axes_are_named() -> None:
    module = Spelled(lambda m, x, y: (x[0] * m.w[:1]).reshape(-1, 5).sum(-1))
    (remark,) = trace_module(module, (X, Y)).remarks
    assert "(1, the first at 'sum_1')" in remark


@pytest.mark.parametrize("change", [{"outputs": ()}, {"arguments": {}}, {"arguments": {"tensors": [Ref("gone")]}}])
def test_damaged_chains_are_refused(change: dict[str, object]) -> None:
    module = Spelled(lambda m, x, y: torch.linalg.multi_dot([x[0], m.w.T, m.w]).relu())
    program = program_of(torch.export.export(module, (X, Y)), "net")
    records = [replace(each, **change) if "dot" in each.target else each for each in program.records]
    with pytest.raises(TraceError):
        graph_from_program(replace(program, records=tuple(records)))


def test_decomposed_modules_store_each_weight_once() -> None:
    attention, pair = nn.MultiheadAttention(16, 4, batch_first=True), nn.Bilinear(4, 5, 6)
    for module, inputs in ((attention, [torch.zeros(2, 5, 16)] * 3), (pair, [torch.zeros(3, 4), torch.zeros(3, 5)])):
        exported = torch.export.export(module.eval(), tuple(inputs)).run_decompositions()
        layers, plain = trace_module(exported).layers, trace_module(module, tuple(inputs)).layers
        work = [
            (sum(layer.dims.macs for layer in each if layer.uses_array),
             sum(layer.weights.num_weights for layer in each if layer.weights and not layer.weights_of))
            for each in (layers, plain)
        ]  # fmt: skip
        assert work[0] == work[1]
