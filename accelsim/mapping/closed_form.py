"""The closed form: cycles and traffic of many tilings of one layer in all loop orders, without building their steps.

Sums over tiles separate by loop, since a loop has one full tile size and one remainder. The latency is that of the
busiest unit plus the first tile's way to the array and the last one's way out; the simulation adds the waiting between
them. Nothing here depends on the memory's bandwidth until `Score.latency_cycles` is asked for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from accelsim.mapping.candidates import Candidates
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.generation import COUNTER_BASED
from accelsim.mapping.loops import INPUT_LOOPS, LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, WINDOW_LOOPS, Loop
from accelsim.mapping.task import LayerTask
from accelsim.prng.streams import filters_per_stream

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CYCLES_PER_STEP = 2.0  # what a further tile costs in waiting at its edges; between equal tilings, larger tiles win
SURE = 0.95  # halos at the rim of a map make the closed form's traffic up to a twentieth too high
MOST_STEPS = 1 << 16  # a layer is cut into more tiles only if no other tiling fits


@dataclass(frozen=True, slots=True)
class Sure:
    """Work that nothing overlaps, at the least, float64 [num_candidates].

    Before the array's first step the first tile is fetched (its input rows cut by the padding) and decoded, after the
    last one the last tile is worked on by the vector unit and stored.
    """

    decode_cycles: Floats
    weight_bytes: Floats
    input_bytes: Floats
    behind_cycles: Floats
    behind_bytes: Floats

    def take(self, chosen: Ints) -> Sure:
        """Return the figures of some candidates."""
        figures = (self.decode_cycles, self.weight_bytes, self.input_bytes, self.behind_cycles, self.behind_bytes)
        return Sure(*(values[chosen] for values in figures))


@dataclass(frozen=True, slots=True)
class Score:
    """Closed-form figures of tilings, float64 [num_orders, num_candidates] unless said otherwise.

    Attributes
    ----------
    legal
        Whether the tiles fit the buffers, bool.
    busy_cycles
        Of the busiest unit on the chip, memory apart.
    ahead_cycles, ahead_bytes
        What must be made, and fetched, before the array begins.
    behind_cycles
        The last tile's way through the vector unit.
    array_cycles, buffer_bits, steps
        float64 [num_candidates]: of the array; moved through buffer ports; number of tiles.
    vector_cycles
        Of the vector unit in the whole layer.
    sure
        What must be done at the least before the array begins and after it ends.
    """

    legal: Bools
    busy_cycles: Floats
    ahead_cycles: Floats
    ahead_bytes: Floats
    behind_cycles: Floats
    dram_bytes: Floats
    array_cycles: Floats
    buffer_bits: Floats
    steps: Floats
    vector_cycles: float
    sure: Sure

    def latency_cycles(self, bytes_per_cycle: float) -> Floats:
        """Return the latency with a memory of this bandwidth; infinite where the tiles do not fit."""
        moved = np.where(self.legal, self.dram_bytes, 0.0)
        busy = np.maximum(self.busy_cycles, moved / bytes_per_cycle)
        ahead = self.ahead_cycles + self.ahead_bytes / bytes_per_cycle
        waiting = 0.0 if np.isinf(bytes_per_cycle) else CYCLES_PER_STEP * self.steps
        return np.where(self.legal, busy + ahead + self.behind_cycles + waiting, np.inf)

    def take(self, orders: Ints, chosen: Ints) -> Score:
        """Return the figures of some candidates in an order each, as if there were one order."""
        free = (self.array_cycles, self.buffer_bits, self.steps)
        array_cycles, buffer_bits, steps = (values[chosen] for values in free)
        return Score(
            self.legal[orders, chosen][None], self.busy_cycles[orders, chosen][None],
            self.ahead_cycles[orders, chosen][None], self.ahead_bytes[orders, chosen][None],
            self.behind_cycles[orders, chosen][None], self.dram_bytes[orders, chosen][None],
            array_cycles, buffer_bits, steps, self.vector_cycles, self.sure.take(chosen),
        )  # fmt: skip

    def bound_cycles(self, bytes_per_cycle: float, idle_cycles: int | None) -> Floats:
        """Return what the latency cannot fall below.

        Behind another layer weights may be there already, fetched in the ``idle_cycles`` since the memory was last used
        for that layer; None: nothing runs before.
        """
        sure = self.sure
        ahead = SURE * sure.input_bytes / bytes_per_cycle
        if idle_cycles is None:
            ahead = np.maximum(sure.decode_cycles, ahead + SURE * sure.weight_bytes / bytes_per_cycle)
        through = self.array_cycles + ahead + sure.behind_cycles + sure.behind_bytes / bytes_per_cycle
        return np.maximum(
            np.maximum(through, self.vector_cycles), SURE * self.dram_bytes / bytes_per_cycle - (idle_cycles or 0)
        )


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


@dataclass(frozen=True, slots=True)
class _Nests:
    """The loops of all orders, without those that no candidate splits.

    ``counts`` float64 [num_orders, num_loops, num_candidates]; ``before`` [num_orders, num_loops + 1, ...]: how often
    the loops before a position turn; ``loops`` names them.
    """

    loops: tuple[tuple[Loop, ...], ...]
    counts: Floats
    before: Floats


def _nests(orders: tuple[tuple[Loop, ...], ...], counts: dict[Loop, Ints]) -> _Nests:
    split = [loop for loop in LOOPS if bool((counts[loop] > 1).any())]
    loops = tuple(tuple(loop for loop in order if loop in split) for order in orders)
    num = counts["K"].size
    table = np.array([counts[loop] for loop in split], dtype=np.float64).reshape(len(split), num)
    chosen = np.array([[split.index(loop) for loop in order] for order in loops], dtype=np.int64)
    nested = table[chosen.reshape(len(orders), len(split))]
    before = np.ones((len(orders), len(split) + 1, num))
    np.cumprod(nested, axis=1, out=before[:, 1:])
    return _Nests(loops, nested, before)


def _repeats(nests: _Nests, relevant: frozenset[str], buffer: _Buffer) -> Floats:
    """Return how often an operand is fetched over once, [num_orders, n]; infinite where not even one tile fits.

    Of all positions in the loop order from which it may be held, that with the fewest fetches that fits is taken.
    """
    indexes = np.array([[loop in relevant for loop in order] for order in nests.loops], dtype=bool)
    own = np.where(indexes.reshape(*nests.counts.shape[:2], 1), nests.counts, 1.0)
    block = np.ones_like(nests.before)
    block[:, :-1] = np.cumprod(own[:, ::-1], axis=1)[:, ::-1]
    need = buffer.tile * block
    if buffer.double:
        need = np.where(nests.before > 1, 2 * need, need)
    fits = need <= buffer.capacity
    if buffer.only_tile:
        fits &= block == 1
    repeats: Floats = np.where(fits, nests.before * block / block[:, :1], np.inf).min(axis=1)
    return repeats


def _span(tile: Ints, extent: int) -> list[tuple[Ints, Ints]]:
    """Return (tile size, number of such tiles) for the full and the remainder tiles of a loop."""
    count = -(-extent // tile)
    rest = extent - tile * (count - 1)
    return [(tile, count - 1), (rest, np.ones_like(tile))]


def _unskipped(task: LayerTask) -> float:
    """Return the fraction of weight and activation steps that zero skipping leaves at the least: without imbalance."""
    array, left = task.hardware.pe_array, 1.0
    if array.zero_weights == "skip" and task.plan is not None:
        left *= task.plan.num_nonzero / task.layer.dims.num_weights
    return left * task.layer.input_density if array.zero_activations == "skip" else left


def _array_totals(task: LayerTask, tiles: Candidates) -> tuple[Floats, Floats]:
    """Return array cycles and buffer bits, summed over the two sizes of each of the loops that are really split."""
    dims, hardware = task.layer.dims, task.hardware
    spans = {loop: _span(tiles.size[loop], getattr(dims, loop)) for loop in LOOPS}
    cycles, bits = np.zeros(tiles.num), np.zeros(tiles.num)
    once, left = 0, _unskipped(task)
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
            size["N"], size["G"], size["K"], size["C"], size["P"], size["Q"], dims.R * dims.S, dims.R, dims.S,
            dims.stride,
        )  # fmt: skip
        work = array_work(hardware.pe_array, tile)
        time = left * work.compute_cycles + work.fill_drain_cycles + hardware.pe_array.pipeline_latency_cycles
        reads = left * work.input_reads * task.activation_bits
        psums = left * (work.psum_writes + work.psum_reads) * hardware.accumulator_bits
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
    task: LayerTask, tiles: Candidates, counts: dict[Loop, Ints], nests: _Nests, visits: Floats
) -> Floats:
    """Return the cycles of the slower of generator and decoder for all visits of all weight tiles."""
    dims, hardware = task.layer.dims, task.hardware
    positions = dims.num_weights * visits
    cycles = np.zeros_like(visits)
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
    per_stream = filters_per_stream(source, task.layer.weights.shape if task.layer.weights is not None else (1,))
    streams = -(-filters // per_stream)
    # The lanes of a counter-based generator share all words evenly; those of others take whole streams, in rounds.
    lanes, rounds, discards = np.full(tiles.num, generator.num_lanes), np.ones(tiles.num), np.zeros_like(visits)
    if source.generator not in COUNTER_BASED:
        lanes = np.minimum(generator.num_lanes, streams)
        rounds = -(-streams // lanes) * lanes / streams
        taken = np.minimum(filters, per_stream)
        discards = _discards(counts, nests, taken, per_stream, streams <= lanes)
        if source.seeds == "jump":  # over what lies before a part, where that is faster than to walk
            together = np.where((counts["C"] > 1) & (taken > 1), 1, taken)
            part_words = together * (dims.num_weights / (dims.G * dims.K)) / counts["C"] * words
            discards = np.minimum(discards, generator.jump_cycles * generator.words_per_lane_per_cycle / part_words)
    made = positions * words * (1.0 + discards) * rounds / (lanes * generator.words_per_lane_per_cycle)
    slower: Floats = np.maximum(cycles, made)
    return slower


def _discards(counts: dict[Loop, Ints], nests: _Nests, filters: Ints, per_stream: int, has_lane: Bools) -> Floats:
    """Return the words that a sequential generator throws away for each that it uses, [num_orders, n].

    ``filters`` of a stream's ``per_stream`` lie in a tile; ``has_lane`` where each stream of a tile has a lane of its
    own. The rules are those of `accelsim.mapping.generation`: a tile behind the last one made is reached from the seed.
    """
    parts = counts["C"]
    inner_c = np.array([[_is_innermost(order, "C")] for order in nests.loops])
    # One filter of a stream: its parts follow each other, or each is reached through those before it.
    single = np.where((parts > 1) & ~(has_lane & inner_c), (parts - 1) / 2, 0.0)
    # Several: every part walks through the others of all filters.
    through = np.where(filters > 1, parts - 1.0, single)
    # Tiles further on in a shared stream: those before are walked again, if the seed is where the walk begins.
    restarts = ~has_lane | (parts > 1)
    before = np.where(restarts, (per_stream / filters - 1.0) / 2 * parts, 0.0)
    total: Floats = through + before
    return total


def _is_innermost(order: tuple[Loop, ...], loop: Loop) -> bool:
    """Return whether K and P, as far as they are split, stand outside of a loop."""
    return loop in order and all(order.index(other) < order.index(loop) for other in ("K", "P") if other in order)


@dataclass(frozen=True, slots=True)
class _Holdings:
    """Repeated fetches of each operand, [num_orders, n]; ``stored``: of stored bits, which may be held for longer."""

    weights: Floats
    stored: Floats
    inputs: Floats
    psums: Floats
    legal: Bools


def _positions(task: LayerTask, tiles: Candidates) -> Floats:
    window = task.layer.dims.R * task.layer.dims.S
    return (tiles.size["G"] * tiles.size["K"] * tiles.size["C"] * window).astype(np.float64)


def _pixels(tiles: Candidates) -> Ints:
    return tiles.size["N"] * tiles.size["P"] * tiles.size["Q"]


def _buffers(task: LayerTask, tiles: Candidates, tile_inputs: Floats) -> tuple[_Buffer, _Buffer, _Buffer]:
    """Return where weights, partial sums and inputs may be held, and what their tiles take there."""
    dims, hardware, bits = task.layer.dims, task.hardware, task.activation_bits
    outputs = (tiles.size["G"] * tiles.size["K"] * _pixels(tiles)).astype(np.float64)
    staged = 2 * outputs * task.residual_dram_elements / dims.num_outputs * bits / 8
    if task.output_to_dram:
        staged = staged + 2 * outputs * max(1, task.layer.num_outputs) / dims.num_outputs * bits / 8
    needed = tile_inputs * bits / 8 if task.dram_input_elements else np.zeros(tiles.num)
    weight, sums, held = hardware.weight_buffer, hardware.accumulator, hardware.activation_buffer
    return (
        _Buffer(
            _positions(task, tiles) * task.weight_bits / 8, task.capacity(weight), weight.double_buffered,
            task.regenerates_each_pass,
        ),
        _Buffer(outputs * hardware.accumulator_bits / 8, task.capacity(sums), sums.double_buffered),
        _Buffer(needed, task.activation_capacity_bytes - staged, held.double_buffered),
    )  # fmt: skip


def that_may_fit(task: LayerTask, tiles: Candidates) -> Candidates:
    """Return the candidates of which one tile of each operand fits its buffer."""
    counts = _counts(task, tiles)
    fits: Bools = np.ones(tiles.num, dtype=bool)
    for buffer in _buffers(task, tiles, _input_elements(task, tiles, counts)[0]):
        fits &= buffer.tile <= buffer.capacity
    return tiles if bool(fits.all()) else tiles.take(fits)


def _holdings(task: LayerTask, tiles: Candidates, nests: _Nests, tile_inputs: Floats, steps: Floats) -> _Holdings:
    """Return how each candidate holds its operands, and whether they fit."""
    of_weights, of_sums, of_inputs = _buffers(task, tiles, tile_inputs)
    weights = _repeats(nests, WEIGHT_LOOPS, of_weights)
    psums = _repeats(nests, OUTPUT_LOOPS, of_sums)
    inputs = _repeats(nests, INPUT_LOOPS, of_inputs)
    legal = np.isfinite(weights) & np.isfinite(psums) & np.isfinite(inputs)
    few = legal & (steps <= MOST_STEPS)
    legal = np.where(few.any(axis=1, keepdims=True), few, legal)
    stored = weights
    if task.decodes:
        bits, buffer = task.traffic_bits, task.hardware.mask_buffer
        tile = _positions(task, tiles) * (bits.mask + bits.index + bits.weight) / task.layer.dims.num_weights / 8
        mask = _repeats(nests, WEIGHT_LOOPS, _Buffer(tile, task.capacity(buffer), buffer.double_buffered))
        stored = np.minimum(mask, weights)
    return _Holdings(weights, stored, inputs, psums, legal)


def _weight_bytes(task: LayerTask) -> float:
    """Return the bytes of one pass over the layer's weights, or over its second activation operand."""
    if task.plan is not None:
        return task.traffic_bits.total / 8
    return task.layer.second_input_elements * task.activation_bits / 8 if task.loads_second else 0.0


