"""What no tiling of a layer can beat: the layer alone, from cold buffers.

The family are all tile sizes, loop orders, splits of the filter and ways to hold tiles that `accelsim map --mapping`
takes. Cutting a layer into tiles never lessens what a unit has to do: folds are rounded up in every tile, operands are
read again. So the layer as one tile is a bound of the array and of the ports of the buffers, the traffic of tensors
read and written once is one of the memory, and all positions decoded (generated) once is one of decoder and generator.
Before the array begins something must have arrived, and after it ends something must still leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from accelsim.mapping.dataflow import ArrayWork, TileShape, adder_tree_depth, array_work, fold_geometry
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.generation import TileRange, generation_work
from accelsim.mapping.skipping import effective_macs
from accelsim.mapping.task import LayerTask
from accelsim.timing.memory import bytes_per_cycle
from accelsim.trace.model import LoopDims
from accelsim.units import ceil_div, ns_to_cycles


@dataclass(frozen=True, slots=True)
class LowerBound:
    """Cycles that no tiling of a layer can beat, and by which limit; each unit's own part of it, without the others.

    ``limit`` is a unit, or a buffer whose ports are the limit. ``array_cycles``, ``vector_cycles`` and ``dram_cycles``
    are work that a network cannot avoid either, whatever its layers overlap.
    """

    cycles: int
    limit: str
    array_cycles: int
    vector_cycles: int
    dram_cycles: int


@dataclass(frozen=True, slots=True)
class _Traffic:
    """Bytes that a layer must move at the least."""

    weights: float
    inputs: float
    residuals: float
    outputs: float

    @property
    def read(self) -> float:
        return self.weights + self.inputs + self.residuals


def lower_bound(task: LayerTask) -> LowerBound:
    """Return the lower bound of a layer, alone and from cold buffers."""
    traffic = _traffic(task)
    vector = _vector_cycles(task)
    dram = _dram_cycles(task, traffic)  # without the memory's answer, for which several layers may wait together
    lead, tail = _lead(task, traffic), _tail(task)
    if not task.layer.uses_array:
        port = 0.0
        limits = {"vector_unit": vector + tail}
    else:
        array, port, buffer = _array_cycles(task, traffic)
        limits = {
            "pe_array": lead + array + tail,
            buffer: lead + port + tail,
            "vector_unit": lead + vector + tail,
            "mask_decoder": _decoder_cycles(task) + tail,
            "weight_generator": _generator_cycles(task) + tail,
        }
        port = max(array, port)
    limits["dram"] = dram + _answer(task, traffic)
    limit = max(limits, key=lambda name: limits[name])
    # Figures are floats here; what is rounded up in the simulation is rounded down here.
    call = task.hardware.pe_array.call_cycles
    return LowerBound(int(limits[limit] + 1e-6) + call, limit, int(port + 1e-6), int(vector), int(dram + 1e-6))


def made_cycles(task: LayerTask) -> dict[str, float]:
    """Return the cycles in which decoder and generator, by their names, make all weights of a layer once."""
    return {"mask_decoder": _decoding_cycles(task), "weight_generator": _generating_cycles(task)}


@dataclass(frozen=True, slots=True)
class NetworkBound:
    """The array, vector and DRAM time that layers cannot do without, whatever they overlap."""

    array_cycles: int = 0
    vector_cycles: int = 0
    dram_cycles: int = 0

    @classmethod
    def of(cls, bounds: Iterable[LowerBound]) -> NetworkBound:
        """Return the sums over layers."""
        rows = [(bound.array_cycles, bound.vector_cycles, bound.dram_cycles) for bound in bounds]
        return cls(*map(sum, zip(*rows, strict=True)))

    def times(self, number: int) -> NetworkBound:
        """Return the bound of so many equal networks."""
        return NetworkBound(number * self.array_cycles, number * self.vector_cycles, number * self.dram_cycles)

    def __add__(self, other: NetworkBound) -> NetworkBound:
        """Return the bound of one network after the other."""
        return NetworkBound(
            self.array_cycles + other.array_cycles,
            self.vector_cycles + other.vector_cycles,
            self.dram_cycles + other.dram_cycles,
        )

    @property
    def cycles(self) -> int:
        """Return the largest of the three."""
        return max(self.array_cycles, self.vector_cycles, self.dram_cycles)


def network_bound(bounds: Iterable[LowerBound]) -> int:
    """Return what a network cannot beat: the largest of its total array, vector and DRAM time."""
    return NetworkBound.of(bounds).cycles


def _needed(dims: LoopDims, axis: int) -> int:
    """Return the input rows (columns) under the windows of all outputs: no tile reads fewer."""
    outputs, extent = (dims.P, dims.H) if axis == 0 else (dims.Q, dims.W)
    span = dims.span(axis)
    # Windows that touch cover one stretch; what lies between others is never read.
    if span >= dims.stride[axis]:
        return max(0, min(dims.start(axis, outputs - 1) + span, extent) - max(dims.start(axis, 0), 0))
    starts = [dims.start(axis, place) for place in range(outputs)]
    return sum(max(0, min(start + span, extent) - max(start, 0)) for start in starts)


def _traffic(task: LayerTask) -> _Traffic:
    layer, dims, bits = task.layer, task.layer.dims, task.activation_bits
    if not layer.uses_array:
        inputs = task.dram_input_elements * bits / 8 * task.coding.inputs
    else:
        rows = _needed(dims, 0)
        columns = _needed(dims, 1)
        if layer.kind == "aggregate":
            rows, columns = min(dims.P, dims.H), dims.W
        share = task.dram_input_elements / max(1, dims.num_inputs)
        inputs = dims.N * dims.G * dims.C * rows * columns * min(1.0, share) * bits / 8 * task.coding.inputs
    second = task.second_dram_bits / 8 if layer.uses_array else 0
    outputs = task.memory_outputs * task.output_bits / 8 if task.output_to_dram else 0
    outputs = outputs * task.coding.outputs
    residuals = task.residual_dram_elements * bits / 8 * task.coding.residuals
    weights = (task.dram_bits if layer.uses_array else task.row_bits).total / 8
    return _Traffic(weights + second, inputs, residuals, outputs)


def _rate(task: LayerTask) -> float:
    dram, clock_mhz, cache = task.hardware.dram, task.hardware.clock_mhz, task.hardware.cache
    if dram.model == "timing":  # a transfer may fall between two refreshes
        return dram.peak_bytes_per_ns * 1000 / clock_mhz
    rate = float(bytes_per_cycle(dram, clock_mhz))
    # What hits does not wait for the memory.
    return rate if cache is None else max(rate, cache.width_bits / 8)


def _latency(task: LayerTask, is_write: bool) -> float:
    """Return the cycles from a request to its last word, of one burst; the timing model's own may be shorter."""
    hardware, dram = task.hardware, task.hardware.dram
    if task.is_ideal or dram.model == "timing":
        return 0
    return ns_to_cycles(dram.write_latency_ns if is_write else dram.read_latency_ns, hardware.clock_mhz)


