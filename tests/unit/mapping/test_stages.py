"""Stages of a pipeline: runs of layers as even as can be, and maps that have a place for each input between them."""

import random
from itertools import combinations

from accelsim.mapping.stages import balanced, beside_dram, copies_of, stage_residency
from accelsim.trace.model import LayerTrace, LoopDims, TraceLayer


def chain(*residual: tuple[int, int], sizes: tuple[int, ...] = (1000, 1000, 1000, 1000)) -> LayerTrace:
    """Return layers behind each other, and pairs of a layer with an earlier one that it adds."""
    layers = []
    for place, size in enumerate(sizes):
        inputs = (f"l{place - 1}",) if place else ("input",)
        added = tuple(f"l{source}" for reader, source in residual if reader == place)
        layers.append(TraceLayer(f"l{place}", "conv2d", LoopDims(K=size), inputs, num_outputs=size, residuals=added))
    return LayerTrace("chain", tuple(layers), "dense")


def longest(cycles: list[int], cuts: tuple[int, ...]) -> int:
    ends = [0, *cuts, len(cycles)]
    return max(sum(cycles[begin:end]) for begin, end in zip(ends, ends[1:], strict=False))


def test_no_other_runs_are_shorter() -> None:
    draw = random.Random(3)
    for _ in range(60):
        cycles = [draw.randint(0, 9) for _ in range(draw.randint(1, 8))]
        number = draw.randint(1, 4)
        found = balanced(cycles, number)
        stages = [sum(each for each, stage in zip(cycles, found, strict=True) if stage == one) for one in set(found)]
        every = range(min(number, len(cycles)))
        best = min(longest(cycles, cuts) for parts in every for cuts in combinations(range(1, len(cycles)), parts))
        assert found == sorted(found)
        assert set(found) == set(range(found[-1] + 1))
        assert max(stages) == best


def test_a_map_that_later_stages_read_has_a_place_for_each_input_between() -> None:
    trace, stage_of = chain((3, 0)), [0, 0, 1, 2]
    assert copies_of(trace, stage_of) == {"l0": 3, "l1": 2, "l2": 2}
    whole = stage_residency(trace, stage_of, 8, 8000)
    assert whole.on_chip == {"l0", "l1", "l2"}
    assert whole.resident_bytes == (5000, 5000, 2000, 0)
    assert stage_residency(trace, stage_of, 8, 6000).on_chip == {"l0", "l2"}  # three quarters are for maps


def test_what_is_read_beside_a_map_in_dram_cannot_come_from_cores() -> None:
    trace = chain((3, 0), (3, 1))
    assert beside_dram(trace, frozenset({"l0", "l2"})) == {"l0"}
    assert not beside_dram(trace, frozenset({"l0", "l1", "l2"}))
