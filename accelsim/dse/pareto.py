"""Pareto fronts, rank correlation, and how much of a figure each variable explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.dse.rows import cost_of, figure

Floats = npt.NDArray[np.float64]
_NOTHING = 1e-18
_MAX_EFFECTS = 1000
EQUAL = 1e-3
"""Figures that differ by less than this fraction count as equal: the model could not defend the difference."""


def costs(rows: Sequence[Mapping[str, object]], objectives: Sequence[str]) -> Floats:
    """Return the objectives turned so that less is better, float64 [rows, objectives]; nan where there is none."""
    table = [[cost_of(row, name) for name in objectives] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), len(objectives))


def pareto_front(values: Floats) -> list[int]:
    """Return the rows that no other row beats in one figure without losing in another; less is better.

    Figures within `EQUAL` of one another count as equal. Rows with a missing figure are never in the front; of equal
    rows all are.
    """
    complete = np.flatnonzero(np.isfinite(values).all(axis=1))
    values = np.stack([_alike(column) for column in values.T], axis=1) if values.size else values
    front: list[int] = []
    # Sorted by all figures, so that one pass is enough: a row that beats another one comes first.
    for row in complete[np.lexsort(values[complete].T[::-1])].tolist():
        kept = values[front]
        beaten = ((kept <= values[row]).all(axis=1) & (kept < values[row]).any(axis=1)).any()
        if not beaten:
            front.append(row)
    return sorted(front)


def _alike(values: Floats) -> Floats:
    """Return figures with those of a cluster, within `EQUAL` of its smallest, replaced by that smallest."""
    merged = values.copy()
    lowest = math.nan
    for place in np.argsort(values, kind="stable").tolist():
        if not abs(values[place] - lowest) <= EQUAL * abs(lowest):
            lowest = float(values[place])
        merged[place] = lowest
    return merged


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
        Fraction of the variance of log(figure) over the space that the variable's own effect makes up; 0 to 1. The
        shares of all variables and of what no sum of effects explains (interactions) add up to 1.
    spread
        Ratio of the figure at the variable's worst and best value, all else equal on average.
    best
        The value with the best effect; of values alike that of the best design, or the first.
    network
        Whose figure it is, where a run has several networks that are not summed; "" otherwise.
    """

    variable: str
    metric: str
    share: float
    spread: float
    best: Any
    network: str = ""


def sensitivities(
    axes: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    metric: str,
    is_maximised: bool,
    best: Mapping[str, object] | None = None,
) -> list[Sensitivity]:
    """Return the dependence of ``metric`` on every variable that varies, the largest share first.

    Effects of all values of all variables on log(metric) are fitted together by least squares, so that they hold where
    the points are not a full grid; in a full grid they are the differences of means. ``best`` is the row of the best
    design, whose values are named where others do no better.
    """
    known = [(row, value) for row in rows if (value := figure(row, metric)) is not None and value > 0]
    coded = [(axis, *_coded([row.get(axis) for row, _ in known])) for axis in axes]
    coded = [entry for entry in coded if len(entry[1]) > 1]
    if not coded:
        return []
    logs = np.log([value for _, value in known])
    centred = logs - logs.mean()
    effects, residual = _additive([codes for _, _, codes in coded], centred)
    variances = [float((effect**2).mean()) for effect in effects]
    total = sum(variances) + float((residual**2).mean())
    found = [
        Sensitivity(
            axis,
            metric,
            variance / total if total > _NOTHING else 0.0,
            float(np.exp(np.ptp(effect))),
            _best_level(levels, -effect if is_maximised else effect, None if best is None else best.get(axis)),
        )
        for (axis, levels, _), effect, variance in zip(coded, effects, variances, strict=True)
    ]
    return sorted(found, key=lambda entry: (-entry.share, entry.variable))


def _best_level(levels: Sequence[Any], effect: Floats, favoured: object) -> Any:
    """Return the value of least effect on log(cost); of those within a thousandth the favoured one, or the first."""
    alike = [levels[int(place)] for place in np.flatnonzero(effect <= effect.min() + np.log1p(EQUAL))]
    return favoured if favoured in alike else alike[0]


def _coded(choices: Sequence[Any]) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """Return the values that occur, in order of their first place, and for each choice its value's number."""
    places: dict[str, int] = {}
    levels: list[Any] = []
    codes = np.zeros(len(choices), dtype=np.int64)
    for row, choice in enumerate(choices):
        name = repr(choice)
        if name not in places:
            places[name] = len(levels)
            levels.append(choice)
        codes[row] = places[name]
    return levels, codes


def _additive(codes: Sequence[npt.NDArray[np.int64]], values: Floats) -> tuple[list[Floats], Floats]:
    """Return for each variable the effect of each of its values (mean 0), and what they leave of ``values``.

    By the normal equations, whose size is the number of values of all variables; beyond `_MAX_EFFECTS` of them each
    variable is taken alone, by its means.
    """
    sizes = [int(code.max()) + 1 for code in codes]
    first = np.concatenate([[0], np.cumsum(sizes)])
    number = int(first[-1])
    sums = np.concatenate([np.bincount(code, values, size) for code, size in zip(codes, sizes, strict=True)])
    if number > _MAX_EFFECTS:
        counts = np.concatenate([np.bincount(code, None, size) for code, size in zip(codes, sizes, strict=True)])
        solved = sums / counts
    else:
        shifted = [code + start for code, start in zip(codes, first, strict=False)]
        # The matrix is singular, since a constant may move from one variable's effects to another's: least squares
        # takes the smallest solution, and means of 0 below make it unique.
        normal = np.zeros((number, number))
        for one in shifted:
            for other in shifted:
                normal += np.bincount(one * number + other, minlength=number * number).reshape(number, number)
        solved = np.linalg.lstsq(normal, sums, rcond=1e-10)[0]
    effects = [solved[start : start + size] for start, size in zip(first, sizes, strict=False)]
    residual = values - sum(effect[code] for effect, code in zip(effects, codes, strict=True))
    return [effect - effect.mean() for effect in effects], residual
