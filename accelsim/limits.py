"""What holds a run up: each resource's share of the time, and the time with twice as much of that resource.

The table of stations is made again for a chip with twice as much of one resource, and solved. The tilings of the run
stay, but for a larger array and for larger buffers, which they would not fill: there each layer has the best of its
tiling and of the few that the closed form likes best on the larger chip. A larger array comes with the ports that feed
it; of its rows and its columns those are doubled with which the closed form puts the network lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from pydantic import ValidationError

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import AccelSimError
from accelsim.mapping.bound import NetworkBound
from accelsim.mapping.fusion import FusedGroup, groups_of
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import forget_times, recalled
from accelsim.mapping.network import Shortlists, network_tasks, residency_of
from accelsim.mapping.pieces import largest_tilings
from accelsim.mapping.ranking import Favourite, favourites
from accelsim.pipeline import batch_groups, built_for, layer_plans, mapper_of, schedule_network
from accelsim.repeated import BlockNetwork, map_repeated, of_all_blocks, repeats
from accelsim.sim.counters import Counters, LayerCounters, NextLimit, ResourceLimit
from accelsim.sim.parts import SolvedLayers
from accelsim.sim.run import run_schedule, solve_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace

_CAUSES = {
    "memory_bandwidth": ("wait_dram",),
    "pe_array": ("compute", "weight_load", "fill_drain"),
    "weight_generator": ("wait_generator",),
    "mask_decoder": ("wait_decoder",),
    "vector_unit": ("wait_vector",),
}
BUFFERS = ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator")
MOST_TIMED_BYTES = 1 << 25
"""Of a run whose DRAM has its own timing: a megabyte takes up to 0.7 s, and each trial runs it again."""
MOST_STEPS = 100_000  # of a network; ResNet-50 has some thousand, and solving it once takes a tenth of a second
LITTLE = 0.005
SLIGHT = 0.001  # of a layer's objective: what less than this is better by is not looked for
# Of the closed form, beside the run's own tiling. On six chips with five networks twice the array is then 0.2 % above
# what the mapper finds when it maps all anew, in the mean of its objective, and 2.9 % at most, for 1,834 instead of
# 4,143 tilings solved. With 1 it is 1.0 % and 13 %; with 4 nothing and 1.3 %; without a second one that is 5 % worse
# than the first by the closed form 0.4 % and 5.6 %, for 1,768 tilings.
FEW = 2
_ALWAYS = ("memory_bandwidth", "pe_array")
"""Tried for language models too where hardly anything waits for them; each trial maps a large network again."""
UNSEEN = "nothing but a run of its own would show it"
NO_CHIP = "no chip has twice as much of it, or it cannot run this"
# Solved all the same, in 40 runs on eight chips, twice of one saves at most 0.35 % of the time more than what is put
# down to it: a layer then begins with a little more of its weights made.
_AS_PUT_DOWN = ("weight_generator", "mask_decoder", "vector_unit", "weight_buffer.ports", "accumulator.ports")
MADE = ("weight_generator", "mask_decoder")
Changes = tuple[dict[str, Any], ...]
"""What to change of a chip for twice as much of a resource, each way to do so."""
Favourites = dict[str, tuple[tuple[Favourite, ...], int]]
"""By layer the tilings that the closed form likes best, and how often the layer comes."""
Weighed = Sequence[tuple[LayerCounters, int]]
"""Layers of a run, and how often each comes."""


@dataclass(frozen=True, slots=True)
class Again:
    """The run with twice as much of a resource: its cycles, and its layers where they are asked for."""

    cycles: int
    layers: Callable[[], Weighed]


class Trials(Protocol):
    """How a run is solved again with more of a resource."""

    @property
    def least_share(self) -> float:
        """Return the share of the time below which a resource is not tried, but for memory and array."""

    def saves_nothing(self, name: str) -> bool:
        """Return whether it is known, without solving, that twice of a resource saves no time worth a word."""

    def again(self, name: str, changes: Changes) -> Again | str:
        """Return the run with twice as much of a resource, or why it is not tried."""


def tried(counters: Counters, hardware: HardwareConfig, trials: Trials) -> Counters:
    """Return the counters with what each resource of a chip costs the run, and why others are left out.

    Resources that the run does not use say nothing. Twice of anything never takes longer: half of it may lie idle. Of
    the one that most of the time is put down to it says what would limit the run then.
    """
    latency = sum(layer.latency_cycles for layer in counters.layers)
    once = _once(counters.layers)
    shares = shares_of(hardware, once)
    first = max(shares, key=lambda name: shares[name])
    found: dict[str, ResourceLimit] = {}
    left_out: dict[str, str] = {}
    following: NextLimit | None = None
    for name, changes in doubled(hardware):
        unit, share = name.partition(".")[0], shares[name]
        if unit in MADE and not any(layer.busy_cycles.get(unit) for layer in counters.layers):
            continue
        if share < trials.least_share and name not in _ALWAYS:
            little = f"less than {100 * trials.least_share:g} % of the time"
            left_out[name] = little if not name.endswith(".capacity") else UNSEEN
            continue
        if trials.saves_nothing(name):
            found[name] = ResourceLimit(share, latency)
            continue
        again = trials.again(name, changes)
        if isinstance(again, str):
            left_out[name] = again
            continue
        found[name] = ResourceLimit(share, min(again.cycles, latency))
        if name == first:
            then = shares_of(hardware, again.layers() if again.cycles < latency else once)
            other = max(then, key=lambda each: then[each])
            following = NextLimit(name, other, then[other])
    return replace(counters, limits=found, limits_left_out=left_out, next_limit=following)


def none_tried(counters: Counters, hardware: HardwareConfig, why: str) -> Counters:
    """Return the counters with the reason why nothing was tried."""
    return replace(counters, limits_left_out={name: why for name, _ in doubled(hardware)})


def with_limits(
    counters: Counters, hardware: HardwareConfig, trace: LayerTrace, fixed: Mapping[str, Tiling] | None = None
) -> Counters:
    """Return the counters of a run of ``trace`` on ``hardware`` with what each resource costs it.

    Left out, with the reason, are resources of which a chip cannot have twice as much, of a language model also those
    that hardly anything waits for, but for memory and array; all with DRAM that has its own timing above
    `MOST_TIMED_BYTES`; and above `MOST_STEPS` those of which no bound says that they save nothing. The share of a
    capacity is 0: what it costs shows as traffic and as filling of the array. It is said to save nothing, untried,
    where the run takes 0.5 % longer at the most than what it cannot shorten: what memory or array need whatever the
    tilings, or the steps of the array with the tilings of the run. Of a generation the prompt and the token in the
    middle of the answer stand for all.

    Parameters
    ----------
    fixed
        Tilings that the user states: they stay for a larger array too.
    """
    if hardware.has_timed_dram and counters.moved_bytes > MOST_TIMED_BYTES:
        return none_tried(counters, hardware, f"memory with its own timing moves over {MOST_TIMED_BYTES >> 20} MiB")
    storage = counters.storage
    parts = _parts(hardware, trace, storage, fixed)
    hardware = built_for(hardware, trace, storage)
    mapped = [_mapped(hardware, part, storage, _Stated(fixed)) for part in parts]
    found = tried(counters, hardware, _OneCore(counters, hardware, trace, parts, mapped, fixed or {}))
    forget_times()
    return found


@dataclass(slots=True)
class _OneCore:
    """Trials of a run on one core: ``mapped`` is how its ``parts`` are mapped, ``fixed`` what the user states of it."""

    counters: Counters
    hardware: HardwareConfig
    trace: LayerTrace
    parts: Sequence[_Part]
    mapped: Sequence[_Mapping]
    fixed: Mapping[str, Tiling]
    latency: int = field(init=False)
    bound: NetworkBound = field(init=False)
    known: dict[tuple[str, int], Favourites] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Work out what all trials ask."""
        self.latency = sum(layer.latency_cycles for layer in self.counters.layers)
        self.bound = NetworkBound()
        for each, part in zip(self.mapped, self.parts, strict=True):
            self.bound += each.bound.times(part.times)

    @property
    def least_share(self) -> float:
        """Return what is said in `Trials`: trials of language models are long."""
        return 0.0 if self.trace.language is None else LITTLE

    def is_anew(self, name: str) -> bool:
        """Return whether layers are mapped anew: larger buffers help no run that no tiling at all could beat."""
        is_near = self.latency <= (1 + LITTLE) * self.bound.cycles
        return name == "pe_array" or (name.endswith(".capacity") and not is_near)

    def saves_nothing(self, name: str) -> bool:
        """Return whether the run is near what it takes whatever there is of a resource; see `Trials`."""
        if self.trace.steps is not None:
            return False
        return _is_idle(name, self.bound, self.latency) or not may_help(name, self.counters, self.is_anew(name))

    def again(self, name: str, changes: Changes) -> Again | str:
        """Return the run on a changed chip; see `Trials`."""
        if sum(each.num_steps for each in self.mapped) > MOST_STEPS:
            return f"over {MOST_STEPS:,} tiles, so that it would take as long as the run"
        chips = changed_chips(self.hardware, changes)
        if len(chips) > 1:
            chips.sort(key=self._estimated)
        for chip in chips:
            try:
                runs = [
                    _mapped(chip, part, self.counters.storage, one)
                    for part, one in zip(self.parts, self._stated(name, chip), strict=True)
                ]
            except AccelSimError:
                continue
            cycles = sum(run.cycles * part.times for run, part in zip(runs, self.parts, strict=True))
            if self.trace.steps is not None:
                # Of a generation one step stands for all tokens: its cycles are those of the run in the mean only.
                whole = sum(each.cycles * part.times for each, part in zip(self.mapped, self.parts, strict=True))
                cycles = round(cycles * (self.latency / max(1, whole)))
            return Again(cycles, partial(_weighed, runs, self.parts))
        return NO_CHIP

    def _stated(self, name: str, chip: HardwareConfig) -> list[_Stated]:
        """Return what the mapper is told of each part.

        In larger buffers a layer keeps its tiling where the closed form knows none that is better than the best in the
        buffers that there are; what it liked there too the mapper has passed over. Of fused layers the pieces are
        mapped, of which the closed form of whole layers says nothing: there the mapper looks for itself.
        """
        if not self.is_anew(name):
            return [_Stated(each.tilings, each.groups) for each in self.mapped]
        found = []
        for part, each in zip(self.parts, self.mapped, strict=True):
            then = self._favourites(chip, part)
            shortlists = {layer: (tiling,) for layer, tiling in each.tilings.items()}
            now = {} if name == "pe_array" else self._favourites(self.hardware, part)
            for layer, (best, _) in then.items():
                known = now.get(layer, ((), 0))[0]
                if best and not (known and best[0].value >= (1 - SLIGHT) * known[0].value):
                    passed_over = {one.tiling for one in known}
                    new = (one.tiling for one in best if one.tiling not in passed_over)
                    shortlists[layer] = (*shortlists.get(layer, ()), *new)
            for group in each.groups:
                for fused in part.trace.layers[group.first : group.stop]:
                    shortlists.pop(fused.name, None)
            found.append(_Stated(self.fixed, each.groups, shortlists))
        return found

    def _estimated(self, chip: HardwareConfig) -> float:
        """Return the cycles of all array layers by the closed form; infinite where one fits in no way."""
        return sum(
            part.times * times * (best[0].latency_cycles if best else math.inf)
            for part in self.parts
            for best, times in self._favourites(chip, part).values()
        )

    def _favourites(self, chip: HardwareConfig, part: _Part) -> Favourites:
        key = chip.model_dump_json(), id(part)
        if key not in self.known:
            self.known[key] = _favourites(chip, part, self.counters.storage)
        return self.known[key]


