"""The chip as one table: its units as stations, what each of their events waits for, and what it raises.

A *station* works on its events in order. An event begins when the event before it has ended and every counter that it
waits for has reached a value; it lasts ``cycles``; at its begin or its end it raises counters, some after a latency.
Counters count over the whole network; the table of a layer gives values relative to what the layers before have raised.
A counter never runs backwards: a raise takes effect no earlier than the raise before it.

This is the file to hold against a block diagram, and the only one that a new effect on time changes:

================  ====================================  ================================================  ==============
station           an event is                           waits for                                         raises
================  ====================================  ================================================  ==============
dma               a request, in the program's order     a place in the buffer that it fills, data that    the counter of
                                                        it stores, a free entry for requests              its kind
mask_decoder      a weight tile                         a place in the weight buffer, stored bits         freed, emptied
                                                                                                          cleared
                                                                                                          decoded
weight_generator  a weight tile                         a place in the weight buffer, stored seeds, bits  generated
pe_array          a step: one tile on the array         inputs, weights, partial sums, free accumulators  array, taken
vector_unit       an output tile                        its last step, residuals, a place to stage it     drained
sequencer         a layer's end                         all outputs have left, all stores have ended      layers
================  ====================================  ================================================  ==============

Progress of the array is counted in half steps: 2 s + 1 when step s has begun, 2 s when step s - 1 has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.timing.program import INPUT, PSUM_READ, RESIDUAL, STORE, WEIGHT, program_table
from accelsim.timing.schedule import NO_RELEASE, LayerSchedule

Ints = npt.NDArray[np.int64]
NO_WAIT = NO_RELEASE

COUNTERS = {
    "array": "steps of the PE array",
    "taken": "layers whose last weight tile the PE array has taken",
    "fetched": "weight tiles from DRAM",
    "inputs": "input tiles from DRAM",
    "psums": "partial sums from DRAM",
    "residuals": "residual tiles from DRAM",
    "stored": "stores to DRAM",
    "done": "requests of the DMA that are done",
    "freed": "tiles consumed by the mask decoder",
    "emptied": "halves of the mask buffer emptied by the mask decoder",
    "cleared": "layers of large blocks of stored bits consumed by the mask decoder",
    "decoded": "tiles from the mask decoder",
    "generated": "tiles from the weight generator",
    "drained": "output tiles from the vector unit",
    "layers": "finished layers",
}
"""Counter -> what it counts, in the words of a message."""
COUNTER_OF_KIND = ("fetched", "inputs", "psums", "residuals", "stored")
"""The counter that the arrival of a request raises, by the request's kind (see `accelsim.timing.program`)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What the events of a station wait for: ``value`` of ``counter`` each, int64 [num_events].

    `NO_WAIT`: nothing; 0: all that the layers before raise; n: the n-th raise of this layer. ``charge``: the cause that
    cycles of waiting have in the accounts, where the critical path names no other; empty: they are in none.
    """

    counter: str
    value: Ints
    charge: str = ""


@dataclass(frozen=True, slots=True)
class Raise:
    """A counter that events raise by one: at their end or begin, after a latency; ``only`` these, int64, or all."""

    counter: str
    at_begin: bool = False
    latency_cycles: int = 0
    only: Ints | None = None


@dataclass(frozen=True, slots=True)
class Requests:
    """What the DMA's events ask of the memory at their end, int64 [num_events]: kind (its arrival raises that counter),
    bytes, and cycles on the bus (-1: they follow from the bytes). ``counters`` are those of the kinds.
    """  # noqa: D205

    kind: Ints
    num_bytes: Ints
    bus_cycles: Ints
    counters: tuple[str, ...] = COUNTER_OF_KIND


@dataclass(frozen=True, slots=True)
class Station:
    """A unit of the chip in one layer: its events' work, int64 [num_events], what they wait for and raise.

    Where events are ``requests``, raises at their end come when the memory's answer has arrived.
    """

    name: str
    cycles: Ints
    waits: tuple[Wait, ...]
    raises: tuple[Raise, ...] = ()
    requests: Requests | None = None


def layer_stations(schedule: LayerSchedule, hardware: HardwareConfig, fits_beside: bool) -> tuple[Station, ...]:
    """Return the table of a layer.

    Parameters
    ----------
    fits_beside
        Whether the layer's first weights may be loaded beside the last ones of the layer before, see
        `accelsim.timing.schedule.first_weights_fit`.
    """
    place = _first_place(fits_beside)
    return (
        _dma(schedule, hardware, place),
        _mask_decoder(schedule, hardware, place),
        _weight_generator(schedule, hardware, place),
        _pe_array(schedule, hardware),
        _vector_unit(schedule, hardware),
        _sequencer(schedule, hardware),
    )


def _first_place(fits_beside: bool) -> str:
    """Return the counter of the layers before from which on the first weight block of a layer has a place."""
    return "taken" if fits_beside else "array"


def _places(release: Ints, first_place: str) -> tuple[Wait, ...]:
    """Return the waits for a place in the weight buffer: of the first block, and of those behind it."""
    first = release == NO_RELEASE
    return Wait(first_place, np.where(first, 0, NO_WAIT)), Wait("array", np.where(first, NO_WAIT, release))


def _dma(schedule: LayerSchedule, hardware: HardwareConfig, first_place: str) -> Station:
    """Return the DMA engine: it issues requests in the program's order, each as soon as its place is free."""
    kind, event, num_bytes, step, bus_cycles = program_table(schedule)
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    nothing = np.full(kind.size, NO_WAIT, dtype=np.int64)
    array, first, freed, emptied, cleared, drained, stored = (nothing.copy() for _ in range(7))
    of_weights, of_inputs = np.flatnonzero(kind == WEIGHT), np.flatnonzero(kind == INPUT)
    if schedule.uses_decoder:
        # A layer's first block comes into the half of the mask buffer that the last one before it has left free.
        release = weights.fetch_release[event[of_weights]]
        freed[of_weights] = release
        emptied[of_weights] = np.where(release == NO_RELEASE, -1, NO_WAIT)
        cleared[of_weights] = np.where(release == NO_RELEASE, 0, NO_WAIT)
    else:
        release = weights.release[event[of_weights]]
        first[of_weights] = np.where(release == NO_RELEASE, 0, NO_WAIT)
        array[of_weights] = release
    # An input tile takes the place of one that the array has done with; the schedule says which.
    array[of_inputs] = inputs.release[event[of_inputs]]
    chosen = np.flatnonzero(kind == STORE)
    drained[chosen] = event[chosen] + 1  # a tile leaves when the vector unit is done with it
    chosen = np.flatnonzero(kind == RESIDUAL)
    drained[chosen] = _above_zero(event[chosen] - 1)  # a residual tile is staged twice
    chosen = np.flatnonzero(kind == PSUM_READ)
    # Sums come back into accumulators that another tile must have left, and only after they were written out.
    drained[chosen] = _above_zero(outputs.open_after[event[chosen]])
    source = outputs.after_store[event[chosen]]
    stored[chosen] = np.where(source >= 0, _stores_before(schedule)[np.maximum(source, 0)] + 1, NO_WAIT)
    if not schedule.loads_ahead:
        chosen = np.flatnonzero((kind == WEIGHT) | (kind == INPUT))
        array[chosen] = np.maximum(array[chosen], 2 * step[chosen])  # the step before has ended, see above
    # Weights may be loaded ahead of their layer; stores follow from what they store.
    ahead = (kind == STORE) | (kind == WEIGHT) & hardware.mapping.prefetch_next_layer
    waits = [
        Wait("layers", np.where(ahead, NO_WAIT, 0)), Wait(first_place, first), Wait("array", array),
        Wait("freed", freed), Wait("emptied", emptied), Wait("cleared", cleared), Wait("drained", drained),
        Wait("stored", stored),
    ]  # fmt: skip
    raises: tuple[Raise, ...] = ()
    limit = hardware.dram.num_outstanding_requests
    if limit is not None:  # entries are given back in the order of issue
        raises = (Raise("done"),)
        waits.append(Wait("done", np.arange(kind.size, dtype=np.int64) + 1 - limit))
    # The engine is free again when it has issued a request; the transfer is the memory's time.
    issue = np.full(kind.size, hardware.dma.request_cycles, dtype=np.int64)
    return Station("dma", issue, _some(waits), raises, Requests(kind, num_bytes, bus_cycles))


