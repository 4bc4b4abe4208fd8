"""Turns the operations of an exported module, one after the other, into a layer graph.

Front ends know operators and full shapes; the emitter keeps them, keeps data that is only viewed in place, and inserts
a ``reshape`` node where a consumer needs another view. Transposes and permutations count as views: a buffer can be read
in any order. Padding is one too: what a convolution or a pool reads beside the map is made by its address generator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from accelsim.errors import TraceError
from accelsim.ticket.graph import GraphNode, NodeKind
from accelsim.ticket.shapes import Axis
from accelsim.trace.layout import Shape, contiguous
from accelsim.trace.leaving_out import is_vmap, may_multiply
from accelsim.trace.products import Product, Terms, UnfitError, plan_product
from accelsim.trace.values import MAX_RANK, Value, ValueTable, joined_axes


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation stands: its operator, its place in the module, and the name of its (first) output."""

    target: str
    place: str
    output: str

    def part(self, name: str) -> Operation:
        """Return a step of the operation that makes a tensor of its own."""
        return replace(self, output=f"{self.output}.{name}")


@dataclass(frozen=True, slots=True)
class Work:
    """The array nodes that one operation became, with the multiply-accumulates that its own shapes give."""

    operation: Operation
    nodes: tuple[str, ...]
    macs: int


