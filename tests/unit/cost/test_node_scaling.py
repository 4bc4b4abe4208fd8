"""Scaling against the published coefficients and area table (Stillmaker & Baas 2017)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim.cost import scaling
from accelsim.errors import ConfigError

REFERENCE = Path(__file__).resolve().parents[3] / "../shared/reference/energy"


def published(name: str) -> list[dict[str, str]]:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"reference figures are not here: {path.name}")
    return list(csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith("#")))


def test_energy_is_the_published_polynomial() -> None:
    for row in published("stillmaker_baas_coeffs.csv"):
        node_nm = float(row["node"].lstrip("HLP"))
        for process in ("hp", "lp"):
            if row["node"][0] in "HL" and not row["node"].lower().startswith(process):
                continue
            supply_v = scaling.nominal_voltage_v(node_nm)
            energy = float(row["e2"]) * supply_v**2 + float(row["e1"]) * supply_v + float(row["e0"])
            assert scaling.energy_factor(node_nm, supply_v, process) == pytest.approx(energy, rel=1e-12)


def test_area_agrees_with_every_published_pair_within_its_two_digits() -> None:
    for row in published("stillmaker_baas_area.csv"):
        for node, factor in row.items():
            if node != "from":
                assert scaling.scale_area(float(row["from"]), float(node)) == pytest.approx(float(factor), rel=0.06)


def test_a_hand_worked_case() -> None:
    # 45 nm at 0.9 V to 7 nm at 0.7 V, high performance, from the coefficients on paper.
    at_45 = 1.018 * 0.81 - 0.3107 * 0.9 + 0.1539
    at_7 = 0.1776 * 0.49 - 0.09097 * 0.7 + 0.02447
    assert scaling.scale_energy(45, 0.9, 7, 0.7) == pytest.approx(at_7 / at_45)


def test_nodes_between_the_published_ones_lie_between_them() -> None:
    assert scaling.area_factor(32) > scaling.area_factor(28) > scaling.area_factor(22) > scaling.area_factor(20)
    assert scaling.energy_factor(32, 0.8) > scaling.energy_factor(28, 0.8) > scaling.energy_factor(20, 0.8)


def test_wires_scale_with_the_square_of_the_supply_only() -> None:
    assert scaling.scale_wire_energy(0.9, 0.45) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("node_nm", "supply_v", "expected"),
    [
        (5, 0.7, "node_nm: 5 is outside the published scaling data; give 7 to 180 nm"),
        (250, 1.8, "node_nm: 250 is outside the published scaling data; give 7 to 180 nm"),
        (65, 0.5, "voltage_v: 0.5 V is outside the fit of 65 nm"),
    ],
)
def test_outside_the_data_is_refused(node_nm: float, supply_v: float, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        scaling.energy_factor(node_nm, supply_v)
