"""The tensors of an exported module, and the graph nodes that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.trace.layout import Layout, Shape, contiguous

MAX_RANK = 5
"""Axes of a graph node."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: what holds it, its full shape, and which elements of its holder it shows.

    Attributes
    ----------
    node
        The graph node that holds it; None: it does not depend on the input.
    layout
        Where its elements lie in the holder.
    num_distinct
        How many different elements of the holder it shows; fewer than its size where it repeats or pads.
    is_followed
        Whether ``layout`` is that of the holder; else the order of elements was lost, and it is that of a copy.
    root, part
        Of a constant: the tensor of the module that it is (a view of), and which part: "" for all of it.
    inside, pads
        Of a padded value: what is padded, and (before, after) of each axis.
    """

    node: str | None
    shape: Shape
    layout: Layout
    num_distinct: int
    is_followed: bool = True
    root: str = ""
    part: str = ""
    inside: Value | None = None
    pads: tuple[tuple[int, int], ...] = ()

    @property
    def is_live(self) -> bool:
        """Return whether it depends on the input."""
        return self.node is not None

    def viewed(self, layout: Layout | None, shape: Shape, part: str = "") -> Value:
        """Return a view of it; ``layout`` None: its elements in an order that is not followed."""
        if layout is not None and layout.shape != shape:
            layout = None
        known = layout or contiguous(shape)
        return replace(
            self,
            shape=shape,
            layout=known,
            num_distinct=min(self.num_distinct, known.num_distinct),
            is_followed=self.is_followed and layout is not None,
            part=self.part + part,
            inside=None,
            pads=(),
        )


def whole(node: str | None, shape: Shape, root: str = "", part: str = "") -> Value:
    """Return the tensor that is all of its holder."""
    layout = contiguous(shape)
    return Value(node, shape, layout, layout.num_distinct, root=root, part=part)


class ValueTable:
    """Knows which node holds which tensor, in which view, and builds the graph.

    ``samples`` is the first axis of the first input: the batch, unless `mix` finds that an operation works across it.
    """

    def __init__(self, name: str, inputs: Sequence[tuple[str, Shape]], batch: int) -> None:
        self.name = name
        self.samples = batch
        self._values: dict[str, Value] = {}
        self._names: set[str] = {"input"}
        self._views: dict[tuple[str, int, Shape], str] = {}
        self._sample_factors: dict[str, tuple[int, int]] = {}
        for input_name, shape in inputs:
            self.constant(input_name, shape)  # an empty one, such as a cache of no tokens, holds nothing
        full = [(input_name, shape) for input_name, shape in inputs if prod(shape)]
        if not full:
            raise TraceError(f"{name}: its inputs have empty axes; give an example that has elements")
        if len(full) == 1:
            self.builder = GraphBuilder(name, _at_most(MAX_RANK, full[0][1]), trained=True)
            self.bind(full[0][0], "input", full[0][1], 0)
            return
        # A graph has one input: several lie in it one after the other, and each is a part.
        self.builder = GraphBuilder(name, (sum(prod(shape) for _, shape in full),), trained=True)
        for input_name, shape in full:
            node = self.builder.reshape(self.unique(input_name), "input", _at_most(MAX_RANK, shape), select=True)
            self.bind(input_name, node, shape, 0)

    def value(self, name: str) -> Value:
        """Return a tensor; TraceError where no operation made it."""
        if name not in self._values:
            raise TraceError(f"{self.name}: tensor {name!r} is used before it is made; the file is damaged")
        return self._values[name]

    def has(self, name: str) -> bool:
        """Return whether a tensor was made."""
        return name in self._values

    def constant(self, name: str, shape: Shape, root: str = "", part: str = "") -> None:
        """Declare a tensor that does not depend on the input."""
        self._values[name] = whole(None, shape, root, part)

    def from_memory(self, shape: Shape) -> Value:
        """Return a tensor of so many elements that is read from memory, as the inputs are."""
        layout = contiguous(shape)
        return Value("input", shape, layout, min(layout.num_distinct, prod(self.builder.shape("input"))), False)

    def alias(self, name: str, value: Value) -> None:
        """Say that a tensor is a view of another."""
        self._values[name] = value

    def bind(self, name: str, node: str, shape: Shape, sample_axis: int | None = None) -> None:
        """Say that a node holds a tensor, and which axis holds the samples of the batch."""
        self._values[name] = whole(node, shape)
        if sample_axis is None or self.samples == 1 or sample_axis >= len(shape):
            return
        size = shape[sample_axis]
        if size % self.samples == 0:
            self._sample_factors[node] = (self.samples, prod(shape[sample_axis + 1 :]) * (size // self.samples))

    def scaled(self, name: str, sources: Sequence[Value], shape: Shape) -> bool:
        """Bind a view of all of its holder, times a number, as the same view of the holder times it; else False.

        So what transposes and repetitions have done stays known: a cache is not read once a head because of a factor.
        """
        source = sources[0]
        if len(sources) > 1 or source.node is None or source.shape != shape or source.inside is not None:
            return False
        held = self.builder.shape(source.node)
        is_copy = source.is_followed or source.layout.num_distinct == prod(held)  # in another order, as by an index
        if source.num_distinct != prod(held) or not is_copy:
            return False
        node = self.add(GraphNode(self.unique(name), "multiply", (source.node,), held, function="scalar", bias=True))
        if source.node in self._sample_factors:
            self._sample_factors[node] = self._sample_factors[source.node]
        self.alias(name, replace(source, node=node))
        return True

    def sample_axis(self, value: Value) -> int | None:
        """Return the axis that holds the samples of the batch, None if none does or it is not known."""
        factor = self._sample_factors.get(value.node or "")
        return value.layout.holding(factor) if factor is not None and value.is_followed else None

    def mix(self, value: Value, axes: Sequence[int]) -> None:
        """Say that an operation works across axes: an axis of samples among them is no batch."""
        if self.samples > 1 and self.sample_axis(value) in [axis % len(value.shape) for axis in axes]:
            self.samples = 1
            self._sample_factors.clear()

    def unique(self, wanted: str) -> str:
        """Return a node name that is not taken."""
        stem = wanted[:200] or "node"
        name, copy = stem, 1
        while name in self._names:
            copy += 1
            name = f"{stem}_{copy}"
        self._names.add(name)
        return name

    def fetch(self, value: Value, shape: Shape) -> str:
        """Return a node that holds a value in the wanted shape, viewing, selecting or repeating where needed."""
        if value.node is None:
            raise TraceError(
                f"{self.name}: a tensor of shape {value.shape} does not depend on the input, where activations are "
                "needed; export it again"
            )
        have, size = self.builder.shape(value.node), prod(shape)
        distinct = min(value.num_distinct, size)
        key = (value.node, distinct, shape)
        if have == shape and distinct == prod(have):
            return value.node
        if key not in self._views:
            node = value.node
            if distinct < prod(have):
                part = shape if distinct == size else (distinct,)
                node = self.add(GraphNode(self.unique(f"{node}.view"), "reshape", (node,), part, function="select"))
            if self.builder.shape(node) != shape:
                function = "repeat" if distinct < size else ""
                node = self.add(GraphNode(self.unique(f"{node}.view"), "reshape", (node,), shape, function=function))
            self._views[key] = node
        return self._views[key]

    def add(self, node: GraphNode) -> str:
        """Add a node; TraceError where its shapes do not chain."""
        try:
            return self.builder.add_node(node)
        except TicketError as error:
            raise TraceError(f"{self.name}: {error}") from error

    def build(self, outputs: Sequence[str]) -> NetworkGraph:
        """Return the checked graph, without what none of the outputs needs."""
        returned = [value.node for value in map(self._values.get, outputs) if value is not None and value.node]
        try:
            graph = self.builder.build()
        except TicketError as error:
            raise TraceError(f"{self.name}: {error}") from error
        wanted = tuple(dict.fromkeys(node for node in returned if node != "input"))
        return _needed(graph, wanted) if wanted else graph


def _at_most(rank: int, shape: Shape) -> Shape:
    """Return a shape with at most so many axes, the first ones joined."""
    extra = len(shape) - rank
    return (prod(shape[: extra + 1]), *shape[extra + 1 :]) if extra > 0 else shape or (1,)


def joined_axes(shape: Shape) -> Shape:
    """Return a shape in as few axes as a graph node takes, the first ones joined."""
    return _at_most(MAX_RANK - 1, shape)


def _needed(graph: NetworkGraph, outputs: tuple[str, ...]) -> NetworkGraph:
    """Return the graph without what no output needs; weights that a node left out are stored with the next user."""
    needed = {*outputs, graph.nodes[0].name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    owners: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        if node.name in needed:
            first = owners.setdefault(node.weights_of or node.name, node.name)
            nodes.append(replace(node, weights_of="" if first == node.name else first))
    return NetworkGraph(graph.name, tuple(nodes), outputs)
