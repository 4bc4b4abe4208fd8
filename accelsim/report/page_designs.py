"""The designs of a sweep or an exploration on the page: what was varied, what matters, what was chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from accelsim.config.explain import show_plain
from accelsim.dse.pareto import EQUAL, Sensitivity, pareto_front
from accelsim.dse.summary_text import rule_words
from accelsim.report.labels import field_label, format_label, label, with_unit
from accelsim.report.page_charts import Chart
from accelsim.report.page_svg import NUM_COLOURS, Axis, BarPicture, BarRow, Mark, PointPicture, Segment, Series
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.studies import VARIED, Design, Study, StudySummary
from accelsim.report.text import joined, metric_text, percent, prefix_of, printable, quantity, significant

_BYTES = "_bytes"
_SHOWN_VALUES = 8
_MATTERS_TITLE = "What matters, in figures"
_DUELS_TITLE = "Tickets against rivals"
_VISIBLE = 0.005  # of a figure: what moves it by less prints as a factor of 1.00
_SMALL_SHARE = 0.01  # of the spread of a figure: what explains less is not worth a row


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study, as the page shows it: its question, the answer, and what stands behind it."""

    name: str
    question: str
    lead: str
    sentences: tuple[str, ...]
    designs: tuple[Chart, ...]
    shares: Chart | None
    facts: tuple[PageTable, ...]
    table: PageTable

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Return all figures: the designs, then what share of the spread each choice makes."""
        return self.designs if self.shares is None else (*self.designs, self.shares)

    @property
    def has_duels(self) -> bool:
        """Return whether tickets stand against rivals in it."""
        return any(fact.title == _DUELS_TITLE for fact in self.facts)

    @property
    def matters(self) -> PageTable | None:
        """Return the table of what moves each figure, one of the facts; None where nothing is known to."""
        return next((fact for fact in self.facts if fact.title == _MATTERS_TITLE), None)


def study_view(study: Study) -> StudyView:
    """Return what the page shows of a study."""
    areas = [each.area_mm2 for each in study.designs]
    charts = [_chart(study, study.headings[0], [each.latency_s for each in study.designs], "s")]
    if max(areas) > min(areas) * (1 + _VISIBLE):
        charts.append(_chart(study, study.headings[2], areas, "mm2"))
    facts = (_swept_table(study), _chosen_table(study), _matters_table(study), _duels_table(study))
    return StudyView(
        study.name,
        _question(study),
        _lead(study),
        _sentences(study),
        tuple(charts),
        _matters_chart(study),
        tuple(table for table in facts if table.rows),
        _table(study),
    )


def _varied(study: Study) -> list[str]:
    """Return the names in which designs differ."""
    names = [name for name, _ in study.designs[0].choice]
    return [name for index, name in enumerate(names) if len({each.choice[index][1] for each in study.designs}) > 1]


def _values(study: Study, name: str) -> list[str]:
    """Return the values of a variable, each once, in the order in which they occur; numbers by size."""
    values = list(study.swept[name])
    cells = [_choice(name, value) for value in values]
    if all(cell.is_number for cell in cells):
        values.sort(key=float)
    return values


def _shown(name: str, value: str) -> str:
    """Return a value of a variable in the reader's words, with its unit."""
    if name == "storage":
        return format_label(value)
    if name in ("hardware", "workload"):
        return printable(PurePath(value).stem or value)
    return with_unit(name, printable(value.replace("_", " ") if value.isidentifier() else value))


def _question(study: Study) -> str:
    is_varied = bool(set(_varied(study)) - {"workload", "hardware", "storage"})
    networks, chips = _listed(study, "workload"), _listed(study, "hardware", "or" if is_varied else "and")
    return f"Which {'variant ' * is_varied}of {chips} serves {networks} best?"


def _listed(study: Study, name: str, word: str = "and") -> str:
    values = [_shown(name, value) for value in _values(study, name)]
    return joined([*values[:3], f"{len(values) - 3} more"] if len(values) > 3 else values, word)


def _lead(study: Study) -> str:
    """Return the answer: what is best, for as many objectives as one design serves."""
    if study.summary is None:
        return f"{len(study.designs)} designs were simulated."
    chosen = _chosen(study.summary)
    if not chosen:
        return _without_best(study, study.summary)
    names, row = chosen[0]
    what = joined([label(name.partition(" of ")[0]) for name in names])
    figures = ", ".join(_figure(name.partition(" of ")[0], row) for name in names)
    return f"{_superlative(names).capitalize()} {what}: {figures}; {_words(study, row)}."


def _without_best(study: Study, summary: StudySummary) -> str:
    """Return why no design is best: none keeps the constraints, or most failed."""
    if summary.nearest is None:
        return f"No best is named: {summary.num_failed} of {summary.num_points} points failed."
    wanted = printable(" and ".join(summary.constraints), 200) or "the constraints"
    figures = ", ".join(
        f"{name} {_figure(metric, summary.nearest)}" for name, metric in zip(study.headings, study.metrics, strict=True)
    )
    return f"No design keeps {wanted}. The nearest: {_words(study, summary.nearest)}; {figures}."


