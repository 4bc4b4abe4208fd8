"""The closed-form latency of a built schedule: each step takes as long as its slowest stage.

While a step computes, the tiles of the next step are loaded and those of the step before are stored. What the form
leaves out is waiting that spreads over several steps; the simulation has it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.mapping.schedule import LayerSchedule
from accelsim.mapping.task import LayerTask
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
    store = _per_step(num, outputs.last_step, outputs.store_bytes)
    make = np.maximum(
        _per_step(num, weights.step, weights.generate_cycles), _per_step(num, weights.step, weights.decode_cycles)
    )
    vector = _per_step(num, outputs.last_step, outputs.vector_cycles)
    array = schedule.array_cycles.astype(np.float64)
    memory = np.zeros(num)
    memory[:-1] += load[1:]
    memory[1:] += store[:-1]
    ahead, behind = np.zeros(num), np.zeros(num)
    ahead[:-1] = make[1:]
    behind[1:] = vector[:-1]
    busiest = np.maximum.reduce([array, memory / per_cycle, ahead, behind])
    start = load[0] / per_cycle + (latency if load[0] else 0) + make[0]
    return int(np.ceil(busiest.sum() + start + vector[-1] + store[-1] / per_cycle))
