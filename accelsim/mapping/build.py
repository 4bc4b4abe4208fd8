"""Build the schedule of one layer from a tiling: array time of each step, events, traffic and action counts.

A layer of more than `MOST_STEPS` tiles is built in parts, consecutive ranges of its steps (`step_ranges`), each a
schedule of its own, so that memory is taken for one of them at a time. Parts run one after the other as layers do: the
next one begins when the outputs of the one before have left. What its buffers hold stays there, but its first tiles are
fetched only then (weights earlier, where they have room). That is all that cutting costs: a start of the pipeline for
every `PART_STEPS` tiles. Figures of the whole layer, such as its MACs, are those of the last part, so that sums over
the parts are those of the layer.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accelsim.errors import MappingError
from accelsim.mapping.activation_code import WORD_BITS, pairs_per_word
from accelsim.mapping.cached import bus_times
from accelsim.mapping.dataflow import ArrayWork, TileShape, array_work
from accelsim.mapping.events import WeightTraffic, ceil_share, input_events, output_events, weight_events
from accelsim.mapping.holding import Holding, hold, misfit
from accelsim.mapping.loops import Nest, Tiling, build_nest, step_ranges
from accelsim.mapping.many_tiles import MOST_STEPS, MOST_WHOLE, PART_STEPS, check_number, likenesses, most_tiles
from accelsim.mapping.skipping import SkipFactors, SkipTable, effective_macs, executed_macs, skip_table
from accelsim.mapping.task import LayerTask
from accelsim.storage.base import StoredBits, decoder_front
from accelsim.timing.schedule import (
    NO_INPUTS,
    NO_OUTPUTS,
    NO_WEIGHTS,
    InputEvents,
    LayerSchedule,
    OutputEvents,
    WeightEvents,
)
from accelsim.trace.model import TraceLayer

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ArrayTime:
    """Per step, int64 [num_steps]: streaming, loading weights, filling and draining, and cycles lost to buffer ports.

    ``port_limit``: the buffer whose ports cost most of those; empty where they cost none.
    """

    compute: Ints
    weight_load: Ints
    fill_drain: Ints
    stall: Ints
    port_limit: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """A range of the ``num_steps`` of a layer; ``slots``: its MAC slots where the last of several parts is to tell."""

    steps: range
    num_steps: int
    slots: int | None

    @property
    def is_first(self) -> bool:
        return self.steps.start == 0

    @property
    def is_last(self) -> bool:
        return self.steps.stop == self.num_steps


@dataclass(frozen=True)
class LayerParts:
    """The parts of a layer, each built when it is asked for (see `accelsim.timing.schedule.Parts`)."""

    task: LayerTask
    tiling: Tiling
    holding: Holding
    ranges: tuple[range, ...]

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.ranges)

    @property
    def num_steps(self) -> int:
        """Return the tiles of all parts."""
        return self.ranges[-1].stop

    def part(self, place: int) -> LayerSchedule:
        """Return the schedule of a part."""
        steps = self.ranges[place]
        slots = self._slots if steps.stop == self.num_steps else None
        return _build(self.task, self.tiling, self.holding, _Part(steps, self.num_steps, slots), self._skips)

    def likeness(self, place: int) -> Hashable:
        """Return a key that parts with equal schedules share."""
        return self._likenesses[place]

    @property
    def num_unlike(self) -> int:
        """Return the tiles of all parts that differ."""
        return sum(dict(zip(self._likenesses, map(len, self.ranges), strict=True)).values())

    @cached_property
    def _likenesses(self) -> list[Hashable]:
        return likenesses(self.task, self.tiling, self.ranges, self._skips.weights is not None)

    @cached_property
    def _skips(self) -> SkipTable:
        return skip_table(self.task, self.tiling)

    @cached_property
    def _slots(self) -> int:
        """Return the MAC slots that skipping leaves of the whole layer: a mean over all of its steps."""
        dims = self.task.layer.dims
        if not self._skips.any:
            return dims.macs
        of_kind = dict(zip(self._likenesses, self.ranges, strict=True))
        left = {kind: self._skips.factors(build_nest(dims, self.tiling, of_kind[kind])).total for kind in of_kind}
        return round(dims.macs * sum(left[kind] for kind in self._likenesses) / self.num_steps)


def build_layer(
    task: LayerTask, tiling: Tiling, most_steps: int = MOST_STEPS, holding: Holding | None = None
) -> LayerSchedule:
    """Return the schedule of an array layer under a tiling; beyond ``most_steps`` tiles one in parts.

    ``holding`` is what `accelsim.mapping.holding.hold` says of it, where that is known.

    Raises
    ------
    MappingError
        The tiles do not fit the buffers, or there are more than `MOST_TILES`.
    """
    _check_window(task, tiling)
    num_steps = math.prod(tiling.counts(task.layer.dims).values())
    check_number(num_steps, task.layer.name, most_tiles(task.hardware))
    holding = holding or hold(task, tiling)
    if holding is None:
        raise MappingError(
            f"{task.layer.name}: tiling N={tiling.N} G={tiling.G} K={tiling.K} C={tiling.C} P={tiling.P} Q={tiling.Q} "
            f"does not fit: {misfit(task, tiling)}; use smaller tiles or larger buffers"
        )
    if num_steps <= most_steps:
        return _build(task, tiling, holding, _Part(range(num_steps), num_steps, None), skip_table(task, tiling))
    ranges = step_ranges(task.layer.dims, tiling, min(most_steps, PART_STEPS))
    parts = LayerParts(task, tiling, holding, tuple(ranges))
    check_number(num_steps, task.layer.name, most_tiles(task.hardware), parts.num_unlike)
    return _in_parts(parts)


def in_one(schedule: LayerSchedule) -> LayerSchedule:
    """Return a schedule with all of its events, for programs that take no layer part by part."""
    parts = schedule.parts
    if not isinstance(parts, LayerParts):
        return schedule
    check_number(parts.num_steps, schedule.name, MOST_WHOLE)
    return build_layer(parts.task, parts.tiling, MOST_WHOLE, parts.holding)


def _in_parts(parts: LayerParts) -> LayerSchedule:
    """Return the schedule of a layer in parts, without events."""
    task, none = parts.task, np.zeros(0, dtype=np.int64)
    return LayerSchedule(
        name=task.layer.name,
        kind=task.layer.kind,
        shape=layer_shape(task.layer),
        macs=task.layer.dims.macs,
        effective_macs=effective_macs(task),
        stored_bits=task.stored_bits,
        compute_cycles=none,
        weight_load_cycles=none,
        fill_drain_cycles=none,
        stall_cycles=none,
        weights=NO_WEIGHTS,
        inputs=NO_INPUTS,
        outputs=NO_OUTPUTS,
        dram_bytes={},
        actions={},
        tiling=parts.tiling,
        occupancy_bytes=parts.holding.occupancy_bytes,
        uses_decoder=task.decodes,
        uses_generator=task.regenerates,
        parts=parts,
    )


def _build(task: LayerTask, tiling: Tiling, holding: Holding, part: _Part, skipping: SkipTable) -> LayerSchedule:
    """Return the schedule of a layer, or of a part of it."""
    dims, pe = task.layer.dims, task.hardware.pe_array
    nest = build_nest(dims, tiling, part.steps)
    work = _work_of_steps(task, nest)
    skips = skipping.factors(nest)
    kept = None
    if pe.zero_weights == "skip" and task.plan is not None:
        kept = task.plan.num_nonzero / dims.num_weights
    weights = weight_events(task, tiling, nest, holding, work, kept)
    inputs, input_bytes = input_events(task, tiling, nest, holding)
    outputs, leave, elements = output_events(task, nest, holding)
    bus = bus_times(task, tiling, holding, weights.events, inputs, outputs)
    others = _port_traffic(task, nest, work, weights.events, inputs, (outputs, leave))
    time = _array_time(task, work, skips, nest, others, part)
    dram = _traffic(task, weights, int(inputs.fetch_bytes.sum()), outputs)
    actions = _actions(task, nest, work, skips, weights, elements, input_bytes, dram)
    actions["vector_unit"] = codec_actions(task, inputs.fetch_bytes, outputs)
    # What is counted of the layer as a whole is counted once, with the part that ends it.
    if part.is_last:
        slots = part.slots if part.slots is not None else skips.slots(dims.macs)
        actions = _with_whole(task, actions, slots)
    schedule = LayerSchedule(
        name=task.layer.name,
        kind=task.layer.kind,
        shape=layer_shape(task.layer),
        macs=dims.macs if part.is_last else 0,
        effective_macs=effective_macs(task) if part.is_last else 0,
        stored_bits=task.stored_bits if part.is_last else StoredBits(),
        compute_cycles=time.compute,
        weight_load_cycles=time.weight_load,
        fill_drain_cycles=time.fill_drain,
        stall_cycles=time.stall,
        port_limit=time.port_limit,
        bus_cycles=bus,
        loads_ahead=task.hardware.dma.loads_ahead,
        weights=weights.events,
        inputs=inputs,
        outputs=outputs,
        dram_bytes=dram,
        actions=actions,
        tiling=tiling,
        occupancy_bytes=holding.occupancy_bytes,
        uses_decoder=task.decodes,
        uses_generator=weights.generation is not None,
        seeds_with_tiles=task.plan is not None and task.plan.source is not None and task.plan.source.seeds == "stored",
        goes_on=not part.is_first,
    )
    actions["pe_array"]["idle_pe_cycles"] = int((work.idle_pes * schedule.array_cycles).sum())
    return schedule


def _work_of_steps(task: LayerTask, nest: Nest) -> ArrayWork:
    """Return the array's work in each step: worked out once for tiles of equal size, which are few in any layer."""
    kind = np.zeros(nest.num_steps, dtype=np.int64)
    for loop, index in nest.index.items():
        if nest.counts[loop] > 1:
            # Tiles differ where a loop ends: the last of each loop may be smaller, so two kinds a loop.
            kind = 2 * kind + (index == nest.counts[loop] - 1)
    of_kind = np.full(1 << len(nest.index), -1, dtype=np.int64)
    of_kind[kind] = np.arange(nest.num_steps, dtype=np.int64)  # a step of each kind
    chosen = of_kind[of_kind >= 0]
    of_kind[of_kind >= 0] = np.arange(chosen.size, dtype=np.int64)
    size = {loop: sizes[chosen] for loop, sizes in nest.size.items()}
    tile = TileShape(**size, RS=size["R"] * size["S"], stride=task.layer.dims.stride)
    work, place = array_work(task.hardware.pe_array, tile), of_kind[kind]
    each = {name: getattr(work, name) for name in ArrayWork.__slots__}
    return ArrayWork(**{name: value[place] if np.ndim(value) else value for name, value in each.items()})