def _favourites(hardware: HardwareConfig, part: _Part, storage: str) -> Favourites:
    whole = layer_plans(part.trace, storage)  # activations are as wide in each stretch as in all of it
    prices = mapping_prices(hardware, load_tables())

    def of_trace(trace: LayerTrace) -> list[tuple[str, tuple[Favourite, ...]]]:
        plans = whole | layer_plans(part.trace, storage, trace)
        tasks = network_tasks(trace, plans, hardware, residency_of(trace, plans, hardware))
        rows = iter(favourites([task for task in tasks if task.layer.uses_array], prices, FEW))
        return [(task.layer.name, next(rows)) for task in tasks if task.layer.uses_array]

    if part.network is None:
        return {name: (best, 1) for name, best in of_trace(part.trace)}
    found: dict[str, tuple[tuple[Favourite, ...], int]] = {}
    for (name, best), times in of_all_blocks(part.network, of_trace):
        found[name] = best, times + found.get(name, (best, 0))[1]
    return found


def changed_chips(hardware: HardwareConfig, changes: Changes) -> list[HardwareConfig]:
    """Return the chips with changes that `doubled` yields, but for those that there cannot be."""
    tree, found = hardware.model_dump(), []
    for change in changes:
        try:
            found.append(HardwareConfig.model_validate(merged(tree, change)))
        except (AccelSimError, ValidationError):
            continue
    return found


