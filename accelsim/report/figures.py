"""Figures: how energy, latency and weight traffic move with the freezing ratio, with accuracy beside them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from accelsim.report.text import prefix_of, printable
from accelsim.results.compare import weight_bytes
from accelsim.results.model import RunResult

# Okabe & Ito's palette: distinguishable with every common colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PIXELS_PER_INCH = 150


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    value: Callable[[RunResult], float]


_PANELS = (
    _Panel("energy", "J", lambda run: run.totals.energy_j),
    _Panel("latency", "s", lambda run: run.totals.latency_s),
    _Panel("weight traffic", "B", lambda run: weight_bytes(run.totals)),
)


def freezing_figure(results: Sequence[RunResult]) -> bytes:
    """Return a PNG with four panels over the freezing ratio: energy, latency, weight traffic and accuracy.

    A line per network and storage format joins the runs in order of their freezing ratio. The bytes depend on
    ``results`` alone.
    """
    series = _series(results)
    num_columns = min(6, len(series))
    legend_rows = -(-len(series) // num_columns)
    figure = Figure(figsize=(10, 6.8 + 0.22 * legend_rows), dpi=_PIXELS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharex=True)
    panels = [axes[0][0], axes[0][1], axes[1][0]]
    for axis, panel in zip(panels, _PANELS, strict=True):
        _draw_costs(axis, panel, series)
    _draw_accuracy(axes[1][1], results)
    for axis in axes[1]:
        axis.set_xlabel("freezing ratio (pruned + locked, % of all weights)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=num_columns, frameon=False, fontsize=9)
    chips = ", ".join(dict.fromkeys(printable(run.hardware.name) for run in results))
    figure.suptitle(f"Strong lottery tickets on {chips}", fontsize=13)
    stream = io.BytesIO()
    # Without "Software" matplotlib would write its version, and the same figures would differ between machines.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _series(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    networks = {run.workload.name for run in results}
    grouped: dict[str, list[RunResult]] = {}
    for run in results:
        label = printable(run.storage) if len(networks) == 1 else f"{printable(run.workload.name)}, {run.storage}"
        grouped.setdefault(label, []).append(run)
    return {label: sorted(runs, key=_freezing) for label, runs in grouped.items()}


def _freezing(run: RunResult) -> float:
    return run.workload.freeze_ratio


def _draw_costs(axis: Axes, panel: _Panel, series: dict[str, list[RunResult]]) -> None:
    everything = [panel.value(run) for runs in series.values() for run in runs]
    highest, lowest = max(everything), min(everything)
    scale, prefix = prefix_of(highest)
    for index, (label, runs) in enumerate(series.items()):
        axis.plot(
            [100 * _freezing(run) for run in runs],
            [panel.value(run) / scale for run in runs],
            label=label,
            # The format asked for first stays visible where lines coincide.
            zorder=3 + len(series) - index,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[(index + index // len(_COLOURS)) % len(_MARKERS)],
        )
    title = f"{panel.title} ({prefix}{panel.unit})"
    if lowest > 0 and highest > 8 * lowest:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        # Within a decade or two the minor lines are needed to read a value; beyond, they would be a thicket.
        is_short = highest < 40 * lowest
        axis.yaxis.set_minor_formatter(FuncFormatter(_minor_label) if is_short else NullFormatter())
        title += ", logarithmic"
    else:
        axis.set_ylim(0, highest / scale * 1.08 or 1)
    _dress(axis, title)


def _minor_label(value: float, _: int | None) -> str:
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _draw_accuracy(axis: Axes, results: Sequence[RunResult]) -> None:
    tickets = {run.workload.path: run for run in results if run.workload.accuracy is not None}
    grouped: dict[str, list[RunResult]] = {}
    for run in tickets.values():
        grouped.setdefault(printable(run.workload.name), []).append(run)
    _dress(axis, "accuracy of the ticket as stored (%)")
    if not tickets:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color="#666666")
        return
    for index, (name, runs) in enumerate(grouped.items()):
        runs.sort(key=_freezing)
        points = [100 * (run.workload.accuracy or 0.0) for run in runs]
        freezing = [100 * _freezing(run) for run in runs]
        axis.plot(freezing, points, color=_COLOURS[-1], marker=_MARKERS[index % len(_MARKERS)], label=name)
        for position, value in zip(freezing, points, strict=True):
            axis.annotate(
                f"{value:.1f}", (position, value), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8
            )
    if len(grouped) > 1:
        axis.legend(frameon=False, fontsize=9)
    low = min(100 * (run.workload.accuracy or 0.0) for run in tickets.values())
    axis.set_ylim(max(0.0, low - 5), 101)


def _dress(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=11, loc="left")
    axis.grid(True, color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlim(-3, 103)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