def _check_window(task: LayerTask, tiling: Tiling) -> None:
    """Refuse to split R or S where weights are a stream of their own order, or zeros are skipped."""
    dims = task.layer.dims
    if not tiling.splits_window(dims):
        return
    if task.decodes or task.regenerates or task.hardware.pe_array.zero_weights == "skip":
        raise MappingError(
            f"{task.layer.name}: tiling R={tiling.R} S={tiling.S}: filter rows and columns are split only with "
            f"dense weights and without zero skipping; leave R={dims.R} and S={dims.S} whole"
        )


def layer_shape(layer: TraceLayer) -> tuple[int, ...]:
    """Return the shape a result shows: that of the array's weights, else that of the output, N GK P Q."""
    if layer.weights is not None and layer.uses_array:
        return layer.weights.shape
    dims = layer.dims
    return (dims.N, dims.G * dims.K, dims.P, dims.Q)


def _port_traffic(
    task: LayerTask,
    nest: Nest,
    work: ArrayWork,
    weights: WeightEvents,
    inputs: InputEvents,
    visits: tuple[OutputEvents, npt.NDArray[np.bool_]],
) -> tuple[Ints, Ints, Ints]:
    """Return the bits that others than the array move through buffer ports, in the step that they serve.

    Activation buffer: fills from DMA and results; weight buffer: fills from DMA or from decoder and generator;
    accumulators: results taken by the vector unit, and partial sums spilled and read back.
    """
    activations, filled, sums = (np.zeros(nest.num_steps, dtype=np.int64) for _ in range(3))
    act, acc = task.activation_bits, task.hardware.accumulator_bits
    # Events of one step add up in it: a step waits at the ports for all that it needs or leaves.
    np.add.at(activations, inputs.step, plain_bits(inputs.fetch_bytes, task.coding.inputs))
    outputs, leave = visits
    last, final = outputs.last_step, leave & ~outputs.is_partial
    tile = nest.size["N"] * nest.size["G"] * nest.size["K"] * nest.size["P"] * nest.size["Q"]
    written = ceil_share(task.layer.num_outputs or task.layer.dims.num_outputs, tile[last], task.layer.dims.num_outputs)
    # A result is written to the buffer, and read again where it waits there on its way to DRAM.
    results = np.where(final, written * act * (int(task.buffers_output) + int(task.stages_output)), 0)
    np.add.at(activations, last, results + 2 * plain_bits(outputs.residual_bytes, task.coding.residuals))
    positions = nest.size["G"] * nest.size["K"] * nest.size["C"] * nest.size["R"] * nest.size["S"]
    if task.regenerates_each_pass:
        positions = positions * work.weight_passes
    # Weights that stay from stripe to stripe are not written again.
    if task.held != "weights":
        np.add.at(filled, weights.step, positions[weights.step] * task.weight_bits)
    np.add.at(sums, last, np.where(leave, tile[last] * acc, 0))
    np.add.at(sums, outputs.first_step, 8 * outputs.psum_read_bytes)
    return activations, filled, sums


