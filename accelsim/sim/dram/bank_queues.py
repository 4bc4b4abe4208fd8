"""The controller with a command queue per bank, in the manner of DRAMsim3.

Bursts wait in a read queue and a write queue; each cycle one of them moves to the command queue of its bank. Bank queues
are served round robin: inside one, the first entry whose next command is ready wins, a precharge only if it stands at the
head and either no entry hits the open row or the row has been hit `P_HIT_LIMIT` times. Writes are posted: they are
scheduled when the write queue is full, or when no read waits and at least `P_DRAIN_ENTRIES` writes do, and then until
those that waited at that moment are through. A refresh stops its rank at once and closes its banks one by one.
Source of the behaviour: Li et al., "DRAMsim3", IEEE CAL 19(2), 2020, and its public documentation.
"""

from __future__ import annotations

from accelsim.sim.dram.commands import issue, rank_ready_cycle, ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import (
    ACT, C_BANK_WRITES, C_DRAINING, C_IN_BANKS, C_NEXT, C_NEXT_REFRESH, C_READS, C_REFRESH_AT, C_REFRESHES,
    C_ROUND_ROBIN, C_WRITES, CLOSED, G_FLUSH, G_OUTSTANDING, MAX_REFRESHES, N_COLUMN, N_FORWARDED, N_HITS, N_MERGED,
    NEVER, P_BANK_ENTRIES, P_BANKS, P_CLOSED_PAGE, P_DRAIN_ENTRIES, P_DUAL_BUS, P_HIT_LIMIT, P_RANKS, P_READ_DONE,
    P_READ_ENTRIES, P_REFI, P_REFRESH_MODE, P_WRITE_DONE, P_WRITE_ENTRIES, PRE, RD, RDA, REF, REFB,
    REFRESH_ALL_BANK, WR, WRA, Banks, Device, Queues, Requests,
)  # fmt: skip


@compiled
def _remove(queue, length: int, at: int) -> None:  # type: ignore[no-untyped-def]
    """Remove entry `at` of a queue of `length` entries and keep the order."""
    for i in range(at, length - 1):
        queue[i] = queue[i + 1]


@compiled
def _find(req: Requests, queue, length: int, key: int, is_write: int) -> int:  # type: ignore[no-untyped-def]
    """Return the burst of the same address and direction in a queue, or -1."""
    for i in range(length):
        if req.key[queue[i]] == key and req.is_write[queue[i]] == is_write:
            return int(queue[i])
    return -1


@compiled
def _pending(req: Requests, queues: Queues, i: int, is_write: int) -> int:
    """Return a burst of the address of burst `i` that waits anywhere in the channel, or -1."""
    ch, bank, key = req.channel[i], req.bank[i], req.key[i]
    ctl = queues.ctl[ch]
    if is_write == 1 and ctl[C_WRITES] + ctl[C_BANK_WRITES] == 0:
        return -1
    if is_write == 1:
        found = _find(req, queues.writes[ch], ctl[C_WRITES], key, 1)
    else:
        found = _find(req, queues.reads[ch], ctl[C_READS], key, 0)
    if found >= 0:
        return found
    return _find(req, queues.bank_queue[ch, bank], queues.bank_len[ch, bank], key, is_write)


@compiled
def accepts_bank(dev: Device, req: Requests, queues: Queues, i: int) -> bool:
    """Tell whether the controller takes burst `i` now."""
    ctl = queues.ctl[req.channel[i]]
    if req.is_write[i] == 1:
        return bool(ctl[C_WRITES] < dev.p[P_WRITE_ENTRIES])
    return bool(ctl[C_READS] < dev.p[P_READ_ENTRIES])


@compiled
def accept_bank(banks: Banks, req: Requests, queues: Queues, i: int, clk: int) -> None:
    """Take burst `i`: queue it, or answer it from a waiting write, or merge it with a waiting burst of its address."""
    ch = req.channel[i]
    ctl = queues.ctl[ch]
    waiting_write = _pending(req, queues, i, 1)
    if req.is_write[i] == 1:
        if waiting_write >= 0:
            req.parent[i] = waiting_write
            banks.counts[ch, N_MERGED] += 1
            return
        queues.writes[ch, ctl[C_WRITES]] = i
        ctl[C_WRITES] += 1
        queues.g[G_OUTSTANDING] += queues.g[G_FLUSH]
        return
    if waiting_write >= 0:
        req.done[i] = clk + 1
        banks.counts[ch, N_FORWARDED] += 1
        return
    waiting_read = _pending(req, queues, i, 0)
    if waiting_read >= 0:
        req.parent[i] = waiting_read
        banks.counts[ch, N_MERGED] += 1
        return
    queues.reads[ch, ctl[C_READS]] = i
    ctl[C_READS] += 1
    queues.g[G_OUTSTANDING] += 1


