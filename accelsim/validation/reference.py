"""The restated tables: ``tables/*.yaml``, each with its source, read strictly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accelsim.config.base import ConfigModel
from accelsim.config.loader import load_config
from accelsim.config.presets import preset_folder
from accelsim.errors import AccelSimError, ConfigError

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
    """A row of a table, by column name; ``table`` says where it stands, as errors begin."""

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

    def named(self) -> AbstractContextManager[None]:
        """Let errors of this row, whoever raises them, begin with where it stands."""
        return _named(self.table)


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except AccelSimError as error:
        raise type(error)(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True)
class Table:
    """A restated table."""

    name: str
    source: str
    note: str
    rows: tuple[Row, ...]

    def named(self) -> AbstractContextManager[None]:
        """Let errors of rows that run together begin with the table's source, which is a user's own file."""
        return _named(self.source)


def table_path(stem: str) -> Path:
    """Return the path of a restated table."""
    return Path(__file__).parent / "tables" / stem


def machine_path(stem: str) -> Path:
    """Return the path of the description of a machine that is no preset."""
    return Path(__file__).parent / "machines" / stem


@cache
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
