"""Stations in flat arrays of integers: what the loops of the solver go along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from accelsim.timing.arbitration import ALONE, Arbitration
from accelsim.timing.moment import NUMBER
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.stations import COUNTER_OF_KIND, NO_WAIT, Raise, Station
from accelsim.timing.walk import EVERY_EVENT, NO_MORE

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FlatTable:
    """Stations in flat arrays of integers, int64; events of all stations stand behind each other.

    Attributes
    ----------
    source
        The stations that it was made of.
    event_first, raise_first
        [num_stations + 1]: where the events, and the raises, of each station begin.
    has_requests, first_request
        [num_stations]: whether events are requests to the memory, and where they stand among all requests.
    cycles, left
        [num_events]: work of an event; work of it and all events behind it in the station.
    wait_first, wait_counter, wait_value
        Event e waits for entries ``wait_first[e]`` to ``wait_first[e + 1]``; what an event before has waited for
        already is left out.
    raises
        [4, num_raises]: counter, whether at the begin, latency, the place in ``only_events`` (or `EVERY_EVENT`).
    only_events
        Events of raises that not all events do, `NO_MORE` behind those of each.
    kinds, request_counter, num_bytes, bus_cycles
        [num_requests]: kind, the counter that its arrival raises, bytes and cycles on the bus (-1: by its bytes).
    counter_first
        [num_counters + 1]: where the times of each counter begin; the time of value v (0: what the layers before
        raised) stands at ``base[counter] + v``.
    base
        [num_counters]; in front of it as many values of the layers before as events of this one wait for.
    arbitration
        [4]: how the memory chooses among stations with requests (`Arbitration.row`).
    raised_first, raised
        [num_stations + 1], and the counters that each station raises, each once.
    """

    source: tuple[Station, ...]
    event_first: Ints
    raise_first: Ints
    has_requests: Ints
    cycles: Ints
    left: Ints
    wait_first: Ints
    wait_counter: Ints
    wait_value: Ints
    raises: Ints
    only_events: Ints
    kinds: Ints
    request_counter: Ints
    num_bytes: Ints
    bus_cycles: Ints
    first_request: Ints
    counter_first: Ints
    base: Ints
    arbitration: Ints
    raised_first: Ints
    raised: Ints

    @property
    def num_events(self) -> int:
        """Return the events of all stations."""
        return int(self.cycles.size)


@dataclass(frozen=True, slots=True)
class Table:
    """The stations of a layer in flat arrays."""

    schedule: LayerSchedule
    flat: FlatTable

    @property
    def num_events(self) -> int:
        """Return the events of all stations."""
        return self.flat.num_events


def flatten(schedule: LayerSchedule, stations: tuple[Station, ...]) -> Table:
    """Return the table of a layer's stations in flat arrays."""
    return Table(schedule, flat_table(stations, NUMBER, Arbitration(ALONE)))


def flat_table(stations: tuple[Station, ...], number: Mapping[str, int], arbitration: Arbitration) -> FlatTable:
    """Return stations in flat arrays.

    Parameters
    ----------
    number
        Counter -> its number, from 0 on.
    arbitration
        How the memory chooses, if several stations ask.
    """
    raises = [raised for station in stations for raised in station.raises]
    first, counter, value = _waits(stations, number)
    asking = [station.requests for station in stations if station.requests is not None]
    # An event may wait for what layers before raised (0 or less): so many of their times stand in front.
    lookback = np.zeros(len(number), dtype=np.int64)
    if value.size and value.min() < 0:
        np.maximum.at(lookback, counter, -value)
    # One more: the time of value 0, that of what the layers before raised.
    sizes_of = num_raised(stations, number) + lookback + 1
    counter_first = _begins(sizes_of.tolist())
    only_events, places = _only_events(raises)
    raised = [_raised_by(station, number) for station in stations]
    numbers = [[number[one.counter], one.at_begin, one.latency_cycles] for one in raises]
    return FlatTable(
        source=stations,
        event_first=_begins(station.cycles.size for station in stations),
        raise_first=_begins(len(station.raises) for station in stations),
        has_requests=np.array([station.requests is not None for station in stations], dtype=np.int64),
        cycles=np.concatenate([station.cycles for station in stations]),
        # Summed from behind: a solve under a limit gives up once an event begins later than this leaves room for.
        left=np.concatenate([station.cycles[::-1].cumsum()[::-1] for station in stations]),
        wait_first=first,
        wait_counter=counter,
        wait_value=value,
        raises=np.concatenate([np.array(numbers, dtype=np.int64).T, places[None]]),
        only_events=only_events,
        kinds=np.concatenate([each.kind for each in asking]),
        request_counter=np.concatenate(
            [np.array([number[name] for name in each.counters], dtype=np.int64)[each.kind] for each in asking]
        ),
        num_bytes=np.concatenate([each.num_bytes for each in asking]),
        bus_cycles=np.concatenate([each.bus_cycles for each in asking]),
        first_request=_begins(0 if station.requests is None else station.cycles.size for station in stations[:-1]),
        counter_first=counter_first,
        base=counter_first[:-1] + lookback,
        arbitration=np.array(arbitration.row(), dtype=np.int64),
        raised_first=_begins(len(counters) for counters in raised),
        raised=np.array([counter for counters in raised for counter in counters], dtype=np.int64),
    )


