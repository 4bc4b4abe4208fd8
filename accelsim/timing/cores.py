"""Several cores on one chip: the stations of each, those that they share, and one memory for all.

A core is the table of `accelsim.timing.stations` once more, its stations and counters named ``CORE/NAME``. Cores work
in *slots*: the pieces of one layer, one a core. What all pieces of a slot need alike is made once where its unit is
shared: a generator's words, a decoder's mask, the mask bits or inputs that DRAM delivers. It goes to all cores at the
same time, and waits until the last of them has room. A shared unit that makes something else for each core serves them
in turn, tile by tile.

================  ======================================  =================================================
shared unit       pieces need the same                    pieces need different ones
================  ======================================  =================================================
weight_generator  a tile's words go to all cores          tiles of the cores in turn
mask_decoder      a tile's mask goes to all cores         tiles of the cores in turn
mask_buffer       stored bits come once                   stored bits of the cores in turn
activation_buffer inputs come once                        each core fetches its own
================  ======================================  =================================================

Without a shared activation buffer, maps can stay in the buffers of the cores that make them: the network between cores
is one more station a core, which works through its transfers in order.

All events of a run stand in one table; orders are fixed, so that processes and solver give the same cycles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.timing.accounts import WAIT_CORES
from accelsim.timing.core_lines import Line, in_turn, joined, some_requests
from accelsim.timing.memory import MemoryModel
from accelsim.timing.moment import STATIONS, Moment
from accelsim.timing.program import INPUT, RESIDUAL, WEIGHT
from accelsim.timing.schedule import LayerSchedule, first_weights_fit
from accelsim.timing.solve import Engine, FlatTimes, SolvedLayer, solve_flat
from accelsim.timing.stations import (
    COUNTER_OF_KIND,
    COUNTERS,
    NO_WAIT,
    Raise,
    Station,
    Wait,
    layer_stations,
)
from accelsim.timing.table import FlatTable, flat_table
from accelsim.timing.walk import OLDEST_FIRST, ROUND_ROBIN

Ints = npt.NDArray[np.int64]
Alike = Literal["weights", "inputs", "nothing"]
ARBITRATION = {"oldest_first": OLDEST_FIRST, "round_robin": ROUND_ROBIN}
SHARED = "shared"
_FETCHED_FOR_ALL = {"fetched": WEIGHT, "inputs": INPUT}  # counter -> kind of the requests that raise it
_FROM_CORES = {"inputs": INPUT, "residuals": RESIDUAL}
_SERVED = f"{SHARED}/served"
_WORDS = {
    **{f"{SHARED}_{name}": f"{COUNTERS[name]} for all cores" for name in _FETCHED_FOR_ALL},
    **{f"network_{name}": COUNTERS[name].replace("DRAM", "other cores") for name in _FROM_CORES},
    **COUNTERS,
}


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
    """The pieces that cores work on together, by core, and what is alike for all of them."""

    pieces: Mapping[int, Piece]
    alike: Alike = "nothing"


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
        What it is given together with another core, which pays for it: names of `_FETCHED_FOR_ALL` and of units.
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


@dataclass(frozen=True, slots=True)
class System:
    """All stations of a run on several cores, and its pieces in order of slots and cores."""

    stations: tuple[Station, ...]
    number: Mapping[str, int]
    words: Mapping[str, str]
    pieces: tuple[CorePiece, ...]


def core_name(core: int, unit: str) -> str:
    """Return the name of a core's station or counter."""
    return f"{core}/{unit}"


