"""What a user may state about a workload that is no ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from accelsim.errors import TraceError
from accelsim.prng import RandomSource, RatioDistribution, layer_ratios, layer_seed, thresholds
from accelsim.trace.from_graph import SCALE_BITS_PER_CHANNEL, dense_weights
from accelsim.trace.model import LayerWeights

THRESHOLD_BITS = 16


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Statistics of a synthetic ticket, and the size of a network by name.

    Attributes
    ----------
    sparsity
        Fraction of zeros k in the masks; None with zero ratios means a dense network, None with ratios means that what
        is pruned is all that is dropped.
    prune_ratio, lock_ratio
        Fractions of all weights that freezing prunes and locks.
    distribution
        How the ratios are spread over layers.
    seed
        32 bits, not zero; each layer's seed is derived from it.
    num_classes, input_shape, width_factor
        Of a network by name; None takes the network's own.
    ignore_sparsity_column
        Read a topology whose sparsity column states N:M as if it were dense.
    """

    sparsity: float | None = None
    prune_ratio: float = 0.0
    lock_ratio: float = 0.0
    distribution: RatioDistribution = "uniform"
    seed: int = 1
    num_classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    width_factor: float = 1.0
    ignore_sparsity_column: bool = False

    @property
    def is_synthetic(self) -> bool:
        """Return whether a ticket's statistics are stated."""
        return self.sparsity is not None or self.prune_ratio > 0 or self.lock_ratio > 0

    def check(self) -> None:
        """Raise `TraceError` for ratios that no mask can have."""
        for name in ("sparsity", "prune_ratio", "lock_ratio"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise TraceError(f"{name}: {value} is not from 0 to 1; give a fraction of the weights")
        if self.prune_ratio + self.lock_ratio > 1.0 + 1e-12:
            raise TraceError(
                f"prune_ratio: {self.prune_ratio} and lock_ratio {self.lock_ratio} sum to more than 1; lower one"
            )
        if self.sparsity is not None and not self.prune_ratio - 1e-12 <= self.sparsity <= 1 - self.lock_ratio + 1e-12:
            raise TraceError(
                f"sparsity: {self.sparsity} is not from prune_ratio {self.prune_ratio} to 1 - lock_ratio "
                f"{1 - self.lock_ratio:g}; pruned weights are dropped and locked ones kept"
            )
        if not 1 <= self.seed < 1 << 32:
            raise TraceError(f"seed: {self.seed} is not from 1 to {(1 << 32) - 1}; give a 32-bit seed that is not zero")


def stated_weights(shapes: Sequence[tuple[int, ...]], options: TraceOptions) -> tuple[LayerWeights, ...]:
    """Return the weights of layers with the stated statistics, or dense ones; no mask exists.

    Raises
    ------
    TraceError
        The statistics are impossible.
    """
    options.check()
    if not options.is_synthetic:
        return tuple(dense_weights(shape) for shape in shapes)
    ratios = layer_ratios(shapes, options.prune_ratio, options.lock_ratio, options.distribution)
    sparsity = options.prune_ratio if options.sparsity is None else options.sparsity
    weights = []
    for index, (shape, ratio) in enumerate(zip(shapes, ratios, strict=True)):
        count = prod(shape)
        num_pruned, num_locked = round(ratio.prune_ratio * count), round(ratio.lock_ratio * count)
        num_pruned = min(num_pruned, count - num_locked)
        # The same density among the free weights of every layer reaches the stated sparsity of the network.
        free_share = 1.0 - options.prune_ratio - options.lock_ratio
        density = (1.0 - sparsity - options.lock_ratio) / free_share if free_share > 0 else 0.0
        num_free = count - num_pruned - num_locked
        prune_threshold, lock_threshold = thresholds(ratio.prune_ratio, ratio.lock_ratio, THRESHOLD_BITS)
        source = RandomSource(
            seed=layer_seed(options.seed, index),
            threshold_bits=THRESHOLD_BITS,
            prune_threshold=prune_threshold,
            lock_threshold=lock_threshold,
        )
        dense = dense_weights(shape)
        weights.append(
            replace(
                dense,
                num_kept=num_locked + min(num_free, max(0, round(density * num_free))),
                num_pruned=num_pruned,
                num_locked=num_locked,
                num_free=num_free,
                source=source,
                num_scale_bits=SCALE_BITS_PER_CHANNEL * shape[0],
            )
        )
    return tuple(weights)