def _dram_bytes(task: LayerTask, held: _Holdings, all_inputs: Floats) -> Floats:
    """Return the DRAM bytes of each candidate; infinite where it does not fit."""
    dims, bits = task.layer.dims, task.activation_bits
    fraction = task.dram_input_elements / max(1, dims.num_inputs)
    fixed = task.residual_dram_elements * bits / 8
    if task.output_to_dram:
        fixed += (task.layer.num_outputs or dims.num_outputs) * bits / 8
    spilled = 2.0 * np.maximum(held.psums - 1, 0) * dims.num_outputs * task.hardware.accumulator_bits / 8
    with np.errstate(invalid="ignore"):
        moved = _weight_bytes(task) * held.stored + all_inputs * fraction * held.inputs * bits / 8
        return np.where(held.legal, moved + spilled + fixed, np.inf)


def _sure(task: LayerTask, tiles: Candidates, counts: dict[Loop, Ints]) -> Sure:
    dims, hardware, bits = task.layer.dims, task.hardware, task.activation_bits
    inputs = (tiles.size["N"] * tiles.size["G"] * tiles.size["C"]).astype(np.float64)
    last = np.ones(tiles.num)
    for loop in ("N", "G", "K", "P", "Q"):
        last = last * (getattr(dims, loop) - tiles.size[loop] * (counts[loop] - 1))
    for loop, kernel, extent, axis in (("P", dims.R, dims.H, 0), ("Q", dims.S, dims.W, 1)):
        span = (kernel - 1) * dims.dilation[axis] + 1
        size = tiles.size[loop]  # type: ignore[index]
        window = np.minimum((size - 1) * dims.stride[axis] + span - dims.padding[axis], size * span)
        inputs = inputs * np.clip(window, 0, extent)
    positions, decoder, none = _positions(task, tiles), hardware.mask_decoder, np.zeros(tiles.num)
    decoded = positions / decoder.positions_per_cycle if task.decodes and decoder is not None else none
    of_output = bits / 8 * min(1.0, (task.layer.num_outputs or dims.num_outputs) / dims.num_outputs)
    ops = max(task.layer.vector_ops, dims.num_outputs) / dims.num_outputs
    return Sure(
        decode_cycles=decoded,
        weight_bytes=positions * _weight_bytes(task) / max(1, dims.num_weights),
        input_bytes=inputs * task.dram_input_elements / max(1, dims.num_inputs) * bits / 8,
        behind_cycles=last * ops / hardware.vector_unit.num_lanes,
        behind_bytes=last * of_output if task.output_to_dram else none,
    )


