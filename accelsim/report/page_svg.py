"""Small SVG charts as text: bars, lines, points. Colours are CSS classes, so a page sets them for light and dark.

Every mark carries its figures in ``data-t``; a script on the page shows them under the pointer. Text is escaped here.
Coordinates have one decimal, so equal figures give equal bytes on any machine.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from accelsim.report.text import prefix_of, printable

WIDTH = 460
NUM_COLOURS = 12
_ROW_HEIGHT = 17
_LINE_HEIGHT = 12
_LABEL_CHARACTERS = 26
_LABEL_LINES = 3
# Multiples of a power of ten at which a logarithmic axis has ticks: the first that give three. Between any figure and
# 1.7 times as much, the least that an axis spans, the last one has three.
_TICKS = ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 8), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
_WHISKER_ROOM = 1.2  # of the longest bar: how far a whisker may stretch the figure
_SCALED = ("J", "s", "B")  # units that take an SI prefix
_CHARACTER_WIDTH = 6.8
# Corners of the markers in units of their size; the first is a circle.
_OUTLINES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.2), (1.2, 1), (-1.2, 1)),
    ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    ((0, 1.2), (1.2, -1), (-1.2, -1)),
    (
        (-0.4, -1.3), (0.4, -1.3), (0.4, -0.4), (1.3, -0.4), (1.3, 0.4), (0.4, 0.4),
        (0.4, 1.3), (-0.4, 1.3), (-0.4, 0.4), (-1.3, 0.4), (-1.3, -0.4), (-0.4, -0.4),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar: its length, its colour (0 to 11) and what is said of it."""

    value: float
    colour: int
    tip: str


@dataclass(frozen=True, slots=True)
class BarRow:
    """A bar of segments laid end to end; ``low`` and ``high`` draw a whisker over it.

    A whisker that would squash the bars ends in an arrow at the end of the figure.
    """

    label: str
    segments: tuple[Segment, ...]
    end: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A point: its place and what is said of it; ``strong`` ones are filled."""

    x: float
    y: float
    tip: str
    strong: bool = True


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour and one marker; joined by a line if ``joined``, with no markers if ``plain``."""

    label: str
    colour: int
    marks: tuple[Mark, ...]
    joined: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """Title with unit; logarithmic or from zero; ``low`` and ``high`` bound it where given."""

    title: str
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class BarPicture:
    """What a chart of bars shows, whoever draws it: the parameters of `bar_chart`."""

    title: str
    rows: Sequence[BarRow]
    what: str
    unit: str
    key: Sequence[tuple[str, int]] = ()

    @property
    def svg(self) -> str:
        """Return it as the page has it."""
        return bar_chart(self.title, self.rows, self.what, self.unit, self.key)

    @property
    def scale(self) -> tuple[float, float, str]:
        """Return the longest bar, the unit's factor and its prefix."""
        return _bar_scale(self.rows, self.unit)


@dataclass(frozen=True, slots=True)
class PointPicture:
    """What a chart of points and lines shows, whoever draws it: the parameters of `xy_chart`."""

    title: str
    x_axis: Axis
    y_axis: Axis
    series: Sequence[Series]
    height: int = 300

    @property
    def svg(self) -> str:
        """Return it as the page has it."""
        return xy_chart(self.title, self.x_axis, self.y_axis, self.series, self.height)


Picture = BarPicture | PointPicture


def _bar_scale(rows: Sequence[BarRow], unit: str) -> tuple[float, float, str]:
    longest = max(map(_length, rows), default=0.0) or 1.0
    highest = min(max((row.high or 0.0 for row in rows), default=0.0), _WHISKER_ROOM * longest)
    highest = max(longest, highest)
    return highest, *(prefix_of(highest) if unit in _SCALED else (1.0, ""))


def bar_chart(title: str, rows: Sequence[BarRow], what: str, unit: str, key: Sequence[tuple[str, int]] = ()) -> str:
    """Return a chart with a horizontal bar per row; ``what``, in ``unit``, is its length; ``key`` names the colours."""
    highest, scale, prefix = _bar_scale(rows, unit)
    labels = [label_lines(row.label) for row in rows]
    longest = max((len(line) for lines in labels for line in lines), default=0)
    left = 12 + longest * _CHARACTER_WIDTH
    right = 14 + max((len(row.end) for row in rows), default=0) * _CHARACTER_WIDTH
    room = WIDTH - left - right
    key_text, top = _key(key)
    top += 6
    bottom = top + sum(map(_row_height, labels))
    ticks = [tick for tick in nice_ticks(highest / scale) if tick * scale <= highest * 1.0001]
    parts = [key_text]
    for tick in ticks:
        x = left + room * tick * scale / highest
        parts.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(text_at(x, bottom + 13, f"{tick:g}", "middle"))
    y = top
    for row, lines in zip(rows, labels, strict=True):
        parts.append(_bar(row, lines, (left, y), (room / highest, highest)))
        y += _row_height(lines)
    parts.append(text_at(left + room / 2, bottom + 27, f"{what} ({prefix}{unit})", "middle", "axis"))
    return drawing(title, bottom + 33, parts)


