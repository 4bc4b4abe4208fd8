"""The loops of the solver over plain integers: run by Python for a short run, compiled by numba for a long one.

With fixed orders of events every begin is a maximum of earlier times. Each station walks along its events as far as
what they wait for is known (`_issue`, `_work`); `walk` goes round the stations until nothing moves.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from accelsim.files import stamp_of
from accelsim.timing.arbitration import ALONE, OLDEST_FIRST
from accelsim.timing.memory import BUS_FREE, BUSY, CALLED, KIND, ONE_BUS, serve_simply
from accelsim.timing.program import STORE

Row = Any  # integers: a list for Python, an int64 array for numba

# What `walk` returns.
FINISHED, STUCK, TOO_LATE, ASKS_MEMORY = range(4)
NEVER = 1 << 62  # a value that no counter reaches
EVERY_EVENT, NO_MORE = -1, -2  # a raise that all events do; what stands behind the last event of one that some do

# Places in ``Tape.arbitration`` (`accelsim.timing.arbitration.Arbitration.row`).
POLICY, IS_APART, AHEAD = range(3)
# Places in ``Times.turn``: when the memory took the last request; then, for reads and for writes where they are chosen
# apart (else the first of each pair), the station that was served last, and when all data will have crossed.
LAST_START, LAST_SERVED, LAST_DATA = 0, 1, 3


class Tape(NamedTuple):
    """What the loops read, as lists or int64 arrays: a `Table` with the memory's part of each request.

    ``first_event``, ``last_event``, ``first_raise``, ``last_raise`` (each the one behind), ``has_requests`` and
    ``first_request`` are of stations; ``cycles``, ``left`` and ``wait_first`` of events; ``wait_*`` of waits;
    ``raise_*`` of raises; ``kinds``, ``request_counter``, ``transfer`` and ``bus_left`` (cycles on the bus of all
    behind a request) of requests; ``base`` of counters. ``only_events`` are the events of a raise that not all of them
    do, each list with `NO_MORE` behind it; ``arbitration`` [4]. ``asking`` are the stations with requests; ``raised``
    from ``raised_first`` on the counters that each station raises, each once.
    """

    first_event: Row
    last_event: Row
    first_raise: Row
    last_raise: Row
    has_requests: Row
    cycles: Row
    left: Row
    wait_first: Row
    wait_counter: Row
    wait_value: Row
    raise_counter: Row
    raise_at_begin: Row
    raise_latency: Row
    only_events: Row
    kinds: Row
    request_counter: Row
    transfer: Row
    bus_left: Row
    base: Row
    first_request: Row
    arbitration: Row
    asking: Row
    raised_first: Row
    raised: Row


class Times(NamedTuple):
    """What the loops write: times of counters and events, how far each counter and station has come, the bus.

    ``asked`` holds the request at which the walk has stopped for the memory's answer; ``waits_for`` and ``waits_until``
    the counter, and its value, for which each station waits. ``next_only`` is the next event of each raise
    (`EVERY_EVENT`), which stands at ``only_at`` of ``only_events``. ``parked`` is when each station has issued the
    request that waits for the memory (-1: none), ``turn`` whom the memory has served last. ``queue`` is a ring of
    stations to be looked at, ``queued`` where it begins and how many are in it; all others have ended, are parked, or
    stand in the list of the counter that they wait for: ``first_waiter`` of counters, ``next_waiter`` of stations.
    """

    reached: Row
    count: Row
    begin: Row
    end: Row
    busy: Row
    free: Row
    next_event: Row
    asked: Row
    waits_for: Row
    waits_until: Row
    next_only: Row
    only_at: Row
    parked: Row
    turn: Row
    queue: Row
    queued: Row
    first_waiter: Row
    next_waiter: Row


def _begin_cycle(station: int, event: int, free: int, tape: Tape, times: Times) -> int:
    """Return when a request begins, or -1 where that is not known yet."""
    counters, values, base = tape.wait_counter, tape.wait_value, tape.base
    count, reached = times.count, times.reached
    at = free
    for wait in range(tape.wait_first[event], tape.wait_first[event + 1]):
        counter, value = counters[wait], values[wait]
        if value > count[counter]:
            times.waits_for[station], times.waits_until[station] = counter, value
            return -1
        at = max(at, reached[base[counter] + value])
    return at


def _raise(counter: int, cycle: int, base: Row, times: Times) -> None:
    """Note that a counter has gone up; it never runs backwards."""
    place = base[counter] + times.count[counter]
    times.reached[place + 1] = max(cycle, times.reached[place])
    times.count[counter] += 1


def arrive(station: int, event: int, done: int, busy_cycles: int, tape: Tape, times: Times) -> None:
    """Note that a request's last word has crossed the bus."""
    request = tape.first_request[station] + event - tape.first_event[station]
    times.end[event] = done
    times.busy[request] = busy_cycles
    counter, reached = tape.request_counter[request], times.reached
    last = tape.base[counter] + times.count[counter]
    reached[last + 1] = max(done, reached[last])  # as `_raise`, for every request goes through here
    times.count[counter] += 1
    for place in range(tape.first_raise[station], tape.last_raise[station]):
        if times.next_only[place] != EVERY_EVENT:
            if times.next_only[place] != event - tape.first_event[station]:
                continue
            times.only_at[place] += 1
            times.next_only[place] = tape.only_events[times.only_at[place]]
        _raise(tape.raise_counter[place], done + tape.raise_latency[place], tape.base, times)


