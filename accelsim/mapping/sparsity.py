"""Zero skipping: how many weight steps a tile needs when dropped weights are left out.

Without skipping a PE works through as many weight steps as weights are laid over it one after another. With skipping it
works through the kept ones only, but PEs in a lockstep group advance together, by the slowest of the group:

- ``array``: every group of filters laid over the columns takes the largest count of any PE; these maxima add up.
- ``rows``: each row advances alone, at the largest count among its columns; the tile ends with the slowest row.
- ``columns``: each column advances alone, at the largest count among its rows; the tile ends with the slowest column.
- ``packed``: filters are laid over the rows one behind the other, by their kept weights; one that does not fit beside
  those before it begins a new step, and one that is longer than the rows takes steps of its own.

The counts come from the real mask where there is one, else from the order statistics of the binomial distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.errors import MappingError
from accelsim.units import ceil_div

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class LaneGrid:
    """PEs that see different weights: ``rows`` along the reduction, ``cols`` along the filters (1: shared)."""

    rows: int
    cols: int


def lane_grid(array: PeArrayConfig) -> LaneGrid:
    """Return which PEs hold different weights.

    Weight-stationary: all of them. Output-stationary: a column shares a filter, and every PE walks through the whole
    reduction.
    Input-stationary: a row shares a reduction index, and every PE walks through all filters. Spatial: the unrolled
    C, R, S lanes are the rows and the unrolled K lanes the columns.
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
        # Every fold ends with its slowest PE.
        return int(counts.max(axis=(1, 2)).sum())
    if group == "rows":
        # A row goes through all folds alone, as slow in each as its slowest column; the slowest row ends the tile.
        return int(counts.max(axis=1).sum(axis=0).max())
    # Columns likewise.
    return int(counts.max(axis=2).sum(axis=0).max())


def pe_counts(mask_KR: npt.NDArray[np.bool_], grid: LaneGrid) -> Ints:  # noqa: N803
    """Return kept weights per PE, int [filter folds, columns, rows], of a tile mask [filters, reduction]."""
    num_filters, length = mask_KR.shape
    filter_folds, reduction_folds = ceil_div(num_filters, grid.cols), ceil_div(length, grid.rows)
    padded = np.zeros((filter_folds * grid.cols, reduction_folds * grid.rows), dtype=np.uint8)
    padded[:num_filters, :length] = mask_KR
    shaped = padded.reshape(filter_folds, grid.cols, reduction_folds, grid.rows)
    counts: Ints = shaped.sum(axis=2, dtype=np.int64)
    return counts


def dense_steps(num_filters: int, length: int, grid: LaneGrid) -> int:
    """Return the weight steps of a tile without skipping."""
    return ceil_div(num_filters, grid.cols) * ceil_div(length, grid.rows)


def real_steps(mask_KR: npt.NDArray[np.bool_], grid: LaneGrid, group: str) -> int:  # noqa: N803
    """Return the weight steps of a tile from its real mask [filters, reduction]."""
    if group == "packed":
        return _packed(mask_KR.sum(axis=1, dtype=np.int64).tolist(), grid.rows)
    return steps_of_counts(pe_counts(mask_KR, grid), group)


def _binomial_cdf(trials: int, density: float) -> Floats:
    """Return P(count <= x) for x = 0 .. trials."""
    support = np.arange(trials + 1)
    from scipy.special import bdtr  # noqa: PLC0415  only zero skipping without a mask needs it, and it is slow to import

    return np.ones(1) if trials == 0 else np.asarray(bdtr(support, trials, density), dtype=np.float64)


def _cdf_of_largest(trials: int, density: float, full: int, short: int) -> Floats:
    """Return the distribution function of the largest of ``full`` counts of ``trials`` and ``short`` of one less."""
    cdf = _binomial_cdf(trials, density) ** full
    if short:
        shorter = _binomial_cdf(trials - 1, density)
        cdf = cdf * np.concatenate([shorter, [1.0]]) ** short
    return cdf


