"""Where the cycles of small layers go, worked out by hand, and what prefetching and double buffering save."""

from pathlib import Path
from typing import Any

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.mapping.loops import Loop, Tiling
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.pipeline import layer_plans, schedule_network
from accelsim.sim.counters import CAUSES, Counters
from accelsim.sim.run import run_schedule
from accelsim.trace import TraceOptions, trace_network
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

EDGE = Path(__file__).resolve().parents[2] / "hwconfigs" / "edge.yaml"
KPC: tuple[Loop, ...] = ("G", "K", "N", "P", "Q", "C")
# A 1x1 layer of 8 x 8 weights on 16 pixels, in four tiles of 4 x 4 weights on a 4 x 4 array.
DIMS = LoopDims(K=8, C=8, P=4, Q=4, H=4, W=4)
TILING = Tiling(N=1, G=1, K=4, C=4, P=4, Q=4, order=KPC)


def hardware(**units: dict[str, Any]) -> HardwareConfig:
    """Return a chip whose memory moves 4 bytes a cycle, 10 cycles after a request, in 16-byte bursts."""
    wide = {"capacity_bytes": 4096, "width_bits": 512}
    base: dict[str, Any] = {
        "name": "small", "clock_mhz": 1000.0, "node_nm": 22,
        "dram": {
            "data_rate_mtps": 4000.0, "bus_width_bits": 8, "burst_bytes": 16, "read_latency_ns": 10.0,
            "write_latency_ns": 10.0, "turnaround_ns": 0.0, "refresh": "none",
        },
        "pe_array": {"rows": 4, "cols": 4, "zero_weights": "none"}, "activation_buffer": wide, "weight_buffer": wide,
        "accumulator": wide, "vector_unit": {"num_lanes": 4, "latency_cycles": 3},
    }  # fmt: skip
    return HardwareConfig.model_validate(
        {name: value | units.get(name, {}) if isinstance(value, dict) else value for name, value in base.items()}
    )


def run(chip: HardwareConfig) -> Counters:
    weights = LayerWeights((8, 8, 1, 1), 64, num_free=64)
    layer = TraceLayer("layer", "conv2d", DIMS, ("input",), num_outputs=128, weights=weights)
    trace = LayerTrace("layer", (layer,), "dense")
    plans = layer_plans(trace, "dense-int8")
    schedule, _ = map_network(trace, plans, "dense-int8", chip, EnergyPrices(), {"layer": TILING})
    return run_schedule(schedule, chip)


def test_every_cycle_of_a_small_layer() -> None:
    """Tiles: 16 weight bytes (4 cycles on the bus), 64 input bytes (16), 64 outputs (16 vector cycles, 16 on the bus).

    The first two weight tiles and the first inputs arrive at 10 + 4 + 4 + 16 = 34. A step takes 16 pixels and
    4 + 4 + 4 - 2 cycles of filling, 26 in all; the other loads are done by 34 + 16 + 4 + 4 = 58, each before its step.
    Steps end at 60, 86, 112 and 138. The last output tile leaves the vector unit 16 + 3 cycles later, and is stored
    10 + 16 after that.
    """
    layer = run(hardware()).layers[0]
    assert layer.cycles_by_cause == dict.fromkeys(CAUSES, 0) | {
        "compute": 4 * 16, "weight_load": 4 * 4, "fill_drain": 4 * 6, "wait_dram": 34 + 26, "wait_vector": 19,
    }  # fmt: skip
    assert layer.busy_cycles == {
        "pe_array": 104, "dram": 4 * 4 + 2 * 16 + 2 * 16, "mask_decoder": 0, "weight_generator": 0, "vector_unit": 32,
    }  # fmt: skip


def test_narrow_buffer_ports_stall_the_array() -> None:
    """A port of 8 bits is busy for 64 cycles a step with inputs, twice for 64 with a fill from DRAM, and twice for 64
    with results written and 64 with results read on their way to DRAM; the array itself works for 26 a step.
    """
    layer = run(hardware(activation_buffer={"width_bits": 8})).layers[0]
    assert layer.cycles_by_cause["buffer_ports"] == 4 * 64 + 2 * 64 + 2 * (64 + 64) - 4 * 26
    assert layer.cycles_by_cause["compute"] == 4 * 16 and layer.port_limit == "activation_buffer"


@pytest.mark.parametrize("buffer", ["weight_buffer", "activation_buffer", "accumulator"])
def test_double_buffering_is_faster_than_single(buffer: str) -> None:
    capacity = {"weight_buffer": 16, "activation_buffer": 64 + 128, "accumulator": 256}[
        buffer
    ]  # a tile; two staged outputs
    single = run(hardware(**{buffer: {"capacity_bytes": capacity, "double_buffered": False}}))
    more = {"weight_buffer": 32, "activation_buffer": 128 + 128, "accumulator": 512}[buffer]
    double = run(hardware(**{buffer: {"capacity_bytes": more, "double_buffered": True}}))
    assert double.layers[0].latency_cycles < single.layers[0].latency_cycles


def test_prefetching_the_next_layers_mask_shortens_a_run() -> None:
    trace = trace_network("resnet18", TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2))
    latencies = {}
    tilings: dict[str, Tiling] = {}
    for prefetch in ("true", "false"):
        chip = load_hardware(EDGE, [f"mapping.prefetch_next_layer={prefetch}"]).config
        schedule, _ = schedule_network(chip, trace, "slt", tilings)
        tilings = {layer.name: layer.tiling for layer in schedule.layers if layer.tiling is not None}
        counters = run_schedule(schedule, chip)
        latencies[prefetch] = sum(layer.latency_cycles for layer in counters.layers)
        causes = ("wait_dram", "wait_decoder", "wait_generator")
        waits = sum(layer.cycles_by_cause[cause] for layer in counters.layers for cause in causes)
        latencies[f"waits {prefetch}"] = waits
    saved = latencies["false"] - latencies["true"]
    assert saved > 0
    assert saved == pytest.approx(latencies["waits false"] - latencies["waits true"], rel=0.1)