def _issue(station: int, tape: Tape, times: Times, memory: Row, limit: int) -> int:
    """Issue requests as far as what they wait for is known; return the next event, or minus a result of `walk`."""
    wait_first, counters, values, base = tape.wait_first, tape.wait_counter, tape.wait_value, tape.base
    reached, count, cycles, kinds, kind = times.reached, times.count, tape.cycles, tape.kinds, memory[KIND]
    first, free = tape.first_event[station], times.free[station]
    for event in range(times.next_event[station], tape.last_event[station]):
        at = free
        for wait in range(wait_first[event], wait_first[event + 1]):  # as `_begin_cycle`, see `_work`
            counter, value = counters[wait], values[wait]
            if value > count[counter]:
                times.waits_for[station], times.waits_until[station] = counter, value
                return event
            cycle = reached[base[counter] + value]
            if cycle > at:  # noqa: PLR1730
                at = cycle
        free = at + cycles[event]
        times.begin[event] = at
        times.free[station] = free
        request = event - first
        if kind == CALLED:
            times.asked[0] = event
            return -ASKS_MEMORY
        done = serve_simply(free, 1 if kinds[request] == STORE else 0, tape.transfer[request], memory)
        arrive(station, event, done, memory[BUSY], tape, times)
        # All that is left to move still has to cross the one bus before the layer can end.
        if kind == ONE_BUS and memory[BUS_FREE] + tape.bus_left[request] > limit:
            return -TOO_LATE
    return int(tape.last_event[station])


def _work(station: int, tape: Tape, times: Times, limit: int) -> int:
    """Take a station's events as far as what they wait for is known; return the next event, or minus `TOO_LATE`.

    `_begin_cycle` and `_raise` stand here once more, written out: most events go through here, and in plain Python
    their calls would take half of the time.
    """
    wait_first, counters, values, base = tape.wait_first, tape.wait_counter, tape.wait_value, tape.base
    reached, count, begin, end = times.reached, times.count, times.begin, times.end
    cycles, left, next_only, latency = tape.cycles, tape.left, times.next_only, tape.raise_latency
    raise_counter, at_begin = tape.raise_counter, tape.raise_at_begin
    raises = range(tape.first_raise[station], tape.last_raise[station])
    first, free = tape.first_event[station], times.free[station]
    for event in range(times.next_event[station], tape.last_event[station]):
        at = free
        for wait in range(wait_first[event], wait_first[event + 1]):
            counter, value = counters[wait], values[wait]
            if value > count[counter]:
                times.free[station] = free
                times.waits_for[station], times.waits_until[station] = counter, value
                return event
            cycle = reached[base[counter] + value]
            if cycle > at:  # noqa: PLR1730  a call of max takes as long as all else here
                at = cycle
        if at + left[event] > limit:
            return -TOO_LATE
        free = at + cycles[event]
        begin[event] = at
        end[event] = free
        for place in raises:
            only = next_only[place]
            if only != EVERY_EVENT:
                if only != event - first:
                    continue
                times.only_at[place] += 1
                next_only[place] = tape.only_events[times.only_at[place]]
            counter = raise_counter[place]
            last = base[counter] + count[counter]
            cycle = (at if at_begin[place] else free) + latency[place]
            reached[last + 1] = cycle if cycle > reached[last] else reached[last]
            count[counter] += 1
    times.free[station] = free
    return int(tape.last_event[station])


