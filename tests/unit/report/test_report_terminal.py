import io
from dataclasses import replace

import pytest

from accelsim.report.sentence import verdict
from accelsim.report.terminal import make_console, print_comparison, print_run
from accelsim.results.build import build_result


def build(sample_run):
    return build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)


def render(result, comparison, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_run(make_console(stream), result, comparison)
    return stream.getvalue()


def larger(totals):
    stored = totals.dram_bytes.model_copy(update={"mask": 0, "seed": 0, "scale": 0, "weight": 560})
    return totals.model_copy(
        update={
            "latency_s": totals.latency_s / 2,
            "energy_j": totals.energy_j * 3,
            "area_mm2": 0.5,
            "dram_bytes": stored,
        }
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_tables_fit_the_terminal_and_keep_the_main_figures(sample_run, monkeypatch, width):
    result = build(sample_run)
    shown = render(result, {"dense-int8": result.totals}, monkeypatch, width)

    tables = shown[shown.index("layer") :].split("slt against")[0]
    assert max(map(len, tables.splitlines())) <= width
    assert "\x1b" not in shown
    for word in ("first", "second", "total", "cycles", "energy"):
        assert word in tables


@pytest.mark.parametrize("width", [60, 80, 120])
def test_comparison_fits_the_terminal_with_a_line_per_run(sample_run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_comparison(make_console(stream), [build(sample_run)] * 3)
    lines = stream.getvalue().splitlines()

    assert max(map(len, lines)) <= width
    assert sum("tiny.pt" in line and "800 ns" in line and "11.1 nJ" in line for line in lines) == 3


def test_shape_and_stall_cause_appear_when_there_is_room(sample_run, monkeypatch):
    result = build(sample_run)

    assert "10x10x1x1" in render(result, {}, monkeypatch, 140)
    assert "wait_dram" in render(result, {}, monkeypatch, 140)


def test_verdict_says_gains_and_costs_in_the_right_direction(sample_run):
    result = build(sample_run)
    lines = verdict(result, {"dense-int8": larger(result.totals)})

    # 16 + 8 + 16 bytes of mask, seed and scale against 560 bytes of weights.
    assert lines[0] == (
        "ticket against dense int8: 14.0x less weight traffic, 3.00x less energy, 2.00x more time, "
        "0.250 mm2 (50.0 %) more chip area."
    )
    assert lines[1].startswith("The ticket reaches 95.0 % on digits;")
    assert "entropy-int8" in lines[2]


def test_verdict_names_what_generator_and_decoder_cost(sample_run):
    result = build(sample_run)
    energy = result.totals.energy_j_by_unit.model_copy(update={"weight_generator": result.totals.energy_j / 10})
    causes = result.totals.cycles_by_cause.model_copy(update={"wait_generator": 4, "wait_decoder": 16})
    totals = result.totals.model_copy(
        update={"energy_j_by_unit": energy, "cycles_by_cause": causes, "area_mm2_by_unit": {"mask_decoder": 0.15}}
    )

    lines = verdict(result.model_copy(update={"totals": totals}), {"dense-int8": totals})

    assert lines[1] == (
        "Weight generator and mask decoder take 5.0 % of the time (waiting for them), 10.0 % of the energy "
        "and 20.0 % of the area."
    )


def test_verdict_admits_that_nothing_was_measured(sample_run):
    result = build(replace(sample_run, trace=replace(sample_run.trace, accuracy=None)))

    assert verdict(result, {"x": result.totals})[1].startswith("No accuracy was measured")
    assert "the same weight traffic, the same energy, the same time" in verdict(result, {"x": result.totals})[0]
