"""Zero skipping: how many weight steps a tile needs when dropped weights are left out.

Without skipping a PE works through as many weight steps as weights are laid over it one after another. With skipping it
works through the kept ones only, but PEs in a lockstep group advance together, by the slowest of the group:

- ``array``: every group of filters laid over the columns takes the largest count of any PE; these maxima add up.
- ``rows``: each row advances alone, at the largest count among its columns; the tile ends with the slowest row.
- ``columns``: each column advances alone, at the largest count among its rows; the tile ends with the slowest column.

The counts come from the real mask where there is one, else from the order statistics of the binomial distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from accelsim.config.hardware import PeArrayConfig
from accelsim.units import ceil_div

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class LaneGrid:
    """PEs that see different weights: ``rows`` along the reduction, ``cols`` along the filters (1: the weight is shared)."""

    rows: int
    cols: int


def lane_grid(array: PeArrayConfig) -> LaneGrid:
    """Return which PEs hold different weights.

    Weight-stationary: all of them. Output-stationary: a column shares a filter, and every PE walks through the whole reduction.
    Input-stationary: a row shares a reduction index, and every PE walks through all filters. Spatial: the unrolled C, R, S
    lanes are the rows and the unrolled K lanes the columns.
    """
    if array.dataflow == "weight_stationary":
        return LaneGrid(array.rows, array.cols)
    if array.dataflow == "output_stationary":
        return LaneGrid(1, array.cols)
    if array.dataflow == "input_stationary":
        return LaneGrid(array.rows, 1)
    unroll = array.unroll
    return LaneGrid(unroll.get("C", 1) * unroll.get("R", 1) * unroll.get("S", 1), unroll.get("K", 1))


def steps_of_counts(counts: Counts, group: str) -> int:
    """Return the weight steps of a tile from kept counts [filter folds, columns, rows] per PE."""
    if counts.size == 0:
        return 0
    if group == "array":
        return int(counts.max(axis=(1, 2)).sum())
    if group == "rows":
        return int(counts.max(axis=1).sum(axis=0).max())
    return int(counts.max(axis=2).sum(axis=0).max())


def pe_counts(mask_KR: npt.NDArray[np.bool_], grid: LaneGrid) -> Ints:  # noqa: N803
    """Return kept weights per PE, int [filter folds, columns, rows], of a tile mask [filters, reduction]."""
    num_filters, length = mask_KR.shape
    filter_folds, reduction_folds = ceil_div(num_filters, grid.cols), ceil_div(length, grid.rows)
    padded = np.zeros((filter_folds * grid.cols, reduction_folds * grid.rows), dtype=np.uint8)
    padded[:num_filters, :length] = mask_KR
    shaped = padded.reshape(filter_folds, grid.cols, reduction_folds, grid.rows)
    return shaped.sum(axis=2, dtype=np.int64)


def dense_steps(num_filters: int, length: int, grid: LaneGrid) -> int:
    """Return the weight steps of a tile without skipping."""
    return ceil_div(num_filters, grid.cols) * ceil_div(length, grid.rows)


def real_steps(mask_KR: npt.NDArray[np.bool_], grid: LaneGrid, group: str) -> int:  # noqa: N803
    """Return the weight steps of a tile from its real mask [filters, reduction]."""
    return steps_of_counts(pe_counts(mask_KR, grid), group)


def _largest_moments(trials: int, density: float, num: int) -> tuple[float, float]:
    """Return mean and standard deviation of the largest of ``num`` binomial(trials, density) counts."""
    support = np.arange(trials + 1)
    below = special.bdtr(support, trials, density) ** num
    mean = float(np.sum(1.0 - below))
    square = float(np.sum((2 * support + 1) * (1.0 - below)))
    return mean, max(square - mean * mean, 0.0) ** 0.5


def _largest_normal(num: int) -> float:
    """Return the mean of the largest of ``num`` standard normal values."""
    if num <= 1:
        return 0.0
    points = np.linspace(-8.0, 8.0, 4001)
    cdf = special.ndtr(points) ** num
    return float(np.trapezoid(1.0 - cdf[points >= 0], points[points >= 0]) - np.trapezoid(cdf[points < 0], points[points < 0]))


@lru_cache(maxsize=65536)
def expected_steps(num_filters: int, length: int, density: float, grid: LaneGrid, group: str) -> float:
    """Return the expected weight steps of a tile whose weights are kept independently with probability ``density``.

    Folds are taken to be full except the last along each axis; ``array`` is exact for the binomial model, ``rows`` and
    ``columns`` take the sum of maxima as normal (central limit over the filter folds).
    """
    columns = min(grid.cols, num_filters)
    rows = min(grid.rows, length)
    full_rows = length % rows or rows
    trials = ceil_div(length, grid.rows)
    full_folds, rest = divmod(num_filters, grid.cols)
    if group == "array":
        total = 0.0
        for folds, cols in ((full_folds, grid.cols), (1 if rest else 0, rest)):
            if folds:
                total += folds * _largest_of_mixed(trials, density, cols * full_rows, cols * (rows - full_rows))
        return total
    inner, outer = (columns, rows) if group == "rows" else (rows, columns)
    folds = full_folds + (rest / grid.cols if rest else 0.0)
    mean, deviation = _largest_moments(trials, density, inner)
    scale = length / (trials * rows)
    spread = deviation * max(folds, 1.0) ** 0.5 * _largest_normal(outer)
    return mean * max(folds, 1.0) * (scale if scale > 0.99 else 1.0) + spread


def _largest_of_mixed(trials: int, density: float, full: int, short: int) -> float:
    """Return the mean of the largest among ``full`` counts of ``trials`` and ``short`` counts of ``trials - 1`` weights."""
    support = np.arange(trials + 1)
    below = special.bdtr(support, trials, density) ** full
    if short > 0:
        below = below * special.bdtr(support, trials - 1, density) ** short
    return float(np.sum(1.0 - below))


@lru_cache(maxsize=4096)
def largest_share(trials: int, density: float, num: int) -> float:
    """Return E[largest of ``num`` binomial(trials, density) counts] / trials."""
    return _largest_moments(trials, density, num)[0] / trials
