"""The event loop: offers bursts in order, lets every channel act, and jumps to the next cycle in which one can."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.sim.dram.bank_queues import accept_bank, accepts_bank, tick_bank
from accelsim.sim.dram.jit import compiled, compiled_and_cached, kernel_stamp
from accelsim.sim.dram.shared_queues import accept_shared, accepts_shared, tick_shared
from accelsim.sim.dram.state import (
    C_EVENT, CONTROLLER_BANK, G_CLOCK, G_NEXT, G_OUTSTANDING, NEVER, P_CHANNELS, P_CONTROLLER, Banks, Device, Queues,
    Requests,
)  # fmt: skip


@compiled
def _accepts(dev: Device, req: Requests, queues: Queues, i: int) -> bool:
    if dev.p[P_CONTROLLER] == CONTROLLER_BANK:
        return accepts_bank(dev, req, queues, i)
    return accepts_shared(dev, req, queues, i)


@compiled
def _offer(dev: Device, banks: Banks, req: Requests, queues: Queues, clk: int) -> None:
    """Hand over bursts in order until one has not arrived yet or is refused."""
    i = queues.g[G_NEXT]
    while i < req.arrive.shape[0] and req.arrive[i] <= clk and _accepts(dev, req, queues, i):
        req.accept[i] = clk
        if dev.p[P_CONTROLLER] == CONTROLLER_BANK:
            accept_bank(banks, req, queues, i, clk)
        else:
            accept_shared(banks, req, queues, i, clk)
        queues.ctl[req.channel[i], C_EVENT] = clk
        i += 1
    queues.g[G_NEXT] = i


@compiled
def _next_event(dev: Device, req: Requests, queues: Queues, clk: int) -> int:
    """Return the next cycle in which a channel acts or a burst can be handed over."""
    event = NEVER
    for ch in range(dev.p[P_CHANNELS]):
        event = min(event, queues.ctl[ch, C_EVENT])
    i = queues.g[G_NEXT]
    if i < req.arrive.shape[0]:
        if req.arrive[i] > clk:
            event = min(event, req.arrive[i])
        elif _accepts(dev, req, queues, i):
            event = min(event, clk + 1)
    return event


def _make_run(stamp: int) -> Callable[[Device, Banks, Requests, Queues, int, bool], bool]:
    """Build the entry point; `stamp` puts the text of all kernel files into the key of the machine-code cache."""

    def run(dev: Device, banks: Banks, req: Requests, queues: Queues, until: int, stop_when_idle: bool) -> bool:
        g = queues.g
        clk = g[G_CLOCK]
        while clk < until and stamp >= 0:
            _offer(dev, banks, req, queues, clk)
            for ch in range(dev.p[P_CHANNELS]):
                if queues.ctl[ch, C_EVENT] <= clk:
                    if dev.p[P_CONTROLLER] == CONTROLLER_BANK:
                        queues.ctl[ch, C_EVENT] = tick_bank(dev, banks, req, queues, ch, clk)
                    else:
                        queues.ctl[ch, C_EVENT] = tick_shared(dev, banks, req, queues, ch, clk)
            if stop_when_idle and g[G_OUTSTANDING] == 0 and g[G_NEXT] == req.arrive.shape[0]:
                g[G_CLOCK] = clk + 1
                return True
            clk = _next_event(dev, req, queues, clk)
        g[G_CLOCK] = until
        return False

    return compiled_and_cached(run)


run = _make_run(kernel_stamp("state.py", "commands.py", "bank_queues.py", "shared_queues.py", "kernel.py"))
"""run(device, banks, requests, queues, until, stop_when_idle): simulate from ``g[G_CLOCK]`` on, cycles before `until`.

With `stop_when_idle` it returns True one cycle after the last outstanding burst issued its column command; otherwise it
stops at `until`. Bursts that the controller posts (writes without ``g[G_FLUSH]``) are not waited for.
"""
