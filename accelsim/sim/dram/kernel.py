"""The event loop: offers bursts in order, lets every channel act, and jumps to the next cycle in which one can."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.sim.dram.bank_queues import accept_bank, accepts_bank, tick_bank
from accelsim.sim.dram.jit import compiled, compiled_and_cached, kernel_stamp
from accelsim.sim.dram.shared_queues import accept_shared, accepts_shared, tick_shared
from accelsim.sim.dram.state import (
    C_EVENT, C_OUTSTANDING, CONTROLLER_BANK, G_CLOCK, G_NEXT, NEVER, P_CHANNELS, P_CONTROLLER, R_ACCEPT, R_ARRIVE,
    R_CHANNEL, IntArray,
)  # fmt: skip

Run = Callable[[IntArray, IntArray, IntArray, IntArray, IntArray, int, bool], bool]


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
        c[C_EVENT] = clk
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


def _make_run(stamp: int) -> Run:
    """Build the entry point; `stamp` puts the text of all kernel files into the key of the machine-code cache."""

    def run(  # noqa: PLR0913
        dev: IntArray, st: IntArray, req: IntArray, g: IntArray, log: IntArray, until: int, stop_when_idle: bool
    ) -> bool:
        clk = g[G_CLOCK]
        while clk < until and stamp >= 0:
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

    return compiled_and_cached(run)


run = _make_run(kernel_stamp("state.py", "commands.py", "bank_queues.py", "shared_queues.py", "kernel.py"))
"""run(dev, st, req, g, log, until, stop_when_idle): simulate from ``g[G_CLOCK]`` on, cycles before `until`.

With `stop_when_idle` it returns True one cycle after the last outstanding burst issued its column command; otherwise it
stops at `until`. Bursts that the controller posts (writes of ``bank_queues`` without ``P_FLUSH``) are not waited for.
"""
