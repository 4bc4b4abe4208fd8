"""The cost tables' rows of logic are what the committed synthesis results give."""

from __future__ import annotations

from math import log

import pytest

from accelsim.cost.tables import load_tables
from rtl.synth import rows, table
from rtl.synth.results import read_cells, read_results


def test_rows_of_gates_follow_from_the_results() -> None:
    tables = load_tables().rows
    computed = rows.cost_rows(read_results(), read_cells())
    differ = {name: (row, tables.get(name)) for name, row in computed.items() if tables.get(name) != row}
    assert not differ, "write them with python -m rtl.synth --rows"


def test_page_has_the_table_of_the_results() -> None:
    text = table.PATH.read_text(encoding="utf-8")
    assert table.table_markdown(read_results()) in text, "write it with python -m rtl.synth --rows"


def test_value_lies_between_the_nearest_libraries() -> None:
    values = {"sky130_hd": 1.0, "asap7_rvt": 4.0, "osu018": 9.0}
    # 30.17 nm is the geometric mean of 7 and 130.
    assert rows.between(values, (7.0 * 130.0) ** 0.5) == pytest.approx(2.0)
    assert rows.between(values, 7.0) == 4.0
    assert rows.between(values, 180.0) == 9.0


def test_registers_change_with_the_node_as_those_of_xorshift32() -> None:
    results = {name: found for (name, unit), found in read_results().items() if unit == "xorshift32"}
    energies = {
        known.name: rows.at_node(known, results[known.name].register_pj / results[known.name].flip_flops, "register")
        for known in rows.KNOWN
        if known.name in results
    }
    ratio = energies["asap7_rvt"] / energies["sky130_hd"]
    assert load_tables().row("register_write").node_exponent == pytest.approx(log(ratio) / log(7 / 130), abs=1e-3)
