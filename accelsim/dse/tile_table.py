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
from accelsim.trace.model import LayerKind, LoopDims

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SLOWEST = 2.5  # tilings on which the array takes longer than this times the best are left out of the short table
MOST_PER_LAYER = 160


@dataclass(frozen=True, slots=True)
class HoldTable:
    """Ways to hold an operand, float32 [orders, ways, n]: tiles held, doubled where they are replaced, and fetches.

    ``fetches`` counts how often the operand as a whole is fetched; ways are sorted from the fewest fetches on.
    """

    single: npt.NDArray[np.float32]
    double: npt.NDArray[np.float32]
    fetches: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TileTable:
    """Tilings of the array layers, [n] each unless said otherwise.

    Attributes
    ----------
    layer
        int64: which layer the tiling is of; sorted. ``first`` int64 [layers] is where each layer begins.
    compute, fill, once
        Array cycles of the whole layer; ``once`` is paid once a layer, int.
    input_reads, weight_reads, psum_moves
        Elements that cross the buffers' ports in the whole layer.
    positions, outputs, tile_inputs, pixels, filters
        Weights, outputs, input elements, output positions and filters of the largest tile.
    all_inputs
        Input elements of all tiles once, halos included.
    counts
        Tiles along each loop.
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
    psum_moves: Floats
    positions: Floats
    outputs: Floats
    tile_inputs: Floats
    pixels: Floats
    filters: Floats
    all_inputs: Floats
    counts: dict[Loop, Floats]
    steps: Floats
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
    return TileTable(
        layer=np.repeat(np.arange(len(parts)), number),
        first=np.concatenate([[0], np.cumsum(number)[:-1]]),
        once=_once_cycles(array),
        counts=counts,
        steps=np.prod([counts[loop] for loop in LOOPS], axis=0),
        weights=_holds(counts, WEIGHT_LOOPS),
        inputs=_holds(counts, INPUT_LOOPS),
        psums=_holds(counts, OUTPUT_LOOPS),
        **joined,
    )


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
        "tile_inputs": tile_inputs,
        "all_inputs": all_inputs,
        **{f"count_{loop}": counts[loop] for loop in LOOPS},
    }
    chosen = _short(moved["compute"] + moved["fill"]) if is_short else slice(None)
    return {name: np.asarray(values, dtype=np.float64)[chosen] for name, values in columns.items()}


def _short(cycles: Floats) -> Ints:
    fast = np.flatnonzero(cycles <= SLOWEST * cycles.min())
    if fast.size <= MOST_PER_LAYER:
        return fast
    order = fast[np.argsort(cycles[fast], kind="stable")]
    return np.sort(order[np.linspace(0, fast.size - 1, MOST_PER_LAYER).round().astype(np.int64)])


def _totals(array: PeArrayConfig, dims: LoopDims, tiles: dict[Loop, Ints], counts: dict[Loop, Ints]) -> dict[str, Any]:
    """Return array cycles and elements moved, summed over full and remainder tiles of each split loop."""
    split = [loop for loop in LOOPS if bool((counts[loop] > 1).any())]
    total = {
        name: np.zeros(tiles["K"].size) for name in ("compute", "fill", "input_reads", "weight_reads", "psum_moves")
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
                size["N"], size["G"], size["K"], size["C"], size["P"], size["Q"], dims.R * dims.S, dims.R, dims.S
            ),
        )
        total["compute"] += number * work.compute_cycles
        total["fill"] += number * (work.fill_drain_cycles + array.pipeline_latency_cycles)
        total["input_reads"] += number * work.input_reads
        total["weight_reads"] += number * work.weight_reads
        total["psum_moves"] += number * (work.psum_writes + work.psum_reads)
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


def _holds(counts: dict[Loop, Floats], relevant: frozenset[str]) -> HoldTable:
    single, double, fetches = [], [], []
    for order in LOOP_ORDERS:
        places = [0, *(place for place in range(1, len(order) + 1) if order[place - 1] in relevant)]
        distinct = np.prod([counts[loop] for loop in order if loop in relevant], axis=0)
        of_order = []
        for place in places:
            loads = np.prod([counts[loop] for loop in order[:place]] or [np.ones_like(distinct)], axis=0)
            block = np.prod(
                [counts[loop] for loop in order[place:] if loop in relevant] or [np.ones_like(distinct)], axis=0
            )
            of_order.append((block, np.where(loads > 1, 2 * block, block), loads * block / distinct))
        single.append(np.stack([entry[0] for entry in of_order]))
        double.append(np.stack([entry[1] for entry in of_order]))
        fetches.append(np.stack([entry[2] for entry in of_order]))
    return HoldTable(*(np.stack(each).astype(np.float32) for each in (single, double, fetches)))
