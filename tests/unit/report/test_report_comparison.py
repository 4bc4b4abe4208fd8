import csv
import io
import json

import pytest

from accelsim.errors import MappingError
from accelsim.flow import left_out_lines
from accelsim.report.breakeven import Family, break_even_text, print_break_even
from accelsim.report.terminal import make_console, print_comparison
from accelsim.report.together import closing_of
from accelsim.results.breakeven import break_even
from accelsim.results.build import build_result
from accelsim.results.compare import runs_text
from accelsim.results.model import LimitRecord
from accelsim.trace.model import LayerTrace


@pytest.fixture
def runs(sample_run):
    """A ticket, the same ticket coded otherwise, and two rivals of which the second is made up."""
    ticket = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    area = {"mask_decoder": 0.0025, "pe_array": 0.25}
    totals = ticket.totals.model_copy(update={"area_mm2_by_unit": area})
    names = ("slt-raw", "slt-unfrozen", "csr-int8")
    return [ticket, *(ticket.model_copy(update={"storage": name, "totals": totals}) for name in names)]


SYNTHETIC = [False, False, False, True]


def shown_by(print_them, monkeypatch, width=120):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_them(make_console(stream))
    return stream.getvalue()


def test_the_tickets_accuracy_stands_only_beside_the_ticket(runs, monkeypatch):
    rows = list(csv.DictReader(io.StringIO(runs_text(runs, SYNTHETIC))))
    shown = shown_by(lambda console: print_comparison(console, runs, SYNTHETIC), monkeypatch)

    assert [row["workload.accuracy"] for row in rows] == ["0.95", "0.95", "", ""]
    assert shown.count("95.0 %") == 2


def test_synthetic_formats_are_marked(runs, monkeypatch):
    rows = list(csv.DictReader(io.StringIO(runs_text(runs, SYNTHETIC))))
    shown = shown_by(lambda console: print_comparison(console, runs, SYNTHETIC), monkeypatch)
    without = shown_by(lambda console: print_comparison(console, runs[:2], SYNTHETIC[:2]), monkeypatch)

    assert [row["synthetic"] for row in rows] == ["false", "false", "false", "true"]
    assert "csr-int8*" in shown
    assert "* values or statistics are synthetic" in shown
    assert "*" not in without


def test_bytes_by_class_and_area_of_decoder_and_generator_are_shown(runs, monkeypatch):
    rows = list(csv.DictReader(io.StringIO(runs_text(runs, SYNTHETIC))))
    shown = shown_by(lambda console: print_comparison(console, runs, SYNTHETIC), monkeypatch)

    assert [row["totals.area_mm2_by_unit.mask_decoder"] for row in rows] == ["0", "0.0025", "0.0025", "0.0025"]
    assert {row["totals.area_mm2_by_unit.weight_generator"] for row in rows} == {"0"}
    for word in ("mask", "seed", "scale", "weight", "index", "activations", "decoder mm2", "generator mm2"):
        assert word in shown
    assert shown.count("0.00250") == 3
    assert shown.count("8.00 B") == 4  # the seeds of each run


@pytest.mark.parametrize("width", [60, 80])
def test_both_tables_fit_a_narrow_terminal(runs, monkeypatch, width):
    shown = shown_by(lambda console: print_comparison(console, runs, SYNTHETIC), monkeypatch, width)
    assert max(map(len, shown.splitlines())) <= width


@pytest.fixture
def families(runs):
    """The ticket beside its rivals twice, the second time half frozen and at half the energy."""
    ticket, rivals = runs[0], tuple(runs[1:])
    work = ticket.workload.model_copy(update={"path": "half.pt", "freeze_ratio": 0.5})
    half = ticket.model_copy(
        update={"workload": work, "totals": ticket.totals.model_copy(update={"energy_j": ticket.totals.energy_j / 2})}
    )
    points = tuple(break_even(ticket, rival, 1e-9, 1e-9) for rival in rivals)
    by_policy = {rival.storage: {"never asleep (this chip)": 2.0, "power-down": 3.0} for rival in rivals}
    return [Family(each, rivals, points, by_policy) for each in (ticket, half)]


def test_freezing_ratio_is_given_only_against_formats_that_do_not_freeze(families, monkeypatch):
    shown = shown_by(lambda console: print_break_even(console, families[:1]), monkeypatch)
    last = {line.split()[1]: line.split()[-2:] for line in shown.splitlines() if " csr" in line or " slt-" in line}

    assert last["slt-raw"][-1] == "-"
    assert last["slt-unfrozen"] == ["never", "anything"]
    assert "2.00x to 3.00x" in shown


def test_tickets_share_one_table_and_their_details_are_in_the_document(families, monkeypatch):
    shown = shown_by(lambda console: print_break_even(console, families), monkeypatch)
    document = json.loads(break_even_text(families))

    assert shown.count("equal at pJ/bit") == 1 and shown.count("csr-int8") == 2
    assert [each["workload"] for each in document] == [each.ticket.workload.path for each in families]
    assert document[0]["rivals"][2]["energy_ratio_by_idle_memory"]["power-down"] == 3.0


def test_many_runs_end_in_the_span_over_their_networks(runs, families):
    half = families[1].ticket
    rivals = [run.model_copy(update={"workload": half.workload}) for run in runs[1:]]
    finding, limit, caveat = closing_of([*runs, half, *rivals], [*SYNTHETIC, *SYNTHETIC])

    assert finding.startswith(
        "Against ticket with plain mask, the tickets need up to 2.00x less energy and the same time"
    )
    assert limit.startswith("Most of the time is ") and limit.endswith(" in 2 of 2 runs.")
    assert "95.0 % on " in caveat and "values of pruned int8 as CSR are synthetic" in caveat


def test_what_was_tried_to_no_effect_is_not_said_to_limit_a_run(runs, families):
    useless = LimitRecord(share=0.0, latency_cycles_with_twice=runs[0].totals.latency_cycles)
    tried = [run.model_copy(update={"limits": {"accumulator.ports": useless}}) for run in (runs[0], families[1].ticket)]

    assert closing_of(tried, [])[1].startswith("Most of the time is ")


def test_formats_left_out_for_one_reason_take_one_line():
    failures = [
        ("slt", MappingError("storage slt: no supermask; do this")),
        ("folded", MappingError("storage slt: no supermask; do this")),
        ("elsa-90", MappingError("chip: storage elsa-90 needs a decoder")),
    ]
    assert left_out_lines(LayerTrace("net", (), "dense"), failures) == [
        "net: left out: storage slt, folded: no supermask; do this",
        "net: left out: chip: storage elsa-90 needs a decoder",
    ]
