"""The controller with one read and one write queue per channel and first-ready first-come scheduling, as in Ramulator 2.

The oldest burst whose next command is ready wins. A burst whose row was opened for it becomes active: active bursts go
first, and nothing may close their bank. Writes are served above the high watermark or when no read waits, until they fall
below the low watermark. A refresh lets active bursts finish, then holds everything else back, closes its rank and
refreshes it. Variants: two command buses, one for rows and one for columns (HBM); split activates and a data clock that
must be synchronised after a pause (LPDDR5).
Source of the behaviour: Luo et al., "Ramulator 2.0", IEEE CAL 23(1), 2024, and its public documentation.
"""

from __future__ import annotations

from accelsim.sim.dram.commands import issue, log_command, rank_ready_cycle, ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.queues import COUNT, FIRST, count_key, find, may_wait, num_runs, pop, push
from accelsim.sim.dram.state import (
    ACT, ACT2, ACTIVATING, ACTIVE, ACTIVE_BANKS, C_ACTIVE, C_CAS_QUEUE, C_CAS_REQUEST, C_EVENT, C_NEXT, C_NEXT_REFRESH,
    C_OUTSTANDING, C_READ_RUNS, C_READS, C_REFRESH_AT, C_REFRESHES, C_SPLIT_BANKS, C_WCK_EXPIRY, C_WRITE_MODE, C_WRITES, CAS, CLOSED,
    BANK_MASK, MAX_REFRESHES, ROW_SHIFT, N_COLUMN, N_FORWARDED, N_HITS, N_MERGED, NEVER, OPEN_ROW, P_BANKS, P_CLOSED_PAGE,
    P_DUAL_BUS, P_RANKS, P_READ_DONE, P_READ_ENTRIES, P_REFI, P_REFRESH_MODE, P_SPLIT_WINDOW, P_WCK_READ, P_WCK_WRITE,
    P_WRITE_DONE, P_WRITE_ENTRIES, P_WRITE_HIGH, P_WRITE_LOW, PRE, PREA, R_ACCEPT, R_DONE, R_PARENT, R_PLACE, R_SEEN,
    R_WRITE, RANK_OF, RD, RDA, READS, REF, REFB, REFRESH_ALL_BANK, REFRESH_PER_BANK, REFRESHES, SPLIT_DEADLINE,
    SPLIT_OWNER, WR, WRA, WRITES, IntArray,
)  # fmt: skip

ANY, COLUMN, ROW = range(3)
"""Command buses a candidate may use."""


@compiled
def accepts_shared(dev: IntArray, c: IntArray, req: IntArray, i: int) -> bool:
    """Tell whether the controller takes burst `i` now; bursts of an address that waits as a write are always taken."""
    if req[i, R_WRITE] == 1:
        if c[C_WRITES] < dev[P_WRITE_ENTRIES]:
            return True
    elif c[C_READS] < dev[P_READ_ENTRIES]:
        return True
    return may_wait(c, req, i, 1) and find(c, req, WRITES, i) >= 0