@compiled
def _schedule(dev: Device, req: Requests, queues: Queues, ch: int) -> bool:
    """Move one burst to the queue of its bank; tell whether one moved."""
    ctl = queues.ctl[ch]
    least = 1 if queues.g[G_FLUSH] == 1 else dev.p[P_DRAIN_ENTRIES]
    if ctl[C_DRAINING] == 0 and (
        ctl[C_WRITES] >= dev.p[P_WRITE_ENTRIES] or (ctl[C_READS] == 0 and ctl[C_WRITES] >= least)
    ):
        ctl[C_DRAINING] = ctl[C_WRITES]
    draining = ctl[C_DRAINING] > 0
    length = C_WRITES if draining else C_READS
    queue = queues.writes[ch] if draining else queues.reads[ch]
    for at in range(ctl[length]):
        i = queue[at]
        bank = req.bank[i]
        if queues.bank_len[ch, bank] >= dev.p[P_BANK_ENTRIES]:
            continue
        if draining:
            if _pending(req, queues, i, 0) >= 0:
                ctl[C_DRAINING] = 0
                return False
            ctl[C_DRAINING] -= 1
            ctl[C_BANK_WRITES] += 1
        queues.bank_queue[ch, bank, queues.bank_len[ch, bank]] = i
        queues.bank_len[ch, bank] += 1
        ctl[C_IN_BANKS] += 1
        _remove(queue, ctl[length], at)
        ctl[length] -= 1
        return True
    return False


