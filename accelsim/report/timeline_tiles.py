"""What a timeline takes from the schedule: which tile a slice is, the bytes it moves, how full buffers are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from accelsim.mapping.program import INPUT, STORE, WEIGHT, DmaProgram, build_program
from accelsim.mapping.schedule import LayerSchedule, Schedule
from accelsim.trace.model import LayerTrace, LoopDims

NUM_WINDOWS = 400
_BY_WEIGHT_EVENT = ("weight_generator", "mask_decoder")
Change = tuple[int, int]  # cycle, difference


class Piece(Protocol):
    """A slice of a timeline, as far as counters need it."""

    @property
    def layer(self) -> int:
        """Number of the layer."""
        ...

    @property
    def tile(self) -> int:
        """Number of the item."""
        ...

    @property
    def start_cycle(self) -> int:
        """First cycle."""
        ...

    @property
    def end_cycle(self) -> int:
        """Cycle after the last."""
        ...


@dataclass(frozen=True, slots=True)
class LayerTiles:
    """One layer: its loops over tiles, outermost first, and the step of each event.

    Attributes
    ----------
    loops
        (loop, number of tiles) of the loops that are split.
    weight_steps, output_steps
        Step that takes each weight event, and last step of each output event.
    program
        Requests to the memory, in order.
    """

    loops: tuple[tuple[str, int], ...]
    weight_steps: list[int]
    output_steps: list[int]
    program: DmaProgram

    def step_of(self, unit: str, index: int) -> int:
        """Return the step that item ``index`` of ``unit`` belongs to."""
        if unit == "dram":
            return self.program.step[index]
        if unit in _BY_WEIGHT_EVENT:
            return self.weight_steps[index]
        return self.output_steps[index] if unit == "vector_unit" else index

    def place(self, step: int) -> str:
        """Return the tile of a step by its index in each loop that is split: ``K2 C0``."""
        parts = []
        for loop, count in reversed(self.loops):
            step, index = divmod(step, count)
            parts.append(f"{loop}{index}")
        return " ".join(reversed(parts))


@dataclass(frozen=True, slots=True)
class TileMap:
    """The layers of a network in their order, and the clock in MHz."""

    layers: tuple[LayerTiles, ...]
    clock_mhz: float

    def details(self, unit: str, layer: int, index: int) -> dict[str, str | int]:
        """Return what is said of a slice: the tile's place in the loops, and the bytes of a memory request."""
        tiles = self.layers[layer]
        found: dict[str, str | int] = {}
        if tiles.loops:
            found["loops"] = tiles.place(tiles.step_of(unit, index))
        if unit == "dram":
            found["bytes"] = tiles.program.num_bytes[index]
        return found


def tile_map(schedule: Schedule, trace: LayerTrace, clock_mhz: float) -> TileMap:
    """Return the tiles of ``schedule``, which was made from ``trace``."""
    pairs = zip(schedule.layers, trace.layers, strict=True)
    return TileMap(tuple(_layer_tiles(layer, traced.dims) for layer, traced in pairs), clock_mhz)


def bandwidth_windows(
    tiles: TileMap, requests: Iterable[Piece], total_cycles: int
) -> Iterator[tuple[int, float, float]]:
    """Yield (first cycle, GB/s read, GB/s written) of equal windows; a request's bytes are spread over its slice."""
    width = max(1, -(-total_cycles // NUM_WINDOWS))
    moved = [[0.0, 0.0] for _ in range(total_cycles // width + 1)]
    for piece in requests:
        program = tiles.layers[piece.layer].program
        rate = program.num_bytes[piece.tile] / max(1, piece.end_cycle - piece.start_cycle)
        column = 1 if program.kind[piece.tile] == STORE else 0
        for window in range(piece.start_cycle // width, min(piece.end_cycle // width, len(moved) - 1) + 1):
            inside = min(piece.end_cycle, (window + 1) * width) - max(piece.start_cycle, window * width)
            moved[window][column] += rate * max(0, inside)
    for window, (read, written) in enumerate(moved):
        scale = tiles.clock_mhz / 1e3 / width
        yield window * width, read * scale, written * scale


def waiting_bytes(
    tiles: TileMap, requests: Iterable[Piece], steps: Iterable[Piece]
) -> tuple[list[Change], list[Change]]:
    """Return how the bytes of weights and of inputs change that have arrived and that no step has taken yet."""
    begins = {(piece.layer, piece.tile): piece.start_cycle for piece in steps}
    weights: list[Change] = []
    inputs: list[Change] = []
    for piece in requests:
        program = tiles.layers[piece.layer].program
        kind, size = program.kind[piece.tile], program.num_bytes[piece.tile]
        taken = begins.get((piece.layer, program.step[piece.tile]))
        if taken is not None and kind in (WEIGHT, INPUT):
            changes = weights if kind == WEIGHT else inputs
            changes += [(piece.end_cycle, size), (max(taken, piece.end_cycle), -size)]
    return weights, inputs


def tiles_ahead(tiles: TileMap, made: Sequence[Iterable[Piece]], steps: Iterable[Piece]) -> list[Change]:
    """Return how the number of weight tiles changes that are ready, and that no step has taken yet.

    ``made`` has the slices of each unit that must have finished a tile: decoder, generator.
    """
    begins = {(piece.layer, piece.tile): piece.start_cycle for piece in steps}
    ready: dict[tuple[int, int], int] = {}
    for pieces in made:
        for piece in pieces:
            key = (piece.layer, piece.tile)
            ready[key] = max(ready.get(key, 0), piece.end_cycle)
    changes: list[Change] = []
    for (layer, event), cycle in ready.items():
        taken = begins.get((layer, tiles.layers[layer].weight_steps[event]))
        if taken is not None:
            changes += [(cycle, 1), (max(taken, cycle), -1)]
    return changes


def window_peaks(changes: Iterable[Change], total_cycles: int) -> Iterator[tuple[int, int]]:
    """Yield (first cycle, highest level) of equal windows of a level that begins at 0."""
    width = max(1, -(-total_cycles // NUM_WINDOWS))
    ordered = sorted(changes, key=lambda change: (change[0], change[1]))
    level = position = 0
    for begin in range(0, total_cycles + 1, width):
        peak = level
        while position < len(ordered) and ordered[position][0] < begin + width:
            level += ordered[position][1]
            peak = max(peak, level)
            position += 1
        yield begin, peak


def _layer_tiles(layer: LayerSchedule, dims: LoopDims) -> LayerTiles:
    loops: tuple[tuple[str, int], ...] = ()
    if layer.tiling is not None:
        counts = layer.tiling.counts(dims)
        loops = tuple((loop, counts[loop]) for loop in layer.tiling.whole_order if counts[loop] > 1)
    steps = layer.weights.step.tolist(), layer.outputs.last_step.tolist()
    return LayerTiles(loops, steps[0], steps[1], build_program(layer))