def _mask_decoder(schedule: LayerSchedule, hardware: HardwareConfig, first_place: str) -> Station:
    """Return the decoder: it expands a tile's stored bits into the weight buffer, with the weights where it must."""
    weights, decoder = schedule.weights, hardware.mask_decoder
    if not schedule.uses_decoder or decoder is None:
        return _idle("mask_decoder")
    fetched = Wait("fetched", _running_count(weights.fetch_bytes))
    cycles = together(schedule)[0]
    raises = Raise("freed"), _leaves(schedule), Raise("decoded", latency_cycles=decoder.latency_cycles)
    # Stored bits are gone when the tile ends; what comes out of the pipeline is there its latency later.
    return Station("mask_decoder", cycles, (*_places(weights.release, first_place), fetched), raises)


def _leaves(schedule: LayerSchedule) -> Raise:
    """Return what tells the next layer that there is room for its first stored bits.

    Blocks of half of the mask buffer leave the other half to it: it waits for all of them but the last. Of others it
    waits for all.
    """
    weights = schedule.weights
    last = np.arange(weights.step.size, dtype=np.int64)[-1:]
    fetched = np.flatnonzero(weights.fetch_bytes)
    release = weights.fetch_release[fetched]
    if not (release == NO_RELEASE).any():
        return Raise("cleared", only=last)
    begins = fetched[1:][np.diff(release) != 0]  # a block's tiles have one release; only the last two blocks matter
    return Raise("emptied", only=np.append(begins[-1:] - 1, last))


