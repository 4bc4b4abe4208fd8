"""Prices that the mapper's objectives ``energy`` and ``edp`` need: a few figures from the cost tables, in pJ."""

from __future__ import annotations

import math

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.area import leakage_prices
from accelsim.cost.energy import energy_prices
from accelsim.cost.tables import CostTables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.mapping.mapper import EnergyPrices


def mapping_prices(hardware: HardwareConfig, tables: CostTables) -> EnergyPrices:
    """Return pJ per bit of DRAM and of the activation buffer, and pJ that leak (and stand by in DRAM) per cycle.

    The other objectives get figures that they do not look at. Raises as `accelsim.cost.evaluate.evaluate`.
    """
    if hardware.mapping.objective in ("latency", "dram_bytes"):
        return EnergyPrices(1.0, 1.0, 0.0)
    pricer = Pricer(hardware, tables, RunTraits(arithmetic="int8", decoder="none", uses_generator=False))
    prices = energy_prices(pricer)
    idle_w = math.fsum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
    idle_w += resolve(prices.dram_standby_w, tables.values)
    return EnergyPrices(
        dram_pj_per_bit=resolve(prices.action_pj["dram", "read_bits"], tables.values),
        buffer_pj_per_bit=resolve(prices.action_pj["activation_buffer", "read_bits"], tables.values),
        leakage_pj_per_cycle=idle_w * 1e6 / hardware.clock_mhz,
    )
