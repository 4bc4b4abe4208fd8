"""The event loop: offers bursts in order, lets every channel act, and jumps to the next cycle in which one can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from accelsim.files import stamp_of
from accelsim.sim.dram import state as s
from accelsim.sim.dram.bank_queues import accept_bank, accepts_bank, tick_bank
from accelsim.sim.dram.in_order import accept_in_order, accepts_in_order, tick_in_order
from accelsim.sim.dram.jit import JIT_IS_ON, borrowed_row, borrowed_table, compiled, compiled_and_cached
from accelsim.sim.dram.power import make_sleepy
from accelsim.sim.dram.shared_queues import accept_shared, accepts_shared, tick_shared
from accelsim.sim.dram.state import IntArray

Loop = Callable[[IntArray, IntArray, IntArray, IntArray, IntArray, int, bool], bool]
Entry = Callable[[IntArray, int, bool], bool]


@compiled
def _idle(dev: IntArray, st: IntArray) -> bool:
    """Tell whether no channel has a burst to wait for."""
    for ch in range(dev[s.P_CHANNELS]):
        if st[ch, s.C_OUTSTANDING] != 0:
            return False
    return True


def _make_offer(accepts: Callable[..., bool], accept: Callable[..., None]) -> Callable[..., None]:
    @compiled
    def offer(dev: IntArray, st: IntArray, req: IntArray, g: IntArray, clk: int) -> None:
        """Hand over bursts in order until one has not arrived yet or is refused."""
        i = g[s.G_NEXT]
        while i < req.shape[0] and req[i, s.R_ARRIVE] <= clk and accepts(dev, st[req[i, s.R_CHANNEL]], req, i):
            req[i, s.R_ACCEPT] = clk
            accept(dev, st[req[i, s.R_CHANNEL]], req, i, clk)
            i += 1
        g[s.G_NEXT] = i

    return offer


def _make_next_event(accepts: Callable[..., bool]) -> Callable[..., int]:
    @compiled
    def next_event(dev: IntArray, st: IntArray, req: IntArray, g: IntArray, clk: int) -> int:
        """Return the next cycle in which a channel acts or a burst can be handed over."""
        event = s.NEVER
        for ch in range(dev[s.P_CHANNELS]):
            event = min(event, st[ch, s.C_EVENT])
        i = g[s.G_NEXT]
        if event > clk + 1 and i < req.shape[0]:
            if req[i, s.R_ARRIVE] > clk:
                event = min(event, req[i, s.R_ARRIVE])
            elif accepts(dev, st[req[i, s.R_CHANNEL]], req, i):
                event = clk + 1
        return event

    return next_event


def _make_loop(accepts: Callable[..., bool], accept: Callable[..., None], tick: Callable[..., int]) -> Loop:
    """Build the event loop of one kind of controller."""
    offer, next_event = _make_offer(accepts, accept), _make_next_event(accepts)
    act = make_sleepy(tick)

    @compiled
    def loop(  # noqa: PLR0913
        dev: IntArray, st: IntArray, req: IntArray, g: IntArray, log: IntArray, until: int, stop_when_idle: bool
    ) -> bool:
        clk = g[s.G_CLOCK]
        while clk < until:
            offer(dev, st, req, g, clk)
            for ch in range(dev[s.P_CHANNELS]):
                c = st[ch]
                if c[s.C_EVENT] <= clk:
                    c[s.C_EVENT] = act(dev, c, req, log, clk)
            if stop_when_idle and g[s.G_NEXT] == req.shape[0] and _idle(dev, st):
                g[s.G_CLOCK] = clk + 1
                return True
            clk = next_event(dev, st, req, g, clk)
        g[s.G_CLOCK] = until
        return False

    return loop


_bank_loop = _make_loop(accepts_bank, accept_bank, tick_bank)
_shared_loop = _make_loop(accepts_shared, accept_shared, tick_shared)
_in_order_loop = _make_loop(accepts_in_order, accept_in_order, tick_in_order)


def _make_entries(stamp: int) -> tuple[Entry, Entry, Entry]:
    """Build the compiled entry points, one per kind of controller, so that only the one in use is compiled.

    `stamp` puts the text of all kernel files into the key of the machine-code cache. ``where`` holds the addresses and
    shapes of the five arrays.
    """

    def bank_entry(where: IntArray, until: int, stop_when_idle: bool) -> bool:
        dev = borrowed_row(where[0], where[1])
        st = borrowed_table(where[2], where[3], where[4])
        req = borrowed_table(where[5], where[6], where[7])
        g = borrowed_row(where[8], where[9])
        log = borrowed_table(where[10], where[11], where[12])
        return stamp >= 0 and _bank_loop(dev, st, req, g, log, until, stop_when_idle)

    def shared_entry(where: IntArray, until: int, stop_when_idle: bool) -> bool:
        dev = borrowed_row(where[0], where[1])
        st = borrowed_table(where[2], where[3], where[4])
        req = borrowed_table(where[5], where[6], where[7])
        g = borrowed_row(where[8], where[9])
        log = borrowed_table(where[10], where[11], where[12])
        return stamp >= 0 and _shared_loop(dev, st, req, g, log, until, stop_when_idle)

    def in_order_entry(where: IntArray, until: int, stop_when_idle: bool) -> bool:
        dev = borrowed_row(where[0], where[1])
        st = borrowed_table(where[2], where[3], where[4])
        req = borrowed_table(where[5], where[6], where[7])
        g = borrowed_row(where[8], where[9])
        log = borrowed_table(where[10], where[11], where[12])
        return stamp >= 0 and _in_order_loop(dev, st, req, g, log, until, stop_when_idle)

    return compiled_and_cached(shared_entry), compiled_and_cached(bank_entry), compiled_and_cached(in_order_entry)


_FILES = (
    "state.py", "jit.py", "commands.py", "queues.py", "bank_queues.py", "shared_queues.py", "in_order.py", "power.py",
    "kernel.py",
)  # fmt: skip
_LOOPS = (_shared_loop, _bank_loop, _in_order_loop)  # by ``P_CONTROLLER``
_ENTRIES = _make_entries(stamp_of(Path(__file__).parent / name for name in _FILES))


def run(  # noqa: PLR0913
    dev: IntArray, st: IntArray, req: IntArray, g: IntArray, log: IntArray, until: int, stop_when_idle: bool
) -> bool:
    """Simulate the cycles from ``g[G_CLOCK]`` to before `until`; see `accelsim.sim.dram.state` for the arrays.

    With `stop_when_idle` it returns True one cycle after the last outstanding burst issued its column command;
    otherwise it stops at `until` and returns False. Bursts that the controller posts (writes of ``bank_queues`` without
    ``P_FLUSH``) are not waited for.
    """
    if not JIT_IS_ON:
        return _LOOPS[dev[s.P_CONTROLLER]](dev, st, req, g, log, until, stop_when_idle)
    where: list[int] = []
    for array in (dev, st, req, g, log):
        if array.dtype != np.int64 or not array.flags.c_contiguous:
            raise TypeError("kernel arrays must be contiguous int64")
        where += [array.ctypes.data, *array.shape]
    return _ENTRIES[dev[s.P_CONTROLLER]](np.array(where, dtype=np.int64), until, stop_when_idle)
