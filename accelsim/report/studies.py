"""What a sweep or an exploration left in its folder, as a report reads it: simulated designs and their summary."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from accelsim.dse.duels import Duel
from accelsim.dse.pareto import Sensitivity
from accelsim.dse.space import BATCH
from accelsim.report.labels import label
from accelsim.report.text import printable
from accelsim.results.model import ResultError
from accelsim.results.store import SUMMARY_NAME
from accelsim.strict_json import StrictJsonError, parse_json

DESIGNS_NAME = "results.csv"
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DESIGNS = 5000
VARIED = "vary."
_NEEDED = ("hardware", "workload", "storage", "status", "fidelity", "latency_s", "energy_j", "area_mm2")


@dataclass(frozen=True, slots=True)
class Design:
    """A simulated point: what it is, by name, and what it costs; of an input where the batch varies."""

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
    nearest: dict[str, Any] | None = None
    constraints: tuple[str, ...] = ()


_SUMMARY = TypeAdapter(StudySummary)


@dataclass(frozen=True, slots=True)
class Study:
    """The designs of one folder; ``num_failed`` rows have no figures, ``num_estimated`` were not simulated.

    ``swept`` has the values of each variable in the order in which they occur, also of rows without figures.
    """

    name: str
    designs: tuple[Design, ...]
    swept: dict[str, tuple[str, ...]]
    num_failed: int
    num_estimated: int
    summary: StudySummary | None = None
    metrics: tuple[str, str, str] = ("latency_s", "energy_j", "area_mm2")

    @property
    def headings(self) -> tuple[str, ...]:
        """Return what the reader calls the figures of a design."""
        return tuple(map(label, self.metrics))


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
    each = "_per_input" if len({row.get(f"{VARIED}{BATCH}") for row in usable}) > 1 else ""
    metrics = (f"latency_s{each}", f"energy_j{each}", "area_mm2")
    designs = tuple(_design(row, file, metrics) for row in usable)
    failed = len(rows) - len(usable) - estimated
    choices = [_choice(row) for row in rows]
    swept = {key: tuple(dict.fromkeys(dict(choice)[key] for choice in choices)) for key, _ in choices[0]}
    return Study(name, designs, swept, failed, estimated, _summary(file.with_name(SUMMARY_NAME)), metrics)


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


def _design(row: dict[str, str], file: Path, metrics: tuple[str, str, str]) -> Design:
    figures = []
    for name in metrics:
        text = row.get(name, "")
        try:
            figures.append(float(text))
        except ValueError:
            figures.append(math.nan)
        if not (math.isfinite(figures[-1]) and figures[-1] > 0):
            raise ResultError(f"{file}: {name}: {printable(text)!r} is not a number above 0; run the sweep again")
    return Design(printable(row["storage"]), _choice(row), *figures)


def _choice(row: dict[str, str]) -> tuple[tuple[str, str], ...]:
    names = ("hardware", "workload", "storage", *(name for name in row if name.startswith(VARIED)))
    return tuple((name.removeprefix(VARIED), printable(row[name])) for name in names)
