"""Cost properties over random counts and chips: linearity, sums, monotonicity in counts and in constants."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.evaluate import energy_price_j, evaluate
from accelsim.cost.tables import CostTables, load_tables
from accelsim.cost.terms import resolve
from accelsim.sim.actions import ACTIONS
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import StoredBits

TABLES = load_tables()
KEYS = [(unit, action) for unit, actions in ACTIONS.items() for action in actions]
COUNTS = st.lists(st.integers(0, 10**9), min_size=len(KEYS), max_size=len(KEYS))
NODES = st.floats(7, 90)


def chip(node_nm: float) -> HardwareConfig:
    return HardwareConfig.model_validate(
        {"name": "x", "clock_mhz": 500, "node_nm": node_nm, "weight_generator": {}, "mask_decoder": {}}
    )


def run(counts: list[int], cycles: int) -> Counters:
    actions: dict[str, dict[str, int]] = {}
    for (unit, action), count in zip(KEYS, counts, strict=True):
        actions.setdefault(unit, {})[action] = count
    layer = LayerCounters(
        name="a", kind="linear", shape=(1,), latency_cycles=cycles, macs=0, effective_macs=0, cycles_by_cause={},
        stored_bits=StoredBits(), dram_bytes={}, dram_read_bytes=0, dram_write_bytes=0, actions=actions, busy_cycles={},
    )  # fmt: skip
    return Counters("slt", (layer,), "ternary", True, "entropy")


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(0, 10**9), NODES, st.integers(2, 7))
def test_energy_is_linear_in_the_counts(counts: list[int], cycles: int, node_nm: float, times: int) -> None:
    once = evaluate(run(counts, cycles), chip(node_nm), TABLES)
    # The jump and seed hash units exist where their counts are not zero, which scaling keeps.
    more = evaluate(run([count * times for count in counts], cycles * times), chip(node_nm), TABLES)
    for unit, energy_j in once.energy_j_by_unit.items():
        assert energy_j >= 0
        assert more.energy_j_by_unit[unit] == pytest.approx(energy_j * times, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(0, 10**9), NODES)
def test_layers_sum_to_the_run_and_terms_to_the_report(counts: list[int], cycles: int, node_nm: float) -> None:
    one = run(counts, cycles)
    two = dataclasses.replace(one, layers=one.layers * 2)
    report = evaluate(two, chip(node_nm), TABLES)
    by_terms = {
        unit: resolve(price, TABLES.values) for unit, price in energy_price_j(two, chip(node_nm), TABLES).items()
    }
    assert by_terms == pytest.approx(report.energy_j_by_unit, rel=1e-9)
    for unit, energy_j in report.energy_j_by_unit.items():
        assert sum(layer[unit] for layer in report.layer_energy_j_by_unit) == pytest.approx(energy_j, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(TABLES.rows)), COUNTS, st.integers(1, 10**6))
def test_a_dearer_constant_never_makes_a_run_cheaper(name: str, counts: list[int], cycles: int) -> None:
    row = TABLES.row(name)
    dearer = CostTables({**TABLES.rows, name: row.model_copy(update={"value": row.high})}, TABLES.sram_points)
    before, after = (evaluate(run(counts, cycles), chip(22.0), tables) for tables in (TABLES, dearer))
    assert sum(after.energy_j_by_unit.values()) >= sum(before.energy_j_by_unit.values()) * (1 - 1e-12)
    assert sum(after.area_mm2_by_unit.values()) >= sum(before.area_mm2_by_unit.values()) * (1 - 1e-12)


@settings(max_examples=40, deadline=None)
@given(COUNTS, st.lists(NODES, min_size=2, max_size=2))
def test_a_smaller_node_at_nominal_supply_needs_no_more_dynamic_energy(counts: list[int], nodes: list[float]) -> None:
    small, large = (evaluate(run(counts, 0), chip(node), TABLES) for node in sorted(nodes))
    for unit, energy_j in small.energy_j_by_unit.items():
        assert energy_j <= large.energy_j_by_unit[unit] * (1 + 1e-9)
