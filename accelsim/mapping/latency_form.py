"""The latency of tilings in closed form: from the work of each unit, and from when operands come and go.

The latency is the largest of what no schedule can beat: the array's own time, the work of memory, decoder and
generator, and, for what arrives (or leaves) in a part of the layer only, that work plus the array's time for the rest.
A weight buffer that holds all weights of a layer, for instance, is filled while the first output positions are
computed: the array then waits for the decoder although this has less to do than the array in the layer as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Work:
    """What latency follows from: cycles of each unit in the whole layer, and when operands come and go.

    ``first_*``: what the array waits for before its first step; ``last_*``: what follows its last one. ``share_*`` of
    the steps fetch weights, and inputs, and wait ``asked_*`` cycles for the first word. ``loading``: what comes between
    steps where nothing is loaded ahead. ``staged``: results in their two places between array and memory.
    ``returns``: reading partial sums back, each after its request. ``lead`` and ``tail``: latencies before the first
    data, and behind the last step. ``behind``: the share of the results whose stores stand behind a load for a later
    step. Arrays are [orders, n] of tilings, or [layers] of the chosen ones.
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
    loading: Floats
    asked_w: Floats
    asked_i: Floats
    staged: Floats
    returns: Floats
    loads_w: Floats
    late_w: Floats
    tiles_w: Floats
    loads_i: Floats
    late_i: Floats
    tiles_i: Floats
    ready: Floats
    tiles_o: Floats
    lead: Floats
    tail: Floats
    behind: Floats

    def take(self, order: Ints, chosen: Ints) -> Work:
        """Return the work of the chosen tilings."""
        shape = self.array.shape
        return Work(*(picked(getattr(self, field.name), shape, (order, chosen)) for field in fields(self)))


def picked(values: Floats, shape: tuple[int, ...], places: tuple[Ints, Ints]) -> Floats:
    """Return values of [orders, n], or what stands for such, at some places."""
    # Most have the shape as they are, and each call of `broadcast_to` takes longer than the picking.
    found: Floats = (values if values.shape == shape else np.broadcast_to(values, shape))[places]
    return found


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


def latency_of(hardware: HardwareConfig, work: Work, fetched: Floats, made: Floats) -> Floats:
    """Return the latency of each tiling, [orders, n].

    Parameters
    ----------
    fetched, made
        Cycles of fetching and of making the first load's weights that were done before the layer begins.
    """
    of_weights, of_inputs = (work.loads_w, work.late_w, work.tiles_w), (work.loads_i, work.late_i, work.tiles_i)
    double, array = hardware.weight_buffer.fills_ahead, work.array
    fetch = np.maximum(work.first_weights - fetched, 0)
    lead_w, lead_i = np.where(fetch > 0, work.lead, 0.0), np.where(work.inputs > 0, work.lead, 0.0)
    ahead = np.maximum(fetch + lead_w + np.maximum(work.first_made - made, 0), work.first_inputs + lead_i)
    # The vector unit begins with the first output tile that is finished; its own last tile is part of its work.
    of_vector = work.vector + work.ready * array + work.last_store + ahead + work.tail
    of_stores = np.maximum(work.stores, work.staged) + work.ready * array + work.last_vector + ahead + work.tail
    # Single accumulators: those before have to leave, and sums to come back, before the array goes on.
    stops = np.zeros(1) if hardware.accumulator.double_buffered else work.returns / work.tiles_o
    busy = array + stops
    if not hardware.accumulator.double_buffered:
        busy = busy + work.vector / work.tiles_o
    busy = busy + ahead
    busy = np.maximum(busy, np.maximum(_exposed(work.made, array, of_weights, double, made), work.made - made) + fetch)
    by_w, by_i = work.late_w / work.loads_w, work.late_i / work.loads_i
    first_w, first_i = np.maximum(work.weights / work.loads_w - fetched, 0), work.inputs / work.loads_i
    # Requests go out in the order of the steps that need them: before the last tile of one operand's first load, so
    # much of the other's crosses the bus too as steps up to there use.
    beside_w = first_i * np.minimum(1.0, by_w / np.maximum(by_i, 1e-9))
    beside_i = first_w * np.minimum(1.0, by_i / np.maximum(by_w, 1e-9))
    busy = np.maximum(
        busy, np.maximum(first_w + beside_w + (1 - by_w) * array, first_i + beside_i + (1 - by_i) * array)
    )
    if not double:
        busy = np.maximum(busy, _exposed(work.weights, array, of_weights, False, fetched))
    if not hardware.activation_buffer.double_buffered:
        busy = np.maximum(busy, _exposed(work.inputs, array + stops, of_inputs, False, np.zeros(1)))
    total = work.weights + work.inputs + work.stores + work.others - fetched + np.maximum(lead_w, lead_i)
    # What comes from memory last has yet to pass the array, in the steps that use it. The results of the steps before
    # have been stored by then, but for those of the tiles that its request runs ahead of (`accelsim.timing.program`).
    rest_w = np.where(work.weights > 0, (1 - work.late_w) / work.loads_w, 1.0)
    rest = np.minimum(rest_w, np.where(work.inputs > 0, (1 - work.late_i) / work.loads_i, 1.0))
    pending = np.minimum(rest + work.behind, 1.0)
    through = total - pending * work.stores + np.where(work.weights + work.inputs > 0, rest * array, 0.0)
    meanwhile = work.stores - work.last_store + work.others
    # Where nothing is loaded ahead, loads and steps take turns; results of all but the last step are stored meanwhile.
    loads_ahead = hardware.dma.loads_ahead
    flow = _flow(work, meanwhile) - fetched + ahead if loads_ahead else work.loading + np.maximum(array, meanwhile)
    last = work.last_vector + work.last_store + work.tail
    into_array = np.maximum(np.maximum(np.maximum(busy, through), flow) + last, total)
    latency: Floats = np.maximum(np.maximum(into_array, of_vector), of_stores)
    return latency + hardware.pe_array.call_cycles


def _flow(work: Work, others: Floats) -> Floats:
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
    # ``apart`` never evens steps out, ``evened`` does so over the whole layer; a lookahead of two steps lies between.
    mean: Floats = (apart + evened) / 2
    return mean


def chained(hardware: HardwareConfig, work: Work, occupied: Floats) -> Floats:
    """Return the latency of the chosen tilings one after the other, [layers].

    A layer's first load of weights is fetched, and made, from when the layer before has taken its last weights, if
    there is room for it beside them.
    """
    none = np.zeros_like(work.array)
    latency = latency_of(hardware, work, none, none)
    if not hardware.mapping.prefetch_next_layer or latency.size < 2:
        return latency
    room = np.inf if hardware.memory == "ideal" else hardware.weight_buffer.capacity_bytes
    fits = (occupied[:-1] + occupied[1:] <= room) | (np.maximum(occupied[:-1], occupied[1:]) <= room / 2)
    fits |= hardware.weight_buffer.is_copied
    rest = (1 - work.late_w) / work.loads_w
    traffic = work.inputs + work.stores + work.others
    idle, free = rest * latency, rest * np.maximum(latency - traffic, 0)
    made, fetched = none.copy(), none.copy()
    made[1:] = np.where(fits, np.minimum(idle[:-1], (work.made / work.loads_w)[1:]), 0)
    fetched[1:] = np.where(fits, np.minimum(free[:-1], (work.weights / work.loads_w)[1:]), 0)
    return latency_of(hardware, work, fetched, made)
