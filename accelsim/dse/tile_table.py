"""All tilings of all array layers of a network on a PE array, side by side: a point then is a few array operations.

What does not depend on buffers, memory, generator or storage format is computed once per network and PE array: cycles
of the array, elements moved, and for each loop order how often an operand is fetched when so much of it is held.
Formulas are those of `accelsim.mapping.closed_form`; here they run over all layers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.candidates import candidates
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.loops import INPUT_LOOPS, LOOP_ORDERS, LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop
from accelsim.mapping.sparsity import dense_steps, expected_steps, lane_grid, largest_share
from accelsim.trace.model import LayerKind, LoopDims

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
SLOWEST = 2.5  # tilings on which the array takes longer than this times the best are left out of the short table
MOST_PER_LAYER = 96
NEARLY_EQUAL = 1.01  # what the closed form cannot tell apart: its latency is off by about a hundredth in the median


@dataclass(frozen=True, slots=True)
class HoldTable:
    """Ways to hold an operand, float32 [orders, ways, n], sorted from the fewest fetches on.

    Attributes
    ----------
    single, double
        Tiles held, and the same doubled where they are replaced while the array works.
    fetches
        How often the operand as a whole is fetched.
    loads
        How often what is held is replaced, the first load included.
    late
        Fraction of a load's steps that are over when its last tile is used first (of outputs: is opened).
    ready
        Fraction of a load's steps that are over when its first tile is used last (of outputs: is finished).
    """

    single: Floats32
    double: Floats32
    fetches: Floats32
    loads: Floats32
    late: Floats32
    ready: Floats32


@dataclass(frozen=True, slots=True)
class TileTable:
    """Tilings of the array layers, [n] each unless said otherwise.

    Attributes
    ----------
    layer
        int64: which layer the tiling is of; sorted. ``first`` int64 [layers] is where each layer begins.
    compute, fill, once
        Array cycles of the whole layer; ``once`` is paid once a layer, int.
    input_reads, weight_reads, psum_writes, psum_reads
        Elements that cross the buffers' ports in the whole layer.
    positions, outputs, tile_inputs, pixels, filters, group_filters
        Weights, outputs, input elements, output positions, filters, and filters of a group of the largest tile.
    all_inputs
        Input elements of all tiles once, halos included.
    stream_filters, last_filters, stream_counts
        Filters (along which random streams run) of a tile, of the last tile, and how many such tiles there are.
    stream_weights, stream_parts
        Weights of a tile in each of its filters, and into how many parts a filter is cut.
    turns
        int64 [orders, n], the order in which weight tiles are visited: 0 part by part of the same filters, 1 the same
        with output positions between filters and parts, 2 filter by filter of the same part.
    counts
        Tiles along each loop.
    steps, weight_tiles, output_tiles
        Tiles on the array, and different tiles of weights and outputs.
    weights, inputs, psums
        How each operand may be held.
    """

    layer: Ints
    first: Ints
    compute: Floats
    fill: Floats
    once: int
    input_reads: Floats
    weight_reads: Floats
    psum_writes: Floats
    psum_reads: Floats
    positions: Floats
    outputs: Floats
    tile_inputs: Floats
    pixels: Floats
    filters: Floats
    group_filters: Floats
    all_inputs: Floats
    stream_filters: Floats
    last_filters: Floats
    stream_counts: Floats
    stream_weights: Floats
    stream_parts: Floats
    turns: Ints
    counts: dict[Loop, Floats]
    steps: Floats
    weight_tiles: Floats
    output_tiles: Floats
    weights: HoldTable
    inputs: HoldTable
    psums: HoldTable


LayerKey = tuple[LoopDims, LayerKind]


@lru_cache(maxsize=48)
def tile_table(layers: tuple[LayerKey, ...], array_json: str, is_short: bool) -> TileTable:
    """Return the tilings of ``layers`` on the PE array that ``array_json`` describes.

    Parameters
    ----------
    is_short
        Leave out slow tilings and, of many, keep an even share; where nothing of the short table fits, take the long.
    """
    array = PeArrayConfig.model_validate_json(array_json)
    parts = [_layer(array, dims, kind, is_short) for dims, kind in layers]
    number = np.array([len(part["compute"]) for part in parts], dtype=np.int64)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    counts = {loop: joined.pop(f"count_{loop}") for loop in LOOPS}
    turns = np.stack([joined.pop(f"turn_{order}") for order in range(len(LOOP_ORDERS))]).astype(np.int64)
    return TileTable(
        layer=np.repeat(np.arange(len(parts)), number),
        first=np.concatenate([[0], np.cumsum(number)[:-1]]),
        once=_once_cycles(array),
        counts=counts,
        turns=turns,
        steps=np.prod([counts[loop] for loop in LOOPS], axis=0),
        weight_tiles=counts["G"] * counts["K"] * counts["C"],
        output_tiles=np.prod([counts[loop] for loop in LOOPS if loop != "C"], axis=0),
        weights=_holds(counts, WEIGHT_LOOPS),
        inputs=_holds(counts, INPUT_LOOPS),
        psums=_holds(counts, OUTPUT_LOOPS),
        **joined,
    )


Densities = tuple[tuple[float, ...], tuple[float, ...]]


@lru_cache(maxsize=48)
def skipped_fractions(layers: tuple[LayerKey, ...], array_json: str, is_short: bool, densities: Densities) -> Floats:
    """Return the fraction of the array's steps that zero skipping leaves of each tiling in `tile_table`.

    Lanes in lockstep wait for the slowest of them: the expectation for weights (and activations) that are zero
    independently of each other.

    Parameters
    ----------
    densities
        Of the weights, and of the input activations, of each layer.
    """
    array, table = PeArrayConfig.model_validate_json(array_json), tile_table(layers, array_json, is_short)
    left = np.ones_like(table.compute)
    if array.zero_weights == "skip":
        left = left * _weights_left(array, table, densities[0])
    if array.zero_activations == "skip":
        left = left * _activations_left(array, table, densities[1])
    return left


def _weights_left(array: PeArrayConfig, table: TileTable, densities: tuple[float, ...]) -> Floats:
    grid, left = lane_grid(array), np.ones_like(table.compute)
    lengths = table.positions / table.filters
    rows = zip(table.layer.tolist(), table.group_filters.tolist(), lengths.tolist(), strict=True)
    for place, (layer, filters, length) in enumerate(rows):
        if densities[layer] < 1:
            tile = int(filters), int(length)
            steps = expected_steps(*tile, densities[layer], grid, array.skip_group)
            left[place] = min(1.0, steps / dense_steps(*tile, grid))
    return left


def _activations_left(array: PeArrayConfig, table: TileTable, densities: tuple[float, ...]) -> Floats:
    lanes = array.rows
    if array.dataflow == "spatial":
        lanes = int(np.prod([array.unroll.get(loop, 1) for loop in ("C", "R", "S", "P", "Q", "N")]))
    density = np.array(densities)[table.layer]
    if array.skip_group != "rows":
        shared: Floats = np.where(density < 1, 1.0 - (1.0 - density) ** lanes, 1.0)
        return shared
    streams = table.positions / table.filters if array.dataflow == "output_stationary" else table.pixels
    rows = zip(density.tolist(), streams.tolist(), strict=True)
    return np.array([largest_share(int(length), share, lanes) if share < 1 else 1.0 for share, length in rows])


def _once_cycles(array: PeArrayConfig) -> int:
    return int(array_work(array, TileShape(1, 1, 1, 1, 1, 1, 1, 1, 1)).once_cycles)


def _layer(array: PeArrayConfig, dims: LoopDims, kind: LayerKind, is_short: bool) -> dict[str, Any]:
    tiles = candidates(array, dims).size
    counts = {loop: -(-getattr(dims, loop) // tiles[loop]) for loop in LOOPS}
    moved = _totals(array, dims, tiles, counts)
    tile_inputs, all_inputs = _inputs(dims, kind, tiles, counts)
    columns: dict[str, Any] = {
        **moved,
        "positions": tiles["G"] * tiles["K"] * tiles["C"] * (dims.R * dims.S),
        "outputs": tiles["G"] * tiles["K"] * tiles["N"] * tiles["P"] * tiles["Q"],
        "pixels": tiles["N"] * tiles["P"] * tiles["Q"],
        "filters": tiles["G"] * tiles["K"],
        "group_filters": tiles["K"],
        "tile_inputs": tile_inputs,
        "all_inputs": all_inputs,
        **{f"count_{loop}": counts[loop] for loop in LOOPS},
        **_streams(dims, kind, tiles, counts),
    }
    chosen = _short(moved["compute"] + moved["fill"], tiles) if is_short else slice(None)
    return {name: np.asarray(values, dtype=np.float64)[chosen] for name, values in columns.items()}


def _short(cycles: Floats, tiles: dict[Loop, Ints]) -> Ints:
    """Return the tilings of the short table: of each size of weight tile and output tile the fastest, then the fastest.

    Sizes are powers of two, so that whatever the buffers hold, something near to it is there.
    """
    order = np.argsort(cycles, kind="stable")
    weights = np.log2(tiles["G"] * tiles["K"] * tiles["C"]).astype(np.int64)
    outputs = np.log2(tiles["G"] * tiles["K"] * tiles["N"] * tiles["P"] * tiles["Q"]).astype(np.int64)
    _, first = np.unique((weights * 64 + outputs)[order], return_index=True)
    fastest = order[np.sort(first)]
    fastest = fastest[cycles[fastest] <= SLOWEST * cycles.min()]
    more = order[: max(0, MOST_PER_LAYER - fastest.size)]
    return np.unique(np.concatenate([fastest, more]))


def _totals(array: PeArrayConfig, dims: LoopDims, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> dict[str, Any]:
    """Return array cycles and elements moved, summed over full and remainder tiles of each split loop."""
    split = [loop for loop in LOOPS if bool((counts[loop] > 1).any())]
    total = {
        name: np.zeros(tiles["K"].size)
        for name in ("compute", "fill", "input_reads", "weight_reads", "psum_writes", "psum_reads")
    }
    for picks in product((False, True), repeat=len(split)):
        rest = dict(zip(split, picks, strict=True))
        number = np.ones(tiles["K"].size)
        size: dict[Loop, Any] = {}
        for loop in LOOPS:
            last = getattr(dims, loop) - tiles[loop] * (counts[loop] - 1)
            is_last = rest.get(loop, True)
            size[loop] = last if is_last else tiles[loop]
            number = number * (1 if is_last else counts[loop] - 1)
        if not number.any():
            continue
        work = array_work(
            array,
            TileShape(
                size["N"],
                size["G"],
                size["K"],
                size["C"],
                size["P"],
                size["Q"],
                dims.R * dims.S,
                dims.R,
                dims.S,
                dims.stride,
            ),  # fmt: skip
        )
        total["compute"] += number * work.compute_cycles
        total["fill"] += number * (work.fill_drain_cycles + array.pipeline_latency_cycles)
        total["input_reads"] += number * work.input_reads
        total["weight_reads"] += number * work.weight_reads
        total["psum_writes"] += number * work.psum_writes
        total["psum_reads"] += number * work.psum_reads
    return total


def _inputs(dims: LoopDims, kind: LayerKind, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> tuple[Any, Any]:
    """Return input elements of the largest tile, and of all tiles once."""
    tile: Any = 1
    total: Any = 1
    axes: tuple[tuple[Loop, int, int, int], ...] = (("P", dims.R, dims.H, 0), ("Q", dims.S, dims.W, 1))
    for loop, kernel, extent, axis in axes:
        span = (kernel - 1) * dims.dilation[axis] + 1
        window = np.minimum(extent, np.minimum((tiles[loop] - 1) * dims.stride[axis] + span, tiles[loop] * span))
        if kind == "aggregate" and loop == "Q":
            window = np.full_like(tiles[loop], extent)
        tile = tile * window
        total = total * np.where(counts[loop] == 1, window, window * counts[loop] - 2 * dims.padding[axis])
    return tile * tiles["N"] * tiles["G"] * tiles["C"], total * (dims.N * dims.G * dims.C)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to hold an operand, float64 [n] each; see `HoldTable`."""

    block: Floats
    loads: Floats
    fetches: Floats
    late: Floats
    ready: Floats


