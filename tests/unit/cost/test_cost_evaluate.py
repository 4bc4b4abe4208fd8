"""Energy, area and leakage of a run: sums, signs of the differences between formats, and re-costing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.cost.evaluate import energy_lines, energy_price_j, evaluate, recost
from accelsim.cost.idealised import idealised_of, idealised_unit
from accelsim.cost.report import ENERGY_UNITS
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import StoredBits

EDGE = Path(__file__).resolve().parents[3] / "hwconfigs/edge.yaml"
TABLES = load_tables()


def hardware(*overrides: str) -> HardwareConfig:
    return load_hardware(EDGE, overrides).config


def layer(actions: dict[str, dict[str, int]], cycles: int = 1000, name: str = "conv1") -> LayerCounters:
    return LayerCounters(
        name=name, kind="conv2d", shape=(1,), latency_cycles=cycles, macs=0, effective_macs=0,
        cycles_by_cause={"compute": cycles}, stored_bits=StoredBits(), dram_bytes={}, dram_read_bytes=0,
        dram_write_bytes=0, actions=actions, busy_cycles={},
    )  # fmt: skip


def ticket_run() -> Counters:
    first = {
        "dram": {"read_bits": 10**6, "write_bits": 10**5},
        "activation_buffer": {"read_bits": 10**6, "write_bits": 10**5},
        "weight_buffer": {"read_bits": 10**5, "write_bits": 10**5},
        "mask_buffer": {"read_bits": 10**5, "write_bits": 10**5},
        "accumulator": {"read_bits": 10**6, "write_bits": 10**6},
        "weight_generator": {"words": 10**5, "discarded_words": 10, "derived_seeds": 32, "jumps": 0},
        "mask_decoder": {"raw_bits": 10**5, "positions": 10**5},
        "pe_array": {"mac_ternary": 10**6, "mac_gated": 10**6, "operand_shifts_bits": 10**6, "weight_loads_bits": 9},
        "vector_unit": {"ops": 10**4}, "interconnect": {"bits": 10**6},
    }  # fmt: skip
    second = {"pe_array": {"mac_ternary": 5}, "dram": {"read_bits": 7}}
    return Counters("slt", (layer(first), layer(second, 10, "conv2")), "ternary", True, "raw")


def dense_run() -> Counters:
    actions = {"dram": {"read_bits": 10**6}, "pe_array": {"mac_int8": 10**6}}
    return Counters("dense-int8", (layer(actions),), "int8", False, "none")


def test_layers_sum_to_totals_and_account_to_both() -> None:
    run = ticket_run()
    report = evaluate(run, hardware(), TABLES)
    assert tuple(report.energy_j_by_unit) == ENERGY_UNITS
    for unit, total in report.energy_j_by_unit.items():
        assert sum(each[unit] for each in report.layer_energy_j_by_unit) == pytest.approx(total, rel=1e-12)
        assert total > 0
    total = sum(report.energy_j_by_unit.values())
    assert sum(line.energy_j for line in energy_lines(run, hardware(), TABLES)) == pytest.approx(total, rel=1e-9)
    linear = {unit: resolve(price, TABLES.values) for unit, price in energy_price_j(run, hardware(), TABLES).items()}
    assert linear == pytest.approx(report.energy_j_by_unit, rel=1e-9)


def test_a_hand_worked_energy() -> None:
    """1000 int8 MACs at Horowitz's own node and supply cost 300 pJ; a DRAM bit what the dies and lines take."""
    chip = hardware("node_nm=45", "voltage_v=0.9", "dram.standard=DDR4-2400")
    run = Counters(
        "x", (layer({"pe_array": {"mac_int8": 1000}, "dram": {"read_bits": 1000}}, 0),), "int8", False, "none"
    )
    report = evaluate(run, chip, TABLES)
    assert report.energy_j_by_unit["pe_array"] == pytest.approx(1000 * 0.3e-12)
    # IDD4R - IDD3N of 92 mA at 1.2 V for 3.32 ns gives 64 bits; rows add a little.
    read_j = 1000 * 0.092 * 1.2 * 3.32e-9 / 64
    assert report.dram_energy_j_by_state["rd"] == pytest.approx(read_j)
    assert report.energy_j_by_unit["dram"] == pytest.approx(1000 * 10e-12, rel=0.1)


def test_units_that_a_format_does_not_need_are_absent() -> None:
    dense, ticket = evaluate(dense_run(), hardware(), TABLES), evaluate(ticket_run(), hardware(), TABLES)
    assert set(ticket.area_mm2_by_unit) - set(dense.area_mm2_by_unit) == {
        "weight_generator",
        "mask_decoder",
        "mask_buffer",
    }
    assert dense.area_mm2_by_unit["pe_array"] > 2 * ticket.area_mm2_by_unit["pe_array"]
    assert dense.leakage_w > ticket.leakage_w > 0


