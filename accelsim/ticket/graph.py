"""The layer graph of a network: what a ticket stores and every workload is made from. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import FailFast

NodeKind = Literal[
    "input", "conv2d", "conv_transpose2d", "linear", "matmul", "aggregate", "norm", "activation", "pool", "global_pool",
    "add", "multiply", "concat", "softmax", "upsample", "reshape", "vector", "embedding",
]  # fmt: skip
PARAMETRIC_KINDS = frozenset({"conv2d", "conv_transpose2d", "linear"})
"""Kinds whose weights a supermask covers."""
WEIGHTED_KINDS = PARAMETRIC_KINDS | {"embedding"}

# Where a file is read, one wrong item is enough: an error for each of millions would take gigabytes.
Names = Annotated[tuple[str, ...], FailFast()]
Sizes = Annotated[tuple[int, ...], FailFast()]


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operation.

    Attributes
    ----------
    name
        Unique; the names of weighted nodes follow the module path in torch (``layer1.0.conv1``).
    kind
        See `NodeKind`. ``reshape`` moves no data (function ``select``: keeps a part, ``repeat``: is read several
        times or beside padding); ``aggregate`` is a sum over graph edges; ``matmul`` multiplies two activations
        (``inputs[0]`` M x K by ``inputs[1]``, K x N or, with ``transpose_b``, N x K) for ``num_heads`` heads; operands
        are (rows, heads * columns) or (heads, rows, columns); ``vector`` is any other work of the vector unit, called
        ``function``; ``embedding`` looks up rows of a table.
    inputs
        Names of the producing nodes, in order.
    out_shape
        Without batch: (C, H, W) for maps, (tokens, features) for sequences, (nodes, features) for graphs, (features,)
        for vectors. Graphs of exported modules have full shapes, one axis of samples before: (N, C, H, W), (N, tokens,
        features); nodes that work element by element have any shape.
    out_channels
        K of a weighted node (of all groups); of an affine norm its channels, where the shape does not tell.
    kernel, stride, padding, dilation
        (height, width) each; of convolutions and pools. ``output_padding`` is the transposed convolution's.
    end_padding
        Padding below and to the right, where it is not the same as ``padding``, above and to the left.
    depth
        Of a convolution or pool over (C, D, H, W): kernel, stride, padding, end padding, dilation and output padding
        along D; empty without that axis.
    groups
        Convolution groups. A ``linear`` node of several groups has (groups, rows, features): weights of their own each.
    function
        ``relu | relu6 | leaky_relu | gelu | silu | sigmoid | tanh | sign | hardswish`` for activations, ``max | avg``
        for pools, ``batch | layer`` for norms, ``mean | sum`` of an aggregate; ``update`` of a ``concat``: the inputs
        after the first are written into it; ``causal`` of a ``softmax``: no column right of the diagonal counts. Of a
        ``vector`` node its name.
    bias
        Whether a weighted node adds a trained bias; of ``add``, ``multiply`` and ``concat``: a tensor that does not
        depend on the input joins (function ``constant``: one that is not trained).
    affine
        Whether a norm has trained scale and shift.
    num_edges
        Edges of an ``aggregate``.
    num_ops
        Vector operations of a ``vector`` node in total.
    num_rows
        Rows of the table of an ``embedding``; ``out_shape[-1]`` is their length. Of a ``linear`` node with groups how
        many groups have stored weights, where fewer are used at once (experts of a mixture).
    weights_of
        The node whose weights these are: they are stored there, once.
    """

    name: str
    kind: NodeKind
    inputs: Names
    out_shape: Sizes
    out_channels: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    output_padding: tuple[int, int] = (0, 0)
    groups: int = 1
    function: str = ""
    bias: bool = False
    affine: bool = False
    num_edges: int = 0
    num_heads: int = 1
    transpose_b: bool = False
    end_padding: Sizes = ()
    depth: Sizes = ()
    num_ops: int = 0
    num_rows: int = 0
    weights_of: str = ""

    @property
    def paddings(self) -> tuple[tuple[int, int], ...]:
        """Return (before, after) for height and width."""
        ends = self.end_padding or self.padding
        return ((self.padding[0], ends[0]), (self.padding[1], ends[1]))


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """A network: nodes in execution order (every input stands before its user); ``nodes[0]`` is the input.

    ``outputs`` are the nodes whose results the network returns; empty: those that no other node reads. ``batch`` is how
    many inputs full shapes hold; 0: shapes are without the batch.
    """

    name: str
    nodes: tuple[GraphNode, ...]
    outputs: tuple[str, ...] = ()
    batch: int = 0

    def node(self, name: str) -> GraphNode:
        """Return the node called ``name``; KeyError if there is none."""
        for candidate in self.nodes:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def weight_shape(self, node: GraphNode) -> tuple[int, ...]:
        """Return KCRS (C per group; CKRS for a transposed convolution, as torch has it) or KC of a weighted node."""
        source = self.node(node.inputs[0]).out_shape
        if node.kind == "linear":
            return (node.out_channels, source[-1])
        if node.kind == "conv_transpose2d":
            return (source[0], node.out_channels // node.groups, *node.kernel)
        return (node.out_channels, source[0] // node.groups, *node.kernel)
