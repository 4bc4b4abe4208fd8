"""The timing model behind the interface of the chip: a request is a batch of bursts, the banks remember.

A request must be answered when it is made, but later ones overlap with it: their rows are opened while its data still
move. So the memory keeps two states. The *certain* one stands at the last request's start, with all bursts known by
then in the queues; the *expected* one has run ahead until they are all done, which gives the answer. The next request
either starts after that, and the expected state becomes certain, or it starts earlier: then the certain state moves
on to its start, its bursts join the queues, and the rest is run ahead again. An answer is therefore that of a memory
that sees no later requests; those may still push a burst back a little when they win the arbitration. Answers of one
direction come in the order of the requests.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from accelsim.config.dram import DramConfig
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import build, build_device, new_requests
from accelsim.sim.dram.kernel import run
from accelsim.sim.dram.power import states_at
from accelsim.timing.memory import ServedRequest
from accelsim.timing.power_states import DramStates
from accelsim.units import ceil_div

COMPACT_ROWS = 1 << 10  # all rows are copied with every request: 4,096 take 1.3 times as long, 16,384 twice


def _ceil(value: Fraction) -> int:
    return ceil_div(value.numerator, value.denominator)


class TimingMemory:
    """Banks, rows, buses, refresh and the controller's queues; see `accelsim.timing.memory.MemoryModel`."""

    def __init__(self, dram: DramConfig, clock_mhz: float) -> None:
        self._memory = build(dram)
        self._dev = build_device(dram, self._memory.table, flush=True)
        tck_ns = Fraction(self._memory.table.tck_ns).limit_denominator(10**6)
        self._core_per_memory_cycle = tck_ns * Fraction(clock_mhz).limit_denominator(10**6) / 1000
        buses = dram.num_channels * self._memory.table.organisation.num_pseudo_channels
        self._core_per_burst = self._core_per_memory_cycle * self._memory.table.timing.burst_cycles / buses
        self._log = s.new_log()
        self.reset()

    def reset(self) -> None:
        """Return to the cold state: all banks closed, cycle 0."""
        self._st = s.new_state(self._dev)
        self._g = np.zeros(2, dtype=np.int64)
        self._req = np.zeros((0, s.NUM_REQUEST_COLUMNS), dtype=np.int64)
        self._expected: tuple[s.IntArray, s.IntArray] | None = None
        self._moved_bursts = 0
        self._last_end_cycle = [0, 0]  # of reads and writes: answers of one direction come in order

    def serve(
        self, start_cycle: int, address: int, num_bytes: int, is_write: bool, bus_cycles: int = -1
    ) -> ServedRequest:
        """Serve one request; see `MemoryModel.serve`. A request of no bytes ends where it starts."""
        if num_bytes <= 0:
            return ServedRequest(start_cycle, start_cycle, 0)
        arrive = _ceil(Fraction(start_cycle) / self._core_per_memory_cycle)
        if self._dev[s.P_CONTROLLER] == s.CONTROLLER_BANK:
            arrive += 1  # these queues take a request at the end of the cycle in which it is offered
        self._advance(arrive)
        done = self._run_ahead(self._append(arrive, address, num_bytes, is_write))
        before = self._moved_bursts * self._core_per_burst
        self._moved_bursts += len(done)
        busy = int(self._moved_bursts * self._core_per_burst) - int(before)
        first = int((int(done.min()) - self._memory.table.timing.burst_cycles) * self._core_per_memory_cycle)
        end = max(_ceil(int(done.max()) * self._core_per_memory_cycle), self._last_end_cycle[is_write])
        self._last_end_cycle[is_write] = end
        return ServedRequest(max(start_cycle, first), end, busy)

    def states(self, end_cycle: int) -> DramStates:
        """Return what the memory has done up to a core cycle; see `MemoryModel.states`."""
        cycle = _ceil(Fraction(end_cycle) / self._core_per_memory_cycle)
        self._advance(cycle)
        return states_at(self._memory, self._st, max(cycle, int(self._g[s.G_CLOCK])))

    def _advance(self, arrive: int) -> None:
        """Bring the certain state to memory cycle `arrive`."""
        if self._expected is not None and self._expected[1][s.G_CLOCK] <= arrive:
            self._st, self._g = self._expected
            self._req = self._req[:0]
            self._g[s.G_NEXT] = 0
        self._expected = None
        run(self._dev, self._st, self._req, self._g, self._log, max(arrive, int(self._g[s.G_CLOCK])), False)

    def _append(self, arrive: int, address: int, num_bytes: int, is_write: bool) -> int:
        """Add a request's bursts to the known ones and return the row of the first."""
        if len(self._req) > COMPACT_ROWS:
            self._forget_finished()
        burst = self._memory.config.burst_bytes
        bursts = np.arange(ceil_div(num_bytes, burst), dtype=np.uint64) + np.uint64(address // burst)
        writes = np.full(len(bursts), is_write)
        new = new_requests(self._memory.mapping.decode(bursts * np.uint64(burst)), writes, arrive)
        first = len(self._req)
        links = new[:, (s.R_NEXT, s.R_FOLLOWS)]
        new[:, (s.R_NEXT, s.R_FOLLOWS)] = np.where(links >= 0, links + first, -1)
        self._req = np.concatenate((self._req, new))
        return first

    def _run_ahead(self, first: int) -> s.IntArray:
        """Run until all known bursts are done; return when those from row `first` on are, and keep the state."""
        st, g, req = self._st.copy(), self._g.copy(), self._req.copy()
        run(self._dev, st, req, g, self._log, s.NEVER, True)
        self._expected = (st, g)
        parent = req[first:, s.R_PARENT]
        done: s.IntArray = np.where(parent >= 0, req[parent, s.R_DONE], req[first:, s.R_DONE])
        return done

    def _forget_finished(self) -> None:
        """Drop the rows before the first that a queue still names, and renumber the rest."""
        st, width = self._st, s.MAX_ENTRIES
        named = [int(self._g[s.G_NEXT])]
        for c in st:
            for queue, runs in ((s.READS, s.C_READ_RUNS), (s.WRITES, s.C_WRITE_RUNS)):
                named += c[queue + width : queue + width + c[runs]].tolist()
            named += c[s.ACTIVE : s.ACTIVE + c[s.C_ACTIVE]].tolist()
            owners = c[s.SPLIT_OWNER : s.SPLIT_OWNER + s.MAX_BANKS]
            named += owners[owners >= 0].tolist()
            entries = int(self._dev[s.P_BANK_ENTRIES])
            for bank in range(int(self._dev[s.P_BANKS])):
                queue = s.BANK_QUEUE + bank * entries
                named += c[queue : queue + c[s.BANK_LEN + bank]].tolist()
        base = min(named)
        for queue in (s.READS, s.WRITES):
            st[:, queue + width : queue + 3 * width] -= base
        st[:, s.ACTIVE : s.ACTIVE + s.MAX_BANKS] -= base
        st[:, s.BANK_QUEUE :] -= base
        for place in (slice(s.SPLIT_OWNER, s.SPLIT_OWNER + s.MAX_BANKS), slice(s.C_CAS_REQUEST, s.C_CAS_REQUEST + 1)):
            st[:, place] = np.where(st[:, place] >= 0, st[:, place] - base, -1)
        self._req = self._req[base:].copy()
        for column in (s.R_NEXT, s.R_FOLLOWS, s.R_PARENT):
            self._req[:, column] = np.maximum(-1, self._req[:, column] - base)
        self._g[s.G_NEXT] -= base
