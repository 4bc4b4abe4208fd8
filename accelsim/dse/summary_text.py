"""A summary as JSON for programs, and as lines for people."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from accelsim.dse.duels import Condition, Duel, Rule
from accelsim.dse.rows import DETAIL_COLUMNS, Row, figure
from accelsim.dse.summary import Summary
from accelsim.report.terminal import PIPE_WIDTH
from accelsim.report.text import metric_text, printable, significant, size_words

_SHOWN_FRONT = 12
_SHOWN_REASONS = 5
_SMALL_SHARE = 0.01
_SYNTHETIC = "synthetic"


def summary_document(summary: Summary) -> dict[str, Any]:
    """Return the summary as plain JSON values."""
    document = {name: getattr(summary, name) for name in Summary.__slots__}
    document["front"] = [_short(row) for row in summary.front]
    document["best"] = {name: _short(row) for name, row in summary.best.items()}
    document["nearest"] = _short(summary.nearest) if summary.nearest is not None else None
    document["sensitivities"] = [asdict(entry) for entry in summary.sensitivities]
    document["duels"] = [asdict(entry) for entry in summary.duels]
    return document


def summary_text(summary: Summary, more: Mapping[str, Any] | None = None) -> str:
    """Return the content of ``summary.json``; ``more`` keys follow those of the summary."""
    document = {**summary_document(summary), **(more or {})}
    return json.dumps(document, indent=2, allow_nan=False, default=str) + "\n"


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its breakdowns by cause and unit."""
    return {name: value for name, value in row.items() if name not in DETAIL_COLUMNS}


def counted(summary: Summary) -> str:
    """Return in a few words how much a summary is of."""
    of = f" of {', '.join(printable(network, 30) for network in summary.networks)}" if summary.networks else ""
    return f"{summary.num_points} points{of}, {summary.num_failed} failed, {len(summary.front)} in the front"


def summary_lines(summary: Summary, width: int | None = None) -> list[str]:
    """Return the summary as lines for people, none wider than ``width``: the terminal, or `PIPE_WIDTH` into a pipe."""
    wide = width or shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    names = short_names(summary.axes)
    lines = [
        f"{summary.num_points} points: {summary.num_points - summary.num_failed} evaluated, "
        f"{summary.num_failed} failed, {summary.num_feasible} within the constraints"
    ]
    lines += reason_lines(summary.reasons)
    if summary.nearest is not None:
        lines.append(f"nearest to the constraints: {_described(summary.nearest, summary, names)}")
    if 2 * summary.num_failed > summary.num_points > summary.num_failed:
        lines.append("Most points failed: no best is named, and what follows is of those that ran.")
    for network in summary.networks if summary.front else ():
        lines += _network_lines(summary, network, names, wide)
    lines += _duel_lines(summary.duels, names)
    return [piece for line in lines for piece in _wrapped(line, wide)]


def short_names(axes: Sequence[str]) -> dict[str, str]:
    """Return for variables the shortest part of their paths that tells them apart.

    Fields that take one value together are joined by an equals sign: ``rows=cols``.
    ``vary.pe_array.rows`` is ``rows``; beside another buffer's, ``vary.mask_buffer.capacity_bytes`` is ``mask_buffer``.
    """
    words = {axis: [part.split(".") for part in axis.removeprefix("vary.").split("=")] for axis in axes}
    names: dict[str, str] = {}
    for axis, parts in words.items():
        others = {word for key, other in words.items() if key != axis for part in other for word in part}
        offers = [
            [part[-1] for part in parts],
            [".".join(part[:-1]) for part in parts],
            [".".join(part[-2:]) for part in parts],
        ]
        unique = (offer for offer in offers if all(name and not {name, name.split(".")[0]} & others for name in offer))
        names[axis] = "=".join(next(unique, [".".join(part) for part in parts]))
    return names


