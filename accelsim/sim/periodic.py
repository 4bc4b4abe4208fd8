"""Leaping over whole periods: tiles of equal shape in steady state repeat, so they need to be simulated once.

A zone is a run of steps each of which looks like the one ``period`` steps later: same work, same bytes, same waiting
conditions
relative to itself. Now and then the state of the chip is written down relative to the present cycle and step: what each
unit works on
and for how long still, what is on its way, how far each counter is ahead. If an equal state was seen d steps before, in
the same zone and
with d a multiple of its period, everything repeats with period d until a unit comes to the end of the zone. All
counters, pending
events and accounts are then moved on by whole periods.

A unit whose next event lies behind the zone (or in a later layer) is parked: it waits for a fixed value and has
delivered all that
the zone needs. It stays as it is, and no leap may reach what it waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accelsim.mapping.schedule import NO_RELEASE, LayerSchedule
from accelsim.sim.chip import COUNTER_NAMES, Chip, LayerLists, Unit
from accelsim.sim.dma import Dma
from accelsim.sim.environment import Progress
from accelsim.sim.pe_array import PeArray

Ints = npt.NDArray[np.int64]
ALWAYS = -(1 << 61)  # a condition that holds as soon as the layer has begun
FAR = 1 << 61
LEAST_STEPS = 32  # shorter zones are simulated step by step
MARGIN_STEPS = 8  # the DMA program is ordered by step up to fewer steps than this
PATIENCE = 4  # samples of a zone before they become half as frequent


def step_columns(schedule: LayerSchedule) -> Ints:
    """Return what decides how each step behaves, int64 [num_columns, num_steps].

    Work, bytes, and what it waits for relative to itself.
    """
    num = schedule.num_steps
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    columns: list[Ints] = [schedule.compute_cycles, schedule.fill_drain_cycles, schedule.stall_cycles]

    def place(steps: Ints, values: Ints) -> None:
        column = np.full(num, FAR, dtype=np.int64)
        column[steps] = values
        columns.append(column)

    def relative(release: Ints, steps: Ints) -> Ints:
        return np.where(release == NO_RELEASE, ALWAYS, release - 2 * steps)

    events = np.arange(weights.step.size, dtype=np.int64)
    place(weights.step, relative(weights.release, weights.step))
    place(weights.step, weights.fetch_bytes)
    place(weights.step, np.where(weights.fetch_release == 0, ALWAYS, events - weights.fetch_release))
    place(weights.step, weights.decode_cycles)
    place(weights.step, weights.generate_cycles)
    place(inputs.step, relative(inputs.release, inputs.step))
    place(inputs.step, inputs.fetch_bytes)
    visits = np.arange(outputs.first_step.size, dtype=np.int64)
    place(outputs.first_step, np.where(outputs.open_after == 0, ALWAYS, visits - outputs.open_after))
    place(outputs.first_step, outputs.psum_read_bytes)
    place(outputs.first_step, np.where(outputs.after_store < 0, ALWAYS, visits - outputs.after_store))
    place(outputs.last_step, outputs.vector_cycles)
    place(outputs.last_step, outputs.residual_bytes)
    place(outputs.last_step, outputs.store_bytes)
    place(outputs.last_step, np.roll(outputs.store_bytes, 1))  # a tile may be stored at the end of the next one
    return np.stack(columns)


@dataclass(slots=True)
class Zone:
    """Steps ``start`` to ``end`` - 1, each like the one ``period`` steps later, and the states seen in it."""

    period: int
    start: int
    end: int
    next_step: int
    interval: int
    num_samples: int = 0
    seen: dict[Hashable, tuple[int, list[int]]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """Return the last step that is still part of the repetition."""
        return self.end + self.period - 1

    def postpone(self, step: int) -> None:
        """Choose the next step to look at, ever more rarely."""
        self.num_samples += 1
        if self.num_samples % PATIENCE == 0:
            self.interval *= 2
        self.next_step = step + self.interval
        if self.next_step + self.interval + MARGIN_STEPS > self.last:
            self.next_step = FAR


def find_zones(schedule: LayerSchedule) -> list[Zone]:
    """Return the zones of a layer that are long enough to be worth watching, by their first step."""
    num = schedule.num_steps
    if num < LEAST_STEPS:
        return []
    columns = step_columns(schedule)
    zones: list[Zone] = []
    for period in schedule.periods:
        least = max(4 * period, LEAST_STEPS)
        if least > num:
            continue
        same = np.zeros(num - period + 2, dtype=np.int8)
        same[1:-1] = (columns[:, period:] == columns[:, :-period]).all(axis=0)
        edges = np.diff(same)
        for start, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
            if end + period - start >= least:
                zones.append(Zone(period, start, end, start + 2 * MARGIN_STEPS, period))
    return sorted(zones, key=lambda zone: (zone.start, zone.period))


@dataclass(frozen=True, slots=True)
class Ranks:
    """For each step of a layer (and the end): how many events of each kind belong to the steps before it."""

    requests: list[int]
    weights: list[int]
    outputs: list[int]
    counters: dict[str, list[int]]


def _rank(num_steps: int, steps: Ints) -> list[int]:
    return np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=num_steps))]).tolist()  # type: ignore[no-any-return]


def _ranks(lists: LayerLists) -> Ranks:
    schedule, num = lists.schedule, lists.num_steps
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    of_weights, of_outputs = _rank(num, weights.step), _rank(num, outputs.last_step)
    return Ranks(
        requests=_rank(num, np.array(lists.program.step, dtype=np.int64)),
        weights=of_weights,
        outputs=of_outputs,
        counters={
            "fetched": _rank(num, weights.step[weights.fetch_bytes > 0]),
            "inputs": _rank(num, inputs.step[inputs.fetch_bytes > 0]),
            "psums": _rank(num, outputs.first_step[outputs.psum_read_bytes > 0]),
            "residuals": _rank(num, outputs.last_step[outputs.residual_bytes > 0]),
            "stored": _rank(num, outputs.last_step[outputs.store_bytes > 0]),
            "decoder_free": of_weights, "decoded": of_weights, "generated": of_weights,
            "ready": of_outputs, "drained": of_outputs,
        },
    )  # fmt: skip


COUNTERS_OF = {
    "dma": ("fetched", "inputs", "psums", "residuals", "stored"),
    "mask_decoder": ("decoder_free", "decoded"),
    "weight_generator": ("generated",),
    "vector_unit": ("ready", "drained"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """The chip's state relative to the present, where its moving units are, and which are parked, up to where."""

    state: Hashable
    lowest: int
    highest: int
    parked: frozenset[Unit]
    parked_step: int


