"""Prices that the mapper's objectives ``energy`` and ``edp`` need: a few figures from the cost tables, in pJ."""

from __future__ import annotations

from functools import lru_cache

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.tables import CostTables
from accelsim.mapping.mapper import EnergyPrices


def mapping_prices(hardware: HardwareConfig, tables: CostTables) -> EnergyPrices:
    """Return pJ per bit of DRAM and of the activation buffer, and leakage of the buffers per cycle."""
    if hardware.mapping.objective in ("latency", "dram_bytes"):
        return EnergyPrices(1.0, 1.0, 0.0)
    return _priced(hardware.model_dump_json(), tables)


@lru_cache(maxsize=16)
def _priced(hardware_json: str, tables: CostTables) -> EnergyPrices:
    from accelsim.cost.area import leakage_prices  # noqa: PLC0415
    from accelsim.cost.energy import energy_prices  # noqa: PLC0415
    from accelsim.cost.terms import resolve  # noqa: PLC0415
    from accelsim.cost.traits import Pricer, RunTraits  # noqa: PLC0415

    hardware = HardwareConfig.model_validate_json(hardware_json)
    pricer = Pricer(hardware, tables, RunTraits(arithmetics=("int8",), uses_generator=False, decoder="none"))
    action = energy_prices(pricer).action_pj
    leakage_w = sum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
    return EnergyPrices(
        dram_pj_per_bit=resolve(action[("dram", "read_bits")], tables.values),
        buffer_pj_per_bit=resolve(action[("activation_buffer", "read_bits")], tables.values),
        leakage_pj_per_cycle=leakage_w * 1e6 / hardware.clock_mhz,
    )
