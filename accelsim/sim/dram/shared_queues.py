"""The controller with one read and one write queue per channel and first-ready first-come scheduling.

It behaves as that of Ramulator 2.

The oldest burst whose next command is ready wins. A burst whose row was opened for it becomes active: active bursts
go first, and nothing may close their bank. Writes are served above the high watermark or when no read waits, until
they fall below the low watermark. A refresh lets active bursts finish, then holds everything else back, closes its
rank and refreshes it. Variants: two command buses, one for rows and one for columns (HBM); split activates and a data
clock that must be synchronised after a pause (LPDDR5). Source of the behaviour: Luo et al., "Ramulator 2.0", IEEE CAL
23(1), 2024, and its public documentation.
"""

from __future__ import annotations

from accelsim.sim.dram import state as s
from accelsim.sim.dram.commands import issue, log_command, rank_ready_cycle, ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.queues import COUNT, FIRST, count_key, find, may_wait, num_runs, pop, push
from accelsim.sim.dram.state import IntArray

ANY, COLUMN, ROW = range(3)
"""Command buses a candidate may use."""


@compiled
def accepts_shared(dev: IntArray, c: IntArray, req: IntArray, i: int) -> bool:
    """Tell whether the controller takes burst `i` now; bursts of an address that waits as a write are always taken."""
    if req[i, s.R_WRITE] == 1:
        if c[s.C_WRITES] < dev[s.P_WRITE_ENTRIES]:
            return True
    elif c[s.C_READS] < dev[s.P_READ_ENTRIES]:
        return True
    # It needs no entry: a read is answered from the queue, and a write takes the place of the one that waits.
    return may_wait(c, req, i, 1) and find(c, req, s.WRITES, i) >= 0