def _way(order: tuple[Loop, ...], place: int, counts: dict[Loop, Floats], relevant: frozenset[str]) -> _Way:
    """Return what holding an operand from ``place`` of the loop order on means."""
    one = np.ones_like(counts["K"])
    inner = order[place:]
    loads = np.prod([counts[loop] for loop in order[:place]] or [one], axis=0)
    block = np.prod([counts[loop] for loop in inner if loop in relevant] or [one], axis=0)
    distinct = np.prod([counts[loop] for loop in order if loop in relevant], axis=0)
    steps, late, last_use = one, 0 * one, 0 * one
    for loop in reversed(inner):
        if loop in relevant:
            late = late + (counts[loop] - 1) * steps
        else:
            last_use = last_use + (counts[loop] - 1) * steps
        steps = steps * counts[loop]
    return _Way(block, loads, loads * block / distinct, late / steps, (last_use + 1) / steps)


def _holds(counts: dict[Loop, Floats], relevant: frozenset[str]) -> HoldTable:
    orders = []
    for order in LOOP_ORDERS:
        places = [0, *(place for place in range(1, len(order) + 1) if order[place - 1] in relevant)]
        ways = [_way(order, place, counts, relevant) for place in places]
        orders.append([
            [way.block for way in ways],
            [np.where(way.loads > 1, 2 * way.block, way.block) for way in ways],
            [way.fetches for way in ways],
            [way.loads for way in ways],
            [way.late for way in ways],
            [way.ready for way in ways],
        ])  # fmt: skip
    table = np.array(orders, dtype=np.float32)
    return HoldTable(*(np.ascontiguousarray(table[:, place]) for place in range(6)))


