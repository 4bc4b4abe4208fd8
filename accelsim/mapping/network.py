"""Map a whole network: decide what stays on chip, then schedule layer by layer; equal layers are scheduled once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.activation_code import coding_of
from accelsim.mapping.bound import LowerBound, lower_bound, network_bound
from accelsim.mapping.build import build_layer
from accelsim.mapping.contents import Contents, chip_content, layer_content, of_chip
from accelsim.mapping.fusion import FusedGroup, together_of
from accelsim.mapping.kept import Kept, Key
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import (
    ALONE,
    KEPT_CHOICES,
    KEPT_EVENTS,
    LEAST_EVENTS_KEPT,
    MappedLayer,
    Run,
    likely_tilings,
    map_layer,
    map_vector_layer,
    no_tiling_message,
)
from accelsim.mapping.pieces import Entry, as_piece, described, entries_of, largest_of
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import Best, best_tilings
from accelsim.mapping.residency import NETWORK_INPUT, Residency, Together, choose_residency, output_elements
from accelsim.mapping.task import UNBOUNDED, LayerTask, at_longest_context
from accelsim.storage.base import WeightPlan
from accelsim.timing.moment import Moment
from accelsim.timing.schedule import Schedule
from accelsim.timing.solve import layer_end, layer_table
from accelsim.trace.model import LayerTrace, TraceLayer

Shortlists = Mapping[str, tuple[Tiling, ...]]
"""Layer name -> tilings that may be good for it."""

__all__ = ["Shortlists", "build_layer", "check_units", "map_network", "network_tasks", "rank_network", "residency_of"]


def map_network(
    trace: LayerTrace,
    plans: Mapping[str, WeightPlan],
    storage: str,
    hardware: HardwareConfig,
    prices: EnergyPrices,
    fixed: Mapping[str, Tiling] | None = None,
    groups: Sequence[FusedGroup] = (),
    shortlists: Shortlists | None = None,
) -> tuple[Schedule, tuple[MappedLayer, ...]]:
    """Return the schedule of a network and the mapped layers with their closed-form latencies.

    Of fused layers it is the pieces, in the order in which they run.

    Parameters
    ----------
    plans
        Layer name -> how its weights reach the array, for every layer with weights.
    fixed
        Layer name -> tiling that the user states; the others are chosen.
    groups
        Layers that are fused; with ideal memory, which holds all maps, none is.
    shortlists
        Layer name -> tilings of which the best that fits is taken; where there is none, the mapper finds its own.

    Raises
    ------
    MappingError
        A layer fits the buffers in no way, or the chip lacks a unit that the format needs.
    """
    check_units(plans, storage, hardware)
    groups = () if hardware.memory == "ideal" else groups
    asked = Asked(trace, plans, prices, fixed or {}, groups, shortlists or {})
    entries, mapped = map_layers(asked, hardware)
    arithmetic, decoder, uses_generator = kinds_of(plans)
    schedule = Schedule(
        storage=storage,
        layers=tuple(item.schedule for item in mapped),
        arithmetic=arithmetic,
        decoder=decoder,
        uses_generator=uses_generator,
        lower_bound_cycles=network_bound([item.bound for item in mapped if item.bound is not None]),
        layer_of=tuple(entry.place for entry in entries) if groups else (),
        fused=tuple(described(trace, group, entries) for group in groups),
    )
    return schedule, mapped


def kinds_of(plans: Mapping[str, WeightPlan]) -> tuple[str, str, bool]:
    """Return the arithmetic and the decoder of a network's weights, and whether any are regenerated."""
    arithmetics = {plan.arithmetic for plan in plans.values()}
    decoders = {plan.decoder for plan in plans.values()} - {"none"}
    is_made = any(plan.source is not None for plan in plans.values())
    return min(arithmetics, default="int8"), min(decoders, default="none"), is_made


