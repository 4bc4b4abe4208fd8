"""What became of every cycle of a layer: causes and busy times, from the times of its events.

The cycles in which the array waits are charged to the unit on the layer's critical path (`accelsim.timing.critical`):
a decoder that is slower than the array, but faster than the memory that feeds it, costs the layer nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.timing.critical import critical_path, reached_at
from accelsim.timing.memory import use_of_layer
from accelsim.timing.power_states import MemoryUse, joined_use
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import SolvedLayer
from accelsim.timing.stations import COUNTER_OF_KIND, Station, Wait

Ints = npt.NDArray[np.int64]
CAUSES = (
    "compute", "weight_load", "fill_drain", "buffer_ports", "wait_dram", "wait_generator", "wait_decoder",
    "wait_vector", "call_overhead", "other",
)  # fmt: skip
CAUSE_OF_STATION = {
    "dma": "wait_dram", "weight_generator": "wait_generator", "mask_decoder": "wait_decoder",
    "vector_unit": "wait_vector",
}  # fmt: skip
"""What waiting is called while a station is on the critical path; of others it is the wait's own charge."""
MADE = frozenset({"wait_generator", "wait_decoder"})
WAIT_CORES = "wait_cores"
OF_OTHER_CORES = (WAIT_CORES, "buffer_ports")
"""Charges of waits for other cores, and for the network between them: whatever the core itself is doing meanwhile."""


