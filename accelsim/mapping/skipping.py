"""Zero skipping applied to a tiling: the share of the cycles that remains in each step of the nest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import PeArrayConfig
from accelsim.mapping.loops import Nest, Tiling
from accelsim.mapping.sparsity import LaneGrid, dense_steps, expected_steps, lane_grid, largest_share, real_steps
from accelsim.mapping.task import LayerTask

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SkipFactors:
    """Fraction of the cycles that remain, per step; None where nothing is skipped.

    ``kept``: the share of buffer accesses where that is another one, since steps are filled with several filters.
    """

    fraction: Floats | None
    kept: float | None = None

    def apply(self, cycles: Ints) -> Ints:
        """Return the cycles that remain, rounded up."""
        if self.fraction is None:
            return cycles
        # The fraction is a float: its last digit must not make a cycle more.
        return np.ceil(cycles * self.fraction - 1e-9).astype(np.int64)

    def scale(self, accesses: Ints) -> Ints:
        """Return the buffer accesses that remain: a skipped step reads and writes nothing."""
        if self.kept is not None:
            left: Ints = np.ceil(accesses * self.kept - 1e-9).astype(np.int64)
            return left
        return self.apply(accesses)

    def scale_sums(self, accesses: Ints) -> Ints:
        """Return the accesses of partial sums that remain: filters that share steps have sums of their own."""
        return accesses if self.kept is not None else self.apply(accesses)

    @property
    def total(self) -> float:
        """Return the sum over all steps."""
        return float(self.fraction.sum()) if self.fraction is not None else 0.0

    def slots(self, macs: int) -> int:
        """Return the MAC slots that the array passes through, of ``macs`` dense ones."""
        if self.fraction is None:
            return macs
        # Steps weigh alike here, though the last tile of a loop may be smaller.
        return round(macs * float(self.fraction.mean()))


@dataclass(frozen=True, slots=True)
class SkipTable:
    """What skipping leaves in a layer's tiles: ``weights`` float64 [G, K, C tiles], None where none are skipped."""

    task: LayerTask
    weights: Floats | None

    @property
    def any(self) -> bool:
        """Return whether anything is skipped."""
        return self.weights is not None or self._skips_activations

    @property
    def _skips_activations(self) -> bool:
        return self.task.hardware.pe_array.zero_activations == "skip" and self.task.layer.input_density < 1.0

    def factors(self, nest: Nest) -> SkipFactors:
        """Return what is left of each step; weights and activations are taken as independent of each other."""
        fraction: Floats | None = None
        if self.weights is not None:
            fraction = self.weights[nest.index["G"], nest.index["K"], nest.index["C"]]
        if self._skips_activations:
            pe, layer = self.task.hardware.pe_array, self.task.layer
            activations = _activation_fraction(pe, layer.input_density, nest, layer.dims.R * layer.dims.S)
            fraction = activations if fraction is None else fraction * activations
        is_packed = self.weights is not None and self.task.hardware.pe_array.skip_group == "packed"
        return SkipFactors(fraction, kept_share(self.task) if is_packed else None)


def kept_share(task: LayerTask) -> float:
    """Return the share of the weights that are kept."""
    return task.plan.num_nonzero / task.layer.dims.num_weights if task.plan is not None else 1.0


def padded_share(task: LayerTask) -> float:
    """Return the steps that paddings of the code take, over those of the dense layer.

    The slowest lane has as many as a lane has in the mean, on top of its kept weights: walking through the entries of
    random lanes gives the same within 6 % at densities of 3 to 10 %, and up to a third more where a lane keeps but one.
    """
    plan = task.plan
    if plan is None or plan.decoder != "rle" or not task.hardware.pe_array.padding_takes_cycles:
        return 0.0
    return (plan.decoder_symbols - plan.num_nonzero) / task.layer.dims.num_weights


def skip_table(task: LayerTask, tiling: Tiling) -> SkipTable:
    """Return what skipping leaves in the tiles of a tiling."""
    pe, plan = task.hardware.pe_array, task.plan
    if plan is None or pe.zero_weights != "skip":
        return SkipTable(task, None)
    # Packed lanes save steps of full weights too: a filter that does not fill its lanes is followed by the next one.
    if plan.num_nonzero < task.layer.dims.num_weights or pe.skip_group == "packed":
        return SkipTable(task, np.minimum(1.0, _weight_fraction(task, tiling) + padded_share(task)))
    return SkipTable(task, None)


