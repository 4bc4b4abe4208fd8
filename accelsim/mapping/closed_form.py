"""The closed form: cycles and traffic of many tilings of one layer at once, without building their steps.

Sums over tiles separate by loop, since a loop has one full tile size and one remainder. The latency is that of the
busiest unit
plus the first tile's way to the array and the last one's way out; the simulation adds the waiting between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from accelsim.mapping.candidates import Candidates
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.loops import INPUT_LOOPS, LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop
from accelsim.mapping.task import LayerTask

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MOST_STEPS = 1 << 16  # a layer is cut into more tiles only if no other tiling fits


@dataclass(frozen=True, slots=True)
class Score:
    """Closed-form figures, float64 [num_candidates]; ``legal``: whether the tiles fit the buffers."""

    legal: Bools
    latency_cycles: Floats
    array_cycles: Floats
    dram_bytes: Floats
    buffer_bits: Floats


@dataclass(frozen=True, slots=True)
class _Held:
    """Reuse of one operand per candidate: whether it fits, how often its tiles are fetched over once, bytes taken."""

    fits: Bools
    repeats: Floats
    taken: Floats


def _counts(task: LayerTask, tiles: Candidates) -> dict[Loop, Ints]:
    return {loop: -(-getattr(task.layer.dims, loop) // tiles.size[loop]) for loop in LOOPS}


def _held(
    order: tuple[Loop, ...],
    counts: dict[Loop, Ints],
    relevant: frozenset[str],
    tile: Floats,
    capacity: Floats | float,
    double: bool,
    only_tile: bool = False,
) -> _Held:
    """Return the reuse with the fewest fetches that fits, over all positions from which the operand may be held."""
    num = tile.size
    repeats, taken, fits = np.full(num, np.inf), np.zeros(num), np.zeros(num, dtype=bool)
    distinct = np.ones(num)
    for loop in relevant:
        distinct = distinct * counts[loop]  # type: ignore[index]
    for position in range(len(order), -1, -1):
        block, blocks = np.ones(num), np.ones(num)
        for place, loop in enumerate(order):
            if place < position:
                blocks = blocks * counts[loop]
            elif loop in relevant:
                block = block * counts[loop]
        need = tile * block * np.where((blocks > 1) & double, 2, 1)
        better = (need <= capacity) & (blocks * block / distinct < repeats)
        if only_tile:
            better &= block == 1
        repeats = np.where(better, blocks * block / distinct, repeats)
        taken = np.where(better, need, taken)
        fits |= better
    return _Held(fits, repeats, taken)


def _span(tile: Ints, extent: int) -> list[tuple[Ints, Ints]]:
    """Return (tile size, number of such tiles) for the full and the remainder tiles of a loop."""
    count = -(-extent // tile)
    rest = extent - tile * (count - 1)
    return [(tile, count - 1), (rest, np.ones_like(tile))]


def _array_totals(task: LayerTask, tiles: Candidates) -> tuple[Floats, Floats]:
    """Return array cycles and buffer bits, summed over the two sizes of each of the loops that are really split."""
    dims, hardware = task.layer.dims, task.hardware
    spans = {loop: _span(tiles.size[loop], getattr(dims, loop)) for loop in LOOPS}
    cycles, bits = np.zeros(tiles.num), np.zeros(tiles.num)
    once = 0
    split = [loop for loop in LOOPS if bool((spans[loop][0][1] > 0).any())]
    for picks in product((0, 1), repeat=len(split)):
        chosen = dict.fromkeys(LOOPS, 1) | dict(zip(split, picks, strict=True))
        number = np.ones(tiles.num)
        for loop in LOOPS:
            number = number * spans[loop][chosen[loop]][1]
        if not number.any():
            continue
        size = {loop: spans[loop][chosen[loop]][0] for loop in LOOPS}
        tile = TileShape(
            size["N"], size["G"], size["K"], size["C"], size["P"], size["Q"], dims.R * dims.S, dims.R, dims.S
        )
        work = array_work(hardware.pe_array, tile)
        time = work.compute_cycles + work.fill_drain_cycles + hardware.pe_array.pipeline_latency_cycles
        reads = work.input_reads * task.activation_bits
        psums = (work.psum_writes + work.psum_reads) * hardware.accumulator_bits
        weights = work.weight_reads * task.weight_bits
        if not task.is_ideal:
            ports = [
                (reads, hardware.activation_buffer),
                (weights, hardware.weight_buffer),
                (psums, hardware.accumulator),
            ]
            for moved, buffer in ports:
                time = np.maximum(time, moved / (buffer.width_bits * buffer.num_banks * buffer.num_ports))
        cycles += number * time
        bits += number * (reads + psums + weights)
        once = work.once_cycles
    return cycles + once, bits


def _input_elements(task: LayerTask, tiles: Candidates, counts: dict[Loop, Ints]) -> tuple[Floats, Floats]:
    """Return input elements of the largest tile, and of all tiles once (halos of neighbouring tiles included)."""
    dims = task.layer.dims
    tile, total = np.ones(tiles.num), np.ones(tiles.num)
    for loop, kernel, extent, axis in (("P", dims.R, dims.H, 0), ("Q", dims.S, dims.W, 1)):
        span = (kernel - 1) * dims.dilation[axis] + 1
        size = tiles.size[loop]  # type: ignore[index]
        window = np.minimum(extent, np.minimum((size - 1) * dims.stride[axis] + span, size * span))
        if task.layer.kind == "aggregate" and loop == "Q":
            window = np.full_like(size, extent)
        tile = tile * window
        total = total * np.where(counts[loop] == 1, window, window * counts[loop] - 2 * dims.padding[axis])  # type: ignore[index]
    depth = tiles.size["N"] * tiles.size["G"] * tiles.size["C"]
    return tile * depth, total * dims.N * dims.G * dims.C


def _stream_cycles(
    task: LayerTask, tiles: Candidates, counts: dict[Loop, Ints], order: tuple[Loop, ...], visits: Floats
) -> Floats:
    """Return the cycles of the slower of generator and decoder for all visits of all weight tiles."""
    dims, hardware = task.layer.dims, task.hardware
    positions = dims.num_weights * visits
    cycles = np.zeros(tiles.num)
    if task.decodes and hardware.mask_decoder is not None and task.plan is not None:
        cycles = positions / hardware.mask_decoder.positions_per_cycle
        if task.plan.decoder in ("rle", "golomb", "entropy", "csr"):
            cycles = np.maximum(cycles, task.plan.decoder_symbols * visits / hardware.mask_decoder.symbols_per_cycle)
    generator = hardware.weight_generator
    if task.plan is None or task.plan.source is None or generator is None:
        return cycles
    source = task.plan.source
    bits = source.weight_bits * (source.normal_terms if source.weights == "normal" else 1)
    words = (bits + (source.threshold_bits if source.lock_threshold else 0)) / 32
    filters = tiles.size["G"] * tiles.size["K"]
    lanes = np.minimum(generator.num_lanes, filters if source.stream == "filter" else 1)
    if source.generator == "philox4x32":
        lanes = np.full(tiles.num, generator.num_lanes)
    rounds = -(-filters // lanes) * lanes / filters
    inner_c = order.index("C") > order.index("K") and order.index("C") > order.index("P")
    restarts = (counts["C"] > 1) & ~((filters <= lanes) & inner_c) & (source.generator != "philox4x32")
    discards = np.where(restarts, (counts["C"] - 1) / 2, 0.0)
    made = positions * words * (1.0 + discards) * rounds / (lanes * generator.words_per_lane_per_cycle)
    slower: Floats = np.maximum(cycles, made)
    return slower


@dataclass(frozen=True, slots=True)
class OrderFree:
    """What does not depend on the loop order, per candidate."""

    counts: dict[Loop, Ints]
    array_cycles: Floats
    buffer_bits: Floats
    tile_inputs: Floats
    all_inputs: Floats


def order_free(task: LayerTask, tiles: Candidates) -> OrderFree:
    """Return the figures that all loop orders share."""
    counts = _counts(task, tiles)
    return OrderFree(counts, *_array_totals(task, tiles), *_input_elements(task, tiles, counts))


def score(task: LayerTask, tiles: Candidates, order: tuple[Loop, ...], shared: OrderFree) -> Score:
    """Return the closed-form figures of every candidate in one loop order."""
    dims, hardware = task.layer.dims, task.hardware
    counts = shared.counts
    window = dims.R * dims.S
    positions = (tiles.size["G"] * tiles.size["K"] * tiles.size["C"] * window).astype(np.float64)
    pixels = tiles.size["N"] * tiles.size["P"] * tiles.size["Q"]
    outputs = (tiles.size["G"] * tiles.size["K"] * pixels).astype(np.float64)
    buffers = hardware.weight_buffer, hardware.accumulator, hardware.activation_buffer
    weights = _held(
        order, counts, WEIGHT_LOOPS, positions * task.weight_bits / 8, task.capacity(buffers[0]),
        buffers[0].double_buffered, only_tile=task.regenerates_each_pass,
    )  # fmt: skip
    psums = _held(
        order, counts, OUTPUT_LOOPS, outputs * hardware.accumulator_bits / 8, task.capacity(buffers[1]),
        buffers[1].double_buffered,
    )  # fmt: skip
    tile_inputs, all_inputs = shared.tile_inputs, shared.all_inputs
    staged = 2 * outputs * max(1, task.layer.num_outputs) / dims.num_outputs * task.activation_bits / 8
    staged = staged if task.output_to_dram else np.zeros(tiles.num)
    needed = tile_inputs * task.activation_bits / 8 if task.dram_input_elements else np.zeros(tiles.num)
    inputs = _held(
        order, counts, INPUT_LOOPS, needed, task.activation_capacity_bytes - staged, buffers[2].double_buffered
    )
    legal = weights.fits & psums.fits & inputs.fits
    steps = np.prod([counts[loop].astype(np.float64) for loop in LOOPS], axis=0)
    if bool((legal & (steps <= MOST_STEPS)).any()):
        legal &= steps <= MOST_STEPS
    repeats = weights.repeats
    if task.decodes:
        share = (task.traffic_bits.mask + task.traffic_bits.index + task.traffic_bits.weight) / dims.num_weights / 8
        mask_buffer = hardware.mask_buffer
        mask = _held(
            order, counts, WEIGHT_LOOPS, positions * share, task.capacity(mask_buffer), mask_buffer.double_buffered
        )
        repeats = np.where(mask.fits, np.minimum(mask.repeats, repeats), repeats)
    stored = (
        task.traffic_bits.total / 8
        if task.plan is not None
        else task.layer.second_input_elements * task.activation_bits / 8
    )
    fraction = task.dram_input_elements / max(1, dims.num_inputs)
    output_bytes = (
        (task.layer.num_outputs or dims.num_outputs) * task.activation_bits / 8 if task.output_to_dram else 0.0
    )
    spilled = 2.0 * np.maximum(psums.repeats - 1, 0) * dims.num_outputs * hardware.accumulator_bits / 8
    residual = task.residual_dram_elements * task.activation_bits / 8
    with np.errstate(invalid="ignore"):
        dram = stored * repeats + all_inputs * fraction * inputs.repeats * task.activation_bits / 8
        dram = np.where(legal, dram + output_bytes + spilled + residual, np.inf)
    array, bits = shared.array_cycles, shared.buffer_bits
    visits = np.where(legal, weights.repeats, 1.0)
    if task.regenerates_each_pass and hardware.pe_array.dataflow in ("output_stationary", "input_stationary"):
        lanes = hardware.pe_array.rows if hardware.pe_array.dataflow == "output_stationary" else hardware.pe_array.cols
        visits = visits * -(-pixels // lanes)
    stream = _stream_cycles(task, tiles, counts, order, visits)
    vector = max(task.layer.vector_ops, dims.num_outputs) / hardware.vector_unit.num_lanes
    per_cycle = hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
    memory = np.zeros(tiles.num) if task.is_ideal else dram / per_cycle
    busiest = np.maximum.reduce([array, memory, stream, np.full(tiles.num, vector)])
    first = np.zeros(tiles.num)
    if not task.is_ideal:
        first = (needed + positions * stored / max(1, dims.num_weights)) / per_cycle
    first = first + stream / np.maximum(1.0, counts["G"] * counts["K"] * counts["C"] * visits)
    last = vector / (counts["G"] * counts["K"] * counts["N"] * counts["P"] * counts["Q"])
    overhead = steps * 0.0 if task.is_ideal else steps * 2.0
    latency = np.where(legal, busiest + first + last + overhead, np.inf)
    return Score(legal, latency, array, dram, bits)
