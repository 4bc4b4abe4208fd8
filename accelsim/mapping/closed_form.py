"""The tiling of each array layer that the chip's objective likes best, all tilings of all layers side by side.

The latency of a tiling is the largest of what no schedule can beat: the array's own time, the work of memory, decoder
and generator, and, for what arrives (or leaves) in a part of the layer only, that work plus the array's time for the
rest. A weight buffer that holds all weights of a layer, for instance, is filled while the first output positions are
computed: the array then waits for the decoder although this has less to do than the array in the layer as a whole.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.build import effective_macs, shifted_bits
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.generation import COUNTER_BASED
from accelsim.mapping.generation_form import generation
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.task import LayerTask
from accelsim.mapping.tile_table import HoldTable, TileTable, Width, least_tilings, skipped_fractions, tile_table
from accelsim.units import ns_to_cycles

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
WIDTHS: tuple[Width, ...] = ("wide", "whole")
ABOUT, LEANEST = 1.005, 2
STATED_ORDERS, SIMPLEST = (0, 1), 9  # K P Q C and P Q K C in `LOOP_ORDERS`
STEP_SHARE = 2e-6
SIMILAR = 12  # tilings that the closed form cannot tell apart come in groups of about this size
MOST_STEPS = 1 << 16  # a layer is cut into more tiles only if no other tiling fits


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
    keeps_rows: Floats
    keeps_columns: Floats


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
    with np.errstate(invalid="ignore"):  # a tiling that does not fit is infinite: infinity x 0 is not a number
        best = _best(_figures(_space(hardware, tasks, layers, "narrow"), prices))
        if np.isfinite(best.latency).all():
            return best
        return _best(_figures(_space(hardware, tasks, layers, "whole"), prices))


@dataclass(frozen=True, slots=True)
class Ranked:
    """A tiling with what the closed form says of it: objective and cycles; the array cannot take less than its own."""

    tiling: Tiling
    value: float
    latency_cycles: float
    array_cycles: float
    is_simple: bool = False


@dataclass(frozen=True, slots=True)
class HeadStart:
    """For how many cycles before a layer's begin units had nothing more to do for the layer before it.

    Since the array had taken its last weight tile, and had ended; since the last request was issued; since decoder and
    generator had ended. ``occupied_bytes`` of the weight buffer are then still in use.
    """

    taken: int
    array: int
    issue: int
    made: int
    occupied_bytes: int


class LayerForm:
    """What the closed form says of all tilings of one layer, but for what a layer before it leaves."""

    def __init__(self, task: LayerTask, prices: EnergyPrices) -> None:
        layers = layer_figures([task])
        with np.errstate(invalid="ignore"):
            for width in WIDTHS:
                self._figures = _figures(_space(task.hardware, [task], layers, width), prices)
                if np.isfinite(self._figures.value).any():
                    break
        self._prices = prices

    def ranked(self, head_start: HeadStart | None, most: int) -> list[Ranked]:
        """Return the tilings that the chip's objective likes best, the best first, behind a layer that ends so."""
        figures, table = self._figures, self._figures.space.table
        latency, value = figures.latency, figures.value
        if head_start is not None:
            with np.errstate(invalid="ignore"):
                latency = _behind(figures, head_start)
                value = np.where(figures.legal, _objective(figures, latency, self._prices), np.inf)
        # Between equals fewer tiles: requests are rounded up to whole cycles, and the solver takes less time.
        flat = (value * (1 + STEP_SHARE * table.steps)).reshape(-1)
        orders = np.repeat(np.arange(value.shape[0]), table.layer.size)
        # What skipping leaves is an expectation here: no bound.
        array = np.where(figures.space.left < 1, 0.0, table.compute + table.fill + table.once)
        near = np.argpartition(flat, min(flat.size - 1, SIMILAR * most))[: SIMILAR * most]
        near = near[np.lexsort((near, flat[near]))]
        # Of what is about as good, also the leanest: more traffic must buy something.
        about = np.flatnonzero(flat <= ABOUT * flat[near[0]])
        dram = np.broadcast_to(figures.dram, value.shape).reshape(-1)
        lean = about[np.lexsort((about, flat[about], dram[about]))][:LEANEST]
        # And of those that a person would state, each size of weights once, so that no simple mapping beats the choice.
        stated = np.tile(table.is_stated > 0, value.shape[0]) & np.isin(orders, STATED_ORDERS)
        simple = np.flatnonzero(stated)
        simple = simple[np.lexsort((simple, flat[simple]))]
        sizes = np.stack([table.sizes[loop] for loop in ("G", "K", "C")])[:, simple % table.layer.size]
        _, first = np.unique(sizes, axis=1, return_index=True)
        simple = simple[np.sort(first)][:SIMPLEST]
        near = np.concatenate([near[:1], lean, simple, near[1:]])
        found: dict[Hashable, Ranked] = {}
        for place in near[np.isfinite(flat[near])].tolist():
            order, chosen = divmod(place, table.layer.size)
            tiling = _tiling(table, chosen, LOOP_ORDERS[order])
            # Orders that differ in loops which are not split, and bands of equal area, are one to the closed form.
            key = flat[place], tiling.G, tiling.K, tiling.C, tiling.N * tiling.P * tiling.Q
            if key not in found:
                figures_of = flat[place], float(latency[order, chosen]), float(array[chosen])
                found[key] = Ranked(tiling, *figures_of, is_simple=bool(stated[place]))
            if len(found) >= most + LEANEST + SIMPLEST:
                break
        return sorted(found.values(), key=lambda ranked: ranked.value)


