"""What the weight generator must do for a tile: words used, words discarded, seeds, jumps, cycles.

One lane works on one stream at a time, and keeps two states: that of the weight words and that of the freezing words. A
sequential generator walks on from the state that its lane holds if the tile before took the same streams, all of them
had a lane, and the tile's first word is not behind the last one made (that last word itself is still in the state
register and costs nothing). Otherwise it begins at the stream's seed and steps through all words before the tile's
first: these are discarded, as are words between the parts of several filters that share a stream. Where seeds are
reached by jumps, a lane also jumps over discarded words whenever that is faster. A counter-based generator computes any
word at once and only loads the keys of streams that its lanes did not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import WeightGeneratorConfig
from accelsim.prng.source import RandomSource
from accelsim.prng.streams import fields_per_weight, filters_per_stream, stream_geometry

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
COUNTER_BASED = frozenset({"philox4x32"})


@dataclass(frozen=True, slots=True)
class TileRange:
    """The weights of tiles, int64 [num_tiles] each: which filters (axis 0), and which weights of each filter."""

    first_filter: Ints
    num_filters: Ints
    first_weight: Ints
    num_weights: Ints


@dataclass(frozen=True, slots=True)
class GenerationWork:
    """Per tile, int64 [num_tiles]: words used, words thrown away, seeds, jumps and cycles."""

    words: Ints
    discarded_words: Ints
    seeds: Ints
    jumps: Ints
    cycles: Ints


@dataclass(frozen=True, slots=True)
class _Streams:
    """The streams that tiles take: the first, those in the middle (all alike) and the last, int64 [3, num_tiles].

    ``number`` of such streams (0: none), ``offset`` of the first weight in the stream, and how many ``filters`` of the
    stream are taken; ``held``, bool [num_tiles]: the lanes hold the states of the tile before; ``num_weights``
    [num_tiles] of each filter.
    """

    number: Ints
    offset: Ints
    filters: Ints
    held: Bools
    num_weights: Ints
    per_filter: int


@dataclass(frozen=True, slots=True)
class _Walk:
    """Words of one domain, int64 [3, num_tiles]: the first word, the one behind the last, and what lies between.

    ``used`` words are used in a walk from ``start`` to ``end``, ``gap_words`` stepped over and ``gap_jumps`` jumped.
    """

    start: Ints
    end: Ints
    used: Ints
    gap_words: Ints
    gap_jumps: Ints


@dataclass(frozen=True, slots=True)
class _Pass:
    """The work of one pass over each tile, int64 [3, num_tiles], per stream."""

    used: Ints
    discarded: Ints
    seeds: Ints
    jumps: Ints


def generation_work(
    source: RandomSource,
    shape: tuple[int, ...],
    generator: WeightGeneratorConfig,
    tiles: TileRange,
    passes: Ints,
    kept_fraction: float | None = None,
) -> GenerationWork:
    """Return the generator's work for tiles visited in this order.

    Parameters
    ----------
    shape
        Of the layer's weight tensor; axis 0 are the filters.
    passes
        How often a tile's weights are generated in one visit (streaming dataflows that do not buffer them).
    kept_fraction
        Given where dropped weights are skipped: a counter-based generator then leaves out weight words without a
        kept weight (their expected number; a sequential one must step through them).
    """
    geometry = stream_geometry(source, shape)
    streams = _streams(tiles, filters_per_stream(source, shape), int(np.prod(shape[1:], dtype=np.int64)), generator)
    domains = [(fields_per_weight(source), geometry.weight_fields_per_word)]
    if geometry.threshold_fields_per_word:
        domains.append((1, geometry.threshold_fields_per_word))
    first, later = _nothing(streams), _nothing(streams)
    is_repeated = bool((passes > 1).any())
    for place, (terms, fields) in enumerate(domains):
        walk = _walk(streams, terms, fields, _jump_words(source, generator))
        if source.generator in COUNTER_BASED:
            share = 1.0
            if kept_fraction is not None and place == 0:
                share = 1.0 - (1.0 - kept_fraction) ** max(1, fields // terms)
            used = np.ceil(walk.used * share).astype(np.int64)
            first = _plus(first, _keyed(used, streams.held))
            if is_repeated:
                later = _plus(later, _keyed(used, _can_hold(streams, generator)))
        else:
            jump_words = _jump_words(source, generator)
            previous = np.concatenate([np.zeros((3, 1), dtype=np.int64), walk.end[:, :-1]], axis=1)
            first = _plus(first, _stepped(walk, previous, streams.held, jump_words))
            if is_repeated:
                later = _plus(later, _stepped(walk, walk.end, _can_hold(streams, generator), jump_words))
    return _total(source, generator, streams, (first, later), passes)


def _can_hold(streams: _Streams, generator: WeightGeneratorConfig) -> Bools:
    """Return whether every stream of a tile has a lane, so that its state is still there in the next pass."""
    fits: Bools = streams.number.sum(axis=0) <= generator.num_lanes
    return fits


def _jump_words(source: RandomSource, generator: WeightGeneratorConfig) -> int | None:
    """Return the words that a lane makes while it jumps once, or None where it never jumps within a stream."""
    return generator.jump_cycles * generator.words_per_lane_per_cycle if source.seeds == "jump" else None


def _streams(tiles: TileRange, per_stream: int, per_filter: int, generator: WeightGeneratorConfig) -> _Streams:
    first, last = tiles.first_filter // per_stream, (tiles.first_filter + tiles.num_filters - 1) // per_stream
    num = last - first + 1
    inside = tiles.first_filter - first * per_stream
    ends = tiles.first_filter + tiles.num_filters - last * per_stream
    zeros = np.zeros_like(num)
    held = np.zeros(num.shape, dtype=bool)
    held[1:] = (first[1:] == first[:-1]) & (num[1:] == num[:-1]) & (num[1:] <= generator.num_lanes)
    return _Streams(
        number=np.stack([zeros + 1, np.maximum(num - 2, 0), (num > 1).astype(np.int64)]),
        offset=np.stack([inside * per_filter, zeros, zeros]) + tiles.first_weight,
        filters=np.stack([np.minimum(tiles.num_filters, per_stream - inside), zeros + per_stream, ends]),
        held=held,
        num_weights=tiles.num_weights,
        per_filter=per_filter,
    )


def _walk(streams: _Streams, terms: int, fields: int, jump_words: int | None) -> _Walk:
    """Return the words of a domain that has ``terms`` fields a weight and ``fields`` fields a word."""
    begin = streams.offset * terms
    length = (streams.filters - 1) * streams.per_filter + streams.num_weights
    start, end = begin // fields, -(-(begin + length * terms) // fields)
    none = np.zeros_like(start)
    split = (streams.filters > 1) & (streams.num_weights < streams.per_filter)
    if not split.any():
        return _Walk(start, end, end - start, none, none)
    used, gap_words, gap_jumps = end - start, none, none.copy()
    rows = np.stack(np.broadcast_arrays(streams.offset, streams.filters, streams.num_weights), axis=-1)[split]
    unique, back = np.unique(rows, axis=0, return_inverse=True)
    counted = np.array([_parts(tuple(row), streams.per_filter, (terms, fields), jump_words) for row in unique.tolist()])
    used[split], gap_words[split], gap_jumps[split] = counted[back.reshape(-1)].T
    return _Walk(start, end, used, gap_words, gap_jumps)


def _parts(
    part: tuple[int, ...], per_filter: int, fields: tuple[int, int], jump_words: int | None
) -> tuple[int, int, int]:
    """Return words used, stepped over and jumps in a walk through the same part of several filters of a stream."""
    offset, filters, num_weights = part
    begin = (offset + np.arange(filters, dtype=np.int64) * per_filter) * fields[0]
    start, end = begin // fields[1], -(-(begin + num_weights * fields[0]) // fields[1])
    reached = np.concatenate([start[:1], end[:-1]])
    used = np.maximum(end - np.maximum(start, reached), 0)
    gaps = np.maximum(start - reached, 0)
    jumped = gaps > jump_words if jump_words is not None else np.zeros(filters, dtype=bool)
    return int(used.sum()), int(gaps[~jumped].sum()), int(jumped.sum())


def _stepped(walk: _Walk, reached: Ints, held: Bools, jump_words: int | None) -> _Pass:
    """Return a sequential generator's pass; where ``held``, lanes have made the words before ``reached``."""
    goes_on = held & (walk.start >= reached - 1)
    distance = np.where(goes_on, np.maximum(walk.start - reached, 0), walk.start)
    in_register = goes_on & (walk.start == reached - 1)
    jumps = distance > jump_words if jump_words is not None else np.zeros_like(goes_on)
    return _Pass(
        used=walk.used - in_register,
        discarded=np.where(jumps, 0, distance) + walk.gap_words,
        seeds=(~goes_on).astype(np.int64),
        jumps=jumps + walk.gap_jumps,
    )