def _dram_cycles(task: LayerTask, traffic: _Traffic) -> float:
    if task.is_ideal:
        return 0
    read, written, rate = traffic.read, traffic.outputs, _rate(task)
    if task.hardware.dram.separate_write_bus:
        # Reads and writes pass side by side: the longer of them decides.
        return max(read, written) / rate
    return (read + written) / rate


def _answer(task: LayerTask, traffic: _Traffic) -> float:
    """Return the cycles from the last request of a layer to its last word, or from the first to its first."""
    is_moved = traffic.read or traffic.outputs
    if task.is_ideal or task.hardware.dram.separate_write_bus or not is_moved:
        return 0
    return min(_latency(task, False), _latency(task, True))


def _lead(task: LayerTask, traffic: _Traffic) -> float:
    """Return the cycles before the array's first step: its operands come from DRAM, decoder or generator."""
    hardware = task.hardware
    fetch = 0.0 if task.is_ideal or not (traffic.weights or traffic.inputs) else _latency(task, False)
    decode = hardware.mask_decoder.latency_cycles if task.decodes and hardware.mask_decoder is not None else 0
    generator = hardware.weight_generator
    make = generator.latency_cycles if task.regenerates and generator is not None else 0
    of_weights = (_latency(task, False) if traffic.weights and not task.is_ideal else 0) + decode
    # Words of the generator wait for nothing from DRAM; inputs need no decoder: the longest way counts.
    return max(fetch, of_weights, make)


