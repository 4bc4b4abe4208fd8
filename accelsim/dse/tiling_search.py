"""The tiling of each array layer that the chip's objective likes best, all tilings of all layers side by side.

The latency of a tiling is the largest of what no schedule can beat: the array's own time, the work of memory, decoder
and generator, and, for what arrives (or leaves) in a part of the layer only, that work plus the array's time for the
rest. A weight buffer that holds all weights of a layer, for instance, is filled while the first output positions are
computed: the array then waits for the decoder although this has less to do than the array in the layer as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.dse.generation_form import generation
from accelsim.dse.tile_table import HoldTable, TileTable, least_tilings, skipped_fractions, tile_table
from accelsim.mapping.closed_form import CYCLES_PER_STEP, MOST_STEPS
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.generation import COUNTER_BASED
from accelsim.mapping.mapper import EnergyPrices
from accelsim.mapping.task import LayerTask

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layers:
    """Figures of the array layers, float64 [layers]: of the layer, its plan, and where its tensors live."""

    activation_bits: Floats
    weight_bits: Floats
    fetched_bits: Floats
    decoded_bits: Floats
    num_weights: Floats
    density: Floats
    symbols: Floats
    reads_inputs: Floats
    input_fraction: Floats
    stored_elements: Floats
    written_elements: Floats
    residual_dram_elements: Floats
    capacity_bytes: Floats
    staged_per_output: Floats
    vector_ops: Floats
    num_outputs: Floats
    regenerates: Floats
    is_coded: Floats


def layer_figures(tasks: list[LayerTask]) -> Layers:
    """Return the figures of the array layers."""
    rows = []
    for task in tasks:
        dims, plan, bits = task.layer.dims, task.plan, task.activation_bits
        traffic = task.traffic_bits
        second = task.layer.second_input_elements * bits if task.loads_second else 0
        written = task.layer.num_outputs or dims.num_outputs
        staged = 2 * max(1, task.layer.num_outputs) / dims.num_outputs if task.output_to_dram else 0.0
        staged += 2 * task.residual_dram_elements / dims.num_outputs
        rows.append((
            bits, task.weight_bits, traffic.total if plan is not None else second,
            (traffic.mask + traffic.index + traffic.weight) if task.decodes else 0,
            dims.num_weights, plan.num_nonzero / dims.num_weights if plan is not None else 1.0,
            plan.decoder_symbols if plan is not None else 0, 1.0 if task.dram_input_elements else 0.0,
            task.dram_input_elements / max(1, dims.num_inputs), written if task.output_to_dram else 0, written,
            task.residual_dram_elements, task.activation_capacity_bytes, staged * bits / 8,
            max(task.layer.vector_ops, dims.num_outputs), dims.num_outputs, float(task.regenerates_each_pass),
            float(plan is not None and plan.decoder in VARIABLE_LENGTH),
        ))  # fmt: skip
    return Layers(*np.array(rows, dtype=np.float64).reshape(-1, 18).T)


@dataclass(frozen=True, slots=True)
class Best:
    """The chosen tiling of each array layer, float64 [layers]; latency is infinite where none fits.

    ``passes`` over the weights in all (visits of a tile times passes within a visit); ``fetches`` of the stored bits;
    ``input_bytes`` that inputs take from DRAM; ``spills``: how often partial sums leave the chip; ``slots``: fraction
    of the multiply-accumulates that zero skipping leaves to the array.
    """

    latency: Floats
    dram_bytes: Floats
    passes: Floats
    fetches: Floats
    input_bytes: Floats
    spills: Floats
    input_reads: Floats
    weight_reads: Floats
    psum_writes: Floats
    psum_reads: Floats
    slots: Floats
    words: Floats
    discarded: Floats
    seeds: Floats
    jumps: Floats


@dataclass(frozen=True, slots=True)
class _Held:
    """How an operand is held, float64 [orders, n]: fetches (infinite: it does not fit), loads, tiles, and when."""

    fetches: Floats
    loads: Floats
    tiles: Floats
    late: Floats
    ready: Floats


@dataclass(frozen=True, slots=True)
class _Space:
    """Everything that tilings of a network on a chip are judged by."""

    hardware: HardwareConfig
    tasks: list[LayerTask]
    layers: Layers
    table: TileTable
    left: Floats

    @property
    def is_ideal(self) -> bool:
        return self.hardware.memory == "ideal"

    def of_tile(self, figures: Floats) -> Floats:
        """Return figures of the layers, for each tiling."""
        return figures[self.table.layer]


def best_tilings(hardware: HardwareConfig, tasks: list[LayerTask], layers: Layers, prices: EnergyPrices) -> Best:
    """Return the best tiling of each layer, from the short table or, where nothing fits, from the long one."""
    if not tasks:
        return Best(*[np.zeros(0)] * 15)
    key = tuple((task.layer.dims, task.layer.kind) for task in tasks)
    array_json = hardware.pe_array.model_dump_json()
    densities = tuple(layers.density.tolist()), tuple(task.layer.input_density for task in tasks)

    def found(is_short: bool) -> Best:
        table = tile_table(key, array_json, is_short)
        left = skipped_fractions(key, array_json, is_short, densities)
        with np.errstate(invalid="ignore"):  # a tiling that does not fit is infinite: infinity x 0 is not a number
            return _search(_Space(hardware, tasks, layers, table, left), prices)

    best = found(True)
    return best if np.isfinite(best.latency).all() else found(False)


def _held(table: HoldTable, tile_bytes: Floats, room: Floats, buffer: BufferConfig, only_tile: Floats | None) -> _Held:
    """Return for each tiling and order the way with the fewest fetches that fits."""
    held = table.double if buffer.double_buffered else table.single
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = np.where(tile_bytes > 0, room / np.maximum(tile_bytes, 1e-30), np.where(room >= 0, np.inf, -1.0))
    fits = held <= tiles.astype(np.float32) * np.float32(1 + 1e-6)
    if only_tile is not None:
        fits &= (table.single == 1) | (only_tile == 0)
    every = np.where(fits, table.fetches, np.float32(np.inf))
    way = every.argmin(axis=1)
    orders, ways, num = every.shape
    places = (np.arange(orders)[:, None] * ways + way) * num + np.arange(num)

    def taken(values: npt.NDArray[np.float32]) -> Floats:
        figures: Floats = values.reshape(-1)[places].astype(np.float64)
        return figures

    return _Held(
        taken(every), taken(table.loads), taken(table.single), taken(table.late), taken(table.ready),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Holdings:
    """How operands are held, [orders, n]; ``stored``: fetches of stored bits, which the mask buffer may hold longer."""

    weights: _Held
    inputs: _Held
    psums: _Held
    stored: Floats


def _holdings(space: _Space) -> _Holdings:
    hardware, layers, table = space.hardware, space.layers, space.table

    def room(buffer: BufferConfig) -> Floats:
        return np.full(table.layer.size, float("inf") if space.is_ideal else float(buffer.capacity_bytes))

    only_tile = space.of_tile(layers.regenerates) if layers.regenerates.any() else None
    tile = table.positions * space.of_tile(layers.weight_bits) / 8
    weights = _held(table.weights, tile, room(hardware.weight_buffer), hardware.weight_buffer, only_tile)
    sums = table.outputs * hardware.accumulator_bits / 8
    psums = _held(table.psums, sums, room(hardware.accumulator), hardware.accumulator, None)
    needed = table.tile_inputs * space.of_tile(layers.activation_bits * layers.reads_inputs) / 8
    free = space.of_tile(layers.capacity_bytes) - table.outputs * space.of_tile(layers.staged_per_output)
    inputs = _held(table.inputs, needed, free, hardware.activation_buffer, None)
    stored = weights.fetches
    if layers.decoded_bits.any():
        share = table.positions * space.of_tile(layers.decoded_bits / layers.num_weights) / 8
        mask = _held(table.weights, share, room(hardware.mask_buffer), hardware.mask_buffer, None)
        stored = np.minimum(weights.fetches, mask.fetches)
    return _Holdings(weights, inputs, psums, stored)


@dataclass(frozen=True, slots=True)
class _Moved:
    """DRAM bytes, [orders, n] or [n]: weights, inputs, partial sums, and what is read and written once."""

    weights: Floats
    inputs: Floats
    spills: Floats
    residual: Floats
    stored: Floats

    @property
    def total(self) -> Floats:
        return self.weights + self.inputs + self.spills + self.residual + self.stored


def _moved(space: _Space, held: _Holdings) -> _Moved:
    layers, act = space.layers, space.layers.activation_bits / 8
    spilled = 2.0 * np.maximum(held.psums.fetches - 1, 0)
    return _Moved(
        weights=space.of_tile(layers.fetched_bits) / 8 * held.stored,
        inputs=space.table.all_inputs * space.of_tile(layers.input_fraction * act) * held.inputs.fetches,
        spills=spilled * space.of_tile(layers.num_outputs) * (space.hardware.accumulator_bits / 8),
        residual=space.of_tile(layers.residual_dram_elements * act),
        stored=space.of_tile(layers.stored_elements * act),
    )


def _passes(space: _Space) -> Floats:
    """Return how often a tile's weights are made within a visit, [n]: once for each fold of a streaming dataflow."""
    array, table = space.hardware.pe_array, space.table
    if array.dataflow not in ("output_stationary", "input_stationary") or not space.layers.regenerates.any():
        return np.ones_like(table.pixels)
    lanes = array.rows if array.dataflow == "output_stationary" else array.cols
    folds = np.ceil(table.pixels / lanes)
    return np.where(space.of_tile(space.layers.regenerates) > 0, folds, 1.0)


