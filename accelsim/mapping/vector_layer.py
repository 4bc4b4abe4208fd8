"""The schedule of a layer that only the vector unit works on: pooling, a normalisation or addition alone, a look-up."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from accelsim.mapping.activation_code import WORD_BITS, pairs_per_word
from accelsim.mapping.build import layer_shape
from accelsim.mapping.task import LayerTask
from accelsim.storage.base import StoredBits
from accelsim.timing.schedule import NO_RELEASE, InputEvents, LayerSchedule, OutputEvents, WeightEvents
from accelsim.units import bits_to_bytes, ceil_div

MOST_TILES = 4096
SMALLEST_TILE_BYTES = 1024


def build_vector_layer(task: LayerTask) -> LayerSchedule:
    """Cut the layer into equal tiles of elements that fit the activation buffer twice, and stream them through."""
    layer, hardware = task.layer, task.hardware
    bits, burst = task.activation_bits, task.burst_bytes
    num_outputs = layer.num_outputs or layer.dims.num_outputs
    from_dram = (task.dram_input_elements + task.residual_dram_elements) * _passes(task, num_outputs)
    to_dram = num_outputs if task.output_to_dram else 0
    read_bytes, written_bytes = _moved_bytes(task, _passes(task, num_outputs), to_dram)
    table = {name: bits_to_bytes(getattr(task.row_bits, name)) for name in StoredBits.__slots__}
    from_table = sum(table.values())
    num_tiles = _num_tiles(task, read_bytes + written_bytes + from_table)
    ops = max(layer.vector_ops, num_outputs)
    zeros = np.zeros(num_tiles, dtype=np.int64)
    steps = np.arange(num_tiles, dtype=np.int64)
    loads = -(-_shares(read_bytes + from_table, num_tiles) // burst) * burst
    stores = -(-_shares(written_bytes, num_tiles) // burst) * burst
    none = np.zeros(0, dtype=np.int64)
    read, written = int(loads.sum()), int(stores.sum())
    inputs_read = layer.dims.num_inputs + layer.second_input_elements + task.residual_elements
    if not from_dram:  # bursts are rounded up
        table["weight"] += read - from_table
    cycles = -(-_shares(ops, num_tiles) // hardware.vector_unit.num_lanes)
    if not task.is_ideal:
        moved = (inputs_read + to_dram + from_dram + num_outputs) * bits + 8 * from_table
        cycles = np.maximum(cycles, -(-_shares(moved, num_tiles) // hardware.activation_buffer.port_bits_per_cycle))
    return LayerSchedule(
        name=layer.name,
        kind=layer.kind,
        shape=layer_shape(layer),
        macs=0,
        effective_macs=0,
        stored_bits=task.stored_bits,
        compute_cycles=zeros,
        weight_load_cycles=zeros,
        fill_drain_cycles=zeros,
        stall_cycles=zeros,
        weights=WeightEvents(none, none, none, none, none, none),
        inputs=InputEvents(steps, _release(steps), loads) if read else InputEvents(none, none, none),
        outputs=OutputEvents(
            first_step=steps, last_step=steps, open_after=np.maximum(steps - 1, 0), psum_read_bytes=zeros,
            after_store=zeros - 1, vector_cycles=cycles,
            residual_bytes=zeros, store_bytes=stores, is_partial=np.zeros(num_tiles, dtype=bool),
        ),
        dram_bytes={
            **table, "activation_in": read - sum(table.values()), "activation_out": 0, "partial_sum": 0,
            task.output_class: written,
        },
        actions={
            "activation_buffer": {
                "read_bits": (inputs_read + to_dram) * bits,
                "write_bits": (from_dram + num_outputs) * bits + 8 * from_table,
            },
            "vector_unit": {"ops": ops, **_codec_pairs(task, read_bytes, written_bytes)},
            "interconnect": {"bits": (inputs_read + num_outputs) * bits + 8 * (read + written)},
        },
        tiling=None,
        occupancy_bytes={"activation_buffer": bits_to_bytes(2 * ceil_div(from_dram + to_dram, num_tiles) * bits)},
        loads_ahead=hardware.dma.loads_ahead,
        uses_decoder=False,
        uses_generator=False,
    )  # fmt: skip


def _passes(task: LayerTask, num_outputs: int) -> int:
    """Return how often the inputs are read: once, or for each operation on an element."""
    if not task.hardware.vector_unit.rereads_inputs or task.layer.kind != "vector":
        return 1
    return max(1, task.layer.vector_ops // num_outputs)


def _release(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return which load may begin when: two tiles are on chip at once."""
    return np.where(steps >= 2, 2 * (steps - 1), NO_RELEASE)  # noqa: PLR2004


def _num_tiles(task: LayerTask, moved_bytes: int) -> int:
    """Return how many tiles: few enough to be long, many enough to fit twice and to overlap loading with storing."""
    if task.is_ideal or moved_bytes == 0:
        return 1
    room = max(1, task.activation_capacity_bytes // 2)
    overlap = min(8, max(1, moved_bytes // SMALLEST_TILE_BYTES))
    return min(MOST_TILES, max(ceil_div(moved_bytes, room), overlap))


def _shares(total: int, parts: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return ``total`` cut into ``parts`` nearly equal whole shares, the larger first."""
    base, rest = divmod(total, parts)
    shares = np.full(parts, base, dtype=np.int64)
    shares[:rest] += 1
    return shares


def _moved_bytes(task: LayerTask, passes: int, to_dram: int) -> tuple[int, int]:
    """Return the bytes of activations that are read from, and written to, DRAM, as they are coded there."""
    coding, bits = task.coding, task.activation_bits
    read = task.dram_input_elements * coding.inputs + task.residual_dram_elements * coding.residuals
    return math.ceil(read * passes * bits / 8 - 1e-9), math.ceil(to_dram * task.output_bits * coding.outputs / 8 - 1e-9)


def _codec_pairs(task: LayerTask, read_bytes: int, written_bytes: int) -> dict[str, int]:
    """Return the pairs that coder and decoder of activations pass; empty where nothing is coded."""
    coding = task.coding
    if not coding.any or task.is_ideal:
        return {}
    coded = (read_bytes if min(coding.inputs, coding.residuals) < 1 else 0) + (
        written_bytes if coding.outputs < 1 else 0
    )
    return {"codec_pairs": 8 * coded // WORD_BITS * pairs_per_word(task.activation_bits)}
