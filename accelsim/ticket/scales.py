"""How many bits of scales and offsets a layer needs: what is one number for the whole layer is stored once."""

from __future__ import annotations

from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.model import TicketLayer

SCALE_BITS = 16
"""A float16: the scale or the offset of a channel."""


def normed_layers(graph: NetworkGraph) -> frozenset[str]:
    """Return the layers whose scale and offset a batch normalisation right behind them sets channel by channel."""
    return frozenset(node.inputs[0] for node in graph.nodes if node.kind == "norm" and node.function == "batch")


def scale_bits(num_channels: int, *, is_normed: bool, has_offset: bool = False, has_scales: bool = False) -> int:
    """Return the bits of a layer's scales and offsets.

    Parameters
    ----------
    num_channels
        Output channels K.
    is_normed
        A batch normalisation folds into the layer: a scale and an offset per channel.
    has_offset
        The layer adds something of its own per channel (a bias).
    has_scales
        Its scales differ from channel to channel without a normalisation; else one serves the layer.
    """
    if is_normed:
        return 2 * SCALE_BITS * num_channels
    scales = num_channels if has_scales else 1
    return SCALE_BITS * (scales + (num_channels if has_offset else 0))


def ticket_scale_bits(layer: TicketLayer, *, is_normed: bool) -> int:
    """Return the bits of the scales and offsets that a ticket's layer holds."""
    scales, offsets = layer.scale_K, layer.offset_K
    has_scales = bool((scales != scales[0]).any())
    return scale_bits(scales.size, is_normed=is_normed, has_offset=bool(offsets.any()), has_scales=has_scales)