def _array_cycles(space: _Space, held: _Holdings, passes: Floats, moved: _Moved) -> Floats:
    """Return the array's cycles, [orders, n], bounded from below by the ports of the buffers."""
    table, layers, hardware = space.table, space.layers, space.hardware
    cycles: Floats = table.compute * space.left + table.fill + table.once
    if space.is_ideal:
        return np.broadcast_to(cycles, held.stored.shape)
    act, acc = space.of_tile(layers.activation_bits), hardware.accumulator_bits
    outputs, filled = space.of_tile(layers.num_outputs), held.weights.fetches * passes
    results = space.of_tile((layers.written_elements + layers.stored_elements) * layers.activation_bits)
    parts = np.maximum(table.counts["C"] - 1, 0)
    ports = (
        (table.input_reads * space.left * act, 8 * (moved.inputs + 2 * moved.residual) + results,
         hardware.activation_buffer, 1.0),
        (table.weight_reads * space.of_tile(layers.weight_bits),
         filled * space.of_tile(layers.num_weights * layers.weight_bits), hardware.weight_buffer,
         np.minimum(1.0, held.weights.fetches * table.weight_tiles / table.steps)),
        (((table.psum_writes + table.psum_reads) * space.left + outputs * parts) * acc,
         outputs * acc + 8 * moved.spills, hardware.accumulator, 1.0),
    )  # fmt: skip
    bound = cycles
    for own, others, buffer, share in ports:
        width = buffer.port_bits_per_cycle
        apart = np.maximum(cycles, own / width)
        beside = np.maximum(cycles, (own + others / share) / width)
        bound = np.maximum(bound, share * beside + (1 - share) * apart)
    return bound


