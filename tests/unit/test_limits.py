"""What each resource costs a run, from the table of stations with twice as much of it."""

from __future__ import annotations

import pytest

import accelsim
from accelsim import pipeline
from accelsim.config.loader import load_hardware
from accelsim.report.sentence import limits_line
from accelsim.trace.model import LayerTrace

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
    assert limits_line(result)[0].startswith("Limited by the memory bandwidth for ")
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
