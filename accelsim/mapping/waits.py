"""What every event of a layer waits for, as values that counters of this layer must have reached.

The simulator's units and the recurrences of `accelsim.mapping.replay` both walk along these tables, so that they cannot
differ in a condition. A value of 0 (or below) holds from the layer's beginning on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.mapping.program import INPUT, PSUM_READ, RESIDUAL, STORE, WEIGHT
from accelsim.mapping.schedule import NO_RELEASE, LayerSchedule

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RequestWaits:
    """Of the DMA's requests, int64 [num_requests] in the order of the program.

    ``array``: progress of the array in half steps (`NO_RELEASE`: from the start); ``freed``: tiles that the decoder has
    used up; ``drained``: outputs that have left the vector unit; ``stored``: stores that have ended.
    """

    array: Ints
    freed: Ints
    drained: Ints
    stored: Ints


@dataclass(frozen=True, slots=True)
class StepWaits:
    """Of the array's steps, int64 [num_steps]: inputs, drained outputs, partial sums read, weight fetches and tiles."""

    inputs: Ints
    drained: Ints
    psums: Ints
    fetched: Ints
    tiles: Ints


@dataclass(frozen=True, slots=True)
class LayerWaits:
    """All conditions of a layer.

    Attributes
    ----------
    tile_fetched
        Of each weight tile, int64 [num_weight_events]: fetches that must have arrived before it is decoded.
    output_residuals, output_stored
        Of each output visit, int64 [num_outputs]: residual tiles that must have arrived, and stores that must have
        ended before the vector unit takes it: an output is staged twice.
    stores_before
        Stores before each output visit, int64 [num_outputs].
    """

    requests: RequestWaits
    steps: StepWaits
    tile_fetched: Ints
    output_residuals: Ints
    output_stored: Ints
    stores_before: Ints


def layer_waits(schedule: LayerSchedule, requests: Ints) -> LayerWaits:
    """Return the conditions of a layer's schedule, and of its ``requests`` (kind and event of each, int64 [2+, n])."""
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    stores = np.cumsum(outputs.store_bytes > 0)
    stores_before = np.concatenate([[0], stores[:-1]]).astype(np.int64)
    fetches = _running_count(weights.fetch_bytes)
    steps = StepWaits(
        inputs=_at(schedule.num_steps, inputs.step, _running_count(inputs.fetch_bytes)),
        drained=_at(schedule.num_steps, outputs.first_step, outputs.open_after),
        psums=_at(schedule.num_steps, outputs.first_step, _running_count(outputs.psum_read_bytes)),
        fetched=_at(schedule.num_steps, weights.step, fetches),
        tiles=_at(schedule.num_steps, weights.step, np.arange(1, weights.step.size + 1, dtype=np.int64)),
    )
    return LayerWaits(
        requests=_request_waits(schedule, requests, stores_before),
        steps=steps,
        tile_fetched=fetches,
        output_residuals=_running_count(outputs.residual_bytes),
        output_stored=stores_before - 1,
        stores_before=stores_before,
    )


def _request_waits(schedule: LayerSchedule, requests: Ints, stores_before: Ints) -> RequestWaits:
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    kind, event = requests[0], requests[1]
    array = np.full(kind.size, NO_RELEASE, dtype=np.int64)
    freed, stored = np.zeros((2, kind.size), dtype=np.int64)
    chosen = np.flatnonzero(kind == WEIGHT)
    if schedule.uses_decoder:
        freed[chosen] = weights.fetch_release[event[chosen]]
    else:
        array[chosen] = weights.release[event[chosen]]
    if inputs.step.size:
        chosen = np.flatnonzero(kind == INPUT)
        array[chosen] = inputs.release[event[chosen]]
    drained = np.where(kind == STORE, event + 1, 0)
    if outputs.residual_bytes.any():
        chosen = np.flatnonzero(kind == RESIDUAL)
        drained[chosen] = event[chosen] - 1
    if outputs.psum_read_bytes.any():
        chosen = np.flatnonzero(kind == PSUM_READ)
        visits = event[chosen]
        drained[chosen] = outputs.open_after[visits]
        source = outputs.after_store[visits]
        stored[chosen] = np.where(source >= 0, stores_before[np.maximum(source, 0)] + 1, 0)
    return RequestWaits(array, freed, drained, stored)


def _at(num_steps: int, steps: Ints, values: Ints) -> Ints:
    """Return the values at their steps, 0 elsewhere."""
    table = np.zeros(num_steps, dtype=np.int64)
    table[steps] = values
    return table


def _running_count(num_bytes: Ints) -> Ints:
    """Return for each event how many events up to it (included) move bytes, or 0 where it moves none."""
    present = num_bytes > 0
    return np.where(present, np.cumsum(present), 0)