def _decoding(space: _Space, held: _Holdings, passes: Floats) -> Floats:
    """Return the decoder's cycles, [orders, n], bounded from below by the ports of the mask buffer."""
    table, layers, decoder = space.table, space.layers, space.hardware.mask_decoder
    if decoder is None or not layers.decoded_bits.any():
        return np.zeros_like(held.stored)
    tiles = table.weight_tiles
    each = np.maximum(space.of_tile(layers.num_weights) / decoder.positions_per_cycle, tiles)
    coded = space.of_tile(layers.symbols * layers.is_coded) / decoder.symbols_per_cycle
    each = np.maximum(each, coded) * space.of_tile((layers.decoded_bits > 0).astype(np.float64))
    visits = held.weights.fetches
    if space.is_ideal:
        return each * visits * passes
    port = space.of_tile(layers.decoded_bits) / space.hardware.mask_buffer.port_bits_per_cycle
    twice = held.stored / visits
    cycles: Floats = np.maximum(each, port * (1 + twice)) * visits * passes
    return cycles


@dataclass(frozen=True, slots=True)
class _Made:
    """The generator's work in the whole layer, [orders, n]; cycles without those that overlap with nothing."""

    cycles: Floats
    work: tuple[Floats, Floats, Floats, Floats]


def _generation(space: _Space, held: _Holdings, passes: Floats) -> _Made:
    generator = space.hardware.weight_generator
    sources = [task.plan.source for task in space.tasks if task.plan is not None and task.plan.source is not None]
    if generator is None or not sources:
        none = np.zeros_like(held.stored)
        return _Made(none, (none, none, none, none))
    first, later = generation(space.tasks, generator, space.table, sources[0].generator in COUNTER_BASED)
    visits = held.weights.fetches

    def total(name: str) -> Floats:
        values: Floats = visits * (getattr(first, name) + (passes - 1) * getattr(later, name))
        return values

    names = ("words", "discarded", "seeds", "jumps")
    words, discarded, seeds, jumps = (total(name) for name in names)
    return _Made(total("cycles"), (words, discarded, seeds, jumps))


