"""The closed form of a point: latency, energy and area without building a schedule. It ranks; simulation decides.

For each layer the tiling and loop order with the least latency is taken (as the mapper does by the same formulas,
before it builds its finalists); energy is that of the actions which follow from it, at the prices of the cost tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.cost.area import area_prices, leakage_prices
from accelsim.cost.energy import energy_prices
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.dse.rows import Row
from accelsim.dse.tile_table import HoldTable, TileTable, tile_table
from accelsim.errors import MappingError
from accelsim.mapping.closed_form import CYCLES_PER_STEP
from accelsim.mapping.events import VARIABLE_LENGTH
from accelsim.mapping.network import check_units, network_tasks, residency_of
from accelsim.mapping.task import UNBOUNDED, LayerTask
from accelsim.pipeline import layer_plans
from accelsim.storage.base import WeightPlan
from accelsim.trace.model import LayerTrace
from accelsim.units import cycles_to_s

Floats = npt.NDArray[np.float64]
_SYMBOLS = {
    "rle": "rle_symbols", "golomb": "golomb_symbols", "entropy": "entropy_symbols", "csr": "csr_symbols",
    "bitmap": "bitmap_bits", "nm": "nm_symbols",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layers:
    """Figures of the array layers, float64 [layers]: of the layer, its plan, and where its tensors live."""

    activation_bits: Floats
    weight_bits: Floats
    stored_bits: Floats
    mask_bits: Floats
    num_weights: Floats
    density: Floats
    words_per_weight: Floats
    symbols: Floats
    input_bytes: Floats
    input_fraction: Floats
    output_bytes: Floats
    residual_bytes: Floats
    capacity_bytes: Floats
    staged_per_output: Floats
    vector_ops: Floats
    num_outputs: Floats
    num_filters: Floats


@dataclass(frozen=True, slots=True)
class _Best:
    """The chosen tiling of each array layer, float64 [layers]."""

    latency: Floats
    dram_bytes: Floats
    visits: Floats
    input_reads: Floats
    weight_reads: Floats
    psum_moves: Floats


def estimate(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> Row:
    """Return latency, energy, area and traffic of a network on a chip.

    Raises
    ------
    AccelSimError
        The format cannot hold the network, the chip lacks a unit, or a layer fits the buffers in no way.
    """
    plans = _plans(trace, storage)
    check_units(plans, storage, hardware)
    tasks = network_tasks(trace, plans, hardware, residency_of(trace, plans, hardware))
    on_array = [task for task in tasks if task.layer.uses_array]
    figures = _layers(on_array)
    best = _best(hardware, on_array, figures)
    vector = _vector_layers(hardware, [task for task in tasks if not task.layer.uses_array])
    cycles = int(np.ceil(best.latency.sum() + vector[0]))
    dram_bytes = int(best.dram_bytes.sum() + vector[1])
    prices = _Prices(hardware, _traits(plans))
    actions = _actions(hardware, on_array, figures, best)
    for key, count in (("vector_unit", "ops"), vector[2]), (("activation_buffer", "write_bits"), vector[1] * 8):
        actions[key] = actions.get(key, 0.0) + count
    actions["dram", "read_bits"] = dram_bytes * 8.0
    time_s = cycles_to_s(cycles, hardware.clock_mhz)
    energy_j = sum(count * prices.action_pj[key] for key, count in actions.items()) * 1e-12
    energy_j += (prices.standby_w + prices.leakage_w) * time_s
    macs = sum(task.layer.dims.macs for task in on_array)
    return _row(trace, tasks, (cycles, time_s, energy_j, prices.area_mm2, dram_bytes, macs), best)


def _row(trace: LayerTrace, tasks: list[LayerTask], figures: tuple[Any, ...], best: _Best) -> Row:
    cycles, time_s, energy_j, area_mm2, dram_bytes, macs = figures
    frames = trace.layers[0].dims.N if trace.layers else 1
    power_w = energy_j / time_s if time_s else 0.0
    tops = 2 * macs / time_s / 1e12 if time_s else 0.0
    effective = sum(
        task.plan.num_nonzero * task.layer.dims.N * task.layer.dims.P * task.layer.dims.Q
        if task.plan is not None else task.layer.dims.macs
        for task in tasks if task.layer.uses_array
    )  # fmt: skip
    return {
        "latency_cycles": cycles, "latency_s": time_s, "energy_j": energy_j, "average_power_w": power_w,
        "area_mm2": area_mm2, "edp_js": energy_j * time_s, "tops": tops,
        "tops_per_w": tops / power_w if power_w else 0.0, "frames_per_s": frames / time_s if time_s else 0.0,
        "macs": macs, "effective_macs": effective,
        "stored_bits": sum(task.stored_bits.total for task in tasks), "dram_bytes": dram_bytes,
    }  # fmt: skip


@lru_cache(maxsize=64)
def _plans_of(trace: LayerTrace, storage: str) -> tuple[tuple[str, WeightPlan], ...]:
    return tuple(layer_plans(trace, storage).items())


def _plans(trace: LayerTrace, storage: str) -> dict[str, WeightPlan]:
    return dict(_plans_of(trace, storage))


def _traits(plans: dict[str, WeightPlan]) -> RunTraits:
    decoders = sorted({plan.decoder for plan in plans.values()} - {"none"})
    arithmetics = sorted({plan.arithmetic for plan in plans.values()})
    sources = [plan.source for plan in plans.values() if plan.source is not None]
    return RunTraits(
        arithmetic=arithmetics[0] if arithmetics else "int8",
        decoder=decoders[0] if decoders else "none",
        uses_generator=bool(sources),
        uses_jumps=any(source.seeds == "jump" for source in sources),
        uses_derived_seeds=any(source.seeds == "derived" for source in sources),
        more_arithmetics=tuple(arithmetics[1:]),
    )


class _Prices:
    """Prices of a chip in pJ per action and W, its area in mm2."""

    def __init__(self, hardware: HardwareConfig, traits: RunTraits) -> None:
        tables = load_tables()
        pricer = Pricer(hardware, tables, traits)
        prices = energy_prices(pricer)
        self.action_pj = {key: resolve(price, tables.values) for key, price in prices.action_pj.items()}
        self.standby_w = resolve(prices.dram_standby_w, tables.values)
        self.leakage_w = sum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
        self.area_mm2 = sum(resolve(price, tables.values) for price in area_prices(pricer).values())


def _words_per_weight(plan: WeightPlan | None) -> float:
    if plan is None or plan.source is None:
        return 0.0
    source = plan.source
    word_bits = 16 if source.generator == "lfsr16" else 32
    terms = source.normal_terms if source.weights == "normal" else 1
    words = terms / (word_bits // source.weight_bits)
    return words + (1 / (word_bits // source.threshold_bits) if source.threshold_bits and source.lock_threshold else 0)


def _layers(tasks: list[LayerTask]) -> _Layers:
    rows = []
    for task in tasks:
        dims, plan, bits = task.layer.dims, task.plan, task.activation_bits
        traffic = task.traffic_bits
        stored = traffic.total if plan is not None else task.layer.second_input_elements * bits
        written = task.layer.num_outputs or dims.num_outputs
        staged = 2 * max(1, task.layer.num_outputs) / dims.num_outputs if task.output_to_dram else 0.0
        staged += 2 * task.residual_dram_elements / dims.num_outputs
        rows.append((
            bits, task.weight_bits, stored, (traffic.mask + traffic.index + traffic.weight) if task.decodes else 0,
            dims.num_weights, plan.num_nonzero / dims.num_weights if plan is not None else 1.0, _words_per_weight(plan),
            plan.decoder_symbols if plan is not None else 0, 1.0 if task.dram_input_elements else 0.0,
            task.dram_input_elements / max(1, dims.num_inputs), written * bits / 8 if task.output_to_dram else 0.0,
            task.residual_dram_elements * bits / 8, task.activation_capacity_bytes, staged * bits / 8,
            max(task.layer.vector_ops, dims.num_outputs), dims.num_outputs, dims.G * dims.K,
        ))  # fmt: skip
    return _Layers(*np.array(rows, dtype=np.float64).reshape(-1, 17).T)


def _best(hardware: HardwareConfig, tasks: list[LayerTask], layers: _Layers) -> _Best:
    """Return the tiling of each layer with the least latency, from the short table or, where nothing fits, the long."""
    if not tasks:
        empty = np.zeros(0)
        return _Best(empty, empty, empty, empty, empty, empty)
    key = tuple((task.layer.dims, task.layer.kind) for task in tasks)
    array_json = hardware.pe_array.model_dump_json()
    with np.errstate(invalid="ignore"):  # a tiling that does not fit is infinite, and infinity times 0 is not a number
        best = _search(hardware, tasks, layers, tile_table(key, array_json, True))
        if not np.isfinite(best.latency).all():
            best = _search(hardware, tasks, layers, tile_table(key, array_json, False))
    worst = np.flatnonzero(~np.isfinite(best.latency))
    if worst.size:
        raise MappingError(f"{tasks[worst[0]].layer.name}: no tiling fits the buffers; make a buffer larger")
    return best


def _fetches(table: HoldTable, tile_bytes: Floats, room: Floats, buffer: BufferConfig, only_tile: bool) -> Floats:
    """Return how often the operand is fetched, float32 [orders, n]; infinite where not even one tile fits."""
    held = table.double if buffer.double_buffered else table.single
    with np.errstate(divide="ignore", invalid="ignore"):
        tiles = np.where(tile_bytes > 0, room / np.maximum(tile_bytes, 1e-30), np.where(room >= 0, np.inf, -1.0))
    fits = held <= tiles.astype(np.float32) * np.float32(1 + 1e-6)
    if only_tile:
        fits &= table.single == 1
    best: Floats = np.where(fits, table.fetches, np.float32(np.inf)).min(axis=1)
    return best


def _search(hardware: HardwareConfig, tasks: list[LayerTask], layers: _Layers, table: TileTable) -> _Best:
    at = table.layer
    ideal = hardware.memory == "ideal"
    act, wbits, acc = layers.activation_bits[at], layers.weight_bits[at], hardware.accumulator_bits
    generator = hardware.weight_generator
    regenerates = any(task.regenerates_each_pass for task in tasks) and generator is not None

    def room(buffer: BufferConfig) -> Any:
        return np.full(at.size, float(UNBOUNDED if ideal else buffer.capacity_bytes))

    tile = table.positions * wbits / 8
    weights = _fetches(table.weights, tile, room(hardware.weight_buffer), hardware.weight_buffer, regenerates)
    psums = _fetches(
        table.psums, table.outputs * acc / 8, room(hardware.accumulator), hardware.accumulator, False
    )  # fmt: skip
    needed = table.tile_inputs * act / 8 * layers.input_bytes[at]
    free = layers.capacity_bytes[at] - table.outputs * layers.staged_per_output[at]
    inputs = _fetches(table.inputs, needed, free, hardware.activation_buffer, False)
    stored = weights
    if layers.mask_bits.any():
        share = table.positions * (layers.mask_bits / layers.num_weights)[at] / 8
        mask = _fetches(table.weights, share, room(hardware.mask_buffer), hardware.mask_buffer, False)
        stored = np.minimum(weights, np.where(np.isfinite(mask), mask, weights))
    traffic = layers.stored_bits[at] / 8 * stored
    traffic = traffic + table.all_inputs * (layers.input_fraction * layers.activation_bits / 8)[at] * inputs
    traffic = traffic + 2.0 * np.maximum(psums - 1, 0) * (layers.num_outputs * acc / 8)[at]
    traffic = traffic + (layers.output_bytes + layers.residual_bytes)[at]
    visits = weights * _passes(hardware, table, regenerates)
    array = _array_cycles(hardware, layers, table)
    stream = _stream_cycles(hardware, tasks, layers, table, visits)
    vector = (layers.vector_ops / hardware.vector_unit.num_lanes)[at]
    busiest = np.maximum(np.maximum(array, vector), stream)
    first = stream / np.maximum(1.0, table.counts["G"] * table.counts["K"] * table.counts["C"] * visits)
    outs = table.counts["G"] * table.counts["K"] * table.counts["N"] * table.counts["P"] * table.counts["Q"]
    first = first + vector / outs
    if not ideal:
        per_cycle = hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
        tile = table.positions * (layers.stored_bits / layers.num_weights)[at] / 8
        first = first + (needed + tile) / per_cycle + CYCLES_PER_STEP * table.steps
        busiest = np.maximum(busiest, traffic / per_cycle)
    latency = busiest + first
    latency = np.where(np.isnan(latency), np.inf, latency)
    order = latency.argmin(axis=0)
    every = np.arange(at.size)
    of_tiling = latency[order, every]
    chosen = _first_least(of_tiling, table)
    picked = order[chosen], chosen
    return _Best(
        of_tiling[chosen], traffic[picked], visits[picked], table.input_reads[chosen], table.weight_reads[chosen],
        table.psum_moves[chosen],
    )  # fmt: skip


def _first_least(values: Floats, table: TileTable) -> npt.NDArray[np.int64]:
    """Return for each layer the first tiling with the least value."""
    least = np.minimum.reduceat(values, table.first)
    places = np.flatnonzero(values == least[table.layer])
    _, first = np.unique(table.layer[places], return_index=True)
    return places[first]


def _passes(hardware: HardwareConfig, table: TileTable, regenerates: bool) -> Floats | float:
    array = hardware.pe_array
    if not regenerates or array.dataflow not in ("output_stationary", "input_stationary"):
        return 1.0
    lanes = array.rows if array.dataflow == "output_stationary" else array.cols
    passes: Floats = np.ceil(table.pixels / lanes)
    return passes


def _array_cycles(hardware: HardwareConfig, layers: _Layers, table: TileTable) -> Floats:
    """Return the array's cycles, bounded from below by the ports of the buffers."""
    at, array = table.layer, hardware.pe_array
    compute = table.compute * layers.density[at] if array.zero_weights == "skip" else table.compute
    cycles: Floats = compute + table.fill + table.once
    if hardware.memory == "ideal":
        return cycles
    moved = (
        (table.input_reads * layers.activation_bits[at], hardware.activation_buffer),
        (table.weight_reads * layers.weight_bits[at], hardware.weight_buffer),
        (table.psum_moves * hardware.accumulator_bits, hardware.accumulator),
    )
    for bits, buffer in moved:
        cycles = np.maximum(cycles, bits / buffer.port_bits_per_cycle)
    return cycles


