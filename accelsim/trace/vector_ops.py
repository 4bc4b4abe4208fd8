"""How many vector operations each node costs.

One operation is one multiply, add, compare or table look-up on one element in a lane of the vector unit. Per output
element unless stated:

==================  =====================================================================================
scale               2: every weighted layer multiplies its sum by ``scale_K`` and adds ``offset_K``; a batch
                    normalisation right behind it, and its bias, fold into these two
norm (batch)        2: multiply, add (where it does not fold)
norm (layer)        7: sum; subtract, square, sum; multiply; scale, shift
relu, sign          1: compare
relu6, leaky_relu   2: two compares; compare, multiply
sigmoid, tanh       4: range reduction, table look-up, multiply, add (piecewise linear)
silu, hardswish     5: as sigmoid, and a multiply
gelu                8: x / sqrt 2, erf as a piecewise polynomial of order 3 (5), add, multiply
add, multiply       1 per input after the first (and one for a trained tensor); a constant number right behind the
                    weights folds into the scale
softmax             4: maximum, exponential of the difference, sum, divide
pool                R S: compares or adds, and one multiply or copy
global_pool         H W (or tokens): adds, and one multiply
upsample            1: copy
==================  =====================================================================================

These counts are choices of this model, made for a plain SIMD lane; no published figure is behind them.
"""

from __future__ import annotations

from math import prod

from accelsim.ticket.graph import GraphNode

SCALE_OPS = 2
GATES = frozenset({"lstm", "gru", "rnn"})
"""Vector operations of a recurrent step: they turn the sums of all gates into one state, where the array has them."""

ACTIVATION_OPS = {
    "relu": 1,
    "sign": 1,
    "relu6": 2,
    "leaky_relu": 2,
    "sigmoid": 4,
    "tanh": 4,
    "silu": 5,
    "hardswish": 5,
    "gelu": 8,
}
NORM_OPS = {"batch": 2, "layer": 7}
SOFTMAX_OPS = 4


def ops_per_output(node: GraphNode, input_shape: tuple[int, ...]) -> int:
    """Return the vector operations per output element of a node whose first input has ``input_shape``."""
    match node.kind:
        case "norm":
            return NORM_OPS[node.function]
        case "activation":
            return ACTIVATION_OPS[node.function]
        case "add" | "multiply":
            return len(node.inputs) - 1 + int(node.bias)
        case "softmax":
            return SOFTMAX_OPS
        case "pool":
            return prod((*node.kernel, *node.depth[:1]))
        case "global_pool":
            return prod(input_shape[-2:]) if len(input_shape) >= 3 else prod(input_shape[:-1])
        case "upsample":
            return 1
        case _:
            return 0


def op_name(node: GraphNode) -> str:
    """Return the name that stands in ``post_ops``: ``norm relu gelu add softmax max_pool ...``."""
    if node.kind == "activation":
        return node.function
    if node.kind == "norm":
        return "norm" if node.function == "batch" else "layer_norm"
    if node.kind == "pool":
        return f"{node.function}_pool"
    if node.kind == "global_pool":
        return f"{node.function or 'avg'}_pool"
    return node.function if node.kind == "vector" else node.kind
