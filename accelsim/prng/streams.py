"""Streams of a layer: how many, how long, and the seed each starts from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import numpy as np

from accelsim.errors import ConfigError
from accelsim.prng.generators import LINEAR_KINDS, WORD_BITS, Words, jump
from accelsim.prng.source import GeneratorKind, RandomSource
from accelsim.units import ceil_div

Domain = Literal[0, 1]
WEIGHT_DOMAIN: Final[Domain] = 0
FREEZING_DOMAIN: Final[Domain] = 1

# 2^bits over the golden ratio: consecutive multiples spread evenly over the period, however many streams there are
# (three-distance theorem), so that no two of n streams begin closer than about period / (3 n) words.
JUMP_DISTANCE_WORDS: Final[dict[int, int]] = {32: 0x9E3779B9, 16: 0x9E37}

_MAX_FIELD_BITS: Final = 32
_MAX_WEIGHT_BITS: Final = 16
_MAX_TERMS: Final = 64


@dataclass(frozen=True, slots=True)
class StreamGeometry:
    """Sizes of a layer's streams; what a simulator counts words from.

    Attributes
    ----------
    num_streams
        Streams per domain.
    weights_per_stream
        Weights in every stream but the last, which may be shorter (``stream: tile``).
    weight_fields_per_word, threshold_fields_per_word
        Fields cut from one word; 0 thresholds where nothing is frozen.
    weight_words_per_stream, threshold_words_per_stream
        Words of a whole stream; 0 threshold words where nothing is frozen.
    """

    num_streams: int
    weights_per_stream: int
    weight_fields_per_word: int
    threshold_fields_per_word: int
    weight_words_per_stream: int
    threshold_words_per_stream: int


def filters_per_stream(source: RandomSource, shape: tuple[int, ...]) -> int:
    """Return how many filters (axis 0 of the weight tensor) share a stream."""
    if source.stream == "layer":
        return max(1, shape[0])
    return source.tile_filters if source.stream == "tile" else 1


def freezes(source: RandomSource) -> bool:
    """Return whether any weight can be frozen, that is, whether freezing words are drawn at all."""
    return source.threshold_bits > 0 and source.lock_threshold > 0


def stream_geometry(source: RandomSource, shape: tuple[int, ...]) -> StreamGeometry:
    """Return the stream sizes of a layer of ``shape`` (KCRS or KC).

    Raises
    ------
    ConfigError
        The source is inconsistent, see `check_source`.
    """
    check_source(source)
    per_stream = filters_per_stream(source, shape)
    weights_per_stream = per_stream * prod(shape[1:])
    word_bits = WORD_BITS[source.generator]
    weight_fields = word_bits // source.weight_bits
    threshold_fields = word_bits // source.threshold_bits if freezes(source) else 0
    return StreamGeometry(
        num_streams=ceil_div(shape[0], per_stream),
        weights_per_stream=weights_per_stream,
        weight_fields_per_word=weight_fields,
        threshold_fields_per_word=threshold_fields,
        weight_words_per_stream=ceil_div(weights_per_stream * fields_per_weight(source), weight_fields),
        threshold_words_per_stream=ceil_div(weights_per_stream, threshold_fields) if threshold_fields else 0,
    )


def fields_per_weight(source: RandomSource) -> int:
    """Return how many fields of the weight stream one weight takes."""
    return source.normal_terms if source.weights == "normal" else 1


def stream_seeds(source: RandomSource, shape: tuple[int, ...], domain: Domain) -> Words:
    """Return the seed of every stream of one domain (0 weights, 1 freezing map); uint32 [num_streams], never 0.

    ``derived`` (and ``stored``, which holds the same values) is a bijective hash of the position 2 x stream + domain,
    offset by the hashed layer seed; ``jump`` starts that many times `JUMP_DISTANCE_WORDS` words behind the layer's
    seed.
    """
    geometry = stream_geometry(source, shape)
    position = 2 * np.arange(geometry.num_streams, dtype=np.uint64) + np.uint64(domain)
    if source.seeds != "jump":
        return _derive(source.generator, source.seed, position)
    word_bits = WORD_BITS[source.generator]
    seeds = np.empty(geometry.num_streams, dtype=np.uint32)
    state = jump(
        source.generator, _fit(source.generator, np.uint32(source.seed)), domain * JUMP_DISTANCE_WORDS[word_bits]
    )
    # By doubling: what is known, jumped on by its own length, is as much again; log2(n) jumps in place of n.
    done = 1
    seeds[:1] = state
    while done < geometry.num_streams:
        more = min(done, geometry.num_streams - done)
        seeds[done : done + more] = jump(source.generator, seeds[:more], 2 * done * JUMP_DISTANCE_WORDS[word_bits])
        done += more
    return seeds


def layer_seed(seed: int, layer: int) -> int:
    """Return the 32-bit master seed of layer number ``layer`` of a network whose seed is ``seed``; never 0."""
    return int(_derive("xorshift32", seed, np.array([2 * layer + (1 << 31)], dtype=np.uint64))[0])


def check_source(source: RandomSource) -> None:
    """Raise `ConfigError` for a random source that no generator could follow."""
    word_bits = WORD_BITS.get(source.generator)
    if word_bits is None:
        raise ConfigError(f"random source: generator: {source.generator!r}: use one of {', '.join(WORD_BITS)}")
    _check_range("seed", source.seed, 1, 2**32 - 1)
    _check_range("weight_bits", source.weight_bits, 1, min(word_bits, _MAX_WEIGHT_BITS))
    _check_range("normal_terms", source.normal_terms, 1, _MAX_TERMS)
    _check_range("tile_filters", source.tile_filters, 1, 2**31 - 1)
    _check_range("threshold_bits", source.threshold_bits, 0, min(word_bits, _MAX_FIELD_BITS))
    _check_range("lock_threshold", source.lock_threshold, 0, 1 << source.threshold_bits)
    _check_range("prune_threshold", source.prune_threshold, 0, source.lock_threshold)
    if source.weights == "signed_constant" and source.weight_bits != 1:
        raise ConfigError(
            f"random source: weight_bits: {source.weight_bits}: signed_constant takes exactly 1; use 1 or uniform"
        )
    if source.seeds == "jump" and source.generator not in LINEAR_KINDS:
        allowed = ", ".join(sorted(LINEAR_KINDS))
        raise ConfigError(
            f"random source: seeds: jump needs one of {allowed}, not {source.generator}; use seeds: derived"
        )


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"random source: {name}: {value} is not within {low} to {high}; give a value in that range")


def _derive(generator: GeneratorKind, seed: int, position: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> Words:
    """Hash (seed, position) to seeds that the generator can start from."""
    base = int(_mix(np.array([seed], dtype=np.uint32))[0])
    # Distinct positions stay distinct: an odd factor, an offset and the mixer below are each one to one in 32 bits.
    spread = (position * np.uint64(0x9E3779B9) + np.uint64(base)) & np.uint64(0xFFFFFFFF)
    return _fit(generator, _mix(spread.astype(np.uint32)))


def _mix(value: Words) -> Words:
    """Mix 32 bits bijectively: the finaliser of MurmurHash3 (Appleby, public domain)."""
    value = value ^ (value >> np.uint32(16))
    value = value * np.uint32(0x85EBCA6B)
    value = value ^ (value >> np.uint32(13))
    value = value * np.uint32(0xC2B2AE35)
    return value ^ (value >> np.uint32(16))


def _fit(generator: GeneratorKind, value: Words | np.uint32) -> Words:
    """Fold to the generator's width and replace 0, which a linear generator could not leave."""
    folded = np.asarray(value, dtype=np.uint32)
    bits = WORD_BITS[generator]
    if bits < 32:
        folded = (folded ^ (folded >> np.uint32(bits))) & np.uint32((1 << bits) - 1)
    return np.where(folded == 0, np.uint32(0x9E3779B9 >> (32 - bits)), folded)
