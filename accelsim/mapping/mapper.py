"""The mapper: score all tilings of a layer with the closed form, look closer at the best, keep one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer
from accelsim.mapping.candidates import Candidates, candidates
from accelsim.mapping.closed_form import CYCLES_PER_STEP, Score, order_free, score
from accelsim.mapping.estimate import estimate_cycles
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.replay import replay_cycles
from accelsim.mapping.schedule import LayerSchedule
from accelsim.mapping.task import LayerTask

FINALISTS = 4
SIMPLE_FINALISTS = 24
NEARLY = 1.1  # how far the closed form may be off before a tiling is not looked at closely
MOST_REPLAYED_STEPS = 16384
MOST_SIMPLE_STEPS = 4096
AS_GOOD = 1.0  # among tilings no further from the best, that of least DRAM traffic is taken, then that of fewest steps
CLEARLY_LESS = 0.9  # of the DRAM bytes of the tilings looked at so far, before one is looked at for them


@dataclass(frozen=True, slots=True)
class EnergyPrices:
    """What the objectives ``energy`` and ``edp`` count per bit, in pJ; they come from the cost tables."""

    dram_pj_per_bit: float
    buffer_pj_per_bit: float
    leakage_pj_per_cycle: float


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """A schedule and the closed-form latency by which it was chosen, in cycles."""

    schedule: LayerSchedule
    estimated_cycles: int


def map_layer(task: LayerTask, prices: EnergyPrices, fixed: Tiling | None = None) -> MappedLayer:
    """Return the best schedule of an array layer under the chip's objective.

    Raises
    ------
    MappingError
        No tiling fits the buffers, or the fixed one does not.
    """
    if fixed is not None:
        schedule = build_layer(task, fixed)
        return MappedLayer(schedule, estimate_cycles(task, schedule))
    finalists = _finalists(task, prices)
    if not finalists:
        raise MappingError(_no_tiling(task))
    best, least = math.inf, math.inf
    built: list[tuple[float, LayerSchedule]] = []
    for place, finalist in enumerate(finalists):
        if all(rest.is_hopeless(best, least) for rest in finalists[place:]):
            break
        if finalist.bound > best * AS_GOOD:
            continue
        schedule = build_layer(task, finalist.tiling)
        value = _refined(task, schedule, prices, best * AS_GOOD)
        built.append((value, schedule))
        dram = sum(schedule.dram_bytes.values())
        least = dram if value < best / AS_GOOD else min(least, dram if value <= best * AS_GOOD else math.inf)
        best = min(best, value)
    as_good = [schedule for value, schedule in built if value <= best * AS_GOOD]
    chosen = min(as_good, key=lambda schedule: (sum(schedule.dram_bytes.values()), schedule.num_steps))
    return MappedLayer(chosen, estimate_cycles(task, chosen))


@dataclass(frozen=True, slots=True)
class _Finalist:
    """A tiling to be looked at closely: what its objective cannot fall below, and its DRAM bytes in the closed form."""

    tiling: Tiling
    bound: float
    dram_bytes: float

    def is_hopeless(self, best: float, least_bytes: float) -> bool:
        """Return whether it can be neither better by more than `AS_GOOD` nor as good with clearly less traffic."""
        faster = best > AS_GOOD * self.bound
        leaner = self.bound <= AS_GOOD * best and self.dram_bytes < CLEARLY_LESS * least_bytes
        return not (faster or leaner)


def _finalists(task: LayerTask, prices: EnergyPrices) -> list[_Finalist]:
    """Return the tilings that the closed form finds best, and simple ones that it finds nearly as good."""
    bounds = task.hardware.mapping.objective == "latency" and not task.is_ideal
    tiles = candidates(task.hardware.pe_array, task.layer.dims)
    shared = order_free(task, tiles)
    found: list[tuple[float, float, _Finalist]] = []
    for order in _orders(tiles, task):
        figures = score(task, tiles, order, shared)
        value = _objective(task, figures, prices)
        if task.is_ideal:
            value = np.where(figures.array_cycles <= figures.array_cycles.min() + 0.5, value, np.inf)
        best = np.argsort(value, kind="stable")[:FINALISTS]
        hoped = value - CYCLES_PER_STEP * shared.steps
        simple = tiles.is_simple & (shared.steps <= MOST_SIMPLE_STEPS)
        near = np.flatnonzero(simple & (hoped <= NEARLY * value[best[0]]))
        for chosen in dict.fromkeys([*best.tolist(), *near.tolist()]):
            if np.isfinite(value[chosen]):
                hope = float(hoped[chosen]) if simple[chosen] else math.inf
                bound = float(figures.bound_cycles[chosen]) if bounds else -math.inf
                finalist = _Finalist(_tiling(tiles, chosen, order), bound, float(figures.dram_bytes[chosen]))
                found.append((float(value[chosen]), hope, finalist))
        if bounds and np.isfinite(value[best[0]]):
            hopeful = shared.array_cycles <= NEARLY * value[best[0]]  # no tiling is faster than its array
            tiles, shared = tiles.take(hopeful), shared.take(hopeful)
    found.sort(key=lambda item: item[0])
    finalists: dict[tuple[tuple[Loop, int], ...], _Finalist] = {}
    for place, (_, hope, finalist) in enumerate(found):
        is_near = hope <= NEARLY * found[0][0] and len(finalists) < FINALISTS + SIMPLE_FINALISTS
        if place < FINALISTS or is_near:
            finalists.setdefault(_nest_of(task, finalist.tiling), finalist)
    return list(finalists.values())


def _nest_of(task: LayerTask, tiling: Tiling) -> tuple[tuple[Loop, int], ...]:
    """Return the loops that a tiling really splits: tilings that agree in them are the same."""
    counts = tiling.counts(task.layer.dims)
    return tuple((loop, tiling.size(loop)) for loop in tiling.order if counts[loop] > 1)


def _orders(tiles: Candidates, task: LayerTask) -> tuple[tuple[Loop, ...], ...]:
    """Return the loop orders that differ for this layer: without a split reduction the place of C does not matter."""
    if task.is_ideal:
        return LOOP_ORDERS[:1]
    if bool((tiles.size["C"] == task.layer.dims.C).all()):
        return LOOP_ORDERS[:2]
    return LOOP_ORDERS


def _tiling(tiles: Candidates, chosen: int, order: tuple[Loop, ...]) -> Tiling:
    sizes = {loop: int(tiles.size[loop][chosen]) for loop in LOOPS}
    return Tiling(sizes["N"], sizes["G"], sizes["K"], sizes["C"], sizes["P"], sizes["Q"], order)


def _objective(
    task: LayerTask, figures: Score, prices: EnergyPrices
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return what is minimised: the objective, with a small share of the others to break ties."""
    objective = task.hardware.mapping.objective
    if objective == "latency":
        return figures.latency_cycles + 1e-6 * figures.dram_bytes
    if objective == "dram_bytes":
        return figures.dram_bytes + 1e-6 * figures.latency_cycles
    energy = figures.dram_bytes * 8 * prices.dram_pj_per_bit + figures.buffer_bits * prices.buffer_pj_per_bit
    with np.errstate(invalid="ignore"):
        energy = energy + figures.latency_cycles * prices.leakage_pj_per_cycle
        value = energy if objective == "energy" else energy * figures.latency_cycles
    return np.where(figures.legal, value, np.inf)


