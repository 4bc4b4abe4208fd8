"""Loop nests, reuse and events of layers small enough to be worked out by hand."""

from dataclasses import replace

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer
from accelsim.mapping.loops import INPUT_LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop, Tiling, reuse_levels
from accelsim.mapping.task import LayerTask
from accelsim.prng.source import RandomSource
from accelsim.storage import get_format
from accelsim.storage.base import StoredBits
from accelsim.timing.schedule import NO_RELEASE, LayerSchedule
from accelsim.trace.model import LayerWeights, LoopDims, TraceLayer

KPC: tuple[Loop, ...] = ("G", "K", "N", "P", "Q", "C")
CKP: tuple[Loop, ...] = ("G", "C", "K", "N", "P", "Q")
# 1x1 filters on a 4 x 4 map: 16 weights, 64 inputs, 64 outputs.
POINTWISE = LoopDims(K=4, C=4, P=4, Q=4, H=4, W=4)


def hardware(**units: dict[str, object]) -> HardwareConfig:
    """Return a chip with a 2 x 2 weight-stationary array and 8-byte bursts."""
    base: dict[str, object] = {
        "name": "small", "clock_mhz": 1000.0, "node_nm": 22, "dram": {"burst_bytes": 8},
        "pe_array": {"rows": 2, "cols": 2, "zero_weights": "none"},
        "activation_buffer": {"capacity_bytes": 4096}, "weight_buffer": {"capacity_bytes": 4096},
        "mask_buffer": {"capacity_bytes": 4096}, "accumulator": {"capacity_bytes": 4096},
        "weight_generator": {"num_lanes": 2}, "mask_decoder": {},
    }  # fmt: skip
    return HardwareConfig.model_validate(base | units)


def task(chip: HardwareConfig, dims: LoopDims = POINTWISE, storage: str = "dense-int8") -> LayerTask:
    count = dims.num_weights
    weights = LayerWeights(
        (dims.G * dims.K, dims.C, dims.R, dims.S), count // 4, num_pruned=count // 2, num_locked=0, num_free=count // 2,
        source=RandomSource(prune_threshold=1 << 15, lock_threshold=1 << 15), codec="raw", num_scale_bits=32 * dims.K,
    )  # fmt: skip
    layer = TraceLayer("layer", "conv2d", dims, ("input",), num_outputs=dims.num_outputs, weights=weights)
    plan = get_format(storage).plan(weights)
    capacity = chip.activation_buffer.capacity_bytes
    return LayerTask(layer, plan, chip, dims.num_inputs, True, 0, capacity)


def tiling(order: tuple[Loop, ...], K: int = 2, C: int = 2, P: int = 2) -> Tiling:
    return Tiling(N=1, G=1, K=K, C=C, P=P, Q=4, order=order)


def test_reuse_levels_of_a_three_deep_nest() -> None:
    counts: dict[Loop, int] = {"G": 1, "K": 2, "N": 1, "P": 3, "Q": 1, "C": 4, "R": 1, "S": 1}

    def levels(relevant: frozenset[str]) -> list[tuple[int, int]]:
        return [(level.block_tiles, level.num_blocks) for level in reuse_levels(KPC, counts, relevant)]

    assert levels(WEIGHT_LOOPS) == [(1, 24), (4, 2), (8, 1)]  # a K tile's four C tiles serve all three P tiles
    assert levels(INPUT_LOOPS) == [(1, 24), (4, 6), (12, 1)]  # K tiles reuse inputs only if all 12 tiles stay
    assert levels(OUTPUT_LOOPS) == [(1, 6), (3, 2), (6, 1)]  # C is innermost: a sum is finished before the next begins


