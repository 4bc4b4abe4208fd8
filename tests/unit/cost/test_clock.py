"""Flip-flops by unit, when they are clocked, and what is made of registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.cost import scaling
from accelsim.cost.area import area_prices, leakage_prices
from accelsim.cost.clock import active_cycles, clocked_groups, flip_flop_cycle_pj
from accelsim.cost.energy import energy_prices
from accelsim.cost.evaluate import evaluate
from accelsim.cost.inventory import flip_flops_of, inventory
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import StoredBits

ROOT = Path(__file__).resolve().parents[3]
TABLES = load_tables()


def pricer(name: str, *overrides: str, arithmetic: str = "ternary") -> Pricer:
    chip = load_hardware(ROOT / f"hwconfigs/{name}.yaml", overrides).config
    return Pricer(chip, TABLES, RunTraits(arithmetic, "none", False))


def flip_flops(chip: Pricer, unit: str) -> float:
    return resolve(flip_flops_of([inventory(chip)[unit]]), TABLES.values)


def half_busy() -> LayerCounters:
    """A thousand cycles, of which the array works in 600; half of its slots are masked."""
    actions = {"pe_array": {"mac_ternary": 256 * 600, "mac_gated": 256 * 600, "weight_loads_bits": 2 * 1024}}
    return LayerCounters(
        name="conv1", kind="conv2d", shape=(1,), latency_cycles=1000, macs=0, effective_macs=0,
        cycles_by_cause={"compute": 1000}, stored_bits=StoredBits(), dram_bytes={}, dram_read_bytes=0,
        dram_write_bytes=0, actions=actions, busy_cycles={"pe_array": 600},
    )  # fmt: skip


def test_flip_flops_of_an_array_by_hand() -> None:
    # An activation, two ternary weights, a sum and three of control in each of 1,024 systolic PEs.
    assert flip_flops(pricer("edge"), "pe_array") == 1024 * (8 + 2 * 2 + 32 + 3)
    # 16 x 16 weights, 16 channels of 4 x 4 positions, 256 trees of 16 products: four levels, and a sum of 24 bits.
    tree = 8 * 10 + 4 * 11 + 2 * 12 + 1 * 13
    shared = 256 * 2 + 256 * 8 + 256 * (tree + 24 + 3)
    assert flip_flops(pricer("hiddenite"), "pe_array") == shared


@pytest.mark.parametrize(("gating", "arrays"), [("none", 1.0), ("unit", 0.6), ("lane", 0.3)])
def test_what_is_clocked(gating: str, arrays: float) -> None:
    """Moving registers are clocked in all cycles, in those of the array, or in those of the slots in use."""
    moving = next(each for each in clocked_groups(pricer("edge")) if each.unit == "pe_array")
    assert active_cycles(moving.flip_flops, gating, half_busy()) == pytest.approx(1000 * arrays)


def test_gating_saves_all_but_the_gate() -> None:
    run = Counters("x", (half_busy(),), "ternary", False, "none")
    clock = {
        gating: evaluate(run, pricer("edge", f"clock_gating={gating}").hardware, TABLES).energy_j_by_unit["clock"]
        for gating in ("none", "unit", "lane")
    }
    assert clock["none"] > clock["unit"] > clock["lane"] > 0.05 * clock["none"]
    every = sum(resolve(each.clocked_pj, TABLES.values) for each in clocked_groups(pricer("edge")))
    assert clock["none"] == pytest.approx(1000 * every * 1e-12)


def test_a_flip_flop_by_hand() -> None:
    """At sky130's own node that library's: 39.8 fJ inside, 5.81 at the pin, 0.695 of it in buffers; 7.6 um of wire."""
    chip = pricer("edge", "node_nm=130", "voltage_v=1.3")
    cell = (39.78 + 5.813 * 1.695) * scaling.scale_energy(130, 1.8, 130, 1.3)
    wire = 0.76 * 0.01 * 4 * 121 * (1.3 / 0.9) ** 2
    assert 1e3 * resolve(flip_flop_cycle_pj(chip, 100.0), TABLES.values) == pytest.approx(cell + wire, rel=1e-3)


def test_a_buffer_of_registers_is_priced_as_registers() -> None:
    """Two words of 8 bits in each of 1,024 banks: cheap to read, large, and clocked where written."""
    small = ("accumulator={capacity_bytes: 2048, width_bits: 8, num_banks: 1024}",)
    sram, made = pricer("edge", *small), pricer("edge", *small, "accumulator.cells=registers")
    reads = [resolve(energy_prices(each).action_pj["accumulator", "read_bits"], TABLES.values) for each in (sram, made)]
    assert reads[1] < 0.01 * reads[0]
    assert flip_flops(made, "accumulator") == 2048 * 8
    area = [resolve(area_prices(each)["accumulator"], TABLES.values) for each in (sram, made)]
    assert area[1] < area[0]  # a bank below 1 KiB costs as 1 KiB


def test_general_purpose_cells_leak_more() -> None:
    leaks = [
        sum(resolve(price, TABLES.values) for price in leakage_prices(pricer("edge", f"leakage_class={name}")).values())
        for name in ("low_power", "general")
    ]
    assert leaks[1] > 50 * leaks[0]


def test_the_mapper_knows_the_clock() -> None:
    every, lanes = (
        mapping_prices(pricer("edge", f"clock_gating={name}").hardware, TABLES) for name in ("none", "lane")
    )
    assert every.static_pj_per_cycle > lanes.static_pj_per_cycle
    assert every.pj("pe_array", "mac_int8") < lanes.pj("pe_array", "mac_int8")
