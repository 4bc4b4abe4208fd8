"""How a group of neighbouring layers is cut into stripes of rows: who makes which rows when, and what is on chip then.

A stripe is a range of rows of the group's last layer, with the rows of every earlier layer that it needs: layers of a
group work on one stripe after the other, so that a map between them is on chip a few rows at a time. Rows that the next
stripe needs too, the halo, stay on chip (``kept``), or are made, or read, again (``recomputed``). Of several cores
each has as many stripes, one behind the other; what two cores need is recomputed, whatever becomes of other halos.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Halo = Literal["kept", "recomputed"]
Rows = tuple[int, int]
"""First row, and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a layer reads row by row: a map by name, of rows of so many bytes, and the rows under some of its outputs.

    ``is_inside``: a layer of the group makes it; ``is_main``: it is the first operand, else it is joined to the
    outputs.
    """

    name: str
    row_bytes: int
    window: Callable[[int, int], Rows]
    is_inside: bool
    is_main: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A layer of a group: its rows of outputs, and what it reads; ``leaves``: layers outside the group read it too."""

    name: str
    num_rows: int
    row_bytes: int
    reads: tuple[Read, ...]
    leaves: bool


@dataclass(frozen=True, slots=True)
class StripePiece:
    """Some rows of a layer of a group.

    Attributes
    ----------
    member, stripe
        Which layer, and in which stripe.
    rows
        Rows of outputs.
    new_rows
        Of each of the layer's reads that come from memory, how many rows do; of one inside the group none.
    window_rows
        Rows that lie under the piece, of each of its reads.
    held_bytes
        What the group has in the activation buffer meanwhile, beside the tiles that the piece loads.
    """

    member: int
    stripe: int
    rows: Rows
    new_rows: tuple[int, ...]
    window_rows: tuple[int, ...]
    held_bytes: int


def cut(
    members: Sequence[Member], num_stripes: int, halo: Halo, num_cores: int = 1, core: int = 0
) -> tuple[StripePiece, ...]:
    """Return the pieces of a group in the order in which they run, stripe by stripe.

    Every layer makes each of its rows; where halos are kept, once.

    Parameters
    ----------
    num_stripes
        Stripes of a core.
    num_cores, core
        Cores among which the rows are divided, and of which of them the pieces are wanted; its stripes count from 0.
    """
    every = _rows_of_stripes(members, num_stripes, halo, num_cores)
    rows = every[core * num_stripes : (core + 1) * num_stripes]
    order = [
        (stripe, member)
        for stripe in range(num_stripes)
        for member in range(len(members))
        if rows[stripe][member][0] < rows[stripe][member][1]
    ]
    pieces: list[StripePiece] = []
    # Where halos are made again a stripe is alone: nothing of the stripe before is still there.
    epochs = {0: order} if halo == "kept" else {
        stripe: [entry for entry in order if entry[0] == stripe] for stripe in range(num_stripes)
    }  # fmt: skip
    for entries in epochs.values():
        pieces += _with_maps(members, [(stripe, member, rows[stripe][member]) for stripe, member in entries])
    return tuple(pieces)


