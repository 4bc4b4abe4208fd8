"""A ticket as it lies in memory for one schedule: seeds, and mask bits in the order of the tiles' first use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import TicketError
from accelsim.mapping.dataflow import TileShape, array_work
from accelsim.mapping.loops import build_nest
from accelsim.prng.source import RandomSource
from accelsim.ticket.codecs import decode_mask
from accelsim.ticket.model import TicketLayer
from accelsim.ticket.pack import unpack_frozen, unpack_weights
from accelsim.timing.schedule import LayerSchedule
from accelsim.trace.model import TraceLayer
from accelsim.validation.verify_seeds import lane_seeds, num_filters_per_stream
from accelsim.validation.verify_walk import KIND_CODES, WalkResult, WalkSetup, walk

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TileVisits:
    """Weight tiles in the order in which the array takes them.

    Attributes
    ----------
    ranges
        int64 [events, 4]: first filter, filters, first weight of a filter, weights of a filter; of the weight tensor
        flattened to [filters, weights of a filter].
    passes
        int64 [events]: how often a visit generates its tile.
    begins
        The events before which the generator worked for other layers, of a fused layer: its lanes begin anew.
    """

    ranges: Ints
    passes: Ints
    begins: tuple[int, ...] = (0,)

    def between(self, begin: int, end: int) -> TileVisits:
        """Return a piece's visits."""
        return TileVisits(self.ranges[begin:end], self.passes[begin:end])

    def text(self, event: int) -> str:
        """Return a visit in words."""
        first, number, begin, length = self.ranges[event].tolist()
        return (
            f"tile visit {event} (filters {first} to {first + number - 1}, weights {begin} to {begin + length - 1} of "
            "each)"
        )


@dataclass(frozen=True, slots=True)
class LayerImage:
    """What one layer's generator and decoder get.

    Attributes
    ----------
    source
        Generator and thresholds.
    seeds
        uint32 [2, streams]: weights, freezing map.
    bits, first_bit
        Stored mask bits, uint8, in the order of the tiles' first use; int64 [events]: where each visit begins to read.
    """

    source: RandomSource
    seeds: npt.NDArray[np.uint32]
    bits: npt.NDArray[np.uint8]
    first_bit: Ints


def tile_visits(
    layer: TraceLayer, schedule: LayerSchedule, hardware: HardwareConfig, first: tuple[int, int] = (0, 0)
) -> TileVisits:
    """Return the visits of a layer's weight tiles, from its schedule.

    Of a part of a layer ``first`` are its first filter, and the first weight that is its own of each filter.
    """
    dims, tiling = layer.dims, schedule.tiling
    if tiling is None:
        raise TicketError(f"layer {schedule.name!r}: has weights but does not run on the array; this is a fault")
    if schedule.parts is not None:
        raise TicketError(
            f"layer {schedule.name!r}: {schedule.num_steps} tiles are more than are walked through; choose a chip with "
            "larger buffers"
        )
    nest = build_nest(dims, tiling)
    steps = schedule.weights.step
    size = {loop: values[steps] for loop, values in nest.size.items()}
    index = {loop: values[steps] for loop, values in nest.index.items()}
    window = dims.R * dims.S
    if layer.kind == "conv_transpose2d":  # CKRS: its streams run along the input channels
        filters = first[0] + index["G"] * tiling.G * dims.C + index["C"] * tiling.C
        ranges = [filters, size["G"] * size["C"], first[1] + index["K"] * tiling.K * window, size["K"] * window]
    else:
        filters = first[0] + index["G"] * tiling.G * dims.K + index["K"] * tiling.K
        ranges = [filters, size["G"] * size["K"], index["C"] * tiling.C * window, size["C"] * window]
    passes = np.ones(steps.size, dtype=np.int64)
    generator = hardware.weight_generator
    if generator is not None and generator.weights == "regenerate":
        tile = TileShape(size["N"], size["G"], size["K"], size["C"], size["P"], size["Q"], window, dims.R, dims.S)
        passes = passes * np.asarray(array_work(hardware.pe_array, tile).weight_passes)
    return TileVisits(np.stack(ranges, axis=1), passes)


