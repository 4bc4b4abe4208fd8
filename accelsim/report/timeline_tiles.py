"""What a timeline takes from the schedule: which tile a slice is, the bytes it moves, and over which channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.loops import Nest, build_nest
from accelsim.sim.dram.build import build
from accelsim.sim.dram.mapping import AddressMapping
from accelsim.timing.memory import REGION_BYTES
from accelsim.timing.program import DmaProgram, build_program
from accelsim.timing.schedule import LayerSchedule, Schedule
from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.units import ceil_div

Ints = npt.NDArray[np.int64]
BY_WEIGHT_TILE = ("weight_generator", "mask_decoder")


@dataclass(frozen=True)
class LayerTiles:
    """One layer of the schedule, as a timeline sees it.

    Attributes
    ----------
    schedule, traced
        The layer.
    region_bytes
        Bytes that the layers before moved, by kind of request: where this layer's data lie in memory.
    held_bytes
        What a fused group has of its maps in the activation buffer while this piece of it runs.
    """

    schedule: LayerSchedule
    traced: TraceLayer
    region_bytes: tuple[int, ...] = (0, 0, 0, 0, 0)
    held_bytes: int = 0

    @cached_property
    def program(self) -> DmaProgram:
        """Return the requests to the memory, in order."""
        return build_program(self.schedule)

    @cached_property
    def nest(self) -> Nest | None:
        """Return the loop nest; None for a layer that does not use the array."""
        tiling = self.schedule.tiling
        return build_nest(self.traced.dims, tiling) if tiling is not None else None

    @cached_property
    def loops(self) -> tuple[tuple[str, int], ...]:
        """Return the loops that are split and their numbers of tiles, outermost first."""
        nest = self.nest
        return tuple((loop, nest.counts[loop]) for loop in nest.order if nest.counts[loop] > 1) if nest else ()

    def steps_of(self, unit: str, index: Ints) -> Ints:
        """Return the tile (step of the array) that each item of ``unit`` belongs to."""
        last = max(0, self.schedule.num_steps - 1)
        if unit == "dram":
            index = np.asarray(self.program.step, dtype=np.int64)[index]
        elif unit in BY_WEIGHT_TILE:
            index = self.schedule.weights.step[index]
        elif unit == "vector_unit":
            index = self.schedule.outputs.last_step[index]
        return np.clip(index, 0, last)

    def place(self, step: int) -> str:
        """Return the tile of a step by its index in each loop that is split: ``K2 C0``."""
        parts = []
        for loop, count in reversed(self.loops):
            step, index = divmod(step, count)
            parts.append(f"{loop}{index}")
        return " ".join(reversed(parts))

    def address(self, request: int) -> int:
        """Return where a request begins in memory, as the simulator's DMA engine places it."""
        kind = self.program.kind[request]
        return kind * REGION_BYTES + (self.region_bytes[kind] + self.program.offset[request]) % REGION_BYTES


@dataclass(frozen=True)
class TileMap:
    """The layers of a network in their order, on a chip."""

    hardware: HardwareConfig
    layers: tuple[LayerTiles, ...]

    @property
    def num_channels(self) -> int:
        """Return the memory's channels that are drawn: none for an ideal memory."""
        return 0 if self.hardware.memory == "ideal" else self.hardware.dram.num_channels

    @property
    def channel_words(self) -> str:
        """Return what is known of the channels' share in a request."""
        if self._mapping is not None:
            return "each channel with the bursts that the address map sends there"
        return "dram.model simple: bursts go round the channels, which work in step"

    def channel_bytes(self, layer: int, request: int) -> tuple[int, ...]:
        """Return the bytes of a request on each channel."""
        tiles, burst = self.layers[layer], self.hardware.dram.burst_bytes
        bursts = ceil_div(tiles.program.num_bytes[request], burst)
        first = tiles.address(request) // burst
        if self._mapping is None:
            count, share = self.num_channels, divmod(bursts, self.num_channels)
            return tuple((share[0] + ((channel - first) % count < share[1])) * burst for channel in range(count))
        numbers = np.arange(first, first + bursts, dtype=np.uint64)
        channels = self._mapping.decode(numbers * np.uint64(burst)).channel
        counts = np.bincount(channels, minlength=self.num_channels)
        return tuple(int(count) * burst for count in counts)

    @cached_property
    def _mapping(self) -> AddressMapping | None:
        dram = self.hardware.dram
        return build(dram).mapping if dram.model == "timing" and self.num_channels > 1 else None


def tile_map(
    schedule: Schedule, trace: LayerTrace, hardware: HardwareConfig, held_bytes: tuple[int, ...] = ()
) -> TileMap:
    """Return the tiles of ``schedule``, which was made from ``trace`` for ``hardware``.

    ``held_bytes`` are of each layer, where there are pieces of fused ones; then ``trace`` is that of the pieces.
    """
    regions = [0] * 5
    layers = []
    held = held_bytes or (0,) * len(trace.layers)
    for layer, traced, own in zip(schedule.layers, trace.layers, held, strict=True):
        tiles = LayerTiles(layer, traced, tuple(regions), own)
        layers.append(tiles)
        for kind, num_bytes in zip(tiles.program.kind, tiles.program.num_bytes, strict=True):
            regions[kind] = (regions[kind] + num_bytes) % REGION_BYTES
    return TileMap(hardware, tuple(layers))
