"""How many stored bits the fetch of one weight tile reads."""

from __future__ import annotations

from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.trace.model import LayerWeights
from accelsim.units import ceil_div


def tile_bits(
    plan: WeightPlan, num_positions_in_tile: int, num_filters_in_tile: int, weights: LayerWeights
) -> StoredBits:
    """Return the bits that a tile reads, by class.

    Storage is contiguous in tile order, so a tile reads its proportional share, rounded up to whole bits: of mask,
    weight and index bits by weight positions, of seed and scale bits by output channels. The tiles of a layer read at
    most one bit per class and tile more than the layer has.

    Parameters
    ----------
    num_positions_in_tile
        Weight positions that the tile covers (dropped ones included).
    num_filters_in_tile
        Output channels whose seeds and scales the tile reads; 0 where they were read before.
    """
    stored = plan.traffic_bits
    num_positions, num_filters = weights.num_weights, weights.shape[0]
    return StoredBits(
        mask=ceil_div(stored.mask * num_positions_in_tile, num_positions),
        seed=ceil_div(stored.seed * num_filters_in_tile, num_filters),
        scale=ceil_div(stored.scale * num_filters_in_tile, num_filters),
        weight=ceil_div(stored.weight * num_positions_in_tile, num_positions),
        index=ceil_div(stored.index * num_positions_in_tile, num_positions),
    )
