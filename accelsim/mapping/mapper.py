"""The mapper: score all tilings of a layer with the closed form, look closer at the best, keep one."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer
from accelsim.mapping.candidates import Candidates, candidates
from accelsim.mapping.closed_form import CYCLES_PER_STEP, Score, score, that_may_fit
from accelsim.mapping.estimate import estimate_cycles
from accelsim.mapping.fixed import fitted
from accelsim.mapping.kept import Kept
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.task import LayerTask
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import Moment, Table, layer_end, layer_table

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
BANDWIDTHS = (*(2.0**power for power in range(-2, 11)), math.inf)  # bytes a cycle at which tilings are compared
FINALISTS = 4  # at each bandwidth
SIMPLE_FINALISTS = 24
NEARLY = 1.1  # how far the closed form may be off before a simple tiling is not looked at closely
AS_GOOD = 1.001  # among tilings no further from the best, that of least DRAM traffic is taken
CLEARLY_LESS = 0.9  # of the DRAM bytes of the tilings looked at so far, before one is looked at for them
MOST_REPLAYED_EVENTS = 1 << 19
MOST_SIMPLE_STEPS = 4096
KEPT_EVENTS = 1 << 20  # some 100 MB of schedules and tables
LEAST_EVENTS_KEPT = 64
KEPT_SCORES = 4096


@dataclass(frozen=True, slots=True)
class EnergyPrices:
    """What the objectives ``energy`` and ``edp`` count per bit, in pJ; they come from the cost tables."""

    dram_pj_per_bit: float
    buffer_pj_per_bit: float
    leakage_pj_per_cycle: float


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """A schedule, its closed-form latency in cycles, and what the recurrences say of its end."""

    schedule: LayerSchedule
    estimated_cycles: int
    end: Moment


@dataclass(frozen=True, slots=True)
class Run:
    """The run in which a layer is mapped.

    Attributes
    ----------
    before
        The end of the layer before.
    also
        A tiling to be looked at beside those that the closed form finds.
    content
        All that the layer's schedules depend on (not the memory's speed, nor the clock), as a key under which they are
        kept for the next call; None keeps nothing.
    """

    before: Moment = Moment()
    also: Tiling | None = None
    content: Hashable | None = None


ALONE = Run()


def map_layer(task: LayerTask, prices: EnergyPrices, fixed: Tiling | None = None, run: Run = ALONE) -> MappedLayer:
    """Return the best schedule of an array layer under the chip's objective.

    Parameters
    ----------
    fixed
        The tiling to take.
    run
        What the layer begins with, and what else is known of it.

    Raises
    ------
    MappingError
        No tiling fits the buffers, or the fixed one does not.
    """
    if fixed is not None:
        return _mapped(task, build_layer(task, fitted(task, fixed)), run)
    finalists = _finalists(task, prices, run)
    if not finalists:
        raise MappingError(no_tiling_message(task))
    if run.also is not None:
        finalists.append(_Finalist(run.also, -math.inf, -math.inf, -math.inf))
    best, least = math.inf, math.inf
    near = 1.0 if task.is_ideal else AS_GOOD
    looked_at: list[tuple[float, Table, Moment]] = []
    for finalist in finalists:
        if finalist.is_hopeless(best, least, near):
            continue
        tables = _built(task, finalist.tiling, run)
        moment = _end_of(task, tables, run.before, best * near)
        if moment is None:
            continue
        value = _value(task, tables.schedule, prices, moment.end_cycle - run.before.end_cycle)
        looked_at.append((value, tables, moment))
        dram = sum(tables.schedule.dram_bytes.values())
        least = dram if value * near < best else min(least, dram)
        best = min(best, value)
    as_good = [item for item in looked_at if item[0] <= best * near]
    _, tables, moment = min(
        as_good, key=lambda item: (sum(item[1].schedule.dram_bytes.values()), item[0], item[1].schedule.num_steps)
    )
    return MappedLayer(tables.schedule, estimate_cycles(task, tables.schedule), moment)


def map_vector_layer(task: LayerTask, run: Run) -> MappedLayer:
    """Return the schedule of a layer that only the vector unit works on."""
    return _mapped(task, build_vector_layer(task), run)


def _mapped(task: LayerTask, schedule: LayerSchedule, run: Run) -> MappedLayer:
    estimated = estimate_cycles(task, schedule)
    moment = _end_of(task, layer_table(schedule, task.hardware, run.before), run.before, math.inf)
    return MappedLayer(schedule, estimated, moment or run.before)


_kept_schedules: Kept[Table] = Kept(KEPT_EVENTS)


def _built(task: LayerTask, tiling: Tiling, run: Run) -> Table:
    """Return the table of a tiling, kept from an earlier call where that had the same content."""
    if run.content is None:
        return layer_table(build_layer(task, tiling), task.hardware, run.before)
    key = (run.content, tiling, run.before.schedule and run.before.schedule.occupancy_bytes.get("weight_buffer", 0))
    tables = _kept_schedules.get(key)
    if tables is None:
        tables = layer_table(build_layer(task, tiling), task.hardware, run.before)
        _kept_schedules.put(key, tables, tables.num_events + LEAST_EVENTS_KEPT)
    return tables


def _end_of(task: LayerTask, tables: Table, before: Moment, most_cycles: float) -> Moment | None:
    """Return the end of a layer; None if it takes more than ``most_cycles`` where these are what is minimised.

    Where the recurrences would take long, or have no end (the simulation then says why), the closed form takes their
    place.
    """
    limit = before.end_cycle + most_cycles if task.hardware.mapping.objective == "latency" else math.inf
    if tables.num_events <= MOST_REPLAYED_EVENTS:
        moment = layer_end(tables, task.hardware, before, limit)
        if moment is not None or math.isfinite(limit):
            return moment
    end = before.end_cycle + estimate_cycles(task, tables.schedule)
    return replace(before, end_cycle=end, free=(end,) * 6, reached=((end,),) * 13, schedule=tables.schedule)


@dataclass(frozen=True, slots=True)
class _Finalist:
    """A tiling to be looked at closely: the closed form of its objective and traffic, and the objective's bound."""

    tiling: Tiling
    value: float
    bound: float
    dram_bytes: float

    def is_hopeless(self, best: float, least_bytes: float, near: float) -> bool:
        """Return whether it can be neither better by more than ``near`` nor as good with clearly less traffic."""
        faster = best > near * self.bound
        leaner = self.bound <= near * best and self.dram_bytes < CLEARLY_LESS * least_bytes
        return not (faster or leaner)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Tilings worth a closer look at some bandwidth, one candidate each, and their closed-form figures."""

    tilings: tuple[Tiling, ...]
    score: Score


_kept_scores: Kept[_Scored] = Kept(KEPT_SCORES)


def _finalists(task: LayerTask, prices: EnergyPrices, run: Run) -> list[_Finalist]:
    """Return the tilings to be looked at closely, the most promising first.

    Which they are does not depend on the memory's bandwidth, so that more bandwidth never makes the choice worse.
    """
    key = (run.content, prices)
    scored = _kept_scores.get(key) if run.content is not None else None
    if scored is None:
        scored = _scored(task, prices)
        _kept_scores.put(key, scored, 1)
    if not scored.tilings:
        return []
    rate = _bytes_per_cycle(task)
    values = _objective(task, scored.score, prices, rate)[0]
    bounds = np.full(values.shape, -np.inf)
    if task.hardware.mapping.objective == "latency" and not task.is_ideal:
        first = run.before.schedule is None
        bounds = scored.score.bound_cycles(rate, None if first else run.before.end_cycle - run.before.memory[4])[0]
    finalists = [
        _Finalist(*figures)
        for figures in zip(
            scored.tilings, values.tolist(), bounds.tolist(), scored.score.dram_bytes[0].tolist(), strict=True
        )
    ]
    return sorted(finalists, key=lambda finalist: finalist.value)


def _bytes_per_cycle(task: LayerTask) -> float:
    hardware = task.hardware
    return math.inf if task.is_ideal else hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz


def _scored(task: LayerTask, prices: EnergyPrices) -> _Scored:
    """Return the tilings that the closed form finds best at any bandwidth, and simple ones that are nearly as good."""
    tiles = that_may_fit(task, candidates(task.hardware.pe_array, task.layer.dims))
    if not tiles.num:
        return _Scored((), score(task, tiles, LOOP_ORDERS[:1]))
    orders = _orders(tiles, task)
    figures = score(task, tiles, orders)
    simple = tiles.is_simple & (figures.steps <= MOST_SIMPLE_STEPS)
    legal = figures.legal & _is_first(task, tiles, orders)
    if task.is_ideal:
        legal &= figures.array_cycles <= figures.array_cycles.min() + 0.5
    places: dict[int, None] = {}
    for rate in (math.inf,) if task.is_ideal else BANDWIDTHS:
        value = np.where(legal, _objective(task, figures, prices, rate), np.inf).reshape(-1)
        best = np.argpartition(value, min(FINALISTS, value.size) - 1)[:FINALISTS]
        hoped = np.where(simple, value.reshape(legal.shape) - CYCLES_PER_STEP * figures.steps, np.inf).reshape(-1)
        near = np.argsort(hoped, kind="stable")[:SIMPLE_FINALISTS]
        near = near[hoped[near] <= NEARLY * value[best].min()]
        places |= dict.fromkeys([place for place in [*best.tolist(), *near.tolist()] if np.isfinite(value[place])])
    chosen = np.array(sorted(places), dtype=np.int64)
    of_order, of_tile = chosen // tiles.num, chosen % tiles.num
    tilings = [_tiling(tiles, tile, orders[order]) for tile, order in zip(of_tile, of_order, strict=True)]
    return _Scored(tuple(tilings), figures.take(of_order, of_tile))


def _is_first(task: LayerTask, tiles: Candidates, orders: tuple[tuple[Loop, ...], ...]) -> Bools:
    """Return whether no order before is the same in the loops that a tiling splits, bool [num_orders, n]."""
    dims = task.layer.dims
    split = np.zeros(tiles.num, dtype=np.int64)
    for bit, loop in enumerate(LOOPS):
        split |= (tiles.size[loop] < getattr(dims, loop)).astype(np.int64) << bit
    return _firsts(orders)[:, split]


@lru_cache(maxsize=64)
def _firsts(orders: tuple[tuple[Loop, ...], ...]) -> Bools:
    """Return whether no order before is the same in a set of split loops, bool [num_orders, sets as bits]."""
    table = np.zeros((len(orders), 1 << len(LOOPS)), dtype=bool)
    for split in range(1 << len(LOOPS)):
        nests = [tuple(loop for loop in order if split >> LOOPS.index(loop) & 1) for order in orders]
        table[:, split] = [nests.index(nest) == place for place, nest in enumerate(nests)]
    return table


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


def _objective(task: LayerTask, figures: Score, prices: EnergyPrices, bytes_per_cycle: float) -> Floats:
    """Return what is minimised: the objective, with a small share of the others to break ties."""
    objective = task.hardware.mapping.objective
    latency = figures.latency_cycles(bytes_per_cycle)
    if objective == "latency":
        return latency + 1e-6 * figures.dram_bytes
    if objective == "dram_bytes":
        return figures.dram_bytes + 1e-6 * latency
    energy = figures.dram_bytes * 8 * prices.dram_pj_per_bit + figures.buffer_bits * prices.buffer_pj_per_bit
    with np.errstate(invalid="ignore"):
        energy = energy + latency * prices.leakage_pj_per_cycle
        value = energy if objective == "energy" else energy * latency
    return np.where(figures.legal, value, np.inf)


def _value(task: LayerTask, schedule: LayerSchedule, prices: EnergyPrices, cycles: int) -> float:
    """Return the objective of a built schedule that takes ``cycles``."""
    dram = sum(schedule.dram_bytes.values())
    objective = task.hardware.mapping.objective
    if objective == "latency":
        return float(cycles)
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


def no_tiling_message(task: LayerTask) -> str:
    """Return what is said of a layer that no tiling fits."""
    hardware = task.hardware
    return (
        f"{task.layer.name}: no tiling fits weight_buffer ({hardware.weight_buffer.capacity_bytes} B), accumulator "
        f"({hardware.accumulator.capacity_bytes} B) and activation_buffer ({task.activation_capacity_bytes} B free of "
        f"{hardware.activation_buffer.capacity_bytes} B); make the one that is too small larger"
    )
