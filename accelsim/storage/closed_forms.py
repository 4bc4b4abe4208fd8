"""Expected sizes of encoded masks, for layers of which only statistics are known.

A mask of `num_bits` positions of which `num_ones` are 1, at independent random positions, is what every formula here
assumes; a test shows that they agree with real encodings of random masks (0.5 % raw, 2 % the others).
"""

from __future__ import annotations

import math

from accelsim.errors import MappingError

MASK_CODECS = ("raw", "rle", "golomb", "entropy")


def binary_entropy(probability: float) -> float:
    """Return H2 of ``probability`` in bits: 0 at 0 and 1, 1 at one half."""
    if probability <= 0.0 or probability >= 1.0:
        return 0.0
    return -probability * math.log2(probability) - (1.0 - probability) * math.log2(1.0 - probability)


def mask_bits(codec: str, num_bits: int, num_ones: int) -> int:
    """Return the expected bits of a mask encoded with ``codec``.

    Raises
    ------
    MappingError
        If ``codec`` is not one of `MASK_CODECS`.
    """
    if codec == "raw" or num_bits == 0:
        return num_bits
    density = num_ones / num_bits
    if codec == "entropy":
        return math.ceil(num_bits * binary_entropy(density))
    raise MappingError(f"storage: codec {codec!r} is not known; one of {', '.join(MASK_CODECS)}; pack the ticket again")


def mask_symbols(codec: str, num_bits: int, num_ones: int) -> int:
    """Return how many symbols the mask decoder consumes: bits (raw, entropy) or runs (rle, golomb)."""
    if codec in {"raw", "entropy"}:
        return num_bits
    return num_ones