class Probe(Protocol):
    """Sees what each unit did; the timeline is one."""

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """Note that ``unit`` worked on item ``index`` from ``start_cycle`` to ``end_cycle``."""
        ...


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """What the run of a layer measured, in cycles and bytes.

    ``cycles_by_cause`` adds up to the latency. ``busy_cycles`` of each unit are those within the layer: what was worked
    for a later layer counts where it was done.
    """

    latency_cycles: int
    cycles_by_cause: dict[str, int]
    busy_cycles: dict[str, int]
    moved_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A unit's work on a layer: the cycles of what was decided on within it, and spans of what was before.

    ``early`` is int64 [2, num_events] of begin and end, from the layer's begin; None where there is none.
    """

    own_cycles: int
    early: Ints | None


@dataclass(frozen=True)
class Account:
    """One layer's own part: causes, and each unit's work as spans, int64 [2, num_events] of begin and end.

    ``asked`` is when the work was decided on: at its begin, of a request at its issue. ``memory`` is in cycles.
    """

    start_cycle: int
    end_cycle: int
    causes: dict[str, int]
    spans: dict[str, Ints]
    asked: dict[str, Ints]
    moved_bytes: tuple[int, ...]
    memory: MemoryUse = MemoryUse()

    def shifted(self, cycles: int) -> Account:
        """Return the same account some cycles later."""
        return replace(
            self,
            start_cycle=self.start_cycle + cycles,
            end_cycle=self.end_cycle + cycles,
            spans={name: spans + cycles for name, spans in self.spans.items()},
            asked={name: asked + cycles for name, asked in self.asked.items()},
            memory=self.memory.shifted(cycles),
        )

    @cached_property
    def work(self) -> dict[str, Work]:
        """Return the work of each unit."""
        found = {}
        for name, spans in self.spans.items():
            ahead = self.asked[name] < self.start_cycle
            early = spans[:, ahead] - self.start_cycle if ahead.any() else None
            found[name] = Work(int((spans[1] - spans[0])[~ahead].sum()), early)
        return found


def condensed(one: Account, start_cycle: int) -> Account:
    """Return an account in which each unit's work is one span as long as all, but for what was asked before a cycle.

    Of a layer's parts only work ahead of the whole layer has to be known one by one (`timings`).
    """
    spans, asked = {}, {}
    for name, every in one.spans.items():
        # A place of one sum does: busy times within the layer are only ever added up.
        ahead = one.asked[name] < start_cycle
        length = int((every[1] - every[0])[~ahead].sum())
        rest = np.array([[one.start_cycle], [one.start_cycle + length]], dtype=np.int64)
        spans[name] = np.concatenate([every[:, ahead], rest], axis=1)
        asked[name] = np.append(one.asked[name][ahead], one.start_cycle)
    return replace(one, spans=spans, asked=asked)


def joined(parts: list[Account]) -> Account:
    """Return the account of a layer from those of its parts, in order."""
    first = parts[0]
    return Account(
        start_cycle=first.start_cycle,
        end_cycle=parts[-1].end_cycle,
        causes={cause: sum(part.causes[cause] for part in parts) for cause in first.causes},
        spans={name: np.concatenate([part.spans[name] for part in parts], axis=1) for name in first.spans},
        asked={name: np.concatenate([part.asked[name] for part in parts]) for name in first.asked},
        moved_bytes=tuple(sum(numbers) for numbers in zip(*(part.moved_bytes for part in parts), strict=True)),
        memory=joined_use([part.memory for part in parts]),
    )


def timings(accounts: Sequence[Account]) -> tuple[LayerTiming, ...]:
    """Return the timing of each layer of a network; work ahead of its layer counts where it was done.

    An account may be that of an equal layer at another time: each layer begins where the one before has ended.
    """
    lengths = [account.end_cycle - account.start_cycle for account in accounts]
    ends = list(accumulate(lengths))
    busy = [{name: work.own_cycles for name, work in account.work.items()} for account in accounts]
    for place, account in enumerate(accounts):
        begin = ends[place] - lengths[place]
        for name, work in account.work.items():
            if work.early is None:
                continue
            # Work may reach back over several short layers: each gets the part that lies within it.
            early = begin + work.early
            for earlier in range(bisect_right(ends, int(early[0].min())), place + 1):
                start, end = ends[earlier] - lengths[earlier], ends[earlier]
                within = np.minimum(early[1], end) - np.maximum(early[0], start)
                busy[earlier][name] += int(np.maximum(within, 0).sum())
    return tuple(
        LayerTiming(length, account.causes, cycles, account.moved_bytes)
        for length, account, cycles in zip(lengths, accounts, busy, strict=True)
    )


def joined_timing(parts: Sequence[LayerTiming]) -> LayerTiming:
    """Return the timing of a layer from those of its pieces, between which others run."""
    return LayerTiming(
        latency_cycles=sum(part.latency_cycles for part in parts),
        cycles_by_cause=_sums([part.cycles_by_cause for part in parts]),
        busy_cycles=_sums([part.busy_cycles for part in parts]),
        moved_bytes=tuple(sum(numbers) for numbers in zip(*(part.moved_bytes for part in parts), strict=True)),
    )


def _sums(rows: Sequence[dict[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sum(row.get(name, 0) for row in rows) for name in names}


def account(
    schedule: LayerSchedule,
    stations: tuple[Station, ...],
    solved: SolvedLayer,
    hardware: HardwareConfig,
    probe: Probe | None = None,
    layer: int = 0,
    uses_memory: bool = True,
    is_charged: bool = True,
) -> Account:
    """Return the account of one layer; a ``probe`` is shown each slice of work and each wait of the array.

    Without ``uses_memory`` what its requests make of the memory is left out: another one knows it of all layers. If it
    is not ``is_charged``, the cycles of waits have no cause: nobody asks for them.
    Cycles in which a core waits for others have a cause of their own, `WAIT_CORES`; one core has none.
    """
    causes = dict.fromkeys(CAUSES, 0)
    # Of the array's own cycles the schedule knows the cause; only its waits depend on the others.
    causes["compute"] = int(schedule.compute_cycles.sum())
    causes["weight_load"] = int(schedule.weight_load_cycles.sum())
    causes["fill_drain"] = int(schedule.fill_drain_cycles.sum())
    causes["buffer_ports"] = int(schedule.stall_cycles.sum())
    causes["call_overhead"] = sum(int(one.cycles.sum()) for one in stations if one.name == "sequencer")
    waits = list(_charged_waits(stations, solved, hardware)) if is_charged else []
    for wait in waits:
        for cause, cycles in wait.shares:
            causes[cause] = causes.get(cause, 0) + int(cycles.sum())
    if probe is not None:
        _show_waits(probe, layer, waits)
    spans, asked = {}, {}
    for station in stations:
        begin, end = solved.begin[station.name], solved.end[station.name]
        if station.requests is not None:
            # A turnaround of an idle bus may lie before the request was asked for, even before the layer.
            spans["dram"], asked["dram"] = np.stack([np.maximum(end - solved.busy, begin), end]), begin
        elif station.name != "sequencer":
            spans[station.name], asked[station.name] = np.stack([begin, end]), begin
        if probe is not None:
            _show_work(probe, layer, station, solved)
    dma = next(station for station in stations if station.requests is not None)
    nothing = (0,) * len(COUNTER_OF_KIND), MemoryUse()
    return Account(
        solved.start_cycle, solved.after.end_cycle, causes, spans, asked,
        *(_memory_use(dma, solved, hardware) if uses_memory else nothing),
    )  # fmt: skip


def _memory_use(dma: Station, solved: SolvedLayer, hardware: HardwareConfig) -> tuple[tuple[int, ...], MemoryUse]:
    """Return the bytes moved by kind, and when the memory was used."""
    requests = dma.requests
    if requests is None or not requests.kind.size:
        return (0,) * len(COUNTER_OF_KIND), MemoryUse()
    moved = tuple(np.bincount(requests.kind, requests.num_bytes, len(COUNTER_OF_KIND)).astype(np.int64).tolist())
    # The memory is idle until a request has been issued, so its gaps end there and not where the DMA began.
    arrival, end = solved.begin[dma.name] + dma.cycles, solved.end[dma.name]
    return moved, use_of_layer(requests.kind, requests.num_bytes, arrival, end, hardware)


@dataclass(frozen=True, slots=True)
class _Waited:
    """Waits of a kind: event, first cycle, and the cycles by cause, int64 [num_waits] each."""

    event: Ints
    begin: Ints
    shares: tuple[tuple[str, Ints], ...]


def _steps(station: Station, solved: SolvedLayer) -> Iterator[tuple[Wait, Ints, Ints]]:
    """Yield each wait of a station, and from when to when each event waited there, in order."""
    begin = solved.begin[station.name]
    if not begin.size:
        return
    # Waits are taken in their order: what a later counter costs is what is left when the earlier ones were reached.
    at = np.concatenate([[solved.free[station.name]], (begin + station.cycles)[:-1]])
    for wait in station.waits:
        until = np.maximum(at, reached_at(solved, wait.counter, wait.value))
        yield wait, at, until
        at = until


def _charged_waits(stations: tuple[Station, ...], solved: SolvedLayer, hardware: HardwareConfig) -> Iterator[_Waited]:
    """Yield the waits that the layer's cycles are charged for: those of the array, and of the layer's end."""
    waits = [
        (station, wait.charge, event, at[event], until[event])
        for station in stations
        if any(wait.charge for wait in station.waits)
        for wait, at, until in _steps(station, solved)
        if wait.charge and (event := np.flatnonzero(until > at)).size
    ]
    if not waits:
        return  # the critical path takes longer to find than all the rest
    path = critical_path(stations, solved, hardware.dram.separate_write_bus)
    num_steps = next(station.cycles.size for station in stations if station.name == "pe_array")
    for station, charge, event, begin, stop in waits:
        shares = [] if charge in OF_OTHER_CORES else [
            # Decoder and generator have a tile together: the wait says which of them decides about it.
            (charge if {cause, charge} <= MADE else cause, path.between(name, begin, stop))
            for name, cause in CAUSE_OF_STATION.items()
        ]  # fmt: skip
        left = stop - begin - sum(cycles for _, cycles in shares)
        # The layer's end is shown behind the last step, where a reader of a timeline looks for it.
        behind = num_steps if station.name == "sequencer" else 0
        yield _Waited(event + behind, begin, (*shares, (charge, left)))


def _show_waits(probe: Probe, layer: int, waits: list[_Waited]) -> None:
    slices = []
    for wait in waits:
        start = wait.begin
        for cause, cycles in wait.shares:
            rows = zip(start.tolist(), cycles.tolist(), wait.event.tolist(), strict=True)
            slices += [(first, first + length, cause, event) for first, length, event in rows if length]
            start = start + cycles
    for first, last, cause, event in sorted(slices):
        probe.slice("stall", layer, cause, event, first, last)


def _show_work(probe: Probe, layer: int, station: Station, solved: SolvedLayer) -> None:
    begin, end = solved.begin[station.name].tolist(), solved.end[station.name].tolist()
    if station.requests is not None:
        rows = zip(station.requests.kind.tolist(), end, solved.busy.tolist(), strict=True)
        for event, (kind, stop, busy) in enumerate(rows):
            probe.slice("dram", layer, str(kind), event, stop - busy, stop)
        return
    for event in np.flatnonzero(station.cycles).tolist():
        probe.slice(station.name, layer, "", event, begin[event], end[event])