def layer_image(layer: TicketLayer, reference: TicketLayer, visits: TileVisits) -> LayerImage:
    """Return the memory image of ``layer``, its mask bits laid out for the freezing map of ``reference``.

    Raises
    ------
    TicketError
        The layer cannot be regenerated, or the two have another number of free weights.
    """
    if layer.source is None:
        raise TicketError(
            f"layer {layer.name!r}: its weights come from no generator of this program (imported ticket); "
            "only searched and synthetic tickets can be regenerated"
        )
    if (layer.shape, layer.num_free) != (reference.shape, reference.num_free):
        raise TicketError(
            f"layer {layer.name!r}: shape {layer.shape} with {layer.num_free} free weights, the reference has "
            f"{reference.shape} with {reference.num_free}; compare tickets of one search"
        )
    free = (unpack_frozen(reference) == 0).reshape(layer.shape[0], -1)
    stored = np.zeros(free.shape, dtype=np.uint8)
    stored[free] = decode_mask(layer.codec, layer.mask_payload, layer.payload_bits, layer.num_free)
    unique, first_seen, of_visit = np.unique(visits.ranges, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first_seen, kind="stable")
    parts, starts, total = [], np.zeros(len(unique), dtype=np.int64), 0
    for tile in order.tolist():
        first, number, begin, length = unique[tile].tolist()
        slab = (slice(first, first + number), slice(begin, begin + length))
        parts.append(stored[slab][free[slab]])
        starts[tile] = total
        total += parts[-1].size
    return LayerImage(
        layer.source, lane_seeds(layer.source, layer.shape), np.concatenate(parts), starts[of_visit.reshape(-1)]
    )


def walk_image(
    image: LayerImage, visits: TileVisits, reference: TicketLayer, hardware: HardwareConfig, leaves_out: bool
) -> WalkResult:
    """Produce a layer from its image, tile by tile, and compare it with the searched network's weights.

    Of several coats the lanes and this comparison know the first; the sums of all are in the digests.
    """
    source, generator = image.source, hardware.weight_generator
    if generator is None:
        raise TicketError(f"{hardware.name}: weight_generator: none: nothing regenerates weights; give another chip")
    expected = unpack_weights(replace(reference, coat_payload=b"", coat_kept=())).reshape(-1).astype(np.int32)
    freezes = source.threshold_bits > 0 and source.lock_threshold > 0
    setup = WalkSetup(
        kind=KIND_CODES[source.generator],
        per_stream=num_filters_per_stream(source, reference.shape[0]),
        per_filter=expected.size // reference.shape[0],
        num_lanes=generator.num_lanes,
        terms=source.normal_terms if source.weights == "normal" else 1,
        weight_bits=source.weight_bits,
        threshold_bits=source.threshold_bits if freezes else 0,
        prune_threshold=source.prune_threshold,
        lock_threshold=source.lock_threshold,
        jump_words=generator.jump_cycles * generator.words_per_lane_per_cycle if source.seeds == "jump" else -1,
        leaves_out=int(leaves_out),
    )
    tiles = np.column_stack([visits.ranges, visits.passes, image.first_bit])
    return walk(setup, image.seeds, tiles, image.bits, expected)


def joined_visits(pieces: Sequence[TileVisits]) -> TileVisits:
    """Return the visits of all pieces of a layer, one after the other."""
    ends = np.cumsum([0, *(len(piece.passes) for piece in pieces)]).tolist()
    return TileVisits(
        np.concatenate([piece.ranges for piece in pieces]), np.concatenate([piece.passes for piece in pieces]),
        tuple(end + begin for end, piece in zip(ends, pieces, strict=False) for begin in piece.begins),
    )  # fmt: skip


def walk_pieces(
    image: LayerImage, visits: TileVisits, reference: TicketLayer, hardware: HardwareConfig, leaves_out: bool
) -> WalkResult:
    """Produce a layer once for each of its pieces, and add up what the lanes did."""
    found: list[WalkResult] = []
    for begin, end in pairwise((*visits.begins, len(visits.passes))):
        part, piece = replace(image, first_bit=image.first_bit[begin:end]), visits.between(begin, end)
        one = walk_image(part, piece, reference, hardware, leaves_out)
        mismatch = None if one.mismatch is None else (one.mismatch[0] + begin, *one.mismatch[1:])
        found.append(replace(one, mismatch=mismatch))
    first = found[0]
    for one in found[1:]:
        first = WalkResult(
            words=first.words + one.words,
            discarded_words=first.discarded_words + one.discarded_words,
            seeds=first.seeds + one.seeds,
            jumps=first.jumps + one.jumps,
            mask_bits=first.mask_bits + one.mask_bits,
            productions=first.productions + one.productions,
            mismatch=first.mismatch or one.mismatch,
        )
    return first


def planned_productions(visits: TileVisits, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Return how often the schedule produces each weight, int32 [num weights]."""
    productions = np.zeros((shape[0], int(np.prod(shape[1:], dtype=np.int64))), dtype=np.int32)
    unique, of_visit = np.unique(visits.ranges, axis=0, return_inverse=True)
    times = np.bincount(of_visit.reshape(-1), weights=visits.passes).astype(np.int32)
    for (first, number, begin, length), count in zip(unique.tolist(), times, strict=True):
        productions[first : first + number, begin : begin + length] += count
    return productions.reshape(-1)
