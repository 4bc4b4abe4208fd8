"""The table of stations as SimPy processes: the readable meaning of `accelsim.timing.stations`.

Every station is a process over all layers and, within a layer, over its events in order: it waits until each counter
that the event waits for has reached its value, works, and raises its own counters. Nothing else happens on the chip.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import simpy

from accelsim.errors import SimulationError
from accelsim.timing.memory import MemoryModel, addresses
from accelsim.timing.moment import NUMBER, STATIONS, Moment
from accelsim.timing.program import STORE
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import SolvedLayer, deadlock_message, num_raised
from accelsim.timing.stations import COUNTER_OF_KIND, COUNTERS, EVERY_EVENT, NO_WAIT, Requests, Station

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
        self._waiting.sort(key=lambda item: item[0])
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

    def __init__(self, tables: list[tuple[Station, ...]], memory: MemoryModel, env: simpy.Environment) -> None:
        self.env = env
        self.tables = tables
        self.memory = memory
        self.counters = {name: Counter(env) for name in COUNTERS}
        self.times = {name: Times() for name in STATIONS}
        raised = np.array([num_raised(table) for table in tables], dtype=np.int64).reshape(len(tables), len(COUNTERS))
        self.bases = np.concatenate([np.zeros((1, len(COUNTERS)), dtype=np.int64), np.cumsum(raised, axis=0)])
        self.moved_bytes = np.zeros(len(COUNTER_OF_KIND), dtype=np.int64)

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
            free = times.begin[-1][-1] + int(table[place].cycles[-1]) if times.begin[-1] else free

    def _layer(self, station: Station, layer: int, times: Times) -> Process:
        """Work through the events of a layer: wait, work, hand over."""
        env, counters = self.env, self.counters
        waits = [
            (counters[wait.counter], _in_network(wait.value, int(self.bases[layer, NUMBER[wait.counter]])))
            for wait in station.waits
        ]
        at_begin = [raised for raised in station.raises if raised.at_begin]
        at_end = [raised for raised in station.raises if not raised.at_begin]
        address = self._addresses(station)
        for event, cycles in enumerate(station.cycles.tolist()):
            for counter, values in waits:
                if counter.value < values[event]:
                    yield counter.reached(values[event])
            times.begin[layer].append(_now(env))
            for raised in at_begin:
                if raised.only in (EVERY_EVENT, event):
                    counters[raised.counter].raise_after(raised.latency_cycles)
            if cycles:
                yield env.timeout(cycles)
            times.end[layer].append(_now(env))
            answer = 0
            if station.requests is not None:
                answer = self._ask(station.requests, layer, event, address[event], times)
            for raised in at_end:
                if raised.only in (EVERY_EVENT, event):
                    counters[raised.counter].raise_after(answer + raised.latency_cycles)

    def _addresses(self, station: Station) -> list[int]:
        if station.requests is None:
            return []
        kinds, num_bytes = station.requests.kind, station.requests.num_bytes
        found: list[int] = addresses(kinds, num_bytes, self.moved_bytes).tolist()
        self.moved_bytes += np.bincount(kinds, num_bytes, len(COUNTER_OF_KIND)).astype(np.int64)
        return found

    def _ask(self, requests: Requests, layer: int, event: int, address: int, times: Times) -> int:
        """Hand a request to the memory and return the cycles to its arrival, which raises the counter of its kind."""
        kind, now = int(requests.kind[event]), _now(self.env)
        bus_cycles = int(requests.bus_cycles[event])
        served = self.memory.serve(now, address, int(requests.num_bytes[event]), kind == STORE, bus_cycles)
        times.end[layer][event] = served.end_cycle
        times.busy[layer].append(served.busy_cycles)
        self.counters[COUNTER_OF_KIND[kind]].raise_after(served.end_cycle - now)
        return served.end_cycle - now


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
