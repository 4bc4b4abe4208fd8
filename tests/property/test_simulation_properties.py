"""What holds in every run, on random networks, chips, storage formats and tilings."""

import heapq
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import simpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from simpy.events import NORMAL

from accelsim.config.hardware import HardwareConfig
from accelsim.sim import processes
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.units import ns_to_cycles

Cases = Callable[[int], Any]
SEEDS = st.integers(0, 1 << 30)
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ


def some(examples: int) -> Callable[[Any], Any]:
    examples = examples if IS_NIGHTLY else examples // 3
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


def awake(case: Any) -> Any:
    """Return a case whose memory never sleeps: else what is faster leaves longer gaps, and may pay an exit for them."""
    return replace(case, hardware=case.changed("dram", power_down_after_ns=None, self_refresh_after_ns=None))


def solved(schedule: Schedule, hardware: HardwareConfig) -> Counters:
    """Run by the longest path: a test below shows that it gives the processes' integers."""
    return run_schedule(schedule, hardware, engine="solver")


def latency(counters: Counters) -> int:
    return sum(layer.latency_cycles for layer in counters.layers)


@given(seed=SEEDS)
@some(60)
def test_causes_and_bytes_add_up_and_units_fit_into_the_latency(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    for layer in solved(case.schedule, case.hardware).layers:
        assert sum(layer.cycles_by_cause.values()) == layer.latency_cycles
        assert min(layer.cycles_by_cause.values()) >= 0
        assert layer.latency_cycles >= max(layer.busy_cycles.values())
        assert sum(layer.dram_bytes.values()) == layer.dram_read_bytes + layer.dram_write_bytes
        assert min(layer.dram_bytes.values()) >= 0
        assert min((count for counts in layer.actions.values() for count in counts.values()), default=0) >= 0


@given(seed=SEEDS)
@some(60)
def test_some_unit_works_or_a_result_is_on_its_way_in_every_cycle(random_case: Cases, seed: int) -> None:
    case = awake(random_case(seed))
    assume(case.hardware.dram.model == "simple")  # whose latencies are known
    hardware, counters = case.hardware, solved(case.schedule, case.hardware)
    clock = hardware.clock_mhz
    access = max(
        ns_to_cycles(hardware.dram.read_latency_ns, clock), ns_to_cycles(hardware.dram.write_latency_ns, clock)
    )
    delays = 0
    for layer in case.schedule.layers:
        weights, outputs = layer.weights, layer.outputs
        fetched = (
            weights.fetch_bytes,
            layer.inputs.fetch_bytes,
            outputs.psum_read_bytes,
            outputs.residual_bytes,
            outputs.store_bytes,
        )
        around = hardware.dma.request_cycles + ns_to_cycles(hardware.dram.turnaround_ns, clock)
        delays += (access + around) * sum(int((values > 0).sum()) for values in fetched)
        delays += hardware.pe_array.call_cycles
        delays += len(weights.step) * (hardware.mask_decoder.latency_cycles + hardware.weight_generator.latency_cycles)
        delays += len(outputs.last_step) * hardware.vector_unit.latency_cycles
    assert latency(counters) <= sum(sum(layer.busy_cycles.values()) for layer in counters.layers) + delays


@given(seed=SEEDS)
@some(40)
def test_a_faster_memory_is_never_slower_and_moves_the_same_bytes(random_case: Cases, seed: int) -> None:
    case = awake(random_case(seed))
    assume(case.hardware.dram.model == "simple")
    slow, dram = solved(case.schedule, case.hardware), case.hardware.dram
    for values in (
        {"data_rate_mtps": dram.data_rate_mtps * 1.7},
        {"read_latency_ns": dram.read_latency_ns / 4, "write_latency_ns": dram.write_latency_ns / 2},
        {"turnaround_ns": 0.0},
    ):
        fast = solved(case.schedule, case.changed("dram", **values))
        assert latency(fast) <= latency(slow), values
        assert [layer.dram_bytes for layer in fast.layers] == [layer.dram_bytes for layer in slow.layers]
    ideal = solved(case.schedule, case.hardware.model_copy(update={"memory": "ideal"}))
    assert latency(ideal) <= latency(slow)


@given(seed=SEEDS)
@some(20)
def test_faster_units_and_larger_buffers_never_slow_a_tiling_down(random_case: Cases, seed: int) -> None:
    case = awake(random_case(seed))
    hardware = case.hardware
    # A device may be refreshing when a request comes earlier, which only requests far apart can see.
    assume(hardware.dma.loads_ahead or hardware.dram.model == "simple")
    slow, unchanged = (latency(solved(each, hardware)) for each in (case.remap(hardware), case.schedule))
    faster = [
        case.changed("weight_generator", num_lanes=2 * hardware.weight_generator.num_lanes),
        case.changed("weight_generator", words_per_lane_per_cycle=4),
        case.changed("weight_generator", latency_cycles=0, seed_cycles=0),
        case.changed("mask_decoder", positions_per_cycle=128, symbols_per_cycle=64, latency_cycles=0),
        case.changed("vector_unit", num_lanes=2 * hardware.vector_unit.num_lanes, latency_cycles=0),
    ]
    for chip in faster:
        assert latency(solved(case.remap(chip), chip)) <= slow
    for buffer in ("weight_buffer", "mask_buffer", "activation_buffer", "accumulator"):
        larger = case.changed(buffer, capacity_bytes=4 * getattr(hardware, buffer).capacity_bytes)
        assert latency(solved(case.schedule, larger)) <= unchanged, buffer


class ShuffledEnvironment(simpy.Environment):
    """Runs events of the same cycle in random order."""

    draw = random.Random(0)

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Iterator[int] = iter(range(1 << 40))

    def schedule(self, event: simpy.Event, priority: Any = NORMAL, delay: Any = 0) -> None:
        number = (self.draw.getrandbits(30) << 40) + next(self.numbers)
        heapq.heappush(self._queue, (self._now + delay, priority, number, event))  # type: ignore[misc]


@given(seed=SEEDS)
@some(20)
def test_the_order_of_events_in_a_cycle_does_not_matter(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    expected = run_schedule(case.schedule, case.hardware, exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.simpy, "Environment", ShuffledEnvironment)
        assert run_schedule(case.schedule, case.hardware, exact=True) == expected


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_the_solver_gives_the_integers_of_the_processes(
    random_case: Cases, exactly: Callable[[int], Counters], engine: Any
) -> None:
    number = 60 if IS_NIGHTLY else 16
    for seed in [*range(number), *range(1000, 1000 + number if engine == "python" else 1010)]:
        case = random_case(seed)
        assert run_schedule(case.schedule, case.hardware, engine=engine) == exactly(seed), seed
