"""One layer as a Gantt chart, for those without a timeline viewer: an SVG with a row per unit and a bar per tile."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from accelsim.names import suggest
from accelsim.report.text import percent, printable, shape
from accelsim.report.timeline_probe import Slice, TimelineProbe
from accelsim.results.model import LayerRecord, ResultError, RunResult
from accelsim.timing.program import KIND_NAMES
from accelsim.trace.model import LayerTrace

_ROWS = ("dram", "mask_decoder", "weight_generator", "pe_array", "vector_unit")
_MAX_TILES = 60
MAX_CORES = 8  # more rows than a page holds
_LABELLED = 0.008  # a letter's share of the width; a bar that is narrower than its words has none
_UNIT_COLOURS = ("#0072B2", "#56B4E9")
_CAUSE_COLOURS = {
    "wait_dram": "#D55E00",
    "wait_generator": "#E69F00",
    "wait_decoder": "#F0E442",
    "wait_vector": "#CC79A7",
    "call_overhead": "#009E73",
    "wait_cores": "#999933",
}


def gantt_figure(result: RunResult, probe: TimelineProbe, layer_name: str | None = None) -> bytes:
    """Return an SVG of the first tiles of one layer; of several cores the first `MAX_CORES` that have a part.

    Parameters
    ----------
    result, probe
        A run and what was seen of it.
    layer_name
        The layer; None takes the slowest.

    Raises
    ------
    ResultError
        No layer has that name.
    """
    number = _layer_number(result, layer_name)
    layer = result.layers[number]
    cores = [""] if result.cores is None else [f"{core.core}/" for core in result.cores]
    cores = [core for core in cores if number in probe.layers(f"{core}pe_array")][:MAX_CORES] or cores[:1]
    array = sorted(_on_array(probe, cores, number), key=lambda piece: (piece.start_cycle, piece.tile))
    start = sum(earlier.latency_cycles for earlier in result.layers[:number])
    is_whole = len(array) <= _MAX_TILES * len(cores)
    array = array[: _MAX_TILES * len(cores)]
    if result.cores is not None and array:  # a pipeline's layers do not come one behind the other
        start = array[0].start_cycle
    end = max((piece.end_cycle for piece in array), default=start)
    if result.cores is None and is_whole:
        end = start + layer.latency_cycles
    # The hash salt and the missing date make equal runs equal bytes.
    with rc_context({"svg.hashsalt": "accelsim", "svg.fonttype": "none"}):
        figure = Figure(figsize=(11, 1.1 + 0.5 * len(_ROWS) * len(cores)), layout="constrained")
        FigureCanvasSVG(figure)
        _draw(figure, result, probe, (number, start, end), cores)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def check_layer(trace: LayerTrace, name: str) -> None:
    """Raise `ResultError` if no layer of the network has that name; asked before anything is simulated."""
    _index([layer.name for layer in trace.layers], name)


def _layer_number(result: RunResult, name: str | None) -> int:
    cycles = [layer.latency_cycles for layer in result.layers]
    if name is None:
        return cycles.index(max(cycles))
    return _index([layer.name for layer in result.layers], name)


def _index(names: Sequence[str], name: str) -> int:
    if name in names:
        return names.index(name)
    hint = suggest(name, names, cutoff=0.5)
    raise ResultError(f"--gantt-layer: no layer {name!r}; {hint}give one of {', '.join(names[:8])}, ...")


def _draw(
    figure: Figure, result: RunResult, probe: TimelineProbe, span: tuple[int, int, int], cores: Sequence[str]
) -> None:
    number, start, end = span
    axis = figure.subplots()
    others_drawn = False
    units = [f"{core}{unit}" for core in cores for unit in _ROWS]
    units = [unit for unit in reversed(units) if unit.endswith("pe_array") or any(probe.pieces(unit))]
    for row, unit in enumerate(units):
        for piece in probe.pieces(unit):
            if piece.end_cycle > start and piece.start_cycle < end:
                colour = _UNIT_COLOURS[piece.tile % 2] if piece.layer == number else "#BBBBBB"
                _bar(axis, row, piece, (start, end), colour)
                others_drawn |= piece.layer != number
    drawn: set[str] = set()
    for core in cores:
        for piece in probe.pieces(f"{core}stall"):
            is_seen = piece.end_cycle > start and piece.start_cycle < end
            if piece.layer == number and piece.label in _CAUSE_COLOURS and is_seen:
                _bar(axis, units.index(f"{core}pe_array"), piece, (start, end), _CAUSE_COLOURS[piece.label])
                drawn.add(piece.label)
    axis.set_yticks(range(len(units)), [unit.replace("_", " ").replace("/", ": ") for unit in units])
    axis.set_xlim(0, max(1, end - start))
    axis.set_ylim(-0.6, len(units) - 0.4)
    since = "the layer before ended" if cores == [""] else "the layer's first tile"
    axis.set_xlabel(f"core cycles since {since}; dark and light: one tile after the other")
    on_array = [piece for piece in _on_array(probe, cores, number) if piece.start_cycle < end]
    worked = sum(min(piece.end_cycle, end) - piece.start_cycle for piece in on_array) // len(cores)
    axis.set_title(_title(result.layers[number], end - start, worked), fontsize=10, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    handles = [Patch(color=colour, label=cause) for cause, colour in _CAUSE_COLOURS.items() if cause in drawn]
    if others_drawn:
        handles.append(Patch(color="#BBBBBB", label="another layer"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)


def _bar(axis: Axes, row: int, piece: Slice, span: tuple[int, int], colour: str) -> None:
    begin, end = max(piece.start_cycle, span[0]), min(piece.end_cycle, span[1])
    axis.broken_barh([(begin - span[0], end - begin)], (row - 0.38, 0.76), facecolors=colour, linewidth=0)
    words = _words(piece)
    if end - begin >= _LABELLED * len(words) * (span[1] - span[0]):
        middle = (begin + end) / 2 - span[0]
        axis.text(middle, row, words, ha="center", va="center", fontsize=8, color="white")


def _words(piece: Slice) -> str:
    """Return what a bar shows: what a request moves, what the array waits for, else the tile."""
    if piece.label.isdecimal():
        return KIND_NAMES[int(piece.label)]
    return piece.label.removeprefix("wait_") or f"tile {piece.tile}"


def _on_array(probe: TimelineProbe, cores: Sequence[str], number: int) -> list[Slice]:
    return [piece for core in cores for piece in probe.pieces(f"{core}pe_array", number)]


def _title(layer: LayerRecord, drawn_cycles: int, worked_cycles: int) -> str:
    whole = drawn_cycles >= layer.latency_cycles
    part = "" if whole else f", the first {drawn_cycles:,} of {layer.latency_cycles:,} cycles"
    name = f"{printable(layer.name)} ({layer.kind}, {shape(layer.shape)}){part}"
    if not worked_cycles:
        return name
    return f"{name}: a tile is on the array {percent(worked_cycles / max(1, drawn_cycles))} of the time"
