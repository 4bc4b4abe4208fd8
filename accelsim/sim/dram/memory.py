"""The memory as the rest of the chip sees it: a request goes in, the cycles of its data come out.

All cycles here are cycles of the core clock; the memory's own clock stays inside. Requests are offered
one after another in time order (`start_cycle` never decreases between calls).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from accelsim.config.dram import DramConfig
from accelsim.units import ceil_div, ns_to_cycles, round_up


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """When a request's data moved, in core cycles.

    Attributes
    ----------
    first_data_cycle
        The cycle in which the first data are on the bus.
    end_cycle
        The first cycle after the last data.
    busy_cycles
        Cycles for which this request kept the data bus from others; their sum never exceeds the last `end_cycle`.
    """

    first_data_cycle: int
    end_cycle: int
    busy_cycles: int


class MemoryModel(Protocol):
    """A memory with a state (open rows, bus direction, refresh) that lives from one request to the next."""

    def serve(self, start_cycle: int, address: int, num_bytes: int, is_write: bool) -> ServedRequest:
        """Move `num_bytes` from byte `address` on, not before `start_cycle`; the size is rounded up to whole bursts."""
        ...

    def reset(self) -> None:
        """Return to the cold state: nothing open, nothing on the bus, cycle 0."""
        ...

    def state(self, now: int) -> Hashable:
        """Return what decides how later requests are served, relative to cycle ``now``; equal states behave equally."""
        ...

    def leap(self, cycles: int) -> None:
        """Move the memory's clock on by ``cycles``, its state relative to the clock unchanged."""
        ...


class SimpleMemory:
    """Bandwidth, latency and turnaround; no banks.

    A request holds the bus for its rounded-up bytes at peak bandwidth, in whole core cycles. Its latency runs beside
    the data of earlier requests, so a request that starts while the bus is busy hides it. A change of direction leaves
    the bus empty for the turnaround.
    """

    def __init__(self, dram: DramConfig, clock_mhz: float) -> None:
        self._burst_bytes = dram.burst_bytes
        peak = Fraction(dram.peak_bytes_per_ns).limit_denominator(10**6)
        self._bytes_per_cycle = peak * 1000 / Fraction(clock_mhz).limit_denominator(10**6)
        self._read_latency_cycles = ns_to_cycles(dram.read_latency_ns, clock_mhz)
        self._write_latency_cycles = ns_to_cycles(dram.write_latency_ns, clock_mhz)
        self._turnaround_cycles = ns_to_cycles(dram.turnaround_ns, clock_mhz)
        self.reset()

    def reset(self) -> None:
        """Return to the cold state."""
        self._bus_free_cycle = 0
        self._last_is_write: bool | None = None

    def serve(self, start_cycle: int, address: int, num_bytes: int, is_write: bool) -> ServedRequest:
        """Serve one request; see `MemoryModel.serve`. A request of no bytes ends where it starts."""
        if num_bytes <= 0:
            return ServedRequest(start_cycle, start_cycle, 0)
        num_bytes = round_up(num_bytes, self._burst_bytes)
        transfer = ceil_div(num_bytes * self._bytes_per_cycle.denominator, self._bytes_per_cycle.numerator)
        latency = self._write_latency_cycles if is_write else self._read_latency_cycles
        turns = self._last_is_write is not None and self._last_is_write != is_write
        turnaround = self._turnaround_cycles if turns else 0
        first = max(start_cycle + latency, self._bus_free_cycle + turnaround)
        self._bus_free_cycle = first + transfer
        self._last_is_write = is_write
        return ServedRequest(first, first + transfer, transfer + turnaround)

    def state(self, now: int) -> tuple[int, bool | None]:
        """Return what decides how later requests are served, relative to cycle ``now``."""
        return max(self._bus_free_cycle - now, -self._turnaround_cycles), self._last_is_write

    def leap(self, cycles: int) -> None:
        """Move the memory's clock on by ``cycles``, its state relative to the clock unchanged."""
        self._bus_free_cycle += cycles


class SplitBusMemory:
    """Reads and writes on a bus each: two `SimpleMemory` that do not disturb each other."""

    def __init__(self, dram: DramConfig, clock_mhz: float) -> None:
        self._reads = SimpleMemory(dram, clock_mhz)
        self._writes = SimpleMemory(dram, clock_mhz)
        self._last_end_cycle = 0

    def reset(self) -> None:
        """Return to the cold state."""
        self._reads.reset()
        self._writes.reset()
        self._last_end_cycle = 0

    def serve(self, start_cycle: int, address: int, num_bytes: int, is_write: bool) -> ServedRequest:
        """Serve one request; see `MemoryModel.serve`. Cycles in which the other bus was busy anyway are not counted."""
        served = (self._writes if is_write else self._reads).serve(start_cycle, address, num_bytes, is_write)
        begin = max(served.end_cycle - served.busy_cycles, self._last_end_cycle)
        self._last_end_cycle = max(self._last_end_cycle, served.end_cycle)
        return ServedRequest(served.first_data_cycle, served.end_cycle, max(0, served.end_cycle - begin))

    def state(self, now: int) -> Hashable:
        """Return what decides how later requests are served, relative to cycle ``now``."""
        return self._reads.state(now), self._writes.state(now), max(self._last_end_cycle - now, 0)

    def leap(self, cycles: int) -> None:
        """Move the memory's clock on by ``cycles``, its state relative to the clock unchanged."""
        self._reads.leap(cycles)
        self._writes.leap(cycles)
        self._last_end_cycle += cycles


class IdealMemory:
    """A memory that delivers at once."""

    def reset(self) -> None:
        """Return to the cold state; there is none other."""

    def serve(self, start_cycle: int, address: int, num_bytes: int, is_write: bool) -> ServedRequest:
        """Serve one request in no time."""
        return ServedRequest(start_cycle, start_cycle, 0)

    def state(self, now: int) -> tuple[int, bool | None]:
        """Return the state, which never differs."""
        return 0, None

    def leap(self, cycles: int) -> None:
        """Move the clock on; nothing depends on it."""


def build_memory(dram: DramConfig, clock_mhz: float) -> MemoryModel:
    """Return the memory that ``dram.model`` asks for, seen from a core clock of `clock_mhz`.

    Raises
    ------
    ConfigError
        With ``model: timing``, if the standard has no timing table or the configuration contradicts it.
    """
    if dram.model == "timing":
        from accelsim.sim.dram.timing_memory import TimingMemory  # noqa: PLC0415  the simple model needs no numba

        return TimingMemory(dram, clock_mhz)
    if dram.separate_write_bus:
        return SplitBusMemory(dram, clock_mhz)
    return SimpleMemory(dram, clock_mhz)