class PeriodDetector:
    """Watches the array's steps and leaps when the chip's state repeats.

    Attributes
    ----------
    zones
        The zones of the present layer that are not yet behind the array.
    next_step
        The first step at which any of them is to be looked at.
    num_leaps, num_leaped_steps
        What was saved so far.
    """

    def __init__(self, chip: Chip, array: PeArray, dma: Dma, others: tuple[Unit, Unit, Unit]) -> None:
        self.chip = chip
        self.array = array
        self.dma = dma
        self.units: tuple[Unit, ...] = (dma, *others)
        self.vector = others[2]
        self.counters: dict[str, Progress] = {name: getattr(chip, name) for name in COUNTER_NAMES}
        self.layer = -1
        self.zones: list[Zone] = []
        self.next_step = FAR
        self.num_leaps = 0
        self.num_leaped_steps = 0

    def after_step(self) -> None:
        """Compare the state with those of earlier steps and leap if one repeats."""
        if self.array.layer != self.layer:
            self._enter_layer()
        if self.array.index < self.next_step:
            return
        for zone in self.zones:
            if zone.start > self.array.index:
                break
            if zone.next_step <= self.array.index:
                self._look(zone)
        self.zones = [zone for zone in self.zones if zone.next_step < FAR]
        self.next_step = min((zone.next_step for zone in self.zones), default=FAR)

    def _enter_layer(self) -> None:
        """Find the zones of a layer; short layers have none."""
        self.layer = self.array.layer
        lists = self.chip.lists[self.layer]
        self.zones = find_zones(lists.schedule)
        self.next_step = min((zone.next_step for zone in self.zones), default=FAR)
        if not self.zones:
            return
        self.ranks = _ranks(lists)
        remaining = np.minimum.accumulate(np.array(lists.program.step, dtype=np.int64)[::-1])[::-1]
        weight_steps = lists.schedule.weights.step.tolist()
        self.steps_of = {
            "dma": (lists.program.step, remaining.tolist()),
            "mask_decoder": (weight_steps, weight_steps) if lists.schedule.uses_decoder else ([], []),
            "weight_generator": (weight_steps, weight_steps) if lists.schedule.uses_generator else ([], []),
            "vector_unit": (lists.schedule.outputs.last_step.tolist(),) * 2,
        }
        self.rank_of = {
            "dma": self.ranks.requests, "mask_decoder": self.ranks.weights, "weight_generator": self.ranks.weights,
            "vector_unit": self.ranks.outputs,
        }  # fmt: skip

    def _look(self, zone: Zone) -> None:
        """Write the state down, and leap if the zone has seen it before."""
        step = self.array.index
        zone.postpone(step)
        sample = self._sample(zone, step)
        if sample is None or sample.lowest - MARGIN_STEPS < zone.start:
            return
        totals = self._totals()
        before = zone.seen.get(sample.state)
        if before is None:
            zone.seen[sample.state] = (step, totals)
            return
        period = step - before[0]
        growth = [now - then for now, then in zip(totals, before[1], strict=True)]
        repeats = self._repeats(zone, sample, period, growth)
        if repeats > 0:
            self._leap(repeats, growth, period, sample.parked)
            zone.next_step = FAR

    def _sample(self, zone: Zone, step: int) -> Sample | None:
        """Return the state relative to the present; None while a unit is in no state that a leap could keep."""
        now = self.chip.env.cycle
        waits = {waiter: name for name, counter in self.counters.items() for _, waiter in counter.waiting}
        state: list[Hashable] = [self.dma.memory.state(now)]
        parked, parked_step, lowest, highest = [], FAR, step, step
        satisfied: list[str] = []
        for unit in self.units:
            steps, remaining = self.steps_of[unit.name]
            here = unit.layer == self.layer and unit.index < len(steps)
            if here and remaining[unit.index] < zone.end:
                arriving = tuple((cycle - now, name) for cycle, name in unit.arriving)
                wake = unit.wake - now if unit.wake >= 0 else None
                place = unit.index - self.rank_of[unit.name][step]
                state.append((place, wake, waits.get(unit), unit.blocked.since >= 0, arriving))
                lowest, highest = min(lowest, steps[unit.index]), max(highest, steps[unit.index])
                continue
            if unit.arriving or unit.wake >= 0 or not (unit.is_done or unit in waits):
                return None
            state.append((unit.layer, unit.index))
            parked.append(unit)
            parked_step = min(parked_step, remaining[unit.index] if here else FAR)
            satisfied += COUNTERS_OF[unit.name]
        for name, table in self.ranks.counters.items():
            state.append(ALWAYS if name in satisfied else self.counters[name].value - table[step])
        return Sample(tuple(state), lowest, highest, frozenset(parked), parked_step)

    def _totals(self) -> list[int]:
        """Return all that grows: time, positions, counters, busy and blocked cycles, causes, bytes."""
        counters = [counter.value for counter in self.counters.values()]
        units = [value for unit in (*self.units, self.array) for value in (unit.busy[self.layer], unit.blocked.now())]
        indices = [unit.index for unit in self.units]
        accounts = [*self.array.causes[self.layer].values(), *self.dma.moved_bytes[self.layer]]
        return [self.chip.env.cycle, *indices, *counters, *units, *accounts]

    def _repeats(self, zone: Zone, sample: Sample, period: int, growth: list[int]) -> int:
        """Return how many periods may be leaped over: moving units stay in the zone, and no parked one is reached."""
        if period % zone.period:
            return 0
        last = min(zone.last, sample.parked_step - 1) - MARGIN_STEPS
        repeats = (last - sample.highest) // period
        grown = growth[1 + len(self.units) :]
        for counter, per_period in zip(self.counters.values(), grown, strict=False):
            for value, waiter in counter.waiting:
                if waiter in sample.parked and per_period:
                    repeats = min(repeats, (value - 1 - counter.value) // per_period)
        return repeats

    def _leap(self, repeats: int, growth: list[int], period: int, parked: frozenset[Unit]) -> None:
        """Move everything on by ``repeats`` periods."""
        chip, grown = self.chip, iter(repeats * value for value in growth)
        cycles = next(grown)
        chip.env.leap(cycles)
        self.dma.memory.leap(cycles)
        for unit in self.units:
            unit.index += next(grown)
        self.array.index += repeats * period
        for counter in self.counters.values():
            counter.leap(next(grown), parked)
        worked = [(next(grown), next(grown)) for _ in (*self.units, self.array)]
        of_vector_unit = worked[self.units.index(self.vector)][1]
        for unit, (busy, blocked) in zip((*self.units, self.array), worked, strict=True):
            unit.busy[self.layer] += busy
            unit.blocked.leap(cycles, blocked, of_vector_unit if unit is self.dma else 0)
            unit.wake += cycles if unit.wake >= 0 else 0
            unit.arriving = deque((cycle + cycles, name) for cycle, name in unit.arriving)
        causes = self.array.causes[self.layer]
        for cause in causes:
            causes[cause] += next(grown)
        for kind in range(len(self.dma.moved_bytes[self.layer])):
            self.dma.moved_bytes[self.layer][kind] += next(grown)
        self.num_leaps += 1
        self.num_leaped_steps += repeats * period
