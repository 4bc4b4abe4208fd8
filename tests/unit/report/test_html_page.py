import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from accelsim.config.hardware import MaskDecoderConfig, WeightGeneratorConfig
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.report.html import build_page, page_html
from accelsim.report.page_card import card
from accelsim.report.page_markdown import page_markdown
from accelsim.report.page_runs import PageRun, cases_of, read_results
from accelsim.report.page_svg import Axis, BarRow, Mark, Segment, Series, bar_chart, nice_ticks, xy_chart
from accelsim.report.page_tables import Cell, PageTable, csv_text
from accelsim.report.page_words import answer, lead, overall, question
from accelsim.report.terminal import make_console, print_comparison, print_run
from accelsim.results.build import build_result, workload_record
from accelsim.results.model import ResultError
from accelsim.results.store import counters_text, result_text, write_run

HOSTILE = '<script>alert("x")</script>'


def sample(sample_run, **work):
    result = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    return result.model_copy(update={"workload": result.workload.model_copy(update=work)})


def rival(result, factor):
    totals = result.totals.model_copy(update={"energy_j": result.totals.energy_j * factor})
    return result.model_copy(update={"storage": "dense-int8", "totals": totals})


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.addresses = 0, []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("href", "src", "data") and value]


def test_page_escapes_names_and_asks_the_network_for_nothing(sample_run):
    result = sample(sample_run, name=HOSTILE, path=HOSTILE, dataset=HOSTILE)
    layers = tuple(layer.model_copy(update={"name": HOSTILE + layer.name}) for layer in result.layers)
    result = result.model_copy(update={"layers": layers})
    page = page_html(build_page([PageRun(result, None), PageRun(rival(result, 3.0), None)], title=HOSTILE))

    tags = Tags()
    tags.feed(page)
    assert tags.scripts == 1
    assert "alert(" in page and HOSTILE not in page
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page)


def test_page_depends_on_the_results_alone(sample_run):
    runs = [PageRun(sample(sample_run), None)]
    assert page_html(build_page(runs)) == page_html(build_page(runs))


def test_answer_names_the_factor_in_the_direction_it_goes(sample_run):
    result = sample(sample_run)
    cheaper = cases_of([PageRun(result, None), PageRun(rival(result, 3.0), None)])
    dearer = cases_of([PageRun(result, None), PageRun(rival(result, 0.5), None)])

    assert lead(cheaper) == "Against dense int8, the ticket needs 3.00x less energy and the same time."
    assert lead(dearer) == "Against dense int8, the ticket needs 2.00x more energy and the same time."
    assert card(cheaper[0]).band == "no band: counters are not saved"
    assert "dense int8 needs less energy than ticket." in answer(dearer[0])


def test_the_question_of_a_page_speaks_of_tickets_only_where_one_is_stored(sample_run):
    ticket = sample(sample_run, name="net")
    dense = ticket.model_copy(update={"storage": "dense-fp32"})
    asked = {name: question(cases_of([PageRun(run, None) for run in runs])) for name, runs in {
        "ticket": [ticket, rival(ticket, 2.0)], "dense": [dense, rival(ticket, 2.0)], "alone": [dense],
    }.items()}  # fmt: skip

    assert asked == {
        "ticket": "What does strong-lottery-ticket storage buy net on sample?",
        "dense": "Which storage of its weights suits net on sample?",
        "alone": "What does net need on sample?",
    }


def test_two_runs_of_a_language_model_are_two_cases(sample_run):
    runs = [sample(sample_run, phase="decode", context_length=9), sample(sample_run, phase="prefill", context_length=8)]
    cases = cases_of([PageRun(run, None) for run in runs])

    assert [case.network.partition(", ")[2] for case in cases] == [
        "decode of a token behind 8",
        "prefill up to 8 tokens",
    ]


@pytest.mark.parametrize(("chip", "words"), [
    ("eyeriss", "Beside its measured times, traffic and power: "),
    ("hiddenite_dense", "Beside its published TOPS/W: -75 % to -58 %"),
    ("edge", "No chip like it was measured"),
])  # fmt: skip
def test_a_card_says_how_far_the_model_is_from_that_chip(sample_run, chip, words):
    result = sample(sample_run)
    result = result.model_copy(update={"hardware": result.hardware.model_copy(update={"name": chip})})
    assert card(cases_of([PageRun(result, None)])[0]).trust.startswith(words)


