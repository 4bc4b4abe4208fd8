"""Counters of a timeline: memory bandwidth, and what lies in each on-chip buffer; from every slice, drawn or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.report.timeline_probe import TimelineProbe
from accelsim.report.timeline_tiles import LayerTiles, TileMap
from accelsim.timing.program import INPUT, RESIDUAL, STORE, WEIGHT
from accelsim.trace.model import LayerTrace
from accelsim.units import bits_to_bytes

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
NUM_WINDOWS = 500
BUFFERS = ("weight_buffer", "mask_buffer", "activation_buffer", "accumulator")


@dataclass(frozen=True, slots=True)
class Changes:
    """How a level changes: cycles and differences, int64 [num_changes], in any order."""

    cycle: Ints
    difference: Ints


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Equal windows of a run: first cycle, bytes read and written a cycle, and the bus's busy fraction of the time."""

    cycle: Ints
    read: Floats
    written: Floats
    busy: Floats


def bandwidth(probe: TimelineProbe, tiles: TileMap, total_cycles: int) -> Bandwidth:
    """Return the memory traffic over time; the bytes of a request are spread over its slice."""
    width = max(1, -(-total_cycles // NUM_WINDOWS))
    sums = np.zeros((3, total_cycles // width + 1))
    for layer in probe.layers("dram"):
        pieces, program = probe.columns("dram", layer), tiles.layers[layer].program
        num_bytes, kind = (np.asarray(values)[pieces.index] for values in (program.num_bytes, program.kind))
        length = np.maximum(pieces.end - pieces.start, 1)
        for row, chosen, rate in (
            (0, kind != STORE, num_bytes / length),
            (1, kind == STORE, num_bytes / length),
            (2, kind >= 0, np.ones(kind.size)),
        ):
            _spread(sums[row], pieces.start[chosen], (pieces.start + length)[chosen], rate[chosen], width)
    used = np.full(sums.shape[1], width, dtype=np.float64)
    used[-1] = max(1, total_cycles - width * (sums.shape[1] - 1))
    cycles = np.arange(sums.shape[1], dtype=np.int64) * width
    return Bandwidth(cycles, sums[0] / used, sums[1] / used, np.minimum(1.0, sums[2] / used))


def _spread(windows: Floats, start: Ints, end: Ints, rate: Floats, width: int) -> None:
    """Add ``rate`` times the cycles that each slice spends in each window."""
    last = windows.size - 1
    first_window, last_window = (np.minimum(values // width, last) for values in (start, end - 1))
    for offset in range(int((last_window - first_window).max(initial=-1)) + 1):
        window = first_window + offset
        inside = np.minimum(end, (window + 1) * width) - np.maximum(start, window * width)
        chosen = window <= last_window
        np.add.at(windows, window[chosen], (rate * inside)[chosen])


def buffer_levels(probe: TimelineProbe, tiles: TileMap, trace: LayerTrace, activation_bits: int) -> dict[str, Changes]:
    """Return the bytes that lie in each buffer: from when they are there until nothing needs them any more.

    Weights lie from the end of their transfer, decoding or generation until the array has done the last tile of their
    block; stored bits until they are decoded; inputs like weights; outputs that the next layers read on chip until the
    last of these has ended; others until they are stored; partial sums from the first step that adds to them until the
    vector unit has taken them.
    """
    ends = _layer_ends(probe, tiles)
    found: dict[str, list[tuple[Ints, Ints, Ints]]] = {name: [] for name in BUFFERS}
    for number, layer in enumerate(tiles.layers):
        times = _Times(probe, layer, number, int(ends[number]))
        found["weight_buffer"].append(_weights(times, tiles))
        found["mask_buffer"].append(_stored_bits(times))
        found["activation_buffer"] += _activations(times)
        found["accumulator"].append(_partial_sums(times, tiles.hardware.accumulator_bits))
    found["activation_buffer"] += _kept_outputs(probe, tiles, trace, activation_bits, ends)
    return {name: _changes(parts) for name, parts in found.items()}


def level_points(changes: Changes, total_cycles: int, limit: int = 2 * NUM_WINDOWS) -> Iterator[tuple[int, int]]:
    """Yield (cycle, level) of a level that begins at 0: each change, or the peaks of equal windows if they are many."""
    order = np.argsort(changes.cycle, kind="stable")
    cycles, levels = changes.cycle[order], np.cumsum(changes.difference[order])
    last = np.flatnonzero(np.append(np.diff(cycles) > 0, True)) if cycles.size else np.zeros(0, dtype=np.int64)
    cycles, levels = cycles[last], levels[last]
    yield 0, 0
    if cycles.size <= limit:
        yield from zip(cycles.tolist(), levels.tolist(), strict=True)
        return
    width = max(1, -(-total_cycles // NUM_WINDOWS))
    edges = np.arange(0, total_cycles + 1, width, dtype=np.int64)
    place = np.searchsorted(cycles, edges, side="left")
    for edge, begin, end in zip(edges.tolist(), place.tolist(), [*place.tolist()[1:], cycles.size], strict=True):
        before = int(levels[begin - 1]) if begin else 0
        yield edge, max(before, int(levels[begin:end].max(initial=0)))
    yield max(total_cycles, int(cycles[-1])), int(levels[-1])


@dataclass(frozen=True)
class _Times:
    """When what happened in one layer."""

    probe: TimelineProbe
    layer: LayerTiles
    number: int
    end_cycle: int

    def ends(self, unit: str, num_items: int) -> Ints:
        """Return the cycle at which each item of ``unit`` was done; -1 for items without a slice."""
        return self._times(unit, num_items, "end")

    def starts(self, unit: str, num_items: int) -> Ints:
        """Return the cycle at which each item of ``unit`` was begun; -1 for items without a slice."""
        return self._times(unit, num_items, "start")

    def step_ends(self) -> Ints:
        """Return the cycle by which each step of the array had ended."""
        ends = np.maximum.accumulate(self.ends("pe_array", self.layer.schedule.num_steps))
        return np.maximum(ends, 0)

    def arrivals(self, kind: int, num_events: int) -> Ints:
        """Return the cycle at which the data of each event's request were there (or written); -1 without a request."""
        program = self.layer.program
        pieces = self.probe.columns("dram", self.number)
        wanted = np.asarray(program.kind, dtype=np.int64)[pieces.index] == kind
        table = np.full(num_events, -1, dtype=np.int64)
        table[np.asarray(program.event, dtype=np.int64)[pieces.index[wanted]]] = pieces.end[wanted]
        return table

    def visit_ends(self) -> Ints:
        """Return the cycle at which the vector unit had taken each output tile."""
        outputs = self.layer.schedule.outputs
        taken = self.ends("vector_unit", outputs.last_step.size)
        return np.where(taken >= 0, taken, self.step_ends()[outputs.last_step]) if taken.size else taken

    def _times(self, unit: str, num_items: int, what: str) -> Ints:
        table = np.full(num_items, -1, dtype=np.int64)
        pieces = self.probe.columns(unit, self.number)
        table[pieces.index] = pieces.end if what == "end" else pieces.start
        return table


def _until_next_block(release: Ints, until: Ints, first: Ints, last: int) -> Ints:
    """Return when each tile's block has been used: at the end of the step (or tile) before the next block's first.

    ``release`` is the same for all tiles of a block; ``until``: end of each step; ``first``: the step of each tile.
    """
    starts = np.flatnonzero(np.append(True, np.diff(release) != 0))
    block = np.cumsum(np.append(False, np.diff(release) != 0))
    ends = np.append(until[np.maximum(first[starts[1:]] - 1, 0)], last)
    return np.asarray(ends[block], dtype=np.int64)


def _weights(times: _Times, tiles: TileMap) -> tuple[Ints, Ints, Ints]:
    schedule = times.layer.schedule
    events = schedule.weights
    count = events.step.size
    if times.layer.nest is None or not count:
        return _NONE
    positions = _positions(times.layer)
    block = int(np.flatnonzero(np.diff(events.release))[0]) + 1 if np.any(np.diff(events.release)) else count
    double = 2 if tiles.hardware.weight_buffer.double_buffered and count > block else 1
    tile_bytes = schedule.occupancy_bytes["weight_buffer"] / (block * double)
    sizes = np.rint(tile_bytes * positions / positions.max()).astype(np.int64)
    made = np.maximum(times.ends("mask_decoder", count), times.ends("weight_generator", count))
    there = np.where(made >= 0, made, times.arrivals(WEIGHT, count))
    there = np.where(there >= 0, there, times.starts("pe_array", schedule.num_steps)[events.step])
    return there, _until_next_block(events.release, times.step_ends(), events.step, times.end_cycle), sizes


def _stored_bits(times: _Times) -> tuple[Ints, Ints, Ints]:
    schedule = times.layer.schedule
    fetched = np.flatnonzero(schedule.weights.fetch_bytes)
    if not schedule.uses_decoder or not fetched.size:
        return _NONE
    count = schedule.weights.step.size
    decoded = np.maximum.accumulate(times.ends("mask_decoder", count))
    stored = schedule.stored_bits
    bits = stored.mask + stored.index + stored.weight
    # Their own bytes, without what the last burst of a tile holds of the next one.
    sizes = -(-bits * _positions(times.layer)[fetched] // (8 * times.layer.traced.dims.num_weights))
    there = times.arrivals(WEIGHT, count)[fetched]
    gone = _until_next_block(schedule.weights.fetch_release[fetched], decoded, fetched, int(decoded[-1]))
    return there, gone, sizes


def _positions(layer: LayerTiles) -> Ints:
    """Return the weights of each weight tile."""
    nest, steps = layer.nest, layer.schedule.weights.step
    if nest is None:
        return np.zeros(steps.size, dtype=np.int64)
    return np.asarray(np.prod([nest.size[loop][steps] for loop in ("G", "K", "C", "R", "S")], axis=0))


def _activations(times: _Times) -> list[tuple[Ints, Ints, Ints]]:
    """Return the inputs, residuals and outputs that come from memory or go there."""
    schedule, parts = times.layer.schedule, []
    inputs, outputs = schedule.inputs, schedule.outputs
    if inputs.step.size:
        gone = _until_next_block(inputs.release, times.step_ends(), inputs.step, times.end_cycle)
        chosen = inputs.fetch_bytes > 0  # the neighbour may have brought all of a tile
        parts.append((times.arrivals(INPUT, inputs.step.size)[chosen], gone[chosen], inputs.fetch_bytes[chosen]))
    taken = times.visit_ends()
    residuals, stored = times.arrivals(RESIDUAL, taken.size), times.arrivals(STORE, taken.size)
    chosen = residuals >= 0
    parts.append((residuals[chosen], taken[chosen], outputs.residual_bytes[chosen]))
    chosen = (stored >= 0) & ~outputs.is_partial
    parts.append((taken[chosen], stored[chosen], outputs.store_bytes[chosen]))
    return parts


def _partial_sums(times: _Times, accumulator_bits: int) -> tuple[Ints, Ints, Ints]:
    schedule, nest = times.layer.schedule, times.layer.nest
    outputs = schedule.outputs
    if nest is None or not outputs.last_step.size:
        return _NONE
    elements = np.prod([nest.size[loop][outputs.last_step] for loop in ("N", "G", "K", "P", "Q")], axis=0)
    begins = np.maximum(times.starts("pe_array", schedule.num_steps)[outputs.first_step], 0)
    return begins, times.visit_ends(), -(-elements * accumulator_bits // 8)


def _kept_outputs(
    probe: TimelineProbe, tiles: TileMap, trace: LayerTrace, activation_bits: int, ends: Ints
) -> list[tuple[Ints, Ints, Ints]]:
    """Return the outputs that stay on chip for the layers that read them, and the maps of fused groups."""
    last = _last_readers(trace)
    parts = []
    for number, layer in enumerate(tiles.layers):
        if layer.held_bytes:
            begin = ends[number - 1 : number] if number else np.zeros(1, dtype=np.int64)
            parts.append((begin, ends[number : number + 1], np.array([layer.held_bytes], dtype=np.int64)))
        outputs, traced = layer.schedule.outputs, layer.traced
        final = np.flatnonzero(~outputs.is_partial)
        reader = last.get(traced.name)
        if reader is None or not final.size or np.any(outputs.store_bytes[final]):
            continue
        whole = bits_to_bytes((traced.num_outputs or traced.dims.num_outputs) * activation_bits)
        shares = np.diff(whole * np.arange(final.size + 1, dtype=np.int64) // final.size)
        made = _Times(probe, layer, number, int(ends[number])).visit_ends()[final]
        parts.append((made, np.full(final.size, ends[reader], dtype=np.int64), shares))
    return parts


def _last_readers(trace: LayerTrace) -> Mapping[str, int]:
    return {name: number for number, layer in enumerate(trace.layers) for name in (*layer.inputs, *layer.residuals)}


def _layer_ends(probe: TimelineProbe, tiles: TileMap) -> Ints:
    """Return the cycle by which the last unit had done its work in each layer."""
    units = ("pe_array", "vector_unit", "dram", "mask_decoder", "weight_generator")
    ends = [
        max(int(probe.columns(unit, number).end.max(initial=0)) for unit in units)
        for number in range(len(tiles.layers))
    ]
    return np.maximum.accumulate(np.array(ends, dtype=np.int64))


def _changes(parts: list[tuple[Ints, Ints, Ints]]) -> Changes:
    """Return the level of pieces that are there from a cycle to another one."""
    begin, end, size = (np.concatenate([part[column] for part in parts]) for column in range(3))
    end = np.maximum(begin, end)
    return Changes(np.concatenate([begin, end]), np.concatenate([size, -size]))


_EMPTY = np.zeros(0, dtype=np.int64)
_NONE = (_EMPTY, _EMPTY, _EMPTY)