def together(schedule: LayerSchedule) -> tuple[Ints, Ints]:
    """Return the cycles for which a weight tile keeps decoder and generator.

    Weights meet their mask bits in the decoder, where the freezing map tells which position a bit belongs to (`rtl/`).
    Nothing between the units holds a tile: both begin it together, and both end it when the slower one has.
    """
    weights = schedule.weights
    if not (schedule.uses_decoder and schedule.uses_generator):
        return weights.decode_cycles, weights.generate_cycles
    slower = np.maximum(weights.decode_cycles, weights.generate_cycles)
    return slower, slower


def _weight_generator(schedule: LayerSchedule, hardware: HardwareConfig, first_place: str) -> Station:
    """Return the generator: it makes a tile's weights; seeds that are stored come with the tile.

    Where weights meet their mask bits, lanes begin when those have come, and words pass the decoder.
    """
    weights, generator, decoder = schedule.weights, hardware.weight_generator, hardware.mask_decoder
    if not schedule.uses_generator or generator is None:
        return _idle("weight_generator")
    waits, latency = _places(weights.release, first_place), generator.latency_cycles
    passed = decoder if schedule.uses_decoder else None
    if schedule.seeds_with_tiles or passed is not None:
        waits = (*waits, Wait("fetched", _running_count(weights.fetch_bytes)))
    if passed is not None:
        latency += passed.latency_cycles  # a word is there when it has gone through both pipelines
    raises = (Raise("generated", latency_cycles=latency),)
    return Station("weight_generator", together(schedule)[1], waits, raises)


def _pe_array(schedule: LayerSchedule, hardware: HardwareConfig) -> Station:
    """Return the array: it takes one tile a step; a weight tile comes from decoder and generator, or from DRAM."""
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    num = schedule.num_steps
    input_tiles = _at_steps(num, inputs.step, _running_count(inputs.fetch_bytes))
    psums = _at_steps(num, outputs.first_step, _running_count(outputs.psum_read_bytes))
    fetched = _at_steps(num, weights.step, _running_count(weights.fetch_bytes))
    tiles = _at_steps(num, weights.step, np.arange(1, weights.step.size + 1, dtype=np.int64))
    nothing = np.full(num, NO_WAIT, dtype=np.int64)
    begins = nothing.copy()
    begins[:1] = 0  # the first step waits for the layer before: its outputs are this layer's inputs
    waits = [
        Wait("layers", begins),
        Wait("inputs", input_tiles, "wait_dram"),
        Wait("drained", _at_steps(num, outputs.first_step, _above_zero(outputs.open_after)), "wait_vector"),
        Wait("psums", psums, "wait_dram"),
    ]
    if not schedule.uses_decoder:
        waits.append(Wait("fetched", fetched, "wait_dram"))
    waits += _made(schedule, hardware, tiles)
    # When the last weight tile is in the array the buffer is free for the next layer's; without weights, at once.
    last_taken = weights.step[-1:] if weights.step.size else np.zeros(min(1, num), dtype=np.int64)
    raises = Raise("array", at_begin=True), Raise("taken", at_begin=True, only=last_taken), Raise("array")
    return Station("pe_array", schedule.array_cycles, _some(waits), raises)


