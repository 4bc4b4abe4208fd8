"""The times of all events of a layer: the longest path through its table of stations, layer by layer.

A layer's stations become a `Table` of flat integers; `accelsim.timing.walk` goes along it from the `Moment` at which
the layer before has ended, under a limit where the mapper has found something better already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.timing.memory import (
    CALLED,
    CYCLES_OF_MEMORY,
    KIND,
    MemoryModel,
    addresses,
    memory_row,
    transfer_cycles,
    use_of_layer,
)
from accelsim.timing.moment import NUMBER, STATIONS, Moment
from accelsim.timing.power_states import MemoryUse
from accelsim.timing.program import STORE
from accelsim.timing.schedule import LayerSchedule, first_weights_fit
from accelsim.timing.stations import (
    COUNTER_OF_KIND,
    COUNTERS,
    EVERY_EVENT,
    NO_WAIT,
    Station,
    layer_stations,
)
from accelsim.timing.walk import (
    ASKS_MEMORY,
    FINISHED,
    STUCK,
    Row,
    Tape,
    Times,
    arrive,
    compiled_walk,
    is_compiled,
    walk,
)

Ints = npt.NDArray[np.int64]
Engine = Literal["auto", "python", "compiled"]
NO_LIMIT = (1 << 62) - 1

PATIENCE_EVENTS = 200_000  # in plain Python what loading compiled code takes, 0.4 s
LARGE_LAYER = 50_000  # events; such a layer has others like it
LONGER = 10  # times as long, where it must be made first


@dataclass(frozen=True, slots=True)
class Table:
    """The stations of a layer in flat arrays of integers, int64; events of all stations stand behind each other.

    Attributes
    ----------
    source
        The stations that it was made of.
    event_first, raise_first
        [num_stations + 1]: where the events, and the raises, of each station begin.
    has_requests
        [num_stations]: whether events are requests to the memory.
    cycles, left
        [num_events]: work of an event; work of it and all events behind it in the station.
    wait_first, wait_counter, wait_value
        Event e waits for entries ``wait_first[e]`` to ``wait_first[e + 1]``; what an event before has waited for
        already is left out.
    raises
        [4, num_raises]: counter, whether at the begin, latency, the only event (or `EVERY_EVENT`).
    kinds, num_bytes, bus_cycles
        [num_requests]: kind, bytes and cycles on the bus (-1: by its bytes) of each request.
    counter_first
        [num_counters + 1]: where the times of each counter begin; the time of value v (0: what the layers before
        raised) stands at ``base[counter] + v``.
    base
        [num_counters]; in front of it as many values of the layers before as events of this one wait for.
    """

    schedule: LayerSchedule
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
    kinds: Ints
    num_bytes: Ints
    bus_cycles: Ints
    counter_first: Ints
    base: Ints

    @property
    def num_events(self) -> int:
        """Return the events of all stations."""
        return int(self.cycles.size)


@dataclass(frozen=True, slots=True)
class SolvedLayer:
    """The times of a layer's events.

    Attributes
    ----------
    begin, end
        Station -> begin and end of each event, int64; of a request: its begin, and when its last word had crossed.
    reached
        Counter -> when it reached each value, int64; the last ones of the layers before stand in front.
    base
        Counter -> the place of value 0 in ``reached``.
    busy
        Cycles for which each request kept the bus from others, int64.
    free
        Station -> when it had ended its last event of the layers before.
    start_cycle
        The end of the layer before.
    after
        What the next layer begins with.
    """

    begin: dict[str, Ints]
    end: dict[str, Ints]
    reached: dict[str, Ints]
    base: dict[str, int]
    busy: Ints
    free: dict[str, int]
    start_cycle: int
    after: Moment


def layer_table(schedule: LayerSchedule, hardware: HardwareConfig, before: Moment) -> Table:
    """Return the table of a layer that follows ``before``; it does not depend on the memory's speed."""
    fits = before.schedule is not None and first_weights_fit(before.schedule, schedule, hardware)
    return flatten(schedule, layer_stations(schedule, hardware, fits))


