"""Zero skipping: lockstep groups against a walk PE by PE, and real random masks against the binomial expectation."""

import numpy as np
import numpy.typing as npt
import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.build import build_layer
from accelsim.mapping.loops import Tiling
from accelsim.mapping.sparsity import LaneGrid, expected_steps, real_steps
from accelsim.mapping.task import LayerTask
from accelsim.storage import get_format
from accelsim.storage.rle import count_entries
from accelsim.timing.schedule import LayerSchedule
from accelsim.trace.model import LayerWeights, LoopDims, TraceLayer

DIMS = LoopDims(K=40, C=32, P=4, Q=4, R=3, S=3, H=4, W=4, padding=(1, 1))
SHAPE = (40, 32, 3, 3)
GROUPS = ("rows", "columns", "array")
ARRAYS: dict[str, dict[str, object]] = {
    name: {"dataflow": name, "rows": 8, "cols": 8}
    for name in ("weight_stationary", "output_stationary", "input_stationary")
} | {"spatial": {"dataflow": "spatial", "unroll": {"K": 8, "C": 8, "P": 2}}}


def walked_steps(mask: npt.NDArray[np.bool_], grid: LaneGrid, group: str) -> int:
    """Walk through the weights that are laid over each PE one after another, and let the groups wait for their
    slowest.
    """
    num_filters, length = mask.shape
    work = {
        (fold, column, row): sum(
            bool(mask[fold * grid.cols + column, index])
            for index in range(row, length, grid.rows)
            if fold * grid.cols + column < num_filters
        )
        for fold in range(-(-num_filters // grid.cols))
        for column in range(grid.cols)
        for row in range(grid.rows)
    }
    folds = sorted({fold for fold, _, _ in work})
    if group == "array":
        return sum(max(count for (f, _, _), count in work.items() if f == fold) for fold in folds)
    axis, lanes = (2, grid.rows) if group == "rows" else (1, grid.cols)
    return max(
        sum(max(count for place, count in work.items() if place[0] == fold and place[axis] == lane) for fold in folds)
        for lane in range(lanes)
    )


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("grid", [LaneGrid(4, 4), LaneGrid(1, 3), LaneGrid(5, 1), LaneGrid(3, 8)])
def test_groups_wait_for_their_slowest(group: str, grid: LaneGrid) -> None:
    rng = np.random.default_rng(grid.rows * 10 + grid.cols)
    for num_filters, length in ((7, 11), (1, 1), (9, 4), (12, 20)):
        mask = rng.random((num_filters, length)) < 0.4
        assert real_steps(mask, grid, group) == walked_steps(mask, grid, group)


def schedule(
    array: dict[str, object], mask: npt.NDArray[np.bool_] | None, num_kept: int, storage: str = "dense-int8"
) -> LayerSchedule:
    chip = HardwareConfig.model_validate(
        {
            "name": "skipping",
            "clock_mhz": 500.0,
            "node_nm": 22,
            "memory": "ideal",
            "pe_array": array,
            "mask_decoder": {},
        }  # fmt: skip
    )
    load = None if mask is None else (lambda: mask)
    weights = LayerWeights(SHAPE, num_kept, num_free=int(np.prod(SHAPE)), load_mask=load)
    layer = TraceLayer("layer", "conv2d", DIMS, ("input",), num_outputs=DIMS.num_outputs, weights=weights)
    plan = get_format(storage).plan(weights)
    task = LayerTask(layer, plan, chip, DIMS.num_inputs, True, 0, 1 << 60)
    return build_layer(task, Tiling(N=1, G=1, K=16, C=32, P=4, Q=4, order=("G", "K", "C", "N", "P", "Q")))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("dataflow", list(ARRAYS))
def test_random_masks_and_the_binomial_expectation_agree(dataflow: str, group: str) -> None:
    array = ARRAYS[dataflow] | {"zero_weights": "skip", "skip_group": group}
    for density in (0.1, 0.3, 0.6):
        sampled = []
        for seed in range(60):
            mask = np.random.default_rng(seed).random(SHAPE) < density
            sampled.append(int(schedule(array, mask, int(mask.sum())).compute_cycles.sum()))
        expected = int(schedule(array, None, round(density * float(np.prod(SHAPE)))).compute_cycles.sum())
        assert expected == pytest.approx(np.mean(sampled), rel=0.02), density


def test_skipping_saves_cycles_and_gating_saves_only_macs() -> None:
    mask = np.random.default_rng(0).random(SHAPE) < 0.3
    kept = int(mask.sum())
    computed, gated, skipped = (
        schedule(ARRAYS["weight_stationary"] | {"zero_weights": policy, "skip_group": "rows"}, mask, kept)
        for policy in ("none", "gate", "skip")
    )
    macs = DIMS.macs
    effective = kept * 16
    assert computed.actions["pe_array"]["mac_int8"] == macs
    assert gated.actions["pe_array"]["mac_int8"] == skipped.actions["pe_array"]["mac_int8"] == effective
    assert gated.actions["pe_array"]["mac_gated"] == macs - effective
    assert (computed.compute_cycles == gated.compute_cycles).all()
    assert skipped.compute_cycles.sum() < 0.6 * gated.compute_cycles.sum()
    assert skipped.actions["pe_array"]["skip_lookups"] == DIMS.num_weights


def test_paddings_of_a_run_length_code_take_cycles_where_pes_walk_through_it() -> None:
    mask = np.random.default_rng(0).random(SHAPE) < 0.04
    kept, array = int(mask.sum()), ARRAYS["spatial"] | {"zero_weights": "skip", "skip_group": "columns"}
    plain, padded, other = (
        schedule(array | {"padding_takes_cycles": takes}, mask, kept, storage)
        for takes, storage in ((False, "rle-int8"), (True, "rle-int8"), (True, "dense-int8"))
    )

    entries = count_entries(mask)
    assert entries > 1.5 * kept
    dense = schedule(array | {"zero_weights": "none", "padding_takes_cycles": False}, mask, kept, "rle-int8")
    paddings = dense.compute_cycles.sum() * (entries - kept) / mask.size
    assert padded.compute_cycles.sum() == pytest.approx(plain.compute_cycles.sum() + paddings, rel=0.01)
    assert padded.actions["pe_array"]["mac_int8"] == plain.actions["pe_array"]["mac_int8"]
    assert (other.compute_cycles == plain.compute_cycles).all()


@pytest.mark.parametrize("group", ["array", "rows", "columns"])
def test_paddings_take_no_more_than_the_dense_steps(group: str) -> None:
    array = ARRAYS["weight_stationary"] | {"zero_weights": "skip", "skip_group": group, "padding_takes_cycles": True}
    kept = [round(density * float(np.prod(SHAPE))) for density in (0.002, 0.01, 0.05, 1.0)]
    cycles = [int(schedule(array, None, number, "rle-int8").compute_cycles.sum()) for number in kept]
    assert cycles == sorted(cycles)


def test_packed_filters_share_the_lanes() -> None:
    grid, rng = LaneGrid(128, 1), np.random.default_rng(3)
    mask = np.zeros((4, 256), dtype=bool)
    for place, kept in enumerate((100, 28, 1, 200)):
        mask[place, :kept] = True
    assert real_steps(mask, grid, "packed") == 1 + 0 + 1 + 2

    drawn = [real_steps(rng.random((64, 256)) < 0.2, grid, "packed") for _ in range(200)]
    assert expected_steps(64, 256, 0.2, grid, "packed") == pytest.approx(np.mean(drawn), rel=0.01)
