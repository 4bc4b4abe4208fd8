"""Which neighbouring layers are fused, and how: the traffic of every group in closed form, the rest by the solver.

What a group saves in memory traffic follows from its rows and weights. Groups that together save most are taken, each
with the stripes that fit, and solved behind the layer before them; those that the chip's objective likes less than the
layers one after the other, or that move more bytes, are given up, and the others are chosen anew without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Protocol

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.fusion import FusedGroup, divisions, min_stripes, together_of, traffic_bytes, why_apart
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import MappedLayer, energy_pj
from accelsim.mapping.network import Asked, map_entries, map_layers, network_tasks, residency_of, together_in
from accelsim.mapping.pieces import Entry, entries_of
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.residency import output_elements
from accelsim.mapping.stripes import Halo
from accelsim.mapping.task import LayerTask
from accelsim.names import suggest
from accelsim.storage.base import WeightPlan
from accelsim.timing.memory import bytes_per_cycle
from accelsim.timing.moment import Moment
from accelsim.trace.model import LayerTrace
from accelsim.units import bits_to_bytes, ns_to_cycles

# Of a group that is sought; neighbours are joined to longer ones then, and a stated one may be longer.
MOST_LAYERS = 6
ROUNDS = 8  # of choosing anew, shorter groups too, without those that were given up: MobileNetV2 on edge needs three
MOST_TRIES = 6  # numbers of stripes, from the fewest of which the largest map fits
MORE_STRIPES = (1, 2)  # times the fewest that fit, of which the solver decides


NetworkCost = Callable[[tuple[FusedGroup, ...]], tuple[float, int]]


def choose_groups(
    trace: LayerTrace,
    plans: Mapping[str, WeightPlan],
    hardware: HardwareConfig,
    prices: EnergyPrices,
    cost: NetworkCost,
    fixed: Mapping[str, Tiling] | None = None,
) -> tuple[FusedGroup, ...]:
    """Return the groups that the chip's description states, or those that are better than no fusion.

    Parameters
    ----------
    cost
        What the objective says of the network with some groups, and the DRAM bytes that it moves.

    Raises
    ------
    MappingError
        A stated group cannot be fused, or does not fit.
    """
    return chosen_by(OneCore(Asked(trace, plans, prices, fixed or {}, ()), hardware), trace, hardware, prices, cost)


def chosen_by(
    costs: GroupCosts, trace: LayerTrace, hardware: HardwareConfig, prices: EnergyPrices, cost: NetworkCost
) -> tuple[FusedGroup, ...]:
    """Return the groups of `choose_groups` by what layers cost on a chip; ``hardware`` is a core of it."""
    fuse = hardware.mapping.fuse
    if fuse == "none" or hardware.memory == "ideal":
        return ()
    chooser = _Chooser(costs, trace, hardware, prices)
    if fuse == "auto":
        known = lru_cache(maxsize=None)(cost)
        short, joined = chooser.best()
        kept = better_together(short, known) if short else ()
        if joined == short == kept:
            return kept
        # What longer groups hold on chip may cost other layers more than they save: the whole network decides.
        is_better = known(joined)[0] < known(kept)[0] and known(joined)[1] <= known(())[1]
        return joined if is_better else kept
    return tuple(chooser.stated(first, stop) for first, stop in _stated_places(trace, hardware, fuse))


def better_together(groups: tuple[FusedGroup, ...], cost: NetworkCost) -> tuple[FusedGroup, ...]:
    """Return the groups with which a whole network is no worse: all, or those that are so one behind the other."""

    def is_better(one: tuple[float, int], other: tuple[float, int]) -> bool:
        return one[0] <= other[0] and one[1] <= other[1]

    kept: tuple[FusedGroup, ...] = ()
    best = cost(kept)
    if is_better(cost(groups), best):
        return groups
    for group in groups if len(groups) > 1 else ():
        found = cost((*kept, group))
        if is_better(found, best):
            kept, best = (*kept, group), found
    return kept


def _stated_places(trace: LayerTrace, hardware: HardwareConfig, fuse: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Return where stated groups lie in the network, in order."""
    where = f"{hardware.name}: mapping.fuse"
    names = [layer.name for layer in trace.layers]
    found = []
    for group in fuse:
        for name in group:
            if name not in names:
                hint = suggest(name, names) or "accelsim trace shows its layers"
                raise MappingError(f"{where}: {trace.name} has no layer {name!r}; {hint.rstrip('; ')}")
        places = [names.index(name) for name in group]
        if places != list(range(places[0], places[0] + len(places))):
            between = [name for name in names[min(places) : max(places) + 1] if name not in group]
            remedy = f"put {between[0]!r} in too" if between else "give them in the network's order"
            raise MappingError(f"{where}: {', '.join(group)}: not neighbours in {trace.name}; {remedy}")
        problem = why_apart(trace, places[0], places[-1] + 1)
        if problem is not None:
            raise MappingError(f"{where}: {problem}; leave it out of the group")
        found.append((places[0], places[-1] + 1))
    found.sort()
    for (_, stop), (first, _) in zip(found, found[1:], strict=False):
        if first < stop:
            raise MappingError(f"{where}: {names[first]!r} is in two groups; leave it out of one")
    return found