def _park(station: int, tape: Tape, times: Times) -> int:
    """Issue one request, which then waits until the memory takes it (`_granted`); return the next event."""
    event = times.next_event[station]
    if event < tape.last_event[station] and times.parked[station] < 0:
        at = _begin_cycle(station, event, times.free[station], tape, times)
        if at >= 0:
            times.begin[event] = at
            times.free[station] = at + tape.cycles[event]
            times.parked[station] = times.free[station]
    return int(event)


def queue_of(station: int, tape: Tape, times: Times) -> int:
    """Return 1 where a station's next request is a write that is chosen apart from reads, else 0."""
    request = tape.first_request[station] + times.next_event[station] - tape.first_event[station]
    return 1 if tape.arbitration[IS_APART] != 0 and tape.kinds[request] == STORE else 0


def _granted(tape: Tape, times: Times) -> int:
    """Return the station whose request the memory takes next, -1 where none waits; note when it takes it.

    All that can be known without another answer of the memory is known: no request that is not issued yet can be
    earlier than those that are.
    """
    if tape.arbitration[POLICY] != OLDEST_FIRST:
        return _next_in_turn(tape, times)
    oldest = -1
    for station in tape.asking:
        if times.parked[station] >= 0 and (oldest < 0 or times.parked[station] < times.parked[oldest]):
            oldest = station
    if oldest >= 0:  # none is taken before the one that was taken before it
        times.turn[LAST_START] = max(times.parked[oldest], times.turn[LAST_START])
    return int(oldest)


def _next_in_turn(tape: Tape, times: Times) -> int:
    """Return what `_granted` does where stations take turns, of reads and writes apart where they have queues."""
    turn = times.turn
    reads, writes = _taken(0, tape, times), _taken(1, tape, times)
    queue, taken = (1, writes) if writes < reads else (0, reads)
    chosen = -1  # the first one behind the one served last; of those up to it, where there is none, the first
    for station in tape.asking:
        if 0 <= times.parked[station] <= taken and queue_of(station, tape, times) == queue:
            if station > turn[LAST_SERVED + queue]:
                chosen = station
                break
            if chosen < 0:
                chosen = station
    if chosen >= 0:
        turn[LAST_START], turn[LAST_SERVED + queue] = taken, chosen
    return int(chosen)


def _taken(queue: int, tape: Tape, times: Times) -> int:
    """Return when the memory takes the next request of a queue, `NEVER` where none waits."""
    first = NEVER
    for station in tape.asking:
        if 0 <= times.parked[station] < first and queue_of(station, tape, times) == queue:
            first = times.parked[station]
    turn = times.turn
    return int(max(first, turn[LAST_START], turn[LAST_DATA + queue] - tape.arbitration[AHEAD + queue]))


def _serve(station: int, tape: Tape, times: Times, memory: Row) -> int:
    """Let the memory take the request of a station; return a result of `walk`."""
    event, start = times.next_event[station], times.turn[LAST_START]
    times.parked[station] = -1
    _look_at(station, times)
    if memory[KIND] == CALLED:
        times.asked[0] = event
        return ASKS_MEMORY
    request = tape.first_request[station] + event - tape.first_event[station]
    is_write = 1 if tape.kinds[request] == STORE else 0
    done = serve_simply(start, is_write, tape.transfer[request], memory)
    place = LAST_DATA + queue_of(station, tape, times)
    times.turn[place] = max(times.turn[place], done)
    arrive(station, event, done, memory[BUSY], tape, times)
    times.next_event[station] = event + 1
    return FINISHED


def _look_at(station: int, times: Times) -> None:
    """Put a station into the ring of those to be looked at."""
    num = len(times.queue)
    times.queue[(times.queued[0] + times.queued[1]) % num] = station
    times.queued[1] += 1


