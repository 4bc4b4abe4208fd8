"""The figure of ``accelsim size``: memory traffic and energy over each buffer's capacity."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from accelsim.report.capacities import CapacityCurve
from accelsim.report.text import prefix_of, printable, size_words

_TRAFFIC, _ENERGY, _GREY = "#0072B2", "#D55E00", "#888888"
_MOST_TICKS = 5


def capacity_figure(title: str, curves: Sequence[CapacityCurve]) -> bytes:
    """Return a PNG with a column for each buffer: traffic above, energy below; ``now`` and the knee are marked."""
    drawn = [curve for curve in curves if curve.good]
    figure = Figure(figsize=(max(6.0, 3.4 * len(drawn)), 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, max(1, len(drawn)), squeeze=False, sharey="row", sharex="col")
    highest = [max(values) for values in zip(*map(_highest, drawn), strict=True)]
    scales = [prefix_of(value) for value in highest]
    for column, curve in enumerate(drawn):
        sizes = [point.capacity_bytes for point in curve.good]
        traffic = [point.dram_bytes / scales[0][0] for point in curve.good]
        energy = [point.energy_j / scales[1][0] for point in curve.good]
        for axis, values, colour in ((axes[0][column], traffic, _TRAFFIC), (axes[1][column], energy, _ENERGY)):
            axis.plot(sizes, values, color=colour, marker="o", markersize=4)
            _dress(axis, curve, sizes)
        axes[0][column].set_title(curve.buffer.replace("_", " "), fontsize=10, loc="left")
    for row, top in enumerate(highest):
        axes[row][0].set_ylim(0, 1.08 * top / scales[row][0] or 1)
    if drawn:
        axes[0][0].set_ylabel(f"DRAM traffic ({scales[0][1]}B)")
        axes[1][0].set_ylabel(f"energy ({scales[1][1]}J)")
    figure.suptitle(printable(title), fontsize=12)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _highest(curve: CapacityCurve) -> tuple[float, float]:
    return max(point.dram_bytes for point in curve.good), max(point.energy_j for point in curve.good)


def _dress(axis: Axes, curve: CapacityCurve, sizes: Sequence[int]) -> None:
    marks = {curve.now_bytes: "now"}
    if curve.knee is not None:
        size = curve.knee.capacity_bytes
        marks[size] = "now, knee" if size in marks else "knee"
    for size, word in marks.items():
        axis.axvline(size, color=_GREY, linewidth=0.9, linestyle="--" if word == "now" else "-")
        axis.annotate(
            word, (size, 0.03), xycoords=axis.get_xaxis_transform(), xytext=(3, 0), textcoords="offset points",
            fontsize=8, color="#444444",
        )  # fmt: skip
    axis.set_xscale("log", base=2)
    step = -(-len(sizes) // _MOST_TICKS)
    axis.xaxis.set_major_locator(FixedLocator(list(sizes[::step])))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_words(round(value))))
    axis.tick_params(axis="x", labelsize=8, labelrotation=30)
    axis.grid(True, color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
