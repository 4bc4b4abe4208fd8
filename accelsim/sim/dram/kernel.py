"""The event loop: offers bursts in order, lets every channel act, and jumps to the next cycle in which one can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accelsim.sim.dram.bank_queues import accept_bank, accepts_bank, tick_bank
from accelsim.sim.dram.jit import JIT_IS_ON, borrowed_row, borrowed_table, compiled, compiled_and_cached, kernel_stamp
from accelsim.sim.dram.shared_queues import accept_shared, accepts_shared, tick_shared
from accelsim.sim.dram.state import (
    C_EVENT, C_OUTSTANDING, CONTROLLER_BANK, G_CLOCK, G_NEXT, NEVER, P_CHANNELS, P_CONTROLLER, R_ACCEPT, R_ARRIVE,
    R_CHANNEL, IntArray,
)  # fmt: skip


@compiled
def _accepts(dev: IntArray, st: IntArray, req: IntArray, i: int) -> bool:
    c = st[req[i, R_CHANNEL]]
    if dev[P_CONTROLLER] == CONTROLLER_BANK:
        return accepts_bank(dev, c, req, i)
    return accepts_shared(dev, c, req, i)


@compiled
def _offer(dev: IntArray, st: IntArray, req: IntArray, g: IntArray, clk: int) -> None:
    """Hand over bursts in order until one has not arrived yet or is refused."""
    i = g[G_NEXT]
    while i < req.shape[0] and req[i, R_ARRIVE] <= clk and _accepts(dev, st, req, i):
        c = st[req[i, R_CHANNEL]]
        req[i, R_ACCEPT] = clk
        if dev[P_CONTROLLER] == CONTROLLER_BANK:
            accept_bank(dev, c, req, i, clk)
        else:
            accept_shared(c, req, i, clk)
        i += 1
    g[G_NEXT] = i


@compiled
def _next_event(dev: IntArray, st: IntArray, req: IntArray, g: IntArray, clk: int) -> int:
    """Return the next cycle in which a channel acts or a burst can be handed over."""
    event = NEVER
    for ch in range(dev[P_CHANNELS]):
        event = min(event, st[ch, C_EVENT])
    i = g[G_NEXT]
    if event > clk + 1 and i < req.shape[0]:
        if req[i, R_ARRIVE] > clk:
            event = min(event, req[i, R_ARRIVE])
        elif _accepts(dev, st, req, i):
            event = clk + 1
    return event


@compiled
def _idle(dev: IntArray, st: IntArray) -> bool:
    """Tell whether no channel has a burst to wait for."""
    for ch in range(dev[P_CHANNELS]):
        if st[ch, C_OUTSTANDING] != 0:
            return False
    return True


@compiled
def _loop(  # noqa: PLR0913
    dev: IntArray, st: IntArray, req: IntArray, g: IntArray, log: IntArray, until: int, stop_when_idle: bool
) -> bool:
    clk = g[G_CLOCK]
    while clk < until:
        _offer(dev, st, req, g, clk)
        for ch in range(dev[P_CHANNELS]):
            c = st[ch]
            if c[C_EVENT] <= clk:
                if dev[P_CONTROLLER] == CONTROLLER_BANK:
                    c[C_EVENT] = tick_bank(dev, c, req, log, clk)
                else:
                    c[C_EVENT] = tick_shared(dev, c, req, log, clk)
        if stop_when_idle and g[G_NEXT] == req.shape[0] and _idle(dev, st):
            g[G_CLOCK] = clk + 1
            return True
        clk = _next_event(dev, st, req, g, clk)
    g[G_CLOCK] = until
    return False


def _make_entry(stamp: int) -> Callable[[IntArray, int, bool], bool]:
    """Build the compiled entry point; `stamp` puts the text of all kernel files into the key of the machine-code cache.

    ``where`` holds the addresses and shapes of the five arrays.
    """

    def entry(where: IntArray, until: int, stop_when_idle: bool) -> bool:
        dev = borrowed_row(where[0], where[1])
        st = borrowed_table(where[2], where[3], where[4])
        req = borrowed_table(where[5], where[6], where[7])
        g = borrowed_row(where[8], where[9])
        log = borrowed_table(where[10], where[11], where[12])
        return stamp >= 0 and _loop(dev, st, req, g, log, until, stop_when_idle)

    return compiled_and_cached(entry)


_entry = _make_entry(
    kernel_stamp("state.py", "jit.py", "commands.py", "queues.py", "bank_queues.py", "shared_queues.py", "kernel.py")
)


def run(  # noqa: PLR0913
    dev: IntArray, st: IntArray, req: IntArray, g: IntArray, log: IntArray, until: int, stop_when_idle: bool
) -> bool:
    """Simulate the cycles from ``g[G_CLOCK]`` to before `until`; see `accelsim.sim.dram.state` for the arrays.

    With `stop_when_idle` it returns True one cycle after the last outstanding burst issued its column command; otherwise
    it stops at `until` and returns False. Bursts that the controller posts (writes of ``bank_queues`` without
    ``P_FLUSH``) are not waited for.
    """
    if not JIT_IS_ON:
        return _loop(dev, st, req, g, log, until, stop_when_idle)
    where: list[int] = []
    for array in (dev, st, req, g, log):
        if array.dtype != np.int64 or not array.flags.c_contiguous:
            raise TypeError("kernel arrays must be contiguous int64")
        where += [array.ctypes.data, *array.shape]
    return _entry(np.array(where, dtype=np.int64), until, stop_when_idle)
