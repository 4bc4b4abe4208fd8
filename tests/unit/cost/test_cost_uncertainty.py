"""Uncertainty: the sampled distribution, correlation within a source, reproducibility, comparisons and tornados."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from accelsim.config.loader import load_hardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import CostRow, load_tables
from accelsim.cost.uncertainty import quantile, sample, uncertainty
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import StoredBits

HARDWARE = load_hardware(Path(__file__).resolve().parents[3] / "hwconfigs/edge.yaml").config
TABLES = load_tables()


def run(storage: str, arithmetic: str, num_macs: int, dram_bits: int) -> Counters:
    layer = LayerCounters(
        name="conv1", kind="conv2d", shape=(1,), latency_cycles=1000, macs=0, effective_macs=0,
        cycles_by_cause={}, stored_bits=StoredBits(), dram_bytes={}, dram_read_bytes=0, dram_write_bytes=0,
        actions={"pe_array": {f"mac_{arithmetic}": num_macs}, "dram": {"read_bits": dram_bits}}, busy_cycles={},
    )  # fmt: skip
    return Counters(storage, (layer,), arithmetic, False, "none")


def row(name: str, source: str) -> CostRow:
    return CostRow(
        name=name,
        unit_of_chip="x",
        action="y",
        value=1.0,
        unit="factor",
        low=0.5,
        high=4.0,
        source=f"the source called {source}",
        note="",
    )


def test_quantiles_run_from_low_over_value_to_high() -> None:
    values = quantile(row("a", "one"), np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert values == pytest.approx([0.5, 0.5**0.5, 1.0, 2.0, 4.0])


def test_rows_of_one_source_vary_together_and_others_do_not() -> None:
    draws = sample([row("a", "one"), row("b", "one"), row("c", "other")], 4000, seed=3)
    logs = np.log(np.array([draws["a"], draws["b"], draws["c"]]))
    correlation = np.corrcoef(logs)
    assert correlation[0, 1] > 0.7
    assert abs(correlation[0, 2]) < 0.1


def test_draws_do_not_depend_on_the_other_rows() -> None:
    alone = sample([row("a", "one")], 50, seed=1)["a"]
    beside = sample([row("b", "one"), row("a", "one")], 50, seed=1)["a"]
    assert np.array_equal(alone, beside)


def test_bands_hold_the_value_and_equal_seeds_give_equal_reports() -> None:
    runs = {"slt": run("slt", "ternary", 10**6, 10**6), "dense-int8": run("dense-int8", "int8", 10**6, 10**7)}
    report = uncertainty(runs, HARDWARE, TABLES, num_draws=300, seed=7)
    assert report == uncertainty(runs, HARDWARE, TABLES, num_draws=300, seed=7)
    assert report.formats != uncertainty(runs, HARDWARE, TABLES, num_draws=300, seed=8).formats
    for bands, counters in zip(report.formats, runs.values(), strict=True):
        assert bands.energy_j.p05 < bands.energy_j.value < bands.energy_j.p95
        expected = sum(evaluate(counters, HARDWARE, TABLES).energy_j_by_unit.values())
        assert bands.energy_j.value == pytest.approx(expected, rel=1e-9)


def test_a_format_that_does_less_of_everything_wins_in_every_draw() -> None:
    runs = {"less": run("less", "int8", 10**6, 10**6), "more": run("more", "int8", 2 * 10**6, 10**7)}
    (comparison,) = uncertainty(runs, HARDWARE, TABLES, num_draws=200, seed=1).comparisons
    assert (comparison.first, comparison.second, comparison.probability) == ("less", "more", 1.0)
    assert 1 < comparison.ratio.p05 <= comparison.ratio.p95


def test_a_close_comparison_is_unsure() -> None:
    """More DRAM bits against more arithmetic: which is dearer depends on the draw."""
    runs = {"bits": run("bits", "int8", 10**6, 10**6), "macs": run("macs", "int8", 10**8, 10**5)}
    (comparison,) = uncertainty(runs, HARDWARE, TABLES, num_draws=400, seed=1).comparisons
    assert 0.02 < comparison.probability < 0.98


def test_the_tornado_ranks_the_dominant_constant_first() -> None:
    report = uncertainty({"x": run("x", "int8", 10, 10**9)}, HARDWARE, TABLES, num_draws=10)
    (tornado,) = report.tornados
    swings = [bar.swing for bar in tornado.bars]
    assert tornado.bars[0].constant == "dram_lines"
    assert swings == sorted(swings, reverse=True)
    assert tornado.bars[0].at_low < tornado.value < tornado.bars[0].at_high


@pytest.mark.parametrize(("num_draws", "seed"), [(1, 0), (10**9, 0), (10, -1)])
def test_bad_arguments_are_refused(num_draws: int, seed: int) -> None:
    with pytest.raises(ConfigError, match="; give "):
        uncertainty({"x": run("x", "int8", 1, 1)}, HARDWARE, TABLES, num_draws, seed)


def test_report_is_plain_data() -> None:
    report = uncertainty({"x": run("x", "int8", 1, 1)}, HARDWARE, TABLES, num_draws=5)
    assert dataclasses.asdict(report)["formats"][0]["storage"] == "x"
