"""The latency of one layer alone, by the recurrences that the simulation follows.

It has no accounts: causes, prefetching across layers and device timing are the simulation's. For a layer on its own
with the simple memory it gives the same cycles.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.program import program_table
from accelsim.mapping.schedule import Ints, LayerSchedule
from accelsim.mapping.waits import LayerWaits, layer_waits
from accelsim.mapping.walk import NEVER, STUCK, compiled_walk, walk
from accelsim.units import ns_to_cycles

NO_LIMIT = (1 << 62) - 1
PATIENCE_EVENTS = 100_000  # about half a second of plain Python, after which compiled code is loaded (or made)


class _Walked:
    """How many events this process has walked along in plain Python."""

    num_events = 0


def replay_cycles(schedule: LayerSchedule, hardware: HardwareConfig, limit: float = math.inf) -> float:
    """Return the cycles from the layer's first request until its last output has left.

    Infinite where that is more than ``limit`` (the walk stops as soon as what is left of the array's own cycles, or of
    the memory's transfers, shows it), and where units wait for each other for ever.
    """
    requests = program_table(schedule)
    waits = layer_waits(schedule, requests)
    tables = (
        _requests(requests, waits, hardware),
        _steps(schedule, waits),
        np.stack([schedule.weights.release, waits.tile_fetched, schedule.weights.decode_cycles,
                  schedule.weights.generate_cycles]),
        np.stack([schedule.outputs.last_step, waits.output_residuals, waits.output_stored,
                  schedule.outputs.vector_cycles]),
    )  # fmt: skip
    most = NO_LIMIT if math.isinf(limit) else math.floor(limit)
    cycles = _walk(tables, _constants(schedule, hardware), most)
    return math.inf if cycles in (NEVER, STUCK) else cycles


def _walk(tables: tuple[Ints, Ints, Ints, Ints], constants: list[int], limit: int) -> int:
    """Walk in plain Python as long as this process has not done much of it, then in compiled code."""
    longest = max(table.shape[1] for table in tables)
    compiled = compiled_walk() if _Walked.num_events > PATIENCE_EVENTS else None
    if compiled is not None:
        times = np.zeros((10, longest), dtype=np.int64)
        return int(compiled(*tables, times, np.array(constants, dtype=np.int64), limit))  # type: ignore[arg-type]
    _Walked.num_events += sum(table.shape[1] for table in tables)
    rows = [[0] * longest for _ in range(10)]
    requests, steps, tiles, outputs = (table.tolist() for table in tables)
    return walk(requests, steps, tiles, outputs, rows, constants, limit)


def _requests(requests: Ints, waits: LayerWaits, hardware: HardwareConfig) -> Ints:
    num_bytes = requests[2]
    transfer = np.zeros_like(num_bytes)
    if hardware.memory != "ideal":
        rate = Fraction(hardware.dram.peak_bytes_per_ns).limit_denominator(10**6) * 1000
        rate /= Fraction(hardware.clock_mhz).limit_denominator(10**6)
        transfer = -(-num_bytes * rate.denominator // rate.numerator)
    of_request = waits.requests
    return np.stack([
        requests[0], transfer, np.cumsum(transfer[::-1])[::-1],
        of_request.array, of_request.freed, of_request.drained, of_request.stored,
    ])  # fmt: skip


def _steps(schedule: LayerSchedule, waits: LayerWaits) -> Ints:
    cycles, steps = schedule.array_cycles, waits.steps
    left = np.cumsum(cycles[::-1])[::-1]
    return np.stack([cycles, left, steps.inputs, steps.drained, steps.psums, steps.fetched, steps.tiles])


def _constants(schedule: LayerSchedule, hardware: HardwareConfig) -> list[int]:
    """Return the constants of `accelsim.mapping.walk.walk`, in its order."""
    dram, clock = hardware.dram, hardware.clock_mhz
    decoder, generator = hardware.mask_decoder, hardware.weight_generator
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
        0,
    ]
