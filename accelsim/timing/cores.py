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

Slots that run beside each other (stages of a pipeline, networks of their own) take their turns at a shared unit in the
order in which they are expected to need it.

Without a shared activation buffer, maps can stay in the buffers of the cores that make them: the network between cores
is one more station a core, which works through its transfers in order.

All events of a run stand in one table; orders are fixed, so that processes and solver give the same cycles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.timing.arbitration import arbitration_of
from accelsim.timing.core_lines import Line, in_turn, some_requests
from accelsim.timing.core_pieces import (
    FETCHED_FOR_ALL,
    FROM_CORES,
    PASSED,
    SHARED,
    CorePiece,
    Piece,
    PieceInSlot,
    Slot,
    core_name,
    core_name_of_all,
)
from accelsim.timing.memory import MemoryModel
from accelsim.timing.moment import STATIONS, Moment
from accelsim.timing.schedule import LayerSchedule, first_weights_fit
from accelsim.timing.solve import Engine, FlatTimes, SolvedLayer, solve_flat
from accelsim.timing.stations import (
    COUNTER_OF_KIND,
    COUNTERS,
    Raise,
    Requests,
    Station,
    Wait,
    layer_stations,
)
from accelsim.timing.table import FlatTable, flat_table

Ints = npt.NDArray[np.int64]
_SERVED = f"{SHARED}/served"
# A gate is an event of its own: fewer waits are cheaper as they are.
FEWEST_AT_GATE = 3
_WORDS = {
    **{f"{SHARED}_{name}": f"{COUNTERS[name]} for all cores" for name in FETCHED_FOR_ALL},
    **{f"network_{name}": COUNTERS[name].replace("DRAM", "other cores") for name in FROM_CORES},
    **COUNTERS,
    PASSED: "layers that cores wait for together with the first",
}


