"""What each resource costs a run, from the table of stations with twice as much of it."""

from __future__ import annotations

import re

import pytest

import accelsim
from accelsim import pipeline
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.limits import Again, Trials, doubled, none_tried, tried
from accelsim.mapping.loops import Tiling
from accelsim.mapping.pieces import largest_tilings
from accelsim.report.sentence import limits_line, untried_line
from accelsim.results.build import limits_of
from accelsim.sim.counters import Counters
from accelsim.trace.model import LayerTrace, LoopDims

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
SLOW_MEMORY = {"dram.data_rate_mtps": 100}


@pytest.fixture(scope="module")
def network() -> LayerTrace:
    from accelsim.trace import trace_workload  # noqa: PLC0415

    return trace_workload("conv6_slt_f70")


def cycles_with(change: str, network: LayerTrace) -> int:
    """Return the cycles on a changed chip, without the limits of that."""
    return pipeline.run(load_hardware("edge", [change]), network, "slt").totals.latency_cycles


def test_twice_the_scarce_resource_helps_and_others_do_not(network: LayerTrace) -> None:
    result = accelsim.run("edge", network, "dense-int8", overrides=SLOW_MEMORY)
    cycles = result.totals.latency_cycles
    gains = {name: 1 - limit.latency_cycles_with_twice / cycles for name, limit in result.limits.items()}
    assert result.limits["memory_bandwidth"].share > 0.5
    assert gains["memory_bandwidth"] == pytest.approx(0.5, abs=0.05)
    assert max(gain for name, gain in gains.items() if name != "memory_bandwidth") < 0.1
    said = limits_line(result)[0]
    assert said.startswith("Limited by the memory bandwidth for ")
    assert result.next_limit is not None and result.next_limit.doubled == "memory_bandwidth"
    assert re.search(r"% less time, then (still by it|by the [a-zA-Z ]+) for \d", said)
    assert "weight_generator" not in result.limits  # dense weights need none


def test_twice_of_anything_is_what_a_chip_with_twice_of_it_needs(network: LayerTrace) -> None:
    limit = accelsim.run("edge", network, "slt").limits["vector_unit"]
    assert cycles_with("vector_unit.num_lanes=256", network) == pytest.approx(limit.latency_cycles_with_twice, rel=0.01)


def test_a_buffer_that_is_too_small_shows_as_its_capacity(network: LayerTrace) -> None:
    result = accelsim.run("edge", network, "slt", overrides={"accumulator.capacity_bytes": 4096})
    expected = cycles_with("accumulator.capacity_bytes=8192", network)
    assert result.limits["accumulator.capacity"].latency_cycles_with_twice == pytest.approx(expected, rel=0.01)
    assert expected < 0.9 * result.totals.latency_cycles
    assert all(limit.latency_cycles_with_twice <= result.totals.latency_cycles for limit in result.limits.values())


def test_memory_with_its_own_timing_is_run_again() -> None:
    from accelsim.trace import trace_workload  # noqa: PLC0415

    network = trace_workload("conv2")
    timed = {"dram.model": "timing", "dram.num_channels": 1, "dram.bus_width_bits": 16, "dram.burst_bytes": 32}
    result = accelsim.run("edge", network, "dense-int8", overrides=timed)
    twice = accelsim.run("edge", network, "dense-int8", overrides=timed | {"dram.num_channels": 2})
    limit = result.limits["memory_bandwidth"]
    assert limit.latency_cycles_with_twice == pytest.approx(twice.totals.latency_cycles, rel=0.02)
    assert limit.latency_cycles_with_twice < 0.8 * result.totals.latency_cycles


@pytest.mark.parametrize("chip", ["edge", "gemmini"])
def test_more_of_anything_is_hardly_slower(chip: str, network: LayerTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before half of it is left idle: the tiling that a layer has is always among those that are solved."""
    seen: dict[str, Again | str] = {}

    def watched(counters: Counters, hardware: HardwareConfig, trials: Trials) -> Counters:
        seen.update({name: trials.again(name, changes) for name, changes in doubled(hardware)})
        return tried(counters, hardware, trials)

    monkeypatch.setattr("accelsim.limits.tried", watched)
    result = accelsim.run(chip, network, "dense-int8", overrides={"mapping.objective": "latency"})
    cycles = {name: again.cycles for name, again in seen.items() if isinstance(again, Again)}
    assert {"memory_bandwidth", "pe_array", "accumulator.capacity"} <= set(cycles)
    assert max(cycles.values()) <= 1.002 * result.totals.latency_cycles


def test_the_largest_tiling_of_a_layers_pieces_stands_for_all() -> None:
    whole = Tiling(1, 1, 16, 8, 8, 4, ("K", "P", "Q", "C"))
    less, rows = whole.cut_to(LoopDims(K=8, C=8, P=8, Q=8)), whole.cut_to(LoopDims(K=16, C=8, P=2, Q=8))
    assert largest_tilings([("a", rows), ("b", None), ("a", less), ("a", whole)]) == {"a": whole}


def test_what_is_not_tried_says_why(network: LayerTrace) -> None:
    chip = load_hardware("edge")
    counters = pipeline.simulate(chip, network, "slt")
    result = pipeline.run(chip, network, "slt")
    told = result.model_copy(update=limits_of(none_tried(counters, chip.config, "it would take a week")))
    assert untried_line(told) == ["What limits it was not tried: it would take a week."]
    some = told.model_copy(update={"limits": accelsim.run("edge", network, "slt").limits})
    assert untried_line(some)[0].startswith("Not tried as limits: ")
    assert "the capacities of buffers" in untried_line(some)[0]
    assert untried_line(result) == []
