"""Schedules against a walk through the loop nest: every operand is there when it is used, nothing is lost, nothing
overflows.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.mapping.loops import ALL_LOOPS, INPUT_LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS
from accelsim.pipeline import layer_plans
from accelsim.timing.schedule import NO_RELEASE, LayerSchedule
from accelsim.trace.model import LoopDims, TraceLayer

Cases = Callable[[int], Any]
Step = dict[str, tuple[int, int]]  # loop -> (first, size) of the tile
SEEDS = st.integers(0, 1 << 30)


def some(examples: int) -> Callable[[Any], Any]:
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None)


def walk(schedule: LayerSchedule, dims: LoopDims) -> list[Step]:
    """Return the tiles of all steps, from nested loops over the tiling as a user reads it."""
    tiling = schedule.tiling
    assert tiling is not None
    order = [*tiling.order, *(loop for loop in ALL_LOOPS if loop not in tiling.order)]
    size = {loop: getattr(tiling, loop) or getattr(dims, loop) for loop in order}
    firsts = [range(0, getattr(dims, loop), size[loop]) for loop in order]
    return [
        {loop: (first, min(size[loop], getattr(dims, loop) - first)) for loop, first in zip(order, starts, strict=True)}
        for starts in product(*firsts)
    ]


def key(step: Step, loops: frozenset[str]) -> tuple[int, ...]:
    return tuple(step[loop][0] for loop in ALL_LOOPS if loop in loops)


def size(step: Step, loops: str) -> int:
    return int(np.prod([step[loop][1] for loop in loops]))


def array_layers(case: Any) -> list[tuple[LayerSchedule, TraceLayer]]:
    pairs = zip(case.schedule.layers, case.trace.layers, strict=True)
    return [(schedule, layer) for schedule, layer in pairs if schedule.tiling is not None]


def peak_bytes(
    event_steps: Sequence[int],
    releases: Sequence[int],
    keys: Sequence[Any],
    num_bytes: Sequence[int],
    is_copied: bool = False,
) -> int:
    """Return the most bytes held at once: from the release of a tile's place to the last step that uses the tile.

    Where PEs copy a tile (``is_copied``), to the begin of that step. ``keys`` names the tile of each step. Raises where
    a step's tile was not loaded before it, or was given up.
    """
    loaded: dict[Any, int] = {}
    last_use: dict[int, int] = {}
    at = dict(zip(event_steps, range(len(event_steps)), strict=True))
    for step, name in enumerate(keys):
        if step in at:
            loaded[name] = at[step]
        last_use[loaded[name]] = step
    changes: dict[int, int] = defaultdict(int)
    for event, release in enumerate(releases):
        changes[-1 if release == NO_RELEASE else release] += num_bytes[event]
        changes[2 * (last_use[event] + 1) - int(is_copied)] -= num_bytes[event]
    held = peak = 0
    for moment in sorted(changes):
        held += changes[moment]
        peak = max(peak, held)
    assert held == 0
    return peak


@given(seed=SEEDS)
@some(60)
def test_weights_and_inputs_are_there_when_used_and_fit_their_buffers(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    for schedule, layer in array_layers(case):
        steps = walk(schedule, layer.dims)
        assert len(steps) == schedule.num_steps
        plan_bits = 8 * schedule.occupancy_bytes["weight_buffer"]
        bits = _weight_bits(case, layer)
        weights = schedule.weights
        held = [size(steps[step], "GKCRS") * bits for step in weights.step]
        used, is_copied = [key(s, WEIGHT_LOOPS) for s in steps], case.hardware.weight_buffer.is_copied
        peak = peak_bytes(weights.step.tolist(), weights.release.tolist(), used, held, is_copied)
        assert peak <= plan_bits
        if case.hardware.memory == "dram":
            assert schedule.occupancy_bytes["weight_buffer"] <= case.hardware.weight_buffer.capacity_bytes
        inputs = schedule.inputs
        if inputs.step.size:
            tiles = (inputs.fetch_bytes - case.hardware.dram.burst_bytes + 1).clip(min=0)
            peak = peak_bytes(
                inputs.step.tolist(), inputs.release.tolist(), [key(s, INPUT_LOOPS) for s in steps], tiles.tolist()
            )
            assert peak <= schedule.occupancy_bytes["activation_buffer"]


def _weight_bits(case: Any, layer: TraceLayer) -> int:
    if layer.weights is None:
        return int(case.hardware.activation_bits)
    return int(layer_plans(case.trace, case.storage)[layer.name].buffer_bits_per_weight)


@given(seed=SEEDS)
@some(60)
def test_outputs_are_summed_completely_and_spilled_sums_come_back_once(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    hardware = case.hardware
    for schedule, layer in array_layers(case):
        steps, outputs, dims = walk(schedule, layer.dims), schedule.outputs, layer.dims
        summed: dict[Any, int] = defaultdict(int)
        spilled: dict[Any, int] = {}
        open_visits: dict[Any, int] = {}
        visit_of = {step: visit for visit, step in enumerate(outputs.first_step.tolist())}
        for number, step in enumerate(steps):
            name = key(step, OUTPUT_LOOPS)
            if number in visit_of:
                visit = visit_of[number]
                assert (outputs.psum_read_bytes[visit] > 0) == (name in spilled)
                assert outputs.after_store[visit] == spilled.pop(name, -1)
                open_visits[name] = visit
            visit = open_visits[name]
            assert outputs.first_step[visit] <= number <= outputs.last_step[visit]
            summed[name] += size(step, "CRS")
            if number == outputs.last_step[visit]:
                whole = summed[name] == dims.C * dims.R * dims.S
                assert bool(outputs.is_partial[visit]) != whole
                del open_visits[name]
                if not whole:
                    spilled[name] = visit
                    least = size(step, "NGKPQ") * hardware.accumulator_bits // 8
                    assert least <= outputs.store_bytes[visit] < least + hardware.dram.burst_bytes
        assert not spilled and not open_visits
        assert set(summed.values()) == {dims.C * dims.R * dims.S}
        assert outputs.psum_read_bytes.sum() == outputs.store_bytes[outputs.is_partial].sum()


@given(seed=SEEDS)
@some(50)
def test_accumulators_hold_no_more_than_they_have(random_case: Cases, seed: int) -> None:
    """Visits are open from the moment their place is free to the moment the vector unit has taken them, in order."""
    case = random_case(seed)
    for schedule, layer in array_layers(case):
        outputs, steps = schedule.outputs, walk(schedule, layer.dims)
        held = [size(steps[step], "NGKPQ") * case.hardware.accumulator_bits // 8 for step in outputs.first_step]
        ends = np.cumsum([0, *held])
        visits = np.arange(len(held))
        most = int((ends[visits + 1] - ends[outputs.open_after]).max())
        assert most <= schedule.occupancy_bytes["accumulator"]
        if case.hardware.memory == "dram":
            assert schedule.occupancy_bytes["accumulator"] <= case.hardware.accumulator.capacity_bytes


@given(seed=SEEDS)
@some(50)
def test_a_schedule_counts_what_its_layer_has(random_case: Cases, seed: int) -> None:
    case = random_case(seed)
    for schedule, layer in array_layers(case):
        dims, outputs = layer.dims, schedule.outputs
        steps = walk(schedule, dims)
        assert sum(size(step, "NGKCPQRS") for step in steps) == dims.macs == schedule.macs
        macs = schedule.actions["pe_array"]
        executed = sum(count for name, count in macs.items() if name.startswith("mac_") and name != "mac_gated")
        assert executed <= schedule.macs
        if case.hardware.pe_array.zero_weights != "none" and case.hardware.pe_array.zero_activations == "none":
            assert executed == schedule.effective_macs
        lanes = case.hardware.vector_unit.num_lanes
        ops = schedule.actions["vector_unit"]["ops"]
        assert 0 <= outputs.vector_cycles.sum() * lanes - ops < (lanes + 1) * len(outputs.last_step)
