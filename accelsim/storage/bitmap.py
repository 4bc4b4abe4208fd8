"""Bitmap and values: one bit per position says whether a value follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, field_bits, fields, pack, unpack
from accelsim.trace.model import LayerWeights

VALUE_BITS = 8


@dataclass(frozen=True, slots=True)
class BitmapFormat:
    """A bit per position and the 8-bit values of the kept weights, in the order of the flattened tensor."""

    name: str = "bitmap-int8"
    summary: str = "pruned, 8-bit values, a bit per position"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1), for the size depends on counts alone."""
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                mask=weights.num_weights, scale=weights.num_scale_bits, weight=weights.num_kept * VALUE_BITS
            ),
            buffer_bits_per_weight=VALUE_BITS,
            arithmetic="int8",
            decoder="bitmap",
            decoder_symbols=weights.num_weights,
            num_nonzero=weights.num_kept,
            synthetic=weights.load_mask is None,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-128 to 127) encoded."""
        check_range(self.name, values, -128, 127)
        mask = values != 0
        kept = values[mask]
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=StoredBits(mask=values.size, weight=kept.size * VALUE_BITS),
            mask=pack(mask),
            weight=pack(field_bits(kept, VALUE_BITS)),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        mask = unpack(encoded.mask, encoded.num_weights).astype(np.bool_)
        values = np.zeros(encoded.num_weights, dtype=np.int8)
        num_kept = int(mask.sum())
        values[mask] = fields(unpack(encoded.weight, num_kept * VALUE_BITS), VALUE_BITS, num_kept, signed=True)
        return values.reshape(encoded.shape)


FORMATS = (BitmapFormat(),)
