"""The weight tiles of a scheduled layer as the weight path takes them, and what its stations say of them."""

from dataclasses import dataclass, replace

import numpy as np

from accelsim.config.loader import load_hardware
from accelsim.mapping.generation import TileRange, generation_work, lane_places
from accelsim.mapping.loops import build_nest
from accelsim.pipeline import built_for, layer_plans, schedule_network
from accelsim.prng import freezing_map, layer_weights
from accelsim.prng.generators import WORD_BITS
from accelsim.prng.streams import freezes, stream_geometry
from accelsim.ticket.file import read_ticket
from accelsim.ticket.pack import unpack_mask
from accelsim.timing.stations import NO_WAIT, Wait, layer_stations
from accelsim.trace import trace_workload


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
    stations: dict
    keep: np.ndarray
    sign: np.ndarray
    free: np.ndarray


def scheduled_layers(root, chip, ticket, kind=None, words=1):
    """Yield the layers of a committed ticket as a committed chip runs them.

    ``kind`` puts another generator in place of the ticket's; the mask keeps what the ticket keeps where it may.
    ``words`` of each lane and cycle, where they are not the chip's: the decoder then takes what the lanes make.
    """
    workload = f"{root}/workloads/{ticket}.pt"
    trace = trace_workload(workload)
    hardware = built_for(load_hardware(f"{root}/hwconfigs/{chip}.yaml").config, trace, "slt")
    schedule, _ = schedule_network(hardware, trace, "slt")
    dims = {layer.name: layer.dims for layer in trace.layers}
    stored, plans = read_ticket(workload), layer_plans(trace, "slt")
    is_own = kind is None and words == 1
    for layer in schedule.layers:
        if layer.name not in plans or layer.parts is not None:
            continue
        packed = stored.layer(layer.name)
        shape, source = packed.shape, replace(packed.source, generator=kind or packed.source.generator)
        frozen = freezing_map(source, shape).reshape(shape[0], -1)
        keep = np.where(frozen == 0, unpack_mask(packed).reshape(frozen.shape), frozen > 0)
        built = hardware if is_own else other_lanes(hardware, source, words)
        tiles = tuple(with_loads(source, frozen.shape, built, _tiles(dims[layer.name], layer)))
        stations = {station.name: station for station in layer_stations(layer, hardware, fits_beside=True)}
        work = generated(source, frozen.shape, built, tiles)
        if is_own:
            assert np.array_equal(work, stations["weight_generator"].cycles), layer.name
        stations["weight_generator"] = replace(stations["weight_generator"], cycles=work)
        sign = layer_weights(source, shape).reshape(frozen.shape) > 0
        yield Layer(layer.name, source, built, tiles, stations, keep, sign, frozen == 0)


