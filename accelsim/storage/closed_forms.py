"""Sizes of encoded masks: expected ones of random masks, and those of real masks.

The expected sizes hold for `num_bits` positions of which `num_ones` are 1, at independent random places; a test shows
that they agree with real encodings of random masks (0.5 % raw, 2 % the others). They follow the codecs of
`accelsim.ticket.codecs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accelsim.storage.encoded import BoolArray
from accelsim.ticket.codecs import check_codec, encode_mask, entropy_bound_bits
from accelsim.ticket.model import MaskCodec

RUN_HEADER_BITS = 8
ENTROPY_HEADER_BITS = 16
# A range coder ends with the bytes that settle its last interval: half a 32-bit word on average.
ENTROPY_TAIL_BITS = 16
MAX_FIELD_BITS = 15


@dataclass(frozen=True, slots=True)
class MaskSize:
    """Bits of an encoded mask, and the symbols that the mask decoder consumes.

    Symbols are bits for ``raw`` and ``entropy``, fields for ``rle`` and code words for ``golomb``.
    """

    bits: int
    symbols: int


def expected_mask_size(codec: MaskCodec, num_bits: int, num_ones: int) -> MaskSize:
    """Return the expected size of a random mask encoded with ``codec``."""
    check_codec(codec)
    if num_bits == 0:
        return MaskSize(0, 0)
    if codec == "raw":
        return MaskSize(num_bits, num_bits)
    if codec == "entropy":
        coded = math.ceil(entropy_bound_bits(num_ones, num_bits)) + ENTROPY_TAIL_BITS
        return MaskSize(ENTROPY_HEADER_BITS + coded, num_bits)
    num_runs = min(num_ones, num_bits - num_ones)
    if num_runs == 0:
        return MaskSize(RUN_HEADER_BITS, 0)
    common = 1.0 - num_runs / num_bits
    if codec == "rle":
        sizes = [(b * _symbols(num_runs, common, 2**b - 1), b) for b in range(1, MAX_FIELD_BITS + 1)]
        bits, width = min(sizes)
        return MaskSize(RUN_HEADER_BITS + round(bits), round(bits / width))
    # Golomb-Rice: quotient in unary, a stop bit, b bits of remainder.
    bits = min(num_runs * b + _symbols(num_runs, common, 2**b) for b in range(MAX_FIELD_BITS + 1))
    return MaskSize(RUN_HEADER_BITS + round(bits), num_runs)


def measured_mask_size(codec: MaskCodec, bits: BoolArray) -> MaskSize:
    """Return the size of ``bits`` as `accelsim.ticket.codecs` really encodes them."""
    encoded = encode_mask(codec, bits)
    num_ones = int(np.count_nonzero(bits))
    if codec == "golomb":
        return MaskSize(encoded.payload_bits, min(num_ones, bits.size - num_ones))
    if codec == "rle" and bits.size:
        return MaskSize(encoded.payload_bits, (encoded.payload_bits - RUN_HEADER_BITS) // (encoded.payload[0] & 0x7F))
    return MaskSize(encoded.payload_bits, bits.size)


def _symbols(num_runs: int, common: float, longest: int) -> float:
    """Return the expected pieces of at most ``longest`` into which ``num_runs`` geometric runs are cut.

    A run has length l or more with probability common^l, so it fills ``longest`` j times with probability
    common^(j longest).
    """
    fills = common**longest
    return num_runs * (1.0 + fills / (1.0 - fills))