@dataclass(frozen=True, slots=True)
class FusionCost:
    """What some layers cost: cycles, pJ without the memory's states, and DRAM bytes."""

    cycles: int
    energy_pj: float
    dram_bytes: int

    @classmethod
    def of(cls, items: Sequence[MappedLayer], before: Moment, prices: EnergyPrices) -> FusionCost:
        """Return what mapped layers cost that follow ``before``."""
        energy, moved, at = 0.0, 0, before.end_cycle
        for item in items:
            for piece, number in item.schedule.kinds():
                cycles = (item.end.end_cycle - at) if item.schedule.parts is None else 0
                moved += number * sum(piece.dram_bytes.values())
                energy += number * energy_pj(piece, prices, cycles)
            at = item.end.end_cycle
        return cls(at - before.end_cycle, energy, moved)

    def __add__(self, other: FusionCost) -> FusionCost:
        """Return what both cost one after the other."""
        return FusionCost(
            self.cycles + other.cycles, self.energy_pj + other.energy_pj, self.dram_bytes + other.dram_bytes
        )


class GroupCosts(Protocol):
    """What the layers of a network cost on a chip, apart and fused.

    Attributes
    ----------
    numbers_of_cores
        On how many cores a group may run.
    masks_once
        Whether what cores decode comes from DRAM once for all of them.
    """

    numbers_of_cores: tuple[int, ...]
    masks_once: bool

    def tasks(self, num_cores: int) -> Sequence[LayerTask]:
        """Return all layers as one of so many cores sees them, without fusion."""
        ...

    def apart(self, first: int, stop: int) -> FusionCost:
        """Return what layers cost one after the other."""
        ...

    def fused(self, group: FusedGroup) -> FusionCost:
        """Return what a group costs, other layers included that pay for it. Raises `MappingError` if it fits not."""
        ...


class OneCore:
    """The costs of layers on a chip with one core, each behind the layer before it."""

    numbers_of_cores: tuple[int, ...] = (1,)
    masks_once = False

    def __init__(self, asked: Asked, hardware: HardwareConfig) -> None:
        self.asked, self.hardware = asked, hardware

    @cached_property
    def _mapped(self) -> tuple[list[Entry], tuple[MappedLayer, ...]]:
        """Map the network without fusion."""
        return map_layers(self.asked, self.hardware)

    def tasks(self, num_cores: int) -> Sequence[LayerTask]:
        """See `GroupCosts`."""
        return [entry.whole for entry in self._mapped[0]]

    def apart(self, first: int, stop: int) -> FusionCost:
        """See `GroupCosts`."""
        return FusionCost.of(self._mapped[1][first:stop], self._before(first), self.asked.prices)

    def _before(self, first: int) -> Moment:
        return self._mapped[1][first - 1].end if first else Moment()

    def fused(self, group: FusedGroup) -> FusionCost:
        """See `GroupCosts`."""
        before = self._before(group.first)
        tasks, lost = self._tasks(group)
        entries = [entry for entry in entries_of(self.asked.trace, tasks, (group,)) if entry.place in group.places]
        items = map_entries(entries, self.asked.prices, self.asked.fixed, before, quick=True)
        return with_lost(FusionCost.of(items, before, self.asked.prices), lost, self.hardware, self.asked.prices)

    def _tasks(self, group: FusedGroup) -> tuple[list[LayerTask], int]:
        """Return the tasks of all layers where one group is fused, and the bytes that move since its maps take room."""
        trace, plans = self.asked.trace, self.asked.plans
        together = together_in(trace, plans, self.hardware, (group,))
        residency = residency_of(trace, plans, self.hardware, frozenset(), together)
        tasks = network_tasks(trace, plans, self.hardware, residency)
        gone = residency_of(trace, plans, self.hardware).on_chip - residency.on_chip - together[0].inside
        return tasks, bytes_of_maps(trace, tasks, gone)