@pytest.mark.parametrize(
    ("order", "weight_steps", "input_steps"),
    [
        # K P C: 8 steps; room for one tile of each operand only
        (KPC, [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
        # C K P: a weight tile serves both P tiles
        (CKP, [0, 2, 4, 6], [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_tiles_are_fetched_at_their_first_use(
    order: tuple[Loop, ...], weight_steps: list[int], input_steps: list[int]
) -> None:
    chip = hardware(
        weight_buffer={"capacity_bytes": 16, "double_buffered": False},  # a weight tile has 2 x 2 bytes, four fit
        activation_buffer={"capacity_bytes": 16 + 2 * 16 + 15, "double_buffered": False},  # one input tile, two outputs
    )
    weights_16_bits = replace(task(chip), plan=replace(get_format("dense-fp32").plan(_weights())))
    schedule = build_layer(weights_16_bits, tiling(order))  # 2 x 2 x 4 bytes: one tile fits
    assert schedule.weights.step.tolist() == weight_steps
    assert schedule.inputs.step.tolist() == input_steps


def _weights() -> LayerWeights:
    return LayerWeights((4, 4, 1, 1), 16, num_free=16)


def test_double_buffering_needs_room_for_two_tiles() -> None:
    fp32 = get_format("dense-fp32").plan(_weights())
    single = hardware(weight_buffer={"capacity_bytes": 16, "double_buffered": False})
    double = hardware(weight_buffer={"capacity_bytes": 31, "double_buffered": True})
    enough = hardware(weight_buffer={"capacity_bytes": 32, "double_buffered": True})
    assert build_layer(replace(task(single), plan=fp32), tiling(KPC)).occupancy_bytes["weight_buffer"] == 16
    with pytest.raises(MappingError, match="does not fit"):
        build_layer(replace(task(double), plan=fp32), tiling(KPC))
    assert build_layer(replace(task(enough), plan=fp32), tiling(KPC)).occupancy_bytes["weight_buffer"] == 32


@pytest.mark.parametrize(
    ("double", "release"),
    # step s may be loaded over when it has ended (2 s + 2): single buffering waits for the step before, double for one
    # more
    [(False, [NO_RELEASE, 4, 8, 12]), (True, [NO_RELEASE, 0, 4, 8])],
)
def test_a_place_is_free_when_its_tile_has_been_used(double: bool, release: list[int]) -> None:
    chip = hardware(weight_buffer={"capacity_bytes": 32 if double else 16, "double_buffered": double})
    schedule = build_layer(replace(task(chip), plan=get_format("dense-fp32").plan(_weights())), tiling(CKP))
    assert schedule.weights.step.tolist() == [0, 2, 4, 6]
    assert schedule.weights.release.tolist() == release


@pytest.mark.parametrize(
    ("dims", "P", "rows"),
    [
        (LoopDims(P=8, R=3, H=8, padding=(1, 0)), 4, [5, 5]),  # rows -1..4 and 3..8, one of each in the padding
        (LoopDims(P=8, R=3, H=8, padding=(1, 0)), 3, [4, 5, 3]),
        (LoopDims(P=4, R=1, H=8, stride=(2, 1)), 2, [2, 2]),  # 1x1, stride 2: every other row is read
        (LoopDims(P=4, R=3, H=9, stride=(2, 1)), 2, [5, 5]),  # neighbours share a row
        (LoopDims(P=4, R=3, H=8, dilation=(2, 1)), 2, [6, 6]),  # taps 0, 2, 4 of two rows
    ],
)
def test_halos(dims: LoopDims, P: int, rows: list[int]) -> None:
    chip = hardware(
        activation_buffer={"capacity_bytes": 4096, "width_bits": 8}, dram={"burst_bytes": 8, "bus_width_bits": 8}
    )
    chip = chip.model_copy(update={"activation_bits": 32})
    sized = replace(dims, C=2)  # 2 channels x 4 bytes: a row is one burst
    alone = build_layer(task(chip, sized), Tiling(N=1, G=1, K=1, C=2, P=P, Q=1, order=KPC, keep="tile"))
    assert (alone.inputs.fetch_bytes // 8).tolist() == rows
    # What the tile before has brought is still on chip: together the tiles read each row under a window once.
    kept = build_layer(task(chip, sized), Tiling(N=1, G=1, K=1, C=2, P=P, Q=1, order=KPC))
    starts = [p * dims.stride[0] - dims.padding[0] for p in range(dims.P)]
    needed = {row for start in starts for row in range(start, start + dims.R) if 0 <= row < dims.H}
    if dims.dilation[0] == 1:
        assert (kept.inputs.fetch_bytes // 8).sum() == len(needed)


def spilling(accumulator_bytes: int) -> LayerSchedule:
    chip = hardware(accumulator={"capacity_bytes": accumulator_bytes, "double_buffered": False})
    return build_layer(task(chip), tiling(CKP))


def test_partial_sums_are_spilled_where_the_accumulator_is_too_small() -> None:
    # C K P: 2 x 2 x 2 steps; four output tiles of 2 x 2 x 4 sums of 4 bytes
    assert spilling(256).dram_bytes["partial_sum"] == 0
    schedule = spilling(64)
    assert schedule.dram_bytes["partial_sum"] == 4 * 64 + 4 * 64
    outputs = schedule.outputs
    assert outputs.store_bytes.tolist() == [64] * 4 + [16] * 4  # sums of 4 bytes, then outputs of one
    assert outputs.psum_read_bytes.tolist() == [0] * 4 + [64] * 4
    assert outputs.after_store.tolist() == [-1] * 4 + [0, 1, 2, 3]
    assert outputs.open_after.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_traffic_of_a_ticket_layer() -> None:
    # 64 weights, half of them free: 32 mask bits; 4 x 32 scale bits, one derived seed of 32 bits: 24 bytes, 3 bursts
    dims = LoopDims(K=4, C=16, P=2, Q=2, H=2, W=2)
    schedule = build_layer(task(hardware(), dims, "slt"), Tiling(N=1, G=1, K=4, C=16, P=2, Q=2, order=KPC))
    assert schedule.stored_bits == StoredBits(mask=32, seed=32, scale=128)
    assert {name: count for name, count in schedule.dram_bytes.items() if count} == {
        "mask": 4, "seed": 4, "scale": 16, "activation_in": 64, "activation_out": 16,
    }  # fmt: skip


def test_actions_of_a_weight_stationary_layer() -> None:
    # One tile: 4 x 4 weights on 2 x 2 PEs are four folds, each streams 16 pixels behind 2 x 2 + 2 - 2 cycles of
    # filling.
    schedule = build_layer(task(hardware()), tiling(KPC, K=4, C=4, P=4))
    assert schedule.compute_cycles.tolist() == [4 * 16]
    assert schedule.weight_load_cycles.tolist() == [4 * 2]
    assert schedule.fill_drain_cycles.tolist() == [4 * 2]
    actions = schedule.actions
    assert actions["pe_array"]["mac_int8"] == 256
    assert actions["activation_buffer"] == {
        "read_bits": 8 * (64 * 2 + 64),  # inputs once for each of two column folds; outputs to DRAM
        "write_bits": 8 * (64 + 64),  # inputs from DRAM; outputs
    }
    assert actions["weight_buffer"] == {"read_bits": 8 * 16, "write_bits": 8 * 16}
    assert actions["accumulator"] == {
        "read_bits": 32 * (64 + 64),  # the second row fold adds to the first's sums; the vector unit takes the results
        "write_bits": 32 * 2 * 64,  # both row folds write
    }
    assert actions["vector_unit"] == {"ops": 64}
