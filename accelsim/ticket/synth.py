"""Synthetic tickets: a network with random masks of stated statistics. Real files, real bits, no accuracy."""

from __future__ import annotations

import math

import numpy as np

from accelsim.errors import AccelSimError, TicketError
from accelsim.prng import RandomSource, RatioDistribution, freezing_map, layer_seed
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.model import MaskCodec, Ticket, TicketLayer
from accelsim.ticket.pack import pack_layer, random_mask
from accelsim.ticket.shapes import count_weights, num_channels, weight_shapes
from accelsim.ticket.statistics import LayerStatistics, TicketStatistics, layer_statistics
from accelsim.ticket.zoo import build_network

MAX_SYNTHETIC_WEIGHTS = 1 << 28
_MASK_SEEDS = 1 << 20
_DEFAULT_SOURCE = RandomSource()


def synthesize(
    network: str | NetworkGraph,
    *,
    sparsity: float,
    prune_ratio: float = 0.0,
    lock_ratio: float = 0.0,
    distribution: RatioDistribution = "uniform",
    seed: int = 1,
    codec: MaskCodec = "raw",
    template: RandomSource = _DEFAULT_SOURCE,
) -> Ticket:
    """Make a ticket with random masks.

    Weights and freezing maps are drawn from ``template``'s generator with seeds derived from ``seed``, so realised
    ratios are binomial around the stated ones; of each layer's free weights the stated fraction is kept, at random.
    Scales are those of signed Kaiming constants, 1 / sqrt(fan in (1 - k) / 2); offsets are 0.

    Parameters
    ----------
    network
        A name of `accelsim.ticket.zoo.list_networks`, or a graph.
    sparsity, prune_ratio, lock_ratio, distribution, seed
        See `accelsim.ticket.statistics.TicketStatistics`.
    codec
        How the masks are packed.
    template
        Generator, streams, weights and threshold bits; its own seed and thresholds do not matter.

    Raises
    ------
    TicketError
        Impossible statistics, an unknown network, or more weights than are worth drawing (2^28).
    """
    statistics = TicketStatistics(sparsity, prune_ratio, lock_ratio, distribution, seed)
    problem = statistics.problem()
    if problem:
        raise TicketError(problem)
    graph = build_network(network) if isinstance(network, str) else network
    if count_weights(graph) > MAX_SYNTHETIC_WEIGHTS:
        raise TicketError(f"network {graph.name!r}: more than {MAX_SYNTHETIC_WEIGHTS} weights; lower its width_factor")
    shapes = weight_shapes(graph)
    nodes = {node.name: node for node in graph.nodes}
    try:
        layers = tuple(
            _layer(nodes[name], shape, layer, (statistics, index), codec)
            for index, ((name, shape), layer) in enumerate(
                zip(shapes.items(), layer_statistics(list(shapes.values()), statistics, template), strict=True)
            )
        )
    except TicketError:
        raise
    except AccelSimError as error:
        raise TicketError(str(error)) from error
    command = (
        f"accelsim synth {graph.name} --sparsity {sparsity:g} --prune-ratio {prune_ratio:g} "
        f"--lock-ratio {lock_ratio:g} --distribution {distribution} --seed {seed}"
    )
    return Ticket(graph, layers, "synthetic", command=command)


def _layer(
    node: GraphNode,
    shape: tuple[int, ...],
    layer: LayerStatistics,
    place: tuple[TicketStatistics, int],
    codec: MaskCodec,
) -> TicketLayer:
    statistics, index = place
    frozen = freezing_map(layer.source, shape)
    mask = random_mask(frozen, statistics.free_density, layer_seed(statistics.seed, _MASK_SEEDS + index))
    fan_in = math.prod(shape[1:]) if node.kind != "conv_transpose2d" else shape[0] * math.prod(shape[2:]) // node.groups
    kept = max(1.0 - statistics.sparsity, 1.0 / math.prod(shape))
    scale = np.full(num_channels(node), math.sqrt(2.0 / (fan_in * kept)))
    return pack_layer(node.name, shape, layer.source, mask, codec, scale, np.zeros(num_channels(node)))
