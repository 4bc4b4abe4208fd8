"""``accelsim size`` as a user types it, and the knee that it finds."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from accelsim.cli.main import main
from accelsim.report.capacities import CapacityCurve, CapacityPoint, print_capacities
from accelsim.report.terminal import make_console
from accelsim.report.text import size_words

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
TOPOLOGY = "Layer, M, N, K\nfc1, 256, 256, 256\nfc2, 256, 10, 256\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlp.csv").write_text(TOPOLOGY)
    return "mlp.csv"


def curve(*traffic):
    points = tuple(CapacityPoint(1024 << index, number, 2.0 + index) for index, number in enumerate(traffic))
    return CapacityCurve("weight_buffer", 2048, points)


def test_a_capacity_below_which_the_run_takes_longer_is_named(monkeypatch, capsys):
    points = tuple(CapacityPoint(1024 << index, 100, 2.0, time) for index, time in enumerate((3.0, 2.0, 2.05, 2.0)))
    monkeypatch.setenv("COLUMNS", "200")
    print_capacities(make_console(sys.stdout), [CapacityCurve("accumulator", 2048, points)])
    assert "Below 2 KiB it takes longer, 1.50x at 1 KiB." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("traffic", "knee"),
    [((400, 200, 104, 100, 100), 4096), ((100, 100), None), ((104, 100), None), ((300, 200, 100), 4096)],
)
def test_the_knee_is_the_smallest_capacity_near_the_least_traffic(traffic, knee):
    found = curve(*traffic).knee
    assert (found and found.capacity_bytes) == knee


def test_rows_are_the_runs_with_set(table, capsys):
    words = ["--buffer", "activation_buffer", "--from", "8KiB", "--to", "64KiB", "--out", "out", "--json"]
    assert main(["-q", "size", "edge", table, *words]) == 0, capsys.readouterr().err
    (found,) = json.loads(capsys.readouterr().out)
    assert [point["capacity_bytes"] for point in found["points"]] == [8192, 16384, 32768, 65536]
    assert (found["buffer"], found["now_bytes"]) == ("activation_buffer", 262144)
    assert main(["-q", "run", "edge", table, "--set", "activation_buffer.capacity_bytes=8KiB", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    first = found["points"][0]
    assert first["dram_bytes"] == totals["dram_read_bytes"] + totals["dram_write_bytes"]
    assert first["energy_j"] == totals["energy_j"]
    with open("out/size.csv", encoding="utf-8") as stream:
        assert [int(row["dram_bytes"]) for row in csv.DictReader(stream)] == [
            point["dram_bytes"] for point in found["points"]
        ]
    with open("out/size.png", "rb") as image:
        assert image.read(8) == b"\x89PNG\r\n\x1a\n"


def test_table_marks_what_is_and_ends_in_a_sentence(table, capsys):
    words = ["--buffer", "activation_buffer", "--from", "1KiB", "--to", "256KiB"]
    assert main(["-q", "size", "edge", table, *words]) == 0
    shown = capsys.readouterr().out
    assert "now" in shown
    assert "activation_buffer: from 1 KiB to 256 KiB traffic changes by less than 5.0 %. Least energy at " in shown


def test_a_capacity_that_cannot_run_says_why(capsys):
    points = (CapacityPoint(16, reason="no tiling fits"), CapacityPoint(32, 200, 2.0), CapacityPoint(64, 100, 1.0))
    print_capacities(make_console(sys.stdout), [CapacityCurve("accumulator", 64, points)])
    shown = capsys.readouterr().out
    assert "cannot run" in shown
    assert "16 B: no tiling fits" in shown
    assert "accumulator: the knee is 64 B, the largest tried" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["edge", "--from", "64KB"], "'--from': '64KB' is not a size; give a number of bytes, or one with a unit of"),
        (["edge", "--from", "3KiB", "--to", "3KiB"], "--from 3072 --to 3072: no power of two times 262144 bytes"),
        (["systolic_32x32_ws"], "systolic_32x32_ws: memory: ideal: its buffers have no bounds; add --set memory=dram"),
        (["edge", "--buffer", "weight_bufer"], "did you mean 'weight_buffer'?"),
    ],
)
def test_what_cannot_be_is_one_line(table, capsys, words, message):
    assert main(["size", words[0], table, *words[1:]]) == 2
    assert message in capsys.readouterr().err


def test_where_no_capacity_runs_is_one_line(capsys):
    words = ["--buffer", "activation_buffer", "--from", "16B", "--to", "16B"]
    assert main(["size", "edge", "conv2", *words]) == 2
    assert "conv2: no capacity can run; the first: conv2: " in capsys.readouterr().err


def test_capacities_are_said_in_binary_units():
    assert [size_words(size) for size in (16, 1024, 1536, 1 << 20)] == ["16 B", "1 KiB", "1.5 KiB", "1 MiB"]