def reason_lines(reasons: Mapping[str, int]) -> list[str]:
    """Return the most frequent reasons of failed points."""
    lines = [f"  {number} x {reason}" for reason, number in list(reasons.items())[:_SHOWN_REASONS]]
    if len(reasons) > _SHOWN_REASONS:
        lines.append(f"  ... and {len(reasons) - _SHOWN_REASONS} more reasons in summary.json")
    return lines


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line in pieces; what follows is indented four more."""
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, max(width, 40), subsequent_indent=f"{indent}    ", break_long_words=False, break_on_hyphens=False
    )


def _network_lines(summary: Summary, network: str, names: Mapping[str, str], width: int) -> list[str]:
    several = len(summary.networks) > 1
    of_network = f" of {network}" if several else ""
    front = [row for row in summary.front if not several or row.get("network") == network]
    shown = _spread(front)
    points = f"{len(front)} point{'s' if len(front) != 1 else ''}"
    if len(shown) < len(front):
        points += f", {len(shown)} shown, all in summary.json"
    lines = [f"Pareto set{of_network} over {', '.join(summary.objectives)}: {points}"]
    lines += _table(shown, summary, names, width)
    for objective in summary.objectives:
        row = summary.best.get(f"{objective}{of_network}")
        if row is not None:
            value = metric_text(objective, figure(row, objective) or 0.0)
            lines.append(f"best {objective}{of_network}: {value} with {_choices(row, summary, names)}")
    for objective in summary.objectives:
        moved = [
            f"{names.get(entry.variable, entry.variable)} {100 * entry.share:.0f} % "
            f"(factor {significant(entry.spread)}, best {_value(entry.best, entry.variable)})"
            for entry in summary.sensitivities
            if entry.metric == objective and entry.share >= _SMALL_SHARE and (not several or entry.network == network)
        ]
        if moved:
            lines.append(f"what moves {objective}{of_network}: {', '.join(moved)}")
    return lines


def _spread(front: Sequence[Row]) -> list[Row]:
    """Return at most twelve rows, evenly spread, the first and the last among them."""
    if len(front) <= _SHOWN_FRONT:
        return list(front)
    return [front[round(index * (len(front) - 1) / (_SHOWN_FRONT - 1))] for index in range(_SHOWN_FRONT)]


def _table(rows: Sequence[Row], summary: Summary, names: Mapping[str, str], width: int) -> list[str]:
    """Return rows as a table, or where it would be too wide each on a line of its own."""
    marks = any(row.get("provenance") == _SYNTHETIC for row in rows)
    axes = [axis for axis in summary.axes if axis != "workload" or len({row.get(axis) for row in rows}) > 1]
    cells = [[*summary.objectives, *(names[axis] for axis in axes), *(["ticket"] if marks else [])]]
    for row in rows:
        line = [_figure(row, name) for name in summary.objectives]
        line += [_value(row.get(axis), axis) for axis in axes]
        cells.append(line + ([_SYNTHETIC if row.get("provenance") == _SYNTHETIC else ""] if marks else []))
    for head in ([[name] for name in cells[0]], [_folded(name) for name in cells[0]]):
        lines = _columns(head, cells[1:])
        if max(map(len, lines)) <= width:
            return lines
    return [f"  {_described(row, summary, names)}" for row in rows]


def _folded(name: str) -> list[str]:
    """Return a column's title in pieces: ``data_rate_mtps`` -> ``data``, ``rate``, ``mtps``."""
    return re.findall(r"[^_.=]+[_.=]?", name) or [name]


