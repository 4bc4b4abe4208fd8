"""The times of all events of a layer: the longest path through its table of stations, layer by layer.

A layer's stations become a `Table` of flat integers; `accelsim.timing.walk` goes along it from the `Moment` at which
the layer before has ended, under a limit where the mapper has found something better already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.timing.arbitration import ALONE
from accelsim.timing.compiled import LONGER, is_compiled
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
    Station,
    layer_stations,
)
from accelsim.timing.table import FlatTable, Table, flatten
from accelsim.timing.walk import (
    ASKS_MEMORY,
    EVERY_EVENT,
    FINISHED,
    LAST_DATA,
    LAST_SERVED,
    LAST_START,
    POLICY,
    STUCK,
    Row,
    Tape,
    Times,
    arrive,
    compiled_walk,
    queue_of,
    walk,
)

Ints = npt.NDArray[np.int64]
Engine = Literal["auto", "python", "compiled"]
NO_LIMIT = (1 << 62) - 1

PATIENCE_EVENTS = 270_000  # loading compiled code takes 0.6 s of CPU, and saves 2.2 us an event
LARGE_LAYER = 50_000  # events; such a layer has others like it
# Events of several cores: trials of layers come first, and the run and its limits walk along more of them.
PATIENCE_OF_SYSTEMS = 20_000


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


class _Walked:
    """How many events this process has walked along in plain Python, and whether compiled code is there by now."""

    num_events = 0
    of_systems = 0
    is_loaded = False


@dataclass(slots=True)
class _Run:
    """A layer being solved: what `walk` reads and writes, as lists or as arrays."""

    table: FlatTable
    tape: Tape
    times: Times
    memory: Row
    walk: Any = walk
    address: Ints | None = None


def _prepare(table: FlatTable, hardware: HardwareConfig, before: Moment, called: bool, engine: Engine) -> _Run:
    """Return the rows of a layer that begins at the end of another one."""
    is_ideal = hardware.memory == "ideal"
    transfer = (
        np.zeros_like(table.num_bytes) if is_ideal
        else transfer_cycles(table.num_bytes, table.bus_cycles, hardware.dram, hardware.clock_mhz)
    )  # fmt: skip
    bus_left = np.cumsum(transfer[::-1])[::-1] - transfer  # what must still cross: a bound that ends hopeless walks
    reached = np.zeros(table.counter_first[-1], dtype=np.int64)
    for counter, values in enumerate(before.reached):
        base = int(table.base[counter])
        # Only values that events of this layer can still wait for have a place in front of it.
        known = values[-min(len(values), base - int(table.counter_first[counter]) + 1) :]
        reached[base + 1 - len(known) : base + 1] = [before.end_cycle + cycle for cycle in known]
    # A run begins without a row: the memory is cold.
    memory = _memory_at(before.memory, before.end_cycle) or memory_row(hardware)
    if called:
        memory[KIND] = CALLED  # the walk stops at each request, and `_ask` answers it
    first, raised = table.event_first, table.raise_first
    tape = Tape(
        first[:-1], first[1:], raised[:-1], raised[1:], table.has_requests, table.cycles, table.left, table.wait_first,
        table.wait_counter, table.wait_value, table.raises[0], table.raises[1], table.raises[2], table.only_events,
        table.kinds, table.request_counter, transfer, bus_left, table.base, table.first_request, table.arbitration,
        np.flatnonzero(table.has_requests), table.raised_first, table.raised,
    )  # fmt: skip
    none, nowhere = np.zeros(table.num_events, dtype=np.int64), np.zeros_like(first[:-1])
    only_at = np.maximum(table.raises[3], 0)
    next_only = np.where(table.raises[3] == EVERY_EVENT, EVERY_EVENT, table.only_events[only_at])
    turn = np.zeros(LAST_DATA + 2, dtype=np.int64)
    turn[LAST_SERVED:LAST_DATA] = nowhere.size - 1  # the first station is the first in turn
    times = Times(
        reached, np.zeros(table.base.size, dtype=np.int64), none, none.copy(), np.zeros_like(transfer),
        np.array(before.free or nowhere, dtype=np.int64) + before.end_cycle, first[:-1].copy(),
        np.zeros(1, dtype=np.int64), nowhere.copy(), nowhere.copy(), next_only, only_at, nowhere - 1, turn,
        np.arange(nowhere.size), np.array([0, nowhere.size]), np.full(table.base.size, -1), nowhere - 1,
    )  # fmt: skip
    compiled = compiled_walk() if _wants_compiled(engine, table.num_events) else None
    if compiled is not None:
        _Walked.is_loaded = True
        return _Run(table, tape, times, np.array(memory, dtype=np.int64), compiled)
    # Lists: indexing an array element by element takes plain Python several times as long.
    _Walked.num_events += table.num_events
    return _Run(table, Tape(*map(_listed, tape)), Times(*map(_listed, times)), memory)


def _memory_at(row: Sequence[int], cycle: int) -> list[int]:
    """Return the row of a memory whose cycles count from another one."""
    return [value + cycle if place in CYCLES_OF_MEMORY else value for place, value in enumerate(row)]


def _wants_compiled(engine: Engine, num_events: int) -> bool:
    """Return whether compiled code is used: where asked for, or where this process would do much in plain Python."""
    if engine == "auto":
        # The walk in plain Python costs nothing up front: compiled code must pay for its loading, or its making.
        longer = 1 if is_compiled() else LONGER
        many = _Walked.num_events + num_events > PATIENCE_EVENTS * longer or num_events > LARGE_LAYER * longer
        return many or _Walked.is_loaded or _Walked.of_systems > PATIENCE_OF_SYSTEMS * longer
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
    run = _prepare(table.flat, hardware, before, False, engine)
    result = run.walk(run.tape, run.times, run.memory, math.floor(min(NO_LIMIT, limit)))
    return Solution(run, before, _after(run, before, table.schedule), table) if result == FINISHED else None


@dataclass(frozen=True, slots=True)
class Solution:
    """A layer whose events have been timed, of which only is made out what is asked for; ``after`` is its end."""

    run: _Run
    before: Moment
    after: Moment
    table: Table

    def use(self, hardware: HardwareConfig) -> MemoryUse:
        """Return what the layer's requests make of the memory."""
        flat, dma = self.table.flat, STATIONS.index("dma")
        events = slice(*flat.event_first[dma : dma + 2].tolist())
        times = (self.run.times.begin, self.run.times.end)
        begin, end = (np.asarray(each[events], dtype=np.int64) for each in times)
        return use_of_layer(flat.kinds, flat.num_bytes, begin + flat.cycles[events], end, hardware)

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
    flat = table.flat
    run = _prepare(flat, hardware, before, memory is not None, engine)
    result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    while result == ASKS_MEMORY and memory is not None:
        _ask(run, memory, before.moved_bytes)
        result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    if result == STUCK:
        done = (np.asarray(run.times.next_event, dtype=np.int64) - flat.event_first[:-1]).tolist()
        count = np.asarray(run.times.count, dtype=np.int64).tolist()
        raise SimulationError(deadlock_message(table.schedule.name, flat.source, done, count))
    return _solved_layer(run, before, _after(run, before, table.schedule))


