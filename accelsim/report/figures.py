"""Figures: how energy, latency and weight traffic move with the freezing ratio, with accuracy beside them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from accelsim.report.labels import format_label
from accelsim.report.text import prefix_of, printable, quantity, ratio
from accelsim.results.compare import TICKET_FORMATS, batches, chip_labels, same_network, weight_bytes
from accelsim.results.model import RunResult

# Okabe & Ito's palette, grey for its yellow: distinguishable with every common colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAX_SERIES = len(_COLOURS)
COMMON_RIVAL = "dense-int8"
MAX_BARS = 120
_PIXELS_PER_INCH = 150
# What fits into a row of the legend, in characters: an entry takes its label and about eight more.
_LEGEND_CHARS = 130
# Where the label of a point is tried, in points from it; above 100 % there is no room.
_LABEL_OFFSETS = ((0, 7), (0, -14), (22, -4), (-22, -4), (0, 17), (0, -24))


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
    """Return `draw_comparison` as a PNG. The bytes depend on ``results`` alone."""
    stream = io.BytesIO()
    # Without "Software" matplotlib would write its version, and the same figures would differ between machines.
    draw_comparison(results).savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def draw_comparison(results: Sequence[RunResult]) -> Figure:
    """Return `draw_freezing`, or `draw_bars` where no network has runs at several freezing ratios."""
    ratios: dict[str, set[float]] = {}
    for run in results:
        ratios.setdefault(run.workload.name, set()).add(_freezing(run))
    alike = all(len(each) == 1 for each in ratios.values())
    return draw_bars(results) if alike and 1 < len(results) <= MAX_BARS else draw_freezing(results)


def draw_bars(results: Sequence[RunResult]) -> Figure:
    """Return energy, latency and weight traffic with a bar per run, in the order of ``results``."""
    labels = [label for label, runs in _series(results).items() for _ in runs]
    ordered = [run for runs in _series(results).values() for run in runs]
    figure = Figure(figsize=(11, 1.6 + 0.24 * len(ordered)), dpi=_PIXELS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    colours = [_COLOURS[0] if run.storage in TICKET_FORMATS else "#999999" for run in ordered]
    places = range(len(ordered))
    for axis, panel in zip(axes, _PANELS, strict=True):
        values = [panel.value(run) for run in ordered]
        scale, prefix = prefix_of(max(values))
        axis.barh(places, [value / scale for value in values], color=colours, height=0.72)
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                quantity(value, panel.unit), (value / scale, place), xytext=(3, 0), textcoords="offset points",
                va="center", fontsize=8,
            )  # fmt: skip
        axis.set_xlim(0, max(values) / scale * 1.3 or 1)
        axis.set_xlabel(f"{panel.title} ({prefix}{panel.unit})")
        axis.grid(True, axis="x", color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(left=False)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    axes[0].set_yticks(places, labels, fontsize=9)
    axes[0].set_ylim(len(ordered) - 0.4, -0.6)
    handles = [Patch(color=_COLOURS[0], label="the ticket, by mask codec"), Patch(color="#999999", label="others")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(_finding(ordered), fontsize=12)
    return figure


def _finding(results: Sequence[RunResult]) -> str:
    """Return what the first run takes beside dense int8 storage of the same network, if that ran."""
    first = results[0]
    where = f"{printable(first.workload.name)} on {printable(first.hardware.name)}"
    same = [run for run in results if run.hardware == first.hardware and same_network(run, first)]
    dense = [run for run in same if run.storage == COMMON_RIVAL]
    if not dense or first.storage == COMMON_RIVAL:
        return where
    parts = [
        f"{ratio(panel.value(dense[0]), panel.value(first))} the {panel.title}"
        for panel in _PANELS
        if panel.value(first) > 0
    ]
    return f"{where}: {format_label(COMMON_RIVAL)} takes {', '.join(parts)} of {format_label(first.storage)}"


def draw_freezing(results: Sequence[RunResult], figure: Figure | None = None) -> Figure:
    """Return four panels over the freezing ratio, in ``figure`` if given: energy, latency, weight traffic and accuracy.

    A line per network and storage format joins the runs in order of their freezing ratio. Of more than `MAX_SERIES`,
    up to half are ticket formats and the others rivals, those of least energy.
    """
    everything = _series(results)
    series = _shown(everything)
    longest = max(map(len, series))
    num_columns = max(1, min(len(series), _LEGEND_CHARS // (longest + 8)))
    legend_rows = -(-len(series) // num_columns) + (len(series) < len(everything))
    if figure is None:
        figure = Figure()
        FigureCanvasAgg(figure)
    figure.set(size_inches=(10, 6.8 + 0.22 * legend_rows), dpi=_PIXELS_PER_INCH, layout_engine="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    panels = [axes[0][0], axes[0][1], axes[1][0]]
    for axis, panel in zip(panels, _PANELS, strict=True):
        _draw_costs(axis, panel, series)
    labels_of_accuracy = _draw_accuracy(axes[1][1], results)
    for axis in axes[1]:
        axis.set_xlabel("freezing ratio (pruned + locked, % of all weights)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=num_columns,
        frameon=False,
        fontsize=9,
        title=_left_out(len(everything), len(series)),
        title_fontsize=9,
    )
    chips = ", ".join(dict.fromkeys(printable(run.hardware.name) for run in results))
    figure.suptitle(f"Strong lottery tickets on {chips}", fontsize=13)
    figure.draw_without_rendering()  # only then is it known where the points are
    _place_labels(axes[1][1], labels_of_accuracy)
    return figure


def _series(results: Sequence[RunResult]) -> dict[str, list[RunResult]]:
    networks, chips = {run.workload.name for run in results}, chip_labels(results)
    are_batched = len(batches(results)) > 1
    grouped: dict[str, list[RunResult]] = {}
    for run in results:
        names = [chips[run.hardware.sha256]] if len(chips) > 1 else []
        names += [run.workload.name] if len(networks) > 1 else []
        names += [f"batch {run.workload.batch}"] if are_batched else []
        grouped.setdefault(", ".join([*map(printable, names), format_label(run.storage)]), []).append(run)
    return {label: sorted(runs, key=_freezing) for label, runs in grouped.items()}


def _shown(series: dict[str, list[RunResult]]) -> dict[str, list[RunResult]]:
    """Return at most `MAX_SERIES` series, in their order: the first, dense int8, the best tickets and rivals."""
    if len(series) <= MAX_SERIES:
        return series
    first, *others = series
    common = [label for label in others if series[label][0].storage == COMMON_RIVAL]
    others = [label for label in others if label not in common]
    others.sort(key=lambda label: sum(run.totals.energy_j for run in series[label]) / len(series[label]))
    tickets = [label for label in others if series[label][0].storage.split("-")[0] == "slt"]
    rivals = [label for label in others if label not in tickets]
    num_rivals = max(MAX_SERIES // 2, MAX_SERIES - 1 - len(tickets))
    chosen = {first, *common[:1], *rivals[: num_rivals - len(common[:1])]}
    chosen.update(tickets[: MAX_SERIES - len(chosen)])
    return {label: runs for label, runs in series.items() if label in chosen}


def _left_out(num_all: int, num_shown: int) -> str | None:
    if num_all == num_shown:
        return None
    shown = f"shown are {COMMON_RIVAL}, and the ticket formats and rivals of least energy; compare.csv has all"
    return f"{num_all - num_shown} of {num_all} series are left out: {shown}"


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


def _draw_accuracy(axis: Axes, results: Sequence[RunResult]) -> list[tuple[float, float]]:
    """Draw the accuracies and return the points, in percent of freezing and of accuracy."""
    tickets = {run.workload.path: run for run in results if run.workload.accuracy is not None}
    grouped: dict[str, list[RunResult]] = {}
    for run in tickets.values():
        grouped.setdefault(printable(run.workload.name), []).append(run)
    _dress(axis, "accuracy of the ticket as stored (%)")
    if not tickets:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color="#666666")
        return []
    points: list[tuple[float, float]] = []
    for index, (name, runs) in enumerate(grouped.items()):
        line = [(100 * _freezing(run), 100 * (run.workload.accuracy or 0.0)) for run in sorted(runs, key=_freezing)]
        # Several networks are told apart by colour too, one is black.
        colour = _COLOURS[index % len(_COLOURS)] if len(grouped) > 1 else "#000000"
        marker = _MARKERS[index % len(_MARKERS)]
        axis.plot(*zip(*line, strict=True), color=colour, marker=marker, label=name, clip_on=False)
        points += line
    if 1 < len(grouped) <= MAX_SERIES:
        axis.legend(frameon=False, fontsize=9)
    low = min(accuracy for _, accuracy in points)
    axis.set_ylim(max(0.0, low - 5), 100)
    return points


def _place_labels(axis: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Write the accuracy at each point where that covers no other label, no point and no frame; else leave it out."""
    pixels = [tuple(axis.transData.transform(point)) for point in points]
    per_point = _PIXELS_PER_INCH / 72
    frame = axis.get_window_extent()
    half_x, half_y = 12 * per_point, 5 * per_point
    taken: list[tuple[float, float]] = []
    for (x, y), point in zip(pixels, points, strict=True):
        for right, up in _LABEL_OFFSETS:
            centre = (x + right * per_point, y + (up + 3.5) * per_point)
            is_inside = frame.y0 + half_y <= centre[1] <= frame.y1 - half_y and centre[0] - half_x >= frame.x0
            is_free = not any(abs(centre[0] - a) < 2 * half_x and abs(centre[1] - b) < 2 * half_y for a, b in taken)
            covers = any(abs(centre[0] - a) < half_x and abs(centre[1] - b) < half_y for a, b in pixels)
            if is_inside and is_free and not covers:
                taken.append(centre)
                axis.annotate(
                    f"{point[1]:.1f}", point, textcoords="offset points", xytext=(right, up), ha="center", fontsize=8
                )
                break


def _dress(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=11, loc="left")
    axis.grid(True, color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlim(-5, 105)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
