"""Per-layer prune and lock ratios from network-wide ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from accelsim.errors import ConfigError

RatioDistribution = Literal["uniform", "erk", "epl"]


@dataclass(frozen=True, slots=True)
class FreezingRatios:
    """Fractions of a layer's weights that are pruned and locked before the search."""

    prune_ratio: float
    lock_ratio: float

    @property
    def freeze_ratio(self) -> float:
        """Return F = p + r."""
        return self.prune_ratio + self.lock_ratio


def layer_ratios(
    shapes: Sequence[tuple[int, ...]], prune_ratio: float, lock_ratio: float, distribution: RatioDistribution
) -> tuple[FreezingRatios, ...]:
    """Spread network-wide ratios over layers.

    The free fraction of a layer is proportional to 1 (``uniform``), to sum(shape) / prod(shape) (``erk``:
    Erdos-Renyi-kernel, Evci et al. 2020, section 3) or to 1 / prod(shape) (``epl``: equal free parameters per layer),
    capped at 1, and what a cap frees goes to the other layers, so that the network's ratios are met exactly. Pruned
    and locked keep their proportion in each layer.

    Raises
    ------
    ConfigError
        A ratio outside [0, 1] or a sum above 1.
    """
    freeze = prune_ratio + lock_ratio
    if not (0 <= prune_ratio <= 1 and 0 <= lock_ratio <= 1 and freeze <= 1 + 1e-12):
        raise ConfigError(
            f"prune_ratio {prune_ratio}, lock_ratio {lock_ratio}: must lie in 0 to 1 and sum to at most 1; lower one"
        )
    if distribution == "uniform" or freeze in (0, 1):
        return tuple(FreezingRatios(prune_ratio, lock_ratio) for _ in shapes)
    sizes = np.array([prod(shape) for shape in shapes], dtype=np.float64)
    numerator = np.array([sum(shape) for shape in shapes]) if distribution == "erk" else np.ones(len(shapes))
    free = _capped(sizes, numerator / sizes, (1.0 - freeze) * sizes.sum())
    return tuple(
        FreezingRatios(float((1 - part) * prune_ratio / freeze), float((1 - part) * lock_ratio / freeze))
        for part in free
    )


def thresholds(prune_ratio: float, lock_ratio: float, threshold_bits: int) -> tuple[int, int]:
    """Return (prune_threshold, lock_threshold) of a ``threshold_bits``-bit word: round(p 2^t), round((p + r) 2^t)."""
    full = 1 << threshold_bits
    prune = min(full, max(0, round(prune_ratio * full)))
    return prune, min(full, max(prune, round((prune_ratio + lock_ratio) * full)))


def _capped(
    sizes: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    weight: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    target: float,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return fractions proportional to ``weight``, at most 1, with sum(sizes x fractions) = target."""
    fractions = np.ones_like(sizes)
    open_layers = np.ones(len(sizes), dtype=bool)
    while open_layers.any():
        rest = target - sizes[~open_layers].sum()
        factor = rest / (sizes * weight)[open_layers].sum()
        fractions[open_layers] = factor * weight[open_layers]
        # A layer cannot be more than free: it is capped, and the rest is spread anew over those still below.
        over = open_layers & (fractions > 1)
        if not over.any():
            break
        fractions[over] = 1.0
        open_layers &= ~over
    return fractions