@compiled
def accept_shared(dev: IntArray, c: IntArray, req: IntArray, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer or merge it when a write of its address waits."""
    waiting = find(c, req, s.WRITES, i) if may_wait(c, req, i, 1) else -1
    if req[i, s.R_WRITE] == 1:
        if waiting >= 0:
            req[i, s.R_PARENT] = waiting
            c[s.N_MERGED] += 1
            return
        push(c, req, s.WRITES, i)
        count_key(c, req, i, 1, 1)
        c[s.C_EVENT] = clk
    else:
        if waiting >= 0:
            req[i, s.R_DONE] = clk
            c[s.N_FORWARDED] += 1
            return
        if push(c, req, s.READS, i):  # a burst that joins a run is ready no earlier than the run
            c[s.C_EVENT] = clk
    c[s.C_OUTSTANDING] += 1


@compiled
def _take(c: IntArray, req: IntArray, queue: int, at: int) -> None:
    """Take an active burst, or the first one of a waiting run, out of its queue."""
    if queue == s.ACTIVE:
        c[s.C_ACTIVE] -= 1
        for place in range(s.ACTIVE + at, s.ACTIVE + c[s.C_ACTIVE]):
            c[place] = c[place + 1]
        return
    i = pop(c, req, queue, at)
    if queue == s.WRITES:
        count_key(c, req, i, 1, -1)


@compiled
def _burst(c: IntArray, queue: int, at: int) -> int:
    """Return an active burst, or the first one of a waiting run."""
    return int(c[s.ACTIVE + at] if queue == s.ACTIVE else c[queue + at + FIRST])


@compiled
def needed_command(c: IntArray, place: int, is_write: bool) -> int:
    """Return the next command that bursts for a place need."""
    open_row = c[s.OPEN_ROW + (place & s.BANK_MASK)]
    if open_row == s.CLOSED:
        return s.ACT
    if open_row == s.ACTIVATING:
        return s.ACT2
    if open_row != place >> s.ROW_SHIFT:
        return s.PRE
    return s.WR if is_write else s.RD


@compiled
def _excluded(dev: IntArray, c: IntArray, cmd: int, bank: int, bus: int) -> bool:
    """Tell whether a command is barred whatever its timing: wrong bus, active bank, or an activate half done."""
    # The second half of an activate has a deadline and comes by `_finish_activate`. A row that was opened for a burst
    # stays until the burst has had it, or two bursts could open and close a bank in turns for ever.
    if cmd == s.ACT2 or (cmd == s.PRE and c[s.ACTIVE_BANKS + bank] > 0) or (cmd == s.ACT and c[s.C_SPLIT_BANKS] > 0):
        return True
    # The bank that is refreshed next gets no new row, so that it closes; the others work on.
    if dev[s.P_REFRESH_MODE] == s.REFRESH_PER_BANK and c[s.C_REFRESHES] > 0 and c[s.REFRESHES] == bank:
        if c[s.ACTIVE_BANKS + bank] == 0:
            return True
    if bus == COLUMN:
        return cmd in (s.ACT, s.PRE)
    return bus == ROW and cmd in (s.RD, s.WR)


@compiled
def _pick_active(dev: IntArray, c: IntArray, req: IntArray, clk: int) -> int:
    """Return the place of the oldest ready active burst, or -1 and lower the next event."""
    best, age, event = -1, s.NEVER, s.NEVER
    for at in range(c[s.C_ACTIVE]):
        i = c[s.ACTIVE + at]
        place = req[i, s.R_PLACE]
        ready = ready_cycle(dev, c, needed_command(c, place, req[i, s.R_WRITE] == 1), place & s.BANK_MASK)
        if ready > clk:
            event = min(event, ready)
        elif req[i, s.R_ACCEPT] < age:
            best, age = at, req[i, s.R_ACCEPT]
    if best < 0:
        c[s.C_NEXT] = min(c[s.C_NEXT], event)
    return best


@compiled
def _pick_waiting(dev: IntArray, c: IntArray, queue: int, bus: int, clk: int) -> int:
    """Return the first run of the read or write queue that is ready, or -1 and lower the next event.

    Runs that need the same command of the same bank become ready together, so each pair is looked at once.
    """
    event = s.NEVER
    seen_act, seen_pre, seen_column = 0, 0, 0
    for run in range(num_runs(c, queue)):
        place = c[queue + run]
        bank, cmd = place & s.BANK_MASK, needed_command(c, place, queue == s.WRITES)
        bit = 1 << bank if bank < 63 else 0
        seen = seen_act if cmd == s.ACT else seen_pre if cmd == s.PRE else seen_column
        if seen & bit:
            continue
        if cmd == s.ACT:
            seen_act |= bit
        elif cmd == s.PRE:
            seen_pre |= bit
        else:
            seen_column |= bit
        if _excluded(dev, c, cmd, bank, bus):
            continue
        ready = ready_cycle(dev, c, cmd, bank)
        if ready <= clk:
            return run
        event = min(event, ready)
    c[s.C_NEXT] = min(c[s.C_NEXT], event)
    return -1


@compiled
def _served_queue(dev: IntArray, c: IntArray) -> int:
    """Return which queue is served now, and remember it: writes between the two watermarks go on as they were."""
    if c[s.C_WRITE_MODE] == 0:
        if c[s.C_WRITES] >= dev[s.P_WRITE_HIGH] or c[s.C_READS] == 0:
            c[s.C_WRITE_MODE] = 1
    elif c[s.C_WRITES] < dev[s.P_WRITE_LOW] and c[s.C_READS] != 0:
        c[s.C_WRITE_MODE] = 0
    return s.WRITES if c[s.C_WRITE_MODE] == 1 else s.READS


@compiled
def _holds_back(dev: IntArray, c: IntArray) -> bool:
    """Tell whether a waiting refresh keeps bursts that are not active from being served."""
    return bool(dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK and c[s.C_REFRESHES] > 0)


@compiled
def count_outcome(c: IntArray, req: IntArray, i: int) -> None:
    """Count a burst as a row hit or not, once, when its first command issues."""
    if req[i, s.R_SEEN] == 0:
        req[i, s.R_SEEN] = 1
        c[s.N_COLUMN] += 1
        place = req[i, s.R_PLACE]
        c[s.N_HITS] += c[s.OPEN_ROW + (place & s.BANK_MASK)] == place >> s.ROW_SHIFT


@compiled
def _hit_again(c: IntArray, queue: int, at: int, place: int) -> bool:
    """Tell whether a waiting or active burst besides this one hits the row of `place`."""
    for other in (s.READS, s.WRITES):
        for run in range(num_runs(c, other)):
            if c[other + run] == place and (other != queue or run != at or c[other + run + COUNT] > 1):
                return True
    return bool(c[s.ACTIVE_BANKS + (place & s.BANK_MASK)] > (1 if queue == s.ACTIVE else 0))


@compiled
def _issue_column(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the column command of a burst and finish it."""
    i = _burst(c, queue, at)
    place, write = req[i, s.R_PLACE], req[i, s.R_WRITE] == 1
    bank = place & s.BANK_MASK
    cmd = s.WR if write else s.RD
    # The last burst of a row closes it with its own command: a precharge of its own would take the bus a cycle.
    if dev[s.P_CLOSED_PAGE] == 1 and not _hit_again(c, queue, at, place):
        cmd = s.WRA if write else s.RDA
    if dev[s.P_SPLIT_WINDOW] > 0:
        c[s.C_WCK_EXPIRY] = max(c[s.C_WCK_EXPIRY], clk + (dev[s.P_WCK_WRITE] if write else dev[s.P_WCK_READ]))
    count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, place >> s.ROW_SHIFT, clk)
    req[i, s.R_DONE] = clk + (dev[s.P_WRITE_DONE] if write else dev[s.P_READ_DONE])
    c[s.C_OUTSTANDING] -= 1
    if queue == s.ACTIVE:
        c[s.ACTIVE_BANKS + bank] -= 1
    _take(c, req, queue, at)