def _keyed(used: Ints, held: Bools) -> _Pass:
    """Return a counter-based generator's pass."""
    none = np.zeros_like(used)
    return _Pass(used, none, none + ~held, none)


def _nothing(streams: _Streams) -> _Pass:
    none = np.zeros_like(streams.number)
    return _Pass(none, none, none, none)


def _plus(one: _Pass, other: _Pass) -> _Pass:
    return _Pass(
        one.used + other.used, one.discarded + other.discarded, one.seeds + other.seeds, one.jumps + other.jumps
    )


def _total(
    source: RandomSource,
    generator: WeightGeneratorConfig,
    streams: _Streams,
    work: tuple[_Pass, _Pass],
    passes: Ints,
) -> GenerationWork:
    """Sum over the streams of each tile: one first pass, then ``passes`` - 1 later ones."""

    def summed(first: Ints, later: Ints) -> Ints:
        total: Ints = (streams.number * first).sum(axis=0) + (streams.number * later).sum(axis=0) * (passes - 1)
        return total

    seeds = summed(work[0].seeds, work[1].seeds)
    none = np.zeros_like(seeds)
    cycles = _cycles(source, generator, streams, work[0])
    if bool((passes > 1).any()):
        cycles = cycles + _cycles(source, generator, streams, work[1]) * (passes - 1)
    return GenerationWork(
        words=summed(work[0].used, work[1].used),
        discarded_words=summed(work[0].discarded, work[1].discarded),
        seeds=seeds if source.seeds == "derived" else none,
        jumps=summed(work[0].jumps, work[1].jumps) + (seeds if source.seeds == "jump" else none),
        cycles=cycles,
    )


