"""What the weight generator must do for a tile: words used, words discarded, seeds, jumps, cycles.

One lane works on one stream at a time, and keeps two states: that of the weight words and that of the freezing words. A
sequential generator walks on from the state that its lane holds if the tile before took the same streams, all of them
had a lane, and the tile's first word is not behind the last one made (that last word itself is still in the state
register and costs nothing). Otherwise it begins at the stream's seed and steps through all words before the tile's
first: these are discarded, as are words between the parts of several filters that share a stream. Where seeds are
reached by jumps, a lane also jumps over discarded words whenever that is faster. A counter-based generator computes any
word at once and only loads the keys of streams that its lanes did not hold.

A lane steps one of its two states in a cycle, by as many words as it makes in one. Weights that meet stored mask bits
pass the mask decoder with them, and nothing between the two holds a tile: lanes in use share the decoder's places
evenly, a power of two each, and hand on no more than lies in the words of one cycle (`rtl/weight_generator.sv`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import WeightGeneratorConfig
from accelsim.mapping.kept import Kept, Key
from accelsim.prng.source import RandomSource
from accelsim.prng.streams import fields_per_weight, filters_per_stream, stream_geometry

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
KEPT_TILES = 1 << 18  # some 20 MB
LEAST_TILES_KEPT = 16
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
    """Per tile, int64 [num_tiles]: words used, words thrown away, seeds, jumps and cycles.

    ``is_held_up``, bool: the words alone would take fewer cycles, if the decoder took weights as fast. ``num_lanes``
    are in use.
    """

    words: Ints
    discarded_words: Ints
    seeds: Ints
    jumps: Ints
    cycles: Ints
    is_held_up: Bools
    num_lanes: int

    def behind(self, num_tiles: int) -> GenerationWork:
        """Return the work of the tiles behind the first ``num_tiles``."""
        return GenerationWork(
            self.words[num_tiles:], self.discarded_words[num_tiles:], self.seeds[num_tiles:], self.jumps[num_tiles:],
            self.cycles[num_tiles:], self.is_held_up[num_tiles:], self.num_lanes,
        )  # fmt: skip


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

    @property
    def num_parts(self) -> Ints:
        """Return the stretches of neighbouring weights that a tile takes of each stream, int64 [3, num_tiles]."""
        parts: Ints = np.where(self.num_weights < self.per_filter, self.filters, 1)
        return parts

    @property
    def part_weights(self) -> Ints:
        """Return the weights of such a stretch, int64 [3, num_tiles]."""
        every: Ints = (self.filters - 1) * self.per_filter + self.num_weights
        return np.where(self.num_parts > 1, self.num_weights, every)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Words of one domain, int64 [3, num_tiles]: the first word, the one behind the last, and what lies between.

    ``used`` words are used in a walk from ``start`` to ``end``, ``gap_words`` stepped over and ``gap_jumps`` jumped.
    A weight takes ``terms`` fields, and a word has ``fields``.
    """

    terms: int
    fields: int
    start: Ints
    end: Ints
    used: Ints
    gap_words: Ints
    gap_jumps: Ints


@dataclass(frozen=True, slots=True)
class _Pass:
    """The work of one pass over each tile, int64 [3, num_tiles], per stream; ``steps`` of each domain walked along."""

    used: Ints
    discarded: Ints
    seeds: Ints
    jumps: Ints
    steps: tuple[_Steps, ...] = ()


@dataclass(frozen=True, slots=True)
class _Steps:
    """A lane's way through the words of a domain, int64 [3, num_tiles].

    ``made`` words in all; ``before`` the first that is used; ``reached``: the word behind those already made there.
    """

    walk: _Walk
    made: Ints
    before: Ints
    reached: Ints