def flatten(schedule: LayerSchedule, stations: tuple[Station, ...]) -> Table:
    """Return the table of a layer's stations in flat arrays."""
    raises = [raised for station in stations for raised in station.raises]
    first, counter, value = _waits(stations)
    requests = next(station.requests for station in stations if station.requests is not None)
    lookback = np.zeros(len(COUNTERS), dtype=np.int64)
    np.maximum.at(lookback, counter, -value)
    sizes_of = num_raised(stations) + lookback + 1
    counter_first = np.concatenate([[0], np.cumsum(sizes_of)])
    return Table(
        schedule=schedule,
        source=stations,
        event_first=np.cumsum([0, *(station.cycles.size for station in stations)]),
        raise_first=np.cumsum([0, *(len(station.raises) for station in stations)]),
        has_requests=np.array([station.requests is not None for station in stations], dtype=np.int64),
        cycles=np.concatenate([station.cycles for station in stations]),
        left=np.concatenate([np.cumsum(station.cycles[::-1])[::-1] for station in stations]),
        wait_first=first,
        wait_counter=counter,
        wait_value=value,
        raises=np.array(
            [[NUMBER[one.counter], one.at_begin, one.latency_cycles, one.only] for one in raises], dtype=np.int64
        ).T.copy(),
        kinds=requests.kind,
        num_bytes=requests.num_bytes,
        bus_cycles=requests.bus_cycles,
        counter_first=counter_first,
        base=counter_first[:-1] + lookback,
    )


def _waits(stations: tuple[Station, ...]) -> tuple[Ints, Ints, Ints]:
    """Return the waits of all events, sorted by event; without those that an event before has gone through already.

    Counters never run backwards, and events of a station begin one after the other.
    """
    events, counters, values = [], [], []
    first = 0
    for station in stations:
        if station.waits and station.cycles.size:
            value = np.stack([wait.value for wait in station.waits])
            event, wait = np.nonzero(_rises(value).T)
            events.append(first + event)
            counters.append(np.array([NUMBER[wait.counter] for wait in station.waits], dtype=np.int64)[wait])
            values.append(value[wait, event])
        first += station.cycles.size
    starts = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate(events), minlength=first))])
    return starts, np.concatenate(counters), np.concatenate(values)


def _rises(value: Ints) -> npt.NDArray[np.bool_]:
    """Return where an event waits for more than all before it, bool [waits, events]; so the first one, if at all."""
    most = np.maximum.accumulate(value, axis=1)
    rises: npt.NDArray[np.bool_] = np.concatenate([most[:, :1] > NO_WAIT, most[:, 1:] > most[:, :-1]], axis=1)
    return rises


def num_raised(stations: tuple[Station, ...]) -> Ints:
    """Return how often each counter is raised in a layer."""
    number = np.zeros(len(COUNTERS), dtype=np.int64)
    for station in stations:
        for raised in station.raises:
            every = station.cycles.size if raised.only == EVERY_EVENT else min(1, station.cycles.size)
            number[NUMBER[raised.counter]] += every
        if station.requests is not None:
            kinds = np.bincount(station.requests.kind, minlength=len(COUNTER_OF_KIND))
            for name, count in zip(COUNTER_OF_KIND, kinds, strict=True):
                number[NUMBER[name]] += count
    return number


class _Walked:
    """How many events this process has walked along in plain Python."""

    num_events = 0


@dataclass(slots=True)
class _Run:
    """A layer being solved: what `walk` reads and writes, as lists or as arrays."""

    table: Table
    tape: Tape
    times: Times
    memory: Row
    walk: Any = walk
    address: Ints | None = None


