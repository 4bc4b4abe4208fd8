"""A unit through Yosys, Icarus and OpenSTA with a library of a few cells whose energies are round numbers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rtl.synth import library, mapping, measure, stimuli

_TABLE = '{kind} (plane) {{ values ("{low}, {high}", "{low}, {high}"); }}'
_HEAD = """library (toy) { delay_model : table_lookup; time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";
  pulling_resistance_unit : "1kohm"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1.0;
  nom_temperature : 25; nom_process : 1; default_max_transition : 1.0;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  lu_table_template (plane) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0.01, 1.0"); index_2 ("0.001, 0.1"); }
  power_lut_template (line) { variable_1 : input_transition_time; index_1 ("0.01, 1.0"); }
"""
_FLOP = """  cell (DFF) { area : 5; cell_leakage_power : 3; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
    pin (C) { direction : input; clock : true; capacitance : 0.0; internal_power () {
      rise_power (line) { values ("1.0, 1.0"); } fall_power (line) { values ("3.0, 3.0"); } } }
    pin (D) { direction : input; capacitance : 0.001; }
    pin (Q) { direction : output; function : "IQ"; max_capacitance : 0.1;
      timing () { related_pin : "C"; timing_type : rising_edge; TIMES } } }
"""


def _arc() -> str:
    times = [_TABLE.format(kind=kind, low=0.01, high=0.1) for kind in ("cell_rise", "cell_fall")]
    slopes = [_TABLE.format(kind=kind, low=0.01, high=0.05) for kind in ("rise_transition", "fall_transition")]
    return " ".join([*times, *slopes])


def _gate(name: str, inputs: str, function: str, sense: str) -> str:
    pins = "".join(f"    pin ({pin}) {{ direction : input; capacitance : 0.001; }}\n" for pin in inputs)
    arcs = " ".join(f'timing () {{ related_pin : "{pin}"; timing_sense : {sense}; {_arc()} }}' for pin in inputs)
    return (
        f"  cell ({name}) {{ area : {len(inputs)}; cell_leakage_power : 1;\n{pins}"
        f'    pin (Y) {{ direction : output; function : "{function}"; max_capacitance : 0.1; {arcs} }} }}\n'
    )


def _toy() -> str:
    gates = (
        ("INV", "A", "!A", "negative_unate"),
        ("BUF", "A", "A", "positive_unate"),
        ("NAND2", "AB", "!(A&B)", "negative_unate"),
        ("NOR2", "AB", "!(A|B)", "negative_unate"),
        ("XOR2", "AB", "A^B", "non_unate"),
    )
    return _HEAD + "".join(_gate(*gate) for gate in gates) + _FLOP.replace("TIMES", _arc()) + "}\n"


@pytest.mark.skipif(mapping.missing_tools() is not None, reason=str(mapping.missing_tools()))
def test_a_generator_costs_what_the_cells_of_a_library_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = library.Known(
        "toy",
        "toy",
        45.0,
        1.0,
        1.0,
        "NAND2",
        "BUF",
        1.0,
        "BUF gate(.A(clk), .Y(gated));",
        "",
        "none",
        "DFF",
        "BUF",
    )
    monkeypatch.setattr(library, "KNOWN", (known,))
    (tmp_path / "toy.lib").write_text(_toy())
    (toy,) = library.read_libraries(str(tmp_path / "toy.lib"), tmp_path / "unpacked")
    unit = measure.Unit("lfsr16", "lfsr16", {"WORDS": 1}, partial(stimuli.generator, "lfsr16", 16, 50), "word")
    sources = sorted((Path(__file__).resolve().parents[2] / "rtl").glob("*.sv"))
    done = measure.measure(measure.prepare(toy, tmp_path / "bench"), unit, sources)
    assert (done.flip_flops, done.register_area_um2, done.register_leakage_nw) == (16, 80.0, 48.0)
    # Sixteen flip-flops, a rise of 1 pJ and a fall of 3 pJ of each clock pin a word; half of C V^2 a data edge at most.
    assert done.clock_pj == pytest.approx(64.0)
    assert done.clocked == 16
    assert 0 < done.logic_pj + done.register_pj < 0.5e-3 * 3 * done.cells
    assert 0 < done.path_ns < 5
