"""The recurrences of a layer, as one loop over integer tables: plain Python, and what numba compiles.

With a fixed DMA program every condition is that some counter reaches a value, so each event's time is a maximum of
earlier times plus its own duration. Each unit walks along its events as far as those that they wait for are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

Table = Sequence[Any]  # rows of integers: lists for Python, one int64 array for numba
Walk = Callable[[Table, Table, Table, Table, Table, Sequence[int], int], int]
WEIGHT_KIND, STORE_KIND, RESIDUAL_KIND, PSUM_KIND, INPUT_KIND = 0, 4, 3, 2, 1
NEVER = -1  # the latency is above the limit
STUCK = -2  # units wait for each other


def walk(  # noqa: C901, PLR0911, PLR0912, PLR0915  one loop, so that numba compiles one function
    requests: Table, steps: Table, tiles: Table, outputs: Table, times: Table, constants: Sequence[int], limit: int
) -> int:
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
        Zeros to write times into, eleven rows, each as long as the longest of the above, and at least 8. The last row
        gets what the next layer begins with: cycles in which the array had taken the last weight tile and ended,
        decoder and generator had ended, the last request was issued, the buses are free, and whether the last was a
        write.
    constants
        Latencies: read, write, decoder, generator, vector unit; turnaround; whether the memory is ideal, there is a
        decoder, a generator, seeds come with the tiles, writes have a bus of their own, weights are fetched before the
        layer begins. Then what the layer begins with: the cycle in which the layer before ended, from which the first
        weights have a place, in which the array, the decoder and the generator ended, the last request was issued, the
        buses are free, whether the last request was a write (-1: there was none); the step that takes the last weight
        tile.
    """
    kind, transfer, bus_left = requests[0], requests[1], requests[2]
    request_array, request_freed, request_drained, request_stored = requests[3], requests[4], requests[5], requests[6]
    cycles, array_left, step_inputs, step_drained = steps[0], steps[1], steps[2], steps[3]
    step_psums, step_fetched, step_tiles = steps[4], steps[5], steps[6]
    place, fetches, decode, generate = tiles[0], tiles[1], tiles[2], tiles[3]
    last_step, residuals, staged, vector = outputs[0], outputs[1], outputs[2], outputs[3]
    begun, ended, freed, made, drained = times[0], times[1], times[2], times[3], times[4]
    weights_in, inputs_in, psums_in, residuals_in, stores_out = times[5], times[6], times[7], times[8], times[9]
    read_latency, write_latency, decode_latency, generate_latency, vector_latency, turnaround = (
        constants[0], constants[1], constants[2], constants[3], constants[4], constants[5],
    )  # fmt: skip
    is_ideal, decodes, generates, with_seeds, splits, prefetches = (
        constants[6], constants[7], constants[8], constants[9], constants[10], constants[11],
    )  # fmt: skip
    begin, first_place, array_end, freed_before, made_before = (
        constants[12], constants[13], constants[14], constants[15], constants[16],
    )  # fmt: skip
    now, bus_free, write_free, was_write, last_taken = (
        constants[17], constants[18], constants[19], constants[20], constants[21],
    )  # fmt: skip
    num_requests, num_steps, num_tiles, num_outputs = len(kind), len(cycles), len(place), len(vector)
    request = step = freed_tiles = made_tiles = output = 0
    num_weights = num_inputs = num_psums = num_residuals = num_stores = 0
    vector_free = begin
    has_moved = True
    while has_moved:
        has_moved = False
        while request < num_requests:
            value = request_array[request]
            if value > 2 * step or request_freed[request] > freed_tiles or request_drained[request] > output:
                break
            if request_stored[request] > num_stores:
                break
            is_weight = kind[request] == WEIGHT_KIND
            if value > 0:
                now = max(now, begun[value // 2] if value % 2 else ended[value // 2 - 1])
            elif is_weight and not decodes:
                now = max(now, array_end if value == 0 else first_place)
            if kind[request] != STORE_KIND and not (is_weight and prefetches):
                now = max(now, begin)
            value = request_freed[request]
            if value > 0:
                now = max(now, freed[value - 1])
            elif is_weight and decodes:
                now = max(now, freed_before)
            value = request_drained[request]
            if value > 0:
                now = max(now, drained[value - 1])
            value = request_stored[request]
            if value > 0:
                now = max(now, stores_out[value - 1])
            is_write = kind[request] == STORE_KIND
            if is_ideal:
                end = now
            elif splits and is_write:
                end = write_free = max(now + write_latency, write_free) + transfer[request]
            else:
                turned = bus_free
                if was_write >= 0 and was_write != is_write:
                    turned += turnaround
                was_write = 1 if is_write else 0
                end = bus_free = max(now + (write_latency if is_write else read_latency), turned) + transfer[request]
            if is_weight:
                weights_in[num_weights] = end
                num_weights += 1
            elif kind[request] == INPUT_KIND:
                inputs_in[num_inputs] = end
                num_inputs += 1
            elif kind[request] == PSUM_KIND:
                psums_in[num_psums] = end
                num_psums += 1
            elif kind[request] == RESIDUAL_KIND:
                residuals_in[num_residuals] = end
                num_residuals += 1
            else:
                stores_out[num_stores] = end
                num_stores += 1
            request += 1
            has_moved = True
            if request < num_requests and not splits and bus_free + bus_left[request] > limit:
                return NEVER
        while decodes and freed_tiles < num_tiles:
            value = place[freed_tiles]
            if value > 2 * step or fetches[freed_tiles] > num_weights:
                break
            at = freed[freed_tiles - 1] if freed_tiles else freed_before
            if value > 0:
                at = max(at, begun[value // 2] if value % 2 else ended[value // 2 - 1])
            else:
                at = max(at, array_end if value == 0 else first_place)
            if fetches[freed_tiles]:
                at = max(at, weights_in[fetches[freed_tiles] - 1])
            freed[freed_tiles] = at + decode[freed_tiles]
            freed_tiles += 1
            has_moved = True
        while generates and made_tiles < num_tiles:
            value = place[made_tiles]
            if value > 2 * step or (with_seeds and fetches[made_tiles] > num_weights):
                break
            at = made[made_tiles - 1] if made_tiles else made_before
            if value > 0:
                at = max(at, begun[value // 2] if value % 2 else ended[value // 2 - 1])
            else:
                at = max(at, array_end if value == 0 else first_place)
            if with_seeds and fetches[made_tiles]:
                at = max(at, weights_in[fetches[made_tiles] - 1])
            made[made_tiles] = at + generate[made_tiles]
            made_tiles += 1
            has_moved = True
        while step < num_steps:
            if step_inputs[step] > num_inputs or step_drained[step] > output or step_psums[step] > num_psums:
                break
            value = step_tiles[step]
            if decodes:
                if value > freed_tiles:
                    break
            elif step_fetched[step] > num_weights:
                break
            if generates and value > made_tiles:
                break
            at = ended[step - 1] if step else begin
            if step_inputs[step]:
                at = max(at, inputs_in[step_inputs[step] - 1])
            if step_drained[step] > 0:
                at = max(at, drained[step_drained[step] - 1])
            if step_psums[step]:
                at = max(at, psums_in[step_psums[step] - 1])
            if decodes and value:
                at = max(at, freed[value - 1] + decode_latency)
            elif step_fetched[step]:
                at = max(at, weights_in[step_fetched[step] - 1])
            if generates and value:
                at = max(at, made[value - 1] + generate_latency)
            begun[step] = at
            ended[step] = at + cycles[step]
            step += 1
            has_moved = True
            if at + array_left[step - 1] > limit:
                return NEVER
        while output < num_outputs and last_step[output] < step:
            if residuals[output] > num_residuals or staged[output] > num_stores:
                break
            at = max(vector_free, ended[last_step[output]])
            if residuals[output]:
                at = max(at, residuals_in[residuals[output] - 1])
            if staged[output] > 0:
                at = max(at, stores_out[staged[output] - 1])
            vector_free = at + vector[output]
            drained[output] = vector_free + vector_latency
            output += 1
            has_moved = True
    if request < num_requests or output < num_outputs:
        return STUCK
    end = max(begin, drained[num_outputs - 1]) if num_outputs else begin
    if num_stores:
        end = max(end, stores_out[num_stores - 1])
    state = times[10]
    state[0], state[1] = begun[last_taken], ended[num_steps - 1]
    state[2] = freed[num_tiles - 1] if decodes and num_tiles else freed_before
    state[3] = made[num_tiles - 1] if generates and num_tiles else made_before
    state[4], state[5], state[6], state[7] = now, bus_free, write_free, was_write
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
    import numba  # noqa: PLC0415  a short run does without it

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    try:
        return cast("Walk", numba.njit(cache=True)(walk))
    except RuntimeError:
        return cast("Walk", numba.njit(walk))