def _made(schedule: LayerSchedule, hardware: HardwareConfig, tiles: Ints) -> list[Wait]:
    """Return the array's waits for decoder and generator.

    Where both have a tile for as long, the array waits for the one that decides about it. Words pass the generator and
    then the decoder: a tile that the decoder holds up for no longer than that is ready when its words have passed.
    """
    generator = hardware.weight_generator
    if not schedule.uses_generator or generator is None:
        return [Wait("decoded", tiles, "wait_decoder")] if schedule.uses_decoder else []
    if not schedule.uses_decoder:
        return [Wait("generated", tiles, "wait_generator")]
    weights = schedule.weights
    longer = _at_steps(schedule.num_steps, weights.step, weights.decode_cycles - weights.generate_cycles)
    is_decoded, is_held_up = longer >= max(1, generator.latency_cycles), longer >= 0
    return [
        Wait("decoded", np.where(is_decoded, tiles, NO_WAIT), "wait_decoder"),
        Wait("generated", np.where(is_held_up & ~is_decoded, tiles, NO_WAIT), "wait_decoder"),
        Wait("generated", np.where(is_held_up, NO_WAIT, tiles), "wait_generator"),
    ]


def _vector_unit(schedule: LayerSchedule, hardware: HardwareConfig) -> Station:
    """Return the vector unit: it works on finished tiles; the tile before may still be on its way to DRAM."""
    outputs = schedule.outputs
    waits = (
        Wait("array", 2 * (outputs.last_step + 1)),
        Wait("residuals", _running_count(outputs.residual_bytes)),
        Wait("stored", _above_zero(_stores_before(schedule) - 1)),  # two results have a place to wait for the DMA
    )
    raises = (Raise("drained", latency_cycles=hardware.vector_unit.latency_cycles),)
    return Station("vector_unit", outputs.vector_cycles, _some(waits), raises)


def _sequencer(schedule: LayerSchedule, hardware: HardwareConfig) -> Station:
    """Return the layer's end: its outputs have left the vector unit and, where they go there, have reached DRAM.

    Before the next layer begins it has to be called; the parts of a layer are one call.
    """
    outputs = schedule.outputs
    num_stores = _above_zero(np.array([np.count_nonzero(outputs.store_bytes)], dtype=np.int64))
    waits = (
        Wait("array", np.array([2 * schedule.num_steps], dtype=np.int64)),
        Wait("drained", _above_zero(np.array([outputs.last_step.size], dtype=np.int64)), "wait_vector"),
        Wait("stored", num_stores, "wait_dram"),
    )
    # The array's wait has no charge here: its cycles are in the causes of its own steps already.
    call = 0 if schedule.goes_on else hardware.pe_array.call_cycles
    return Station("sequencer", np.full(1, call, dtype=np.int64), waits, (Raise("layers"),))


def _some(waits: Sequence[Wait]) -> tuple[Wait, ...]:
    """Return the waits that some event has; others would take 8 bytes an event, for millions of them, for nothing."""
    return tuple(wait for wait in waits if wait.value.size and wait.value.max() > NO_WAIT)


def _idle(name: str) -> Station:
    return Station(name, np.zeros(0, dtype=np.int64), ())


def _above_zero(values: Ints) -> Ints:
    """Return the values, and `NO_WAIT` where nothing of this layer is waited for."""
    return np.where(values > 0, values, NO_WAIT)


def _at_steps(num_steps: int, steps: Ints, values: Ints) -> Ints:
    """Return the values at their steps, `NO_WAIT` elsewhere."""
    table = np.full(num_steps, NO_WAIT, dtype=np.int64)
    table[steps] = values
    return table


def _running_count(num_bytes: Ints) -> Ints:
    """Return for each event how many events up to it (included) move bytes, or `NO_WAIT` where it moves none."""
    present = num_bytes > 0
    return np.where(present, np.cumsum(present), NO_WAIT)


def _stores_before(schedule: LayerSchedule) -> Ints:
    """Return the stores before each output visit, int64 [num_outputs]."""
    is_stored = (schedule.outputs.store_bytes > 0).astype(np.int64)
    before: Ints = np.cumsum(is_stored) - is_stored
    return before