def _weight_fraction(task: LayerTask, tiling: Tiling) -> Floats:
    """Return remaining over dense weight steps of each (G, K, C) tile: real mask or binomial model."""
    dims, pe = task.layer.dims, task.hardware.pe_array
    grid = lane_grid(pe)
    weights = task.layer.weights
    window = dims.R * dims.S
    mask = weights.load_mask() if weights is not None and weights.load_mask is not None else None
    flat = mask.reshape(dims.G * dims.K, dims.C * window) if mask is not None else None
    density = task.plan.num_nonzero / dims.num_weights if task.plan is not None else 1.0
    number = tiling.counts(dims)
    counts = number["G"], number["K"], number["C"]
    # Positions do not matter: tiles of other outputs meet the same weights, and wait for the same slowest lane.
    table = np.ones(counts, dtype=np.float64)
    for g in range(counts[0]):
        for k in range(counts[1]):
            for c in range(counts[2]):
                table[g, k, c] = _tile_fraction(task, tiling, (g, k, c), flat, density, grid)
    return table


def _tile_fraction(
    task: LayerTask,
    tiling: Tiling,
    tile: tuple[int, int, int],
    flat: npt.NDArray[np.bool_] | None,
    density: float,
    grid: LaneGrid,
) -> float:
    dims, group = task.layer.dims, task.hardware.pe_array.skip_group
    window = dims.R * dims.S
    groups = range(tile[0] * tiling.G, min((tile[0] + 1) * tiling.G, dims.G))
    first_k, last_k = tile[1] * tiling.K, min((tile[1] + 1) * tiling.K, dims.K)
    first_c, last_c = tile[2] * tiling.C * window, min((tile[2] + 1) * tiling.C, dims.C) * window
    dense = dense_steps(last_k - first_k, last_c - first_c, grid)
    if flat is None:
        return min(1.0, expected_steps(last_k - first_k, last_c - first_c, density, grid, group) / dense)
    remaining = sum(
        real_steps(flat[g * dims.K + first_k : g * dims.K + last_k, first_c:last_c], grid, group) for g in groups
    )
    return remaining / (dense * len(groups))


def _activation_fraction(pe: PeArrayConfig, density: float, nest: Nest, window: int) -> Floats:
    """Return remaining over dense activation steps; PEs that share an activation are one lane.

    ``rows`` advance alone at their own count, so the step ends with the slowest; ``array`` and ``columns`` hold
    every row back until all rows of the group see a zero.
    """
    if pe.dataflow == "spatial":
        lanes = pe.unroll.get("C", 1) * pe.unroll.get("R", 1) * pe.unroll.get("S", 1)
        lanes *= pe.unroll.get("P", 1) * pe.unroll.get("Q", 1) * pe.unroll.get("N", 1)
    else:
        lanes = pe.rows
    if pe.skip_group != "rows":
        # A step is saved only where no lane has anything to do.
        return np.full(nest.num_steps, 1.0 - (1.0 - density) ** lanes)
    # Each row passes its own stream: the longer it is, the nearer its count of zeros is to that of the slowest row.
    streams = nest.size["N"] * nest.size["P"] * nest.size["Q"]
    if pe.dataflow == "output_stationary":
        streams = nest.size["C"] * window
    lengths, place = np.unique(streams, return_inverse=True)
    left: Floats = np.array([largest_share(length, density, lanes) for length in lengths.tolist()])[place.reshape(-1)]
    return left


def effective_macs(task: LayerTask) -> int:
    """Return the multiply-accumulates whose weight is kept."""
    dims = task.layer.dims
    if task.plan is None:
        return dims.macs
    return task.plan.num_nonzero * dims.N * dims.P * dims.Q


def executed_macs(task: LayerTask) -> int:
    """Return the multiply-accumulates that the array does: those of zeros that it sees are held, or left out."""
    array = task.hardware.pe_array
    # Weights and activations are zero independently of each other, as everywhere (docs/model.md).
    executed = effective_macs(task) if array.zero_weights != "none" else task.layer.dims.macs
    return executed if array.zero_activations == "none" else round(executed * task.layer.input_density)