def _streams(dims: LoopDims, kind: LayerKind, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> dict[str, Any]:
    """Return how weight tiles lie on the filters in which streams run, and in which turns they are visited."""
    is_swapped = kind == "conv_transpose2d"  # its weights are drawn as CKRS
    outer: Loop = "C" if is_swapped else "K"
    inner: Loop = "K" if is_swapped else "C"
    number = tiles["G"] * tiles[outer]
    tile_count = counts["G"] * counts[outer]
    total = dims.G * getattr(dims, outer)
    columns: dict[str, Any] = {
        "stream_filters": number,
        "stream_counts": tile_count,
        "last_filters": total - number * (tile_count - 1),
        "stream_weights": tiles[inner] * (dims.R * dims.S),
        "stream_parts": counts[inner],
    }
    pixels = counts["N"] * counts["P"] * counts["Q"]
    for number_of, order in enumerate(LOOP_ORDERS):
        is_inside = order.index(outer) < order.index(inner)
        first, second = sorted((order.index("K"), order.index("C")))
        is_between = first < order.index("P") < second
        columns[f"turn_{number_of}"] = np.where(
            is_inside | (tile_count == 1), np.where(is_between & (pixels > 1), 1, 0), 2
        )
    return columns


def least_tilings(value: Floats, dram: Floats, latency: Floats, table: TileTable) -> tuple[Ints, Ints]:
    """Return order and place of each layer's tiling: of those as good as the best the leanest, then the fastest."""
    rest = value
    for following in (dram, latency):
        least = np.minimum.reduceat(rest.min(axis=0), table.first)
        rest = np.where(rest <= (least * NEARLY_EQUAL)[table.layer], following, np.inf)
    order = rest.argmin(axis=0)
    of_tiling = rest[order, np.arange(order.size)]
    fewest = np.minimum.reduceat(of_tiling, table.first)
    places = np.flatnonzero(of_tiling == fewest[table.layer])
    _, first = np.unique(table.layer[places], return_index=True)
    chosen = places[first]
    return order[chosen], chosen