def bytes_of_maps(trace: LayerTrace, tasks: Sequence[LayerTask], names: frozenset[str]) -> int:
    """Return the bytes that move for maps that have no place on chip: written, and read by each reader."""
    moved = 0
    for task in tasks:
        if task.layer.name in names:
            readers = sum([*layer.inputs, *layer.residuals].count(task.layer.name) for layer in trace.layers)
            moved += (1 + readers) * bits_to_bytes(output_elements(task.layer) * task.activation_bits)
    return moved


def with_lost(cost: FusionCost, lost_bytes: int, hardware: HardwareConfig, prices: EnergyPrices) -> FusionCost:
    """Return a cost with bytes that other layers move because of it."""
    # As if nothing hid them: a group has to pay for them even so.
    cycles = math.ceil(lost_bytes / float(bytes_per_cycle(hardware.dram, hardware.clock_mhz)))
    energy = 8 * lost_bytes * prices.pj("dram", "read_bits")
    return FusionCost(cost.cycles + cycles, cost.energy_pj + energy, cost.dram_bytes + lost_bytes)


@dataclass(frozen=True, slots=True)
class _Run:
    """Layers ``first`` up to ``stop`` as a group, or one of them by itself, and what they cost."""

    first: int
    stop: int
    cost: FusionCost
    group: FusedGroup | None


