"""The mapper: rank all tilings of a layer with the closed form, solve the best, keep one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.bound import LowerBound, lower_bound
from accelsim.mapping.build import build_layer
from accelsim.mapping.contents import Contents
from accelsim.mapping.fixed import fitted
from accelsim.mapping.holding import hold
from accelsim.mapping.kept import Kept
from accelsim.mapping.loops import Tiling
from accelsim.mapping.many_tiles import MOST_STEPS, check_number, most_tiles
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import HeadStart, LayerForm, Ranked
from accelsim.mapping.task import LayerTask
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.timing.memory import BUS_FREE, WRITE_BUS_FREE
from accelsim.timing.moment import NUMBER, STATIONS, Moment
from accelsim.timing.power_states import DramStates, MemoryUse, activity_of, states_from_gaps
from accelsim.timing.schedule import LayerSchedule, first_weights_fit, weights_fit_beside
from accelsim.timing.solve import Solution, SolvedLayer, layer_end, try_layer
from accelsim.timing.stations import Station, layer_stations, together
from accelsim.timing.table import Table, flatten
from accelsim.units import ns_to_cycles

# `benchmarks/closed_form_error.py --layers 7`, 392 layers of four networks on seven chips, for latency and energy x
# delay: 7.6 tilings are solved in the mean; the choice is 0.103 % above the best known in the mean, 2.9 % in 99 of 100
# layers, 5.6 % at most. With 8 finalists it is 0.116 % and 3.2 %, for 6.9 tilings; with 16 0.095 %, for 8.2.
MOST_FINALISTS = 12
# Solving two for certain: 0.118 % and 3.2 %, for 7.2 tilings. Believing the closed form whatever its scatter: 0.153 %
# and 3.2 %, for 5.1; allowing half as much 0.107 %, for 6.9; twice as much 0.096 %, for 8.5. A limit of 2 % on it lost
# up to 8.6 % against stated mappings (`benchmarks/versus_stated_mappings.py`), where the form is 20 % off.
# Of what a person would state it counts twice: it is never to be beaten by much.
LEAST_SOLVED, DOUBT = 3, 0.5
# Tilings tried before the closed form is believed to be too low for all others too: 7 and 8 are as good here, for 7.5
# tilings, but of 696 layers one was 13 % worse with 7; never: 7.8 instead of 7.6 are solved.
TRUSTED = 10
# Among tilings no further from the best, that of least DRAM traffic is taken: 1.4 % fewer bytes than with 1, for
# 0.001 % of the objective; 1.01 saves 0.3 % more for 0.02 %.
AS_GOOD = 1.001
# A layer of a language model whose best tiling so far takes no more than this times its lower bound is mapped: no other
# can save more time, and the closed form counts energy as exactly as the solver. Llama-3 8B in int4 on edge, cloud_hbm,
# edge_llm and phone_lpddr5x, a decode at context 4,096 and a prefill of 512, against 1.01: latency moves by 0 to
# +0.10 %, energy x delay by -0.05 to +0.07 %, and the decode on edge solves 53 instead of 85 tilings in a third of the
# time; with 1.03 latency moves by up to +0.57 %. (1.01 against none: energy x delay by -0.5 to +0.14 %.)
NEAR_BOUND = 1.02
# Of the tilings that the closed form cannot tell from the best one, so many are solved too. None: 0.122 %, for 7.3
# tilings; two and twelve are as good. Not of language models, whose layers have tiles by the thousand, all alike.
MOST_LIKE_BEST = 4
# By how much less traffic a tiling that is only as good is solved for; 1.001 solves as many and moves as much.
LEANER = 1.01
KEPT_EVENTS = 1 << 20  # some 100 MB of schedules and tables
KEPT_TIMES = 1 << 21  # some 200 MB of tables and times, until the run that follows has ended
LEAST_EVENTS_KEPT = 64
KEPT_ENDS = 16  # of a table, 4 KB each: of all tables 200 MB at the most
KEPT_TILINGS = 1 << 16  # in closed forms: some 150 MB
KEPT_CHOICES = 1024


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """A schedule, its closed-form latency in cycles (None where the user states the tiling), its end, and its bound."""

    schedule: LayerSchedule
    estimated_cycles: int | None
    end: Moment
    bound: LowerBound | None = None

    def later(self, cycles: int) -> MappedLayer:
        """Return the layer some cycles later."""
        return MappedLayer(self.schedule, self.estimated_cycles, self.end.shifted(cycles), self.bound)


@dataclass(frozen=True, slots=True)
class Run:
    """The run in which a layer is mapped.

    Attributes
    ----------
    before
        The end of the layer before.
    content
        All that the layer's schedules depend on (not the memory's speed, nor the clock), as a key under which they are
        kept for the next call; None keeps nothing.
    speed
        The rest that the closed form depends on: memory and clock.
    chip
        The chip's part of ``content``.
    shortlist
        Tilings of which the best that fits is taken; none: the mapper finds its own.
    """

    before: Moment = Moment()
    content: Contents | None = None
    speed: str = ""
    chip: Contents | None = None
    shortlist: tuple[Tiling, ...] = ()


ALONE = Run()


def map_layer(task: LayerTask, prices: EnergyPrices, fixed: Tiling | None = None, run: Run = ALONE) -> MappedLayer:
    """Return the best schedule of an array layer under the chip's objective.

    The closed form says in which order tilings are solved. A tiling is left out where it can no longer win: where the
    array alone, with what must come before and after it, is not faster than the best so far, or where the closed form
    says so although it is put right by its least error so far, and allowed half of its scatter. Where its first choice
    has so many tiles that the layer is run in parts (`accelsim.mapping.build`), that one is taken and nothing is
    solved: seconds for each tiling would buy little, since tiles are then far smaller than the layer and all steps
    alike.

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
    if run.content is None:
        return _taken(task, prices, fixed, run)
    key = (run.content, run.speed, task.hardware.memory, prices, run.before.state(), fixed, run.shortlist)
    choice = _kept_choices.get(key)
    if choice is None:  # the end is kept relative to the end of the layer before
        choice = _taken(task, prices, fixed, run).later(-run.before.end_cycle)
        _kept_choices.put(key, choice, 1)
    return choice.later(run.before.end_cycle)


