"""The connected chip: what is left at the end, what a deadlock says, and who overlaps with whom."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.errors import SimulationError
from accelsim.mapping.loops import Loop, Tiling
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.pipeline import layer_plans
from accelsim.sim.dram.memory import build_memory
from accelsim.sim.processes import run_processes
from accelsim.sim.run import run_schedule, table_of
from accelsim.timing.program import INPUT, STORE, build_program
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

EDGE = Path(__file__).resolve().parents[3] / "hwconfigs" / "edge.yaml"
CKP: tuple[Loop, ...] = ("G", "C", "K", "N", "P", "Q")
DIMS = LoopDims(K=64, C=64, P=16, Q=16, R=3, S=3, H=16, W=16, padding=(1, 1))


def edge(*overrides: str) -> HardwareConfig:
    return load_hardware(EDGE, overrides).config


def trace(num_layers: int = 1) -> LayerTrace:
    weights = LayerWeights((64, 64, 3, 3), 36864, num_free=36864)
    names = ["input", *(f"layer{index}" for index in range(num_layers))]
    layers = [
        TraceLayer(name, "conv2d", DIMS, (before,), num_outputs=DIMS.num_outputs, weights=weights)
        for before, name in pairwise(names)
    ]
    return LayerTrace("layers", tuple(layers), "dense")


def schedule_of(hardware: HardwareConfig, network: LayerTrace, tiling: Tiling | None = None) -> Schedule:
    fixed = {layer.name: tiling for layer in network.layers} if tiling is not None else {}
    return map_network(network, layer_plans(network, "dense-int8"), "dense-int8", hardware, EnergyPrices(), fixed)[0]


class Slices:
    """A probe that keeps what each unit did."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[int, int, str, int]]] = defaultdict(list)

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        self.of[unit].append((start_cycle, end_cycle, label, index))


def test_every_counter_ends_at_what_the_schedule_announces() -> None:
    hardware = edge("activation_buffer.capacity_bytes=20000", "accumulator.capacity_bytes=20000")
    tiling = Tiling(N=1, G=1, K=32, C=32, P=4, Q=16, order=CKP)
    layers = schedule_of(hardware, trace(2), tiling).layers
    tables = [table_of(layers, place, hardware) for place in range(2)]
    solved = run_processes(layers, tables, build_memory(hardware.dram, hardware.clock_mhz))[-1]
    expected = {
        "array": 2 * sum(layer.num_steps for layer in layers),
        "fetched": sum(int((layer.weights.fetch_bytes > 0).sum()) for layer in layers),
        "inputs": sum(int((layer.inputs.fetch_bytes > 0).sum()) for layer in layers),
        "psums": sum(int((layer.outputs.psum_read_bytes > 0).sum()) for layer in layers),
        "stored": sum(int((layer.outputs.store_bytes > 0).sum()) for layer in layers),
        "drained": sum(layer.outputs.last_step.size for layer in layers),
        "taken": 2,
        "layers": 2,
    }
    assert expected["psums"] > 0
    assert {name: solved.reached[name].size - 1 for name in expected} == expected


def test_a_deadlock_names_who_waits_for_what() -> None:
    hardware = edge()
    schedule = schedule_of(hardware, trace(), Tiling(N=1, G=1, K=32, C=32, P=4, Q=16, order=CKP))
    layer = schedule.layers[0]
    # the place of the last input tile is never given up
    release = layer.inputs.release.copy()
    release[-1] = 2 * layer.num_steps
    broken = replace(schedule, layers=(replace(layer, inputs=replace(layer.inputs, release=release)),))
    with pytest.raises(SimulationError) as caught:
        run_schedule(broken, hardware)
    message = str(caught.value)
    assert message.startswith("deadlock in layer layer0, step ")
    assert "dma waits for output tiles from the vector unit to reach 4 (now 3)" in message
    assert "pe_array waits for input tiles from DRAM" in message
    assert "\n" not in message


@pytest.mark.parametrize("double", [True, False])
def test_single_buffers_never_load_while_the_array_works(double: bool) -> None:
    size = 32 * 32 * 9
    hardware = edge(
        f"weight_buffer.capacity_bytes={2 * size if double else size}",
        f"weight_buffer.double_buffered={str(double).lower()}",
        "activation_buffer.capacity_bytes=200000", "accumulator.capacity_bytes=200000",
    )  # fmt: skip
    slices = Slices()
    schedule = schedule_of(hardware, trace(), Tiling(N=1, G=1, K=32, C=32, P=16, Q=16, order=CKP))
    run_schedule(schedule, hardware, probe=slices)
    loads = [(start, end) for start, end, label, _ in slices.of["dram"] if label == "0"]
    work = [(start, end) for start, end, _, _ in slices.of["pe_array"]]
    assert len(loads) == len(work) == 4
    overlaps = sum(start < busy_end and busy_start < end for start, end in loads for busy_start, busy_end in work)
    assert (overlaps > 0) == double


def test_loads_stand_two_steps_ahead_and_stores_one_tile_behind() -> None:
    hardware = edge("activation_buffer.capacity_bytes=20000")
    layer = schedule_of(hardware, trace(), Tiling(N=1, G=1, K=64, C=64, P=1, Q=16, order=CKP)).layers[0]
    program = build_program(layer)
    assert layer.num_steps == 16
    order = [
        ("store" if kind == STORE else "load", event) for kind, event in zip(program.kind, program.event, strict=True)
    ]
    steady = order.index(("store", 5))
    assert order[steady - 2 : steady + 3] == [("store", 4), ("load", 8), ("store", 5), ("load", 9), ("store", 6)]


def test_no_load_that_waits_for_its_place_holds_up_stores_that_are_ready() -> None:
    hardware = edge("activation_buffer.double_buffered=false")
    layer = schedule_of(hardware, trace(), Tiling(N=1, G=1, K=64, C=64, P=1, Q=16, order=CKP)).layers[0]
    program = build_program(layer)
    behind = layer.num_steps  # the first step at the end of which one of the stores further on may be made
    for kind, event in reversed(list(zip(program.kind, program.event, strict=True))):
        if kind == STORE:
            behind = min(behind, int(layer.outputs.last_step[event]) + 1)
        elif kind == INPUT:
            assert layer.inputs.release[event] // 2 - 1 <= behind
    assert behind < layer.num_steps


def test_work_ahead_counts_in_the_layer_in_which_it_was_done() -> None:
    hardware = edge("dram.data_rate_mtps=200", "mapping.prefetch_next_layer=true")
    counters = run_schedule(schedule_of(hardware, trace(3)), hardware)
    for layer in counters.layers:
        assert layer.busy_cycles["dram"] <= layer.latency_cycles
    moved = np.sum([layer.dram_read_bytes + layer.dram_write_bytes for layer in counters.layers])
    busy = sum(layer.busy_cycles["dram"] for layer in counters.layers)
    assert busy >= moved / (hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz)
