"""Gemmini: agreement with its RTL, and the rules behind it."""

from __future__ import annotations

import pytest

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.validation.gemmini import parse_mapping
from accelsim.validation.rows import agreement


def test_rtl_cycles_under_their_mappings(reference_rows):
    found = agreement(reference_rows("gemmini-rtl"))

    assert found.num_rows == 111
    assert found.mean_error <= 0.12
    assert found.rank_correlation >= 0.985


@pytest.mark.parametrize(
    ("positions", "cycles"),
    [
        ((1, 56), 3 * 16 + 16),  # a row of 56: the last instruction, of 8, carries the next weights
        ((7, 7), 6 * 7 + 16),  # seven rows of 7: the last takes 16 instead of 7
        ((1, 1), 16),
        ((128, 1), 128),  # without columns positions are one row
        ((3, 18), 3 * 16 + 2 * 4 + 16),  # two positions take as long as four
        ((14, 2), 107),  # and fourteen instructions 14 x 7.6
    ],
)
def test_an_instruction_has_its_least_time_and_the_last_one_carries_the_next_weights(positions, cycles):
    array = PeArrayConfig(
        rows=16, cols=16, weight_preload=True, preload_with="instruction", min_instruction_rows=4,
        instruction_interval_cycles=7.6,
    )  # fmt: skip
    work = array_work(array, TileShape(1, 1, 16, 16, positions[0], positions[1], 1, 1, 1))

    assert work.compute_cycles + work.unused_cycles == cycles


@pytest.mark.parametrize(
    ("channels", "fold_taps", "folds"),
    [(3, True, 2), (3, False, 9), (3, "row", 3), (6, "row", 6), (20, True, 12), (20, False, 18), (20, "row", 18)],
)
def test_filter_taps_share_a_fold_or_are_passes_of_their_own(channels, fold_taps, folds):
    array = PeArrayConfig(rows=16, cols=16, fold_taps=fold_taps)
    work = array_work(array, TileShape(1, 1, 16, channels, 4, 4, 9, 3, 3))

    assert work.compute_cycles == folds * 16
    assert work.weight_load_cycles == folds * 16


def test_a_stated_mapping_is_the_product_of_its_inner_levels():
    stated = parse_mapping("L3[WIO] C4 K48 - L2[WI] N1 K16X - L1[O] C48 P16 C16X - L0[W] P8")

    assert (stated.tile["K"], stated.tile["C"], stated.tile["P"], stated.tile["Q"]) == (16, 768, 128, 1)
    assert stated.order[:2] == ("C", "K")
