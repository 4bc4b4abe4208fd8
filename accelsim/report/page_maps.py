"""A small map as SVG: cells coloured by who wins and by how much, with lines where that changes.

Two lines run along the edges of cells: a solid one around those in which the ticket is ahead, a dashed one around those
in which it is ahead by enough. A hatched cell is one whose winner is not sure; a corner is cut off where another policy
of the memory turns the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from accelsim.report.page_svg import drawing, text_at, tip_text
from accelsim.report.text import significant

MAP_WIDTH = 262
_LEFT, _RIGHT, _TOP, _CELL_HEIGHT = 42.0, 4.0, 18.0, 24.0
# The palest and the fullest colour; text stays readable on the latter in light and dark.
_PALE, _FULL = 0.12, 0.58
_FULL_FACTOR = 4.0
_HATCH = 6.0


@dataclass(frozen=True, slots=True)
class MapCell:
    """A cell of a map.

    Attributes
    ----------
    factor
        Best rival over ticket; NaN where there is no answer.
    colour
        Of who wins, 0 to 11; None where both are equal or nothing is known.
    is_ahead, is_worth
        On which side of the two lines the cell is.
    tip
        What is said of it.
    command
        The end of the command that gives it again.
    """

    factor: float
    colour: int | None
    is_ahead: bool
    is_worth: bool
    is_unsure: bool
    turns: bool
    tip: str
    command: str


@dataclass(frozen=True, slots=True)
class SmallMap:
    """A map: titles of its axes, labels of columns and rows, and a cell for each, row by row from the top."""

    title: str
    x_title: str
    y_title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[MapCell, ...], ...]


def map_svg(small: SmallMap) -> str:
    """Return the drawing of a map."""
    width = (MAP_WIDTH - _LEFT - _RIGHT) / len(small.columns)
    bottom = _TOP + _CELL_HEIGHT * len(small.rows)
    parts = [text_at(2, 11, small.y_title, "start", "axis")]
    for row, label in enumerate(small.rows):
        parts.append(text_at(_LEFT - 4, _TOP + _CELL_HEIGHT * (row + 0.5) + 4, label, "end"))
        for column, cell in enumerate(small.cells[row]):
            parts.append(_cell(cell, _LEFT + width * column, _TOP + _CELL_HEIGHT * row, width))
    for column, label in enumerate(small.columns):
        parts.append(text_at(_LEFT + width * (column + 0.5), bottom + 13, label, "middle"))
    parts.append(text_at((_LEFT + MAP_WIDTH) / 2, bottom + 27, small.x_title, "middle", "axis"))
    for css, test in (("edge enough", _is_worth), ("edge", _is_ahead)):
        path = "".join(_edges(small, width, test))
        if path:
            parts.append(f'<path class="{css}" d="{path}"/>')
    return drawing(small.title, bottom + 33, parts, MAP_WIDTH)


def shade(factor: float) -> float:
    """Return how full a colour is: palest for equal figures, fullest for a factor of four either way."""
    return _PALE + (_FULL - _PALE) * min(1.0, abs(math.log(factor)) / math.log(_FULL_FACTOR))


def _cell(cell: MapCell, x: float, y: float, width: float) -> str:
    is_known = not math.isnan(cell.factor)
    fill = "f9" if cell.colour is None else f"f{cell.colour}"
    full = shade(cell.factor) if is_known and cell.colour is not None else _PALE
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_CELL_HEIGHT:.0f}"'
    marks = f'data-t="{tip_text(cell.tip)}" data-c="{tip_text(cell.command)}"'
    parts = [f'<rect class="cell {fill}" fill-opacity="{full:.2f}" {box} {marks}/>']
    if cell.is_unsure:
        parts.append(f'<path class="hatch" d="{"".join(_hatch(x, y, width))}"/>')
    if cell.turns:
        parts.append(f'<path class="corner" d="M{x + width:.1f} {y:.1f}v8l-8 -8z"/>')
    label = significant(cell.factor) if is_known else "-"
    parts.append(text_at(x + width / 2, y + _CELL_HEIGHT / 2 + 4, label, "middle", "in"))
    return "".join(parts)


def _hatch(x: float, y: float, width: float) -> Iterator[str]:
    """Yield lines that rise to the right across a cell."""
    place = _HATCH
    while place < width + _CELL_HEIGHT:
        begin, end = max(0.0, place - _CELL_HEIGHT), min(place, width)
        yield f"M{x + begin:.1f} {y + place - begin:.1f}L{x + end:.1f} {y + place - end:.1f}"
        place += _HATCH


def _is_ahead(cell: MapCell) -> bool:
    return cell.is_ahead


def _is_worth(cell: MapCell) -> bool:
    return cell.is_worth


def _edges(small: SmallMap, width: float, test: Callable[[MapCell], bool]) -> Iterator[str]:
    """Yield the edges between cells of which one passes a test."""
    for row, cells in enumerate(small.cells):
        y = _TOP + _CELL_HEIGHT * row
        for column, cell in enumerate(cells):
            x = _LEFT + width * column
            if column and test(cell) != test(cells[column - 1]):
                yield f"M{x:.1f} {y:.1f}v{_CELL_HEIGHT:.0f}"
            if row and test(cell) != test(small.cells[row - 1][column]):
                yield f"M{x:.1f} {y:.1f}h{width:.1f}"


def labels(values: Sequence[float]) -> tuple[str, ...]:
    """Return numbers as labels of an axis."""
    return tuple(f"{value:,.0f}" if float(value).is_integer() else significant(value) for value in values)