def rank_network(
    trace: LayerTrace, plans: Mapping[str, WeightPlan], hardware: HardwareConfig, prices: EnergyPrices
) -> tuple[list[LayerTask], Best]:
    """Return the layers, and for those on the array the tilings that the closed form likes best; nothing is solved.

    Outputs leave the chip where nothing fits beside them, as in `map_network`, and the same error is raised.
    """
    banned: frozenset[str] = frozenset()
    while True:
        residency = residency_of(trace, plans, hardware, banned)
        tasks = network_tasks(trace, plans, hardware, residency)
        on_array = [task for task in tasks if task.layer.uses_array]
        best = best_tilings(hardware, on_array, prices)
        misfits = np.flatnonzero(~np.isfinite(best.latency))
        if not misfits.size:
            return tasks, best
        position = tasks.index(on_array[misfits[0]])
        crowded = largest_live(trace, residency, position)
        if crowded is None:
            raise MappingError(no_tiling_message(tasks[position]))
        # Each round one map more goes to DRAM, so that this ends.
        banned |= {crowded}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be mapped: a network with its plans, prices, the tilings that are stated, fused layers, shortlists."""

    trace: LayerTrace
    plans: Mapping[str, WeightPlan]
    prices: EnergyPrices
    fixed: Mapping[str, Tiling]
    groups: Sequence[FusedGroup]
    shortlists: Shortlists = field(default_factory=dict)


def together_in(
    trace: LayerTrace, plans: Mapping[str, WeightPlan], hardware: HardwareConfig, groups: Sequence[FusedGroup]
) -> tuple[Together, ...]:
    """Return what fused groups have on chip, whatever else stays there."""
    if not groups:
        return ()
    nothing = Residency(frozenset(), (0,) * len(trace.layers))
    tasks = network_tasks(trace, plans, hardware, nothing)
    return tuple(together_of(trace, group, tasks) for group in groups)


def map_layers(asked: Asked, hardware: HardwareConfig) -> tuple[list[Entry], tuple[MappedLayer, ...]]:
    """Map all layers; where one does not fit beside the activations that stay on chip, the largest of these leaves."""
    trace, plans = asked.trace, asked.plans
    together = together_in(trace, plans, hardware, asked.groups)
    banned: frozenset[str] = frozenset()
    while True:
        residency = residency_of(trace, plans, hardware, banned, together)
        tasks = network_tasks(trace, plans, hardware, residency)
        entries = entries_of(trace, tasks, asked.groups)
        try:
            mapped = map_entries(entries, asked.prices, asked.fixed, shortlists=asked.shortlists)
            break
        except DoesNotFitError as failure:
            banned |= {made_room(trace, residency, failure.position, failure)}
    is_made = any(plan.decoder != "none" or plan.source is not None for plan in plans.values())
    if hardware.memory == "ideal" and is_made:
        as_real = _with_real_memory(asked, hardware)
        as_real = tuple(_bounded(item, task) for item, task in zip(as_real, tasks, strict=False))
        if as_real and as_real[-1].end.end_cycle < mapped[-1].end.end_cycle:
            return entries, as_real
    return entries, mapped


def _with_real_memory(asked: Asked, hardware: HardwareConfig) -> tuple[MappedLayer, ...]:
    """Return the schedule of the same chip with real memory, as it runs with ideal memory; empty if nothing fits that.

    Activations that stay on chip leave the DMA engine free to fetch the next layer's stored bits early. A schedule
    never gets slower when its memory gets faster, so with this one ideal memory is never slower.
    """
    try:
        _, mapped = map_layers(asked, hardware.model_copy(update={"memory": "dram"}))
    except MappingError:
        return ()
    before, found = Moment(), []
    for item in mapped:
        if item.schedule.parts is not None:  # its end is not known before the run
            return ()
        end = layer_end(layer_table(item.schedule, hardware, before), hardware, before)
        if end is None:
            return ()
        found.append(replace(item, end=end))
        before = end
    return tuple(found)


class DoesNotFitError(MappingError):
    """A layer that no tiling fits, by its position."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