_kept_choices: Kept[MappedLayer] = Kept(KEPT_CHOICES)


def _taken(task: LayerTask, prices: EnergyPrices, fixed: Tiling | None, run: Run) -> MappedLayer:
    if fixed is None:
        found = _chosen(task, prices, run)
    else:
        found = _stated(task, fitted(task, fixed), run)
    return _noted(found, task, run)


@dataclass(frozen=True, slots=True)
class _Found:
    """A mapped layer, and the times of its events where it was solved whole."""

    item: MappedLayer
    solution: Solution | None = None


_kept_solutions: Kept[tuple[HardwareConfig, Table, SolvedLayer]] = Kept(KEPT_TIMES, 4)


def _noted(found: _Found, task: LayerTask, run: Run) -> MappedLayer:
    """Return a mapped layer of which the times are kept for the run that follows, where that is a language model's."""
    solution = found.solution
    if task.settles and solution is not None:
        key = _solution_key(solution.table.schedule, run.before, task.hardware)
        kept = task.hardware, solution.table, solution.layer()  # these stay, and with them the identities in the key
        _kept_solutions.put(key, kept, solution.table.num_events)
    return found.item


def _solution_key(schedule: LayerSchedule, before: Moment, hardware: HardwareConfig) -> Hashable:
    # The schedules of equal layers share arrays under several names.
    return id(schedule.compute_cycles), id(schedule.weights), id(schedule.outputs), id(hardware), before.state()


def recalled(
    schedule: LayerSchedule, before: Moment, hardware: HardwareConfig
) -> tuple[tuple[Station, ...], SolvedLayer] | None:
    """Return the stations and times of a layer that was solved on this very chip when it was mapped, at any time.

    None where they are not kept.
    """
    kept = _kept_solutions.get(_solution_key(schedule, before, hardware))
    return None if kept is None else (kept[1].flat.source, kept[2])


