"""The ways in which tilings may hold an operand on chip: from the outermost loop on, or from behind one within."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapping.loops import Loop

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HoldTable:
    """Ways to hold an operand, float32 [orders, ways, n], sorted from the fewest fetches on.

    Attributes
    ----------
    single, double
        Tiles held, and the same doubled where they are replaced while the array works.
    fetches
        How often the operand as a whole is fetched.
    loads
        How often what is held is replaced, the first load included.
    late
        Fraction of a load's steps that are over when its last tile is used first (of outputs: is opened).
    ready
        Fraction of a load's steps that are over when its first tile is used last (of outputs: is finished).
    keeps_rows, keeps_columns
        1 where the rows (columns) that a tile of inputs shares with its neighbour are still on chip, else 0; of other
        operands [0].
    """

    single: Floats32
    double: Floats32
    fetches: Floats32
    loads: Floats32
    late: Floats32
    ready: Floats32
    keeps_rows: Floats32
    keeps_columns: Floats32


@dataclass(frozen=True, slots=True)
class Nest:
    """Tiles along each loop in each order, [orders, loops, n], and the steps outside of, and from, each place on.

    The last two have a place more: behind all loops.
    """

    orders: tuple[tuple[Loop, ...], ...]
    counts: Floats
    outside: Floats
    steps: Floats

    @classmethod
    def of(cls, orders: tuple[tuple[Loop, ...], ...], counts: dict[Loop, Floats]) -> Nest:
        """Return the nest of loops over tiles, of which there are ``counts`` [n] along each loop."""
        of_loop = np.stack([[counts[loop] for loop in order] for order in orders])
        num_orders, loops, num = of_loop.shape
        outside = np.ones((num_orders, loops + 1, num))
        np.cumprod(of_loop, axis=1, out=outside[:, 1:])
        return cls(orders, of_loop, outside, _from_behind(np.cumprod, of_loop, 1.0))


def ways_to_hold(nest: Nest, relevant: frozenset[str], has_halo: bool = False) -> HoldTable:
    """Return the ways to hold an operand: from the outermost loop on, and from behind each loop that indexes it."""
    indexes = np.array([[loop in relevant for loop in order] for order in nest.orders])[:, :, None]
    rows = np.arange(len(nest.orders))[:, None]
    ways = np.array([
        [0, *(place + 1 for place, loop in enumerate(order) if loop in relevant)] for order in nest.orders
    ])  # fmt: skip
    block = _from_behind(np.cumprod, np.where(indexes, nest.counts, 1), 1.0)
    # Steps before the last tile is used first. Within a load each loop runs alike forwards and backwards in time, so
    # that as many pass behind the last use of the first tile.
    late = _from_behind(np.cumsum, np.where(indexes, (nest.counts - 1) * nest.steps[:, 1:], 0), 0.0)[rows, ways]
    held, loads, during = block[rows, ways], nest.outside[rows, ways], nest.steps[rows, ways]
    keeps = [np.zeros(0), np.zeros(0)]
    if has_halo:
        keeps = [_keeps(nest, ways, "P"), _keeps(nest, ways, "Q")]
    figures = (
        held, np.where(loads > 1, 2 * held, held), loads * held / block[:, :1], loads, late / during,
        (during - late) / during, *keeps,
    )  # fmt: skip
    return HoldTable(*(figure.astype(np.float32) for figure in figures))


def _from_behind(accumulate: Any, values: Floats, none: float) -> Floats:
    """Return sums (products) of all values from each place on, and from behind the last one, [orders, loops + 1, n]."""
    orders, loops, num = values.shape
    found = np.full((orders, loops + 1, num), none)
    accumulate(values[:, ::-1], axis=1, out=found[:, -2::-1])
    return found


def _keeps(nest: Nest, ways: Ints, loop: Loop) -> Floats:
    """Return 1 where a tile's neighbour along ``loop`` lies in the same block, or in the block right before it."""
    # Held from `loop` or further out, both neighbours are in one load. Held further in, the neighbour was in the load
    # right before only if no loop between is split: else other tiles have been in its place since.
    keeps = np.ones((*ways.shape, nest.counts.shape[2]))
    for number, order in enumerate(nest.orders):
        behind = order.index(loop) + 1
        for way, place in enumerate(ways[number].tolist()):
            if place > behind:
                keeps[number, way] = (nest.counts[number, behind:place] == 1).all(axis=0)
    return keeps
