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
from accelsim.report.timeline_tiles import (
    NUM_WINDOWS,
    Change,
    TileMap,
    bandwidth_windows,
    tiles_ahead,
    waiting_bytes,
    window_peaks,
)
from accelsim.results.model import RunResult

MAX_SLICES = 100_000
_TRACKS = ("layers", "pe_array", "stall", "weight_generator", "mask_decoder", "vector_unit", "dram")
_TITLES = {"stall": "pe_array waits for"}
_TRACKS_NOTE = "dram: the DMA's requests on the bus of all channels; weight_generator: all lanes, which work in step"
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


def timeline_text(result: RunResult, probe: TimelineProbe, tiles: TileMap | None = None) -> str:
    """Return the trace-event JSON of a run that ``probe`` saw: tracks, slices, and how busy the memory was.

    Slices carry tile number and cycles; waits of the array are named and coloured by their cause. With ``tiles`` they
    also carry the tile's index in each loop and bytes, and there are counters: bandwidth, bytes that have arrived and
    wait in the buffers, weight tiles ahead of the array. A run of which not every tile is drawn has no counters.
    """
    clock_mhz = result.hardware.clock_mhz
    events = [*_track_names(result), *_layer_events(result)]
    names = [layer.name for layer in result.layers]
    for number, unit in enumerate(_TRACKS):
        for piece in probe.pieces(unit):
            event = _slice_event(unit, number, piece, names, clock_mhz)
            if tiles is not None and piece.tile >= 0:
                event["args"] = {**_args(event), **tiles.details(unit, piece.layer, piece.tile)}
            events.append(event)
    events.extend(_busy_events(probe, result))
    if tiles is not None and not probe.num_dropped:
        events.extend(_buffer_events(probe, result, tiles))
    note = "every tile is drawn"
    if probe.num_dropped:
        note = f"{probe.num_dropped} slices are summed up, not drawn"
    document = {
        "displayTimeUnit": "ns",
        "otherData": {
            "accelsim_version": result.accelsim_version,
            "hardware": result.hardware.name,
            "workload": result.workload.name,
            "storage": result.storage,
            "sampling": note,
            "tracks": _TRACKS_NOTE,
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
    width = max(1, -(-total // NUM_WINDOWS))
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


def _args(event: dict[str, object]) -> dict[str, object]:
    args = event["args"]
    return args if isinstance(args, dict) else {}


def _buffer_events(probe: TimelineProbe, result: RunResult, tiles: TileMap) -> Iterator[dict[str, object]]:
    total, clock_mhz = result.totals.latency_cycles, result.hardware.clock_mhz
    requests, steps = list(probe.pieces("dram")), list(probe.pieces("pe_array"))
    for cycle, read, written in bandwidth_windows(tiles, requests, total):
        yield _counter(
            "memory traffic (GB/s)", cycle, clock_mhz, {"read": round(read, 3), "written": round(written, 3)}
        )
    weights, inputs = waiting_bytes(tiles, requests, steps)
    made = [list(probe.pieces(unit)) for unit in ("mask_decoder", "weight_generator")]
    series: dict[str, tuple[str, list[Change]]] = {
        "weights fetched, not yet taken (B)": ("bytes", weights),
        "inputs fetched, not yet taken (B)": ("bytes", inputs),
        "weight tiles ready, not yet taken": ("tiles", tiles_ahead(tiles, made, steps)),
    }
    for name, (what, changes) in series.items():
        for cycle, level in window_peaks(changes, total) if changes else ():
            yield _counter(name, cycle, clock_mhz, {what: level})


def _counter(name: str, cycle: int, clock_mhz: float, values: dict[str, float]) -> dict[str, object]:
    return {**_span(name, 0, cycle, cycle, clock_mhz), "ph": "C", "args": values}
