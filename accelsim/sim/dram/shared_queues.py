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
from accelsim.sim.dram.state import (
    ACT, ACT2, ACTIVATING, ACTIVE, ACTIVE_BANKS, C_ACTIVE, C_CAS_QUEUE, C_CAS_REQUEST, C_NEXT, C_NEXT_REFRESH,
    C_OUTSTANDING, C_READS, C_REFRESH_AT, C_REFRESHES, C_SPLIT_BANKS, C_WCK_EXPIRY, C_WRITE_MODE, C_WRITES, CAS, CLOSED,
    MAX_REFRESHES, N_COLUMN, N_FORWARDED, N_HITS, N_MERGED, NEVER, OPEN_ROW, P_BANKS, P_CLOSED_PAGE, P_DUAL_BUS,
    P_RANKS, P_READ_DONE, P_READ_ENTRIES, P_REFI, P_REFRESH_MODE, P_SPLIT_WINDOW, P_WCK_READ, P_WCK_WRITE, P_WRITE_DONE,
    P_WRITE_ENTRIES, P_WRITE_HIGH, P_WRITE_LOW, PRE, PREA, R_ACCEPT, R_BANK, R_DONE, R_KEY, R_PARENT, R_ROW, R_SEEN,
    R_WRITE, RANK_OF, RD, RDA, READS, REF, REFB, REFRESH_ALL_BANK, REFRESH_PER_BANK, REFRESHES, SPLIT_DEADLINE,
    SPLIT_OWNER, WR, WRA, WRITES, IntArray,
)  # fmt: skip

ANY, COLUMN, ROW = range(3)
"""Command buses a candidate may use."""


@compiled
def _length(queue: int) -> int:
    """Return where the length of the queue that starts at `queue` stands."""
    if queue == READS:
        return C_READS
    return C_WRITES if queue == WRITES else C_ACTIVE


@compiled
def _drop(c: IntArray, queue: int, at: int) -> None:
    """Take an entry out of a queue and keep the order."""
    length = _length(queue)
    last = c[length] - 1
    for place in range(queue + at, queue + last):
        c[place] = c[place + 1]
    c[length] = last


@compiled
def _waiting_write(c: IntArray, req: IntArray, i: int) -> int:
    """Return the write of the address of burst `i` in the write queue, or -1."""
    for place in range(WRITES, WRITES + c[C_WRITES]):
        if req[c[place], R_KEY] == req[i, R_KEY]:
            return c[place]
    return -1


@compiled
def accepts_shared(dev: IntArray, c: IntArray, req: IntArray, i: int) -> bool:
    """Tell whether the controller takes burst `i` now; bursts of an address that waits as a write are always taken."""
    if req[i, R_WRITE] == 1:
        if c[C_WRITES] < dev[P_WRITE_ENTRIES]:
            return True
    elif c[C_READS] < dev[P_READ_ENTRIES]:
        return True
    return _waiting_write(c, req, i) >= 0


