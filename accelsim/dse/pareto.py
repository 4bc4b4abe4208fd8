"""Pareto fronts, rank correlation, and how much of a figure each variable explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.dse.rows import cost_of, figure

Floats = npt.NDArray[np.float64]


def costs(rows: Sequence[Mapping[str, object]], objectives: Sequence[str]) -> Floats:
    """Return the objectives turned so that less is better, float64 [rows, objectives]; nan where there is none."""
    table = [[cost_of(row, name) for name in objectives] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), len(objectives))


def pareto_front(values: Floats) -> list[int]:
    """Return the rows that no other row beats in one figure without losing in another; less is better.

    Rows with a missing figure are never in the front; of equal rows all are.
    """
    complete = np.flatnonzero(np.isfinite(values).all(axis=1))
    front: list[int] = []
    for row in complete[np.lexsort(values[complete].T[::-1])].tolist():
        # In this order a row is only ever beaten by one before it.
        kept = values[front]
        beaten = ((kept <= values[row]).all(axis=1) & (kept < values[row]).any(axis=1)).any()
        if not beaten:
            front.append(row)
    return sorted(front)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, with mean ranks for ties; None for fewer than three pairs or equal values."""
    if len(first) < 3:
        return None
    ranks = np.stack([_ranks(np.asarray(values, dtype=np.float64)) for values in (first, second)])
    deviation = ranks - ranks.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((deviation**2).sum(axis=1).prod()))
    return float((deviation[0] * deviation[1]).sum() / scale) if scale else None


def _ranks(values: Floats) -> Floats:
    _, place, number = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(number)
    mean: Floats = ends - (number - 1) / 2.0
    return mean[place]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How a figure depends on one variable.

    Attributes
    ----------
    share
        Fraction of the variance of log(figure) that the means over the variable's values explain (eta squared); 0 to 1.
        In a grid the shares of all variables and their interactions sum to 1.
    spread
        Largest over smallest geometric mean among the variable's values.
    best
        The value with the best geometric mean.
    """

    variable: str
    metric: str
    share: float
    spread: float
    best: Any


def sensitivity(
    variable: str, choices: Sequence[Any], rows: Sequence[Mapping[str, object]], metric: str, is_maximised: bool
) -> Sensitivity | None:
    """Return the dependence of ``metric`` on a variable that takes ``choices``; None where nothing varies."""
    pairs = [(choice, figure(row, metric)) for choice, row in zip(choices, rows, strict=True)]
    known = [(choice, np.log(value)) for choice, value in pairs if value is not None and value > 0]
    levels: dict[str, tuple[Any, list[float]]] = {}
    for choice, value in known:
        levels.setdefault(repr(choice), (choice, []))[1].append(float(value))
    if len(levels) < 2:
        return None
    everything = np.array([value for _, value in known])
    total = float(((everything - everything.mean()) ** 2).sum())
    between = sum(
        len(values) * (float(np.mean(values)) - float(everything.mean())) ** 2 for _, values in levels.values()
    )
    means = [(float(np.mean(values)), choice) for choice, values in levels.values()]
    pick = max if is_maximised else min
    best = pick(means, key=lambda entry: entry[0])[1]
    spread = float(np.exp(max(mean for mean, _ in means) - min(mean for mean, _ in means)))
    return Sensitivity(variable, metric, between / total if total > 1e-18 else 0.0, spread, best)
