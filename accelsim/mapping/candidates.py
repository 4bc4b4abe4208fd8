"""Tile sizes worth trying: multiples of what the array holds, halvings, and whole loops."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.loops import LOOPS, Loop
from accelsim.trace.model import LoopDims
from accelsim.units import ceil_div

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tile sizes, int64 [num_candidates] per loop.

    ``is_simple``, bool [num_candidates], marks those that a person would write down: see `simple_tiles`.
    """

    size: dict[Loop, Ints]
    is_simple: npt.NDArray[np.bool_]

    @property
    def num(self) -> int:
        """Return the number of candidates."""
        return int(self.size["K"].size)

    def take(self, chosen: npt.NDArray[np.bool_] | Ints) -> Candidates:
        """Return the chosen ones."""
        return Candidates({loop: values[chosen] for loop, values in self.size.items()}, self.is_simple[chosen])


def _halvings(extent: int, quantum: int = 1, limit: int = 20) -> list[int]:
    """Return extent, then ever smaller even divisions, rounded up to ``quantum``, without repeats."""
    sizes: list[int] = []
    parts = 1
    while len(sizes) < limit:
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
        window = dims.R * dims.S
        sizes += [folds * array.rows // window for folds in (1, 2, 4, 8) if 0 < folds * array.rows // window < dims.C]
    return list(dict.fromkeys(sizes + _below(quantum, dims.C)))


def _quanta(array: PeArrayConfig, dims: LoopDims) -> dict[str, int]:
    """Return the sizes of K, C, P and Q below which the array is not full."""
    if array.dataflow == "spatial":
        return {loop: array.unroll.get(loop, 1) for loop in ("K", "C", "P", "Q")}
    window = dims.R * dims.S
    full_c = array.rows // gcd(array.rows, window)
    if array.dataflow == "weight_stationary":
        return {"K": array.cols, "C": full_c, "P": 1, "Q": 1}
    if array.dataflow == "output_stationary":
        return {"K": array.cols, "C": 1, "P": ceil_div(array.rows, dims.Q), "Q": min(dims.Q, array.rows)}
    return {"K": 1, "C": full_c, "P": ceil_div(array.cols, dims.Q), "Q": min(dims.Q, array.cols)}


def simple_tiles(array: PeArrayConfig, dims: LoopDims) -> list[tuple[int, ...]]:
    """Return simple tiles (N, G, K, C, P, Q): the whole layer, or an array of weights, all of K or C, on some rows."""
    if array.dataflow == "spatial":
        one_k, one_c = min(dims.K, array.unroll.get("K", 1)), min(dims.C, array.unroll.get("C", 1))
    else:
        one_k, one_c = min(dims.K, array.cols), min(dims.C, array.rows)
    weights = [(one_k, one_c), (dims.K, dims.C), (one_k, dims.C), (dims.K, one_c)]
    weights += [(min(dims.K, 2 * one_k), min(dims.C, 2 * one_c))]
    rows = [size for size in (1, 4, 8) if size < dims.P]
    tiles: list[tuple[int, ...]] = [(dims.N, dims.G, dims.K, dims.C, dims.P, dims.Q)]
    tiles += [(1, 1, k, c, p, dims.Q) for k, c in weights for p in (dims.P, *rows)]
    return tiles


def candidates(array: PeArrayConfig, dims: LoopDims) -> Candidates:
    """Return all combinations of tile sizes to be scored.

    Columns are split only in combination with single rows, groups only with whole K and C (a tile of several groups
    is contiguous in storage), the batch only with whole maps.
    """
    quanta = _quanta(array, dims)
    sizes_k = _halvings(dims.K, quanta["K"]) + _below(quanta["K"], dims.K)
    sizes_c = _reduction_sizes(array, dims, quanta["C"])
    sizes_p = _halvings(dims.P, quanta["P"]) + [size for size in (1, 2, 3, 4, 6, 8, 12) if size < dims.P]
    pixels = [(dims.N, size, dims.Q) for size in dict.fromkeys(sizes_p)]
    pixels += [(1, size, dims.Q) for size in dict.fromkeys(sizes_p) if dims.N > 1]
    pixels += [(size, dims.P, dims.Q) for size in _halvings(dims.N) if 1 < size < dims.N]
    pixels += [(1, 1, size) for size in _halvings(dims.Q, quanta["Q"]) if size < dims.Q]
    rows = [(n, 1, k, c, p, q) for k in sizes_k for c in sizes_c for n, p, q in pixels]
    if dims.G > 1:
        rows += [(n, g, dims.K, dims.C, p, q) for g in _halvings(dims.G) if g > 1 for n, p, q in pixels]
    simple = set(simple_tiles(array, dims))
    unique = list(dict.fromkeys([*rows, *sorted(simple)]))
    table = np.array(unique, dtype=np.int64)
    sizes = {loop: table[:, column] for column, loop in enumerate(LOOPS)}
    return Candidates(sizes, np.array([row in simple for row in unique], dtype=bool))
