"""How a layer is divided among the cores of a chip: the closed form ranks the ways, the solver decides.

Equal layers are divided once, and equal parts are mapped once; so are fused groups.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.program import ONE_CORE, Network
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.mapping.bound import lower_bound, made_cycles
from accelsim.mapping.build import build_layer, in_one
from accelsim.mapping.core_chip import compulsory_bytes, core_chip, with_turns
from accelsim.mapping.core_groups import GroupOnCores, group_on_cores, seen_by_core
from accelsim.mapping.cores import ALIKE, PARTS, Part, is_part, split_task
from accelsim.mapping.fixed import fitted
from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import ALONE, likely_tilings, no_tiling_message
from accelsim.mapping.network import likely_alone, map_alone
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import Estimate, estimates
from accelsim.mapping.task import LayerTask, content_of
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.sim.cores import SystemCost, cost_of_slots
from accelsim.timing.core_pieces import Alike, Piece, Slot
from accelsim.timing.memory import bytes_per_cycle
from accelsim.timing.power_states import states_from_gaps
from accelsim.timing.schedule import LayerSchedule

# Divisions that the closed form puts no further above the best are solved as well, so many at most.
NEAR, MOST_SOLVED = 1.05, 2
# Cores that take turns at a generator pay for each turn, which the closed form of one core does not know: so many more
# tilings are solved, of those that it puts no further above the best.
NEAR_IN_TURN, IN_TURN, AS_IT_IS = 1.3, 1, 1
FAR = 1.1  # further tilings of a layer divided otherwise are left out where the first is so many times the best so far
# A way, or a further tiling, is left out where the best so far is no more than this times what the way can hardly beat.
NEAR_BOUND = 1.05


class NoRoomError(Exception):
    """A layer that fits in no way beside the maps that stay on chip."""

    def __init__(self, task: LayerTask, message: str) -> None:
        super().__init__(message)
        self.task = task


@dataclass(frozen=True, slots=True)
class _Option:
    """A layer's parts on the cores, by what they are divided, what they have alike, and what crosses between them."""

    parts: tuple[LayerTask, ...]
    by: str
    alike: Alike
    from_cores: tuple[tuple[str, float], ...] = ()

    @property
    def largest(self) -> LayerTask:
        """Return the part with most work, of equals that with most inputs."""
        return max(self.parts, key=lambda part: (part.layer.dims.macs, part.layer.dims.num_inputs))

    def takes_turns(self, hardware: HardwareConfig) -> bool:
        """Return whether cores take turns at a shared unit that the parts use."""
        part, share = self.parts[0], hardware.share
        uses = (part.regenerates and "weight_generator" in share) or (part.decodes and "mask_decoder" in share)
        return len(self.parts) > 1 and self.alike != "weights" and uses