class _Chooser:
    """Chooses groups of one network on one chip."""

    def __init__(self, costs: GroupCosts, trace: LayerTrace, hardware: HardwareConfig, prices: EnergyPrices) -> None:
        self.costs, self.trace, self.hardware, self.prices = costs, trace, hardware, prices
        self._all = costs.apart(0, len(trace.layers))

    def best(self) -> tuple[tuple[FusedGroup, ...], tuple[FusedGroup, ...]]:
        """Return the groups that the objective likes better than their layers apart, and the same joined."""
        savings = self._savings()
        accepted: dict[tuple[int, int], _Run | None] = {}
        chosen: list[tuple[int, int]] = []
        # What the solver refuses was in the way of other groups: choose again without it.
        for _ in range(ROUNDS):
            open_ = {place: saved for place, saved in savings.items() if accepted.get(place, True)}
            chosen = _most_saved(open_, len(self.trace.layers))
            new = [place for place in chosen if place not in accepted]
            for first, stop in new:
                accepted[first, stop] = self._accepted(first, stop, self.costs.apart(first, stop))
            if all(accepted[place] for place in new):
                break
        found = [run for place in chosen if (run := accepted[place]) is not None]
        short, joined = (
            tuple(run.group for run in runs if run.group is not None) for runs in (found, self._joined(found))
        )
        return short, joined

    def _joined(self, chosen: Sequence[_Run]) -> list[_Run]:
        """Return groups and the layers between them, joined to longer groups than are sought where those are better."""
        runs: list[_Run] = []
        begin = 0
        for each in (*chosen, None):
            stop = len(self.trace.layers) if each is None else each.first
            runs += [_Run(place, place + 1, self.costs.apart(place, place + 1), None) for place in range(begin, stop)]
            if each is not None:
                runs.append(each)
                begin = each.stop
        place = 0
        while place + 1 < len(runs):
            one, other = runs[place : place + 2]
            first, stop = one.first, other.stop
            whole = None
            if stop - first > MOST_LAYERS and why_apart(self.trace, first, stop) is None:
                whole = self._accepted(first, stop, one.cost + other.cost)
            if whole is None:
                place += 1
            else:
                runs[place : place + 2] = [whole]
                # A longer group may now be worth joining to the one before it.
                place = max(0, place - 1)
        return runs

    def stated(self, first: int, stop: int) -> FusedGroup:
        """Return a group cut as the objective likes best."""
        options = list(self._options(first, stop))
        found: list[tuple[float, FusedGroup]] = []
        failure: MappingError | None = None
        for group in options:
            try:
                found.append((self._value(self.costs.fused(group)), group))
            except MappingError as error:
                failure = error
        if found:
            return min(found, key=lambda each: each[0])[1]
        names = ", ".join(layer.name for layer in self.trace.layers[first:stop])
        buffer = self.hardware.activation_buffer.capacity_bytes
        wanted = self.hardware.mapping.num_stripes or self._most_stripes(first, stop, 1)
        cuts = [
            replace(group, num_stripes=min(wanted, self._most_stripes(first, stop, group.rows_on_cores)))
            for group in self._uncut(first, stop)
        ]
        tasks = self.costs.tasks(1)
        needed = min(together_of(self.trace, group, tasks).held_bytes // group.num_cores for group in cuts)
        what = f"in {wanted} stripes" if self.hardware.mapping.num_stripes else "row by row"
        because = f" ({failure})" if failure is not None and needed < buffer else ""
        raise MappingError(
            f"{self.hardware.name}: mapping.fuse: {names}: {what} the maps between them take {needed} B of "
            f"activation_buffer ({buffer} B), beside tiles{because}; fuse fewer layers or enlarge the buffer"
        )

    def _accepted(self, first: int, stop: int, apart: FusionCost) -> _Run | None:
        """Return a group as the objective likes it best; None where its layers are better ``apart``."""
        best = self._value(apart)
        chosen: _Run | None = None
        for group in self._options(first, stop):
            try:
                cost = self.costs.fused(group)
            except MappingError:
                continue
            if self._value(cost) < best and cost.dram_bytes <= apart.dram_bytes:
                best, chosen = self._value(cost), _Run(first, stop, cost, group)
        return chosen

    def _value(self, cost: FusionCost) -> float:
        """Return the objective; of energy x delay what moves it: the sum of both shares of the network's."""
        objective, prices = self.hardware.mapping.objective, self.prices
        if objective != "edp" or prices.are_none:
            return prices.objective(objective, cost.cycles, cost.dram_bytes, lambda: cost.energy_pj)
        # The network's product changes by the sum of both shares, to first order: products of groups would not add up.
        return cost.cycles / max(1, self._all.cycles) + cost.energy_pj / max(1.0, self._all.energy_pj)

    def _most_stripes(self, first: int, stop: int, on_cores: int) -> int:
        """Return the most stripes of a core: of several, each stripe has rows of the last layer."""
        if on_cores > 1:
            return max(1, self.trace.layers[stop - 1].dims.P // on_cores)
        return max(self.trace.layers[place].dims.P for place in range(first, stop))

    def _uncut(self, first: int, stop: int) -> Iterator[FusedGroup]:
        """Yield the ways to divide a group among cores and in parts, and to treat its halos, in one stripe."""
        trace, tasks = self.trace, self.costs.tasks(1)
        stated = self.hardware.mapping.halo
        halos: tuple[Halo, ...] = ("kept", "recomputed") if stated == "auto" else (stated,)
        for division, number in divisions(trace, first, stop, tasks):
            most = number if number > 1 else trace.layers[stop - 1].dims.P
            cores = dict.fromkeys(min(most, each) for each in self.costs.numbers_of_cores)
            for num_cores, halo in product(cores, halos):
                whole = FusedGroup(first, stop, 1, halo, division, number, num_cores=num_cores)
                if any(tasks[place].loads_second for place in whole.places):
                    yield replace(whole, holds_second=True)
                yield whole

    def _options(self, first: int, stop: int) -> Iterator[FusedGroup]:
        """Yield the cuts of a group that the solver is to try.

        A kept halo costs no work and no traffic, but room: halos are recomputed where fewer stripes fit so.
        """
        wanted = self.hardware.mapping.num_stripes
        seen: set[tuple[object, ...]] = set()
        kept: dict[tuple[object, ...], int] = {}
        for whole in self._uncut(first, stop):
            fewest = wanted or self._fewest_stripes(whole)
            if fewest is None:
                continue
            way = whole.division, whole.holds_second, whole.num_cores
            if wanted is None and whole.halo == "recomputed" and fewest >= kept.get(way, fewest + 1):
                continue
            if whole.halo == "kept":
                kept[way] = fewest
            for times in MORE_STRIPES if wanted is None else (1,):
                number = min(fewest * times, self._most_stripes(first, stop, whole.rows_on_cores))
                cut = replace(whole, num_stripes=number)
                same = (cut.division, cut.halo if number > 1 else "", number, cut.holds_second, cut.num_cores)
                if same not in seen:
                    seen.add(same)
                    yield cut

    def _fewest_stripes(self, whole: FusedGroup) -> int | None:
        """Return the fewest stripes whose maps leave a quarter of the buffer for tiles; None: not even single rows."""
        tasks = self.costs.tasks(whole.num_cores)
        room = tasks[whole.first].hardware.activation_buffer.capacity_bytes * 3 // 4
        most = self._most_stripes(whole.first, whole.stop, whole.rows_on_cores)
        # A stripe of the largest map between layers is on chip at once, with second operands if they stay.
        least = min_stripes(self.trace, whole, tasks, room)
        if least is None or least > most:
            return None
        # One stripe of all is the layers one after the other.
        one = 1 if whole.num_parts == whole.num_cores == 1 else 0
        numbers = [number for number in _numbers(most) if number >= max(least, 1 + one)]
        for number in numbers[:MOST_TRIES]:
            if traffic_bytes(self.trace, replace(whole, num_stripes=number), tasks)[1] <= room:
                return number
        return None

    def _savings(self) -> dict[tuple[int, int], float]:
        """Return of each possible group the bytes that it saves, less what its pieces cost in time, where it does."""
        trace, number = self.trace, len(self.trace.layers)
        moved = [self.costs.apart(place, place + 1).dram_bytes for place in range(number)]
        found: dict[tuple[int, int], float] = {}
        for first in range(number):
            for stop in range(first + 2, min(first + MOST_LAYERS, number) + 1):
                if why_apart(trace, first, stop) is not None:
                    break  # what parts these parts all longer groups
                if not self._has_traffic(first, stop):
                    continue
                best = sum(moved[first:stop]) - self._least_bytes(first, stop)
                if best > 0:
                    found[first, stop] = best
        return found

    def _least_bytes(self, first: int, stop: int) -> float:
        """Return the fewest bytes that a group can move, with what its pieces cost in time; infinite if none fits."""
        least = math.inf
        for whole in self._uncut(first, stop):
            if whole.halo == "recomputed" and self.hardware.mapping.halo == "auto":
                continue  # it never moves less
            number = self.hardware.mapping.num_stripes or self._fewest_stripes(whole)
            if number is None:
                continue
            tasks, cut = self.costs.tasks(whole.num_cores), replace(whole, num_stripes=number)
            total, _ = traffic_bytes(self.trace, cut, tasks, self.costs.masks_once)
            pieces = number * (stop - first) * len(whole.parts_of(0))
            least = min(least, total + pieces * self._piece_bytes())
        return least

    def _has_traffic(self, first: int, stop: int) -> bool:
        """Return whether the last layer reads from memory what an earlier one makes or reads."""
        task, layers = self.costs.tasks(1)[stop - 1], self.trace.layers[first : stop - 1]
        earlier = {name for layer in layers for name in (layer.name, *layer.inputs, *layer.residuals)}
        reads_main = bool(task.dram_input_elements) and bool(earlier & set(task.layer.inputs))
        return reads_main or (bool(task.residual_dram_elements) and bool(earlier & set(task.layer.residuals)))

    def _piece_bytes(self) -> float:
        """Return the bytes that the memory could move while one piece begins and ends: it waits for its first tile."""
        array, chip = self.hardware.pe_array, self.hardware
        latency = ns_to_cycles(chip.dram.read_latency_ns, chip.clock_mhz) + array.rows + array.cols
        return latency * float(bytes_per_cycle(chip.dram, chip.clock_mhz))


def _numbers(most: int) -> list[int]:
    """Return numbers of stripes: powers of two, and what divides the rows evenly."""
    powers = {1 << power for power in range(most.bit_length()) if 1 << power <= most}
    return sorted(powers | {number for number in range(1, most + 1) if most % number == 0} | {most})


def _most_saved(savings: Mapping[tuple[int, int], float], num_layers: int) -> list[tuple[int, int]]:
    """Return the groups, none in another's way, that save most together."""
    # Of the first n layers the best is that of n - 1, or that before a group which ends here with the group.
    best: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())] * (num_layers + 1)
    by_stop: dict[int, list[tuple[int, float]]] = {}
    for (first, stop), saved in savings.items():
        by_stop.setdefault(stop, []).append((first, saved))
    for stop in range(1, num_layers + 1):
        best[stop] = best[stop - 1]
        for first, saved in by_stop.get(stop, ()):
            total, groups = best[first]
            if total + saved > best[stop][0]:
                best[stop] = total + saved, (*groups, (first, stop))
    return list(best[num_layers][1])
