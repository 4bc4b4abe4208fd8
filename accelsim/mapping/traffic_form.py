"""What tilings move in closed form: how each operand is held in its buffer, and the bytes that then pass DRAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.mapping.figures import Layers
from accelsim.mapping.hold_table import HoldTable
from accelsim.mapping.holding import left_beside
from accelsim.mapping.skipping import padded_share
from accelsim.mapping.task import LayerTask
from accelsim.mapping.tile_table import TileTable, Width, skipped_fractions, tile_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """How an operand is held, float64 [orders, n]: fetches (infinite: it does not fit), loads, tiles, and when."""

    fetches: Floats
    loads: Floats
    tiles: Floats
    late: Floats
    ready: Floats
    keeps_rows: Floats
    keeps_columns: Floats


@dataclass(frozen=True, slots=True)
class Space:
    """Everything that tilings of a network on a chip are judged by."""

    hardware: HardwareConfig
    tasks: list[LayerTask]
    layers: Layers
    table: TileTable
    left: Floats

    @property
    def is_ideal(self) -> bool:
        """Return whether memory and buffers are unlimited."""
        return self.hardware.memory == "ideal"

    @property
    def accessed(self) -> tuple[Floats, Floats]:
        """Return the shares of the accesses of inputs, and of sums, that zero skipping leaves of each tiling."""
        if self.hardware.pe_array.skip_group == "packed":
            return self.of_tile(self.layers.density), np.ones_like(self.left)
        return self.left, self.left

    def of_tile(self, figures: Floats) -> Floats:
        """Return figures of the layers, for each tiling."""
        return figures[self.table.layer]


def space_of(hardware: HardwareConfig, tasks: list[LayerTask], layers: Layers, width: Width) -> Space:
    """Return all tilings of layers on a chip, from a table of the given width."""
    generator = hardware.weight_generator
    lanes = generator.num_lanes if generator is not None else 0
    key = tuple((task.layer.dims, task.layer.kind, lanes if task.regenerates else 0) for task in tasks)
    array_json = hardware.pe_array.model_dump_json()
    paddings = tuple(padded_share(task) for task in tasks)
    densities = tuple(layers.density.tolist()), tuple(task.layer.input_density for task in tasks), paddings
    table = tile_table(key, array_json, width)
    left = skipped_fractions(key, array_json, width, densities)
    return Space(hardware, tasks, layers, table, left)


@dataclass(frozen=True, slots=True)
class _Ways:
    """The way to hold an operand with the fewest fetches: its place in the flat table, and whether it fits."""

    table: HoldTable
    places: Ints
    fits: npt.NDArray[np.bool_]

    def tiles(self) -> Floats:
        """Return how many tiles are held, [orders, n]."""
        return self.table.single.take(self.places).astype(np.float64)

    def held(self, pairs: Ints | None) -> Held:
        """Return how the operand is held, [orders, n]; of some ``pairs`` of order and tiling, flat, [1, pairs]."""
        places, fits = (each if pairs is None else each.take(pairs)[None] for each in (self.places, self.fits))
        every = (getattr(self.table, name) for name in _TAKEN)
        fetches, *figures = (values.take(places).astype(np.float64) if values.size else np.zeros(0) for values in every)
        return Held(np.where(fits, fetches, np.inf), *figures)


_TAKEN = ("fetches", "loads", "single", "late", "ready", "keeps_rows", "keeps_columns")  # as `Held` has them


def _ways(table: HoldTable, tile_bytes: Floats, room: Floats, buffer: BufferConfig, only_tile: Floats | None) -> _Ways:
    """Return for each tiling and order the way with the fewest fetches that fits; ``room`` is [n] or [orders, n]."""
    held = table.double if buffer.double_buffered else table.single
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = np.where(tile_bytes > 0, room / np.maximum(tile_bytes, 1e-30), np.where(room >= 0, np.inf, -1.0))
    # Tables have 24 bits: a tile that fills its buffer to the last byte must not fail by the 25th.
    fits = held <= np.atleast_2d(tiles)[:, None].astype(np.float32) * np.float32(1 + 1e-6)
    if only_tile is not None:
        fits &= (table.single == 1) | (only_tile == 0)
    orders, ways, num = fits.shape
    # The first that fits, ways are sorted by fetches: `argmax` along an axis within takes several times as long.
    way = np.zeros((orders, num), dtype=np.int64)
    for each in reversed(range(ways)):
        way[fits[:, each]] = each
    return _Ways(
        table, (np.arange(orders)[:, None] * ways + way) * num + np.arange(num), np.logical_or.reduce(fits, axis=1)
    )


@dataclass(frozen=True, slots=True)
class Holdings:
    """How operands are held, [orders, n]; ``stored*``: stored bits, which the mask buffer may hold for longer."""

    weights: Held
    inputs: Held
    psums: Held
    stored: Floats
    stored_loads: Floats


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways in which operands fit their buffers with the fewest fetches; ``mask``: where bits are decoded."""

    weights: _Ways
    inputs: _Ways
    psums: _Ways
    mask: _Ways | None

    def fits(self) -> npt.NDArray[np.bool_]:
        """Return which tilings fit, [orders, n]."""
        return self.weights.fits & self.inputs.fits & self.psums.fits

    def holdings(self, space: Space, pairs: Ints | None = None) -> Holdings:
        """Return how operands are held, [orders, n]; where ``space`` is of ``pairs``, flat, of orders and tilings."""
        weights, inputs, psums = (each.held(pairs) for each in (self.weights, self.inputs, self.psums))
        if self.mask is None:
            return Holdings(weights, inputs, psums, weights.fetches, weights.loads)
        mask = self.mask.held(pairs)
        stored = np.minimum(weights.fetches, mask.fetches)
        is_coded = space.of_tile(space.layers.decoded_bits) > 0
        stored_loads = np.where(is_coded & np.isfinite(mask.fetches), mask.loads, weights.loads)
        return Holdings(weights, inputs, psums, stored, stored_loads)


