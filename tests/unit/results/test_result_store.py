import csv
import io
import json

import pytest

from accelsim.results import store
from accelsim.results.build import build_result, workload_record
from accelsim.results.model import ResultError
from accelsim.results.schema import SCHEMA_PATH, check_result, schema_text


def build(sample_run, comparison=None):
    return build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost, comparison)


def counters_json(sample_run):
    trace = sample_run.trace
    return store.counters_text(sample_run.hardware, workload_record(trace), sample_run.counters, dict(trace.skipped))


def test_committed_schema_is_that_of_the_model():
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), "run: make schema"


def test_summary_has_the_agreed_keys_in_order(sample_run):
    document = json.loads(store.result_text(build(sample_run)))

    assert list(document) == [
        "schema_version", "accelsim_version", "hardware", "workload", "storage", "totals", "limits", "skipped",
        "layers",
    ]  # fmt: skip
    assert list(document["layers"][0])[:4] == ["name", "kind", "shape", "latency_cycles"]
    assert list(document["totals"])[-11:] == [
        "tops", "tops_per_w", "edp_js", "frames_per_s", "latency_s_per_input", "energy_j_per_input", "tokens_per_s",
        "energy_j_per_token", "time_to_first_token_s", "area_mm2", "area_mm2_by_unit",
    ]  # fmt: skip


def test_comparison_appears_only_when_given(sample_run):
    totals = build(sample_run).totals
    text = store.result_text(build(sample_run, {"dense-int8": totals}))

    assert check_result(text).comparison == {"dense-int8": totals}


def test_a_written_run_reads_back_identical(sample_run, tmp_path):
    result = build(sample_run)
    folder = store.prepare_folder(tmp_path / "deep" / "out")
    store.write_run(folder, result, counters_json(sample_run))

    assert store.read_summary(folder) == result
    stored = store.read_counters(folder)
    assert stored.counters == sample_run.counters
    assert stored.hardware.config == sample_run.hardware.config
    assert store.rebuild_result(stored, stored.hardware, sample_run.cost, "x") == result
    assert sorted(path.name for path in folder.iterdir()) == ["counters.json", "layers.csv", "summary.json"]


def test_a_name_is_no_formula_in_a_table_and_numbers_stay_numbers():
    row = store.csv_row({"name": "=cmd|calc", "kind": "conv2d", "x": -1}, ["name", "kind", "x"])

    assert row == {"name": "'=cmd|calc", "kind": "conv2d", "x": "-1"}


def test_layers_csv_columns_are_paths_of_the_json(sample_run):
    rows = list(csv.DictReader(io.StringIO(store.layers_text(build(sample_run)))))

    assert [row["name"] for row in rows] == ["first", "second"]
    assert rows[0]["shape"] == "10x10x1x1"
    assert rows[1]["dram_bytes.mask"] == "12"
    assert rows[1]["actions.pe_array.mac_ternary"] == "1800"
    assert rows[1]["actions.vector_unit.ops"] == "0"


def test_counter_order_does_not_change_the_bytes(sample_run):
    from dataclasses import replace

    counters = sample_run.counters
    turned = replace(counters.layers[0], actions=dict(reversed(counters.layers[0].actions.items())))
    other = replace(sample_run, counters=replace(counters, layers=(turned, counters.layers[1])))

    assert counters_json(other) == counters_json(sample_run)
    assert store.result_text(build(other)) == store.result_text(build(sample_run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=3), r"r.json: schema_version: 3 is not known, .* reads 1 and 2; update acc"),
        (lambda d: d.update(schema_version="2"), r'r.json: schema_version: "2" is not known, .*; give a summary.json'),
        (lambda d: d["totals"].pop("tops"), r"r.json: \$.totals: 'tops' is a required property"),
        (lambda d: d.update(extra=1), r"Additional properties are not allowed"),
        (lambda d: d["layers"][0].update(latency_cycles=99), r"layers.first.cycles_by_cause: 100 is not latency"),
        (lambda d: d["totals"].update(energy_j_per_input=1.0), r"energy_j_per_input: 1.0 times workload.batch is not"),
        (lambda d: d["totals"].update(dram_energy_j_by_state={"read": 1.0}), r"dram_energy_j_by_state: 1.0 is not "),
    ],
)
def test_a_wrong_summary_is_refused_in_one_line(sample_run, change, message):
    document = json.loads(store.result_text(build(sample_run)))
    change(document)

    with pytest.raises(ResultError, match=message) as caught:
        check_result(json.dumps(document), "r.json")
    assert "\n" not in str(caught.value)


def test_earlier_runs_are_removed_and_nothing_else(sample_run, tmp_path):
    store.write_run(store.prepare_folder(tmp_path / "000-old"), build(sample_run), counters_json(sample_run))
    store.write_run(store.prepare_folder(tmp_path / "001-noted"), build(sample_run), counters_json(sample_run))
    (tmp_path / "001-noted" / "note.txt").write_text("mine")
    (tmp_path / "other").mkdir()

    store.remove_runs(tmp_path)

    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["001-noted", "001-noted/note.txt", "other"]


def test_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("x")

    with pytest.raises(ResultError, match="is a file, not a folder"):
        store.prepare_folder(tmp_path / "taken")
    with pytest.raises(ResultError, match="cannot be written"):
        store.prepare_folder(tmp_path / "taken" / "below")


def test_broken_counters_file_is_refused(tmp_path):
    path = tmp_path / "counters.json"
    path.write_text('{"schema_version": 1}')

    with pytest.raises(ResultError, match=r"counters.json: hardware: Field required; give a counters.json"):
        store.read_counters(tmp_path)
    with pytest.raises(ResultError, match="no such file"):
        store.read_summary(tmp_path)


def test_a_run_that_cannot_be_written_leaves_no_folder(sample_run, tmp_path, monkeypatch):
    def fails(*_):
        raise ResultError("no space left; free some")

    monkeypatch.setattr(store, "write_files", fails)
    with pytest.raises(ResultError, match="no space left"):
        store.write_run_to(tmp_path / "deep" / "out", build(sample_run), counters_json(sample_run))
    assert not list(tmp_path.iterdir())