@compiled
def accept_shared(c: IntArray, req: IntArray, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer or merge it when a write of its address waits."""
    waiting = find(c, req, WRITES, i) if may_wait(c, req, i, 1) else -1
    if req[i, R_WRITE] == 1:
        if waiting >= 0:
            req[i, R_PARENT] = waiting
            c[N_MERGED] += 1
            return
        push(c, req, WRITES, i)
        count_key(c, req, i, 1, 1)
        c[C_EVENT] = clk
    else:
        if waiting >= 0:
            req[i, R_DONE] = clk
            c[N_FORWARDED] += 1
            return
        if push(c, req, READS, i):  # a burst that joins a run is ready no earlier than the run
            c[C_EVENT] = clk
    c[C_OUTSTANDING] += 1


@compiled
def _take(c: IntArray, req: IntArray, queue: int, at: int) -> None:
    """Take an active burst, or the first one of a waiting run, out of its queue."""
    if queue == ACTIVE:
        c[C_ACTIVE] -= 1
        for place in range(ACTIVE + at, ACTIVE + c[C_ACTIVE]):
            c[place] = c[place + 1]
        return
    i = pop(c, req, queue, at)
    if queue == WRITES:
        count_key(c, req, i, 1, -1)


@compiled
def _burst(c: IntArray, queue: int, at: int) -> int:
    """Return an active burst, or the first one of a waiting run."""
    return c[ACTIVE + at] if queue == ACTIVE else c[queue + at + FIRST]


@compiled
def _needed_command(c: IntArray, place: int, is_write: bool) -> int:
    """Return the next command that bursts for a place need."""
    open_row = c[OPEN_ROW + (place & BANK_MASK)]
    if open_row == CLOSED:
        return ACT
    if open_row == ACTIVATING:
        return ACT2
    if open_row != place >> ROW_SHIFT:
        return PRE
    return WR if is_write else RD


@compiled
def _excluded(dev: IntArray, c: IntArray, cmd: int, bank: int, bus: int) -> bool:
    """Tell whether a command is barred whatever its timing: wrong bus, active bank, or an activate half done."""
    if cmd == ACT2 or (cmd == PRE and c[ACTIVE_BANKS + bank] > 0) or (cmd == ACT and c[C_SPLIT_BANKS] > 0):
        return True
    if dev[P_REFRESH_MODE] == REFRESH_PER_BANK and c[C_REFRESHES] > 0 and c[REFRESHES] == bank:
        if c[ACTIVE_BANKS + bank] == 0:
            return True
    if bus == COLUMN:
        return cmd in (ACT, PRE)
    return bus == ROW and cmd in (RD, WR)


@compiled
def _pick_active(dev: IntArray, c: IntArray, req: IntArray, clk: int) -> int:
    """Return the place of the oldest ready active burst, or -1 and lower the next event."""
    best, age, event = -1, NEVER, NEVER
    for at in range(c[C_ACTIVE]):
        i = c[ACTIVE + at]
        place = req[i, R_PLACE]
        ready = ready_cycle(dev, c, _needed_command(c, place, req[i, R_WRITE] == 1), place & BANK_MASK)
        if ready > clk:
            event = min(event, ready)
        elif req[i, R_ACCEPT] < age:
            best, age = at, req[i, R_ACCEPT]
    if best < 0:
        c[C_NEXT] = min(c[C_NEXT], event)
    return best


@compiled
def _pick_waiting(dev: IntArray, c: IntArray, queue: int, bus: int, clk: int) -> int:
    """Return the first run of the read or write queue that is ready, or -1 and lower the next event.

    Runs that need the same command of the same bank become ready together, so each pair is looked at once.
    """
    event = NEVER
    seen_act, seen_pre, seen_column = 0, 0, 0
    for run in range(num_runs(c, queue)):
        place = c[queue + run]
        bank, cmd = place & BANK_MASK, _needed_command(c, place, queue == WRITES)
        bit = 1 << bank if bank < 63 else 0
        seen = seen_act if cmd == ACT else seen_pre if cmd == PRE else seen_column
        if seen & bit:
            continue
        if cmd == ACT:
            seen_act |= bit
        elif cmd == PRE:
            seen_pre |= bit
        else:
            seen_column |= bit
        if _excluded(dev, c, cmd, bank, bus):
            continue
        ready = ready_cycle(dev, c, cmd, bank)
        if ready <= clk:
            return run
        event = min(event, ready)
    c[C_NEXT] = min(c[C_NEXT], event)
    return -1


@compiled
def _served_queue(dev: IntArray, c: IntArray) -> int:
    """Return which queue is served now, and remember it: writes between the two watermarks go on as they were."""
    if c[C_WRITE_MODE] == 0:
        if c[C_WRITES] >= dev[P_WRITE_HIGH] or c[C_READS] == 0:
            c[C_WRITE_MODE] = 1
    elif c[C_WRITES] < dev[P_WRITE_LOW] and c[C_READS] != 0:
        c[C_WRITE_MODE] = 0
    return WRITES if c[C_WRITE_MODE] == 1 else READS


@compiled
def _holds_back(dev: IntArray, c: IntArray) -> bool:
    """Tell whether a waiting refresh keeps bursts that are not active from being served."""
    return dev[P_REFRESH_MODE] == REFRESH_ALL_BANK and c[C_REFRESHES] > 0


@compiled
def _count_outcome(c: IntArray, req: IntArray, i: int) -> None:
    """Count a burst as a row hit or not, once, when its first command issues."""
    if req[i, R_SEEN] == 0:
        req[i, R_SEEN] = 1
        c[N_COLUMN] += 1
        place = req[i, R_PLACE]
        c[N_HITS] += c[OPEN_ROW + (place & BANK_MASK)] == place >> ROW_SHIFT


@compiled
def _hit_again(c: IntArray, queue: int, at: int, place: int) -> bool:
    """Tell whether a waiting or active burst besides this one hits the row of `place`."""
    for other in (READS, WRITES):
        for run in range(num_runs(c, other)):
            if c[other + run] == place and (other != queue or run != at or c[other + run + COUNT] > 1):
                return True
    return c[ACTIVE_BANKS + (place & BANK_MASK)] > (1 if queue == ACTIVE else 0)


@compiled
def _issue_column(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the column command of a burst and finish it."""
    i = _burst(c, queue, at)
    place, write = req[i, R_PLACE], req[i, R_WRITE] == 1
    bank = place & BANK_MASK
    cmd = WR if write else RD
    if dev[P_CLOSED_PAGE] == 1 and not _hit_again(c, queue, at, place):
        cmd = WRA if write else RDA
    if dev[P_SPLIT_WINDOW] > 0:
        c[C_WCK_EXPIRY] = max(c[C_WCK_EXPIRY], clk + (dev[P_WCK_WRITE] if write else dev[P_WCK_READ]))
    _count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, place >> ROW_SHIFT, clk)
    req[i, R_DONE] = clk + (dev[P_WRITE_DONE] if write else dev[P_READ_DONE])
    c[C_OUTSTANDING] -= 1
    if queue == ACTIVE:
        c[ACTIVE_BANKS + bank] -= 1
    _take(c, req, queue, at)


