"""Run lengths and values: each entry says how many zeros stand before its value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accelsim.storage.base import StoredBits, WeightPlan
from accelsim.storage.encoded import (
    BoolArray,
    EncodedWeights,
    IntTensor,
    check_range,
    field_bits,
    fields,
    pack,
    unpack,
)
from accelsim.trace.model import LayerWeights

VALUE_BITS = 8
RUN_BITS = 4
POSITIONS_OF_PADDING = 2**RUN_BITS


@dataclass(frozen=True, slots=True)
class RleFormat:
    """4-bit runs of zeros and 8-bit values, as in EIE (Han et al., ISCA 2016, section III.B).

    An entry is (zeros before the value, value). A run above 15 is bridged by entries (15, 0), each of which stands for
    16 zeros. Zeros behind the last kept weight need no entry.
    """

    name: str = "rle-int8"
    summary: str = "pruned, 8-bit values, a 4-bit run of zeros before each; padding entries for longer runs"

    def plan(self, weights: LayerWeights) -> WeightPlan:
        """Return the plan of a layer; the entries are counted on the real mask, or expected for a random one."""
        if weights.load_mask is None:
            num_entries = expected_entries(weights.num_weights, weights.num_kept)
        else:
            num_entries = _measured_entries(weights)
        return WeightPlan(
            format=self.name,
            stored_bits=StoredBits(
                scale=weights.num_scale_bits, weight=num_entries * VALUE_BITS, index=num_entries * RUN_BITS
            ),
            buffer_bits_per_weight=VALUE_BITS,
            arithmetic="int8",
            decoder="rle",
            decoder_symbols=num_entries,
            num_nonzero=weights.num_kept,
            synthetic=weights.load_mask is None,
        )

    def encode(self, values: IntTensor) -> EncodedWeights:
        """Return ``values`` (-128 to 127) encoded."""
        check_range(self.name, values, -128, 127)
        flat = values.ravel()
        positions = np.flatnonzero(flat)
        zeros = _zeros_before(positions)
        # A padding is fifteen zeros before a value that is zero itself, so it bridges sixteen positions, not fifteen.
        paddings = zeros // POSITIONS_OF_PADDING
        ends = np.cumsum(paddings + 1)
        num_entries = int(ends[-1]) if ends.size else 0
        runs = np.full(num_entries, POSITIONS_OF_PADDING - 1, dtype=np.int64)
        entries = np.zeros(num_entries, dtype=np.int64)
        runs[ends - 1] = zeros % POSITIONS_OF_PADDING
        entries[ends - 1] = flat[positions]
        return EncodedWeights(
            format=self.name,
            shape=values.shape,
            bits=StoredBits(weight=num_entries * VALUE_BITS, index=num_entries * RUN_BITS),
            weight=pack(field_bits(entries, VALUE_BITS)),
            index=pack(field_bits(runs, RUN_BITS)),
        )

    def decode(self, encoded: EncodedWeights) -> IntTensor:
        """Return the int8 tensor that was encoded."""
        num_entries = encoded.bits.index // RUN_BITS
        runs = fields(unpack(encoded.index, num_entries * RUN_BITS), RUN_BITS, num_entries)
        entries = fields(unpack(encoded.weight, num_entries * VALUE_BITS), VALUE_BITS, num_entries, signed=True)
        values = np.zeros(encoded.num_weights, dtype=np.int8)
        values[np.cumsum(runs + 1) - 1] = entries
        return values.reshape(encoded.shape)


def count_entries(mask: BoolArray) -> int:
    """Return the entries, padding included, of a layer with this mask."""
    zeros = _zeros_before(np.flatnonzero(mask))
    return zeros.size + int((zeros // POSITIONS_OF_PADDING).sum())


def expected_entries(num_weights: int, num_kept: int) -> int:
    """Return the entries expected where kept weights are spread at random.

    With a fraction q of zeros a run is j times 16 or longer with probability q^(16 j), so each kept weight brings
    q^16 / (1 - q^16) paddings on average.
    """
    if num_kept == 0:
        return 0
    reaches = (1.0 - num_kept / num_weights) ** POSITIONS_OF_PADDING
    expected: float = num_kept * reaches / (1.0 - reaches)
    return num_kept + round(expected)


def _zeros_before(positions: IntTensor) -> IntTensor:
    zeros: IntTensor = np.diff(positions, prepend=-1) - 1
    return zeros


@lru_cache(maxsize=512)
def _measured_entries(weights: LayerWeights) -> int:
    return 0 if weights.load_mask is None else count_entries(weights.load_mask())


FORMATS = (RleFormat(),)
