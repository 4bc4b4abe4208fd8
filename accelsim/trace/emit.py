"""Turns the operations of an exported module, one after the other, into a layer graph.

Front ends know operators and full shapes, batch included; the emitter drops the batch, keeps data that is only viewed
in place, and inserts a ``reshape`` node where a consumer needs another view. Transposes and permutations count as
views: a buffer can be read in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import GraphNode, NetworkGraph, NodeKind

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: the graph node that holds it (None: it does not depend on the input), and its full shape."""

    node: str | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation stands: its operator, its place in the module, and the name of its (first) output."""

    target: str
    place: str
    output: str


class Emitter:
    """Builds the graph; each method makes one value from earlier ones."""

    def __init__(self, name: str, input_name: str, input_shape: Shape, *, skip_unsupported: bool = False) -> None:
        if not input_shape or not all(size >= 1 for size in input_shape):
            raise TraceError(f"{name}: input shape {input_shape} has no batch or an empty axis; give an example input")
        self._name = name
        self._batch = input_shape[0]
        self._builder = GraphBuilder(name, self.canonical(input_shape), trained=True)
        self._values: dict[str, Value] = {input_name: Value("input", input_shape)}
        self._names: set[str] = {"input"}
        self._views: dict[tuple[str, Shape, str], str] = {}
        self._skip = skip_unsupported
        self.skipped: Counter[str] = Counter()

    # Values

    def value(self, name: str) -> Value:
        """Return a tensor; TraceError where no operation made it."""
        if name not in self._values:
            raise TraceError(f"{self._name}: tensor {name!r} is used before it is made; the file is damaged")
        return self._values[name]

    def constant(self, name: str, shape: Shape) -> None:
        """Declare a tensor that does not depend on the input."""
        self._values[name] = Value(None, shape)

    def _bind(self, name: str, node: str, shape: Shape) -> None:
        self._values[name] = Value(node, shape)

    def canonical(self, shape: Shape) -> Shape:
        """Return a shape without its batch axis and with at most three axes."""
        axis = self._batch_axis(shape)
        if axis is not None:
            rest = shape[:axis] + shape[axis + 1 :]
        elif shape and shape[0] % self._batch == 0:
            rest = (shape[0] // self._batch, *shape[1:])
        else:
            rest = shape
        rest = rest or (1,)
        return (prod(rest[:-2]), *rest[-2:]) if len(rest) > 3 else rest

    def _batch_axis(self, shape: Shape) -> int | None:
        return shape.index(self._batch) if self._batch in shape else None

    def count(self, shape: Shape) -> int:
        """Return the elements of a full shape without batch."""
        total = prod(shape)
        return total // self._batch if total % self._batch == 0 else total

    def unique(self, wanted: str) -> str:
        """Return a node name that is not taken."""
        name, copy = wanted or "node", 1
        while name in self._names:
            copy += 1
            name = f"{wanted}_{copy}"
        self._names.add(name)
        return name

    def fetch(self, name: str, shape: Shape) -> str:
        """Return a node that holds a value in the wanted shape, viewing, selecting or repeating where needed."""
        node = self.value(name).node
        if node is None:
            raise TraceError(
                f"{self._name}: tensor {name!r} does not depend on the input, where activations are needed"
            )
        return self._view(node, shape)

    def _view(self, node: str, shape: Shape) -> str:
        have = self._builder.shape(node)
        if have == shape:
            return node
        before, after = prod(have), prod(shape)
        if before == after:
            function = ""
        elif after < before:
            function = "select"
        elif after % before == 0:
            function = "repeat"
        else:
            raise TraceError(
                f"{self._name}: {node!r} of shape {have} cannot be read as {shape}; the operation is not supported"
            )
        key = (node, shape, function)
        if key not in self._views:
            self._views[key] = self._add(
                GraphNode(self.unique(f"{node}.view"), "reshape", (node,), shape, function=function)
            )
        return self._views[key]

    def _add(self, node: GraphNode) -> str:
        try:
            return self._builder.add_node(node)
        except TicketError as error:
            raise TraceError(f"{self._name}: {error}") from error

    def build(self, outputs: Sequence[str] = ()) -> NetworkGraph:
        """Return the checked graph, without what none of the outputs needs."""
        try:
            graph = self._builder.build()
        except TicketError as error:
            raise TraceError(f"{self._name}: {error}") from error
        wanted = {
            value.node for value in map(self._values.get, outputs) if value is not None and value.node is not None
        }
        return _needed(graph, wanted) if wanted else graph

    # Operations

    def view(self, operation: Operation, source: str, shape: Shape) -> None:
        """Bind a view, a part or a repetition; nothing is computed."""
        value = self.value(source)
        if value.node is None:
            self.constant(operation.output, shape)
            return
        same = self.count(shape) == prod(self._builder.shape(value.node))
        node = value.node if same else self._view(value.node, self.canonical(shape))
        self._bind(operation.output, node, shape)

    def simple(
        self,
        operation: Operation,
        kind: NodeKind,
        source: str,
        shape: Shape,
        *,
        function: str = "",
        affine: bool = False,
        leading_name: str = "",
    ) -> None:
        """Bind an operation that keeps the shape: activation, softmax, norm."""
        wanted = self.canonical(shape)
        name = self.unique(leading_name or operation.output)
        node = GraphNode(name, kind, (self.fetch(source, wanted),), wanted, function=function, affine=affine)
        self._bind(operation.output, self._add(node), shape)

    def elementwise(
        self, operation: Operation, kind: NodeKind, sources: Sequence[str], shape: Shape, *, constant: str | None = None
    ) -> None:
        """Bind a sum or product; ``constant`` is ``""`` where a trained tensor joins, ``"constant"`` for another."""
        wanted = self.canonical(shape)
        nodes = tuple(self.fetch(source, self._operand_shape(source, shape)) for source in sources)
        node = GraphNode(
            self.unique(operation.output), kind, nodes, wanted, function=constant or "", bias=constant is not None
        )
        if prod(self._builder.shape(nodes[0])) != prod(wanted) and len(nodes) == 1:
            node = replace(node, inputs=(self._view(nodes[0], wanted),))
        self._bind(operation.output, self._add(node), shape)

    def _operand_shape(self, source: str, shape: Shape) -> Shape:
        """Return the shape in which an operand repeats over the result, or the result's where that has no axis of 1."""
        wanted = self.canonical(shape)
        operand = self.value(source).shape
        if self.count(operand) == prod(wanted):
            return wanted
        padded = (1,) * (len(shape) - len(operand)) + operand
        axis = self._batch_axis(shape)
        rest = padded[:axis] + padded[axis + 1 :] if axis is not None else padded
        if len(rest) == len(wanted) and all(a in (b, 1) for a, b in zip(rest, wanted, strict=True)):
            return rest
        return wanted

    def conv(self, operation: Operation, source: str, shape: Shape, template: GraphNode, *, leading_name: str) -> None:
        """Bind a convolution; ``template`` has its fields without name, inputs and shape; 1-D ones get H = 1."""
        have = self.value(source).shape
        wanted = have[1:] if len(have) == 4 else (have[-2], 1, have[-1])
        node = replace(template, name=self.unique(leading_name), inputs=(self.fetch(source, wanted),))
        added = self._add(node)
        expected = shape[1:] if len(shape) == 4 else (shape[-2], 1, shape[-1])
        if self._builder.shape(added) != expected:
            raise TraceError(
                f"{self._name}: {operation.place}: {operation.target} gives {expected}, its arguments "
                f"{self._builder.shape(added)}; uneven padding is not supported here"
            )
        self._bind(operation.output, added, shape)

    def linear(
        self,
        operation: Operation,
        source: str,
        shape: Shape,
        *,
        leading_name: str,
        bias: bool,
        features: int | None = None,
    ) -> None:
        """Bind a product with weights; ``features`` is the reduced size where it is not the source's last axis."""
        inner = features or self.value(source).shape[-1]
        rows = self.count(self.value(source).shape) // inner
        wanted = (rows, inner) if rows > 1 else (inner,)
        out_features = self.count(shape) // rows
        node = GraphNode(
            self.unique(leading_name), "linear", (self.fetch(source, wanted),), (), out_features, bias=bias
        )
        self._bind(operation.output, self._add(node), shape)

    def matmul(self, operation: Operation, first: str, second: str, shape: Shape, *, transpose_b: bool = False) -> None:
        """Bind a product of two activations; leading axes are heads."""
        (height, inner), have = self.value(first).shape[-2:], self.value(second).shape
        columns = have[-2] if transpose_b else have[-1]
        heads = max(1, self.count(shape) // (height * columns))
        operand = (heads, columns, inner) if transpose_b else (heads, inner, columns)
        node = GraphNode(
            self.unique(operation.output),
            "matmul",
            (self.fetch(first, (heads, height, inner)), self.fetch(second, operand)),
            (heads, height, columns),
            num_heads=heads,
            transpose_b=transpose_b,
        )
        self._bind(operation.output, self._add(node), shape)

    def attention(self, operation: Operation, query: str, key: str, value: str, shape: Shape) -> None:
        """Bind scaled dot-product attention: two products and a softmax; a mask is part of the softmax."""
        q, k = self.value(query).shape, self.value(key).shape
        scores = (*q[:-1], k[-2])
        names = [f"{operation.output}.{part}" for part in ("scores", "softmax")]
        self.matmul(replace(operation, output=names[0]), query, key, scores, transpose_b=True)
        self.simple(replace(operation, output=names[1]), "softmax", names[0], scores)
        self.matmul(operation, names[1], value, shape)

    def pool(self, operation: Operation, source: str, shape: Shape, template: GraphNode) -> None:
        """Bind a pool; where the size is rounded up, one more row of padding stands in for it."""
        have = self.value(source).shape
        wanted, expected = ((s[1:] if len(s) == 4 else (s[-2], 1, s[-1])) for s in (have, shape))
        node = replace(template, inputs=(self.fetch(source, wanted),))
        fields = (node.kernel, node.stride, node.padding, node.dilation)
        for extra in (0, 1):
            padding = tuple(
                pad + (extra if _pooled(wanted[axis + 1], fields, axis, pad) != expected[axis + 1] else 0)
                for axis, pad in enumerate(node.padding)
            )
            sizes = [_pooled(wanted[axis + 1], fields, axis, padding[axis]) for axis in range(2)]
            if sizes == list(expected[1:]):
                node = replace(node, name=self.unique(operation.output), padding=(padding[0], padding[1]))
                self._bind(operation.output, self._add(node), shape)
                return
        raise TraceError(
            f"{self._name}: {operation.place}: {operation.target} makes {expected} of {wanted}; "
            "uneven pools are not supported"
        )

    def reduce(self, operation: Operation, source: str, shape: Shape, axes: Sequence[int]) -> None:
        """Bind a mean, sum or maximum over axes: a global pool where it is one, else one operation per element."""
        have = self.value(source).shape
        reduced = {axis % len(have) for axis in axes}
        kept = [axis for axis in range(1, len(have)) if axis not in reduced]
        is_leading = bool(kept) and kept == list(range(1, len(kept) + 1)) and len(kept) == 1
        rows = prod(have[axis] for axis in reduced)
        view: Shape
        if is_leading:
            sizes = [have[axis] for axis in sorted(reduced)]
            view = (have[1], *sizes) if len(sizes) == 2 else (have[1], rows, 1)
        elif kept == [len(have) - 1]:
            view = (rows, have[-1])
        else:
            part = replace(operation, output=f"{operation.output}.terms")
            self.elementwise(part, "multiply", [source], have, constant="constant")
            self.view(operation, part.output, shape)
            return
        out = (view[0],) if len(view) == 3 else (view[-1],)
        node = GraphNode(self.unique(operation.output), "global_pool", (self.fetch(source, view),), out)
        self._bind(operation.output, self._add(node), shape)

    def resize(self, operation: Operation, source: str, shape: Shape) -> None:
        """Bind an interpolation or padding: one copy per output."""
        have = self.value(source).shape
        if len(shape) < 3 or self.canonical(have)[0] != self.canonical(shape)[0]:
            self.unsupported(operation, [source], shape)
            return
        wanted, out = ((s[-3:] if len(s) == 4 else (s[-2], 1, s[-1])) for s in (have, shape))
        node = GraphNode(self.unique(operation.output), "upsample", (self.fetch(source, wanted),), out)
        self._bind(operation.output, self._add(node), shape)

    def concat(self, operation: Operation, sources: Sequence[str], shape: Shape) -> None:
        """Bind a concatenation; constants that join count as trained tensors."""
        live = [source for source in sources if self.value(source).node is not None]
        wanted = self.canonical(shape)
        shapes = [self.canonical(self.value(source).shape) for source in live]
        if not _joins(shapes, wanted, has_constant=len(live) < len(sources)):
            wanted = (prod(wanted),)
            shapes = [(prod(part),) for part in shapes]
        nodes = tuple(self.fetch(source, part) for source, part in zip(live, shapes, strict=True))
        node = GraphNode(self.unique(operation.output), "concat", nodes, wanted, bias=len(live) < len(sources))
        self._bind(operation.output, self._add(node), shape)

    def unsupported(self, operation: Operation, sources: Sequence[str], shape: Shape) -> None:
        """Refuse an operation by name and place, or count it and pass its input on."""
        if not self._skip:
            raise TraceError(
                f"{self._name}: {operation.place}: operation {operation.target} is not supported; "
                "leave it out of the module, or count such operations instead with --skip-unsupported"
            )
        self.skipped[operation.target] += 1
        live = [self.value(source) for source in sources if self.value(source).node is not None]
        if not live:
            self.constant(operation.output, shape)
            return
        source = max(live, key=lambda value: prod(value.shape)).node or "input"
        try:
            self._bind(operation.output, self._view(source, self.canonical(shape)), shape)
        except TraceError:
            flat = self._view(source, (prod(self._builder.shape(source)),))
            filler = GraphNode(
                self.unique(operation.output), "concat", (flat,), (prod(self.canonical(shape)),), bias=True
            )
            self._bind(operation.output, self._add(filler), shape)


def _needed(graph: NetworkGraph, wanted: set[str]) -> NetworkGraph:
    needed = {*wanted, graph.nodes[0].name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return NetworkGraph(graph.name, tuple(node for node in graph.nodes if node.name in needed))


def _pooled(size: int, fields: tuple[tuple[int, int], ...], axis: int, padding: int) -> int:
    kernel, stride, _, dilation = (pair[axis] for pair in fields)
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _joins(shapes: Sequence[Shape], wanted: Shape, *, has_constant: bool) -> bool:
    """Return whether shapes lie side by side along one axis of ``wanted``."""
    if any(len(shape) != len(wanted) for shape in shapes):
        return False
    for axis in range(len(wanted)):
        rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
        total = sum(shape[axis] for shape in shapes)
        fits = total < wanted[axis] if has_constant else total == wanted[axis]
        if rest == {wanted[:axis] + wanted[axis + 1 :]} and fits:
            return True
    return False
