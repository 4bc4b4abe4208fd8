"""The table of stations as SimPy processes: the readable meaning of `accelsim.timing.stations`.

Every station is a process over all layers and, within a layer, over its events in order: it waits until each counter
that the event waits for has reached its value, works, and raises its own counters. Nothing else happens on the chip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import simpy

from accelsim.errors import SimulationError
from accelsim.timing.arbitration import OLDEST_FIRST, Arbitration
from accelsim.timing.memory import MemoryModel, addresses
from accelsim.timing.moment import NUMBER, STATIONS, Moment
from accelsim.timing.program import STORE
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import FlatTimes, SolvedLayer, deadlock_message, stuck_message
from accelsim.timing.stations import COUNTER_OF_KIND, COUNTERS, NO_WAIT, Raise, Requests, Station
from accelsim.timing.table import num_raised

Ints = npt.NDArray[np.int64]
Process = Generator[simpy.Event, None, None]


def _now(env: simpy.Environment) -> int:
    """Return the cycle; with delays of whole cycles SimPy's clock stays an integer."""
    return env.now  # type: ignore[return-value]


class Counter:
    """Counts up, never backwards in time; ``cycles`` are those in which it reached each value, from 0 on."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.value = 0
        self.cycles = [0]
        self._waiting: list[tuple[int, simpy.Event]] = []

    def raise_after(self, delay: int) -> None:
        """Count one more after ``delay`` cycles, or with the raise before this one where that is still to come."""
        # Pipelines keep their order: what was raised later is never there earlier.
        at = max(_now(self.env) + delay, self.cycles[-1])
        self.cycles.append(at)
        if at > _now(self.env):
            later = self.env.timeout(at - _now(self.env))
            later.callbacks.append(self._raise)
        else:
            self._raise()

    def _raise(self, _: simpy.Event | None = None) -> None:
        self.value += 1
        while self._waiting and self._waiting[0][0] <= self.value:
            self._waiting.pop(0)[1].succeed()

    def reached(self, value: int) -> simpy.Event:
        """Return the event of having reached a value."""
        event = self.env.event()
        self._waiting.append((value, event))
        self._waiting.sort(key=lambda item: item[0])  # stable: of equal values who asked first goes first
        return event


@dataclass(slots=True)
class Times:
    """When the events of a station began and ended in each layer; of requests, also how long they kept the bus."""

    begin: list[list[int]] = field(default_factory=list)
    end: list[list[int]] = field(default_factory=list)
    free: list[int] = field(default_factory=list)
    busy: list[list[int]] = field(default_factory=list)


class Chip:
    """All stations of a network on one clock."""

    def __init__(
        self,
        tables: list[tuple[Station, ...]],
        memory: MemoryModel,
        env: simpy.Environment,
        number: Mapping[str, int] = NUMBER,
        arbiter: Arbiter | None = None,
    ) -> None:
        self.env = env
        self.tables = tables
        self.memory = memory
        self.number = number
        self.arbiter = arbiter
        self.counters = {name: Counter(env) for name in number}
        self.times = {station.name: Times() for station in tables[0]} if tables else {}
        raised = np.array([num_raised(table, number) for table in tables], dtype=np.int64)
        raised = raised.reshape(len(tables), len(number))
        self.bases = np.concatenate([np.zeros((1, len(number)), dtype=np.int64), np.cumsum(raised, axis=0)])
        self.moved_bytes = np.zeros(len(COUNTER_OF_KIND), dtype=np.int64)
        self.places: dict[int, list[int]] = {}

    def station(self, place: int) -> Process:
        """Work through all layers as one station."""
        free = 0
        for layer, table in enumerate(self.tables):
            times = self.times[table[place].name]
            times.begin.append([])
            times.end.append([])
            times.busy.append([])
            times.free.append(free)
            yield from self._layer(table[place], layer, times)
            # A request's end is the memory's; the station itself is free when it has issued it.
            free = times.begin[-1][-1] + int(table[place].cycles[-1]) if times.begin[-1] else free

    def _layer(self, station: Station, layer: int, times: Times) -> Process:
        """Work through the events of a layer: wait, work, hand over."""
        env, counters = self.env, self.counters
        waits = [
            (counters[wait.counter], _in_network(wait.value, int(self.bases[layer, self.number[wait.counter]])))
            for wait in station.waits
        ]
        at_begin = [_Raising(raised) for raised in station.raises if raised.at_begin]
        at_end = [_Raising(raised) for raised in station.raises if not raised.at_begin]
        address = self._addresses(station)
        for event, cycles in enumerate(station.cycles.tolist()):
            for counter, values in waits:
                # One after the other: counters never fall, so what was reached stays reached.
                if counter.value < values[event]:
                    yield counter.reached(values[event])
            times.begin[layer].append(_now(env))
            for each in at_begin:
                each.of_event(event, counters)
            if cycles:  # a timeout of 0 would let others go first
                yield env.timeout(cycles)
            times.end[layer].append(_now(env))
            if station.requests is None:
                for each in at_end:
                    each.of_event(event, counters)
                continue
            request = _Request(station.requests, layer, event, address[event], _now(env), times, at_end)
            times.busy[layer].append(0)
            if self.arbiter is None:
                self.serve(request, _now(env))
            else:
                self.arbiter.put(station.name, request)

    def lay_out(self, requests: Sequence[Requests]) -> None:
        """Give each of several stations its place in memory: all of a kind lie one behind the other."""
        kinds = np.concatenate([each.kind for each in requests])
        every = addresses(kinds, np.concatenate([each.num_bytes for each in requests]), self.moved_bytes)
        ends = np.cumsum([each.kind.size for each in requests])[:-1]
        self.places = {id(each): part.tolist() for each, part in zip(requests, np.split(every, ends), strict=True)}

    def _addresses(self, station: Station) -> list[int]:
        if station.requests is None:
            return []
        if self.arbiter is not None:
            return self.places[id(station.requests)]
        kinds, num_bytes = station.requests.kind, station.requests.num_bytes
        found: list[int] = addresses(kinds, num_bytes, self.moved_bytes).tolist()
        self.moved_bytes += np.bincount(kinds, num_bytes, len(COUNTER_OF_KIND)).astype(np.int64)
        return found

    def serve(self, request: _Request, start_cycle: int) -> int:
        """Hand a request to the memory; return when its data have crossed, which raises the counter of its kind."""
        asked, event = request.requests, request.event
        kind, now = int(asked.kind[event]), _now(self.env)
        served = self.memory.serve(
            start_cycle, request.address, int(asked.num_bytes[event]), kind == STORE, int(asked.bus_cycles[event])
        )
        request.times.end[request.layer][event] = served.end_cycle
        request.times.busy[request.layer][event] = served.busy_cycles
        self.counters[asked.counters[kind]].raise_after(served.end_cycle - now)
        for each in request.at_end:
            each.of_event(event, self.counters, served.end_cycle - now)
        return served.end_cycle


class _Raising:
    """A raise of a station, with the events that do it."""

    def __init__(self, raised: Raise) -> None:
        self.raised = raised
        self.only = None if raised.only is None else frozenset(raised.only.tolist())

    def of_event(self, event: int, counters: Mapping[str, Counter], answer_cycles: int = 0) -> None:
        """Raise the counter if the event does; where it is a request, when the memory has answered."""
        if self.only is None or event in self.only:
            counters[self.raised.counter].raise_after(answer_cycles + self.raised.latency_cycles)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that a station has issued."""

    requests: Requests
    layer: int
    event: int
    address: int
    arrival_cycle: int
    times: Times
    at_end: list[_Raising]