def _prepare(table: Table, hardware: HardwareConfig, before: Moment, called: bool, engine: Engine) -> _Run:
    """Return the rows of a layer that begins at the end of another one."""
    is_ideal = hardware.memory == "ideal"
    transfer = (
        np.zeros_like(table.num_bytes) if is_ideal
        else transfer_cycles(table.num_bytes, table.bus_cycles, hardware.dram, hardware.clock_mhz)
    )  # fmt: skip
    bus_left = np.cumsum(transfer[::-1])[::-1] - transfer
    reached = np.zeros(table.counter_first[-1], dtype=np.int64)
    for counter, values in enumerate(before.reached):
        base = int(table.base[counter])
        known = values[-min(len(values), base - int(table.counter_first[counter]) + 1) :]
        reached[base + 1 - len(known) : base + 1] = [before.end_cycle + cycle for cycle in known]
    memory = _memory_at(before.memory, before.end_cycle) or memory_row(hardware)
    if called:
        memory[KIND] = CALLED
    first, raised = table.event_first, table.raise_first
    kinds = np.array([NUMBER[name] for name in COUNTER_OF_KIND], dtype=np.int64)
    tape = Tape(
        first[:-1], first[1:], raised[:-1], raised[1:], table.has_requests, table.cycles, table.left, table.wait_first,
        table.wait_counter, table.wait_value, table.raises[0], table.raises[1], table.raises[2], table.raises[3],
        table.kinds, transfer, bus_left, table.base, kinds,
    )  # fmt: skip
    none = np.zeros(table.num_events, dtype=np.int64)
    times = Times(
        reached, np.zeros(len(COUNTERS), dtype=np.int64), none, none.copy(), np.zeros_like(transfer),
        np.array(before.free, dtype=np.int64) + before.end_cycle, first[:-1].copy(), np.zeros(1, dtype=np.int64),
        np.zeros_like(first[:-1]), np.zeros_like(first[:-1]),
    )  # fmt: skip
    compiled = compiled_walk() if _wants_compiled(engine, table.num_events) else None
    if compiled is not None:
        return _Run(table, tape, times, np.array(memory, dtype=np.int64), compiled)
    _Walked.num_events += table.num_events
    return _Run(table, Tape(*map(_listed, tape)), Times(*map(_listed, times)), memory)


def _memory_at(row: Sequence[int], cycle: int) -> list[int]:
    """Return the row of a memory whose cycles count from another one."""
    return [value + cycle if place in CYCLES_OF_MEMORY else value for place, value in enumerate(row)]


def _wants_compiled(engine: Engine, num_events: int) -> bool:
    """Return whether compiled code is used: where asked for, or where this process would do much in plain Python."""
    if engine == "auto":
        longer = 1 if is_compiled() else LONGER
        return _Walked.num_events + num_events > PATIENCE_EVENTS * longer or num_events > LARGE_LAYER * longer
    return engine == "compiled"


def _listed(part: Any) -> Any:
    return part.tolist() if isinstance(part, np.ndarray) else part


def layer_end(
    table: Table, hardware: HardwareConfig, before: Moment, limit: float = math.inf, engine: Engine = "auto"
) -> Moment | None:
    """Return the end of a layer; parameters as of `try_layer`."""
    found = try_layer(table, hardware, before, limit, engine)
    return None if found is None else found.after


def try_layer(
    table: Table, hardware: HardwareConfig, before: Moment, limit: float = math.inf, engine: Engine = "auto"
) -> Solution | None:
    """Return the times of a layer that begins at the end of another one, with the simple memory or the ideal one.

    None where it ends later than at cycle ``limit`` (the walk stops as soon as what is left of a station's own work, or
    of the memory's transfers, shows it), and where units wait for each other for ever.
    """
    run = _prepare(table, hardware, before, False, engine)
    result = run.walk(run.tape, run.times, run.memory, math.floor(min(NO_LIMIT, limit)))
    return Solution(run, before, _after(run, before)) if result == FINISHED else None


@dataclass(frozen=True, slots=True)
class Solution:
    """A layer whose events have been timed, of which only is made out what is asked for; ``after`` is its end."""

    run: _Run
    before: Moment
    after: Moment

    @property
    def table(self) -> Table:
        """Return the table of the layer."""
        return self.run.table

    def use(self, hardware: HardwareConfig) -> MemoryUse:
        """Return what the layer's requests make of the memory."""
        table, dma = self.table, STATIONS.index("dma")
        events = slice(*table.event_first[dma : dma + 2].tolist())
        times = (self.run.times.begin, self.run.times.end)
        begin, end = (np.asarray(each[events], dtype=np.int64) for each in times)
        return use_of_layer(table.kinds, table.num_bytes, begin + table.cycles[events], end, hardware)

    def layer(self) -> SolvedLayer:
        """Return the times of all events."""
        return _solved_layer(self.run, self.before, self.after)


