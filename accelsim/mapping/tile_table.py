"""All tilings of all array layers of a network on a PE array, side by side: a point then is a few array operations.

What does not depend on buffers, memory, generator or storage format is computed once per network and PE array: cycles
of the array, elements moved, and for each loop order how often an operand is fetched when so much of it is held.
Formulas are those of `accelsim.mapping.closed_form`; here they run over all layers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.candidates import candidates
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.hold_table import HoldTable, Nest, ways_to_hold
from accelsim.mapping.loops import INPUT_LOOPS, LOOP_ORDERS, LOOPS, OUTPUT_LOOPS, UNGROUPED_ORDERS, WEIGHT_LOOPS, Loop
from accelsim.mapping.sparsity import dense_steps, expected_steps, lane_grid, largest_share
from accelsim.trace.model import LayerKind, LoopDims

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Width = Literal["narrow", "wide", "whole"]
# `benchmarks/closed_form_error.py --layers 7`, 392 layers: the mapper's choice is 0.103 % above the best known in the
# mean, 2.9 % in 99 of 100 layers; 24 come to 0.160 % and 2.9 %, 384 to 0.085 % and 2.1 %. The closed form of
# design-space exploration takes time in proportion.
ENOUGH = 96
# Times the fastest: slower arrays are left out. Of the narrow table, 50 layers of the same networks on each of the
# seven chips, by the closed form itself: against the best that any of 1.5, 2.5, 4, 8 and no limit finds, 4 loses 0.01 %
# in the mean, 0.5 % at most; 2.5 loses 0.12 % on eyeriss (2.5 % at most), 1.5 loses 1.5 % there, none 0.2 % on all
# chips (12 % at most, for `ENOUGH` then leaves the fast ones out). For the mapper (wide) 4 comes to 0.053 %
# in latency and energy x delay, 8 to 0.056 %, all to 0.091 % (against the best that any of them finds); in energy and
# DRAM bytes to 0.059 %, 0.021 % and 0.031 %: what the closed form misjudges is kept from the first places.
SLOWEST, SLOWEST_WIDE = 4.0, 8.0
# A pass of a row-stationary array takes 4, 6 or 8 channels equally fast, but not with equal traffic. 48 layers of the
# same networks on eyeriss and eyeriss_dense, latency and energy x delay, the best of eight finalists: against 1 the
# mean changes by -0.18 to -0.52 % with 4, by +0.27 to -0.29 % with 2; 8 is 0.03 to 0.2 % behind 4.
PASS_STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class TileTable:
    """Tilings of the array layers, [n] each unless said otherwise; a table is equal only to itself.

    Attributes
    ----------
    layer
        int64: which layer the tiling is of; sorted. ``first`` int64 [layers] is where each layer begins.
    compute, fill, once
        Array cycles of the whole layer; ``once`` is paid once a layer, int.
    input_reads, weight_reads, psum_writes, psum_reads
        Elements that cross the buffers' ports in the whole layer.
    idle_pes
        PEs that stand still while others work, mean of the cycles.
    positions, outputs, tile_inputs, pixels, filters, group_filters
        Weights, outputs, input elements, output positions, filters, and filters of a group of the largest tile.
    last_share
        Outputs of the last tile over those of the mean one.
    rows, new_rows, columns, new_columns
        Input rows of all tiles along P, and without those that the tile before has brought; columns likewise.
    is_stated
        1 where a person would state the tiling, else 0.
    depth
        Input elements at each position: batch, groups and channels.
    stream_filters, last_filters, stream_counts
        Filters (along which random streams run) of a tile, of the last tile, and how many such tiles there are.
    stream_weights, mean_weights, stream_parts
        Weights of the largest tile, and of the mean one, in each of its filters, and into how many parts it is cut.
    turns
        int64 [orders, n], the order in which weight tiles are visited: 0 part by part of the same filters, 1 the same
        with output positions between filters and parts, 2 filter by filter of the same part.
    is_new
        bool [orders, n]: whether no earlier order walks over the tiles in the same way, loops of one tile left out.
    counts, sizes
        Tiles along each loop, and the size of the largest.
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
    idle_pes: Floats
    positions: Floats
    outputs: Floats
    tile_inputs: Floats
    pixels: Floats
    last_share: Floats
    filters: Floats
    group_filters: Floats
    rows: Floats
    new_rows: Floats
    columns: Floats
    new_columns: Floats
    depth: Floats
    is_stated: Floats
    stream_filters: Floats
    last_filters: Floats
    stream_counts: Floats
    stream_weights: Floats
    mean_weights: Floats
    stream_parts: Floats
    turns: Ints
    is_new: npt.NDArray[np.bool_]
    counts: dict[Loop, Floats]
    sizes: dict[Loop, Floats]
    steps: Floats
    weight_tiles: Floats
    output_tiles: Floats
    weights: HoldTable
    inputs: HoldTable
    psums: HoldTable

    def of_pairs(self, pairs: Ints) -> TileTable:
        """Return a table in which each of some pairs of an order and a tiling is a tiling; it has one order.

        ``pairs`` are places in [orders, n], sorted by tiling; each layer has some. How operands are held, and in which
        turns weights are visited, stays as it is: who picks pairs has looked at it.
        """
        tilings = pairs % self.layer.size
        flat = {name: getattr(self, name).take(tilings) for name in _COLUMNS}
        counts = {loop: self.counts[loop].take(tilings) for loop in LOOPS}
        first = np.searchsorted(flat["layer"], np.arange(self.first.size))
        return replace(self, **flat, counts=counts, first=first)


