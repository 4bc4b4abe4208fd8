"""The designs of a sweep or an exploration on the page: what was varied, what matters, what was chosen."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from accelsim.config.explain import show_plain
from accelsim.dse.duels import Duel
from accelsim.dse.pareto import EQUAL, Sensitivity, pareto_front
from accelsim.dse.summary_text import rule_words
from accelsim.report.labels import field_label, format_label, label, with_unit
from accelsim.report.page_charts import Chart
from accelsim.report.page_svg import NUM_COLOURS, Axis, BarPicture, BarRow, Mark, PointPicture, Segment, Series
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.text import metric_text, percent, prefix_of, printable, quantity, significant
from accelsim.results.model import ResultError
from accelsim.results.store import SUMMARY_NAME
from accelsim.strict_json import StrictJsonError, parse_json

DESIGNS_NAME = "results.csv"
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DESIGNS = 5000
_NEEDED = ("hardware", "workload", "storage", "status", "fidelity", "latency_s", "energy_j", "area_mm2")
_VARIED = "vary."
_BYTES = "_bytes"
_SHOWN_VALUES = 8
_MATTERS_TITLE = "What matters, in figures"
_SMALL_SHARE = 0.01  # of the spread of a figure: what explains less is not worth a row


@dataclass(frozen=True, slots=True)
class Design:
    """A simulated point: what it is, by name, and what it costs."""

    storage: str
    choice: tuple[tuple[str, str], ...]
    latency_s: float
    energy_j: float
    area_mm2: float


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What of the ``summary.json`` beside the designs the page shows: as the terminal printed it."""

    __pydantic_config__ = ConfigDict(extra="ignore")

    objectives: tuple[str, ...]
    num_points: int
    num_failed: int
    best: dict[str, dict[str, Any]]
    sensitivities: tuple[Sensitivity, ...]
    duels: tuple[Duel, ...]
    reasons: dict[str, int]


_SUMMARY = TypeAdapter(StudySummary)