def _refined(task: LayerTask, schedule: LayerSchedule, prices: EnergyPrices, best: float) -> float:
    """Return the objective from the built schedule, its latency replayed where that does not take long.

    Infinite where the latency alone is above ``best``.
    """
    dram = sum(schedule.dram_bytes.values())
    objective = task.hardware.mapping.objective
    short = schedule.num_steps <= MOST_REPLAYED_STEPS
    limit = best if objective == "latency" else math.inf
    cycles = replay_cycles(schedule, task.hardware, limit) if short else estimate_cycles(task, schedule)
    if objective == "latency":
        return cycles + 1e-6 * dram
    if objective == "dram_bytes":
        return dram + 1e-6 * cycles
    moved = sum(
        schedule.actions[unit].get(action, 0)
        for unit in ("activation_buffer", "weight_buffer", "accumulator")
        for action in ("read_bits", "write_bits")
    )
    energy = dram * 8 * prices.dram_pj_per_bit + moved * prices.buffer_pj_per_bit
    energy += cycles * prices.leakage_pj_per_cycle
    return energy if objective == "energy" else energy * cycles


def _no_tiling(task: LayerTask) -> str:
    hardware = task.hardware
    return (
        f"{task.layer.name}: no tiling fits weight_buffer ({hardware.weight_buffer.capacity_bytes} B), accumulator "
        f"({hardware.accumulator.capacity_bytes} B) and activation_buffer ({task.activation_capacity_bytes} B free of "
        f"{hardware.activation_buffer.capacity_bytes} B); make the one that is too small larger"
    )