# What the closed form asks of a tiling once it is known how its operands are held.
_COLUMNS = (
    "layer", "compute", "fill", "input_reads", "weight_reads", "psum_writes", "psum_reads", "idle_pes", "positions",
    "outputs", "tile_inputs", "pixels", "last_share", "rows", "new_rows", "columns", "new_columns", "depth", "steps",
    "weight_tiles", "output_tiles",
)  # fmt: skip
LayerKey = tuple[LoopDims, LayerKind, int]
"""A layer, and the lanes of the generator that makes its weights; 0: none does."""


@lru_cache(maxsize=48)
def tile_table(layers: tuple[LayerKey, ...], array_json: str, width: Width) -> TileTable:
    """Return the tilings of ``layers`` on the PE array that ``array_json`` describes.

    Parameters
    ----------
    width
        ``narrow``: of each size of weights and outputs the fastest, for ranking many chips; ``wide``: these, and of
        each size of weights, outputs and inputs, for mapping one; ``whole``: all, where nothing of the others fits.
    """
    # To hold an operand from behind a loop that no layer splits is what it is to hold it from the loop before.
    split = tuple(
        loop for loop in LOOPS if loop not in ("N", "G") or any(getattr(dims, loop) > 1 for dims, *_ in layers)
    )
    parts = [_part(layer, array_json, width, split) for layer in layers]
    number = np.array([part.columns["compute"].size for part in parts], dtype=np.int64)
    joined = {name: _one_array([part.columns[name] for part in parts]) for name in parts[0].columns}
    counts = {loop: joined.pop(f"count_{loop}") for loop in LOOPS}
    sizes = {loop: joined.pop(f"size_{loop}") for loop in LOOPS}
    all_turns = [joined.pop(f"turn_{order}") for order in range(len(LOOP_ORDERS))]
    turns = np.stack(all_turns[: len(_orders(split))]).astype(np.int64)
    weights, inputs, psums = (_joined(holds) for holds in zip(*(part.holds for part in parts), strict=True))
    return TileTable(
        layer=np.repeat(np.arange(len(parts)), number),
        first=np.concatenate([[0], np.cumsum(number)[:-1]]),
        once=_once_cycles(PeArrayConfig.model_validate_json(array_json)),
        counts=counts,
        sizes=sizes,
        turns=turns,
        is_new=_new_walks(counts, turns),
        steps=np.prod([counts[loop] for loop in LOOPS], axis=0),
        weight_tiles=counts["G"] * counts["K"] * counts["C"],
        output_tiles=np.prod([counts[loop] for loop in LOOPS if loop != "C"], axis=0),
        weights=weights,
        inputs=inputs,
        psums=psums,
        **joined,
    )


def _orders(split: tuple[Loop, ...]) -> tuple[tuple[Loop, ...], ...]:
    """Return the orders of a table in which these loops have more than one tile."""
    return LOOP_ORDERS if "G" in split else UNGROUPED_ORDERS


