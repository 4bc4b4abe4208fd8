"""Measurements of a user's own: a table of text in the columns of a reference, under their names there or here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from accelsim.errors import ConfigError
from accelsim.names import suggest
from accelsim.trace.batch import MAX_BATCH
from accelsim.trace.table_text import TableLine, read_table_text
from accelsim.validation.reference import Cell, Row, Table, load_table

MOST_ROWS = 10_000
MOST_SIZE = 1 << 20  # of a loop: the tilings of a larger one are more than a list of tiles can hold
_MOST_NUMBER = 1e18
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the cells of a column may hold, in words and as a test; ``whole`` ones are whole numbers."""

    allowed: str
    is_right: Callable[[float], bool]
    whole: bool = False

    def read(self, text: str) -> Cell | None:
        """Return the cell of ``text``, None where it is not allowed."""
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not self.is_right(number) or (self.whole and number != int(number)):
            return None
        return int(number) if self.whole else number


class Text(Kind):
    """Any text."""

    def read(self, text: str) -> Cell | None:
        """Return the text."""
        return text


def _whole(most: int, least: int = 1) -> Kind:
    return Kind(f"a whole number from {least} to {most}", lambda number: least <= number <= most, whole=True)


SIZE = _whole(MOST_SIZE)
BYTES = _whole(1 << 30, 16)  # no description takes a smaller buffer
BATCH = _whole(MAX_BATCH)
MEASURED = Kind(f"a number above 0, at most {_MOST_NUMBER:g}", lambda number: 0 < number <= _MOST_NUMBER)
PERCENT = Kind("a number from 0 to 100", lambda number: 0 <= number <= 100)
TEXT = Text("a text", lambda _: True)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in our table, its kind, its names elsewhere, and whether cells may be empty or missing."""

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return every name of the column, our own first."""
        return (self.name, *self.aliases)

    @property
    def shown(self) -> str:
        """Return the names as a refusal lists them."""
        return " or ".join(self.names)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a reference.

    Attributes
    ----------
    stem
        Our table.
    columns
        In the order of the table; the first holds a name or a size of the row.
    published
        Cells of rows whose first column names a published layer: a file may do without all of these columns.
    sums
        Texts of the first column whose rows are sums over the others, and are left out.
    """

    stem: str
    columns: tuple[Column, ...]
    published: Callable[[], Mapping[str, Mapping[str, Cell]]] = dict
    sums: frozenset[str] = frozenset()


def read_rows(columns: Columns, path: str) -> Table:
    """Return the table of ``columns`` with the rows of the file ``path`` in place of its own.

    Raises
    ------
    AccelSimError
        The file cannot be read, lacks a column, or a cell is not what its column takes.
    """
    table = load_table(columns.stem)
    lines = [line for line in read_table_text(path, "table of measurements").lines if not line.is_comment]
    if len(lines) < 2:
        raise ConfigError(f"{path}: no rows; give a line of column names and at least one row")
    if len(lines) > MOST_ROWS:
        raise ConfigError(f"{path}: {len(lines)} rows are more than {MOST_ROWS}; give fewer")
    places = _places(columns, path, lines[0])
    published = _published(columns, places)
    _check_complete(
        columns, {*places, *(name for cells in published.values() for name in cells)}, table.name, lines[0], path
    )
    rows = []
    for number, line in enumerate(lines[1:], start=1):
        where = f"{path}: row {number} (line {line.number})"
        _check_width(line, lines[0], where)
        row = _row(columns, places, where, line)
        first = row.text(columns.columns[0].name)
        if first in columns.sums:
            continue
        if published:
            if first not in published:
                shape = ", ".join(next(iter(published.values())))
                raise ConfigError(
                    f"{row.table}: {columns.columns[0].name}: {first[:60]!r} is no published layer; give {shape}"
                )
            row = Row(row.table, {**published[first], **row.cells})
        rows.append(row)
    if not rows:
        raise ConfigError(f"{path}: no rows but sums; give at least one measurement")
    return replace(table, source=path, rows=tuple(rows))


def _places(columns: Columns, path: str, header: TableLine) -> dict[str, int]:
    """Return where each column stands."""
    found: dict[str, int] = {}
    for column in columns.columns:
        places = [place for place, name in enumerate(header.cells) if name in column.names]
        if len(places) > 1:
            names = " and ".join(header.cells[place] for place in places)
            raise ConfigError(f"{path}: line {header.number}: {names}: two columns of {column.name}; keep one")
        if places:
            found[column.name] = places[0]
    return found


def _published(columns: Columns, places: Mapping[str, int]) -> Mapping[str, Mapping[str, Cell]]:
    """Return the cells of published layers, where the file has no shape of its own; a part of a shape is none."""
    known = columns.published()
    needed = [column.name for column in columns.columns if not column.optional]
    return {} if any(name in places and name in needed for cells in known.values() for name in cells) else known


def _check_complete(columns: Columns, found: set[str], table: str, header: TableLine, path: str) -> None:
    missing = [column for column in columns.columns if column.name not in found and not column.optional]
    if not missing:
        return
    near = "".join(suggest(column.name, header.filled, 0.8) for column in missing[:1])
    needed = ", ".join(column.shown for column in columns.columns if not column.optional)
    optional = ", ".join(column.shown for column in columns.columns if column.optional)
    more = f", and may have {optional}" if optional else ""
    absent = ", ".join(column.name for column in missing)
    raise ConfigError(f"{path}: no column {absent}; {near}{table} needs {needed}{more}; other columns are ignored")


def _check_width(line: TableLine, header: TableLine, where: str) -> None:
    """Refuse a row with filled cells beyond the last column: one of its own values has been cut in two."""
    beyond = [cell for cell in line.cells[len(header.cells) :] if cell]
    if beyond:
        raise ConfigError(
            f"{where}: {len(header.cells)} columns, and {beyond[0][:60]!r} behind the last; put text that has the "
            "separator in it in quotes, or name the column"
        )


def _row(columns: Columns, places: Mapping[str, int], where: str, line: TableLine) -> Row:
    cells: dict[str, Cell] = {}
    for column in columns.columns:
        if column.name not in places:
            continue
        place = places[column.name]
        text = line.cells[place] if place < len(line.cells) else ""
        value = column.kind.read(text) if text else None
        if value is not None:
            cells[column.name] = value
        elif text or not column.optional:
            shown = f"{text[:60]!r} is not {column.kind.allowed}; correct it" if text else "no value; fill it in"
            raise ConfigError(f"{where}: {column.name}: {shown}")
    return Row(where, cells)
