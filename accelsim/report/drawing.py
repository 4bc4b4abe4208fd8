"""The charts of the report in matplotlib: for notebooks, and as PDF and SVG for papers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from accelsim.report.page_svg import Axis, BarPicture, BarRow, Picture, PointPicture, Scale, Series, label_lines
from accelsim.report.text import printable

COLOURS = (
    "#1565c0", "#d9590f", "#0a8f6c", "#b3478f", "#c79200", "#5aaee0", "#7a5cc9", "#8a5a33", "#d43d51", "#6f7f8f",
    "#93a83b", "#1c9aa8",
)  # fmt: skip
"""Those of the page on white, by the number of its style sheet."""
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH_INCHES = 6.4
_KEY_CHARACTERS = 88

FigureFormat = Literal["pdf", "svg"]
FIGURE_FORMATS: tuple[FigureFormat, ...] = ("pdf", "svg")
# A date would make equal figures different bytes.
_NO_DATE = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "svg": {"Date": None, "Creator": None}}


def figure_size(picture: Picture) -> tuple[float, float]:
    """Return width and height in inches that suit a picture."""
    if isinstance(picture, BarPicture):
        lines = sum(0.24 + 0.1 * (len(label_lines(row.label)) - 1) for row in picture.rows)
        return _WIDTH_INCHES, 1.3 + lines + 0.17 * _key_rows([name for name, _ in picture.key])
    labels = [series.label for series in picture.series if series.label]
    return _WIDTH_INCHES, picture.height / 80 + 0.17 * _key_rows(labels)


def figure_bytes(picture: Picture, kind: FigureFormat) -> bytes:
    """Return a picture as a file of ``kind``, without a title; equal pictures give equal bytes."""
    with rc_context({"svg.hashsalt": "accelsim", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure = Figure(figsize=figure_size(picture), layout="constrained")
        FigureCanvasAgg(figure)
        draw(picture, figure.subplots())
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata=_NO_DATE[kind])
    return stream.getvalue()


def draw(picture: Picture, axes: Axes) -> Axes:
    """Draw a picture into ``axes`` and return them."""
    if isinstance(picture, BarPicture):
        _draw_bars(picture, axes)
    else:
        _draw_points(picture, axes)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def _draw_bars(picture: BarPicture, axes: Axes) -> None:
    highest, scale, prefix = picture.scale
    for place, row in enumerate(picture.rows):
        start = 0.0
        for segment in row.segments:
            axes.barh(place, segment.value / scale, left=start / scale, color=COLOURS[segment.colour], height=0.74)
            start += segment.value
        _finish_bar(axes, place, row, start, (scale, highest))
    axes.set_yticks(range(len(picture.rows)), ["\n".join(label_lines(row.label)) for row in picture.rows])
    axes.set_ylim(len(picture.rows) - 0.4, -0.6)
    # Room for the figure at the end of the longest bar.
    longest = max((len(row.end) for row in picture.rows), default=0)
    axes.set_xlim(0, highest / scale * (1.02 + 0.02 * longest))
    axes.set_xlabel(f"{picture.what} ({prefix}{picture.unit})")
    axes.tick_params(labelsize=8, left=False)
    axes.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.6)
    _key(axes, [Patch(color=COLOURS[colour], label=printable(name, 40)) for name, colour in picture.key])


def _finish_bar(axes: Axes, place: int, row: BarRow, end: float, scales: tuple[float, float]) -> None:
    """Draw the whisker of a bar, up to the end of the figure, and its figure behind it."""
    scale, highest = scales
    if row.low is not None and row.high is not None:
        ends = [min(edge, highest) / scale for edge in (row.low, row.high)]
        axes.plot(ends, [place, place], "|-", color="#16191d", linewidth=1, markersize=7)
        if row.high > highest:
            axes.plot(ends[1:], [place], ">", color="#16191d", markersize=4, clip_on=False)
        end = max(end, min(row.high, highest))
    if row.end:
        axes.annotate(row.end, (end / scale, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)


def _draw_points(picture: PointPicture, axes: Axes) -> None:
    axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    handles = []
    # The first series is drawn last: where marks coincide, the format asked for stays visible.
    for number, series in reversed(list(enumerate(picture.series))):
        _draw_series(axes, number, series)
        if series.label:
            marker = "" if series.plain else _MARKERS[number % len(_MARKERS)]
            colour = COLOURS[series.colour]
            face = colour if any(mark.strong for mark in series.marks) else "none"
            handles.append(
                Line2D(
                    [], [], color=colour, marker=marker, markerfacecolor=face, linestyle="-" if series.joined else "",
                    label=printable(series.label, 40),
                )
            )  # fmt: skip
    marks = [mark for series in picture.series for mark in series.marks]
    _bound(axes, "x", picture.x_axis, [mark.x for mark in marks])
    _bound(axes, "y", picture.y_axis, [mark.y for mark in marks])
    axes.set_xlabel(picture.x_axis.title)
    axes.set_ylabel(picture.y_axis.title)
    axes.tick_params(labelsize=8)
    _key(axes, handles[::-1])


def _draw_series(axes: Axes, number: int, series: Series) -> None:
    colour = COLOURS[series.colour]
    if series.joined:
        axes.plot([mark.x for mark in series.marks], [mark.y for mark in series.marks], color=colour, linewidth=1.4)
    if series.plain:
        return
    for is_strong in (False, True):
        marks = [mark for mark in series.marks if mark.strong == is_strong]
        axes.scatter(
            [mark.x for mark in marks], [mark.y for mark in marks], s=26, marker=_MARKERS[number % len(_MARKERS)],
            facecolors=colour if is_strong else "none", edgecolors=colour, linewidths=0.9,
            zorder=3 + is_strong,
        )  # fmt: skip


def _bound(axes: Axes, which: Literal["x", "y"], axis: Axis, values: Sequence[float]) -> None:
    """Set ends and ticks of an axis to those that it has on the page."""
    scale = Scale.over(axis, values)
    low, high = (10.0**scale.low, 10.0**scale.high) if scale.log else (scale.low, scale.high)
    if axis.high is not None and not scale.log:  # a mark at the end of a stated axis is drawn whole
        low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    axes.set(**{f"{which}scale": "log" if scale.log else "linear", f"{which}lim": (low, high)})
    ticks = axes.xaxis if which == "x" else axes.yaxis
    ticks.set_ticks([tick for tick, _ in scale.ticks], [label for _, label in scale.ticks])
    ticks.set_minor_locator(NullLocator())


def _key(axes: Axes, handles: Sequence[Patch | Line2D]) -> None:
    """Put the key above the axes."""
    if handles:
        labels = [str(handle.get_label()) for handle in handles]
        axes.legend(
            handles=list(handles), loc="lower left", bbox_to_anchor=(0, 1.0), ncols=_key_columns(labels),
            frameon=False, fontsize=8, borderaxespad=0.2, columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip


def _key_columns(labels: Sequence[str]) -> int:
    return max(1, min(len(labels), _KEY_CHARACTERS // (max(map(len, labels)) + 8)))


def _key_rows(labels: Sequence[str]) -> int:
    return -(-len(labels) // _key_columns(labels)) if labels else 0
