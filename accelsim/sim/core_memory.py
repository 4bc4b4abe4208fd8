"""What a run on several cores makes of its memory: when it was used, and how many rows were opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.timing.cores import System
from accelsim.timing.memory import MemoryModel, addresses
from accelsim.timing.power_states import DramActivity, MemoryUse, activity_of, use_of_requests
from accelsim.timing.solve import FlatTimes
from accelsim.timing.stations import COUNTER_OF_KIND, Station

Ints = npt.NDArray[np.int64]


def activity_of_system(
    system: System, times: FlatTimes, end: int, hardware: HardwareConfig, memory: MemoryModel | None
) -> DramActivity | None:
    """Return what the run made of its memory; None of an ideal one."""
    if hardware.memory == "ideal":
        return None
    asked = [(station, station.requests) for station in system.stations if station.requests is not None]
    columns = [
        np.concatenate([times.begin[station.name] + station.cycles for station, _ in asked]),
        np.concatenate([times.end[station.name] for station, _ in asked]),
        np.concatenate([requests.kind for _, requests in asked]),
        np.concatenate([requests.num_bytes for _, requests in asked]),
        _slots_of_requests(system, [station for station, _ in asked]),
    ]
    order = np.argsort(columns[0], kind="stable")  # of requests at the same time those of a program in its order
    for place, column in enumerate(columns):
        columns[place] = column[order]  # one by one: of millions of requests a column takes 20 MB
    unit_ns = 1000 / hardware.clock_mhz
    measured = None if memory is None else memory.states(end)
    return activity_of(_use_by_slot(columns, unit_ns, hardware), end, unit_ns, hardware.dram, measured)


def _slots_of_requests(system: System, asked: Sequence[Station]) -> Ints:
    """Return the slot of each request, int64, one station behind the other."""
    slots = {station.name: np.zeros(station.cycles.size, dtype=np.int64) for station in asked}
    for piece in system.pieces:
        for place in piece.places["dma"]:
            if place.station in slots:
                slots[place.station][place.events] = piece.slot
    return np.concatenate(list(slots.values()))


def _use_by_slot(columns: Sequence[Ints], unit_ns: float, hardware: HardwareConfig) -> MemoryUse:
    """Return what requests in order of arrival make of the memory; rows are opened slot by slot, as on one core.

    ``columns`` are arrival, end, kind, bytes and slot.
    """
    arrival, done, kinds, num_bytes, slots = columns
    none, openings = np.zeros(len(COUNTER_OF_KIND), dtype=np.int64), 0.0
    if slots.size and slots.min() == slots.max():
        every: list[Ints | slice] = [slice(None)]
    else:
        order = np.argsort(slots, kind="stable")
        every = [*np.split(order, np.flatnonzero(np.diff(slots[order])) + 1)]
    for own in every:
        place = addresses(kinds[own], num_bytes[own], none)
        one = use_of_requests(arrival[own], done[own], place, num_bytes[own], unit_ns, hardware.dram)
        openings += one.num_openings
    whole = use_of_requests(arrival, done, None, num_bytes, unit_ns, hardware.dram)
    return replace(whole, num_openings=openings)
