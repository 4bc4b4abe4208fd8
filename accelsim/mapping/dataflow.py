"""Closed forms of the PE array: cycles of a tile and what it moves, for each dataflow.

A systolic layer folds S_R x S_C onto rows x cols and streams T through each fold (Samajdar et al., ISPASS 2020,
section III):
the table of `fold_geometry` has S_R, S_C and T. All functions take integer scalars or arrays and broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig

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
    fill_drain_cycles
        Cycles in which a fold is filled with its stationary operand, skewed in and drained.
    once_cycles
        Filling and draining that is paid once a layer (``weight_preload``), not once a tile.
    input_reads, weight_reads, psum_writes, psum_reads
        Elements that cross the buffer ports.
    weight_passes
        How often each weight of the tile is needed (streaming dataflows need them again for each fold of outputs).
    """

    compute_cycles: IntLike
    fill_drain_cycles: IntLike
    once_cycles: int
    input_reads: IntLike
    weight_reads: IntLike
    psum_writes: IntLike
    psum_reads: IntLike
    weight_passes: IntLike


def _ceil(numerator: IntLike, denominator: int) -> IntLike:
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
    """
    if array.dataflow == "weight_stationary":
        return FoldGeometry(_ceil(tile.reduction, array.rows), _ceil(tile.K, array.cols), tile.pixels)
    if array.dataflow == "input_stationary":
        return FoldGeometry(_ceil(tile.reduction, array.rows), _ceil(tile.pixels, array.cols), tile.K)
    return FoldGeometry(_ceil(tile.pixels, array.rows), _ceil(tile.K, array.cols), tile.reduction)


def fold_overhead_cycles(array: PeArrayConfig) -> int:
    """Return f x rows + cols - 2: f = 2 where a stationary operand is loaded first, else 1.

    Output stationary, a fold ends when its last sum is complete; shifting sums out then costs nothing more, as it does
    in the code of SCALE-Sim (``docs/benchmarks.md``).
    """
    factor = 1 if array.dataflow == "output_stationary" else 2
    return factor * array.rows + array.cols - 2


def array_work(array: PeArrayConfig, tile: TileShape) -> ArrayWork:
    """Return cycles and buffer accesses of a tile without zero skipping."""
    if array.dataflow == "spatial":
        return _spatial_work(array, tile)
    folds = fold_geometry(array, tile)
    num_folds = tile.G * folds.row_folds * folds.col_folds
    compute = num_folds * folds.stream
    overhead = fold_overhead_cycles(array)
    if array.weight_preload:
        fill, once = num_folds * _preload_cycles(array, tile), overhead
    else:
        fill, once = num_folds * overhead, 0
    outputs = tile.G * tile.K * tile.pixels
    inputs = tile.G * tile.reduction * tile.pixels
    weights = tile.G * tile.K * tile.reduction
    if array.dataflow == "weight_stationary":
        return ArrayWork(
            compute, fill, once,
            input_reads=inputs * folds.col_folds, weight_reads=weights,
            psum_writes=outputs * folds.row_folds, psum_reads=outputs * (folds.row_folds - 1), weight_passes=1,
        )  # fmt: skip
    if array.dataflow == "input_stationary":
        return ArrayWork(
            compute, fill, once,
            input_reads=inputs, weight_reads=weights * folds.col_folds,
            psum_writes=outputs * folds.row_folds, psum_reads=outputs * (folds.row_folds - 1),
            weight_passes=folds.col_folds,
        )  # fmt: skip
    return ArrayWork(
        compute, fill, once,
        input_reads=inputs * folds.col_folds, weight_reads=weights * folds.row_folds,
        psum_writes=outputs, psum_reads=outputs * 0, weight_passes=folds.row_folds,
    )  # fmt: skip


def _preload_cycles(array: PeArrayConfig, tile: TileShape) -> IntLike:
    """Return the cycles of a fold in which the array only takes the next fold's weights, one row a cycle.

    Weights load beside the whole stream of a fold, or (``preload_with: instruction``) beside its first instruction
    only, which streams at most ``rows`` positions of one output row; without columns (Q = 1) all positions are one row.
    """
    if array.preload_with == "fold":
        return np.maximum(array.rows - tile.pixels, 0)
    row = np.where(np.asarray(tile.Q) > 1, tile.Q, tile.pixels)
    return array.rows - np.minimum(row, array.rows)


def adder_tree_depth(array: PeArrayConfig) -> int:
    """Return the levels of the adder trees over the unrolled reduction loops of a spatial array."""
    return (adder_fan_in(array) - 1).bit_length()


def adder_fan_in(array: PeArrayConfig) -> int:
    """Return the products that an adder tree of a spatial array sums: the unrolled reduction loops."""
    return array.unroll.get("C", 1) * array.unroll.get("R", 1) * array.unroll.get("S", 1)


def _spatial_work(array: PeArrayConfig, tile: TileShape) -> ArrayWork:
    """Temporal loops K, C, R, S outside and N, P, Q inside: a weight stays in its PE while the outputs pass.

    With ``operand_registers`` inputs and partial sums stay in the PEs too, for as long as the tile is at work.
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
    if array.operand_registers:
        streamed, reduction_folds = np.minimum(tile.inputs, streamed), 1
    return ArrayWork(
        compute_cycles=tile.G * weight_steps * pixel_steps,
        fill_drain_cycles=tile.G * 0 + adder_tree_depth(array),
        once_cycles=0,
        input_reads=streamed,
        weight_reads=tile.G * tile.K * tile.reduction,
        psum_writes=outputs * reduction_folds,
        psum_reads=outputs * (reduction_folds - 1),
        weight_passes=1,
    )