@dataclass(frozen=True, slots=True)
class _Work:
    """What latency follows from: cycles of each unit in the whole layer, and when operands come and go.

    ``first_*``: what the array waits for before its first step; ``last``: what follows its last one. Arrays are
    [orders, n] of tilings, or [layers] of the chosen ones.
    """

    array: Floats
    made: Floats
    vector: Floats
    weights: Floats
    inputs: Floats
    stores: Floats
    others: Floats
    first_weights: Floats
    first_made: Floats
    first_inputs: Floats
    last: Floats
    loads_w: Floats
    late_w: Floats
    tiles_w: Floats
    loads_i: Floats
    late_i: Floats
    tiles_i: Floats
    ready: Floats
    tiles_o: Floats

    def take(self, order: Ints, chosen: Ints) -> _Work:
        """Return the work of the chosen tilings."""
        shape = self.array.shape
        return _Work(*(
            np.broadcast_to(getattr(self, field.name), shape)[order, chosen] for field in fields(self)
        ))  # fmt: skip


def _work(space: _Space, held: _Holdings, moved: _Moved, made: Floats, array: Floats) -> _Work:
    table, layers, hardware = space.table, space.layers, space.hardware
    rate = np.inf if space.is_ideal else hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
    vector = space.of_tile(layers.vector_ops) / hardware.vector_unit.num_lanes
    weights, stores = moved.weights / rate, moved.stored / rate
    needed = table.tile_inputs * space.of_tile(layers.activation_bits * layers.reads_inputs) / 8 / rate
    waiting = 0.0 if space.is_ideal else CYCLES_PER_STEP * table.steps
    fetched = np.maximum(1.0, table.weight_tiles * held.stored)
    used = np.maximum(1.0, table.weight_tiles * held.weights.fetches)
    return _Work(
        array=array, made=made, vector=vector, weights=weights, inputs=moved.inputs / rate, stores=stores,
        others=(moved.spills + moved.residual) / rate, first_weights=weights / fetched, first_made=made / used,
        first_inputs=needed, last=(vector + stores) / table.output_tiles + waiting,
        loads_w=held.weights.loads, late_w=held.weights.late, tiles_w=held.weights.tiles,
        loads_i=held.inputs.loads, late_i=held.inputs.late, tiles_i=held.inputs.tiles,
        ready=held.psums.ready / held.psums.loads, tiles_o=held.psums.tiles,
    )  # fmt: skip


def _exposed(work: Floats, array: Floats, by: tuple[Floats, Floats, Floats], is_double: bool, done: Floats) -> Floats:
    """Return the least time of array and the work that brings an operand, given its loads, ``late`` and tiles.

    The last tile of a load is there when its work is done; the array then has yet to do all that follows. Behind a
    double buffer this can be seen in the first load alone, the others arrive during the load before. Of the first load
    ``done`` cycles were done before.
    """
    loads, late, tiles = by
    if is_double:
        return np.maximum(work / loads - done, 0) + (1 - late / loads) * array
    return np.maximum(np.maximum(work - done, 0) + (1 - late) * array, array + np.maximum(work - done, 0) / tiles)


def _latency(hardware: HardwareConfig, work: _Work, fetched: Floats, made: Floats) -> Floats:
    """Return the latency of each tiling, [orders, n].

    Parameters
    ----------
    fetched, made
        Cycles of fetching and of making the first load's weights that were done before the layer begins.
    """
    of_weights, of_inputs = (work.loads_w, work.late_w, work.tiles_w), (work.loads_i, work.late_i, work.tiles_i)
    double, array = hardware.weight_buffer.double_buffered, work.array
    fetch = np.maximum(work.first_weights - fetched, 0)
    ahead = np.maximum(fetch + np.maximum(work.first_made - made, 0), work.first_inputs)
    busy = np.maximum(array, work.vector + work.ready * array)
    if not hardware.accumulator.double_buffered:
        busy = np.maximum(busy, array + work.vector / work.tiles_o)
    busy = np.maximum(busy, work.stores + work.ready * array) + ahead
    busy = np.maximum(busy, np.maximum(_exposed(work.made, array, of_weights, double, made), work.made - made) + fetch)
    by_w, by_i = work.late_w / work.loads_w, work.late_i / work.loads_i
    first_w, first_i = np.maximum(work.weights / work.loads_w - fetched, 0), work.inputs / work.loads_i
    beside_w = first_i * np.minimum(1.0, by_w / np.maximum(by_i, 1e-9))
    beside_i = first_w * np.minimum(1.0, by_i / np.maximum(by_w, 1e-9))
    busy = np.maximum(
        busy, np.maximum(first_w + beside_w + (1 - by_w) * array, first_i + beside_i + (1 - by_i) * array)
    )
    if not double:
        busy = np.maximum(busy, _exposed(work.weights, array, of_weights, False, fetched))
    if not hardware.activation_buffer.double_buffered:
        busy = np.maximum(busy, _exposed(work.inputs, array, of_inputs, False, np.zeros(1)))
    total = work.weights + work.inputs + work.stores + work.others - fetched
    latency: Floats = np.maximum(busy, total) + work.last
    return latency