class _Builder:
    """Puts the tables of pieces together."""

    def __init__(self, hardware: HardwareConfig) -> None:
        self.hardware = hardware
        self.share = frozenset(hardware.share)
        self.lines: dict[str, Line] = {}
        self.raised: Counter[str] = Counter()
        self.last: dict[int, LayerSchedule] = {}
        self.ended: Counter[int] = Counter()
        self.known: dict[tuple[object, ...], tuple[LayerSchedule, tuple[Station, ...]]] = {}
        for core in range(hardware.num_cores):
            for unit in STATIONS:
                if unit not in self.share:
                    kinds = tuple(core_name(core, name) for name in COUNTER_OF_KIND) if unit == "dma" else ()
                    self._line(core_name(core, unit), kinds)
            if hardware.core_network is not None:
                self._line(core_name(core, "network"), ())
        for unit in ("mask_decoder", "weight_generator"):
            if unit in self.share:
                self._line(core_name_of_all(unit), ())
        for counter, unit in (("fetched", "mask_buffer"), ("inputs", "activation_buffer")):
            if unit in self.share:
                self._line(core_name_of_all(f"dma_{counter}"), (_SERVED,) * len(COUNTER_OF_KIND))

    def _line(self, name: str, asked: tuple[str, ...]) -> None:
        self.lines[name] = Line(name, asked)

    def slot(self, number: int, slot: Slot) -> list[CorePiece]:
        """Add the stations of a slot."""
        base = dict(self.raised)
        found = [_Piece(core, piece, self._stations(core, piece), base) for core, piece in slot.pieces.items()]
        for_all = self._for_all(found, slot)
        for one in found:
            one.rename(for_all)
        for unit in ("mask_decoder", "weight_generator"):
            if unit in self.share:
                self._shared(unit, found, slot)
        for counter in for_all:
            self._fetch_for_all(counter, found, slot)
        for one in found:
            self._over_network(one)
            self._own(one, for_all)
        for one in found:
            self.last[one.core] = one.piece.schedule
            self.ended[one.core] += 1
        return [one.done(number) for one in found]

    def _stations(self, core: int, piece: Piece) -> tuple[Station, ...]:
        before, schedule = self.last.get(core), piece.schedule
        fits = before is not None and first_weights_fit(before, schedule, self.hardware)
        key = id(schedule.compute_cycles), id(schedule.weights), id(schedule.inputs), id(schedule.outputs), fits
        if key not in self.known:  # equal parts of a layer are one schedule
            self.known[key] = schedule, layer_stations(schedule, self.hardware, fits)
        return self.known[key][1]

    def _for_all(self, found: list[_Piece], slot: Slot) -> tuple[str, ...]:
        """Return the counters of what DRAM delivers to a buffer of all cores in this slot."""
        counters = []
        if "mask_buffer" in self.share and any(one.piece.schedule.uses_decoder for one in found):
            counters.append("fetched")
        if "activation_buffer" in self.share and _same_inputs(found, slot):
            counters.append("inputs")
        return tuple(counters)

    def _shared(self, unit: str, found: list[_Piece], slot: Slot) -> None:
        """Add the events of a unit of all cores: a tile for all of them, or tiles of each in turn."""
        line = self.lines[core_name_of_all(unit)]
        parts = [(one, one.named(one.unit(unit))) for one in found]
        self._merge(line, unit, parts, _same_weights(found, slot))

    def _fetch_for_all(self, counter: str, found: list[_Piece], slot: Slot) -> None:
        """Add the requests that a buffer of all cores is filled by."""
        line, kind = self.lines[core_name_of_all(f"dma_{counter}")], _FETCHED_FOR_ALL[counter]
        together = counter == "inputs" or _same_weights(found, slot)
        parts = []
        for one in found:
            dma = one.unit("dma")
            assert dma.requests is not None  # it is the DMA engine
            chosen = one.named(some_requests(dma, dma.requests.kind == kind))
            assert chosen.requests is not None
            served = replace(chosen.requests, counters=(_SERVED,) * len(COUNTER_OF_KIND))
            # As many may be under way as have a place in the buffer.
            waits = tuple(wait for wait in chosen.waits if wait.counter != one.counters["done"])
            raises = (Raise(one.counters[counter]),)
            parts.append((one, replace(chosen, requests=served, raises=raises, waits=waits)))
        self._merge(line, counter, parts, together)

    def _over_network(self, one: _Piece) -> None:
        """Add the transfers from other cores, in the order of the program."""
        network, dma = self.hardware.core_network, one.unit("dma")
        if network is None or not one.piece.from_cores or dma.requests is None:
            return
        shares = {_FROM_CORES[name]: share for name, share in one.piece.from_cores}
        chosen = np.isin(dma.requests.kind, list(shares))
        part = some_requests(dma, chosen)
        assert part.requests is not None
        kind = part.requests.kind
        share = np.array([shares.get(each, 0.0) for each in range(len(COUNTER_OF_KIND))])[kind]
        cycles = np.ceil(np.ceil(part.requests.num_bytes * share) / network.bytes_per_cycle).astype(np.int64)
        latency = round(network.hops * network.hop_cycles)
        raises = tuple(
            Raise(name, latency_cycles=latency, only=np.flatnonzero(kind == _FROM_CORES[name]))
            for name, _ in one.piece.from_cores
        )
        waits = tuple(wait for wait in part.waits if wait.counter != "done")
        station = one.named(Station("network", cycles, waits, raises))
        one.put(
            "network", core_name(one.core, "network"), self._add(self.lines[core_name(one.core, "network")], station)
        )

    def _merge(self, line: Line, what: str, parts: list[tuple[_Piece, Station]], together: bool) -> None:
        """Add events that are the same for all pieces once, others in turn; the first piece pays for the same."""
        if together and len(parts) > 1:
            first = parts[0][1]
            waits = tuple(wait for _, station in parts for wait in station.waits)
            raises = tuple(raised for _, station in parts for raised in station.raises)
            events = self._add(line, replace(first, waits=waits, raises=raises))
            for place, (one, _) in enumerate(parts):
                one.put(what, line.name, events)
                if place:
                    one.follows.add(what)
            return
        turns = np.concatenate([one.tiles(what, station.cycles.size) for one, station in parts])
        order = np.argsort(turns, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(order.size)
        ends = np.cumsum([station.cycles.size for _, station in parts])[:-1]
        for (one, _), own in zip(parts, np.split(places, ends), strict=True):
            one.put(what, line.name, line.size + own)
        self._add(line, in_turn([station for _, station in parts], np.split(places, ends)))

    def _own(self, one: _Piece, for_all: tuple[str, ...]) -> None:
        """Add the events of the units that a core has for itself."""
        for station in one.stations:
            line = self.lines.get(core_name(one.core, station.name))
            if line is None:
                continue
            mine = station
            kinds = [_FETCHED_FOR_ALL[name] for name in for_all]
            kinds += [_FROM_CORES[name] for name, _ in one.piece.from_cores]
            if station.requests is not None and kinds:
                mine = some_requests(station, ~np.isin(station.requests.kind, kinds))
            one.put(station.name, line.name, self._add(line, one.named(mine)))

    def _add(self, line: Line, station: Station) -> Ints:
        for raised in station.raises:
            self.raised[raised.counter] += station.cycles.size if raised.only is None else raised.only.size
        if station.requests is not None:
            kinds = np.bincount(station.requests.kind, minlength=len(COUNTER_OF_KIND)).tolist()
            for name, count in zip(station.requests.counters, kinds, strict=True):
                self.raised[name] += count
        return line.add(station)


def core_name_of_all(unit: str) -> str:
    """Return the name of a station that all cores share."""
    return f"{SHARED}/{unit}"


@dataclass
class _Piece:
    """A piece while its slot is put together."""

    core: int
    piece: Piece
    stations: tuple[Station, ...]
    base: dict[str, int]
    counters: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[tuple[str, Ints]]] = field(default_factory=dict)
    follows: set[str] = field(default_factory=set)

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
        return np.flatnonzero(self.piece.schedule.weights.fetch_bytes).astype(np.int64)

    def named(self, station: Station) -> Station:
        """Return a station with counters of the whole table, whose values count from the begin of the run."""
        waits = []
        for wait in station.waits:
            name = self.counters[wait.counter]
            is_there = wait.value != NO_WAIT
            waits.append(Wait(name, np.where(is_there, wait.value + self.base.get(name, 0), NO_WAIT)))
            if wait.counter == "layers":
                waits += [
                    Wait(core_name(other, "layers"), np.where(is_there, number, NO_WAIT))
                    for other, number in self.piece.needs
                ]
        raises = tuple(replace(raised, counter=self.counters[raised.counter]) for raised in station.raises)
        requests = station.requests
        if requests is not None:
            requests = replace(requests, counters=tuple(core_name(self.core, name) for name in COUNTER_OF_KIND))
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
            for counter, kind in _FETCHED_FOR_ALL.items():
                for name, events in self.places.get(counter, []):
                    parts.append(Place(own[kinds == kind], name, events, counter not in self.follows))
            diverted = np.flatnonzero(np.isin(kinds, [_FROM_CORES[name] for name, _ in self.piece.from_cores]))
            parts += [Place(diverted, *place, is_paid=False) for place in self.places.get("network", [])]
            taken = joined([part.own for part in parts])
            parts += [Place(np.setdiff1d(own, taken), *place) for place in self.places.get(station.name, [])]
            places[station.name] = tuple(parts)
        return CorePiece(
            self.core, slot, self.piece.schedule, self._seen(), places, self.counters,
            {name: self.base.get(full, 0) for name, full in self.counters.items()}, frozenset(self.follows),
            self.piece.from_cores,
        )  # fmt: skip

    def _seen(self) -> tuple[Station, ...]:
        """Return the stations with the waits for other cores, which the array's cycles are charged for."""
        moved = {name for name, _ in self.piece.from_cores}
        is_split = bool({"network", *_FETCHED_FOR_ALL} & set(self.places))

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
                        Wait(core_name(other, "layers"), np.where(wait.value == NO_WAIT, NO_WAIT, number), charge)
                        for other, number in self.piece.needs
                    ]
            return replace(station, waits=tuple(waits))

        return tuple(seen(station) for station in self.stations)


