"""The mapper: score all tilings of a layer with the closed form, look closer at the best, keep one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer
from accelsim.mapping.candidates import Candidates, candidates
from accelsim.mapping.closed_form import Score, order_free, score
from accelsim.mapping.estimate import estimate_cycles
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.schedule import LayerSchedule
from accelsim.mapping.task import LayerTask

FINALISTS = 4


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
    finalists: list[tuple[float, Tiling]] = []
    tiles = candidates(task.hardware.pe_array, task.layer.dims)
    shared = order_free(task, tiles)
    for order in _orders(tiles, task):
        figures = score(task, tiles, order, shared)
        value = _objective(task, figures, prices)
        if task.is_ideal:
            value = np.where(figures.array_cycles <= figures.array_cycles.min() + 0.5, value, np.inf)
        for chosen in np.argsort(value, kind="stable")[:FINALISTS]:
            if np.isfinite(value[chosen]):
                finalists.append((float(value[chosen]), _tiling(tiles, int(chosen), order)))
    if not finalists:
        raise MappingError(_no_tiling(task))
    finalists.sort(key=lambda item: item[0])
    best: tuple[float, MappedLayer] | None = None
    for _, tiling in finalists[:FINALISTS]:
        schedule = build_layer(task, tiling)
        mapped = MappedLayer(schedule, estimate_cycles(task, schedule))
        refined = _refined(task, mapped, prices)
        if best is None or refined < best[0]:
            best = (refined, mapped)
    if best is None:
        raise MappingError(_no_tiling(task))
    return best[1]


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


def _refined(task: LayerTask, mapped: MappedLayer, prices: EnergyPrices) -> float:
    """Return the objective from the built schedule."""
    dram = sum(mapped.schedule.dram_bytes.values())
    objective = task.hardware.mapping.objective
    if objective == "latency":
        return mapped.estimated_cycles + 1e-6 * dram
    if objective == "dram_bytes":
        return dram + 1e-6 * mapped.estimated_cycles
    moved = sum(
        mapped.schedule.actions[unit].get(action, 0)
        for unit in ("activation_buffer", "weight_buffer", "accumulator")
        for action in ("read_bits", "write_bits")
    )
    energy = dram * 8 * prices.dram_pj_per_bit + moved * prices.buffer_pj_per_bit
    energy += mapped.estimated_cycles * prices.leakage_pj_per_cycle
    return energy if objective == "energy" else energy * mapped.estimated_cycles


def _no_tiling(task: LayerTask) -> str:
    hardware = task.hardware
    return (
        f"{task.layer.name}: no tiling fits weight_buffer ({hardware.weight_buffer.capacity_bytes} B), accumulator "
        f"({hardware.accumulator.capacity_bytes} B) and activation_buffer ({task.activation_capacity_bytes} B free of "
        f"{hardware.activation_buffer.capacity_bytes} B); make the one that is too small larger"
    )
