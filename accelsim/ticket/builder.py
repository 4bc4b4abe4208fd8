"""A small builder that infers shapes while a layer graph is written down in execution order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from accelsim.errors import TicketError
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.shapes import INFERENCE, Shape, check_graph, matmul_dims

PairLike = int | tuple[int, int]


def pair(value: PairLike) -> tuple[int, int]:
    """Return ``value`` for both spatial axes."""
    return (value, value) if isinstance(value, int) else value


class GraphBuilder:
    """Collects nodes; each method returns the name of the node it added.

    Parameters
    ----------
    name
        Name of the network.
    input_shape
        Shape without batch.
    trained
        Whether weighted nodes get biases and norms get affine parameters, as a published dense network has them; a
        strong lottery ticket has neither.
    """

    def __init__(self, name: str, input_shape: Shape, *, trained: bool = False) -> None:
        self._name = name
        self._trained = trained
        self._nodes: list[GraphNode] = []
        self._shapes: dict[str, Shape] = {}
        self._append(GraphNode("input", "input", (), tuple(input_shape)))

    def shape(self, name: str) -> Shape:
        """Return the output shape of a node."""
        return self._shapes[name]

    def build(self) -> NetworkGraph:
        """Return the checked graph."""
        graph = NetworkGraph(self._name, tuple(self._nodes))
        check_graph(graph)
        return graph

    def _append(self, node: GraphNode) -> str:
        self._nodes.append(node)
        self._shapes[node.name] = node.out_shape
        return node.name

    def add_node(self, node: GraphNode) -> str:
        """Add a node whose ``out_shape`` is inferred where its kind allows it, else taken as given."""
        unknown = [name for name in node.inputs if name not in self._shapes]
        if unknown:
            raise TicketError(
                f"graph node {node.name!r} ({node.kind}): input {unknown[0]!r} does not exist; add it first"
            )
        infer = INFERENCE.get(node.kind)
        if infer is not None:
            node = replace(node, out_shape=infer(node, [self._shapes[name] for name in node.inputs]))
        return self._append(node)

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: PairLike = 3,
        *,
        stride: PairLike = 1,
        padding: PairLike | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """Add a convolution; ``padding`` None keeps the size at stride 1; ``bias`` counts only in a trained network."""
        size = pair(kernel)
        pad = (size[0] // 2, size[1] // 2) if padding is None else pair(padding)
        node = GraphNode(
            name, "conv2d", (source,), (), channels, size, pair(stride), pad, groups=groups, bias=bias and self._trained
        )
        return self.add_node(node)

    def conv_transpose(
        self, name: str, source: str, channels: int, kernel: PairLike, *, stride: PairLike = 1, padding: PairLike = 0
    ) -> str:
        """Add a transposed convolution without bias."""
        node = GraphNode(name, "conv_transpose2d", (source,), (), channels, pair(kernel), pair(stride), pair(padding))
        return self.add_node(node)

    def linear(self, name: str, source: str, features: int, *, bias: bool = True) -> str:
        """Add a linear layer; ``bias`` counts only in a trained network."""
        return self.add_node(GraphNode(name, "linear", (source,), (), features, bias=bias and self._trained))

    def norm(self, name: str, source: str, function: Literal["batch", "layer"] = "batch") -> str:
        """Add a normalisation, affine in a trained network."""
        return self.add_node(GraphNode(name, "norm", (source,), (), function=function, affine=self._trained))

    def activation(self, name: str, source: str, function: str = "relu") -> str:
        """Add an elementwise activation."""
        return self.add_node(GraphNode(name, "activation", (source,), (), function=function))

    def pool(
        self, name: str, source: str, kernel: PairLike, *, stride: PairLike | None = None, padding: PairLike = 0,
        function: Literal["max", "avg"] = "max",
    ) -> str:  # fmt: skip
        """Add a pool; ``stride`` None is the kernel's size."""
        step = pair(kernel if stride is None else stride)
        return self.add_node(
            GraphNode(name, "pool", (source,), (), 0, pair(kernel), step, pair(padding), function=function)
        )

    def global_pool(self, name: str, source: str) -> str:
        """Add an average over the map or over the tokens: (C, H, W) to (C,), (tokens, features) to (features,)."""
        shape = self._shapes[source]
        return self._append(GraphNode(name, "global_pool", (source,), (shape[0] if len(shape) == 3 else shape[-1],)))

    def add(self, name: str, *sources: str, trained_tensor: bool = False) -> str:
        """Add the sum of nodes, and of a trained tensor of the same shape where stated (a position embedding)."""
        return self.add_node(GraphNode(name, "add", sources, (), bias=trained_tensor))

    def multiply(self, name: str, *sources: str) -> str:
        """Add an elementwise product."""
        return self.add_node(GraphNode(name, "multiply", sources, ()))

    def softmax(self, name: str, source: str, *, causal: bool = False) -> str:
        """Add a softmax over the last axis; a causal one leaves out the columns right of the diagonal."""
        return self.add_node(GraphNode(name, "softmax", (source,), (), function="causal" if causal else ""))

    def aggregate(self, name: str, source: str, num_edges: int, function: Literal["mean", "sum"] = "sum") -> str:
        """Add a sum over the edges of a graph of (nodes, features)."""
        return self.add_node(GraphNode(name, "aggregate", (source,), (), function=function, num_edges=num_edges))

    def reshape(self, name: str, source: str, shape: Sequence[int], *, select: bool = False) -> str:
        """Add a view, or with ``select`` a part, of the source."""
        return self._append(GraphNode(name, "reshape", (source,), tuple(shape), function="select" if select else ""))

    def flatten(self, name: str, source: str) -> str:
        """Add a view as a vector; nothing is added where the source is one."""
        shape = self._shapes[source]
        return source if len(shape) == 1 else self.reshape(name, source, (math.prod(shape),))

    def concat(self, name: str, *sources: str, axis: int = 0) -> str:
        """Add a concatenation along an axis (of the shape without batch)."""
        shape = list(self._shapes[sources[0]])
        shape[axis] = sum(self._shapes[source][axis] for source in sources)
        return self._append(GraphNode(name, "concat", sources, tuple(shape)))

    def prepend_token(self, name: str, source: str) -> str:
        """Add one trained token before (tokens, features)."""
        tokens, features = self._shapes[source]
        return self._append(GraphNode(name, "concat", (source,), (tokens + 1, features), bias=True))

    def matmul(self, name: str, first: str, second: str, *, heads: int = 1, transpose_b: bool = False) -> str:
        """Add a product of two activations per head: (heads, M, N) with ``transpose_b``, else (M, heads * N)."""
        node = GraphNode(name, "matmul", (first, second), (), num_heads=heads, transpose_b=transpose_b)
        rows, _, columns = matmul_dims(node, self._shapes[first], self._shapes[second])
        shape = (heads, rows, columns) if transpose_b else (rows, heads * columns)
        return self._append(replace(node, out_shape=shape))