def _superlative(names: Sequence[str]) -> str:
    from accelsim.dse.rows import MAXIMISED  # noqa: PLC0415

    return "most" if names[0] in MAXIMISED else "least"


def _chosen(summary: StudySummary) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the best designs, each with the objectives that it serves best."""
    groups: list[tuple[list[str], dict[str, Any]]] = []
    for name, row in summary.best.items():
        same = next((names for names, other in groups if other == row), None)
        if same is None:
            groups.append(([name], row))
        else:
            same.append(name)
    return groups


def _figure(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "-"
    return metric_text(name, value)


def _figure_cell(name: str, row: Mapping[str, Any]) -> Cell:
    text = _figure(name, row)
    return _text(text) if text == "-" else Cell(text, row[name])


def _words(study: Study, row: Mapping[str, Any]) -> str:
    """Return in what a design differs from the others."""
    parts = [_part(name, show_plain(row[column])) for name, column in _columns(study) if column in row]
    return ", ".join(parts) or "the only choice"


def _columns(study: Study) -> list[tuple[str, str]]:
    """Return the variables, and their columns in a summary's rows."""
    fixed = ("hardware", "workload", "storage")
    return [(name, name if name in fixed else f"{VARIED}{name}") for name in _varied(study)]


def _part(name: str, value: str) -> str:
    """Return a choice as a sentence has it: ``weight buffer capacity 16384 B``."""
    if name == "storage":
        return f"stored as {_shown(name, value)}"
    if name in ("hardware", "workload"):
        return _shown(name, value)
    return f"{field_label(name).partition(' (')[0]} {_shown(name, value)}"


def _tip(design: Design, varied: Sequence[str]) -> str:
    choice = [_part(name, value) for name, value in design.choice if name in varied]
    figures = f"{quantity(design.energy_j, 'J')}, {quantity(design.latency_s, 's')}, {significant(design.area_mm2)} mm2"
    return "\n".join([figures, *choice])


def _chart(study: Study, what: str, values: Sequence[float], unit: str) -> Chart:
    energies = [each.energy_j for each in study.designs]
    (x_scale, x_prefix), (y_scale, y_prefix) = prefix_of(max(values)), prefix_of(max(energies))
    if unit == "mm2":
        x_scale, x_prefix = 1.0, ""
    front = set(pareto_front(np.array([energies, values], dtype=np.float64).T))
    varied = _varied(study)
    series = []
    for number, storage in enumerate(dict.fromkeys(each.storage for each in study.designs)):
        marks = tuple(
            Mark(values[index] / x_scale, each.energy_j / y_scale, _tip(each, varied), strong=index in front)
            for index, each in enumerate(study.designs)
            if each.storage == storage
        )
        series.append(Series(format_label(storage), number % NUM_COLOURS, marks))
    ordered = sorted(front, key=lambda index: (values[index], energies[index]))
    line = tuple(Mark(values[index] / x_scale, energies[index] / y_scale, "") for index in ordered)
    title = f"{study.headings[1].capitalize()} and {what} of {len(study.designs)} designs: {len(front)} on the front"
    picture = PointPicture(
        title,
        Axis(f"{what} ({x_prefix}{unit}), logarithmic", log=True),
        Axis(f"{study.headings[1]} ({y_prefix}J), logarithmic", log=True),
        [*series, Series("", 9, line, joined=True, plain=True)],
        height=290,
    )
    note = "Filled: on the front of these two; no other is better in both. Point at a mark for its design."
    return Chart(title, picture, note if unit == "s" else "")


def _sentences(study: Study) -> tuple[str, ...]:
    """Return what could not be evaluated, and why."""
    sentences = []
    reasons = study.summary.reasons if study.summary is not None else {}
    if study.num_failed:
        # One reason needs no list.
        why = f": {printable(next(iter(reasons)), 300)}" if len(reasons) == 1 else ""
        sentences.append(f"{study.num_failed} of {len(study.designs) + study.num_failed} designs cannot run{why}.")
    if study.num_estimated:
        sentences.append(f"{study.num_estimated} were only estimated and are left out.")
    if len(reasons) > 1:
        listed = list(reasons.items())[:5]
        sentences += [f"Cannot run ({number}): {printable(reason, 300)}." for reason, number in listed]
    return tuple(sentences)


def _swept_table(study: Study) -> PageTable:
    """Return what was varied, and over which values; then what all designs share."""
    varied = [name for name, values in study.swept.items() if len(values) > 1]
    rows = []
    for name in dict.fromkeys(("workload", "hardware", "storage", *varied)):
        values = [_shown(name, value) for value in _values(study, name)]
        text = ", ".join(values[:_SHOWN_VALUES]) + (f" and {len(values) - _SHOWN_VALUES} more" * (len(values) > 8))
        rows.append((_text(field_label(name).partition(" (")[0]), _text(text)))
    return PageTable("What was swept", ("what", "values"), tuple(rows))