@dataclass(frozen=True, slots=True)
class Divided:
    """A layer as the cores work on it: the schedule of each, in order of the cores."""

    schedules: tuple[LayerSchedule, ...]
    by: str
    alike: Alike
    from_cores: tuple[tuple[str, float], ...]
    name: str = ""

    @property
    def division(self) -> tuple[str, int]:
        """Return by what the layer is divided, and among how many cores."""
        return self.by, len(self.schedules)

    def slot(self) -> Slot:
        """Return the layer by itself."""
        pieces = {core: Piece(schedule, (), self.from_cores) for core, schedule in enumerate(self.schedules)}
        return Slot(pieces, self.alike)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A way to divide a layer, with its objective and cycles by the closed form; energy where it counts (else 0)."""

    value: float
    cycles: float
    energy_pj: float
    option: _Option


@dataclass(frozen=True, slots=True)
class _Solved:
    """What the solver says of the best way so far, and its energy by the closed form."""

    cost: SystemCost
    expected_pj: float


class Divider:
    """Divides the layers of a network among the cores of a chip; equal ones once."""

    def __init__(
        self, hardware: HardwareConfig, network: Network, kept: Mapping[str, tuple[str, int]] | None = None
    ) -> None:
        """``kept``: by what layers are divided, and among how many cores, where that has been decided."""
        self.kept = kept or {}
        self.hardware, self.network, self.whole = hardware, network, core_chip(hardware, 1, None)
        self.num_inputs, self.fixed = network.trace.num_inputs, network.fixed
        self.prices = mapping_prices(self.whole, load_tables())
        self.chip_prices = mapping_prices(hardware, load_tables())
        self.chips: dict[Hashable, HardwareConfig] = {}
        self.ranked: dict[Hashable, list[_Ranked]] = {}
        self.known: dict[Hashable, Divided] = {}
        self.grouped: dict[Hashable, GroupOnCores] = {}

    def _key(self, task: LayerTask) -> Hashable:
        name = task.layer.name
        return content_of(task), self._word(task), self.fixed.get(name), self.kept.get(name)

    def _word(self, task: LayerTask) -> str:
        split = self.hardware.mapping.split
        return split if isinstance(split, str) else split.get(task.layer.name, split.get("default", "auto"))

    def estimate(self, tasks: Sequence[LayerTask]) -> None:
        """Rank the divisions of layers by the closed form, all side by side."""
        new = {key: task for task in tasks if (key := self._key(task)) not in self.ranked}
        options = {key: (task, self._options(task)) for key, task in new.items()}
        several = {key: found for key, (_, found) in options.items() if len(found) > 1}
        parts = {id(each): self._in_turn(each) for found in several.values() for each in found}
        by_part = dict(zip(parts, self._estimated(list(parts.values())), strict=True))
        for key, (task, found) in options.items():
            if key not in several:
                self.ranked[key] = [_Ranked(0.0, 0.0, 0.0, found[0])]
                continue
            values = [
                self._ranked(each, parts[id(each)], estimate)
                for each in found
                if (estimate := by_part[id(each)]) is not None
            ]
            if not values:
                raise NoRoomError(task, no_tiling_message(task))
            self.ranked[key] = sorted(values, key=lambda one: one.value)

    def expected(self, tasks: Sequence[LayerTask]) -> float:
        """Return the cycles of all layers by the closed form, each divided as it likes best for the chip's objective.

        A layer that can be divided in one way only counts as nothing.
        """
        self.estimate(tasks)
        return sum(self.ranked[self._key(task)][0].cycles for task in tasks)

    def expected_as_kept(self, tasks: Sequence[LayerTask]) -> float:
        """Return the cycles of all layers by the closed form, each divided as it is ``kept``; equal ones once."""
        distinct = {self._key(task): task for task in tasks}
        options = {key: self._options(task)[0] for key, task in distinct.items()}
        parts = [self._in_turn(option) for option in options.values()]
        cycles: dict[Hashable, float] = {}
        for (key, option), part, estimate in zip(options.items(), parts, self._estimated(parts), strict=True):
            if estimate is None:
                raise MappingError(no_tiling_message(part))
            cycles[key] = max(estimate.latency_cycles, self._memory_cycles(option, part))
        return sum(cycles[self._key(task)] for task in tasks)

    def _options(self, task: LayerTask) -> list[_Option]:
        """Return the ways to divide a layer: as the chip's description says, else all that there are."""
        # A unit that serves cores in turn, or a map of few rows, may feed fewer cores better than all.
        if task.layer.name in self.kept:
            by, number = self.kept[task.layer.name]
            decided = self._divided(task, by, number) if is_part(by) else None
            return [decided or _Option((task,), ONE_CORE, "nothing")]
        word, number = self._word(task), self.hardware.num_cores
        numbers = numbers_tried(number) if word == "auto" else (number,)
        divided = (self._divided(task, by, cores) for by in PARTS if word in ("auto", by) for cores in numbers)
        options = [each for each in divided if each is not None]
        if word == "auto" or not options:
            options.append(_Option((task,), ONE_CORE, "nothing"))
        return options

    def _divided(self, task: LayerTask, by: Part, number: int) -> _Option | None:
        """Return the parts of a layer as the mapper of a core sees them; None where it cannot be divided so."""
        hardware = self.hardware
        parts = split_task(task, by, number, self.num_inputs)
        if parts is None or (len(parts) < number < hardware.num_cores):
            return None
        alike = ALIKE[by]
        share = 1 if _comes_once(alike, parts[0], hardware) else len(parts)
        chip = self.chip(share, alike, len(parts))
        room = task.activation_capacity_bytes
        if chip.activation_buffer.capacity_bytes < hardware.activation_buffer.capacity_bytes:
            room //= len(parts)
        return _Option(tuple(replace(part, hardware=chip, activation_capacity_bytes=room) for part in parts), by, alike)

    def chip(self, share: int, alike: Alike, number: int) -> HardwareConfig:
        """Return the chip as a core sees it (`accelsim.mapping.core_chip.core_chip`), the same object each time."""
        key = share, alike, number
        if key not in self.chips:
            self.chips[key] = core_chip(self.hardware, share, alike, number)
        return self.chips[key]

    def chip_of(self, group: FusedGroup, tasks: Sequence[LayerTask]) -> HardwareConfig:
        """Return the chip as a core sees it that works on a fused group: with all of the rate if weights come once."""
        plans = [tasks[place] for place in group.places if tasks[place].plan is not None]
        once = bool(plans) and all(_comes_once("weights", task, self.hardware) for task in plans)
        return self.chip(1 if once else group.num_cores, "weights", group.num_cores)

    def group(self, group: FusedGroup, tasks: Sequence[LayerTask], *, quick: bool = False) -> GroupOnCores:
        """Return a fused group as the cores run it; an equal one once. Raises `DoesNotFitError`."""
        key = group, tuple(content_of(tasks[place]) for place in group.places), quick
        if key not in self.grouped:
            own = seen_by_core(tasks, group, self.chip_of(group, tasks), self.hardware)
            self.grouped[key] = group_on_cores(self.network.trace, group, own, self.prices, self.fixed, quick=quick)
        return self.grouped[key]

    def _in_turn(self, option: _Option) -> LayerTask:
        """Return the largest part on a chip whose shared units are as slow as they are to one that takes turns."""
        part, number = option.largest, len(option.parts)
        if not option.takes_turns(self.hardware) or not part.layer.uses_array:
            return part
        key = "in turn", id(part.hardware), number
        chip = self.chips.setdefault(key, with_turns(part.hardware, self.hardware, number))
        return replace(part, hardware=chip)

    def _estimated(self, parts: Sequence[LayerTask]) -> list[Estimate | None]:
        """Return the closed form's word on parts: those of the array side by side, others by their one schedule."""
        on_array = [part for part in parts if part.layer.uses_array]
        found = iter(estimates(on_array, self.prices))
        return [next(found) if part.layer.uses_array else self._alone(part) for part in parts]

    def _alone(self, part: LayerTask) -> Estimate:
        cycles = map_alone(part, self.prices).end.end_cycle
        return Estimate(cycles, cycles)

    def _ranked(self, option: _Option, part: LayerTask, estimate: Estimate) -> _Ranked:
        """Return the objective of a layer by its largest part: no less than the memory takes for all."""
        hardware, number = self.hardware, len(option.parts)
        cycles, value = estimate.latency_cycles, estimate.value
        objective, once_for_all = hardware.mapping.objective, _comes_once(option.alike, part, hardware)
        cycles = max(cycles, self._memory_cycles(option, part))
        if objective == "dram_bytes":
            return _Ranked(value * (1 if once_for_all else number), cycles, 0.0, option)
        if objective == "latency" or self.prices.are_none or not part.layer.uses_array:
            return _Ranked(cycles, cycles, 0.0, option)
        energy = (value if objective == "energy" else value / max(1.0, estimate.latency_cycles)) * number
        energy += (hardware.num_cores - number) * self.prices.static_pj_per_cycle * cycles
        return _Ranked(energy if objective == "energy" else energy * cycles, cycles, energy, option)

    def _memory_cycles(self, option: _Option, part: LayerTask) -> float:
        """Return what the memory takes for all parts, were they all as large as ``part``."""
        hardware = self.hardware
        return self._least_bytes(option, part) / float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))

    def _least_bytes(self, option: _Option, part: LayerTask) -> float:
        """Return what all parts must move, were they all as large as ``part``."""
        if self.hardware.memory == "ideal":
            return 0.0
        once, each = compulsory_bytes(part, option.alike)
        number = len(option.parts)
        return once * (1 if _comes_once(option.alike, part, self.hardware) else number) + each * number

    def divided(self, task: LayerTask, made: Mapping[str, Divided]) -> Divided:
        """Return a layer as the cores work on it; ``made`` says how what it reads was divided."""
        producers = (*task.layer.inputs, *task.layer.residuals)
        crossing = None
        if self.hardware.core_network is not None:
            crossing = tuple(made[name].division if name in made else None for name in producers)
        key = self._key(task), crossing
        if key not in self.known:
            try:
                self.known[key] = self._decided(task, made)
            except MappingError as failure:
                raise NoRoomError(task, str(failure)) from failure
        return self.known[key]

    def _decided(self, task: LayerTask, made: Mapping[str, Divided]) -> Divided:
        ranked = self.ranked[self._key(task)]
        ranked = [each for each in ranked[:MOST_SOLVED] if each.value <= NEAR * ranked[0].value]
        if self.hardware.core_network is not None:
            number = self.hardware.num_cores
            ranked = [replace(each, option=_from_cores(task, each.option, made, number)) for each in ranked]
        first = ranked[0].option
        is_known = bool(self.kept) or task.layer.name in self.fixed or not first.takes_turns(self.hardware)
        if len(ranked) == 1 and is_known:
            return self._with_tiling(first, next(self._tilings(first)))
        best: tuple[float, _Option, Tiling | None] | None = None
        solved: _Solved | None = None
        for each in ranked:
            option = each.option
            for tiling in self._tilings(option):
                if solved is not None and self._is_hopeless(task, each, solved):
                    break  # neither this way nor another tiling can do much better
                cost = cost_of_slots([self._with_tiling(option, tiling, is_trial=True).slot()], self.hardware)
                value = self.value_of(cost)
                far = best is not None and value > FAR * best[0]
                if best is None or value < best[0]:
                    best, solved = (value, option, tiling), _Solved(cost, each.energy_pj)
                if far:
                    break
        assert best is not None  # each option has a tiling
        return self._with_tiling(best[1], best[2])

    def _is_hopeless(self, task: LayerTask, ranked: _Ranked, best: _Solved) -> bool:
        """Return whether a way to divide a layer can hardly be better by the objective than the best so far.

        Of cycles and bytes there are bounds. Nothing bounds what buffers spend: for energy x delay the closed form's
        energy must be no less either, as far off as that of the best, and of energy alone every way is tried.
        """
        match self.hardware.mapping.objective:
            case "dram_bytes":
                return best.cost.dram_bytes <= NEAR_BOUND * self._least_bytes(ranked.option, ranked.option.largest)
            case "energy" if ranked.energy_pj:
                return False
            case "edp" if ranked.energy_pj and ranked.energy_pj * NEAR_BOUND < best.expected_pj:
                return False
        return best.cost.end_cycle <= NEAR_BOUND * self._bound(task, ranked.option)

    def value_of(self, cost: SystemCost) -> float:
        """Return what the chip's mapping minimises of some slots that have been solved."""
        objective = self.hardware.mapping.objective
        return self.chip_prices.objective(objective, cost.end_cycle, cost.dram_bytes, lambda: self.energy_pj(cost))

    def energy_pj(self, cost: SystemCost) -> float:
        """Return the energy of some slots that have been solved."""
        hardware, prices = self.hardware, self.chip_prices
        energy = prices.of_actions(cost.actions) + cost.end_cycle * prices.static_pj_per_cycle
        energy += cost.array_cycles * prices.busy_pj_per_cycle / hardware.num_cores  # the price is that of all arrays
        if prices.dram is not None and cost.dram is not None:
            energy += states_from_gaps(cost.dram, hardware.dram).priced(prices.dram)
        return energy

    def _bound(self, task: LayerTask, option: _Option) -> float:
        """Return the cycles that a layer cannot beat that is divided so: of its largest part, and of what all share."""
        cycles = max(float(lower_bound(option.largest).cycles), self._memory_cycles(option, option.largest))
        if option.takes_turns(self.hardware):
            made = made_cycles(task)
            cycles = max(cycles, *(made[unit] for unit in made if unit in self.hardware.share))
        return cycles

    def _tilings(self, option: _Option) -> Iterator[Tiling | None]:
        """Yield tilings of the largest part: what is stated, else what is best for it by itself.

        Where cores take turns at a shared unit, it has not got that unit for itself: those are yielded that the closed
        form likes for a unit as slow as it is to one of the cores, and for the unit as it is.
        """
        largest = option.largest
        if largest.layer.name in self.fixed:
            yield self.fixed[largest.layer.name]
            return
        if option.takes_turns(self.hardware) and largest.layer.uses_array:
            in_turn = likely_tilings(self._in_turn(option), self.prices, ALONE, NEAR_IN_TURN)
            likely = in_turn[:IN_TURN] + likely_alone(largest, self.prices, NEAR_IN_TURN)[:AS_IT_IS]
            yield from dict.fromkeys(likely)
            if likely:
                return
        # What a part takes beside others is a guess here: near its bound, another tiling is not looked for.
        yield map_alone(replace(largest, settles=True), self.prices).schedule.tiling

    def _with_tiling(self, option: _Option, tiling: Tiling | None, is_trial: bool = False) -> Divided:
        """Return a layer's parts with a tiling; in a trial, parts of one size have the first one's weights."""
        found: dict[Hashable, LayerSchedule] = {}
        schedules, is_stated = [], option.largest.layer.name in self.fixed
        for part in option.parts:
            key = (part.layer.dims, part.dram_input_elements) if is_trial else content_of(part)
            if key not in found:
                found[key] = _of_part(part, tiling, self.prices, is_stated)
            schedules.append(found[key])
        return Divided(tuple(schedules), option.by, option.alike, option.from_cores)