def check_units(plans: Mapping[str, WeightPlan], storage: str, hardware: HardwareConfig) -> None:
    """Raise `MappingError` if the chip lacks the generator or the decoder that a layer's plan needs."""
    for name, plan in plans.items():
        if plan.source is not None:
            generator = hardware.weight_generator
            if generator is None:
                raise MappingError(
                    f"{hardware.name}: weight_generator: none: storage {storage} regenerates weights; "
                    "add a weight_generator or use a dense format"
                )
            if generator.kind != plan.source.generator:
                raise MappingError(
                    f"{hardware.name}: weight_generator.kind: {generator.kind} cannot regenerate {name}, whose weights "
                    f"come from {plan.source.generator}; set weight_generator.kind={plan.source.generator}"
                )
        if plan.decoder != "none" and hardware.mask_decoder is None:
            raise MappingError(
                f"{hardware.name}: mask_decoder: none: storage {storage} needs a decoder; "
                "add a mask_decoder or use a dense format"
            )


def residency_of(
    trace: LayerTrace,
    plans: Mapping[str, WeightPlan],
    hardware: HardwareConfig,
    banned: frozenset[str] = frozenset(),
    together: Sequence[Together] = (),
) -> Residency:
    """Return which outputs stay on chip; those of ``banned`` layers never do, nor what is inside of fused groups."""
    if hardware.memory == "ideal":
        return Residency(frozenset(), (0,) * len(trace.layers))
    if not hardware.mapping.keep_activations_on_chip:
        return Residency(frozenset(), (0,) * len(trace.layers))
    bits = activation_bits_of(plans, hardware)
    return choose_residency(trace, bits, hardware.activation_buffer.capacity_bytes, banned, together)


def activation_bits_of(plans: Mapping[str, WeightPlan], hardware: HardwareConfig) -> int:
    """Return the width of activations: that of the format's widest, or the chip's."""
    widths = {plan.activation_bits for plan in plans.values() if plan.activation_bits is not None}
    return max(widths, default=hardware.activation_bits)


def network_tasks(
    trace: LayerTrace, plans: Mapping[str, WeightPlan], hardware: HardwareConfig, residency: Residency
) -> list[LayerTask]:
    """Return one task a layer, with where its tensors live."""
    elements = {layer.name: output_elements(layer) for layer in trace.layers}
    readers = {name for layer in trace.layers for name in (*layer.inputs, *layer.residuals)}
    ideal = hardware.memory == "ideal"
    coding = coding_of(trace, hardware, activation_bits_of(plans, hardware))
    held = residency.cache_bytes > 0
    tasks = []
    for position, layer in enumerate(trace.layers):
        capacity = hardware.activation_buffer.capacity_bytes - residency.resident_bytes[position]
        stays = layer.name in residency.on_chip and layer.name in readers
        tasks.append(
            LayerTask(
                layer=layer,
                plan=plans.get(layer.name),
                hardware=hardware,
                dram_input_elements=_dram_inputs(layer, elements, residency),
                output_to_dram=not held if layer.caches else layer.is_output or not stays,
                residual_dram_elements=sum(
                    elements.get(name, output_elements(layer))
                    for name in layer.residuals
                    if name not in residency.on_chip
                ),
                activation_capacity_bytes=UNBOUNDED if ideal else capacity,
                residual_elements=sum(elements.get(name, output_elements(layer)) for name in layer.residuals),
                second_from_dram=_second_from_dram(layer, residency),
                cache_on_chip=held,
                settles=trace.language is not None,
                coding=coding[position],
                rest_stays=layer.cached_outputs is not None and stays,
            )
        )
    return tasks


def _second_from_dram(layer: TraceLayer, residency: Residency) -> bool:
    """Return whether the second operand comes from DRAM; of one in a cache, what this run has put there."""
    producers = layer.second_producers
    if layer.cached_elements is not None:
        producers = tuple(name for name in producers if name != NETWORK_INPUT)
    return not producers or any(name not in residency.on_chip for name in producers)


