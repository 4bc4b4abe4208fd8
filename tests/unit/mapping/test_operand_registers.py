"""Row-stationary reuse: what a spatial array reads when its PEs hold inputs and partial sums."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.dataflow import TileShape, array_work

TILE = TileShape(2, 1, 8, 3, 4, 5, 9, 3, 3, (2, 1))


def work(registers: bool):
    return array_work(PeArrayConfig(dataflow="spatial", unroll={"K": 4, "R": 3}, operand_registers=registers), TILE)


def test_inputs_are_read_and_sums_written_once_a_tile():
    plain, held = work(False), work(True)

    assert plain.input_reads == 2 * 3 * 9 * 20 * 2
    assert held.input_reads == 2 * 3 * (3 * 2 + 3) * (4 + 3)
    assert (plain.psum_writes, plain.psum_reads) == (8 * 40 * 9, 8 * 40 * 8)
    assert (held.psum_writes, held.psum_reads) == (8 * 40, 0)
    assert held.compute_cycles == plain.compute_cycles


def test_only_spatial_arrays_have_them():
    with pytest.raises(ValidationError, match="operand_registers is for dataflow spatial only; set it to false"):
        PeArrayConfig(operand_registers=True)
