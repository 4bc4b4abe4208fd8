"""Stations of several cores in the making: events of many pieces one behind the other, or in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from accelsim.timing.stations import NO_WAIT, Raise, Requests, Station, Wait

Ints = npt.NDArray[np.int64]


@dataclass
class Line:
    """A station of the whole table in the making."""

    name: str
    asked: tuple[str, ...] = ()
    """The counters that requests raise, by their kind; empty: it makes none."""
    size: int = 0
    cycles: list[Ints] = field(default_factory=list)
    waits: dict[str, list[tuple[int, Ints]]] = field(default_factory=dict)
    raises: dict[tuple[str, bool, int], list[tuple[int, int | Ints]]] = field(default_factory=dict)
    requests: list[Requests] = field(default_factory=list)

    def add(self, station: Station) -> Ints:
        """Put further events behind the others; return their places."""
        first, number = self.size, station.cycles.size
        self.size += number
        self.cycles.append(station.cycles)
        for wait in station.waits:
            self.waits.setdefault(wait.counter, []).append((first, wait.value))
        for one in station.raises:
            raised = first, number if one.only is None else one.only
            self.raises.setdefault((one.counter, one.at_begin, one.latency_cycles), []).append(raised)
        if station.requests is not None:
            self.requests.append(station.requests)
        return np.arange(first, self.size, dtype=np.int64)

    def station(self) -> Station:
        """Return the whole station."""
        waits = []
        for counter, parts in self.waits.items():
            value = self._waited(parts)
            if value is not None:
                waits.append(Wait(counter, value))
        raises = [
            Raise(counter, at_begin, latency, self._raising(parts))
            for (counter, at_begin, latency), parts in self.raises.items()
        ]
        return Station(self.name, joined(self.cycles), tuple(waits), tuple(raises), self._asked())

    def _waited(self, parts: Sequence[tuple[int, Ints]]) -> Ints | None:
        """Return the values that the events wait for; None where none waits: counters begin at 0 here."""
        if all(values.max(initial=NO_WAIT) <= 0 for _, values in parts):
            return None
        only = parts[0][1]
        if len(parts) == 1 and only.size == self.size and not ((only <= 0) & (only != NO_WAIT)).any():
            return only  # pieces that are alike have one in memory
        value = np.full(self.size, NO_WAIT, dtype=np.int64)
        for first, values in parts:
            np.maximum(value[first : first + values.size], values, out=value[first : first + values.size])
        value[value <= 0] = NO_WAIT
        return value

    def _raising(self, parts: Sequence[tuple[int, int | Ints]]) -> Ints | None:
        """Return the events that raise a counter; None: all of them do."""
        if sum(events if isinstance(events, int) else events.size for _, events in parts) == self.size:
            return None
        every = [first + (np.arange(events) if isinstance(events, int) else events) for first, events in parts]
        return joined(every)

    def _asked(self) -> Requests | None:
        if not self.asked:
            return None
        return Requests(
            joined([each.kind for each in self.requests]),
            joined([each.num_bytes for each in self.requests]),
            joined([each.bus_cycles for each in self.requests]),
            self.asked,
        )


def joined(parts: Sequence[Ints]) -> Ints:
    """Return arrays one behind the other, int64."""
    if len(parts) == 1:
        return parts[0]  # the same memory: nobody writes to a table
    return np.concatenate([*parts, np.zeros(0, dtype=np.int64)])


def some_requests(station: Station, chosen: npt.NDArray[np.bool_]) -> Station:
    """Return some of the requests of a DMA engine; all of its raises are for all events.

    A limit on requests under way is one for this engine.
    """
    asked = station.requests
    assert asked is not None  # stations with requests
    requests = replace(
        asked, kind=asked.kind[chosen], num_bytes=asked.num_bytes[chosen], bus_cycles=asked.bus_cycles[chosen]
    )
    number = int(np.count_nonzero(chosen))
    waits = tuple(
        replace(wait, value=wait.value[:number] if wait.counter == "done" else wait.value[chosen])
        for wait in station.waits
    )
    return Station(station.name, station.cycles[chosen], waits, station.raises, requests)


def in_turn(stations: Sequence[Station], places: Sequence[Ints]) -> Station:
    """Return the events of several stations in one, each at its places; what waits are charged to is left out."""
    number = sum(place.size for place in places)
    cycles = np.zeros(number, dtype=np.int64)
    raises: list[Raise] = []
    values: dict[str, Ints] = {}  # one row a counter: a line puts those of one counter together all the same
    for station, place in zip(stations, places, strict=True):
        cycles[place] = station.cycles
        for wait in station.waits:
            value = values.get(wait.counter)
            if value is None:
                value = values[wait.counter] = np.full(number, NO_WAIT, dtype=np.int64)
            value[place] = np.maximum(value[place], wait.value)
        raises += [
            Raise(
                raised.counter,
                raised.at_begin,
                raised.latency_cycles,
                place if raised.only is None else place[raised.only],
            )
            for raised in station.raises
        ]
    waits = [Wait(counter, value) for counter, value in values.items()]
    asked = [(station.requests, place) for station, place in zip(stations, places, strict=True)]
    requests = None
    if all(each is not None for each, _ in asked):
        columns = np.zeros((3, number), dtype=np.int64)
        for each, place in asked:
            assert each is not None  # asked above
            columns[:, place] = each.kind, each.num_bytes, each.bus_cycles
            requests = Requests(columns[0], columns[1], columns[2], each.counters)
    return Station("", cycles, tuple(waits), tuple(raises), requests)
