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

from accelsim.errors import TraceError
from accelsim.ticket.graph import GraphNode, NodeKind
from accelsim.trace.values import Shape, ValueTable


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation stands: its operator, its place in the module, and the name of its (first) output."""

    target: str
    place: str
    output: str


class Emitter(ValueTable):
    """Builds the graph; each method makes one value from earlier ones.

    ``skipped`` counts what was left out, by operator, where ``skip_unsupported`` allows it.
    """

    def __init__(self, name: str, inputs: Sequence[tuple[str, Shape]], *, skip_unsupported: bool = False) -> None:
        super().__init__(name, inputs)
        self._skip = skip_unsupported
        self.skipped: Counter[str] = Counter()

    def view(self, operation: Operation, source: str, shape: Shape) -> None:
        """Bind a view, a part or a repetition; nothing is computed."""
        value = self.value(source)
        if value.node is None:
            self.constant(operation.output, shape)
            return
        same = self.count(shape) == prod(self.builder.shape(value.node))
        node = value.node if same else self.reshaped(value.node, self.canonical(shape))
        self.bind(operation.output, node, shape)

    def simple(
        self,
        operation: Operation,
        kind: NodeKind,
        source: str,
        shape: Shape,
        *,
        function: str = "",
        num_affine: int = 0,
        leading_name: str = "",
    ) -> None:
        """Bind an operation that keeps the shape: activation, softmax, norm with ``num_affine`` trained scales."""
        wanted = self.canonical(shape)
        name = self.unique(leading_name or operation.output)
        node = GraphNode(
            name, kind, (self.fetch(source, wanted),), wanted, num_affine, function=function, affine=num_affine > 0
        )
        self.bind(operation.output, self.add(node), shape)

    def elementwise(
        self, operation: Operation, kind: NodeKind, sources: Sequence[str], shape: Shape, *, constant: str | None = None
    ) -> None:
        """Bind a sum or product; ``constant`` is ``""`` where a trained tensor joins, ``"constant"`` for another."""
        wanted = self.canonical(shape)
        nodes = tuple(self.fetch(source, self._operand_shape(source, shape)) for source in sources)
        node = GraphNode(
            self.unique(operation.output), kind, nodes, wanted, function=constant or "", bias=constant is not None
        )
        if prod(self.builder.shape(nodes[0])) != prod(wanted) and len(nodes) == 1:
            node = replace(node, inputs=(self.reshaped(nodes[0], wanted),))
        self.bind(operation.output, self.add(node), shape)

    def _operand_shape(self, source: str, shape: Shape) -> Shape:
        """Return the shape in which an operand repeats over the result, or the result's where that has no axis of 1."""
        wanted = self.canonical(shape)
        operand = self.value(source).shape
        if self.count(operand) == prod(wanted):
            return wanted
        padded = (1,) * (len(shape) - len(operand)) + operand
        axis = self.batch_axis(shape)
        rest = padded[:axis] + padded[axis + 1 :] if axis is not None else padded
        if len(rest) == len(wanted) and all(a in (b, 1) for a, b in zip(rest, wanted, strict=True)):
            return rest
        return wanted

    def conv(self, operation: Operation, source: str, shape: Shape, template: GraphNode, *, leading_name: str) -> None:
        """Bind a convolution; ``template`` has its fields without name, inputs and shape; 1-D ones get H = 1."""
        have = self.value(source).shape
        wanted = have[1:] if len(have) == 4 else (have[-2], 1, have[-1])
        node = replace(template, name=self.unique(leading_name), inputs=(self.fetch(source, wanted),))
        added = self.add(node)
        expected = shape[1:] if len(shape) == 4 else (shape[-2], 1, shape[-1])
        if self.builder.shape(added) != expected:
            raise TraceError(
                f"{self.name}: {operation.place}: {operation.target} gives {expected}, its arguments "
                f"{self.builder.shape(added)}; uneven padding is not supported here"
            )
        self.bind(operation.output, added, shape)

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
        self.bind(operation.output, self.add(node), shape)

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
        self.bind(operation.output, self.add(node), shape)

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
                self.bind(operation.output, self.add(node), shape)
                return
        raise TraceError(
            f"{self.name}: {operation.place}: {operation.target} makes {expected} of {wanted}; "
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
        self.bind(operation.output, self.add(node), shape)

    def resize(self, operation: Operation, source: str, shape: Shape) -> None:
        """Bind an interpolation or padding: one copy per output."""
        have = self.value(source).shape
        if len(shape) < 3 or self.canonical(have)[0] != self.canonical(shape)[0]:
            self.unsupported(operation, [source], shape)
            return
        wanted, out = ((s[-3:] if len(s) == 4 else (s[-2], 1, s[-1])) for s in (have, shape))
        node = GraphNode(self.unique(operation.output), "upsample", (self.fetch(source, wanted),), out)
        self.bind(operation.output, self.add(node), shape)

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
        self.bind(operation.output, self.add(node), shape)

    def unsupported(self, operation: Operation, sources: Sequence[str], shape: Shape) -> None:
        """Refuse an operation by name and place, or count it and pass its input on."""
        if not self._skip:
            raise TraceError(
                f"{self.name}: {operation.place}: operation {operation.target} is not supported; "
                "leave it out of the module, or count such operations instead with --skip-unsupported"
            )
        self.skipped[operation.target] += 1
        self.filled(operation, sources, shape)

    def filled(self, operation: Operation, sources: Sequence[str], shape: Shape) -> None:
        """Pass the largest input on in place of an output that nothing here computes."""
        live = [self.value(source) for source in sources if self.value(source).node is not None]
        if not live:
            self.constant(operation.output, shape)
            return
        source = max(live, key=lambda value: prod(value.shape)).node or "input"
        try:
            self.bind(operation.output, self.reshaped(source, self.canonical(shape)), shape)
        except TraceError:
            flat = self.reshaped(source, (prod(self.builder.shape(source)),))
            filler = GraphNode(
                self.unique(operation.output), "concat", (flat,), (prod(self.canonical(shape)),), bias=True
            )
            self.bind(operation.output, self.add(filler), shape)


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