def _of_part(part: LayerTask, tiling: Tiling | None, prices: EnergyPrices, is_stated: bool = False) -> LayerSchedule:
    """Return a part with a tiling, cut to its size; with its own where that does not fit, unless the user states it."""
    if not part.layer.uses_array:
        return build_vector_layer(part)
    if tiling is not None:
        own = tiling.cut_to(part.layer.dims)
        if is_stated:
            return in_one(build_layer(part, fitted(part, own)))
        with suppress(MappingError):
            return in_one(build_layer(part, own))
    return in_one(map_alone(part, prices).schedule)


def numbers_tried(num_cores: int) -> tuple[int, ...]:
    """Return how many of two cores or more a layer is tried on: all, and the next two powers of two below."""
    power = 1 << (num_cores - 1).bit_length() - 1
    return tuple(number for number in (num_cores, power, power // 2) if number > 1)


def _comes_once(alike: Alike, part: LayerTask, hardware: HardwareConfig) -> bool:
    """Return whether what all cores need alike comes from DRAM once."""
    if alike == "weights":
        return "mask_buffer" in hardware.share and part.decodes
    return alike == "inputs" and "activation_buffer" in hardware.share


def _from_cores(task: LayerTask, option: _Option, made: Mapping[str, Divided], number: int) -> _Option:
    """Return a layer's parts with the transfers of what lies on chip and was not made where it is read."""
    layer = task.layer
    found: dict[str, float] = {}
    on_chip = not task.dram_input_elements and layer.inputs and all(name in made for name in layer.inputs)
    if on_chip:
        found["inputs"] = max(_share_of_others(option, made[name].division, number) for name in layer.inputs)
    if layer.residuals and not task.residual_dram_elements and layer.uses_array:
        divisions = {made[name].division for name in layer.residuals if name in made}
        found["residuals"] = 0.0 if divisions == {(option.by, len(option.parts))} else (number - 1) / number
    crossing = tuple((name, share) for name, share in found.items() if share > 0)
    names = [name for name, _ in crossing]

    def part(own: LayerTask) -> LayerTask:
        inputs = own.layer.dims.num_inputs if "inputs" in names else own.dram_input_elements
        residuals = own.residual_elements if "residuals" in names else own.residual_dram_elements
        return replace(own, dram_input_elements=inputs, residual_dram_elements=residuals)

    return replace(option, parts=tuple(map(part, option.parts)), from_cores=crossing)


def _share_of_others(option: _Option, made: tuple[str, int], number: int) -> float:
    """Return which share of its inputs a part gets from other cores."""
    is_alike = made == (option.by, len(option.parts))
    if is_alike and option.by == "positions":  # all but the rows of the halo are its own
        dims = option.largest.layer.dims
        axis, rows, outputs = (0, dims.H, dims.P) if dims.P >= dims.Q else (1, dims.W, dims.Q)
        own = dims.start(axis, outputs) - dims.start(axis, 0)
        return max(0.0, 1 - own / max(1, rows))
    if is_alike and option.by in ("batch", ONE_CORE):
        return 0.0
    return (number - 1) / number