def xy_chart(title: str, x_axis: Axis, y_axis: Axis, series: Sequence[Series], height: int = 300) -> str:
    """Return a chart of points and lines; one entry of the key per labelled series."""
    marks = [mark for each in series for mark in each.marks]
    x_scale = Scale.over(x_axis, [mark.x for mark in marks])
    y_scale = Scale.over(y_axis, [mark.y for mark in marks])
    key_text, top = _series_key(series)
    top += 20
    left, right, bottom = 52.0, WIDTH - 14.0, float(top + height - 60)
    parts = [key_text, text_at(4, top - 8, y_axis.title, "start", "axis")]
    for tick, label in y_scale.ticks:
        y = bottom - (bottom - top) * y_scale.place(tick)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(text_at(left - 5, y + 4, label, "end"))
    for tick, label in x_scale.ticks:
        x = left + (right - left) * x_scale.place(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(text_at(x, bottom + 14, label, "middle"))
    parts.append(text_at((left + right) / 2, bottom + 29, x_axis.title, "middle", "axis"))
    # The first series is drawn last: where marks coincide, the format asked for stays visible.
    for number, each in reversed(list(enumerate(series))):
        places = [
            (left + (right - left) * x_scale.place(mark.x), bottom - (bottom - top) * y_scale.place(mark.y))
            for mark in each.marks
        ]
        parts.extend(_series(number, each, places))
    return drawing(title, bottom + 36, parts)


def _series_key(series: Sequence[Series]) -> tuple[str, int]:
    labelled = [each for each in series if each.label]
    lines = frozenset(number for number, each in enumerate(labelled) if each.plain)
    return _key([(each.label, each.colour) for each in labelled], markers=True, lines=lines)


def _series(number: int, series: Series, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    if series.joined and len(places) > 1:
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f'<path class="line s{series.colour}" d="M{line}"/>'
    if not series.plain:
        # Filled marks lie over hollow ones: where designs crowd, the front must still be seen.
        for (x, y), mark in sorted(zip(places, series.marks, strict=True), key=lambda pair: pair[1].strong):
            yield _marker(x, y, number, series.colour, mark)


def nice_ticks(highest: float) -> list[float]:
    """Return up to six round numbers from 0 to ``highest``, which is positive."""
    power = 10.0 ** math.floor(math.log10(highest))
    step = next((size * power for size in (0.2, 0.5, 1.0, 2.0) if highest / (size * power) <= 5.001), 2 * power)
    return [round(index * step, 12) for index in range(math.floor(highest / step * 1.0001) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where an axis begins and ends, as logarithms of 10 where ``log``, and its ticks with their labels."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    @classmethod
    def over(cls, axis: Axis, values: Sequence[float]) -> Scale:
        """Return the scale of ``axis`` that holds ``values``."""
        if axis.log:
            return cls._logarithmic(axis, [value for value in values if value > 0])
        low = axis.low if axis.low is not None else 0.0
        high = axis.high if axis.high is not None else max(values, default=1.0) * 1.05
        high = high if high > low else low + 1.0
        ticks = [round(low + tick, 9) for tick in nice_ticks(high - low)]
        return cls(low, high, False, tuple((tick, f"{tick:g}") for tick in ticks))

    @classmethod
    def _logarithmic(cls, axis: Axis, values: Sequence[float]) -> Scale:
        low = axis.low if axis.low is not None else min(values, default=1.0) / 1.3
        high = axis.high if axis.high is not None else max(values, default=10.0) * 1.3
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        shown: tuple[tuple[float, str], ...] = ()
        for factors in _TICKS:
            if len(shown) < 3:
                ticks = [float(f"{factor}e{power}") for power in decades for factor in factors]
                shown = tuple((tick, _tick(tick)) for tick in ticks if low <= tick <= high)
        return cls(math.log10(low), math.log10(high), True, shown)

    def place(self, value: float) -> float:
        """Return where ``value`` is, 0 at the low end and 1 at the high end."""
        at = (math.log10(value) if value > 0 else self.low) if self.log else value
        return min(1.0, max(0.0, (at - self.low) / ((self.high - self.low) or 1.0)))


def _tick(value: float) -> str:
    if 0.001 <= value < 10000:
        return f"{value:g}"
    scale, prefix = prefix_of(value)
    return f"{value / scale:g}{prefix}" if prefix else f"{value:g}"


def _bar(row: BarRow, lines: Sequence[str], corner: tuple[float, float], scale: tuple[float, float]) -> str:
    """Return a bar beside the ``lines`` of its label; ``scale`` is the length of a unit, and where the figure ends."""
    (left, top), (factor, highest) = corner, scale
    middle = top + _row_height(lines) / 2
    first = middle + 4 - _LINE_HEIGHT * (len(lines) - 1) / 2
    parts = [text_at(left - 5, first + _LINE_HEIGHT * number, line, "end") for number, line in enumerate(lines)]
    x, over = left, middle - _ROW_HEIGHT / 2 + 2
    for segment in row.segments:
        length = segment.value * factor
        if length >= 0.05:
            box = f'x="{x:.1f}" y="{over:.1f}" width="{max(length, 0.4):.1f}" height="{_ROW_HEIGHT - 4}"'
            parts.append(f'<rect class="bar f{segment.colour}" {box} data-t="{tip_text(segment.tip)}"/>')
        x += length
    if row.low is not None and row.high is not None:
        low, high = (left + min(end, highest) * factor for end in (row.low, row.high))
        end = f"{middle - 4:.1f}v8" if row.high <= highest else f"{middle:.1f}l-5 -4m5 4l-5 4"
        ends = f"M{low:.1f} {middle - 4:.1f}v8M{high:.1f} {end}"
        parts.append(f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}{ends}"/>')
        x = max(x, high)
    if row.end:
        parts.append(text_at(x + 5, middle + 4, row.end, "start"))
    return "".join(parts)


def _marker(x: float, y: float, number: int, colour: int, mark: Mark) -> str:
    look = f"f{colour}" if mark.strong else f"hollow s{colour}"
    return f'<path class="mark {look}" d="{_shape(x, y, number, 4.2)}" data-t="{tip_text(mark.tip)}"/>'


def _shape(x: float, y: float, number: int, size: float) -> str:
    """Return the outline of the marker of series ``number``: a circle, then polygons."""
    corners = _OUTLINES[number % len(_OUTLINES)]
    if not corners:
        return f"M{x - size:.1f} {y:.1f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0z"
    return "M" + "L".join(f"{x + size * dx:.1f} {y + size * dy:.1f}" for dx, dy in corners) + "z"


def _key(
    entries: Sequence[tuple[str, int]], markers: bool = False, lines: frozenset[int] = frozenset()
) -> tuple[str, int]:
    """Return the key of colours, wrapped to the width of the chart, and its height; ``lines`` have no markers."""
    parts, x, line = [], 6.0, 0
    for number, (label, colour) in enumerate(entries):
        shown = printable(label, 40)
        width = 29 + len(shown) * (_CHARACTER_WIDTH + 0.2)
        if x > 6 and x + width > WIDTH:
            x, line = 6.0, line + 1
        y = 12 + 16 * line
        if number in lines:
            parts.append(f'<path class="line s{colour}" d="M{x:.1f} {y - 4}h11"/>')
        elif markers:
            parts.append(f'<path class="mark f{colour}" d="{_shape(x + 5, y - 4, number, 4.2)}"/>')
        else:
            parts.append(f'<rect class="f{colour}" x="{x:.1f}" y="{y - 9}" width="10" height="10" rx="2"/>')
        parts.append(text_at(x + 14, y, shown, "start"))
        x += width
    return "".join(parts), 16 * (line + 1) if entries else 0


def text_at(x: float, y: float, text: str, anchor: str, css: str = "") -> str:
    """Return a text at a place; ``anchor`` is start, middle or end."""
    place = f'x="{x:.1f}" y="{y:.1f}"' + (f' text-anchor="{anchor}"' if anchor != "start" else "")
    style = f' class="{css}"' if css else ""
    return f"<text {place}{style}>{escape(text)}</text>"


def drawing(title: str, height: float, parts: Sequence[str], width: float = WIDTH) -> str:
    """Return the drawing of its parts."""
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" preserveAspectRatio="xMinYMin" role="img"'
    return (
        f'{head} aria-label="{escape(printable(title, 200))}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def tip_text(tip: str) -> str:
    """Return ``tip`` as the value of an attribute; its lines stay apart."""
    lines = [printable(line, 160) for line in tip.split("\n")]
    return "&#10;".join(escape(line, quote=True) for line in lines)


def _length(row: BarRow) -> float:
    return math.fsum(segment.value for segment in row.segments)


def label_lines(label: str) -> list[str]:
    """Return the lines of a bar's label, as few as hold it and about equally long."""
    shown = printable(label, _LABEL_LINES * _LABEL_CHARACTERS)
    fewest = textwrap.wrap(shown, _LABEL_CHARACTERS) or [""]
    if len(fewest) > _LABEL_LINES:
        return textwrap.wrap(shown, _LABEL_CHARACTERS, max_lines=_LABEL_LINES, placeholder="...")
    widths = range(max(map(len, fewest)) // 2 + 1, _LABEL_CHARACTERS) if len(fewest) > 1 else ()
    narrower = (textwrap.wrap(shown, width, break_long_words=False) for width in widths)
    fits = (lines for lines in narrower if len(lines) == len(fewest) and max(map(len, lines)) <= _LABEL_CHARACTERS)
    return next(fits, fewest)


def _row_height(lines: Sequence[str]) -> int:
    return _ROW_HEIGHT + _LINE_HEIGHT * (len(lines) - 1)
