"""The controller that serves the bursts of a channel in the order in which they come, reads and writes in one queue.

Rows of later bursts in the queue are opened ahead, in order too, and never in a bank that an earlier one still goes to.
A refresh that is due holds everything back. Both halves of a split activate (LPDDR5) go out together, and the data
clock is taken to be synchronised. This is the controller behind the energy reference that `docs/dram.md` compares with.
"""

from __future__ import annotations

from accelsim.sim.dram import state as s
from accelsim.sim.dram.commands import issue, ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.queues import FIRST, num_runs, pop, push
from accelsim.sim.dram.shared_queues import count_outcome, due_refresh, needed_command, refresh
from accelsim.sim.dram.state import IntArray


@compiled
def accepts_in_order(dev: IntArray, c: IntArray, req: IntArray, i: int) -> bool:
    """Tell whether the controller takes burst `i` now."""
    return bool(c[s.C_READS] < dev[s.P_READ_ENTRIES])


@compiled
def accept_in_order(dev: IntArray, c: IntArray, req: IntArray, i: int, clk: int) -> None:
    """Take burst `i`."""
    if push(c, req, s.READS, i):
        c[s.C_EVENT] = clk
    c[s.C_OUTSTANDING] += 1


@compiled
def _must_wait(c: IntArray, run: int, bank: int) -> bool:
    """Tell whether an earlier run goes to the bank, or a refresh of it is due."""
    for earlier in range(s.READS, s.READS + run):
        if c[earlier] & s.BANK_MASK == bank:
            return True
    return bool(c[s.C_REFRESHES] > 0 and c[s.REFRESHES] == bank)


@compiled
def _serve(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """Issue the next command of the first run that may have one; tell whether there was one."""
    all_open = True
    for run in range(num_runs(c, s.READS)):
        place, i = c[s.READS + run], c[s.READS + run + FIRST]
        bank, is_write = place & s.BANK_MASK, req[i, s.R_WRITE] == 1
        cmd = needed_command(c, place, is_write)
        out_of_turn = run > 0 if cmd in (s.RD, s.WR) else cmd == s.ACT and not all_open
        all_open = all_open and cmd in (s.RD, s.WR)
        if out_of_turn or _must_wait(c, run, bank):
            continue
        ready = ready_cycle(dev, c, cmd, bank)
        if ready > clk:
            c[s.C_NEXT] = min(c[s.C_NEXT], ready)
            continue
        count_outcome(c, req, i)
        if cmd in (s.RD, s.WR):
            pop(c, req, s.READS, run)
            c[s.C_OUTSTANDING] -= 1
            req[i, s.R_DONE] = clk + (dev[s.P_WRITE_DONE] if is_write else dev[s.P_READ_DONE])
        issue(dev, c, log, cmd, bank, place >> s.ROW_SHIFT, clk)
        return True
    return False


@compiled
def tick_in_order(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> int:
    """Do what a controller does in cycle `clk`; return the next cycle in which it may do something."""
    due_refresh(dev, c, clk)
    c[s.C_NEXT] = c[s.C_NEXT_REFRESH]
    issued = refresh(dev, c, log, clk)
    held_back = dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK and c[s.C_REFRESHES] > 0
    if not issued and not held_back:
        issued = _serve(dev, c, req, log, clk)
    return int(clk + 1 if issued else max(c[s.C_NEXT], clk + 1))
