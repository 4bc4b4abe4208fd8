"""A timeline in the Chrome trace-event format, which Perfetto and chrome://tracing open: one track per unit.

Format: "Trace Event Format" (Duvall et al., Google, 2016). Times there are microseconds.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from accelsim.mapping.program import KIND_NAMES
from accelsim.results.model import RunResult

MAX_SLICES = 100_000
_NUM_BUSY_WINDOWS = 400
_TRACKS = ("layers", "pe_array", "stall", "weight_generator", "mask_decoder", "vector_unit", "dram")
_TITLES = {"stall": "pe_array waits for"}
# Names of colours that chrome://tracing knows.
_CAUSE_COLOURS = {
    "wait_dram": "terrible",
    "wait_generator": "bad",
    "wait_decoder": "yellow",
    "wait_vector": "olive",
}


class Slice(NamedTuple):
    """One piece of work of a unit."""

    layer: int
    label: str
    tile: int
    start_cycle: int
    end_cycle: int


@dataclass(slots=True)
class _Track:
    """The first and the last slices of one unit in one layer; what lies between is only counted."""

    room: int
    first: list[Slice] = field(default_factory=list)
    last: deque[Slice] = field(default_factory=deque)
    num_dropped: int = 0

    def add(self, piece: Slice) -> None:
        if len(self.first) < self.room:
            self.first.append(piece)
            return
        self.last.append(piece)
        if len(self.last) > self.room:
            self.last.popleft()
            self.num_dropped += 1


class TimelineProbe:
    """Collects slices while a run is simulated; its memory is bounded.

    Parameters
    ----------
    num_layers
        Layers of the network: they share `MAX_SLICES` evenly.
    """

    def __init__(self, num_layers: int) -> None:
        self._room = max(8, MAX_SLICES // (2 * len(_TRACKS) * max(1, num_layers)))
        self._tracks: dict[tuple[str, int], _Track] = {}

    @property
    def num_dropped(self) -> int:
        """Return how many slices are summed up instead of drawn."""
        return sum(track.num_dropped for track in self._tracks.values())

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """Note that ``unit`` worked on item ``index`` from ``start_cycle`` to ``end_cycle`` (see `Probe`)."""
        track = self._tracks.get((unit, layer))
        if track is None:
            track = self._tracks[unit, layer] = _Track(self._room)
        track.add(Slice(layer, label, index, start_cycle, end_cycle))

    def pieces(self, unit: str) -> Iterator[Slice]:
        """Yield the slices of ``unit`` in order; one without a tile (-1) stands for those that are not drawn."""
        for (name, layer), track in sorted(self._tracks.items()):
            if name != unit:
                continue
            yield from track.first
            if track.num_dropped:
                begin, end = track.first[-1].end_cycle, track.last[0].start_cycle
                yield Slice(layer, f"{track.num_dropped} more, not drawn", -1, begin, max(begin, end))
            yield from track.last


def timeline_text(result: RunResult, probe: TimelineProbe) -> str:
    """Return the trace-event JSON of a run that ``probe`` saw: tracks, slices, and how busy the memory was.

    Slices carry tile number and cycles; waits of the array are named and coloured by their cause.
    """
    clock_mhz = result.hardware.clock_mhz
    events = [*_track_names(result), *_layer_events(result)]
    names = [layer.name for layer in result.layers]
    for number, unit in enumerate(_TRACKS):
        for piece in probe.pieces(unit):
            events.append(_slice_event(unit, number, piece, names, clock_mhz))
    events.extend(_busy_events(probe, result))
    note = f"{probe.num_dropped} slices are summed up, not drawn" if probe.num_dropped else "every tile is drawn"
    document = {
        "displayTimeUnit": "ns",
        "otherData": {
            "accelsim_version": result.accelsim_version,
            "hardware": result.hardware.name,
            "workload": result.workload.name,
            "storage": result.storage,
            "sampling": note,
        },
        "traceEvents": events,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def _track_names(result: RunResult) -> Iterator[dict[str, object]]:
    title = f"{result.hardware.name}: {result.workload.name} as {result.storage}"
    yield {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": title}}
    for number, unit in enumerate(_TRACKS):
        name = _TITLES.get(unit, unit)
        yield {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": name}}
        yield {"name": "thread_sort_index", "ph": "M", "pid": 1, "tid": number, "args": {"sort_index": number}}


def _layer_events(result: RunResult) -> Iterator[dict[str, object]]:
    start = 0
    for layer in result.layers:
        end = start + layer.latency_cycles
        causes = {cause: cycles for cause, cycles in layer.cycles_by_cause.model_dump().items() if cycles}
        yield {
            **_span(layer.name, 0, start, end, result.hardware.clock_mhz),
            "args": {"kind": layer.kind, "cycles": layer.latency_cycles, **causes},
        }
        start = end


def _slice_event(unit: str, track: int, piece: Slice, names: list[str], clock_mhz: float) -> dict[str, object]:
    label = piece.label
    if unit == "dram" and label.isdecimal():
        label = KIND_NAMES[int(label)]
    name = label or f"tile {piece.tile}"
    event = _span(name, track, piece.start_cycle, piece.end_cycle, clock_mhz)
    if piece.label in _CAUSE_COLOURS:
        event["cname"] = _CAUSE_COLOURS[piece.label]
    cycles = piece.end_cycle - piece.start_cycle
    event["args"] = {"layer": names[piece.layer], "tile": piece.tile, "cycles": cycles}
    return event


def _busy_events(probe: TimelineProbe, result: RunResult) -> Iterator[dict[str, object]]:
    """Yield how busy the memory was in each of equal windows; windows with slices that are not drawn have no value."""
    total = result.totals.latency_cycles
    if not total:
        return
    width = max(1, -(-total // _NUM_BUSY_WINDOWS))
    busy = [0] * (total // width + 1)
    for piece in probe.pieces("dram"):
        if piece.tile < 0:
            return
        for window in range(piece.start_cycle // width, min(piece.end_cycle // width, len(busy) - 1) + 1):
            inside = min(piece.end_cycle, (window + 1) * width) - max(piece.start_cycle, window * width)
            busy[window] += max(0, inside)
    for window, cycles in enumerate(busy):
        span = _span("memory busy (%)", 0, window * width, window * width, result.hardware.clock_mhz)
        yield {**span, "ph": "C", "args": {"busy": round(100 * min(1.0, cycles / width), 2)}}


def _span(name: str, track: int, start: int, end: int, clock_mhz: float) -> dict[str, object]:
    begin_us, length_us = round(start / clock_mhz, 6), round((end - start) / clock_mhz, 6)
    return {"name": name, "ph": "X", "pid": 1, "tid": track, "ts": begin_us, "dur": length_us}
