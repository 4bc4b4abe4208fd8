"""What tilings are judged by of a layer itself: sizes, widths, densities, and where its tensors live."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from accelsim.mapping.build import shifted_bits
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.skipping import executed_macs
from accelsim.mapping.task import LayerTask
from accelsim.storage.base import decoder_front

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layers:
    """Figures of the array layers, float64 [layers]: of the layer, its plan, and where its tensors live.

    ``*_code``: coded over plain bits of activations in DRAM. ``buffered``, ``staged``: 1 where results are written to
    the activation buffer, and where they wait there on their way to DRAM, else 0.
    """

    activation_bits: Floats
    weight_bits: Floats
    fetched_bits: Floats
    decoded_bits: Floats
    num_weights: Floats
    density: Floats
    symbols: Floats
    reads_inputs: Floats
    input_fraction: Floats
    stored_elements: Floats
    written_elements: Floats
    residual_dram_elements: Floats
    capacity_bytes: Floats
    staged_per_output: Floats
    vector_ops: Floats
    num_outputs: Floats
    regenerates: Floats
    is_coded: Floats
    input_code: Floats
    residual_code: Floats
    output_code: Floats
    buffered: Floats
    staged: Floats


def layer_figures(tasks: list[LayerTask]) -> Layers:
    """Return the figures of the array layers."""
    rows = []
    for task in tasks:
        dims, plan, bits = task.layer.dims, task.plan, task.activation_bits
        traffic, moved = task.traffic_bits, task.dram_bits
        second = task.second_dram_bits
        if task.layer.cached_elements is None and task.loads_second:  # what it repeats counts once
            second = task.layer.second_input_elements * bits
        written = task.layer.num_outputs or dims.num_outputs
        staged = 2 * max(1, task.layer.num_outputs) / dims.num_outputs if task.stages_output else 0.0
        staged += 2 * task.residual_dram_elements / dims.num_outputs
        rows.append((
            bits, task.weight_bits, moved.total if plan is not None else second,
            (traffic.mask + traffic.index + traffic.weight) if task.decodes else 0,
            dims.num_weights, plan.num_nonzero / dims.num_weights if plan is not None else 1.0,
            plan.decoder_symbols if plan is not None else 0, 1.0 if task.dram_input_elements else 0.0,
            task.dram_input_elements / max(1, dims.num_inputs),
            task.memory_outputs * task.output_bits / bits if task.output_to_dram else 0, written,
            task.residual_dram_elements, task.activation_capacity_bytes, staged * bits / 8,
            max(task.layer.vector_ops, dims.num_outputs), dims.num_outputs, float(task.regenerates_each_pass),
            float(plan is not None and plan.decoder in VARIABLE_LENGTH),
            task.coding.inputs, task.coding.residuals, task.coding.outputs,
            float(task.buffers_output), float(task.stages_output),
        ))  # fmt: skip
    return Layers(*np.array(rows, dtype=np.float64).reshape(-1, len(fields(Layers))).T)


def decoder_front_counts(task: LayerTask) -> dict[str, int]:
    """Return what the decoder's front counts while it goes over all of a layer's weights once: action -> count."""
    plan = task.plan
    if plan is None or not task.decodes:
        return {}
    stored, front = task.traffic_bits, decoder_front(plan.decoder)
    return {front: stored.mask + stored.index + stored.weight if front == "raw_bits" else plan.decoder_symbols}


def fixed_pj(task: LayerTask, prices: EnergyPrices) -> float:
    """Return the energy of what every tiling does alike: products and results."""
    array, layer, macs = task.hardware.pe_array, task.layer, task.layer.dims.macs
    executed, outputs = executed_macs(task), layer.dims.num_outputs
    skips = "skip" in (array.zero_weights, array.zero_activations)  # how many slots are then left depends on the tile
    arithmetic = task.plan.arithmetic if task.plan is not None else "int8"
    added = task.residual_elements * task.activation_bits
    kept = (layer.num_outputs or outputs) * task.activation_bits if task.buffers_output else 0
    return (
        executed * prices.pj("pe_array", f"mac_{arithmetic}")
        + (0 if skips else macs - executed) * prices.pj("pe_array", "mac_gated")
        + shifted_bits(task, macs) * prices.pj("pe_array", "operand_shifts_bits")
        + max(layer.vector_ops, outputs) * prices.pj("vector_unit", "ops")
        + added * (prices.pj("activation_buffer", "read_bits") + prices.pj("interconnect", "bits"))
        + kept * prices.pj("activation_buffer", "write_bits")
    )
