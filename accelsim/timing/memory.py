"""The memory as the rest of the chip sees it, and the two simple kinds of it: bandwidth with latency, and ideal.

All cycles here are cycles of the core clock. Requests are offered one after another in time order (the start never
falls between calls). The arithmetic stands once, in `serve_simply`: the objects below, the simulation, the solver in
plain Python and the compiled one all call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import device_of
from accelsim.timing.power_states import DramStates, MemoryUse, refresh_ns, use_of_requests
from accelsim.units import ns_to_cycles, round_up

Ints = npt.NDArray[np.int64]
IDEAL, ONE_BUS, TWO_BUSES, CALLED = range(4)  # ``CALLED``: an object that answers one request after another

# Places in the row of integers that describes a simple memory: constants, then its state.
(
    KIND, READ_LATENCY, WRITE_LATENCY, TURNAROUND, POWER_DOWN, POWER_UP, SELF_REFRESH, SELF_REFRESH_EXIT, BUS_FREE,
    WRITE_BUS_FREE, LAST_WAS_WRITE, LAST_END, BUSY,
) = range(13)  # fmt: skip
CYCLES_OF_MEMORY = (BUS_FREE, WRITE_BUS_FREE, LAST_END)
NO_REQUEST_YET = -1
NEVER = 1 << 60
REGION_BYTES = 1 << 28


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

    def serve(
        self, start_cycle: int, address: int, num_bytes: int, is_write: bool, bus_cycles: int = -1
    ) -> ServedRequest:
        """Move `num_bytes` from byte `address` on, not before `start_cycle`; the size is rounded up to whole bursts.

        `bus_cycles` that are not negative are taken for the transfer, by memories without banks.
        """
        ...

    def reset(self) -> None:
        """Return to the cold state: nothing open, nothing on the bus, cycle 0."""
        ...

    def states(self, end_cycle: int) -> DramStates | None:
        """Return what the memory has done up to the end of a run; None where it is worked out from the gaps."""
        ...


def serve_simply(now: int, is_write: int, transfer: int, memory: Any) -> int:
    """Return when a request's data have crossed the bus, and keep the bus in ``memory`` (a row as described above).

    The latency runs beside the data of earlier requests, so that a request which starts while the bus is busy hides
    it; one that finds the memory asleep waits for the exit first. Refresh is in ``transfer``. A change of direction
    leaves the bus empty for the turnaround.
    """
    if memory[KIND] == IDEAL:
        memory[BUSY] = 0
        return now
    ready: int = now + (memory[WRITE_LATENCY] if is_write else memory[READ_LATENCY])
    # Two buses are of one memory: it sleeps only where both have been quiet for so long.
    idle = now - max(memory[BUS_FREE], memory[WRITE_BUS_FREE])
    if idle > memory[SELF_REFRESH]:
        ready += memory[SELF_REFRESH_EXIT]
    elif idle > memory[POWER_DOWN]:
        ready += memory[POWER_UP]
    if memory[KIND] == TWO_BUSES:
        bus = WRITE_BUS_FREE if is_write else BUS_FREE
        ready = max(ready, memory[bus]) + transfer
        memory[bus] = ready
        # Cycles in which the other bus was busy anyway are not counted twice.
        memory[BUSY] = max(0, ready - max(ready - transfer, memory[LAST_END]))
        memory[LAST_END] = max(memory[LAST_END], ready)
        return ready
    # Nothing turns before the first request.
    turnaround = 0
    if memory[LAST_WAS_WRITE] != NO_REQUEST_YET and memory[LAST_WAS_WRITE] != is_write:
        turnaround = memory[TURNAROUND]
    memory[LAST_WAS_WRITE] = is_write
    ready = max(ready, memory[BUS_FREE] + turnaround) + transfer
    memory[BUS_FREE] = ready
    memory[BUSY] = transfer + turnaround
    return ready


def memory_row(hardware: HardwareConfig) -> list[int]:
    """Return the row of a chip's memory in its cold state, as `serve_simply` takes it."""
    if hardware.memory == "ideal":
        return [IDEAL, 0, 0, 0, NEVER, 0, NEVER, 0, *_COLD]
    return dram_row(hardware.dram, hardware.clock_mhz)


_COLD = (0, 0, NO_REQUEST_YET, 0, 0)


def dram_row(dram: DramConfig, clock_mhz: float) -> list[int]:
    """Return the row of a simple DRAM in its cold state."""
    latencies = (dram.read_latency_ns, dram.write_latency_ns, dram.turnaround_ns)
    kind = TWO_BUSES if dram.separate_write_bus else ONE_BUS
    device = device_of(dram.standard)
    sleeps = [
        value
        for after_ns, exit_cycles in (
            (dram.power_down_after_ns, device.timing.xp_cycles), (dram.self_refresh_after_ns, device.timing.xs_cycles)
        )
        for value in (
            NEVER if after_ns is None else ns_to_cycles(after_ns, clock_mhz),
            ns_to_cycles(exit_cycles * device.tck_ns, clock_mhz),
        )
    ]  # fmt: skip
    return [kind, *(ns_to_cycles(value, clock_mhz) for value in latencies), *sleeps, *_COLD]


def oldest_that_matters(row: Sequence[int]) -> int:
    """Return for how many cycles a memory's row remembers when its bus was used."""
    # One more: a memory sleeps when it has been idle for longer than that, not for as long.
    return max(value for value in (row[TURNAROUND], row[POWER_DOWN], row[SELF_REFRESH]) if value < NEVER) + 1