def _same_weights(found: Sequence[_Piece], slot: Slot) -> bool:
    """Return whether all cores need the same weight tiles in the same order, with the same work."""
    events = [one.piece.schedule.weights for one in found]
    return slot.alike == "weights" and all(
        _equal([getattr(each, name) for each in events]) for name in ("fetch_bytes", "decode_cycles", "generate_cycles")
    )


def _same_inputs(found: Sequence[_Piece], slot: Slot) -> bool:
    """Return whether all cores need the same input tiles in the same steps, so that none waits for one that waits."""
    schedules = [one.piece.schedule for one in found]
    return slot.alike == "inputs" and all(
        _equal(rows)
        for rows in (
            [each.inputs.fetch_bytes for each in schedules],
            [each.inputs.step for each in schedules],
            [each.weights.step for each in schedules],
        )
    )


def _equal(rows: Sequence[Ints]) -> bool:
    return all(np.array_equal(row, rows[0]) for row in rows)


def build_system(slots: Sequence[Slot], hardware: HardwareConfig) -> System:
    """Return the table of all cores of a run."""
    builder = _Builder(hardware)
    pieces = [piece for number, slot in enumerate(slots) for piece in builder.slot(number, slot)]
    stations = tuple(line.station() for line in builder.lines.values())
    names = [core_name(core, name) for core in range(hardware.num_cores) for name in _WORDS]
    words = {_SERVED: "requests for all cores"}
    for core in range(hardware.num_cores):
        words |= {core_name(core, name): f"{text} of core {core}" for name, text in _WORDS.items()}
    number = {name: place for place, name in enumerate([*names, _SERVED])}
    return System(stations, number, words, tuple(pieces))


