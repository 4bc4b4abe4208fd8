"""The figures of a result, for notebooks: each draws into given matplotlib axes or makes its own, and returns them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import pyplot
from matplotlib.axes import Axes

from accelsim.errors import AccelSimError
from accelsim.report.drawing import draw, figure_size
from accelsim.report.figures import draw_freezing
from accelsim.report.page_charts import Chart, layer_charts, overview_charts, roofline_chart
from accelsim.report.page_runs import TicketRuns
from accelsim.results.model import RunResult


class Plots:
    """The figures of one run and of those that it is compared with."""

    def __init__(self, ticket: TicketRuns) -> None:
        self._ticket = ticket

    def __repr__(self) -> str:
        return "<figures: energy(), cycles(), roofline(), freeze()>"

    def energy(self, ax: Axes | None = None) -> Axes:
        """Draw energy by unit, in joules: a bar per storage format, with whiskers of ``run(..., uncertainty=True)``."""
        return _drawn(overview_charts(self._ticket)[0], ax)

    def cycles(self, ax: Axes | None = None, *, layers: bool = False) -> Axes:
        """Draw time by its causes, in seconds: a bar per storage format, or with ``layers`` per layer of the run."""
        chart = layer_charts(self._ticket.main)[1] if layers else overview_charts(self._ticket)[1]
        return _drawn(chart, ax)

    def roofline(self, ax: Axes | None = None) -> Axes:
        """Draw every layer under three ceilings: memory, array, and generator with decoder.

        Giga multiply-accumulates per second over multiply-accumulates per byte of memory traffic. The third ceiling is
        a hollow mark per layer; see `accelsim.report.roofline`.
        """
        chart = roofline_chart(self._ticket)
        if chart is None:
            raise AccelSimError("roofline: the run has no layers; give a network with some")
        return _drawn(chart, ax)

    def freeze(self, *others: RunResult) -> Sequence[Axes]:
        """Draw energy, latency, weight traffic and accuracy over the freezing ratio, of this run and ``others``.

        The formats that each is compared with are drawn too. Returns the four axes, of a figure of their own.
        """
        runs = [run.result for run in self._ticket.runs]
        for other in others:
            runs += [other, *compared(other)]
        figure = pyplot.figure()
        draw_freezing(runs, figure)
        return tuple(figure.axes)


def compared(result: RunResult) -> list[RunResult]:
    """Return the formats that ``result`` is compared with as runs of their own, which have totals only."""
    return [
        result.model_copy(update={"storage": storage, "totals": totals, "layers": (), "comparison": None})
        for storage, totals in (result.comparison or {}).items()
    ]


def _drawn(chart: Chart, ax: Axes | None) -> Axes:
    if ax is None:
        _, ax = pyplot.subplots(figsize=figure_size(chart.picture), layout="constrained")
    return draw(chart.picture, ax)
