"""Digests: how a chip's network, and the values that a file holds of it, are told from others without them.

Of the signed, masked weights 16 bits a filter; of scales, offsets and input density 32 bits a layer. They are written
beside the stored bits and never read by the chip, so they count in no size.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 2


def filter_digests(weights: npt.NDArray[np.signedinteger]) -> bytes:
    """Return little-endian uint16 per filter (axis 0): the low half of the CRC-32 of its weights.

    The weights are signed integers, 0 where dropped, taken as little-endian int32 in flattened order. A filter that
    differs goes unnoticed once in 65536 times.
    """
    rows = weights.reshape(weights.shape[0], -1)
    words = [zlib.crc32(row.astype("<i4").tobytes()) & 0xFFFF for row in rows]
    return np.array(words, dtype="<u2").tobytes()


def value_digest(
    scale_K: npt.NDArray[np.float16],  # noqa: N803
    offset_K: npt.NDArray[np.float16],  # noqa: N803
    input_density: float | None,
) -> int:
    """Return the CRC-32 of scales and offsets as little-endian float16, and of the density as Python writes it."""
    stored = b"".join(np.asarray(values, dtype="<f2").tobytes() for values in (scale_K, offset_K))
    return zlib.crc32(stored + repr(input_density).encode())
