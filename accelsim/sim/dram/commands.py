"""Kernel helpers that know the device: when a command may issue, and what issuing it changes.

``c`` is the row of one channel in the state, see `accelsim.sim.dram.state`.
"""

from __future__ import annotations

from accelsim.sim.dram import state as s
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import IntArray


@compiled
def ready_cycle(dev: IntArray, c: IntArray, cmd: int, bank: int) -> int:
    """Return the first cycle in which `cmd` may go to `bank`."""
    by_rank = c[s.READY_RANK + dev[s.RANK_OF + bank] * s.NUM_COMMANDS + cmd]
    by_group = c[s.READY_GROUP + dev[s.GROUP_OF + bank] * s.NUM_COMMANDS + cmd]
    by_bank = c[s.READY_BANK + bank * s.NUM_COMMANDS + cmd]
    return int(max(c[s.READY_CHANNEL + cmd], by_rank, by_group, by_bank))


@compiled
def rank_ready_cycle(c: IntArray, cmd: int, rank: int) -> int:
    """Return the first cycle in which the command `cmd` (PREA, REF, ACT) may go to `rank` as a whole."""
    return int(max(c[s.READY_CHANNEL + cmd], c[s.READY_RANK + rank * s.NUM_COMMANDS + cmd]))


@compiled
def _push(dev: IntArray, c: IntArray, rule: int, bank: int, clk: int) -> None:
    """Apply one timing rule of a command that issues at `clk`."""
    scope, follow, at = dev[rule], dev[rule + 1], clk + dev[rule + 2]
    rank = dev[s.RANK_OF + bank]
    if scope == s.SCOPE_BANK:
        place = s.READY_BANK + bank * s.NUM_COMMANDS + follow
    elif scope == s.SCOPE_GROUP:
        place = s.READY_GROUP + dev[s.GROUP_OF + bank] * s.NUM_COMMANDS + follow
    elif scope == s.SCOPE_RANK:
        place = s.READY_RANK + rank * s.NUM_COMMANDS + follow
    elif scope == s.SCOPE_CHANNEL:
        place = s.READY_CHANNEL + follow
    else:
        for other in range(dev[s.P_RANKS]):
            if other != rank:
                place = s.READY_RANK + other * s.NUM_COMMANDS + follow
                c[place] = max(c[place], at)
        return
    c[place] = max(c[place], at)


@compiled
def _close(dev: IntArray, c: IntArray, bank: int, clk: int) -> None:
    """Close an open bank."""
    c[s.OPEN_ROW + bank] = s.CLOSED
    c[s.ROW_HITS + bank] = 0
    c[s.N_PRE] += 1
    rank = dev[s.RANK_OF + bank]
    c[s.OPEN_BANKS + rank] -= 1
    if c[s.OPEN_BANKS + rank] == 0:
        c[s.N_ACTIVE_CYCLES] += clk - c[s.OPEN_SINCE + rank]


@compiled
def _activate(dev: IntArray, c: IntArray, bank: int, row: int, clk: int) -> None:
    """Open a row; the fourth activate from here on waits for the activation window."""
    rank = dev[s.RANK_OF + bank]
    c[s.OPEN_ROW + bank] = s.ACTIVATING if dev[s.P_SPLIT_WINDOW] > 0 else row
    c[s.ROW_HITS + bank] = 0
    c[s.N_ACT] += 1
    if c[s.OPEN_BANKS + rank] == 0:
        c[s.OPEN_SINCE + rank] = clk
    c[s.OPEN_BANKS + rank] += 1
    # Of a rank four activates may begin within tFAW: the next one waits for the fourth last.
    times = s.ACT_TIMES + rank * 4
    for i in range(3):
        c[times + i] = c[times + i + 1]
    c[times + 3] = clk
    place = s.READY_RANK + rank * s.NUM_COMMANDS + s.ACT
    c[place] = max(c[place], c[times] + dev[s.P_FAW])


@compiled
def _change_state(dev: IntArray, c: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Open, close and count what `cmd` opens and closes; a rank command names any bank of its rank."""
    if cmd == s.ACT:
        _activate(dev, c, bank, row, clk)
    elif cmd == s.PRE:
        _close(dev, c, bank, clk)
    elif cmd == s.PREA:
        for other in range(dev[s.P_BANKS]):
            if dev[s.RANK_OF + other] == dev[s.RANK_OF + bank] and c[s.OPEN_ROW + other] != s.CLOSED:
                _close(dev, c, other, clk)
    elif cmd == s.REF:
        c[s.N_REF] += 1
        c[s.N_ACTIVE_CYCLES] += dev[s.P_RFC]  # rows are opened inside of the device, though its banks count as closed
        c[s.C_REF_END] = max(c[s.C_REF_END], clk + dev[s.P_RFC])
    elif cmd == s.REFB:
        c[s.N_REFB] += 1
    else:
        is_write = cmd in (s.WR, s.WRA)
        c[s.N_WR if is_write else s.N_RD] += 1
        c[s.C_DATA_END] = max(c[s.C_DATA_END], clk + dev[s.P_WRITE_DONE if is_write else s.P_READ_DONE])
        c[s.ROW_HITS + bank] += 1
        if cmd in (s.RDA, s.WRA):
            _close(dev, c, bank, clk)


@compiled
def log_command(c: IntArray, log: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Append a command to the log while it has room."""
    at = log[0, 0] + 1
    if at < log.shape[0]:
        log[at, 0], log[at, 1], log[at, 2], log[at, 3], log[at, 4] = clk, c[s.C_CHANNEL], cmd, bank, row
        log[0, 0] = at


@compiled
def issue(dev: IntArray, c: IntArray, log: IntArray, cmd: int, bank: int, row: int, clk: int) -> None:
    """Issue `cmd` at `clk`: change the state, push its timing rules, count and log it."""
    _change_state(dev, c, cmd, bank, row, clk)
    c[s.TRY_AT + bank] = 0
    for rule in range(dev[s.RULE_START + cmd], dev[s.RULE_START + cmd + 1]):
        _push(dev, c, s.RULES + 3 * rule, bank, clk)
    log_command(c, log, cmd, bank, row, clk)
