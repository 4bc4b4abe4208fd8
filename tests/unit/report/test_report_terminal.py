import io
from dataclasses import replace

import pytest

from accelsim.report.sentence import closing, remarks
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


def test_shape_appears_when_there_is_room_and_the_bottleneck_always(sample_run, monkeypatch):
    result = build(sample_run)

    assert "10x10x1x1" in render(result, {}, monkeypatch, 140)
    assert "10x10x1x1" not in render(result, {}, monkeypatch, 60)
    assert all("bottleneck" in render(result, {}, monkeypatch, width) for width in (60, 80, 140))


def test_no_unit_is_parted_from_its_figure_on_a_narrow_terminal(sample_run, monkeypatch):
    result = build(sample_run)
    rivals = {name: larger(result.totals) for name in ("dense-int8", "entropy-int4", "entropy-int4@chip")}

    assert "400 ns (0.500x)" in render(result, rivals, monkeypatch, 120)
    narrow = [line.rstrip() for line in render(result, rivals, monkeypatch, 80).splitlines()]
    assert any(line.split() == ["latency", "800", "ns", *["0.500x"] * 3] for line in narrow)


def test_a_run_ends_in_the_finding_the_limit_and_the_caveat(sample_run):
    result = build(sample_run)
    first, second, third = closing(result, {"dense-int8": larger(result.totals)}, ["csr-int8"])

    assert first == "Against dense int8, the ticket needs 3.00x less energy and 2.00x more time."
    assert second.endswith(" of its time is computing.")
    assert third == (
        "The accuracy, 95.0 % on digits, is the ticket's; that of rivals is not simulated; pruned, entropy-coded "
        "weights can be smaller still (--compare entropy-int8,entropy-int4); values of pruned int8 as CSR are "
        "synthetic; --uncertainty says how sure the energies are."
    )
    unmeasured = build(replace(sample_run, trace=replace(sample_run.trace, accuracy=None)))
    assert closing(unmeasured, {})[2].startswith("No accuracy was measured")
    assert "the same energy and the same time" in closing(result, {"x": result.totals})[0]


def test_remarks_name_what_generator_and_decoder_cost(sample_run):
    result = build(sample_run)
    energy = result.totals.energy_j_by_unit.model_copy(update={"weight_generator": result.totals.energy_j / 10})
    causes = result.totals.cycles_by_cause.model_copy(update={"wait_generator": 4, "wait_decoder": 16})
    totals = result.totals.model_copy(
        update={
            "energy_j_by_unit": energy,
            "cycles_by_cause": causes,
            "area_mm2_by_unit": {"mask_decoder": 0.15, "pe_array": 0.6},
        }
    )

    assert remarks(result.model_copy(update={"totals": totals}), {"dense-int8": totals}) == [
        "Weight generator and mask decoder take 5.0 % of the time (waiting for them), 10.0 % of the energy "
        "and 20.0 % of the area."
    ]
