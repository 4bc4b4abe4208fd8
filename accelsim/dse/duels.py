"""Where tickets beat each rival and where they do not: point by point, alike in all but the storage format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.dse.pareto import EQUAL
from accelsim.dse.rows import Row, figure
from accelsim.storage.base import is_ticket_format

RIVAL_METRICS = ("latency_s", "energy_j", "weight_bytes", "area_mm2")
_EXAMPLES = 3
_MAX_CONDITIONS = 3
_WORTH = 0.02


@dataclass(frozen=True, slots=True)
class Condition:
    """A variable takes one of ``levels``, of the ``known`` ones that occur; numbers in order."""

    variable: str
    levels: tuple[Any, ...]
    known: tuple[Any, ...]

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row keeps the condition."""
        return row.get(self.variable) in self.levels


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that together tell best which points are lost: ``lost`` of the ``inside`` points that keep them all.

    ``lost_outside`` of the other points are lost too.
    """

    conditions: tuple[Condition, ...]
    inside: int
    lost: int
    lost_outside: int


@dataclass(frozen=True, slots=True)
class Duel:
    """A ticket format against a rival in one figure, over pairs of points that are alike in all else.

    Attributes
    ----------
    wins, ties, losses
        Pairs in which the ticket is better, equal (within a thousandth), worse.
    median_ratio, best_ratio, worst_ratio
        Rival over ticket: above 1 the ticket is better.
    loses_where
        What the lost pairs have in common; None where all pairs or none are lost.
    lost_at
        Choices of up to three lost pairs, worst first.
    """

    ticket: str
    rival: str
    metric: str
    pairs: int
    wins: int
    ties: int
    losses: int
    median_ratio: float
    best_ratio: float
    worst_ratio: float
    loses_where: Rule | None
    lost_at: tuple[dict[str, Any], ...]


def duels(rows: Sequence[Row], axes: Sequence[str]) -> list[Duel]:
    """Return the duels of every ticket format with every other format, by rival; ``axes`` are all other variables."""
    by_place: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        place = tuple(repr(row.get(axis)) for axis in axes)
        by_place.setdefault(place, {})[str(row["storage"])] = row
    names = sorted({str(row["storage"]) for row in rows})
    tickets = [name for name in names if is_ticket_format(name)]
    rivals = [name for name in names if not is_ticket_format(name)]
    return [
        duel
        for rival in rivals for ticket in tickets for metric in RIVAL_METRICS
        if (duel := _duel(list(by_place.values()), axes, (ticket, rival), metric)) is not None
    ]  # fmt: skip


def _duel(places: Sequence[Mapping[str, Row]], axes: Sequence[str], names: tuple[str, str], metric: str) -> Duel | None:
    ticket, rival = names
    pairs: list[tuple[float, Row]] = []
    # A ratio needs both: a chip on which one of them fails says nothing about the other.
    for rows in places:
        if ticket in rows and rival in rows:
            mine, theirs = figure(rows[ticket], metric), figure(rows[rival], metric)
            if mine and theirs is not None:
                pairs.append((theirs / mine, rows[ticket]))
    if not pairs:
        return None
    ratios = [ratio for ratio, _ in pairs]
    lost = sorted((entry for entry in pairs if entry[0] < 1 - EQUAL), key=lambda entry: entry[0])
    num_won = sum(ratio > 1 + EQUAL for ratio in ratios)
    return Duel(
        ticket=ticket,
        rival=rival,
        metric=metric,
        pairs=len(pairs),
        wins=num_won,
        ties=len(pairs) - num_won - len(lost),
        losses=len(lost),
        median_ratio=float(np.median(ratios)),
        best_ratio=max(ratios),
        worst_ratio=min(ratios),
        loses_where=find_rule([row for _, row in pairs], [ratio < 1 - EQUAL for ratio in ratios], axes),
        lost_at=tuple({name: row.get(name) for name in axes} for _, row in lost[:_EXAMPLES]),
    )


def find_rule(rows: Sequence[Mapping[str, Any]], is_lost: Sequence[bool], axes: Sequence[str]) -> Rule | None:
    """Return the conditions on variables that tell lost points from the others; None where all or none are lost.

    Conditions are added one by one, each the one that brings the largest F1 score (the harmonic mean of how many points
    inside are lost and how many lost points are inside), while it gets better.
    """
    total = sum(is_lost)
    if not 0 < total < len(rows):
        return None
    inside = list(zip(rows, is_lost, strict=True))
    chosen: list[Condition] = []
    score = 2 * total / (len(rows) + total)  # of no condition at all: everything is inside
    while len(chosen) < _MAX_CONDITIONS:
        used = {condition.variable for condition in chosen}
        offers = [
            offer for axis in axes if axis not in used for offer in [_best_condition(inside, axis, total)] if offer
        ]
        if not offers:
            break
        best, condition = max(offers, key=lambda offer: offer[0])
        if best < score + _WORTH:
            break
        score = best
        chosen.append(condition)
        inside = [(row, lost) for row, lost in inside if condition.holds(row)]
    if not chosen:
        return None
    hits = sum(lost for _, lost in inside)
    return Rule(tuple(chosen), len(inside), hits, total - hits)


def _best_condition(
    points: Sequence[tuple[Mapping[str, Any], bool]], axis: str, total: int
) -> tuple[float, Condition] | None:
    """Return the best condition on one variable with its F1 score; None where the variable has one value."""
    counts: dict[Any, list[int]] = {}
    for row, lost in points:
        entry = counts.setdefault(row.get(axis), [0, 0])
        entry[0] += 1
        entry[1] += lost
    if len(counts) < 2:
        return None
    best: tuple[float, Condition] | None = None
    # Lost points that earlier conditions put outside count as missed: `total` is that of all points.
    for levels, known in _level_sets(counts):
        inside = sum(counts[level][0] for level in levels)
        hits = sum(counts[level][1] for level in levels)
        score = 2 * hits / (inside + total)
        if best is None or score > best[0]:
            best = score, Condition(axis, levels, known)
    return best


def _level_sets(counts: Mapping[Any, Sequence[int]]) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Return the sets of values to try: single ones, then for numbers all below or above one, for words the worst."""
    known: tuple[Any, ...] = tuple(counts)
    if all(isinstance(level, (int, float)) and not isinstance(level, bool) for level in known):
        known = tuple(sorted(known))
        more = [known[:end] for end in range(2, len(known))] + [known[end:] for end in range(1, len(known) - 1)]
    else:
        # Of n words there are 2^n sets; the best one is always some of those with the largest shares of lost points.
        worst = sorted(known, key=lambda level: -counts[level][1] / counts[level][0])
        more = [tuple(worst[:end]) for end in range(2, len(known))]
    return [(levels, known) for levels in [*((level,) for level in known), *more]]
