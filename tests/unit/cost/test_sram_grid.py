"""SRAM interpolation: CACTI's own points are met, and nothing between or beyond them is out of order."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim.cost.sram import sram_bank
from accelsim.cost.tables import load_tables

POINTS = load_tables().sram_points
REFERENCE = Path(__file__).resolve().parents[3] / "../shared/reference/energy/sram_cacti.csv"


def test_every_cacti_point_is_met_exactly() -> None:
    if not REFERENCE.exists():
        pytest.skip("reference figures are not here: sram_cacti.csv")
    rows = list(csv.DictReader(REFERENCE.read_text().splitlines()))
    points = [point for point in POINTS if point.node_nm in (22, 40, 45)]
    assert len(rows) == len(points) == 30
    for row, point in zip(rows, points, strict=True):
        node_nm, width_bits = float(row["node_nm"]), int(row["width"])
        bank = sram_bank(POINTS, int(row["kB"]) * 1024, width_bits, node_nm, point.voltage_v)
        theirs = [float(row[key]) for key in ("read_pJ", "write_pJ", "area_um2", "leak_mW")]
        assert [bank.read_pj, bank.write_pj, bank.area_um2, bank.leakage_mw] == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("node_nm", [7, 16, 22, 28, 40, 45, 65])
@pytest.mark.parametrize("width_bits", [16, 64, 96, 128, 1024])
def test_energy_and_area_rise_with_capacity(node_nm: float, width_bits: int) -> None:
    banks = [sram_bank(POINTS, 1024 << step, width_bits, node_nm, 0.9) for step in range(0, 16)]
    for smaller, larger in zip(banks, banks[1:], strict=False):
        assert smaller.read_pj < larger.read_pj
        assert smaller.write_pj < larger.write_pj
        assert smaller.area_um2 < larger.area_um2
        assert smaller.leakage_mw < larger.leakage_mw


def test_energy_rises_with_width_and_node() -> None:
    by_width = [sram_bank(POINTS, 65536, width, 22, 0.8).read_pj for width in (8, 32, 64, 100, 128, 512)]
    by_node = [sram_bank(POINTS, 65536, 64, node, 0.9).read_pj for node in (7, 16, 22, 28, 40, 45, 65)]
    assert by_width == sorted(by_width) and len(set(by_width)) == 6
    assert by_node == sorted(by_node) and len(set(by_node)) == 7


def test_beyond_the_grid_energy_is_that_of_wires() -> None:
    """The edge of the macro and the supply: 0.8 V is the grid's at 22 nm."""
    inside, beyond = (sram_bank(POINTS, 65536, 64, node, voltage) for node, voltage in ((22, 0.8), (7, 0.7)))
    expected = (beyond.area_um2 / inside.area_um2) ** 0.5 * (0.7 / 0.8) ** 2
    assert beyond.read_pj / inside.read_pj == pytest.approx(expected)


def test_a_bank_below_one_kib_costs_as_one_kib() -> None:
    assert sram_bank(POINTS, 100, 64, 22, 0.8) == sram_bank(POINTS, 1024, 64, 22, 0.8)
