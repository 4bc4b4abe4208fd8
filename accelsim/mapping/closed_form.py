"""The one closed form: what all tilings of all array layers move, how long units work on it, and what that costs.

Everything is an array over loop orders and tilings, side by side. The mapper ranks the tilings of a layer by it,
design-space exploration whole chips (see `accelsim.mapping.ranking`); finalists are decided by the solver.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.cached_form import tilings_on_bus
from accelsim.mapping.figures import Layers, fixed_pj
from accelsim.mapping.generation import COUNTER_BASED
from accelsim.mapping.generation_form import generation
from accelsim.mapping.holding import left_beside
from accelsim.mapping.latency_form import Work, latency_of
from accelsim.mapping.many_tiles import most_tiles
from accelsim.mapping.memory_form import Requests, least_standby_pj, requests_of, standby_pj
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.skipping import padded_share
from accelsim.mapping.task import LayerTask
from accelsim.mapping.tile_table import HoldTable, TileTable, Width, skipped_fractions, tile_table
from accelsim.timing.memory import bytes_per_cycle, cycles_per_piece
from accelsim.timing.program import LOOKAHEAD_STEPS
from accelsim.units import ns_to_cycles

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
class Space:
    """Everything that tilings of a network on a chip are judged by."""

    hardware: HardwareConfig
    tasks: list[LayerTask]
    layers: Layers
    table: TileTable
    left: Floats

    @property
    def is_ideal(self) -> bool:
        """Return whether memory and buffers are unlimited."""
        return self.hardware.memory == "ideal"

    @property
    def accessed(self) -> tuple[Floats, Floats]:
        """Return the shares of the accesses of inputs, and of sums, that zero skipping leaves of each tiling."""
        if self.hardware.pe_array.skip_group == "packed":
            return self.of_tile(self.layers.density), np.ones_like(self.left)
        return self.left, self.left

    def of_tile(self, figures: Floats) -> Floats:
        """Return figures of the layers, for each tiling."""
        return figures[self.table.layer]


def space_of(hardware: HardwareConfig, tasks: list[LayerTask], layers: Layers, width: Width) -> Space:
    """Return all tilings of layers on a chip, from a table of the given width."""
    generator = hardware.weight_generator
    lanes = generator.num_lanes if generator is not None else 0
    key = tuple((task.layer.dims, task.layer.kind, lanes if task.regenerates else 0) for task in tasks)
    array_json = hardware.pe_array.model_dump_json()
    paddings = tuple(padded_share(task) for task in tasks)
    densities = tuple(layers.density.tolist()), tuple(task.layer.input_density for task in tasks), paddings
    table = tile_table(key, array_json, width)
    left = skipped_fractions(key, array_json, width, densities)
    return Space(hardware, tasks, layers, table, left)


def _held(table: HoldTable, tile_bytes: Floats, room: Floats, buffer: BufferConfig, only_tile: Floats | None) -> _Held:
    """Return for each tiling and order the way with the fewest fetches that fits; ``room`` is [n] or [orders, n]."""
    held = table.double if buffer.double_buffered else table.single
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = np.where(tile_bytes > 0, room / np.maximum(tile_bytes, 1e-30), np.where(room >= 0, np.inf, -1.0))
    fits = held <= np.atleast_2d(tiles)[:, None].astype(np.float32) * np.float32(1 + 1e-6)
    if only_tile is not None:
        fits &= (table.single == 1) | (only_tile == 0)
    way = fits.argmax(axis=1)  # the first that fits: ways are sorted by fetches
    orders, ways, num = fits.shape
    places = (np.arange(orders)[:, None] * ways + way) * num + np.arange(num)

    def taken(values: npt.NDArray[np.float32]) -> Floats:
        figures: Floats = values.reshape(-1)[places].astype(np.float64) if values.size else np.zeros(0)
        return figures

    return _Held(
        np.where(fits.reshape(-1)[places], taken(table.fetches), np.inf),
        taken(table.loads), taken(table.single), taken(table.late), taken(table.ready),
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


def _holdings(space: Space) -> _Holdings:
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
    if hardware.sums_in_activation_buffer:  # sums are placed first, beside one tile of inputs
        left = left_beside(hardware.activation_buffer, free, needed)
        psums = _held(table.psums, sums, left, hardware.accumulator, None)
        with np.errstate(invalid="ignore"):
            free = left_beside(hardware.activation_buffer, free, sums * psums.tiles)
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


def _moved(space: Space, held: _Holdings) -> _Moved:
    layers, act = space.layers, space.layers.activation_bits / 8
    spilled = 2.0 * np.maximum(held.psums.fetches - 1, 0)
    table, of = space.table, held.inputs
    rows = table.rows + of.keeps_rows * (table.new_rows - table.rows)
    columns = table.columns + of.keeps_columns * (table.new_columns - table.columns)
    burst = space.hardware.dram.burst_bytes
    every = table.depth * rows * columns * space.of_tile(layers.input_fraction * act * layers.input_code) * of.fetches
    input_tiles = table.output_tiles / table.counts["K"] * table.counts["C"]
    return _Moved(
        weights=space.of_tile(layers.fetched_bits) / 8 * held.stored,
        inputs=_in_bursts(every, input_tiles * of.fetches, burst),
        spills=spilled * space.of_tile(layers.num_outputs) * (space.hardware.accumulator_bits / 8),
        residual=_in_bursts(
            space.of_tile(layers.residual_dram_elements * act * layers.residual_code), table.output_tiles, burst
        ),
        stored=_in_bursts(space.of_tile(layers.stored_elements * act * layers.output_code), table.output_tiles, burst),
    )


def _on_chip(space: Space, moved: _Moved) -> tuple[Floats, Floats]:
    """Return the plain bytes of inputs and residuals that come from DRAM, as the activation buffer has them."""
    layers = space.layers
    return moved.inputs / space.of_tile(layers.input_code), moved.residual / space.of_tile(layers.residual_code)


def _in_bursts(num_bytes: Floats, requests: Floats, burst_bytes: int) -> Floats:
    """Return the bytes of equal requests, each of whole bursts."""
    with np.errstate(invalid="ignore"):  # what is fetched infinitely often does not fit
        whole: Floats = np.where(num_bytes > 0, np.ceil(num_bytes / requests / burst_bytes - 1e-9) * burst_bytes, 0.0)
        return np.where(np.isfinite(requests), whole * requests, np.inf)


def _passes(space: Space) -> Floats:
    """Return how often a tile's weights are made within a visit, [n]: once for each fold of a streaming dataflow."""
    array, table = space.hardware.pe_array, space.table
    if array.dataflow not in ("output_stationary", "input_stationary") or not space.layers.regenerates.any():
        return np.ones_like(table.pixels)
    lanes = array.rows if array.dataflow == "output_stationary" else array.cols
    folds = np.ceil(table.pixels / lanes)
    return np.where(space.of_tile(space.layers.regenerates) > 0, folds, 1.0)


