"""Units that only serve the array and yet take most of a chip: as wide as was asked, not as one would be built."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.config.hardware import HardwareConfig
from accelsim.config.ports import ALL_BUFFERS
from accelsim.cost.area import area_prices
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits

_MOST = 0.5  # of the chip: more than array, buffers and all other units together
_CORE = frozenset({"pe_array", *ALL_BUFFERS})


def idealised_unit(area_mm2_by_unit: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the unit beside array and buffers that takes most of a chip's area, and its share; None if none does."""
    total = sum(area_mm2_by_unit.values())
    unit = max(area_mm2_by_unit, key=lambda name: area_mm2_by_unit[name], default="")
    share = area_mm2_by_unit[unit] / total if total else 0.0
    return (unit, share) if share > _MOST and unit not in _CORE else None


def idealised_of(hardware: HardwareConfig) -> tuple[str, float] | None:
    """Return the same of a chip that stores dense int8 weights, without a run."""
    traits = RunTraits(arithmetic="int8", decoder="none", uses_generator=False)
    tables = load_tables()
    prices = area_prices(Pricer(hardware, tables, traits))
    return idealised_unit({unit: resolve(price, tables.values) for unit, price in prices.items()})
