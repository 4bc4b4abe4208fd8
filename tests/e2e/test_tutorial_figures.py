"""The tutorial says what its commands find today; the commands themselves run nightly (test_docs_commands.py)."""

from pathlib import Path

import pytest

from accelsim.config.loader import load_hardware
from accelsim.mapping.fixed import load_fixed
from accelsim.pipeline import run, simulate
from accelsim.report.timeline_probe import TimelineProbe
from accelsim.results.compare import weight_bytes
from accelsim.trace import trace_workload

ROOT = Path(__file__).resolve().parents[2]


def test_tutorial_says_what_its_commands_find():
    text = " ".join((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").split())
    chip, trace = load_hardware("edge"), trace_workload("conv6_slt_f70")
    formats = ("slt", "dense-int8", "entropy-int4", "entropy-int4@chip")
    ticket, dense, wide, rival = (run(chip, trace, storage).totals for storage in formats)
    assert "Weight traffic falls by about 25 against dense int8, and energy by about 3.4" in text
    assert weight_bytes(dense) / weight_bytes(ticket) == pytest.approx(25, rel=0.1)
    assert dense.energy_j / ticket.energy_j == pytest.approx(3.4, rel=0.1)
    assert "waits for the decoder for more than half of its time" in text
    assert rival.cycles_by_cause.wait_decoder / rival.latency_cycles == pytest.approx(0.55, abs=0.05)
    assert "the ticket's advantage in energy would be about 2.0" in text
    assert "the ticket's advantage in energy is about 1.7" in text
    assert rival.energy_j / ticket.energy_j == pytest.approx(2.0, abs=0.1)
    assert wide.energy_j / ticket.energy_j == pytest.approx(1.7, abs=0.1)
    assert wide.latency_s / ticket.latency_s == pytest.approx(1, abs=0.05)


def test_the_example_of_the_model_is_worked_out_so(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    chip, trace, probe = (
        load_hardware("edge_dense", ["dram.data_rate_mtps=1600"]),
        trace_workload("examples/three_tiles.csv"),
        TimelineProbe(),
    )
    fixed = load_fixed("examples/three_tiles.yaml", trace)
    layers = simulate(chip, trace, "dense-int8", probe=probe, fixed=fixed).layers
    tiles = [(each.start_cycle, each.end_cycle) for each in probe.pieces("pe_array")]

    assert (tiles, layers[0].latency_cycles) == ([(2117, 2405), (2405, 2661), (2818, 3136)], 3245)
    assert all(f"{number:,}" in text for number in (2117, 2405, 2661, 2818, 3245))


def test_tutorial_has_ten_commands():
    lines = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("    ") for line in lines) == 10
