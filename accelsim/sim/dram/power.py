"""Power-down and self-refresh of a channel without requests, in front of either controller.

The time-outs count from the end of the last data. Power-down closes all banks first (``precharge``) or leaves rows open
(``active``). A refresh that falls due wakes the channel (tXP), which goes back as soon as that is over; behind the
first one no row is open any more. Self-refresh begins with a refresh of the device's own; the refresh interval starts
anew at its exit. A burst wakes the channel in the cycle in which the controller takes it.
"""

from __future__ import annotations

from collections.abc import Callable

from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory
from accelsim.sim.dram.commands import issue, log_command, rank_ready_cycle
from accelsim.sim.dram.jit import compiled
from accelsim.sim.dram.state import IntArray
from accelsim.timing.power_states import DramStates


@compiled
def _nothing_to_do(c: IntArray) -> bool:
    """Tell whether the controller has no burst and no refresh in hand."""
    waiting = c[s.C_READS] + c[s.C_WRITES] + c[s.C_IN_BANKS] + c[s.C_ACTIVE] + c[s.C_SPLIT_BANKS] + c[s.C_REFRESHES]
    return bool(waiting == 0 and c[s.C_CAS_REQUEST] < 0)


@compiled
def _sleep_cycles(dev: IntArray, c: IntArray) -> tuple[int, int]:
    """Return from when on the channel may power down and refresh itself."""
    down, itself = s.NEVER, s.NEVER
    if dev[s.P_POWER_DOWN] < s.NEVER:
        down = max(c[s.C_DATA_END] + dev[s.P_POWER_DOWN], c[s.C_REF_END])
    if dev[s.P_SELF_REFRESH] < s.NEVER:
        itself = max(c[s.C_DATA_END] + dev[s.P_SELF_REFRESH], c[s.C_REF_END])
    return int(down), int(itself)


@compiled
def settle(dev: IntArray, c: IntArray, clk: int) -> None:
    """Count the time asleep up to `clk` for every rank."""
    length = max(0, clk - c[s.C_ASLEEP_SINCE])
    for rank in range(dev[s.P_RANKS]):
        if c[s.C_POWER] == s.SELF_REFRESHING:
            own = min(length, dev[s.P_RFC])  # its first refresh is active time
            c[s.N_ACTIVE_CYCLES] += own
            c[s.N_SR_CYCLES] += length - own
        elif c[s.C_POWER] == s.POWERED_DOWN and c[s.OPEN_BANKS + rank] > 0:
            c[s.N_APD_CYCLES] += length
        elif c[s.C_POWER] == s.POWERED_DOWN:
            c[s.N_PD_CYCLES] += length


@compiled
def _wake(dev: IntArray, c: IntArray, log: IntArray, clk: int) -> None:
    """Leave power-down or self-refresh; commands may follow after tXP or tXS."""
    settle(dev, c, clk)
    itself = c[s.C_POWER] == s.SELF_REFRESHING
    ready = clk + (dev[s.P_XS] if itself else dev[s.P_XP])
    for cmd in range(s.NUM_COMMANDS):
        c[s.READY_CHANNEL + cmd] = max(c[s.READY_CHANNEL + cmd], ready)
    if itself and dev[s.P_REFRESH_MODE] != s.REFRESH_NONE:
        c[s.C_NEXT_REFRESH] = ready + dev[s.P_REFI]
    for bank in range(dev[s.P_BANKS]):
        c[s.TRY_AT + bank] = 0
    c[s.C_POWER] = s.AWAKE
    log_command(c, log, s.SRX if itself else s.PDX, 0, 0, clk)


@compiled
def _fall_asleep(dev: IntArray, c: IntArray, log: IntArray, itself: bool, clk: int) -> int:
    """Close what must be closed and enter a state; return the next cycle in which there is something to do."""
    leaves_open = not itself and dev[s.P_ACTIVE_DOWN] == 1
    event = clk
    for rank in range(dev[s.P_RANKS]):
        is_open = c[s.OPEN_BANKS + rank] > 0
        if is_open and leaves_open:
            continue
        ready = rank_ready_cycle(c, s.PREA if is_open else s.REF, rank)
        if is_open and ready <= clk:
            bank = 0
            while dev[s.RANK_OF + bank] != rank:
                bank += 1
            issue(dev, c, log, s.PREA, bank, 0, clk)
            return clk + 1
        if is_open:
            return int(ready)
        # Banks are closed when a row could be opened again, tRPab behind; a refresh may come sooner (Ramulator 2).
        event = max(event, ready, rank_ready_cycle(c, s.ACT, rank))
    if event > clk:
        return int(event)
    c[s.C_POWER], c[s.C_ASLEEP_SINCE] = s.SELF_REFRESHING if itself else s.POWERED_DOWN, clk
    if itself:
        c[s.N_SELF_REFRESHES] += 1
        c[s.N_REF] += dev[s.P_RANKS]
        c[s.C_NEXT_REFRESH] = s.NEVER
    else:
        c[s.N_POWER_DOWNS] += 1
    log_command(c, log, s.SRE if itself else s.PDE, 0, 0, clk)
    return clk + 1