def test_a_ticket_that_also_multiplies_activations_needs_multipliers() -> None:
    """The matmul layers of a transformer are int8 x int8 whatever its weights are."""
    attention = layer({"pe_array": {"mac_int8": 10}}, name="attention")
    mixed = dataclasses.replace(ticket_run(), layers=(*ticket_run().layers, attention))
    areas = {run.storage: evaluate(run, hardware(), TABLES).area_mm2_by_unit for run in (ticket_run(), dense_run())}
    assert evaluate(mixed, hardware(), TABLES).area_mm2_by_unit["pe_array"] == areas["dense-int8"]["pe_array"]
    assert areas["slt"]["pe_array"] < areas["dense-int8"]["pe_array"]


def test_generator_kinds_differ_as_their_gates_do() -> None:
    by_kind = {
        kind: evaluate(ticket_run(), hardware(f"weight_generator.kind={kind}"), TABLES)
        for kind in ("xorshift32", "philox4x32", "lfsr32")
    }
    energy = {kind: report.energy_j_by_unit["weight_generator"] for kind, report in by_kind.items()}
    area = {kind: report.area_mm2_by_unit["weight_generator"] for kind, report in by_kind.items()}
    assert energy["philox4x32"] > 10 * energy["lfsr32"] > 10 * energy["xorshift32"]
    assert area["philox4x32"] > 10 * area["lfsr32"] > 10 * area["xorshift32"]


def test_a_unit_that_serves_the_array_and_is_most_of_the_chip_is_idealised() -> None:
    assert idealised_of(hardware()) is None
    unit, share = idealised_of(hardware("vector_unit.num_lanes=65536")) or ("", 0.0)
    assert unit == "vector_unit" and 0.9 < share < 1
    assert idealised_unit({"pe_array": 3.0, "vector_unit": 1.0}) is None, "an array may be most of a chip"
    assert idealised_unit({}) is None


def test_a_dual_port_buffer_costs_more() -> None:
    single, dual = (evaluate(ticket_run(), hardware(f"accumulator.num_ports={ports}"), TABLES) for ports in (1, 2))
    assert dual.energy_j_by_unit["accumulator"] == pytest.approx(1.3 * single.energy_j_by_unit["accumulator"])
    assert dual.area_mm2_by_unit["accumulator"] == pytest.approx(1.9 * single.area_mm2_by_unit["accumulator"])


def test_recosting_equals_costing_there_and_leaves_dram_alone() -> None:
    run = ticket_run()
    moved = recost(run, hardware(), TABLES, node_nm=7)
    assert moved == evaluate(run, hardware("node_nm=7", "voltage_v=null"), TABLES)
    here = evaluate(run, hardware(), TABLES)
    assert moved.energy_j_by_unit["dram"] == here.energy_j_by_unit["dram"]
    for unit in set(ENERGY_UNITS) - {"dram", "leakage", "clock"}:
        assert moved.energy_j_by_unit[unit] < here.energy_j_by_unit[unit]
    assert recost(run, hardware(), TABLES) == here


@pytest.mark.parametrize(
    ("node_nm", "voltage_v", "expected"),
    [
        (-7.0, None, "node_nm: -7.0 is not >= 7; give a number from 7 to 180"),
        (200.0, None, "node_nm: 200.0 is not <= 180; give a number from 7 to 180"),
        (None, float("nan"), "voltage_v: nan is not"),
        (65.0, 0.4, "voltage_v: 0.4 V is no supply of 65 nm, whose nominal one is 1.1 V; give 0.55 to 1.43 V"),
        (65.0, 1.5, "voltage_v: 1.5 V is no supply of 65 nm"),
        (65.0, 0.56, "voltage_v: 0.56 V is outside the fit of 65 nm"),
    ],
)
def test_recosting_refuses_what_it_cannot_scale_to(
    node_nm: float | None, voltage_v: float | None, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        recost(ticket_run(), hardware(), TABLES, node_nm, voltage_v)


def test_a_run_with_a_generator_needs_a_chip_with_one() -> None:
    with pytest.raises(ConfigError, match="edge: weight_generator: is null, and the run generated weights"):
        evaluate(ticket_run(), hardware("weight_generator=null"), TABLES)


def test_an_action_without_a_price_is_an_internal_fault() -> None:
    odd = dataclasses.replace(dense_run(), layers=(layer({"pe_array": {"mac_int3": 1}}),))
    with pytest.raises(KeyError):
        evaluate(odd, hardware(), TABLES)
