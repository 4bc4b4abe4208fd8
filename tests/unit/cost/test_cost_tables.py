"""The tables: sources, ranges, coverage of the actions, and a user's rows."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.cost import scaling
from accelsim.cost.area import area_prices, leakage_prices
from accelsim.cost.clock import clocked_groups
from accelsim.cost.dram import COMPONENTS, FACTORS
from accelsim.cost.energy import energy_prices
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import KEPT_NAME, kept_text, load_tables
from accelsim.cost.terms import constants_of, resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.errors import ConfigError
from accelsim.prng.source import GeneratorKind
from accelsim.sim.actions import ACTIONS, ARITHMETICS

EDGE = Path(__file__).resolve().parents[3] / "hwconfigs/edge.yaml"
ROW = "{name: mac_int8, unit_of_chip: pe_array, action: mac_int8, value: 0.2, unit: pj, node_nm: 45, voltage_v: 0.9, "


def test_prices_are_exactly_the_actions_of_the_simulator() -> None:
    pricer = Pricer(load_hardware(EDGE).config, load_tables(), RunTraits("ternary", "raw", True))
    priced = set(energy_prices(pricer).action_pj)
    assert priced == {(unit, action) for unit, actions in ACTIONS.items() for action in actions}


def test_every_row_is_used_by_some_chip() -> None:
    """A row that nothing reads is a figure without effect."""
    used = {FACTORS[name] for name in COMPONENTS}
    kinds: tuple[GeneratorKind, ...] = ("philox4x32", "xorshift32", "lfsr16", "lfsr32")
    runs = [([f"weight_generator.kind={kind}"], "ternary", "entropy") for kind in kinds]
    runs += [(["pe_array.zero_weights=skip"], name, "golomb") for name in ARITHMETICS]
    runs += [([], "int8", decoder) for decoder in ("rle", "csr", "bitmap", "nm")]
    runs += [(["accumulator.cells=registers", "leakage_class=general"], "int8", "none")]
    pads = "{input_words: 12, weight_words: 224, sum_words: 24, words_per_cycle: 4}"
    runs += [([f"pe_array={{dataflow: row_stationary, scratch_pads: {pads}}}"], "int8", "none")]
    for overrides, arithmetic, decoder in runs:
        traits = RunTraits(arithmetic, decoder, True, uses_jumps=True, uses_derived_seeds=True)
        pricer = Pricer(load_hardware(EDGE, overrides).config, load_tables(), traits)
        energy = energy_prices(pricer)
        for price in (
            *energy.action_pj.values(),
            energy.dram_idle_w,
            *area_prices(pricer).values(),
            *leakage_prices(pricer).values(),
            *(group.gated_pj for group in clocked_groups(pricer)),
        ):
            used.update(constants_of(price))
    assert set(load_tables().rows) - used == set()


@pytest.mark.parametrize("path", sorted(EDGE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_has_a_price_for_everything(path: Path) -> None:
    pricer = Pricer(load_hardware(path).config, load_tables(), RunTraits("int8", "none", False))
    action_pj = energy_prices(pricer).action_pj
    assert not action_pj["pe_array", "idle_pe_cycles"]  # what stands still costs the clock less, and nothing itself
    prices = [price for key, price in action_pj.items() if key != ("pe_array", "idle_pe_cycles")]
    areas = area_prices(pricer).values()
    assert all(resolve(price, load_tables().values) > 0 for price in (*prices, *areas))


def test_ranges_hold_their_values() -> None:
    for row in load_tables().rows.values():
        is_none = row.low == row.value == row.high == 0  # a unit without flip-flops
        assert is_none or 0 < row.low <= row.value <= row.high, row.name
        assert row.source.strip(), row.name


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("low: 0.1, high: 0.3}", "t.yaml:2: rows.0.source: is missing; give a text"),
        ('low: 0.1, high: 0.3, source: "            "}', "the source '' is shorter than 10 characters"),
        ("low: 0.1, high: 0.3, source: a paper}", "the source 'a paper' is shorter than 10 characters; cite"),
        (
            "low: 0.3, high: 0.4, source: measured here}",
            "mac_int8: 0.2 is not between low 0.3 and high 0.4; widen them",
        ),
        (
            "low: 0.1, high: 0.3, source: measured here, sauce: x}",
            "rows.0.sauce: unknown key; did you mean 'source'? known keys: name, ",
        ),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, rest: str, expected: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"rows:\n  - {ROW}{rest}\n")
    with pytest.raises(ConfigError) as caught:
        load_tables([path])
    assert expected in str(caught.value)


def test_a_users_row_replaces_the_built_in_one(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"rows:\n  - {ROW}low: 0.1, high: 0.3, source: measured here}}\n")
    assert load_tables([path]).row("mac_int8").value == 0.2
    assert load_tables().row("mac_int8").value == 0.3
    path.write_text(path.read_text().replace("name: mac_int8", "name: mac_int9"))
    with pytest.raises(ConfigError, match="'mac_int9' replaces no built-in row; did you mean 'mac_int8'"):
        load_tables([path])


@pytest.mark.parametrize("field", ["unit_of_chip", "action"])
def test_a_users_row_must_price_the_same_thing(tmp_path: Path, field: str) -> None:
    path = tmp_path / "t.yaml"
    text = ROW.replace(f"{field}: ", f"{field}: other_")
    path.write_text(f"rows:\n  - {text}low: 0.1, high: 0.3, source: measured here}}\n")
    with pytest.raises(ConfigError, match=rf"{field} 'other_.*' is not allowed; give '.*' as the row replaced"):
        load_tables([path])


def test_the_mapper_gets_the_prices_of_the_tables() -> None:
    never, asleep = (
        mapping_prices(load_hardware(EDGE, ["mapping.objective=energy", policy]).config, load_tables())
        for policy in ("dram.power_down_after_ns=null", "dram.power_down_after_ns=640")
    )
    prices = never
    assert prices.pj("dram", "read_bits") == pytest.approx(7.5, abs=0.1)  # 5.26 in the dies, 2.26 on the lines
    assert 0 < prices.pj("activation_buffer", "read_bits") < prices.pj("dram", "read_bits")
    assert prices.pj("pe_array", "mac_int8") > 0
    # Standby is priced by state: 74 mW with rows open (63 less in power-down), whatever the policy.
    assert never.dram == asleep.dram
    assert never.dram is not None
    assert never.dram.active - never.dram.pd == pytest.approx(63.2, rel=0.01)
    assert never.dram.num_activates > 0


def test_the_parsed_tables_are_those_of_the_yaml_files():
    with resources.as_file(resources.files("accelsim.cost") / "tables" / KEPT_NAME) as path:
        assert path.read_text("utf-8") == kept_text(), "write them again: python -m accelsim.cost.tables"


def test_arithmetic_follows_the_gates_it_is_made_of_also_in_a_users_row(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f'rows:\n  - {ROW}low: 0.1, high: 0.4, source: "measured by the user"}}\n')
    chip = load_hardware(EDGE, ["node_nm=7", "voltage_v=null"]).config
    for tables, value in ((load_tables(), 0.3), (load_tables([own]), 0.2)):
        pricer = Pricer(chip, tables, RunTraits("int8", "none", False))
        mac, gate = (resolve(pricer.energy_pj(name), tables.values) for name in ("mac_int8", "gate_energy"))
        # Both hold at 45 nm, at 0.9 and at 1.0 V.
        assert mac / gate == pytest.approx(
            value / tables.row("gate_energy").value / scaling.scale_energy(45, 1.0, 45, 0.9), rel=1e-3
        )


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("mac_int4", None),  # which scales as the gates in its turn
        ("mac_int8", "scales_as 'mac_int8' leads back to mac_int8"),
        ("gate_area", "scales_as 'gate_area' is in um2; give a row in pj"),
        ("mac_gated_fraction", "scales_as 'mac_gated_fraction' is in factor; give a row in pj"),
        ("gates", "scales_as 'gates' is no row"),
    ],
)
def test_a_row_scales_as_an_energy_that_says_how(tmp_path: Path, other: str, expected: str | None) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"rows:\n  - {ROW}low: 0.1, high: 0.4, scales_as: {other}, source: measured here}}\n")
    if expected is None:
        tables = load_tables([own])
        assert tables.node_exponent(tables.row("mac_int8")) == tables.row("gate_energy").node_exponent
        return
    with pytest.raises(ConfigError, match=expected):
        load_tables([own])