def _cycles(source: RandomSource, generator: WeightGeneratorConfig, streams: _Streams, work: _Pass) -> Ints:
    """Return the cycles of a pass, int64 [num_tiles].

    Streams are dealt to the lanes in order, in rounds that last as long as their slowest stream; the lanes of a
    counter-based generator share all words evenly.
    """
    lanes, rate = generator.num_lanes, generator.words_per_lane_per_cycle
    number = streams.number
    if source.generator in COUNTER_BASED:
        loads = (number * work.seeds).sum(axis=0) > 0
        shared: Ints = -(-(number * work.used).sum(axis=0) // (lanes * rate)) + loads * generator.seed_cycles
        return shared
    jumps = work.jumps + (work.seeds if source.seeds == "jump" else 0)
    each = -(-(work.used + work.discarded) // rate) + jumps * generator.jump_cycles
    first, middle, last = each + (work.seeds > 0) * generator.seed_cycles
    num = number.sum(axis=0)
    rounds = -(-num // lanes)
    has_middle, has_last = number[1] > 0, number[2] > 0
    # The first stream opens the first round and the last one stands in the last; all others are alike.
    opening = np.maximum(first, np.where(has_middle & (lanes > 1), middle, 0))
    closing = np.where(has_last, last, 0)
    alone = (num - 1) % lanes == 0
    closing = np.maximum(closing, np.where(has_middle & ~alone, middle, 0))
    total: Ints = np.where(rounds == 1, np.maximum(opening, closing), opening + (rounds - 2) * middle + closing)
    return total