def test_what_was_left_out_stands_in_page_and_tables(sample_run, capsys):
    result = sample(sample_run, name="net").model_copy(update={"skipped": {"Odd": 2, "Strange": 1}})
    wanted = "net: left out: 2 x Odd, 1 x Strange; every total is without that."
    print_run(make_console(sys.stdout), result, {})
    print_comparison(make_console(sys.stdout), [result, rival(result, 2.0)])
    assert capsys.readouterr().out.count(wanted) == 2
    assert wanted in answer(cases_of([PageRun(result, None)])[0])
    assert wanted in answer(cases_of([PageRun(result, None), PageRun(rival(result, 3.0), None)])[0])


def test_the_rival_of_least_energy_is_named_too(sample_run):
    result = sample(sample_run)
    cheap = rival(result, 1.5).model_copy(update={"storage": "entropy-int4"})
    runs = [result, rival(result, 3.0), cheap, result.model_copy(update={"storage": "slt-rle"})]
    case = cases_of([PageRun(run, None) for run in runs])[0]

    assert "; against entropy-coded int4, its rival of least energy, 1.50x less energy and" in lead([case])
    assert ("against entropy-coded int4", "1.50x less energy") in card(case).facts


def test_equal_rivals_are_called_equal_and_slow_decoders_named(sample_run):
    result = sample(sample_run)
    waits = result.totals.cycles_by_cause.model_copy(update={"wait_decoder": result.totals.latency_cycles // 2})
    slow = rival(result, 3.0).totals.model_copy(update={"cycles_by_cause": waits})
    others = [
        PageRun(result.model_copy(update={"storage": "slt-raw"}), None),
        PageRun(rival(result, 3.0).model_copy(update={"totals": slow}), None),
    ]
    sentences = answer(cases_of([PageRun(result, None), *others])[0])

    assert "ticket with plain mask: the same as ticket here." in sentences
    assert any("dense int8 (50.0 % of its time). A wider one" in sentence for sentence in sentences)


def test_focus_is_the_most_frozen_ticket_within_a_point_of_the_best_accuracy(sample_run):
    ratios = ((0.0, 0.981), (0.5, 0.984), (0.7, 0.974), (0.9, 0.96))
    runs = [
        PageRun(sample(sample_run, path=f"{frozen}.pt", freeze_ratio=frozen, accuracy=accuracy), None)
        for frozen, accuracy in reversed(ratios)
    ]
    case = cases_of(runs)[0]

    assert [each.main.result.workload.freeze_ratio for each in case.tickets] == [0.0, 0.5, 0.7, 0.9]
    assert case.focus.main.result.workload.freeze_ratio == 0.7
    assert build_page(runs).lead.startswith("70.0 % frozen, the most within a point of the best accuracy: ")


def test_counters_are_used_only_if_they_cost_what_the_result_says(sample_run, tmp_path):
    chip = with_units(sample_run)
    cost = evaluate(sample_run.counters, chip.config, load_tables())
    counters = counters_text(chip, workload_record(sample_run.trace), sample_run.counters, {})
    true = build_result(chip, sample_run.trace, sample_run.counters, cost)
    for name, result in (("true", true), ("other", sample(sample_run))):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, result, counters)

    first, second = read_results([tmp_path / "true"]), read_results([tmp_path / "other"])
    assert first[0].counters is not None
    assert second[0].counters is None
    assert cases_of(first)[0].focus.bands is not None
    # The same run twice, and by way of the folder above it, counts once.
    assert len(read_results([tmp_path / "true", tmp_path])) == 1


def with_units(sample_run):
    """Return the sample's chip with what its counters need, so that it can be costed."""
    units = {"weight_generator": WeightGeneratorConfig(), "mask_decoder": MaskDecoderConfig()}
    return replace(sample_run.hardware, config=sample_run.hardware.config.model_copy(update=units))


def test_counters_of_another_run_are_one_line(sample_run, tmp_path):
    layers = tuple(
        replace(layer, actions={**layer.actions, "dram": {"read_bits": 7}}) for layer in sample_run.counters.layers
    )
    chip, counters = with_units(sample_run), replace(sample_run.counters, layers=layers)
    text = counters_text(chip, workload_record(sample_run.trace), counters, {})
    write_run(tmp_path, build_result(chip, sample_run.trace, sample_run.counters, sample_run.cost), text)

    with pytest.raises(ResultError, match="not the counters of summary.json beside it"):
        read_results([tmp_path])


def test_counters_of_a_comparison_give_it_layers_and_bands(sample_run, tmp_path):
    chip = with_units(sample_run)
    other = replace(sample_run.counters, storage="slt-rle")
    cost = evaluate(sample_run.counters, chip.config, load_tables())
    totals = build_result(chip, sample_run.trace, other, cost).totals
    text = counters_text(chip, workload_record(sample_run.trace), sample_run.counters, {}, {"slt-rle": other})
    write_run(tmp_path, build_result(chip, sample_run.trace, sample_run.counters, cost, {"slt-rle": totals}), text)

    case = cases_of(read_results([tmp_path]))[0]
    assert len(case.focus.rivals[0].result.layers) == 2
    assert case.focus.comparison("slt-rle").ratio.p05 == 1.0


def test_comparison_inside_a_result_gives_runs_without_layers(sample_run, tmp_path):
    result = sample(sample_run)
    result = result.model_copy(update={"comparison": {"dense-int8": rival(result, 2.0).totals}})
    (tmp_path / "summary.json").write_text(result_text(result), encoding="utf-8")

    runs = read_results([tmp_path / "summary.json"])
    assert [(run.result.storage, len(run.result.layers)) for run in runs] == [("slt", 2), ("dense-int8", 0)]
    assert "less energy" in page_markdown(build_page(runs))


def test_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(ResultError, match=r"no summary.json in it; give a folder"):
        read_results([tmp_path])


def test_markdown_cannot_be_broken_by_names(sample_run):
    text = page_markdown(build_page([PageRun(sample(sample_run, name="a|b <i>x</i> [l](u)"), None)]))
    assert "<i>" not in text
    assert "[l](u)" not in text


def test_csv_cells_are_no_formulas():
    table = PageTable("t", ("a", "b"), ((Cell("=1+1", "=1+1"), Cell("-2", -2)),))
    assert csv_text(table) == "a,b\n'=1+1,-2\n"


@pytest.mark.parametrize("highest", [3e-9, 0.7, 1.0, 4.99, 5.0, 123.0, 9.99e12])
def test_ticks_are_few_and_end_within_the_range(highest):
    ticks = nice_ticks(highest)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] == 0
    assert ticks[-1] <= highest * 1.001