def _tail(task: LayerTask) -> float:
    """Return the cycles after the array's (the vector unit's) last work."""
    store = _latency(task, True) if task.output_to_dram and not task.is_ideal else 0
    return task.hardware.vector_unit.latency_cycles + store


def _vector_cycles(task: LayerTask) -> float:
    layer, hardware = task.layer, task.hardware
    outputs = layer.num_outputs or layer.dims.num_outputs
    ops = max(layer.vector_ops, layer.dims.num_outputs if layer.uses_array else outputs)
    # Down: some tiling may leave no lane idle.
    return float(ops // hardware.vector_unit.num_lanes)


def _one_tile(task: LayerTask) -> TileShape:
    dims = task.layer.dims
    return TileShape(
        dims.N, dims.G, dims.K, dims.C, dims.P, dims.Q, dims.R * dims.S, dims.R, dims.S, dims.stride,
    )  # fmt: skip


def _array_cycles(task: LayerTask, traffic: _Traffic) -> tuple[float, float, str]:
    """Return the cycles of the array, and those of the buffer whose ports take longest, with its name."""
    array, tile = task.hardware.pe_array, _one_tile(task)
    if array.fold_taps == "row":  # tiles of fewer channels may have more taps in a pass than one of all channels
        array = array.model_copy(update={"fold_taps": True})
    work = array_work(array, tile)
    left = _left(task, work)
    compute = float(work.compute_cycles) * left
    if array.num_arrays > 1:  # tiles may be split one by positions and one by filters; a part takes its weights too
        folds = fold_geometry(array, tile)
        stream = np.maximum(folds.stream, array.rows if array.weight_preload else 0)
        compute, fill = float(tile.G * folds.row_folds * folds.col_folds * stream) / array.num_arrays, 0.0
    elif array.dataflow == "row_stationary":  # other tiles may fill the array better than one
        compute, fill = task.layer.dims.macs / array.num_pes, 0.0
    elif array.dataflow == "spatial":
        fill = float(adder_tree_depth(array))
    elif array.weight_preload:
        # Instructions of another shape may hide more of the loading, but never more than all positions do.
        folds = fold_geometry(array, tile)
        fill = float(tile.G * folds.row_folds * folds.col_folds * np.maximum(array.rows - folds.stream, 0))
    else:
        fill = float(work.unused_cycles)
    total = compute + fill + work.once_cycles + array.pipeline_latency_cycles
    if task.is_ideal:
        return total, 0.0, "activation_buffer"
    ports = _ports(task, traffic, work, left)
    buffer = max(ports, key=lambda name: ports[name])
    return total, ports[buffer], buffer


def _left(task: LayerTask, work: ArrayWork) -> float:
    """Return the fraction of the array's steps that skipping leaves at the least: every PE busy in every one."""
    array = task.hardware.pe_array
    if array.zero_weights != "skip" and array.zero_activations != "skip":
        return 1.0
    # Lanes in lockstep wait for the slowest: no tile can do better than lanes that all have the mean.
    macs = effective_macs(task) if array.zero_weights == "skip" else task.layer.dims.macs
    if array.zero_activations == "skip":
        macs = round(macs * task.layer.input_density)
    return min(1.0, macs / (array.num_pes * max(1, int(work.compute_cycles))))


def _ports(task: LayerTask, traffic: _Traffic, work: ArrayWork, left: float) -> dict[str, float]:
    """Return the cycles that the ports of each buffer need for what must pass them."""
    hardware, dims, act = task.hardware, task.layer.dims, task.activation_bits
    acc, array = hardware.accumulator_bits, hardware.pe_array
    reads = float(work.input_reads) / array.num_arrays  # where each has a part of the filters
    sums = float(work.psum_writes + work.psum_reads)
    if array.dataflow == "row_stationary":  # a tile of one pass reads and writes them once
        sums = float(dims.num_outputs)
    if array.operand_registers or array.dataflow == "row_stationary":
        rows, columns = (
            min((outputs - 1) * stride + taps, outputs * taps)
            for outputs, stride, taps in zip((dims.P, dims.Q), dims.stride, (dims.R, dims.S), strict=True)
        )
        # PEs that shift activations, or share them along diagonals, may take each input under the windows once.
        reads = min(reads, dims.N * dims.G * dims.C * rows * columns)
    staged = 8 * traffic.outputs if task.stages_output else 0.0
    moved = {
        "activation_buffer": reads * left * act + 8 * (traffic.inputs + traffic.residuals) + staged,
        "weight_buffer": float(work.weight_reads) * task.weight_bits + dims.num_weights * task.weight_bits,
        "accumulator": (sums * left + dims.num_outputs) * acc,
    }
    return {name: bits / getattr(hardware, name).port_bits_per_cycle for name, bits in moved.items()}


def _decoder_cycles(task: LayerTask) -> float:
    """Return the cycles up to the end of the decoder's last event."""
    decoder = task.hardware.mask_decoder
    if not task.decodes or decoder is None or task.plan is None:
        return 0.0
    fetch = _latency(task, False) if task.dram_bits.total else 0
    return _decoding_cycles(task) + decoder.latency_cycles + fetch


def _decoding_cycles(task: LayerTask) -> float:
    decoder = task.hardware.mask_decoder
    if not task.decodes or decoder is None or task.plan is None:
        return 0.0
    cycles = task.layer.dims.num_weights / decoder.positions_per_cycle
    if task.plan.decoder in VARIABLE_LENGTH:
        cycles = max(cycles, task.plan.decoder_symbols / decoder.symbols_per_cycle)
    if not task.is_ideal:
        stored = task.traffic_bits
        twice = 1 if task.held else 2  # written to the mask buffer, and read again
        bits = twice * (stored.mask + stored.index + stored.weight)
        cycles = max(cycles, bits / task.hardware.mask_buffer.port_bits_per_cycle)
    return cycles


def _generator_cycles(task: LayerTask) -> float:
    """Return the cycles up to the end of the generator's last event."""
    generator = task.hardware.weight_generator
    latency = generator.latency_cycles if generator is not None and task.regenerates else 0
    return _generating_cycles(task) + latency


def _generating_cycles(task: LayerTask) -> float:
    generator, plan = task.hardware.weight_generator, task.plan
    if generator is None or plan is None or plan.source is None:
        return 0.0
    dims = task.layer.dims
    shape = task.layer.weights.shape if task.layer.weights is not None else (dims.G * dims.K, dims.C * dims.R * dims.S)
    one = np.ones(1, dtype=np.int64)
    whole = TileRange(0 * one, shape[0] * one, 0 * one, ceil_div(dims.num_weights, shape[0]) * one)
    kept = plan.num_nonzero / dims.num_weights if task.hardware.pe_array.zero_weights == "skip" else None
    work = generation_work(plan.source, (shape[0], dims.num_weights // shape[0]), generator, whole, one, kept)
    rate = generator.num_lanes * generator.words_per_lane_per_cycle
    # Of its words alone: what is discarded, seeds and jumps depend on the tiles, and some tiling may need none.
    return int(work.words[0]) / rate