def _array_cycles(space: Space, held: _Holdings, passes: Floats, moved: _Moved) -> Floats:
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
    reads = table.input_reads * space.accessed[0] * act
    written = layers.written_elements * layers.buffered + layers.stored_elements * layers.staged
    fetched, residual = _on_chip(space, moved)
    results = space.of_tile(written * layers.activation_bits)
    results = (results + 16 * residual) * parts  # as if every part handed on
    input_tiles = table.output_tiles / table.counts["K"] * parts
    share = np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps)
    of_inputs = with_fills(reads + results, 8 * fetched, share, held_in) / parts
    of_inputs = of_inputs + with_fills(reads, 8 * fetched, share, held_in) * (parts - 1) / parts
    own = (table.psum_writes + table.psum_reads) * space.accessed[1] * acc + 8 * moved.spills
    every = space.of_tile(layers.num_outputs) * parts * acc  # as if every part added to a sum, or handed it on
    alone, middle = bound(own + every, sums_in), bound(own + every, sums_in) * (parts - 2)
    of_sums = (bound(own, sums_in) + middle + bound(own + 2 * every, sums_in)) / parts
    of_sums = np.where(parts > 1, of_sums, alone)
    return np.maximum(np.maximum(of_weights, of_inputs), of_sums)


def _decoding(space: Space, held: _Holdings, passes: Floats) -> Floats:
    """Return the decoder's cycles, [orders, n], bounded from below by the ports of the mask buffer."""
    table, layers, decoder = space.table, space.layers, space.hardware.mask_decoder
    if decoder is None or not layers.decoded_bits.any():
        return np.zeros_like(held.stored)
    tiles = table.weight_tiles
    # A tile takes the decoder a cycle at the least.
    each = np.maximum(space.of_tile(layers.num_weights) / decoder.positions_per_cycle, tiles)
    coded = space.of_tile(layers.symbols * layers.is_coded) / decoder.symbols_per_cycle
    each = np.maximum(each, coded) * space.of_tile((layers.decoded_bits > 0).astype(np.float64))
    visits = held.weights.fetches
    if space.is_ideal:
        return each * visits * passes
    # What DRAM delivers is written through the port that the decoder reads by.
    port = space.of_tile(layers.decoded_bits) / space.hardware.mask_buffer.port_bits_per_cycle
    twice = held.stored / visits
    cycles: Floats = np.maximum(each, port * (1 + twice)) * visits * passes
    return cycles


