"""The designs of a sweep or an exploration on the page: where they lie, which nothing beats, and what they are."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accelsim.dse.pareto import pareto_front
from accelsim.report.page_charts import Chart
from accelsim.report.page_runs import TICKET_STORAGE
from accelsim.report.page_svg import NUM_COLOURS, Axis, Mark, PointPicture, Series
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.text import prefix_of, printable, quantity, significant
from accelsim.results.model import ResultError

DESIGNS_NAME = "results.csv"
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DESIGNS = 5000
_NEEDED = ("hardware", "workload", "storage", "status", "fidelity", "latency_s", "energy_j", "area_mm2")
_VARIED = "vary."


@dataclass(frozen=True, slots=True)
class Design:
    """A simulated point: what it is, by name, and what it costs."""

    storage: str
    choice: tuple[tuple[str, str], ...]
    latency_s: float
    energy_j: float
    area_mm2: float


@dataclass(frozen=True, slots=True)
class Study:
    """The designs of one folder; ``num_failed`` rows have no figures, ``num_estimated`` were not simulated."""

    name: str
    designs: tuple[Design, ...]
    num_failed: int
    num_estimated: int


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study, as the page shows it."""

    name: str
    sentences: tuple[str, ...]
    charts: tuple[Chart, ...]
    table: PageTable


def is_study(path: str | Path) -> bool:
    """Return whether ``path`` is a folder that a sweep or an exploration wrote, or its table."""
    place = Path(path)
    return place.name == DESIGNS_NAME if place.is_file() else (place / DESIGNS_NAME).is_file()


def read_study(path: str | Path) -> Study:
    """Return the designs in ``path``.

    Raises
    ------
    ResultError
        The table is too large or not one that a sweep writes, or nothing in it was simulated.
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
    return Study(name, tuple(_design(row, file) for row in usable), len(rows) - len(usable) - estimated, estimated)


def study_view(study: Study) -> StudyView:
    """Return what the page shows of a study."""
    fronts = {
        "latency": ([each.latency_s for each in study.designs], "s"),
        "area": ([each.area_mm2 for each in study.designs], "mm2"),
    }
    charts = tuple(_chart(study, what, values, unit) for what, (values, unit) in fronts.items())
    return StudyView(study.name, _sentences(study), charts, _table(study))


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


def _tip(design: Design, varied: Sequence[str]) -> str:
    choice = [f"{name}: {value}" for name, value in design.choice if name in varied]
    figures = f"{quantity(design.energy_j, 'J')}, {quantity(design.latency_s, 's')}, {significant(design.area_mm2)} mm2"
    return "\n".join([figures, *choice])


def _chart(study: Study, what: str, values: Sequence[float], unit: str) -> Chart:
    energies = [each.energy_j for each in study.designs]
    (x_scale, x_prefix), (y_scale, y_prefix) = prefix_of(max(values)), prefix_of(max(energies))
    if unit == "mm2":
        x_scale, x_prefix = 1.0, ""
    front = pareto_front(np.column_stack([energies, values]))
    varied = _varied(study)
    series = []
    for number, storage in enumerate(dict.fromkeys(each.storage for each in study.designs)):
        marks = tuple(
            Mark(values[index] / x_scale, each.energy_j / y_scale, _tip(each, varied), strong=index in front)
            for index, each in enumerate(study.designs)
            if each.storage == storage
        )
        series.append(Series(storage, number % NUM_COLOURS, marks))
    ordered = sorted(front, key=lambda index: (values[index], energies[index]))
    line = tuple(Mark(values[index] / x_scale, energies[index] / y_scale, "") for index in ordered)
    title = f"{study.name}, energy and {what}: {len(front)} of {len(study.designs)} designs are on the front"
    picture = PointPicture(
        title,
        Axis(f"{what} ({x_prefix}{unit}), logarithmic", log=True),
        Axis(f"energy ({y_prefix}J), logarithmic", log=True),
        [*series, Series("", 9, line, joined=True, plain=True)],
        height=330,
    )
    return Chart(
        title, picture, "Filled: on the front of these two, nothing is better in both. Point at a mark for its design."
    )


def _sentences(study: Study) -> tuple[str, ...]:
    varied = _varied(study)
    total = len(study.designs)
    left = [f"{study.num_failed} could not be evaluated"] if study.num_failed else []
    left += [f"{study.num_estimated} were only estimated and are left out"] if study.num_estimated else []
    sentences = [*_storage_words(study), f"{total} designs were simulated{''.join(f'; {text}' for text in left)}."]
    best = {
        "Least energy": min(study.designs, key=lambda each: each.energy_j),
        "Fastest": min(study.designs, key=lambda each: each.latency_s),
        "Smallest": min(study.designs, key=lambda each: each.area_mm2),
    }
    for what, design in best.items():
        sentences.append(f"{what}: {'; '.join(_tip(design, varied).splitlines())}.")
    return tuple(sentences)


def _storage_words(study: Study) -> list[str]:
    """Return what the first storage format buys against each other one, over the designs that are alike in all else."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, Design]] = {}
    for design in study.designs:
        rest = tuple(pair for pair in design.choice if pair[0] != "storage")
        alike.setdefault(rest, {})[design.storage] = design
    names = list(dict.fromkeys(each.storage for each in study.designs))
    first = TICKET_STORAGE if TICKET_STORAGE in names else names[0]
    sentences = []
    for other in names:
        pairs = [(group[first], group[other]) for group in alike.values() if first in group and other in group]
        if other == first or not pairs:
            continue
        energy = _better([theirs.energy_j / mine.energy_j for mine, theirs in pairs])
        time = _better([theirs.latency_s / mine.latency_s for mine, theirs in pairs])
        sentences.append(
            f"Among {len(pairs)} pairs of designs alike in all but storage, {first} needs less energy than {other} in "
            f"{energy} and less time in {time}."
        )
    return sentences


def _better(ratios: Sequence[float]) -> str:
    """Return in how many pairs the ratio is above 1, and the median: ``9 (median 3.25x)``."""
    wins = sum(ratio > 1 for ratio in ratios)
    return f"{wins} (median {significant(statistics.median(ratios))}x)"


def _table(study: Study) -> PageTable:
    varied = _varied(study)
    rows = []
    for each in study.designs:
        cells = [_choice(value) for name, value in each.choice if name in varied]
        figures = (
            Cell(quantity(each.latency_s, "s"), each.latency_s),
            Cell(quantity(each.energy_j, "J"), each.energy_j),
            Cell(f"{significant(each.area_mm2)} mm2", each.area_mm2),
        )
        rows.append((*cells, *figures))
    return PageTable(f"designs of {study.name}", (*varied, "latency", "energy", "area"), tuple(rows))


def _choice(text: str) -> Cell:
    try:
        value = float(text)
    except ValueError:
        return Cell(text, text)
    return Cell(text, value) if math.isfinite(value) else Cell(text, text)
