"""Fused layers from the command line on: what `auto` takes is better, and everything that shows a run knows stripes."""

import json
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.mapping.fuse import better_together
from accelsim.mapping.fusion import FusedGroup
from accelsim.pipeline import objective_of_run, simulate
from accelsim.results.store import read_summary
from accelsim.sim.counters import Counters
from accelsim.trace import TraceOptions, trace_network

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
CHIP = ("hwconfigs/edge.yaml", "activation_buffer.capacity_bytes=12288")
TICKET = TraceOptions(width_factor=0.25, sparsity=0.5, prune_ratio=0.35, lock_ratio=0.35)


def run(objective: str, fuse: str, *more: str) -> tuple[float, int, Counters]:
    """Return objective, DRAM bytes and counters of a ticket of ResNet-18."""
    chip = load_hardware(CHIP[0], (CHIP[1], f"mapping.objective={objective}", f"mapping.fuse={fuse}", *more))
    counters = simulate(chip, trace_network("resnet18", TICKET), "slt")
    return objective_of_run(counters, chip.config), counters.moved_bytes, counters


@pytest.mark.parametrize("objective", ["edp", "dram_bytes"])
def test_auto_is_better_and_moves_less(objective: str) -> None:
    apart, fused = run(objective, "none"), run(objective, "auto")
    assert fused[0] < apart[0]
    assert fused[1] < apart[1]
    assert [layer.macs for layer in fused[2].layers] == [layer.macs for layer in apart[2].layers]
    assert not apart[2].fused


def test_auto_is_better_on_several_cores_too() -> None:
    apart, fused = (run("edp", fuse, "num_cores=2", "mapping.split=positions") for fuse in ("none", "auto"))
    assert fused[0] < apart[0]
    assert fused[1] < apart[1]
    assert max(group.num_cores for group in fused[2].fused) > 1
    assert [layer.macs for layer in fused[2].layers] == [layer.macs for layer in apart[2].layers]
    assert sum(core.macs for core in fused[2].cores) == sum(layer.macs for layer in apart[2].layers)


def test_verify_produces_the_weights_of_every_core(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cores = ["--set", "num_cores=2", "--set", "mapping.split=positions"]
    assert main(["verify", CHIP[0], str(made / "ticket.pt"), "--images", "0", *settings(), *cores, "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)
    assert weights["total"]["productions"] > weights["total"]["num_weights"]  # both cores need those of a layer


def test_a_group_that_costs_more_does_not_take_the_others_with_it() -> None:
    first, bad, last = (FusedGroup(place, place + 2, 2, "kept") for place in (0, 2, 4))
    cost = {first: -2, bad: 4, last: -1}
    kept = better_together((first, bad, last), lambda groups: (10.0 + sum(cost[group] for group in groups), 100))
    assert kept == (first, last)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a ticket, and a run of it with fused layers."""
    folder = tmp_path_factory.mktemp("fused")
    ticket = str(folder / "ticket.pt")
    sizes = ["--sparsity", "0.5", "--prune-ratio", "0.35", "--lock-ratio", "0.35"]
    kind = ["--width-factor", "0.125", "--generator", "xorshift32"]
    assert main(["synth", "resnet18", *sizes, *kind, "-o", ticket]) == 0
    seen = ["--out", str(folder / "run"), "--timeline", str(folder / "timeline.json"), "--compare", "none"]
    assert main(["run", CHIP[0], ticket, *settings(), *seen]) == 0
    return folder


def settings() -> list[str]:
    return ["--set", "activation_buffer.capacity_bytes=12288", "--set", "mapping.fuse=auto"]


def test_map_and_result_name_the_groups(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = read_summary(made / "run")
    assert result.fused
    assert main(["map", CHIP[0], str(made / "ticket.pt"), *settings(), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [group["layers"] for group in shown["fused"]] == [list(group.layers) for group in result.fused]
    pieces = {layer["name"]: layer["num_pieces"] for layer in shown["layers"]}
    group = shown["fused"][0]
    assert {pieces[name] for name in group["layers"] if name in pieces} == {group["num_stripes"]}


def test_a_timeline_shows_each_stripe_and_no_buffer_overflows(made: Path) -> None:
    events = json.loads((made / "timeline.json").read_text(encoding="utf-8"))["traceEvents"]
    layers = [event for event in events if event["ph"] == "X" and event["tid"] == 0]
    result = read_summary(made / "run")
    assert len(layers) > len(result.layers)
    assert sum(event["args"]["cycles"] for event in layers) == result.totals.latency_cycles
    levels = [event for event in events if event["ph"] == "C" and event["name"].startswith("activation_buffer")]
    assert 0 < max(event["args"]["bytes"] for event in levels) <= 12288


def test_verify_produces_the_weights_of_every_stripe(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", CHIP[0], str(made / "ticket.pt"), "--images", "0", *settings(), "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)
    assert weights["total"]["productions"] > weights["total"]["num_weights"]  # generated again in each stripe


def test_a_chart_and_a_wrong_word_are_refused(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = ["--gantt", str(made / "chart.svg")]
    assert main(["run", CHIP[0], str(made / "ticket.pt"), *settings(), *chart]) == 2
    assert "--gantt: a chart shows a layer that runs at a stretch" in capsys.readouterr().err
    assert main(["run", CHIP[0], str(made / "ticket.pt"), "--set", "mapping.fuse=[a, b]"]) == 2
    assert "['a', 'b'] is no fusion; give none, auto, or lists of layers such as [[" in capsys.readouterr().err
