"""What the memory's commands and standby cost in closed form, where a run counts them by the gaps between requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import device_of
from accelsim.mapping.latency_form import Work
from accelsim.timing.openings import openings_of
from accelsim.timing.power_states import DramStates, num_ranks, refresh_ns, sleeping_state, states_of_mean_gap

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Requests:
    """What tilings ask of the memory, float64 [orders, n]: cycles on the bus, gaps between requests, rows opened.

    ``own_cycles`` on the bus are without those of the first load's weights, which may come in the layer before.
    """

    bus_cycles: Floats
    own_cycles: Floats
    num_gaps: Floats
    num_openings: Floats


def requests_of(
    dram: DramConfig, work: Work, loads: Sequence[tuple[Floats, Floats]], stores: tuple[Floats, Floats]
) -> Requests:
    """Return what tilings ask of the memory.

    Loads of a step are asked for together, when a place is free; a step's results follow when they are done. Each
    request opens its own rows, since the one before was for another operand.

    Parameters
    ----------
    loads, stores
        (bytes, requests) of each operand that is read, and of the results.
    """
    gaps, openings = np.zeros(1), np.zeros(1)
    for num_bytes, tiles in loads:
        number = np.minimum(tiles, num_bytes / dram.burst_bytes)  # several tiles' weights may be in one burst
        gaps = np.maximum(gaps, number)
        openings = openings + openings_of(num_bytes, number, dram)
    gaps = gaps + np.where(stores[0] > 0, stores[1], 0.0)
    own = work.inputs + work.stores + work.others
    bus_cycles, own = work.weights + own, work.weights * (1 - 1 / work.loads_w) + own
    return Requests(bus_cycles, own, gaps, openings + openings_of(*stores, dram))


def standby_pj(requests: Requests, latency: Floats, hardware: HardwareConfig, price: DramStates) -> Floats:
    """Return the energy of a memory's commands and states in tilings that take ``latency`` cycles, [orders, n]."""
    dram, unit_ns = hardware.dram, 1000 / hardware.clock_mhz
    time_ns = latency * unit_ns
    states = states_of_mean_gap(time_ns, requests.bus_cycles * unit_ns, requests.num_gaps, dram)
    asleep = getattr(price, sleeping_state(dram))
    of_time = price.active * states.active + price.precharged * states.precharged + asleep * states.asleep
    of_time = num_ranks(dram) * (of_time + _refresh_mw(dram, price) * time_ns)
    pj: Floats = of_time + (price.num_activates + price.num_precharges) * requests.num_openings
    return pj


def least_standby_pj(requests: Requests, latency: Floats, hardware: HardwareConfig, price: DramStates) -> Floats:
    """Return what is spent in ``latency`` cycles at least: rows open while data move, else in the cheapest state."""
    dram, unit_ns = hardware.dram, 1000 / hardware.clock_mhz
    cheapest = min(price.precharged, getattr(price, sleeping_state(dram)))
    busy = np.minimum(requests.own_cycles, latency)
    of_time = (_refresh_mw(dram, price) + cheapest) * latency + (price.active - cheapest) * busy
    pj: Floats = num_ranks(dram) * unit_ns * of_time
    return pj


def _refresh_mw(dram: DramConfig, price: DramStates) -> float:
    return price.num_refreshes / refresh_ns(dram, device_of(dram.standard))[0]
