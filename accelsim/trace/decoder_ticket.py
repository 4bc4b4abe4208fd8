"""The ticket of a decoder, for the positions that one run works on: its own layers and masks, other positions.

A graph is a decoder's where each position goes through all layers alone but for attention, and every softmax is causal.
Then a run of some positions behind others has the same layers: keys and values of the others come from a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.trace.decoder import DecoderRun
from accelsim.trace.dims import vector_dims
from accelsim.trace.model import LayerTrace, LoopDims, TraceLayer

_ROW_BY_ROW = frozenset({"linear", "norm", "activation", "add", "multiply"})
_PER_ROW = 2  # axes of (positions, features)


@dataclass(frozen=True, slots=True)
class DecoderTicket:
    """The trace of a decoder's ticket, and what its graph says of it.

    ``scores`` and ``contexts`` are the names of the products with keys and with values.
    """

    trace: LayerTrace
    num_positions: int
    scores: frozenset[str]
    contexts: frozenset[str]

    @property
    def cached(self) -> frozenset[str]:
        """Return the names of the layers that make keys and values."""
        products = self.scores | self.contexts
        return frozenset(name for layer in self.trace.layers if layer.name in products for name in layer.second_inputs)

    @property
    def cached_per_token(self) -> int:
        """Return the elements that a token leaves in the cache."""
        return sum(layer.num_outputs for layer in self.trace.layers if layer.name in self.cached) // self.num_positions


def decoder_ticket(graph: NetworkGraph, trace: LayerTrace) -> DecoderTicket | None:
    """Return the decoder that a ticket's graph is; None where its positions cannot be run one after the other."""
    nodes = {node.name: node for node in graph.nodes}
    positions = graph.nodes[0].out_shape[0] if len(graph.nodes[0].out_shape) == _PER_ROW else 0
    softmaxes = [node for node in graph.nodes if node.kind == "softmax"]
    scores = {node.inputs[0] for node in softmaxes}
    contexts = {node.name for node in graph.nodes if node.kind == "matmul" and nodes[node.inputs[0]] in softmaxes}
    if not positions or not contexts or any(node.function != "causal" for node in softmaxes):
        return None
    if not all(_is_of_decoder(node, nodes, positions, scores | contexts) for node in graph.nodes[1:]):
        return None
    return DecoderTicket(trace, positions, frozenset(scores), frozenset(contexts))


def _is_of_decoder(node: GraphNode, nodes: Mapping[str, GraphNode], positions: int, products: set[str]) -> bool:
    if node.kind == "softmax":
        return nodes[node.inputs[0]].kind == "matmul" and nodes[node.inputs[0]].transpose_b
    if node.kind == "matmul":  # queries with keys, or what the softmax made of them with values
        return node.name in products and node.transpose_b == (nodes[node.inputs[0]].kind != "softmax")
    return node.kind in _ROW_BY_ROW and node.groups == 1 and node.out_shape[:-1] == (positions,)


def ticket_layers(ticket: DecoderTicket, run: DecoderRun, known: dict[str, TraceLayer]) -> tuple[TraceLayer, ...]:
    """Return the layers of a run; those that are equal to ones in ``known`` are the same objects, the others go there.

    The output layer works on the last position of each sequence, as that of a network by name.
    """
    read = {name for layer in ticket.trace.layers for name in (*layer.inputs, *layer.residuals)}
    layers = []
    for own in ticket.trace.layers:
        layer = _layer(ticket, own, run, own.name not in read)
        if known.get(own.name) == layer:
            layer = known[own.name]
        known[own.name] = layer
        layers.append(layer)
    return tuple(layers)


def _layer(ticket: DecoderTicket, own: TraceLayer, run: DecoderRun, is_last: bool) -> TraceLayer:
    if own.kind == "matmul":
        return _product(ticket, own, run)
    rows = 1 if is_last else run.num_positions

    def of_rows(count: int) -> int:
        return count // ticket.num_positions * run.batch * rows

    caches = own.name in ticket.cached
    count = of_rows(own.num_outputs)
    features = own.num_outputs // ticket.num_positions
    return replace(
        own,
        dims=replace(own.dims, N=run.batch, P=rows, H=rows)
        if own.uses_array
        else vector_dims((run.batch * rows, features), count),
        vector_ops=of_rows(own.vector_ops),
        num_outputs=count,
        input_elements=tuple(map(of_rows, own.input_elements)),
        caches=caches,
        cache_bits=run.cache_bits if caches else None,
    )


def _product(ticket: DecoderTicket, own: TraceLayer, run: DecoderRun) -> TraceLayer:
    """Return a product of attention; every position of the run meets all of them and those in the cache."""
    dims, positions = own.dims, ticket.num_positions
    seen, groups = run.context + run.num_positions, dims.G * run.batch
    per_position = own.second_input_elements // positions
    of_scores = own.name in ticket.scores
    pairs = run.num_tokens * seen
    made = pairs * dims.G if of_scores else own.num_outputs // positions * run.num_tokens
    read = own.input_elements[0] // positions * run.num_tokens if of_scores else pairs * dims.G
    loops = LoopDims(G=groups, K=dims.K, C=dims.C, P=run.num_positions, H=run.num_positions)
    return replace(
        own,
        dims=replace(loops, K=seen) if of_scores else replace(loops, C=seen),
        vector_ops=own.vector_ops * made // own.num_outputs,
        num_outputs=made,
        input_elements=(read, *(0 for _ in own.input_elements[1:])),
        second_input_elements=run.batch * seen * per_position,
        cached_elements=run.batch * run.context * per_position,
        cache_bits=run.cache_bits,
    )
