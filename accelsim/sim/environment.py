"""SimPy pieces that all units share: an environment that can leap over whole periods, and progress counters to wait on.

Units wait for conditions that only become true (a counter that reaches a value), never for a choice among requestors,
so the
order in which SimPy runs events of the same cycle cannot change a result.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from heapq import heappop
from typing import Any, Protocol

import simpy
from simpy.events import NORMAL, PENDING, Event

Process = Generator[Event, Any, None]


class Waiter(Protocol):
    """Who waits, with what wakes it; its name stands in a deadlock report."""

    name: str
    alarm: Alarm


class LeapEnvironment(simpy.Environment):
    """An environment with an integer clock that can be moved on together with everything that is pending.

    Attributes
    ----------
    cycle
        The clock, as `now`; an attribute is read faster than a property.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cycle = 0

    def finish(self) -> None:
        """Process events until none is left, as `run` does, in one loop without a call for each."""
        queue = self._queue
        while queue:
            cycle, _, _, event = heappop(queue)
            self._now = self.cycle = cycle  # type: ignore[assignment]
            callbacks = event.callbacks
            event.callbacks = None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event.ok:
                fault: Any = event.value
                raise fault

    def leap(self, cycles: int) -> None:
        """Move the clock and all pending events by ``cycles``; their order stays."""
        self.cycle += cycles
        self._now = self.cycle
        self._queue[:] = [(time + cycles, priority, number, event) for time, priority, number, event in self._queue]


class Alarm(Event):
    """An event that its owner waits for again and again, once at a time: one object instead of one per event."""

    def arm(self) -> Alarm:
        """Make it pending again and return it."""
        self.callbacks = []
        self._value = PENDING
        return self

    def ring(self, delay: int) -> Alarm:
        """Let an armed alarm happen after ``delay`` cycles."""
        self._ok = True
        self._value = None
        self.env.schedule(self, NORMAL, delay)
        return self


class Progress:
    """A counter that only grows, with processes that wait until it reaches a value.

    Attributes
    ----------
    value
        The count.
    name
        What it counts; a deadlock report says who waits for which.
    """

    __slots__ = ("env", "name", "value", "waiting")

    def __init__(self, env: LeapEnvironment, name: str) -> None:
        self.env = env
        self.name = name
        self.value = 0
        self.waiting: list[tuple[int, Waiter]] = []

    def advance(self, value: int) -> None:
        """Raise the counter to ``value`` and wake who waited for it."""
        self.value = value
        if self.waiting:
            due = [item for item in self.waiting if item[0] <= value]
            if due:
                self.waiting = [item for item in self.waiting if item[0] > value]
                for _, waiter in due:
                    waiter.alarm.ring(0)

    def reached(self, value: int, waiter: Waiter) -> Event:
        """Return an event that happens when the counter reaches ``value`` (which it has not yet)."""
        self.waiting.append((value, waiter))
        return waiter.alarm.arm()

    def leap(self, difference: int, fixed: Collection[Waiter]) -> None:
        """Raise the counter by ``difference``, and what is waited for, but by those in ``fixed``; nobody wakes."""
        self.value += difference
        self.waiting = [(value if waiter in fixed else value + difference, waiter) for value, waiter in self.waiting]


class Blocked:
    """Cycles that a unit has spent waiting for another one, up to now, a running wait included.

    Given the waits of that other unit as ``inner``, cycles in which it was itself waiting are left out.
    """

    __slots__ = ("env", "inner", "inner_before", "since", "total")

    def __init__(self, env: LeapEnvironment, inner: Blocked | None = None) -> None:
        self.env = env
        self.inner = inner
        self.inner_before = 0
        self.total = 0
        self.since = -1

    def begin(self) -> None:
        """Note that the unit waits from now on."""
        self.since = self.env.cycle
        self.inner_before = self.inner.now() if self.inner is not None else 0

    def end(self) -> None:
        """Note that the wait is over."""
        self.total = self.now()
        self.since = -1

    def now(self) -> int:
        """Return the cycles so far."""
        if self.since < 0:
            return self.total
        inner = self.inner.now() - self.inner_before if self.inner is not None else 0
        return self.total + self.env.cycle - self.since - inner

    def leap(self, cycles: int, blocked: int, inner: int) -> None:
        """Account for a leap of ``cycles``, ``blocked`` of them in this wait and ``inner`` in the other unit's."""
        self.total += blocked
        if self.since >= 0:
            self.since += cycles
            self.inner_before += inner