def solve_layer(
    table: Table, hardware: HardwareConfig, before: Moment, memory: MemoryModel | None = None, engine: Engine = "auto"
) -> SolvedLayer:
    """Return the times of all events of a layer that begins at the end of another one.

    Parameters
    ----------
    memory
        An object that answers the requests in place of the simple memory or the ideal one.

    Raises
    ------
    SimulationError
        The units wait for each other for ever.
    """
    run = _prepare(table, hardware, before, memory is not None, engine)
    result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    while result == ASKS_MEMORY and memory is not None:
        _ask(run, memory, before)
        result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    if result == STUCK:
        done = (np.asarray(run.times.next_event, dtype=np.int64) - table.event_first[:-1]).tolist()
        count = np.asarray(run.times.count, dtype=np.int64).tolist()
        raise SimulationError(deadlock_message(table.schedule.name, table.source, done, count))
    return _solved_layer(run, before, _after(run, before))


def _solved_layer(run: _Run, before: Moment, after: Moment) -> SolvedLayer:
    table, times = run.table, Times(*(np.asarray(part, dtype=np.int64) for part in run.times))
    places = {
        station.name: slice(*ends) for station, ends in zip(table.source, pairwise(table.event_first), strict=True)
    }
    first = table.counter_first
    return SolvedLayer(
        begin={name: times.begin[place] for name, place in places.items()},
        end={name: times.end[place] for name, place in places.items()},
        reached={name: times.reached[first[number] : first[number + 1]] for name, number in NUMBER.items()},
        base={name: int(table.base[number] - first[number]) for name, number in NUMBER.items()},
        busy=times.busy,
        free={name: before.end_cycle + free for name, free in zip(STATIONS, before.free, strict=True)},
        start_cycle=before.end_cycle,
        after=after,
    )


def _after(run: _Run, before: Moment) -> Moment:
    """Return what the next layer begins with."""
    table, reached, count = run.table, run.times.reached, run.times.count
    tails = []
    for counter in range(len(COUNTERS)):
        last = int(table.base[counter]) + int(count[counter])
        kept = 1 + int(table.base[counter] - table.counter_first[counter])
        tails.append(tuple(int(cycle) for cycle in reached[last + 1 - kept : last + 1]))
    moved = np.bincount(table.kinds, table.num_bytes, len(COUNTER_OF_KIND)).astype(np.int64)
    end = tails[NUMBER["layers"]][-1]
    return Moment(
        end_cycle=end,
        free=tuple(int(cycle) - end for cycle in run.times.free),
        reached=tuple(tuple(cycle - end for cycle in tail) for tail in tails),
        memory=tuple(_memory_at([int(value) for value in run.memory], -end)),
        moved_bytes=tuple(int(here + earlier) for here, earlier in zip(moved, before.moved_bytes, strict=True)),
        schedule=table.schedule,
    )


def _ask(run: _Run, memory: MemoryModel, before: Moment) -> None:
    """Let the memory answer the request at which the walk has stopped."""
    table, times = run.table, run.times
    event = int(times.asked[0])
    station = int(np.searchsorted(table.event_first, event, side="right")) - 1
    request = event - int(table.event_first[station])
    if run.address is None:
        run.address = addresses(table.kinds, table.num_bytes, np.array(before.moved_bytes, dtype=np.int64))
    served = memory.serve(
        int(times.free[station]), int(run.address[request]), int(table.num_bytes[request]),
        bool(table.kinds[request] == STORE), int(table.bus_cycles[request]),
    )  # fmt: skip
    arrive(station, event, served.end_cycle, served.busy_cycles, run.tape, times)
    times.next_event[station] = event + 1


def deadlock_message(layer: str, stations: tuple[Station, ...], done: Sequence[int], count: Sequence[int]) -> str:
    """Return who waits for what, where units wait for each other for ever.

    Parameters
    ----------
    done
        Events that each station has ended.
    count
        What each counter has been raised by in this layer.
    """
    waits = []
    for station, event in zip(stations, done, strict=True):
        if event < station.cycles.size:
            waits += [
                f"{station.name} waits for {COUNTERS[wait.counter]} to reach {wait.value[event]} "
                f"(now {count[NUMBER[wait.counter]]})"
                for wait in station.waits
                if wait.value[event] > count[NUMBER[wait.counter]]
            ]
    step = done[STATIONS.index("pe_array")]
    return (
        f"deadlock in layer {layer}, step {step}: {'; '.join(waits)}; "
        "please report it with the hardware and workload files"
    )