def _begins(sizes: Iterable[int]) -> Ints:
    """Return where each of some lists begins that stand behind each other, and where the last one ends."""
    return np.array([0, *accumulate(sizes)], dtype=np.int64)


def _raised_by(station: Station, number: Mapping[str, int]) -> list[int]:
    """Return the counters that a station raises, each once."""
    asked = () if station.requests is None else station.requests.counters
    return list(dict.fromkeys(number[name] for name in (*(one.counter for one in station.raises), *asked)))


def _only_events(raises: Sequence[Raise]) -> tuple[Ints, Ints]:
    """Return the events of raises that not all events do, one list behind the other, and where those of each begin."""
    lists: list[Ints] = []
    places, taken = np.full(len(raises), EVERY_EVENT, dtype=np.int64), 0
    behind = np.array([NO_MORE], dtype=np.int64)
    for place, one in enumerate(raises):
        if one.only is not None:
            places[place] = taken
            lists += [one.only, behind]
            taken += one.only.size + 1
    return np.concatenate(lists or [behind]), places


def _waits(stations: tuple[Station, ...], number: Mapping[str, int]) -> tuple[Ints, Ints, Ints]:
    """Return the waits of all events, sorted by event; without those that an event before has gone through already.

    Counters never run backwards, and events of a station begin one after the other.
    """
    events, counters, values = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], [np.zeros(0, np.int64)]
    first = 0
    for station in stations:
        if station.waits and station.cycles.size:
            event, wait = np.array([_rises(one.value) for one in station.waits]).T.nonzero()
            events.append(first + event)
            counters.append(np.array([number[one.counter] for one in station.waits], dtype=np.int64)[wait])
            value = np.empty_like(event)
            for place, one in enumerate(station.waits):
                chosen = wait == place
                value[chosen] = one.value[event[chosen]]
            values.append(value)
        first += station.cycles.size
    starts = np.zeros(first + 1, dtype=np.int64)
    np.bincount(np.concatenate(events), minlength=first).cumsum(out=starts[1:])
    return starts, np.concatenate(counters), np.concatenate(values)


def _rises(value: Ints) -> npt.NDArray[np.bool_]:
    """Return where an event waits for more than all before it, bool [events]; so the first one, if at all."""
    # What an event before has waited for has come: only more than that is a wait.
    most = np.maximum.accumulate(value)
    rises = np.empty(value.shape, dtype=np.bool_)
    rises[0] = most[0] > NO_WAIT
    np.greater(most[1:], most[:-1], out=rises[1:])
    return rises


def num_raised(stations: tuple[Station, ...], number: Mapping[str, int] = NUMBER) -> Ints:
    """Return how often each counter is raised in a layer."""
    found = np.zeros(len(number), dtype=np.int64)
    for station in stations:
        for raised in station.raises:
            found[number[raised.counter]] += station.cycles.size if raised.only is None else raised.only.size
        if station.requests is not None:
            kinds = np.bincount(station.requests.kind, minlength=len(COUNTER_OF_KIND))
            for name, count in zip(station.requests.counters, kinds.tolist(), strict=True):
                found[number[name]] += count
    return found