def _rows_of_stripes(members: Sequence[Member], each: int, halo: Halo, num_cores: int) -> list[list[Rows]]:
    """Return which rows each member makes in each stripe, from the last member's share of its own backwards.

    A core has ``each`` stripes.
    """
    num_stripes = each * num_cores
    place = {member.name: number for number, member in enumerate(members)}
    readers: list[list[tuple[int, Read]]] = [[] for _ in members]
    for number, member in enumerate(members):
        for read in member.reads:
            if read.is_inside:
                readers[place[read.name]].append((number, read))
    done = [0] * len(members)
    found: list[list[Rows]] = []
    for stripe in range(num_stripes):
        made: list[Rows] = [(0, 0)] * len(members)
        # The last member has its share of its rows; what a member before makes is what those behind it read.
        for number in reversed(range(len(members))):
            total = members[number].num_rows
            begins, ends = [done[number]], [done[number]]
            if not readers[number] or members[number].leaves:
                begins.append(total * stripe // num_stripes)
                ends.append(total * (stripe + 1) // num_stripes)
            for reader, read in readers[number]:
                first, last = made[reader]
                if first < last:
                    begin, end = read.window(first, last - first)
                    begins.append(begin)
                    ends.append(end)
            # Rows that no window reaches, where strides leave some over, are made in the last stripe.
            end = total if stripe == num_stripes - 1 else max(ends)
            # A core's first stripe finds no rows of the stripe before on that core: it makes its halo itself.
            begin = done[number] if halo == "kept" and stripe % each else min(begins)
            made[number] = begin, end
        done = [max(before, end) for before, (_, end) in zip(done, made, strict=True)]
        found.append(made)
    return found


@dataclass(slots=True)
class _Map:
    """Rows ``begin`` to ``there`` of a map have come or been made; ``reads`` of it are (place, first row)."""

    row_bytes: int
    is_inside: bool
    begin: int
    there: int
    reads: list[tuple[int, int]]
    places: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)

    def sort(self) -> None:
        """Note of each read the first row that it or one behind it needs."""
        self.places = [at for at, _ in self.reads]
        least, firsts = self.reads[-1][1], []
        for _, first in reversed(self.reads):
            least = min(least, first)
            firsts.append(least)
        self.firsts = firsts[::-1]

    def load(self, window: Rows) -> int:
        """Bring the rows of a window that have not come yet; return how many."""
        first, last = window
        # Where branches differ, a window may begin before what has come: rows are counted on both sides.
        fresh = max(0, min(self.begin, last) - first) + max(0, last - max(self.there, first))
        self.begin, self.there = min(self.begin, first), max(self.there, last)
        return fresh

    def needed_from(self, place: int) -> int | None:
        """Return the first row that a piece at ``place`` or behind it reads; None: none does."""
        number = bisect_left(self.places, place)
        return self.firsts[number] if number < len(self.firsts) else None


def _with_maps(members: Sequence[Member], entries: Sequence[tuple[int, int, Rows]]) -> list[StripePiece]:
    """Return pieces that share what is on chip, in order, with the rows that they load and what is held meanwhile."""
    maps: dict[str, _Map] = {}
    windows: list[list[Rows]] = []
    for at, (_, number, rows) in enumerate(entries):
        own = [read.window(rows[0], rows[1] - rows[0]) for read in members[number].reads]
        windows.append(own)
        for read, (first, _) in zip(members[number].reads, own, strict=True):
            held = maps.setdefault(read.name, _Map(read.row_bytes, read.is_inside, first, first, []))
            held.reads.append((at, first))
    for held in maps.values():
        held.sort()
    # Of a map that is made here nothing is there before its first piece, whose begin is set last.
    for _, number, rows in reversed(entries):
        if members[number].name in maps:
            maps[members[number].name].there = rows[0]
    pieces = []
    for at, (stripe, number, rows) in enumerate(entries):
        before = {name: held.there for name, held in maps.items()}
        fresh = tuple(
            0 if read.is_inside else maps[read.name].load(window)
            for read, window in zip(members[number].reads, windows[at], strict=True)
        )
        if members[number].name in maps:
            maps[members[number].name].there = rows[1]
        held_bytes = sum(held.row_bytes * _held_rows(held, at, before[name]) for name, held in maps.items())
        sizes = tuple(last - first for first, last in windows[at])
        pieces.append(StripePiece(number, stripe, rows, fresh, sizes, held_bytes))
    return pieces


def _held_rows(held: _Map, at: int, before: int) -> int:
    """Return the rows of a map that stay on chip while a piece runs: those that it, or one behind it, reads.

    Rows that the piece itself loads pass through its tiles; they stay only for pieces behind it.
    """
    first, later = held.needed_from(at), held.needed_from(at + 1)
    if held.is_inside:
        return 0 if first is None else max(0, held.there - first)
    rows = 0 if first is None else max(0, before - first)
    return rows + (0 if later is None else max(0, held.there - max(before, later)))