def ways_of(space: Space) -> Ways:
    """Return how each operand is held: with the fewest fetches that its buffer has room for."""
    hardware, layers, table = space.hardware, space.layers, space.table

    def room(buffer: BufferConfig) -> Floats:
        return np.full(table.layer.size, float("inf") if space.is_ideal else float(buffer.capacity_bytes))

    only_tile = space.of_tile(layers.regenerates) if layers.regenerates.any() else None
    tile = table.positions * space.of_tile(layers.weight_bits) / 8
    weights = _ways(table.weights, tile, room(hardware.weight_buffer), hardware.weight_buffer, only_tile)
    sums = table.outputs * hardware.accumulator_bits / 8
    psums = _ways(table.psums, sums, room(hardware.accumulator), hardware.accumulator, None)
    needed = table.tile_inputs * space.of_tile(layers.activation_bits * layers.reads_inputs) / 8
    free = space.of_tile(layers.capacity_bytes) - table.outputs * space.of_tile(layers.staged_per_output)
    if hardware.sums_in_activation_buffer:  # sums are placed first, beside one tile of inputs
        left = left_beside(hardware.activation_buffer, free, needed)
        psums = _ways(table.psums, sums, left, hardware.accumulator, None)
        with np.errstate(invalid="ignore"):
            free = left_beside(hardware.activation_buffer, free, sums * psums.tiles())
    inputs = _ways(table.inputs, needed, free, hardware.activation_buffer, None)
    mask = None
    if layers.decoded_bits.any():
        share = table.positions * space.of_tile(layers.decoded_bits / layers.num_weights) / 8
        mask = _ways(table.weights, share, room(hardware.mask_buffer), hardware.mask_buffer, None)
    return Ways(weights, inputs, psums, mask)


@dataclass(frozen=True, slots=True)
class Moved:
    """DRAM bytes, [orders, n] or [n]: weights, inputs, partial sums, and what is read and written once."""

    weights: Floats
    inputs: Floats
    spills: Floats
    residual: Floats
    stored: Floats

    @property
    def total(self) -> Floats:
        """Return all bytes."""
        return self.weights + self.inputs + self.spills + self.residual + self.stored


def moved_of(space: Space, held: Holdings) -> Moved:
    """Return what passes between DRAM and chip when operands are held so."""
    layers, act = space.layers, space.layers.activation_bits / 8
    # Sums that leave come back: each of those visits writes them once and reads them once.
    spilled = 2.0 * np.maximum(held.psums.fetches - 1, 0)
    table, of = space.table, held.inputs
    # Rows that a tile shares with its neighbour come once where they are still on chip, else with each of both.
    rows = table.rows + of.keeps_rows * (table.new_rows - table.rows)
    columns = table.columns + of.keeps_columns * (table.new_columns - table.columns)
    burst = space.hardware.dram.burst_bytes
    every = table.depth * rows * columns * space.of_tile(layers.input_fraction * act * layers.input_code) * of.fetches
    # Outputs have tiles along K where inputs have them along C; all else they share.
    input_tiles = table.output_tiles / table.counts["K"] * table.counts["C"]
    return Moved(
        weights=space.of_tile(layers.fetched_bits) / 8 * held.stored,
        inputs=_in_bursts(every, input_tiles * of.fetches, burst),
        spills=spilled * space.of_tile(layers.num_outputs) * (space.hardware.accumulator_bits / 8),
        residual=_in_bursts(
            space.of_tile(layers.residual_dram_elements * act * layers.residual_code), table.output_tiles, burst
        ),
        stored=_in_bursts(space.of_tile(layers.stored_elements * act * layers.output_code), table.output_tiles, burst),
    )


def on_chip(space: Space, moved: Moved) -> tuple[Floats, Floats]:
    """Return the plain bytes of inputs and residuals that come from DRAM, as the activation buffer has them."""
    layers = space.layers
    return moved.inputs / space.of_tile(layers.input_code), moved.residual / space.of_tile(layers.residual_code)


def _in_bursts(num_bytes: Floats, requests: Floats, burst_bytes: int) -> Floats:
    """Return the bytes of equal requests, each of whole bursts."""
    with np.errstate(invalid="ignore"):  # what is fetched infinitely often does not fit
        whole: Floats = np.where(num_bytes > 0, np.ceil(num_bytes / requests / burst_bytes - 1e-9) * burst_bytes, 0.0)
        return np.where(np.isfinite(requests), whole * requests, np.inf)
