"""A layer graph becomes a layer trace: array layers with the vector operations that follow them, pools, the rest.

Rules, in the order of the graph:

- Convolutions, linear layers, products of two activations and graph aggregations are array layers.
- A normalisation, activation, softmax, addition or multiplication joins the layer that made its input, if nobody else
  reads that input; of several inputs the one made last counts, the others become ``residuals``.
- Pools and everything that cannot join are layers of their own, of kind ``pool`` or ``vector``.
- Reshapes move no data, and neither do concatenations: their producers write side by side. Readers name all of them.

Transposed convolutions are traced in scatter form (each of the H x W inputs meets every weight once): P x Q = H x W,
``num_outputs`` has the larger output. Aggregations: K = features, P = edges, each edge adds a node's features to
another's; ``num_outputs`` is nodes x features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.model import Ticket, TicketLayer
from accelsim.ticket.pack import is_trained, unpack_mask, unpack_weights
from accelsim.ticket.scales import normed_layers, scale_bits, ticket_scale_bits
from accelsim.ticket.shapes import Shape, check_graph, count_parameters, matmul_dims, node_weight_shape
from accelsim.trace.model import ARRAY_KINDS, LayerKind, LayerTrace, LayerWeights, LoopDims, MaskArray, TraceLayer
from accelsim.trace.vector_ops import SCALE_OPS, op_name, ops_per_output

_FUSABLE = frozenset({"norm", "activation", "softmax", "add", "multiply"})


@dataclass(slots=True)
class _Draft:
    """A layer that may still gain operations."""

    name: str
    kind: LayerKind
    dims: LoopDims
    inputs: tuple[str, ...]
    num_outputs: int
    residuals: list[str] = field(default_factory=list)
    post_ops: list[str] = field(default_factory=list)
    vector_ops: int = 0
    second_input_elements: int = 0

    def freeze(self) -> TraceLayer:
        return TraceLayer(
            self.name,
            self.kind,
            self.dims,
            self.inputs,
            tuple(self.residuals),
            tuple(self.post_ops),
            self.vector_ops,
            self.num_outputs,
            second_input_elements=self.second_input_elements,
        )


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a node's output lies: its owners, and whether it is the whole output of the only one."""

    owners: tuple[str, ...]
    is_whole: bool