def _solved_layer(run: _Run, before: Moment, after: Moment) -> SolvedLayer:
    flat, times = run.table, Times(*(np.asarray(part, dtype=np.int64) for part in run.times))
    places = {station.name: slice(*ends) for station, ends in zip(flat.source, pairwise(flat.event_first), strict=True)}
    first = flat.counter_first
    return SolvedLayer(
        begin={name: times.begin[place] for name, place in places.items()},
        end={name: times.end[place] for name, place in places.items()},
        reached={name: times.reached[first[number] : first[number + 1]] for name, number in NUMBER.items()},
        base={name: int(flat.base[number] - first[number]) for name, number in NUMBER.items()},
        busy=times.busy,
        free={name: before.end_cycle + free for name, free in zip(STATIONS, before.free, strict=True)},
        start_cycle=before.end_cycle,
        after=after,
    )


def _after(run: _Run, before: Moment, schedule: LayerSchedule) -> Moment:
    """Return what the next layer begins with."""
    table, reached, count = run.table, run.times.reached, run.times.count
    tails = []
    for counter, known in enumerate(before.reached):
        base, first = int(table.base[counter]), int(table.counter_first[counter])
        earlier = [int(cycle) for cycle in reached[first : base + 1]]
        if len(known) > len(earlier):  # this layer waits for less of what was before than the next one may
            earlier = [before.end_cycle + cycle for cycle in known]
        last = base + int(count[counter])
        here = (int(cycle) for cycle in reached[max(base, last - len(earlier)) + 1 : last + 1])
        tails.append((*earlier, *here)[-len(earlier) :])
    moved = np.bincount(table.kinds, table.num_bytes, len(COUNTER_OF_KIND)).astype(np.int64)
    end = tails[NUMBER["layers"]][-1]
    # All cycles count from the layer's end, so that equal states of different layers are equal and are solved once.
    return Moment(
        end_cycle=end,
        free=tuple(int(cycle) - end for cycle in run.times.free),
        reached=tuple(tuple(cycle - end for cycle in tail) for tail in tails),
        memory=tuple(_memory_at([int(value) for value in run.memory], -end)),
        moved_bytes=tuple(int(here + earlier) for here, earlier in zip(moved, before.moved_bytes, strict=True)),
        schedule=schedule,
    )


