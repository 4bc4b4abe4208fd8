"""Tile sizes worth trying: multiples of what the array holds, halvings, and whole loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from math import gcd

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.loops import LOOPS, Loop
from accelsim.trace.model import LoopDims
from accelsim.units import ceil_div

Ints = npt.NDArray[np.int64]


def _halvings(extent: int, quantum: int = 1, limit: int = 20) -> list[int]:
    """Return extent, then ever smaller even divisions, rounded up to ``quantum``, without repeats."""
    sizes: list[int] = []
    parts = 1
    while len(sizes) < limit:
        # Even divisions: the last tile is hardly smaller than the others.
        size = min(extent, ceil_div(ceil_div(extent, parts), quantum) * quantum)
        if size not in sizes:
            sizes.append(size)
        if size <= quantum:
            break
        parts *= 2
    return sizes


def _below(quantum: int, extent: int) -> list[int]:
    """Return sizes below one quantum, for buffers too small to feed a full array."""
    return [size for size in (quantum // 2, quantum // 4, quantum // 8, 1) if 0 < size < min(quantum, extent)]


def _reduction_sizes(array: PeArrayConfig, dims: LoopDims, quantum: int) -> list[int]:
    """Return sizes of C: halvings that fill the rows exactly, and the largest ones within 1, 2, 4 ... row folds."""
    sizes = _halvings(dims.C, quantum)
    if array.dataflow in ("weight_stationary", "input_stationary") and quantum > 1:
        window = dims.R * dims.S if array.fold_taps is True else 1
        # Halvings may leave a fold nearly empty: these fill a few folds as far as whole windows can.
        sizes += [folds * array.rows // window for folds in (1, 2, 4, 8) if 0 < folds * array.rows // window < dims.C]
    return list(dict.fromkeys(sizes + _below(quantum, dims.C)))


def _quanta(array: PeArrayConfig, dims: LoopDims) -> dict[str, int]:
    """Return the sizes of K, C, P and Q below which the array is not full."""
    if array.dataflow == "spatial":
        return {loop: array.unroll.get(loop, 1) for loop in ("K", "C", "P", "Q")}
    if array.dataflow == "row_stationary":
        return {"K": 1, "C": 1, "P": min(dims.P, array.cols), "Q": 1}
    window = dims.R * dims.S if array.fold_taps is True else 1
    # The fewest channels whose taps fill the rows without a rest.
    full_c = array.rows // gcd(array.rows, window)
    if array.dataflow == "weight_stationary":
        return {"K": array.cols, "C": full_c, "P": 1, "Q": 1}
    if array.dataflow == "output_stationary":
        return {"K": array.cols, "C": 1, "P": ceil_div(array.rows, dims.Q), "Q": min(dims.Q, array.rows)}
    return {"K": 1, "C": full_c, "P": ceil_div(array.cols, dims.Q), "Q": min(dims.Q, array.cols)}


def _stated(array: PeArrayConfig, dims: LoopDims) -> list[tuple[int, ...]]:
    """Return what a person would write down, as rows of sizes in the order of `LOOPS`.

    Along K and C all, half and one pass of the array; along P all, four rows and the array's unrolling; along Q all and
    eight. Of a depthwise layer groups take the place of K and C.
    """
    unroll, window = array.unroll, dims.R * dims.S
    is_spatial = array.dataflow == "spatial"
    passes = {
        "K": (unroll.get("K", 1),) if is_spatial else (array.cols,),
        "C": (unroll.get("C", 1),) if is_spatial else (array.rows, max(1, array.rows // window)),
    }

    def sizes(loop: str, one: tuple[int, ...]) -> list[int]:
        extent: int = getattr(dims, loop)
        return sorted({min(extent, size) for size in (extent, max(1, extent // 2), -(-extent // 2), *one)})

    is_by_rows = array.dataflow == "row_stationary"
    columns = {dims.Q, min(dims.Q, 8)}
    one_band = array.cols if is_by_rows else unroll.get("P", 1)
    pixels = list(product({dims.P, min(dims.P, 4), min(dims.P, one_band)}, columns))
    if dims.G > 1:
        return [(dims.N, g, dims.K, dims.C, p, q) for g in sizes("G", passes["K"]) for p, q in sorted(pixels)]
    channels = product(sizes("K", passes["K"]), sizes("C", passes["C"]))
    return [(dims.N, 1, k, c, p, q) for k, c in channels for p, q in sorted(pixels)]


def _pixels(array: PeArrayConfig, dims: LoopDims, quanta: dict[str, int]) -> list[tuple[int, int, int]]:
    """Return sizes (N, P, Q): bands of rows, parts of the batch, and where rows are long, pieces of a band."""
    rows = _halvings(dims.P, quanta["P"]) + [size for size in (1, 2, 3, 4, 6, 8, 12) if size < dims.P]
    if array.dataflow == "row_stationary":  # equal bands: rows of PEs that stand empty stand so in every pass
        rows += [-(-dims.P // parts) for parts in range(2, 11)]
    rows = list(dict.fromkeys(rows))
    pixels = [(dims.N, size, dims.Q) for size in rows]
    pixels += [(1, size, dims.Q) for size in rows if dims.N > 1]
    pixels += [(size, dims.P, dims.Q) for size in _halvings(dims.N) if 1 < size < dims.N]
    columns = [size for size in _halvings(dims.Q, quanta["Q"]) if size < dims.Q]
    pixels += [(1, 1, size) for size in columns]
    bands = [quanta["P"], 2 * quanta["P"], 4, 8, 16]
    if array.dataflow == "row_stationary":  # fewer: a PE works through rows, and sets of PEs are as wide as a band
        bands = [quanta["P"], -(-dims.P // 2), dims.P]
    band = {min(dims.P, size) for size in bands if size > 1}
    pixels += [(1, size, column) for size in sorted(band) for column in columns if column >= min(8, dims.Q)]
    return pixels


def _of_passes(
    array: PeArrayConfig, dims: LoopDims, sizes_k: list[int], sizes_c: list[int]
) -> tuple[list[int], list[int]]:
    """Return sizes of K and C with equal parts of the filters, and the channels that a pass may take."""
    # Passes take filters by what the pads hold, which is no power of two: parts that halvings miss.
    thirds = [-(-dims.K // parts) for parts in (3, 6, 12, 24)]
    sets = array.rows // min(dims.R, array.rows)
    windows = array.scratch_pads.input_words // dims.S if array.scratch_pads is not None else 1
    passes = [held * shared for held in range(1, max(1, windows) + 1) for shared in (1, 2, 3, 4) if shared <= sets]
    return list(dict.fromkeys(sizes_k + thirds)), list(
        dict.fromkeys(sizes_c + [size for size in sorted(passes) if size < dims.C])
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tile sizes to be scored, int64 [num_candidates] per loop; which of them a person would state, bool.

    ``fills_lanes``: those with as many filters as the generator has lanes, bool.
    """

    size: dict[Loop, Ints]
    is_stated: npt.NDArray[np.bool_]
    fills_lanes: npt.NDArray[np.bool_]


