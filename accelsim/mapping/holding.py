"""Which operands a tiling holds in which buffer, and whether it fits."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import prod
from typing import Any

from accelsim.config.hardware import BufferConfig
from accelsim.mapping.loops import INPUT_LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop, Reuse, Tiling, reuse_levels
from accelsim.mapping.task import LayerTask, input_extent
from accelsim.units import bits_to_bytes, ceil_div


@dataclass(frozen=True, slots=True)
class Holding:
    """How each operand is held, and the bytes that takes.

    ``mask_leaves_half``: no block of stored bits takes more than half of the mask buffer, so that the first bits of the
    next layer may come into the other half.
    """

    weights: Reuse
    mask: Reuse
    inputs: Reuse
    outputs: Reuse
    occupancy_bytes: dict[str, int]
    mask_leaves_half: bool = False

    def key(self) -> Hashable:
        """Return all of it as a key."""
        return (
            self.weights, self.mask, self.inputs, self.outputs, tuple(self.occupancy_bytes.items()),
            self.mask_leaves_half,
        )  # fmt: skip


def _best(levels: list[Reuse], tile_bytes: int, capacity: int, double: bool) -> tuple[Reuse, int] | None:
    """Return the level with the fewest fetches that fits, and the bytes it takes; None if not even one tile fits."""
    for level in reversed(levels):
        # A block that stays for the whole layer is fetched once: nothing is loaded beside it.
        copies = 2 if double and level.num_blocks > 1 else 1
        if level.block_tiles * tile_bytes * copies <= capacity:
            return level, level.block_tiles * tile_bytes * copies
    return None


def tile_bytes(task: LayerTask, tiling: Tiling) -> dict[str, int]:
    """Return the bytes of the largest tile of each operand: weights, mask, inputs, psums, residuals, outputs."""
    dims = task.layer.dims
    taps_r, taps_s = tiling.R or dims.R, tiling.S or dims.S
    positions = tiling.G * tiling.K * tiling.C * taps_r * taps_s
    pixels = tiling.N * tiling.P * tiling.Q
    outputs = tiling.G * tiling.K * pixels
    rows = _largest_extent(task, "P", tiling.P, taps_r)
    columns = _largest_extent(task, "Q", tiling.Q, taps_s)
    stored = task.traffic_bits
    share = stored.mask + stored.index + (stored.weight if task.decodes else 0)
    return {
        "weights": bits_to_bytes(positions * task.weight_bits),
        "mask": bits_to_bytes(ceil_div(share * positions, dims.num_weights)) if task.decodes else 0,
        "inputs": bits_to_bytes(tiling.N * tiling.G * tiling.C * rows * columns * task.activation_bits),
        "psums": bits_to_bytes(outputs * task.hardware.accumulator_bits),
        "residuals": bits_to_bytes(
            ceil_div(outputs * task.residual_dram_elements, dims.num_outputs) * task.activation_bits
        ),
        "outputs": bits_to_bytes(
            ceil_div(outputs * max(1, task.layer.num_outputs), dims.num_outputs) * task.activation_bits
        ),
    }


def _largest_extent(task: LayerTask, loop: Loop, tile: int, taps: int) -> int:
    """Return the input rows (or columns) of the tile that reads most.

    Windows grow from tile to tile while the padding cuts their beginning off, and shrink once it cuts their end off:
    the largest is that of the first tile with a whole beginning, or of the tile before.
    """
    dims, axis = task.layer.dims, 0 if loop == "P" else 1
    extent, offset = getattr(dims, loop), (dims.R if loop == "P" else dims.S) - taps
    if (
        offset and task.layer.kind != "aggregate"
    ):  # with other taps, the padding cuts elsewhere: a window without padding
        every, further, *_ = dims.slices if axis == 0 else (1, 0)
        size = (tile - 1) * dims.stride[axis] + ceil_div(tile - 1, every) * further + dims.span(axis, taps)
        return min(dims.H if loop == "P" else dims.W, size)
    if axis == 0 and dims.slices[1]:  # tiles cross the borders of slices more and less often
        return max(input_extent(task, loop, first, min(tile, extent - first)) for first in range(0, extent, tile))
    whole = min(ceil_div(ceil_div(dims.padding[axis], dims.stride[axis]), tile), ceil_div(extent, tile) - 1)
    firsts = (max(whole - 1, 0) * tile, whole * tile)
    return max(input_extent(task, loop, first, min(tile, extent - first)) for first in firsts)


def _levels(tiling: Tiling, counts: dict[Loop, int], relevant: frozenset[str]) -> list[Reuse]:
    """Return the ways to hold an operand that the tiling allows."""
    order = tiling.whole_order
    if tiling.keep == "buffers" or relevant == OUTPUT_LOOPS:
        levels = reuse_levels(order, counts, relevant)
        return levels if tiling.keep == "buffers" else levels[:1]
    return [Reuse(len(order), 1, prod(counts.values()))]


def hold(task: LayerTask, tiling: Tiling) -> Holding | None:
    """Return how a tiling holds its operands, or None where it does not fit the buffers."""
    hardware, counts = task.hardware, tiling.counts(task.layer.dims)
    sizes = tile_bytes(task, tiling)
    weight_levels = _levels(tiling, counts, WEIGHT_LOOPS)
    if task.regenerates_each_pass:
        weight_levels = weight_levels[:1]  # made again in each pass, so that nothing is gained by keeping them
    buffer = hardware.weight_buffer
    weights = _best(weight_levels, sizes["weights"], task.capacity(buffer), buffer.double_buffered)
    accumulator = hardware.accumulator
    # Twice: one tile is worked on while the other is on its way from or to DRAM.
    staged = 2 * sizes["residuals"] + (2 * sizes["outputs"] if task.stages_output else 0)
    capacity = task.activation_capacity_bytes - staged
    needed = sizes["inputs"] if task.dram_input_elements else 0
    room = task.capacity(accumulator)
    if hardware.sums_in_activation_buffer:
        room = left_beside(hardware.activation_buffer, capacity, needed)
    outputs = _best(_levels(tiling, counts, OUTPUT_LOOPS), sizes["psums"], room, accumulator.double_buffered)
    if weights is None or outputs is None:
        return None
    if hardware.sums_in_activation_buffer:
        capacity = left_beside(hardware.activation_buffer, capacity, outputs[1])
    double = hardware.activation_buffer.double_buffered
    input_levels = _levels(tiling, counts, INPUT_LOOPS)
    inputs = _best(input_levels, needed, capacity, double)
    if inputs is None or capacity < 0:
        return None
    mask, mask_bytes, leaves_half = _hold_mask(task, tiling, weights[0], sizes["mask"])
    return Holding(
        weights=weights[0], mask=mask, inputs=inputs[0], outputs=outputs[0],
        occupancy_bytes={
            "weight_buffer": weights[1], "mask_buffer": mask_bytes, "activation_buffer": inputs[1] + staged,
            "accumulator": outputs[1],
        },
        mask_leaves_half=leaves_half,
    )  # fmt: skip


def left_beside(buffer: BufferConfig, capacity: Any, taken: Any) -> Any:
    """Return the bytes of the whole banks that are left of ``capacity`` beside ``taken``; below 0: too few.

    Takes numbers or arrays.
    """
    bank = buffer.bank_bytes
    return (capacity // bank - -(-taken // bank)) * bank


def misfit(task: LayerTask, tiling: Tiling) -> str:
    """Return which buffer one tile does not fit, and by how much, for a message about a tiling that `hold` refuses."""
    sizes, hardware = tile_bytes(task, tiling), task.hardware
    counts = tiling.counts(task.layer.dims)
    staged = 2 * sizes["residuals"] + (2 * sizes["outputs"] if task.stages_output else 0)
    inputs = sizes["inputs"] if task.dram_input_elements else 0
    if hardware.sums_in_activation_buffer:
        room = left_beside(hardware.activation_buffer, task.activation_capacity_bytes - staged, inputs)
        if room < sizes["psums"]:
            return (
                f"{inputs} B of inputs, {sizes['psums']} B of partial sums and {staged} B of residuals, each in "
                f"whole banks of activation_buffer ({task.activation_capacity_bytes} B)"
            )
    found = []
    for name, what, size, loops, beside, capacity in (
        ("weight_buffer", "weights", sizes["weights"], WEIGHT_LOOPS, 0, hardware.weight_buffer.capacity_bytes),
        ("accumulator", "partial sums", sizes["psums"], OUTPUT_LOOPS, 0, task.capacity(hardware.accumulator)),
        ("activation_buffer", "inputs", inputs, INPUT_LOOPS, staged, task.activation_capacity_bytes),
    ):
        double = getattr(hardware, name).double_buffered and _levels(tiling, counts, loops)[0].num_blocks > 1
        if size * (2 if double else 1) + beside > capacity:
            extra = f" and {beside} B of outputs" if beside else ""
            found.append(f"{size} B of {what}{' twice' if double else ''}{extra} in {name} ({capacity} B)")
    return "; ".join(found) or "the buffers are too small"


def _hold_mask(task: LayerTask, tiling: Tiling, weights: Reuse, mask_tile_bytes: int) -> tuple[Reuse, int, bool]:
    """Return how stored bits are held: in the mask buffer for later visits, or as a stream through it.

    With it the bytes that takes, and whether a block leaves half of the buffer to those of the next layer.
    """
    buffer = task.hardware.mask_buffer
    if not task.decodes:
        return weights, 0, False
    levels = _levels(tiling, tiling.counts(task.layer.dims), WEIGHT_LOOPS)
    # Bits of weights that are held are not read again inside, so only holding them from further out saves a fetch.
    outer = [level for level in levels if level.hold_from <= weights.hold_from]
    best = _best(outer, mask_tile_bytes, task.capacity(buffer), buffer.double_buffered)
    if best is None:
        # Not even a tile fits: its bits stream through, and are fetched whenever the weights are made.
        return weights, min(mask_tile_bytes, buffer.capacity_bytes), False
    half = task.capacity(buffer) // 2
    if not buffer.double_buffered or (best[0].num_blocks == 1 and best[1] <= half):
        return *best, buffer.double_buffered
    if _fetches(best[0]) == _fetches(outer[0]) and mask_tile_bytes <= half:
        # Holding bits for longer saves nothing: as many tiles as fit pass through each half.
        tiles, fetches = half // max(1, mask_tile_bytes), _fetches(outer[0])
        return Reuse(outer[0].hold_from, tiles, ceil_div(fetches, tiles)), 2 * tiles * mask_tile_bytes, True
    return *best, best[0].num_blocks > 1


def _fetches(reuse: Reuse) -> int:
    return reuse.block_tiles * reuse.num_blocks
