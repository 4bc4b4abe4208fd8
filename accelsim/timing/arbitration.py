"""How a memory chooses among the requests of several cores: in which order, from how many queues, and how far ahead."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import device_of
from accelsim.timing.memory import READ_LATENCY, WRITE_LATENCY, memory_row
from accelsim.units import ns_to_cycles

# Numbers of the policies in the solver's table; `ALONE`: one station asks, and nothing is chosen.
ALONE, OLDEST_FIRST, ROUND_ROBIN = range(3)


@dataclass(frozen=True, slots=True)
class Arbitration:
    """How a memory chooses.

    Attributes
    ----------
    policy
        `ALONE`, `OLDEST_FIRST` or `ROUND_ROBIN`.
    is_apart
        Whether reads and writes are chosen apart from each other, each among themselves.
    ahead_cycles
        For reads and for writes, how long before the last data of the requests that it has the memory takes another
        one.
    """

    policy: int
    is_apart: bool = False
    ahead_cycles: tuple[int, int] = (0, 0)

    def row(self) -> tuple[int, int, int, int]:
        """Return the integers that the solver's loops read."""
        return self.policy, int(self.is_apart), *self.ahead_cycles


def arbitration_of(hardware: HardwareConfig, is_timed: bool) -> Arbitration:
    """Return how a chip's memory chooses; ``is_timed``: a memory with banks and queues answers, not the simple one.

    A simple memory takes a request as late as its latency still hides behind the data before it. One with queues takes
    it when the last burst of the request before has found a place: so many bursts before its end as the queue holds.
    """
    dram = hardware.dram
    policy = ROUND_ROBIN if dram.arbitration == "round_robin" else OLDEST_FIRST
    if is_timed:
        return Arbitration(policy, dram.controller != "in_order", _queued_cycles(dram, hardware.clock_mhz))
    row = memory_row(hardware)
    read, write = row[READ_LATENCY], row[WRITE_LATENCY]
    if dram.separate_write_bus:  # two buses, as the two address channels of AXI, each with an arbiter of its own
        return Arbitration(policy, True, (read, write))
    return Arbitration(policy, False, (max(read, write),) * 2)


def _queued_cycles(dram: DramConfig, clock_mhz: float) -> tuple[int, int]:
    """Return for how long a full queue of reads, and of writes, keeps the bus of its channel busy."""
    table = device_of(dram.standard)
    burst_ns = table.timing.burst_cycles * table.tck_ns
    writes = dram.num_read_queue_entries if dram.controller == "in_order" else dram.num_write_queue_entries
    read, write = (ns_to_cycles(number * burst_ns, clock_mhz) for number in (dram.num_read_queue_entries, writes))
    return read, write