def _chosen_table(study: Study) -> PageTable:
    """Return a row for each best design: what it is best in, what it is, what it costs."""
    columns = ("best in", *(_heading(name) for name in _varied(study)), *study.headings)
    rows = []
    for names, row in _chosen(study.summary) if study.summary is not None else []:
        what = ", ".join(" of ".join((label(first), rest)) if rest else label(first) for first, _, rest in
                         (name.partition(" of ") for name in names))  # fmt: skip
        cells = [_choice(name, show_plain(row.get(column))) for name, column in _columns(study)]
        figures = [_figure_cell(name, row) for name in study.metrics]
        rows.append((_text(what), *cells, *figures))
    note = f"Figures within {percent(EQUAL)} of one another count as equal."
    return PageTable("What was chosen", columns, tuple(rows), note)


def _matters(study: Study) -> list[Sensitivity]:
    """Return what moves each figure visibly; what a file says beyond the whole of a spread is left out."""
    found = study.summary.sensitivities if study.summary is not None else ()
    return [each for each in found if 0 <= each.share <= 1 and each.spread > 1 + _VISIBLE]


def _matters_chart(study: Study) -> Chart | None:
    """Return what share of the spread of each objective each variable explains; None where nothing varies."""
    found = _matters(study)
    if not found:
        return None
    places = list(dict.fromkeys(each.variable for each in found))
    rows = []
    for metric, network in dict.fromkeys((each.metric, each.network) for each in found):
        own = [each for each in found if (each.metric, each.network) == (metric, network)]
        name = label(metric) + (f" of {printable(network, 12)}" if network else "")
        segments = tuple(
            Segment(
                100 * each.share, places.index(each.variable) % NUM_COLOURS,
                f"{name}\n{_name(each)}: {percent(each.share)} of its spread, factor {significant(each.spread)}",
            )
            for each in sorted(own, key=lambda each: places.index(each.variable))
        )  # fmt: skip
        rows.append(BarRow(name, segments))
    key = [(field_label(place).partition(" (")[0], index % NUM_COLOURS) for index, place in enumerate(places)]
    note = (
        "Share of the spread of a figure over all designs that a choice makes alone; the rest is how choices combine."
    )
    title = "What matters"
    return Chart(title, BarPicture(title, rows, "share of the spread", "%", key), note)


def _name(found: Sensitivity) -> str:
    return field_label(found.variable).partition(" (")[0]


def _matters_table(study: Study) -> PageTable:
    columns = ("figure", "moved by", "share of its spread", "factor between worst and best", "best value")
    rows = tuple(
        (
            _text(label(each.metric) + (f" of {each.network}" if each.network else "")), _text(_name(each)),
            Cell(percent(each.share), each.share), Cell(f"{significant(each.spread)}x", each.spread),
            _text(_shown(each.variable.removeprefix(VARIED), show_plain(each.best))),
        )
        for each in _matters(study)
        if each.share >= _SMALL_SHARE
    )  # fmt: skip
    return PageTable(_MATTERS_TITLE, columns, rows)


def _duels_table(study: Study) -> PageTable:
    """Return how each ticket format fares against each rival, over designs that are alike in all else."""
    columns = ("pair", "figure", "better in", "equal in", "worse in", "median", "best", "worst", "worse where")
    names = {column: field_label(column).partition(" (")[0] for _, column in _columns(study)}
    rows = tuple(
        (
            _text(f"{format_label(each.ticket)} against {format_label(each.rival)}"), _text(label(each.metric)),
            *(Cell(f"{number} of {each.pairs}", number) for number in (each.wins, each.ties, each.losses)),
            *(Cell(f"{significant(ratio)}x", ratio)
              for ratio in (each.median_ratio, each.best_ratio, each.worst_ratio)),
            _text("" if each.loses_where is None else rule_words(each.loses_where, names)),
        )
        for each in (study.summary.duels if study.summary is not None else ())
    )  # fmt: skip
    note = (
        "Pairs of designs alike in all but the storage; factors by which the rival needs more (above 1: ticket wins)."
    )
    return PageTable(_DUELS_TITLE, columns, rows, note, folds=True)


def _table(study: Study) -> PageTable:
    varied = _varied(study)
    rows = []
    for each in study.designs:
        cells = [_choice(name, value) for name, value in each.choice if name in varied]
        figures = (
            Cell(quantity(each.latency_s, "s"), each.latency_s),
            Cell(quantity(each.energy_j, "J"), each.energy_j),
            Cell(f"{significant(each.area_mm2)} mm2", each.area_mm2),
        )
        rows.append((*cells, *figures))
    columns = (*(_heading(name) for name in varied), *study.headings)
    return PageTable(f"All designs of {study.name}", columns, tuple(rows))


def _choice(name: str, text: str) -> Cell:
    """Return a value of a variable; its unit stands in the head of the column."""
    try:
        value = float(text)
    except ValueError:
        return Cell(_shown(name, text), text)
    if not math.isfinite(value):
        return Cell(text, text)
    return Cell(_shown(name, text) if name.endswith(_BYTES) else text, value)


def _heading(name: str) -> str:
    """Return the head of a variable's column: with the unit, but for capacities, whose cells have one."""
    words = field_label(name)
    return words.removesuffix(" (B)") if name.endswith(_BYTES) else words


def _text(text: str) -> Cell:
    clean = printable(text, 1000)
    return Cell(clean, clean)