class Emitter(ValueTable):
    """Builds the graph; each method makes one value from earlier ones.

    ``skipped`` counts what was left out, by operator, where ``skip_unsupported`` allows it; ``work`` says which nodes
    multiply for which operation; ``changed`` are inputs that the program changes: they are written; ``askew`` are the
    places of sums of products that stay work of the vector unit.
    """

    def __init__(
        self, name: str, inputs: Sequence[tuple[str, Shape]], batch: int = 1, *, skip_unsupported: bool = False
    ) -> None:
        super().__init__(name, inputs, batch)
        self._skip = skip_unsupported
        self._weights: dict[tuple[str, str, int], str] = {}
        self._array_nodes: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.work: list[Work] = []
        self.changed: list[str] = []
        self.askew: list[str] = []

    def settle(self, operation: Operation, macs: int) -> None:
        """Say what the operation that was just emitted multiplies, by its own shapes."""
        self.work.append(Work(operation, tuple(self._array_nodes), macs))
        self._array_nodes.clear()

    def fail(self, operation: Operation, problem: str) -> TraceError:
        """Return the error for an operation."""
        return TraceError(f"{self.name}: {operation.place}: {operation.target}: {problem}")

    def simple(
        self,
        operation: Operation,
        kind: NodeKind,
        source: Value,
        *,
        function: str = "",
        num_affine: int = 0,
        leading_name: str = "",
        across: Sequence[int] = (),
    ) -> None:
        """Bind an operation that keeps the shape: activation, softmax, norm with ``num_affine`` trained scales.

        ``across`` are the axes along which it works.
        """
        self.mix(source, across)
        wanted = source.shape if 0 < len(source.shape) < MAX_RANK else joined_axes(source.shape)
        name = self.unique(leading_name or operation.output)
        node = GraphNode(
            name, kind, (self.fetch(source, wanted),), wanted, num_affine, function=function, affine=num_affine > 0
        )
        self.bind(operation.output, self.add(node), source.shape, self.sample_axis(source))

    def vector(
        self, operation: Operation, sources: Sequence[Value], shape: Shape, num_ops: int, name: str = ""
    ) -> None:
        """Bind other work of the vector unit, ``num_ops`` operations in all."""
        nodes = tuple(dict.fromkeys(self.fetch(source, joined_axes(source.shape)) for source in sources))
        node = GraphNode(
            self.unique(operation.output),
            "vector",
            nodes,
            joined_axes(shape),
            function=name or operation.target,
            num_ops=num_ops,
        )
        same = len(sources[0].shape) == len(shape)
        self.bind(operation.output, self.add(node), shape, self.sample_axis(sources[0]) if same else None)

    def elementwise(
        self,
        operation: Operation,
        kind: NodeKind,
        sources: Sequence[Value],
        shape: Shape,
        *,
        constant: str | None = None,
    ) -> None:
        """Bind a sum or product.

        ``constant`` is ``""`` where a trained tensor joins, ``"constant"`` for another, ``"scalar"`` for a number.
        """
        if kind == "multiply" and constant == "scalar" and self.scaled(operation.output, sources, shape):
            return
        operands, wanted = _common_axes([_bare_shape(source, len(shape)) for source in sources], shape)
        nodes = [self.fetch(source, part) for source, part in zip(sources, operands, strict=True)]
        if not any(self.builder.shape(node) == wanted for node in nodes) and _broadcast(operands) != wanted:
            nodes[0] = self.fetch(sources[0], wanted)  # a constant is what makes the result larger
        node = GraphNode(
            self.unique(operation.output),
            kind,
            tuple(nodes),
            wanted,
            function=constant or "",
            bias=constant is not None,
        )
        axes = [self.sample_axis(source) for source in sources if len(source.shape) == len(shape)]
        axis = next((axis for axis in axes if axis is not None), None)
        self.bind(operation.output, self.add(node), shape, axis)

    def conv(
        self,
        operation: Operation,
        source: Value,
        weight: Value,
        shape: Shape,
        template: GraphNode,
        axes: Sequence[Axis],
    ) -> None:
        """Bind a convolution; ``template`` has its channels and groups, ``axes`` the rest; 1-D ones get H = 1."""
        rank = len(axes)
        source, axes = _inside(source, axes)
        has_batch = len(source.shape) == rank + 2
        self.mix(source, range(1 if has_batch else 0, len(source.shape)))
        lead = source.shape[: 1 + has_batch]
        if lead[-1] % template.groups or weight.shape[template.kind == "conv2d"] != lead[-1] // (
            template.groups if template.kind == "conv2d" else 1
        ):
            raise self.fail(
                operation, f"{lead[-1]} input channels do not fit weights of shape {weight.shape}; is the input "
                "channels first? Give its shape as the model wants it"
            )  # fmt: skip
        sizes, outs = source.shape[-rank:], shape[-rank:]
        solved = []
        for axis, size, out in zip(axes, sizes, outs, strict=True):
            known = _solve(axis, size, out, is_transposed=template.kind == "conv_transpose2d")
            if known is None:
                raise self.fail(
                    operation, f"{size} elements become {out}, which its kernel, stride and padding do not give; "
                    "the file is damaged"
                )  # fmt: skip
            solved.append(known)
        flat = (1, *sizes) if rank == 1 else sizes
        node = with_axes(template, solved)
        node = replace(
            node, name=self.unique(_layer_name(weight, operation)), inputs=(self.fetch(source, (*lead, *flat)),)
        )
        self._bind_weighted(operation, node, weight, shape, self.sample_axis(source))

    def pool(self, operation: Operation, source: Value, shape: Shape, function: str, axes: Sequence[Axis]) -> None:
        """Bind a pool; where its size is rounded up, its padding at the end is larger."""
        rank = len(axes)
        source, axes = _inside(source, axes)
        sizes, outs, lead = source.shape[-rank:], shape[-rank:], source.shape[:-rank]
        self.mix(source, range(len(lead), len(source.shape)))
        solved = [_solve(axis, size, out) for axis, size, out in zip(axes, sizes, outs, strict=True)]
        if None in solved:
            raise self.fail(operation, f"{sizes} elements become {outs}, which its window does not give; damaged file")
        flat = (1, *sizes) if rank == 1 else sizes
        node = with_axes(
            GraphNode(self.unique(operation.output), "pool", (self.fetch(source, (*lead, *flat)),), (),
                      function=function),
            [axis for axis in solved if axis is not None],
        )  # fmt: skip
        self.bind(operation.output, self.add(node), shape, self.sample_axis(source))

    def product(
        self, operation: Operation, first: Value, second: Value, terms: Terms, shape: Shape, *, bias: bool = False
    ) -> None:
        """Bind a sum of products; a constant operand is a weight.

        Raises
        ------
        UnfitError
            See `accelsim.trace.products.plan_product`.
        """
        plan = plan_product(first.layout, second.layout, terms)
        for value, term in ((first, terms.first), (second, terms.second)):
            self.mix(value, [term.index(letter) for letter in terms.inner])
        if not first.is_live:
            self.product(operation, second, first, Terms(terms.second, terms.first, terms.out), shape, bias=bias)
            return
        axis = self._out_axis(first, terms.first, terms.out)
        if not second.is_live:
            self._linear(operation, first, second, plan, shape, bias=bias, axis=axis)
            return
        if axis is None:
            axis = self._out_axis(second, terms.second, terms.out)
        node = GraphNode(
            self.unique(operation.output),
            "matmul",
            (
                self.fetch(first, (plan.heads, plan.rows, plan.inner)),
                self.fetch(second, (plan.heads, plan.inner, plan.columns)),
            ),
            (plan.heads, plan.rows, plan.columns),
            num_heads=plan.heads,
        )
        added = self.add(node)
        self._array_nodes.append(added)
        self.bind(operation.output, added, shape, axis)

    def _out_axis(self, value: Value, term: str, out: str) -> int | None:
        axis = self.sample_axis(value)
        return out.index(term[axis]) if axis is not None and term[axis] in out else None

    def _linear(
        self,
        operation: Operation,
        source: Value,
        weight: Value,
        plan: Product,
        shape: Shape,
        *,
        bias: bool,
        axis: int | None,
    ) -> None:
        rows = plan.rows
        if plan.heads > 1:
            wanted: Shape = (plan.heads, rows, plan.inner)
        elif self.samples > 1 and self.sample_axis(source) == 0 and rows % self.samples == 0:
            wanted = (self.samples, rows // self.samples, plan.inner)
        else:
            wanted = (rows, plan.inner) if rows > 1 else (plan.inner,)
        node = GraphNode(
            self.unique(_layer_name(weight, operation)),
            "linear",
            (self.fetch(source, wanted),),
            (),
            plan.heads * plan.columns,
            groups=plan.heads,
            bias=bias,
        )
        self._bind_weighted(operation, node, weight, shape, axis)

    def experts(
        self, operation: Operation, source: Value, weight: Value, groups_rows: tuple[int, int], shape: Shape
    ) -> None:
        """Bind the product of (experts, rows each) with (stored experts, in features, out features)."""
        groups, rows = groups_rows
        num_stored, inner, columns = weight.shape
        node = GraphNode(
            self.unique(_layer_name(weight, operation)),
            "linear",
            (self.fetch(source, (groups, rows, inner)),),
            (),
            groups * columns,
            groups=groups,
            num_rows=num_stored if groups < num_stored else 0,
        )
        self._bind_weighted(operation, node, weight, shape, None)

    def _bind_weighted(
        self, operation: Operation, node: GraphNode, weight: Value, shape: Shape, sample_axis: int | None
    ) -> None:
        """Bind a node with weights: those of an earlier one where it has the same."""
        key = (weight.root, weight.part, weight.num_distinct)
        if weight.root:
            owner = self._weights.setdefault(key, node.name)
            node = replace(node, weights_of="" if owner == node.name else owner)
        added = self.add(node)
        if node.kind != "embedding":
            self._array_nodes.append(added)
        self.bind(operation.output, added, shape, sample_axis)

    def embedding(self, operation: Operation, table: Value, rows: Value | None, shape: Shape) -> None:
        """Bind the look-up of rows of a table; ``rows`` None: which ones does not depend on the input."""
        node = GraphNode(
            self.unique(_layer_name(table, operation)),
            "embedding",
            () if rows is None else (self.fetch(rows, joined_axes(rows.shape)),),
            joined_axes(shape),
            num_rows=prod(table.shape[:-1]),
        )
        axis = None if rows is None else self.sample_axis(rows)
        self._bind_weighted(operation, node, table, shape, axis)

    def reduce(self, operation: Operation, source: Value, shape: Shape, axes: Sequence[int], ops: int = 1) -> None:
        """Bind a mean, sum or maximum over axes: a global pool where it is one, else ``ops`` operations an element."""
        have = source.shape
        reduced = sorted({axis % len(have) for axis in axes})
        self.mix(source, reduced)
        kept = len(have) - len(reduced)
        is_map = reduced == list(range(kept, len(have))) and kept in (1, 2) and len(reduced) in (1, 2)
        if not is_map or ops > 1:
            self.vector(operation, [source], shape, ops * prod(have))
            return
        wanted = (*have[:kept], *have[kept:], *([1] * (2 - len(reduced))))
        node = GraphNode(self.unique(operation.output), "global_pool", (self.fetch(source, wanted),), have[:kept])
        axis = self.sample_axis(source)
        self.bind(operation.output, self.add(node), shape, axis)

    def concat(self, operation: Operation, sources: Sequence[Value], shape: Shape, *, update: bool = False) -> None:
        """Bind a concatenation, or with ``update`` the first with the others written into it."""
        full = [source for source in sources if prod(source.shape)]
        live = [source for source in full if source.is_live]
        if len(full) == 1 and full[0].shape == shape:
            self.alias(operation.output, full[0])
            return
        size = (prod(shape),)
        is_trained = any(source.root for source in full if not source.is_live)
        function = "update" if update else "" if is_trained else "constant"
        node = GraphNode(
            self.unique(operation.output),
            "concat",
            tuple(self.fetch(source, (prod(source.shape),)) for source in live),
            size,
            function=function if update or len(live) < len(full) else "",
            bias=len(live) < len(full),
        )
        axes = {self.sample_axis(source) for source in live if len(source.shape) == len(shape)}
        added = self.add(node)
        axis = axes.pop() if len(axes) == 1 else None
        is_kept = axis is not None and shape[axis] == live[0].shape[axis]
        self.bind(operation.output, added, shape, axis if is_kept else None)

    def unsupported(
        self, operation: Operation, sources: Sequence[str], shape: Shape, why: str = "", held: Sequence[str] = ()
    ) -> None:
        """Refuse an operation by name and place, or count it and pass its input on.

        What multiplies, or may, is never left out (`accelsim.trace.leaving_out`).
        """
        reason = f" ({why})" if why else ""
        product = may_multiply(operation.target, [self.value(name) for name in sources], shape, held)
        if product:
            way_on = "write it with convolutions or matrix products, or cut the module there"
            if is_vmap(operation.target):
                way_on = "it is torch.vmap, which torch.export.export(...).run_decompositions({}) carries out"
            raise TraceError(
                f"{self.name}: {operation.place}: operation {operation.target} is not supported{reason}, and its "
                f"multiply-accumulates cannot be left out ({product}); {way_on}"
            )
        if not self._skip:
            raise TraceError(
                f"{self.name}: {operation.place}: operation {operation.target} is not supported{reason}; "
                "leave it out of the module, or count such operations instead with --skip-unsupported"
            )
        self.skipped[operation.target] += 1
        self.filled(operation, sources, shape)

    def filled(self, operation: Operation, sources: Sequence[str], shape: Shape) -> None:
        """Pass the largest input on in place of an output that nothing here computes."""
        live = [value for value in map(self.value, sources) if value.is_live]
        if not live:
            self.constant(operation.output, shape)
            return
        self.alias(operation.output, max(live, key=lambda value: value.num_distinct).viewed(None, shape))


def with_axes(node: GraphNode, axes: Sequence[Axis]) -> GraphNode:
    """Return a convolution or pool that moves along these axes: (D), (H), W."""
    if len(axes) > 2:  # noqa: PLR2004  height and width
        depth = axes[0]
        node = replace(
            node,
            depth=(depth.kernel, depth.stride, depth.before, depth.after, depth.dilation, depth.output_padding),
        )
    height, width = (Axis(1, 1, 0, 0, 1, 0), axes[0]) if len(axes) == 1 else (axes[-2], axes[-1])
    before, after = (height.before, width.before), (height.after, width.after)
    return replace(
        node,
        kernel=(height.kernel, width.kernel),
        stride=(height.stride, width.stride),
        padding=before,
        end_padding=() if before == after else after,
        dilation=(height.dilation, width.dilation),
        output_padding=(height.output_padding, width.output_padding),
    )


def _solve(axis: Axis, size: int, out: int, *, is_transposed: bool = False) -> Axis | None:
    """Return an axis whose padding at the end gives the size that the module states; None where nothing does."""
    if is_transposed:
        surplus = axis.scattered(size) - out
        if surplus < 0:
            return replace_axis(axis, output_padding=axis.output_padding - surplus)
        return replace_axis(axis, after=axis.after + surplus)
    if axis.window(size) == out:
        return axis
    after = (out - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 - size - axis.before
    return replace_axis(axis, after=after) if axis.after <= after < axis.after + axis.stride else None


def replace_axis(axis: Axis, *, after: int | None = None, output_padding: int | None = None) -> Axis:
    """Return an axis with another padding at its end."""
    return axis._replace(
        after=axis.after if after is None else after,
        output_padding=axis.output_padding if output_padding is None else output_padding,
    )


def _inside(source: Value, axes: Sequence[Axis]) -> tuple[Value, Sequence[Axis]]:
    """Return what a padded value holds and the axes with its padding, where only these are padded."""
    rank = len(axes)
    if source.inside is None or any(pads != (0, 0) for pads in source.pads[:-rank]):
        return source, axes
    padded = [
        axis._replace(before=axis.before + before, after=axis.after + after)
        for axis, (before, after) in zip(axes, source.pads[-rank:], strict=True)
    ]
    return source.inside, padded


def _layer_name(weight: Value, operation: Operation) -> str:
    name = weight.root or operation.output
    return name.removesuffix(".weight").removesuffix("_weight") or name


def _bare_shape(source: Value, rank: int) -> Shape:
    """Return the shape of an operand without what it repeats: such an axis has one element."""
    shape = (1,) * (rank - len(source.shape)) + source.shape
    if not source.is_followed or source.num_distinct < source.layout.num_distinct:
        return shape
    axes = ((),) * (rank - len(source.shape)) + source.layout.axes
    return tuple(1 if all(not stride for _, stride in axis) else size for axis, size in zip(axes, shape, strict=True))


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def _common_axes(shapes: Sequence[Shape], out: Shape) -> tuple[list[Shape], Shape]:
    """Return operands and result in at most as many axes as a node takes: neighbours that repeat alike are joined."""
    columns = list(zip(*shapes, out, strict=True)) or [(1,) * (len(shapes) + 1)]
    while len(columns) >= MAX_RANK:
        for place in range(len(columns) - 1):
            left, right = columns[place], columns[place + 1]
            same = all((a == left[-1]) == (b == right[-1]) for a, b in zip(left, right, strict=True))
            if same or 1 in (left[-1], right[-1]):
                columns[place : place + 2] = [tuple(a * b for a, b in zip(left, right, strict=True))]
                break
        else:
            size = (prod(out),)
            return [size] * len(shapes), size
    rows = list(zip(*columns, strict=True))
    return rows[:-1], rows[-1]


__all__ = ["Emitter", "Operation", "UnfitError", "Work", "contiguous", "with_axes"]
