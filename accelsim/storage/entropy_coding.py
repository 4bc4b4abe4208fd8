"""Range coding of symbols with a stored static frequency table (constriction does the coding)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FREQUENCY_BITS = 16
WORD_BITS = 32
_TOTAL = 1 << FREQUENCY_BITS

SymbolArray = npt.NDArray[np.int32]


def encode_symbols(symbols: npt.NDArray[np.integer[Any]], alphabet_size: int) -> bytes:
    """Return frequency table and range-coded words of ``symbols``, each in [0, ``alphabet_size``).

    The table has a 16-bit frequency for every symbol but the last; the words are 32 bits wide, little-endian.
    """
    frequencies = _frequencies(np.bincount(symbols, minlength=alphabet_size))
    from constriction import stream  # noqa: PLC0415  only this format needs it

    encoder = stream.queue.RangeEncoder()
    encoder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _model(frequencies))
    table: bytes = frequencies[:-1].astype("<u2").tobytes()
    coded: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return table + coded


def decode_symbols(data: bytes, alphabet_size: int, count: int) -> SymbolArray:
    """Return the ``count`` symbols that `encode_symbols` wrote."""
    from constriction import stream  # noqa: PLC0415

    table_bytes = table_bits(alphabet_size) // 8
    stored = np.frombuffer(data[:table_bytes], dtype="<u2").astype(np.int64)
    frequencies = np.append(stored, _TOTAL - stored.sum())
    compressed = np.frombuffer(data[table_bytes:], dtype="<u4").astype(np.uint32)
    decoder = stream.queue.RangeDecoder(compressed)
    return np.asarray(decoder.decode(_model(frequencies), count), dtype=np.int32)


def table_bits(alphabet_size: int) -> int:
    """Return the bits of the frequency table."""
    return FREQUENCY_BITS * (alphabet_size - 1)


def expected_bits(count: int, entropy_bits: float, alphabet_size: int) -> int:
    """Return the expected size of `encode_symbols`: table, ``count`` times the entropy per symbol, a last word."""
    return table_bits(alphabet_size) + round_up_words(count * entropy_bits)


def round_up_words(bits: float) -> int:
    """Return ``bits`` rounded up to whole 32-bit words."""
    return math.ceil(bits / WORD_BITS) * WORD_BITS


def _frequencies(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Scale counts to a sum of 2^16; what occurs keeps at least 1, and the most frequent symbol takes the rounding."""
    total = max(1, int(counts.sum()))
    frequencies = np.maximum(counts * (_TOTAL - 1) // total, counts > 0)
    frequencies[-1] += counts.sum() == 0
    frequencies[np.argmax(frequencies)] += (_TOTAL - 1) - frequencies.sum()
    # One unit is left for the last symbol, so that every stored frequency fits 16 bits.
    frequencies[-1] += 1
    return frequencies


def _model(frequencies: npt.NDArray[np.int64]) -> Any:
    from constriction import stream  # noqa: PLC0415

    return stream.model.Categorical((frequencies / _TOTAL).astype(np.float32), perfect=False)
