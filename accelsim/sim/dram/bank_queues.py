"""The controller with a command queue per bank, in the manner of DRAMsim3.

Bursts wait in a read queue and a write queue; each cycle one of them moves to the command queue of its bank. Bank
queues are served round robin: inside one, the first entry whose next command is ready wins, a precharge only if it
stands at the head and either no entry hits the open row or the row has been hit ``P_HIT_LIMIT`` times. Writes are
posted: they are scheduled when the write queue is full, or when the bank queues are empty and at least
``P_DRAIN_ENTRIES`` writes wait, and then until those that waited at that moment are through. A refresh stops its rank
at once and closes its banks one by one. Source of the behaviour: Li et al., "DRAMsim3", IEEE CAL 19(2), 2020, and its
public documentation.
"""

from __future__ import annotations

from accelsim.sim.dram import state as s
from accelsim.sim.dram.commands import issue, rank_ready_cycle, ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.queues import FIRST, count_key, find, may_wait, num_runs, pop, push
from accelsim.sim.dram.state import IntArray


@compiled
def _remove(c: IntArray, queue: int, length: int, at: int) -> None:
    """Take entry `at` out of the list that starts at `queue`, keep the order, and shorten it (`length` is a slot)."""
    last = c[length] - 1
    for place in range(queue + at, queue + last):
        c[place] = c[place + 1]
    c[length] = last


@compiled
def _find_in_bank(c: IntArray, req: IntArray, queue: int, length: int, i: int, is_write: int) -> int:
    """Return the burst of a direction with the address of burst `i` in a bank queue, or -1."""
    for place in range(queue, queue + length):
        if req[c[place], s.R_KEY] == req[i, s.R_KEY] and req[c[place], s.R_WRITE] == is_write:
            return int(c[place])
    return -1


@compiled
def _bank_queue(dev: IntArray, bank: int) -> int:
    """Return where the queue of a bank starts."""
    return int(s.BANK_QUEUE + bank * dev[s.P_BANK_ENTRIES])


@compiled
def _pending(dev: IntArray, c: IntArray, req: IntArray, i: int, is_write: int) -> int:
    """Return a burst of the address of burst `i` that waits anywhere in the channel, or -1."""
    if not may_wait(c, req, i, is_write):
        return -1
    found = find(c, req, s.WRITES if is_write == 1 else s.READS, i)
    if found >= 0:
        return found
    bank = req[i, s.R_PLACE] & s.BANK_MASK
    return _find_in_bank(c, req, _bank_queue(dev, bank), c[s.BANK_LEN + bank], i, is_write)


@compiled
def accepts_bank(dev: IntArray, c: IntArray, req: IntArray, i: int) -> bool:
    """Tell whether the controller takes burst `i` now."""
    if req[i, s.R_WRITE] == 1:
        return bool(c[s.C_WRITES] < dev[s.P_WRITE_ENTRIES])
    return bool(c[s.C_READS] < dev[s.P_READ_ENTRIES])