def candidates(array: PeArrayConfig, dims: LoopDims, lanes: int = 0) -> Candidates:
    """Return all combinations of tile sizes to be scored.

    Groups are split only with whole K and C (a tile of several groups is contiguous in storage).

    Parameters
    ----------
    lanes
        Of the generator that makes the weights: as many filters keep all of them busy for one round.
    """
    quanta = _quanta(array, dims)
    sizes_k = _halvings(dims.K, quanta["K"]) + _below(quanta["K"], dims.K)
    round_of = lanes // quanta["K"] * quanta["K"] or lanes
    is_new = 0 < round_of < dims.K and round_of not in sizes_k
    if is_new:
        sizes_k.append(round_of)
    sizes_c = _reduction_sizes(array, dims, quanta["C"])
    if array.dataflow == "row_stationary":
        sizes_k, sizes_c = _of_passes(array, dims, sizes_k, sizes_c)
    pixels = _pixels(array, dims, quanta)
    rows = [(n, 1, k, c, p, q) for k in sizes_k for c in sizes_c for n, p, q in pixels]
    if dims.G > 1:
        rows += [(n, g, dims.K, dims.C, p, q) for g in _halvings(dims.G) if g > 1 for n, p, q in pixels]
    stated = dict.fromkeys(_stated(array, dims))
    unique = stated | dict.fromkeys(rows)
    table = np.fromiter(chain.from_iterable(unique), np.int64).reshape(-1, len(LOOPS))
    sizes = {loop: table[:, column] for column, loop in enumerate(LOOPS)}
    return Candidates(sizes, np.arange(len(unique)) < len(stated), is_new & (sizes["K"] == round_of))