def _dram_inputs(layer: TraceLayer, elements: Mapping[str, int], residency: Residency) -> int:
    """Return the input elements that come from DRAM: all, none, or the share of the producers that are not on chip."""
    total = layer.dims.num_inputs
    if layer.input_elements:
        shares = zip(layer.inputs, layer.input_elements, strict=True)
        return min(total, sum(count for name, count in shares if name not in residency.on_chip))
    producers = layer.inputs[:1] if layer.second_input_elements else layer.inputs
    off_chip = [name for name in producers if name == NETWORK_INPUT or name not in residency.on_chip]
    if not off_chip:
        return 0
    if len(off_chip) == len(producers):
        return total
    known = sum(elements.get(name, 0) for name in producers)
    return total * sum(elements.get(name, 0) for name in off_chip) // max(1, known)


def map_entries(
    entries: Sequence[Entry],
    prices: EnergyPrices,
    fixed: Mapping[str, Tiling],
    before: Moment | None = None,
    quick: bool = False,
    shortlists: Shortlists | None = None,
) -> tuple[MappedLayer, ...]:
    """Map layer by layer, and piece by piece, each for the state in which the one before leaves the chip.

    Raises
    ------
    MappingError
        One fits the buffers in no way; `map_layers` is told which.
    """
    if not entries:
        return ()
    before = before or Moment()
    shortlists = shortlists or {}
    hardware = entries[0].whole.hardware
    speed = f"{hardware.dram.model_dump_json()} {hardware.clock_mhz}"
    rest = Key((speed, hardware.memory, prices))
    chips: dict[int, Contents] = {}
    mapped: list[MappedLayer] = []
    tilings: dict[int, Tiling | None] = {}

    for position, entry in enumerate(entries):
        task = entry.task
        chip = chips.get(id(task.hardware)) or chips.setdefault(id(task.hardware), chip_content(task.hardware))
        name, content = task.layer.name, layer_content(task, chip)
        follows = _follows_context(entries, position)
        try:
            tiling, listed = fixed.get(name), shortlists.get(name, ())
            if entry.piece is not None and task.layer.uses_array:
                if tiling is None and entry.place not in tilings:
                    tilings[entry.place] = _tiling_of(largest_of(entries, entry.place), prices, speed, quick, listed)
                tiling = tiling or tilings[entry.place]
            # What is stated for a layer, or found for its largest piece, serves its parts: groups of a batch, stripes.
            tiling = tiling and tiling.cut_to(task.layer.dims)
            listed = tuple(dict.fromkeys(each.cut_to(task.layer.dims) for each in listed))
            key = (name, content, rest, before.state(), tiling, follows, _figures(entry), listed)
            known = _kept_layers.get(key)
            if known is None:
                item = _map_task(task, prices, tiling, Run(before, content, speed, chip, listed), follows)
                item = as_piece(item, entry, before)
        except MappingError as failure:
            raise DoesNotFitError(entry.place, str(failure)) from failure
        if known is None:
            weight = item.schedule.num_events + LEAST_EVENTS_KEPT
            _kept_layers.put(key, item.later(-before.end_cycle), weight)
        else:
            item = known.later(before.end_cycle)
        mapped.append(item)
        before = item.end
    return tuple(mapped)


def _tiling_of(
    task: LayerTask, prices: EnergyPrices, speed: str, quick: bool, listed: tuple[Tiling, ...]
) -> Tiling | None:
    """Return the tiling of a piece alone; ``quick``: what the closed form likes best."""
    run = Run(Moment(), layer_content(task, chip_content(task.hardware)), speed, shortlist=listed)
    likely = likely_tilings(task, prices, run, 1.0) if quick else []
    return likely[0] if likely else map_layer(task, prices, None, run).schedule.tiling


_kept_layers: Kept[MappedLayer] = Kept(KEPT_EVENTS)
"""By the layer's name too, and with its bound: the layers of each further token of an answer are the same objects."""


def _figures(entry: Entry) -> Hashable:
    """Return what a piece's schedule says of the group, and of its layer."""
    piece, whole = entry.piece, entry.whole
    if piece is None:
        return None
    kept = whole.plan.num_nonzero if whole.plan is not None else None
    return piece.is_last, tuple(sorted(piece.beside_bytes.items())), whole.layer.dims, whole.stored_bits, kept