@compiled
def _make_active(c: IntArray, bank: int, i: int) -> None:
    """Append a burst whose row has just been opened to the active ones."""
    c[s.ACTIVE + c[s.C_ACTIVE]] = i
    c[s.C_ACTIVE] += 1
    c[s.ACTIVE_BANKS + bank] += 1


@compiled
def _issue_for(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int) -> None:
    """Issue the next command of a burst and move it on."""
    i = _burst(c, queue, at)
    place = req[i, s.R_PLACE]
    bank = place & s.BANK_MASK
    cmd = needed_command(c, place, req[i, s.R_WRITE] == 1)
    if cmd in (s.RD, s.WR):
        _issue_column(dev, c, req, log, queue, at, clk)
        return
    count_outcome(c, req, i)
    issue(dev, c, log, cmd, bank, place >> s.ROW_SHIFT, clk)
    if cmd == s.PRE:
        return
    _take(c, req, queue, at)
    if dev[s.P_SPLIT_WINDOW] > 0:
        c[s.SPLIT_OWNER + bank] = i
        c[s.SPLIT_DEADLINE + bank] = clk + dev[s.P_SPLIT_WINDOW]
        c[s.C_SPLIT_BANKS] += 1
    else:
        _make_active(c, bank, i)


@compiled
def due_refresh(dev: IntArray, c: IntArray, clk: int) -> None:
    """Queue the refreshes whose time has come: every rank, or the next bank."""
    if clk < c[s.C_NEXT_REFRESH]:
        return
    c[s.C_NEXT_REFRESH] += dev[s.P_REFI]
    all_bank = dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK
    for unit in range(dev[s.P_RANKS] if all_bank else 1):
        if c[s.C_REFRESHES] < s.MAX_REFRESHES:
            c[s.REFRESHES + c[s.C_REFRESHES]] = unit if all_bank else c[s.C_REFRESH_AT]
            c[s.C_REFRESHES] += 1
    c[s.C_REFRESH_AT] = (c[s.C_REFRESH_AT] + 1) % dev[s.P_BANKS]


@compiled
def _rank_state(dev: IntArray, c: IntArray, rank: int) -> tuple[int, int, int]:
    """Return a bank of the rank, how many are open, and how many may not be closed."""
    last, open_banks, held = -1, 0, 0
    for bank in range(dev[s.P_BANKS]):
        if dev[s.RANK_OF + bank] == rank:
            last = bank
            open_banks += c[s.OPEN_ROW + bank] != s.CLOSED
            held += c[s.ACTIVE_BANKS + bank] > 0 or c[s.SPLIT_OWNER + bank] >= 0
    return last, open_banks, held


@compiled
def refresh(dev: IntArray, c: IntArray, log: IntArray, clk: int) -> bool:
    """Issue the next command of the waiting refresh, if any may issue; tell whether one did."""
    if c[s.C_REFRESHES] == 0:
        return False
    unit = c[s.REFRESHES]
    if dev[s.P_REFRESH_MODE] == s.REFRESH_ALL_BANK:
        bank, open_banks, held = _rank_state(dev, c, unit)
        cmd = s.PREA if open_banks > 0 else s.REF
        ready = rank_ready_cycle(c, cmd, unit)
    else:
        bank, held = unit, c[s.ACTIVE_BANKS + unit] + (c[s.SPLIT_OWNER + unit] >= 0)
        cmd = s.REFB if c[s.OPEN_ROW + bank] == s.CLOSED else s.PRE
        ready = ready_cycle(dev, c, cmd, bank)
    if held > 0:
        return False
    if ready > clk:
        c[s.C_NEXT] = min(c[s.C_NEXT], ready)
        return False
    issue(dev, c, log, cmd, bank, 0, clk)
    if cmd in (s.REF, s.REFB):
        for place in range(s.REFRESHES, s.REFRESHES + c[s.C_REFRESHES] - 1):
            c[place] = c[place + 1]
        c[s.C_REFRESHES] -= 1
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
        _issue_for(dev, c, req, log, s.ACTIVE, at, clk)
    return at >= 0


