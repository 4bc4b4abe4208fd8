"""Rebuild a layer's weights and freezing map from its random source, whole or in part."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
import numpy.typing as npt

from accelsim.errors import ConfigError
from accelsim.prng.generators import WORD_BITS, Words, words
from accelsim.prng.source import RandomSource
from accelsim.prng.streams import (
    FREEZING_DOMAIN,
    WEIGHT_DOMAIN,
    Domain,
    check_source,
    fields_per_weight,
    filters_per_stream,
    freezes,
    stream_seeds,
)

IntArray = npt.NDArray[np.signedinteger]
FreezingMap = npt.NDArray[np.int8]
_Fields = npt.NDArray[np.unsignedinteger]


def layer_weights(source: RandomSource, shape: tuple[int, ...]) -> IntArray:
    """Return all weights of a layer as signed integers.

    Parameters
    ----------
    source
        Random source; its ``weights`` decides the values, with b = ``weight_bits`` and m = ``normal_terms``:
        ``signed_constant`` +1 (field 1) or -1 (field 0), int8; ``uniform`` 2 u + 1 - 2^b, the odd integers of size
        below 2^b; ``normal`` the sum of m such values.
    shape
        KCRS or KC; filters are axis 0.

    Returns
    -------
    int8, int16 or int32 (the narrowest that holds the distribution), of ``shape``. `weight_std` is its standard
    deviation.
    """
    fields = _whole_fields(source, shape, WEIGHT_DOMAIN)
    return _values(source, fields).reshape(shape)


def freezing_map(source: RandomSource, shape: tuple[int, ...]) -> FreezingMap:
    """Return the ternary freezing map, int8 of ``shape``: -1 pruned, +1 locked, 0 free."""
    if not freezes(source):
        check_source(source)
        return np.zeros(shape, dtype=np.int8)
    return _ternary(source, _whole_fields(source, shape, FREEZING_DOMAIN)).reshape(shape)


def weights_slice(source: RandomSource, shape: tuple[int, ...], filters: slice, start: int, count: int) -> IntArray:
    """Return weights ``start`` to ``start + count - 1`` (flattened CRS) of some filters: [num filters, count].

    A part may begin inside a stream; the words before it are jumped over, never approximated, so that the result
    equals the same part of `layer_weights`.
    """
    fields = _part_fields(source, shape, WEIGHT_DOMAIN, filters, (start, count))
    return _values(source, fields).reshape(len(fields), count)


def freezing_slice(source: RandomSource, shape: tuple[int, ...], filters: slice, start: int, count: int) -> FreezingMap:
    """Return the same part of the freezing map as `weights_slice` does of the weights; int8 [num filters, count]."""
    if not freezes(source):
        return np.zeros((len(range(*filters.indices(shape[0]))), count), dtype=np.int8)
    return _ternary(source, _part_fields(source, shape, FREEZING_DOMAIN, filters, (start, count)))


def weight_std(source: RandomSource) -> float:
    """Return the standard deviation of `layer_weights`: sqrt(m (4^b - 1) / 3), which is 1 for a signed constant."""
    return sqrt(fields_per_weight(source) * (4**source.weight_bits - 1) / 3)


def _whole_fields(source: RandomSource, shape: tuple[int, ...], domain: Domain) -> _Fields:
    """Return every field of a domain in weight order, [weights x fields per weight]."""
    per_filter = prod(shape[1:])
    length = filters_per_stream(source, shape) * per_filter
    fields = _fields(source, stream_seeds(source, shape, domain), domain, (0, length))
    return fields.reshape(-1)[: shape[0] * per_filter * _per_weight(source, domain)]


def _part_fields(
    source: RandomSource, shape: tuple[int, ...], domain: Domain, filters: slice, span: tuple[int, int]
) -> _Fields:
    """Return the fields of a span of weights of some filters, [num filters, span x fields per weight]."""
    per_filter = prod(shape[1:])
    start, count = span
    if not 0 <= start <= start + count <= per_filter:
        raise ConfigError(
            f"prng: weights {start} to {start + count} of a filter: it has {per_filter}; stay within them"
        )
    # Filters at the same place in their streams begin at the same word, so they are drawn together.
    seeds = stream_seeds(source, shape, domain)
    chosen = np.arange(*filters.indices(shape[0]))
    stream, place = np.divmod(chosen, filters_per_stream(source, shape))
    out = np.empty((chosen.size, count * _per_weight(source, domain)), dtype=np.uint32)
    for offset in np.unique(place):
        rows = place == offset
        begin = int(offset) * per_filter + start
        out[rows] = _fields(source, seeds[stream[rows]], domain, (begin, count))
    return out


def _per_weight(source: RandomSource, domain: Domain) -> int:
    return fields_per_weight(source) if domain == WEIGHT_DOMAIN else 1


def _fields(source: RandomSource, seeds: Words, domain: Domain, span: tuple[int, int]) -> _Fields:
    """Return the fields of weights [start, start + count) of each stream, [n, count x fields per weight]."""
    bits = source.weight_bits if domain == WEIGHT_DOMAIN else source.threshold_bits
    fields_per_word = WORD_BITS[source.generator] // bits
    first, num_fields = (value * _per_weight(source, domain) for value in span)
    # Fields do not straddle words: bits that are left at the end of a word are thrown away, as on the chip.
    first_word = first // fields_per_word
    num_words = -(-(first + num_fields) // fields_per_word) - first_word
    drawn = words(source.generator, seeds, first_word, num_words)
    cut = _cut(drawn, WORD_BITS[source.generator], bits)
    skipped = first - first_word * fields_per_word
    return cut[:, skipped : skipped + num_fields]


def _cut(drawn: Words, word_bits: int, bits: int) -> _Fields:
    """Cut words [n, count] into fields from their low ends, [n, count x floor(word_bits / bits)]."""
    num_streams = drawn.shape[0]
    little = np.ascontiguousarray(drawn, dtype=f"<u{word_bits // 8}")
    # Most sources draw signs alone, and unpacking bytes is much faster than shifting words.
    if bits == 1:
        return np.unpackbits(little.view(np.uint8).reshape(num_streams, -1), axis=1, bitorder="little")
    if bits in (8, 16, 32):
        return little.view(f"<u{bits // 8}").reshape(num_streams, -1)
    shifts = np.arange(word_bits // bits, dtype=np.uint32) * np.uint32(bits)
    fields = (drawn[:, :, None] >> shifts) & np.uint32((1 << bits) - 1)
    return fields.reshape(num_streams, -1)


def _values(source: RandomSource, fields: _Fields) -> IntArray:
    """Turn weight fields into signed integers, [..., fields] -> flat."""
    terms = fields_per_weight(source)
    peak = terms * ((1 << source.weight_bits) - 1)
    dtype: type[np.signedinteger] = np.int8 if peak < 1 << 7 else np.int16 if peak < 1 << 15 else np.int32
    if terms > 1:
        total: IntArray = fields.reshape(-1, terms).sum(axis=1, dtype=np.int32)
        return (total + total - np.int32(peak)).astype(dtype)
    values: IntArray = fields.reshape(-1).astype(dtype)
    # 2 u + 1 - 2^b in place: a layer's weights are not held twice.
    values += values
    values -= dtype(peak)
    return values


def _ternary(source: RandomSource, fields: _Fields) -> FreezingMap:
    """Compare freezing words with the two thresholds."""
    out = (fields < source.lock_threshold).astype(np.int8)
    pruned = fields < source.prune_threshold
    # Pruned words are below both thresholds: they were counted as locked first.
    out -= 2 * pruned.view(np.int8)
    return out
