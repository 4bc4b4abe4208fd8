"""Closed forms of the PE array: cycles of a tile and what it moves, for each dataflow.

A systolic layer folds S_R x S_C onto rows x cols and streams T through each fold (Samajdar et al., ISPASS 2020,
section III):
the table of `fold_geometry` has S_R, S_C and T. All functions take integer scalars or arrays and broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig, ScratchPadConfig

IntLike = Any  # an int or an int64 array; every formula below broadcasts
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TileShape:
    """Sizes of a tile (or of many, as arrays); K and C are per group."""

    N: IntLike
    G: IntLike
    K: IntLike
    C: IntLike
    P: IntLike
    Q: IntLike
    RS: IntLike
    R: IntLike
    S: IntLike
    stride: tuple[int, int] = (1, 1)

    @property
    def inputs(self) -> IntLike:
        """Return the input elements that the tile reads, padding included (exact for a dilation of 1)."""
        rows = (self.P - 1) * self.stride[0] + self.R
        return self.N * self.G * self.C * rows * ((self.Q - 1) * self.stride[1] + self.S)

    @property
    def reduction(self) -> IntLike:
        """Return the length of a dot product within the tile."""
        return self.C * self.RS

    @property
    def pixels(self) -> IntLike:
        """Return the output positions."""
        return self.N * self.P * self.Q

    @property
    def macs(self) -> IntLike:
        """Return the dense multiply-accumulates."""
        return self.G * self.K * self.reduction * self.pixels


@dataclass(frozen=True, slots=True)
class FoldGeometry:
    """How a tile lies on a systolic array: folds over rows and columns, and the stream length of one fold."""

    row_folds: IntLike
    col_folds: IntLike
    stream: IntLike


@dataclass(frozen=True, slots=True)
class ArrayWork:
    """What the array does for a tile.

    Attributes
    ----------
    compute_cycles
        Cycles in which operands stream through a fold.
    weight_load_cycles
        Cycles in which the array only takes weights.
    fill_drain_cycles
        Further cycles in which a fold is filled with another stationary operand, skewed in, drained, or waits for
        instructions to be issued.
    once_cycles
        Loading the first weights, filling and draining that is paid once a layer (``weight_preload``), not once a tile.
    input_reads, weight_reads, psum_writes, psum_reads
        Elements that cross the buffer ports.
    weight_passes
        How often each weight of the tile is needed (streaming dataflows need them again for each fold of outputs).
    idle_pes
        PEs that the passes of a row-stationary array leave out. Other arrays are clocked as a whole, since operands or
        sums pass through all of their PEs.
    """

    compute_cycles: IntLike
    weight_load_cycles: IntLike
    fill_drain_cycles: IntLike
    once_cycles: int
    input_reads: IntLike
    weight_reads: IntLike
    psum_writes: IntLike
    psum_reads: IntLike
    weight_passes: IntLike
    idle_pes: IntLike = 0

    @property
    def unused_cycles(self) -> IntLike:
        """Return the cycles beside computing: loading weights, filling and draining."""
        return self.weight_load_cycles + self.fill_drain_cycles


def _ceil(numerator: IntLike, denominator: IntLike) -> IntLike:
    return -(-numerator // denominator)


def fold_geometry(array: PeArrayConfig, tile: TileShape) -> FoldGeometry:
    """Return the folds of a tile on a systolic array.

    =================  =====  =====  =====
    dataflow           S_R    S_C    T
    =================  =====  =====  =====
    weight_stationary  CRS    K      NPQ
    input_stationary   CRS    NPQ    K
    output_stationary  NPQ    K      CRS
    =================  =====  =====  =====

    Without ``fold_taps`` the window's positions RS are passes of their own: ceil(C / rows) RS folds.
    """
    row_folds = _ceil(tile.reduction, array.rows)
    if array.fold_taps is not True:
        # Taps of a filter row share a fold where the channels leave rows of PEs free.
        together = np.maximum(array.rows // np.maximum(tile.C, 1), 1) if array.fold_taps == "row" else 1
        row_folds = tile.R * -(-tile.S // together) * _ceil(tile.C, array.rows)
    if array.dataflow == "weight_stationary":
        return FoldGeometry(row_folds, _ceil(tile.K, array.cols), tile.pixels)
    if array.dataflow == "input_stationary":
        return FoldGeometry(row_folds, _ceil(tile.pixels, array.cols), tile.K)
    return FoldGeometry(_ceil(tile.pixels, array.rows), _ceil(tile.K, array.cols), tile.reduction)


def fold_overhead_cycles(array: PeArrayConfig) -> int:
    """Return f x rows + cols - 2: f = 2 where a stationary operand is loaded first, else 1.

    Output stationary, a fold ends when its last sum is complete; shifting sums out then costs nothing more, as it does
    in the code of SCALE-Sim (``docs/benchmarks.md``).
    """
    # Operands enter skewed: the last row gets its first one rows - 1 cycles late, the last column cols - 1.
    factor = 1 if array.dataflow == "output_stationary" else 2
    return factor * array.rows + array.cols - 2


def array_work(array: PeArrayConfig, tile: TileShape) -> ArrayWork:
    """Return cycles and buffer accesses of a tile without zero skipping."""
    if array.dataflow == "spatial":
        return _spatial_work(array, tile)
    if array.dataflow == "row_stationary":
        return row_stationary_work(array, tile)
    pixels = tile.pixels
    folds, tile = _split(array, fold_geometry(array, tile), tile)
    num_folds = tile.G * folds.row_folds * folds.col_folds
    compute = num_folds * folds.stream
    overhead = fold_overhead_cycles(array)
    if array.weight_preload:
        # The skew and the drain of a fold lie beside the next fold's stream: only the layer's ends show them.
        each, once = _preload_cycles(array, tile), overhead
        load = np.minimum(each, _rows_left(array, tile))
    else:
        each, once = overhead, 0
        # What an input-stationary array takes first are activations: that counts as filling.
        load = array.rows if array.dataflow == "weight_stationary" else 0
    load, fill = num_folds * load, num_folds * (each - load)
    # Stationary weights and inputs: each fold over the reduction adds to the sums of the fold before, so all but the
    # first read them. Stationary outputs never leave their PEs before they are complete.
    outputs = tile.G * tile.K * pixels
    inputs = tile.G * tile.reduction * pixels
    weights = tile.G * tile.K * tile.reduction
    if array.dataflow == "weight_stationary":
        return ArrayWork(
            compute, load, fill, once,
            input_reads=inputs * folds.col_folds, weight_reads=weights,
            psum_writes=outputs * folds.row_folds, psum_reads=outputs * (folds.row_folds - 1), weight_passes=1,
        )  # fmt: skip
    if array.dataflow == "input_stationary":
        return ArrayWork(
            compute, load, fill, once,
            input_reads=inputs, weight_reads=weights * folds.col_folds,
            psum_writes=outputs * folds.row_folds, psum_reads=outputs * (folds.row_folds - 1),
            weight_passes=folds.col_folds,
        )  # fmt: skip
    return ArrayWork(
        compute, load, fill, once,
        input_reads=inputs * folds.col_folds, weight_reads=weights * folds.row_folds,
        psum_writes=outputs, psum_reads=outputs * 0, weight_passes=folds.row_folds,
    )  # fmt: skip


def _split(array: PeArrayConfig, folds: FoldGeometry, tile: TileShape) -> tuple[FoldGeometry, TileShape]:
    """Return the part of a tile that the busiest of several arrays has: of the positions or of the column folds."""
    num = array.num_arrays
    if num == 1:
        return folds, tile
    pixels, filters = _ceil(tile.pixels, num), _ceil(folds.col_folds, num)
    # A fold lasts as long at the least as the weights behind it take to load.
    least = array.rows if array.weight_preload else 0
    by_pixels = folds.col_folds * np.maximum(pixels, least) <= filters * np.maximum(tile.pixels, least)
    stream = np.where(by_pixels, pixels, tile.pixels)
    share = FoldGeometry(folds.row_folds, np.where(by_pixels, folds.col_folds, filters), stream)
    # A share of the positions ends anywhere in an output row: it streams as one row.
    return share, replace(tile, N=1, P=stream, Q=1)


def _preload_cycles(array: PeArrayConfig, tile: TileShape) -> IntLike:
    """Return the cycles of a fold beyond its stream: the array only takes the next fold's weights, one row a cycle.

    Weights load beside the whole stream of a fold, or (``preload_with: instruction``) beside its last instruction
    only. An instruction streams at most ``rows`` positions of one output row, and takes ``min_instruction_rows`` cycles
    at the least. All instructions of a fold are issued no faster than one in ``instruction_interval_cycles``.
    """
    if array.preload_with == "fold":
        return _rows_left(array, tile)
    length = _line(tile)
    whole, rest = length // array.rows, length % array.rows
    lines = tile.pixels // length
    cycles = lines * (whole * array.rows + np.where(rest > 0, np.maximum(rest, array.min_instruction_rows), 0))
    cycles = cycles + _rows_left(array, tile)
    # Less what floats leave beside a whole number.
    issue = np.ceil(lines * (whole + (rest > 0)) * array.instruction_interval_cycles - 1e-9).astype(np.int64)
    return np.maximum(cycles, issue) - tile.pixels


def _line(tile: TileShape) -> IntLike:
    """Return the positions of an output row; without columns (Q = 1) all positions are one row."""
    return np.where(np.asarray(tile.Q) > 1, tile.Q, tile.pixels)


def _rows_left(array: PeArrayConfig, tile: TileShape) -> IntLike:
    """Return the rows of weights that are still to be loaded when the stream beside which they load has passed."""
    stream = tile.pixels
    if array.preload_with == "instruction":
        # Weights load beside the last instruction of a fold alone, and that one streams what whole ones leave over.
        rest = _line(tile) % array.rows
        stream = np.maximum(np.where(rest > 0, rest, array.rows), array.min_instruction_rows)
    return np.maximum(array.rows - stream, 0)


def adder_tree_depth(array: PeArrayConfig) -> int:
    """Return the levels of the adder trees over the unrolled reduction loops of a spatial array."""
    return (adder_fan_in(array) - 1).bit_length()


def adder_fan_in(array: PeArrayConfig) -> int:
    """Return the products that an adder tree of a spatial array sums: the unrolled reduction loops."""
    return array.unroll.get("C", 1) * array.unroll.get("R", 1) * array.unroll.get("S", 1)


def _spatial_work(array: PeArrayConfig, tile: TileShape) -> ArrayWork:
    """Temporal loops K, C, R, S outside and N, P, Q inside: a weight stays in its PE while the outputs pass.

    With ``operand_registers`` the other way round: a sum stays at its adder tree until it is complete, the window's
    activations shift from PE to PE (`_shifted_reads`), and weights come again for each block of outputs.
    """
    unroll = array.unroll
    u_k, u_c = unroll.get("K", 1), unroll.get("C", 1)
    u_rs = unroll.get("R", 1) * unroll.get("S", 1)
    weight_steps = (
        _ceil(tile.K, u_k) * _ceil(tile.C, u_c) * _ceil(tile.R, unroll.get("R", 1)) * _ceil(tile.S, unroll.get("S", 1))
    )
    pixel_steps = (
        _ceil(tile.N, unroll.get("N", 1)) * _ceil(tile.P, unroll.get("P", 1)) * _ceil(tile.Q, unroll.get("Q", 1))
    )
    reduction_folds = _ceil(tile.C, u_c) * _ceil(tile.RS, u_rs)
    outputs = tile.G * tile.K * tile.pixels
    streamed = tile.G * tile.reduction * tile.pixels * _ceil(tile.K, u_k)
    blocks: IntLike = 1
    if array.operand_registers:
        streamed, reduction_folds, blocks = _shifted_reads(array, tile), 1, pixel_steps
    # PEs that differ in their filter take the same activation: one word serves them all.
    words, lanes = array.distribution_words_per_cycle, 1
    for loop, copies in unroll.items():
        lanes *= copies if loop != "K" else 1
    return ArrayWork(
        compute_cycles=tile.G * weight_steps * pixel_steps * (1 if words is None else _ceil(lanes, words)),
        weight_load_cycles=0,
        fill_drain_cycles=tile.G * 0 + adder_tree_depth(array),
        once_cycles=0,
        input_reads=streamed,
        weight_reads=tile.G * tile.K * tile.reduction * blocks,
        psum_writes=outputs * reduction_folds,
        psum_reads=outputs * (reduction_folds - 1),
        weight_passes=blocks,
    )


def _shifted_reads(array: PeArrayConfig, tile: TileShape) -> IntLike:
    """Return the activations that PEs which shift them to their neighbours take from the buffer.

    A block of outputs takes all activations of the window's first tap. From tap to tap, along filter rows and back,
    each PE has its neighbour's, and only the edge of the block is new. Not where neighbours are further apart than taps
    (a stride), nor where taps are unrolled themselves: there each tap takes all of them.
    """
    copies = array.unroll.get
    across = _ceil(tile.Q, copies("Q", 1)) if tile.stride[1] == 1 and copies("S", 1) == 1 else tile.Q
    down = _ceil(tile.P, copies("P", 1)) if tile.stride[0] == 1 and copies("R", 1) == 1 else tile.P
    # S - 1 moves along each filter row bring a column of the block, R - 1 moves to the next filter row a row.
    edges = tile.R * (tile.S - 1) * tile.P * across + (tile.R - 1) * down * tile.Q
    return tile.G * tile.C * tile.N * (tile.P * tile.Q + edges) * _ceil(tile.K, copies("K", 1))


# Shorter passes may leave fewer filters over: 64 filters are four passes of 16 rather than three of 22. One more is
# what the passes that are published of the chip ask for (`tests/unit/mapping/test_row_stationary.py`); of 75 layers of
# four networks none becomes faster with up to eight more.
MORE_PASSES = 1
# How many sets above each other take other channels: powers of two, and three times those.
SHARES = tuple(sorted({base << shift for base in (1, 3) for shift in range(12)}))


def row_stationary_work(array: PeArrayConfig, tile: TileShape) -> ArrayWork:
    """Return the work of a tile on a row-stationary array (Chen et al., JSSC 2017, section IV, Tables II and III).

    A *set* of PEs has a filter row in each of its rows and an output row in each of its columns; a set wider than the
    array stands in strips above each other. Sets that fit on the array take other channels (r of them, above each
    other, since sums move along columns) or other filters (t). In a *pass* each PE holds a row of q channels and p
    filters: q windows fit its inputs, p q rows its weights, p its sums. A tile is as many passes as its channels,
    filters and rows need. The split into r and t is the fastest, and of equals the one that moves the fewest inputs and
    sums.

    All inputs of a tile are read again for each pass over other filters; all sums are read and written in each pass
    over other channels. The weights of a pass come before it, since its PEs read one in each cycle, and then the
    inputs under the first outputs of all rows; the others come while PEs work.
    """
    pads = array.scratch_pads
    if pads is None:  # refused by the configuration
        raise TypeError("row_stationary without scratch_pads")
    # A PE slides along one filter row: a window longer than either pad is cut into passes of its own.
    taps = np.minimum(tile.S, np.minimum(pads.input_words, pads.weight_words))
    # A set is as high as the filter, at most as the array: further filter rows are passes of their own.
    stacked = array.rows // np.minimum(tile.R, array.rows)
    strips = _ceil(tile.P, array.cols)
    # Sets stand side by side only where a whole one is narrower than the array; a wider one stands in strips.
    sets = np.where(tile.P <= array.cols, stacked * (array.cols // np.minimum(tile.P, array.cols)), stacked // strips)
    sets, bands = np.maximum(sets, 1), -(-strips // stacked)
    window_parts = _ceil(tile.R, array.rows) * -(-tile.S // taps)
    outputs = tile.G * tile.K * tile.pixels
    above = np.maximum(stacked // np.minimum(strips, stacked), 1)
    found = _best_split(pads, tile, taps, window_parts, (sets, above))
    parts = found.channel_passes * window_parts
    weights = tile.G * tile.K * tile.reduction
    passes = tile.G * parts * found.filter_passes * bands
    # Input rows under a band of output rows: PEs share them along diagonals, so that each comes once.
    rows = (_ceil(tile.P, bands) - 1) * tile.stride[0] + np.minimum(tile.R, array.rows)
    windows = _ceil(_ceil(tile.C, found.channel_passes) * rows * taps, pads.words_per_cycle)
    # Sets beyond the pairs of channel and filter have nothing to do.
    at_work = np.minimum(tile.R, array.rows) * _ceil(tile.P, bands) * np.minimum(sets, tile.C * tile.K)
    return ArrayWork(
        compute_cycles=tile.G * found.cycles * tile.N * tile.Q * taps * window_parts * bands,
        weight_load_cycles=_ceil(weights, pads.words_per_cycle),
        # Who asks counts the pipeline's latency once a tile: here stands that of the passes behind the first.
        fill_drain_cycles=passes * (windows + array.pipeline_latency_cycles) - array.pipeline_latency_cycles,
        once_cycles=0,
        input_reads=tile.inputs * found.filter_passes,
        weight_reads=weights,
        psum_writes=outputs * parts,
        psum_reads=outputs * (parts - 1),
        weight_passes=1,
        idle_pes=np.maximum(array.num_pes - at_work, 0),
    )


@dataclass(frozen=True, slots=True)
class _Split:
    """How a tile is cut into passes; ``cycles`` of all of them for one output of a row and one tap."""

    channel_passes: IntLike
    filter_passes: IntLike
    cycles: IntLike


def _best_split(
    pads: ScratchPadConfig, tile: TileShape, taps: IntLike, window_parts: IntLike, sets: tuple[IntLike, IntLike]
) -> _Split:
    """Return the fastest way to use ``sets``: how many there are, and how many of them stand above each other."""

    def moved_by(split: _Split) -> IntLike:
        # Each pass over other channels writes a sum, and all but the first read it before.
        sums = tile.G * tile.K * tile.pixels * (2 * split.channel_passes * window_parts - 1)
        return sums + tile.inputs * split.filter_passes

    found = _split_pass(pads, tile, taps, (sets[0], 1), 0)
    fewest = moved_by(found)
    shares = [shared for shared in SHARES if shared <= int(np.max(sets[1]))]
    for shared, more in product(shares, range(MORE_PASSES + 1)):
        split = _split_pass(pads, tile, taps, (sets[0], np.minimum(shared, sets[1])), more)
        moved = moved_by(split)
        is_better = (split.cycles < found.cycles) | (split.cycles == found.cycles) & (moved < fewest)
        found = _Split(*(np.where(is_better, getattr(split, name), getattr(found, name)) for name in _Split.__slots__))
        fewest = np.where(is_better, moved, fewest)
    return found


def _split_pass(
    pads: ScratchPadConfig, tile: TileShape, taps: IntLike, sets: tuple[IntLike, IntLike], more: int
) -> _Split:
    """Return the passes of a tile on ``sets``: how many there are, and how many of them take other channels.

    There are ``more`` passes over filters than must be.
    """
    share = np.minimum(np.minimum(sets[1], sets[0]), tile.C)
    others = sets[0] // share
    most = np.maximum(np.minimum(pads.input_words, pads.weight_words) // taps, 1)
    # Passes are evened out: as few as must be, then as many channels (filters) in each as that leaves.
    channel_passes = -(-tile.C // (share * most))
    channels = -(-tile.C // (channel_passes * share))
    most = np.maximum(np.minimum(pads.sum_words, pads.weight_words // (channels * taps)), 1)
    filter_passes = -(-tile.K // (others * most)) + more
    filters = -(-tile.K // (filter_passes * others))
    return _Split(channel_passes, filter_passes, channel_passes * filter_passes * channels * filters)
