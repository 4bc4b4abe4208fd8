"""A piece of a layer on one of several cores: its stations, and where their events stand in the table of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.timing.accounts import WAIT_CORES
from accelsim.timing.program import INPUT, RESIDUAL, WEIGHT
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.stations import COUNTER_OF_KIND, COUNTERS, NO_WAIT, Raise, Requests, Station, Wait

Ints = npt.NDArray[np.int64]
Alike = Literal["weights", "inputs", "nothing"]
SHARED = "shared"
PASSED = "passed"  # of a slot's first core: pieces that many wait for alike have ended
FETCHED_FOR_ALL = {"fetched": WEIGHT, "inputs": INPUT}  # counter -> kind of the requests that raise it
FROM_CORES = {"inputs": INPUT, "residuals": RESIDUAL}


def core_name(core: int, unit: str) -> str:
    """Return the name of a core's station or counter."""
    return f"{core}/{unit}"


def core_name_of_all(unit: str) -> str:
    """Return the name of a station that all cores share."""
    return f"{SHARED}/{unit}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A layer, or a part of it, on one core.

    Attributes
    ----------
    needs
        (core, how many of its pieces must have ended before).
    from_cores
        ``inputs`` or ``residuals`` that lie in the activation buffers of the cores -> the share that comes from others:
        their requests are transfers of the network between cores, not of the memory.
    """

    schedule: LayerSchedule
    needs: tuple[tuple[int, int], ...] = ()
    from_cores: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """The pieces that cores work on together, by core, and what is alike for all of them.

    ``begin_cycle`` is when they are expected to begin, where other slots run beside this one: of a shared unit all such
    slots take what they need in the order of the times at which it is expected to be needed. None: no other runs
    beside it, and its turn is behind the slots before.
    """

    pieces: Mapping[int, Piece]
    alike: Alike = "nothing"
    begin_cycle: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where events of a core's unit stand: its ``own`` ones are ``events`` of a station of the whole table."""

    own: Ints
    station: str
    events: Ints
    is_paid: bool = True
    """Whether the core pays for them; else another one does, for both."""


@dataclass(frozen=True, slots=True)
class CorePiece:
    """A piece in the table of all.

    Attributes
    ----------
    stations
        As the core sees them, with what it waits for.
    places
        Unit -> where its events are.
    counters, base
        Counter as the core calls it -> its name in the table, and its value before the piece.
    follows
        What it is given together with another core, which pays for it: names of `FETCHED_FOR_ALL` and of units.
    from_cores
        As of the piece.
    """

    core: int
    slot: int
    schedule: LayerSchedule
    stations: tuple[Station, ...]
    places: Mapping[str, tuple[Place, ...]]
    counters: Mapping[str, str]
    base: Mapping[str, int]
    follows: frozenset[str]
    from_cores: tuple[tuple[str, float], ...] = ()