@compiled
def accept_bank(dev: IntArray, c: IntArray, req: IntArray, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer it from a waiting write, or merge it with a waiting burst of its address."""
    write = req[i, s.R_WRITE]
    waiting = _pending(dev, c, req, i, 1)
    # The newest data of this address are in the controller: no command goes to the device.
    if waiting >= 0 and write == 0:
        req[i, s.R_DONE] = clk + 1
        c[s.N_FORWARDED] += 1
        return
    if write == 0:
        waiting = _pending(dev, c, req, i, 0)
    # A second burst of one address rides on the first: both are done when that is.
    if waiting >= 0:
        req[i, s.R_PARENT] = waiting
        c[s.N_MERGED] += 1
        return
    starts_run = push(c, req, s.WRITES if write == 1 else s.READS, i)
    if starts_run or write == 1:
        c[s.C_EVENT] = clk
    count_key(c, req, i, write, 1)
    # Writes are posted: only where the run must see them through (flush) does anybody wait for one.
    c[s.C_OUTSTANDING] += dev[s.P_FLUSH] if write == 1 else 1


@compiled
def _starts_draining(dev: IntArray, c: IntArray) -> bool:
    """Tell whether the waiting writes are to be scheduled now."""
    if c[s.C_WRITES] >= dev[s.P_WRITE_ENTRIES]:
        return True
    return bool(c[s.C_IN_BANKS] == 0 and c[s.C_WRITES] >= (1 if dev[s.P_FLUSH] == 1 else dev[s.P_DRAIN_ENTRIES]))


@compiled
def _schedule(dev: IntArray, c: IntArray, req: IntArray) -> bool:
    """Move one burst to the queue of its bank; tell whether one moved."""
    if c[s.C_DRAINING] == 0 and _starts_draining(dev, c):
        # Only those that wait now are drained, so that writes which keep coming do not starve the reads.
        c[s.C_DRAINING] = c[s.C_WRITES]
    draining = c[s.C_DRAINING] > 0
    queue = s.WRITES if draining else s.READS
    for run in range(num_runs(c, queue)):
        bank = c[queue + run] & s.BANK_MASK
        if c[s.BANK_LEN + bank] >= dev[s.P_BANK_ENTRIES]:
            continue
        if draining:
            # The read before this write must see the old data; draining stops until it is through.
            if _pending(dev, c, req, c[queue + run + FIRST], 0) >= 0:
                c[s.C_DRAINING] = 0
                return False
            c[s.C_DRAINING] -= 1
        c[_bank_queue(dev, bank) + c[s.BANK_LEN + bank]] = pop(c, req, queue, run)
        c[s.BANK_LEN + bank] += 1
        # A new entry may be ready earlier than all that stood in the queue.
        c[s.TRY_AT + bank] = 0
        c[s.C_IN_BANKS] += 1
        return True
    return False


@compiled
def _must_wait_for_read(c: IntArray, req: IntArray, queue: int, at: int) -> bool:
    """Tell whether a read of the same address stands before the write at `at`."""
    return may_wait(c, req, c[queue + at], 0) and _find_in_bank(c, req, queue, at, c[queue + at], 0) >= 0


@compiled
def _hits(c: IntArray, req: IntArray, queue: int, length: int, place_of_row: int) -> int:
    """Return how many entries of a bank queue go to a row."""
    count = 0
    for place in range(queue, queue + length):
        count += req[c[place], s.R_PLACE] == place_of_row
    return count


@compiled
def _needed_command(dev: IntArray, c: IntArray, req: IntArray, bank: int, at: int) -> int:
    """Return the command that entry `at` of a bank queue asks for, or -1 if it must not ask now."""
    queue = _bank_queue(dev, bank)
    i = c[queue + at]
    if c[s.OPEN_ROW + bank] == s.CLOSED:
        return s.ACT
    open_place = (c[s.OPEN_ROW + bank] << s.ROW_SHIFT) + bank
    if req[i, s.R_PLACE] != open_place:
        # Only the head closes a row: later entries would take it from those that still hit it.
        if at > 0:
            return -1
        # The limit on hits keeps a stream in one row from starving the other rows of its bank.
        worn_out = c[s.ROW_HITS + bank] >= dev[s.P_HIT_LIMIT]
        return s.PRE if worn_out or _hits(c, req, queue, c[s.BANK_LEN + bank], open_place) == 0 else -1
    if req[i, s.R_WRITE] == 1 and _must_wait_for_read(c, req, queue, at):
        return -1
    return s.WR if req[i, s.R_WRITE] == 1 else s.RD


@compiled
def _first_ready(dev: IntArray, c: IntArray, req: IntArray, bank: int, clk: int) -> tuple[int, int]:
    """Return (entry, command) of the first ready entry of a bank queue, or (-1, -1) and note when to try again.

    Distances only grow, so until a command issues to the bank or an entry joins its queue, trying earlier is in vain.
    """
    previous, event = -1, s.NEVER
    for at in range(c[s.BANK_LEN + bank]):
        cmd = _needed_command(dev, c, req, bank, at)
        # Timing depends on bank and command alone: a second entry with the same command is not ready earlier.
        if cmd < 0 or cmd == previous:
            continue
        ready = ready_cycle(dev, c, cmd, bank)
        if ready <= clk:
            return at, cmd
        event = min(event, ready)
        # The bank is closed: every entry behind asks for the same.
        if cmd == s.ACT:
            break
        previous = cmd
    c[s.TRY_AT + bank] = event
    return -1, -1


@compiled
def _finish(dev: IntArray, c: IntArray, req: IntArray, bank: int, at: int, clk: int) -> None:
    """Take a burst whose column command issues out of its queue."""
    queue = _bank_queue(dev, bank)
    i = c[queue + at]
    c[s.N_COLUMN] += 1
    c[s.N_HITS] += c[s.ROW_HITS + bank] != 0
    count_key(c, req, i, req[i, s.R_WRITE], -1)
    if req[i, s.R_WRITE] == 1:
        req[i, s.R_DONE] = clk + dev[s.P_WRITE_DONE]
        c[s.C_OUTSTANDING] -= dev[s.P_FLUSH]
    else:
        req[i, s.R_DONE] = clk + dev[s.P_READ_DONE]
        c[s.C_OUTSTANDING] -= 1
    _remove(c, queue, s.BANK_LEN + bank, at)
    c[s.C_IN_BANKS] -= 1


@compiled
def _refreshing(dev: IntArray, c: IntArray, bank: int) -> bool:
    """Tell whether a waiting refresh holds a bank back."""
    if c[s.C_REFRESHES] == 0:
        return False
    unit = dev[s.RANK_OF + bank] if dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK else bank
    return bool(unit == c[s.REFRESHES])


@compiled
def _issue_from_queues(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int, previous: int) -> int:
    """Serve the bank queues round robin and return the command issued, or -1.

    `previous` is the command issued in this cycle already (dual command bus), or -1: a second one of the same kind
    (row, column) is found, keeps the round-robin position and is not issued.
    """
    if c[s.C_IN_BANKS] == 0:
        return -1
    # A refresh that was issued in this cycle (dual command bus) holds nothing back any more.
    held = previous not in (s.REF, s.REFB)
    bank = c[s.C_ROUND_ROBIN]
    for _ in range(dev[s.P_BANKS]):
        bank = bank + 1 if bank + 1 < dev[s.P_BANKS] else 0
        if c[s.BANK_LEN + bank] == 0 or (held and _refreshing(dev, c, bank)):
            continue
        at, cmd = -1, -1
        if c[s.TRY_AT + bank] <= clk:
            at, cmd = _first_ready(dev, c, req, bank, clk)
        if at < 0:
            c[s.C_NEXT] = min(c[s.C_NEXT], c[s.TRY_AT + bank])
            continue
        c[s.C_ROUND_ROBIN] = bank
        is_column = s.RD <= cmd <= s.WRA
        if previous >= 0 and is_column == (s.RD <= previous <= s.WRA):
            return -1
        place = req[c[_bank_queue(dev, bank) + at], s.R_PLACE]
        if is_column:
            _finish(dev, c, req, bank, at, clk)
            # Closed page: the last hit of a row takes the precharge with it, which saves a command of its own.
            if dev[s.P_CLOSED_PAGE] == 1 and _hits(c, req, _bank_queue(dev, bank), c[s.BANK_LEN + bank], place) == 0:
                cmd = s.RDA if cmd == s.RD else s.WRA
        issue(dev, c, log, cmd, bank, place >> s.ROW_SHIFT, clk)
        return cmd
    return -1


@compiled
def _due_refresh(dev: IntArray, c: IntArray, clk: int) -> None:
    """Queue the refresh whose time has come; ranks (or banks) take turns."""
    if clk < c[s.C_NEXT_REFRESH]:
        return
    units = dev[s.P_RANKS] if dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK else dev[s.P_BANKS]
    # A refresh stops its rank at once, so that the list, which has a fixed length, does not fill in a run.
    if c[s.C_REFRESHES] < s.MAX_REFRESHES:
        c[s.REFRESHES + c[s.C_REFRESHES]] = c[s.C_REFRESH_AT]
        c[s.C_REFRESHES] += 1
    c[s.C_REFRESH_AT] = (c[s.C_REFRESH_AT] + 1) % units
    c[s.C_NEXT_REFRESH] += dev[s.P_REFI]


@compiled
def _refresh_all_bank(dev: IntArray, c: IntArray, log: IntArray, clk: int) -> int:
    """Close the first closable bank of the waiting rank, or refresh it; return the command or -1."""
    rank, last, any_open = c[s.REFRESHES], 0, False
    for bank in range(dev[s.P_BANKS]):
        if dev[s.RANK_OF + bank] != rank:
            continue
        last = bank
        if c[s.OPEN_ROW + bank] == s.CLOSED:
            continue
        any_open = True
        ready = ready_cycle(dev, c, s.PRE, bank)
        if ready <= clk:
            issue(dev, c, log, s.PRE, bank, 0, clk)
            return s.PRE
        c[s.C_NEXT] = min(c[s.C_NEXT], ready)
    if any_open:
        return -1
    ready = rank_ready_cycle(c, s.REF, rank)
    if ready > clk:
        c[s.C_NEXT] = min(c[s.C_NEXT], ready)
        return -1
    _remove(c, s.REFRESHES, s.C_REFRESHES, 0)
    issue(dev, c, log, s.REF, last, 0, clk)
    return s.REF


@compiled
def _refresh_bank(dev: IntArray, c: IntArray, log: IntArray, clk: int) -> int:
    """Close or refresh the waiting bank; return the command or -1."""
    bank = c[s.REFRESHES]
    cmd = s.REFB if c[s.OPEN_ROW + bank] == s.CLOSED else s.PRE
    ready = ready_cycle(dev, c, cmd, bank)
    if ready > clk:
        c[s.C_NEXT] = min(c[s.C_NEXT], ready)
        return -1
    if cmd == s.REFB:
        _remove(c, s.REFRESHES, s.C_REFRESHES, 0)
    issue(dev, c, log, cmd, bank, 0, clk)
    return cmd


@compiled
def tick_bank(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> int:
    """Do what a controller does in cycle `clk`; return the next cycle in which it may do something."""
    _due_refresh(dev, c, clk)
    c[s.C_NEXT] = c[s.C_NEXT_REFRESH]
    cmd = -1
    if c[s.C_REFRESHES] > 0:
        if dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK:
            cmd = _refresh_all_bank(dev, c, log, clk)
        else:
            cmd = _refresh_bank(dev, c, log, clk)
    if cmd < 0:
        cmd = _issue_from_queues(dev, c, req, log, clk, -1)
    if cmd >= 0 and dev[s.P_DUAL_BUS] == 1:
        _issue_from_queues(dev, c, req, log, clk, cmd)
    moved = _schedule(dev, c, req)
    if cmd >= 0 or moved:
        return clk + 1
    # Nothing can happen before: the cycles in between are skipped, not simulated.
    return int(max(c[s.C_NEXT], clk + 1))
