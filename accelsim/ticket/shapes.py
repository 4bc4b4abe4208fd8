"""Shape inference, checks and parameter counts of layer graphs.

A graph may come from a file that someone else made, so every number is bounded here before memory depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from accelsim.errors import TicketError
from accelsim.ticket.graph import PARAMETRIC_KINDS, WEIGHTED_KINDS, GraphNode, NetworkGraph

Shape = tuple[int, ...]

MAX_NODES = 20_000
MAX_DIMENSION = 1 << 31
MAX_ELEMENTS = 1 << 40
MAX_OPS = 1 << 50
MAX_WEIGHTS = 1 << 40
MAX_NAME_LENGTH = 256

_FUNCTIONS = {
    "activation": frozenset({"relu", "relu6", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "sign", "hardswish"}),
    "pool": frozenset({"max", "avg"}),
    "global_pool": frozenset({"", "max", "avg"}),
    "norm": frozenset({"batch", "layer"}),
    "aggregate": frozenset({"mean", "sum"}),
    "concat": frozenset({"", "constant", "update"}),
    "reshape": frozenset({"", "select", "repeat"}),
    "softmax": frozenset({"", "causal"}),
}
_MAX_INPUTS = 1 << 12
_NUM_INPUTS = {
    "input": (0, 0), "matmul": (2, 2), "add": (1, 64), "multiply": (1, 64), "concat": (1, _MAX_INPUTS),
    "vector": (1, _MAX_INPUTS), "embedding": (0, 1),
}  # fmt: skip


class Axis(NamedTuple):
    """How a convolution or pool moves along one axis of a map."""

    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    output_padding: int

    def window(self, size: int) -> int:
        """Return how many windows fit ``size`` elements and the padding."""
        return (size + self.before + self.after - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def scattered(self, size: int) -> int:
        """Return the output size of the transposed operation."""
        spread = (size - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return spread - self.before - self.after + self.output_padding


def axes_of(node: GraphNode) -> tuple[Axis, ...]:
    """Return the axes (D), H, W of a convolution or pool."""
    depth = (Axis(*node.depth),) if node.depth else ()
    fields = zip(node.kernel, node.stride, node.paddings, node.dilation, node.output_padding, strict=True)
    return (*depth, *(Axis(size, step, *pads, gap, more) for size, step, pads, gap, more in fields))


def split_map(node: GraphNode, shape: Shape) -> tuple[int, int, Shape]:
    """Return samples, channels and (D), H, W of a map; a map of one sample need not say so."""
    rank = 3 if node.depth else 2
    allowed = "(C, D, H, W) or (N, C, D, H, W)" if node.depth else "(C, H, W) or (N, C, H, W)"
    _require(
        len(shape) - rank in (1, 2), node, f"input shape {shape} is not {allowed}", "give a map with channels first"
    )
    samples = shape[0] if len(shape) == rank + 2 else 1
    return samples, shape[-rank - 1], shape[-rank:]


def _require(condition: bool, node: GraphNode, problem: str, remedy: str) -> None:
    if not condition:
        raise TicketError(f"graph node {node.name!r} ({node.kind}): {problem}; {remedy}")


def _conv2d(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    _, channels, sizes = split_map(node, inputs[0])
    _check_groups(node, channels)
    out = (axis.window(size) for axis, size in zip(axes_of(node), sizes, strict=True))
    return (*inputs[0][: -len(sizes) - 1], node.out_channels, *out)


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
    _, channels, sizes = split_map(node, inputs[0])
    _check_groups(node, channels)
    out = (axis.scattered(size) for axis, size in zip(axes_of(node), sizes, strict=True))
    return (*inputs[0][: -len(sizes) - 1], node.out_channels, *out)


def _linear(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    shape = inputs[0]
    _require(node.out_channels >= 1, node, f"out_channels {node.out_channels} is not >= 1", "give the output features")
    _require(
        len(shape) <= 3,
        node,
        f"input shape {shape} is not (features,), (tokens, features) or (samples, tokens, features)",
        "put a reshape before it",
    )
    if node.groups == 1:
        return (*shape[:-1], node.out_channels)
    _require(
        len(shape) == 3 and shape[0] == node.groups and node.out_channels % node.groups == 0,
        node,
        f"input shape {shape} is not (groups, rows, features) of {node.groups} groups",
        "put a reshape before it",
    )
    return (*shape[:-1], node.out_channels // node.groups)


def _pool(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    sizes = split_map(node, inputs[0])[2]
    out = (axis.window(size) for axis, size in zip(axes_of(node), sizes, strict=True))
    return (*inputs[0][: -len(sizes)], *out)


def _same(_node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    return inputs[0]


def _broadcast(node: GraphNode, inputs: Sequence[Shape]) -> Shape:
    rank = max(map(len, inputs))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in inputs), strict=True)
    out = []
    for sizes in columns:
        _require(
            all(size in (1, max(sizes)) for size in sizes),
            node,
            f"input shapes {list(inputs)} do not match",
            "give inputs of one shape, or of size 1 where it repeats",
        )
        out.append(max(sizes))
    return tuple(out)


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
    if node.function == "update":
        return
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
    fits = {"select": after <= before, "repeat": after >= before}.get(node.function, after == before)
    _require(
        fits, node, f"{inputs[0]} has {before} elements and {node.out_shape} has {after}", "keep the element count"
    )


def _check_upsample(node: GraphNode, inputs: Sequence[Shape]) -> None:
    split_map(node, inputs[0])
    fits = len(node.out_shape) == len(inputs[0]) and node.out_shape[:-2] == inputs[0][:-2]
    _require(fits, node, f"{inputs[0]} cannot become {node.out_shape}", "keep the channels")


def _check_global_pool(node: GraphNode, inputs: Sequence[Shape]) -> None:
    shape = inputs[0]
    kept = shape[:-2] if len(shape) >= 3 else shape[-1:]
    allowed = {kept, (*kept, 1, 1) if len(shape) >= 3 else (1, *kept)}
    _require(
        node.out_shape in allowed, node, f"shape {node.out_shape} does not follow", f"give one of {sorted(allowed)}"
    )


def _check_vector(node: GraphNode, _inputs: Sequence[Shape]) -> None:
    _require(0 < len(node.function) <= MAX_NAME_LENGTH, node, "its function has no name", "name what it does")


def _check_embedding(node: GraphNode, _inputs: Sequence[Shape]) -> None:
    _require(node.num_rows >= 1, node, "num_rows is 0", "give the rows of the table")


_CHECKS: Mapping[str, Callable[[GraphNode, Sequence[Shape]], None]] = {
    "matmul": _check_matmul,
    "concat": _check_concat,
    "reshape": _check_reshape,
    "upsample": _check_upsample,
    "global_pool": _check_global_pool,
    "vector": _check_vector,
    "embedding": _check_embedding,
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
    natural = (*node.padding, *node.end_padding, *node.output_padding, *node.depth)
    natural += (node.out_channels, node.num_edges, node.num_rows)
    _require(
        all(0 <= value <= MAX_DIMENSION for value in natural),
        node,
        "padding, out_channels, num_edges or num_rows is out of range",
        f"give values from 0 to {MAX_DIMENSION}",
    )
    _require(node.kind != "aggregate" or node.num_edges > 0, node, "num_edges is 0", "give the edges of the graph")
    _require(
        len(node.end_padding) in (0, 2) and len(node.depth) in (0, 6) and 0 not in (node.depth[:2] + node.depth[4:5]),
        node,
        "end_padding or depth has another number of values, or a 0 among kernel, stride and dilation",
        "give two end paddings, or six values of depth",
    )
    _require(0 <= node.num_ops <= MAX_OPS, node, f"num_ops {node.num_ops} is out of range", f"give 0 to {MAX_OPS}")
    shape_fits = 1 <= len(node.out_shape) <= 5 and all(1 <= size <= MAX_DIMENSION for size in node.out_shape)
    _require(
        shape_fits, node, f"out_shape {node.out_shape} is not 1 to 5 sizes >= 1", "check kernel, stride and padding"
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
        _check_shared(node, {earlier.name: earlier for earlier in graph.nodes[:position]} if node.weights_of else {})
        if node.kind in PARAMETRIC_KINDS:
            num_weights += math.prod(node_weight_shape(node, inputs[0]))
            _require(num_weights <= MAX_WEIGHTS, node, f"the network passes {MAX_WEIGHTS} weights", "shrink it")
    for name in graph.outputs:
        if name not in shapes:
            raise TicketError(f"graph {graph.name!r}: output {name!r} does not exist; name a node of the graph")
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


def _check_shared(node: GraphNode, earlier: Mapping[str, GraphNode]) -> None:
    if node.weights_of:
        owner = earlier.get(node.weights_of)
        fits = owner is not None and owner.kind in WEIGHTED_KINDS and not owner.weights_of
        _require(fits, node, f"shares the weights of {node.weights_of!r}", "name an earlier node that has weights")


def node_weight_shape(node: GraphNode, source: Shape) -> Shape:
    """Return the weight shape of a node with weights whose input has shape ``source``, as torch has it.

    K(C/G)RS of a convolution, C(K/G)RS of a transposed one (with D before R where it has a depth), KC of a linear node,
    rows and their length of an embedding.
    """
    if node.kind == "embedding":
        return (node.num_rows, node.out_shape[-1])
    if node.kind == "linear":
        groups = node.num_rows or node.groups
        return (node.out_channels // node.groups * groups, source[-1])
    channels = split_map(node, source)[1]
    kernel = (*node.depth[:1], *node.kernel)
    if node.kind == "conv_transpose2d":
        return (channels, node.out_channels // node.groups, *kernel)
    return (node.out_channels, channels // node.groups, *kernel)


def weight_shapes(graph: NetworkGraph) -> dict[str, Shape]:
    """Return the weight shape of every node that a ticket has a layer for, in graph order: shared weights once.

    A table of embeddings has one where a product reads it too, as the output layer of a language model does.
    """
    shapes = {node.name: node.out_shape for node in graph.nodes}
    multiplied = {node.weights_of for node in graph.nodes if node.kind in PARAMETRIC_KINDS}
    return {
        node.name: node_weight_shape(node, shapes[node.inputs[0]] if node.inputs else ())
        for node in graph.nodes
        if not node.weights_of
        and (node.kind in PARAMETRIC_KINDS or (node.kind == "embedding" and node.name in multiplied))
    }


def num_channels(node: GraphNode) -> int:
    """Return how many scales the weights of a node have: one for each output channel, or row of a table."""
    return node.num_rows if node.kind == "embedding" else node.out_channels


def count_weights(graph: NetworkGraph) -> int:
    """Return the number of weights of convolutions, linear layers and products: what a supermask covers."""
    return sum(math.prod(shape) for shape in weight_shapes(graph).values())


def count_parameters(graph: NetworkGraph) -> int:
    """Return all trained parameters: weights and tables, biases, affine norms, tensors of ``add`` and ``concat``."""
    shapes = {node.name: node.out_shape for node in graph.nodes}
    covered = weight_shapes(graph)
    return sum(map(math.prod, covered.values())) + sum(
        _other_parameters(node, sum(math.prod(shapes[name]) for name in node.inputs))
        for node in graph.nodes
        if node.kind != "embedding" or node.name not in covered
    )


def _other_parameters(node: GraphNode, num_inputs: int) -> int:
    out = node.out_shape
    if node.kind in PARAMETRIC_KINDS and node.bias and not node.weights_of:
        return node.out_channels
    if node.kind == "embedding" and not node.weights_of:
        return node.num_rows * out[-1]
    if node.kind == "norm" and node.affine:
        channels = out[-3] if node.function == "batch" and len(out) >= 3 else out[-1]
        return 2 * (node.out_channels or channels)
    if node.kind == "add" and node.bias and not node.function:
        return math.prod(out)
    if node.kind == "concat" and node.bias and not node.function:
        return math.prod(out) - num_inputs
    return 0
