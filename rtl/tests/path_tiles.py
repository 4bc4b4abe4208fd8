"""The weight tiles of a scheduled layer as the weight path takes them, and what its stations say of them."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from accelsim.config.loader import load_hardware
from accelsim.mapping.generation import TileRange, generation_work, lane_places
from accelsim.mapping.loops import build_nest
from accelsim.pipeline import built_for, layer_plans, schedule_network
from accelsim.prng import freezing_map, layer_weights
from accelsim.prng.generators import WORD_BITS
from accelsim.prng.streams import freezes, stream_geometry
from accelsim.ticket.codecs import encode_mask
from accelsim.ticket.file import read_ticket
from accelsim.ticket.pack import unpack_mask
from accelsim.timing.schedule import WeightEvents
from accelsim.timing.stations import NO_WAIT, _made, _mask_decoder, _weight_generator
from accelsim.trace import trace_workload

PHILOX_WORDS = 4  # of a block


@dataclass(frozen=True)
class Tile:
    """Filters and weights of each filter; ``load``: seeds of weights (1) and freezing map (2) that it begins with."""

    first_filter: int
    num_filters: int
    offset: int
    count: int
    load: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer of a ticket on a chip: its tiles with the table's cycles, and what must leave the path."""

    name: str
    source: object
    hardware: object
    tiles: tuple
    weights: WeightEvents
    stations: dict
    keep: np.ndarray
    sign: np.ndarray
    free: np.ndarray


def scheduled_layers(root, chip, ticket, kind=None, words=1, places=0):
    """Yield the layers of a committed ticket as a committed chip runs them.

    ``kind`` puts another generator in place of the ticket's; the mask keeps what the ticket keeps where it may.
    ``words`` of each lane and cycle, where they are not the chip's: the decoder then takes what the lanes make, or
    ``places``.
    """
    workload = f"{root}/workloads/{ticket}.pt"
    trace = trace_workload(workload)
    hardware = built_for(load_hardware(f"{root}/hwconfigs/{chip}.yaml").config, trace, "slt")
    schedule, _ = schedule_network(hardware, trace, "slt")
    dims = {layer.name: layer.dims for layer in trace.layers}
    stored, plans = read_ticket(workload), layer_plans(trace, "slt")
    is_own = kind is None and words == 1 and not places
    for layer in schedule.layers:
        if layer.name not in plans or layer.parts is not None:
            continue
        packed = stored.layer(layer.name)
        shape, source = packed.shape, replace(packed.source, generator=kind or packed.source.generator)
        frozen = freezing_map(source, shape).reshape(shape[0], -1)
        keep = np.where(frozen == 0, unpack_mask(packed).reshape(frozen.shape), frozen > 0)
        built = hardware if is_own else other_lanes(hardware, source, words, places)
        tiles = tuple(_tiles(dims[layer.name], layer))
        weights, in_use = events(source, frozen.shape, built, tiles, layer.weights.fetch_bytes)
        if is_own:
            assert np.array_equal(weights.generate_cycles, layer.weights.generate_cycles), layer.name
            weights = layer.weights
        built = with_lanes(built, in_use)
        tiles = tuple(with_loads(source, frozen.shape, built, tiles))
        stations = stations_of(weights, built)
        sign = layer_weights(source, shape).reshape(frozen.shape) > 0
        yield Layer(layer.name, source, built, tiles, weights, stations, keep, sign, frozen == 0)


def built_lanes(source, hardware):
    """Return the lanes of the path and their words a cycle: of Philox, four lanes of one word are one of four."""
    generator = hardware.weight_generator
    words = generator.words_per_lane_per_cycle
    if source.generator != "philox4x32":
        return generator.num_lanes, words
    return generator.num_lanes * words // PHILOX_WORDS, PHILOX_WORDS