class Arbiter:
    """Chooses among the requests of several stations; those of one are taken in order.

    `OLDEST_FIRST`: the one that was issued first, of equals that of the station named first, and at once.
    `ROUND_ROBIN`: that of the next station which has one, reads and writes apart where the memory has queues, or buses,
    for each; and no earlier than the `Arbitration` says, so that a station that asks later still has its turn.
    """

    def __init__(self, env: simpy.Environment, stations: Sequence[str], arbitration: Arbitration) -> None:
        self.env = env
        self.queues: dict[str, deque[_Request]] = {name: deque() for name in stations}
        self.arbitration = arbitration
        # When the last request was taken; of each queue, whose it was, and when all of its data will have crossed.
        self.start_cycle = 0
        self.last, self.data_cycle = [len(stations) - 1] * 2, [0, 0]
        self._called = env.event()

    def put(self, station: str, request: _Request) -> None:
        """Note a request."""
        self.queues[station].append(request)
        if not self._called.triggered:
            self._called.succeed()

    def run(self, chip: Chip) -> Process:
        """Serve requests for ever."""
        env, names = self.env, list(self.queues)
        while True:
            if not any(self.queues.values()):
                self._called = env.event()
                yield self._called
            while env.peek() <= env.now:  # all that happens in this cycle has happened before a choice
                yield env.timeout(0)
            heads = {place: self.queues[name][0] for place, name in enumerate(names) if self.queues[name]}
            taken, queue, chosen = self._choice(heads)
            if taken > _now(env):  # until then others may ask, and a write may be taken before the read that waits
                self._called = env.event()
                yield self._called | env.timeout(taken - _now(env))
                continue
            self.start_cycle, self.last[queue] = taken, chosen
            end = chip.serve(self.queues[names[chosen]].popleft(), taken)
            self.data_cycle[queue] = max(self.data_cycle[queue], end)

    def _choice(self, heads: Mapping[int, _Request]) -> tuple[int, int, int]:
        """Return when the memory takes the next of some requests, from which of its queues, and whose it is."""
        if self.arbitration.policy == OLDEST_FIRST:
            chosen = min(heads, key=lambda place: (heads[place].arrival_cycle, place))
            return max(heads[chosen].arrival_cycle, self.start_cycle), self._queue(heads[chosen]), chosen
        first: dict[int, int] = {}
        for request in heads.values():
            queue = self._queue(request)
            first[queue] = min(request.arrival_cycle, first.get(queue, request.arrival_cycle))
        ahead = self.arbitration.ahead_cycles
        taken, queue = min(
            (max(at, self.start_cycle, self.data_cycle[queue] - ahead[queue]), queue) for queue, at in first.items()
        )
        there = [place for place, one in heads.items() if one.arrival_cycle <= taken and self._queue(one) == queue]
        return taken, queue, min(there, key=lambda place: (place - self.last[queue] - 1) % len(self.queues))

    def _queue(self, request: _Request) -> int:
        return int(self.arbitration.is_apart and request.requests.kind[request.event] == STORE)