def test_the_answer_for_several_chips_comes_first_with_its_spread(sample_run):
    result = sample(sample_run)
    cases = []
    for number, factor in enumerate((2.0, 4.0)):
        chip = result.hardware.model_copy(update={"name": f"chip{number}", "sha256": str(number) * 64})
        mine = result.model_copy(update={"hardware": chip})
        cases += cases_of([PageRun(mine, None), PageRun(rival(mine, factor), None)])

    assert overall(cases) == [
        "Against dense int8, the ticket needs 2.00x to 4.00x less energy, the same time and the same weight storage."
    ]
    assert overall(cases[:1]) == []


def test_charts_are_wellformed_and_hold_every_value():
    bars = bar_chart(
        "bars", [BarRow("a<b", (Segment(3.0, 0, 'x "y"\nz'), Segment(1.0, 1, "w")), "4 J", 2.0, 5.0)], "energy", "J"
    )
    marks = (Mark(1.0, 10.0, "first"), Mark(100.0, 0.1, "second", strong=False))
    points = xy_chart("points", Axis("x", log=True), Axis("y", log=True), [Series("s", 2, marks, joined=True)])

    tips = [node.get("data-t") for text in (bars, points) for node in ElementTree.fromstring(text).iter()]
    assert [tip for tip in tips if tip] == ['x "y"\nz', "w", "second", "first"]
    for place in re.findall(r'(?:x|y|width)="(-?[\d.]+)"', bars + points):
        assert 0 <= float(place) <= 460


def test_a_whisker_does_not_squash_the_bars():
    row = BarRow("a", (Segment(4.0, 0, "t"),), "4 J", 2.0, 400.0)
    width = float(
        re.search(r'<rect class="bar f0" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', bar_chart("b", [row], "e", "J"))[1]
    )
    assert width > 250


def test_a_table_says_once_what_its_rows_share():
    rows = tuple((Cell("edge", "edge"), Cell(str(number), number), Cell("", "")) for number in (1, 2))
    table = PageTable("t", ("chip", "energy", "left"), rows, "Note.", folds=True).shown

    assert table.columns == ("energy",)
    assert table.note == "The same in all rows: chip: edge. Note."
    assert PageTable("t", ("a", "b", "c"), rows[:1], folds=True).shown.columns == ("figure", "value")
