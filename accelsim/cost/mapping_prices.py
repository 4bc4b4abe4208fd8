"""Prices that the mapper's objectives ``energy`` and ``edp`` need, from the cost tables."""

from __future__ import annotations

import math

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.area import leakage_prices
from accelsim.cost.clock import clock_estimate
from accelsim.cost.dram import state_prices, traffic_prices
from accelsim.cost.energy import energy_prices
from accelsim.cost.tables import CostTables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.mapping.prices import EnergyPrices
from accelsim.timing.power_states import DramStates


def mapping_prices(hardware: HardwareConfig, tables: CostTables, arithmetic: str = "int8") -> EnergyPrices:
    """Return pJ per action, that leak and clock per cycle, and of the memory's commands and states.

    Tilings are chosen by those of an int8 array, whatever the ``arithmetic`` of the network.

    Other objectives get no prices, since they do not look at them. Raises as `accelsim.cost.evaluate.evaluate`.
    """
    if hardware.mapping.objective in ("latency", "dram_bytes"):
        return EnergyPrices()
    # A stated price changes what a run costs and not how it goes: tilings are those of the device's own currents.
    hardware = hardware.model_copy(update={"dram": hardware.dram.model_copy(update={"traffic_pj_per_bit": None})})
    pricer = Pricer(hardware, tables, RunTraits(arithmetic=arithmetic, decoder="none", uses_generator=False))
    action_pj = {key: resolve(price, tables.values) for key, price in energy_prices(pricer).action_pj.items()}
    for action, price in traffic_prices(hardware.dram).items():
        action_pj["dram", action] = resolve(price, tables.values)
    states = {name: resolve(price, tables.values) for name, price in state_prices(hardware.dram).items()}
    leakage_w = math.fsum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
    clock = clock_estimate(pricer)
    for key, price in clock.per_action_pj.items():
        action_pj[key] = action_pj.get(key, 0.0) + resolve(price, tables.values)
    clock_pj = resolve(clock.per_cycle_pj, tables.values)
    # What makes weights is not there in an int8 run: its clock is that of a ticket's, in the cycles in which it works.
    has_generator = hardware.weight_generator is not None
    making = RunTraits(arithmetic, decoder="raw", uses_generator=has_generator, decoder_fronts=("raw_bits",))
    units = clock_estimate(Pricer(hardware, tables, making)).per_unit_pj
    return EnergyPrices(
        action_pj=tuple((unit, action, price) for (unit, action), price in sorted(action_pj.items()) if price),
        static_pj_per_cycle=clock_pj + leakage_w * 1e6 / hardware.clock_mhz,
        busy_pj_per_cycle=resolve(clock.per_busy_cycle_pj, tables.values),
        unit_pj_per_cycle=tuple((unit, resolve(price, tables.values)) for unit, price in sorted(units.items())),
        dram=None if hardware.memory == "ideal" else DramStates(**states),
    )
