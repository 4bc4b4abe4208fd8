"""The input rows and columns that tiles read, and which of them a neighbour has brought already."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accelsim.mapping.loops import Loop, Nest, Reuse, Tiling
from accelsim.mapping.task import LayerTask, input_extent, input_overlap
from accelsim.trace.model import LoopDims

Ints = npt.NDArray[np.int64]


def new_extents(
    task: LayerTask, tiling: Tiling, nest: Nest, reuse: Reuse, steps: Ints, loops: tuple[Loop, Loop]
) -> Ints:
    """Return the input rows (``P R``) or columns (``Q S``) that the tiles of steps bring, int64 [steps]."""
    loop, window = loops
    index = nest.index[loop][steps]
    first = int(index.min())
    tiles = range(first, int(index.max()) + 1)  # a part of a layer sees some of them only
    table = _extents(task, tiling, nest, tiles, loops) - _on_chip(task, tiling, nest, reuse, tiles, loop)[:, None]
    extents: Ints = table[index - first, nest.index[window][steps]]
    return extents


def _extents(task: LayerTask, tiling: Tiling, nest: Nest, tiles: range, loops: tuple[Loop, Loop]) -> Ints:
    """Return the input rows (or columns) of tiles, int64 [tiles along P (or Q), tiles along R (or S)]."""
    loop, window = loops
    extent, tile = getattr(task.layer.dims, loop), tiling.size(loop)
    taps = getattr(task.layer.dims, window)
    step = tiling.size(window) or taps

    def of(i: int) -> list[int]:
        size = min(tile, extent - i * tile)
        return [
            input_extent(task, loop, i * tile, size, j * step, min(step, taps - j * step))
            for j in range(nest.counts[window])
        ]

    return _of_each(of, task.layer.dims, loop, tile, tiles)


def _on_chip(task: LayerTask, tiling: Tiling, nest: Nest, reuse: Reuse, tiles: range, loop: Loop) -> Ints:
    """Return the input rows (columns) of each tile along ``loop`` that its neighbour has brought, int64 [tiles].

    They are still on chip where the neighbour lies in the same block of tiles that the buffer holds, or in the block
    right before it: of two blocks side by side the second is fetched while the first is there, and a single block is
    replaced row by row. Tiles that are loaded again in every step (``keep: tile``) share nothing.
    """
    split = [other for other in nest.order[: reuse.hold_from] if nest.counts[other] > 1]
    # Split loops between would bring other tiles before the neighbour comes: then its rows have been replaced.
    is_near = loop in nest.order[reuse.hold_from :] or split[-1:] == [loop]
    if tiling.keep == "tile" or not is_near or tiling.splits_window(task.layer.dims):
        return np.zeros(len(tiles), dtype=np.int64)
    tile = tiling.size(loop)

    def of(i: int) -> int:
        return input_overlap(task, loop, i * tile, tile) if i else 0

    return _of_each(of, task.layer.dims, loop, tile, tiles)


def _of_each(of: Callable[[int], int | list[int]], dims: LoopDims, loop: Loop, tile: int, tiles: range) -> Ints:
    """Return a figure of each tile along a loop, int64 [tiles, ...]: asked for once for all that meet no border."""
    place = np.arange(tiles.start, tiles.stop, dtype=np.int64)
    axis, extent = (0, dims.H) if loop == "P" else (1, dims.W)
    if not dims.slices[1]:  # else windows lie at two distances
        first, behind = place * tile, (place + 1) * tile
        inside = (place > 0) & (behind <= getattr(dims, loop)) & (dims.start(axis, 0) + first * dims.stride[axis] >= 0)
        inside &= dims.start(axis, 0) + (behind - 1) * dims.stride[axis] + dims.span(axis) <= extent
        if inside.any():
            place[inside] = place[inside][0]
    different, which = np.unique(place, return_inverse=True)
    found: Ints = np.array([of(i) for i in different.tolist()], dtype=np.int64)[which]
    return found
