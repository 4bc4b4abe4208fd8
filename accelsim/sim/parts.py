"""Solve a network layer by layer, and a layer of very many tiles part by part."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from accelsim.config.hardware import HardwareConfig
from accelsim.sim.counters import LayerCounters
from accelsim.timing.accounts import Account, LayerTiming, Probe, account, condensed, joined
from accelsim.timing.memory import MemoryModel
from accelsim.timing.moment import Moment
from accelsim.timing.power_states import MemoryUse
from accelsim.timing.schedule import LayerSchedule, first_weights_fit
from accelsim.timing.solve import SolvedLayer, solve_layer
from accelsim.timing.stations import Station, layer_stations
from accelsim.timing.table import flatten

Form = Literal["auto", "python", "compiled"]


@dataclass(slots=True)
class Sums:
    """What the pieces of a layer add up to: DRAM bytes by class, actions by unit, bytes written, cycles lost at ports.

    ``port_cycles``: by the buffer that costs a piece most of them.
    """

    dram_bytes: dict[str, int]
    actions: dict[str, dict[str, int]]
    written_bytes: int = 0
    port_cycles: dict[str, int] = field(default_factory=dict)

    def add(self, piece: LayerSchedule) -> None:
        """Add the layer, or a part of it."""
        lost = {piece.port_limit: int(piece.stall_cycles.sum())} if piece.port_limit else {}
        self.join(Sums(piece.dram_bytes, piece.actions, int(piece.outputs.store_bytes.sum()), lost))

    def join(self, other: Sums) -> None:
        """Add what other pieces add up to."""
        for name, count in other.dram_bytes.items():
            self.dram_bytes[name] = self.dram_bytes.get(name, 0) + count
        for unit, counts in other.actions.items():
            own = self.actions.setdefault(unit, {})
            for name, count in counts.items():
                own[name] = own.get(name, 0) + count
        self.written_bytes += other.written_bytes
        for name, cycles in other.port_cycles.items():
            self.port_cycles[name] = self.port_cycles.get(name, 0) + cycles


@dataclass(frozen=True, slots=True)
class LayerRun:
    """A layer that has been run: its account, its sums, and how it leaves the chip (None: run as processes).

    It ran so many cycles ``later`` than its account says.
    """

    account: Account
    sums: Sums
    after: Moment | None = None
    later: int = 0

    @property
    def end_cycle(self) -> int:
        """Return the end of the layer."""
        return self.account.end_cycle + self.later

    @property
    def memory(self) -> MemoryUse:
        """Return when the layer used the memory."""
        return self.account.memory.shifted(self.later) if self.later else self.account.memory


def sums_of(pieces: Sequence[LayerSchedule]) -> Sums:
    """Return what the pieces of a layer add up to."""
    sums = Sums({}, {})
    for piece in pieces:
        sums.add(piece)
    return sums


def solve_layers(
    layers: Sequence[LayerSchedule],
    hardware: HardwareConfig,
    form: Form,
    probe: Probe | None,
    memory: MemoryModel | None,
    solved: SolvedLayers | None = None,
) -> Iterator[LayerRun]:
    """Yield layer by layer; each, and each part of a layer, is forgotten once its account is known.

    ``solved`` remembers whole layers, of this call and of earlier ones for the same chip with a simple memory.
    """
    moment = Moment()
    for place, layer in enumerate(layers):
        watch = _Watched(hardware, form, (probe, place), memory)
        run = _run(layer, moment, watch) if solved is None else solved.run(layer, moment, watch)
        moment = run.after or moment
        yield run


@dataclass(frozen=True, slots=True)
class _Watched:
    """How layers are solved: on which chip, by which form, who sees them, and a memory with a timing of its own."""

    hardware: HardwareConfig
    form: Form
    seen_by: tuple[Probe | None, int]
    memory: MemoryModel | None


def _run(layer: LayerSchedule, moment: Moment, watch: _Watched) -> LayerRun:
    """Return the run of a layer from the end of the one before; of its parts only condensed accounts are held."""
    if layer.parts is None:
        one, after = _solve(layer, watch, moment)
        return LayerRun(one, sums_of([layer]), after)
    known = _Known(watch.memory is None and watch.seen_by[0] is None)
    start, sums, accounts = moment.end_cycle, Sums({}, {}), []
    for place in range(len(layer.parts)):
        likeness = layer.parts.likeness(place)
        found = known.find(likeness, moment)
        if found is None:
            piece = layer.parts.part(place)
            one, after = _solve(piece, watch, moment)
            found = known.note(likeness, moment, _Solved(one, after, sums_of([piece])))
        accounts.append(condensed(found.account, start))
        sums.join(found.sums)
        moment = found.after
    return LayerRun(joined(accounts), sums, moment)


Recall = Callable[[LayerSchedule, Moment], tuple[tuple[Station, ...], SolvedLayer] | None]
"""Gives the stations and times of a layer that has been solved from an equal state, or None."""


class SolvedLayers:
    """Layers that have been solved, on one chip: an equal layer from an equal state takes as long.

    Equal are layers of one schedule under several names: the mapper makes the schedule of equal layers once. What the
    mapper has solved is taken from ``recall``.
    """

    def __init__(self, recall: Recall | None = None) -> None:
        self._recall = recall
        self._runs: dict[Hashable, tuple[LayerSchedule, LayerRun]] = {}
        self._counters: dict[Hashable, tuple[LayerSchedule, LayerCounters]] = {}

    def run(self, layer: LayerSchedule, before: Moment, watch: _Watched) -> LayerRun:
        """Return the run of a layer, solved where none like it is known; it does not say what earlier layers moved."""
        key = (id(layer.compute_cycles), id(layer.weights), id(layer.outputs), before.state())
        known = self._runs.get(key)
        if known is None:
            run = self._new(layer, before, watch)
            self._runs[key] = layer, run  # the layer stays, and with it the identities in the key
            return run
        found, end = known[1], known[1].after
        assert end is not None  # it was solved here
        later = before.end_cycle - found.account.start_cycle
        return LayerRun(found.account, found.sums, end.shifted(later - found.later), later)

    def counted(
        self,
        layer: LayerSchedule,
        run: LayerRun,
        timing: LayerTiming,
        count: Callable[[LayerSchedule, Sums, LayerTiming], LayerCounters],
    ) -> LayerCounters:
        """Return the counters of a run; equal runs of a layer have one object."""
        key = (id(layer), id(run.account), tuple(timing.busy_cycles.values()))
        known = self._counters.get(key)
        if known is None:
            known = self._counters[key] = layer, count(layer, run.sums, timing)
        return known[1]

    def _new(self, layer: LayerSchedule, before: Moment, watch: _Watched) -> LayerRun:
        recalled = self._recall(layer, before) if self._recall is not None and layer.parts is None else None
        if recalled is None:
            run = _run(layer, before, watch)
        else:
            stations, solved = recalled
            one = account(layer, stations, solved, watch.hardware)
            later = before.end_cycle - one.start_cycle
            run = LayerRun(one, sums_of([layer]), solved.after.shifted(later), later)
        # All that is asked for later is what was done ahead of the layer: spans of many events need not stay.
        return replace(run, account=condensed(run.account, run.account.start_cycle))


def _solve(piece: LayerSchedule, watch: _Watched, moment: Moment) -> tuple[Account, Moment]:
    """Return the account of a layer, or of a part of one, and its end."""
    hardware = watch.hardware
    fits = moment.schedule is not None and first_weights_fit(moment.schedule, piece, hardware)
    table = flatten(piece, layer_stations(piece, hardware, fits))
    solved = solve_layer(table, hardware, moment, watch.memory, watch.form)
    return account(piece, table.flat.source, solved, hardware, *watch.seen_by), solved.after


@dataclass(frozen=True, slots=True)
class _Solved:
    """What became of a part of a layer; ``after`` is its end."""

    account: Account
    after: Moment
    sums: Sums


class _Known:
    """Parts that have been solved: one like another, from an equal state, takes as long (see `Moment.state`).

    Nothing is remembered where ``remembers`` is False: a memory with rows and banks, or one who looks on.
    """

    def __init__(self, remembers: bool) -> None:
        self._remembers = remembers
        self._solved: dict[Hashable, _Solved] = {}

    def note(self, likeness: Hashable, before: Moment, part: _Solved) -> _Solved:
        """Remember what became of a part, without its events, and return it."""
        after = part.after
        if self._remembers:
            of_part = condensed(part.account, part.account.start_cycle)
            schedule = after.schedule and after.schedule.without_events()
            self._solved[likeness, before.state()] = replace(
                part, account=of_part, after=replace(after, schedule=schedule)
            )
        return part

    def find(self, likeness: Hashable, before: Moment) -> _Solved | None:
        """Return what becomes of a part that is like one that is known, or None."""
        known = self._solved.get((likeness, before.state()))
        if known is None:
            return None
        later = before.end_cycle - known.account.start_cycle
        moved = tuple(map(operator.add, before.moved_bytes, known.account.moved_bytes))
        return replace(
            known, account=known.account.shifted(later), after=replace(known.after.shifted(later), moved_bytes=moved)
        )