def _in_network(value: Ints, base: int) -> list[int]:
    """Return values of a counter in the whole network; 0 where nothing is waited for."""
    moved: list[int] = np.where(value == NO_WAIT, 0, value + base).tolist()
    return moved


def run_processes(
    schedules: tuple[LayerSchedule, ...],
    tables: list[tuple[Station, ...]],
    memory: MemoryModel,
    env: simpy.Environment | None = None,
) -> list[SolvedLayer]:
    """Run all stations to the end and return the times of their events, layer by layer.

    Raises
    ------
    SimulationError
        The units wait for each other for ever.
    """
    env = env or simpy.Environment()
    chip = Chip(tables, memory, env)
    for place in range(len(STATIONS)):
        env.process(chip.station(place))
    env.run()
    _check_finished(chip, schedules)
    return [_solved(chip, layer) for layer in range(len(tables))]


def run_flat(
    stations: tuple[Station, ...],
    number: Mapping[str, int],
    words: Mapping[str, str],
    arbitration: Arbitration,
    memory: MemoryModel,
) -> FlatTimes:
    """Run stations of which several ask the memory, from a cold chip; see `accelsim.timing.solve.solve_flat`.

    ``arbitration`` is how the memory chooses.
    """
    env = simpy.Environment()
    asking = [station.name for station in stations if station.requests is not None]
    arbiter = Arbiter(env, asking, arbitration)
    chip = Chip([stations], memory, env, number, arbiter)
    chip.lay_out([station.requests for station in stations if station.requests is not None])
    for place in range(len(stations)):
        env.process(chip.station(place))
    env.process(arbiter.run(chip))
    env.run()
    done = [len(chip.times[station.name].begin[0]) for station in stations]
    if any(ended < station.cycles.size for ended, station in zip(done, stations, strict=True)):
        count = {name: counter.value for name, counter in chip.counters.items()}
        raise SimulationError(stuck_message("the run", stations, done, count, words))

    def listed(rows: list[list[int]]) -> Ints:
        return np.array(rows[0], dtype=np.int64)

    return FlatTimes(
        begin={name: listed(times.begin) for name, times in chip.times.items()},
        end={name: listed(times.end) for name, times in chip.times.items()},
        busy={name: listed(chip.times[name].busy) for name in asking},
        reached={name: np.array(counter.cycles, dtype=np.int64) for name, counter in chip.counters.items()},
    )


def _check_finished(chip: Chip, schedules: tuple[LayerSchedule, ...]) -> None:
    """Raise with the list of waiting stations where a run stopped before its end."""
    layer = chip.counters["layers"].value
    if layer == len(chip.tables):
        return
    bases = chip.bases[layer]
    done = [
        len(chip.times[name].begin[layer]) if layer < len(chip.times[name].begin) else 0
        for name in STATIONS
    ]  # fmt: skip
    count = [chip.counters[name].value - int(bases[NUMBER[name]]) for name in COUNTERS]
    raise SimulationError(deadlock_message(schedules[layer].name, chip.tables[layer], done, count))


def _solved(chip: Chip, layer: int) -> SolvedLayer:
    """Return one layer of a run in the form of the solver."""
    bases = chip.bases[layer], chip.bases[layer + 1]
    names = STATIONS
    ends = chip.counters["layers"].cycles
    return SolvedLayer(
        begin={name: np.array(chip.times[name].begin[layer], dtype=np.int64) for name in names},
        end={name: np.array(chip.times[name].end[layer], dtype=np.int64) for name in names},
        reached={
            name: np.array(counter.cycles[: bases[1][NUMBER[name]] + 1], dtype=np.int64)
            for name, counter in chip.counters.items()
        },
        base={name: int(bases[0][NUMBER[name]]) for name in COUNTERS},
        busy=np.array(chip.times["dma"].busy[layer], dtype=np.int64),
        free={name: chip.times[name].free[layer] for name in names},
        start_cycle=ends[layer],
        after=Moment(end_cycle=ends[layer + 1]),
    )