def _ask(run: _Run, memory: MemoryModel, moved_bytes: Sequence[int]) -> None:
    """Let the memory answer the request at which the walk has stopped."""
    table, times = run.table, run.times
    event = int(times.asked[0])
    station = int(np.searchsorted(table.event_first, event, side="right")) - 1
    request = int(table.first_request[station]) + event - int(table.event_first[station])
    if run.address is None:
        run.address = addresses(table.kinds, table.num_bytes, np.array(moved_bytes, dtype=np.int64))
    # Alone, a request reaches the memory when the DMA has issued it; else when the arbiter has let it through.
    is_alone = table.arbitration[POLICY] == ALONE
    served = memory.serve(
        int(times.free[station] if is_alone else times.turn[LAST_START]), int(run.address[request]),
        int(table.num_bytes[request]), bool(table.kinds[request] == STORE), int(table.bus_cycles[request]),
    )  # fmt: skip
    place = LAST_DATA + queue_of(station, run.tape, times)
    times.turn[place] = max(int(times.turn[place]), served.end_cycle)
    arrive(station, event, served.end_cycle, served.busy_cycles, run.tape, times)
    times.next_event[station] = event + 1


@dataclass(frozen=True, slots=True)
class FlatTimes:
    """The times of all events of all stations, int64 each.

    Attributes
    ----------
    begin, end
        Station -> its events; of requests when they were issued, and when their last word had crossed.
    busy
        Station with requests -> cycles for which each kept the bus from others.
    reached
        Counter -> when it reached each value, from 0 on.
    """

    begin: dict[str, Ints]
    end: dict[str, Ints]
    busy: dict[str, Ints]
    reached: dict[str, Ints]


def solve_flat(
    table: FlatTable,
    number: Mapping[str, int],
    words: Mapping[str, str],
    hardware: HardwareConfig,
    memory: MemoryModel | None = None,
    engine: Engine = "auto",
) -> FlatTimes:
    """Return the times of all events of stations that begin with nothing on the chip.

    Parameters
    ----------
    number, words
        Counter -> its number in the table, and what it counts, for a message.
    memory
        As in `solve_layer`, which raises the same.
    """
    _Walked.of_systems += table.num_events
    run = _prepare(table, hardware, Moment(free=(), reached=()), memory is not None, engine)
    result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    while result == ASKS_MEMORY and memory is not None:
        _ask(run, memory, (0,) * len(COUNTER_OF_KIND))
        result = run.walk(run.tape, run.times, run.memory, NO_LIMIT)
    times = Times(*(np.asarray(part, dtype=np.int64) for part in run.times))
    first, base = table.event_first, table.base
    if result == STUCK:
        done = (times.next_event - first[:-1]).tolist()
        count = dict(zip(number, times.count.tolist(), strict=True))
        raise SimulationError(stuck_message("the run", table.source, done, count, words))
    places = {station.name: slice(*ends) for station, ends in zip(table.source, pairwise(first), strict=True)}
    return FlatTimes(
        begin={name: times.begin[place] for name, place in places.items()},
        end={name: times.end[place] for name, place in places.items()},
        busy={
            station.name: times.busy[begin : begin + station.cycles.size]
            for station, begin in zip(table.source, table.first_request.tolist(), strict=True)
            if station.requests is not None
        },
        reached={name: times.reached[base[place] : table.counter_first[place + 1]] for name, place in number.items()},
    )


def deadlock_message(layer: str, stations: tuple[Station, ...], done: Sequence[int], count: Sequence[int]) -> str:
    """Return who waits for what in a layer, where units wait for each other for ever.

    Parameters
    ----------
    done
        Events that each station has ended.
    count
        What each counter has been raised by in this layer.
    """
    where = f"layer {layer}, step {done[STATIONS.index('pe_array')]}"
    return stuck_message(where, stations, done, dict(zip(COUNTERS, count, strict=True)), COUNTERS)


def stuck_message(
    where: str,
    stations: tuple[Station, ...],
    done: Sequence[int],
    count: Mapping[str, int],
    words: Mapping[str, str],
) -> str:
    """Return who waits for what; ``words`` say what counters count, other parameters as `deadlock_message`."""
    waits = []
    for station, event in zip(stations, done, strict=True):
        if event < station.cycles.size:
            waits += [
                f"{station.name} waits for {words[wait.counter]} to reach {wait.value[event]} "
                f"(now {count[wait.counter]})"
                for wait in station.waits
                if wait.value[event] > count[wait.counter]
            ]
    return f"deadlock in {where}: {'; '.join(waits)}; please report it with the hardware and workload files"
