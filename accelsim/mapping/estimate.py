"""The closed-form latency of a built schedule: what flows through the array step by step, or the busiest unit in total.

While a step computes, the tiles of the next one are loaded and made: the slowest of these decides how long it takes.
The vector unit and the stores lag behind by as many tiles as the accumulators hold, so they count in total. What the
form leaves out is waiting that spreads over several steps, and prefetching across layers; the simulation has both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.mapping.task import LayerTask
from accelsim.timing.schedule import LayerSchedule
from accelsim.units import ns_to_cycles

Ints = npt.NDArray[np.int64]


def _per_step(num_steps: int, steps: Ints, values: Ints) -> npt.NDArray[np.float64]:
    return np.bincount(steps, weights=values, minlength=num_steps).astype(np.float64)


def estimate_cycles(task: LayerTask, schedule: LayerSchedule) -> int:
    """Return the estimated latency of a layer in cycles."""
    num = schedule.num_steps
    hardware = task.hardware
    per_cycle = float("inf") if task.is_ideal else hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
    latency = 0 if task.is_ideal else ns_to_cycles(hardware.dram.read_latency_ns, hardware.clock_mhz)
    weights, inputs, outputs = schedule.weights, schedule.inputs, schedule.outputs
    load = _per_step(num, weights.step, weights.fetch_bytes) + _per_step(num, inputs.step, inputs.fetch_bytes)
    load = load + _per_step(num, outputs.first_step, outputs.psum_read_bytes)
    load = load + _per_step(num, outputs.last_step, outputs.residual_bytes)
    make = np.maximum(
        _per_step(num, weights.step, weights.generate_cycles), _per_step(num, weights.step, weights.decode_cycles)
    )
    array, into_array = schedule.array_cycles.astype(np.float64), load / per_cycle
    ahead = np.zeros((2, num))
    ahead[:, :-1] = np.stack([into_array, make])[:, 1:]
    flow = np.maximum(array, ahead.max(axis=0)).sum()
    stores = outputs.store_bytes / per_cycle
    start = into_array[0] + (latency if load[0] else 0) + make[0]
    through_array = flow + outputs.vector_cycles[-1] + stores[-1]
    through_memory = into_array[1:].sum() + stores.sum()
    through_vector_unit = array[: outputs.last_step[0] + 1].sum() + outputs.vector_cycles.sum() + stores[-1]
    return int(np.ceil(start + max(through_array, through_memory, through_vector_unit)))
