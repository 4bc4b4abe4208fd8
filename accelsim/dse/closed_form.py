"""The closed form of a point: latency, energy and area without building a schedule. It ranks; simulation decides.

For each layer the tiling and loop order that the chip's mapping objective likes best is taken (see
`accelsim.mapping.ranking`); energy is that of the actions which follow from it, at the prices of the cost tables; the
area is that of the simulation, by the same prices of the same units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.area import area_prices, leakage_prices
from accelsim.cost.clock import clock_estimate
from accelsim.cost.energy import energy_prices
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, RunTraits
from accelsim.dse.rows import Row, figure
from accelsim.errors import MappingError
from accelsim.groups import divisions, group_sizes, groups_of_size, groups_of_stretches
from accelsim.mapping.activation_code import WORD_BITS, pairs_per_word
from accelsim.mapping.figures import Layers, decoder_front_counts
from accelsim.mapping.network import activation_bits_of, check_units, rank_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import Best
from accelsim.mapping.skipping import effective_macs, executed_macs
from accelsim.mapping.task import LayerTask
from accelsim.pipeline import built_for, layer_plans, run
from accelsim.prng.streams import check_source
from accelsim.repeated import BlockNetwork
from accelsim.results.build import num_frames
from accelsim.storage.base import WeightPlan, decoder_front
from accelsim.timing.memory import bytes_per_cycle
from accelsim.trace.model import LanguageRun, LayerTrace
from accelsim.units import cycles_to_s

Floats = npt.NDArray[np.float64]


def estimate(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> Row:
    """Return latency, energy, area and traffic of a network on a chip; of a batch in its best groups.

    Several cores, and fused layers, have no closed form: they are simulated.

    Raises
    ------
    AccelSimError
        The format cannot hold the network, the chip lacks a unit, no generator can follow a layer's random source, or a
        layer fits the buffers in no way.
    """
    if hardware.num_cores > 1 or hardware.mapping.fuse != "none":
        totals = run(LoadedHardware(hardware, "", ""), trace, storage).totals
        moved, stored = totals.dram_read_bytes + totals.dram_write_bytes, totals.stored_bits.model_dump()
        figures = totals.latency_cycles, totals.latency_s, totals.energy_j, totals.area_mm2, moved, totals.macs
        return _row(num_frames(trace), figures, totals.effective_macs, sum(stored.values()))
    hardware = built_for(hardware, trace, storage)
    if trace.language is not None:
        return _of_language_model(hardware, trace, trace.language, storage)
    if trace.copies == 1:
        return _estimated(hardware, trace, _checked_plans(hardware, trace, storage)).row
    return _of_batch(hardware, trace, storage)


_OBJECTIVES = {"latency": "latency_cycles", "energy": "energy_j", "edp": "edp_js", "dram_bytes": "dram_bytes"}


def _of_batch(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> Row:
    """Return the row of a batch in its best groups, stretches of layers with sizes of their own among them.

    As in a run (`accelsim.groups`), sizes for all layers are tried, then the divisions that their layers speak for.
    """
    plans = _checked_plans(hardware, trace, storage)
    rows: list[Row] = []
    measured: dict[int, list[list[float]]] = {}
    failure: MappingError | None = None
    for size in group_sizes(trace, plans, hardware):
        try:
            parts = [(_estimated(hardware, group.trace, plans), group.times) for group in groups_of_size(trace, size)]
        except MappingError as error:
            failure = error
            continue
        rows.append(_sum([(part.row, times) for part, times in parts], trace))
        measured[size] = np.sum([times * part.costs for part, times in parts], axis=0).tolist()
    if not rows:
        raise failure or MappingError(f"{trace.name}: no group of its batch can be mapped")
    size_bytes = activation_bits_of(plans, hardware) / 8
    is_ideal = hardware.memory == "ideal"
    cycles = 0.0 if is_ideal else size_bytes / float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    whole = {name: rows[0][name] for name in ("stored_bits", "area_mm2")}
    for stretches in divisions(trace, measured, (cycles, size_bytes)) if len(measured) > 1 else ():
        groups = groups_of_stretches(trace, stretches)
        with suppress(MappingError):
            parts = [(_estimated(hardware, group.trace, plans), group.times) for group in groups]
            rows.append(_sum([(part.row, times) for part, times in parts], trace) | whole)
    return min(rows, key=lambda row: figure(row, _OBJECTIVES[hardware.mapping.objective]) or 0.0)


# Contexts of an answer at which a generation is estimated; between them its figures are taken as straight lines.
MOST_CONTEXTS = 9


def _of_language_model(hardware: HardwareConfig, trace: LayerTrace, language: LanguageRun, storage: str) -> Row:
    """Return the row of a language model's run: what a further block adds is the same for each."""
    _checked_plans(hardware, trace, storage)
    network = BlockNetwork.of(trace)

    def estimated(part: LayerTrace) -> Row:
        return _estimated(hardware, part, layer_plans(trace, storage, part)).row

    def one(made: Callable[[int], LayerTrace]) -> Row:
        # The first and the last block have other neighbours than those between; a third one is what each more adds.
        few = min(2, network.num_blocks)
        row = estimated(made(few))
        if network.num_blocks == few:
            return row
        more = estimated(made(few + 1))
        copies = network.num_blocks - few
        stored = [figure(each, "stored_bits") or 0.0 for each in (row, more)]
        whole = _sum([(row, 1 - copies), (more, copies)], trace)
        return whole | {"stored_bits": int(stored[0] + copies * (stored[1] - stored[0]))}

    frames, tokens, prompt_s = trace.num_inputs, language.num_tokens, None
    if trace.steps is None:
        row, counted = one(network.trace), tokens
        prompt_s = figure(row, "latency_s") if language.phase == "prefill" else None
        timed_s = figure(row, "latency_s")
    else:
        steps, counted = trace.steps, tokens + 1
        prompt = one(partial(steps.trace, 0))
        parts: list[tuple[Row, float]] = [(prompt, 1)]
        places = sorted(set(np.linspace(1, tokens, min(MOST_CONTEXTS, tokens)).round().astype(int).tolist()))
        for place, weight in zip(places, _weights(places), strict=True):
            parts.append((one(partial(steps.trace, place)), weight))
        row, prompt_s = _sum(parts, trace), figure(prompt, "latency_s")
        timed_s = (figure(row, "latency_s") or 0.0) - (prompt_s or 0.0)
    return row | {
        "tokens_per_s": frames * tokens / timed_s if tokens and timed_s else None,
        "energy_j_per_token": (figure(row, "energy_j") or 0.0) / (frames * counted),
        "time_to_first_token_s": prompt_s,
    }


