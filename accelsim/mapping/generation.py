"""What the weight generator must do for a tile: words used, words discarded, seeds, jumps, cycles.

A sequential generator walks a stream from its seed. A tile that begins inside a stream costs the words before it,
unless the lane still holds the state from the tile before. A counter-based generator computes any word at once.
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


def _words(first: Ints, count: Ints, fields: int) -> tuple[Ints, Ints]:
    """Return (words before the first field's word, words that hold the fields)."""
    start = first // fields
    return start, -(-(first + count) // fields) - start


def _holds_state(tiles: TileRange, streams: Ints, num_lanes: int) -> Bools:
    """Return the tiles that go on where the one before stopped, in the same filters, with a lane for each stream."""
    goes_on = np.zeros(tiles.first_filter.shape, dtype=bool)
    same = (tiles.first_filter[1:] == tiles.first_filter[:-1]) & (tiles.num_filters[1:] == tiles.num_filters[:-1])
    after = tiles.first_weight[1:] == tiles.first_weight[:-1] + tiles.num_weights[:-1]
    goes_on[1:] = same & after & (streams[1:] <= num_lanes)
    return goes_on


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
        kept weight (a sequential one must step through them).
    """
    geometry = stream_geometry(source, shape)
    per_stream = filters_per_stream(source, shape)
    per_filter = int(np.prod(shape[1:], dtype=np.int64))
    streams = np.minimum(-(-tiles.num_filters // per_stream), geometry.num_streams)
    grouped = np.minimum(tiles.num_filters, per_stream)
    offset = (tiles.first_filter % per_stream) * per_filter + tiles.first_weight
    whole = tiles.num_weights == per_filter
    goes_on = _holds_state(tiles, streams, generator.num_lanes)
    counter = source.generator in COUNTER_BASED
    used = np.zeros_like(offset)
    discarded = np.zeros_like(offset)
    jumps = np.zeros_like(offset)
    for terms, fields, is_weight in (
        (fields_per_weight(source), geometry.weight_fields_per_word, True),
        (1, geometry.threshold_fields_per_word, False),
    ):
        if not fields:
            continue
        before, first_words = _words(offset * terms, tiles.num_weights * terms, fields)
        span_start, span = _words(offset * terms, ((grouped - 1) * per_filter + tiles.num_weights) * terms, fields)
        domain_used = np.where(whole, span, np.minimum(first_words * grouped, span))
        if counter:
            if kept_fraction is not None and is_weight:
                share = 1.0 - (1.0 - kept_fraction) ** max(1, fields // terms)
                domain_used = np.ceil(domain_used * share).astype(np.int64)
            used += domain_used
            continue
        skipped = np.where(goes_on, 0, before)
        if source.seeds == "jump":
            pays = skipped > generator.jump_cycles * generator.words_per_lane_per_cycle
            jumps += pays
            skipped = np.where(pays, 0, skipped)
        used += domain_used
        discarded += skipped + (span - domain_used)
    per_stream_work = _StreamWork(streams, goes_on, used, discarded, jumps)
    return _with_cycles(source, generator, per_stream_work, passes)


@dataclass(frozen=True, slots=True)
class _StreamWork:
    """Per tile: its streams, whether they go on from the tile before, and words and jumps of one stream."""

    streams: Ints
    goes_on: Bools
    used: Ints
    discarded: Ints
    jumps: Ints


def _with_cycles(
    source: RandomSource, generator: WeightGeneratorConfig, work: _StreamWork, passes: Ints
) -> GenerationWork:
    """Spread the words of each stream over the lanes; counter-based lanes share all words evenly."""
    lanes, rate = generator.num_lanes, generator.words_per_lane_per_cycle
    streams, goes_on, used, discarded, jumps = work.streams, work.goes_on, work.used, work.discarded, work.jumps
    counter = source.generator in COUNTER_BASED
    rounds = -(-streams // lanes)
    seeded = np.where(goes_on & (passes == 1), 0, streams)
    if counter:
        cycles = -(-used * streams // (lanes * rate)) + np.where(seeded > 0, generator.seed_cycles, 0)
    else:
        cycles = rounds * (-(-(used + discarded) // rate) + jumps * generator.jump_cycles)
        cycles = cycles + np.where(seeded > 0, rounds * generator.seed_cycles, 0)
    derived = 2 * seeded if source.seeds == "derived" else seeded * 0
    extra_jumps = 2 * seeded if source.seeds == "jump" else seeded * 0
    if source.seeds == "jump":
        cycles = cycles + np.where(seeded > 0, 2 * rounds * generator.jump_cycles, 0)
    return GenerationWork(
        words=used * streams * passes,
        discarded_words=discarded * streams * passes,
        seeds=derived * passes,
        jumps=(jumps * streams + extra_jumps) * passes,
        cycles=cycles * passes,
    )