@compiled
def _tick_single(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One command a cycle: active, refresh, waiting."""
    if _serve_active(dev, c, req, log, clk) or refresh(dev, c, log, clk):
        return True
    return _serve_waiting(dev, c, req, log, ANY, clk)


@compiled
def _tick_dual(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One column and one row command a cycle."""
    column = _serve_active(dev, c, req, log, clk) or _serve_waiting(dev, c, req, log, COLUMN, clk)
    row = refresh(dev, c, log, clk) or _serve_waiting(dev, c, req, log, ROW, clk)
    return column or row


@compiled
def _finish_activate(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, latest: int, clk: int) -> bool:
    """Issue the second half of the activate with the earliest deadline, if that is not after `latest`."""
    if c[s.C_SPLIT_BANKS] == 0:
        return False
    first, deadline = -1, latest + 1
    for bank in range(dev[s.P_BANKS]):
        if c[s.SPLIT_OWNER + bank] >= 0 and c[s.SPLIT_DEADLINE + bank] < deadline:
            first, deadline = bank, c[s.SPLIT_DEADLINE + bank]
    if first < 0:
        return False
    i = c[s.SPLIT_OWNER + first]
    row = req[i, s.R_PLACE] >> s.ROW_SHIFT
    c[s.OPEN_ROW + first] = row
    log_command(c, log, s.ACT2, first, row, clk)
    _make_active(c, first, i)
    c[s.SPLIT_OWNER + first] = -1
    c[s.SPLIT_DEADLINE + first] = s.NEVER
    c[s.C_SPLIT_BANKS] -= 1
    return True


@compiled
def _issue_synchronised(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> None:
    """Issue the column command that the CAS of the cycle before belongs to."""
    queue, at = c[s.C_CAS_QUEUE], 0
    while _burst(c, queue, at) != c[s.C_CAS_REQUEST]:
        at += 1
    c[s.C_CAS_REQUEST] = -1
    _issue_column(dev, c, req, log, queue, at, clk)


@compiled
def _issue_or_synchronise(
    dev: IntArray, c: IntArray, req: IntArray, log: IntArray, queue: int, at: int, clk: int
) -> None:
    """Issue a burst's next command; a column command after a pause of the data clock needs a CAS one cycle before."""
    i = _burst(c, queue, at)
    place = req[i, s.R_PLACE]
    if clk >= c[s.C_WCK_EXPIRY] and needed_command(c, place, req[i, s.R_WRITE] == 1) in (s.RD, s.WR):
        # CAS and column command take two cycles in a row: an activate whose deadline falls on the second goes first.
        if not _finish_activate(dev, c, req, log, clk + 1, clk):
            log_command(c, log, s.CAS, place & s.BANK_MASK, place >> s.ROW_SHIFT, clk)
            c[s.C_CAS_REQUEST], c[s.C_CAS_QUEUE] = i, queue
        return
    _issue_for(dev, c, req, log, queue, at, clk)


@compiled
def _tick_split(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> bool:
    """One command a cycle with split activates: their second half waits for a free slot, at most until its deadline."""
    if c[s.C_CAS_REQUEST] >= 0:
        _issue_synchronised(dev, c, req, log, clk)
        return True
    if _finish_activate(dev, c, req, log, clk, clk):
        return True
    queue, at = s.ACTIVE, _pick_active(dev, c, req, clk)
    if at < 0:
        if refresh(dev, c, log, clk):
            return True
        if not _holds_back(dev, c):
            queue = _served_queue(dev, c)
            at = _pick_waiting(dev, c, queue, ANY, clk)
    if at < 0:
        return _finish_activate(dev, c, req, log, s.NEVER - 1, clk)
    _issue_or_synchronise(dev, c, req, log, queue, at, clk)
    return True


@compiled
def _next_cycle(dev: IntArray, c: IntArray, clk: int) -> int:
    """Return the cycle after one in which a command issued, or a later one if only one run of reads waits for it."""
    if (
        c[s.C_WRITE_MODE] == 1  # the watermarks are looked at again in the next cycle
        or c[s.C_READ_RUNS] != 1
        or c[s.C_WRITES] + c[s.C_ACTIVE] + c[s.C_REFRESHES] + c[s.C_SPLIT_BANKS] > 0
        or c[s.C_CAS_REQUEST] >= 0
    ):
        return clk + 1
    ready = ready_cycle(dev, c, needed_command(c, c[s.READS], False), c[s.READS] & s.BANK_MASK)
    return int(max(clk + 1, min(ready, c[s.C_NEXT_REFRESH])))


@compiled
def tick_shared(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> int:
    """Do what a controller does in cycle `clk`; return the next cycle in which it may do something."""
    due_refresh(dev, c, clk)
    c[s.C_NEXT] = c[s.C_NEXT_REFRESH]
    if dev[s.P_SPLIT_WINDOW] > 0:
        issued = _tick_split(dev, c, req, log, clk)
    elif dev[s.P_DUAL_BUS] == 1:
        issued = _tick_dual(dev, c, req, log, clk)
    else:
        issued = _tick_single(dev, c, req, log, clk)
    if issued:
        return _next_cycle(dev, c, clk)
    return int(max(c[s.C_NEXT], clk + 1))