def _is_idle(name: str, bound: NetworkBound, latency: int) -> bool:
    """Return whether twice of a resource can hardly save time: the run is near what another one alone takes."""
    unit, _, part = name.partition(".")
    if latency <= (1 + LITTLE) * bound.dram_cycles:  # a larger buffer may hold what else goes to memory
        return unit != "memory_bandwidth" and part != "capacity"
    if latency <= (1 + LITTLE) * bound.array_cycles:  # with the ports that feed the array
        return unit in ("memory_bandwidth", "vector_unit", *MADE)
    return False


def may_help(name: str, counters: Counters, anew: bool) -> bool:
    """Return whether twice of a resource can save time; with the tilings of the run, where it is not mapped ``anew``.

    The array's steps, with the stalls at the ports that feed it, follow from the tilings alone, and are never shorter.
    What hardly any time is put down to saves hardly any. Ports show as stalls, but those of the activation buffer in
    layers on the vector unit, and those of the mask buffer in the decoder's time.
    """
    if name.startswith("mask_buffer.") and not any(layer.busy_cycles.get("mask_decoder") for layer in counters.layers):
        return False  # nothing is decoded, and nothing lies in it
    if anew:
        return True
    latency = sum(layer.latency_cycles for layer in counters.layers)
    if name in _AS_PUT_DOWN and sum(cycles_of(name, layer) for layer in counters.layers) < LITTLE * latency:
        return False
    rest = _CAUSES["pe_array"] + ("call_overhead",) + (() if name.endswith(".ports") else ("buffer_ports",))
    least = sum(layer.cycles_by_cause.get(cause, 0) for layer in counters.layers for cause in rest)
    return latency > (1 + LITTLE) * least


