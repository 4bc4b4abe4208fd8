"""Results as files, committed beside the script: one row a library and unit, and one a library's clocked cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from accelsim.errors import ConfigError
from accelsim.files import write_file
from rtl.synth.cells import ClockedCell
from rtl.synth.measure import Measured

PATH = Path(__file__).with_name("results.csv")
CELLS_PATH = Path(__file__).with_name("cells.csv")
_DIGITS = 6
Row = TypeVar("Row", Measured, ClockedCell)


def read_results(path: Path = PATH) -> dict[tuple[str, str], Measured]:
    """Return the results by library and unit.

    Raises
    ------
    ConfigError
        The file is missing, or its columns are others.
    """
    return {(each.library, each.unit): each for each in _read(Measured, path)}


def read_cells(path: Path = CELLS_PATH) -> dict[str, ClockedCell]:
    """Return the clocked cells by library.

    Raises
    ------
    ConfigError
        The file is missing, or its columns are others.
    """
    return {each.library: each for each in _read(ClockedCell, path)}


def write_results(results: Iterable[Measured], path: Path = PATH) -> None:
    """Write results, in the order that they come in, numbers with six digits."""
    _write(Measured, results, path)


def write_cells(cells: Iterable[ClockedCell], path: Path = CELLS_PATH) -> None:
    """Write clocked cells, in the order that they come in, numbers with six digits."""
    _write(ClockedCell, cells, path)


def _read(kind: type[Row], path: Path) -> list[Row]:
    if not path.is_file():
        raise ConfigError(f"{path}: is missing; write it with make synth LIBERTY=..., or take it from the repository")
    kinds = {field.name: field.type for field in fields(kind)}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or set(rows[0]) != set(kinds):
        raise ConfigError(f"{path}: columns are not {', '.join(kinds)}; write it again with make synth")
    read: dict[str, Any] = {"str": str, "int": int, "float": float}
    return [kind(**{name: read[str(kinds[name])](row[name]) for name in kinds}) for row in rows]


def _write(kind: type[Row], rows: Iterable[Row], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for each in rows:
        writer.writerow(
            {key: f"{value:.{_DIGITS}g}" if isinstance(value, float) else value for key, value in asdict(each).items()}
        )
    write_file(path, text.getvalue().encode())
