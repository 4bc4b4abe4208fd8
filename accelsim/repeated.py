"""A network of equal blocks is mapped and solved until a block leaves the chip as it found it; the rest are copies.

Nothing is sampled: whatever decides about a block is what the one before leaves behind (`accelsim.timing.solve.Moment`)
and which of its tensors stay on chip. Where both are equal at the begin and the end of a block, every further block is
the same, cycle by cycle. A test compares whole networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.bound import NetworkBound
from accelsim.mapping.mapper import MappedLayer
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.sim.parts import SolvedLayers
from accelsim.sim.run import SolvedRun, solve_schedule
from accelsim.storage.base import WeightPlan
from accelsim.timing.power_states import DramActivity, activity_of, joined_use, with_copies
from accelsim.timing.schedule import Schedule
from accelsim.trace.blocks import shortened
from accelsim.trace.model import Blocks, LayerTrace

FEWEST = 3  # the first, one that finds the chip as it leaves it, and the last, which others follow
Value = TypeVar("Value")
Mapped = tuple[Schedule, tuple[MappedLayer, ...]]
Map = Callable[[LayerTrace], Mapped]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A network with so few blocks that the last but one stands for ``copies`` more.

    ``cycles`` is the latency of the whole network by its mapping.
    """

    trace: LayerTrace
    schedule: Schedule
    mapped: tuple[MappedLayer, ...]
    copies: int
    cycles: int

    @property
    def bound(self) -> NetworkBound:
        """Return what the whole network cannot beat."""
        every = NetworkBound.of(item.bound for item in self.mapped if item.bound is not None)
        middle = NetworkBound.of(item.bound for item in self.mapped[self.middle] if item.bound is not None)
        return every + middle.times(self.copies)

    @property
    def middle(self) -> slice:
        """Return the places of the layers of the block that stands for more."""
        blocks = self.trace.blocks
        assert blocks is not None  # it was made of a trace with blocks
        return _place(blocks, blocks.times - 2)


def _place(blocks: Blocks, block: int) -> slice:
    begin = blocks.first + block * blocks.length
    return slice(begin, begin + blocks.length)


@dataclass(frozen=True, slots=True)
class BlockNetwork:
    """A network of ``num_blocks`` equal blocks: ``trace`` returns it with fewer of them."""

    num_blocks: int
    trace: Callable[[int], LayerTrace]

    @classmethod
    def of(cls, trace: LayerTrace) -> BlockNetwork:
        """Return the network that a trace with blocks describes."""
        return cls(0 if trace.blocks is None else trace.blocks.times, lambda number: shortened(trace, number))


def repeats(trace: LayerTrace, plans: Mapping[str, WeightPlan], hardware: HardwareConfig) -> bool:
    """Return whether a network has blocks of which copies may stand for others on this chip.

    A memory with banks and rows is never again in the state in which it was, and layers that are stored otherwise in
    one block than in another are not alike. Fused layers may be of two blocks.
    """
    blocks = trace.blocks
    if blocks is None or blocks.times <= FEWEST or hardware.has_timed_dram or hardware.mapping.fuse != "none":
        return False
    names = [layer.name for layer in trace.layers]
    first = [_unseeded(plans.get(name)) for name in names[_place(blocks, 0)]]
    return all(
        [_unseeded(plans.get(name)) for name in names[_place(blocks, number)]] == first
        for number in range(1, blocks.times)
    )


def _unseeded(plan: WeightPlan | None) -> WeightPlan | None:
    """Return a plan without the seed, which decides about values and not about time."""
    return plan if plan is None or plan.source is None else replace(plan, source=replace(plan.source, seed=1))


def of_all_blocks(network: BlockNetwork, values: Callable[[LayerTrace], Sequence[Value]]) -> list[tuple[Value, int]]:
    """Return what the layers of a network of equal blocks have each, and how often, from those of a shorter one."""
    short = network.trace(min(FEWEST, network.num_blocks))
    every, blocks = values(short), short.blocks
    assert blocks is not None  # see `repeats`
    copies = network.num_blocks - blocks.times
    middle = every[_place(blocks, blocks.times - 2)] if copies else ()
    return [*((each, 1) for each in every), *((each, copies) for each in middle)]