def _behind(figures: _Figures, start: HeadStart) -> Floats:
    """Return the latency behind another layer, [orders, n]: some of the first load's weights may be there already."""
    space, work = figures.space, figures.work
    hardware, occupied = space.hardware, figures.occupied
    room = np.inf if space.is_ideal else hardware.weight_buffer.capacity_bytes
    fits = (occupied + start.occupied_bytes <= room) | (np.maximum(occupied, start.occupied_bytes) <= room / 2)
    place = np.where(fits, start.taken, start.array)
    decodes = space.layers.decoded_bits[0] > 0  # stored bits have a buffer of their own
    may_fetch = min(start.issue, start.made) if decodes else np.minimum(place, start.issue)
    fetched = np.clip(may_fetch, 0, work.weights / work.loads_w)
    made = np.clip(np.minimum(place, start.made), 0, work.made / work.loads_w)
    shape = figures.value.shape
    return np.broadcast_to(_latency(hardware, work, fetched, made), shape)


def _tiling(table: TileTable, chosen: int, order: tuple[Loop, ...]) -> Tiling:
    size = {loop: int(table.sizes[loop][chosen]) for loop in LOOPS}
    return Tiling(size["N"], size["G"], size["K"], size["C"], size["P"], size["Q"], order)


def _space(hardware: HardwareConfig, tasks: list[LayerTask], layers: Layers, width: Width) -> _Space:
    key = tuple((task.layer.dims, task.layer.kind) for task in tasks)
    array_json = hardware.pe_array.model_dump_json()
    densities = tuple(layers.density.tolist()), tuple(task.layer.input_density for task in tasks)
    table = tile_table(key, array_json, width)
    left = skipped_fractions(key, array_json, width, densities)
    return _Space(hardware, tasks, layers, table, left)


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
        taken(table.keeps_rows), taken(table.keeps_columns),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Holdings:
    """How operands are held, [orders, n]; ``stored*``: stored bits, which the mask buffer may hold for longer."""

    weights: _Held
    inputs: _Held
    psums: _Held
    stored: Floats
    stored_loads: Floats


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
    stored, stored_loads = weights.fetches, weights.loads
    if layers.decoded_bits.any():
        share = table.positions * space.of_tile(layers.decoded_bits / layers.num_weights) / 8
        mask = _held(table.weights, share, room(hardware.mask_buffer), hardware.mask_buffer, None)
        stored = np.minimum(weights.fetches, mask.fetches)
        is_coded = space.of_tile(layers.decoded_bits) > 0
        stored_loads = np.where(is_coded & np.isfinite(mask.fetches), mask.loads, weights.loads)
    return _Holdings(weights, inputs, psums, stored, stored_loads)


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
    table, of = space.table, held.inputs
    rows = table.rows + of.keeps_rows * (table.new_rows - table.rows)
    columns = table.columns + of.keeps_columns * (table.new_columns - table.columns)
    burst = space.hardware.dram.burst_bytes
    every = table.depth * rows * columns * space.of_tile(layers.input_fraction * act) * of.fetches
    input_tiles = table.output_tiles / table.counts["K"] * table.counts["C"]
    return _Moved(
        weights=space.of_tile(layers.fetched_bits) / 8 * held.stored,
        inputs=_in_bursts(every, input_tiles * of.fetches, burst),
        spills=spilled * space.of_tile(layers.num_outputs) * (space.hardware.accumulator_bits / 8),
        residual=_in_bursts(space.of_tile(layers.residual_dram_elements * act), table.output_tiles, burst),
        stored=_in_bursts(space.of_tile(layers.stored_elements * act), table.output_tiles, burst),
    )


