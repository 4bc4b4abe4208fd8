"""Pruned, quantised and entropy-coded weights: the rival that comes closest to the information itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accelsim.storage.base import Arithmetic, StoredBits, WeightPlan
from accelsim.storage.closed_forms import expected_mask_size
from accelsim.storage.encoded import EncodedWeights, IntTensor, check_range
from accelsim.storage.entropy_coding import decode_symbols, encode_symbols, expected_bits
from accelsim.storage.stand_in import entropy_per_value, has_real_values, kept_values
from accelsim.ticket.codecs import decode_mask, encode_mask
from accelsim.trace.model import LayerWeights


@dataclass(frozen=True, slots=True)
class EntropyFormat:
    """Range-coded mask, then range-coded values of the kept weights with a static frequency table.

    After Deep Compression (Han et al., ICLR 2016), with a range coder instead of its Huffman code. Both streams are
    really encoded wherever there is a mask. The values of a ticket's rival are not known: the stand-in of
    `accelsim.storage.stand_in` is encoded for them.
    """

    name: str
    summary: str
    value_bits: int
    arithmetic: Arithmetic

    @property
    def alphabet_size(self) -> int:
        """Return the number of codes of a value."""
        return 1 << self.value_bits

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer: measured where there is a mask, else from entropies."""
        if weights.load_mask is None:
            mask_bits, value_bits = self._expected(weights)
        else:
            mask_bits, value_bits = _measured(self, weights)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(mask=mask_bits, scale=weights.num_scale_bits, weight=value_bits),
            buffer_bits_per_weight=self.value_bits,
            arithmetic=self.arithmetic,
            decoder="entropy",
            decoder_symbols=weights.num_weights + weights.num_kept,
            num_nonzero=weights.num_kept,
            synthetic=not (has_real_values(weights) and weights.load_mask is not None),
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` encoded; they must fit the format's width in two's complement."""
        half = self.alphabet_size // 2
        check_range(self.name, values, -half, half - 1)
        flat = values.ravel()
        is_kept = flat != 0
        mask = encode_mask("entropy", is_kept)
        weight = encode_symbols(flat[is_kept].astype(np.int32) + half, self.alphabet_size)
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=StoredBits(mask=mask.payload_bits, weight=8 * len(weight)),
            mask=mask.payload,
            weight=weight,
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        mask = decode_mask("entropy", encoded.mask, encoded.bits.mask, encoded.num_weights)
        values = np.zeros(encoded.num_weights, dtype=np.int8)
        symbols = decode_symbols(encoded.weight, self.alphabet_size, int(mask.sum()))
        values[mask] = symbols - self.alphabet_size // 2
        return values.reshape(encoded.shape)

    def _expected(self, weights: LayerWeights) -> tuple[int, int]:
        density = weights.num_kept / weights.num_weights
        mask_bits = expected_mask_size("entropy", weights.num_weights, weights.num_kept).bits
        per_value = entropy_per_value(density, self.value_bits) if weights.num_kept else 0.0
        return mask_bits, expected_bits(weights.num_kept, per_value, self.alphabet_size)


@lru_cache(maxsize=512)
def _measured(storage_format: EntropyFormat, weights: LayerWeights) -> tuple[int, int]:
    """Return the bits of mask and values, by encoding them."""
    values = kept_values(weights, storage_format.value_bits)
    bits = storage_format.encode(values).bits
    return bits.mask, bits.weight


FORMATS = (
    EntropyFormat("entropy-int8", "pruned, 8-bit values, mask and values range-coded", 8, "int8"),
    EntropyFormat("entropy-int4", "pruned, 4-bit values, mask and values range-coded", 4, "int4"),
)
