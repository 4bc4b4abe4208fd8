"""``run --vary`` and ``--chip``, and ``compare --chip``, as a user types them."""

from __future__ import annotations

import csv
import json

import pytest

from accelsim.cli.main import main

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
TOPOLOGY = "Layer, M, N, K\nfc1, 64, 256, 256\nfc2, 64, 10, 256\n"
PORTLESS = """name: plain
clock_mhz: 500
node_nm: 22
pe_array: {rows: 8, cols: 8}
weight_generator: {}
mask_decoder: {}
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlp.csv").write_text(TOPOLOGY)
    (tmp_path / "plain.yaml").write_text(PORTLESS)
    return "mlp.csv"


def printed(capsys, *words):
    assert main(["-q", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *words):
    assert main(list(words)) == 2
    return capsys.readouterr().err


def test_a_row_of_vary_is_the_run_with_set(table, capsys):
    stated = [table, "--sparsity", "0.5", "--prune-ratio", "0.35", "--lock-ratio", "0.35", "--json"]
    words = ["--vary", "pe_array.cols=8,16", "--vary", "dram.data_rate_mtps=400,0", "--chip", "edge"]
    rows = json.loads(printed(capsys, "run", "plain.yaml", *stated, *words))["rows"]
    assert [(row["hardware"], row["vary.pe_array.cols"], row["status"]) for row in rows] == [
        (chip, cols, status) for chip in ("plain.yaml", "edge") for cols in (8, 16) for status in ("ok", "failed")
    ]
    # The ports of this chip are not stated: they follow the array in both.
    changes = ["--set", "pe_array.cols=16", "--set", "dram.data_rate_mtps=400"]
    totals = json.loads(printed(capsys, "run", "plain.yaml", *stated, *changes))["totals"]
    assert {name: rows[2][name] for name in ("latency_cycles", "energy_j", "area_mm2")} == {
        name: totals[name] for name in ("latency_cycles", "energy_j", "area_mm2")
    }


def test_table_says_what_varies_and_which_row_is_best(table, capsys):
    text = printed(capsys, "run", "edge", table, "--vary", "clock_mhz=250,500", "--out", "out")
    assert "clock_mhz" in text
    assert "fastest: clock_mhz 500 (" in text
    with open("out/results.csv", encoding="utf-8") as stream:
        assert [row["vary.clock_mhz"] for row in csv.DictReader(stream)] == ["250", "500"]


def test_a_batch_is_told_per_input_and_a_size_as_it_was_typed(table, capsys):
    text = printed(
        capsys, "run", "edge", table, "--vary", "batch=1,8", "--vary", "weight_buffer.capacity_bytes=64KiB,65537B"
    )
    assert "latency per input" in text and "energy per input" in text
    assert " 64KiB " in text and " 65537B " in text and "65536" not in text


@pytest.mark.parametrize("words", [["edge", "net", "--vary", "batch=1,8"], ["edge", "net"]])
def test_a_sweep_of_a_chip_says_what_to_type(capsys, words):
    said = refused(capsys, "sweep", *words, "--out", "out")
    assert "from the file SPACE; without a file: accelsim run CHIP NETWORK --vary PATH=VALUE,... --out DIR" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vary", "clock_mhz"], "--vary clock_mhz: not path=value,value; write e.g. --vary dram.data_rate_mtps"),
        (["--vary", "clock_mz=1"], "--vary clock_mz: clock_mz: unknown path; did you mean 'clock_mhz'?"),
        (["--vary", "clock_mhz=1", "--set", "clock_mhz=2"], "--vary clock_mhz: is set by --set clock_mhz=2 too"),
        (["--vary", "clock_mhz=1", "--vary", "clock_mhz=2"], "--vary clock_mhz: varies twice"),
        (["--vary", "clock_mhz=1", "--exact"], "--exact is of one run"),
        (["--vary", "pe_array.rows=0,-1"], "mlp.csv: no combination can run; the first: pe_array.rows: 0 is not >= 1"),
        (["--vary", f"seed={','.join(map(str, range(300)))}"], "--vary seed: seed: unknown path"),
        (["--vary", f"clock_mhz={','.join(map(str, range(1, 300)))}"], "--vary: 299 rows; at most 256 make a table"),
    ],
)
def test_what_cannot_vary_is_one_line(table, capsys, words, message):
    assert message in refused(capsys, "run", "edge", table, *words)


def test_compare_takes_more_chips(table, capsys):
    text = printed(capsys, "compare", "edge", table, "--chip", "plain.yaml", "--storage", "dense-int8", "--out", "out")
    assert "plain" in text
    with open("out/compare.csv", encoding="utf-8") as stream:
        assert [row["hardware.name"] for row in csv.DictReader(stream)] == ["edge", "plain"]
