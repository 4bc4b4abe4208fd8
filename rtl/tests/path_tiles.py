"""The weight tiles of a scheduled layer as the weight path takes them, and what its stations say of them."""

from dataclasses import dataclass, replace

import numpy as np

from accelsim.config.loader import load_hardware
from accelsim.mapping.generation import TileRange, generation_work
from accelsim.mapping.loops import build_nest
from accelsim.pipeline import built_for, layer_plans, schedule_network
from accelsim.prng import freezing_map, layer_weights
from accelsim.prng.generators import WORD_BITS
from accelsim.ticket.file import read_ticket
from accelsim.ticket.pack import unpack_mask
from accelsim.timing.stations import NO_WAIT, layer_stations
from accelsim.trace import trace_workload


@dataclass(frozen=True)
class Tile:
    """Filters and weights of each filter; ``load``: the lanes do not hold their streams from the tile before."""

    first_filter: int
    num_filters: int
    offset: int
    count: int
    load: bool


@dataclass(frozen=True)
class Layer:
    """A layer of a ticket on a chip: its tiles with the table's cycles, and what must leave the path."""

    name: str
    source: object
    tiles: tuple
    stations: dict
    keep: np.ndarray
    sign: np.ndarray
    free: np.ndarray


def scheduled_layers(root, chip, ticket, kind=None):
    """Yield the layers of a committed ticket as a committed chip runs them.

    ``kind`` puts another generator in place of the ticket's; the mask keeps what the ticket keeps where it may.
    """
    workload = f"{root}/workloads/{ticket}.pt"
    trace = trace_workload(workload)
    hardware = built_for(load_hardware(f"{root}/hwconfigs/{chip}.yaml").config, trace, "slt")
    schedule, _ = schedule_network(hardware, trace, "slt")
    dims = {layer.name: layer.dims for layer in trace.layers}
    stored, plans = read_ticket(workload), layer_plans(trace, "slt")
    for layer in schedule.layers:
        if layer.name not in plans or layer.parts is not None:
            continue
        packed = stored.layer(layer.name)
        shape, source = packed.shape, replace(packed.source, generator=kind or packed.source.generator)
        frozen = freezing_map(source, shape).reshape(shape[0], -1)
        keep = np.where(frozen == 0, unpack_mask(packed).reshape(frozen.shape), frozen > 0)
        tiles = tuple(_tiles(dims[layer.name], layer, hardware))
        stations = {station.name: station for station in layer_stations(layer, hardware, fits_beside=True)}
        work = _generated(source, frozen.shape, hardware.weight_generator, tiles)
        if kind is None:
            assert np.array_equal(work, stations["weight_generator"].cycles), layer.name
        stations["weight_generator"] = replace(stations["weight_generator"], cycles=work)
        sign = layer_weights(source, shape).reshape(frozen.shape) > 0
        yield Layer(layer.name, source, tiles, stations, keep, sign, frozen == 0)


def _generated(source, shape, generator, tiles):
    """Return the generator's cycles of each tile."""
    ranges = np.array(
        [(tile.first_filter, tile.num_filters, tile.offset, tile.count) for tile in tiles], dtype=np.int64
    )
    ones = np.ones(len(tiles), dtype=np.int64)
    return generation_work(source, shape, generator, TileRange(*ranges.T), ones).cycles


def _tiles(dims, layer, hardware):
    tiling, steps = layer.tiling, layer.weights.step
    nest = build_nest(dims, tiling, range(layer.num_steps))
    window, before = dims.R * dims.S, None
    for step in steps.tolist():
        index, size = ({loop: int(values[loop][step]) for loop in "KC"} for values in (nest.index, nest.size))
        first = index["K"] * (tiling.size("K") or dims.K)
        offset, count = index["C"] * (tiling.size("C") or dims.C) * window, size["C"] * window
        fits = size["K"] <= hardware.weight_generator.num_lanes
        goes_on = before is not None and before[:2] == (first, size["K"]) and offset >= before[2] + before[3]
        yield Tile(first, size["K"], offset, count, not (goes_on and fits))
        before = (first, size["K"], offset, count)


def chunks(values, tile, lanes, fields):
    """Return a tile's values in the order of the path, [chunks, lanes x fields]; False where it has none."""
    out = []
    front, back = tile.offset % fields, -(tile.offset + tile.count) % fields
    rows = values[tile.first_filter : tile.first_filter + tile.num_filters, tile.offset : tile.offset + tile.count]
    for first in range(0, tile.num_filters, lanes):
        part = np.pad(
            rows[first : first + lanes], ((0, max(0, lanes - rows[first : first + lanes].shape[0])), (front, back))
        )
        out.append(part.reshape(lanes, -1, fields).transpose(1, 0, 2).reshape(-1, lanes * fields))
    return np.concatenate(out)


def fields_of(source):
    """Return the weights that a lane hands on together."""
    return WORD_BITS[source.generator] // 16


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