@compiled
def _must_wait_for_read(req: Requests, queue, at: int) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether a read of the same address stands before the write at `at`."""
    for before in range(at):
        if req.is_write[queue[before]] == 0 and req.key[queue[before]] == req.key[queue[at]]:
            return True
    return False


@compiled
def _may_precharge(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, bank: int) -> bool:
    """Tell whether the head entry, which needs another row, may close the open one."""
    if banks.row_hits[ch, bank] >= dev.p[P_HIT_LIMIT]:
        return True
    for at in range(queues.bank_len[ch, bank]):
        if req.row[queues.bank_queue[ch, bank, at]] == banks.open_row[ch, bank]:
            return False
    return True


@compiled
def _column_command(dev: Device, req: Requests, queues: Queues, ch: int, bank: int, at: int) -> int:
    """Return RD or WR, or with closed pages RDA or WRA when no other entry hits the row."""
    queue = queues.bank_queue[ch, bank]
    i = queue[at]
    if dev.p[P_CLOSED_PAGE] == 1:
        last = True
        for other in range(queues.bank_len[ch, bank]):
            if other != at and req.row[queue[other]] == req.row[i]:
                last = False
        if last:
            return WRA if req.is_write[i] == 1 else RDA
    return WR if req.is_write[i] == 1 else RD


@compiled
def _first_ready(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, bank: int, clk: int) -> tuple[int, int]:  # noqa: PLR0913
    """Return (entry, command) of the first ready entry of a bank queue, or (-1, 0) and lower the next event."""
    ctl, queue = queues.ctl[ch], queues.bank_queue[ch, bank]
    open_row = banks.open_row[ch, bank]
    for at in range(queues.bank_len[ch, bank]):
        i = queue[at]
        if open_row == CLOSED:
            cmd = ACT
        elif req.row[i] != open_row:
            if at > 0 or not _may_precharge(dev, banks, req, queues, ch, bank):
                continue
            cmd = PRE
        else:
            if req.is_write[i] == 1 and _must_wait_for_read(req, queue, at):
                continue
            cmd = _column_command(dev, req, queues, ch, bank, at)
        ready = ready_cycle(dev, banks, ch, cmd, bank)
        if ready <= clk:
            return at, cmd
        ctl[C_NEXT] = min(ctl[C_NEXT], ready)
        if cmd == ACT:
            break
    return -1, 0


@compiled
def _finish(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, bank: int, at: int, clk: int) -> None:  # noqa: PLR0913
    """Take a burst whose column command issues out of its queue."""
    ctl, queue = queues.ctl[ch], queues.bank_queue[ch, bank]
    i = queue[at]
    banks.counts[ch, N_COLUMN] += 1
    if banks.row_hits[ch, bank] != 0:
        banks.counts[ch, N_HITS] += 1
    if req.is_write[i] == 1:
        req.done[i] = clk + dev.p[P_WRITE_DONE]
        queues.g[G_OUTSTANDING] -= queues.g[G_FLUSH]
        ctl[C_BANK_WRITES] -= 1
    else:
        req.done[i] = clk + dev.p[P_READ_DONE]
        queues.g[G_OUTSTANDING] -= 1
    _remove(queue, queues.bank_len[ch, bank], at)
    queues.bank_len[ch, bank] -= 1
    ctl[C_IN_BANKS] -= 1


@compiled
def _issue_from_queues(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int, previous: int) -> int:  # noqa: PLR0913
    """Serve the bank queues round robin and return the command issued, or -1.

    `previous` is the command issued in this cycle already (dual command bus), or -1: a second one of the same kind (row,
    column) is found, keeps the round-robin position and is not issued.
    """
    ctl = queues.ctl[ch]
    if ctl[C_IN_BANKS] == 0:
        return -1
    refreshing = queues.refreshes[ch, 0] if ctl[C_REFRESHES] > 0 and previous != REF and previous != REFB else -1
    bank = ctl[C_ROUND_ROBIN]
    for _ in range(dev.p[P_BANKS]):
        bank = bank + 1 if bank + 1 < dev.p[P_BANKS] else 0
        if queues.bank_len[ch, bank] == 0:
            continue
        if refreshing >= 0:
            unit = dev.rank_of[bank] if dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK else bank
            if unit == refreshing:
                continue
        at, cmd = _first_ready(dev, banks, req, queues, ch, bank, clk)
        if at < 0:
            continue
        ctl[C_ROUND_ROBIN] = bank
        is_column, was_column = RD <= cmd <= WRA, RD <= previous <= WRA
        if previous >= 0 and is_column == was_column:
            return -1
        row = req.row[queues.bank_queue[ch, bank, at]]
        if is_column:
            _finish(dev, banks, req, queues, ch, bank, at, clk)
        issue(dev, banks, queues, ch, cmd, bank, row, clk)
        return cmd
    return -1


@compiled
def _due_refresh(dev: Device, queues: Queues, ch: int, clk: int) -> None:
    """Queue the refresh whose time has come; ranks (or banks) take turns."""
    ctl = queues.ctl[ch]
    if clk < ctl[C_NEXT_REFRESH]:
        return
    units = dev.p[P_RANKS] if dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK else dev.p[P_BANKS]
    if ctl[C_REFRESHES] < MAX_REFRESHES:
        queues.refreshes[ch, ctl[C_REFRESHES]] = ctl[C_REFRESH_AT]
        ctl[C_REFRESHES] += 1
    ctl[C_REFRESH_AT] = (ctl[C_REFRESH_AT] + 1) % units
    ctl[C_NEXT_REFRESH] += dev.p[P_REFI]


@compiled
def _refresh_all_bank(dev: Device, banks: Banks, queues: Queues, ch: int, clk: int) -> int:
    """Close the first closable bank of the waiting rank, or refresh it; return the command or -1."""
    ctl, rank = queues.ctl[ch], queues.refreshes[ch, 0]
    open_banks, first = 0, 0
    for bank in range(dev.p[P_BANKS]):
        if dev.rank_of[bank] != rank:
            continue
        first = bank
        if banks.open_row[ch, bank] == CLOSED:
            continue
        open_banks += 1
        ready = ready_cycle(dev, banks, ch, PRE, bank)
        if ready <= clk:
            issue(dev, banks, queues, ch, PRE, bank, 0, clk)
            return PRE
        ctl[C_NEXT] = min(ctl[C_NEXT], ready)
    if open_banks > 0:
        return -1
    ready = rank_ready_cycle(banks, ch, REF, rank)
    if ready > clk:
        ctl[C_NEXT] = min(ctl[C_NEXT], ready)
        return -1
    _remove(queues.refreshes[ch], ctl[C_REFRESHES], 0)
    ctl[C_REFRESHES] -= 1
    issue(dev, banks, queues, ch, REF, first, 0, clk)
    return REF


@compiled
def _refresh_bank(dev: Device, banks: Banks, queues: Queues, ch: int, clk: int) -> int:
    """Close or refresh the waiting bank; return the command or -1."""
    ctl, bank = queues.ctl[ch], queues.refreshes[ch, 0]
    cmd = REFB if banks.open_row[ch, bank] == CLOSED else PRE
    ready = ready_cycle(dev, banks, ch, cmd, bank)
    if ready > clk:
        ctl[C_NEXT] = min(ctl[C_NEXT], ready)
        return -1
    if cmd == REFB:
        _remove(queues.refreshes[ch], ctl[C_REFRESHES], 0)
        ctl[C_REFRESHES] -= 1
    issue(dev, banks, queues, ch, cmd, bank, 0, clk)
    return cmd


@compiled
def tick_bank(dev: Device, banks: Banks, req: Requests, queues: Queues, ch: int, clk: int) -> int:
    """Do what the controller of channel `ch` does in cycle `clk`; return the next cycle in which it may do something."""
    ctl = queues.ctl[ch]
    _due_refresh(dev, queues, ch, clk)
    ctl[C_NEXT] = ctl[C_NEXT_REFRESH]
    cmd = -1
    if ctl[C_REFRESHES] > 0:
        if dev.p[P_REFRESH_MODE] == REFRESH_ALL_BANK:
            cmd = _refresh_all_bank(dev, banks, queues, ch, clk)
        else:
            cmd = _refresh_bank(dev, banks, queues, ch, clk)
    if cmd < 0:
        cmd = _issue_from_queues(dev, banks, req, queues, ch, clk, -1)
    if cmd >= 0 and dev.p[P_DUAL_BUS] == 1:
        _issue_from_queues(dev, banks, req, queues, ch, clk, cmd)
    moved = _schedule(dev, req, queues, ch)
    if cmd >= 0 or moved:
        return clk + 1
    return max(min(ctl[C_NEXT], NEVER), clk + 1)
