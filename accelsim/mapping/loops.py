"""The loop nest over tiles: tile sizes, loop order, and which operand is fetched in which step.

One step is one tile on the array. The nest has the loops ``N G K C P Q`` over tiles; R and S are split only where a
user's mapping says so. An operand is indexed by some of them: weights by G K C R S, inputs by N G C P Q R S, outputs by
N G K P Q.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from accelsim.timing.tiling import ALL_LOOPS, LOOPS, WINDOW_LOOPS, Loop, Tiling
from accelsim.trace.model import LoopDims

__all__ = [
    "ALL_LOOPS", "LOOPS", "WINDOW_LOOPS", "Loop", "Nest", "Reuse", "Tiling",
    "build_nest", "fetch_steps", "reuse_levels", "step_ranges",
]  # fmt: skip

WEIGHT_LOOPS: frozenset[Loop] = frozenset(("G", "K", "C", "R", "S"))
INPUT_LOOPS = frozenset("NGCPQRS")
OUTPUT_LOOPS = frozenset("NGKPQ")
REDUCTION_LOOPS: tuple[Loop, ...] = ("C", "R", "S")
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# The orders of the three loops that decide reuse; G stands outermost (it indexes every operand), N and Q go with P.
# With G within the positions, the last one here, a buffer that is not doubled holds the tiles of several groups beside
# each other, so that the next ones come while the array works: 5 % less energy x delay in a depthwise layer on eyeriss.
LOOP_ORDERS: tuple[tuple[Loop, ...], ...] = (
    ("G", "K", "N", "P", "Q", "C"),
    ("G", "N", "P", "Q", "K", "C"),
    ("G", "K", "C", "N", "P", "Q"),
    ("G", "C", "K", "N", "P", "Q"),
    ("G", "N", "P", "Q", "C", "K"),
    ("G", "C", "N", "P", "Q", "K"),
    ("N", "P", "Q", "G", "K", "C"),
)
UNGROUPED_ORDERS = LOOP_ORDERS[:-1]  # without groups the last one walks as the second does


@dataclass(frozen=True, slots=True)
class Nest:
    """Steps of a loop nest, unrolled: for each the tile index and the tile size along each loop, int64 [num_steps].

    ``first_step`` is the place of the first of them in the whole nest.
    """

    num_steps: int
    index: dict[Loop, Ints]
    size: dict[Loop, Ints]
    counts: dict[Loop, int]
    order: tuple[Loop, ...]
    first_step: int = 0

    @property
    def opens_sum(self) -> Bools:
        """Return the steps that begin the sums of their outputs, bool [num_steps]."""
        opens: Bools = (self.index["C"] == 0) & (self.index["R"] == 0) & (self.index["S"] == 0)
        return opens

    @property
    def ends_sum(self) -> Bools:
        """Return the steps that complete the sums of their outputs, bool [num_steps]."""
        ends: Bools = np.ones(self.num_steps, dtype=bool)
        for loop in REDUCTION_LOOPS:
            ends &= self.index[loop] == self.counts[loop] - 1
        return ends


def build_nest(dims: LoopDims, tiling: Tiling, steps_of: range | Ints | None = None) -> Nest:
    """Unroll the loop nest of a tiling, or some of its steps; the last tile along a loop takes the remainder."""
    counts = tiling.counts(dims)
    order = tiling.whole_order
    steps_of = steps_of if steps_of is not None else range(prod(counts.values()))
    num_steps = len(steps_of)
    index: dict[Loop, Ints] = {}
    size: dict[Loop, Ints] = {}
    steps = np.arange(steps_of.start, steps_of.stop, dtype=np.int64) if isinstance(steps_of, range) else steps_of
    zeros = np.zeros(num_steps, dtype=np.int64)
    inner = prod(counts.values())
    for loop in order:
        extent = getattr(dims, loop)
        tile = tiling.size(loop) or extent
        # Steps are numbers of mixed radix: each loop is a digit, of the weight of all loops within it.
        inner //= counts[loop]
        index[loop] = steps // inner % counts[loop] if counts[loop] > 1 else zeros
        sizes = np.full(num_steps, tile, dtype=np.int64)
        rest = extent - tile * (counts[loop] - 1)
        if rest != tile:
            sizes[index[loop] == counts[loop] - 1] = rest
        size[loop] = sizes
    return Nest(num_steps, index, size, counts, order, int(steps[0]))


def step_ranges(dims: LoopDims, tiling: Tiling, most_steps: int) -> list[range]:
    """Return the steps of a nest in consecutive ranges of at most ``most_steps``, as few and as equal as can be.

    A range covers whole turns of one loop within a single turn of all loops outside it. So whatever a buffer holds
    either lies within a range, or lasts for all of it: no range begins in the middle of what another one has begun
    to load, unless it loads nothing else.
    """
    counts = tiling.counts(dims)
    turn = prod(counts.values())  # steps of one turn of all loops looked at so far
    if turn <= most_steps:
        return [range(turn)]
    total = turn
    for loop in tiling.whole_order:
        turns, turn = counts[loop], turn // counts[loop]
        if turn <= most_steps:
            break
    num = -(-turns // max(1, most_steps // turn))
    edges = [turn * (turns * place // num) for place in range(num + 1)]
    outer = range(0, total, turn * turns)
    return [range(begin + first, begin + last) for begin in outer for first, last in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Reuse:
    """How an operand is held on chip.

    Attributes
    ----------
    hold_from
        Position in the loop order from which on the buffer holds all tiles of the operand (the block); the loops
        before it make it load another block.
    block_tiles
        Tiles in a block.
    num_blocks
        Blocks loaded in the layer, repetitions included.
    """

    hold_from: int
    block_tiles: int
    num_blocks: int


def reuse_levels(order: tuple[Loop, ...], counts: dict[Loop, int], relevant: frozenset[str]) -> list[Reuse]:
    """Return the useful ways to hold an operand, from one tile (least memory) to everything (fewest fetches).

    Holding from position h keeps every tile that the loops ``order[h:]`` touch. Only positions just behind a loop that
    indexes the operand (with more than one tile) make a difference; loops that do not index it and stand between are
    free reuse.
    """
    levels: list[Reuse] = []
    block = 1
    for position in range(len(order), -1, -1):
        before = [loop for loop in order[:position] if counts[loop] > 1]
        if position < len(order) and order[position] in relevant:
            block *= counts[order[position]]
        innermost_before = order[position - 1] if position else None
        if position and (innermost_before not in relevant or counts[innermost_before] == 1):
            continue
        num_blocks = 1
        for loop in before:
            num_blocks *= counts[loop]
        # The same tiles from further out are replaced less often: room is what costs, so the inner way is of no use.
        if levels and levels[-1].block_tiles == block:
            levels.pop()
        levels.append(Reuse(position, block, num_blocks))
    return levels


def fetch_steps(nest: Nest, relevant: frozenset[str], reuse: Reuse) -> Bools:
    """Return the steps in which a tile of the operand is fetched: its first use within a block."""
    first = np.ones(nest.num_steps, dtype=bool)
    for position, loop in enumerate(nest.order):
        if position >= reuse.hold_from and loop not in relevant:
            first &= nest.index[loop] == 0
    return first