@dataclass(frozen=True, slots=True)
class Study:
    """The designs of one folder; ``num_failed`` rows have no figures, ``num_estimated`` were not simulated."""

    name: str
    designs: tuple[Design, ...]
    num_failed: int
    num_estimated: int
    summary: StudySummary | None = None


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study, as the page shows it: its question, the answer, and what stands behind it."""

    name: str
    question: str
    lead: str
    sentences: tuple[str, ...]
    charts: tuple[Chart, ...]
    facts: tuple[PageTable, ...]
    table: PageTable

    @property
    def matters(self) -> PageTable | None:
        """Return the table of what moves each figure, one of the facts; None where nothing is known to."""
        return next((fact for fact in self.facts if fact.title == _MATTERS_TITLE), None)


def is_study(path: str | Path) -> bool:
    """Return whether ``path`` is a folder that a sweep or an exploration wrote, or its table."""
    place = Path(path)
    return place.name == DESIGNS_NAME if place.is_file() else (place / DESIGNS_NAME).is_file()


def read_study(path: str | Path) -> Study:
    """Return the designs in ``path``.

    Raises
    ------
    ResultError
        The table or the summary is too large or not one that a sweep writes, or nothing in it was simulated.
    """
    given = Path(path)
    file = given / DESIGNS_NAME if given.is_dir() else given
    rows = _rows(file)
    usable = [row for row in rows if row["status"] == "ok" and row["fidelity"] == "simulation"]
    estimated = sum(row["status"] == "ok" and row["fidelity"] != "simulation" for row in rows)
    if not usable:
        raise ResultError(f"{file}: no simulated point in it; give a finished sweep or exploration")
    if len(usable) > MAX_DESIGNS:
        raise ResultError(f"{file}: {len(usable)} simulated points; a report draws at most {MAX_DESIGNS}")
    name = printable(given.name if given.is_dir() else given.parent.name)
    designs = tuple(_design(row, file) for row in usable)
    failed = len(rows) - len(usable) - estimated
    return Study(name, designs, failed, estimated, _summary(file.with_name(SUMMARY_NAME)))


def study_view(study: Study) -> StudyView:
    """Return what the page shows of a study."""
    fronts = {
        "time": ([each.latency_s for each in study.designs], "s"),
        "area": ([each.area_mm2 for each in study.designs], "mm2"),
    }
    charts = [_chart(study, what, values, unit) for what, (values, unit) in fronts.items()]
    matters = _matters_chart(study)
    facts = (_swept_table(study), _chosen_table(study), _matters_table(study), _duels_table(study))
    return StudyView(
        study.name,
        _question(study),
        _lead(study),
        _sentences(study),
        (*charts, *([matters] if matters else [])),
        tuple(table for table in facts if table.rows),
        _table(study),
    )


def _summary(file: Path) -> StudySummary | None:
    """Return the summary beside the designs; None where there is none."""
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ResultError(f"{file}: larger than {MAX_FILE_BYTES} bytes; at most that is read")
        return _SUMMARY.validate_python(parse_json(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, StrictJsonError, ValidationError) as error:
        raise ResultError(f"{file}: not the summary of a sweep ({type(error).__name__}); run the sweep again") from None


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ResultError(f"{file}: larger than {MAX_FILE_BYTES} bytes; at most that is read")
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise ResultError(f"{file}: no column {missing[0]}; give a {DESIGNS_NAME} that accelsim sweep wrote")
            return [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise ResultError(
            f"{file}: cannot be read ({type(error).__name__}); give a table that accelsim wrote"
        ) from None


def _design(row: dict[str, str], file: Path) -> Design:
    names = ("hardware", "workload", "storage", *(name for name in row if name.startswith(_VARIED)))
    figures = {}
    for name in ("latency_s", "energy_j", "area_mm2"):
        try:
            figures[name] = float(row[name])
        except ValueError:
            figures[name] = math.nan
        if not (math.isfinite(figures[name]) and figures[name] > 0):
            raise ResultError(f"{file}: {name}: {printable(row[name])!r} is not a number above 0; run the sweep again")
    choice = tuple((name.removeprefix(_VARIED), printable(row[name])) for name in names)
    return Design(printable(row["storage"]), choice, **figures)


def _varied(study: Study) -> list[str]:
    """Return the names in which designs differ."""
    names = [name for name, _ in study.designs[0].choice]
    return [name for index, name in enumerate(names) if len({each.choice[index][1] for each in study.designs}) > 1]


def _values(study: Study, name: str) -> list[str]:
    """Return the values of a variable, each once, in the order in which they occur; numbers by size."""
    values = list(dict.fromkeys(dict(each.choice)[name] for each in study.designs))
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
    networks, chips = (_listed(study, name) for name in ("workload", "hardware"))
    is_varied = bool(set(_varied(study)) - {"workload", "hardware", "storage"})
    return f"Which {'variant ' * is_varied}of {chips} serves {networks} best?"


def _listed(study: Study, name: str) -> str:
    values = [_shown(name, value) for value in _values(study, name)]
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _lead(study: Study) -> str:
    """Return the answer: what is best, for as many objectives as one design serves."""
    if study.summary is None:
        return f"{len(study.designs)} designs were simulated."
    chosen = _chosen(study.summary)
    if not chosen:
        return f"No best is named: {study.summary.num_failed} of {study.summary.num_points} points failed."
    names, row = chosen[0]
    what = " and ".join(label(name.partition(" of ")[0]) for name in names)
    figures = ", ".join(_figure(name.partition(" of ")[0], row) for name in names)
    return f"{_superlative(names).capitalize()} {what}: {figures}; {_words(study, row)}."


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
    return [(name, name if name in fixed else f"{_VARIED}{name}") for name in _varied(study)]


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
    title = f"Energy and {what} of {len(study.designs)} designs: {len(front)} on the front"
    picture = PointPicture(
        title,
        Axis(f"{what} ({x_prefix}{unit}), logarithmic", log=True),
        Axis(f"energy ({y_prefix}J), logarithmic", log=True),
        [*series, Series("", 9, line, joined=True, plain=True)],
        height=290,
    )
    note = "Filled: on the front of these two; no other is better in both. Point at a mark for its design."
    return Chart(title, picture, note if what == "time" else "")


def _sentences(study: Study) -> tuple[str, ...]:
    """Return what could not be evaluated, and why."""
    sentences = []
    if study.num_failed:
        sentences.append(f"{study.num_failed} of {len(study.designs) + study.num_failed} designs cannot run.")
    if study.num_estimated:
        sentences.append(f"{study.num_estimated} were only estimated and are left out.")
    reasons = study.summary.reasons if study.summary is not None else {}
    sentences += [f"Cannot run ({number}): {printable(reason, 300)}." for reason, number in list(reasons.items())[:5]]
    return tuple(sentences)


def _swept_table(study: Study) -> PageTable:
    """Return what was varied, and over which values; then what all designs share."""
    varied = _varied(study)
    rows = []
    for name in dict.fromkeys(("workload", "hardware", "storage", *varied)):
        values = [_shown(name, value) for value in _values(study, name)]
        text = ", ".join(values[:_SHOWN_VALUES]) + (f" and {len(values) - _SHOWN_VALUES} more" * (len(values) > 8))
        rows.append((_text(field_label(name).partition(" (")[0]), _text(text)))
    return PageTable("What was swept", ("what", "values"), tuple(rows))


def _chosen_table(study: Study) -> PageTable:
    """Return a row for each best design: what it is best in, what it is, what it costs."""
    columns = ("best in", *(_heading(name) for name in _varied(study)), "time", "energy", "chip area")
    rows = []
    for names, row in _chosen(study.summary) if study.summary is not None else []:
        what = ", ".join(" of ".join((label(first), rest)) if rest else label(first) for first, _, rest in
                         (name.partition(" of ") for name in names))  # fmt: skip
        cells = [_choice(name, show_plain(row.get(column))) for name, column in _columns(study)]
        figures = [_figure_cell(name, row) for name in ("latency_s", "energy_j", "area_mm2")]
        rows.append((_text(what), *cells, *figures))
    note = f"Figures within {percent(EQUAL)} of one another count as equal."
    return PageTable("What was chosen", columns, tuple(rows), note)


def _matters(study: Study) -> list[Sensitivity]:
    """Return what moves each figure; what a file says beyond the whole of a spread is left out."""
    found = study.summary.sensitivities if study.summary is not None else ()
    return [each for each in found if 0 <= each.share <= 1]


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
            _text(_shown(each.variable.removeprefix(_VARIED), show_plain(each.best))),
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
    return PageTable("Tickets against rivals", columns, rows, note, folds=True)


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
    columns = (*(_heading(name) for name in varied), "time", "energy", "chip area")
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