@compiled
def _wake_cycle(dev: IntArray, c: IntArray, clk: int) -> int:
    """Return when a sleeping channel wakes, as far as is known at `clk`."""
    if c[s.C_POWER] == s.SELF_REFRESHING:
        if _nothing_to_do(c):
            return s.NEVER
        return int(max(clk, c[s.C_ASLEEP_SINCE] + max(dev[s.P_SR], dev[s.P_RFC] + 1)))
    wanted = clk
    if _nothing_to_do(c):
        _, itself = _sleep_cycles(dev, c)
        wanted = min(c[s.C_NEXT_REFRESH], itself)
    return int(max(wanted, clk, c[s.C_ASLEEP_SINCE] + dev[s.P_CKE]))


def make_sleepy(tick: Callable[..., int]) -> Callable[..., int]:
    """Return `tick` of a controller with power states around it."""

    @compiled
    def sleepy_tick(dev: IntArray, c: IntArray, req: IntArray, log: IntArray, clk: int) -> int:
        sleeps = dev[s.P_POWER_DOWN] < s.NEVER or dev[s.P_SELF_REFRESH] < s.NEVER
        if sleeps and c[s.C_POWER] != s.AWAKE:
            wake = _wake_cycle(dev, c, clk)
            if wake > clk:
                return wake
            _wake(dev, c, log, clk)
        if sleeps and _nothing_to_do(c) and c[s.C_NEXT_REFRESH] > clk:
            down, itself = _sleep_cycles(dev, c)
            if min(down, itself) <= clk:
                return int(min(_fall_asleep(dev, c, log, itself <= clk, clk), c[s.C_NEXT_REFRESH]))
        # In one place: the whole controller is compiled into each call of it.
        event: int = tick(dev, c, req, log, clk)
        if sleeps and _nothing_to_do(c):
            down, itself = _sleep_cycles(dev, c)
            event = int(min(event, max(clk + 1, min(down, itself))))
        return event

    return sleepy_tick


def states_at(memory: Memory, st: IntArray, cycle: int) -> DramStates:
    """Return what the memory has done up to a cycle at or after all commands in its state, which is left as it is."""
    st = st.copy()
    plain_settle = getattr(settle, "py_func", settle)
    for c in st:
        plain_settle(memory.dev, c, cycle)
        for rank in range(memory.num_ranks):
            if c[s.OPEN_BANKS + rank] > 0:
                c[s.N_ACTIVE_CYCLES] += max(0, cycle - c[s.OPEN_SINCE + rank])
        together = memory.num_ranks if memory.config.controller == "shared_queues" else 1
        if c[s.C_REF_END] > cycle:  # a refresh that the end cuts short
            c[s.N_ACTIVE_CYCLES] -= together * min(c[s.C_REF_END] - cycle, memory.dev[s.P_RFC])
    counts, tck = st.sum(axis=0), memory.table.tck_ns
    total = cycle * memory.num_ranks * memory.config.num_channels
    asleep = [int(counts[name]) for name in (s.N_PD_CYCLES, s.N_APD_CYCLES, s.N_SR_CYCLES)]
    active = int(counts[s.N_ACTIVE_CYCLES]) - asleep[1]
    return DramStates(
        num_activates=int(counts[s.N_ACT]), num_precharges=int(counts[s.N_PRE]),
        num_refreshes=int(counts[s.N_REF]), num_bank_refreshes=int(counts[s.N_REFB]),
        num_power_downs=int(counts[s.N_POWER_DOWNS]) * memory.num_ranks,
        num_self_refreshes=int(counts[s.N_SELF_REFRESHES]) * memory.num_ranks,
        active=active * tck, precharged=(total - active - sum(asleep)) * tck,
        pd=asleep[0] * tck, apd=asleep[1] * tck, sr=asleep[2] * tck,
    )  # fmt: skip
