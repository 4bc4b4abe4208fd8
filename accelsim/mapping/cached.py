"""A cache between DMA and DRAM: which share of what a layer moves it holds, and how long tiles keep the bus.

Tensors lie in memory as a host's software keeps them: activations as N H W C, dense weights as R S C K; a tile is then
many rows, each a part of a row of the tensor. A row that hits takes whole beats of the cache's width, one that misses
whole lines of DRAM; a store that misses reads its line and displaces one that has to be written, so two.

A tile that is fetched again is still there with a probability that follows from what was touched in between. With
random replacement (as in SiFive's inclusive cache), and x times the capacity touched from one use to the next, the
share m of misses satisfies 1 - m = exp(-m x): m x times as many lines are replaced as there are, each one at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import CacheConfig, HardwareConfig
from accelsim.mapping.holding import Holding, tile_bytes
from accelsim.mapping.loops import ALL_LOOPS, INPUT_LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop, Tiling
from accelsim.mapping.task import LayerTask
from accelsim.timing.memory import bytes_per_cycle, cycles_per_piece, transfer_cycles
from accelsim.timing.schedule import BusCycles, InputEvents, OutputEvents, WeightEvents

Figures = Any  # a number or an array over tilings; every formula below broadcasts
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LOOPS_OF = {"weights": WEIGHT_LOOPS, "inputs": INPUT_LOOPS, "outputs": OUTPUT_LOOPS}
ROW_LOOP: dict[str, Loop] = {"weights": "K", "inputs": "C", "outputs": "K"}


@dataclass(frozen=True, slots=True)
class Rows:
    """How tiles of an operand lie in memory, in bytes: a tile, a row of it, and the tensor's row that it is part of.

    ``loads``: how often blocks of tiles are loaded in the layer, as `accelsim.mapping.loops.Reuse.num_blocks`.
    """

    tile: Figures
    row: Figures
    stride: Figures
    loads: Figures

    @property
    def is_whole(self) -> Figures:
        """Return whether rows follow each other without a gap."""
        return self.row >= self.stride


def operand_rows(
    task: LayerTask, size: Mapping[Loop, Figures], tile: Mapping[str, Figures], loads: Mapping[str, Figures]
) -> dict[str, Rows]:
    """Return how the tiles of each operand lie in memory; ``tile``: their bytes, 0 of what does not move.

    Coded weights and those of a generator's stream lie tile behind tile.
    """
    dims = task.layer.dims

    def along(loop: Loop) -> Figures:
        whole = getattr(dims, loop)
        # Groups follow each other in memory: a tile with all channels of a group goes on in the next.
        return np.where(np.asarray(size[loop]) >= whole, size["G"] * whole, size[loop])

    act, weight = task.activation_bits / 8, task.weight_bits / 8
    filters, channels = along("K"), along("C")
    is_stream = task.decodes or task.regenerates
    return {
        "weights": Rows(
            tile["weights"], tile["weights"] if is_stream else filters * weight,
            0.0 if is_stream else dims.G * dims.K * weight, loads["weights"],
        ),
        "inputs": Rows(tile["inputs"], channels * act, dims.G * dims.C * act, loads["inputs"]),
        "outputs": Rows(tile["outputs"], filters * act, dims.G * dims.K * act, loads["outputs"]),
    }  # fmt: skip


def wider(rows: Rows, ratio: float) -> Rows:
    """Return rows of elements that are wider by a ratio."""
    return replace(rows, tile=rows.tile * ratio, row=rows.row * ratio, stride=rows.stride * ratio)


def stored_weight_bytes(task: LayerTask) -> float:
    """Return the bytes that a weight takes in memory."""
    stored = task.traffic_bits
    bits = stored.mask + stored.index + stored.weight if task.decodes else 0
    return bits / task.layer.dims.num_weights / 8 if bits else task.weight_bits / 8


def whole_bytes(task: LayerTask) -> float:
    """Return the bytes of all tensors of a layer that move between chip and memory."""
    bits = task.activation_bits
    second = task.layer.second_input_elements * task.second_dram_share * task.second_bits if task.loads_second else 0
    written = task.memory_outputs * task.output_bits if task.output_to_dram else 0
    read = (task.dram_input_elements + task.residual_dram_elements) * bits
    return (task.dram_bits.total + second + read + written) / 8


def misses(touched_bytes: Figures, cache: CacheConfig) -> Figures:
    """Return the share of misses when so many bytes are touched from one use to the next."""
    from scipy.special import lambertw  # noqa: PLC0415  a chip without a cache does without it

    x = np.maximum(touched_bytes / cache.capacity_bytes, 1.0 + 1e-9)  # at 1 itself W has no value
    return np.maximum(1.0 + lambertw(-x * np.exp(-x)).real / x, 0.0)


def _room(rows: Rows, cache: CacheConfig) -> Figures:
    """Return the bytes that a tile takes of the cache: rows at a distance of many lines use a part of the sets only."""
    line = cache.line_bytes
    sets = cache.capacity_bytes // (line * cache.num_ways)
    stride, row = np.asarray(rows.stride).astype(np.int64), np.maximum(rows.row, 1)
    # Rows at a distance of whole lines meet sets / gcd of the sets only: each takes the room of gcd lines.
    spread = np.where(stride % line == 0, line * np.gcd(stride // line, max(1, sets)), line)
    each = np.minimum(np.maximum(-(-row // line) * line, spread), np.maximum(stride, line))
    return np.where(rows.is_whole, rows.tile, rows.tile / row * each)


def miss_shares(
    order: tuple[Loop, ...],
    counts: Mapping[Loop, Figures],
    operands: Mapping[str, Rows],
    whole_bytes: Figures,
    cache: CacheConfig,
) -> dict[str, Figures]:
    """Return the share of each operand's bytes that miss, in the mean over the layer.

    A tile is used again in the next turn of the innermost loop that does not index it and has begun anew; in between
    everything else in that loop was touched. Rows shorter than a line share it with the next tiles along the row. The
    first use follows all of the layer's tensors (``whole_bytes``), which the layer before or a host has written.
    """
    rooms = {name: _room(rows, cache) for name, rows in operands.items()}
    # The share of uses that are the first of a tile so far; ``again`` collects the misses of the others.
    first = {name: 1.0 + 0.0 * np.asarray(rows.loads) for name, rows in operands.items()}
    again = {name: 0.0 for name in operands}
    beside: dict[str, Figures] = {}
    within = dict.fromkeys(operands, 1.0)
    outer: Figures = 1.0
    for loop in order:
        outer = outer * counts[loop]
    for loop in reversed(order):
        missed = misses(sum(rooms[name] * within[name] for name in operands), cache)
        for name, rows in operands.items():
            if loop in LOOPS_OF[name]:
                within[name] = within[name] * counts[loop]
            else:
                turns = np.where(outer <= rows.loads * (1 + 1e-9), counts[loop], 1)  # outside of what is held
                again[name] = again[name] + first[name] * (1 - 1 / turns) * missed
                first[name] = first[name] / turns
            if loop == ROW_LOOP[name]:
                beside[name] = missed
        outer = outer / counts[loop]
    cold, shares = misses(whole_bytes, cache), {}
    for name, rows in operands.items():
        alone = again[name] + first[name] * cold
        # Of tiles that lie in one line along the row, the first one brings it, and the others miss what was lost since.
        sharing = np.clip(cache.line_bytes / np.maximum(rows.row, 1), 1, counts[ROW_LOOP[name]])
        sharing = np.where(rows.is_whole, 1.0, sharing)
        shares[name] = alone / sharing + (1 - 1 / sharing) * np.minimum(beside[name], alone)
    return shares


def bus_cycles(
    num_bytes: Figures, rows: Rows, share: Figures, hardware: HardwareConfig, is_store: bool = False
) -> Floats:
    """Return the cycles for which bytes of an operand's tiles keep the bus to a cache, in the mean.

    Raises
    ------
    ValueError
        The chip has no cache.
    """
    cache = hardware.cache
    if cache is None:
        raise ValueError(f"{hardware.name} has no cache")
    rate = float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    row, line = np.maximum(rows.row, 1), cache.line_bytes
    beats = num_bytes / row * np.ceil(8 * row / cache.width_bits)
    lines = np.where(rows.is_whole, num_bytes / line, num_bytes / row * np.ceil(row / line))
    # A store that misses moves its line twice: it is fetched, and written back later.
    missed = lines * line / rate * (2 if is_store else 1)
    largest = hardware.dma.max_request_bytes
    if largest is not None:
        pieces = np.where(rows.is_whole, num_bytes / largest, num_bytes / row * np.ceil(row / largest))
        beats = np.maximum(beats, pieces * cycles_per_piece(hardware, is_store, hits=True))
        missed = np.maximum(missed, pieces * cycles_per_piece(hardware, is_store))
    cycles: Floats = (1 - share) * beats + share * missed
    return cycles


def bus_times(
    task: LayerTask,
    tiling: Tiling,
    holding: Holding,
    weights: WeightEvents,
    inputs: InputEvents,
    outputs: OutputEvents,
) -> BusCycles | None:
    """Return for how long the events of a layer keep the bus; None where their bytes say it."""
    cache, dims = task.hardware.cache, task.layer.dims
    if task.is_ideal:
        return None
    if cache is None:
        # A plain link takes what the bytes say, as the memory does without being told.
        is_slower = task.coding.any or task.hardware.dma.max_request_bytes is not None
        return _link_times(task, weights, inputs, outputs) if is_slower else None
    size = {loop: tiling.size(loop) or getattr(dims, loop) for loop in ALL_LOOPS}
    held = {"weights": holding.mask, "inputs": holding.inputs, "outputs": holding.outputs}
    moved = tile_bytes(task, tiling)
    tile = {
        "weights": moved["mask"] or moved["weights"],
        "inputs": moved["inputs"] if task.dram_input_elements else 0,
        "outputs": moved["outputs"] if task.output_to_dram else 0,
    }
    rows = operand_rows(task, size, tile, {name: reuse.num_blocks for name, reuse in held.items()})
    counts = tiling.counts(dims)
    shares = miss_shares(tiling.whole_order, counts, rows, whole_bytes(task), cache)
    sums = wider(rows["outputs"], task.hardware.accumulator_bits / task.activation_bits)

    def times(num_bytes: Ints, of: Rows, name: str, is_store: bool = False) -> Ints:
        cycles = np.ceil(bus_cycles(num_bytes, of, shares[name], task.hardware, is_store) - 1e-9)
        return cycles.astype(np.int64)

    whole = times(outputs.store_bytes, rows["outputs"], "outputs", True)
    return BusCycles(
        weights=times(weights.fetch_bytes, rows["weights"], "weights"),
        inputs=times(inputs.fetch_bytes, rows["inputs"], "inputs"),
        psums=times(outputs.psum_read_bytes, sums, "outputs"),
        residuals=times(outputs.residual_bytes, rows["outputs"], "outputs"),
        stores=np.where(outputs.is_partial, times(outputs.store_bytes, sums, "outputs", True), whole),
    )


def _link_times(task: LayerTask, weights: WeightEvents, inputs: InputEvents, outputs: OutputEvents) -> BusCycles:
    """Return for how long events keep the bus: link, coder of activations, or issue of pieces, the slowest decides."""
    dram, clock = task.hardware.dram, task.hardware.clock_mhz
    coding, rate = task.coding, task.activation_bits * task.hardware.dma.codec_elements_per_cycle

    largest = task.hardware.dma.max_request_bytes

    def times(num_bytes: Ints, share: float = 1.0, is_write: bool = False) -> Ints:
        link = transfer_cycles(num_bytes, np.full_like(num_bytes, -1), dram, clock)
        if largest is not None:  # the first piece is the request itself
            more = np.maximum(-(-num_bytes // largest) - 1, 0) * cycles_per_piece(task.hardware, is_write)
            link = np.maximum(link, np.ceil(more - 1e-9).astype(np.int64))
        return link if share >= 1 else np.maximum(link, np.ceil(8 * num_bytes / share / rate - 1e-9).astype(np.int64))

    return BusCycles(
        weights=times(weights.fetch_bytes),
        inputs=times(inputs.fetch_bytes, coding.inputs),
        psums=times(outputs.psum_read_bytes),
        residuals=times(outputs.residual_bytes, coding.residuals),
        stores=np.where(
            outputs.is_partial,
            times(outputs.store_bytes, is_write=True),
            times(outputs.store_bytes, coding.outputs, is_write=True),
        ),
    )
