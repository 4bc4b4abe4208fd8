"""Searches: the same for any number of workers and samplers, within constraints, and near the front of the grid."""

import json
import os
from pathlib import Path

import pytest

import accelsim
from accelsim.cli.main import main
from accelsim.dse.proposals import ALGORITHMS
from accelsim.errors import ConfigError

pytest.importorskip("optuna")
ROOT = Path(__file__).resolve().parents[2]
# One sampler of optuna stands for both, which differ in the name that is handed on.
SAMPLERS = ALGORITHMS if "ACCELSIM_NIGHTLY" in os.environ else ("nsga2",)


@pytest.fixture
def space(tmp_path):
    (tmp_path / "net.csv").write_text("Layer, M, N, K,\na, 64, 256, 512,\nb, 64, 128, 256,\n")
    return {
        "hardware": str(ROOT / "hwconfigs" / "edge.yaml"),
        "workloads": [str(tmp_path / "net.csv")],
        "storage": ["slt", "dense-int8"],
        "vary": {
            "sparsity": [0.7],
            "pe_array.rows, pe_array.cols": [4, 8, 16, 32],
            "activation_buffer.capacity_bytes": {"from": 4096, "to": 65536, "num": 3, "scale": "log"},
            "dram.data_rate_mtps": [400, 3200],
        },
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_is_the_same_with_two_workers(space, tmp_path, sampler):
    one, two = (
        accelsim.explore(space, tmp_path / name, trials=40, sampler=sampler, sample=4, workers=workers)
        for name, workers in (("one", 1), ("two", 2))
    )

    assert one.summary == two.summary
    assert one.ranked.equals(two.ranked)
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "two" / "summary.json").read_bytes()


def test_the_search_finds_the_front_of_the_grid_within_the_constraint(space, tmp_path, first_choice):
    objectives, where = ["latency_s", "energy_j"], ["area_mm2 <= 0.7"]

    grid = accelsim.sweep({**space, "constraints": where}, tmp_path / "grid", workers=1, objectives=objectives)
    found = accelsim.explore(
        space, tmp_path / "search", objectives=objectives, where=where, trials=200, sample=8, workers=1
    )

    assert 0 < grid.summary.num_feasible < len(grid.table)
    assert repr(grid).startswith(f"<sweep of {len(grid.rows)} points of ")
    assert repr(found).startswith(f"<search of {len(found.ranked)} ranked points, ")
    best = min(row["latency_s"] for row in grid.summary.front)
    assert min(row["latency_s"] for row in found.summary.front) <= best * 1.05
    assert all(row["area_mm2"] <= 0.7 for row in found.summary.front)
    assert len(found.ranked) > len(found.table)
    assert found.confirmation.correlations["energy_j"] > 0.9


def test_several_workloads_add_up(space, tmp_path, first_choice):
    second = tmp_path / "second.csv"
    second.write_text("Layer, M, N, K,\na, 32, 64, 64,\n")
    space["workloads"].append(str(second))
    found = accelsim.explore(space, tmp_path / "o", objectives=["latency_s"], trials=8, sample=2, workers=1)

    row = found.summary.best["latency_s"]
    of_design = found.table[found.table["point"].notna()]
    sizes = of_design.groupby(
        [name for name in of_design.columns if name.startswith("vary.")] + ["storage"], dropna=False
    )["latency_s"]
    assert row["latency_s"] == pytest.approx(sizes.sum().min())


def test_the_command_reports_the_agreement_and_reads_no_code(space, tmp_path, capsys, first_choice):
    path = tmp_path / "space.yaml"
    path.write_text(json.dumps(space))
    words = ["-q", "explore", str(path), "--out", str(tmp_path / "o"), "--trials", "20", "--workers", "1", "--json"]

    assert main([*words, "--where", "area_mm2 <= 5"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["agreement"]["rank_correlation"]) == {"latency_s", "energy_j", "area_mm2"}
    assert (document["search"]["ranked"], document["search"]["space"]) == (20, 48)
    assert document["agreement"]["simulated_partners"] > 0
    assert {duel["rival"] for duel in document["duels"]} == {"dense-int8"}
    assert main([*words, "--where", "exit() <= 5"]) == 2
    assert "is no condition" in capsys.readouterr().err


def test_a_small_space_is_ranked_whole_and_failures_are_told(space, tmp_path):
    space["vary"] |= {"pe_array.rows, pe_array.cols": [0, 8], "dram.data_rate_mtps": [400]}
    found = accelsim.explore(space, tmp_path / "o", trials=50, sample=1, workers=1)

    assert found.agreement["search"]["ranked"] == found.agreement["search"]["space"] == len(found.ranked) == 12
    assert found.agreement["search"]["failed"] == 6
    assert next(iter(found.agreement["search"]["reasons"])).startswith("pe_array.rows: 0 is not >= 1")


def test_an_objective_that_no_design_has_is_refused_at_once(space, tmp_path):
    with pytest.raises(ConfigError, match="accuracy: no design has this figure: no workload is a real ticket"):
        accelsim.explore(space, tmp_path / "o", objectives="latency_s,accuracy", trials=40, workers=1)


def test_a_space_in_which_nothing_runs_says_why(space, tmp_path):
    space["vary"] = {"weight_generator": [None], "sparsity": [0.5]}
    space["storage"] = "slt"

    with pytest.raises(ConfigError, match="no design can be evaluated; the first fails: .*weight_generator: none"):
        accelsim.explore(space, tmp_path / "o", trials=4, workers=1)
