"""The tensors of an exported module, and the graph nodes that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import GraphNode, NetworkGraph

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: the graph node that holds it (None: it does not depend on the input), and its full shape."""

    node: str | None
    shape: Shape


class ValueTable:
    """Knows which node holds which tensor, in which view, and builds the graph."""

    def __init__(self, name: str, inputs: Sequence[tuple[str, Shape]]) -> None:
        for input_name, shape in inputs:
            if not shape or not all(size >= 1 for size in shape):
                raise TraceError(
                    f"{name}: input {input_name!r} of shape {shape} has no batch or an empty axis; give an example"
                )
        self.name = name
        self._batch = inputs[0][1][0]
        self._values: dict[str, Value] = {}
        self._names: set[str] = {"input"}
        self._views: dict[tuple[str, Shape, str], str] = {}
        shapes = [self.canonical(shape) for _, shape in inputs]
        if len(inputs) == 1:
            self.builder = GraphBuilder(name, shapes[0], trained=True)
            self.bind(inputs[0][0], "input", inputs[0][1])
            return
        # A graph has one input: several lie in it one after the other, and each is a part.
        self.builder = GraphBuilder(name, (sum(map(prod, shapes)),), trained=True)
        for (input_name, full), shape in zip(inputs, shapes, strict=True):
            node = self.builder.reshape(self.unique(input_name), "input", shape, select=True)
            self.bind(input_name, node, full)

    def value(self, name: str) -> Value:
        """Return a tensor; TraceError where no operation made it."""
        if name not in self._values:
            raise TraceError(f"{self.name}: tensor {name!r} is used before it is made; the file is damaged")
        return self._values[name]

    def constant(self, name: str, shape: Shape) -> None:
        """Declare a tensor that does not depend on the input."""
        self._values[name] = Value(None, shape)

    def bind(self, name: str, node: str, shape: Shape) -> None:
        """Say that a node holds a tensor."""
        self._values[name] = Value(node, shape)

    def canonical(self, shape: Shape) -> Shape:
        """Return a shape without its batch axis and with at most three axes."""
        axis = self.batch_axis(shape)
        if axis is not None:
            rest = shape[:axis] + shape[axis + 1 :]
        elif shape and shape[0] % self._batch == 0:
            rest = (shape[0] // self._batch, *shape[1:])
        else:
            rest = shape
        rest = rest or (1,)
        return (prod(rest[:-2]), *rest[-2:]) if len(rest) > 3 else rest

    def batch_axis(self, shape: Shape) -> int | None:
        """Return where the batch is, if it is there."""
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
                f"{self.name}: tensor {name!r} does not depend on the input, where activations are needed; "
                "export it again"
            )
        return self.reshaped(node, shape)

    def reshaped(self, node: str, shape: Shape) -> str:
        """Return a node of the wanted shape that views, selects or repeats another."""
        have = self.builder.shape(node)
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
                f"{self.name}: {node!r} of shape {have} cannot be read as {shape}; the operation is not supported, "
                "or the first axis of the input is no batch"
            )
        key = (node, shape, function)
        if key not in self._views:
            self._views[key] = self.add(
                GraphNode(self.unique(f"{node}.view"), "reshape", (node,), shape, function=function)
            )
        return self._views[key]

    def add(self, node: GraphNode) -> str:
        """Add a node; TraceError where its shapes do not chain."""
        try:
            return self.builder.add_node(node)
        except TicketError as error:
            raise TraceError(f"{self.name}: {error}") from error

    def build(self, outputs: Sequence[str] = ()) -> NetworkGraph:
        """Return the checked graph, without what none of the outputs needs."""
        try:
            graph = self.builder.build()
        except TicketError as error:
            raise TraceError(f"{self.name}: {error}") from error
        wanted = {
            value.node for value in map(self._values.get, outputs) if value is not None and value.node is not None
        }
        return _needed(graph, wanted) if wanted else graph


def _needed(graph: NetworkGraph, wanted: set[str]) -> NetworkGraph:
    needed = {*wanted, graph.nodes[0].name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return NetworkGraph(graph.name, tuple(node for node in graph.nodes if node.name in needed))
