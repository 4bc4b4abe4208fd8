"""Energy, area and leakage of one SRAM bank, interpolated in the CACTI grid.

Rules, each chosen so that every grid point is met exactly and every figure rises with capacity:
- capacity: logarithm of the figure linear in logarithm of the capacity; outside the grid the nearest interval's slope
  goes on; banks below 1 KiB cost as 1 KiB (periphery, not cells, is what they are made of);
- width: energies linear through the two grid widths (a fixed part for decoder and word line, a part per bit line); area
  and leakage logarithmic between the grid widths and constant outside;
- node: logarithmic between grid nodes; outside, the nearest grid node's area is scaled after Stillmaker & Baas 2017 and
  its energy by the length of its wires, the edge of that area, since a wire's capacitance per mm hardly changes
  (Keckler et al., IEEE Micro 31(5) 2011, table 1);
- voltage: energy by the fit of Stillmaker & Baas at the node, outside the grid by V^2 as all wires; leakage linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from accelsim.cost import scaling
from accelsim.cost.tables import CostTables, SramPoint

SMALLEST_BANK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class SramBank:
    """One bank: energies in pJ per access of the full width, area in um2, leakage in mW."""

    read_pj: float
    write_pj: float
    area_um2: float
    leakage_mw: float


def sram_bank(
    points: Sequence[SramPoint], capacity_bytes: float, width_bits: int, node_nm: float, voltage_v: float
) -> SramBank:
    """Return the cost of a single-ported bank of ``capacity_bytes`` with accesses of ``width_bits``.

    Raises
    ------
    ConfigError
        If the node or the voltage is outside the scaling data.
    """
    nodes = sorted({point.node_nm for point in points})
    # The grid answers between its nodes; beyond them the nearest one is scaled below.
    inside = min(max(node_nm, nodes[0]), nodes[-1])
    below = max(node for node in nodes if node <= inside)
    above = min(node for node in nodes if node >= inside)
    position = 0.0 if below == above else math.log(inside / below) / math.log(above / below)
    first = _at_node([point for point in points if point.node_nm == below], capacity_bytes, width_bits)
    second = _at_node([point for point in points if point.node_nm == above], capacity_bytes, width_bits)
    grid_voltage_v = (1 - position) * _voltage(points, below) + position * _voltage(points, above)
    area = scaling.scale_area(inside, node_nm)
    if inside == node_nm:
        energy = scaling.scale_energy(node_nm, grid_voltage_v, node_nm, voltage_v)
    else:
        energy = math.sqrt(area) * scaling.scale_wire_energy(grid_voltage_v, voltage_v)
    # Leakage power is current times voltage; how the current itself follows the supply is left out.
    leakage = voltage_v / grid_voltage_v * (1.0 if inside == node_nm else _leakage_ratio(inside, node_nm))
    return SramBank(
        read_pj=_mix(first.read_pj, second.read_pj, position) * energy,
        write_pj=_mix(first.write_pj, second.write_pj, position) * energy,
        area_um2=_mix(first.area_um2, second.area_um2, position) * area,
        leakage_mw=_mix(first.leakage_mw, second.leakage_mw, position) * leakage,
    )


@lru_cache(maxsize=512)
def bank_of(tables: CostTables, capacity_bytes: float, width_bits: int, node_nm: float, voltage_v: float) -> SramBank:
    """Return `sram_bank` in the grid of ``tables``; the last few are kept, for a chip asks for each several times."""
    return sram_bank(tables.sram_points, capacity_bytes, width_bits, node_nm, voltage_v)


def _voltage(points: Sequence[SramPoint], node_nm: float) -> float:
    return next(point.voltage_v for point in points if point.node_nm == node_nm)


def _leakage_ratio(from_nm: float, to_nm: float) -> float:
    return scaling.scale_leakage(from_nm, scaling.nominal_voltage_v(from_nm), to_nm, scaling.nominal_voltage_v(to_nm))


def _mix(first: float, second: float, position: float) -> float:
    """Return the value at ``position`` from ``first`` (0) to ``second`` (1), linear in logarithm."""
    if position == 0.0 or first == second:
        return first
    return math.exp((1 - position) * math.log(first) + position * math.log(second))


def _at_node(points: Sequence[SramPoint], capacity_bytes: float, width_bits: int) -> SramBank:
    widths = sorted({point.width_bits for point in points})
    low, high = _interval(widths, width_bits)
    first = _at_width([point for point in points if point.width_bits == low], capacity_bytes)
    second = _at_width([point for point in points if point.width_bits == high], capacity_bytes)
    # Each further bit line adds its own energy, so that the line goes on beyond the grid's widths.
    linear = (width_bits - low) / (high - low)
    inside = min(max(width_bits, widths[0]), widths[-1])
    logarithmic = math.log(inside / low) / math.log(high / low)
    return SramBank(
        read_pj=_line(first.read_pj, second.read_pj, linear),
        write_pj=_line(first.write_pj, second.write_pj, linear),
        area_um2=_mix(first.area_um2, second.area_um2, logarithmic),
        leakage_mw=_mix(first.leakage_mw, second.leakage_mw, logarithmic),
    )


def _line(first: float, second: float, position: float) -> float:
    """Return the linear value, never below a tenth of ``first`` where a narrow width would extrapolate below zero."""
    return max(first + (max(second, first) - first) * position, 0.1 * first)


def _interval(values: Sequence[int], wanted: float) -> tuple[int, int]:
    """Return the two neighbours in ``values`` whose interval holds ``wanted``, or is nearest to it."""
    index = sum(1 for value in values[1:-1] if value <= wanted)
    return values[index], values[index + 1]


def _at_width(points: Sequence[SramPoint], capacity_bytes: float) -> SramBank:
    wanted = max(capacity_bytes, SMALLEST_BANK_BYTES)
    capacities = sorted({point.capacity_bytes for point in points})
    low, high = _interval(capacities, wanted)
    position = math.log(wanted / low) / math.log(high / low)
    first = next(point for point in points if point.capacity_bytes == low)
    second = next(point for point in points if point.capacity_bytes == high)
    return SramBank(
        read_pj=_mix(first.read_pj, second.read_pj, position),
        write_pj=_mix(first.write_pj, second.write_pj, position),
        area_um2=_mix(first.area_um2, second.area_um2, position),
        leakage_mw=_mix(first.leakage_mw, second.leakage_mw, position),
    )
