"""A timeline in the Chrome trace-event format, which Perfetto and chrome://tracing open: one track per unit.

Format: "Trace Event Format" (Duvall et al., Google, 2016). Times there are microseconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import accelsim
from accelsim.config.hardware import HardwareConfig
from accelsim.report.timeline_counters import bandwidth, buffer_levels, level_points
from accelsim.report.timeline_probe import Slice, TimelineProbe
from accelsim.report.timeline_tiles import TileMap
from accelsim.results.model import RunResult
from accelsim.timing.program import KIND_NAMES
from accelsim.trace.model import LayerTrace

MAX_SLICES = 100_000
_UNITS = ("pe_array", "stall", "weight_generator", "mask_decoder", "vector_unit", "dram")
# Names of colours that chrome://tracing knows.
_CAUSE_COLOURS = {
    "wait_dram": "terrible",
    "wait_generator": "bad",
    "wait_decoder": "yellow",
    "wait_vector": "olive",
    "call_overhead": "grey",
}
_PROCESS = 1
Event = dict[str, object]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The content of a timeline file, and what it leaves out (empty if nothing)."""

    text: str
    left_out: str


def make_timeline(
    result: RunResult, probe: TimelineProbe, tiles: TileMap, trace: LayerTrace, activation_bits: int
) -> Timeline:
    """Return the timeline of a run that ``probe`` saw: tracks, slices, counters.

    Slices carry the tile's number, its index in each loop, cycles and bytes; waits of the array are named and coloured
    by their cause. Of a run of more than `MAX_SLICES` slices whole tiles are drawn, with all units' work for them, at
    the beginning and the end of each layer; counters cover every tile all the same.
    """
    sampling = _sampling(probe, tiles)
    tracks = _tracks(tiles)
    events = [*_track_names(result, tracks, tiles.hardware), *_layer_events(result)]
    clock = _Clock(result.hardware.clock_mhz)
    names = [layer.name for layer in result.layers]
    for unit in _UNITS:
        events.extend(_unit_events(unit, probe, tiles, sampling, _Writer(tracks, clock, names)))
    events.extend(_counter_events(result, probe, tiles, clock, (trace, activation_bits)))
    more = {
        "counters": "of every tile; the peak in each of 500 equal windows where a level changes more often",
        "dram": tiles.channel_words if tiles.num_channels else "ideal memory: requests take no time",
    }
    return written(Heading.of(result), events, sampling.left_out, more)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a timeline says of its run."""

    hardware: str
    workload: str
    storage: str

    @classmethod
    def of(cls, result: RunResult) -> Heading:
        """Return the heading of a run of one network."""
        return cls(result.hardware.name, result.workload.name, result.storage)


def written(heading: Heading, events: list[Event], left_out: str, more: Mapping[str, str]) -> Timeline:
    """Return events as the content of a file that says what run they are of; ``more`` is said beside."""
    document = {
        "displayTimeUnit": "ns",
        "otherData": {
            "accelsim_version": accelsim.__version__,
            "hardware": heading.hardware,
            "workload": heading.workload,
            "storage": heading.storage,
            "sampling": left_out or "every tile is drawn",
            **more,
        },
        "traceEvents": events,
    }
    return Timeline(json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n", left_out)


@dataclass(frozen=True, slots=True)
class _Clock:
    clock_mhz: float

    def us(self, cycles: int) -> float:
        """Return the time of a cycle in microseconds, to the picosecond."""
        return round(cycles / self.clock_mhz, 6)


@dataclass(frozen=True, slots=True)
class _Sampling:
    """Which tiles are drawn, per layer bool [num_steps], and what is said of the others."""

    drawn: tuple[Bools, ...]
    left_out: str


@dataclass(frozen=True, slots=True)
class _Writer:
    tracks: dict[str, int]
    clock: _Clock
    names: list[str]

    def span(self, track: str, name: str, start: int, end: int, args: dict[str, object]) -> Event:
        """Return a slice; both ends are rounded to the same grid, so that neighbours meet and nothing overlaps."""
        begin = self.clock.us(start)
        length = round(self.clock.us(end) - begin, 6)
        place = {"pid": _PROCESS, "tid": self.tracks[track]}
        return {"name": name, "ph": "X", **place, "ts": begin, "dur": length, "args": args}


def _sampling(probe: TimelineProbe, tiles: TileMap) -> _Sampling:
    """Choose how many tiles of both ends of each layer are drawn, so that all slices together are few enough."""
    weights = {unit: 1 for unit in _UNITS} | {"dram": 1 + tiles.num_channels}
    counts = []
    for number, layer in enumerate(tiles.layers):
        count = np.zeros(max(1, layer.schedule.num_steps), dtype=np.int64)
        for unit, weight in weights.items():
            steps = layer.steps_of(unit, probe.columns(unit, number).index)
            count += weight * np.bincount(steps, minlength=count.size)
        counts.append(count)
    longest = max(count.size for count in counts) if counts else 0
    low, high = 1, -(-longest // 2)
    while low < high:
        room = (low + high + 1) // 2
        num_slices = sum(int(count[_ends(count.size, room)].sum()) for count in counts)
        low, high = (room, high) if num_slices <= MAX_SLICES else (low, room - 1)
    drawn = tuple(_ends(count.size, max(1, low)) for count in counts)
    num_tiles, num_drawn = sum(each.size for each in drawn), sum(int(each.sum()) for each in drawn)
    if num_drawn == num_tiles:
        return _Sampling(drawn, "")
    words = f"{num_drawn:,} of {num_tiles:,} tiles are drawn, the first and the last {low:,} of each layer at most"
    return _Sampling(drawn, words)


def _ends(num_steps: int, room: int) -> Bools:
    steps = np.arange(num_steps)
    return np.asarray((steps < room) | (steps >= num_steps - room))


def _tracks(tiles: TileMap) -> dict[str, int]:
    """Return the number of each track, in the order in which they are shown."""
    kinds = [f"dma {kind}" for kind in KIND_NAMES]
    channels = [f"dram channel {channel}" for channel in range(tiles.num_channels)]
    return {name: number for number, name in enumerate(["layers", *_UNITS[:-1], *kinds, *channels])}


def _track_names(result: RunResult, tracks: dict[str, int], chip: HardwareConfig) -> Iterator[Event]:
    title = f"{result.hardware.name}: {result.workload.name} as {result.storage}"
    yield {"name": "process_name", "ph": "M", "pid": _PROCESS, "tid": 0, "args": {"name": title}}
    shown = {"stall": "pe_array waits for"}
    if chip.weight_generator is not None:
        shown["weight_generator"] = f"weight_generator ({chip.weight_generator.num_lanes} lanes in step)"
    for track, number in tracks.items():
        place = {"pid": _PROCESS, "tid": number}
        yield {"name": "thread_name", "ph": "M", **place, "args": {"name": shown.get(track, track)}}
        yield {"name": "thread_sort_index", "ph": "M", **place, "args": {"sort_index": number}}


def _layer_events(result: RunResult) -> Iterator[Event]:
    writer = _Writer({"layers": 0}, _Clock(result.hardware.clock_mhz), [])
    start = 0
    for layer in result.layers:
        end = start + layer.latency_cycles
        causes = {cause: cycles for cause, cycles in layer.cycles_by_cause.model_dump().items() if cycles}
        args = {"kind": layer.kind, "cycles": layer.latency_cycles, **causes}
        yield writer.span("layers", layer.name, start, end, args)
        start = end


def _unit_events(
    unit: str, probe: TimelineProbe, tiles: TileMap, sampling: _Sampling, writer: _Writer
) -> Iterator[Event]:
    """Yield the slices of one unit; a run of tiles that are not drawn becomes one slice that says how many."""
    free: dict[str, int] = {}
    for number in probe.layers(unit):
        skipped: list[Slice] = []
        steps = tiles.layers[number].steps_of(unit, probe.columns(unit, number).index).tolist()
        for piece, step in zip(probe.pieces(unit, number), steps, strict=True):
            if not sampling.drawn[number][step]:
                skipped.append(piece)
                continue
            yield from _gap(unit, skipped, free, writer)
            skipped.clear()
            yield from _piece_events(unit, piece, step, tiles, free, writer)
        yield from _gap(unit, skipped, free, writer)


def _gap(unit: str, skipped: list[Slice], free: dict[str, int], writer: _Writer) -> Iterator[Event]:
    if not skipped:
        return
    end = max(piece.end_cycle for piece in skipped)
    tracks = sorted({f"dma {_kind(piece)}" for piece in skipped}) if unit == "dram" else [unit]
    for track in tracks:
        here = [piece for piece in skipped if unit != "dram" or f"dma {_kind(piece)}" == track]
        start, end = max(free.get(track, 0), here[0].start_cycle), max(piece.end_cycle for piece in here)
        args: dict[str, object] = {"layer": writer.names[here[0].layer], "slices": len(here)}
        yield writer.span(track, f"{len(here):,} more, not drawn", start, max(start, end), args)
        free[track] = max(start, end)


def _piece_events(
    unit: str, piece: Slice, step: int, tiles: TileMap, free: dict[str, int], writer: _Writer
) -> Iterator[Event]:
    layer = tiles.layers[piece.layer]
    args: dict[str, object] = {"layer": writer.names[piece.layer], "tile": step}
    if layer.loops:
        args["loops"] = layer.place(step)
    args["cycles"] = piece.end_cycle - piece.start_cycle
    if unit != "dram":
        name = piece.label or f"tile {step} {layer.place(step)}".rstrip()
        event = writer.span(unit, name, *_clear(unit, piece, free), args)
        if piece.label in _CAUSE_COLOURS:
            event["cname"] = _CAUSE_COLOURS[piece.label]
        yield event
        return
    kind = _kind(piece)
    num_bytes = layer.program.num_bytes[piece.tile]
    yield writer.span(f"dma {kind}", kind, *_clear(f"dma {kind}", piece, free), {**args, "bytes": num_bytes})
    shares = tiles.channel_bytes(piece.layer, piece.tile) if tiles.num_channels else ()
    for channel, share in enumerate(shares):
        if share:
            track = f"dram channel {channel}"
            yield writer.span(track, kind, *_clear(track, piece, free), {**args, "bytes": share})


def _clear(track: str, piece: Slice, free: dict[str, int]) -> tuple[int, int]:
    """Return the slice without what the one before it on the track covers: answers of a memory may overlap."""
    start = max(piece.start_cycle, free.get(track, 0))
    end = max(start, piece.end_cycle)
    free[track] = end
    return start, end


def _kind(piece: Slice) -> str:
    return KIND_NAMES[int(piece.label)]


def _counter_events(
    result: RunResult, probe: TimelineProbe, tiles: TileMap, clock: _Clock, network: tuple[LayerTrace, int]
) -> Iterator[Event]:
    total = result.totals.latency_cycles
    if not total:
        return
    if tiles.num_channels:
        found = bandwidth(probe, tiles, total)
        gb_per_s = clock.clock_mhz / 1e3
        rows = zip(found.cycle.tolist(), found.read.tolist(), found.written.tolist(), found.busy.tolist(), strict=True)
        for cycle, read, written, busy in rows:
            rates = {"read": round(read * gb_per_s, 3), "written": round(written * gb_per_s, 3)}
            yield _counter("memory bandwidth (GB/s)", clock.us(cycle), rates)
            yield _counter("memory busy (%)", clock.us(cycle), {"busy": round(100 * busy, 2)})
        for name, changes in buffer_levels(probe, tiles, *network).items():
            if changes.cycle.size:
                capacity = getattr(tiles.hardware, name).capacity_bytes
                # Stored bits of a tile that does not fit twice stream through the mask buffer, which is then full.
                most = capacity if name == "mask_buffer" else sys.maxsize
                for cycle, level in level_points(changes, total):
                    held = {"bytes": min(level, most)}
                    yield _counter(f"{name}: bytes in it, of {capacity:,}", clock.us(cycle), held)


def _counter(name: str, time_us: float, values: dict[str, float]) -> Event:
    return {"name": name, "ph": "C", "pid": _PROCESS, "tid": 0, "ts": time_us, "args": values}
