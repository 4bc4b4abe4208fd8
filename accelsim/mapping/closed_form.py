"""The one closed form: what all tilings of all array layers move, how long units work on it, and what that costs.

Everything is an array over loop orders and tilings, side by side. The mapper ranks the tilings of a layer by it,
design-space exploration whole chips (see `accelsim.mapping.ranking`); finalists are decided by the solver.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig
from accelsim.mapping.cached_form import tilings_on_bus
from accelsim.mapping.figures import decoder_front_counts, fixed_pj
from accelsim.mapping.generation import COUNTER_BASED
from accelsim.mapping.generation_form import Generation, generation
from accelsim.mapping.latency_form import Work, latency_of
from accelsim.mapping.many_tiles import most_tiles
from accelsim.mapping.memory_form import Requests, least_standby_pj, requests_of, standby_pj
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.traffic_form import Holdings, Moved, Space, Ways, moved_of, on_chip, ways_of
from accelsim.timing.memory import bytes_per_cycle, cycles_per_piece
from accelsim.timing.program import LOOKAHEAD_STEPS
from accelsim.units import ns_to_cycles

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pair = tuple[Floats, Floats]


def _passes(space: Space) -> Floats:
    """Return how often a tile's weights are made within a visit, [n]: once for each fold of a streaming dataflow."""
    array, table = space.hardware.pe_array, space.table
    if array.dataflow not in ("output_stationary", "input_stationary") or not space.layers.regenerates.any():
        return np.ones_like(table.pixels)
    lanes = array.rows if array.dataflow == "output_stationary" else array.cols
    folds = np.ceil(table.pixels / lanes)
    return np.where(space.of_tile(space.layers.regenerates) > 0, folds, 1.0)


def _array_cycles(space: Space, held: Holdings, passes: Floats, moved: Moved) -> Floats:
    """Return the array's cycles, [orders, n], bounded from below by the ports of the buffers.

    Ports bound each step by itself: what others move through them counts in the steps in which they do so. Kinds of
    steps are told apart by fills (a share of the steps), and by the place in a sum: its last part hands the results on.
    """
    table, layers, hardware = space.table, space.layers, space.hardware
    cycles: Floats = table.compute * space.left + table.fill + table.once
    if space.is_ideal:
        return np.broadcast_to(cycles, held.stored.shape)
    act, acc = space.of_tile(layers.activation_bits), hardware.accumulator_bits
    # A sum's first part has nothing to add to, and its last one hands results on: three kinds of steps, priced apart.
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
    fetched, residual = on_chip(space, moved)
    results = space.of_tile(written * layers.activation_bits)
    # As if every part handed on. A residual is written when it comes and read when it is added: two times eight bits.
    results = (results + 16 * residual) * parts
    input_tiles = table.output_tiles / table.counts["K"] * parts
    share = np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps)
    of_inputs = with_fills(reads + results, 8 * fetched, share, held_in) / parts
    of_inputs = of_inputs + with_fills(reads, 8 * fetched, share, held_in) * (parts - 1) / parts
    own = (table.psum_writes + table.psum_reads) * space.accessed[1] * acc + 8 * moved.spills
    every = space.of_tile(layers.num_outputs) * parts * acc  # as if every part added to a sum, or handed it on
    alone, middle = bound(own + every, sums_in), bound(own + every, sums_in) * (parts - 2)
    # The first part only writes, middle ones read what they add to, the last one also hands on: twice as much more.
    of_sums = (bound(own, sums_in) + middle + bound(own + 2 * every, sums_in)) / parts
    of_sums = np.where(parts > 1, of_sums, alone)
    return np.maximum(np.maximum(of_weights, of_inputs), of_sums)


def _decoding(space: Space, held: Holdings, passes: Floats) -> Floats:
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