def _new_walks(counts: dict[Loop, Floats], turns: Ints) -> npt.NDArray[np.bool_]:
    """Return `TileTable.is_new`: the sequence of split loops, and the turns of the weights, say how tiles follow."""
    walks = turns
    for place in range(len(LOOPS)):
        # Each order's next loop is a digit of its number if it is split.
        split = np.stack([counts[order[place]] > 1 for order in LOOP_ORDERS[: len(turns)]])
        digit = np.array([[LOOPS.index(order[place]) + 1] for order in LOOP_ORDERS[: len(turns)]])
        walks = np.where(split, walks * (len(LOOPS) + 1) + digit, walks)
    return np.stack([(walks[:number] != walk).all(axis=0) for number, walk in enumerate(walks)])


@dataclass(frozen=True, slots=True)
class _Part:
    """The tilings of one layer: columns of a `TileTable`, and how weights, inputs and partial sums may be held."""

    columns: dict[str, Floats]
    holds: tuple[HoldTable, HoldTable, HoldTable]


@lru_cache(maxsize=512)
def _part(layer: LayerKey, array_json: str, width: Width, split: tuple[Loop, ...]) -> _Part:
    """Return the tilings of a layer; of the loops, only those in ``split`` have more than one tile in any of them."""
    columns = _layer(PeArrayConfig.model_validate_json(array_json), layer, width)
    orders = tuple(tuple(loop for loop in order if loop in split) for order in _orders(split))
    nest = Nest.of(orders, {loop: columns[f"count_{loop}"] for loop in split})
    holds = ways_to_hold(nest, WEIGHT_LOOPS), ways_to_hold(nest, INPUT_LOOPS, True), ways_to_hold(nest, OUTPUT_LOOPS)
    return _Part(columns, holds)


def _joined(holds: tuple[HoldTable, ...]) -> HoldTable:
    return HoldTable(*(_one_array([getattr(one, each.name) for one in holds]) for each in fields(HoldTable)))


