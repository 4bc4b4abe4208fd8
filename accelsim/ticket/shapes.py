"""Shape inference, checks and parameter counts of layer graphs.

A graph may come from a file that someone else made, so every number is bounded here before memory depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from accelsim.errors import TicketError
from accelsim.ticket.graph import PARAMETRIC_KINDS, GraphNode, NetworkGraph

Shape = tuple[int, ...]

MAX_NODES = 20_000
MAX_DIMENSION = 1 << 31
MAX_ELEMENTS = 1 << 40
MAX_WEIGHTS = 1 << 31
MAX_NAME_LENGTH = 256

_FUNCTIONS = {
    "activation": frozenset({"relu", "relu6", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "sign", "hardswish"}),
    "pool": frozenset({"max", "avg"}),
    "global_pool": frozenset({"", "max", "avg"}),
    "norm": frozenset({"batch", "layer"}),
    "aggregate": frozenset({"mean", "sum"}),
    "reshape": frozenset({"", "select", "repeat"}),
}
_NUM_INPUTS = {"input": (0, 0), "matmul": (2, 2), "add": (1, 64), "multiply": (1, 64), "concat": (1, 64)}


def _window(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _require(condition: bool, node: GraphNode, problem: str, remedy: str) -> None:
    if not condition:
        raise TicketError(f"graph node {node.name!r} ({node.kind}): {problem}; {remedy}")


def _require_map(node: GraphNode, shape: Shape) -> None:
    _require(len(shape) == 3, node, f"input shape {shape} is not (C, H, W)", "give a map with channels first")


def _conv2d(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    _require_map(node, inputs[0])
    C, H, W = inputs[0]
    _check_groups(node, C)
    P, Q = (
        _window(size, node.kernel[i], node.stride[i], node.padding[i], node.dilation[i])
        for i, size in enumerate((H, W))
    )
    return (node.out_channels, P, Q)


def _check_groups(node: GraphNode, channels: int) -> None:
    _require(
        node.out_channels >= 1, node, f"out_channels {node.out_channels} is not >= 1", "give the number of filters"
    )
    divides = node.groups >= 1 and channels % node.groups == 0 and node.out_channels % node.groups == 0
    _require(
        divides,
        node,
        f"groups {node.groups} does not divide {channels} input and {node.out_channels} output channels",
        "give a common divisor",
    )


def _conv_transpose2d(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    _require_map(node, inputs[0])
    C, H, W = inputs[0]
    _check_groups(node, C)
    P, Q = (
        (size - 1) * node.stride[i]
        - 2 * node.padding[i]
        + node.dilation[i] * (node.kernel[i] - 1)
        + node.output_padding[i]
        + 1
        for i, size in enumerate((H, W))
    )
    return (node.out_channels, P, Q)


def _linear(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    _require(node.out_channels >= 1, node, f"out_channels {node.out_channels} is not >= 1", "give the output features")
    _require(
        len(inputs[0]) <= 2,
        node,
        f"input shape {inputs[0]} is not (features,) or (tokens, features)",
        "put a reshape before it",
    )
    return (*inputs[0][:-1], node.out_channels)


def _pool(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    _require_map(node, inputs[0])
    C, H, W = inputs[0]
    P, Q = (
        _window(size, node.kernel[i], node.stride[i], node.padding[i], node.dilation[i])
        for i, size in enumerate((H, W))
    )
    return (C, P, Q)


def _same(_node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    return inputs[0]


def _broadcast(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    full = max(inputs, key=lambda shape: (len(shape), math.prod(shape)))
    for shape in inputs:
        tail = (1,) * (len(full) - len(shape)) + shape
        fits = all(a in (b, 1) for a, b in zip(tail, full, strict=True))
        _require(
            fits,
            node,
            f"input shapes {list(inputs)} do not match",
            "give inputs of one shape, or of size 1 where it repeats",
        )
    return full


INFERENCE: Mapping[str, Callable[[GraphNode, Sequence[Shape]], Shape]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "linear": _linear,
    "pool": _pool,
    "norm": _same,
    "activation": _same,
    "softmax": _same,
    "aggregate": _same,
    "add": _broadcast,
    "multiply": _broadcast,
}


def matmul_dims(node: GraphNode, first: Shape, second: Shape) -> tuple[int, int, int]:
    """Return (M, K, N) per head of a ``matmul`` node; TicketError where the operands do not fit.

    An operand is (rows, heads * columns) or (heads, rows, columns).
    """
    heads = node.num_heads

    def split(shape: Shape) -> tuple[int, int]:
        if len(shape) == 3 and shape[0] == heads:
            return shape[1], shape[2]
        _require(
            len(shape) == 2 and shape[1] % heads == 0,
            node,
            f"operand shape {shape} does not split into {heads} heads",
            "give (rows, heads * columns) or (heads, rows, columns)",
        )
        return shape[0], shape[1] // heads

    height, K = split(first)
    rows, columns = split(second)
    inner, N = (columns, rows) if node.transpose_b else (rows, columns)
    _require(inner == K, node, f"operands {first} and {second} do not chain ({K} is not {inner})", "check transpose_b")
    return height, K, N


def _check_matmul(node: GraphNode, inputs: Sequence[Shape]) -> None:
    rows, _, columns = matmul_dims(node, inputs[0], inputs[1])
    allowed = {(node.num_heads, rows, columns), (rows, node.num_heads * columns)}
    _require(
        node.out_shape in allowed, node, f"shape {node.out_shape} does not follow", f"give one of {sorted(allowed)}"
    )


def _check_concat(node: GraphNode, inputs: Sequence[Shape]) -> None:
    out = node.out_shape
    _require(
        all(len(shape) == len(out) for shape in inputs),
        node,
        f"inputs {list(inputs)} differ in rank",
        "reshape them first",
    )
    for axis in range(len(out)):
        rest = {shape[:axis] + shape[axis + 1 :] for shape in inputs}
        total = sum(shape[axis] for shape in inputs)
        fits = total < out[axis] if node.bias else total == out[axis]
        if rest == {out[:axis] + out[axis + 1 :]} and fits:
            return
    _require(False, node, f"inputs {list(inputs)} do not join to {out}", "give shapes that differ in one axis only")


def _check_reshape(node: GraphNode, inputs: Sequence[Shape]) -> None:
    before, after = math.prod(inputs[0]), math.prod(node.out_shape)
    fits = {"select": after <= before, "repeat": after % before == 0}.get(node.function, after == before)
    _require(
        fits, node, f"{inputs[0]} has {before} elements and {node.out_shape} has {after}", "keep the element count"
    )


def _check_upsample(node: GraphNode, inputs: Sequence[Shape]) -> None:
    _require_map(node, inputs[0])
    fits = len(node.out_shape) == 3 and node.out_shape[0] == inputs[0][0]
    _require(fits, node, f"{inputs[0]} cannot become {node.out_shape}", "keep the channels")


def _check_global_pool(node: GraphNode, inputs: Sequence[Shape]) -> None:
    shape = inputs[0]
    allowed = {(shape[0],), (shape[0], 1, 1)} if len(shape) == 3 else {(shape[-1],), (1, shape[-1])}
    _require(
        node.out_shape in allowed, node, f"shape {node.out_shape} does not follow", f"give one of {sorted(allowed)}"
    )


_CHECKS: Mapping[str, Callable[[GraphNode, Sequence[Shape]], None]] = {
    "matmul": _check_matmul,
    "concat": _check_concat,
    "reshape": _check_reshape,
    "upsample": _check_upsample,
    "global_pool": _check_global_pool,
}


def _check_fields(node: GraphNode) -> None:
    _require(0 < len(node.name) <= MAX_NAME_LENGTH, node, "the name is empty or too long", "use 1 to 256 characters")
    _require(node.name.isprintable(), node, "the name has control characters", "use printable characters")
    positive = (*node.kernel, *node.stride, *node.dilation, node.groups, node.num_heads)
    _require(
        all(1 <= value <= MAX_DIMENSION for value in positive),
        node,
        "kernel, stride, dilation, groups or num_heads is out of range",
        f"give values from 1 to {MAX_DIMENSION}",
    )
    natural = (*node.padding, *node.output_padding, node.out_channels, node.num_edges)
    _require(
        all(0 <= value <= MAX_DIMENSION for value in natural),
        node,
        "padding, out_channels or num_edges is out of range",
        f"give values from 0 to {MAX_DIMENSION}",
    )
    _require(node.kind != "aggregate" or node.num_edges > 0, node, "num_edges is 0", "give the edges of the graph")
    shape_fits = 1 <= len(node.out_shape) <= 4 and all(1 <= size <= MAX_DIMENSION for size in node.out_shape)
    _require(
        shape_fits, node, f"out_shape {node.out_shape} is not 1 to 4 sizes >= 1", "check kernel, stride and padding"
    )
    _require(
        math.prod(node.out_shape) <= MAX_ELEMENTS, node, f"out_shape {node.out_shape} is too large", "shrink the input"
    )
    allowed = _FUNCTIONS.get(node.kind)
    if allowed is not None:
        _require(
            node.function in allowed, node, f"unknown function {node.function!r}", f"give one of {sorted(allowed)}"
        )


def _check_inputs(node: GraphNode, shapes: Mapping[str, Shape], all_names: frozenset[str]) -> None:
    low, high = _NUM_INPUTS.get(node.kind, (1, 1))
    _require(low <= len(node.inputs) <= high, node, f"has {len(node.inputs)} inputs", f"give {low} to {high}")
    for name in node.inputs:
        _require(name in all_names, node, f"input {name!r} does not exist", "name a node of the graph")
        _require(name in shapes, node, f"input {name!r} stands after it or forms a cycle", "put producers before users")


def check_graph(graph: NetworkGraph) -> dict[str, Shape]:
    """Check that a graph is sound, and return the output shape of each node.

    Inputs exist and stand before their users (so there are no cycles), names are unique, the first node alone is the
    input, shapes follow from the inputs' shapes, and every size is bounded.

    Raises
    ------
    TicketError
        Naming the first node that is wrong, what is wrong and what is allowed.
    """
    if not 1 <= len(graph.nodes) <= MAX_NODES:
        raise TicketError(
            f"graph {graph.name!r}: {len(graph.nodes)} nodes; 1 to {MAX_NODES} are allowed, split the network"
        )
    all_names = frozenset(node.name for node in graph.nodes)
    shapes: dict[str, Shape] = {}
    num_weights = 0
    for position, node in enumerate(graph.nodes):
        _check_fields(node)
        _require(node.name not in shapes, node, "the name is used twice", "rename one of them")
        is_first = position == 0
        _require(
            (node.kind == "input") == is_first, node, "the first node, and only it, is the input", "reorder the nodes"
        )
        _check_inputs(node, shapes, all_names)
        inputs = [shapes[name] for name in node.inputs]
        _check_shape(node, inputs)
        shapes[node.name] = node.out_shape
        if node.kind in PARAMETRIC_KINDS:
            num_weights += math.prod(node_weight_shape(node, inputs[0]))
            _require(num_weights <= MAX_WEIGHTS, node, f"the network passes {MAX_WEIGHTS} weights", "shrink it")
    return shapes


def _check_shape(node: GraphNode, inputs: Sequence[Shape]) -> None:
    if node.kind == "input":
        return
    infer, check = INFERENCE.get(node.kind), _CHECKS.get(node.kind)
    if infer is not None:
        expected = infer(node, inputs)
        problem = f"out_shape {node.out_shape} does not follow from inputs {list(inputs)}"
        _require(node.out_shape == expected, node, problem, f"expected {expected}")
    elif check is not None:
        check(node, inputs)
    else:
        _require(False, node, f"unknown kind {node.kind!r}", f"give one of {sorted({*INFERENCE, *_CHECKS, 'input'})}")


def node_weight_shape(node: GraphNode, source: Shape) -> Shape:
    """Return the weight shape of a weighted node whose input has shape ``source``: KCRS, KC or (transposed) CKRS."""
    if node.kind == "linear":
        return (node.out_channels, source[-1])
    if node.kind == "conv_transpose2d":
        return (source[0], node.out_channels // node.groups, *node.kernel)
    return (node.out_channels, source[0] // node.groups, *node.kernel)


def weight_shapes(graph: NetworkGraph) -> dict[str, Shape]:
    """Return the weight shape of every weighted node, in graph order."""
    shapes = {node.name: node.out_shape for node in graph.nodes}
    return {
        node.name: node_weight_shape(node, shapes[node.inputs[0]])
        for node in graph.nodes
        if node.kind in PARAMETRIC_KINDS
    }


def count_weights(graph: NetworkGraph) -> int:
    """Return the number of weights of convolutions and linear layers: what a supermask covers."""
    return sum(math.prod(shape) for shape in weight_shapes(graph).values())


def count_parameters(graph: NetworkGraph) -> int:
    """Return all trained parameters: weights, biases, affine norms, and the tensors of ``add`` and ``concat`` nodes."""
    shapes = {node.name: node.out_shape for node in graph.nodes}
    total = count_weights(graph)
    for node in graph.nodes:
        out = node.out_shape
        if node.kind in PARAMETRIC_KINDS and node.bias:
            total += node.out_channels
        elif node.kind == "norm" and node.affine:
            total += 2 * (node.out_channels or (out[0] if node.function == "batch" and len(out) == 3 else out[-1]))
        elif node.kind == "add" and node.bias and not node.function:
            total += math.prod(out)
        elif node.kind == "concat" and node.bias:
            total += math.prod(out) - sum(math.prod(shapes[name]) for name in node.inputs)
    return total
