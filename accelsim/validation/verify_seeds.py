"""The seeds of a layer's streams, one by one in plain integers, apart from `accelsim.prng`.

Only ``seeds: jump`` takes them from there: no lane could step through the 2^31 words between two streams.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.prng.source import RandomSource
from accelsim.prng.streams import stream_seeds

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def num_filters_per_stream(source: RandomSource, num_filters: int) -> int:
    """Return how many filters share a stream."""
    return {"layer": max(1, num_filters), "tile": source.tile_filters, "filter": 1}[source.stream]


def lane_seeds(source: RandomSource, shape: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """Return the seeds that the lanes load, uint32 [2, streams]: weights, freezing map."""
    if source.seeds == "jump":
        return np.stack([stream_seeds(source, shape, domain) for domain in (0, 1)])
    num_streams = -(-shape[0] // num_filters_per_stream(source, shape[0]))
    width = 16 if source.generator == "lfsr16" else 32
    base = _mix(source.seed)
    return np.array(
        [
            [_fitted(_mix((base + (2 * stream + domain) * _GOLDEN) & _MASK), width) for stream in range(num_streams)]
            for domain in (0, 1)
        ],
        dtype=np.uint32,
    )


def _mix(value: int) -> int:
    """Mix 32 bits: the finaliser of MurmurHash3 (Appleby, public domain)."""
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _MASK
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _MASK
    return value ^ value >> 16


def _fitted(value: int, width: int) -> int:
    """Fold to the register's width; no register starts at 0."""
    if width == 16:
        value = (value ^ value >> 16) & 0xFFFF
    return value or _GOLDEN >> 32 - width