def _columns(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; titles stand at the bottom of their columns."""
    height = max(map(len, heads))
    titles = [[(["", *[""] * height, *head])[-height + line] for head in heads] for line in range(height)]
    grid = [*titles, *rows]
    sizes = [max(len(line[column]) for line in grid) for column in range(len(heads))]
    return ["".join(f"  {cell:>{size}}" for cell, size in zip(line, sizes, strict=True)).rstrip() for line in grid]


def _figure(row: Mapping[str, Any], name: str) -> str:
    value = figure(row, name)
    return "-" if value is None else metric_text(name, value)


def _value(value: object, axis: str) -> str:
    """Return a variable's value as people write it: a capacity as ``64KiB``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if axis.endswith("_bytes") and isinstance(value, int) and value and value % 1024 == 0:
        return size_words(value).replace(" ", "")
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _choices(row: Mapping[str, Any], summary: Summary, names: Mapping[str, str]) -> str:
    """Return what tells a point from the others."""
    parts = [f"{names[axis]}={_value(row.get(axis), axis)}" for axis in summary.axes]
    if row.get("provenance") == _SYNTHETIC:
        parts.append(f"({_SYNTHETIC})")
    return ", ".join(parts) or "the only choice"


def _described(row: Mapping[str, Any], summary: Summary, names: Mapping[str, str]) -> str:
    figures = [f"{name} {_figure(row, name)}" for name in summary.objectives]
    return f"{', '.join(figures)}; {_choices(row, summary, names)}"


def _duel_lines(duels: Sequence[Duel], names: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    title = ""
    for duel in duels:
        new = f"{duel.ticket} against {duel.rival}, {duel.pairs} pairs alike in all else:"
        if new != title:
            lines.append(new)
            title = new
        lines.append(f"  {duel.metric}: {_outcome(duel, names)}")
    return lines


def _outcome(duel: Duel, names: Mapping[str, str]) -> str:
    parts = []
    if duel.wins:
        parts.append(f"better in {_of(duel.wins, duel.pairs)} (up to {_times(duel.best_ratio)})")
    if duel.ties:
        parts.append(f"equal in {_of(duel.ties, duel.pairs)}")
    if duel.losses:
        parts.append(f"worse in {_of(duel.losses, duel.pairs)} (down to {_times(duel.worst_ratio)})")
    text = f"{', '.join(parts)}, median {_times(duel.median_ratio)}"
    return text if duel.loses_where is None else f"{text}; worse {rule_words(duel.loses_where, names)}"


def _of(number: int, pairs: int) -> str:
    return "all" if number == pairs else f"{number}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:.0f}x"


def rule_words(rule: Rule, names: Mapping[str, str]) -> str:
    """Return where points are lost; ``names`` are what variables are called."""
    where = " and ".join(_condition(condition, names) for condition in rule.conditions)
    if rule.lost == rule.inside and not rule.lost_outside:
        return f"exactly where {where}"
    inside = "always" if rule.lost == rule.inside else f"in {rule.lost} of {rule.inside}"
    outside = f"{rule.lost_outside} times" if rule.lost_outside else "never"
    return f"where {where} ({inside} there, {outside} elsewhere)"


def _condition(condition: Condition, names: Mapping[str, str]) -> str:
    name = names.get(condition.variable, condition.variable)
    levels, known, axis = condition.levels, condition.known, condition.variable
    if len(levels) == 1:
        return f"{name}={_value(levels[0], axis)}"
    if levels == known[: len(levels)] and all(isinstance(level, (int, float)) for level in levels):
        return f"{name}<={_value(levels[-1], axis)}"
    if levels == known[-len(levels) :] and all(isinstance(level, (int, float)) for level in levels):
        return f"{name}>={_value(levels[0], axis)}"
    return f"{name} in {'/'.join(_value(level, axis) for level in levels)}"


def agreement_lines(document: Mapping[str, Any], width: int | None = None) -> list[str]:
    """Return for people what was tried, and how far the closed form and the simulation agree."""
    wide = width or shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    search, agreement = document["search"], document["agreement"]
    how = "all of them" if search["ranked"] == search["space"] else f"{search['algorithm']}, seed {search['seed']}"
    lines = [
        f"{search['ranked']} of {search['space']} designs ranked by the closed form ({how}), {search['failed']} failed"
    ]
    lines += reason_lines(search["reasons"])
    lines.append(
        f"simulated: {agreement['simulated_front']} of the front, {agreement['simulated_sample']} at random, "
        f"{agreement['simulated_partners']} of the front's chips with the other storage formats"
    )
    for name, correlation in agreement["rank_correlation"].items():
        error = agreement["median_relative_error"][name]
        shown = "too few different designs" if correlation is None else f"rank correlation {correlation:.3f}"
        lines.append(f"  {name}: {shown}" + (f", median error {100 * error:.1f} %" if error is not None else ""))
    return [piece for line in lines for piece in _wrapped(line, wide)]