def _chained(space: _Space, work: _Work, occupied: Floats) -> Floats:
    """Return the latency of the chosen tilings one after the other, [layers].

    A layer's first load of weights is fetched, and made, from when the layer before has taken its last weights, if
    there is room for it beside them.
    """
    hardware, none = space.hardware, np.zeros_like(work.array)
    latency = _latency(hardware, work, none, none)
    if not hardware.mapping.prefetch_next_layer or latency.size < 2:
        return latency
    room = np.inf if space.is_ideal else hardware.weight_buffer.capacity_bytes
    fits = (occupied[:-1] + occupied[1:] <= room) | (np.maximum(occupied[:-1], occupied[1:]) <= room / 2)
    rest = (1 - work.late_w) / work.loads_w
    traffic = work.inputs + work.stores + work.others
    idle, free = rest * latency, rest * np.maximum(latency - traffic, 0)
    made, fetched = none.copy(), none.copy()
    made[1:] = np.where(fits, np.minimum(idle[:-1], (work.made / work.loads_w)[1:]), 0)
    fetched[1:] = np.where(fits, np.minimum(free[:-1], (work.weights / work.loads_w)[1:]), 0)
    return _latency(hardware, work, fetched, made)


def _search(space: _Space, prices: EnergyPrices) -> Best:
    table, layers = space.table, space.layers
    held = _holdings(space)
    passes = _passes(space)
    moved = _moved(space, held)
    array = _array_cycles(space, held, passes, moved)
    made = _generation(space, held, passes)
    work = _work(space, held, moved, np.maximum(_decoding(space, held, passes), made.cycles), array)
    none = np.zeros(1)
    latency = np.broadcast_to(_latency(space.hardware, work, none, none), held.stored.shape)
    legal = np.isfinite(held.weights.fetches) & np.isfinite(held.inputs.fetches) & np.isfinite(held.psums.fetches)
    legal &= np.isfinite(latency) & (table.steps <= MOST_STEPS)
    dram = moved.total
    copies = np.where(held.weights.loads > 1, 2, 1) if space.hardware.weight_buffer.double_buffered else 1
    occupied = table.positions * space.of_tile(layers.weight_bits) / 8 * held.weights.tiles * copies
    value = np.where(legal, _objective(space, latency, dram, prices), np.inf)
    order, chosen = least_tilings(value, np.where(legal, dram, np.inf), np.where(legal, latency, np.inf), table)
    picked = order, chosen

    def at(values: Floats) -> Floats:
        return np.broadcast_to(values, latency.shape)[picked]

    left = space.left[chosen]
    time = _chained(space, work.take(*picked), at(occupied))
    accumulated = layers.num_outputs * (table.counts["C"][chosen] - 1)
    return Best(
        latency=np.where(np.isfinite(value[picked]), time, np.inf),
        dram_bytes=at(dram),
        passes=at(held.weights.fetches * passes),
        fetches=at(held.stored),
        input_bytes=at(moved.inputs),
        spills=at(held.psums.fetches - 1),
        input_reads=table.input_reads[chosen] * left,
        weight_reads=table.weight_reads[chosen],
        psum_writes=table.psum_writes[chosen] * left,
        psum_reads=table.psum_reads[chosen] * left + accumulated,
        slots=left,
        words=at(made.work[0]),
        discarded=at(made.work[1]),
        seeds=at(made.work[2]),
        jumps=at(made.work[3]),
    )


def _objective(space: _Space, latency: Floats, dram: Floats, prices: EnergyPrices) -> Floats:
    """Return what the chip's mapping minimises, [orders, n]."""
    objective = space.hardware.mapping.objective
    if objective == "latency":
        return latency
    if objective == "dram_bytes":
        return dram + 1e-6 * latency
    table, layers = space.table, space.layers
    bits = table.input_reads * space.left * space.of_tile(layers.activation_bits)
    bits = bits + table.weight_reads * space.of_tile(layers.weight_bits)
    bits = bits + (table.psum_writes + table.psum_reads) * space.left * space.hardware.accumulator_bits
    energy = dram * 8 * prices.dram_pj_per_bit + bits * prices.buffer_pj_per_bit
    energy = energy + latency * prices.leakage_pj_per_cycle
    return energy if objective == "energy" else energy * latency
