"""Runs that must relate to each other in a known way, whatever their numbers are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.pipeline import run, schedule_network, simulate
from accelsim.trace import TraceOptions, trace_network, trace_workload
from accelsim.trace.model import LayerTrace, LoopDims, TraceLayer

HWCONFIGS = Path(__file__).resolve().parents[2] / "hwconfigs"
TICKET = str(HWCONFIGS.parent / "workloads/conv6_slt_f50.pt")
SLT = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)
TWINS = sorted(path.stem.removesuffix("_dense") for path in HWCONFIGS.glob("*_dense.yaml"))
# What lanes do in the cycles in which they wait for the slowest of them.
OF_LANES_THAT_WAIT = {
    ("pe_array", "mac_gated"), ("pe_array", "operand_shifts_bits"), ("activation_buffer", "read_bits"),
    ("accumulator", "read_bits"), ("accumulator", "write_bits"), ("interconnect", "bits"),
}  # fmt: skip
ALONE = ("mapping.prefetch_next_layer=false", "mapping.keep_activations_on_chip=false")


def chip(name: str, *overrides: str) -> LoadedHardware:
    return load_hardware(HWCONFIGS / f"{name}.yaml", overrides)


def conv(name: str, K: int, C: int, size: int, before: str = "input") -> TraceLayer:
    dims = LoopDims(K=K, C=C, P=size, Q=size, R=3, S=3, H=size, W=size, padding=(1, 1))
    return TraceLayer(name, "conv2d", dims, (before,), num_outputs=dims.num_outputs)


def dense(*layers: TraceLayer) -> LayerTrace:
    from accelsim.trace.options import stated_weights

    shapes = [(layer.dims.K, layer.dims.C, layer.dims.R, layer.dims.S) for layer in layers]
    weights = stated_weights(shapes, TraceOptions())
    return LayerTrace("net", tuple(replace(a, weights=w) for a, w in zip(layers, weights, strict=True)), "dense")


@pytest.mark.parametrize("name", ["edge", "systolic_32x32_ws", "systolic_32x32_os", "systolic_32x32_is"])
@pytest.mark.parametrize("grown", ["K", "C"])
def test_doubling_the_channels_of_a_compute_bound_layer_doubles_its_work(name: str, grown: str) -> None:
    hardware = chip(name, "memory=ideal")
    small = simulate(hardware, dense(conv("a", 64, 64, 32)), "dense-int8").layers[0]
    wide = {"K": 64, "C": 64, grown: 128}
    large = simulate(hardware, dense(conv("a", wide["K"], wide["C"], 32)), "dense-int8").layers[0]

    assert large.macs == 2 * small.macs
    assert large.cycles_by_cause["compute"] == 2 * small.cycles_by_cause["compute"]
    # With input-stationary arrays more filters only make a fold longer: what fills and drains it stays.
    assert large.latency_cycles - small.latency_cycles >= small.cycles_by_cause["compute"]
    assert large.latency_cycles <= 2.1 * small.latency_cycles


@pytest.mark.parametrize("zeros", ["none", "gate", "skip"])
def test_permuting_filters_changes_nothing_but_the_imbalance_of_skipping(first_choice: None, zeros: str) -> None:
    hardware = chip("edge", f"pe_array.zero_weights={zeros}")
    trace = trace_workload(TICKET)
    draw = np.random.default_rng(3)

    def permuted(layer: TraceLayer) -> TraceLayer:
        known = layer.weights
        if known is None or known.load_mask is None:
            return layer
        order = draw.permutation(known.shape[0])
        mask = known.load_mask
        return replace(layer, weights=replace(known, load_mask=lambda: mask()[order]))

    other = replace(trace, layers=tuple(map(permuted, trace.layers)))
    assert any(layer.weights is not None and layer.weights.load_mask is not None for layer in trace.layers)
    for storage in ("slt-raw", "bitmap-int8", "dense-int8"):
        before, after = simulate(hardware, trace, storage), simulate(hardware, other, storage)
        for one, two in zip(before.layers, after.layers, strict=True):
            assert (one.macs, one.effective_macs, one.stored_bits) == (two.macs, two.effective_macs, two.stored_bits)
            assert one.dram_bytes == two.dram_bytes
            counts = {(unit, action): number for unit in one.actions for action, number in one.actions[unit].items()}
            moved = {place for place, number in counts.items() if number != two.actions[place[0]][place[1]]}
            assert moved <= (OF_LANES_THAT_WAIT if zeros == "skip" else set())
        if zeros != "skip":
            assert before == after


@pytest.mark.parametrize("name", ["edge", "hiddenite", "cloud_hbm"])
def test_scaling_all_clocks_scales_time_and_no_cycle(name: str) -> None:
    # The exit from power-down takes a time of its own, and so does idle power in what a mapping is chosen for.
    hardware = chip(name, "dram.model=simple", "dram.power_down_after_ns=null", "mapping.objective=latency")
    dram = hardware.config.dram
    faster = hardware.config.model_copy(
        update={
            "clock_mhz": 2 * hardware.config.clock_mhz,
            "dram": dram.model_copy(
                update={
                    "data_rate_mtps": 2 * dram.data_rate_mtps,
                    "read_latency_ns": dram.read_latency_ns / 2,
                    "write_latency_ns": dram.write_latency_ns / 2,
                    "turnaround_ns": dram.turnaround_ns / 2,
                }
            ),
        }
    )
    trace = trace_network("conv2", SLT)
    slow, fast = run(hardware, trace, "slt"), run(replace(hardware, config=faster), trace, "slt")

    assert fast.totals.latency_cycles == slow.totals.latency_cycles
    assert fast.totals.latency_s == pytest.approx(slow.totals.latency_s / 2, rel=1e-12)
    assert fast.totals.cycles_by_cause == slow.totals.cycles_by_cause


@pytest.mark.parametrize("name", ["edge", "systolic_32x32_os", "hiddenite"])
def test_a_network_takes_the_sum_of_its_layers_where_nothing_overlaps(name: str) -> None:
    hardware = chip(name, *ALONE)
    layers = dense(conv("a", 32, 16, 16), conv("b", 48, 32, 16), conv("c", 16, 48, 16)).layers
    network = LayerTrace("net", layers, "dense")
    schedule, _ = schedule_network(hardware.config, network, "dense-int8")
    tilings = {layer.name: layer.tiling for layer in schedule.layers if layer.tiling is not None}
    whole = simulate(hardware, network, "dense-int8", fixed=tilings)
    parts = [LayerTrace(layer.name, (layer,), "dense") for layer in layers]
    alone = [simulate(hardware, part, "dense-int8", fixed={part.name: tilings[part.name]}).layers[0] for part in parts]

    # Alone, the memory bus need not turn round from the writes of the layer before.
    assert [replace(layer, busy_cycles={}) for layer in whole.layers] == [
        replace(layer, busy_cycles={}) for layer in alone
    ]


@pytest.mark.parametrize("name", TWINS)
def test_without_the_generator_a_chip_gives_the_dense_chips_numbers(first_choice: None, name: str) -> None:
    trace = trace_network("conv2", TraceOptions())
    twin = run(chip(f"{name}_dense"), trace, "dense-int8")
    removed = run(chip(name, "weight_generator=null", "mask_decoder=null"), trace, "dense-int8")
    idle = run(chip(name), trace, "dense-int8")

    assert removed.totals == twin.totals
    assert removed.layers == twin.layers
    assert idle.layers == twin.layers


@pytest.mark.parametrize("name", ["edge", "tpu_v1", "cloud_hbm"])
@pytest.mark.parametrize("storage", ["slt", "dense-int8"])
def test_ideal_memory_is_never_slower(name: str, storage: str) -> None:
    trace = trace_network("conv2", SLT)
    cycles = {}
    for memory in ("dram", "ideal"):
        hardware = chip(name, f"memory={memory}")
        cycles[memory] = sum(layer.latency_cycles for layer in simulate(hardware, trace, storage).layers)
    assert cycles["ideal"] <= cycles["dram"]


@pytest.mark.parametrize("name", ["edge", "eyeriss"])
def test_more_bandwidth_costs_no_more_than_the_share_given_up_for_traffic(name: str) -> None:
    trace = trace_network("conv2", SLT)
    before = None
    for rate in (400, 1600, 6400):
        hardware = chip(name, "dram.model=simple", f"dram.data_rate_mtps={rate}")
        cycles = sum(layer.latency_cycles for layer in simulate(hardware, trace, "slt").layers)
        assert before is None or cycles <= 1.001 * before
        before = cycles