def _weights(places: Sequence[int]) -> list[float]:
    """Return how many tokens each of some places among consecutive ones stands for, by straight lines between them."""
    weights = [1.0] * len(places)
    for number, (first, last) in enumerate(pairwise(places)):
        between = last - first - 1
        weights[number] += between / 2
        weights[number + 1] += between / 2
    return weights


def _sum(parts: Sequence[tuple[Row, float]], trace: LayerTrace) -> Row:
    """Return the row of groups that run one after the other, each so many times."""

    def total(name: str) -> float:
        return sum((figure(row, name) or 0.0) * times for row, times in parts)

    first = parts[0][0]
    cycles, dram_bytes, macs, effective = (
        int(total(name)) for name in ("latency_cycles", "dram_bytes", "macs", "effective_macs")
    )
    area_mm2, stored = figure(first, "area_mm2"), figure(first, "stored_bits") or 0.0
    figures = (cycles, total("latency_s"), total("energy_j"), area_mm2, dram_bytes, macs)
    return _row(num_frames(trace), figures, effective, int(stored))


def _checked_plans(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> dict[str, WeightPlan]:
    """Return the plans of all layers; `AccelSimError` if the chip lacks a unit, or no generator can follow a layer."""
    plans = layer_plans(trace, storage)
    check_units(plans, storage, hardware)
    for plan in plans.values():
        if plan.source is not None:
            check_source(plan.source)
    return plans


@dataclass(frozen=True, slots=True)
class _Estimate:
    """The row of a network, and what each of its layers costs: float64 [2, layers], cycles and bytes of memory."""

    row: Row
    costs: Floats


def _estimated(hardware: HardwareConfig, trace: LayerTrace, known: Mapping[str, WeightPlan]) -> _Estimate:
    """Return the estimate of a network whose layers have the plans that are ``known`` by name."""
    plans = {layer.name: known[layer.name] for layer in trace.layers if layer.name in known}
    tasks, best = rank_network(trace, plans, hardware, _mapping_prices(hardware.model_dump_json()))
    on_array = [task for task in tasks if task.layer.uses_array]
    vector = _vector_layers(hardware, [task for task in tasks if not task.layer.uses_array])
    cycles = int(np.ceil(best.latency.sum() + vector.cycles))
    dram_bytes = int(best.dram_bytes.sum() + vector.dram_bytes)
    actions = _actions(hardware, on_array, best)
    for key, count in vector.actions.items():
        actions[key] = actions.get(key, 0.0) + count
    # The ranking knows bytes, not their direction: all of them at the price of reading.
    actions["dram", "read_bits"] = dram_bytes * 8.0
    prices = _Prices(hardware, _traits(plans, on_array))
    time_s = cycles_to_s(cycles, hardware.clock_mhz)
    energy_j = sum(count * prices.action_pj[key] for key, count in actions.items()) * 1e-12
    energy_j += (prices.idle_w + prices.leakage_w) * time_s + prices.clock_pj_per_cycle * cycles * 1e-12
    energy_j += prices.clock_pj_per_busy_cycle * float(best.busy.sum()) * 1e-12
    energy_j += prices.pj_of_making(on_array, best.made) * 1e-12
    macs = sum(task.layer.dims.macs for task in on_array)
    effective = sum(effective_macs(task) for task in on_array)
    stored = sum(task.stored_bits.total for task in tasks)
    figures = (cycles, time_s, energy_j, prices.area_mm2, dram_bytes, macs)
    row = _row(num_frames(trace), figures, effective, stored)
    return _Estimate(row, _layer_costs(hardware, tasks, best))


def _layer_costs(hardware: HardwareConfig, tasks: Sequence[LayerTask], best: Best) -> Floats:
    """Return cycles and bytes of memory of each layer, float64 [2, layers]."""
    on_array = iter(zip(best.latency.tolist(), best.dram_bytes.tolist(), strict=True))
    costs = []
    for task in tasks:
        if task.layer.uses_array:
            costs.append(next(on_array))
        else:
            alone = _vector_layers(hardware, [task])
            costs.append((alone.cycles, alone.dram_bytes))
    return np.array(costs, dtype=np.float64).reshape(len(tasks), 2).T


@lru_cache(maxsize=8)
def _mapping_prices(hardware_json: str) -> EnergyPrices:
    """Return the mapper's prices, once for all storage formats on a chip: points that follow each other."""
    return mapping_prices(HardwareConfig.model_validate_json(hardware_json), load_tables())


def _row(frames: int, figures: tuple[Any, ...], effective: int, stored: int) -> Row:
    cycles, time_s, energy_j, area_mm2, dram_bytes, macs = figures
    power_w = energy_j / time_s if time_s else 0.0
    tops = 2 * macs / time_s / 1e12 if time_s else 0.0
    return {
        "latency_cycles": cycles, "latency_s": time_s, "energy_j": energy_j, "average_power_w": power_w,
        "area_mm2": area_mm2, "edp_js": energy_j * time_s, "tops": tops,
        "tops_per_w": tops / power_w if power_w else 0.0, "frames_per_s": frames / time_s if time_s else 0.0,
        "latency_s_per_input": time_s / frames, "energy_j_per_input": energy_j / frames,
        "tokens_per_s": None, "energy_j_per_token": None, "time_to_first_token_s": None,
        "macs": macs, "effective_macs": effective,
        "stored_bits": stored, "dram_bytes": dram_bytes,
    }  # fmt: skip


def _traits(plans: dict[str, WeightPlan], on_array: list[LayerTask]) -> RunTraits:
    """Return what `accelsim.cost.traits.run_traits` says of the counters of a run."""
    decoders = sorted({plan.decoder for plan in plans.values()} - {"none"})
    arithmetics = sorted({plan.arithmetic for plan in plans.values()})
    first = arithmetics[0] if arithmetics else "int8"
    seeds = {task.plan.source.seeds for task in on_array if task.plan is not None and task.plan.source is not None}
    return RunTraits(
        arithmetic=first,
        decoder=decoders[0] if decoders else "none",
        uses_generator=any(plan.source is not None for plan in plans.values()),
        uses_jumps="jump" in seeds,
        uses_derived_seeds="derived" in seeds,
        more_arithmetics=tuple(sorted({_arithmetic(task) for task in on_array if executed_macs(task)} - {first})),
        decoder_fronts=tuple(sorted(map(decoder_front, decoders))),
    )


def _arithmetic(task: LayerTask) -> str:
    return task.plan.arithmetic if task.plan is not None else "int8"


class _Prices:
    """Prices of a chip in pJ per action and cycle and in W, its area in mm2."""

    def __init__(self, hardware: HardwareConfig, traits: RunTraits) -> None:
        tables = load_tables()
        pricer = Pricer(hardware, tables, traits)
        prices = energy_prices(pricer)
        clock = clock_estimate(pricer)
        self.action_pj = {key: resolve(price, tables.values) for key, price in prices.action_pj.items()}
        for key, price in clock.per_action_pj.items():
            self.action_pj[key] = self.action_pj.get(key, 0.0) + resolve(price, tables.values)
        self.clock_pj_per_cycle = resolve(clock.per_cycle_pj, tables.values)
        self.clock_pj_per_busy_cycle = resolve(clock.per_busy_cycle_pj, tables.values)
        self._unit_pj = {unit: resolve(price, tables.values) for unit, price in clock.per_unit_pj.items()}
        self.idle_w = resolve(prices.dram_idle_w, tables.values)
        self.leakage_w = sum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
        self.area_mm2 = math.fsum(resolve(price, tables.values) for price in area_prices(pricer).values())

    def pj_of_making(self, tasks: Sequence[LayerTask], made_cycles: Floats) -> float:
        """Return the clock of decoder and generator while they make the weights of the layers, beyond that when gated.

        What both work on keeps both for as long as the slower one takes (`accelsim.timing.stations.together`).
        """
        decoder, generator = (self._unit_pj.get(unit, 0.0) for unit in ("mask_decoder", "weight_generator"))
        each = [decoder * task.decodes + generator * task.regenerates for task in tasks]
        return float((np.array(each) * made_cycles).sum())


@dataclass(frozen=True, slots=True)
class _VectorWork:
    cycles: float
    dram_bytes: float
    actions: dict[tuple[str, str], float]


def _vector_layers(hardware: HardwareConfig, tasks: list[LayerTask]) -> _VectorWork:
    """Return the work of the layers that only the vector unit works on."""
    cycles = moved = total = read = written = bits_moved = 0.0
    per_cycle = float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
    for task in tasks:
        layer, bits = task.layer, task.activation_bits
        outputs = layer.num_outputs or layer.dims.num_outputs
        loaded = task.dram_input_elements + task.residual_dram_elements
        stored = task.memory_outputs if task.output_to_dram else 0
        inputs = layer.dims.num_inputs + layer.second_input_elements + task.residual_elements
        ops = max(layer.vector_ops, outputs)
        coding = task.coding
        coded = task.dram_input_elements * coding.inputs + task.residual_dram_elements * coding.residuals
        to_memory = stored * coding.outputs * task.output_bits
        num_bytes = (coded * bits + to_memory + task.row_bits.total) / 8
        work, transfer = ops / hardware.vector_unit.num_lanes, 0.0
        if hardware.memory != "ideal":
            transfer = num_bytes / per_cycle
            ports = (inputs + stored + loaded + outputs) * bits / hardware.activation_buffer.port_bits_per_cycle
            work = max(work, ports)
        # Chunks stream through the unit, so the slower one of memory and lanes (or ports) hides the other.
        cycles += max(work, transfer)
        moved += num_bytes
        total += ops
        read += (inputs + stored) * bits
        written += (loaded + outputs) * bits + task.row_bits.total
        bits_moved += (inputs + outputs) * bits + 8 * num_bytes
    return _VectorWork(cycles, moved, {
        ("vector_unit", "ops"): total, ("activation_buffer", "read_bits"): read,
        ("activation_buffer", "write_bits"): written, ("interconnect", "bits"): bits_moved,
    })  # fmt: skip


def _actions(hardware: HardwareConfig, tasks: list[LayerTask], best: Best) -> dict[tuple[str, str], float]:
    """Return how often each unit does each action, as far as the closed form knows it."""
    if not tasks:
        return {}
    layers, acc = best.layers, hardware.accumulator_bits
    act, wbits = layers.activation_bits, layers.weight_bits
    produced = layers.num_weights * best.passes
    macs = np.array([task.layer.dims.macs for task in tasks], dtype=np.float64)
    executed = np.array([executed_macs(task) for task in tasks], dtype=np.float64)
    slots = macs * best.slots
    residual = np.array([task.residual_elements for task in tasks], dtype=np.float64)
    second = np.array([_second_on_chip(task) for task in tasks], dtype=np.float64) * best.passes * wbits
    input_bits, weight_bits = best.input_reads * act, best.weight_reads * wbits
    # A sum that does not fit the accumulators leaves and comes back: two passes over the wires.
    spilled = np.maximum(best.spills, 0) * layers.num_outputs
    decodes = layers.decoded_bits > 0
    moved = input_bits + weight_bits + (layers.num_outputs + 2 * spilled) * acc + residual * act + second
    actions: dict[tuple[str, str], float] = {
        ("activation_buffer", "read_bits"): (
            input_bits + (layers.stored_elements * layers.staged + residual) * act + second
        ).sum(),
        ("activation_buffer", "write_bits"): (
            best.input_bytes * 8 / layers.input_code  # coded in memory, plain in the buffer
            + (layers.written_elements * layers.buffered + layers.residual_dram_elements) * act
        ).sum(),
        ("weight_buffer", "read_bits"): weight_bits.sum(),
        ("weight_buffer", "write_bits"): (produced * wbits).sum(),
        ("mask_buffer", "read_bits"): (layers.decoded_bits * best.passes).sum(),
        ("mask_buffer", "write_bits"): (layers.decoded_bits * best.fetches).sum(),
        ("accumulator", "read_bits"): ((best.psum_reads + layers.num_outputs + spilled) * acc).sum(),
        ("accumulator", "write_bits"): ((best.psum_writes + spilled) * acc).sum(),
        ("weight_generator", "words"): best.words.sum(),
        ("weight_generator", "discarded_words"): best.discarded.sum(),
        ("mask_decoder", "positions"): (produced * decodes).sum(),
        # A product in a slot that is not executed is masked: the PE is there, and its operands pass on.
        ("pe_array", "mac_gated"): (slots - executed).clip(min=0).sum(),
        ("pe_array", "operand_shifts_bits"): _shifted_bits(hardware, layers, slots),
        ("pe_array", "weight_loads_bits"): weight_bits.sum(),
        ("pe_array", "idle_pe_cycles"): (best.idle_pes * best.busy).sum(),
        ("vector_unit", "ops"): layers.vector_ops.sum(),
        ("vector_unit", "codec_pairs"): _codec_pairs(best),
        ("interconnect", "bits"): (moved + best.dram_bytes * 8).sum(),
    }
    for index, task in enumerate(tasks):
        _add_of_layer(actions, task, (executed[index], best.passes[index]), best, index)
    return {key: float(count) for key, count in actions.items()}


def _codec_pairs(best: Best) -> float:
    """Return the pairs that coder and decoder of activations pass."""
    layers = best.layers
    act = layers.activation_bits
    coded = np.where(layers.input_code < 1, 8 * best.input_bytes, 0)
    coded += np.where(layers.residual_code < 1, layers.residual_dram_elements * act * layers.residual_code, 0)
    coded += np.where(layers.output_code < 1, layers.stored_elements * act * layers.output_code, 0)
    pairs = np.array([pairs_per_word(int(bits)) for bits in act.tolist()])
    return float((coded / WORD_BITS * pairs).sum())


def _add_of_layer(
    actions: dict[tuple[str, str], float], task: LayerTask, counts: tuple[float, float], best: Best, index: int
) -> None:
    """Add the actions whose names depend on the layer's plan."""
    array, plan = task.hardware.pe_array, task.plan
    more = {("pe_array", f"mac_{_arithmetic(task)}"): counts[0]}
    looked = task.layer.dims.num_weights if array.zero_weights == "skip" and plan is not None else 0
    looked += task.layer.dims.num_inputs if array.zero_activations == "skip" else 0
    more["pe_array", "skip_lookups"] = looked
    more |= {("mask_decoder", front): count * counts[1] for front, count in decoder_front_counts(task).items()}
    if plan is not None and plan.source is not None:
        more["weight_generator", "derived_seeds"] = best.seeds[index] if plan.source.seeds == "derived" else 0.0
        more["weight_generator", "jumps"] = best.jumps[index]
    for key, count in more.items():
        actions[key] = actions.get(key, 0.0) + count


def _second_on_chip(task: LayerTask) -> float:
    """Return the elements of a second activation operand that pass from the activation buffer to the weight buffer."""
    is_there = task.plan is None and task.layer.second_input_elements > 0
    return task.layer.dims.num_weights * (1 - task.second_dram_share) if is_there else 0


def _shifted_bits(hardware: HardwareConfig, layers: Layers, slots: Floats) -> float:
    """Return bits moved between PE registers, as `accelsim.mapping.build` counts them."""
    array, acc = hardware.pe_array, hardware.accumulator_bits
    act, wbits = layers.activation_bits, layers.weight_bits
    # Of activation, weight and sum the stationary one stays; in a spatial array only activations pass registers.
    if array.dataflow == "output_stationary":
        each = act + wbits
    elif array.dataflow == "input_stationary":
        each = wbits + acc
    elif array.dataflow == "weight_stationary":
        each = act + acc
    else:
        each = act
    return float((slots * each).sum())
