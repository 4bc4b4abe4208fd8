"""Multi-prize tickets: binary weights whose signs are stored, on a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.storage.base import Arithmetic, StoredBits, WeightPlan
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range, pack, unpack
from accelsim.storage.slt import require_one_coat
from accelsim.trace.model import LayerWeights


@dataclass(frozen=True, slots=True)
class MptFormat:
    """A mask bit per position and a sign bit per kept weight (Diffenderfer and Kailkhura, ICLR 2021).

    The gain per filter is among the layer's scales. Activations are 32 bits wide (MPT-1/32), 1 bit (MPT-1/1), or, as a
    variant that the paper does not have, 8 bits.
    """

    name: str
    summary: str
    activation_bits: int
    arithmetic: Arithmetic

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; O(1), for the size depends on counts alone.

        Raises
        ------
        MappingError
            A ticket of several coats: sums of them are no signs.
        """
        require_one_coat(self.name, weights)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(mask=weights.num_weights, scale=weights.num_scale_bits, weight=weights.num_kept),
            buffer_bits_per_weight=2,
            arithmetic=self.arithmetic,
            decoder="bitmap",
            decoder_symbols=weights.num_weights,
            num_nonzero=weights.num_kept,
            activation_bits=self.activation_bits,
            synthetic=weights.load_mask is None,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-1, 0, 1) encoded."""
        check_range(self.name, values, -1, 1)
        mask = values != 0
        signs = values[mask] > 0
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=StoredBits(mask=values.size, weight=signs.size),
            mask=pack(mask),
            weight=pack(signs),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        mask = unpack(encoded.mask, encoded.num_weights).astype(np.bool_)
        values = np.zeros(encoded.num_weights, dtype=np.int8)
        values[mask] = 2 * unpack(encoded.weight, int(mask.sum())).astype(np.int8) - 1
        return values.reshape(encoded.shape)


FORMATS = (
    MptFormat("mpt-binary", "multi-prize ticket: mask and signs, 32-bit activations", 32, "ternary"),
    MptFormat("mpt-binary-a8", "multi-prize ticket: mask and signs, 8-bit activations", 8, "ternary"),
    MptFormat("mpt-binary-xnor", "multi-prize ticket: mask and signs, 1-bit activations", 1, "binary_xnor"),
)
