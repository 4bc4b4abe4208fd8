"""Operand registers of a spatial array: sums stay until they are complete, activations shift from PE to PE."""

from __future__ import annotations

from itertools import product

import pytest
from pydantic import ValidationError

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.dataflow import TileShape, array_work

TILE = TileShape(2, 1, 8, 3, 4, 5, 9, 3, 3, (2, 1))


def work(registers: bool, tile: TileShape = TILE):
    unroll = {"K": 4, "P": 2, "Q": 4}
    return array_work(PeArrayConfig(dataflow="spatial", unroll=unroll, operand_registers=registers), tile)


def test_sums_stay_and_weights_come_again_for_each_block():
    plain, held = work(False), work(True)

    assert (plain.psum_writes, plain.psum_reads) == (8 * 40 * 27, 8 * 40 * 26)
    assert (held.psum_writes, held.psum_reads) == (8 * 40, 0)
    assert (plain.weight_reads, held.weight_reads) == (8 * 27, 8 * 27 * 8)
    assert held.compute_cycles == plain.compute_cycles


def test_reads_are_those_of_a_walk_over_the_window():
    """Stride 1: the walk holds a block's activations, shifts them with each tap and reads what no neighbour has."""
    tile = TileShape(1, 1, 4, 1, 4, 8, 9, 3, 3)
    taps = [(r, s if r % 2 == 0 else 2 - s) for r, s in product(range(3), range(3))]
    reads = 0
    for top, left in product((0, 2), (0, 4)):
        held: set[tuple[int, int]] = set()
        for r, s in taps:
            needed = {(top + p + r, left + q + s) for p, q in product(range(2), range(4))}
            reads += len(needed - held)
            held = needed

    assert work(True, tile).input_reads == reads
    assert work(False, tile).input_reads == 9 * 32


def test_a_stride_leaves_nothing_to_shift():
    assert work(True).input_reads == 3 * 2 * (4 * 5 + 3 * 2 * 4 * 2 + 2 * 4 * 5) * 2


def test_only_spatial_arrays_have_them():
    with pytest.raises(ValidationError, match="operand_registers is for dataflow spatial only; set it to false"):
        PeArrayConfig(operand_registers=True)