def generation_work(
    source: RandomSource,
    shape: tuple[int, ...],
    generator: WeightGeneratorConfig,
    tiles: TileRange,
    passes: Ints,
    kept_fraction: float | None = None,
    num_places: int | None = None,
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
    num_places
        Weights that the mask decoder takes in a cycle; None where no stored bits meet the weights. Where it holds up
        the words, half the lanes (or more) stay idle if that is faster: 33 streams share 64 places as 32 and 1.
    """
    # Tilings that differ in outputs only, or in orders that visit the same weights, have the same tiles.
    ranges = tuple(getattr(tiles, name).tobytes() for name in TileRange.__slots__)
    key = Key((source, shape, generator, ranges, passes.tobytes(), kept_fraction, num_places))
    work = _kept_work.get(key)
    if work is None:
        work = _least_work(source, shape, generator, tiles, passes, kept_fraction, num_places)
        _kept_work.put(key, work, passes.size + LEAST_TILES_KEPT)
    return work


_kept_work: Kept[GenerationWork] = Kept(KEPT_TILES)


def _least_work(
    source: RandomSource,
    shape: tuple[int, ...],
    generator: WeightGeneratorConfig,
    tiles: TileRange,
    passes: Ints,
    kept_fraction: float | None,
    num_places: int | None,
) -> GenerationWork:
    """Return the work with as many lanes in use as take least time, see `generation_work`."""
    best = _work(source, shape, generator, tiles, passes, kept_fraction, num_places)
    if source.generator in COUNTER_BASED or not best.is_held_up.any():
        return best
    per_stream = filters_per_stream(source, shape)
    streams = (tiles.first_filter + tiles.num_filters - 1) // per_stream - tiles.first_filter // per_stream + 1
    in_last = (streams - 1) % generator.num_lanes + 1
    # Only the last round of streams may have fewer than lanes.
    if not (in_last & (in_last - 1)).any():  # powers of two share the places without a rest
        return best
    lanes = generator.num_lanes // 2
    while lanes:
        fewer = generator.model_copy(update={"num_lanes": lanes})
        other = _work(source, shape, fewer, tiles, passes, kept_fraction, num_places)
        best = other if int(other.cycles.sum()) < int(best.cycles.sum()) else best
        lanes //= 2
    return best


def _work(
    source: RandomSource,
    shape: tuple[int, ...],
    generator: WeightGeneratorConfig,
    tiles: TileRange,
    passes: Ints,
    kept_fraction: float | None,
    num_places: int | None,
) -> GenerationWork:
    """Return the work for tiles with a number of lanes in use, see `generation_work`."""
    geometry = stream_geometry(source, shape)
    streams = _streams(tiles, filters_per_stream(source, shape), int(np.prod(shape[1:], dtype=np.int64)), generator)
    domains = [(fields_per_weight(source), geometry.weight_fields_per_word)]
    if geometry.threshold_fields_per_word:
        domains.append((1, geometry.threshold_fields_per_word))
    first = _nothing(streams)
    is_repeated = bool((passes > 1).any())
    later = first if is_repeated else None
    for place, (terms, fields) in enumerate(domains):
        walk = _walk(streams, terms, fields, _jump_words(source, generator))
        if source.generator in COUNTER_BASED:
            share = 1.0
            if kept_fraction is not None and place == 0:
                # A word is left out only where none of its weights is kept; masks have no pattern that would help.
                share = 1.0 - (1.0 - kept_fraction) ** max(1, fields // terms)
            used = np.ceil(walk.used * share).astype(np.int64)
            first = _plus(first, _keyed(used, streams.held))
            if later is not None:
                later = _plus(later, _keyed(used, _can_hold(streams, generator)))
        else:
            jump_words = _jump_words(source, generator)
            previous = np.concatenate([np.zeros((3, 1), dtype=np.int64), walk.end[:, :-1]], axis=1)
            first = _plus(first, _stepped(walk, previous, streams.held, jump_words))
            if later is not None:
                # A further pass finds the lanes behind the tile's end, wherever the tile before had left them.
                later = _plus(later, _stepped(walk, walk.end, _can_hold(streams, generator), jump_words))
    return _total(source, generator, streams, (first, later), passes, num_places)


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
    # A lane has room for one stream: with more of them than lanes, states are overwritten within the tile.
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
        return _Walk(terms, fields, start, end, end - start, none, none)
    used, gap_words, gap_jumps = end - start, none, none.copy()
    # Tiles of a layer differ in few ways: each way is walked once.
    rows = np.stack(np.broadcast_arrays(streams.offset, streams.filters, streams.num_weights), axis=-1)[split]
    unique, back = np.unique(rows, axis=0, return_inverse=True)
    counted = np.array([_parts(tuple(row), streams.per_filter, (terms, fields), jump_words) for row in unique.tolist()])
    used[split], gap_words[split], gap_jumps[split] = counted[back.reshape(-1)].T
    return _Walk(terms, fields, start, end, used, gap_words, gap_jumps)


def _parts(
    part: tuple[int, ...], per_filter: int, fields: tuple[int, int], jump_words: int | None
) -> tuple[int, int, int]:
    """Return words used, stepped over and jumps in a walk through the same part of several filters of a stream."""
    offset, filters, num_weights = part
    begin = (offset + np.arange(filters, dtype=np.int64) * per_filter) * fields[0]
    start, end = begin // fields[1], -(-(begin + num_weights * fields[0]) // fields[1])
    reached = np.concatenate([start[:1], end[:-1]])
    # A word in which one part ends and the next begins is made once.
    used = np.maximum(end - np.maximum(start, reached), 0)
    gaps = np.maximum(start - reached, 0)
    jumped = gaps > jump_words if jump_words is not None else np.zeros(filters, dtype=bool)
    return int(used.sum()), int(gaps[~jumped].sum()), int(jumped.sum())


def _stepped(walk: _Walk, reached: Ints, held: Bools, jump_words: int | None) -> _Pass:
    """Return a sequential generator's pass; where ``held``, lanes have made the words before ``reached``."""
    # The last word made is still in the state register; what lies before it can only be had from the seed.
    goes_on = held & (walk.start >= reached - 1)
    distance = np.where(goes_on, np.maximum(walk.start - reached, 0), walk.start)
    in_register = goes_on & (walk.start == reached - 1)
    # A jump takes as long as stepping through so many words.
    jumps = distance > jump_words if jump_words is not None else np.zeros_like(goes_on)
    before = np.where(jumps, 0, distance)
    used, discarded = walk.used - in_register, before + walk.gap_words
    return _Pass(
        used=used,
        discarded=discarded,
        seeds=(~goes_on).astype(np.int64),
        jumps=jumps + walk.gap_jumps,
        steps=(_Steps(walk, used + discarded, before, walk.start + in_register),),
    )


def _keyed(used: Ints, held: Bools) -> _Pass:
    """Return a counter-based generator's pass."""
    # Any word is made at once from key and counter: nothing is stepped over, and a key is loaded where it is new.
    none = np.zeros_like(used)
    return _Pass(used, none, none + ~held, none)


def _nothing(streams: _Streams) -> _Pass:
    none = np.zeros_like(streams.number)
    return _Pass(none, none, none, none)


def _plus(one: _Pass, other: _Pass) -> _Pass:
    return _Pass(
        one.used + other.used, one.discarded + other.discarded, one.seeds + other.seeds, one.jumps + other.jumps,
        one.steps + other.steps,
    )  # fmt: skip


def _total(
    source: RandomSource,
    generator: WeightGeneratorConfig,
    streams: _Streams,
    work: tuple[_Pass, _Pass | None],
    passes: Ints,
    num_places: int | None,
) -> GenerationWork:
    """Sum over the streams of each tile: one first pass, then ``passes`` - 1 later ones (None: there are none)."""
    one, later = work

    def summed(name: str) -> Ints:
        total: Ints = (streams.number * getattr(one, name)).sum(axis=0)
        if later is not None:
            total = total + (streams.number * getattr(later, name)).sum(axis=0) * (passes - 1)
        return total

    # Stored seeds come with the tile; derived ones are hashed, and those reached by jumps cost a jump each.
    seeds = summed("seeds")
    none = np.zeros_like(seeds)

    def cycles(places: int | None) -> Ints:
        taken = _cycles(source, generator, streams, one, places)
        if later is not None:
            taken = taken + _cycles(source, generator, streams, later, places) * (passes - 1)
        return taken

    taken = cycles(num_places)
    return GenerationWork(
        words=summed("used"),
        discarded_words=summed("discarded"),
        seeds=seeds if source.seeds == "derived" else none,
        jumps=summed("jumps") + (seeds if source.seeds == "jump" else none),
        cycles=taken,
        is_held_up=taken > cycles(None) if num_places is not None else taken < 0,
        num_lanes=generator.num_lanes,
    )


def lane_places(num_lanes: Ints, num_places: int, most: int | Ints) -> tuple[Ints, Ints]:
    """Return how many weights each lane hands on in a turn, and the cycles of a turn, for ``num_lanes`` in use.

    The decoder's ``num_places`` are shared by powers of two, so that a place is wired to few bits of few lanes; a lane
    hands on at the ``most`` what lies in the words of a cycle. Where lanes are more than places, they take turns.
    """
    share = num_places >> np.ceil(np.log2(num_lanes)).astype(np.int64)
    return np.clip(share, 1, most), np.where(share > 0, 1, -(-num_lanes // num_places))


def _walk_cycles(streams: _Streams, work: _Pass, rate: int, num_places: int | None, lanes: Ints) -> Ints:
    """Return the cycles in which a lane makes the words of a tile and hands on its weights, int64 [3, num_tiles].

    A cycle steps one domain by up to ``rate`` words, and weights leave with the last word that they need. So handing
    on overlaps with the domain of the most words a weight, and the words of the other one come on top: exactly so where
    a word of that holds as many weights as several words of the first.
    """
    each = [-(-steps.made // rate) for steps in work.steps]
    finest = min(range(len(each)), key=lambda place: work.steps[place].walk.fields / work.steps[place].walk.terms)
    if num_places is None:
        return sum(each[1:], each[0])
    steps = work.steps[finest]
    walk, begin = steps.walk, streams.offset
    width, turn = lane_places(lanes, num_places, max(1, walk.fields * rate // walk.terms))
    parts, end = streams.num_parts, begin + streams.part_weights
    turns = np.where(parts > 1, parts * -(-streams.part_weights // width), -(-end // width) - begin // width)
    # Words that must be made before the first weights can leave; the other weights then follow turn by turn.
    opening = -(-np.minimum((begin // width + 1) * width, end) * walk.terms // walk.fields) - steps.reached
    opening = np.maximum(-(-(steps.before + np.maximum(opening, 0)) // rate), 1)
    handed = opening + turns * turn - 1 + -(-walk.gap_words // rate)
    each[finest] = np.maximum(each[finest], handed)
    return sum(each[1:], each[0])


def _cycles(
    source: RandomSource, generator: WeightGeneratorConfig, streams: _Streams, work: _Pass, num_places: int | None
) -> Ints:
    """Return the cycles of a pass, int64 [num_tiles].

    Streams are dealt to the lanes in order, in rounds that last as long as their slowest stream; the lanes of a
    counter-based generator share all words evenly.
    """
    lanes, rate = generator.num_lanes, generator.words_per_lane_per_cycle
    number = streams.number
    if source.generator in COUNTER_BASED:
        loads = (number * work.seeds).sum(axis=0) > 0
        shared = -(-(number * work.used).sum(axis=0) // (lanes * rate))
        if num_places is not None:
            weights = (number * streams.num_parts * streams.part_weights).sum(axis=0)
            shared = np.maximum(shared, -(-weights // num_places))
        every: Ints = shared + loads * generator.seed_cycles
        return every
    jumps = work.jumps + (work.seeds if source.seeds == "jump" else 0)
    apart = jumps * generator.jump_cycles + (work.seeds > 0) * generator.seed_cycles
    num = number.sum(axis=0)
    rounds = -(-num // lanes)
    # The first stream opens the first round and the last one stands in the last; all others are alike.
    all_in_use = _walk_cycles(streams, work, rate, num_places, np.minimum(num, lanes)) + apart
    first, middle, _ = all_in_use
    opening = np.maximum(first, np.where((number[1] > 0) & (lanes > 1), middle, 0))
    in_last = (num - 1) % lanes + 1
    is_alike = num_places is None or int(num.max(initial=0)) <= lanes
    _, others, last = all_in_use if is_alike else _walk_cycles(streams, work, rate, num_places, in_last) + apart
    closing = np.where(number[2] > 0, last, 0)
    closing = np.maximum(closing, np.where((number[1] > 0) & (in_last > 1), others, 0))
    total: Ints = np.where(rounds == 1, np.maximum(opening, closing), opening + (rounds - 2) * middle + closing)
    return total
