"""What the memory's commands and standby cost in closed form, where a run counts them by the gaps between requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.config.memory_device import device_of
from accelsim.mapping.prices import EnergyPrices
from accelsim.timing.power_states import num_ranks, openings_of, refresh_ns, sleeping_state, states_of_mean_gap

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Requests:
    """What tilings ask of the memory, float64 [orders, n]: cycles on the bus, gaps between requests, rows opened."""

    bus_cycles: Floats
    num_gaps: Floats
    num_openings: Floats

    def least(self) -> Requests:
        """Return what is asked of the memory at least: all at once, from open rows."""
        return Requests(self.bus_cycles, np.zeros(1), np.zeros(1))


def requests_of(
    hardware: HardwareConfig, bus_cycles: Floats, loads: Sequence[tuple[Floats, Floats]], stores: tuple[Floats, Floats]
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
    for num_bytes, number in loads:
        gaps = np.maximum(gaps, np.where(num_bytes > 0, number, 0.0))
        openings = openings + openings_of(num_bytes, number, hardware.dram)
    gaps = gaps + np.where(stores[0] > 0, stores[1], 0.0)
    return Requests(bus_cycles, gaps, openings + openings_of(*stores, hardware.dram))


def standby_pj(requests: Requests, latency: Floats, hardware: HardwareConfig, prices: EnergyPrices) -> Floats:
    """Return the energy of a memory's commands and states in tilings that take ``latency`` cycles, [orders, n]."""
    if prices.dram is None:
        return np.zeros(1)
    dram, price, unit_ns = hardware.dram, prices.dram, 1000 / hardware.clock_mhz
    time_ns = latency * unit_ns
    interval, _ = refresh_ns(dram, device_of(dram.standard))
    states = states_of_mean_gap(time_ns, requests.bus_cycles * unit_ns, requests.num_gaps, dram)
    of_time = price.num_refreshes / interval * time_ns + price.active * states.active
    of_time = of_time + price.precharged * states.precharged
    of_time = of_time + getattr(price, sleeping_state(dram)) * states.asleep
    pj: Floats = num_ranks(dram) * of_time + (price.num_activates + price.num_precharges) * requests.num_openings
    return pj