def _generation(space: Space) -> tuple[Generation, Generation] | None:
    """Return the generator's work of the first pass over each tile and of later ones; None where nothing is made."""
    generator = space.hardware.weight_generator
    sources = [task.plan.source for task in space.tasks if task.plan is not None and task.plan.source is not None]
    if generator is None or not sources:
        return None
    decoder = space.hardware.mask_decoder if space.layers.decoded_bits.any() else None
    places = decoder.positions_per_cycle if decoder is not None else None
    return generation(space.tasks, generator, space.table, sources[0].generator in COUNTER_BASED, places)


def _made(generated: tuple[Generation, Generation] | None, held: Holdings, passes: Floats, pairs: Ints | None) -> _Made:
    """Return the generator's work in all visits of tiles, of some ``pairs`` of orders and tilings or of all."""
    visits = held.weights.fetches
    if generated is None:
        none = np.zeros_like(visits)
        return _Made(none, (none, none, none, none))

    def total(name: str) -> Floats:
        first, later = (np.broadcast_to(getattr(each, name), generated[0].cycles.shape) for each in generated)
        if pairs is not None:
            first, later = first.take(pairs), later.take(pairs)
        values: Floats = visits * (first + (passes - 1) * later)
        return values

    names = ("words", "discarded", "seeds", "jumps")
    words, discarded, seeds, jumps = (total(name) for name in names)
    return _Made(total("cycles"), (words, discarded, seeds, jumps))


def _making(space: Space, held: Holdings, passes: Floats, made: _Made) -> Floats:
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


def _on_bus(space: Space, held: Holdings, moved: Moved, rate: float) -> Moved:
    """Return for how many cycles what moves keeps the bus, as `Moved` has the bytes."""
    num_bytes = {field.name: getattr(moved, field.name) for field in fields(moved)}
    cache = space.hardware.cache
    if cache is None or space.is_ideal:
        cycles = {name: values / rate for name, values in num_bytes.items()}
        largest = space.hardware.dma.max_request_bytes
        if largest is not None and not space.is_ideal:
            for name, values in num_bytes.items():
                piece = cycles_per_piece(space.hardware, is_write=name == "stored")
                cycles[name] = np.maximum(cycles[name], values / largest * piece)
        return Moved(**cycles) if space.is_ideal else Moved(**(cycles | _through_codec(space, num_bytes, cycles)))
    loads = {"weights": held.stored_loads, "inputs": held.inputs.loads, "outputs": held.psums.loads}
    return Moved(**tilings_on_bus(space.tasks, space.table, num_bytes, loads, cache))


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


def _work(space: Space, held: Holdings, moved: Moved, made: Floats, array: Floats) -> Work:
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
    # Of two places one is filled while the other leaves: half of a result's way through both is between two results.
    staged = np.where(stores > 0, (vector + stores + (write + drain) * table.output_tiles) / 2, 0.0)
    share_i = np.minimum(1.0, held.inputs.fetches * input_tiles / table.steps)
    # Small tiles of weights share bursts: the one after it finds its bits on chip.
    requests = np.minimum(fetched, moved.weights / hardware.dram.burst_bytes)
    shares, both = (requests / table.steps, share_i), (weights, bus.inputs)
    return Work(
        array=array, made=made, vector=vector, weights=weights, inputs=bus.inputs, stores=stores,
        others=bus.spills + bus.residual, first_weights=weights / fetched, first_made=made / used,
        first_inputs=needed, last_vector=vector * table.last_share / table.output_tiles,
        last_store=stores * table.last_share / table.output_tiles,
        share_w=np.minimum(1.0, fetched / table.steps), share_i=share_i,
        loading=np.zeros(1) if hardware.dma.loads_ahead else (
            _loading(table.steps, shares, both, requests * made / used, read)
        ),
        asked_w=np.where(weights > 0, read * held.stored_loads, 0.0),
        asked_i=np.where(moved.inputs > 0, read * held.inputs.loads, 0.0),
        staged=staged, returns=bus.spills / 2 + read * np.maximum(held.psums.fetches - 1, 0) * table.output_tiles,
        loads_w=held.weights.loads, late_w=held.weights.late, tiles_w=held.weights.tiles,
        loads_i=held.inputs.loads, late_i=held.inputs.late, tiles_i=held.inputs.tiles,
        ready=held.psums.ready / held.psums.loads, tiles_o=held.psums.tiles,
        lead=np.full(1, float(read)), tail=drain + np.where(stores > 0, float(write), 0.0),
        behind=1 / table.output_tiles + LOOKAHEAD_STEPS / table.steps,
    )  # fmt: skip