@dataclass(frozen=True, slots=True)
class _Made:
    """The generator's work in the whole layer, [orders, n]; cycles without those that overlap with nothing."""

    cycles: Floats
    work: tuple[Floats, Floats, Floats, Floats]


def _generation(space: Space, held: _Holdings, passes: Floats) -> _Made:
    generator = space.hardware.weight_generator
    sources = [task.plan.source for task in space.tasks if task.plan is not None and task.plan.source is not None]
    if generator is None or not sources:
        none = np.zeros_like(held.stored)
        return _Made(none, (none, none, none, none))
    decoder = space.hardware.mask_decoder if space.layers.decoded_bits.any() else None
    places = decoder.positions_per_cycle if decoder is not None else None
    first, later = generation(space.tasks, generator, space.table, sources[0].generator in COUNTER_BASED, places)
    visits = held.weights.fetches

    def total(name: str) -> Floats:
        values: Floats = visits * (getattr(first, name) + (passes - 1) * getattr(later, name))
        return values

    names = ("words", "discarded", "seeds", "jumps")
    words, discarded, seeds, jumps = (total(name) for name in names)
    return _Made(total("cycles"), (words, discarded, seeds, jumps))


def _making(space: Space, held: _Holdings, passes: Floats, made: _Made) -> Floats:
    """Return the cycles of the slower of decoder and generator, [orders, n]; their latency is seen once a load.

    Words pass the generator and then the decoder.
    """
    layers, hardware = space.layers, space.hardware
    decoder, generator = hardware.mask_decoder, hardware.weight_generator
    decoded = _decoding(space, held, passes)
    if decoder is not None and layers.decoded_bits.any():
        is_coded = space.of_tile((layers.decoded_bits > 0).astype(np.float64))
        decoded = decoded + decoder.latency_cycles * held.weights.loads * is_coded
    generated = made.cycles
    if generator is not None:
        latency = generator.latency_cycles * np.ones_like(generated)
        if decoder is not None and layers.decoded_bits.any():
            latency = latency + decoder.latency_cycles * is_coded
        generated = generated + np.where(made.cycles > 0, latency * held.weights.loads, 0.0)
    slower: Floats = np.maximum(decoded, generated)
    return slower


def _on_bus(space: Space, held: _Holdings, moved: _Moved, rate: float) -> _Moved:
    """Return for how many cycles what moves keeps the bus, as `_Moved` has the bytes."""
    num_bytes = {field.name: getattr(moved, field.name) for field in fields(moved)}
    cache = space.hardware.cache
    if cache is None or space.is_ideal:
        cycles = {name: values / rate for name, values in num_bytes.items()}
        largest = space.hardware.dma.max_request_bytes
        if largest is not None and not space.is_ideal:
            for name, values in num_bytes.items():
                piece = cycles_per_piece(space.hardware, is_write=name == "stored")
                cycles[name] = np.maximum(cycles[name], values / largest * piece)
        return _Moved(**cycles) if space.is_ideal else _Moved(**(cycles | _through_codec(space, num_bytes, cycles)))
    loads = {"weights": held.stored_loads, "inputs": held.inputs.loads, "outputs": held.psums.loads}
    return _Moved(**tilings_on_bus(space.tasks, space.table, num_bytes, loads, cache))


def _through_codec(space: Space, num_bytes: dict[str, Floats], cycles: dict[str, Floats]) -> dict[str, Floats]:
    """Return the cycles of what passes the coder of activations: the slower of link and coder decides."""
    layers, found = space.layers, {}
    rate = layers.activation_bits * space.hardware.dma.codec_elements_per_cycle / 8
    for name, code in (
        ("inputs", layers.input_code), ("residual", layers.residual_code), ("stored", layers.output_code),
    ):  # fmt: skip
        if (code < 1).any():
            slower = np.maximum(cycles[name], num_bytes[name] / space.of_tile(code * rate))
            found[name] = np.where(space.of_tile(code) < 1, slower, cycles[name])
    return found


