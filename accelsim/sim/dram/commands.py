"""Kernel helpers that know the device: when a command may issue, and what issuing it changes."""

from __future__ import annotations

from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import (
    ACT, ACTIVATING, CLOSED, G_LOG, N_ACT, N_ACTIVE_CYCLES, N_PRE, N_RD, N_REF, N_REFB, N_WR, P_BANKS, P_FAW, P_RANKS,
    P_SPLIT_WINDOW, PRE, PREA, RD, RDA, REF, REFB, SCOPE_BANK, SCOPE_CHANNEL, SCOPE_GROUP, SCOPE_RANK, WR, WRA, Banks,
    Device, Queues,
)  # fmt: skip


@compiled
def ready_cycle(dev: Device, banks: Banks, ch: int, cmd: int, bank: int) -> int:
    """Return the first cycle in which `cmd` may go to `bank`."""
    at = max(banks.ready_channel[ch, cmd], banks.ready_rank[ch, dev.rank_of[bank], cmd])
    return max(at, banks.ready_group[ch, dev.group_of[bank], cmd], banks.ready_bank[ch, bank, cmd])


@compiled
def rank_ready_cycle(banks: Banks, ch: int, cmd: int, rank: int) -> int:
    """Return the first cycle in which the rank command `cmd` (PREA, REF) may go to `rank`."""
    return max(banks.ready_channel[ch, cmd], banks.ready_rank[ch, rank, cmd])


@compiled
def _push(dev: Device, banks: Banks, rule: int, ch: int, bank: int, clk: int) -> None:
    """Apply one timing rule of a command that issues at `clk`."""
    scope, follow, at = dev.rules[rule, 0], dev.rules[rule, 1], clk + dev.rules[rule, 2]
    rank = dev.rank_of[bank]
    if scope == SCOPE_BANK:
        banks.ready_bank[ch, bank, follow] = max(banks.ready_bank[ch, bank, follow], at)
    elif scope == SCOPE_GROUP:
        group = dev.group_of[bank]
        banks.ready_group[ch, group, follow] = max(banks.ready_group[ch, group, follow], at)
    elif scope == SCOPE_RANK:
        banks.ready_rank[ch, rank, follow] = max(banks.ready_rank[ch, rank, follow], at)
    elif scope == SCOPE_CHANNEL:
        banks.ready_channel[ch, follow] = max(banks.ready_channel[ch, follow], at)
    else:
        for other in range(dev.p[P_RANKS]):
            if other != rank:
                banks.ready_rank[ch, other, follow] = max(banks.ready_rank[ch, other, follow], at)


@compiled
def _close(dev: Device, banks: Banks, ch: int, bank: int, clk: int) -> None:
    """Close a bank if it is open."""
    if banks.open_row[ch, bank] == CLOSED:
        return
    banks.open_row[ch, bank] = CLOSED
    banks.row_hits[ch, bank] = 0
    rank = dev.rank_of[bank]
    banks.open_banks[ch, rank] -= 1
    if banks.open_banks[ch, rank] == 0:
        banks.counts[ch, N_ACTIVE_CYCLES] += clk - banks.open_since[ch, rank]


@compiled
def _activate(dev: Device, banks: Banks, ch: int, bank: int, row: int, clk: int) -> None:
    """Open a row; the fourth activate from here on waits for the activation window."""
    rank = dev.rank_of[bank]
    banks.open_row[ch, bank] = ACTIVATING if dev.p[P_SPLIT_WINDOW] > 0 else row
    banks.row_hits[ch, bank] = 0
    if banks.open_banks[ch, rank] == 0:
        banks.open_since[ch, rank] = clk
    banks.open_banks[ch, rank] += 1
    times = banks.act_times[ch, rank]
    times[0], times[1], times[2], times[3] = times[1], times[2], times[3], clk
    banks.ready_rank[ch, rank, ACT] = max(banks.ready_rank[ch, rank, ACT], times[0] + dev.p[P_FAW])


@compiled
def _change_state(dev: Device, banks: Banks, ch: int, cmd: int, bank: int, row: int, clk: int) -> None:
    """Open, close and count what `cmd` opens and closes; a rank command names any bank of its rank."""
    counts = banks.counts[ch]
    if cmd == ACT:
        _activate(dev, banks, ch, bank, row, clk)
        counts[N_ACT] += 1
    elif cmd in (RD, RDA):
        counts[N_RD] += 1
        banks.row_hits[ch, bank] += 1
    elif cmd in (WR, WRA):
        counts[N_WR] += 1
        banks.row_hits[ch, bank] += 1
    elif cmd == REF:
        counts[N_REF] += 1
    elif cmd == REFB:
        counts[N_REFB] += 1
    if cmd in (PRE, RDA, WRA):
        _close(dev, banks, ch, bank, clk)
        counts[N_PRE] += 1


@compiled
def _precharge_rank(dev: Device, banks: Banks, ch: int, rank: int, clk: int) -> None:
    """Close all banks of a rank; each open one counts as a precharge."""
    for bank in range(dev.p[P_BANKS]):
        if dev.rank_of[bank] == rank and banks.open_row[ch, bank] != CLOSED:
            _close(dev, banks, ch, bank, clk)
            banks.counts[ch, N_PRE] += 1


@compiled
def log_command(queues: Queues, ch: int, cmd: int, bank: int, row: int, clk: int) -> None:
    """Append a command to the log while it has room."""
    at = queues.g[G_LOG]
    if at < queues.log.shape[0]:
        entry = queues.log[at]
        entry[0], entry[1], entry[2], entry[3], entry[4] = clk, ch, cmd, bank, row
        queues.g[G_LOG] = at + 1


@compiled
def issue(dev: Device, banks: Banks, queues: Queues, ch: int, cmd: int, bank: int, row: int, clk: int) -> None:  # noqa: PLR0913
    """Issue `cmd` at `clk`: push its timing rules, change the state, count and log it."""
    if cmd == PREA:
        _precharge_rank(dev, banks, ch, dev.rank_of[bank], clk)
    else:
        _change_state(dev, banks, ch, cmd, bank, row, clk)
    for rule in range(dev.rule_start[cmd], dev.rule_start[cmd + 1]):
        _push(dev, banks, rule, ch, bank, clk)
    log_command(queues, ch, cmd, bank, row, clk)