def _cdf_of_sum(cdf: Floats, copies: int, last: Floats | None) -> Floats:
    """Return the distribution function of a sum of ``copies`` independent counts and one of another kind."""
    length = (cdf.size - 1) * copies + 1 + (last.size - 1 if last is not None else 0)
    # Sums of independent counts convolve, which are products of their spectra. A transform of a length with large prime
    # factors takes many times as long; zeros behind the counts change nothing.
    smooth = min(odd << max(0, -(-length // odd) - 1).bit_length() for odd in (1, 3, 5))
    spectrum = np.fft.rfft(np.diff(cdf, prepend=0.0), smooth) ** copies
    if last is not None:
        spectrum = spectrum * np.fft.rfft(np.diff(last, prepend=0.0), smooth)
    return np.clip(np.cumsum(np.fft.irfft(spectrum, smooth)[:length]), 0.0, 1.0)


def _mean_of(cdf: Floats) -> float:
    # The mean of a count is the sum of P(count > x).
    return float(np.sum(1.0 - cdf))


@lru_cache(maxsize=65536)
def expected_steps(num_filters: int, length: int, density: float, grid: LaneGrid, group: str) -> float:
    """Return the expected weight steps of a tile whose weights are kept independently with probability ``density``.

    Order statistics of the binomial distribution, exact: the maximum over independent PEs multiplies distribution
    functions, the sum over filter folds convolves them.
    """
    if group == "packed":
        return _expected_packed(num_filters, length, density, grid.rows)
    trials = ceil_div(length, grid.rows)
    full_rows = length - (trials - 1) * grid.rows
    # Where rows do not divide the length, some have a weight less.
    short_rows = grid.rows - full_rows if trials > 1 else 0
    folds, rest = divmod(num_filters, grid.cols)
    if group == "array":
        whole = _cdf_of_largest(trials, density, grid.cols * full_rows, grid.cols * short_rows)
        part = _cdf_of_largest(trials, density, rest * full_rows, rest * short_rows)
        return folds * _mean_of(whole) + (_mean_of(part) if rest else 0.0)
    if group == "rows":
        of_rows = np.ones(1)
        for row_trials, num_rows in ((trials, full_rows), (trials - 1, short_rows)):
            if num_rows:
                last = _cdf_of_largest(row_trials, density, rest, 0) if rest else None
                total = _cdf_of_sum(_cdf_of_largest(row_trials, density, grid.cols, 0), folds, last)
                of_rows = _product(of_rows, total**num_rows)
        return _mean_of(of_rows)
    column: Floats = _cdf_of_largest(trials, density, full_rows, short_rows)
    of_columns = _cdf_of_sum(column, folds, None) ** (grid.cols - rest) if folds else np.ones(1)
    if rest:
        of_columns = _product(of_columns, _cdf_of_sum(column, folds + 1, None) ** rest)
    return _mean_of(of_columns)


def _packed(counts: list[int], lanes: int) -> int:
    """Return the steps of filters with so many kept weights, laid over the lanes one behind the other."""
    steps, free = 0, 0
    for count in counts:
        # A filter is not cut: one that does not fit beside the last begins a step of its own.
        if count > free:
            steps += ceil_div(count, lanes)
            free = max(0, lanes - count)
        else:
            free -= count
    return steps


MOST_PACKED = 512  # filters followed one by one; by then a further one takes as much as the one before


def _expected_packed(num_filters: int, length: int, density: float, lanes: int) -> float:
    """Return the mean of `_packed` where weights are kept independently: the lanes that are free are followed."""
    counts = np.diff(_binomial_cdf(length, density), prepend=0.0)
    fits = np.zeros(lanes + 1)
    fits[: min(length, lanes) + 1] = counts[: lanes + 1]
    beyond = np.arange(lanes + 1, length + 1)
    longer, steps_of_longer = counts[lanes + 1 :].sum(), float((counts[lanes + 1 :] * -(-beyond // lanes)).sum())
    free, total, last = np.zeros(lanes + 1), 0.0, 0.0
    free[0] = 1.0
    for _ in range(min(num_filters, MOST_PACKED)):
        opens = fits.copy()
        opens[1:] *= np.cumsum(free)[:-1]  # fewer lanes are free than it needs
        # A filter without a kept weight takes no step.
        opens[0] = 0.0
        beside = np.convolve(free, fits[::-1])[lanes:]
        last = float(opens.sum()) + steps_of_longer
        total += last
        free = beside + opens[::-1]
        free[0] += longer
    return total + last * max(0, num_filters - MOST_PACKED)


def _product(first: Floats, second: Floats) -> Floats:
    """Multiply two distribution functions that start at 0; the shorter is 1 beyond its end."""
    size = max(first.size, second.size)
    return np.pad(first, (0, size - first.size), constant_values=1.0) * np.pad(
        second, (0, size - second.size), constant_values=1.0
    )


@lru_cache(maxsize=4096)
def largest_share(trials: int, density: float, num: int) -> float:
    """Return E[largest of ``num`` binomial(trials, density) counts] / trials."""
    return _mean_of(_cdf_of_largest(trials, density, num, 0)) / trials


def effective_macs(
    input_mask_PC: npt.NDArray[np.bool_],  # noqa: N803
    weight_mask_KC: npt.NDArray[np.bool_],  # noqa: N803
) -> int:
    """Return the multiply-accumulates of a 1x1 layer in which both operands are kept; exact, from the real masks.

    Parameters
    ----------
    input_mask_PC
        Non-zero inputs, bool [positions, channels].
    weight_mask_KC
        Kept weights, bool [filters, channels].

    Raises
    ------
    MappingError
        The masks do not have the same channels.
    """
    if input_mask_PC.ndim != 2 or weight_mask_KC.ndim != 2 or input_mask_PC.shape[1] != weight_mask_KC.shape[1]:
        raise MappingError(
            f"masks of shape {input_mask_PC.shape} and {weight_mask_KC.shape}: not [positions, channels] and "
            "[filters, channels] of the same channels; give the masks of one layer"
        )
    inputs = np.count_nonzero(input_mask_PC, axis=0).astype(np.int64)
    weights = np.count_nonzero(weight_mask_KC, axis=0).astype(np.int64)
    return int((inputs * weights).sum())
