"""Each unit in turn is starved, for each dataflow: the cycles that the array then waits carry that unit's name.

The layer, its tiling and the chip are such that with fast units nobody waits in steady state; slowing one unit down
must raise its
own cause and no other by more than the wait for the first and the last tile.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.loops import Loop, Tiling
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.pipeline import layer_plans
from accelsim.prng.source import RandomSource
from accelsim.sim.counters import LayerCounters
from accelsim.sim.run import run_schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

DIMS = LoopDims(K=64, C=32, P=2, Q=2, R=3, S=3, H=2, W=2, padding=(1, 1))
ORDER: tuple[Loop, ...] = ("G", "K", "N", "P", "Q", "C")
COUNT = DIMS.num_weights
WEIGHTS = LayerWeights(
    (64, 32, 3, 3), COUNT // 4, num_pruned=COUNT // 2, num_free=COUNT // 2, codec="raw",
    source=RandomSource(generator="philox4x32", prune_threshold=1 << 15, lock_threshold=1 << 15),
)  # fmt: skip
DATAFLOWS: dict[str, dict[str, object]] = {
    name: {"dataflow": name, "rows": 8, "cols": 8}
    for name in ("weight_stationary", "output_stationary", "input_stationary")
} | {"spatial": {"dataflow": "spatial", "unroll": {"K": 8, "C": 8}}}
WAITS = ("wait_dram", "wait_generator", "wait_decoder", "wait_vector", "other")


def chip(dataflow: str) -> dict[str, Any]:
    """Return a chip on which the array is the bottleneck."""
    buffer = {"capacity_bytes": 1 << 20, "width_bits": 4096, "num_banks": 4}
    return {
        "name": "starved", "clock_mhz": 500.0, "node_nm": 22, "pe_array": DATAFLOWS[dataflow],
        "dram": {"data_rate_mtps": 12800.0, "read_latency_ns": 2.0, "write_latency_ns": 2.0, "turnaround_ns": 2.0},
        "activation_buffer": buffer, "weight_buffer": buffer, "mask_buffer": buffer, "accumulator": dict(buffer),
        "weight_generator": {"kind": "philox4x32", "num_lanes": 256, "latency_cycles": 0},
        "mask_decoder": {"positions_per_cycle": 4096, "latency_cycles": 0},
        "vector_unit": {"num_lanes": 1024, "latency_cycles": 0},
        "mapping": {"keep_activations_on_chip": False},
    }  # fmt: skip


def run(description: dict[str, Any], dims: LoopDims = DIMS) -> LayerCounters:
    hardware = HardwareConfig.model_validate(description)
    outputs = dims.num_outputs
    layer = TraceLayer(
        "layer", "conv2d", dims, ("input",), vector_ops=50 * outputs, num_outputs=outputs, weights=WEIGHTS
    )
    trace = LayerTrace("layer", (layer,), "synthetic")
    plans = layer_plans(trace, "slt")
    schedule, _ = map_network(
        trace,
        plans,
        "slt",
        hardware,
        EnergyPrices(),
        {"layer": Tiling(N=1, G=1, K=8, C=32, P=dims.P, Q=dims.Q, order=ORDER)},
    )
    return run_schedule(schedule, hardware).layers[0]


def slow_memory(description: dict[str, Any]) -> None:
    description["dram"]["data_rate_mtps"] = 10.0


def slow_generator(description: dict[str, Any]) -> None:
    description["weight_generator"]["num_lanes"] = 1


def slow_decoder(description: dict[str, Any]) -> None:
    description["mask_decoder"]["positions_per_cycle"] = 1


def slow_vector_unit(description: dict[str, Any]) -> None:
    description["vector_unit"]["num_lanes"] = 1
    description["accumulator"]["capacity_bytes"] = 2 * 8 * 4 * 4  # two tiles: the array cannot run ahead


SLOW: dict[str, Callable[[dict[str, Any]], None]] = {
    "wait_dram": slow_memory, "wait_generator": slow_generator, "wait_decoder": slow_decoder, "wait_vector":
    slow_vector_unit,
}  # fmt: skip


@pytest.mark.parametrize("cause", list(SLOW))
@pytest.mark.parametrize("dataflow", list(DATAFLOWS))
def test_the_starved_unit_is_the_one_that_is_named(dataflow: str, cause: str) -> None:
    fed, starved = chip(dataflow), chip(dataflow)
    SLOW[cause](starved)
    before, after = run(fed).cycles_by_cause, run(starved).cycles_by_cause
    assert sum(before[name] for name in WAITS) < 0.05 * sum(before.values())
    assert after["compute"] == before["compute"] and after["fill_drain"] == before["fill_drain"]
    grown = {name: after[name] - before[name] for name in WAITS}
    assert grown.pop(cause) > 0.1 * sum(before.values())
    assert max(grown.values()) < 0.02 * sum(after.values()), grown


@pytest.mark.parametrize("dataflow", ["output_stationary", "input_stationary"])
def test_streaming_dataflows_need_their_weights_again_unless_they_are_kept(dataflow: str) -> None:
    """64 output positions on 8 lanes: weights are streamed eight times; a stationary array takes them once."""
    words, large = {}, replace(DIMS, P=8, Q=8, H=8, W=8)
    for policy in ("regenerate", "buffer"):
        description = chip(dataflow)
        description["weight_generator"]["weights"] = policy
        words[policy] = run(description, large).actions["weight_generator"]["words"]
    stationary = run(chip("weight_stationary"), large).actions["weight_generator"]["words"]
    assert words == {"regenerate": 8 * stationary, "buffer": stationary}