@compiled
def accept_shared(c: IntArray, req: IntArray, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer or merge it when a write of its address waits."""
    waiting = _waiting_write(c, req, i)
    if req[i, R_WRITE] == 1:
        if waiting >= 0:
            req[i, R_PARENT] = waiting
            c[N_MERGED] += 1
            return
        c[WRITES + c[C_WRITES]] = i
        c[C_WRITES] += 1
    else:
        if waiting >= 0:
            req[i, R_DONE] = clk
            c[N_FORWARDED] += 1
            return
        c[READS + c[C_READS]] = i
        c[C_READS] += 1
    c[C_OUTSTANDING] += 1


@compiled
def _needed_command(c: IntArray, req: IntArray, i: int) -> int:
    """Return the next command that burst `i` needs."""
    open_row = c[OPEN_ROW + req[i, R_BANK]]
    if open_row == CLOSED:
        return ACT
    if open_row == ACTIVATING:
        return ACT2
    if open_row != req[i, R_ROW]:
        return PRE
    return WR if req[i, R_WRITE] == 1 else RD


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
        ready = ready_cycle(dev, c, _needed_command(c, req, i), req[i, R_BANK])
        if ready > clk:
            event = min(event, ready)
        elif req[i, R_ACCEPT] < age:
            best, age = at, req[i, R_ACCEPT]
    if best < 0:
        c[C_NEXT] = min(c[C_NEXT], event)
    return best


@compiled
def _pick_waiting(dev: IntArray, c: IntArray, req: IntArray, queue: int, bus: int, clk: int) -> int:
    """Return the place of the first ready burst of the read or write queue, or -1 and lower the next event.

    Bursts that need the same command of the same bank become ready together, so each pair is looked at once.
    """
    event = NEVER
    seen_act, seen_pre, seen_column = 0, 0, 0
    for at in range(c[_length(queue)]):
        i = c[queue + at]
        bank, cmd = req[i, R_BANK], _needed_command(c, req, i)
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
            return at
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
        c[N_HITS] += c[OPEN_ROW + req[i, R_BANK]] == req[i, R_ROW]


@compiled
def _hit_again(c: IntArray, req: IntArray, i: int, active: int) -> bool:
    """Tell whether another waiting or active burst hits the row of burst `i`; `active` tells whether it is active itself."""
    bank, row = req[i, R_BANK], req[i, R_ROW]
    for queue in (READS, WRITES):
        for place in range(queue, queue + c[_length(queue)]):
            if c[place] != i and req[c[place], R_BANK] == bank and req[c[place], R_ROW] == row:
                return True
    return c[ACTIVE_BANKS + bank] > active


@compiled
def _issue_column(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the column command of a burst and finish it."""
    i = c[queue + at]
    bank, write = req[i, R_BANK], req[i, R_WRITE] == 1
    cmd = WR if write else RD
    if dev[P_CLOSED_PAGE] == 1 and not _hit_again(c, req, i, 1 if queue == ACTIVE else 0):
        cmd = WRA if write else RDA
    if dev[P_SPLIT_WINDOW] > 0:
        c[C_WCK_EXPIRY] = max(c[C_WCK_EXPIRY], clk + (dev[P_WCK_WRITE] if write else dev[P_WCK_READ]))
    _count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, req[i, R_ROW], clk)
    req[i, R_DONE] = clk + (dev[P_WRITE_DONE] if write else dev[P_READ_DONE])
    c[C_OUTSTANDING] -= 1
    if queue == ACTIVE:
        c[ACTIVE_BANKS + bank] -= 1
    _drop(c, queue, at)


@compiled
def _make_active(c: IntArray, bank: int, i: int) -> None:
    """Append a burst whose row has just been opened to the active ones."""
    c[ACTIVE + c[C_ACTIVE]] = i
    c[C_ACTIVE] += 1
    c[ACTIVE_BANKS + bank] += 1


@compiled
def _issue_for(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the next command of a burst and move it on."""
    i = c[queue + at]
    bank = req[i, R_BANK]
    cmd = _needed_command(c, req, i)
    if cmd in (RD, WR):
        _issue_column(dev, c, req, log, queue, at, clk)
        return
    _count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, req[i, R_ROW], clk)
    if cmd == PRE:
        return
    _drop(c, queue, at)
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
    at = _pick_waiting(dev, c, req, queue, bus, clk)
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
    c[OPEN_ROW + first] = req[i, R_ROW]
    log_command(c, log, ACT2, first, req[i, R_ROW], clk)
    _make_active(c, first, i)
    c[SPLIT_OWNER + first] = -1
    c[SPLIT_DEADLINE + first] = NEVER
    c[C_SPLIT_BANKS] -= 1
    return True


@compiled
def _issue_synchronised(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> None:
    """Issue the column command that the CAS of the cycle before belongs to."""
    queue, at = c[C_CAS_QUEUE], 0
    while c[queue + at] != c[C_CAS_REQUEST]:
        at += 1
    c[C_CAS_REQUEST] = -1
    _issue_column(dev, c, req, log, queue, at, clk)


@compiled
def _issue_or_synchronise(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue a burst's next command; a column command after a pause of the data clock needs a CAS one cycle before."""
    i = c[queue + at]
    if _needed_command(c, req, i) in (RD, WR) and clk >= c[C_WCK_EXPIRY]:
        if not _finish_activate(dev, c, req, log, clk + 1, clk):
            log_command(c, log, CAS, req[i, R_BANK], req[i, R_ROW], clk)
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
            at = _pick_waiting(dev, c, req, queue, ANY, clk)
    if at < 0:
        return _finish_activate(dev, c, req, log, NEVER - 1, clk)
    _issue_or_synchronise(dev, c, req, log, queue, at, clk)
    return True


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
        return clk + 1
    return max(c[C_NEXT], clk + 1)