def _in_bursts(num_bytes: Floats, requests: Floats, burst_bytes: int) -> Floats:
    """Return the bytes of equal requests, each of whole bursts."""
    with np.errstate(invalid="ignore"):  # what is fetched infinitely often does not fit
        whole: Floats = np.where(num_bytes > 0, np.ceil(num_bytes / requests / burst_bytes - 1e-9) * burst_bytes, 0.0)
        return np.where(np.isfinite(requests), whole * requests, np.inf)


def _passes(space: _Space) -> Floats:
    """Return how often a tile's weights are made within a visit, [n]: once for each fold of a streaming dataflow."""
    array, table = space.hardware.pe_array, space.table
    if array.dataflow not in ("output_stationary", "input_stationary") or not space.layers.regenerates.any():
        return np.ones_like(table.pixels)
    lanes = array.rows if array.dataflow == "output_stationary" else array.cols
    folds = np.ceil(table.pixels / lanes)
    return np.where(space.of_tile(space.layers.regenerates) > 0, folds, 1.0)


def _array_cycles(space: _Space, held: _Holdings, passes: Floats, moved: _Moved) -> Floats:
    """Return the array's cycles, [orders, n], bounded from below by the ports of the buffers.

    Ports bound each step by itself: what others move through them counts in the steps in which they do so. Kinds of
    steps are told apart by fills (a share of the steps), and by the place in a sum: its last part hands the results on.
    """
    table, layers, hardware = space.table, space.layers, space.hardware
    cycles: Floats = table.compute * space.left + table.fill + table.once
    if space.is_ideal:
        return np.broadcast_to(cycles, held.stored.shape)
    act, acc = space.of_tile(layers.activation_bits), hardware.accumulator_bits
    parts = table.counts["C"]

    def bound(bits: Floats, buffer: BufferConfig) -> Floats:
        """Return the cycles if all steps moved as much as ``bits`` in the whole layer."""
        slower: Floats = np.maximum(cycles, bits / buffer.port_bits_per_cycle)
        return slower

    def with_fills(own: Floats, filled: Floats, share: Floats, buffer: BufferConfig) -> Floats:
        return share * bound(own + filled / np.maximum(share, 1e-9), buffer) + (1 - share) * bound(own, buffer)

    weight_buffer, held_in, sums_in = hardware.weight_buffer, hardware.activation_buffer, hardware.accumulator
    filled = held.weights.fetches * passes * space.of_tile(layers.num_weights * layers.weight_bits)
    share = np.minimum(1.0, held.weights.fetches * table.weight_tiles / table.steps)
    of_weights = with_fills(table.weight_reads * space.of_tile(layers.weight_bits), filled, share, weight_buffer)
    reads = table.input_reads * space.left * act
    results = space.of_tile((layers.written_elements + layers.stored_elements) * layers.activation_bits)
    results = (results + 16 * moved.residual) * parts  # as if every part handed on
    input_tiles = table.output_tiles / table.counts["K"] * parts
    share = np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps)
    of_inputs = with_fills(reads + results, 8 * moved.inputs, share, held_in) / parts
    of_inputs = of_inputs + with_fills(reads, 8 * moved.inputs, share, held_in) * (parts - 1) / parts
    own = (table.psum_writes + table.psum_reads) * space.left * acc + 8 * moved.spills
    every = space.of_tile(layers.num_outputs) * parts * acc  # as if every part added to a sum, or handed it on
    alone, middle = bound(own + every, sums_in), bound(own + every, sums_in) * (parts - 2)
    of_sums = (bound(own, sums_in) + middle + bound(own + 2 * every, sums_in)) / parts
    of_sums = np.where(parts > 1, of_sums, alone)
    return np.maximum(np.maximum(of_weights, of_inputs), of_sums)


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