@dataclass
class PieceInSlot:
    """A piece while its slot is put together."""

    core: int
    piece: Piece
    stations: tuple[Station, ...]
    base: dict[str, int]
    counters: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[tuple[str, Ints]]] = field(default_factory=dict)
    follows: set[str] = field(default_factory=set)
    gate: tuple[str, int] | None = None
    """A counter, and its value when all has ended that the piece waits for; None: it waits for each core by itself."""

    @property
    def waits_for(self) -> list[tuple[str, int]]:
        """Return counters and values that must be reached before anything of the piece's layer begins."""
        if self.gate is not None:
            return [self.gate]
        return [(core_name(other, "layers"), number) for other, number in self.piece.needs]

    def rename(self, for_all: Iterable[str]) -> None:
        """Give the core's counters their names in the whole table."""
        self.counters = {name: core_name(self.core, name) for name in COUNTERS}
        for name in for_all:
            self.counters[name] = core_name(self.core, f"{SHARED}_{name}")
        for name, _ in self.piece.from_cores:
            self.counters[name] = core_name(self.core, f"network_{name}")

    def unit(self, name: str) -> Station:
        """Return one of the piece's stations."""
        return next(station for station in self.stations if station.name == name)

    def tiles(self, what: str, number: int) -> Ints:
        """Return the weight tile that each of a unit's events, or of the requests for a buffer, is for."""
        if what != "fetched":
            return np.arange(number, dtype=np.int64)
        # A tile whose bits lay in the burst of the one before moves nothing, and is no request.
        return np.flatnonzero(self.piece.schedule.weights.fetch_bytes).astype(np.int64)

    def times(self, what: str, number: int) -> npt.NDArray[np.float64]:
        """Return after how many cycles of the array each of a unit's events, or of the requests, is needed."""
        schedule = self.piece.schedule
        worked = np.concatenate([[0], np.cumsum(schedule.array_cycles)])
        if what == "inputs":
            asked = schedule.inputs.fetch_bytes > 0  # what moves nothing is no request
            return worked[schedule.inputs.step[asked]].astype(np.float64)
        return worked[schedule.weights.step[self.tiles(what, number)]].astype(np.float64)

    def named(self, station: Station) -> Station:
        """Return a station with counters of the whole table, whose values count from the begin of the run."""
        waits = []
        for wait in station.waits:
            name = self.counters[wait.counter]
            base = self.base.get(name, 0)
            waits.append(Wait(name, wait.value + base if base else wait.value))  # no wait stays far below zero
            if wait.counter == "layers" and self.waits_for:
                is_there = wait.value != NO_WAIT
                waits += [Wait(counter, np.where(is_there, number, NO_WAIT)) for counter, number in self.waits_for]
        raises = tuple(
            Raise(self.counters[raised.counter], raised.at_begin, raised.latency_cycles, raised.only)
            for raised in station.raises
        )
        requests = station.requests
        if requests is not None:
            counters = tuple(core_name(self.core, name) for name in COUNTER_OF_KIND)
            requests = Requests(requests.kind, requests.num_bytes, requests.bus_cycles, counters)
        return Station(station.name, station.cycles, tuple(waits), raises, requests)

    def put(self, what: str, station: str, events: Ints) -> None:
        """Note where events of a unit, or the requests that raise a counter, stand."""
        self.places.setdefault(what, []).append((station, events))

    def done(self, slot: int) -> CorePiece:
        """Return the piece in the whole table."""
        places = {}
        for station in self.stations:
            own = np.arange(station.cycles.size, dtype=np.int64)
            if station.requests is None:
                places[station.name] = tuple(
                    Place(own, name, events) for name, events in self.places.get(station.name, [])
                )
                continue
            parts, kinds = [], station.requests.kind
            for counter, kind in FETCHED_FOR_ALL.items():
                for name, events in self.places.get(counter, []):
                    parts.append(Place(own[kinds == kind], name, events, counter not in self.follows))
            diverted = np.flatnonzero(np.isin(kinds, [FROM_CORES[name] for name, _ in self.piece.from_cores]))
            parts += [Place(diverted, *place, is_paid=False) for place in self.places.get("network", [])]
            is_left = np.ones(own.size, dtype=np.bool_)
            for part in parts:
                is_left[part.own] = False
            parts += [Place(own[is_left], *place) for place in self.places.get(station.name, [])]
            places[station.name] = tuple(parts)
        return CorePiece(
            self.core, slot, self.piece.schedule, self._seen(), places, self.counters,
            {name: self.base.get(full, 0) for name, full in self.counters.items()}, frozenset(self.follows),
            self.piece.from_cores,
        )  # fmt: skip

    def _seen(self) -> tuple[Station, ...]:
        """Return the stations with the waits for other cores, which the array's cycles are charged for."""
        moved = {name for name, _ in self.piece.from_cores}
        is_split = bool({"network", *FETCHED_FOR_ALL} & set(self.places))

        def seen(station: Station) -> Station:
            waits = []
            for wait in station.waits:
                if wait.counter == "done" and is_split:  # of one engine, not of all that fetch for the core
                    continue
                if wait.counter in moved and wait.charge:
                    wait = replace(wait, charge="buffer_ports")  # noqa: PLW2901
                waits.append(wait)
                if wait.counter == "layers":
                    charge = WAIT_CORES if station.name == "pe_array" else ""
                    waits += [
                        Wait(counter, np.where(wait.value == NO_WAIT, NO_WAIT, number), charge)
                        for counter, number in self.waits_for
                    ]
            return Station(station.name, station.cycles, tuple(waits), station.raises, station.requests)

        return tuple(seen(station) for station in self.stations)