def other_lanes(hardware, source, words):
    """Return the chip with other lanes, and a decoder that takes what all of them make of the freezing map."""
    generator = hardware.weight_generator.model_copy(
        update={"kind": source.generator, "words_per_lane_per_cycle": words}
    )
    places = generator.num_lanes * words * (WORD_BITS[source.generator] // 16)
    decoder = hardware.mask_decoder.model_copy(update={"positions_per_cycle": places})
    return hardware.model_copy(update={"weight_generator": generator, "mask_decoder": decoder})


def generated(source, shape, hardware, tiles):
    """Return the generator's cycles of each tile."""
    ranges = np.array(
        [(tile.first_filter, tile.num_filters, tile.offset, tile.count) for tile in tiles], dtype=np.int64
    )
    ones, places = np.ones(len(tiles), dtype=np.int64), hardware.mask_decoder.positions_per_cycle
    ranges = TileRange(*ranges.T)
    return generation_work(source, shape, hardware.weight_generator, ranges, ones, num_places=places).cycles


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
        holds = tile.num_filters <= hardware.weight_generator.num_lanes
        holds = holds and before is not None and before[:2] == (tile.first_filter, tile.num_filters)
        loads = [not holds or tile.offset // each < -(-before[2] // each) - 1 for each in per_word]
        yield replace(tile, load=sum(load << place for place, load in enumerate(loads)))
        before = tile.first_filter, tile.num_filters, tile.offset + tile.count


def chunks(values, tile, source, hardware):
    """Return a tile's values in the order of the path, [chunks, positions]; False where it has none."""
    lanes, places = hardware.weight_generator.num_lanes, hardware.mask_decoder.positions_per_cycle
    out, per_word = [], 16 if freezes(source) else 1
    most = hardware.weight_generator.words_per_lane_per_cycle * (WORD_BITS[source.generator] // per_word)
    rows = values[tile.first_filter : tile.first_filter + tile.num_filters, tile.offset : tile.offset + tile.count]
    for first in range(0, tile.num_filters, lanes):
        part = rows[first : first + lanes]
        width = int(lane_places(np.array(part.shape[0]), places, most)[0])
        columns = tile.offset % width, -(tile.offset + tile.count) % width
        part = np.pad(part, ((0, places // width - part.shape[0]), columns))
        out.append(part.reshape(places // width, -1, width).transpose(1, 0, 2).reshape(-1, places))
    return np.concatenate(out)


def random_layers(root, chip, number, kind=None, words=1):
    """Yield small layers in tilings that no mapper would choose: odd parts, in either order, visited again at once."""
    like = next(scheduled_layers(root, chip, "conv6_slt_f50", kind, words))
    random = np.random.default_rng(2)
    for place in range(number):
        shape = tuple(random.integers(1, (80, 140)).tolist())
        prune, lock = sorted(random.integers(0, 1 << 16, 2).tolist()) if place % 4 else (0, 0)
        seed = int(random.integers(1 << 32))
        source = replace(like.source, seed=seed, prune_threshold=prune, lock_threshold=lock)
        sizes = [int(random.integers(1, most + 1)) for most in shape]
        parts = [
            [(first, min(size, most - first)) for first in range(0, most, size)]
            for size, most in zip(sizes, shape, strict=True)
        ]
        ranges = [one + other for one in parts[0] for other in parts[1] for _ in range(random.integers(1, 3))]
        ranges = ranges if place % 2 else sorted(ranges, key=lambda tile: tile[2])
        tiles = with_loads(source, shape, like.hardware, [Tile(*each) for each in ranges[:60]])
        yield _laid_out(like, f"random {place}", source, shape, tuple(tiles), random)


def _laid_out(like, name, source, shape, tiles, random):
    """Return a layer of these tiles, whose mask is random, with the latencies and waits of the stations of ``like``."""
    frozen = freezing_map(source, shape)
    keep = np.where(frozen == 0, random.integers(0, 2, shape) > 0, frozen > 0)
    sizes = np.array([tile.num_filters * tile.count for tile in tiles], dtype=np.int64)
    work = {
        "mask_decoder": -(-sizes // like.hardware.mask_decoder.positions_per_cycle),
        "weight_generator": generated(source, shape, like.hardware, tiles),
    }
    fetched = Wait("fetched", np.arange(1, len(tiles) + 1, dtype=np.int64))
    stations = {unit: replace(like.stations[unit], cycles=cycles, waits=(fetched,)) for unit, cycles in work.items()}
    signs = layer_weights(source, shape) > 0
    return Layer(name, source, like.hardware, tiles, stations, keep, signs, frozen == 0)


def requests_of(layer):
    """Return for each tile how many requests of the layer have brought its stored bits; tiles may share a burst."""
    value = next(wait.value for wait in layer.stations["weight_generator"].waits if wait.counter == "fetched")
    return np.maximum.accumulate(np.where(value == NO_WAIT, 0, value))


def table_times(layer, places, arrivals):
    """Return when each tile begins and is ready, as the rows of decoder and generator say.

    ``places``: when each tile has a place; ``arrivals``: when each request has brought stored bits, from the layer's
    begin.
    """
    begins, ready = {}, np.zeros(len(places), dtype=np.int64)
    for name in ("mask_decoder", "weight_generator"):
        station = layer.stations[name]
        free, begun = 0, []
        latency = next(r.latency_cycles for r in station.raises if r.counter in ("decoded", "generated"))
        bits = next((wait.value for wait in station.waits if wait.counter == "fetched"), None)
        for event, cycles in enumerate(station.cycles.tolist()):
            begin = max(free, places[event])
            if bits is not None and bits[event] != NO_WAIT:
                begin = max(begin, arrivals[int(bits[event]) - 1])
            begun.append(begin)
            free = begin + cycles
            ready[event] = max(ready[event], free + latency)
        begins[name] = begun
    return np.array(begins["weight_generator"]), ready