def table_of_system(system: System, hardware: HardwareConfig) -> FlatTable:
    """Return a system in flat arrays."""
    return flat_table(system.stations, system.number, ARBITRATION[hardware.dram.arbitration])


def solve_system(
    system: System, hardware: HardwareConfig, memory: MemoryModel | None = None, engine: Engine = "auto"
) -> FlatTimes:
    """Return the times of all events; see `accelsim.timing.solve.solve_flat`."""
    table = table_of_system(system, hardware)
    return solve_flat(table, system.number, system.words, hardware, memory, engine)


def solved_pieces(system: System, times: FlatTimes) -> Iterator[tuple[CorePiece, SolvedLayer]]:
    """Yield each piece with the times of its events, as those of a layer on a chip with one core."""
    free: dict[tuple[int, str], int] = {}
    for piece in system.pieces:
        rows = {station.name: _rows(piece, station, times) for station in piece.stations}
        layers, number = times.reached[core_name(piece.core, "layers")], piece.base["layers"]
        reached = {name: times.reached[full] for name, full in piece.counters.items()}
        others = {wait.counter for station in piece.stations for wait in station.waits} - set(reached)
        yield (
            piece,
            SolvedLayer(
                begin={name: row[0] for name, row in rows.items()},
                end={name: row[1] for name, row in rows.items()},
                reached=reached | {name: times.reached[name] for name in others},
                base={**piece.base, **dict.fromkeys(others, 0)},
                busy=next(rows[station.name][2] for station in piece.stations if station.requests is not None),
                free={name: free.get((piece.core, name), 0) for name in rows},
                start_cycle=int(layers[number]),
                after=Moment(end_cycle=int(layers[number + 1])),
            ),
        )
        for station in piece.stations:
            if station.cycles.size:
                free[piece.core, station.name] = int(rows[station.name][0, -1] + station.cycles[-1])


def _rows(piece: CorePiece, station: Station, times: FlatTimes) -> Ints:
    """Return begin and end of a unit's events, and of requests the cycles on the bus, int64 [3, num_events]."""
    rows = np.zeros((3, station.cycles.size), dtype=np.int64)
    for place in piece.places[station.name]:
        rows[0, place.own] = times.begin[place.station][place.events]
        rows[1, place.own] = times.end[place.station][place.events]
        if place.station in times.busy and place.is_paid:
            rows[2, place.own] = times.busy[place.station][place.events]
    return rows