def _stream_cycles(
    hardware: HardwareConfig, tasks: list[LayerTask], layers: _Layers, table: TileTable, visits: Floats
) -> Floats:
    """Return the cycles of the slower of decoder and generator, [orders, n]."""
    at, decoder, generator = table.layer, hardware.mask_decoder, hardware.weight_generator
    cycles: Floats = np.zeros_like(visits)
    positions = layers.num_weights[at] * visits
    if decoder is not None and layers.mask_bits.any():
        cycles = positions / decoder.positions_per_cycle
        if any(task.plan is not None and task.plan.decoder in VARIABLE_LENGTH for task in tasks):
            cycles = np.maximum(cycles, layers.symbols[at] * visits / decoder.symbols_per_cycle)
    if generator is None or not layers.words_per_weight.any():
        return cycles
    source = next(task.plan.source for task in tasks if task.plan is not None and task.plan.source is not None)
    if source.generator == "philox4x32":
        lanes: Any = float(generator.num_lanes)
    else:
        lanes = np.minimum(generator.num_lanes, table.filters if source.stream == "filter" else 1.0)
    rounds = np.ceil(table.filters / lanes) * lanes / table.filters
    made = positions * layers.words_per_weight[at] * rounds / (lanes * generator.words_per_lane_per_cycle)
    slower: Floats = np.maximum(cycles, made)
    return slower