def _work(space: Space, held: _Holdings, moved: _Moved, made: Floats, array: Floats) -> Work:
    table, layers, hardware = space.table, space.layers, space.hardware
    rate = np.inf if space.is_ideal else float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    vector = space.of_tile(layers.vector_ops) / hardware.vector_unit.num_lanes
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # of what does not fit
        bus = _on_bus(space, held, moved, rate)
    weights, stores = bus.weights, bus.stored
    needed = table.tile_inputs * space.of_tile(layers.activation_bits * layers.reads_inputs * layers.input_code)
    needed = needed / 8 / rate
    read, write = memory_latency(space)
    drain = hardware.vector_unit.latency_cycles
    fetched = np.maximum(1.0, table.weight_tiles * held.stored)
    input_tiles = table.output_tiles / table.counts["K"] * table.counts["C"]
    used = np.maximum(1.0, table.weight_tiles * held.weights.fetches)
    staged = np.where(stores > 0, (vector + stores + (write + drain) * table.output_tiles) / 2, 0.0)
    return Work(
        array=array, made=made, vector=vector, weights=weights, inputs=bus.inputs, stores=stores,
        others=bus.spills + bus.residual, first_weights=weights / fetched, first_made=made / used,
        first_inputs=needed, last_vector=vector * table.last_share / table.output_tiles,
        last_store=stores * table.last_share / table.output_tiles,
        share_w=np.minimum(1.0, fetched / table.steps),
        share_i=np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps),
        asked_w=np.where(weights > 0, read * held.stored_loads, 0.0),
        asked_i=np.where(moved.inputs > 0, read * held.inputs.loads, 0.0),
        staged=staged, returns=bus.spills / 2 + read * np.maximum(held.psums.fetches - 1, 0) * table.output_tiles,
        loads_w=held.weights.loads, late_w=held.weights.late, tiles_w=held.weights.tiles,
        loads_i=held.inputs.loads, late_i=held.inputs.late, tiles_i=held.inputs.tiles,
        ready=held.psums.ready / held.psums.loads, tiles_o=held.psums.tiles,
        lead=np.full(1, float(read)), tail=drain + np.where(stores > 0, float(write), 0.0),
        behind=1 / table.output_tiles + LOOKAHEAD_STEPS / table.steps,
    )  # fmt: skip


def memory_latency(space: Space) -> tuple[int, int]:
    """Return the cycles from a request to its first word, of reads and of writes."""
    dram, clock = space.hardware.dram, space.hardware.clock_mhz
    if space.is_ideal:
        return 0, 0
    return ns_to_cycles(dram.read_latency_ns, clock), ns_to_cycles(dram.write_latency_ns, clock)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the closed form says of all tilings, float64 [orders, n]; ``value`` is what the objective minimises."""

    space: Space
    held: _Holdings
    passes: Floats
    moved: _Moved
    made: _Made
    work: Work
    array: Floats
    occupied: Floats
    latency: Floats
    dram: Floats
    actions_pj: Floats
    requests: Requests
    value: Floats
    legal: npt.NDArray[np.bool_]


def figures_of(space: Space, prices: EnergyPrices) -> Figures:
    """Return what the closed form says of all tilings, each layer alone and from cold buffers."""
    table = space.table
    held = _holdings(space)
    passes = _passes(space)
    moved = _moved(space, held)
    array = _array_cycles(space, held, passes, moved)
    made = _generation(space, held, passes)
    work = _work(space, held, moved, _making(space, held, passes, made), array)
    none = np.zeros(1)
    latency = np.broadcast_to(latency_of(space.hardware, work, none, none), held.stored.shape)
    legal = np.isfinite(held.weights.fetches) & np.isfinite(held.inputs.fetches) & np.isfinite(held.psums.fetches)
    legal &= np.isfinite(latency) & (table.steps <= most_tiles(space.hardware))
    if space.is_ideal:  # what is asked of an ideal memory is the array's own time
        array_alone = table.compute * space.left + table.fill
        # Half a cycle is what rounding makes of equal times.
        least = np.minimum.reduceat(array_alone, table.first)
        legal &= array_alone <= space.of_tile(least) + 0.5
    # The second half of the buffer is filled only if another load follows.
    copies = np.where(held.weights.loads > 1, 2, 1) if space.hardware.weight_buffer.double_buffered else 1
    occupied = table.positions * space.of_tile(space.layers.weight_bits) / 8 * held.weights.tiles * copies
    figures = Figures(
        space, held, passes, moved, made, work, array, occupied, latency, moved.total, latency, _NO_REQUESTS, latency,
        legal,
    )  # fmt: skip
    figures = replace(figures, actions_pj=_actions_pj(figures, prices), requests=_requests(figures, prices))
    return replace(figures, value=np.where(legal, objective_of(figures, latency, prices), np.inf))


def objective_of(figures: Figures, latency: Floats, prices: EnergyPrices, is_floor: bool = False) -> Floats:
    """Return what the chip's mapping minimises, [orders, n]; as a floor whatever the requests to the memory do."""
    hardware = figures.space.hardware

    def energy_pj() -> Floats:
        energy = figures.actions_pj + latency * prices.static_pj_per_cycle
        idle = figures.space.table.idle_pes * prices.pj("pe_array", "idle_pe_cycles")
        energy = energy + np.minimum(latency, figures.array) * (prices.busy_pj_per_cycle + idle)
        if prices.dram is None:
            return energy
        standby = least_standby_pj if is_floor else standby_pj
        return energy + standby(figures.requests, latency, hardware, prices.dram)

    return prices.objective(hardware.mapping.objective, latency, figures.dram, energy_pj)


