"""Which unit decided, cycle by cycle, when a layer ended: the critical path, back from its end through its events.

An event began when the last of what it waited for had come: the event before it in its station, an event that raised a
counter, or the answer to a request; and an answer came when the bus was free of the one before, or when the memory had
had its time. Going back so from the layer's end to its begin passes each cycle once, in the unit that was at work on
what the end waited for. A faster other unit would not have ended the layer sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.timing.compiled import run_loop
from accelsim.timing.program import STORE
from accelsim.timing.solve import SolvedLayer
from accelsim.timing.stations import COUNTER_OF_KIND, Station

Ints = npt.NDArray[np.int64]
_NONE, _OPEN = -1, -2  # nothing within the layer; not found yet


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The layer's cycles by station: ``edge`` [n + 1] rises, ``before[name]`` [n + 1]: its cycles up to each edge."""

    edge: Ints
    before: Mapping[str, Ints]

    def between(self, station: str, first: Ints, last: Ints) -> Ints:
        """Return the cycles of a station on the path from each first to each last cycle."""
        known = self.before.get(station)
        if known is None or not known[-1]:  # never on the path
            return np.zeros_like(first)
        upto = np.interp(np.stack([first, last]), self.edge, known)
        # Within a stretch all cycles are one station's, so that the straight line is exact but for a float's last
        # digit.
        cycles: Ints = np.rint(upto[1] - upto[0]).astype(np.int64)
        return cycles


def reached_at(solved: SolvedLayer, counter: str, value: Ints) -> Ints:
    """Return when a counter reaches values; 0 where nothing is waited for."""
    base = solved.base[counter]
    cycles: Ints = np.where(value > -base - 1, solved.reached[counter][np.maximum(base + value, 0)], 0)
    return cycles


def critical_path(stations: tuple[Station, ...], solved: SolvedLayer, has_write_bus: bool) -> CriticalPath:
    """Return the path of a layer; ``has_write_bus``: whether reads and writes do not wait for each other's bus."""
    first = np.cumsum([0, *(station.cycles.size for station in stations)])
    num_events = int(first[-1])
    at = {station.name: int(place) for station, place in zip(stations, first[:-1], strict=True)}
    raiser = _raisers(stations, at, num_events)
    cause: list[Ints] = []  # of each node, the node that it waited for longest; nodes are events, then answers
    time: list[Ints] = []
    for station in stations:
        cause.append(_waited_longest(station, solved, at[station.name], raiser))
        time.append(solved.begin[station.name])
    number, dma = next((place, each) for place, each in enumerate(stations) if each.requests is not None)
    cause.append(_answers(dma, solved, at[dma.name], num_events, has_write_bus))
    time.append(solved.end[dma.name])
    every = np.concatenate(cause), np.concatenate(time)
    nodes = np.array(run_loop(_back, every[0].size, *every, at["sequencer"], solved.start_cycle), dtype=np.int64)
    owner = np.concatenate([
        np.repeat(np.arange(len(stations)), [station.cycles.size for station in stations]),
        np.full(dma.cycles.size, number),
    ])  # fmt: skip
    # From one node to the next the unit of the first is at work. What is before all of them is known of answers alone.
    nodes = nodes[::-1]
    edge, of = np.concatenate(time)[nodes], owner[nodes][:-1]
    if nodes[0] >= num_events and edge[0] > solved.start_cycle:
        edge, of = np.insert(edge, 0, solved.start_cycle), np.insert(of, 0, number)
    lengths = np.diff(np.maximum(edge, solved.start_cycle))
    # Nodes of one cycle are one edge: what is between edges is interpolated, so that they must rise.
    kept = np.append(True, lengths > 0)
    before = {
        station.name: np.append(0, np.cumsum(np.where(of == place, lengths, 0)))[kept]
        for place, station in enumerate(stations)
    }
    return CriticalPath(np.maximum(edge, solved.start_cycle)[kept], before)


def _back(cause: Any, time: Any, node: int, start_cycle: int) -> list[int]:
    """Return the nodes from one back to the layer's begin."""
    nodes = [node]
    # Requests of several engines that fetch for a core stand in one order here, which their answers need not have.
    while time[node] > start_cycle and cause[node] >= 0 and len(nodes) <= len(time):
        node = cause[node]
        nodes.append(node)
    return nodes


def _waited_longest(
    station: Station, solved: SolvedLayer, first: int, raiser: Mapping[str, Callable[[Ints], Ints]]
) -> Ints:
    """Return for each event the node at whose time it could begin: its own station's last event, before others."""
    begin = solved.begin[station.name]
    if not begin.size:
        return begin
    free = np.append(solved.free[station.name], (begin + station.cycles)[:-1])
    found = np.where(free == begin, first - 1 + np.arange(begin.size), _OPEN)
    # What the station did before this layer is no node of it.
    found[0] = _NONE if free[0] == begin[0] else _OPEN
    left = np.flatnonzero(found == _OPEN)
    for wait in station.waits:
        if not left.size:
            break
        value = wait.value[left]
        hit = reached_at(solved, wait.counter, value) == begin[left]
        if hit.any():
            found[left[hit]] = raiser[wait.counter](value[hit]) if wait.counter in raiser else _NONE
            left = left[~hit]
    found[left] = _NONE
    return found


def _raisers(
    stations: tuple[Station, ...], at: Mapping[str, int], num_events: int
) -> dict[str, Callable[[Ints], Ints]]:
    """Return for each counter what gives the nodes that raised it to values of this layer."""
    found: dict[str, Callable[[Ints], Ints]] = {}
    for station in stations:
        nodes = at[station.name] + np.arange(station.cycles.size)
        if station.requests is not None:
            nodes = num_events + np.arange(station.cycles.size)
            for kind, name in enumerate(COUNTER_OF_KIND):
                found[name] = _of(nodes[station.requests.kind == kind], 1)
        for counter in {each.counter for each in station.raises}:
            every = [each for each in station.raises if each.counter == counter]
            own = nodes if every[0].only is None else nodes[every[0].only]
            found[counter] = _of(own, len(every))
    return found


def _of(nodes: Ints, raises: int) -> Callable[[Ints], Ints]:
    """Return what gives the node of each value, where each node raises a counter so many times."""

    def node_of(value: Ints) -> Ints:
        place = (value - 1) // raises
        known = (value > 0) & (place < nodes.size)
        return np.where(known, nodes[np.where(known, place, 0)], _NONE) if nodes.size else np.full_like(value, _NONE)

    return node_of


def _answers(dma: Station, solved: SolvedLayer, first: int, num_events: int, has_write_bus: bool) -> Ints:
    """Return for each answer the one before it, where that had held the bus until its transfer; else its request."""
    if dma.requests is None or not dma.cycles.size:
        return np.zeros(0, dtype=np.int64)
    number, end = np.arange(dma.cycles.size), solved.end[dma.name]
    before = number - 1
    if has_write_bus:
        for of_bus in (dma.requests.kind == STORE, dma.requests.kind != STORE):
            own = np.flatnonzero(of_bus)
            before[own] = np.append(-1, own[:-1])[: own.size]
    end_before = end[np.maximum(before, 0)]
    # ``busy`` has the turnaround too: the bus was waited for where it had been held up to then, else the latency was.
    held = (before >= 0) & (end_before >= end - solved.busy) & (end_before <= end)
    return np.where(held, num_events + before, first + number)