def _map_task(
    task: LayerTask, prices: EnergyPrices, stated: Tiling | None, run: Run, follows_context: bool
) -> MappedLayer:
    if task.layer.uses_array:
        if stated is None and follows_context:
            stated = _for_contexts(task, prices, run)
        item = map_layer(task, prices, stated, run)
    else:
        item = map_vector_layer(task, run)
    named = replace(item.schedule, name=task.layer.name)
    return _bounded(replace(item, schedule=named), task, run)


def map_alone(task: LayerTask, prices: EnergyPrices, fixed: Tiling | None = None) -> MappedLayer:
    """Return a layer mapped for itself, from a cold chip; with a tiling that is given. Raises as `map_network`."""
    run = _run_alone(task)
    return map_layer(task, prices, fixed, run) if task.layer.uses_array else map_vector_layer(task, run)


def likely_alone(task: LayerTask, prices: EnergyPrices, within: float) -> list[Tiling]:
    """Return `accelsim.mapping.mapper.likely_tilings` of an array layer by itself, from a cold chip."""
    return likely_tilings(task, prices, _run_alone(task), within)


_kept_chips: Kept[tuple[HardwareConfig, Contents, str]] = Kept(KEPT_CHOICES)


def _run_alone(task: LayerTask) -> Run:
    hardware = task.hardware
    known = _kept_chips.get(id(hardware))
    if known is None or known[0] is not hardware:  # the chip stays, and with it its identity
        known = hardware, chip_content(hardware), f"{hardware.dram.model_dump_json()} {hardware.clock_mhz}"
        _kept_chips.put(id(hardware), known, 1)
    return Run(Moment(), of_chip(task, known[1]), known[2], known[1])


def _follows_context(entries: Sequence[Entry], position: int) -> bool:
    """Return whether how a layer begins changes with each token: a product with the cache, and what comes behind it."""
    own, before = entries[position].task, entries[max(0, position - 1)].task
    return bool(own.layer.cached_elements or before.layer.cached_elements)


def _for_contexts(task: LayerTask, prices: EnergyPrices, run: Run) -> Tiling | None:
    """Return the tiling that a layer has at all contexts of about this length, whatever it comes behind.

    It is chosen for the layer alone and the longest of these contexts; tiles of shorter ones are no larger. Else every
    token of an answer would be mapped anew, to no avail.
    """
    longest = at_longest_context(task)
    content = None if run.chip is None else layer_content(longest, run.chip)
    alone = map_layer(longest, prices, None, Run(Moment(), content, run.speed, run.chip, run.shortlist))
    tiling = alone.schedule.tiling
    return tiling and tiling.cut_to(task.layer.dims)


_kept_bounds: Kept[LowerBound] = Kept(KEPT_CHOICES)


def _bounded(item: MappedLayer, task: LayerTask, run: Run = ALONE) -> MappedLayer:
    """Return a mapped layer with its lower bound, kept from an earlier call for the same layer."""
    key = run.content, run.speed, task.is_ideal
    bound = _kept_bounds.get(key) if run.content is not None else None
    if bound is None:
        bound = lower_bound(task)
        if run.content is not None:
            _kept_bounds.put(key, bound, 1)
    schedule = replace(item.schedule, lower_bound_cycles=bound.cycles, bound_by=bound.limit)
    return replace(item, schedule=schedule, bound=bound)


def largest_live(trace: LayerTrace, residency: Residency, position: int) -> str | None:
    """Return the largest on-chip tensor alive in a layer, or None."""
    names = [
        layer.name
        for before, layer in enumerate(trace.layers)
        if before <= position and layer.name in residency.on_chip
        and any(layer.name in (*reader.inputs, *reader.residuals) for reader in trace.layers[position:])
    ]  # fmt: skip
    sizes = {layer.name: output_elements(layer) for layer in trace.layers}
    return max(names, key=lambda name: sizes[name], default=None)


def made_room(trace: LayerTrace, residency: Residency, position: int, failure: Exception) -> str:
    """Return the map that leaves the chip for a layer that did not fit: the largest beside it.

    Raises
    ------
    MappingError
        None is left: the ``failure`` stands.
    """
    crowded = largest_live(trace, residency, position)
    if crowded is None:
        raise MappingError(str(failure)) from failure
    return crowded
