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
    ACT, ACT2, ACTIVATING, C_ACTIVE, C_CAS_QUEUE, C_CAS_REQUEST, C_NEXT, C_NEXT_REFRESH, C_READS, C_REFRESH_AT,
    C_REFRESHES, C_SPLIT_BANKS, C_WCK_EXPIRY, C_WRITE_MODE, C_WRITES, CAS, CLOSED, G_OUTSTANDING, MAX_REFRESHES,
    N_COLUMN, N_FORWARDED, N_HITS, N_MERGED, NEVER, P_BANKS, P_CLOSED_PAGE, P_DUAL_BUS, P_RANKS, P_READ_DONE,
    P_READ_ENTRIES, P_REFI, P_REFRESH_MODE, P_SPLIT_WINDOW, P_WCK_READ, P_WCK_WRITE, P_WRITE_DONE, P_WRITE_ENTRIES,
    P_WRITE_HIGH, P_WRITE_LOW, PRE, PREA, RD, RDA, REF, REFB, REFRESH_ALL_BANK, REFRESH_PER_BANK, WR, WRA, Banks,
    Device, Queues, Requests,
)  # fmt: skip

ANY, COLUMN, ROW = range(3)
"""Command buses a candidate may use."""
READS, WRITES, ACTIVE = range(3)
"""Queues a candidate may stand in."""


@compiled
def accepts_shared(dev: Device, req: Requests, queues: Queues, i: int) -> bool:
    """Tell whether the controller takes burst `i` now; bursts of an address that waits as a write are always taken."""
    ctl = queues.ctl[req.channel[i]]
    if req.is_write[i] == 1:
        if ctl[C_WRITES] < dev.p[P_WRITE_ENTRIES]:
            return True
    elif ctl[C_READS] < dev.p[P_READ_ENTRIES]:
        return True
    return _waiting_write(req, queues, i) >= 0


@compiled
def _waiting_write(req: Requests, queues: Queues, i: int) -> int:
    """Return the write of the address of burst `i` in the write queue, or -1."""
    ch = req.channel[i]
    for at in range(queues.ctl[ch, C_WRITES]):
        if req.key[queues.writes[ch, at]] == req.key[i]:
            return int(queues.writes[ch, at])
    return -1


