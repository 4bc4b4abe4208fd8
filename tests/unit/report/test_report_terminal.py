import io
from dataclasses import replace

import pytest

from accelsim.report.sentence import verdict
from accelsim.report.terminal import make_console, print_run
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


def test_shape_and_stall_cause_appear_when_there_is_room(sample_run, monkeypatch):
    result = build(sample_run)

    assert "10x10x1x1" in render(result, {}, monkeypatch, 140)
    assert "wait_dram" in render(result, {}, monkeypatch, 140)


def test_verdict_says_gains_and_costs_in_the_right_direction(sample_run):
    result = build(sample_run)
    lines = verdict(result, {"dense-int8": larger(result.totals)})

    # 16 + 8 + 16 bytes of mask, seed and scale against 560 bytes of weights.
    assert lines[0] == (
        "slt against dense-int8: 14.0x less weight traffic, 3.00x less energy, 2.00x more time. "
        "Cost: 0.250 mm2 (50.0 %) more chip area; 0.0 % of the time waits for generator and decoder."
    )
    assert lines[1].startswith("The ticket reaches 95.0 % on digits;")


def test_verdict_admits_that_nothing_was_measured(sample_run):
    result = build(replace(sample_run, trace=replace(sample_run.trace, accuracy=None)))

    assert verdict(result, {"x": result.totals})[1].startswith("No accuracy was measured")
    assert "the same weight traffic, the same energy, the same time" in verdict(result, {"x": result.totals})[0]