def score(task: LayerTask, tiles: Candidates, orders: tuple[tuple[Loop, ...], ...]) -> Score:
    """Return the closed-form figures of every candidate in every loop order."""
    dims, hardware, counts = task.layer.dims, task.hardware, _counts(task, tiles)
    array_cycles, buffer_bits = _array_totals(task, tiles)
    tile_inputs, all_inputs = _input_elements(task, tiles, counts)
    steps = np.prod([counts[loop] for loop in LOOPS], axis=0).astype(np.float64)
    nests = _nests(orders, counts)
    held = _holdings(task, tiles, nests, tile_inputs, steps)
    visits = np.where(held.legal, held.weights, 1.0)
    array = hardware.pe_array
    if task.regenerates_each_pass and array.dataflow in ("output_stationary", "input_stationary"):
        visits = visits * -(-_pixels(tiles) // (array.rows if array.dataflow == "output_stationary" else array.cols))
    stream = _stream_cycles(task, tiles, counts, nests, visits)
    vector = max(task.layer.vector_ops, dims.num_outputs) / hardware.vector_unit.num_lanes
    outputs = counts["G"] * counts["K"] * counts["N"] * counts["P"] * counts["Q"]
    tile_bytes = _positions(task, tiles) * _weight_bytes(task) / max(1, dims.num_weights)
    tile_bytes = tile_bytes + (tile_inputs * task.activation_bits / 8 if task.dram_input_elements else 0.0)
    return Score(
        legal=held.legal,
        busy_cycles=np.maximum(np.maximum(array_cycles, stream), vector),
        ahead_cycles=stream / np.maximum(1.0, counts["G"] * counts["K"] * counts["C"] * visits),
        ahead_bytes=np.broadcast_to(tile_bytes, visits.shape),
        behind_cycles=np.broadcast_to(vector / outputs, visits.shape),
        dram_bytes=_dram_bytes(task, held, all_inputs),
        array_cycles=array_cycles,
        buffer_bits=buffer_bits,
        steps=steps,
        vector_cycles=vector,
        sure=_sure(task, tiles, counts),
    )
