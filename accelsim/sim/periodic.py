"""Leaping over whole periods: tiles of equal shape in steady state repeat, so they need to be simulated once.

After each step the state of the chip is written down relative to the present cycle and step: what each unit works on and for how
long still, what is on its way, how far each counter is ahead. If that state is the same as d steps before, and all steps and
requests until some later step look like those d before them, everything until then repeats with period d. All counters, pending
events and accounts are then moved on by whole periods.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
import numpy as np
import numpy.typing as npt

from accelsim.mapping.schedule import NO_RELEASE, LayerSchedule
from accelsim.sim.chip import COUNTER_NAMES, Chip, LayerLists, Unit
from accelsim.sim.dma import Dma
from accelsim.sim.pe_array import PeArray

Ints = npt.NDArray[np.int64]
NUM_PERIODS = 2  # the two innermost loops that are split: longer periods save little and cost memory
LEAST_STEPS = 24  # shorter layers are simulated step by step
MARGIN_STEPS = 8  # the DMA program is ordered by step up to fewer steps than this


def step_shapes(schedule: LayerSchedule) -> Ints:
    """Return for each step a number that is equal for steps with equal work, bytes and (relative) waiting conditions."""
    num = schedule.num_steps
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    columns: list[Ints] = [schedule.compute_cycles, schedule.fill_drain_cycles, schedule.stall_cycles]

    def place(steps: Ints, values: Ints) -> None:
        column = np.full(num, -1, dtype=np.int64)
        column[steps] = values
        columns.append(column)

    def relative(release: Ints, steps: Ints) -> Ints:
        return np.where(release == NO_RELEASE, NO_RELEASE, release - 2 * steps)

    events = np.arange(weights.step.size, dtype=np.int64)
    for values in (
        relative(weights.release, weights.step), weights.fetch_bytes, events - weights.fetch_release,
        weights.decode_cycles, weights.generate_cycles,
    ):  # fmt: skip
        place(weights.step, values)
    place(inputs.step, relative(inputs.release, inputs.step))
    place(inputs.step, inputs.fetch_bytes)
    visits = np.arange(outputs.first_step.size, dtype=np.int64)
    place(outputs.first_step, visits - outputs.open_after)
    place(outputs.first_step, outputs.psum_read_bytes)
    place(outputs.first_step, np.where(outputs.after_store < 0, -1, visits - outputs.after_store))
    for values in (outputs.vector_cycles, outputs.residual_bytes, outputs.store_bytes, visits * 0):
        place(outputs.last_step, values)
    _, shapes = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return shapes.reshape(-1).astype(np.int64)


def repeat_ends(shapes: Ints, period: int) -> Ints:
    """Return for each step j the first step e >= j for which step e does not look like step e + ``period`` (or it is beyond the end)."""
    num = shapes.size
    if period >= num:
        return np.arange(num, dtype=np.int64)
    differs = np.ones(num, dtype=bool)
    differs[: num - period] = shapes[: num - period] != shapes[period:]
    positions = np.where(differs, np.arange(num, dtype=np.int64), num)
    return np.minimum.accumulate(positions[::-1])[::-1]


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


class PeriodDetector:
    """Watches the array's steps and leaps when the chip's state repeats.

    Attributes
    ----------
    history
        Step -> (state, totals) of the last steps.
    """

    def __init__(self, chip: Chip, array: PeArray, dma: Dma, others: tuple[Unit, Unit, Unit]) -> None:
        self.chip = chip
        self.array = array
        self.dma = dma
        self.decoder, self.generator, self.vector = others
        self.units: tuple[Unit, ...] = (dma, *others)
        self.layer = -1
        self.ends: dict[int, list[int]] = {}
        self.history: dict[int, tuple[Hashable, list[int]]] = {}

    def after_step(self) -> None:
        """Compare the state with those of earlier steps and leap if one repeats."""
        if self.array.layer != self.layer:
            self._enter_layer()
        if not self.ends:
            return
        positions = self._positions()
        if positions is None:
            return
        step = self.array.index
        state, totals = self._state(step), self._totals()
        for period, ends in self.ends.items():
            before = self.history.get(step - period)
            if before is not None and before[0] == state:
                repeats = self._repeats(period, ends, positions)
                if repeats > 0:
                    self._leap(repeats, [now - then for now, then in zip(totals, before[1], strict=True)], period)
                    self.history.clear()
                    return
        self.history[step] = (state, totals)
        self.history.pop(step - max(self.ends) - 1, None)

    def _enter_layer(self) -> None:
        """Prepare the step shapes of a layer; short layers are not watched."""
        self.layer = self.array.layer
        self.history.clear()
        lists = self.chip.lists[self.layer]
        self.ends = {}
        periods = [period for period in lists.schedule.periods if 3 * period + MARGIN_STEPS <= lists.num_steps]
        if lists.num_steps < LEAST_STEPS or not periods:
            return
        shapes = step_shapes(lists.schedule)
        self.ends = {period: repeat_ends(shapes, period).tolist() for period in periods[:NUM_PERIODS]}
        self.ranks = _ranks(lists)
        self.output_steps = lists.schedule.outputs.last_step.tolist()
        self.weight_steps = lists.schedule.weights.step.tolist()

    def _positions(self) -> list[int] | None:
        """Return the steps that the units' next events belong to; None where a unit is in another layer."""
        lists = self.chip.lists[self.layer]
        tables = [(self.dma, lists.program.step), (self.vector, self.output_steps)]
        if lists.schedule.uses_decoder:
            tables.append((self.decoder, self.weight_steps))
        if lists.schedule.uses_generator:
            tables.append((self.generator, self.weight_steps))
        positions = [self.array.index]
        for unit, steps in tables:
            if not steps:
                continue
            if unit.layer != self.layer or unit.index >= len(steps):
                return None
            positions.append(steps[unit.index])
        return positions

    def _state(self, step: int) -> Hashable:
        """Return the chip's state relative to the present cycle and step."""
        now = int(self.chip.env.now)
        lists, ranks = self.chip.lists[self.layer], self.ranks
        units = tuple(
            (
                unit.wake - now if unit.wake >= 0 else None,
                unit.blocked.since - now if unit.blocked.since >= 0 else None,
                tuple(cycle - now for cycle in unit.arriving),
            )
            for unit in self.units
        )
        indices = (
            self.dma.index - ranks.requests[step],
            self.vector.index - ranks.outputs[step],
            self.decoder.index - ranks.weights[step] if lists.schedule.uses_decoder else 0,
            self.generator.index - ranks.weights[step] if lists.schedule.uses_generator else 0,
        )
        counters = tuple(
            (getattr(self.chip, name).value - table[step], len(getattr(self.chip, name).waiting))
            for name, table in ranks.counters.items()
        )
        return units, indices, counters, len(self.chip.array.waiting), self.dma.memory.state(now)

    def _accounts(self) -> list[int]:
        causes = self.array.causes[self.layer]
        return [*causes.values(), *self.dma.moved_bytes[self.layer]]

    def _totals(self) -> list[int]:
        """Return all that grows: time, positions, counters, busy and blocked cycles, causes, bytes."""
        counters = [getattr(self.chip, name).value for name in COUNTER_NAMES]
        units = [value for unit in (*self.units, self.array) for value in (unit.busy[self.layer], unit.blocked.now())]
        indices = [unit.index for unit in self.units]
        return [int(self.chip.env.now), *indices, *counters, *units, *self._accounts()]

    def _repeats(self, period: int, ends: list[int], positions: list[int]) -> int:
        """Return how many whole periods may be leaped over: all units stay within the steps that repeat."""
        lowest = max(0, min(positions) - period - MARGIN_STEPS)
        last = ends[lowest] + period - 1 - MARGIN_STEPS
        return (last - max(positions)) // period

    def _leap(self, repeats: int, growth: list[int], period: int) -> None:
        """Move everything on by ``repeats`` periods."""
        chip, grown = self.chip, iter(repeats * value for value in growth)
        cycles = next(grown)
        chip.env.leap(cycles)
        self.dma.memory.leap(cycles)
        for unit in self.units:
            moves = unit.layer == self.layer
            difference = next(grown)
            unit.index += difference if moves else 0
        self.array.index += repeats * period
        for name in COUNTER_NAMES:
            getattr(chip, name).leap(next(grown))
        for unit in (*self.units, self.array):
            unit.busy[self.layer] += next(grown)
            unit.blocked.leap(cycles, next(grown))
            unit.wake += cycles if unit.wake >= 0 else 0
            unit.arriving = type(unit.arriving)(cycle + cycles for cycle in unit.arriving)
        causes = self.array.causes[self.layer]
        for cause in causes:
            causes[cause] += next(grown)
        for kind in range(len(self.dma.moved_bytes[self.layer])):
            self.dma.moved_bytes[self.layer][kind] += next(grown)
