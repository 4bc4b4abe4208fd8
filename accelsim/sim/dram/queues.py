"""The read and write queue of a channel, as runs.

A run is a stretch of neighbouring entries that go to the same row in the same direction and follow each other in the
channel's traffic: they need the same command at the same time, so only the first is looked at. Run ``k`` of the queue
that starts at ``queue`` has four words: its place, its first burst, its last burst, and how many bursts it holds.
"""

from __future__ import annotations

from accelsim.sim.dram import state as s
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import IntArray

FIRST = s.MAX_ENTRIES
LAST = 2 * s.MAX_ENTRIES
COUNT = 3 * s.MAX_ENTRIES


@compiled
def num_runs(c: IntArray, queue: int) -> int:
    """Return how many runs a queue holds."""
    return int(c[s.C_READ_RUNS] if queue == s.READS else c[s.C_WRITE_RUNS])


@compiled
def count_key(c: IntArray, req: IntArray, i: int, is_write: int, change: int) -> None:
    """Note that the address of burst `i` is waited for once more (1) or once less (-1)."""
    c[(s.PENDING_WRITES if is_write == 1 else s.PENDING_READS) + (req[i, s.R_KEY] & (s.KEY_COUNTERS - 1))] += change


@compiled
def may_wait(c: IntArray, req: IntArray, i: int, is_write: int) -> bool:
    """Tell whether a burst with the address of burst `i` may be waiting; False is certain."""
    return bool(
        c[(s.PENDING_WRITES if is_write == 1 else s.PENDING_READS) + (req[i, s.R_KEY] & (s.KEY_COUNTERS - 1))] > 0
    )


@compiled
def push(c: IntArray, req: IntArray, queue: int, i: int) -> bool:
    """Append burst `i` to the last run of a queue, or start one; tell whether it started one."""
    runs_slot, total_slot = (s.C_READ_RUNS, s.C_READS) if queue == s.READS else (s.C_WRITE_RUNS, s.C_WRITES)
    runs = c[runs_slot]
    c[total_slot] += 1
    last = queue + runs - 1
    if runs > 0 and req[i, s.R_FOLLOWS] >= 0 and c[last + LAST] == req[i, s.R_FOLLOWS]:
        c[last + LAST] = i
        c[last + COUNT] += 1
        return False
    c[last + 1] = req[i, s.R_PLACE]
    c[last + 1 + FIRST] = i
    c[last + 1 + LAST] = i
    c[last + 1 + COUNT] = 1
    c[runs_slot] = runs + 1
    return True


@compiled
def pop(c: IntArray, req: IntArray, queue: int, run: int) -> int:
    """Take the first burst of a run out of its queue and return it."""
    runs_slot, total_slot = (s.C_READ_RUNS, s.C_READS) if queue == s.READS else (s.C_WRITE_RUNS, s.C_WRITES)
    c[total_slot] -= 1
    at = queue + run
    i = c[at + FIRST]
    if c[at + COUNT] > 1:
        c[at + FIRST] = req[i, s.R_NEXT]
        c[at + COUNT] -= 1
        return int(i)
    c[runs_slot] -= 1
    for place in range(at, queue + c[runs_slot]):
        c[place] = c[place + 1]
        c[place + FIRST] = c[place + 1 + FIRST]
        c[place + LAST] = c[place + 1 + LAST]
        c[place + COUNT] = c[place + 1 + COUNT]
    return int(i)


@compiled
def find(c: IntArray, req: IntArray, queue: int, i: int) -> int:
    """Return the burst in a queue that has the address of burst `i`, or -1."""
    for at in range(queue, queue + num_runs(c, queue)):
        if c[at] != req[i, s.R_PLACE]:
            continue
        other = c[at + FIRST]
        for _ in range(c[at + COUNT]):
            if req[other, s.R_KEY] == req[i, s.R_KEY]:
                return int(other)
            other = req[other, s.R_NEXT]
    return -1
