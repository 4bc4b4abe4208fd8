"""A summary as JSON for programs, and as lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from accelsim.dse.progress import significant_or_exponent
from accelsim.dse.rows import figure
from accelsim.dse.summary import Duel, Summary

_SHOWN_FRONT = 12
_SHOWN_REASONS = 5
_SMALL_SHARE = 0.01


def summary_document(summary: Summary) -> dict[str, Any]:
    """Return the summary as plain JSON values."""
    document = asdict(summary)
    document["front"] = [_short(row) for row in summary.front]
    document["best"] = {name: _short(row) for name, row in summary.best.items()}
    return document


def summary_text(summary: Summary, more: Mapping[str, Any] | None = None) -> str:
    """Return the content of ``summary.json``; ``more`` keys follow those of the summary."""
    document = {**summary_document(summary), **(more or {})}
    return json.dumps(document, indent=2, allow_nan=False, default=str) + "\n"


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its breakdowns by cause and unit."""
    return {name: value for name, value in row.items() if not name.startswith(("cycles_", "energy_j_"))}


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary as lines for people."""
    lines = [
        f"{summary.num_points} points: {summary.num_points - summary.num_failed} evaluated, "
        f"{summary.num_failed} failed, {summary.num_feasible} within the constraints"
    ]
    for reason, number in list(summary.reasons.items())[:_SHOWN_REASONS]:
        lines.append(f"  {number} x {reason}")
    lines.append(f"Pareto set over {', '.join(summary.objectives)}: {len(summary.front)} points")
    lines += [f"  {describe(row, summary)}" for row in summary.front[:_SHOWN_FRONT]]
    if len(summary.front) > _SHOWN_FRONT:
        lines.append(f"  ... and {len(summary.front) - _SHOWN_FRONT} more in summary.json")
    lines += [f"best {name}: {describe(row, summary)}" for name, row in summary.best.items()]
    lines.append("what moves what (share of the variance of the logarithm; largest over smallest mean; best value):")
    lines += [
        f"  {entry.metric}: {entry.variable.removeprefix('vary.')} {100 * entry.share:.0f} %, {entry.spread:.2f}x, "
        f"{entry.best}"
        for entry in summary.sensitivities if entry.share >= _SMALL_SHARE
    ]  # fmt: skip
    lines += [_duel_line(duel) for duel in summary.duels]
    return lines


def describe(row: Mapping[str, Any], summary: Summary) -> str:
    """Return a point's objectives and choices on one line."""
    figures = [
        f"{name} {significant_or_exponent(value)}"
        for name in summary.objectives
        if (value := figure(row, name)) is not None
    ]
    choices = [f"{name.removeprefix('vary.')}={value}" for name, value in row.items() if name.startswith("vary.")]
    return "; ".join([", ".join(figures), ", ".join([f"{row['workload']} in {row['storage']}", *choices])])


def _duel_line(duel: Duel) -> str:
    text = (
        f"{duel.ticket} against {duel.rival}, {duel.metric}: better in {duel.wins} of {duel.pairs} points, "
        f"median {duel.median_ratio:.2f}x"
    )
    if duel.lost_at:
        worst = ", ".join(f"{name.removeprefix('vary.')}={value}" for name, value in duel.lost_at[0].items())
        text += f"; loses most at {worst}"
    return text


def agreement_lines(document: Mapping[str, Any]) -> list[str]:
    """Return for people how far the closed form and the simulation agree."""
    search, agreement = document["search"], document["agreement"]
    lines = [
        f"{search['ranked']} designs ranked by the closed form ({search['algorithm']}, {search['trials']} trials, seed "
        f"{search['seed']}); simulated: {agreement['simulated_front']} of the front, "
        f"{agreement['simulated_sample']} at random"
    ]
    for name, correlation in agreement["rank_correlation"].items():
        error = agreement["median_relative_error"][name]
        shown = "too few designs" if correlation is None else f"rank correlation {correlation:.3f}"
        lines.append(f"  {name}: {shown}" + (f", median error {100 * error:.1f} %" if error is not None else ""))
    return lines
