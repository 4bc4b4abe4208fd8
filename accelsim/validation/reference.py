"""The restated tables: ``tables/*.yaml``, each with its source, read strictly."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

from accelsim.config.base import ConfigModel
from accelsim.config.loader import load_config
from accelsim.config.presets import preset_folder
from accelsim.errors import ConfigError
from accelsim.files import reason_of

Cell = int | float | str


class TableFile(ConfigModel):
    """A table as it stands in its file."""

    name: str
    """Short name, used as ``reference``."""
    source: str
    """Who measured or published it, and where."""
    note: str = ""
    """Conditions of the measurement."""
    columns: list[str]
    """Names of the columns."""
    rows: list[list[int | float | str]]
    """Cells in the order of the columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, by column name."""

    table: str
    cells: dict[str, Cell]

    def whole(self, column: str) -> int:
        """Return a whole number."""
        return int(self.number(column))

    def number(self, column: str) -> float:
        """Return a number."""
        value = self.cells[column]
        if isinstance(value, str):
            raise ConfigError(f"{self.table}: {column}: {value!r} is not a number; correct the table")
        return value

    def text(self, column: str) -> str:
        """Return a text."""
        return str(self.cells[column])


@dataclass(frozen=True, slots=True)
class Table:
    """A restated table."""

    name: str
    source: str
    note: str
    rows: tuple[Row, ...]


def table_path(stem: str) -> Path:
    """Return the path of a restated table."""
    return Path(__file__).parent / "tables" / stem


def machine_path(stem: str) -> Path:
    """Return the path of the description of a machine that is no preset."""
    return Path(__file__).parent / "machines" / stem


def load_table(stem: str) -> Table:
    """Return ``tables/<stem>.yaml``.

    Raises
    ------
    ConfigError
        The file is missing or not a table.
    """
    path = table_path(f"{stem}.yaml")
    config = load_config(path, TableFile).config
    rows = []
    for cells in config.rows:
        if len(cells) != len(config.columns):
            raise ConfigError(
                f"{path}: rows: {cells}: {len(cells)} cells for {len(config.columns)} columns; correct it"
            )
        rows.append(Row(config.name, dict(zip(config.columns, cells, strict=True))))
    return Table(config.name, config.source, config.note, tuple(rows))


MOST_BYTES = 1 << 24  # of a user's own rows


def own_table(stem: str, path: str | Path, optional: frozenset[str] = frozenset()) -> Table:
    """Return the table ``stem`` with the rows of a CSV file in place of its own; lines that begin with # are remarks.

    Raises
    ------
    ConfigError
        The file cannot be read, lacks a column of the table that is not ``optional``, or has a row without a cell.
    """
    table = load_table(stem)
    needed = [name for name in table.rows[0].cells if name not in optional]
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: more than {MOST_BYTES} bytes; give fewer rows")
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({reason_of(error)}); give a CSV file") from None
    reader = csv.DictReader((line for line in lines if line.strip() and not line.startswith("#")), strict=True)
    rows = []
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(f"{path}: no column {', '.join(missing)}; {table.name} needs {', '.join(needed)}")
        for number, cells in enumerate(reader, start=1):
            empty = [name for name in needed if not (cells[name] or "").strip()]
            if empty:
                raise ConfigError(f"{path}: row {number}: {empty[0]}: no value; fill it in")
            rows.append(
                Row(f"{path}: row {number}", {name: _cell(text) for name, text in cells.items() if name and text})
            )
    except csv.Error as error:
        raise ConfigError(f"{path}: not CSV ({error}); correct it") from None
    if not rows:
        raise ConfigError(f"{path}: no rows; give at least one")
    return replace(table, source=str(path), rows=tuple(rows))


def _cell(text: str) -> Cell:
    """Return a number where the text is one that is finite."""
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return number if math.isfinite(number) else text.strip()


def preset_path(name: str) -> Path:
    """Return the path of a preset: in ``hwconfigs/`` of the current folder, or beside the package in a source tree.

    Raises
    ------
    ConfigError
        It is in neither.
    """
    for folder in (preset_folder("hwconfigs"), Path(__file__).parents[2] / "hwconfigs"):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    raise ConfigError(f"hwconfigs/{name}.yaml: no such file; run accelsim validate where the folder hwconfigs is")