def other_lanes(hardware, source, words, places):
    """Return the chip with other lanes; its decoder takes what all of them make of the freezing map, or ``places``."""
    changes = {"kind": source.generator, "words_per_lane_per_cycle": words}
    if source.generator == "philox4x32":
        changes |= {"seed_cycles": 0, "latency_cycles": hardware.weight_generator.latency_cycles + 10}
    generator = hardware.weight_generator.model_copy(update=changes)
    places = places or generator.num_lanes * words * (WORD_BITS[source.generator] // 16)
    decoder = hardware.mask_decoder.model_copy(update={"positions_per_cycle": places})
    return hardware.model_copy(update={"weight_generator": generator, "mask_decoder": decoder})


def with_lanes(hardware, num_lanes):
    """Return the chip with as many lanes as are in use."""
    generator = hardware.weight_generator.model_copy(update={"num_lanes": num_lanes})
    return hardware.model_copy(update={"weight_generator": generator})


def events(source, shape, hardware, tiles, fetch_bytes):
    """Return the weight tiles as a schedule has them, with raw masks, and the lanes in use."""
    columns = [(tile.first_filter, tile.num_filters, tile.offset, tile.count) for tile in tiles]
    ranges = TileRange(*np.array(columns, dtype=np.int64).T)
    places, ones = hardware.mask_decoder.positions_per_cycle, np.ones(len(tiles), dtype=np.int64)
    work = generation_work(source, shape, hardware.weight_generator, ranges, ones, num_places=places)
    decode = -(-ranges.num_filters * ranges.num_weights // places)
    decode = np.where(work.is_held_up, np.maximum(decode, work.cycles), decode)
    nothing = np.zeros_like(decode)
    return WeightEvents(nothing, nothing, fetch_bytes, nothing, decode, work.cycles), work.num_lanes


def stations_of(weights, hardware):
    """Return decoder and generator, and what an array waits for that takes a weight tile in each of its steps."""
    number = weights.generate_cycles.size
    schedule = SimpleNamespace(
        weights=replace(weights, step=np.arange(number)), num_steps=number, uses_decoder=True, uses_generator=True,
        seeds_with_tiles=False,
    )  # fmt: skip
    tiles = np.arange(1, number + 1, dtype=np.int64)
    units = {
        unit.name: unit for unit in (_mask_decoder(schedule, hardware, ""), _weight_generator(schedule, hardware, ""))
    }
    return units | {"waits": _made(schedule, hardware, tiles)}


def _tiles(dims, layer):
    tiling, steps = layer.tiling, layer.weights.step
    nest = build_nest(dims, tiling, range(layer.num_steps))
    window = dims.R * dims.S
    for step in steps.tolist():
        index, size = ({loop: int(values[loop][step]) for loop in "KC"} for values in (nest.index, nest.size))
        first, offset = index["K"] * (tiling.size("K") or dims.K), index["C"] * (tiling.size("C") or dims.C) * window
        yield Tile(first, size["K"], offset, size["C"] * window)


def with_loads(source, shape, hardware, tiles):
    """Yield the tiles with the seeds that they begin with: of domains whose next word lies behind those made."""
    per_word = [WORD_BITS[source.generator]]
    if stream_geometry(source, shape).threshold_fields_per_word:
        per_word.append(WORD_BITS[source.generator] // source.threshold_bits)
    before = None
    for tile in tiles:
        if source.generator == "philox4x32":
            yield replace(tile, load=3)
            continue
        holds = tile.num_filters <= hardware.weight_generator.num_lanes
        holds = holds and before is not None and before[:2] == (tile.first_filter, tile.num_filters)
        loads = [not holds or tile.offset // each < -(-before[2] // each) - 1 for each in per_word]
        yield replace(tile, load=sum(load << place for place, load in enumerate(loads)))
        before = tile.first_filter, tile.num_filters, tile.offset + tile.count


def chunks(values, tile, source, hardware):
    """Return a tile's values in the order of the path, [chunks, positions]; False where it has none."""
    (lanes, words), places = built_lanes(source, hardware), hardware.mask_decoder.positions_per_cycle
    out, per_word = [], 16 if freezes(source) else 1
    most = words * (WORD_BITS[source.generator] // per_word)
    rows = values[tile.first_filter : tile.first_filter + tile.num_filters, tile.offset : tile.offset + tile.count]
    for first in range(0, tile.num_filters, lanes):
        part = rows[first : first + lanes]
        width = int(lane_places(np.array(part.shape[0]), places, most)[0])
        columns = tile.offset % width, -(tile.offset + tile.count) % width
        part = np.pad(part, ((0, places // width - part.shape[0]), columns))
        out.append(part.reshape(places // width, -1, width).transpose(1, 0, 2).reshape(-1, places))
    return np.concatenate(out)


def random_layers(root, chip, number, kind=None, words=1, places=0):
    """Yield small layers in tilings that no mapper would choose: odd parts, in either order, visited again at once.

    Of Philox, parts of whole blocks on all lanes: the table counts words, wherever blocks begin and end.
    """
    like = next(scheduled_layers(root, chip, "conv6_slt_f50", kind, words, places))
    hardware = with_lanes(
        like.hardware, load_hardware(f"{root}/hwconfigs/{chip}.yaml").config.weight_generator.num_lanes
    )
    random = np.random.default_rng(2)
    grid, most_units = ((8, 128), (6, 5)) if kind == "philox4x32" else ((1, 1), (80, 140))
    for place in range(number):
        units = random.integers(1, most_units).tolist()
        shape = tuple(many * size for many, size in zip(units, grid, strict=True))
        prune, lock = sorted(random.integers(0, 1 << 16, 2).tolist()) if place % 4 else (0, 0)
        seed = int(random.integers(1 << 32))
        source = replace(like.source, seed=seed, prune_threshold=prune, lock_threshold=lock)
        sizes = [each * int(random.integers(1, most + 1)) for most, each in zip(units, grid, strict=True)]
        parts = [
            [(first, min(size, most - first)) for first in range(0, most, size)]
            for size, most in zip(sizes, shape, strict=True)
        ]
        ranges = [one + other for one in parts[0] for other in parts[1] for _ in range(random.integers(1, 3))]
        ranges = ranges if place % 2 else sorted(ranges, key=lambda tile: tile[2])
        tiles = [Tile(*each) for each in ranges[:60]]
        yield _laid_out(hardware, f"random {place}", source, shape, tiles, random)


def _laid_out(hardware, name, source, shape, tiles, random):
    """Return a layer of these tiles; its mask is random, and the stored bits of each tile are a request."""
    frozen = freezing_map(source, shape)
    keep = np.where(frozen == 0, random.integers(0, 2, shape) > 0, frozen > 0)
    weights, in_use = events(source, shape, hardware, tiles, np.full(len(tiles), hardware.dram.burst_bytes))
    built = with_lanes(hardware, in_use)
    tiles = tuple(with_loads(source, shape, built, tiles))
    signs = layer_weights(source, shape) > 0
    return Layer(name, source, built, tiles, weights, stations_of(weights, built), keep, signs, frozen == 0)


def stored_bits(layer):
    """Return the mask bits of the free weights of each tile, in the order of the path."""
    stored = []
    for tile in layer.tiles:
        keep, free = (chunks(plane, tile, layer.source, layer.hardware) for plane in (layer.keep, layer.free))
        stored.append(keep[free])
    return stored


def coded(layer, codec):
    """Return the layer with a coded mask and a decoder of one symbol a cycle; a tile needs all that its bits lie in."""
    stored = stored_bits(layer)
    ends = _symbol_ends(codec, np.concatenate(stored))
    reached = np.cumsum([part.size for part in stored])
    symbols = np.minimum(np.searchsorted(ends, reached, side="left") + 1, ends.size)
    cycles = np.maximum(layer.weights.decode_cycles, np.diff(symbols, prepend=0))
    weights = replace(layer.weights, decode_cycles=cycles)
    return replace(layer, weights=weights, stations=stations_of(weights, layer.hardware))


def _symbol_ends(codec, bits):
    """Return the mask bits up to the end of each symbol of a coded mask."""
    if codec == "entropy":
        return np.arange(1, bits.size + 1)
    payload, inverted = encode_mask(codec, bits).payload, 2 * np.count_nonzero(bits) > bits.size
    ends = np.flatnonzero(~bits if inverted else bits) + 1
    escape = (1 << (payload[0] & 15)) - 1
    if codec == "rle":  # a field of ones is a symbol that continues a run
        runs = np.diff(ends, prepend=0)
        parts = [np.arange(escape, run, escape) for run in runs.tolist()]
        ends = np.sort(
            np.concatenate([ends, *(end - run + part for end, run, part in zip(ends, runs, parts, strict=True))])
        )
    # What no run ends is no symbol, but takes a cycle.
    return np.append(ends, bits.size) if ends.size and ends[-1] < bits.size else ends


def requests_of(layer):
    """Return for each tile how many requests of the layer have brought its stored bits; tiles may share a burst."""
    value = next(wait.value for wait in layer.stations["weight_generator"].waits if wait.counter == "fetched")
    return np.maximum.accumulate(np.where(value == NO_WAIT, 0, value))


def table_times(layer, places, arrivals):
    """Return when each tile begins and is ready, as the rows of decoder and generator say.

    ``places``: when each tile has a place; ``arrivals``: when each request has brought stored bits, from the layer's
    begin.
    """
    bits = requests_of(layer) - 1
    free, begun, reached = 0, {}, {}
    for name in ("mask_decoder", "weight_generator"):
        station, free, begun[name] = layer.stations[name], 0, []
        for event, cycles in enumerate(station.cycles.tolist()):
            begun[name].append(max(free, places[event], arrivals[bits[event]]))
            free = begun[name][-1] + cycles
        for raised in station.raises:
            reached[raised.counter] = np.array(begun[name]) + station.cycles + raised.latency_cycles
    assert begun["mask_decoder"] == begun["weight_generator"]
    ready = np.zeros(len(places), dtype=np.int64)
    for wait in layer.stations["waits"]:
        ready = np.maximum(ready, np.where(wait.value == NO_WAIT, 0, reached[wait.counter]))
    return np.array(begun["weight_generator"]), ready