@compiled
def accept_shared(banks: Banks, req: Requests, queues: Queues, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer or merge it when a write of its address waits."""
    ch = req.channel[i]
    ctl = queues.ctl[ch]
    waiting = _waiting_write(req, queues, i)
    if req.is_write[i] == 1:
        if waiting >= 0:
            req.parent[i] = waiting
            banks.counts[ch, N_MERGED] += 1
            return
        queues.writes[ch, ctl[C_WRITES]] = i
        ctl[C_WRITES] += 1
    else:
        if waiting >= 0:
            req.done[i] = clk
            banks.counts[ch, N_FORWARDED] += 1
            return
        queues.reads[ch, ctl[C_READS]] = i
        ctl[C_READS] += 1
    queues.g[G_OUTSTANDING] += 1


@compiled
def _needed_command(banks: Banks, req: Requests, ch: int, i: int) -> int:
    """Return the next command that burst `i` needs."""
    open_row = banks.open_row[ch, req.bank[i]]
    if open_row == CLOSED:
        return ACT
    if open_row == ACTIVATING:
        return ACT2
    if open_row != req.row[i]:
        return PRE
    return WR if req.is_write[i] == 1 else RD


@compiled
def _excluded(dev: Device, queues: Queues, ch: int, cmd: int, bank: int, bus: int) -> bool:
    """Tell whether a command is barred whatever its timing: wrong bus, active bank, or an activate half done."""
    if cmd == ACT2 or (cmd == PRE and queues.active_banks[ch, bank] > 0):
        return True
    if cmd == ACT and queues.ctl[ch, C_SPLIT_BANKS] > 0:
        return True
    if dev.p[P_REFRESH_MODE] == REFRESH_PER_BANK and queues.ctl[ch, C_REFRESHES] > 0:
        if queues.refreshes[ch, 0] == bank and queues.active_banks[ch, bank] == 0:
            return True
    if bus == COLUMN:
        return cmd in (ACT, PRE)
    return bus == ROW and cmd in (RD, WR)


@compiled
def _queue(queues: Queues, ch: int, which: int):  # type: ignore[no-untyped-def]
    """Return one of the three queues of a channel."""
    if which == READS:
        return queues.reads[ch]
    return queues.writes[ch] if which == WRITES else queues.active[ch]


@compiled
def _length_index(which: int) -> int:
    """Return the control slot that holds the length of a queue."""
    if which == READS:
        return C_READS
    return C_WRITES if which == WRITES else C_ACTIVE


@compiled
def _pick_active(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> int:
    """Return the place of the oldest ready active burst, or -1 and lower the next event."""
    ctl = queues.ctl[ch]
    best, age, event = -1, NEVER, NEVER
    for at in range(ctl[C_ACTIVE]):
        i = queues.active[ch, at]
        ready = ready_cycle(dev, banks, ch, _needed_command(banks, req, ch, i), req.bank[i])
        if ready > clk:
            event = min(event, ready)
        elif req.accept[i] < age:
            best, age = at, req.accept[i]
    if best < 0:
        ctl[C_NEXT] = min(ctl[C_NEXT], event)
    return best


@compiled
def _pick_waiting(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, which: int, bus: int, clk: int) -> int:  # noqa: PLR0913
    """Return the place of the first ready burst of the read or write queue, or -1 and lower the next event."""
    queue, event = _queue(queues, ch, which), NEVER
    for at in range(queues.ctl[ch, _length_index(which)]):
        i = queue[at]
        bank, cmd = req.bank[i], _needed_command(banks, req, ch, i)
        if _excluded(dev, queues, ch, cmd, bank, bus):
            continue
        ready = ready_cycle(dev, banks, ch, cmd, bank)
        if ready <= clk:
            return at
        event = min(event, ready)
    queues.ctl[ch, C_NEXT] = min(queues.ctl[ch, C_NEXT], event)
    return -1


@compiled
def _serves_writes(dev: Device, queues: Queues, ch: int) -> int:
    """Return which queue is served now, and remember it: writes between the two watermarks go on as they were."""
    ctl = queues.ctl[ch]
    if ctl[C_WRITE_MODE] == 0:
        if ctl[C_WRITES] >= dev.p[P_WRITE_HIGH] or ctl[C_READS] == 0:
            ctl[C_WRITE_MODE] = 1
    elif ctl[C_WRITES] < dev.p[P_WRITE_LOW] and ctl[C_READS] != 0:
        ctl[C_WRITE_MODE] = 0
    return WRITES if ctl[C_WRITE_MODE] == 1 else READS


@compiled
def _holds_back(dev: Device, queues: Queues, ch: int) -> bool:
    """Tell whether a waiting refresh keeps bursts that are not active from being served."""
    return bool(dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK and queues.ctl[ch, C_REFRESHES] > 0)


@compiled
def _count_outcome(banks: Banks, req: Requests, ch: int, i: int) -> None:
    """Count a burst as a row hit or not, once, when its first command issues."""
    if req.seen[i] == 0:
        req.seen[i] = 1
        banks.counts[ch, N_COLUMN] += 1
        if banks.open_row[ch, req.bank[i]] == req.row[i]:
            banks.counts[ch, N_HITS] += 1


@compiled
def _hit_again(banks: Banks, req: Requests, queues: Queues, ch: int, i: int) -> bool:
    """Tell whether another waiting or active burst hits the row of burst `i`."""
    bank, row = req.bank[i], req.row[i]
    for which in range(3):
        queue = _queue(queues, ch, which)
        for at in range(queues.ctl[ch, _length_index(which)]):
            if queue[at] != i and req.bank[queue[at]] == bank and req.row[queue[at]] == row:
                return True
    return queues.active_banks[ch, bank] > 1


@compiled
def _drop(queues: Queues, ch: int, which: int, at: int) -> None:
    """Take an entry out of a queue and keep the order."""
    length = _length_index(which)
    queue = _queue(queues, ch, which)
    for place in range(at, queues.ctl[ch, length] - 1):
        queue[place] = queue[place + 1]
    queues.ctl[ch, length] -= 1


@compiled
def _issue_column(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, which: int, at: int, clk: int) -> None:  # noqa: PLR0913
    """Issue the column command of a burst and finish it."""
    i = _queue(queues, ch, which)[at]
    bank, write = req.bank[i], req.is_write[i] == 1
    cmd = WR if write else RD
    if dev.p[P_CLOSED_PAGE] == 1 and not _hit_again(banks, req, queues, ch, i):
        cmd = WRA if write else RDA
    if dev.p[P_SPLIT_WINDOW] > 0:
        after = dev.p[P_WCK_WRITE] if write else dev.p[P_WCK_READ]
        queues.ctl[ch, C_WCK_EXPIRY] = max(queues.ctl[ch, C_WCK_EXPIRY], clk + after)
    _count_outcome(banks, req, ch, i)
    issue(dev, banks, queues, ch, cmd, bank, req.row[i], clk)
    req.done[i] = clk + (dev.p[P_WRITE_DONE] if write else dev.p[P_READ_DONE])
    queues.g[G_OUTSTANDING] -= 1
    if which == ACTIVE:
        queues.active_banks[ch, bank] -= 1
    _drop(queues, ch, which, at)


@compiled
def _make_active(queues: Queues, ch: int, bank: int, i: int) -> None:
    """Append a burst whose row has just been opened to the active ones."""
    queues.active[ch, queues.ctl[ch, C_ACTIVE]] = i
    queues.ctl[ch, C_ACTIVE] += 1
    queues.active_banks[ch, bank] += 1


@compiled
def _issue_for(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, which: int, at: int, clk: int) -> None:  # noqa: PLR0913
    """Issue the next command of a burst and move it on."""
    i = _queue(queues, ch, which)[at]
    bank = req.bank[i]
    cmd = _needed_command(banks, req, ch, i)
    if cmd in (RD, WR):
        _issue_column(dev, banks, req, queues, ch, which, at, clk)
        return
    _count_outcome(banks, req, ch, i)
    issue(dev, banks, queues, ch, cmd, bank, req.row[i], clk)
    if cmd == PRE:
        return
    _drop(queues, ch, which, at)
    if dev.p[P_SPLIT_WINDOW] > 0:
        queues.split_owner[ch, bank] = i
        queues.split_deadline[ch, bank] = clk + dev.p[P_SPLIT_WINDOW]
        queues.ctl[ch, C_SPLIT_BANKS] += 1
    else:
        _make_active(queues, ch, bank, i)


@compiled
def _due_refresh(dev: Device, queues: Queues, ch: int, clk: int) -> None:
    """Queue the refreshes whose time has come: every rank, or the next bank."""
    ctl = queues.ctl[ch]
    if clk < ctl[C_NEXT_REFRESH]:
        return
    ctl[C_NEXT_REFRESH] += dev.p[P_REFI]
    if dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK:
        for rank in range(dev.p[P_RANKS]):
            if ctl[C_REFRESHES] < MAX_REFRESHES:
                queues.refreshes[ch, ctl[C_REFRESHES]] = rank
                ctl[C_REFRESHES] += 1
    elif ctl[C_REFRESHES] < MAX_REFRESHES:
        queues.refreshes[ch, ctl[C_REFRESHES]] = ctl[C_REFRESH_AT]
        ctl[C_REFRESHES] += 1
        ctl[C_REFRESH_AT] = (ctl[C_REFRESH_AT] + 1) % dev.p[P_BANKS]


@compiled
def _rank_state(dev: Device, banks: Banks, queues: Queues, ch: int, rank: int) -> tuple[int, int, int]:
    """Return a bank of the rank, how many are open, and how many may not be closed."""
    first, open_banks, held = -1, 0, 0
    for bank in range(dev.p[P_BANKS]):
        if dev.rank_of[bank] != rank:
            continue
        first = bank
        open_banks += banks.open_row[ch, bank] != CLOSED
        held += queues.active_banks[ch, bank] > 0 or queues.split_owner[ch, bank] >= 0
    return first, open_banks, held


@compiled
def _refresh(dev: Device, banks: Banks, queues: Queues, ch: int, clk: int) -> bool:
    """Issue the next command of the waiting refresh, if any may issue; tell whether one did."""
    ctl = queues.ctl[ch]
    if ctl[C_REFRESHES] == 0:
        return False
    unit = queues.refreshes[ch, 0]
    if dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK:
        bank, open_banks, held = _rank_state(dev, banks, queues, ch, unit)
        cmd = PREA if open_banks > 0 else REF
        ready = rank_ready_cycle(banks, ch, cmd, unit)
    else:
        bank, held = unit, queues.active_banks[ch, unit] + (queues.split_owner[ch, unit] >= 0)
        cmd = REFB if banks.open_row[ch, bank] == CLOSED else PRE
        ready = ready_cycle(dev, banks, ch, cmd, bank)
    if held > 0:
        return False
    if ready > clk:
        ctl[C_NEXT] = min(ctl[C_NEXT], ready)
        return False
    issue(dev, banks, queues, ch, cmd, bank, 0, clk)
    if cmd in (REF, REFB):
        for at in range(ctl[C_REFRESHES] - 1):
            queues.refreshes[ch, at] = queues.refreshes[ch, at + 1]
        ctl[C_REFRESHES] -= 1
    return True


@compiled
def _tick_single(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> bool:
    """One command a cycle: active, refresh, waiting."""
    at = _pick_active(dev, banks, req, queues, ch, clk)
    if at >= 0:
        _issue_for(dev, banks, req, queues, ch, ACTIVE, at, clk)
        return True
    if _refresh(dev, banks, queues, ch, clk):
        return True
    if _holds_back(dev, queues, ch):
        return False
    which = _serves_writes(dev, queues, ch)
    at = _pick_waiting(dev, banks, req, queues, ch, which, ANY, clk)
    if at >= 0:
        _issue_for(dev, banks, req, queues, ch, which, at, clk)
    return at >= 0


@compiled
def _tick_dual(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> bool:
    """One column and one row command a cycle."""
    issued = False
    at = _pick_active(dev, banks, req, queues, ch, clk)
    if at >= 0:
        _issue_for(dev, banks, req, queues, ch, ACTIVE, at, clk)
        issued = True
    elif not _holds_back(dev, queues, ch):
        which = _serves_writes(dev, queues, ch)
        at = _pick_waiting(dev, banks, req, queues, ch, which, COLUMN, clk)
        if at >= 0:
            _issue_for(dev, banks, req, queues, ch, which, at, clk)
            issued = True
    if _refresh(dev, banks, queues, ch, clk):
        return True
    if _holds_back(dev, queues, ch):
        return issued
    which = _serves_writes(dev, queues, ch)
    at = _pick_waiting(dev, banks, req, queues, ch, which, ROW, clk)
    if at >= 0:
        _issue_for(dev, banks, req, queues, ch, which, at, clk)
        issued = True
    return issued


@compiled
def _finish_activate(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, latest: int, clk: int) -> bool:  # noqa: PLR0913
    """Issue the second half of the activate with the earliest deadline, if that is not after `latest`."""
    first, deadline = -1, latest + 1
    for bank in range(dev.p[P_BANKS]):
        if queues.split_owner[ch, bank] >= 0 and queues.split_deadline[ch, bank] < deadline:
            first, deadline = bank, queues.split_deadline[ch, bank]
    if first < 0:
        return False
    i = queues.split_owner[ch, first]
    banks.open_row[ch, first] = req.row[i]
    log_command(queues, ch, ACT2, first, req.row[i], clk)
    _make_active(queues, ch, first, i)
    queues.split_owner[ch, first] = -1
    queues.split_deadline[ch, first] = NEVER
    queues.ctl[ch, C_SPLIT_BANKS] -= 1
    return True


@compiled
def _find_place(queues: Queues, ch: int, which: int, i: int) -> int:
    """Return the place of burst `i` in a queue."""
    queue = _queue(queues, ch, which)
    at = 0
    while queue[at] != i:
        at += 1
    return at


@compiled
def _issue_or_synchronise(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, which: int, at: int, clk: int) -> None:  # noqa: PLR0913
    """Issue a burst's next command; a column command after a pause of the data clock needs a CAS one cycle before."""
    ctl = queues.ctl[ch]
    i = _queue(queues, ch, which)[at]
    cmd = _needed_command(banks, req, ch, i)
    if cmd in (RD, WR) and clk >= ctl[C_WCK_EXPIRY]:
        if not _finish_activate(dev, banks, req, queues, ch, clk + 1, clk):
            log_command(queues, ch, CAS, req.bank[i], req.row[i], clk)
            ctl[C_CAS_REQUEST], ctl[C_CAS_QUEUE] = i, which
        return
    _issue_for(dev, banks, req, queues, ch, which, at, clk)


@compiled
def _tick_split(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> bool:
    """One command a cycle with split activates: their second half waits for a free slot, at most until its deadline."""
    ctl = queues.ctl[ch]
    if ctl[C_CAS_REQUEST] >= 0:
        at = _find_place(queues, ch, ctl[C_CAS_QUEUE], ctl[C_CAS_REQUEST])
        ctl[C_CAS_REQUEST] = -1
        _issue_column(dev, banks, req, queues, ch, ctl[C_CAS_QUEUE], at, clk)
        return True
    if ctl[C_SPLIT_BANKS] > 0 and _finish_activate(dev, banks, req, queues, ch, clk, clk):
        return True
    which, at = ACTIVE, _pick_active(dev, banks, req, queues, ch, clk)
    if at < 0:
        if _refresh(dev, banks, queues, ch, clk):
            return True
        if not _holds_back(dev, queues, ch):
            which = _serves_writes(dev, queues, ch)
            at = _pick_waiting(dev, banks, req, queues, ch, which, ANY, clk)
    if at < 0:
        return ctl[C_SPLIT_BANKS] > 0 and _finish_activate(dev, banks, req, queues, ch, NEVER - 1, clk)
    _issue_or_synchronise(dev, banks, req, queues, ch, which, at, clk)
    return True


@compiled
def tick_shared(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> int:
    """Do what the controller of channel `ch` does in cycle `clk`; return the next cycle in which it may do something."""
    ctl = queues.ctl[ch]
    _due_refresh(dev, queues, ch, clk)
    ctl[C_NEXT] = ctl[C_NEXT_REFRESH]
    if dev.p[P_SPLIT_WINDOW] > 0:
        issued = _tick_split(dev, banks, req, queues, ch, clk)
    elif dev.p[P_DUAL_BUS] == 1:
        issued = _tick_dual(dev, banks, req, queues, ch, clk)
    else:
        issued = _tick_single(dev, banks, req, queues, ch, clk)
    if issued:
        return clk + 1
    return max(ctl[C_NEXT], clk + 1)
