"""A row-stationary array's passes, partial sums in the shared buffer, and coded activations, as Eyeriss has them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from accelsim.config.hardware import HardwareConfig, PeArrayConfig
from accelsim.config.loader import load_hardware
from accelsim.mapping.activation_code import PLAIN, coded_share, coding_of
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.holding import hold
from accelsim.mapping.loops import Tiling
from accelsim.mapping.task import LayerTask
from accelsim.validation.runs import conv_dims, layer, network

EYERISS = load_hardware(Path(__file__).resolve().parents[3] / "hwconfigs" / "eyeriss_dense.yaml").config


# JSSC 2017, Table III: what a pass of a layer takes, and the loops that one PE works through in it, p q n F S.
@pytest.mark.parametrize(
    ("tile", "stride", "passes", "cycles"),
    [
        (TileShape(1, 1, 96, 1, 7, 55, 121, 11, 11, (4, 4)), 4, (1, 3), 16 * 1 * 1 * 55 * 11),
        (TileShape(1, 1, 64, 2, 27, 27, 25, 5, 5), 1, (1, 4), 16 * 2 * 1 * 27 * 5),
        (TileShape(4, 1, 64, 6, 13, 13, 9, 3, 3), 1, (1, 2), 16 * 3 * 4 * 13 * 3),
        (TileShape(4, 1, 64, 4, 13, 13, 9, 3, 3), 1, (1, 1), 16 * 4 * 4 * 13 * 3),
    ],
    ids=["CONV1", "CONV2", "CONV4", "CONV3"],
)
def test_passes_are_those_of_the_chip(tile: TileShape, stride: int, passes: tuple[int, int], cycles: int) -> None:
    work = array_work(EYERISS.pe_array, tile)

    assert work.compute_cycles == passes[0] * passes[1] * cycles
    assert work.input_reads == passes[1] * tile.inputs
    assert (work.psum_writes, work.psum_reads) == (
        passes[0] * tile.K * tile.pixels,
        (passes[0] - 1) * tile.K * tile.pixels,
    )
    assert work.weight_load_cycles == tile.K * tile.reduction // 4


@pytest.mark.parametrize(
    ("unit", "change", "said"),
    [
        ("pe_array", {"scratch_pads": None}, "needs scratch_pads"),
        ("pe_array", {"dataflow": "weight_stationary"}, "scratch_pads is for dataflow row_stationary only"),
        ("pe_array", {"zero_weights": "skip"}, "skip is not for dataflow row_stationary"),
        ("accumulator", {"capacity_bytes": 4096}, "is that of the activation buffer .102400.; set it"),
        ("activation_buffer", {"num_banks": 1}, "num_banks of at least 2"),
        ("activation_buffer", {"is_copied": True}, "is_copied is for weight_buffer only"),
    ],
)
def test_what_makes_no_sense_is_refused(unit: str, change: dict[str, object], said: str) -> None:
    values = EYERISS.model_dump()
    with pytest.raises(ValidationError, match=said):
        HardwareConfig.model_validate(values | {unit: values[unit] | change})


def test_inputs_and_sums_have_banks_of_their_own() -> None:
    dims = conv_dims(channels=192, filters=384, out=(13, 13), window=(3, 3), batch=4, padding=1)
    filters = EYERISS.weight_buffer.model_copy(update={"capacity_bytes": 1 << 20})
    chip = EYERISS.model_copy(update={"weight_buffer": filters})
    task = LayerTask(layer("conv4", dims), None, chip, dims.num_inputs, True, 0, 102400)

    def sums(channels: int) -> int | None:
        held = hold(task, Tiling(4, 1, 64, channels, 13, 13, ("G", "K", "N", "P", "Q", "C")))
        return held.occupancy_bytes["accumulator"] if held is not None else None

    # 86,528 bytes of sums are 22 banks of 4 KB; three are left for 4 x 169 inputs of two bytes from each channel.
    assert sums(6) == 86528
    assert sums(9) == 86528
    assert sums(10) is None


def test_code_is_as_long_as_a_real_one() -> None:
    rng = np.random.default_rng(5)
    for density in (0.02, 0.3, 0.7):
        gaps = np.diff(np.flatnonzero(rng.random(200_000) < density), prepend=-1) - 1
        words = -(-int((gaps // 32 + 1).sum()) // 3)
        assert coded_share(density, 16) == pytest.approx(min(1.0, 64 * words / (200_000 * 16)), rel=0.02)
    assert coded_share(0.8, 16) == coded_share(1.0, 16) == coded_share(0.1, 32 * 2) == 1.0


def test_all_but_the_networks_input_is_coded() -> None:
    dims = conv_dims(channels=4, filters=4, out=(8, 8), window=(3, 3), padding=1)
    first, second = layer("a", dims, input_density=0.4), layer("b", dims, inputs=("a",), input_density=0.3)
    share = coded_share(0.3, 16)

    found = coding_of(network("net", [first, second]), EYERISS, 16)
    assert [one.inputs for one in found] == [1.0, share]
    assert [one.outputs for one in found] == [share, share]
    uncounted = coding_of(network("net", [first, replace(second, input_density_measured=False)]), EYERISS, 16)
    assert uncounted[0] == PLAIN
    assert (
        coding_of(
            network("net", [first, second]),
            EYERISS.model_copy(update={"dma": HardwareConfig.model_fields["dma"].default}),
            16,
        )
        == [PLAIN] * 2
    )


def test_only_row_stationary_arrays_have_scratch_pads() -> None:
    with pytest.raises(ValidationError, match="at most 1048576 PEs"):
        PeArrayConfig(dataflow="row_stationary", rows=4096, cols=4096, scratch_pads=EYERISS.pe_array.scratch_pads)
