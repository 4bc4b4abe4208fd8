"""Compressed sparse rows: a column index beside every kept weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, field_bits, fields, pack, unpack
from accelsim.trace.model import LayerWeights

VALUE_BITS = 8


@dataclass(frozen=True, slots=True)
class CsrFormat:
    """One row per filter; 8-bit values.

    Column indices have ceil(log2 CRS) bits and the K + 1 row pointers ceil(log2(kept + 1)): the narrowest that work,
    which is kinder to the format than the usual 16 and 32 bits.
    """

    name: str = "csr-int8"
    summary: str = "pruned, 8-bit values, a column index each and a pointer per filter"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1), for the size depends on counts alone."""
        return WeightPlan(
            format=self.name,
            stored_bits=_bits(weights.shape, weights.num_kept, weights.num_scale_bits),
            buffer_bits_per_weight=VALUE_BITS,
            arithmetic="int8",
            decoder="csr",
            decoder_symbols=weights.num_kept,
            num_nonzero=weights.num_kept,
            synthetic=weights.load_mask is None,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-128 to 127) encoded."""
        check_range(self.name, values, -128, 127)
        rows = values.reshape(values.shape[0], -1)
        row_of, column_of = np.nonzero(rows)
        # Kept weights lie in order of rows: a pointer is how many come before its row.
        pointers = np.searchsorted(row_of, np.arange(rows.shape[0] + 1))
        pointer_bits, column_bits = _widths(values.shape, row_of.size)
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=_bits(values.shape, row_of.size),
            weight=pack(field_bits(rows[row_of, column_of], VALUE_BITS)),
            index=pack(field_bits(pointers, pointer_bits), field_bits(column_of, column_bits)),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        num_kept = encoded.bits.weight // VALUE_BITS
        num_rows = encoded.shape[0]
        pointer_bits, column_bits = _widths(encoded.shape, num_kept)
        pointers = fields(unpack(encoded.index, (num_rows + 1) * pointer_bits), pointer_bits, num_rows + 1)
        columns = fields(
            unpack(encoded.index, num_kept * column_bits, (num_rows + 1) * pointer_bits), column_bits, num_kept
        )
        rows = np.zeros((num_rows, encoded.num_weights // num_rows), dtype=np.int8)
        kept = fields(unpack(encoded.weight, num_kept * VALUE_BITS), VALUE_BITS, num_kept, signed=True)
        rows[np.repeat(np.arange(num_rows), np.diff(pointers)), columns] = kept
        return rows.reshape(encoded.shape)


def _widths(shape: tuple[int, ...], num_kept: int) -> tuple[int, int]:
    """Return the bits of a row pointer and of a column index."""
    num_columns = int(np.prod(shape[1:], dtype=np.int64))
    return num_kept.bit_length(), (num_columns - 1).bit_length()


def _bits(shape: tuple[int, ...], num_kept: int, num_scale_bits: int = 0) -> StoredBits:
    pointer_bits, column_bits = _widths(shape, num_kept)
    return StoredBits(
        scale=num_scale_bits,
        weight=num_kept * VALUE_BITS,
        index=(shape[0] + 1) * pointer_bits + num_kept * column_bits,
    )


FORMATS = (CsrFormat(),)