def _one_array(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


Densities = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


@lru_cache(maxsize=48)
def skipped_fractions(layers: tuple[LayerKey, ...], array_json: str, width: Width, densities: Densities) -> Floats:
    """Return the fraction of the array's steps that zero skipping leaves of each tiling in `tile_table`.

    Lanes in lockstep wait for the slowest of them: the expectation for weights (and activations) that are zero
    independently of each other.

    Parameters
    ----------
    densities
        Of the weights, and of the input activations, of each layer; and the share of paddings that take steps.
    """
    array, table = PeArrayConfig.model_validate_json(array_json), tile_table(layers, array_json, width)
    left = np.ones_like(table.compute)
    if array.zero_weights == "skip":
        paddings = np.array(densities[2])[table.layer]
        left = left * np.minimum(1.0, _weights_left(array, table, densities[0]) + paddings)
    if array.zero_activations == "skip":
        left = left * _activations_left(array, table, densities[1])
    return left


def _weights_left(array: PeArrayConfig, table: TileTable, densities: tuple[float, ...]) -> Floats:
    grid, left = lane_grid(array), np.ones_like(table.compute)
    lengths = table.positions / table.filters
    rows = zip(table.layer.tolist(), table.group_filters.tolist(), lengths.tolist(), strict=True)
    for place, (layer, filters, length) in enumerate(rows):
        if densities[layer] < 1 or array.skip_group == "packed":
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
        # Lanes in one step: it can be left out only where every one of them has a zero.
        shared: Floats = np.where(density < 1, 1.0 - (1.0 - density) ** lanes, 1.0)
        return shared
    # Each row goes through its own stream, and waits for the slowest one at its end only.
    streams = table.positions / table.filters if array.dataflow == "output_stationary" else table.pixels
    rows = zip(density.tolist(), streams.tolist(), strict=True)
    return np.array([largest_share(int(length), share, lanes) if share < 1 else 1.0 for share, length in rows])


def _once_cycles(array: PeArrayConfig) -> int:
    return int(array_work(array, TileShape(1, 1, 1, 1, 1, 1, 1, 1, 1)).once_cycles)


def _layer(array: PeArrayConfig, layer: LayerKey, width: Width) -> dict[str, Any]:
    dims, kind, lanes = layer
    found = candidates(array, dims, lanes)
    tiles = found.size
    counts = {loop: -(-getattr(dims, loop) // tiles[loop]) for loop in LOOPS}
    moved = _totals(array, dims, tiles, counts)
    inputs = _inputs(dims, kind, tiles, counts)
    columns: dict[str, Any] = {
        **moved,
        "positions": tiles["G"] * tiles["K"] * tiles["C"] * (dims.R * dims.S),
        "outputs": tiles["G"] * tiles["K"] * tiles["N"] * tiles["P"] * tiles["Q"],
        "pixels": tiles["N"] * tiles["P"] * tiles["Q"],
        # The last tile is the last one along every loop at once, so its shares multiply.
        "last_share": np.prod(
            [
                (getattr(dims, loop) - tiles[loop] * (counts[loop] - 1)) * counts[loop] / getattr(dims, loop)
                for loop in LOOPS
                if loop in OUTPUT_LOOPS
            ],
            axis=0,
        ),
        "filters": tiles["G"] * tiles["K"],
        "group_filters": tiles["K"],
        **inputs,
        **{f"size_{loop}": tiles[loop] for loop in LOOPS},
        "is_stated": found.is_stated,
        **{f"count_{loop}": counts[loop] for loop in LOOPS},
        **_streams(dims, kind, tiles, counts),
    }
    chosen: Any = slice(None)
    if width != "whole":
        steps = PASS_STEPS if array.dataflow == "row_stationary" else 1
        cycles = moved["compute"] + moved["fill"]
        is_chosen = _short(cycles, tiles, (), steps, found.fills_lanes)
        if width == "wide":
            # With the narrow ones, so that the mapper knows whatever other searches like: on seven chips with eight
            # networks energy x delay falls by 0.02 % in the mean (0.19 % at most); of golden ones it rises in three,
            # by 0.01 % at most. Mapping takes 3 % more time.
            is_chosen |= _short(cycles, tiles, (inputs["tile_inputs"],), steps, found.fills_lanes) | found.is_stated
        chosen = np.flatnonzero(is_chosen)
    return {name: np.asarray(values, dtype=np.float64)[chosen] for name, values in columns.items()}


def _short(
    cycles: Floats, tiles: dict[Loop, Ints], beside: tuple[Ints, ...], steps: int, apart: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which tilings are worth ranking: of each size of weights, outputs (and ``beside``) the fastest, and more.

    Sizes are powers of two, so that whatever the buffers hold, something near to it is there; the array's cycles say
    which is the fastest. Up to `ENOUGH`, the fastest of the rest fill the list. Of sizes, ``steps`` between
    powers of two are told apart, and tilings that fill the generator's lanes from others.
    """
    order = np.argsort(cycles, kind="stable")
    weights = tiles["G"] * tiles["K"] * tiles["C"]
    outputs = tiles["G"] * tiles["K"] * tiles["N"] * tiles["P"] * tiles["Q"]
    key = apart.astype(np.int64)
    for size in (weights, outputs, *beside):
        # Sizes are below 2^64: 64 doublings, each in so many steps, are the digits of one number.
        key = key * (64 * steps) + (steps * np.log2(np.maximum(size, 1))).astype(np.int64)
    _, first = np.unique(key[order], return_index=True)
    fastest = order[np.sort(first)]
    fastest = fastest[cycles[fastest] <= (SLOWEST_WIDE if beside else SLOWEST) * cycles.min()]
    chosen = np.zeros(cycles.size, dtype=np.bool_)
    chosen[fastest] = chosen[order[: max(0, ENOUGH - fastest.size)]] = True
    return chosen


def _totals(array: PeArrayConfig, dims: LoopDims, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> dict[str, Any]:
    """Return array cycles and elements moved, summed over full and remainder tiles of each split loop."""
    split = [loop for loop in LOOPS if bool((counts[loop] > 1).any())]
    kinds = list(product((False, True), repeat=len(split)))  # of tiles: along each split loop the last one, or not
    number: Any = np.ones((len(kinds), tiles["K"].size))
    size: dict[str, Any] = {loop: np.broadcast_to(tiles[loop], number.shape) for loop in LOOPS}
    for loop, is_last in zip(split, np.array(kinds, dtype=bool).T[:, :, None], strict=True):
        last = getattr(dims, loop) - tiles[loop] * (counts[loop] - 1)
        size[loop] = np.where(is_last, last, tiles[loop])
        is_alike = last == tiles[loop]  # then all tiles count as full ones
        number = number * np.where(is_last, ~is_alike, counts[loop] - 1 + is_alike)
    kind, tiling = np.nonzero(number)
    number, size = number[kind, tiling], {loop: values[kind, tiling] for loop, values in size.items()}
    tile = TileShape(**size, RS=dims.R * dims.S, R=dims.R, S=dims.S, stride=dims.stride)
    work = array_work(array, tile)
    each = {
        "compute": work.compute_cycles, "fill": work.unused_cycles + array.pipeline_latency_cycles,
        "input_reads": work.input_reads, "weight_reads": work.weight_reads, "psum_writes": work.psum_writes,
        "psum_reads": work.psum_reads,
    }  # fmt: skip
    found = {name: np.bincount(tiling, number * values, tiles["K"].size) for name, values in each.items()}
    cycles = (each["compute"] + each["fill"]) * work.idle_pes
    idle = np.bincount(tiling, number * cycles, tiles["K"].size)
    return found | {"idle_pes": idle / np.maximum(found["compute"] + found["fill"], 1)}


def _inputs(dims: LoopDims, kind: LayerKind, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> dict[str, Any]:
    """Return input elements of the largest tile, and rows and columns that all tiles together read."""
    tile: Any = tiles["N"] * tiles["G"] * tiles["C"]
    found: dict[str, Any] = {"depth": np.full(tiles["K"].size, dims.N * dims.G * dims.C)}
    axes: tuple[tuple[Loop, str, int, int], ...] = (("P", "rows", dims.H, 0), ("Q", "columns", dims.W, 1))
    for loop, name, extent, axis in axes:
        span = dims.span(axis)
        jump = dims.slices[1] if axis == 0 else 0
        rest = getattr(dims, loop) - tiles[loop] * (counts[loop] - 1)
        # Windows that do not touch (a stride above the span) leave out what lies between them: size x span.
        window, last = (
            np.minimum(extent, np.minimum((size - 1) * dims.stride[axis] + span + beyond, size * span))
            for size in (tiles[loop], rest)
            for beyond in (_jumps(size, dims) * jump if jump else 0,)
        )
        if kind == "aggregate" and loop == "Q":
            window = last = np.full_like(tiles[loop], extent)
        tile = tile * window
        # Padding is not read: of several tiles it lies in both outer ones, of one the extent has cut it off.
        every = window * (counts[loop] - 1) + last - np.where(counts[loop] == 1, 0, 2 * dims.padding[axis])
        # Neighbours share what a window reaches beyond the stride; without padding the whole map is read once.
        whole = min(extent, dims.start(axis, getattr(dims, loop) - 1) - dims.start(axis, 0) + span)
        shares = kind != "aggregate" and span > dims.stride[axis]
        found[name] = every
        found[f"new_{name}"] = np.minimum(every, whole) if shares else every
    return {"tile_inputs": tile, **found}


def _jumps(tiles: Ints, dims: LoopDims) -> Ints:
    """Return how often the outputs of the largest tile go to the next slice: seldom, where tiles begin with one."""
    every, _, _, before = dims.slices
    within, crossing = (tiles - 1) // every, (tiles - 2) // every + 1
    begins_alike = (before == 0) & ((tiles % every == 0) | (every % tiles == 0))
    return np.where(begins_alike, within, np.minimum(crossing, (dims.P - 1 + before) // every))


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
        "mean_weights": getattr(dims, inner) * (dims.R * dims.S) / counts[inner],
        "stream_parts": counts[inner],
    }
    pixels = counts["N"] * counts["P"] * counts["Q"]
    for number_of, order in enumerate(LOOP_ORDERS):
        # With positions between filters and parts, the parts of a filter are walked through anew at each position.
        is_inside = order.index(outer) < order.index(inner)
        first, second = sorted((order.index("K"), order.index("C")))
        is_between = first < order.index("P") < second
        columns[f"turn_{number_of}"] = np.where(
            is_inside | (tile_count == 1), np.where(is_between & (pixels > 1), 1, 0), 2
        )
    return columns
