"""The tornado figure: what each constant's range does to an energy or to a ratio of two."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from accelsim.cost.uncertainty import Tornado, UncertaintyReport
from accelsim.report.text import prefix_of, printable

_NUM_BARS = 12
_LOW_COLOUR, _HIGH_COLOUR = "#0072B2", "#D55E00"


def tornado_figure(report: UncertaintyReport) -> bytes:
    """Return a PNG: for the first format and for each ratio to it, what each constant's range does to the energy."""
    first = report.formats[0].storage
    chosen = [each for each in report.tornados if each.subject == first or each.subject.endswith(f" / {first}")]
    figure = Figure(figsize=(10, 3.4 * len(chosen)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, tornado in zip(figure.subplots(len(chosen), 1, squeeze=False)[:, 0], chosen, strict=True):
        _draw(axis, tornado, is_energy=tornado.subject == first)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw(axis: Axes, tornado: Tornado, *, is_energy: bool) -> None:
    bars = [bar for bar in tornado.bars if bar.swing][:_NUM_BARS][::-1]
    scale, prefix = prefix_of(tornado.value) if is_energy else (1.0, "")
    middle = tornado.value / scale
    for place, bar in enumerate(bars):
        for end, colour in ((bar.at_low, _LOW_COLOUR), (bar.at_high, _HIGH_COLOUR)):
            axis.barh(place, end / scale - middle, left=middle, color=colour, height=0.7)
    axis.axvline(middle, color="black", linewidth=0.8)
    axis.set_yticks(range(len(bars)), [printable(bar.constant, 40) for bar in bars], fontsize=8)
    what = f"energy of {printable(tornado.subject)}" + (f" ({prefix}J)" if is_energy else "")
    axis.set_title(f"{what}: one constant at its low (blue) or high (orange) end", fontsize=10, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
