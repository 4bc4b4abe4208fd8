"""When each layer of a network ends, by the recurrences that the simulation follows.

They have no accounts (causes, busy units), and know the simple memory and the ideal one; with these they give the same
cycles as the simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.program import program_table
from accelsim.mapping.schedule import Ints, LayerSchedule, first_weights_fit
from accelsim.mapping.waits import LayerWaits, layer_waits
from accelsim.mapping.walk import NEVER, NUM_ROWS, STATE, STATE_LENGTH, STUCK, compiled_walk, is_compiled, walk
from accelsim.units import ns_to_cycles

NO_LIMIT = (1 << 62) - 1
PATIENCE_EVENTS = 600_000  # some 0.5 s of plain Python, about what loading compiled code takes
LONGER = 10  # times as long, where it must be made first


class _Walked:
    """How many events this process has walked along in plain Python."""

    num_events = 0


@dataclass(frozen=True, slots=True)
class LayerTables:
    """A layer's schedule as the tables that `accelsim.mapping.walk.walk` takes; ``num_bytes`` of each request."""

    schedule: LayerSchedule
    num_bytes: Ints
    requests: Ints
    steps: Ints
    tiles: Ints
    outputs: Ints

    @property
    def num_events(self) -> int:
        """Return the requests, steps, tiles and outputs together."""
        return sum(table.shape[1] for table in (self.requests, self.steps, self.tiles, self.outputs))


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of a layer, in cycles: what the next layer begins with.

    Attributes
    ----------
    end_cycle
        The layer's end: its outputs have left.
    taken_cycle, array_cycle
        When the array had begun with the last weight tile, and ended.
    freed_cycle, made_cycle
        When decoder and generator ended.
    issue_cycle, bus_cycle, write_bus_cycle
        When the last request was issued, and from when on the memory's buses are free.
    was_write
        Whether the last request was a write, -1: there was none.
    schedule
        The layer that has ended; None at the beginning of a network.
    """

    end_cycle: int = 0
    taken_cycle: int = 0
    array_cycle: int = 0
    freed_cycle: int = 0
    made_cycle: int = 0
    issue_cycle: int = 0
    bus_cycle: int = 0
    write_bus_cycle: int = 0
    was_write: int = -1
    schedule: LayerSchedule | None = None


def layer_tables(schedule: LayerSchedule) -> LayerTables:
    """Return the tables of a schedule; they do not depend on the memory."""
    requests = program_table(schedule)
    waits = layer_waits(schedule, requests)
    weights, outputs, of_request = schedule.weights, schedule.outputs, waits.requests
    none = np.zeros_like(requests[0])
    return LayerTables(
        schedule=schedule,
        num_bytes=requests[2],
        requests=np.stack([
            requests[0], none, none, of_request.array, of_request.freed, of_request.drained, of_request.stored
        ]),
        steps=_steps(schedule, waits),
        tiles=np.stack([weights.release, waits.tile_fetched, weights.decode_cycles, weights.generate_cycles]),
        outputs=np.stack([
            outputs.last_step, waits.output_residuals, waits.output_stored, outputs.vector_cycles
        ]),
    )  # fmt: skip


def replay_layer(
    tables: LayerTables, hardware: HardwareConfig, before: Moment, limit: float = math.inf
) -> Moment | None:
    """Return the end of a layer that begins at the end of another one.

    None where that is later than cycle ``limit`` (the walk stops as soon as what is left of the array's own cycles, or
    of the memory's transfers, shows it), and where units wait for each other for ever.
    """
    requests = tables.requests.copy()
    requests[1] = transfer_cycles(tables.num_bytes, hardware)
    requests[2] = np.cumsum(requests[1, ::-1])[::-1]
    last = min(NO_LIMIT, limit)
    walked = (requests, tables.steps, tables.tiles, tables.outputs)
    end, state = _walk(walked, _constants(tables.schedule, hardware, before), math.floor(last))
    if end in (NEVER, STUCK):
        return None
    taken, array, freed, made, issued, bus, write_bus, was_write = state
    return Moment(end, taken, array, freed, made, issued, bus, write_bus, was_write, tables.schedule)


def replay_cycles(schedule: LayerSchedule, hardware: HardwareConfig) -> float:
    """Return the cycles of a layer alone, from its first request until its last output has left."""
    moment = replay_layer(layer_tables(schedule), hardware, Moment())
    return math.inf if moment is None else moment.end_cycle


def transfer_cycles(num_bytes: Ints, hardware: HardwareConfig) -> Ints:
    """Return the cycles for which requests hold the bus of the simple memory; 0 of the ideal one."""
    if hardware.memory == "ideal":
        return np.zeros_like(num_bytes)
    rate = _bytes_per_cycle(hardware.dram.peak_bytes_per_ns, hardware.clock_mhz)
    cycles: Ints = -(-num_bytes * rate.denominator // rate.numerator)
    return cycles


@lru_cache(maxsize=64)
def _bytes_per_cycle(peak_bytes_per_ns: float, clock_mhz: float) -> Fraction:
    """Return the memory's bandwidth as the simulation's memory has it."""
    return Fraction(peak_bytes_per_ns).limit_denominator(10**6) * 1000 / Fraction(clock_mhz).limit_denominator(10**6)


def _walk(tables: tuple[Ints, Ints, Ints, Ints], constants: list[int], limit: int) -> tuple[int, list[int]]:
    """Walk in plain Python as long as this process has not done much of it, then in compiled code."""
    longest = max(STATE_LENGTH, *(table.shape[1] for table in tables))
    patience = PATIENCE_EVENTS * (1 if is_compiled() else LONGER)
    compiled = compiled_walk() if _Walked.num_events > patience else None
    if compiled is not None:
        times = np.zeros((NUM_ROWS, longest), dtype=np.int64)
        end = compiled(*tables, times, np.array(constants, dtype=np.int64), limit)  # type: ignore[arg-type]
        return int(end), times[STATE, :8].tolist()
    _Walked.num_events += sum(table.shape[1] for table in tables)
    rows = [[0] * longest for _ in range(NUM_ROWS)]
    requests, steps, tiles, outputs = (table.tolist() for table in tables)
    return walk(requests, steps, tiles, outputs, rows, constants, limit), rows[STATE][:8]


def _steps(schedule: LayerSchedule, waits: LayerWaits) -> Ints:
    cycles, steps = schedule.array_cycles, waits.steps
    left = np.cumsum(cycles[::-1])[::-1]
    return np.stack([cycles, left, steps.inputs, steps.drained, steps.psums, steps.fetched, steps.tiles])


def _constants(schedule: LayerSchedule, hardware: HardwareConfig, before: Moment) -> list[int]:
    """Return the constants of `accelsim.mapping.walk.walk`, in its order."""
    dram, clock = hardware.dram, hardware.clock_mhz
    decoder, generator = hardware.mask_decoder, hardware.weight_generator
    steps = schedule.weights.step
    fits = before.schedule is not None and first_weights_fit(before.schedule, schedule, hardware)
    return [
        ns_to_cycles(dram.read_latency_ns, clock),
        ns_to_cycles(dram.write_latency_ns, clock),
        decoder.latency_cycles if decoder is not None else 0,
        generator.latency_cycles if generator is not None else 0,
        hardware.vector_unit.latency_cycles,
        ns_to_cycles(dram.turnaround_ns, clock),
        int(hardware.memory == "ideal"),
        int(schedule.uses_decoder),
        int(schedule.uses_generator),
        int(schedule.seeds_with_tiles),
        int(dram.separate_write_bus),
        int(hardware.mapping.prefetch_next_layer),
        before.end_cycle,
        before.taken_cycle if fits else before.array_cycle,
        before.array_cycle,
        before.freed_cycle,
        before.made_cycle,
        before.issue_cycle,
        before.bus_cycle,
        before.write_bus_cycle,
        before.was_write,
        int(steps[-1]) if steps.size else 0,
    ]
