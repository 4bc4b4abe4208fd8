"""A layer graph becomes a layer trace: array layers with the vector operations that follow them, pools, the rest.

Rules, in the order of the graph:

- Convolutions, linear layers, products of two activations and graph aggregations are array layers.
- A normalisation, activation, softmax, addition or multiplication joins the layer that made its input, if nobody else
  reads that input; of several inputs the one made last counts, the others become ``residuals``. What the network
  returns is read by somebody else.
- Pools and everything that cannot join are layers of their own, of kind ``pool`` or ``vector``; a look-up in a table is
  one of kind ``embedding``.
- Reshapes move no data, and neither do concatenations: their producers write side by side. Readers name all of them,
  and how many different elements they read of each: a repetition is none.
- Weights that several layers share are stored with the first.
- A second operand of a product that lies in part in an input of the network, and to whose rest the network returns what
  it makes of it, is a cache of keys and values.

Transposed convolutions are traced in scatter form (each of the H x W inputs meets every weight once): P x Q = H x W,
``num_outputs`` has the larger output. Aggregations: K = features, P = edges, each edge adds a node's features to
another's; ``num_outputs`` is nodes x features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.ticket.graph import WEIGHTED_KINDS, GraphNode, NetworkGraph
from accelsim.ticket.model import Ticket, TicketLayer
from accelsim.ticket.pack import is_trained, unpack_mask, unpack_weights
from accelsim.ticket.scales import SCALE_BITS, normed_layers, scale_bits, ticket_scale_bits
from accelsim.ticket.shapes import Shape, count_parameters, node_weight_shape, weight_shapes
from accelsim.trace.model import LayerTrace, LayerWeights, MaskArray, TraceLayer
from accelsim.trace.walk import trace_layers


def traced_weight_shape(node: GraphNode, source: Shape) -> Shape:
    """Return (G*K, C, R, S) or (G*K, C); a transposed convolution's CKRS is turned into that order, a depth is in R."""
    shape = node_weight_shape(node, source)
    if node.kind == "conv_transpose2d":
        shape = (node.out_channels, shape[0] // node.groups, *shape[2:])
    return (*shape[:2], shape[2] * shape[3], shape[4]) if node.depth else shape


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
    layers = trace_layers(graph)
    nodes, normed = {node.name: node for node in graph.nodes}, normed_layers(graph)
    given = weights or {}

    found: dict[str, LayerWeights] = {}
    has_masks = any(entry.source is not None or entry.codec is not None for entry in given.values())
    for layer in layers:
        node = nodes[layer.name]
        if layer.weights_of:
            found[layer.name] = found[layer.weights_of]
        elif node.kind in WEIGHTED_KINDS:
            known = given.get(layer.name) or dense_weights(traced_weight_shape(node, _source_shape(nodes, node)))
            if node.kind == "embedding":
                beside = has_masks and layer.name not in given
                found[layer.name] = replace(known, num_scale_bits=SCALE_BITS, beside_supermasks=beside)
                continue
            bits = scale_bits(node.out_channels, is_normed=node.name in normed, has_offset=node.bias)
            found[layer.name] = replace(known, num_scale_bits=bits)
    return LayerTrace(
        graph.name,
        tuple(replace(layer, weights=found.get(layer.name)) for layer in layers),
        provenance,
        num_parameters=count_parameters(graph),
        batch=graph.batch or None,
        # Graphs of exported modules name their outputs, and have full shapes.
        input_shapes=(("", graph.nodes[0].out_shape if graph.outputs else (1, *graph.nodes[0].out_shape)),),
    )


def covered_shapes(graph: NetworkGraph) -> dict[str, Shape]:
    """Return the weight shape, as traces have it, of each node whose weights masks cover: products' own, once."""
    nodes = {node.name: node for node in graph.nodes}
    return {name: traced_weight_shape(nodes[name], _source_shape(nodes, nodes[name])) for name in weight_shapes(graph)}


def _source_shape(nodes: Mapping[str, GraphNode], node: GraphNode) -> Shape:
    return nodes[node.inputs[0]].out_shape if node.inputs else ()


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
        layer.name: _ticket_weights(layer, nodes[layer.name], _source_shape(nodes, nodes[layer.name]), has_supermasks)
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
