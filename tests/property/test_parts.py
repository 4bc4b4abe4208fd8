"""A layer that is run in parts does what it does as a whole, and takes as long but for a barrier between parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import MappingError
from accelsim.mapping.build import MOST_WHOLE, build_layer, check_number, in_one
from accelsim.mapping.network import network_tasks, residency_of
from accelsim.pipeline import layer_plans
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import LayerSchedule, Schedule
from accelsim.units import ns_to_cycles

Cases = Callable[[int], Any]


def cut_layers(case: Any, most_steps: int) -> list[tuple[Schedule, Schedule]]:
    """Return each array layer of a random case that has more steps than that, alone: as a whole, and in parts."""
    plans = layer_plans(case.trace, case.storage)
    tasks = network_tasks(case.trace, plans, case.hardware, residency_of(case.trace, plans, case.hardware))
    return [
        tuple(replace(case.schedule, layers=(build_layer(task, layer.tiling, most),)) for most in (1 << 17, most_steps))
        for task, layer in zip(tasks, case.schedule.layers, strict=True)
        if layer.tiling is not None and layer.num_steps > most_steps
    ]


def work(counters: Counters) -> tuple[Any, ...]:
    layer = counters.layers[0]
    causes = {name: layer.cycles_by_cause[name] for name in ("compute", "weight_load", "fill_drain", "buffer_ports")}
    return layer.actions, causes, layer.macs, layer.effective_macs, layer.stored_bits


def barrier_cycles(case: Any, layer: LayerSchedule) -> int:
    """Return what a start of the pipeline takes at most: two steps of each unit, and two trips to memory and back.

    The order of requests is another one around a barrier, so that it may save as much.
    """
    dram, clock = case.hardware.dram, case.hardware.clock_mhz
    weights, inputs, outputs = layer.weights, layer.inputs, layer.outputs
    units = (layer.array_cycles, weights.decode_cycles, weights.generate_cycles, outputs.vector_cycles)
    stores = (outputs.store_bytes, outputs.psum_read_bytes, outputs.residual_bytes)
    bytes_of = (weights.fetch_bytes, inputs.fetch_bytes, *stores)
    trips = ns_to_cycles(dram.read_latency_ns, clock) + ns_to_cycles(dram.write_latency_ns, clock)
    transfer = sum(int(values.max(initial=0)) for values in bytes_of) / (dram.peak_bytes_per_ns * 1000 / clock)
    latencies = case.hardware.vector_unit.latency_cycles + sum(
        unit.latency_cycles for unit in (case.hardware.mask_decoder, case.hardware.weight_generator) if unit is not None
    )
    return int(2 * (sum(int(values.max(initial=0)) for values in units) + trips + transfer + latencies)) + 20


@settings(max_examples=8, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 1 << 30), most_steps=st.integers(3, 12))
def test_parts_add_up_to_the_whole(random_case: Cases, seed: int, most_steps: int) -> None:
    case = random_case(seed)
    for whole, cut in cut_layers(case, most_steps):
        parts = cut.layers[0].parts
        assert parts is not None
        assert parts.num_steps == whole.layers[0].num_steps
        assert (in_one(cut.layers[0]).array_cycles == whole.layers[0].array_cycles).all()
        once, again = run_schedule(whole, case.hardware), run_schedule(cut, case.hardware)
        assert work(again) == work(once)
        assert sum(again.layers[0].dram_bytes.values()) == sum(once.layers[0].dram_bytes.values())
        # Each part rounds the bits of a class up to bytes, and counts padding to its own largest class.
        slack = len(parts) * (case.hardware.dram.burst_bytes + 5)
        for name, num_bytes in once.layers[0].dram_bytes.items():
            assert abs(again.layers[0].dram_bytes[name] - num_bytes) <= slack
        moved = again.layers[0].latency_cycles - once.layers[0].latency_cycles
        assert abs(moved) <= (len(parts) - 1) * barrier_cycles(case, whole.layers[0])


@settings(max_examples=4, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 1 << 30))
def test_equal_parts_that_are_solved_once_take_as_long_as_processes(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    for _, cut in cut_layers(case, 4):
        assert run_schedule(cut, case.hardware) == run_schedule(cut, case.hardware, exact=True)


def test_a_core_beside_others_takes_fewer_tiles_than_one_alone() -> None:
    check_number(MOST_WHOLE + 1, "conv")
    with pytest.raises(
        MappingError, match=r"conv: 524289 tiles are more than the 524288 that a core's part of a layer"
    ):
        check_number(MOST_WHOLE + 1, "conv", MOST_WHOLE)