@compiled
def _make_active(c: IntArray, bank: int, i: int) -> None:
    """Append a burst whose row has just been opened to the active ones."""
    c[ACTIVE + c[C_ACTIVE]] = i
    c[C_ACTIVE] += 1
    c[ACTIVE_BANKS + bank] += 1


@compiled
def _issue_for(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the next command of a burst and move it on."""
    i = _burst(c, queue, at)
    place = req[i, R_PLACE]
    bank = place & BANK_MASK
    cmd = _needed_command(c, place, req[i, R_WRITE] == 1)
    if cmd in (RD, WR):
        _issue_column(dev, c, req, log, queue, at, clk)
        return
    _count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, place >> ROW_SHIFT, clk)
    if cmd == PRE:
        return
    _take(c, req, queue, at)
    if dev[P_SPLIT_WINDOW] > 0:
        c[SPLIT_OWNER + bank] = i
        c[SPLIT_DEADLINE + bank] = clk + dev[P_SPLIT_WINDOW]
        c[C_SPLIT_BANKS] += 1
    else:
        _make_active(c, bank, i)


@compiled
def _due_refresh(dev: IntArray, c: IntArray, clk: int) -> None:
    """Queue the refreshes whose time has come: every rank, or the next bank."""
    if clk < c[C_NEXT_REFRESH]:
        return
    c[C_NEXT_REFRESH] += dev[P_REFI]
    all_bank = dev[P_REFRESH_MODE] == REFRESH_ALL_BANK
    for unit in range(dev[P_RANKS] if all_bank else 1):
        if c[C_REFRESHES] < MAX_REFRESHES:
            c[REFRESHES + c[C_REFRESHES]] = unit if all_bank else c[C_REFRESH_AT]
            c[C_REFRESHES] += 1
    c[C_REFRESH_AT] = (c[C_REFRESH_AT] + 1) % dev[P_BANKS]


@compiled
def _rank_state(dev: IntArray, c: IntArray, rank: int) -> tuple[int, int, int]:
    """Return a bank of the rank, how many are open, and how many may not be closed."""
    last, open_banks, held = -1, 0, 0
    for bank in range(dev[P_BANKS]):
        if dev[RANK_OF + bank] == rank:
            last = bank
            open_banks += c[OPEN_ROW + bank] != CLOSED
            held += c[ACTIVE_BANKS + bank] > 0 or c[SPLIT_OWNER + bank] >= 0
    return last, open_banks, held


@compiled
def _refresh(dev: IntArray, c: IntArray, log: IntArray, clk: int) -> bool:
    """Issue the next command of the waiting refresh, if any may issue; tell whether one did."""
    if c[C_REFRESHES] == 0:
        return False
    unit = c[REFRESHES]
    if dev[P_REFRESH_MODE] == REFRESH_ALL_BANK:
        bank, open_banks, held = _rank_state(dev, c, unit)
        cmd = PREA if open_banks > 0 else REF
        ready = rank_ready_cycle(c, cmd, unit)
    else:
        bank, held = unit, c[ACTIVE_BANKS + unit] + (c[SPLIT_OWNER + unit] >= 0)
        cmd = REFB if c[OPEN_ROW + bank] == CLOSED else PRE
        ready = ready_cycle(dev, c, cmd, bank)
    if held > 0:
        return False
    if ready > clk:
        c[C_NEXT] = min(c[C_NEXT], ready)
        return False
    issue(dev, c, log, cmd, bank, 0, clk)
    if cmd in (REF, REFB):
        for place in range(REFRESHES, REFRESHES + c[C_REFRESHES] - 1):
            c[place] = c[place + 1]
        c[C_REFRESHES] -= 1
    return True


@compiled
def _serve_waiting(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, bus: int, clk: int) -> bool:
    """Issue the next command of the best waiting burst on a bus; tell whether there was one."""
    if _holds_back(dev, c):
        return False
    queue = _served_queue(dev, c)
    at = _pick_waiting(dev, c, queue, bus, clk)
    if at >= 0:
        _issue_for(dev, c, req, log, queue, at, clk)
    return at >= 0


@compiled
def _serve_active(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """Issue the next command of the best active burst; tell whether there was one."""
    at = _pick_active(dev, c, req, clk)
    if at >= 0:
        _issue_for(dev, c, req, log, ACTIVE, at, clk)
    return at >= 0


@compiled
def _tick_single(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One command a cycle: active, refresh, waiting."""
    if _serve_active(dev, c, req, log, clk) or _refresh(dev, c, log, clk):
        return True
    return _serve_waiting(dev, c, req, log, ANY, clk)


@compiled
def _tick_dual(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One column and one row command a cycle."""
    column = _serve_active(dev, c, req, log, clk) or _serve_waiting(dev, c, req, log, COLUMN, clk)
    row = _refresh(dev, c, log, clk) or _serve_waiting(dev, c, req, log, ROW, clk)
    return column or row


@compiled
def _finish_activate(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, latest: int, clk: int) -> bool:
    """Issue the second half of the activate with the earliest deadline, if that is not after `latest`."""
    if c[C_SPLIT_BANKS] == 0:
        return False
    first, deadline = -1, latest + 1
    for bank in range(dev[P_BANKS]):
        if c[SPLIT_OWNER + bank] >= 0 and c[SPLIT_DEADLINE + bank] < deadline:
            first, deadline = bank, c[SPLIT_DEADLINE + bank]
    if first < 0:
        return False
    i = c[SPLIT_OWNER + first]
    row = req[i, R_PLACE] >> ROW_SHIFT
    c[OPEN_ROW + first] = row
    log_command(c, log, ACT2, first, row, clk)
    _make_active(c, first, i)
    c[SPLIT_OWNER + first] = -1
    c[SPLIT_DEADLINE + first] = NEVER
    c[C_SPLIT_BANKS] -= 1
    return True


@compiled
def _issue_synchronised(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> None:
    """Issue the column command that the CAS of the cycle before belongs to."""
    queue, at = c[C_CAS_QUEUE], 0
    while _burst(c, queue, at) != c[C_CAS_REQUEST]:
        at += 1
    c[C_CAS_REQUEST] = -1
    _issue_column(dev, c, req, log, queue, at, clk)


@compiled
def _issue_or_synchronise(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue a burst's next command; a column command after a pause of the data clock needs a CAS one cycle before."""
    i = _burst(c, queue, at)
    place = req[i, R_PLACE]
    if clk >= c[C_WCK_EXPIRY] and _needed_command(c, place, req[i, R_WRITE] == 1) in (RD, WR):
        if not _finish_activate(dev, c, req, log, clk + 1, clk):
            log_command(c, log, CAS, place & BANK_MASK, place >> ROW_SHIFT, clk)
            c[C_CAS_REQUEST], c[C_CAS_QUEUE] = i, queue
        return
    _issue_for(dev, c, req, log, queue, at, clk)


@compiled
def _tick_split(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One command a cycle with split activates: their second half waits for a free slot, at most until its deadline."""
    if c[C_CAS_REQUEST] >= 0:
        _issue_synchronised(dev, c, req, log, clk)
        return True
    if _finish_activate(dev, c, req, log, clk, clk):
        return True
    queue, at = ACTIVE, _pick_active(dev, c, req, clk)
    if at < 0:
        if _refresh(dev, c, log, clk):
            return True
        if not _holds_back(dev, c):
            queue = _served_queue(dev, c)
            at = _pick_waiting(dev, c, queue, ANY, clk)
    if at < 0:
        return _finish_activate(dev, c, req, log, NEVER - 1, clk)
    _issue_or_synchronise(dev, c, req, log, queue, at, clk)
    return True


@compiled
def _next_cycle(dev: IntArray, c: IntArray, clk: int) -> int:
    """Return the cycle after one in which a command issued, or a later one if only one run of reads waits for it."""
    if c[C_READ_RUNS] != 1 or c[C_WRITES] + c[C_ACTIVE] + c[C_REFRESHES] + c[C_SPLIT_BANKS] > 0 or c[C_CAS_REQUEST] >= 0:
        return clk + 1
    ready = ready_cycle(dev, c, _needed_command(c, c[READS], False), c[READS] & BANK_MASK)
    return max(clk + 1, min(ready, c[C_NEXT_REFRESH]))


@compiled
def tick_shared(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> int:
    """Do what a controller does in cycle `clk`; return the next cycle in which it may do something."""
    _due_refresh(dev, c, clk)
    c[C_NEXT] = c[C_NEXT_REFRESH]
    if dev[P_SPLIT_WINDOW] > 0:
        issued = _tick_split(dev, c, req, log, clk)
    elif dev[P_DUAL_BUS] == 1:
        issued = _tick_dual(dev, c, req, log, clk)
    else:
        issued = _tick_single(dev, c, req, log, clk)
    if issued:
        return _next_cycle(dev, c, clk)
    return max(c[C_NEXT], clk + 1)
