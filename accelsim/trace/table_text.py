"""Tables as text: whatever a spreadsheet or a script writes, as lines of cells.

Read are UTF-8 with or without a byte-order mark and UTF-16 with one (what spreadsheets call Unicode text), any line
ends, and commas, tabs, semicolons or bars between cells. Lines that begin with ``#`` or ``//`` are comments, and so is
the rest of a line from a cell that begins so; Excel's ``sep=;`` is understood.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.errors import TraceError

_MAX_BYTES = 4 << 20
_DELIMITERS = (",", "\t", ";", "|")
_COMMENTS = ("#", "//")


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line with something in it: its number in the file, its cells without trailing empty ones."""

    number: int
    cells: tuple[str, ...]
    is_comment: bool = False

    @property
    def filled(self) -> tuple[str, ...]:
        """Return the cells that are not empty."""
        return tuple(cell for cell in self.cells if cell)


@dataclass(frozen=True, slots=True)
class TableText:
    """The lines of a table, comments among them, and what stands between its cells."""

    lines: tuple[TableLine, ...]
    delimiter: str


def read_table_text(where: str, what: str = "topology table") -> TableText:
    """Return the lines of the table in file ``where``; ``what`` names it where it cannot be read.

    Raises
    ------
    TraceError
        The file cannot be read, is no text, too large, or has quotes that do not close.
    """
    text = _decoded(where, _read(where, what))
    physical = list(io.StringIO(text, newline=None))
    remarks = {number: line for number, line in enumerate(physical, 1) if line.lstrip(' \t"').startswith(_COMMENTS)}
    stated = physical[0].strip().lower() if physical else ""
    if stated.startswith("sep=") and len(stated) == 5:
        physical[0] = "\n"
    delimiter = stated[4] if stated.startswith("sep=") and len(stated) == 5 else _delimiter(physical, remarks)
    for number in remarks:
        physical[number - 1] = "\n"
    reader = csv.reader(physical, delimiter=delimiter, skipinitialspace=True, strict=True)
    lines = []
    try:
        for cells in reader:
            lines.append(TableLine(reader.line_num, _cells(cells)))
    except csv.Error as error:
        raise TraceError(f"{where}:{reader.line_num}: {error}; give plain cells separated by commas") from error
    for number, line in remarks.items():
        bare = line.strip().lstrip('#/" ')
        lines.append(TableLine(number, tuple(cell.strip(' "') for cell in bare.split(delimiter)), is_comment=True))
    lines.sort(key=lambda line: line.number)
    return TableText(tuple(line for line in lines if line.cells), delimiter)


def _read(where: str, what: str) -> bytes:
    try:
        with open(where, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise TraceError(f"{where}: {reason}; give the path of a {what}") from error
    if len(data) > _MAX_BYTES:
        raise TraceError(f"{where}: more than {_MAX_BYTES} bytes; split the {what}")
    return data


def _decoded(where: str, data: bytes) -> str:
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TraceError(f"{where}: not UTF-8 text; save the table as comma-separated UTF-8 text") from error
    if "\0" in text:
        raise TraceError(f"{where}: holds zero bytes, so it is no text; give a table as comma-separated UTF-8 text")
    return text


def _delimiter(lines: Sequence[str], remarks: dict[int, str]) -> str:
    """Return what separates the cells: what is most frequent in the first line that is split by anything.

    A line of two cells says so only where none has more: a text may hold one comma.
    """
    plain = [line for number, line in enumerate(lines, 1) if number not in remarks]
    for lines_of, least in ((plain, 2), (plain, 1), (remarks.values(), 1)):
        for line in lines_of:
            counts = {mark: line.count(mark) for mark in _DELIMITERS}
            best = max(counts, key=lambda mark: counts[mark])
            if counts[best] >= least:
                return best
    return ","


def _cells(cells: Sequence[str]) -> tuple[str, ...]:
    """Strip the cells, and take away a comment behind them and empty ones at the end."""
    kept: list[str] = []
    for index, cell in enumerate(cells):
        text = cell.strip()
        if index and text.startswith("//"):
            break
        kept.append(text)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)
