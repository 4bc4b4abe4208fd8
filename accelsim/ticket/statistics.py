"""Stated statistics of a ticket that nobody searched: which are possible, and what they mean for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.prng import RandomSource, RatioDistribution, layer_ratios, layer_seed, thresholds

MAX_SEED = (1 << 32) - 1
NEARLY_DENSE = 0.99
"""From this fraction of kept weights on a trained network counts as dense: a few values are 0 by chance or rounding."""
_EPSILON = 1e-12


def is_nearly_dense(num_kept: int, num_weights: int) -> bool:
    """Return whether so few trained weights are 0 that nobody pruned them."""
    return num_kept >= NEARLY_DENSE * num_weights


def is_filled_pattern(num_kept: int, num_weights: int, num_values: int, group_size: int) -> bool:
    """Return whether at least half of a pattern's places (N of each M weights) hold a weight.

    Pruning to a pattern fills nearly all of them; a very sparse mask obeys patterns by chance and leaves most empty.
    """
    return 2 * num_kept * group_size >= num_values * num_weights


@dataclass(frozen=True, slots=True)
class TicketStatistics:
    """Statistics of a whole network; fractions of all its weights.

    Attributes
    ----------
    sparsity
        Fraction of zeros k in the masks.
    prune_ratio, lock_ratio
        What freezing prunes and locks.
    distribution
        How the ratios are spread over layers; the density among the free weights is the same in each.
    seed
        32 bits, not zero; each layer's seed is derived from it.
    """

    sparsity: float
    prune_ratio: float = 0.0
    lock_ratio: float = 0.0
    distribution: RatioDistribution = "uniform"
    seed: int = 1

    @property
    def free_density(self) -> float:
        """Return the fraction of the free weights that is kept, ((1 - k) - r) / (1 - F)."""
        free = 1.0 - self.prune_ratio - self.lock_ratio
        return min(1.0, max(0.0, (1.0 - self.sparsity - self.lock_ratio) / free)) if free > _EPSILON else 0.0

    def problem(self) -> str | None:
        """Return what no mask can have, and what is allowed; None if all is well."""
        p, r, k = self.prune_ratio, self.lock_ratio, self.sparsity
        for name, value in (("prune_ratio", p), ("lock_ratio", r), ("sparsity", k)):
            if not 0.0 <= value <= 1.0:
                return f"{name}: {value} is not from 0 to 1; give a fraction of the weights"
        if p + r > 1.0 + _EPSILON:
            return f"prune_ratio: {p} and lock_ratio {r} sum to more than 1; lower one"
        if not p - _EPSILON <= k <= 1 - r + _EPSILON:
            return (
                f"sparsity: {k:g} is not from prune_ratio {p:g} to {1 - r:g} (1 - lock_ratio); "
                "pruned weights are dropped and locked ones kept"
            )
        if not 1 <= self.seed <= MAX_SEED:
            return f"seed: {self.seed} is not from 1 to {MAX_SEED}; give a 32-bit seed that is not zero"
        return None


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """One layer's ratios and the random source that realises them."""

    prune_ratio: float
    lock_ratio: float
    source: RandomSource


def layer_statistics(
    shapes: Sequence[tuple[int, ...]], statistics: TicketStatistics, template: RandomSource
) -> tuple[LayerStatistics, ...]:
    """Spread a network's statistics over layers of the given weight shapes.

    ``template`` gives generator, streams, weights and threshold bits; seed and thresholds are filled in.
    """
    ratios = layer_ratios(shapes, statistics.prune_ratio, statistics.lock_ratio, statistics.distribution)
    layers = []
    for index, ratio in enumerate(ratios):
        prune, lock = thresholds(ratio.prune_ratio, ratio.lock_ratio, template.threshold_bits)
        source = RandomSource(
            generator=template.generator,
            seed=layer_seed(statistics.seed, index),
            stream=template.stream,
            seeds=template.seeds,
            weights=template.weights,
            weight_bits=template.weight_bits,
            normal_terms=template.normal_terms,
            threshold_bits=template.threshold_bits,
            prune_threshold=prune,
            lock_threshold=lock,
            tile_filters=template.tile_filters,
        )
        layers.append(LayerStatistics(ratio.prune_ratio, ratio.lock_ratio, source))
    return tuple(layers)