def _unique(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _elementwise_dims(shape: Shape) -> LoopDims:
    """Return loop bounds that walk over a tensor once: channels or features as G, the rest as P x Q."""
    if len(shape) == 3:
        return LoopDims(G=shape[0], P=shape[1], Q=shape[2], H=shape[1], W=shape[2])
    rows = prod(shape[:-1])
    return LoopDims(G=shape[-1], P=rows, H=rows)


def _pool_dims(node: GraphNode, source: Shape) -> LoopDims:
    if node.kind == "global_pool":
        rows, columns = source[1:] if len(source) == 3 else (prod(source[:-1]), 1)
        channels = source[0] if len(source) == 3 else source[-1]
        return LoopDims(G=channels, R=rows, S=columns, H=rows, W=columns)
    return LoopDims(
        G=source[0],
        P=node.out_shape[1],
        Q=node.out_shape[2],
        R=node.kernel[0],
        S=node.kernel[1],
        H=source[1],
        W=source[2],
        stride=node.stride,
        dilation=node.dilation,
        padding=node.padding,
    )


def _conv_dims(node: GraphNode, source: Shape) -> LoopDims:
    is_transposed = node.kind == "conv_transpose2d"
    P, Q = source[1:] if is_transposed else node.out_shape[1:]
    return LoopDims(
        G=node.groups,
        K=node.out_channels // node.groups,
        C=source[0] // node.groups,
        P=P,
        Q=Q,
        R=node.kernel[0],
        S=node.kernel[1],
        H=source[1],
        W=source[2],
        stride=(1, 1) if is_transposed else node.stride,
        dilation=node.dilation,
        padding=((node.kernel[0] - 1) // 2, (node.kernel[1] - 1) // 2) if is_transposed else node.padding,
    )


def _array_dims(node: GraphNode, sources: list[Shape]) -> LoopDims:
    first = sources[0]
    match node.kind:
        case "linear":
            rows = prod(first[:-1])
            return LoopDims(K=node.out_channels, C=first[-1], P=rows, H=rows)
        case "matmul":
            rows, inner, columns = matmul_dims(node, first, sources[1])
            return LoopDims(G=node.num_heads, K=columns, C=inner, P=rows, H=rows)
        case "aggregate":
            return LoopDims(K=first[-1], P=node.num_edges, H=first[0], W=first[-1])
        case _:
            return _conv_dims(node, first)


def _layer_kind(node: GraphNode, dims: LoopDims) -> LayerKind:
    match node.kind:
        case "conv2d":
            return "depthwise_conv2d" if dims.G > 1 and dims.C == 1 else "conv2d"
        case "conv_transpose2d" | "linear" | "matmul" | "aggregate":
            return node.kind
        case "pool" | "global_pool":
            return "pool"
        case _:
            return "vector"


class _Tracer:
    """Walks a checked graph once."""

    def __init__(self, graph: NetworkGraph) -> None:
        self._shapes = check_graph(graph)
        self._nodes = graph.nodes
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._tensors: dict[str, _Tensor] = {}
        self._drafts: dict[str, _Draft] = {}
        self._order: dict[str, int] = {}

    def run(self) -> tuple[TraceLayer, ...]:
        """Return the layers in execution order."""
        for node in self._nodes:
            self._tensors[node.name] = self._place(node)
        return tuple(draft.freeze() for draft in self._drafts.values())

    def _place(self, node: GraphNode) -> _Tensor:
        if node.kind == "input":
            return _Tensor(("input",), False)
        if node.kind == "reshape":
            source = self._tensors[node.inputs[0]]
            is_alone = self._uses[node.inputs[0]] == 1 and node.function != "select"
            return replace(source, is_whole=source.is_whole and is_alone)
        if node.kind == "concat":
            return _Tensor(self._owners(node.inputs), False)
        if node.kind in _FUSABLE and self._fuse(node):
            return self._tensors_of_fused(node)
        return self._start(node)

    def _owners(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return _unique([owner for name in names for owner in self._tensors[name].owners])

    def _tensors_of_fused(self, node: GraphNode) -> _Tensor:
        return _Tensor((self._latest(node)[1],), True)

    def _latest(self, node: GraphNode) -> tuple[str, str]:
        """Return (input name, owner) of the input that is made last."""
        pairs = [(name, owner) for name in node.inputs for owner in self._tensors[name].owners]
        return max(pairs, key=lambda pair: self._order.get(pair[1], -1))

    def _fuse(self, node: GraphNode) -> bool:
        name, owner = self._latest(node)
        tensor = self._tensors[name]
        same_size = prod(self._shapes[name]) == prod(node.out_shape)
        if not (tensor.is_whole and self._uses[name] == 1 and same_size):
            return False
        draft = self._drafts[owner]
        draft.residuals += self._owners(tuple(other for other in node.inputs if other != name))
        self._count(draft, node, name)
        return True

    def _count(self, draft: _Draft, node: GraphNode, source: str) -> None:
        """Add a node's vector operations; a batch normalisation right behind the weights folds into their scale."""
        if node.kind == "norm" and node.function == "batch" and draft.post_ops == ["scale"]:
            draft.post_ops[0] = "norm"
            return
        draft.post_ops.append(op_name(node))
        draft.vector_ops += ops_per_output(node, self._shapes[source]) * prod(node.out_shape)

    def _start(self, node: GraphNode) -> _Tensor:
        sources = [self._shapes[name] for name in node.inputs]
        num_outputs = prod(node.out_shape)
        if node.kind in ARRAY_KINDS:
            dims = _array_dims(node, sources)
        elif node.kind in ("pool", "global_pool"):
            dims = _pool_dims(node, sources[0])
        else:
            dims = _elementwise_dims(node.out_shape)
        draft = _Draft(node.name, _layer_kind(node, dims), dims, self._owners(node.inputs), num_outputs)
        if node.kind in ("conv2d", "conv_transpose2d", "linear"):
            draft.post_ops.append("scale")
            draft.vector_ops = SCALE_OPS * num_outputs
        elif node.kind == "matmul":
            draft.second_input_elements = prod(sources[1])
        elif node.kind != "aggregate":
            self._count(draft, node, node.inputs[0])
        self._order[node.name] = len(self._drafts)
        self._drafts[node.name] = draft
        return _Tensor((node.name,), True)


def traced_weight_shape(node: GraphNode, source: Shape) -> Shape:
    """Return (G*K, C, R, S) or (K, C); a transposed convolution's CKRS is turned into that order."""
    shape = node_weight_shape(node, source)
    if node.kind != "conv_transpose2d":
        return shape
    return (node.out_channels, source[0] // node.groups, *node.kernel)


def dense_weights(shape: Shape) -> LayerWeights:
    """Return the weights of a layer that is dense: all kept, none frozen, a scale and an offset per channel."""
    count = prod(shape)
    return LayerWeights(shape, count, num_free=count, num_scale_bits=scale_bits(shape[0], is_normed=True))


def trace_graph(
    graph: NetworkGraph, weights: Mapping[str, LayerWeights] | None = None, *, provenance: str = "dense"
) -> LayerTrace:
    """Turn a layer graph into a trace.

    Parameters
    ----------
    graph
        Checked here.
    weights
        By node name; layers that are not in it are dense. What scales and offsets take follows from the graph.
    provenance
        Where the weights come from.

    Raises
    ------
    TicketError
        The graph is wrong, see `accelsim.ticket.shapes.check_graph`.
    """
    layers = _Tracer(graph).run()
    nodes, normed = {node.name: node for node in graph.nodes}, normed_layers(graph)
    given = weights or {}

    def with_weights(layer: TraceLayer) -> TraceLayer:
        if layer.kind not in ("conv2d", "depthwise_conv2d", "conv_transpose2d", "linear"):
            return layer
        node = nodes[layer.name]
        known = given.get(layer.name) or dense_weights(traced_weight_shape(node, nodes[node.inputs[0]].out_shape))
        bits = scale_bits(node.out_channels, is_normed=node.name in normed, has_offset=node.bias)
        return replace(layer, weights=replace(known, num_scale_bits=bits))

    return LayerTrace(
        graph.name,
        tuple(with_weights(layer) for layer in layers),
        provenance,
        num_parameters=count_parameters(graph),
    )


def with_batch(trace: LayerTrace, batch: int) -> LayerTrace:
    """Return the trace of ``batch`` samples at once: the loop N, or more heads of products of activations."""

    def repeated(layer: TraceLayer) -> TraceLayer:
        dims = layer.dims
        return replace(
            layer,
            dims=replace(dims, G=dims.G * batch) if layer.kind == "matmul" else replace(dims, N=dims.N * batch),
            vector_ops=layer.vector_ops * batch,
            num_outputs=layer.num_outputs * batch,
            second_input_elements=layer.second_input_elements * batch,
        )

    return trace if batch == 1 else replace(trace, layers=tuple(map(repeated, trace.layers)))


@dataclass(frozen=True, slots=True, eq=False)
class _LazyLayer:
    """Decodes a ticket layer when somebody asks, and remembers the last few."""

    layer: TicketLayer
    groups: int
    is_transposed: bool

    def mask(self) -> MaskArray:
        """Return the mask, (G*K, C, R, S) or (K, C)."""
        return _cached_mask(self)

    def sign(self) -> npt.NDArray[np.int8]:
        """Return the integer weights of the same shape."""
        return _cached_sign(self)


def _to_filters_first(values: npt.NDArray[np.generic], lazy: _LazyLayer) -> npt.NDArray[np.generic]:
    if not lazy.is_transposed:
        return values
    in_channels, per_group, *kernel = values.shape
    grouped = values.reshape(lazy.groups, in_channels // lazy.groups, per_group, *kernel)
    return grouped.swapaxes(1, 2).reshape(lazy.groups * per_group, in_channels // lazy.groups, *kernel)


@lru_cache(maxsize=256)
def _cached_mask(lazy: _LazyLayer) -> MaskArray:
    mask = np.ascontiguousarray(_to_filters_first(unpack_mask(lazy.layer), lazy)).astype(np.bool_, copy=False)
    mask.setflags(write=False)
    return mask


@lru_cache(maxsize=256)
def _cached_sign(lazy: _LazyLayer) -> npt.NDArray[np.int8]:
    # Distributions of more than 7 bits come as wider integers.
    values: npt.NDArray[Any] = np.ascontiguousarray(_to_filters_first(unpack_weights(lazy.layer), lazy))
    values.setflags(write=False)
    return values


def _ticket_weights(layer: TicketLayer, node: GraphNode, source: Shape, has_supermasks: bool) -> LayerWeights:
    lazy = _LazyLayer(layer, node.groups, node.kind == "conv_transpose2d")
    if is_trained(layer):
        return LayerWeights(
            traced_weight_shape(node, source),
            layer.num_kept,
            num_free=layer.num_weights,
            load_mask=lazy.mask,
            beside_supermasks=has_supermasks,
        )
    return LayerWeights(
        traced_weight_shape(node, source),
        layer.num_kept,
        layer.num_pruned,
        layer.num_locked,
        layer.num_free,
        layer.source,
        layer.codec,
        layer.payload_bits,
        load_mask=lazy.mask,
        load_sign=lazy.sign,
        coat_kept=layer.coat_kept,
    )


def trace_ticket(ticket: Ticket, path: str = "", sha256: str = "") -> LayerTrace:
    """Turn a ticket into a trace; masks are decoded only when ``load_mask`` or ``load_sign`` is called.

    Parameters
    ----------
    ticket
        As `accelsim.ticket.file.read_ticket` returns it.
    path, sha256
        Of the file, for the result.
    """
    nodes = {node.name: node for node in ticket.graph.nodes}
    has_supermasks = not all(is_trained(layer) for layer in ticket.layers)
    weights = {
        layer.name: _ticket_weights(
            layer, nodes[layer.name], nodes[nodes[layer.name].inputs[0]].out_shape, has_supermasks
        )
        for layer in ticket.layers
    }
    stored = {layer.name: layer for layer in ticket.layers}
    normed = normed_layers(ticket.graph)
    trace = trace_graph(ticket.graph, weights, provenance=ticket.provenance)

    def as_stored(layer: TraceLayer) -> TraceLayer:
        source = stored.get(layer.name)
        if source is None or layer.weights is None:
            return layer
        bits = ticket_scale_bits(source, is_normed=layer.name in normed)
        known = replace(layer, weights=replace(layer.weights, num_scale_bits=bits))
        if source.input_density is None:
            return known
        return replace(known, input_density=source.input_density, input_density_measured=True)

    return replace(
        trace,
        layers=tuple(as_stored(layer) for layer in trace.layers),
        path=path,
        sha256=sha256,
        dataset=ticket.dataset,
        accuracy=ticket.accuracy,
        regenerable=ticket.regenerable,
    )
