"""Gemmini: agreement with its RTL, and the rules behind it."""

from __future__ import annotations

import pytest

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.validation.gemmini import parse_mapping, stated_rows
from accelsim.validation.rows import agreement


def test_rtl_cycles_under_their_mappings():
    found = agreement(stated_rows())

    assert found.num_rows == 111
    assert found.mean_error <= 0.15
    assert found.rank_correlation >= 0.98


@pytest.mark.parametrize(
    ("positions", "cycles"),
    [
        ((1, 56), 16 + 40),  # a row of 56: the first instruction of 16 carries the weights
        ((7, 7), 16 + 42),  # seven rows of 7: the first takes 16 instead of 7
        ((1, 1), 16),
        ((128, 1), 128),  # without columns positions are one row: 16, and 112 more
    ],
)
def test_new_weights_load_beside_one_instruction(positions, cycles):
    array = PeArrayConfig(rows=16, cols=16, weight_preload=True, preload_with="instruction")
    work = array_work(array, TileShape(1, 1, 16, 16, positions[0], positions[1], 1, 1, 1))

    assert work.compute_cycles + work.fill_drain_cycles == cycles


def test_a_stated_mapping_is_the_product_of_its_inner_levels():
    stated = parse_mapping("L3[WIO] C4 K48 - L2[WI] N1 K16X - L1[O] C48 P16 C16X - L0[W] P8")

    assert (stated.tile["K"], stated.tile["C"], stated.tile["P"], stated.tile["Q"]) == (16, 768, 128, 1)
    assert stated.order[:2] == ("C", "K")
