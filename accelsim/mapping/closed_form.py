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
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.loops import INPUT_LOOPS, LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, WINDOW_LOOPS, Loop
from accelsim.mapping.task import LayerTask

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CYCLES_PER_STEP = 2.0  # what a further tile costs in waiting at its edges; between equal tilings, larger tiles win
SURE = 0.95  # halos at the rim of a map make the closed form's traffic up to a twentieth too high
MOST_STEPS = 1 << 16  # a layer is cut into more tiles only if no other tiling fits


@dataclass(frozen=True, slots=True)
class Score:
    """Closed-form figures, float64 [num_candidates].

    ``legal``: whether the tiles fit the buffers; ``bound_cycles``: what the latency cannot fall below.
    """

    legal: Bools
    latency_cycles: Floats
    bound_cycles: Floats
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
    counts = {loop: -(-getattr(task.layer.dims, loop) // tiles.size[loop]) for loop in LOOPS}
    return counts | dict.fromkeys(WINDOW_LOOPS, np.ones(tiles.num, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Where an operand may be held: bytes of its tile per candidate, and the room there is."""

    tile: Floats
    capacity: Floats | float
    double: bool
    only_tile: bool = False


def _held(order: tuple[Loop, ...], counts: dict[Loop, Ints], relevant: frozenset[str], buffer: _Buffer) -> _Held:
    """Return the reuse with the fewest fetches that fits, over all positions from which the operand may be held."""
    num = buffer.tile.size
    repeats, taken = np.full(num, np.inf), np.zeros(num)
    order = tuple(loop for loop in order if counts[loop].max() > 1)
    blocks = [np.ones(num)]
    for loop in order:
        blocks.append(blocks[-1] * counts[loop])
    distinct = np.ones(num)
    for loop in order:
        distinct = distinct * counts[loop] if loop in relevant else distinct
    block = np.ones(num)
    for position in range(len(order), -1, -1):
        if position < len(order) and order[position] in relevant:
            block = block * counts[order[position]]
        if position and order[position - 1] not in relevant:
            continue  # holding from one loop further out takes no more room
        loads = blocks[position]
        need = buffer.tile * block
        need = np.where(loads > 1, 2 * need, need) if buffer.double else need
        again = loads * block / distinct
        better = (need <= buffer.capacity) & (again < repeats)
        if buffer.only_tile:
            better &= block == 1
        repeats = np.where(better, again, repeats)
        taken = np.where(better, need, taken)
    return _Held(np.isfinite(repeats), repeats, taken)


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
                time = np.maximum(time, moved / buffer.port_bits_per_cycle)
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
        if task.plan.decoder in VARIABLE_LENGTH:
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
    steps: Floats

    def take(self, chosen: Bools) -> OrderFree:
        """Return the figures of the chosen candidates."""
        counts = {loop: values[chosen] for loop, values in self.counts.items()}
        figures = (self.array_cycles, self.buffer_bits, self.tile_inputs, self.all_inputs, self.steps)
        return OrderFree(counts, *(values[chosen] for values in figures))


def order_free(task: LayerTask, tiles: Candidates) -> OrderFree:
    """Return the figures that all loop orders share."""
    counts = _counts(task, tiles)
    steps = np.ones(tiles.num)
    for loop in LOOPS:
        steps = steps * counts[loop]
    return OrderFree(counts, *_array_totals(task, tiles), *_input_elements(task, tiles, counts), steps)


@dataclass(frozen=True, slots=True)
class _Holdings:
    """Reuse of each operand in one loop order; ``stored``: of stored bits, which the mask buffer may hold longer."""

    weights: _Held
    stored: Floats
    inputs: _Held
    psums: _Held
    input_bytes: Floats
    legal: Bools


def _positions(task: LayerTask, tiles: Candidates) -> Floats:
    window = task.layer.dims.R * task.layer.dims.S
    return (tiles.size["G"] * tiles.size["K"] * tiles.size["C"] * window).astype(np.float64)


def _pixels(tiles: Candidates) -> Ints:
    return tiles.size["N"] * tiles.size["P"] * tiles.size["Q"]


def _holdings(task: LayerTask, tiles: Candidates, order: tuple[Loop, ...], shared: OrderFree) -> _Holdings:
    """Return how each candidate holds its operands, and whether they fit."""
    dims, hardware, counts = task.layer.dims, task.hardware, shared.counts
    positions = _positions(task, tiles)
    outputs = (tiles.size["G"] * tiles.size["K"] * _pixels(tiles)).astype(np.float64)
    buffer = hardware.weight_buffer
    tile = positions * task.weight_bits / 8
    room = _Buffer(tile, task.capacity(buffer), buffer.double_buffered, task.regenerates_each_pass)
    weights = _held(order, counts, WEIGHT_LOOPS, room)
    buffer = hardware.accumulator
    tile = outputs * hardware.accumulator_bits / 8
    psums = _held(order, counts, OUTPUT_LOOPS, _Buffer(tile, task.capacity(buffer), buffer.double_buffered))
    staged = np.zeros(tiles.num)
    if task.output_to_dram:
        staged = 2 * outputs * max(1, task.layer.num_outputs) / dims.num_outputs * task.activation_bits / 8
    staged = staged + 2 * outputs * task.residual_dram_elements / dims.num_outputs * task.activation_bits / 8
    needed = shared.tile_inputs * task.activation_bits / 8 if task.dram_input_elements else np.zeros(tiles.num)
    room = _Buffer(needed, task.activation_capacity_bytes - staged, hardware.activation_buffer.double_buffered)
    inputs = _held(order, counts, INPUT_LOOPS, room)
    legal = weights.fits & psums.fits & inputs.fits
    few = shared.steps <= MOST_STEPS
    if bool((legal & few).any()):
        legal &= few
    stored = weights.repeats
    if task.decodes:
        bits = task.traffic_bits
        tile = positions * (bits.mask + bits.index + bits.weight) / dims.num_weights / 8
        buffer = hardware.mask_buffer
        mask = _held(order, counts, WEIGHT_LOOPS, _Buffer(tile, task.capacity(buffer), buffer.double_buffered))
        stored = np.where(mask.fits, np.minimum(mask.repeats, stored), stored)
    return _Holdings(weights, stored, inputs, psums, needed, legal)


def _weight_bytes(task: LayerTask) -> float:
    """Return the bytes of one pass over the layer's weights, or over its second activation operand."""
    if task.plan is not None:
        return task.traffic_bits.total / 8
    return task.layer.second_input_elements * task.activation_bits / 8 if task.loads_second else 0.0


def _dram_bytes(task: LayerTask, held: _Holdings, shared: OrderFree) -> Floats:
    """Return the DRAM bytes of each candidate; infinite where it does not fit."""
    dims, bits = task.layer.dims, task.activation_bits
    fraction = task.dram_input_elements / max(1, dims.num_inputs)
    fixed = task.residual_dram_elements * bits / 8
    if task.output_to_dram:
        fixed += (task.layer.num_outputs or dims.num_outputs) * bits / 8
    spilled = 2.0 * np.maximum(held.psums.repeats - 1, 0) * dims.num_outputs * task.hardware.accumulator_bits / 8
    with np.errstate(invalid="ignore"):
        moved = _weight_bytes(task) * held.stored + shared.all_inputs * fraction * held.inputs.repeats * bits / 8
        return np.where(held.legal, moved + spilled + fixed, np.inf)


def score(task: LayerTask, tiles: Candidates, order: tuple[Loop, ...], shared: OrderFree) -> Score:
    """Return the closed-form figures of every candidate in one loop order."""
    dims, hardware, counts = task.layer.dims, task.hardware, shared.counts
    held = _holdings(task, tiles, order, shared)
    dram = _dram_bytes(task, held, shared)
    visits = np.where(held.legal, held.weights.repeats, 1.0)
    array = hardware.pe_array
    if task.regenerates_each_pass and array.dataflow in ("output_stationary", "input_stationary"):
        visits = visits * -(-_pixels(tiles) // (array.rows if array.dataflow == "output_stationary" else array.cols))
    stream = _stream_cycles(task, tiles, counts, order, visits)
    vector = max(task.layer.vector_ops, dims.num_outputs) / hardware.vector_unit.num_lanes
    first = stream / np.maximum(1.0, counts["G"] * counts["K"] * counts["C"] * visits)
    busiest = np.maximum(np.maximum(shared.array_cycles, stream), vector)
    last = vector / (counts["G"] * counts["K"] * counts["N"] * counts["P"] * counts["Q"])
    if not task.is_ideal:
        per_cycle = hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
        tile = _positions(task, tiles) * _weight_bytes(task) / max(1, dims.num_weights)
        first = first + (held.input_bytes + tile) / per_cycle
        busiest = np.maximum(busiest, dram / per_cycle)
    bound = np.maximum(shared.array_cycles + SURE * first + last, vector)
    if not task.is_ideal:
        bound = np.maximum(bound, SURE * dram / per_cycle)
        first = first + CYCLES_PER_STEP * shared.steps
    latency = np.where(held.legal, busiest + first + last, np.inf)
    return Score(held.legal, latency, bound, shared.array_cycles, dram, shared.buffer_bits)
