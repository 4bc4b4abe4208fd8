"""What an architect wants to know of a run: Pareto set, best points, what moves what, and where tickets beat rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.dse.constraints import Constraint, holds
from accelsim.dse.export import variable_columns
from accelsim.dse.pareto import Sensitivity, costs, pareto_front, sensitivity
from accelsim.dse.rows import MAXIMISED, Row, cost_of, figure
from accelsim.dse.space import DesignSpace
from accelsim.dse.workloads import is_ticket_format

RIVAL_METRICS = ("latency_s", "energy_j", "weight_bytes", "area_mm2")
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Duel:
    """A ticket format against a rival on the same chip and network, point by point.

    ``wins`` of ``pairs`` points; ``median_ratio``: rival over ticket (above 1 the ticket is better); ``lost_at``: the
    choices of up to three points that the ticket loses, worst first.
    """

    ticket: str
    rival: str
    metric: str
    pairs: int
    wins: int
    median_ratio: float
    lost_at: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The answers, all of them over points that were evaluated and keep the constraints.

    ``front`` and ``best`` hold flat rows; ``best`` is by objective.
    """

    objectives: tuple[str, ...]
    num_points: int
    num_failed: int
    num_feasible: int
    front: tuple[Row, ...]
    best: dict[str, Row]
    sensitivities: tuple[Sensitivity, ...]
    duels: tuple[Duel, ...]
    reasons: dict[str, int]


def summarise(
    space: DesignSpace, rows: Sequence[Row], objectives: Sequence[str], constraints: tuple[Constraint, ...]
) -> Summary:
    """Return the summary of flat rows."""
    good = [row for row in rows if row["status"] == "ok"]
    feasible = [row for row in good if holds(constraints, row)]
    front = pareto_front(costs(feasible, objectives))
    reasons: dict[str, int] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = str(row["reason"])
            reasons[reason] = reasons.get(reason, 0) + 1
    return Summary(
        objectives=tuple(objectives),
        num_points=len(rows),
        num_failed=len(rows) - len(good),
        num_feasible=len(feasible),
        front=tuple(feasible[index] for index in front),
        best=_best(feasible, objectives),
        sensitivities=tuple(_sensitivities(space, good, objectives)),
        duels=tuple(_duels(space, good)),
        reasons=dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


def _best(rows: Sequence[Row], objectives: Sequence[str]) -> dict[str, Row]:
    best: dict[str, Row] = {}
    for name in objectives:
        known = [(value, index) for index, row in enumerate(rows) if (value := cost_of(row, name)) is not None]
        if known:
            best[name] = rows[min(known)[1]]
    return best


def _axes(space: DesignSpace) -> list[str]:
    axes = [*variable_columns(space), "storage"]
    if len(space.hardware) > 1:
        axes.insert(0, "hardware")
    if len(space.workloads) > 1:
        axes.insert(0, "workload")
    return axes


def _sensitivities(space: DesignSpace, rows: Sequence[Row], objectives: Sequence[str]) -> list[Sensitivity]:
    found = []
    for metric in objectives:
        of_metric = [
            entry
            for axis in _axes(space)
            if (entry := sensitivity(axis, [row.get(axis) for row in rows], rows, metric, metric in MAXIMISED))
        ]
        found += sorted(of_metric, key=lambda entry: (-entry.share, entry.variable))
    return found


def _duels(space: DesignSpace, rows: Sequence[Row]) -> list[Duel]:
    axes = [*variable_columns(space), "hardware", "workload"]
    by_place: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        place = tuple(repr(row.get(axis)) for axis in axes)
        by_place.setdefault(place, {})[str(row["storage"])] = row
    names = sorted({str(row["storage"]) for row in rows})
    tickets = [name for name in names if is_ticket_format(name)]
    rivals = [name for name in names if not is_ticket_format(name)]
    return [
        duel
        for ticket in tickets for rival in rivals for metric in RIVAL_METRICS
        if (duel := _duel(space, list(by_place.values()), (ticket, rival), metric)) is not None
    ]  # fmt: skip


def _duel(space: DesignSpace, places: Sequence[Mapping[str, Row]], names: tuple[str, str], metric: str) -> Duel | None:
    ticket, rival = names
    ratios: list[tuple[float, Row]] = []
    for rows in places:
        if ticket in rows and rival in rows:
            mine, theirs = figure(rows[ticket], metric), figure(rows[rival], metric)
            if mine and theirs is not None:
                ratios.append((theirs / mine, rows[ticket]))
    if not ratios:
        return None
    lost = sorted((entry for entry in ratios if entry[0] < 1.0), key=lambda entry: entry[0])
    columns = ["hardware", "workload", *variable_columns(space)]
    return Duel(
        ticket=ticket,
        rival=rival,
        metric=metric,
        pairs=len(ratios),
        wins=sum(ratio > 1.0 for ratio, _ in ratios),
        median_ratio=float(np.median([ratio for ratio, _ in ratios])),
        lost_at=tuple({name: row.get(name) for name in columns} for _, row in lost[:_EXAMPLES]),
    )