@lru_cache(maxsize=64)
def bytes_per_cycle(dram: DramConfig, clock_mhz: float) -> Fraction:
    """Return the bytes that move in a core cycle on a busy bus: the peak, less what refreshes take of it.

    A refresh stops all banks for tRFC in each tREFI. A transfer meets as many as begin in its time, so that each is
    longer by that share in the mean; refreshes between requests cost nothing, those of one bank leave the bus free.
    """
    # A fraction, so that whole cycles do not hang on how floats are rounded.
    rate = Fraction(dram.peak_bytes_per_ns).limit_denominator(10**6)
    if dram.refresh == "all_bank":
        interval, length = refresh_ns(dram, device_of(dram.standard))
        rate *= 1 - Fraction(length / interval).limit_denominator(10**6)
    return rate * 1000 / Fraction(clock_mhz).limit_denominator(10**6)


def cycles_per_piece(hardware: HardwareConfig, is_write: bool, hits: bool = False) -> float:
    """Return the least cycles from one piece of a transfer to its next; 0 where transfers are not cut.

    A piece has at most `dma.max_request_bytes`. Each is issued in `dma.request_cycles` and keeps one of the memory's
    entries until its last word has come: so many entries let through no more than that in latency and transfer
    (Little's law). What ``hits`` a cache does not wait for the memory.
    """
    dma, dram = hardware.dma, hardware.dram
    if dma.max_request_bytes is None:
        return 0.0
    issue, entries = float(dma.request_cycles), dram.num_outstanding_requests
    if entries is None or hits:
        return issue
    latency = ns_to_cycles(dram.write_latency_ns if is_write else dram.read_latency_ns, hardware.clock_mhz)
    held = latency + dma.max_request_bytes / float(bytes_per_cycle(dram, hardware.clock_mhz))
    return max(issue, held / entries)


def transfer_cycles(num_bytes: Ints, bus_cycles: Ints, dram: DramConfig, clock_mhz: float) -> Ints:
    """Return the whole core cycles for which requests of whole bursts hold a bus, int64 as ``num_bytes``.

    ``bus_cycles`` that are not negative are taken as they are.
    """
    rate = bytes_per_cycle(dram, clock_mhz)
    cycles: Ints = np.where(bus_cycles >= 0, bus_cycles, -(-num_bytes * rate.denominator // rate.numerator))
    return cycles


def addresses(kinds: Ints, num_bytes: Ints, moved_bytes: Ints) -> Ints:
    """Return where requests begin in memory, int64 [num_requests].

    Loads, inputs, partial sums, residuals and outputs lie in regions of their own, each in order of use;
    ``moved_bytes`` [kinds] of each were moved before.
    """
    offset = np.zeros(kinds.size, dtype=np.int64)
    for kind, moved in enumerate(moved_bytes.tolist()):
        chosen = np.flatnonzero(kinds == kind)
        before = np.cumsum(num_bytes[chosen]) - num_bytes[chosen]
        # Around within the region: which rows and banks are met matters, not how large a memory there is.
        offset[chosen] = kind * REGION_BYTES + (moved + before) % REGION_BYTES
    return offset


def use_of_layer(kinds: Ints, num_bytes: Ints, arrival: Ints, end: Ints, hardware: HardwareConfig) -> MemoryUse:
    """Return what a layer's requests make of the memory; addresses count from the layer's own first ones.

    Parameters
    ----------
    arrival, end
        When each request reaches the memory, and when its last word has crossed, in cycles.
    """
    if hardware.memory == "ideal":
        return MemoryUse()
    address = addresses(kinds, num_bytes, np.zeros(int(kinds.max(initial=0)) + 1, dtype=np.int64))
    return use_of_requests(arrival, end, address, num_bytes, 1000 / hardware.clock_mhz, hardware.dram)


class SimpleMemory:
    """Bandwidth, latency and turnaround, on one bus or (``separate_write_bus``) two; no banks."""

    def __init__(self, dram: DramConfig, clock_mhz: float) -> None:
        self._dram, self._clock_mhz = dram, clock_mhz
        self._rate = bytes_per_cycle(dram, clock_mhz)
        self.reset()

    def reset(self) -> None:
        """Return to the cold state."""
        self._row = dram_row(self._dram, self._clock_mhz)

    def serve(
        self, start_cycle: int, address: int, num_bytes: int, is_write: bool, bus_cycles: int = -1
    ) -> ServedRequest:
        """Serve one request; see `MemoryModel.serve`. A request of no bytes ends where it starts."""
        if num_bytes <= 0:
            return ServedRequest(start_cycle, start_cycle, 0)
        transfer = bus_cycles
        if bus_cycles < 0:
            whole = round_up(num_bytes, self._dram.burst_bytes)
            transfer = -(-whole * self._rate.denominator // self._rate.numerator)
        end = serve_simply(start_cycle, int(is_write), transfer, self._row)
        return ServedRequest(end - transfer, end, self._row[BUSY])

    def states(self, end_cycle: int) -> None:
        """Return None: see `accelsim.timing.power_states.states_from_gaps`."""


class IdealMemory:
    """A memory that delivers at once."""

    def reset(self) -> None:
        """Return to the cold state; there is none other."""

    def serve(
        self, start_cycle: int, address: int, num_bytes: int, is_write: bool, bus_cycles: int = -1
    ) -> ServedRequest:
        """Serve one request in no time."""
        return ServedRequest(start_cycle, start_cycle, 0)

    def states(self, end_cycle: int) -> None:
        """Return None: there are none."""