def plain_bits(num_bytes: Ints, share: float) -> Ints:
    """Return the bits that coded or padded bytes have on chip."""
    return 8 * num_bytes if share == 1 else np.ceil(8 * num_bytes / share).astype(np.int64)


def _array_time(
    task: LayerTask, work: ArrayWork, skips: SkipFactors, nest: Nest, others: tuple[Ints, Ints, Ints], part: _Part
) -> ArrayTime:
    """Return the time of each step; the ports of a buffer, which ``others`` use too, bound it from below."""
    zeros = np.zeros(nest.num_steps, dtype=np.int64)
    compute = skips.apply(work.compute_cycles + zeros)
    load, fill = work.weight_load_cycles + zeros, work.fill_drain_cycles + zeros
    if work.once_cycles:
        # Of what is paid once a layer the loading comes before the first step, and the draining behind the last one.
        load[0] += task.hardware.pe_array.rows if part.is_first else 0
        fill[-1] += work.once_cycles - task.hardware.pe_array.rows if part.is_last else 0
    fill = fill + task.hardware.pe_array.pipeline_latency_cycles
    if task.is_ideal:
        return ArrayTime(compute, load, fill, zeros)
    hardware = task.hardware
    accumulates = np.where(
        ~nest.opens_sum, nest.size["G"] * nest.size["K"] * nest.size["N"] * nest.size["P"] * nest.size["Q"], 0
    )
    needed = [
        (skips.scale(work.input_reads + zeros) * task.activation_bits + others[0], hardware.activation_buffer),
        (work.weight_reads * task.weight_bits + others[1], hardware.weight_buffer),
        (skips.scale_sums(work.psum_writes + work.psum_reads + zeros) * hardware.accumulator_bits
         + accumulates * hardware.accumulator_bits + others[2], hardware.accumulator),
    ]  # fmt: skip
    every = np.array([-(-bits // buffer.port_bits_per_cycle) for bits, buffer in needed])
    # Ports work beside the array: only what they need beyond its time is lost, and the slowest one decides.
    stall = np.maximum(every.max(axis=0) - compute - load - fill, 0)
    lost = np.bincount(every.argmax(axis=0), stall, len(needed))
    names = ("activation_buffer", "weight_buffer", "accumulator")
    return ArrayTime(compute, load, fill, stall, names[lost.argmax()] if lost.any() else "")


def _traffic(task: LayerTask, weights: WeightTraffic, input_bytes: int, outputs: OutputEvents) -> dict[str, int]:
    """Return DRAM bytes by traffic class; those of a cache only where the layer has one."""
    second = weights.bytes_by_class.get("activation_in", 0)
    store, partial = outputs.store_bytes, outputs.is_partial
    final = int(store[~partial].sum())
    cached = round(final * task.cached_share)
    cache = {"kv_read": weights.bytes_by_class.get("kv_read", 0), "kv_write": cached}
    return {
        **{name: weights.bytes_by_class.get(name, 0) for name in ("mask", "seed", "scale", "weight", "index")},
        "activation_in": input_bytes + second + int(outputs.residual_bytes.sum()),
        "activation_out": final - cached,
        "partial_sum": int(store[partial].sum() + outputs.psum_read_bytes.sum()),
        **{name: count for name, count in cache.items() if count},
    }


def _mac_actions(task: LayerTask, slots: int) -> dict[str, int]:
    """Return executed and gated MAC slots: zeros are computed (none), held (gate), or left out (skip)."""
    pe, layer, executed = task.hardware.pe_array, task.layer, executed_macs(task)
    arithmetic = task.plan.arithmetic if task.plan is not None else "int8"
    actions = {f"mac_{arithmetic}": executed, "mac_gated": max(0, slots - executed)}
    if pe.zero_weights == "skip" and task.plan is not None:
        actions["skip_lookups"] = layer.dims.num_weights
    if pe.zero_activations == "skip":
        actions["skip_lookups"] = actions.get("skip_lookups", 0) + layer.dims.num_inputs
    return actions


def shifted_bits(task: LayerTask, slots: int) -> int:
    """Return bits moved between PE registers: streamed operand and partial sum (or both operands) of each slot.

    In a spatial or row-stationary array it is the activation that each slot takes; what a product does to the PE's own
    registers and scratch pads is part of its price.
    """
    dataflow = task.hardware.pe_array.dataflow
    if dataflow == "output_stationary":
        return slots * (task.activation_bits + task.weight_bits)
    if dataflow == "input_stationary":
        return slots * (task.weight_bits + task.hardware.accumulator_bits)
    if dataflow == "weight_stationary":
        return slots * (task.activation_bits + task.hardware.accumulator_bits)
    return slots * task.activation_bits


def _decoder_actions(task: LayerTask, weights: WeightTraffic) -> dict[str, int]:
    if task.plan is None or not task.decodes:
        return {}
    front = decoder_front(task.plan.decoder)
    counted = weights.decoded_bits if front == "raw_bits" else weights.decoder_symbols
    return {front: counted, "positions": weights.decoder_positions}


def _actions(
    task: LayerTask,
    nest: Nest,
    work: ArrayWork,
    skips: SkipFactors,
    weights: WeightTraffic,
    elements: dict[str, int],
    input_bytes: int,
    dram: dict[str, int],
) -> dict[str, dict[str, int]]:
    """Return how often each unit does each action in these steps, but for what `_with_whole` adds."""
    zeros = np.zeros(nest.num_steps, dtype=np.int64)
    acc, act, wbits = task.hardware.accumulator_bits, task.activation_bits, task.weight_bits
    outputs = nest.size["G"] * nest.size["K"] * nest.size["N"] * nest.size["P"] * nest.size["Q"]
    # Steps that go on with a sum read it before they add: the array's own count knows a step as the first.
    accumulated = int(outputs[~nest.opens_sum].sum())
    input_reads = int(skips.scale(work.input_reads + zeros).sum())
    weight_reads = int((work.weight_reads + zeros).sum())
    psum_writes = int(skips.scale_sums(work.psum_writes + zeros).sum())
    psum_reads = int(skips.scale_sums(work.psum_reads + zeros).sum()) + accumulated
    spilled = elements["psum_written"] + elements["psum_read"]
    total = sum(dram.values())
    generation = weights.generation
    generator = {}
    if generation is not None:
        generator = {
            "words": int(generation.words.sum()), "discarded_words": int(generation.discarded_words.sum()),
            "derived_seeds": int(generation.seeds.sum()), "jumps": int(generation.jumps.sum()),
        }  # fmt: skip
    second = 0  # a second activation operand on chip passes from the activation buffer to the weight buffer
    if task.plan is None and task.layer.second_input_elements:
        second = round(weights.written_positions * (1 - task.second_dram_share)) * task.second_bits
    moved = input_reads * act + weight_reads * wbits + (elements["outputs"] + spilled) * acc
    return {
        "activation_buffer": {
            "read_bits": input_reads * act + (elements["stored"] * act if task.stages_output else 0) + second,
            "write_bits": input_bytes * 8 + elements["residual"] * act,
        },
        "weight_buffer": {"read_bits": weight_reads * wbits, "write_bits": weights.written_positions * wbits},
        "mask_buffer": {"read_bits": weights.decoded_bits, "write_bits": weights.fetched_bits if task.decodes else 0},
        # A sum is read once more where it leaves, for the vector unit or for DRAM, and written where it comes back.
        "accumulator": {
            "read_bits": (psum_reads + elements["outputs"] + elements["psum_written"]) * acc,
            "write_bits": (psum_writes + elements["psum_read"]) * acc,
        },
        "weight_generator": generator,
        "mask_decoder": _decoder_actions(task, weights),
        "pe_array": {"weight_loads_bits": weight_reads * wbits},
        "vector_unit": {},
        "interconnect": {"bits": moved + second + total * 8},
    }  # fmt: skip


def codec_actions(task: LayerTask, input_bytes: Ints, outputs: OutputEvents) -> dict[str, int]:
    """Return the pairs that coder and decoder of activations pass; empty where nothing is coded."""
    coding = task.coding
    if not coding.any or task.is_ideal:
        return {}
    stored = int(outputs.store_bytes[~outputs.is_partial].sum())
    moved = (
        (input_bytes.sum(), coding.inputs),
        (outputs.residual_bytes.sum(), coding.residuals),
        (stored, coding.outputs),
    )
    words = sum(8 * int(num_bytes) // WORD_BITS for num_bytes, share in moved if share < 1)
    return {"codec_pairs": words * pairs_per_word(task.activation_bits)}


def _with_whole(task: LayerTask, actions: dict[str, dict[str, int]], slots: int) -> dict[str, dict[str, int]]:
    """Return actions with those that are known of a layer as a whole; ``slots``: MAC slots that it passes through."""
    act, dims = task.activation_bits, task.layer.dims
    residuals, written = task.residual_elements * act, (task.layer.num_outputs or dims.num_outputs) * act
    written = written if task.buffers_output else 0
    buffer, array = actions["activation_buffer"], actions["pe_array"]
    return {
        **actions,
        "activation_buffer": {
            "read_bits": buffer["read_bits"] + residuals, "write_bits": buffer["write_bits"] + written,
        },
        "pe_array": {
            **_mac_actions(task, slots), "operand_shifts_bits": shifted_bits(task, slots), **array,
        },
        "vector_unit": {**actions["vector_unit"], "ops": max(task.layer.vector_ops, dims.num_outputs)},
        "interconnect": {"bits": actions["interconnect"]["bits"] + residuals},
    }  # fmt: skip