def forget_times() -> None:
    """Drop the times that `recalled` gives."""
    _kept_solutions.forget()


def _chosen(task: LayerTask, prices: EnergyPrices, run: Run) -> _Found:
    """Return the best of the tilings that the closed form likes, solved behind the layer before."""
    if run.shortlist and (found := _of_shortlist(task, prices, run)) is not None:
        return found
    finalists = _finalists(task, prices, run)
    if not finalists:
        check_number(_form(task, prices, run).fewest_tiles() or 0, task.layer.name, most_tiles(task.hardware))
        raise MappingError(no_tiling_message(task))
    if finalists[0].num_tiles > MOST_STEPS:
        first = _mapped(task, build_layer(task, finalists[0].tiling), run).item
        return _Found(replace(first, estimated_cycles=round(finalists[0].latency_cycles)))
    return _of_finalists([one for one in finalists if one.num_tiles <= MOST_STEPS], task, prices, run)


def _of_shortlist(task: LayerTask, prices: EnergyPrices, run: Run) -> _Found | None:
    """Return the best tiling of a shortlist, solved behind the layer before; None where none fits."""
    solved: list[tuple[float, _Found]] = []
    fitting = [tiling for tiling in run.shortlist if hold(task, tiling) is not None]
    if len(fitting) == 1:
        return _stated(task, fitting[0], run)
    for tiling in fitting:
        if math.prod(tiling.counts(task.layer.dims).values()) <= MOST_STEPS:
            least = min((value for value, _ in solved), default=math.inf)
            found = _solved(task, tiling, prices, run, AS_GOOD * least)
            solved += [found] if found is not None else []
    return _best(solved) if solved else None


def _of_finalists(finalists: list[Ranked], task: LayerTask, prices: EnergyPrices, run: Run) -> _Found:
    """Return the best of the finalists, of which those are solved that can still win."""
    solved: list[tuple[float, _Found]] = []
    leader: Ranked | None = None
    best, tried, ratios = math.inf, 0, [1.0]  # of what is solved to what the closed form says of it
    latencies = _latency_cycles(task)  # once more seen or hidden, as the closed form cannot tell: half of it
    for place, finalist in enumerate(finalists):
        needed = _needed(finalist, solved, best)
        if finalist.floor > needed:
            continue
        # Of the closed form's scatter among what is solved so far a share may still stand against it.
        doubt = DOUBT * (max(ratios) - min(ratios)) * (2 if finalist.is_simple else 1)
        doubt += latencies / 2 / max(1.0, finalist.latency_cycles)
        least = min(ratios[1:] if tried >= TRUSTED and solved else ratios)
        if place >= LEAST_SOLVED and finalist.value * least > (1 + doubt) * max(best, needed):
            continue
        found = _solved(task, finalist.tiling, prices, run, AS_GOOD * best, finalist.latency_cycles)
        tried += 1
        if found is not None:
            cycles = found[1].item.end.end_cycle - run.before.end_cycle
            if task.settles and cycles <= NEAR_BOUND * lower_bound(task).cycles:
                return found[1]
            solved.append(found)
            ratios.append(found[0] / finalist.value if finalist.value else 1.0)  # nothing has a price
            if found[0] < best:
                best, leader = found[0], finalist
    if leader is not None and not task.settles:
        solved += _of_like(leader, task, prices, run, best)
    if not solved:
        raise MappingError(no_tiling_message(task))
    return _best(solved)


def _best(solved: list[tuple[float, _Found]]) -> _Found:
    """Return of the tilings that are about as good as the best the leanest."""
    least = min(value for value, _ in solved)
    as_good = [item for item in solved if item[0] <= AS_GOOD * least]
    # Between equals the one of fewer tiles: it takes its weights earlier and leaves the next layer room.
    return min(as_good, key=lambda one: (_dram_bytes(one[1].item.schedule), one[0], one[1].item.schedule.num_steps))[1]


