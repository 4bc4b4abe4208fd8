"""From a loop nest to events: which step waits for which bytes, and when their place is free."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

import numpy as np
import numpy.typing as npt

from accelsim.mapping.dataflow import ArrayWork
from accelsim.mapping.generation import GenerationWork, TileRange, generation_work
from accelsim.mapping.holding import Holding
from accelsim.mapping.input_rows import new_extents
from accelsim.mapping.loops import INPUT_LOOPS, OUTPUT_LOOPS, WEIGHT_LOOPS, Loop, Nest, Reuse, Tiling, fetch_steps
from accelsim.mapping.task import LayerTask
from accelsim.timing.schedule import NO_RELEASE, InputEvents, OutputEvents, WeightEvents

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
VARIABLE_LENGTH = frozenset({"rle", "golomb", "entropy", "csr"})
FILTER_LOOPS = frozenset("GK")
_INT64_END = 1 << 63


@dataclass(frozen=True, slots=True)
class WeightTraffic:
    """Weight events with what they add up to: bytes by class, symbols decoded and the generator's work."""

    events: WeightEvents
    bytes_by_class: dict[str, int]
    fetched_bits: int
    decoded_bits: int
    decoder_symbols: int
    decoder_positions: int
    written_positions: int
    generation: GenerationWork | None


def ceil_share(total: int, part: Ints, whole: int) -> Ints:
    """Return ceil(total x part / whole), int64, exact also where the product passes 2**63; ``part`` <= ``whole``."""
    return -_floor_share(-total, part, whole)


