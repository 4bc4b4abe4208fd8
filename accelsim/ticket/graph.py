"""The layer graph of a network: what a ticket stores and every workload is made from. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NodeKind = Literal[
    "input", "conv2d", "conv_transpose2d", "linear", "matmul", "aggregate", "norm", "activation", "pool", "global_pool",
    "add", "multiply", "concat", "softmax", "upsample", "reshape",
]  # fmt: skip
PARAMETRIC_KINDS = frozenset({"conv2d", "conv_transpose2d", "linear"})


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One operation.

    Attributes
    ----------
    name
        Unique; the names of weighted nodes follow the module path in torch (``layer1.0.conv1``).
    kind
        See `NodeKind`. ``reshape`` moves no data (function ``select``: keeps a part, ``repeat``: is read several
        times); ``aggregate`` is a sum over graph edges; ``matmul`` multiplies two activations (``inputs[0]`` M x K by
        ``inputs[1]``, K x N or, with ``transpose_b``, N x K) for ``num_heads`` heads; operands are (rows, heads *
        columns) or (heads, rows, columns).
    inputs
        Names of the producing nodes, in order.
    out_shape
        Without batch: (C, H, W) for maps, (tokens, features) for sequences, (nodes, features) for graphs, (features,)
        for vectors.
    out_channels
        K of a weighted node; of an affine norm its channels, where the shape does not tell.
    kernel, stride, padding, dilation
        (height, width) each; of convolutions and pools. ``padding`` is symmetric; ``output_padding`` is the transposed
        convolution's.
    groups
        Convolution groups.
    function
        ``relu | relu6 | leaky_relu | gelu | silu | sigmoid | tanh | sign | hardswish`` for activations, ``max | avg``
        for pools, ``batch | layer`` for norms, ``mean | sum`` of an aggregate.
    bias
        Whether a weighted node adds a trained bias; of ``add``, ``multiply`` and ``concat``: a tensor that does not
        depend on the input joins (function ``constant``: one that is not trained).
    affine
        Whether a norm has trained scale and shift.
    num_edges
        Edges of an ``aggregate``.
    """

    name: str
    kind: NodeKind
    inputs: tuple[str, ...]
    out_shape: tuple[int, ...]
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


@dataclass(frozen=True, slots=True)
class NetworkGraph:
    """A network: nodes in execution order (every input stands before its user); ``nodes[0]`` is the input."""

    name: str
    nodes: tuple[GraphNode, ...]

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