def _of_like(
    leader: Ranked, task: LayerTask, prices: EnergyPrices, run: Run, best: float
) -> Iterator[tuple[float, _Found]]:
    """Yield of the tilings that the closed form cannot tell from the leader those that are no worse.

    They have two loops the other way round, or bands of equal area in another form: what the closed form counts is the
    same, and when it moves is not.
    """
    for tiling in leader.alike[:MOST_LIKE_BEST]:
        found = _solved(task, tiling, prices, run, best, leader.latency_cycles)
        if found is not None and found[0] <= best:
            yield found


def _latency_cycles(task: LayerTask) -> int:
    """Return the cycles from a request to its data, there and back, and of the vector unit."""
    hardware, dram = task.hardware, task.hardware.dram
    if task.is_ideal:
        return 0
    way = sum(ns_to_cycles(each, hardware.clock_mhz) for each in (dram.read_latency_ns, dram.write_latency_ns))
    return way + hardware.vector_unit.latency_cycles


_kept_forms: Kept[LayerForm] = Kept(KEPT_TILINGS)


def _form(task: LayerTask, prices: EnergyPrices, run: Run) -> LayerForm:
    """Return the closed form of a layer, kept from an earlier call for the same layer."""
    if run.content is None:
        return LayerForm(task, prices)
    key = (run.content, run.speed, task.hardware.memory, prices)
    form = _kept_forms.get(key)
    if form is None:
        form = LayerForm(task, prices)
        _kept_forms.put(key, form, form.num_tilings)
    return form


def _finalists(task: LayerTask, prices: EnergyPrices, run: Run) -> list[Ranked]:
    """Return the tilings to be solved, the most promising first."""
    return _form(task, prices, run).ranked(_head_start(run.before), MOST_FINALISTS)


def likely_tilings(task: LayerTask, prices: EnergyPrices, run: Run, within: float) -> list[Tiling]:
    """Return of each size of weights the tiling that the closed form likes best, the best first.

    Those are left out that it puts further than ``within`` above the best.
    """
    finalists = _form(task, prices, run).ranked(None, MOST_FINALISTS)
    found: dict[Hashable, Tiling] = {}
    for one in finalists:
        if one.value <= within * finalists[0].value:
            found.setdefault((one.tiling.G, one.tiling.K, one.tiling.C), one.tiling)
    return list(found.values())


def _head_start(before: Moment) -> HeadStart | None:
    """Return for how long units had nothing more to do for the layer before; None: there was none."""
    if before.schedule is None:
        return None
    free = dict(zip(STATIONS, before.free, strict=True))
    made = max(free["mask_decoder"], free["weight_generator"])
    taken, array = (before.reached[NUMBER[name]][-1] for name in ("taken", "array"))
    occupied = before.schedule.occupancy_bytes.get("weight_buffer", 0)
    return HeadStart(-taken, -array, -free["dma"], -made, occupied)


def _solved(
    task: LayerTask, tiling: Tiling, prices: EnergyPrices, run: Run, best: float, estimate: float | None = None
) -> tuple[float, _Found] | None:
    """Return the objective of a tiling and its end; None where it is not below ``best``.

    ``estimate``: the cycles that the closed form says, for who shows them.
    """
    objective = task.hardware.mapping.objective
    price = prices.dram if objective in ("energy", "edp") else None
    tabled = _tabled(task, tiling, run)
    found = _ended(task, tabled, run, price, run.before.end_cycle + best if objective == "latency" else math.inf)
    if found is None:
        return None
    end, standby_pj, solution = found
    schedule = tabled.table.schedule
    value = _value(task, schedule, prices, (end.end_cycle - run.before.end_cycle, standby_pj))
    cycles = None if estimate is None else round(estimate)
    return value, _Found(MappedLayer(schedule, cycles, end), solution)