def _loading(steps: Floats, shares: Pair, bus: Pair, made: Floats, latency: int) -> Floats:
    """Return the cycles between steps where nothing is loaded ahead: no step's load is asked for before the last ended.

    So stored weights are decoded, and made, between two steps too, while the inputs of the step cross the bus; what is
    decoded again from the mask buffer is not: it waits for no request.

    Parameters
    ----------
    shares, bus
        The share of the steps that fetch weights, and inputs, and the cycles of all these fetches.
    made, latency
        Cycles of decoding and making all fetched weights, and from a request to its data.
    """
    (of_w, of_i), (weights, inputs) = shares, bus
    of_w, of_i = np.where(weights > 0, of_w, 0.0), np.where(inputs > 0, of_i, 0.0)
    asked = steps * (of_w + of_i - of_w * of_i)  # what a step needs is asked for at once
    late = np.where(weights > 0, made - np.minimum(of_w * inputs, of_i * made), 0.0)
    return weights + inputs + latency * asked + late


def memory_latency(space: Space) -> tuple[int, int]:
    """Return the cycles from a request to its first word, of reads and of writes."""
    dram, clock = space.hardware.dram, space.hardware.clock_mhz
    if space.is_ideal:
        return 0, 0
    return ns_to_cycles(dram.read_latency_ns, clock), ns_to_cycles(dram.write_latency_ns, clock)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the closed form says of all tilings, float64 [orders, n]; ``value`` is what the objective minimises.

    ``pairs``: of some pairs of an order and a tiling only, their places in [orders, n] of the whole table.
    """

    space: Space
    held: Holdings
    passes: Floats
    moved: Moved
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
    pairs: Ints | None


def figures_of(space: Space, prices: EnergyPrices, only_fitting: bool = False) -> Figures:
    """Return what the closed form says of all tilings, each layer alone and from cold buffers.

    ``only_fitting``: of those that fit, in orders that differ, as pairs [1, n]: about half as many, for who takes one.
    """
    ways, passes, pairs = ways_of(space), _passes(space), None
    legal = _legal(space, ways)
    generation = _generation(space)
    if only_fitting and space.hardware.cache is None:
        pairs, tilings = _fitting(space, legal)
        space = replace(space, table=space.table.of_pairs(pairs), left=space.left.take(tilings))
        legal, passes = legal.take(pairs)[None], passes.take(tilings)
    held = ways.holdings(space, pairs)
    made = _made(generation, held, passes, pairs)
    table = space.table
    moved = moved_of(space, held)
    array = _array_cycles(space, held, passes, moved)
    work = _work(space, held, moved, _making(space, held, passes, made), array)
    none = np.zeros(1)
    latency = np.broadcast_to(latency_of(space.hardware, work, none, none), held.stored.shape)
    legal = legal & np.isfinite(latency)
    # The second half of the buffer is filled only if another load follows.
    copies = np.where(held.weights.loads > 1, 2, 1) if space.hardware.weight_buffer.double_buffered else 1
    occupied = table.positions * space.of_tile(space.layers.weight_bits) / 8 * held.weights.tiles * copies
    figures = Figures(
        space, held, passes, moved, made, work, array, occupied, latency, moved.total, latency, _NO_REQUESTS, latency,
        legal, pairs,
    )  # fmt: skip
    figures = replace(figures, actions_pj=_actions_pj(figures, prices), requests=_requests(figures, prices))
    return replace(figures, value=np.where(legal, objective_of(figures, latency, prices), np.inf))


def _legal(space: Space, ways: Ways) -> npt.NDArray[np.bool_]:
    """Return which tilings fit, in no more tiles than may be, [orders, n]."""
    table = space.table
    legal = ways.fits() & (table.steps <= most_tiles(space.hardware))
    if space.is_ideal:  # what is asked of an ideal memory is the array's own time
        array_alone = table.compute * space.left + table.fill
        # Half a cycle is what rounding makes of equal times.
        legal &= array_alone <= space.of_tile(np.minimum.reduceat(array_alone, table.first)) + 0.5
    return legal


def _fitting(space: Space, legal: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return legal pairs of orders and tilings that walk like no other: flat, and as tilings, by which they are sorted.

    Of a layer that nothing fits, one is left, so that every layer has some.
    """
    table = space.table
    keeps = legal & table.is_new
    keeps[0, table.first[~np.logical_or.reduceat(keeps.any(axis=0), table.first)]] = True
    tilings, orders = np.nonzero(keeps.T)
    return orders * table.layer.size + tilings, tilings


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
    space = figures.space
    energy = space.of_tile(np.array([fixed_pj(task, prices) for task in space.tasks]))
    making = [prices.of_making(decodes=task.decodes, generates=task.regenerates) for task in space.tasks]
    if any(making):
        energy = energy + space.of_tile(np.array(making)) * figures.work.made
    fronts = [
        sum(count * prices.pj("mask_decoder", action) for action, count in decoder_front_counts(task).items())
        for task in space.tasks
    ]
    if any(fronts):  # a front works on its symbols again in each visit and pass, as the decoder on its positions
        energy = energy + space.of_tile(np.array(fronts)) * figures.held.weights.fetches * figures.passes
    for (unit, action), count in _counts(figures).items():
        price = prices.pj(unit, action)
        if price:
            energy = energy + count * price
    return energy


