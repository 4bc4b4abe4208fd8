"""Saved files of schema version 1, written by the last program that had it, are read as ones of today."""

import json
import re
import shutil
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.results.model import ResultError
from accelsim.results.schema import check_result
from accelsim.results.store import read_counters, read_summary, rebuild_result, result_document

OLD = Path(__file__).parent / "version_1"


def old(name):
    return json.loads((OLD / name).read_text(encoding="utf-8"))


def leaves(tree, place=""):
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None:
        return {place: tree}
    return {key: leaf for name, part in pairs for key, leaf in leaves(part, f"{place}.{name}").items()}


def test_an_old_summary_keeps_every_figure_and_gains_nulls_and_zeros():
    before, after = leaves(old("summary.json")), leaves(result_document(read_summary(OLD)))

    assert {key: leaf for key, leaf in before.items() if after.get(key) != leaf} == {".schema_version": 1}
    new = {re.sub(r"^\.(layers\.\d+|totals|comparison\.[^.]+)\.", "", key) for key in set(after) - set(before)}
    known = {key: leaf for key, leaf in after.items() if key not in before and leaf not in (None, 0)}
    assert {key.rpartition(".")[2] for key in known} == {"batch", "phase", "latency_s_per_input", "energy_j_per_input"}
    assert len(new) == 21


def test_old_counters_give_what_the_old_summary_says_and_the_bandwidths():
    stored, summary = read_counters(OLD), read_summary(OLD)
    cost = evaluate(stored.counters, stored.hardware.config, load_tables())
    again = rebuild_result(stored, stored.hardware, cost, "x")

    for name in ("cycles_by_cause", "dram_bytes", "stored_bits", "actions"):
        assert getattr(again.totals, name) == getattr(summary.totals, name)
    assert again.workload == summary.workload
    assert set(stored.comparison) == {"dense-int8"}
    assert (again.totals.peak_bandwidth_gbps, summary.totals.peak_bandwidth_gbps) == (12.8, None)


def test_the_batch_of_an_old_run_is_its_inputs_per_second_times_its_time():
    summary, counters = old("summary.json"), old("counters.json")
    for totals in (summary["totals"], *summary["comparison"].values()):
        totals["frames_per_s"] *= 7
    result = check_result(json.dumps(summary))

    assert result.workload.batch == 7
    assert result.totals.latency_s_per_input == result.totals.latency_s / 7
    assert counters["num_frames"] == read_counters(OLD).workload.batch == 1


def test_cost_report_and_compare_read_both_versions(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, "one")
    assert main(["cost", "one", "--out", "two", "--json"]) == 0
    written = json.loads(Path("two/summary.json").read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == written and written["schema_version"] == 2

    assert main(["report", "one", "-o", "page.md"]) == 0
    page = Path("page.md").read_text(encoding="utf-8")
    assert page.startswith("# What does strong-lottery-ticket storage buy tiny on edge?\n")

    assert main(["cost", "one", "--node", "7", "--out", "three"]) == 0
    capsys.readouterr()
    assert main(["compare", "one", "three", "--out", "both"]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"^ edge [0-9a-f]{6} ", shown, re.M)) >= 9
    rows = Path("both/compare.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 5 and all(row.endswith(",") for row in rows[1:])  # nobody saved what is synthetic


@pytest.mark.parametrize("words", [["cost", "new"], ["report", "new", "-o", "x.md"], ["compare", "new", "--out", "x"]])
def test_a_file_of_a_later_version_is_refused_in_one_line(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("new").mkdir()
    for name in ("summary.json", "counters.json"):
        Path("new", name).write_text(json.dumps({**old(name), "schema_version": 3}), encoding="utf-8")

    assert main(words) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(
        r".*new/\w+\.json: schema_version: 3 is not known, .* reads 1 and 2; update accelsim, .*\n", error
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["workload"].update(batch=9),
            r"r: workload.batch: is not a field of schema version 1; give a summ",
        ),
        (lambda d: d["totals"].pop("cycles_by_cause"), r"r: \$.totals: 'cycles_by_cause' is a required property"),
        (lambda d: d.update(layers=[7], totals=[], comparison=3), r"r: \$.*is not of type"),
        (lambda d: d["totals"].update(latency_s=1e999), r"r: "),
        (lambda d: d["layers"][0].update(macs=1), r"r: totals.macs: "),
    ],
)
def test_a_broken_old_summary_is_refused_as_a_new_one_is(change, message):
    document = old("summary.json")
    change(document)

    with pytest.raises(ResultError, match=message):
        check_result(json.dumps(document), "r")