def _ended(
    task: LayerTask, tabled: _Tabled, run: Run, price: DramStates | None = None, limit: float = math.inf
) -> tuple[Moment, float, Solution | None] | None:
    """Return how a layer ends, pJ of the memory's standby (0 without a price), and the times where they are asked for.

    None where it ends later than at cycle ``limit``, and where units wait for each other for ever. The end is known
    from an earlier call where that began in an equal state.
    """
    before = run.before
    key = run.speed, price, before.state()
    known = None if task.settles else tabled.ends.get(key)  # who settles wants the times
    if known is not None:
        end = known[0].shifted(before.end_cycle)
        return (end, known[1], None) if end.end_cycle <= limit else None
    solution = try_layer(tabled.table, task.hardware, before, limit)
    if solution is None:
        return None
    end, standby_pj = solution.after, 0.0
    if price is not None:
        standby_pj = _standby_pj(task, solution.use(task.hardware), price, before, end)
    if task.settles:
        return end, standby_pj, solution  # else nobody asks for the times, which may take 100 MB a tiling
    if len(tabled.ends) >= KEPT_ENDS:
        tabled.ends.clear()
    tabled.ends[key] = end.shifted(-before.end_cycle), standby_pj
    return end, standby_pj, None


def _standby_pj(task: LayerTask, use: MemoryUse, price: DramStates, before: Moment, end: Moment) -> float:
    """Return by how much a layer adds to what the memory's commands and states cost, priced as those of a run are.

    The memory has been idle since its last data; what that has cost up to the end of the layer before is not this
    layer's, nor does it become so where requests come before that end.
    """
    last = before.end_cycle + max(before.memory[BUS_FREE], before.memory[WRITE_BUS_FREE]) if before.memory else 0
    unit_ns, dram = 1000 / task.hardware.clock_mhz, task.hardware.dram
    after = activity_of(use.shifted(-last), end.end_cycle - last, unit_ns, dram)
    standby_pj = states_from_gaps(after, dram).priced(price)
    if before.end_cycle > last:
        idle = activity_of(MemoryUse(), before.end_cycle - last, unit_ns, dram)
        standby_pj -= states_from_gaps(idle, dram).priced(price)
    return standby_pj


def _needed(finalist: Ranked, solved: list[tuple[float, _Found]], best: float) -> float:
    """Return what a tiling must reach to be worth solving: more than the best, or about as much with less traffic."""
    leanest = min((_dram_bytes(one[1].item.schedule) for one in solved if one[0] <= AS_GOOD * best), default=0)
    return AS_GOOD * best if finalist.dram_bytes * LEANER < leanest else best / AS_GOOD


def map_vector_layer(task: LayerTask, run: Run) -> MappedLayer:
    """Return the schedule of a layer that only the vector unit works on, kept from an earlier call for its like."""
    if run.content is None:
        return _mapped(task, build_vector_layer(task), run).item
    key = (run.content, run.speed, task.hardware.memory, run.before.state())
    known = _kept_choices.get(key)
    if known is None:
        known = _noted(_mapped(task, build_vector_layer(task), run), task, run).later(-run.before.end_cycle)
        _kept_choices.put(key, known, 1)
    return known.later(run.before.end_cycle)


def _mapped(task: LayerTask, schedule: LayerSchedule, run: Run) -> _Found:
    """Return a schedule and its end; of a layer in parts only how the last part leaves the chip, as if alone."""
    if schedule.parts is not None:
        last = schedule.parts.part(len(schedule.parts) - 1)
        end = layer_end(_flat(last, task, run), task.hardware, run.before)
        return _Found(MappedLayer(schedule, None, replace(end or run.before, schedule=schedule, known_state=None)))
    solution = try_layer(_flat(schedule, task, run), task.hardware, run.before)
    return _Found(MappedLayer(schedule, None, run.before if solution is None else solution.after), solution)


