"""Kernel helpers that know the device: when a command may issue, and what issuing it changes.

``c`` is the row of one channel in the state, see `accelsim.sim.dram.state`.
"""

from __future__ import annotations

from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import (
    ACT, ACT_TIMES, ACTIVATING, C_CHANNEL, CLOSED, GROUP_OF, N_ACT, N_ACTIVE_CYCLES, N_PRE, N_RD, N_REF, N_REFB, N_WR,
    NUM_COMMANDS, OPEN_BANKS, OPEN_ROW, OPEN_SINCE, P_BANKS, P_FAW, P_RANKS, P_SPLIT_WINDOW, PRE, PREA, RANK_OF, RD,
    RDA, READY_BANK, READY_CHANNEL, READY_GROUP, READY_RANK, REF, REFB, ROW_HITS, RULE_START, RULES, SCOPE_BANK,
    SCOPE_CHANNEL, SCOPE_GROUP, SCOPE_RANK, WR, WRA, IntArray,
)  # fmt: skip


@compiled
def ready_cycle(dev: IntArray, c: IntArray, cmd: int, bank: int) -> int:
    """Return the first cycle in which `cmd` may go to `bank`."""
    by_rank = c[READY_RANK + dev[RANK_OF + bank] * NUM_COMMANDS + cmd]
    by_group = c[READY_GROUP + dev[GROUP_OF + bank] * NUM_COMMANDS + cmd]
    by_bank = c[READY_BANK + bank * NUM_COMMANDS + cmd]
    return max(max(c[READY_CHANNEL + cmd], by_rank), max(by_group, by_bank))


@compiled
def rank_ready_cycle(c: IntArray, cmd: int, rank: int) -> int:
    """Return the first cycle in which the rank command `cmd` (PREA, REF) may go to `rank`."""
    return max(c[READY_CHANNEL + cmd], c[READY_RANK + rank * NUM_COMMANDS + cmd])


@compiled
def _push(dev: IntArray, c: IntArray, rule: int, bank: int, clk: int) -> None:
    """Apply one timing rule of a command that issues at `clk`."""
    scope, follow, at = dev[rule], dev[rule + 1], clk + dev[rule + 2]
    rank = dev[RANK_OF + bank]
    if scope == SCOPE_BANK:
        place = READY_BANK + bank * NUM_COMMANDS + follow
    elif scope == SCOPE_GROUP:
        place = READY_GROUP + dev[GROUP_OF + bank] * NUM_COMMANDS + follow
    elif scope == SCOPE_RANK:
        place = READY_RANK + rank * NUM_COMMANDS + follow
    elif scope == SCOPE_CHANNEL:
        place = READY_CHANNEL + follow
    else:
        for other in range(dev[P_RANKS]):
            if other != rank:
                place = READY_RANK + other * NUM_COMMANDS + follow
                c[place] = max(c[place], at)
        return
    c[place] = max(c[place], at)


@compiled
def _close(dev: IntArray, c: IntArray, bank: int, clk: int) -> None:
    """Close an open bank."""
    c[OPEN_ROW + bank] = CLOSED
    c[ROW_HITS + bank] = 0
    c[N_PRE] += 1
    rank = dev[RANK_OF + bank]
    c[OPEN_BANKS + rank] -= 1
    if c[OPEN_BANKS + rank] == 0:
        c[N_ACTIVE_CYCLES] += clk - c[OPEN_SINCE + rank]


@compiled
def _activate(dev: IntArray, c: IntArray, bank: int, row: int, clk: int) -> None:
    """Open a row; the fourth activate from here on waits for the activation window."""
    rank = dev[RANK_OF + bank]
    c[OPEN_ROW + bank] = ACTIVATING if dev[P_SPLIT_WINDOW] > 0 else row
    c[ROW_HITS + bank] = 0
    c[N_ACT] += 1
    if c[OPEN_BANKS + rank] == 0:
        c[OPEN_SINCE + rank] = clk
    c[OPEN_BANKS + rank] += 1
    times = ACT_TIMES + rank * 4
    for i in range(3):
        c[times + i] = c[times + i + 1]
    c[times + 3] = clk
    place = READY_RANK + rank * NUM_COMMANDS + ACT
    c[place] = max(c[place], c[times] + dev[P_FAW])


@compiled
def _change_state(dev: IntArray, c: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Open, close and count what `cmd` opens and closes; a rank command names any bank of its rank."""
    if cmd == ACT:
        _activate(dev, c, bank, row, clk)
    elif cmd == PRE:
        _close(dev, c, bank, clk)
    elif cmd == PREA:
        for other in range(dev[P_BANKS]):
            if dev[RANK_OF + other] == dev[RANK_OF + bank] and c[OPEN_ROW + other] != CLOSED:
                _close(dev, c, other, clk)
    elif cmd == REF:
        c[N_REF] += 1
    elif cmd == REFB:
        c[N_REFB] += 1
    else:
        c[N_RD] += cmd in (RD, RDA)
        c[N_WR] += cmd in (WR, WRA)
        c[ROW_HITS + bank] += 1
        if cmd in (RDA, WRA):
            _close(dev, c, bank, clk)


@compiled
def log_command(c: IntArray, log: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Append a command to the log while it has room."""
    at = log[0, 0] + 1
    if at < log.shape[0]:
        log[at, 0], log[at, 1], log[at, 2], log[at, 3], log[at, 4] = clk, c[C_CHANNEL], cmd, bank, row
        log[0, 0] = at


@compiled
def issue(dev: IntArray, c: IntArray, log: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Issue `cmd` at `clk`: change the state, push its timing rules, count and log it."""
    _change_state(dev, c, cmd, bank, row, clk)
    for rule in range(dev[RULE_START + cmd], dev[RULE_START + cmd + 1]):
        _push(dev, c, RULES + 3 * rule, bank, clk)
    log_command(c, log, cmd, bank, row, clk)