def map_repeated(network: BlockNetwork, mapped: Map, num_blocks: int = FEWEST) -> Repeated:
    """Return as few blocks, but at least ``num_blocks``, as show how the rest are mapped."""
    while True:
        num_blocks = min(num_blocks, network.num_blocks)
        short = network.trace(num_blocks)
        schedule, layers = mapped(short)
        blocks, copies = short.blocks, network.num_blocks - num_blocks
        assert blocks is not None  # see `repeats`
        if not copies:
            return Repeated(short, schedule, layers, 0, layers[-1].end.end_cycle)
        ends = [layers[_place(blocks, block).stop - 1].end for block in (num_blocks - 3, num_blocks - 2)]
        if ends[0].state() == ends[1].state() and _stay_alike(schedule, blocks, num_blocks):
            period = ends[1].end_cycle - ends[0].end_cycle
            return Repeated(short, schedule, layers, copies, layers[-1].end.end_cycle + copies * period)
        num_blocks *= 2


def _stay_alike(schedule: Schedule, blocks: Blocks, num_blocks: int) -> bool:
    """Return whether the outputs of two blocks leave the chip alike, and so do those of all blocks behind them."""
    written = [
        [(layer.dram_bytes.get("activation_out"), layer.tiling, layer.num_steps) for layer in schedule.layers[place]]
        for place in (_place(blocks, num_blocks - 3), _place(blocks, num_blocks - 2))
    ]
    return bool(written[0] == written[1])


def _is_steady(run: SolvedRun, blocks: Blocks, num_blocks: int) -> bool:
    ends = [run.after[_place(blocks, block).stop - 1].state() for block in (num_blocks - 3, num_blocks - 2)]
    return bool(ends[0] == ends[1])


@dataclass(frozen=True, slots=True)
class RepeatedRun:
    """The counters of a network with so few blocks that the last but one stands for the others.

    ``blocks`` is where the blocks are among ``layers``; ``num_blocks`` how many the network has.
    """

    schedule: Schedule
    layers: tuple[LayerCounters, ...]
    blocks: Blocks
    num_blocks: int
    lower_bound_cycles: int | None
    dram: DramActivity | None

    def block(self, number: int) -> tuple[LayerCounters, ...]:
        """Return the layers of a block of the network, under the names of the one that stands for it."""
        own, from_end = self.blocks.times, self.num_blocks - number
        place = own - 1 if from_end == 1 else min(number, own - 2)
        return self.layers[_place(self.blocks, place)]

    @property
    def before(self) -> tuple[LayerCounters, ...]:
        """Return the layers before the blocks."""
        return self.layers[: self.blocks.first]

    @property
    def behind(self) -> tuple[LayerCounters, ...]:
        """Return the layers behind the blocks."""
        return self.layers[self.blocks.first + self.blocks.times * self.blocks.length :]


def run_repeated(network: BlockNetwork, hardware: HardwareConfig, mapped: Map, solved: SolvedLayers) -> RepeatedRun:
    """Return the counters of a network of equal blocks."""
    num_blocks = FEWEST
    while True:
        found = map_repeated(network, mapped, num_blocks)
        own = found.trace.blocks
        assert own is not None
        run = solve_schedule(found.schedule, hardware, solved)
        if not found.copies or _is_steady(run, own, own.times):
            break
        num_blocks = 2 * own.times
    return RepeatedRun(
        schedule=found.schedule,
        layers=run.layers,
        blocks=own,
        num_blocks=network.num_blocks,
        lower_bound_cycles=found.bound.cycles,
        dram=_activity(run, found, hardware),
    )


def _activity(run: SolvedRun, found: Repeated, hardware: HardwareConfig) -> DramActivity | None:
    """Return what the whole network made of its memory; None of an ideal one."""
    if hardware.memory == "ideal":
        return None
    place = found.middle
    period = run.after[place.stop - 1].end_cycle - run.after[place.start - 1].end_cycle
    until, after = joined_use(run.uses[: place.start]), joined_use(run.uses[: place.stop])
    use = with_copies(until, after, joined_use(run.uses), found.copies, period)
    end = run.after[-1].end_cycle + found.copies * period
    return activity_of(use, end, 1000 / hardware.clock_mhz, hardware.dram)


def expanded(run: RepeatedRun) -> Counters:
    """Return the counters of all layers; copies are the layers that they are copies of, name included."""
    blocks = (row for number in range(run.num_blocks) for row in run.block(number))
    return Counters(
        storage=run.schedule.storage,
        layers=(*run.before, *blocks, *run.behind),
        arithmetic=run.schedule.arithmetic,
        uses_generator=run.schedule.uses_generator,
        decoder=run.schedule.decoder,
        lower_bound_cycles=run.lower_bound_cycles,
        dram=run.dram,
    )


def named(counters: Counters, trace: LayerTrace) -> Counters:
    """Return counters with the layers' names in ``trace``."""
    rows = zip(counters.layers, trace.layers, strict=True)
    layers = tuple(row if row.name == layer.name else replace(row, name=layer.name) for row, layer in rows)
    return replace(counters, layers=layers)
