"""The commands as a user types them, from the root of the repository; in their own process where that matters."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from accelsim.cli.main import main
from accelsim.results.schema import SCHEMA_PATH, check_result
from accelsim.storage import list_formats
from accelsim.storage.chip_decoder import is_as_stated

ROOT = Path(__file__).resolve().parents[2]
CHIP = "hwconfigs/edge.yaml"
# Energy prices move with the node, and tilings for energy with the prices; those for time stay.
FOR_TIME = ("--set", "mapping.objective=latency")
NETWORK = ["conv4", "--width-factor", "0.125", "--sparsity", "0.7", "--prune-ratio", "0.5", "--lock-ratio", "0.2"]


@dataclass(frozen=True)
class Finished:
    status: int
    out: str
    err: str


def accelsim(*words):
    """Call a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(map(str, words)))
    return Finished(status, out.getvalue(), err.getvalue())


def process(*words, hash_seed="0"):
    """Call a command in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    environment.pop("COLUMNS", None)
    done = subprocess.run(
        [sys.executable, "-m", "accelsim.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class SavedRun:
    folder: Path
    shown: Finished


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("e2e") / "new" / "run"
    shown = accelsim("run", CHIP, *NETWORK, *FOR_TIME, "--compare", "dense-int8,dense-fp32", "--out", folder, "--json")
    assert shown.status == 0, shown.err
    return SavedRun(folder, shown)


def test_json_on_standard_output_is_the_summary_file(saved_run):
    assert saved_run.shown.err == ""
    assert saved_run.shown.out == (saved_run.folder / "summary.json").read_text(encoding="utf-8")


def test_summary_satisfies_the_schema_and_its_sums(saved_run):
    jsonschema.validate(json.loads(saved_run.shown.out), json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    result = check_result(saved_run.shown.out)

    assert list(result.comparison) == ["dense-int8", "dense-fp32"]
    assert result.workload.path == "conv4"
    assert result.totals.dram_bytes.mask > 0
    assert result.comparison["dense-int8"].dram_bytes.weight > result.totals.dram_bytes.mask


def test_another_process_with_another_hash_seed_writes_the_same_bytes(saved_run, tmp_path):
    words = ["run", CHIP, *NETWORK, *FOR_TIME, "--compare", "dense-int8,dense-fp32", "--out", tmp_path, "--json"]
    again = process(*words, hash_seed="12345")

    assert again.out == saved_run.shown.out
    for name in ("layers.csv", "counters.json", "summary.json"):
        assert (tmp_path / name).read_bytes() == (saved_run.folder / name).read_bytes()


def test_layers_csv_has_the_layers_of_the_summary(saved_run):
    with open(saved_run.folder / "layers.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    layers = json.loads(saved_run.shown.out)["layers"]

    assert [(row["name"], int(row["latency_cycles"])) for row in rows] == [
        (layer["name"], layer["latency_cycles"]) for layer in layers
    ]


def test_run_prints_tables_and_the_verdict_without_colour(monkeypatch, first_choice):
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = accelsim("run", CHIP, *NETWORK)

    assert shown.status == 0, shown.err
    assert "\x1b" not in shown.out
    for words in ("time by cause", "energy by unit", "Against dense int8, the ticket needs"):
        assert words in shown.out
    assert "bandwidth" in shown.out  # into a pipe go all columns


def test_uncertainty_says_how_sure_each_comparison_is(tmp_path, first_choice):
    shown = accelsim("run", CHIP, *NETWORK, "--compare", "dense-int8", "--uncertainty", "--out", tmp_path)
    bands = json.loads((tmp_path / "uncertainty.json").read_text(encoding="utf-8"))
    pair = bands["comparisons"][0]

    assert shown.status == 0, shown.err
    assert (pair["first"], pair["second"]) == ("slt", "dense-int8")
    assert f"slt needs less energy than dense-int8 in {100 * pair['probability']:.1f} % of the draws" in shown.out
    energy = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["totals"]["energy_j"]
    assert bands["formats"][0]["energy_j"]["value"] == pytest.approx(energy, rel=1e-9)
    assert (tmp_path / "uncertainty.png").read_bytes().startswith(b"\x89PNG")


def test_timeline_is_written_and_changes_nothing(saved_run, tmp_path):
    file = tmp_path / "timeline.json"
    words = ["run", CHIP, *NETWORK, *FOR_TIME, "--compare", "dense-int8,dense-fp32", "--json", "--timeline", file]

    assert accelsim(*words).out == saved_run.shown.out
    events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    drawn = {names[event["tid"]].partition(" (")[0] for event in events if event["ph"] == "X"}
    units = {"layers", "pe_array", "weight_generator", "mask_decoder", "vector_unit"}
    assert units | {"dma weights", "dram channel 0"} <= drawn


def test_costing_again_at_the_same_node_gives_the_same_result(saved_run):
    assert accelsim("cost", saved_run.folder, "--json").out == saved_run.shown.out


def test_a_run_compared_with_nothing_has_no_comparison_and_costs_the_same_again(
    tmp_path, capsys, monkeypatch, first_choice
):
    monkeypatch.chdir(ROOT)
    assert main(["run", CHIP, *NETWORK, "--compare", "none", "--json", "--out", str(tmp_path)]) == 0
    ran = capsys.readouterr().out
    assert "comparison" not in json.loads(ran)
    assert "comparison" not in json.loads((tmp_path / "counters.json").read_text(encoding="utf-8"))

    assert main(["cost", str(tmp_path), "--json"]) == 0
    assert capsys.readouterr().out == ran


def test_costing_again_answers_for_the_rivals_too(saved_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["cost", str(saved_run.folder), "--node", "7", "--uncertainty", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "costed at 7 nm and 0.7 V, the node's nominal supply" in shown
    assert "slt needs less energy than dense-int8 in" in shown

    assert main(["run", CHIP, *NETWORK, *FOR_TIME, "--compare", "dense-int8,dense-fp32", "--json",
                 "--set", "node_nm=7", "--set", "voltage_v=0.7"]) == 0  # fmt: skip
    simulated = json.loads(capsys.readouterr().out)
    costed = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert costed["comparison"] == simulated["comparison"]
    assert costed["totals"] == simulated["totals"]
    assert {each["storage"] for each in json.loads((tmp_path / "uncertainty.json").read_text())["formats"]} == {
        "slt", "dense-int8", "dense-fp32",
    }  # fmt: skip


def test_a_node_out_of_range_is_named_as_it_was_given(saved_run, capsys):
    assert main(["cost", str(saved_run.folder), "--node", "1"]) == 2
    assert capsys.readouterr().err == "accelsim: --node: 1.0 is not >= 7; give a number from 7 to 180\n"


def test_costing_at_a_smaller_node_changes_cost_but_not_time(saved_run):
    shown = accelsim("cost", saved_run.folder, "--node-nm", "7", "--json")
    smaller, saved = json.loads(shown.out), json.loads(saved_run.shown.out)

    assert smaller["hardware"]["node_nm"] == 7
    assert smaller["totals"]["latency_cycles"] == saved["totals"]["latency_cycles"]
    assert smaller["totals"]["area_mm2"] < saved["totals"]["area_mm2"]
    assert smaller["totals"]["energy_j_by_unit"]["pe_array"] < saved["totals"]["energy_j_by_unit"]["pe_array"]


def test_compare_writes_a_row_per_run_and_a_figure(tmp_path, first_choice):
    shown = accelsim("compare", CHIP, *NETWORK, "conv2", "--storage", "slt,dense-int8", "--out", tmp_path)

    assert shown.status == 0, shown.err
    with open(tmp_path / "compare.csv", encoding="utf-8", newline="") as stream:
        rows = [(row["workload.name"], row["storage"]) for row in csv.DictReader(stream)]
    assert rows == [("conv4", "slt"), ("conv4", "dense-int8"), ("conv2", "slt"), ("conv2", "dense-int8")]
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    saved = sorted((tmp_path / "runs").iterdir())
    assert [path.name for path in saved] == [
        "000-conv4-slt", "001-conv4-dense-int8", "002-conv2-slt", "003-conv2-dense-int8",
    ]  # fmt: skip
    assert check_result((saved[2] / "summary.json").read_text(encoding="utf-8")).workload.name == "conv2"


def test_a_rival_that_nobody_asked_for_is_left_out_where_the_chip_cannot_decode_it(
    tmp_path, capsys, monkeypatch, first_choice
):
    monkeypatch.chdir(ROOT)
    small = ["compare", "edge_dense", "conv2", "--width-factor", "0.125", "--out", str(tmp_path)]

    assert main(small) == 0
    assert "conv2: left out: edge_dense: mask_decoder: none: storage entropy-int8" in capsys.readouterr().err
    assert main([*small, "--storage", "dense-int8,entropy-int8"]) == 2

    ticket = ["--sparsity", "0.7", "--prune-ratio", "0.5", "--set", "weight_generator=null", "--out", str(tmp_path)]
    assert main(["compare", "edge", "conv2", "--width-factor", "0.125", *ticket]) == 0
    shown = capsys.readouterr()
    assert "conv2: left out: edge: weight_generator: none: storage slt" in shown.err and "dense-int8" in shown.out


def test_all_formats_are_compared_and_those_that_cannot_run_are_named(tmp_path, capsys, monkeypatch, first_choice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text("Layer, M, N, K\nfc, 16, 256, 256\n")
    small = ["net.csv", *NETWORK[3:]]
    chip = ["--set", "pe_array.rows=8", "--set", "pe_array.cols=8", "--set", "weight_generator=null"]

    assert main(["compare", "edge", *small, "--storage", "all", *chip, "--out", str(tmp_path)]) == 0
    without = capsys.readouterr()
    assert main(["compare", "edge", *small, "--storage", "all", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()

    assert without.err.count("left out: ") == 1
    assert "net: left out: edge: weight_generator: none: storage slt, slt-raw, " in without.err
    with open(tmp_path / "compare.csv", encoding="utf-8", newline="") as stream:
        formats = [row["storage"] for row in csv.DictReader(stream)]
    assert [name for name in formats if not is_as_stated(name)] == list(list_formats())
    assert "left out" not in shown.err
    assert "Tickets against others" in shown.out
    assert "Dense weights would need 0.3" in shown.out


@pytest.mark.parametrize(("storage", "said"), [("entropy-int8", True), ("csr-int8", False)])
def test_a_run_says_where_values_are_made_up(capsys, monkeypatch, storage, said, first_choice):
    monkeypatch.chdir(ROOT)
    assert main(["run", CHIP, "workloads/gin_slt_f50.pt", "--storage", storage, "--compare", "none"]) == 0
    assert ("values of entropy-coded int8 are synthetic" in capsys.readouterr().out) is said


def test_trace_shows_what_the_hardware_sees(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["trace", "workloads/resnet_slt.pt", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]

    assert sum(layer["num_weights"] for layer in layers) == 11_164_352
    assert [layer["name"] for layer in layers][-1] == "linear"


def test_a_made_ticket_is_inspected_and_run_with_the_bits_it_stores(tmp_path, first_choice):
    ticket = tmp_path / "made.pt"
    ratios = ["--sparsity", "0.7", "--prune-ratio", "0.5", "--lock-ratio", "0.2", "--width-factor", "0.25"]
    made = accelsim("synth", "conv4", *ratios, "--out", ticket)
    assert (made.status, made.out) == (0, ""), made.err

    inspected = json.loads(accelsim("inspect", ticket, "--json").out)
    run = check_result(accelsim("run", CHIP, ticket, "--json").out)

    assert inspected["command"].endswith("--width-factor 0.25")
    assert run.comparison is None
    assert run.workload.provenance == "synthetic"
    assert run.workload.num_weights == inspected["totals"]["num_weights"]
    assert run.workload.freeze_ratio == pytest.approx(0.7, abs=0.01)
    assert run.totals.stored_bits.mask == inspected["totals"]["stored_bits"]["mask"]


def test_doctor_finds_this_installation_sound():
    shown = process("doctor")

    assert shown.status == 0, shown.out
    assert "ok    simulation" in shown.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "nowhere.yaml", "conv2"], "nowhere.yaml: no such file"),
        (["run", CHIP, "nowhere.pt"], "nowhere.pt: no such file"),
        (["run", CHIP, "conv3"], "conv3: no such file, and network 'conv3' is unknown; did you mean"),
        (["run", CHIP, "conv2", "--storage", "dense-int9"], "did you mean dense-int8"),
        (["run", CHIP, "conv2", "--compare", "slt,foo"], "--compare: 'foo' is unknown"),
        (["run", CHIP, "conv2", "--compare", ","], "--compare: no storage format in ','"),
        (["run", CHIP, "conv2", "--storage", "slt"], "storage slt:"),
        (["run", CHIP, "conv2", "--sparsity", "0.5", "--set", "weight_generator=null"], "weight_generator: none"),
        (["run", CHIP, "conv2", "--out", ""], "--out: an empty name"),
        (["run", CHIP, "conv2", "--input-shape", "3x"], "'3x' is not a shape"),
        (["synth", "conv2", "--out", "nowhere/x.pt"], "--out: nowhere/x.pt: no folder nowhere"),
        (["synth", "conv2", "--sparsity", "0.1", "--prune-ratio", "0.5", "--out", "x.pt"], "sparsity: 0.1"),
        (["search", "conv2", "--sparsity", "1.5", "--out", "x.pt"], "sparsity: 1.5 is not <= 1"),
        (["run", CHIP, "conv2", "--set", "pe_array.rws=4"], "pe_array.rows"),
        (["run", CHIP, "conv2", "--set", "pe_array.rows=0"], "pe_array.rows: 0 is not"),
        (["run", CHIP, "conv2", "--sparsity", "2"], "sparsity: 2.0 is not from 0 to 1"),
        (["run", CHIP, "conv2", "--out", "README.md"], "README.md: is a file, not a folder"),
        (["run", CHIP, "conv2", "--otu", "x"], "no such option '--otu'"),
        (["run", CHIP], "missing argument 'WORKLOAD'"),
        (["run", CHIP, "conv2", "--uncertainty", "--json"], "--uncertainty with --json needs --out"),
        (["import", "README.md", "--out", "x.pt"], "README.md"),
        (["trace", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["run", "README.md", "conv2"], "README.md"),
        (["run", CHIP, "README.md"], "README.md"),
        (["compare", CHIP, "conv2"], "missing option '--out'"),
        (["cost", "tests"], "counters.json: no such file"),
        (["inspect", CHIP], "edge.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, line, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    status = main(words)
    shown = capsys.readouterr()

    assert (status, shown.out) == (2, "")
    assert shown.err.count("\n") == 1, shown.err
    assert line in shown.err


def test_a_mistake_in_its_own_process_is_one_line_too():
    shown = process("run", "nowhere.yaml", "conv2")

    assert (shown.status, shown.out) == (2, "")
    assert (
        shown.err
        == "accelsim: nowhere.yaml: no such file; give the path of a YAML file, or a chip of accelsim list chips\n"
    )
