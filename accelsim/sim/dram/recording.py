"""The requests of a run, written down: a memory that notes what it is asked and lets another one answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from accelsim.timing.memory import MemoryModel, ServedRequest
from accelsim.timing.power_states import DramStates


@dataclass(slots=True)
class RequestLog:
    """What the memory of a run was asked: start cycle, address, bytes, and whether it is a write."""

    requests: list[tuple[int, int, int, bool]] = field(default_factory=list)

    def tap(self, memory: MemoryModel) -> MemoryModel:
        """Return ``memory`` with every request noted here."""
        return RecordingMemory(memory, self)

    def text(self, clock_mhz: float, end_cycle: int) -> str:
        """Return the requests as lines ``ARRIVAL_NS R|W ADDRESS BYTES``, and ``end NS`` for the end of the run."""
        ns_per_cycle = 1000 / Fraction(clock_mhz).limit_denominator(10**6)
        lines = [
            f"{_shown(cycle * ns_per_cycle)} {'W' if is_write else 'R'} {address:#x} {num_bytes}"
            for cycle, address, num_bytes, is_write in self.requests
        ]
        return "\n".join([*lines, f"end {_shown(end_cycle * ns_per_cycle)}"]) + "\n"


def _shown(value_ns: Fraction) -> str:
    """Return a time to the femtosecond, without zeros behind it."""
    text = f"{float(value_ns):.6f}"
    return text.rstrip("0").rstrip(".")


class RecordingMemory:
    """A memory in front of another; see `accelsim.timing.memory.MemoryModel`."""

    def __init__(self, memory: MemoryModel, log: RequestLog) -> None:
        self._memory = memory
        self._log = log

    def reset(self) -> None:
        """Return to the cold state; what was noted is forgotten."""
        self._log.requests.clear()
        self._memory.reset()

    def serve(
        self, start_cycle: int, address: int, num_bytes: int, is_write: bool, bus_cycles: int = -1
    ) -> ServedRequest:
        """Note a request that moves data, and let the other memory serve it."""
        if num_bytes > 0:
            self._log.requests.append((int(start_cycle), int(address), int(num_bytes), bool(is_write)))
        return self._memory.serve(start_cycle, address, num_bytes, is_write, bus_cycles)

    def states(self, end_cycle: int) -> DramStates | None:
        """Return what the other memory has done; see `MemoryModel.states`."""
        return self._memory.states(end_cycle)
