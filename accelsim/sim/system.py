"""The system: connects the units of the chip, runs them to the end, and says who waits for what if they get stuck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.mapping.schedule import Ints, Schedule
from accelsim.sim.chip import COUNTER_NAMES, Chip, Probe, Unit, layer_lists
from accelsim.sim.dma import Dma
from accelsim.sim.dram.memory import IdealMemory, MemoryModel, build_memory
from accelsim.sim.environment import LeapEnvironment
from accelsim.sim.mask_decoder import MaskDecoder
from accelsim.sim.pe_array import PeArray
from accelsim.sim.periodic import PeriodDetector
from accelsim.sim.vector_unit import VectorUnit
from accelsim.sim.weight_generator import WeightGenerator


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """What the simulation of a layer measured, in cycles and bytes."""

    latency_cycles: int
    cycles_by_cause: dict[str, int]
    busy_cycles: dict[str, int]
    moved_bytes: tuple[int, ...]


def simulate_schedule(
    schedule: Schedule, hardware: HardwareConfig, *, exact: bool = False, probe: Probe | None = None
) -> tuple[LayerTiming, ...]:
    """Run a schedule and return the timing of its layers.

    Parameters
    ----------
    exact
        Simulate every step; otherwise whole periods of equal steps are leaped over, with the same result.
    probe
        Sees every slice of work; given one, nothing is leaped over.

    Raises
    ------
    SimulationError
        The units wait for each other for ever, or the bytes moved are not those of the schedule.
    """
    env = LeapEnvironment()
    chip = Chip(env, hardware, layer_lists(schedule, hardware), probe)
    memory: MemoryModel = (
        IdealMemory() if hardware.memory == "ideal" else build_memory(hardware.dram, hardware.clock_mhz)
    )
    vector = VectorUnit(chip)
    dma, decoder, generator = Dma(chip, memory, vector), MaskDecoder(chip), WeightGenerator(chip)
    array = PeArray(chip, dma, decoder, generator, vector)
    if not exact and probe is None:
        array.after_step = PeriodDetector(chip, array, dma, (decoder, generator, vector)).after_step
    for unit in (dma, decoder, generator, vector, array):
        env.process(unit.live())
    env.finish()
    _check_finished(chip, array)
    _check_bytes(chip, dma)
    return _timings(array, dma, (array, dma, decoder, generator, vector))


def _timings(array: PeArray, dma: Dma, units: tuple[Unit, ...]) -> tuple[LayerTiming, ...]:
    """Return the timing of each layer; work ahead of a layer counts where it was done."""
    timings, start = [], 0
    ahead = {unit: np.array(unit.ahead, dtype=np.int64).reshape(-1, 2) for unit in units}
    for layer, end in enumerate(array.ends):
        busy = {
            unit.name if unit is not dma else "dram": unit.busy[layer] + _overlap(ahead[unit], start, end)
            for unit in units
        }
        timings.append(LayerTiming(end - start, array.causes[layer], busy, tuple(dma.moved_bytes[layer])))
        start = end
    return tuple(timings)


def _overlap(spans: Ints, start: int, end: int) -> int:
    """Return the cycles from ``start`` to ``end`` that spans (first cycle and end, int64 [n, 2]) cover."""
    return int(np.maximum(np.minimum(spans[:, 1], end) - np.maximum(spans[:, 0], start), 0).sum())


def _check_finished(chip: Chip, array: PeArray) -> None:
    """Raise with the list of waiting units where a run stopped before its end."""
    if len(array.ends) == len(chip.lists):
        return
    waits = [
        f"{waiter.name} waits for {COUNTER_NAMES[name]} to reach {value} (now {getattr(chip, name).value})"
        for name in COUNTER_NAMES
        for value, waiter in getattr(chip, name).waiting
    ]
    layer = chip.lists[array.layer].schedule.name
    raise SimulationError(
        f"deadlock in layer {layer}, step {array.index}, cycle {chip.env.cycle}: {'; '.join(waits)}; "
        "please report it with the hardware and workload files"
    )


def _check_bytes(chip: Chip, dma: Dma) -> None:
    """Raise where the bytes that moved are not those of the schedule."""
    for lists, moved in zip(chip.lists, dma.moved_bytes, strict=True):
        planned = sum(lists.schedule.dram_bytes.values())
        if sum(moved) != planned:
            raise SimulationError(
                f"{lists.schedule.name}: {sum(moved)} bytes moved, {planned} planned; please report it"
            )