_NO_REQUESTS = Requests(*(np.zeros(1),) * 4)


def _requests(figures: Figures, prices: EnergyPrices) -> Requests:
    """Return what tilings ask of the memory, where that has a price; all tiles of a load are asked for together."""
    if prices.dram is None:
        return _NO_REQUESTS
    space, held, moved = figures.space, figures.held, figures.moved
    table, spills = space.table, np.maximum(held.psums.fetches - 1, 0) * space.table.output_tiles
    loads = (
        (moved.weights, held.stored_loads), (moved.inputs, held.inputs.loads),
        (moved.residual, table.output_tiles), (moved.spills / 2, spills),
    )  # fmt: skip
    stores = moved.stored + moved.spills / 2, np.where(moved.stored > 0, table.output_tiles, 0) + spills
    return requests_of(space.hardware.dram, figures.work, loads, stores)


def _actions_pj(figures: Figures, prices: EnergyPrices) -> Floats:
    """Return the energy of what a layer does but for the time it takes, [orders, n], in pJ."""
    if not prices.action_pj:
        return np.zeros(1)
    space, held, moved, passes = figures.space, figures.held, figures.moved, figures.passes
    table, layers, acc = space.table, space.layers, space.hardware.accumulator_bits
    act, wbits = space.of_tile(layers.activation_bits), space.of_tile(layers.weight_bits)
    outputs, visits = space.of_tile(layers.num_outputs), held.weights.fetches * passes
    link = prices.pj("interconnect", "bits")
    reads, weights = table.input_reads * space.accessed[0] * act, table.weight_reads * wbits
    partial = np.maximum(held.psums.fetches - 1, 0) * outputs
    sums = (table.psum_writes + table.psum_reads) * space.accessed[1] + outputs * table.counts["C"] + 2 * partial
    words, discarded, seeds, jumps = figures.made.work
    stored = space.of_tile(layers.decoded_bits)
    energy = 8 * moved.total * (prices.pj("dram", "read_bits") + link)
    energy = energy + (reads + weights + (outputs + 2 * partial) * acc) * link
    fetched, residual = _on_chip(space, moved)
    kept = space.of_tile(layers.stored_elements * layers.staged) * act
    energy = energy + (reads + 8 * (fetched + residual) + kept) * prices.pj("activation_buffer", "read_bits")
    energy = energy + weights * prices.pj("weight_buffer", "read_bits")
    energy = energy + space.of_tile(layers.num_weights) * visits * wbits * prices.pj("weight_buffer", "write_bits")
    energy = energy + sums * acc * prices.pj("accumulator", "read_bits")
    energy = energy + stored * (visits + held.stored) * prices.pj("mask_buffer", "read_bits")
    energy = energy + words * prices.pj("weight_generator", "words") + jumps * prices.pj("weight_generator", "jumps")
    energy = energy + discarded * prices.pj("weight_generator", "discarded_words")
    energy = energy + seeds * prices.pj("weight_generator", "derived_seeds")
    whole: Floats = energy + space.of_tile(np.array([fixed_pj(task, prices) for task in space.tasks]))
    return whole