def _stated(task: LayerTask, tiling: Tiling, run: Run) -> _Found:
    """Return the schedule of a tiling and its end."""
    if math.prod(tiling.counts(task.layer.dims).values()) > MOST_STEPS:
        return _mapped(task, build_layer(task, tiling), run)
    tabled = _tabled(task, tiling, run)
    found = _ended(task, tabled, run)
    if found is None:
        return _Found(MappedLayer(tabled.table.schedule, None, run.before))
    return _Found(MappedLayer(tabled.table.schedule, None, found[0]), found[2])


def _flat(schedule: LayerSchedule, task: LayerTask, run: Run) -> Table:
    before = run.before.schedule
    fits = before is not None and first_weights_fit(before, schedule, task.hardware)
    return flatten(schedule, layer_stations(schedule, task.hardware, fits))


@dataclass(frozen=True, slots=True)
class _Tabled:
    """A tiling's table, and the ends that were found for it: by the state at its begin, with pJ of the standby."""

    table: Table
    ends: dict[Hashable, tuple[Moment, float]] = field(default_factory=dict)


_kept_tables: Kept[_Tabled] = Kept(KEPT_EVENTS)


def _tabled(task: LayerTask, tiling: Tiling, run: Run) -> _Tabled:
    """Return the table of a tiling, kept from an earlier call where that had the same content.

    What capacities decide about is how tiles are held, and whether the first weights fit beside those of the layer
    before: chips with larger or smaller buffers share tables where these are the same.
    """
    holding = hold(task, tiling)
    if run.content is None or holding is None:  # it does not fit: an error
        return _Tabled(_flat(build_layer(task, tiling, holding=holding), task, run))
    fits = weights_fit_beside(run.before.schedule, holding.occupancy_bytes, task.hardware)
    key = run.content.built, tiling, holding.key(), fits
    tabled = _kept_tables.get(key)
    if tabled is None:
        tabled = _Tabled(_flat(build_layer(task, tiling, holding=holding), task, run))
        _kept_tables.put(key, tabled, tabled.table.num_events + LEAST_EVENTS_KEPT)
    return tabled


def _dram_bytes(schedule: LayerSchedule) -> int:
    return sum(schedule.dram_bytes.values())


def _value(task: LayerTask, schedule: LayerSchedule, prices: EnergyPrices, found: tuple[int, float]) -> float:
    """Return the objective of a built schedule, by the cycles that it takes and the pJ of the memory's standby."""
    (cycles, standby_pj), dram = found, _dram_bytes(schedule)
    return prices.objective(
        task.hardware.mapping.objective, cycles, dram, lambda: energy_pj(schedule, prices, cycles) + standby_pj
    )


def energy_pj(schedule: LayerSchedule, prices: EnergyPrices, cycles: int) -> float:
    """Return the energy of a schedule that takes so many cycles, without that of the memory's states."""
    written = int(schedule.outputs.store_bytes.sum())
    worked = cycles if schedule.parts is not None else min(cycles, int(schedule.array_cycles.sum()))
    read_bits, written_bits = 8 * (_dram_bytes(schedule) - written), 8 * written
    energy = prices.of_actions(schedule.actions) + cycles * prices.static_pj_per_cycle
    energy += worked * prices.busy_pj_per_cycle
    decode, generate = together(schedule)
    energy += int(decode.sum()) * prices.of_making(decodes=schedule.uses_decoder, generates=False)
    energy += int(generate.sum()) * prices.of_making(decodes=False, generates=schedule.uses_generator)
    return energy + read_bits * prices.pj("dram", "read_bits") + written_bits * prices.pj("dram", "write_bits")


def no_tiling_message(task: LayerTask) -> str:
    """Return what is said of a layer that no tiling fits."""
    hardware = task.hardware
    return (
        f"{task.layer.name}: no tiling fits weight_buffer ({hardware.weight_buffer.capacity_bytes} B), accumulator "
        f"({hardware.accumulator.capacity_bytes} B) and activation_buffer ({task.activation_capacity_bytes} B free of "
        f"{hardware.activation_buffer.capacity_bytes} B); make the one that is too small larger"
    )