def _making(space: _Space, held: _Holdings, passes: Floats, made: _Made) -> Floats:
    """Return the cycles of the slower of decoder and generator, [orders, n]; their latency is seen once a load."""
    layers, hardware = space.layers, space.hardware
    decoder, generator = hardware.mask_decoder, hardware.weight_generator
    decoded = _decoding(space, held, passes)
    if decoder is not None and layers.decoded_bits.any():
        is_coded = space.of_tile((layers.decoded_bits > 0).astype(np.float64))
        decoded = decoded + decoder.latency_cycles * held.weights.loads * is_coded
    generated = made.cycles
    if generator is not None:
        generated = generated + np.where(made.cycles > 0, generator.latency_cycles * held.weights.loads, 0.0)
    slower: Floats = np.maximum(decoded, generated)
    return slower


@dataclass(frozen=True, slots=True)
class _Work:
    """What latency follows from: cycles of each unit in the whole layer, and when operands come and go.

    ``first_*``: what the array waits for before its first step; ``last_*``: what follows its last one. ``share_*`` of
    the steps fetch weights, and inputs, and wait ``asked_*`` cycles for the first word. ``staged``: results in their
    two places between array and memory. Arrays are [orders, n] of tilings, or [layers] of the chosen ones.
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
    last_vector: Floats
    last_store: Floats
    share_w: Floats
    share_i: Floats
    asked_w: Floats
    asked_i: Floats
    staged: Floats
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
    read, write = _memory_latency(space)
    drain = hardware.vector_unit.latency_cycles
    fetched = np.maximum(1.0, table.weight_tiles * held.stored)
    input_tiles = table.output_tiles / table.counts["K"] * table.counts["C"]
    used = np.maximum(1.0, table.weight_tiles * held.weights.fetches)
    return _Work(
        array=array, made=made, vector=vector, weights=weights, inputs=moved.inputs / rate, stores=stores,
        others=(moved.spills + moved.residual) / rate, first_weights=weights / fetched, first_made=made / used,
        first_inputs=needed, last_vector=vector / table.output_tiles, last_store=stores / table.output_tiles,
        share_w=np.minimum(1.0, fetched / table.steps),
        share_i=np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps),
        asked_w=np.where(weights > 0, read * held.stored_loads, 0.0),
        asked_i=np.where(moved.inputs > 0, read * held.inputs.loads, 0.0),
        staged=np.where(stores > 0, (vector + stores + (write + drain) * table.output_tiles) / 2, 0.0),
        loads_w=held.weights.loads, late_w=held.weights.late, tiles_w=held.weights.tiles,
        loads_i=held.inputs.loads, late_i=held.inputs.late, tiles_i=held.inputs.tiles,
        ready=held.psums.ready / held.psums.loads, tiles_o=held.psums.tiles,
    )  # fmt: skip


def _memory_latency(space: _Space) -> tuple[int, int]:
    """Return the cycles from a request to its first word, of reads and of writes."""
    dram, clock = space.hardware.dram, space.hardware.clock_mhz
    if space.is_ideal:
        return 0, 0
    return ns_to_cycles(dram.read_latency_ns, clock), ns_to_cycles(dram.write_latency_ns, clock)


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
    # The vector unit begins with the first output tile that is finished; its own last tile is part of its work.
    of_vector = work.vector + work.ready * array + work.last_store + ahead
    of_stores = np.maximum(work.stores, work.staged) + work.ready * array + work.last_vector + ahead
    busy = array
    if not hardware.accumulator.double_buffered:
        busy = busy + work.vector / work.tiles_o
    busy = busy + ahead
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
    # What comes from memory last has yet to pass the array, in the steps that use it; the results of the steps before
    # have been stored by then.
    rest_w = np.where(work.weights > 0, (1 - work.late_w) / work.loads_w, 1.0)
    rest = np.minimum(rest_w, np.where(work.inputs > 0, (1 - work.late_i) / work.loads_i, 1.0))
    through = total - rest * work.stores + np.where(work.weights + work.inputs > 0, rest * array, 0.0)
    flow = _flow(work, work.stores + work.others) - fetched + ahead
    into_array = np.maximum(np.maximum(np.maximum(busy, through), flow) + work.last_vector + work.last_store, total)
    latency: Floats = np.maximum(np.maximum(into_array, of_vector), of_stores)
    return latency


def _flow(work: _Work, others: Floats) -> Floats:
    """Return the cycles of array and memory side by side, [orders, n].

    Requests run no more than two steps ahead, so that a step takes the longer of its own work and the fetching for a
    later one; some steps fetch weights, some inputs, some both, and the memory cannot even that out.
    """
    array, of_w, of_i = work.array, work.share_w, work.share_i
    # As if every step fetched; a place is free, and its request issued, when the step before the last one ends, so that
    # the memory's latency is seen once a load.
    later_w = np.maximum(work.weights - work.first_weights, 0)  # the first tiles are there before the array begins
    later_i = np.maximum(work.inputs - work.first_inputs, 0)
    weights, inputs = (later_w + work.asked_w) / of_w, (later_i + work.asked_i) / of_i
    both, none = np.maximum(array, weights + inputs + others), np.maximum(array, others)
    only_w, only_i = np.maximum(array, weights + others), np.maximum(array, inputs + others)
    apart = of_w * (of_i * both + (1 - of_i) * only_w) + (1 - of_w) * (of_i * only_i + (1 - of_i) * none)
    evened = np.maximum(array, later_w + later_i + others)
    mean: Floats = (apart + evened) / 2
    return mean


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


@dataclass(frozen=True, slots=True)
class _Figures:
    """What the closed form says of all tilings, float64 [orders, n]; ``value`` is what the objective minimises."""

    space: _Space
    held: _Holdings
    passes: Floats
    moved: _Moved
    made: _Made
    work: _Work
    array: Floats
    occupied: Floats
    latency: Floats
    dram: Floats
    actions_pj: Floats
    value: Floats
    legal: npt.NDArray[np.bool_]


def _figures(space: _Space, prices: EnergyPrices) -> _Figures:
    table = space.table
    held = _holdings(space)
    passes = _passes(space)
    moved = _moved(space, held)
    array = _array_cycles(space, held, passes, moved)
    made = _generation(space, held, passes)
    work = _work(space, held, moved, _making(space, held, passes, made), array)
    none = np.zeros(1)
    latency = np.broadcast_to(_latency(space.hardware, work, none, none), held.stored.shape)
    legal = np.isfinite(held.weights.fetches) & np.isfinite(held.inputs.fetches) & np.isfinite(held.psums.fetches)
    legal &= np.isfinite(latency) & (table.steps <= MOST_STEPS)
    if space.is_ideal:  # what is asked of an ideal memory is the array's own time
        array_alone = table.compute * space.left + table.fill
        least = np.minimum.reduceat(array_alone, table.first)
        legal &= array_alone <= space.of_tile(least) + 0.5
    copies = np.where(held.weights.loads > 1, 2, 1) if space.hardware.weight_buffer.double_buffered else 1
    occupied = table.positions * space.of_tile(space.layers.weight_bits) / 8 * held.weights.tiles * copies
    figures = _Figures(
        space, held, passes, moved, made, work, array, occupied, latency, moved.total, latency, latency, legal
    )
    figures = replace(figures, actions_pj=_actions_pj(figures, prices))
    return replace(figures, value=np.where(legal, _objective(figures, latency, prices), np.inf))


def _best(figures: _Figures) -> Best:
    """Return the tiling of each layer that the objective likes best, and what follows from it."""
    space, held, moved = figures.space, figures.held, figures.moved
    table, layers, legal, latency = space.table, space.layers, figures.legal, figures.latency
    order, chosen = least_tilings(
        figures.value, np.where(legal, figures.dram, np.inf), np.where(legal, latency, np.inf), table
    )
    picked = order, chosen

    def at(values: Floats) -> Floats:
        return np.broadcast_to(values, latency.shape)[picked]

    left = space.left[chosen]
    time = _chained(space, figures.work.take(*picked), at(figures.occupied))
    accumulated = layers.num_outputs * (table.counts["C"][chosen] - 1)
    return Best(
        latency=np.where(np.isfinite(figures.value[picked]), time, np.inf),
        dram_bytes=at(figures.dram),
        passes=at(held.weights.fetches * figures.passes),
        fetches=at(held.stored),
        input_bytes=at(moved.inputs),
        spills=at(held.psums.fetches - 1),
        input_reads=table.input_reads[chosen] * left,
        weight_reads=table.weight_reads[chosen],
        psum_writes=table.psum_writes[chosen] * left,
        psum_reads=table.psum_reads[chosen] * left + accumulated,
        slots=left,
        words=at(figures.made.work[0]),
        discarded=at(figures.made.work[1]),
        seeds=at(figures.made.work[2]),
        jumps=at(figures.made.work[3]),
    )


def _objective(figures: _Figures, latency: Floats, prices: EnergyPrices) -> Floats:
    """Return what the chip's mapping minimises, [orders, n]."""
    objective, dram = figures.space.hardware.mapping.objective, figures.dram
    if objective == "latency":
        return latency + 1e-6 * dram
    if objective == "dram_bytes":
        return dram + 1e-6 * latency
    energy = figures.actions_pj + latency * prices.static_pj_per_cycle
    return energy if objective == "energy" else energy * latency


