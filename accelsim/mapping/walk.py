"""The recurrences of a layer, as loops over integer tables: plain Python, and what numba compiles.

With a fixed DMA program every condition is that some counter reaches a value, so each event's time is a maximum of
earlier times plus its own duration. Each unit walks along its events as far as those that they wait for are known:
`_dma`, `_weight_tiles` (decoder and generator), `_array` and `_vector_unit` do that for a unit, `walk` goes round them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

Row = Any  # integers: a list for Python, an int64 array for numba
Table = Sequence[Row]
Walk = Callable[[Table, Table, Table, Table, Table, Sequence[int], int], int]
WEIGHT_KIND, INPUT_KIND, PSUM_KIND, RESIDUAL_KIND, STORE_KIND = 0, 1, 2, 3, 4
NEVER = -1  # the latency is above the limit
STUCK = -2  # units wait for each other

# Rows of ``times``; those from ARRIVALS on are one per kind of request, in the order of the kinds.
BEGUN, ENDED, FREED, MADE, DRAINED, ARRIVALS, STATE = 0, 1, 2, 3, 4, 5, 10
NUM_ROWS = 11
# Places in the row STATE. The first eight are also what a layer hands to the next one.
NOW, BUS_FREE, WRITE_FREE, WAS_WRITE = 4, 5, 6, 7
NUM_STEPS, NUM_DRAINED, NUM_FREED, NUM_MADE, NUM_ISSUED, NUM_ARRIVED, VECTOR_FREE = 8, 9, 10, 11, 12, 13, 18
STATE_LENGTH = 19
# Places in ``constants``.
READ_LATENCY, WRITE_LATENCY, DECODE_LATENCY, GENERATE_LATENCY, VECTOR_LATENCY, TURNAROUND = 0, 1, 2, 3, 4, 5
IS_IDEAL, DECODES, GENERATES, WITH_SEEDS, SPLITS, PREFETCHES = 6, 7, 8, 9, 10, 11
BEGIN, FIRST_PLACE, ARRAY_END, FREED_BEFORE, MADE_BEFORE, STATE_BEFORE, LAST_TAKEN = 12, 13, 14, 15, 16, 17, 21


def _place_cycle(place: int, times: Table, constants: Row) -> int:
    """Return when a place in the weight buffer is there: 2 s + 1 when step s begins, 2 s when step s - 1 has ended."""
    if place > 0:
        at: int = times[BEGUN][place // 2] if place % 2 else times[ENDED][place // 2 - 1]
        return at
    before: int = constants[ARRAY_END] if place == 0 else constants[FIRST_PLACE]
    return before


def _issue_cycle(requests: Table, request: int, times: Table, constants: Row) -> int:
    """Return when a request goes to the memory."""
    now: int = times[STATE][NOW]
    kind, place, freed = requests[0][request], requests[3][request], requests[4][request]
    drained, stored = requests[5][request], requests[6][request]
    is_weight = kind == WEIGHT_KIND
    if place > 0 or (is_weight and not constants[DECODES]):
        now = max(now, _place_cycle(place, times, constants))
    if kind != STORE_KIND and not (is_weight and constants[PREFETCHES]):
        now = max(now, constants[BEGIN])
    if freed > 0:
        now = max(now, times[FREED][freed - 1])
    elif is_weight and constants[DECODES]:
        now = max(now, constants[FREED_BEFORE])
    if drained > 0:
        now = max(now, times[DRAINED][drained - 1])
    if stored > 0:
        now = max(now, times[ARRIVALS + STORE_KIND][stored - 1])
    return now


def _end_cycle(now: int, is_write: int, transfer: int, state: Row, constants: Row) -> int:
    """Return when the last word of a request has crossed the bus, and keep when the bus is free."""
    if constants[IS_IDEAL]:
        return now
    ready: int = now + (constants[WRITE_LATENCY] if is_write else constants[READ_LATENCY])
    if constants[SPLITS] and is_write:
        ready = max(ready, state[WRITE_FREE]) + transfer
        state[WRITE_FREE] = ready
        return ready
    turned: int = state[BUS_FREE]
    if state[WAS_WRITE] >= 0 and state[WAS_WRITE] != is_write:
        turned += constants[TURNAROUND]
    state[WAS_WRITE] = is_write
    ready = max(ready, turned) + transfer
    state[BUS_FREE] = ready
    return ready


def _dma(requests: Table, times: Table, constants: Row, limit: int) -> int:
    """Issue requests as far as what they wait for is known; return how many, or `NEVER`."""
    kinds, transfer, bus_left = requests[0], requests[1], requests[2]
    places, freed, drained, stored = requests[3], requests[4], requests[5], requests[6]
    state = times[STATE]
    begun, num_freed, num_drained = 2 * state[NUM_STEPS], state[NUM_FREED], state[NUM_DRAINED]
    first: int = state[NUM_ISSUED]
    request = first
    while request < len(kinds):
        if places[request] > begun or freed[request] > num_freed or drained[request] > num_drained:
            break
        if stored[request] > state[NUM_ARRIVED + STORE_KIND]:
            break
        kind = kinds[request]
        now = _issue_cycle(requests, request, times, constants)
        state[NOW] = now
        is_write = 1 if kind == STORE_KIND else 0
        arrived = state[NUM_ARRIVED + kind]
        times[ARRIVALS + kind][arrived] = _end_cycle(now, is_write, transfer[request], state, constants)
        state[NUM_ARRIVED + kind] = arrived + 1
        request += 1
        if request < len(kinds) and not constants[SPLITS] and state[BUS_FREE] + bus_left[request] > limit:
            return NEVER
    state[NUM_ISSUED] = request
    return request - first


def _weight_tiles(unit: int, tiles: Table, times: Table, constants: Row) -> int:
    """Decode (``unit`` is FREED) or generate (MADE) tiles as far as what they wait for is known; return how many.

    What belongs to the generator stands one place behind what belongs to the decoder: times, counter, constant, and
    cycles in ``tiles``. A generator waits for the memory only where seeds come with the tiles.
    """
    places, fetches, cycles, done = tiles[0], tiles[1], tiles[unit], times[unit]
    state, counter, before = times[STATE], NUM_FREED + unit - FREED, FREED_BEFORE + unit - FREED
    waits = unit == FREED or constants[WITH_SEEDS]
    begun, num_weights = 2 * state[NUM_STEPS], state[NUM_ARRIVED + WEIGHT_KIND]
    first: int = state[counter]
    tile = first
    while tile < len(places) and places[tile] <= begun and not (waits and fetches[tile] > num_weights):
        at = max(done[tile - 1] if tile else constants[before], _place_cycle(places[tile], times, constants))
        if waits and fetches[tile]:
            at = max(at, times[ARRIVALS + WEIGHT_KIND][fetches[tile] - 1])
        done[tile] = at + cycles[tile]
        tile += 1
    state[counter] = tile
    return tile - first


def _step_cycle(steps: Table, step: int, times: Table, constants: Row) -> int:
    """Return when a step of the array begins."""
    inputs, drained, psums = steps[2][step], steps[3][step], steps[4][step]
    fetched, tile = steps[5][step], steps[6][step]
    at: int = times[ENDED][step - 1] if step else constants[BEGIN]
    if inputs:
        at = max(at, times[ARRIVALS + INPUT_KIND][inputs - 1])
    if drained > 0:
        at = max(at, times[DRAINED][drained - 1])
    if psums:
        at = max(at, times[ARRIVALS + PSUM_KIND][psums - 1])
    if constants[DECODES] and tile:
        at = max(at, times[FREED][tile - 1] + constants[DECODE_LATENCY])
    elif fetched:
        at = max(at, times[ARRIVALS + WEIGHT_KIND][fetched - 1])
    if constants[GENERATES] and tile:
        at = max(at, times[MADE][tile - 1] + constants[GENERATE_LATENCY])
    return at


def _array(steps: Table, times: Table, constants: Row, limit: int) -> int:
    """Compute steps as far as what they wait for is known; return how many, or `NEVER`."""
    cycles, array_left, inputs, drained = steps[0], steps[1], steps[2], steps[3]
    psums, fetched, tiles = steps[4], steps[5], steps[6]
    state, decodes, generates = times[STATE], constants[DECODES], constants[GENERATES]
    num_inputs, num_psums = state[NUM_ARRIVED + INPUT_KIND], state[NUM_ARRIVED + PSUM_KIND]
    num_weights = state[NUM_ARRIVED + WEIGHT_KIND]
    first: int = state[NUM_STEPS]
    step = first
    while step < len(cycles):
        if inputs[step] > num_inputs or drained[step] > state[NUM_DRAINED] or psums[step] > num_psums:
            break
        if (tiles[step] > state[NUM_FREED]) if decodes else (fetched[step] > num_weights):
            break
        if generates and tiles[step] > state[NUM_MADE]:
            break
        at = _step_cycle(steps, step, times, constants)
        times[BEGUN][step] = at
        times[ENDED][step] = at + cycles[step]
        if at + array_left[step] > limit:
            return NEVER
        step += 1
    state[NUM_STEPS] = step
    return step - first


def _vector_unit(outputs: Table, times: Table, constants: Row) -> int:
    """Drain outputs as far as what they wait for is known; return how many."""
    last_step, residuals, staged, vector = outputs[0], outputs[1], outputs[2], outputs[3]
    state = times[STATE]
    num_residuals, num_stores = state[NUM_ARRIVED + RESIDUAL_KIND], state[NUM_ARRIVED + STORE_KIND]
    first: int = state[NUM_DRAINED]
    output = first
    while output < len(vector) and last_step[output] < state[NUM_STEPS]:
        if residuals[output] > num_residuals or staged[output] > num_stores:
            break
        at = max(state[VECTOR_FREE], times[ENDED][last_step[output]])
        if residuals[output]:
            at = max(at, times[ARRIVALS + RESIDUAL_KIND][residuals[output] - 1])
        if staged[output] > 0:
            at = max(at, times[ARRIVALS + STORE_KIND][staged[output] - 1])
        state[VECTOR_FREE] = at + vector[output]
        times[DRAINED][output] = at + vector[output] + constants[VECTOR_LATENCY]
        output += 1
    state[NUM_DRAINED] = output
    return output - first


def walk(requests: Table, steps: Table, tiles: Table, outputs: Table, times: Table, constants: Row, limit: int) -> int:
    """Return the cycle in which the last output has left; `NEVER` or `STUCK` if there is none.

    Parameters
    ----------
    requests
        Rows: kind, cycles on the bus, cycles that this request and those behind it hold the bus, and what it waits
        for: array, freed, drained, stored (see `accelsim.mapping.waits`).
    steps
        Rows: array cycles, array cycles from this step on, inputs, drained, psums, fetched, tiles.
    tiles
        Rows: place in the weight buffer, fetches, decode cycles, generate cycles.
    outputs
        Rows: last step, residuals, stores before, vector cycles.
    times
        Zeros to write times into, `NUM_ROWS` rows, each as long as the longest of the above, and at least
        `STATE_LENGTH`. The last row gets what the next layer begins with: cycles in which the array had taken the last
        weight tile and ended, decoder and generator had ended, the last request was issued, the buses are free, and
        whether the last was a write.
    constants
        Latencies: read, write, decoder, generator, vector unit; turnaround; whether the memory is ideal, there is a
        decoder, a generator, seeds come with the tiles, writes have a bus of their own, weights are fetched before the
        layer begins. Then what the layer begins with: the cycle in which the layer before ended, from which the first
        weights have a place, in which the array, the decoder and the generator ended, the last request was issued, the
        buses are free, whether the last request was a write (-1: there was none); the step that takes the last weight
        tile.
    """
    state = times[STATE]
    for place in range(4):
        state[NOW + place] = constants[STATE_BEFORE + place]
    state[VECTOR_FREE] = constants[BEGIN]
    moved = 1
    while moved:
        moved = _dma(requests, times, constants, limit)
        if moved == NEVER:
            return NEVER
        if constants[DECODES]:
            moved += _weight_tiles(FREED, tiles, times, constants)
        if constants[GENERATES]:
            moved += _weight_tiles(MADE, tiles, times, constants)
        computed = _array(steps, times, constants, limit)
        if computed == NEVER:
            return NEVER
        moved += computed + _vector_unit(outputs, times, constants)
    if state[NUM_ISSUED] < len(requests[0]) or state[NUM_DRAINED] < len(outputs[0]):
        return STUCK
    return _ending(times, constants, limit)


def _ending(times: Table, constants: Row, limit: int) -> int:
    """Write down what the next layer begins with, and return the cycle of the end, or `NEVER`."""
    state = times[STATE]
    end: int = constants[BEGIN]
    num_outputs, num_stores = state[NUM_DRAINED], state[NUM_ARRIVED + STORE_KIND]
    if num_outputs:
        end = max(end, times[DRAINED][num_outputs - 1])
    if num_stores:
        end = max(end, times[ARRIVALS + STORE_KIND][num_stores - 1])
    num_freed, num_made = state[NUM_FREED], state[NUM_MADE]
    state[0], state[1] = times[BEGUN][constants[LAST_TAKEN]], times[ENDED][state[NUM_STEPS] - 1]
    state[2] = times[FREED][num_freed - 1] if num_freed else constants[FREED_BEFORE]
    state[3] = times[MADE][num_made - 1] if num_made else constants[MADE_BEFORE]
    return end if end <= limit else NEVER


@lru_cache(maxsize=1)
def is_compiled() -> bool:
    """Return whether an earlier process has left compiled code beside this file."""
    return any((Path(__file__).parent / "__pycache__").glob("walk.walk-*.nbi"))


@lru_cache(maxsize=1)
def compiled_walk() -> Walk | None:
    """Return `walk` compiled, its machine code kept on disk where that can be written; None if numba is switched off.

    The first call after an installation compiles for some seconds.
    """
    import numba.extending  # noqa: PLC0415  a short run does without it

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    for part in (
        _place_cycle,
        _issue_cycle,
        _end_cycle,
        _dma,
        _weight_tiles,
        _step_cycle,
        _array,
        _vector_unit,
        _ending,
    ):
        numba.extending.register_jitable(part)
    try:
        return cast("Walk", numba.njit(cache=True)(walk))
    except RuntimeError:
        return cast("Walk", numba.njit(walk))