def _counts(figures: Figures) -> dict[tuple[str, str], Floats]:
    """Return how often the actions are done that tilings do not do alike, as `accelsim.mapping.build` counts them.

    Reads and writes apart: a bit that is written may cost half as much again, or a third less.
    """
    space, held, moved, passes = figures.space, figures.held, figures.moved, figures.passes
    table, layers, acc = space.table, space.layers, space.hardware.accumulator_bits
    act, wbits = space.of_tile(layers.activation_bits), space.of_tile(layers.weight_bits)
    outputs, visits = space.of_tile(layers.num_outputs), held.weights.fetches * passes
    reads, weights = table.input_reads * space.accessed[0] * act, table.weight_reads * wbits
    partial = np.maximum(held.psums.fetches - 1, 0) * outputs
    read = table.psum_reads * space.accessed[1] + outputs * table.counts["C"] + partial
    words, discarded, seeds, jumps = figures.made.work
    stored = space.of_tile(layers.decoded_bits)
    fetched, residual = on_chip(space, moved)
    staged = space.of_tile(layers.stored_elements * layers.staged) * act
    leave = moved.stored + moved.spills / 2
    return {
        ("dram", "read_bits"): 8 * (moved.total - leave),
        ("dram", "write_bits"): 8 * leave,
        ("interconnect", "bits"): 8 * moved.total + reads + weights + (outputs + 2 * partial) * acc,
        ("activation_buffer", "read_bits"): reads + staged,
        ("activation_buffer", "write_bits"): 8 * (fetched + residual),
        ("weight_buffer", "read_bits"): weights,
        ("weight_buffer", "write_bits"): space.of_tile(layers.num_weights) * visits * wbits,
        ("pe_array", "weight_loads_bits"): weights,
        ("accumulator", "read_bits"): read * acc,
        ("accumulator", "write_bits"): (table.psum_writes * space.accessed[1] + partial) * acc,
        ("mask_buffer", "read_bits"): stored * visits,
        ("mask_buffer", "write_bits"): stored * held.stored,
        ("mask_decoder", "positions"): np.where(stored > 0, space.of_tile(layers.num_weights), 0.0) * visits,
        ("weight_generator", "words"): words,
        ("weight_generator", "discarded_words"): discarded,
        ("weight_generator", "derived_seeds"): seeds,
        ("weight_generator", "jumps"): jumps,
    }
