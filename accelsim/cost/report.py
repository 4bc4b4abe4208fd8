"""The CostReport artefact: energy and area, pure functions of counters, configuration and tables."""

from __future__ import annotations

from dataclasses import dataclass

ENERGY_UNITS = (
    "dram", "activation_buffer", "weight_buffer", "mask_buffer", "accumulator", "weight_generator", "mask_decoder",
    "pe_array", "vector_unit", "interconnect", "clock", "leakage",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CostReport:
    """Cost of one run.

    Attributes
    ----------
    energy_j_by_unit
        Total energy in joules per unit of `ENERGY_UNITS`.
    layer_energy_j_by_unit
        The same per layer, in layer order.
    area_mm2_by_unit
        Area in mm2 per on-chip unit (DRAM has none).
    dram_energy_j_by_state
        What the memory's energy consists of, in joules per component of `accelsim.cost.dram.COMPONENTS`.
    layer_dram_energy_j_by_state
        The same per layer.
    leakage_w
        Leakage power of the chip in watts.
    """

    energy_j_by_unit: dict[str, float]
    layer_energy_j_by_unit: tuple[dict[str, float], ...]
    area_mm2_by_unit: dict[str, float]
    leakage_w: float
    dram_energy_j_by_state: dict[str, float]
    layer_dram_energy_j_by_state: tuple[dict[str, float], ...]