def _actions_pj(figures: _Figures, prices: EnergyPrices) -> Floats:
    """Return the energy of what a layer does but for the time it takes, [orders, n], in pJ."""
    if not prices.action_pj:
        return np.zeros(1)
    space, held, moved, passes = figures.space, figures.held, figures.moved, figures.passes
    table, layers, acc = space.table, space.layers, space.hardware.accumulator_bits
    act, wbits = space.of_tile(layers.activation_bits), space.of_tile(layers.weight_bits)
    outputs, visits = space.of_tile(layers.num_outputs), held.weights.fetches * passes
    link = prices.pj("interconnect", "bits")
    reads, weights = table.input_reads * space.left * act, table.weight_reads * wbits
    partial = np.maximum(held.psums.fetches - 1, 0) * outputs
    sums = (table.psum_writes + table.psum_reads) * space.left + outputs * table.counts["C"] + 2 * partial
    words, discarded, seeds, jumps = figures.made.work
    stored = space.of_tile(layers.decoded_bits)
    energy = 8 * moved.total * (prices.pj("dram", "read_bits") + link)
    energy = energy + (reads + weights + (outputs + 2 * partial) * acc) * link
    energy = energy + (reads + 8 * (moved.inputs + moved.residual + moved.stored)) * prices.pj(
        "activation_buffer", "read_bits"
    )
    energy = energy + weights * prices.pj("weight_buffer", "read_bits")
    energy = energy + space.of_tile(layers.num_weights) * visits * wbits * prices.pj("weight_buffer", "write_bits")
    energy = energy + sums * acc * prices.pj("accumulator", "read_bits")
    energy = energy + stored * (visits + held.stored) * prices.pj("mask_buffer", "read_bits")
    energy = energy + words * prices.pj("weight_generator", "words") + jumps * prices.pj("weight_generator", "jumps")
    energy = energy + discarded * prices.pj("weight_generator", "discarded_words")
    energy = energy + seeds * prices.pj("weight_generator", "derived_seeds")
    whole: Floats = energy + space.of_tile(np.array([_fixed_pj(task, prices) for task in space.tasks]))
    return whole


def _fixed_pj(task: LayerTask, prices: EnergyPrices) -> float:
    """Return the energy of what every tiling does alike: products and results."""
    macs = task.layer.dims.macs
    executed = effective_macs(task) if task.hardware.pe_array.zero_weights != "none" else macs
    arithmetic = task.plan.arithmetic if task.plan is not None else "int8"
    return (
        executed * prices.pj("pe_array", f"mac_{arithmetic}")
        + (macs - executed) * prices.pj("pe_array", "mac_gated")
        + shifted_bits(task, macs) * prices.pj("pe_array", "operand_shifts_bits")
        + max(task.layer.vector_ops, task.layer.dims.num_outputs) * prices.pj("vector_unit", "ops")
    )