@dataclass(frozen=True, slots=True)
class _Part:
    """What runs one after the other, and how often: groups of a batch, or the prompt and a token of an answer."""

    trace: LayerTrace
    times: int
    network: BlockNetwork | None = None


@dataclass(frozen=True, slots=True)
class _Stated:
    """What the mapper is told: tilings by layer, which layers are fused (None: as the chip's description says).

    ``shortlists`` are tilings that may be good (`accelsim.mapping.network.map_network`).
    """

    tilings: Mapping[str, Tiling] | None
    groups: tuple[FusedGroup, ...] | None = None
    shortlists: Shortlists | None = None


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A part as it is mapped: tilings by layer, fused layers, tiles of all that was mapped, its end, its bound.

    ``weighed`` solves it.
    """

    tilings: dict[str, Tiling]
    groups: tuple[FusedGroup, ...]
    num_steps: int
    cycles: int
    bound: NetworkBound
    weighed: Callable[[], Weighed]


def _parts(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None
) -> list[_Part]:
    if trace.language is None:
        return [_Part(group.trace, group.times) for group in batch_groups(hardware, trace, storage, fixed)]
    whole, steps = BlockNetwork.of(trace), trace.steps
    is_short = not fixed and repeats(trace, layer_plans(trace, storage), hardware)
    if steps is None:
        return [_Part(trace, 1, whole if is_short else None)]
    number = len(steps)
    places = [(0, 1), (number // 2, number - 1)] if number > 1 else [(0, 1)]
    if not is_short:
        return [_Part(steps.trace(place), times) for place, times in places]
    return [_Part(trace, times, BlockNetwork(whole.num_blocks, partial(steps.trace, place))) for place, times in places]


def _mapped(hardware: HardwareConfig, part: _Part, storage: str, stated: _Stated) -> _Mapping:
    """Return how a part is mapped: the mapper has solved every layer behind the one before."""
    if part.network is None:
        schedule, mapped = schedule_network(
            hardware, part.trace, storage, stated.tilings, stated.groups, stated.shortlists
        )
        bound = NetworkBound.of(item.bound for item in mapped if item.bound is not None)
        # The mapper has solved it, but with the memory of one rate.
        cycles = mapped[-1].end.end_cycle
        weighed: Callable[[], Weighed] = partial(_solved, schedule, hardware, slice(0), 0)
        if hardware.has_timed_dram:
            layers = run_schedule(schedule, hardware).layers
            cycles, weighed = sum(layer.latency_cycles for layer in layers), partial(_once, layers)
        groups = groups_of(schedule.fused)
        return _Mapping(_tilings(schedule), groups, _steps(schedule), cycles, bound, weighed)
    found = map_repeated(part.network, mapper_of(hardware, part.trace, storage, stated.tilings, stated.shortlists))
    weighed = partial(_solved, found.schedule, hardware, found.middle, found.copies)
    return _Mapping(_tilings(found.schedule), (), _steps(found.schedule), found.cycles, found.bound, weighed)


def _once(layers: Sequence[LayerCounters]) -> Weighed:
    return [(layer, 1) for layer in layers]


def _steps(schedule: Schedule) -> int:
    return sum(layer.num_steps for layer in schedule.layers)


def _tilings(schedule: Schedule) -> dict[str, Tiling]:
    return largest_tilings((layer.name, layer.tiling) for layer in schedule.layers)


def _solved(schedule: Schedule, hardware: HardwareConfig, middle: slice, copies: int) -> Weighed:
    """Return the layers of a schedule, those of a block that stands for ``copies`` more as often."""
    known = SolvedLayers(lambda layer, before: recalled(layer, before, hardware))
    layers = solve_schedule(schedule, hardware, known).layers
    return [*((layer, 1) for layer in layers), *((layer, copies) for layer in layers[middle])]


def _weighed(runs: Sequence[_Mapping], parts: Sequence[_Part]) -> Weighed:
    return [
        (layer, times * part.times) for run, part in zip(runs, parts, strict=True) for layer, times in run.weighed()
    ]


def shares_of(hardware: HardwareConfig, layers: Weighed) -> dict[str, float]:
    """Return the share of the time that is put down to each resource."""
    latency = sum(layer.latency_cycles * times for layer, times in layers)
    return {
        name: sum(cycles_of(name, layer) * times for layer, times in layers) / latency if latency else 0.0
        for name, _ in doubled(hardware)
    }


def cycles_of(name: str, layer: LayerCounters) -> int:
    """Return the cycles of a layer that are put down to a resource."""
    unit, _, part = name.partition(".")
    if part == "ports":
        return layer.cycles_by_cause.get("buffer_ports", 0) if layer.port_limit == unit else 0
    return sum(layer.cycles_by_cause.get(cause, 0) for cause in _CAUSES.get(name, ()))


def doubled(hardware: HardwareConfig) -> Iterator[tuple[str, tuple[dict[str, Any], ...]]]:
    """Yield each resource with what to change of the chip so that there is twice as much of it, each way to do so."""
    array = hardware.pe_array
    if hardware.memory != "ideal":
        yield "memory_bandwidth", ({"dram": {"num_channels": 2 * hardware.dram.num_channels}},)
    # An array without the ports that feed it would be starved, whatever its size.
    ports = {name: _twice_the_ports(getattr(hardware, name)) for name in BUFFERS}
    if array.dataflow == "spatial":
        widest = sorted(array.unroll, key=lambda loop: -array.unroll[loop])[:2]
        larger: list[dict[str, Any]] = [{"unroll": array.unroll | {loop: 2 * array.unroll[loop]}} for loop in widest]
    else:
        larger = [{"cols": 2 * array.cols}, {"rows": 2 * array.rows}]
    yield "pe_array", tuple(ports | {"pe_array": each} for each in larger)
    if hardware.weight_generator is not None:
        yield "weight_generator", ({"weight_generator": {"num_lanes": 2 * hardware.weight_generator.num_lanes}},)
    if hardware.mask_decoder is not None:
        decoder = hardware.mask_decoder
        rates = {name: 2 * getattr(decoder, name) for name in ("positions_per_cycle", "symbols_per_cycle")}
        yield "mask_decoder", ({"mask_decoder": rates},)
    yield "vector_unit", ({"vector_unit": {"num_lanes": 2 * hardware.vector_unit.num_lanes}},)
    if hardware.memory != "ideal":
        for name in BUFFERS:
            yield f"{name}.ports", ({name: ports[name]},)
            if name == "accumulator" and hardware.sums_in_activation_buffer:
                continue
            twice = {"capacity_bytes": 2 * getattr(hardware, name).capacity_bytes}
            shared = (
                {"accumulator": twice} if name == "activation_buffer" and hardware.sums_in_activation_buffer else {}
            )
            yield f"{name}.capacity", ({name: twice} | shared,)


def _twice_the_ports(buffer: BufferConfig) -> dict[str, int]:
    bus = buffer.bus_bits_per_cycle
    return {"num_banks": 2 * buffer.num_banks} | ({} if bus is None else {"bus_bits_per_cycle": 2 * bus})


def merged(tree: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chip's description with a change that `doubled` yields."""
    return tree | {name: tree[name] | part if isinstance(part, dict) else part for name, part in change.items()}
