"""What an architect wants to know of a run: Pareto set, best points, what moves what, and where tickets beat rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelsim.dse.constraints import Constraint, holds
from accelsim.dse.duels import Duel, duels
from accelsim.dse.export import variable_columns
from accelsim.dse.pareto import EQUAL, Sensitivity, costs, pareto_front, sensitivities
from accelsim.dse.rows import MAXIMISED, Row, cost_of
from accelsim.dse.space import DesignSpace


@dataclass(frozen=True, slots=True)
class Summary:
    """The answers, all of them over points that were evaluated and keep the constraints.

    Attributes
    ----------
    axes
        Columns in which the points differ: chip, workload, storage format and variables with more than one value.
    networks
        Names of the networks. With more than one, Pareto set, best points and sensitivities are each network's own:
        nobody can choose the network.
    front
        Flat rows, by the first objective; of several networks one after the other.
    best
        Objective -> flat row; ``OBJECTIVE of NETWORK`` where there are several networks. Of rows that are alike, within
        a thousandth, one that is in the Pareto set. Empty where most points failed: the best of the rest says nothing.
    nearest
        Where no point keeps the constraints: the one that misses them by least.
    """

    objectives: tuple[str, ...]
    axes: tuple[str, ...]
    networks: tuple[str, ...]
    num_points: int
    num_failed: int
    num_feasible: int
    front: tuple[Row, ...]
    best: dict[str, Row]
    nearest: Row | None
    sensitivities: tuple[Sensitivity, ...]
    duels: tuple[Duel, ...]
    reasons: dict[str, int]
    constraints: tuple[str, ...] = ()


def summarise(
    space: DesignSpace,
    rows: Sequence[Row],
    objectives: Sequence[str],
    constraints: tuple[Constraint, ...],
    spread: Sequence[Row] | None = None,
) -> Summary:
    """Return the summary of flat rows; ``spread`` rows lie over the whole space and serve the sensitivities instead."""
    good = [row for row in rows if row["status"] == "ok"]
    feasible = [row for row in good if holds(constraints, row)]
    networks = sorted({str(row.get("network") or "") for row in good})
    front: list[Row] = []
    best: dict[str, Row] = {}
    moved: list[Sensitivity] = []
    for network in networks:
        tag = network if len(networks) > 1 else ""
        own = [row for row in feasible if not tag or row.get("network") == tag]
        own_front = pareto_front(costs(own, objectives))
        order = sorted(own_front, key=lambda index: (cost_of(own[index], objectives[0]) or 0.0, index))
        front += [own[index] for index in order]
        found = _best(own, own_front, objectives)
        if 2 * len(good) >= len(rows):
            best |= {f"{name} of {tag}" if tag else name: row for name, row in found.items()}
        wide = [row for row in (good if spread is None else spread) if not tag or row.get("network") == tag]
        moved += [
            replace(entry, network=tag)
            for metric in objectives
            for entry in sensitivities(axes_of(space), wide, metric, metric in MAXIMISED, found.get(metric))
        ]
    return Summary(
        objectives=tuple(objectives),
        axes=tuple(axis for axis in axes_of(space) if len({repr(row.get(axis)) for row in rows}) > 1),
        networks=tuple(networks),
        num_points=len(rows),
        num_failed=len(rows) - len(good),
        num_feasible=len(feasible),
        front=tuple(front),
        best=best,
        nearest=None if feasible or not good else min(good, key=lambda row: _missed(row, constraints)),
        sensitivities=tuple(moved),
        duels=tuple(duels(good, [axis for axis in axes_of(space) if axis != "storage"])),
        reasons=count_reasons(rows),
        constraints=tuple(constraint.text for constraint in constraints),
    )


def count_reasons(rows: Sequence[Row]) -> dict[str, int]:
    """Return why rows failed, and how many for each reason, the most frequent first."""
    reasons: dict[str, int] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = str(row["reason"])
            reasons[reason] = reasons.get(reason, 0) + 1
    return dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0])))


def axes_of(space: DesignSpace) -> list[str]:
    """Return the columns that say which point a row is."""
    return ["hardware", "workload", "storage", *variable_columns(space)]


def _missed(row: Row, constraints: tuple[Constraint, ...]) -> float:
    return sum(max(0.0, constraint.violation(row)) for constraint in constraints)


def _best(rows: Sequence[Row], front: Sequence[int], objectives: Sequence[str]) -> dict[str, Row]:
    best: dict[str, Row] = {}
    in_front = set(front)
    for name in objectives:
        known = [(value, index) for index, row in enumerate(rows) if (value := cost_of(row, name)) is not None]
        if known:
            lowest = min(known)[0]
            alike = [entry for entry in known if entry[0] <= lowest + EQUAL * abs(lowest)]
            best[name] = rows[min(alike, key=lambda entry: (entry[1] not in in_front, entry))[1]]
    return best