def _vector_layers(hardware: HardwareConfig, tasks: list[LayerTask]) -> tuple[float, float, float]:
    """Return cycles, DRAM bytes and operations of the layers that only the vector unit works on."""
    cycles = moved = total = 0.0
    per_cycle = hardware.dram.peak_bytes_per_ns * 1000 / hardware.clock_mhz
    for task in tasks:
        outputs = task.layer.num_outputs or task.layer.dims.num_outputs
        elements = task.dram_input_elements + task.residual_dram_elements + (outputs if task.output_to_dram else 0)
        ops = max(task.layer.vector_ops, outputs)
        num_bytes = elements * task.activation_bits / 8
        transfer = 0.0 if hardware.memory == "ideal" else num_bytes / per_cycle
        cycles += max(ops / hardware.vector_unit.num_lanes, transfer)
        moved += num_bytes
        total += ops
    return cycles, moved, total


def _actions(
    hardware: HardwareConfig, tasks: list[LayerTask], layers: _Layers, best: _Best
) -> dict[tuple[str, str], float]:
    """Return how often each unit does each action, as far as the closed form knows it."""
    if not tasks:
        return {}
    act, wbits, acc = layers.activation_bits, layers.weight_bits, hardware.accumulator_bits
    array = hardware.pe_array
    produced = layers.num_weights * best.visits
    outputs_bits = layers.num_outputs * act
    input_bits = best.input_reads * act
    weight_bits = best.weight_reads * wbits
    decodes = layers.mask_bits > 0
    macs = np.array([task.layer.dims.macs for task in tasks], dtype=np.float64)
    executed = macs * (layers.density if array.zero_weights != "none" else 1.0)
    if array.zero_activations != "none":
        executed = executed * np.array([task.layer.input_density for task in tasks])
    slots = macs * (layers.density if array.zero_weights == "skip" else 1.0)
    shifted = act if array.dataflow == "spatial" else act + (wbits if array.dataflow == "output_stationary" else acc)
    moved = input_bits + weight_bits + layers.num_outputs * acc + best.dram_bytes * 8
    actions: dict[tuple[str, str], float] = {
        ("activation_buffer", "read_bits"): float((input_bits + layers.output_bytes * 8).sum()),
        ("activation_buffer", "write_bits"): float((outputs_bits + layers.input_fraction * input_bits).sum()),
        ("weight_buffer", "read_bits"): float(weight_bits.sum()),
        ("weight_buffer", "write_bits"): float((produced * wbits).sum()),
        ("mask_buffer", "read_bits"): float((layers.mask_bits * best.visits).sum()),
        ("mask_buffer", "write_bits"): float((layers.mask_bits * best.visits).sum()),
        ("accumulator", "read_bits"): float(((best.psum_moves / 2 + layers.num_outputs) * acc).sum()),
        ("accumulator", "write_bits"): float((best.psum_moves / 2 * acc).sum()),
        ("weight_generator", "words"): float((produced * layers.words_per_weight).sum()),
        ("mask_decoder", "positions"): float((produced * decodes).sum()),
        ("pe_array", "mac_gated"): float((slots - executed).clip(min=0).sum()),
        ("pe_array", "operand_shifts_bits"): float((slots * shifted).sum()),
        ("pe_array", "weight_loads_bits"): float(weight_bits.sum()),
        ("vector_unit", "ops"): float(layers.vector_ops.sum()),
        ("interconnect", "bits"): float(moved.sum()),
    }
    for index, task in enumerate(tasks):
        arithmetic = task.plan.arithmetic if task.plan is not None else "int8"
        key = ("pe_array", f"mac_{arithmetic}")
        actions[key] = actions.get(key, 0.0) + float(executed[index])
        if task.plan is not None and task.decodes:
            name = _SYMBOLS.get(task.plan.decoder, "raw_bits")
            amount = layers.symbols[index] if task.plan.decoder in _SYMBOLS else layers.mask_bits[index]
            key = ("mask_decoder", name)
            actions[key] = actions.get(key, 0.0) + float(amount * best.visits[index])
    return actions