def _floor_share(total: int, part: Ints, whole: int) -> Ints:
    # Shares of all tiles must add up to the total, so they are taken exactly; layers of 2**31 weights come near 2**63.
    common = gcd(total, whole)
    total, whole = total // common, whole // common
    if abs(total) * max(whole, int(part.max(initial=0))) < _INT64_END:
        return total * part // whole
    return np.array([total * each // whole for each in part.tolist()], dtype=np.int64)


def coded_bytes(num_bytes: Ints, share: float) -> Ints:
    """Return the bytes that are left of plain ones, rounded up; the same where they are not coded."""
    # The share is a float: its last digit must not make a byte more.
    return num_bytes if share >= 1 else np.ceil(num_bytes * share - 1e-9).astype(np.int64)


def _align(num_bytes: Ints, burst_bytes: int) -> Ints:
    return -(-num_bytes // burst_bytes) * burst_bytes


def _place_free(steps: Ints, reuse: Reuse, double: bool, is_copied: bool = False) -> Ints:
    """Return the array progress that frees the place of each fetched tile (see `accelsim.timing.schedule`).

    Where PEs copy what they use (``is_copied``), it is free when the last step that uses it begins.
    """
    events = np.arange(steps.size, dtype=np.int64)
    # Tiles that are held together come and go together.
    block = events // reuse.block_tiles
    # With two places a block takes that of the last but one, which is done when the last one begins; with one place it
    # waits until it is needed itself. The first block finds an empty buffer.
    owner = np.maximum(block - 1, 0) if double else block
    release = 2 * steps[np.minimum(owner * reuse.block_tiles, max(steps.size - 1, 0))]
    if is_copied:
        release = np.maximum(release - 1, 0)  # odd values: the step has begun
    return np.where(block == 0, NO_RELEASE, release)


def _rank(nest: Nest, step: int) -> int:
    """Return which weight tile a step of the whole nest uses, counted in the order of first use."""
    rank, inner = 0, prod(nest.counts.values())
    for loop in nest.order:
        inner //= nest.counts[loop]
        if loop in WEIGHT_LOOPS:
            rank = rank * nest.counts[loop] + step // inner % nest.counts[loop]
    return rank


def _rank_before(nest: Nest, reuse: Reuse, steps: Ints) -> int:
    """Return the weight tile (see `_rank`) that is loaded right before the first of ``steps``; -2: none is."""
    if not steps.size:
        return -2
    # A part of a layer begins in the middle of the nest: what came before it is worked out, not looked up.
    step = nest.first_step + int(steps[0])
    block = step - step % prod(nest.counts[loop] for loop in nest.order[reuse.hold_from :])
    # Within a block tiles come in their order. The first of a block comes behind the last step of the block before,
    # whatever tile that had.
    if _rank(nest, step) > _rank(nest, block):
        return _rank(nest, step) - 1
    return _rank(nest, block - 1) if block else -2


def passed_weights(nest: Nest, task: LayerTask, tiling: Tiling, index: dict[Loop, Ints]) -> tuple[Ints, Ints, Ints]:
    """Return of each weight tile its rank, and the weights and filters of all tiles before it, in order of first use.

    A filter counts in the tile that begins its sums.
    """
    rank, weights, filters = (np.zeros_like(index["K"]) for _ in range(3))
    own_weights, own_filters = np.ones_like(rank), np.ones_like(rank)
    for loop in nest.order:
        if loop not in WEIGHT_LOOPS or nest.counts[loop] == 1 and getattr(task.layer.dims, loop) == 1:
            continue
        extent = getattr(task.layer.dims, loop)
        tile = tiling.size(loop) or extent
        begin = index[loop] * tile
        size = np.minimum(tile, extent - begin)
        rank = rank * nest.counts[loop] + index[loop]
        # Before a tile lie all of this loop for each step of the loops outside, and its own begin times what is inside.
        weights = weights * extent + own_weights * begin
        own_weights = own_weights * size
        if loop in FILTER_LOOPS:
            filters = filters * extent + own_filters * begin
            own_filters = own_filters * size
        else:
            # A tile of later channels adds to sums that are there: its filters were counted with the first channels.
            filters = filters + own_filters * np.minimum(index[loop], 1)
            own_filters = np.where(index[loop] == 0, own_filters, 0)
    return rank, weights, filters


def stream_bits(task: LayerTask) -> dict[str, tuple[int, bool, int]]:
    """Return what one pass over a layer's weights brings, by class: bits, and over what they are spread.

    Over its weights (True) or its filters, and how many of these there are.
    """
    dims, stored = task.layer.dims, task.dram_bits
    weights, filters = (True, dims.num_weights), (False, max(1, dims.G * dims.K))
    if task.plan is None:
        totals = {task.second_class: (task.second_dram_bits, *weights)}
    else:
        totals = {
            "seed": (stored.seed, *filters), "scale": (stored.scale, *filters), "index": (stored.index, *weights),
            "weight": (stored.weight, *weights), "mask": (stored.mask, *weights),
        }  # fmt: skip
    return {name: entry for name, entry in totals.items() if entry[0]}


def _stream_bytes(
    task: LayerTask, in_order: tuple[Ints, Ints, Ints], own: tuple[Ints, Ints], rank_before: int
) -> tuple[Ints, dict[str, int]]:
    """Return the bytes that each of some weight tiles fetches, and their bytes by class.

    Stored bits lie one tile behind the other, in the order of first use. DRAM delivers whole bursts: what a burst
    holds beyond a
    tile stays in the mask buffer for the next one, and is read again only where the order of tiles jumps. The
    padding counts to the largest class.

    Parameters
    ----------
    in_order, own
        As `passed_weights` returns it, and the weights and filters of the tiles themselves.
    rank_before
        The tile that was fetched before the first of these.
    """
    totals = stream_bits(task)
    rank, weights, filters = in_order
    if not totals or not rank.size:
        return np.zeros_like(rank), {}
    begin, end, by_class = np.zeros_like(rank), np.zeros_like(rank), {}
    for name, (total, of_weights, whole) in totals.items():
        passed, part = (weights, own[0]) if of_weights else (filters, own[1])
        # Shares of running sums, not of sizes: what rounding takes from one tile goes to the next, and all add up.
        first, last = _floor_share(total, passed, whole), _floor_share(total, passed + part, whole)
        begin, end = begin + first, end + last
        by_class[name] = -(-int((last - first).sum()) // 8)
    burst_bits = 8 * task.burst_bytes
    # Only the next tile in storage order: any other one begins in a burst that is not on chip.
    goes_on = rank == np.concatenate([[rank_before], rank[:-1]]) + 1
    # A tile that goes on where the one before ended finds the beginning of its first burst on chip.
    begin = np.where(goes_on, -(-begin // burst_bits), begin // burst_bits)
    fetch_bytes: Ints = np.maximum(-(-end // burst_bits) - begin, 0) * task.burst_bytes
    largest = max(by_class, key=lambda name: by_class[name])
    by_class[largest] += int(fetch_bytes.sum()) - sum(by_class.values())
    return fetch_bytes, by_class


def weight_events(
    task: LayerTask, tiling: Tiling, nest: Nest, holding: Holding, work: ArrayWork, kept_fraction: float | None
) -> WeightTraffic:
    """Return the weight tiles of a layer in the order of use."""
    takes = fetch_steps(nest, WEIGHT_LOOPS, holding.weights)
    steps = np.flatnonzero(takes)
    size = {loop: nest.size[loop][steps] for loop in nest.size}
    index = {loop: nest.index[loop][steps] for loop in nest.index}
    filters = size["G"] * size["K"]
    positions = filters * size["C"] * size["R"] * size["S"]
    fetched = fetch_steps(nest, WEIGHT_LOOPS, holding.mask)[steps]
    # Nothing comes from DRAM where a stripe before has left it, or where the second operand is on chip.
    if task.held or (task.plan is None and not task.loads_second):
        fetched = np.zeros_like(fetched)
    rank, *passed = passed_weights(nest, task, tiling, index)
    own = positions[fetched], np.where(nest.opens_sum[steps], filters, 0)[fetched]
    in_order = rank[fetched], passed[0][fetched], passed[1][fetched]
    fetch_bytes = np.zeros_like(positions)
    fetch_bytes[fetched], by_class = _stream_bytes(
        task, in_order, own, _rank_before(nest, holding.mask, steps[fetched])
    )
    passes = np.ones(steps.size, dtype=np.int64)
    if task.regenerates_each_pass:
        passes = passes * np.broadcast_to(np.asarray(work.weight_passes), takes.shape)[steps]
    generation = _generation(
        task, tiling, nest, (index, size), passes, kept_fraction, _rank_before(nest, holding.weights, steps)
    )
    decode, symbols = _decoding(task, positions)
    decode = decode * passes
    if generation is not None:
        # Where lanes cannot hand on what they make, the decoder has the tile for as long as they do.
        decode = np.where(generation.is_held_up, np.maximum(decode, generation.cycles), decode)
    stored = task.traffic_bits
    share = ceil_share(stored.mask + stored.index + stored.weight, positions, task.layer.dims.num_weights)
    buffer = task.hardware.weight_buffer
    release = _place_free(steps, holding.weights, buffer.double_buffered, buffer.is_copied)
    events = WeightEvents(
        step=steps,
        release=release,
        fetch_bytes=fetch_bytes,
        fetch_release=_stream_free(fetched, holding, task.hardware.mask_buffer.double_buffered),
        decode_cycles=np.maximum(decode, _mask_port_cycles(task, share, fetched) * passes),
        generate_cycles=generation.cycles if generation is not None else np.zeros_like(positions),
    )
    return WeightTraffic(
        events=events,
        bytes_by_class=by_class,
        fetched_bits=int(share[fetched].sum()),
        decoded_bits=int((share * passes).sum()) if task.decodes else 0,
        decoder_symbols=int((symbols * passes).sum()),
        decoder_positions=int((positions * passes).sum()) if task.decodes else 0,
        written_positions=0 if task.held == "weights" else int((positions * passes).sum()),
        generation=generation,
    )


def _mask_port_cycles(task: LayerTask, stored_bits: Ints, fetched: npt.NDArray[np.bool_]) -> Ints:
    """Return the cycles of each tile at the mask buffer's ports: written if it is fetched, read by the decoder."""
    if not task.decodes or task.is_ideal:
        return np.zeros_like(stored_bits)
    return -(-stored_bits * np.where(fetched, 2, 1) // task.hardware.mask_buffer.port_bits_per_cycle)


def _stream_free(fetched: npt.NDArray[np.bool_], holding: Holding, double: bool) -> Ints:
    """Return how many tiles the decoder must have finished before the place of a fetch is free.

    0: all of the layers before; `NO_RELEASE`: their last one may still be there, in the other half of the buffer.
    """
    order, reuse = np.flatnonzero(fetched), holding.mask
    release = np.zeros(fetched.size, dtype=np.int64)
    if not order.size:
        return release
    block = np.arange(order.size, dtype=np.int64) // reuse.block_tiles
    # As in `_place_free`, but the place is the mask buffer's, and the decoder is who empties it.
    owner = np.maximum(block - 1, 0) if double else block
    first = NO_RELEASE if holding.mask_leaves_half else 0
    release[order] = np.where(block == 0, first, order[owner * reuse.block_tiles])
    return release


def _generation(
    task: LayerTask,
    tiling: Tiling,
    nest: Nest,
    tile: tuple[dict[Loop, Ints], dict[Loop, Ints]],
    passes: Ints,
    kept: float | None,
    rank_before: int,
) -> GenerationWork | None:
    """Return the generator's work for tiles, given by index and size; None without a generator.

    Its lanes still hold the states of the tile before, ``rank_before`` (see `_rank`), which may be one of an earlier
    part of the layer: it is put in front, and left out of the answer.
    """
    generator = task.hardware.weight_generator
    if task.plan is None or task.plan.source is None or generator is None:
        return None
    dims = task.layer.dims
    window = dims.R * dims.S
    # Streams run along axis 0 of the weight tensor as it is drawn: filters, or (CKRS) a transposed layer's inputs.
    outer: Loop = "C" if task.layer.kind == "conv_transpose2d" else "K"
    inner: Loop = "K" if outer == "C" else "C"
    num_outer, num_inner = getattr(dims, outer), getattr(dims, inner)
    index, size = tile
    before = rank_before >= 0
    if before:
        index, size = _with_tile_before(nest, task, tiling, tile, rank_before)
        passes = np.concatenate([[1], passes])
    tiles = TileRange(
        # Of a layer that is split over cores the streams are those of the whole layer.
        first_filter=task.first_filter + index["G"] * tiling.G * num_outer + index[outer] * tiling.size(outer),
        num_filters=size["G"] * size[outer],
        first_weight=task.first_weight + index[inner] * tiling.size(inner) * window,
        num_weights=size[inner] * window,
    )
    shape = (dims.G * num_outer, task.filter_weights or num_inner * window)
    decoder = task.hardware.mask_decoder if task.decodes else None
    places = decoder.positions_per_cycle if decoder is not None else None
    work = generation_work(task.plan.source, shape, generator, tiles, passes, kept, places)
    if not before:
        return work
    return work.behind(1)


def _with_tile_before(
    nest: Nest,
    task: LayerTask,
    tiling: Tiling,
    tile: tuple[dict[Loop, Ints], dict[Loop, Ints]],
    rank_before: int,
) -> tuple[dict[Loop, Ints], dict[Loop, Ints]]:
    """Return index and size of weight tiles with the tile ``rank_before`` in front."""
    index, size, rank = {}, {}, rank_before
    for loop in reversed(nest.order):
        if loop in WEIGHT_LOOPS:
            extent = getattr(task.layer.dims, loop)
            rank, place = divmod(rank, nest.counts[loop])
            each = tiling.size(loop) or extent
            index[loop] = np.concatenate([[place], tile[0][loop]])
            size[loop] = np.concatenate([[min(each, extent - place * each)], tile[1][loop]])
    return index, size


def _decoding(task: LayerTask, positions: Ints) -> tuple[Ints, Ints]:
    """Return decoder cycles and symbols of each tile: all positions, or symbols of a variable-length code."""
    decoder = task.hardware.mask_decoder
    if task.plan is None or not task.decodes or decoder is None:
        return np.zeros_like(positions), np.zeros_like(positions)
    symbols = ceil_share(task.plan.decoder_symbols, positions, task.layer.dims.num_weights)
    cycles = -(-positions // decoder.positions_per_cycle)
    if task.plan.decoder in VARIABLE_LENGTH:
        cycles = np.maximum(cycles, -(-symbols // decoder.symbols_per_cycle))
    return cycles, symbols


def input_events(task: LayerTask, tiling: Tiling, nest: Nest, holding: Holding) -> tuple[InputEvents, int]:
    """Return the input tiles that come from DRAM, and their bytes before alignment."""
    empty = np.zeros(0, dtype=np.int64)
    if not task.dram_input_elements:
        return InputEvents(empty, empty, empty), 0
    steps = np.flatnonzero(fetch_steps(nest, INPUT_LOOPS, holding.inputs))
    dims = task.layer.dims
    if not steps.size:  # a part of a layer, whose inputs an earlier part has brought
        return InputEvents(empty, empty, empty), 0
    rows = new_extents(task, tiling, nest, holding.inputs, steps, ("P", "R"))
    columns = new_extents(task, tiling, nest, holding.inputs, steps, ("Q", "S"))
    elements = nest.size["N"][steps] * nest.size["G"][steps] * nest.size["C"][steps] * rows * columns
    if task.dram_input_elements != dims.num_inputs:
        elements = ceil_share(task.dram_input_elements, elements, dims.num_inputs)
    num_bytes = -(-elements * task.activation_bits // 8)
    release = _place_free(steps, holding.inputs, task.hardware.activation_buffer.double_buffered)
    coded = coded_bytes(num_bytes, task.coding.inputs)
    return InputEvents(steps, release, _align(coded, task.burst_bytes)), int(num_bytes.sum())


@dataclass(frozen=True, slots=True)
class _Visits:
    """Visits of output tiles: first and last step, outputs of each, and what becomes of its sums, [num_visits].

    ``resumes``: spilled sums are read back; ``final``: the sums are complete; ``is_partial``: they are spilled;
    ``stay``: they stay in the accumulators for the next part of the layer.
    """

    first: Ints
    last: Ints
    elements: Ints
    resumes: Bools
    final: Bools
    is_partial: Bools
    stay: bool


def _visits(nest: Nest, reuse: Reuse) -> _Visits:
    """Return the visits of output tiles.

    Where the accumulators hold more than a part of a layer, a visit is opened in one part and left in another: then
    either all visits of a part are opened in it or none, and either all leave or none (see `step_ranges`). Those of
    an earlier part count as opened before the first step; those that stay are visits only for the partial sums that
    they read.
    """
    leaves = np.ones(nest.num_steps, dtype=bool)
    for position, loop in enumerate(nest.order):
        if position >= reuse.hold_from and loop not in OUTPUT_LOOPS:
            leaves &= nest.index[loop] == nest.counts[loop] - 1
    first, last = np.flatnonzero(fetch_steps(nest, OUTPUT_LOOPS, reuse)), np.flatnonzero(leaves)
    tile = nest.size["N"] * nest.size["G"] * nest.size["K"] * nest.size["P"] * nest.size["Q"]
    if not last.size:
        first = first[~nest.opens_sum[first]]
        never = np.zeros(first.size, dtype=bool)
        last = np.full(first.size, nest.num_steps - 1, dtype=np.int64)
        return _Visits(first, last, tile[first], ~nest.opens_sum[first], never, never, True)
    final = nest.ends_sum[last]
    resumes = ~nest.opens_sum[first] if first.size else np.zeros(last.size, dtype=bool)
    first = first if first.size else np.zeros(last.size, dtype=np.int64)
    return _Visits(first, last, tile[last], resumes, final, ~final, False)


def output_events(task: LayerTask, nest: Nest, holding: Holding) -> tuple[OutputEvents, Bools, dict[str, int]]:
    """Return visits of output tiles, which of them leave the accumulators, and elements.

    Elements are ``outputs stored psum_written psum_read residual``.
    """
    reuse, layer, hardware = holding.outputs, task.layer, task.hardware
    found = _visits(nest, reuse)
    first, elements, final, is_partial = found.first, found.elements, found.final, found.is_partial
    total = layer.dims.num_outputs
    visits = np.arange(first.size, dtype=np.int64)
    block = visits // reuse.block_tiles
    # With two places a tile opens beside the one before, which the vector unit still reads.
    back = 1 if hardware.accumulator.double_buffered else 0
    open_after = np.maximum(block - back, 0) * reuse.block_tiles
    psum_bytes = -(-elements * hardware.accumulator_bits // 8)
    psum_read = np.where(found.resumes, _align(psum_bytes, task.burst_bytes), 0)
    psum_write = np.where(is_partial, _align(psum_bytes, task.burst_bytes), 0)
    written = ceil_share(task.memory_outputs, elements, total)
    out_bytes = coded_bytes(-(-written * task.output_bits // 8), task.coding.outputs)
    store = np.where(final, _align(out_bytes, task.burst_bytes) if task.output_to_dram else 0, psum_write)
    residual = ceil_share(task.residual_dram_elements, elements, total)
    residual_bytes = coded_bytes(-(-residual * task.activation_bits // 8), task.coding.residuals)
    residual_bytes = np.where(final, _align(residual_bytes, task.burst_bytes), 0)
    ops = ceil_share(max(layer.vector_ops, total), elements, total)
    events = OutputEvents(
        first_step=first,
        last_step=found.last,
        open_after=open_after,
        psum_read_bytes=psum_read,
        after_store=_previous_visits(nest, first, psum_read > 0),
        vector_cycles=np.where(final, -(-ops // hardware.vector_unit.num_lanes), 0),
        residual_bytes=residual_bytes,
        store_bytes=store,
        is_partial=is_partial,
    )
    moved = {
        "outputs": int(elements[final].sum()),
        "stored": int(written[final].sum()) if task.output_to_dram else 0,
        "psum_written": int(elements[is_partial].sum()),
        "psum_read": int(elements[found.resumes].sum()),
        "residual": int(residual[final].sum()),
    }
    return events, np.full(first.size, not found.stay), moved


def _previous_visits(nest: Nest, first: Ints, are_read: Bools) -> Ints:
    """Return the visit in which the same output tile was spilled last, or -1: none, or its sums are not read."""
    if not are_read.any():
        return np.full(first.size, -1, dtype=np.int64)
    key = np.zeros(first.size, dtype=np.int64)
    for loop in nest.order:
        if loop in OUTPUT_LOOPS:
            key = key * nest.counts[loop] + nest.index[loop][first]
    previous = np.full(first.size, -1, dtype=np.int64)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    previous[order[1:][same]] = order[:-1][same]
    return np.where(are_read, previous, -1)