def _wake(station: int, tape: Tape, times: Times) -> None:
    """Look at the stations that have waited for what a station has raised."""
    raised, first_waiter = tape.raised, times.first_waiter
    for place in range(tape.raised_first[station], tape.raised_first[station + 1]):
        counter = raised[place]
        waiter, kept = first_waiter[counter], -1
        if waiter < 0:
            continue
        # The list is taken apart and put together again from those that still wait; its order decides about nothing.
        while waiter >= 0:
            behind = times.next_waiter[waiter]
            if times.count[counter] >= times.waits_until[waiter]:
                _look_at(waiter, times)
            else:
                times.next_waiter[waiter] = kept
                kept = waiter
            waiter = behind
        first_waiter[counter] = kept


def _go_round(tape: Tape, times: Times, memory: Row, limit: int) -> int:
    """Go round the stations until no event can be timed without the memory's choice; return a result of `walk`.

    Counters never run backwards, so that in which order stations are looked at decides about nothing.
    """
    queue, queued, has_requests, last_event = times.queue, times.queued, tape.has_requests, tape.last_event
    next_event, waits_for, num = times.next_event, times.waits_for, len(queue)
    is_alone = tape.arbitration[POLICY] == ALONE
    while queued[1] > 0:
        station = queue[queued[0]]
        queued[0] = (queued[0] + 1) % num
        queued[1] -= 1
        if not has_requests[station]:
            event = _work(station, tape, times, limit)
        elif is_alone:
            event = _issue(station, tape, times, memory, limit)
        else:
            event = _park(station, tape, times)
        if event < 0:
            _look_at(station, times)  # again, once the memory has answered
            return -event
        next_event[station] = event
        if event < last_event[station] and times.parked[station] < 0:
            counter = waits_for[station]
            times.next_waiter[station] = times.first_waiter[counter]
            times.first_waiter[counter] = station
        _wake(station, tape, times)
    return FINISHED


def walk(tape: Tape, times: Times, memory: Row, limit: int) -> int:
    """Go round the stations, and serve the requests of several, until no event can be timed any more.

    Returns `FINISHED`; `STUCK` where stations wait for each other for ever; `TOO_LATE` where the layer cannot end by
    cycle ``limit``; `ASKS_MEMORY` where a memory that is an object (`CALLED`) has to answer request ``times.asked``.
    """
    while True:
        result = _go_round(tape, times, memory, limit)
        if result != FINISHED:
            return result
        station = -1 if tape.arbitration[POLICY] == ALONE else _granted(tape, times)
        if station < 0:
            break
        result = _serve(station, tape, times, memory)
        if result != FINISHED:
            return result
    for station in range(len(tape.first_event)):
        if times.next_event[station] < tape.last_event[station]:
            return STUCK
    return FINISHED


@lru_cache(maxsize=1)
def compiled_walk() -> Any:
    """Return `walk` compiled, its machine code kept on disk where that can be written; None if numba is switched off.

    The first call after an installation compiles for some seconds.
    """
    import numba.extending  # noqa: PLC0415  a short run does without it

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    options: Any = _uncounted(numba)
    parts: list[Any] = [serve_simply, _begin_cycle, _raise, arrive, _issue, _work, _park, queue_of, _taken]
    parts += [_next_in_turn, _granted, _look_at, _serve, _wake, _go_round, walk]
    for part in parts:
        (numba.extending.register_jitable(**options) if options else numba.extending.register_jitable)(part)
    # Numba looks for changes in this file alone; a value that is closed over is part of the key of what it keeps.
    stamp = stamp_of(sorted(Path(__file__).parent.glob("*.py")))

    def entry(tape: Tape, times: Times, memory: Row, limit: int) -> int:
        return walk(tape, times, memory, limit) if stamp >= 0 else STUCK

    try:
        return numba.njit(cache=True, **options)(entry)
    except RuntimeError:  # no folder for the machine code can be written
        return numba.njit(**options)(entry)


def _uncounted(numba: Any) -> dict[str, bool]:
    """Return the option of numba that leaves references to arrays uncounted; nothing where numba does not have it.

    All arrays are the caller's, and none is made in the loops: numba would refuse to compile one that is. Counting, an
    atomic instruction for each of the forty arrays at every call, takes 16 times as long as the loops themselves: 430
    against 26 ns an event. The option is numba's own (it stands in the help of ``register_jitable``), and one that is
    not known is an error only when code is compiled.
    """
    known = getattr(getattr(numba.njit(_uncounted), "targetdescr", None), "options", None)
    return {"_nrt": False} if hasattr(known, "_nrt") else {}
