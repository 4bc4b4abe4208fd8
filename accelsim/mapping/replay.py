"""The latency of one layer alone, by the recurrences that the simulation follows.

With a fixed DMA program every condition is that some counter reaches a value, so each event's time is a maximum of
earlier times plus its own duration: a longest path. Walking along it costs a fifth of the simulation, and gives the
same cycles for a layer on its own with the simple memory. It has no accounts: causes, prefetching across layers and
device timing are the simulation's.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.program import INPUT, PSUM_READ, RESIDUAL, STORE, WEIGHT, DmaProgram, build_program
from accelsim.mapping.schedule import Ints, LayerSchedule
from accelsim.units import ns_to_cycles


def replay_cycles(schedule: LayerSchedule, hardware: HardwareConfig, limit: float = math.inf) -> float:
    """Return the cycles from the layer's first request until its last output has left.

    Infinite where that is more than ``limit``: then the walk stops as soon as what is left of the array's own cycles,
    or of the memory's transfers, shows it.
    """
    replay = _Replay(schedule, hardware)
    program = build_program(schedule)
    bus, ended = replay.bus, replay.ended
    array_left = np.cumsum(schedule.array_cycles[::-1])[::-1].tolist() + [0]
    bus_left = bus.transfers(np.array(program.num_bytes, dtype=np.int64))
    bus_left = np.cumsum(bus_left[::-1])[::-1].tolist()
    for index in range(len(program.kind)):
        array_free = ended[-1] if ended else 0
        if max(bus.free + bus_left[index], array_free + array_left[len(ended)]) > limit:
            return math.inf
        replay.issue(program, index)
    cycles = replay.finish()
    return cycles if cycles <= limit else math.inf


class _Bus:
    """The simple memory's bus: bandwidth, latency beside earlier data, turnaround."""

    def __init__(self, hardware: HardwareConfig) -> None:
        dram, clock = hardware.dram, hardware.clock_mhz
        self.is_ideal = hardware.memory == "ideal"
        rate = Fraction(dram.peak_bytes_per_ns).limit_denominator(10**6) * 1000
        rate /= Fraction(clock).limit_denominator(10**6)
        self.numerator, self.denominator = rate.numerator, rate.denominator
        self.latency = (ns_to_cycles(dram.read_latency_ns, clock), ns_to_cycles(dram.write_latency_ns, clock))
        self.turnaround = ns_to_cycles(dram.turnaround_ns, clock)
        self.free = 0
        self.was_write: bool | None = None

    def transfers(self, num_bytes: Ints) -> Ints:
        """Return the cycles that requests hold the bus."""
        if self.is_ideal:
            return np.zeros_like(num_bytes)
        cycles: Ints = -(-num_bytes * self.denominator // self.numerator)
        return cycles

    def serve(self, now: int, num_bytes: int, is_write: bool) -> int:
        """Return the cycle behind the last data of a request."""
        if self.is_ideal:
            return now
        turned = self.free
        if self.was_write is not None and self.was_write != is_write:
            turned += self.turnaround
        first = max(now + self.latency[is_write], turned)
        self.free = first - (-num_bytes * self.denominator // self.numerator)
        self.was_write = is_write
        return self.free


class _Replay:
    """Times of the events of a layer, each list in the order of its events and only as long as is known yet.

    Attributes
    ----------
    arrived
        By request kind: when the data of each request have arrived.
    begun, ended
        Of each step on the array.
    freed
        When the decoder has used up each weight tile's stored bits.
    generated
        When the generator has made each weight tile.
    drained
        When each output tile has left the vector unit.
    """

    def __init__(self, schedule: LayerSchedule, hardware: HardwareConfig) -> None:
        weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
        self.schedule = schedule
        self.bus = _Bus(hardware)
        decoder, generator = hardware.mask_decoder, hardware.weight_generator
        self.decode_latency = decoder.latency_cycles if decoder is not None else 0
        self.generate_latency = generator.latency_cycles if generator is not None else 0
        self.vector_latency = hardware.vector_unit.latency_cycles
        self.now = 0
        self.arrived: list[list[int]] = [[], [], [], [], []]
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.freed: list[int] = []
        self.generated: list[int] = []
        self.drained: list[int] = []
        self.vector_free = 0
        self.array_cycles = schedule.array_cycles.tolist()
        self.weight_at = dict(zip(weights.step.tolist(), range(weights.step.size), strict=True))
        self.input_at = dict(zip(inputs.step.tolist(), _counts(inputs.fetch_bytes.tolist()), strict=True))
        self.open_at = dict(zip(outputs.first_step.tolist(), range(outputs.first_step.size), strict=True))
        self.weight_release = weights.release.tolist()
        self.fetch_release = weights.fetch_release.tolist()
        self.fetches = _counts(weights.fetch_bytes.tolist())
        self.decode_cycles = weights.decode_cycles.tolist()
        self.generate_cycles = weights.generate_cycles.tolist()
        self.input_release = inputs.release.tolist()
        self.open_after = outputs.open_after.tolist()
        self.psums = _counts(outputs.psum_read_bytes.tolist())
        self.residuals = _counts(outputs.residual_bytes.tolist())
        self.after_store = outputs.after_store.tolist()
        self.last_step = outputs.last_step.tolist()
        self.vector_cycles = outputs.vector_cycles.tolist()
        self.stores: list[int] = [0]
        for value in outputs.store_bytes.tolist():
            self.stores.append(self.stores[-1] + (value > 0))

    def issue(self, program: DmaProgram, index: int) -> None:
        """Issue the next request of the program as soon as its place and its data are there."""
        kind, event = program.kind[index], program.event[index]
        if kind == WEIGHT:
            at = self._weight_place(event)
        elif kind == INPUT:
            at = self._progress(self.input_release[event])
        elif kind == STORE:
            at = self._drained(event + 1)
        elif kind == RESIDUAL:
            at = self._drained(event - 1)
        else:
            source = self.after_store[event]
            at = self._drained(self.open_after[event])
            if source >= 0:
                at = max(at, self.arrived[STORE][self.stores[source]])
        self.now = max(self.now, at)
        self.arrived[kind].append(self.bus.serve(self.now, program.num_bytes[index], kind == STORE))

    def finish(self) -> int:
        """Return when the last output has left, with everything issued."""
        end = self._drained(len(self.vector_cycles))
        return max(end, self.arrived[STORE][-1]) if self.arrived[STORE] else end

    def _weight_place(self, event: int) -> int:
        if not self.schedule.uses_decoder:
            return self._progress(self.weight_release[event])
        needed = self.fetch_release[event]
        return self._decoded(needed) if needed else 0

    def _progress(self, value: int) -> int:
        """Return when the array's progress, in half steps, reached a value."""
        if value <= 0:
            return 0
        step, has_begun = divmod(value, 2)
        if has_begun:
            self._run(step + 1)
            return self.begun[step]
        self._run(step)
        return self.ended[step - 1]

    def _run(self, num_steps: int) -> None:
        """Run the steps below ``num_steps``."""
        while len(self.ended) < num_steps:
            step = len(self.ended)
            at = self.ended[-1] if step else 0
            inputs = self.input_at.get(step, 0)
            if inputs:
                at = max(at, self.arrived[INPUT][inputs - 1])
            visit = self.open_at.get(step, -1)
            if visit >= 0:
                at = max(at, self._drained(self.open_after[visit]))
                if self.psums[visit]:
                    at = max(at, self.arrived[PSUM_READ][self.psums[visit] - 1])
            event = self.weight_at.get(step, -1)
            if event >= 0:
                at = max(at, self._weights(event))
            self.begun.append(at)
            self.ended.append(at + self.array_cycles[step])

    def _weights(self, event: int) -> int:
        """Return when a weight tile is in the weight buffer."""
        at = 0
        if self.schedule.uses_decoder:
            at = self._decoded(event + 1) + self.decode_latency
        elif self.fetches[event]:
            at = self.arrived[WEIGHT][self.fetches[event] - 1]
        if self.schedule.uses_generator:
            while len(self.generated) <= event:
                made = self._make(self.generated, self.generate_cycles, self.schedule.seeds_with_tiles)
                self.generated.append(made)
            at = max(at, self.generated[event] + self.generate_latency)
        return at

    def _decoded(self, num: int) -> int:
        """Return when the decoder has used up the stored bits of the first ``num`` tiles."""
        while len(self.freed) < num:
            self.freed.append(self._make(self.freed, self.decode_cycles, True))
        return self.freed[num - 1]

    def _make(self, done: list[int], cycles: list[int], waits: bool) -> int:
        """Return when decoder or generator end the next tile: behind its place, its stored bits and the tile before."""
        event = len(done)
        at = max(done[-1] if event else 0, self._progress(self.weight_release[event]))
        if waits and self.fetches[event]:
            at = max(at, self.arrived[WEIGHT][self.fetches[event] - 1])
        return at + cycles[event]

    def _drained(self, num: int) -> int:
        """Return when the first ``num`` output tiles have left the vector unit."""
        if num <= 0:
            return 0
        while len(self.drained) < num:
            visit = len(self.drained)
            self._run(self.last_step[visit] + 1)
            at = max(self.vector_free, self.ended[self.last_step[visit]])
            if self.residuals[visit]:
                at = max(at, self.arrived[RESIDUAL][self.residuals[visit] - 1])
            staged = self.stores[visit] - 1
            if staged > 0:
                at = max(at, self.arrived[STORE][staged - 1])
            self.vector_free = at + self.vector_cycles[visit]
            self.drained.append(self.vector_free + self.vector_latency)
        return self.drained[num - 1]


def _counts(present: list[int]) -> list[int]:
    """Return for each event how many events up to it (included) are present, or 0 where it is not."""
    count, table = 0, []
    for value in present:
        count += value > 0
        table.append(count if value else 0)
    return table