@dataclass(frozen=True, slots=True)
class System:
    """All stations of a run on several cores, and its pieces in order of slots and cores."""

    stations: tuple[Station, ...]
    number: Mapping[str, int]
    words: Mapping[str, str]
    pieces: tuple[CorePiece, ...]


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
        self.chosen: dict[tuple[int, tuple[int, ...], bool], Station] = {}
        self.beside: dict[str, list[_Beside]] = {}
        self.latest: dict[int, list[float]] = {core: [0.0] for core in range(hardware.num_cores)}
        self.floor = 0.0
        self.gates: dict[tuple[int, tuple[tuple[int, int], ...]], tuple[str, int]] = {}
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

    def slot(self, slot: Slot) -> list[PieceInSlot]:
        """Add the stations of a slot; what runs beside other slots stands in shared stations only after `finish`."""
        base = dict(self.raised)
        found = [PieceInSlot(core, piece, self._stations(core, piece), base) for core, piece in slot.pieces.items()]
        for one in found:
            one.gate = self._gate(found[0].core, one.piece.needs)
        self._begin(found)
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
        return found

    def _begin(self, found: list[PieceInSlot]) -> None:
        """Set the earliest turn of a slot: none before what its cores do first, or wait for.

        It is one for all shared units. Turns then follow what waits for what, in the same order everywhere, so that no
        unit serves a piece that waits for another that is served later.
        """
        needs = [need for one in found for need in (*one.piece.needs, (one.core, self.ended[one.core]))]
        self.floor = max(self.latest[core][number] for core, number in needs)
        for one in found:
            self.latest[one.core].append(self.floor)

    def _gate(self, first: int, needs: tuple[tuple[int, int], ...]) -> tuple[str, int] | None:
        """Return the counter and value at which all of ``needs`` have ended: many waits for many cores become one.

        Gates open in order, those of the slots with one ``first`` core: another network's would hold them up.
        """
        if len(needs) < FEWEST_AT_GATE:
            return None
        if (first, needs) not in self.gates:
            name, counter = core_name(first, "gate"), core_name(first, PASSED)
            if name not in self.lines:
                self._line(name, ())
            waits = tuple(Wait(core_name(core, "layers"), np.array([number])) for core, number in needs)
            self._add(self.lines[name], Station("", np.zeros(1, np.int64), waits, (Raise(counter),)))
            self.gates[first, needs] = counter, self.raised[counter]
        return self.gates[first, needs]

    def _stations(self, core: int, piece: Piece) -> tuple[Station, ...]:
        before, schedule = self.last.get(core), piece.schedule
        fits = before is not None and first_weights_fit(before, schedule, self.hardware)
        # By identity: to compare arrays takes longer than a table; `known` keeps them, so no identity comes again.
        key = id(schedule.compute_cycles), id(schedule.weights), id(schedule.inputs), id(schedule.outputs), fits
        if key not in self.known:  # equal parts of a layer are one schedule
            self.known[key] = schedule, layer_stations(schedule, self.hardware, fits)
        return self.known[key][1]

    def _for_all(self, found: list[PieceInSlot], slot: Slot) -> tuple[str, ...]:
        """Return the counters of what DRAM delivers to a buffer of all cores in this slot."""
        counters = []
        if "mask_buffer" in self.share and any(one.piece.schedule.uses_decoder for one in found):
            counters.append("fetched")
        if "activation_buffer" in self.share and _same_inputs(found, slot):
            counters.append("inputs")
        return tuple(counters)

    def _shared(self, unit: str, found: list[PieceInSlot], slot: Slot) -> None:
        """Add the events of a unit of all cores: a tile for all of them, or tiles of each in turn."""
        line = self.lines[core_name_of_all(unit)]
        parts = [(one, one.named(one.unit(unit))) for one in found]
        self._merge(line, unit, parts, _same_weights(found, slot), slot.begin_cycle)

    def _fetch_for_all(self, counter: str, found: list[PieceInSlot], slot: Slot) -> None:
        """Add the requests that a buffer of all cores is filled by."""
        line, kind = self.lines[core_name_of_all(f"dma_{counter}")], FETCHED_FOR_ALL[counter]
        together = counter == "inputs" or _same_weights(found, slot)
        parts = []
        for one in found:
            dma = one.unit("dma")
            assert dma.requests is not None  # it is the DMA engine
            chosen = one.named(self._some(dma, (kind,)))
            assert chosen.requests is not None
            asked = chosen.requests
            served = Requests(asked.kind, asked.num_bytes, asked.bus_cycles, (_SERVED,) * len(COUNTER_OF_KIND))
            # As many may be under way as have a place in the buffer.
            waits = tuple(wait for wait in chosen.waits if wait.counter != one.counters["done"])
            raises = (Raise(one.counters[counter]),)
            parts.append((one, Station(chosen.name, chosen.cycles, waits, raises, served)))
        self._merge(line, counter, parts, together, slot.begin_cycle)

    def _over_network(self, one: PieceInSlot) -> None:
        """Add the transfers from other cores, in the order of the program."""
        network, dma = self.hardware.core_network, one.unit("dma")
        if network is None or not one.piece.from_cores or dma.requests is None:
            return
        shares = {FROM_CORES[name]: share for name, share in one.piece.from_cores}
        chosen = np.isin(dma.requests.kind, list(shares))
        part = some_requests(dma, chosen)
        assert part.requests is not None
        kind = part.requests.kind
        share = np.array([shares.get(each, 0.0) for each in range(len(COUNTER_OF_KIND))])[kind]
        # Up twice: what crosses is whole bytes, and takes whole cycles.
        cycles = np.ceil(np.ceil(part.requests.num_bytes * share) / network.bytes_per_cycle).astype(np.int64)
        latency = round(network.hops * network.hop_cycles)
        raises = tuple(
            Raise(name, latency_cycles=latency, only=np.flatnonzero(kind == FROM_CORES[name]))
            for name, _ in one.piece.from_cores
        )
        waits = tuple(wait for wait in part.waits if wait.counter != "done")
        station = one.named(Station("network", cycles, waits, raises))
        one.put(
            "network", core_name(one.core, "network"), self._add(self.lines[core_name(one.core, "network")], station)
        )

    def _merge(
        self, line: Line, what: str, parts: list[tuple[PieceInSlot, Station]], together: bool, begin: int | None
    ) -> None:
        """Add events that are the same for all pieces once, others in turn; the first piece pays for the same."""
        if together and len(parts) > 1:
            first = parts[0][1]
            waits = tuple(wait for _, station in parts for wait in station.waits)
            raises = tuple(raised for _, station in parts for raised in station.raises)
            for one, _ in parts[1:]:
                one.follows.add(what)
            merged = [([one for one, _ in parts], replace(first, waits=waits, raises=raises))]
        else:
            merged = [([one], station) for one, station in parts]
        if begin is not None:
            self._beside(line, what, merged, begin)
            return
        stations = [station for _, station in merged]
        turns = [ones[0].tiles(what, station.cycles.size) for ones, station in merged]
        for (ones, _), own in zip(merged, self._in_order(line, stations, turns), strict=True):
            for one in ones:
                one.put(what, line.name, own)
        for station in stations:
            self._count(station)

    def _beside(self, line: Line, what: str, merged: list[tuple[list[PieceInSlot], Station]], begin: int) -> None:
        """Note events that wait for their place among those of other slots, with their turns."""
        for ones, station in merged:
            needed = [one.times(what, station.cycles.size) for one in ones]
            turns = np.maximum(begin + np.maximum.reduce(needed), self.floor)
            for one in ones:
                self.latest[one.core][-1] = float(turns.max(initial=self.latest[one.core][-1]))
            self._count(station)
            self.beside.setdefault(line.name, []).append(_Beside(what, ones, station, turns))

    def finish(self) -> None:
        """Put what runs side by side into the shared stations."""
        for name, every in self.beside.items():
            places = self._in_order(self.lines[name], [each.station for each in every], [each.turns for each in every])
            for each, own in zip(every, places, strict=True):
                for one in each.pieces:
                    one.put(each.what, name, own)

    def _in_order(self, line: Line, stations: Sequence[Station], turns: Sequence[npt.NDArray[Any]]) -> list[Ints]:
        """Add the events of stations to a line by their turns; return the place of each."""
        # Stable: at equal turns pieces go in the order of the program, in processes and solver alike.
        order = np.argsort(np.concatenate(turns), kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(order.size)
        own = np.split(places, np.cumsum([station.cycles.size for station in stations])[:-1])
        first = line.size
        line.add(in_turn(stations, own))
        return [first + each for each in own]

    def _own(self, one: PieceInSlot, for_all: tuple[str, ...]) -> None:
        """Add the events of the units that a core has for itself."""
        for station in one.stations:
            line = self.lines.get(core_name(one.core, station.name))
            if line is None:
                continue
            mine = station
            kinds = [FETCHED_FOR_ALL[name] for name in for_all]
            kinds += [FROM_CORES[name] for name, _ in one.piece.from_cores]
            if station.requests is not None and kinds:
                mine = self._some(station, tuple(kinds), others=True)
            one.put(station.name, line.name, self._add(line, one.named(mine)))

    def _some(self, dma: Station, kinds: tuple[int, ...], *, others: bool = False) -> Station:
        """Return the requests of some kinds, or the ``others``; equal pieces have one station (see `_stations`)."""
        key = id(dma), kinds, others
        if key not in self.chosen:
            assert dma.requests is not None  # it is the DMA engine
            self.chosen[key] = some_requests(dma, np.isin(dma.requests.kind, kinds, invert=others))
        return self.chosen[key]

    def _add(self, line: Line, station: Station) -> Ints:
        self._count(station)
        return line.add(station)

    def _count(self, station: Station) -> None:
        """Count what a station raises."""
        for raised in station.raises:
            self.raised[raised.counter] += station.cycles.size if raised.only is None else raised.only.size
        if station.requests is not None:
            kinds = np.bincount(station.requests.kind, minlength=len(COUNTER_OF_KIND)).tolist()
            for name, count in zip(station.requests.counters, kinds, strict=True):
                self.raised[name] += count


@dataclass(frozen=True, slots=True)
class _Beside:
    """Events of a shared unit that stand beside those of other slots, with the times at which they are needed."""

    what: str
    pieces: list[PieceInSlot]
    station: Station
    turns: npt.NDArray[np.float64]


def _same_weights(found: Sequence[PieceInSlot], slot: Slot) -> bool:
    """Return whether all cores need the same weight tiles in the same order, with the same work."""
    events = [one.piece.schedule.weights for one in found]
    return slot.alike == "weights" and all(
        _equal([getattr(each, name) for each in events]) for name in ("fetch_bytes", "decode_cycles", "generate_cycles")
    )


def _same_inputs(found: Sequence[PieceInSlot], slot: Slot) -> bool:
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


def build_system(slots: Sequence[Slot], hardware: HardwareConfig, *, with_pieces: bool = True) -> System:
    """Return the table of all cores of a run; without its pieces where nothing but times is wanted."""
    builder = _Builder(hardware)
    found = [(number, piece) for number, slot in enumerate(slots) for piece in builder.slot(slot)]
    builder.finish()
    pieces = [piece.done(number) for number, piece in found] if with_pieces else []
    # Each line goes when its station is there: of millions of events either takes hundreds of MB.
    stations = tuple(builder.lines.pop(name).station() for name in list(builder.lines))
    names = [core_name(core, name) for core in range(hardware.num_cores) for name in _WORDS]
    words = {_SERVED: "requests for all cores"}
    for core in range(hardware.num_cores):
        words |= {core_name(core, name): f"{text} of core {core}" for name, text in _WORDS.items()}
    number = {name: place for place, name in enumerate([*names, _SERVED])}
    return System(stations, number, words, tuple(pieces))


def table_of_system(system: System, hardware: HardwareConfig, is_timed: bool = False) -> FlatTable:
    """Return a system in flat arrays; ``is_timed`` as of `arbitration_of`."""
    return flat_table(system.stations, system.number, arbitration_of(hardware, is_timed))


def solve_system(
    system: System, hardware: HardwareConfig, memory: MemoryModel | None = None, engine: Engine = "auto"
) -> FlatTimes:
    """Return the times of all events; see `accelsim.timing.solve.solve_flat`."""
    table = table_of_system(system, hardware, memory is not None and hardware.has_timed_dram)
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
                # Not the end of the last event: a request ends when its data have come, and the DMA is free before.
                free[piece.core, station.name] = int(rows[station.name][0, -1] + station.cycles[-1])


def _rows(piece: CorePiece, station: Station, times: FlatTimes) -> Ints:
    """Return begin and end of a unit's events, and of requests the cycles on the bus, int64 [3, num_events]."""
    rows = np.zeros((3, station.cycles.size), dtype=np.int64)
    for place in piece.places[station.name]:
        rows[0, place.own] = times.begin[place.station][place.events]
        rows[1, place.own] = times.end[place.station][place.events]
        # What came once for all cores kept the bus once: one piece pays, and busy cycles add up.
        if place.station in times.busy and place.is_paid:
            rows[2, place.own] = times.busy[place.station][place.events]
    return rows
