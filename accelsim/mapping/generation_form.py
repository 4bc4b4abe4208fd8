"""The weight generator in closed form: words, discarded words, seeds, jumps and cycles of all tilings side by side.

The rules are those of `accelsim.mapping.generation`, which walks from tile to tile; here sums over the tiles of a layer
are written down. They differ where words do not divide evenly: the last word of a part, and streams that begin within a
tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import WeightGeneratorConfig
from accelsim.mapping.generation import COUNTER_BASED, lane_places
from accelsim.mapping.task import LayerTask
from accelsim.mapping.tile_table import TileTable
from accelsim.prng.streams import fields_per_weight, filters_per_stream, stream_geometry

Floats = npt.NDArray[np.float64]
NUM_TURNS = 3  # ways to walk over weight tiles, see `TileTable.turns`


@dataclass(frozen=True, slots=True)
class Generation:
    """Work of one pass over a layer, float64 [orders, n] each.

    ``discarded`` words are stepped over, ``seeds`` are streams begun (whatever their seeds' policy).
    """

    words: Floats
    discarded: Floats
    seeds: Floats
    jumps: Floats
    cycles: Floats


@dataclass(frozen=True, slots=True)
class _Source:
    """The random sources of the layers, float64 [layers] each.

    ``words`` [2, layers]: words a weight takes in the domains of weights and of freezing (0: nothing is frozen);
    ``first``: weights of each filter before those of this part of it; ``kept``: share of the weight words that are
    made; ``is_made``: whether the layer is generated at all.
    """

    words: Floats
    per_stream: Floats
    per_filter: Floats
    first: Floats
    jumps: Floats
    kept: Floats
    is_made: Floats


_Rows = tuple[tuple[float, ...], ...]


def _sources(tasks: Sequence[LayerTask]) -> _Rows:
    """Return the random sources of the layers, each as the fields of a `_Source`.

    Raises
    ------
    ConfigError
        A source that no generator could follow.
    """
    rows = []
    for task in tasks:
        source = task.plan.source if task.plan is not None else None
        weights = task.layer.weights
        if source is None or task.plan is None or weights is None:
            rows.append((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0))
            continue
        geometry = stream_geometry(source, weights.shape)
        fields, terms = geometry.weight_fields_per_word, fields_per_weight(source)
        frozen = geometry.threshold_fields_per_word
        kept = 1.0
        if task.hardware.pe_array.zero_weights == "skip" and source.generator in COUNTER_BASED:
            # As `accelsim.mapping.generation`: a word is made where any of its weights is kept.
            kept = 1.0 - (1.0 - task.plan.num_nonzero / task.layer.dims.num_weights) ** max(1, fields // terms)
        dims = task.layer.dims
        filters = dims.G * dims.C if task.layer.kind == "conv_transpose2d" else weights.shape[0]  # as they are drawn
        rows.append((
            terms / fields, 1 / frozen if frozen else 0.0, filters_per_stream(source, (filters,)),
            task.filter_weights or dims.num_weights / filters, task.first_weight, float(source.seeds == "jump"), kept,
            1.0,
        ))  # fmt: skip
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Tiles against streams, float64 [n] each: filters and streams of a tile, tiles of a stream, and parts.

    ``weights`` is how far the parts of a filter are apart, ``made`` their mean length: the last may be short.
    """

    filters: Floats
    streams: Floats
    rounds: Floats
    tiles: Floats
    parts: Floats
    weights: Floats
    made: Floats
    held: npt.NDArray[np.bool_]
    split: npt.NDArray[np.bool_]


def _tiles(table: TileTable, source: _Source, lanes: int) -> _Tiles:
    at = table.layer
    per_stream, taken = source.per_stream[at], table.stream_filters
    streams = np.maximum(1.0, np.ceil(taken / per_stream))
    last = np.maximum(1.0, np.ceil(table.last_filters / per_stream))
    number = table.stream_counts
    # The last tile of filters may be smaller: a mean over tiles, so that sums over the layer are right.
    rounds = ((number - 1) * np.ceil(streams / lanes) + np.ceil(last / lanes)) / number
    filters = np.minimum(taken, per_stream)
    is_part = table.stream_weights * table.stream_parts < source.per_filter[at]
    return _Tiles(
        filters=filters,
        streams=((number - 1) * streams + last) / number,
        rounds=rounds,
        tiles=np.minimum(np.maximum(1.0, per_stream / taken), number),
        parts=table.stream_parts,
        weights=table.stream_weights,
        made=np.minimum(table.mean_weights, source.per_filter[at]),
        held=streams <= lanes,
        split=(filters > 1) & ((table.stream_parts > 1) | is_part),
    )


def generation(
    tasks: Sequence[LayerTask],
    generator: WeightGeneratorConfig,
    table: TileTable,
    is_counter_based: bool,
    num_places: int | None = None,
) -> tuple[Generation, Generation]:
    """Return the work of the first pass over each weight tile, and of a later pass within the same visit.

    ``num_places``: weights that the mask decoder takes in a cycle; None where no stored bits meet the weights.
    """
    return _generation(_sources(tasks), generator, table, is_counter_based, num_places)


@lru_cache(maxsize=8)
def _generation(
    sources: _Rows,
    generator: WeightGeneratorConfig,
    table: TileTable,
    is_counter_based: bool,
    num_places: int | None,
) -> tuple[Generation, Generation]:
    """Return what `generation` does, once for chips that differ in memory and buffers alone."""
    figures = np.array(sources, dtype=np.float64).reshape(-1, 8).T
    source = _Source(figures[:2], *figures[2:])
    tiles = _tiles(table, source, generator.num_lanes)
    if is_counter_based:
        of_turns, later = _counted(source, generator, table, tiles)
    else:
        of_turns, later = _walked(source, generator, table, tiles, num_places)
    made = source.is_made[table.layer] * table.stream_counts * table.stream_parts
    every = np.arange(table.layer.size)
    first = Generation(*(np.stack(values)[table.turns, every] * made for values in zip(*of_turns, strict=True)))
    return first, Generation(*((values * made)[None] for values in later))


_Figures = tuple[Floats, Floats, Floats, Floats, Floats]


def _goes_on(tiles: _Tiles, turn: int) -> Floats:
    """Return the fraction of the tile visits that find the state of the visit before in the lanes, and go on there."""
    continues = np.where(tiles.tiles > 1, 1 - 1 / tiles.tiles, 0.0)  # another tile of the same stream, in its order
    if turn == 2:
        return continues
    whole = np.where(tiles.split, 0.0, 1 - 1 / tiles.parts)
    opens = 1 / tiles.parts * np.where((turn == 1) & (tiles.parts > 1), 0.0, continues)
    return np.where(tiles.held, whole + opens, 0.0)


def _ramp(step: Floats, number: Floats, most: float) -> tuple[Floats, Floats]:
    """Return the mean of step x i over i = 0 .. number - 1 as far as it is walked, and the share that is jumped."""
    if not np.isfinite(most):
        return step * (number - 1) / 2, np.zeros_like(step)
    # Distances grow by a step from tile to tile; from the one on where a jump is shorter, all are jumped.
    walked = np.minimum(number - 1, np.floor(most / np.maximum(step, 1e-9)))
    return step * walked * (walked + 1) / 2 / number, (number - 1 - walked) / number


def _distances(tiles: _Tiles, words: Floats, per_filter: Floats, turn: int, most: float) -> tuple[Floats, Floats]:
    """Return for a visit the mean words that are stepped over before a tile's first one, and the mean jumps."""
    part, jumps_part = _ramp(tiles.weights * words, tiles.parts, most)
    inside, jumps_inside = _ramp(tiles.filters * per_filter * words, tiles.tiles, most)
    if turn == 2:
        begins = 1 / tiles.tiles
        gap = np.maximum(per_filter - tiles.made, 0) * words * (1 - begins)
        is_far = gap > most
        return part * begins + np.where(is_far, 0.0, gap), jumps_part * begins + is_far * (1 - begins)
    whole = np.where(tiles.held, 0.0, part), np.where(tiles.held, 0.0, jumps_part)
    split = part + inside * (1 - 1 / tiles.parts), np.maximum(jumps_part, jumps_inside * (1 - 1 / tiles.parts))
    walked, jumps = np.where(tiles.split, split[0], whole[0]), np.where(tiles.split, split[1], whole[1])
    if turn == 1:  # the first part is reached from behind, so from the stream's seed
        opens = np.where(tiles.parts > 1, 1 / tiles.parts, 0.0)
        walked, jumps = walked + inside * opens, jumps + jumps_inside * opens
    return walked, jumps


def _used(tiles: _Tiles, words: Floats, per_filter: Floats) -> tuple[Floats, Floats]:
    """Return the words of a stream that a visit uses, and those that lie between its filters' parts."""
    part = tiles.made * words
    # Wherever it begins: a part touches a word more than it fills, less the share of one weight.
    touched = np.where(part % 1 == 0, part, np.maximum(1.0, part - words + 1))
    # A part of a filter touches no more words than the filter has.
    touched = np.minimum(touched, np.maximum(part, per_filter * words)) * tiles.filters
    whole = np.ceil(tiles.filters * tiles.made * words)
    gaps = (tiles.filters - 1) * np.maximum(per_filter * words - touched / tiles.filters, 0.0)
    return np.where(tiles.split, touched, whole), np.where(tiles.split, gaps, 0.0)


def _walked(
    source: _Source, generator: WeightGeneratorConfig, table: TileTable, tiles: _Tiles, num_places: int | None
) -> tuple[list[_Figures], _Figures]:
    """Return a sequential generator's work of a visit, for each order of visits and for a later pass."""
    at, rate = table.layer, generator.words_per_lane_per_cycle
    per_filter = source.per_filter[at]
    jumps_streams = source.jumps[at] > 0
    most = float(generator.jump_cycles * rate) if bool(jumps_streams.any()) else np.inf
    used, gaps, domains = [], [], []
    for words in source.words:
        of_part = words[at]
        in_use, gap = _used(tiles, of_part, per_filter)
        used.append(in_use)
        gaps.append(gap)
        domains.append((of_part > 0).astype(np.float64))
    gap_words, gap_jumps = _gaps(tiles, gaps, most)
    handing = _handing(source, generator, table, tiles, used, num_places)
    figures = []
    for turn in (*range(NUM_TURNS), None):
        total: list[Floats] = [sum(used, np.zeros(1)), gap_words, np.zeros(1), gap_jumps]
        fresh = 1.0 if turn is None else 1 - _goes_on(tiles, turn)
        for place, words in enumerate(source.words):
            if turn is None:
                # The last word made is still in the state register: a tile within it needs no new pass.
                in_register = tiles.held & (used[place] <= 1)
                step, far = _from_seed(tiles, words[at], per_filter, most)
                step, far = np.where(in_register, 0.0, step), np.where(in_register, 0.0, far)
                total[0] = total[0] - np.where(in_register, used[place], 0.0)
                total[2] = total[2] + np.where(in_register, 0.0, domains[place])
            else:
                step, far = _distances(tiles, words[at], per_filter, turn, most)
                # Where the walk goes on, a word that two parts share is made once.
                shared = used[place] - tiles.filters * tiles.made * words[at]
                total[0] = total[0] - np.where(tiles.split, 0.0, (1 - fresh) * shared)
                total[2] = total[2] + domains[place] * fresh
            if source.first.any():  # what other cores have of a filter lies before what this one begins with
                ahead = source.first[at] * words[at]
                step, far = step + np.where(ahead > most, 0.0, ahead) * fresh, far + (ahead > most) * fresh
            total[1], total[3] = total[1] + step, total[3] + far
        figures.append(_of_lanes(generator, tiles, total, jumps_streams, handing))
    return figures[:NUM_TURNS], figures[NUM_TURNS]


def _gaps(tiles: _Tiles, gaps: list[Floats], most: float) -> tuple[Floats, Floats]:
    walked, jumps = np.zeros_like(tiles.filters), np.zeros_like(tiles.filters)
    for gap in gaps:
        is_far = gap > most * np.maximum(tiles.filters - 1, 1)
        walked = walked + np.where(is_far, 0.0, gap)
        jumps = jumps + np.where(is_far, tiles.filters - 1, 0.0)
    return walked, jumps


def _from_seed(tiles: _Tiles, words: Floats, per_filter: Floats, most: float) -> tuple[Floats, Floats]:
    """Return the words before a tile's first one in its stream, and jumps, where each visit begins at the seed."""
    part, jumps_part = _ramp(tiles.weights * words, tiles.parts, most)
    inside, jumps_inside = _ramp(tiles.filters * per_filter * words, tiles.tiles, most)
    return part + inside, np.maximum(jumps_part, jumps_inside)


def _handing(
    source: _Source,
    generator: WeightGeneratorConfig,
    table: TileTable,
    tiles: _Tiles,
    used: list[Floats],
    num_places: int | None,
) -> Floats:
    """Return the cycles of a round in which no word is made while weights are handed on to the mask decoder."""
    if num_places is None:
        return np.zeros_like(tiles.filters)
    at, rate = table.layer, generator.words_per_lane_per_cycle
    finest = np.argmax(source.words, axis=0)
    most = np.maximum(1, np.floor(rate / np.maximum(source.words.max(axis=0), 1e-9))).astype(np.int64)[at]
    lanes = np.minimum(np.ceil(tiles.streams), generator.num_lanes).astype(np.int64)
    width, turn = lane_places(lanes, num_places, most)
    weights = tiles.filters * tiles.made
    words = np.where(finest[at] == 0, used[0], used[1])
    return np.maximum(0.0, np.ceil(weights / width) * turn - np.ceil(words / rate))


def _of_lanes(
    generator: WeightGeneratorConfig,
    tiles: _Tiles,
    total: list[Floats],
    jumps_streams: npt.NDArray[np.bool_],
    handing: Floats,
) -> _Figures:
    """Return the work of a visit; streams are dealt to the lanes in rounds, each ``handing`` cycles without a word."""
    used, discarded, seeds, jumps = total
    jumps = jumps + np.where(jumps_streams, seeds, 0.0)
    each = np.ceil((used + discarded) / generator.words_per_lane_per_cycle) + jumps * generator.jump_cycles
    each = each + np.minimum(seeds, 1.0) * generator.seed_cycles + handing
    of_streams = tiles.streams
    return used * of_streams, discarded * of_streams, seeds * of_streams, jumps * of_streams, each * tiles.rounds


def _counted(
    source: _Source, generator: WeightGeneratorConfig, table: TileTable, tiles: _Tiles
) -> tuple[list[_Figures], _Figures]:
    """Return a counter-based generator's work of a visit: any word at once, on all lanes."""
    at = table.layer
    used = np.zeros_like(tiles.filters)
    domains = np.zeros_like(tiles.filters)
    for place, words in enumerate(source.words):
        share = source.kept[at] if place == 0 else 1.0
        used = used + np.ceil(_used(tiles, words[at], source.per_filter[at])[0] * share)
        domains = domains + (words[at] > 0)
    rate = generator.num_lanes * generator.words_per_lane_per_cycle
    made = used * tiles.streams
    none = np.zeros_like(made)
    figures = []
    for turn in range(NUM_TURNS):
        fresh = 1 - _goes_on(tiles, turn)
        # Keys are loaded in the visits that find other ones; what rounding leaves above 0 is no visit.
        cycles = np.ceil(made / rate) + np.ceil(fresh - 1e-9) * fresh * generator.seed_cycles
        figures.append((made, none, domains * fresh * tiles.streams, none, cycles))
    fresh = np.where(tiles.held, 0.0, 1.0)
    later = (made, none, domains * fresh * tiles.streams, none, np.ceil(made / rate) + fresh * generator.seed_cycles)
    return figures, later
