"""Cores as stages of a pipeline: each works on a run of neighbouring layers, and the inputs of a batch stream through.

Runs are balanced by the closed form, then by what their layers took when they were mapped; the solver decides between
the two. A map that later stages read stays on chip where the cores' buffers are one, or have a network, and else goes
through DRAM. A stage begins with an input when the stages before have ended with it, and, where it writes to places on
chip, when what stood there has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.program import Network, Program
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.mapping.build import in_one, layer_shape
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import shares
from accelsim.mapping.fusion import FusedGroup, groups_of
from accelsim.mapping.mapper import forget_times
from accelsim.mapping.network import (
    DoesNotFitError,
    activation_bits_of,
    made_room,
    map_alone,
    map_entries,
    network_tasks,
    residency_of,
    together_in,
)
from accelsim.mapping.pieces import Entry, described, entries_of
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import estimates
from accelsim.mapping.residency import Residency, Together, output_elements
from accelsim.mapping.stages import balanced_groups, beside_dram, copies_of, second_operands, stage_residency
from accelsim.mapping.task import LayerTask
from accelsim.sim.cores import WholeLayer
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.timing.schedule import FusedLayers, LayerSchedule
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace, TraceLayer

MOST_ROUNDS = 64  # one by one up to so many inputs, else in as many groups: a run is as long as it has groups


@dataclass(frozen=True, slots=True)
class Stages:
    """The layers of a group of inputs, with the stage of each, and what the stages run in order.

    Attributes
    ----------
    stage_of, from_cores
        Of each layer its stage, and what comes from other cores (`Piece`).
    schedules, cycles
        Of each layer; where some are fused, of each piece.
    on_chip
        The maps that do not go through DRAM.
    layer_of, traced
        Where layers are fused, the layer that each piece belongs to, and its own sizes; else empty.
    fused
        Layers that run as one, each on the core of its stage.
    """

    trace: LayerTrace
    stage_of: tuple[int, ...]
    schedules: tuple[LayerSchedule, ...]
    cycles: tuple[int, ...]
    on_chip: frozenset[str]
    from_cores: tuple[tuple[tuple[str, float], ...], ...]
    layer_of: tuple[int, ...] = ()
    traced: tuple[TraceLayer, ...] = ()
    fused: tuple[FusedLayers, ...] = ()

    @property
    def places(self) -> tuple[int, ...]:
        """Return the layer of each piece."""
        return self.layer_of or tuple(range(len(self.schedules)))

    @property
    def layer_cycles(self) -> list[float]:
        """Return the cycles of each layer."""
        found = [0.0] * len(self.stage_of)
        for place, cycles in zip(self.places, self.cycles, strict=True):
            found[place] += cycles
        return found


def by_stages(
    hardware: HardwareConfig, network: Network, cost: Callable[[Program], float], kept: Program | None = None
) -> Program:
    """Return the cores as a pipeline; ``cost`` says what a program costs.

    Tried are inputs one by one, and in so many groups that weights are fetched less often while the cores have enough
    to do; stages mapped for their share of the bandwidth, and for all of it. Of a program that is ``kept`` the groups
    of inputs, the stages and what is fused stay, and layers are mapped anew.

    Raises
    ------
    MappingError
        A layer fits a core in no way.
    """
    found: list[Program] = []
    copies, cores = network.trace.copies, hardware.num_cores
    if kept is not None:
        number, how = max(kept.round_of) + 1, (_stages_of(kept), groups_of(kept.fused))
        for share in dict.fromkeys((min(cores, number, len(network.trace.layers)), 1)):
            rounds = _rounds(hardware, network, core_chip(hardware, share, "nothing"), number, how)
            found.append(program_of(network.trace, rounds, cores))
        return min(found, key=cost)
    for number in dict.fromkeys(min(copies, rounds) for rounds in (MOST_ROUNDS, 2 * cores, cores)):
        fused: tuple[FusedGroup, ...] | None = None
        for share in dict.fromkeys((min(cores, number, len(network.trace.layers)), 1)):
            chip = core_chip(hardware, share, "nothing")
            if fused is None:
                # What a chip of one core fuses: it has the whole network, and each stage a part of it.
                fused = network.fused(chip, _of_round(network.trace, shares(copies, number)[0].size))
            first = _rounds(hardware, network, chip, number, (None, fused))
            found.append(program_of(network.trace, first, cores))
            again = balanced_groups(first[0].layer_cycles, cores, fused)
            if again != list(first[0].stage_of):
                found.append(program_of(network.trace, _rounds(hardware, network, chip, number, (again, fused)), cores))
    forget_times()
    return found[0] if len(found) == 1 else min(found, key=cost)


def _stages_of(program: Program) -> list[int]:
    """Return the stage of each layer of a pipeline: the core that runs it."""
    core = {place: min(slot.pieces) for place, slot in zip(program.layer_of, program.slots, strict=True)}
    return [core[place] for place in range(len(program.layers))]


def _of_round(trace: LayerTrace, size: int) -> LayerTrace:
    """Return a network for a group of inputs."""
    return replace(in_copies(trace, size), copies=1)


def _rounds(
    hardware: HardwareConfig,
    network: Network,
    chip: HardwareConfig,
    number: int,
    how: tuple[Sequence[int] | None, Sequence[FusedGroup]],
) -> list[Stages]:
    """Return the stages for each group of inputs, mapped for ``chip``.

    ``how`` says the stage of each layer (None: balanced by the closed form), and what is fused of the larger groups.
    """
    found: dict[int, Stages] = {}
    stage_of, fused = how
    groups = shares(network.trace.copies, number)
    inputs = _of_round(network.trace, groups[0].size).num_inputs
    prices = mapping_prices(chip, load_tables())
    for size in dict.fromkeys(group.size for group in groups):  # the larger first
        trace = _of_round(network.trace, size)
        if stage_of is None:
            estimated = _estimated(network, trace, chip, prices)
            stage_of = balanced_groups(estimated, hardware.num_cores, fused)
        own = tuple(_with_inputs(group, inputs, trace.num_inputs) for group in fused)
        found[size] = _mapped(hardware, replace(network, trace=trace), chip, (stage_of, own), prices)
    return [found[group.size] for group in groups]


def _with_inputs(group: FusedGroup, now: int, inputs: int) -> FusedGroup:
    """Return a fused group of ``now`` inputs for a round of other ``inputs``, of which its parts are parts."""
    if group.num_parts == 1:
        return group
    number = group.num_parts * inputs // now
    return replace(group, num_parts=number, division=group.division if number > 1 else "none")


def _estimated(network: Network, trace: LayerTrace, chip: HardwareConfig, prices: EnergyPrices) -> list[float]:
    """Return what the closed form says of each layer, with the maps on chip that one core would keep there."""
    tasks = network_tasks(trace, network.plans, chip, residency_of(trace, network.plans, chip))
    found = iter(estimates([task for task in tasks if task.layer.uses_array], prices))
    cycles: list[float] = []
    for task in tasks:
        estimate = next(found) if task.layer.uses_array else None
        alone = map_alone(task, prices).end.end_cycle if estimate is None else estimate.latency_cycles
        cycles.append(alone)
    return cycles


def _mapped(
    hardware: HardwareConfig,
    network: Network,
    chip: HardwareConfig,
    how: tuple[Sequence[int], Sequence[FusedGroup]],
    prices: EnergyPrices,
) -> Stages:
    """Map the layers of each stage in order; where one does not fit, the largest map beside it leaves the chip.

    ``how`` says the stage of each layer, and which layers are fused.
    """
    trace, (stage_of, groups) = network.trace, how
    together = together_in(trace, network.plans, chip, groups)
    banned = _never_kept(hardware, network.trace, stage_of, groups)
    while True:
        residency = _residency(hardware, network, chip, stage_of, (banned, together))
        apart = beside_dram(trace, residency.on_chip) & frozenset(copies_of(trace, stage_of))
        if hardware.core_network is not None and apart:
            banned |= apart
            continue
        tasks = network_tasks(trace, network.plans, chip, residency)
        crossing = [_crossing(hardware, task, trace, stage_of, residency) for task in tasks]
        tasks = [_with_transfers(task, names) for task, names in zip(tasks, crossing, strict=True)]
        entries = entries_of(trace, tasks, groups)
        try:
            mapped = [_map_stage(own, network, prices) for own in _by_stage(entries, stage_of)]
            break
        except DoesNotFitError as failure:
            banned |= {made_room(trace, residency, failure.position, failure)}
    return Stages(
        trace, tuple(stage_of), tuple(schedule for own, _ in mapped for schedule in own),
        tuple(cycles for _, own in mapped for cycles in own), residency.on_chip, tuple(map(tuple, crossing)),
        layer_of=tuple(entry.place for entry in entries) if groups else (),
        traced=tuple(entry.task.layer for entry in entries) if groups else (),
        fused=tuple(described(trace, group, entries) for group in groups),
    )  # fmt: skip


def _by_stage(entries: Sequence[Entry], stage_of: Sequence[int]) -> list[list[Entry]]:
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(stage_of[entry.place], []).append(entry)
    return list(found.values())


def _map_stage(
    entries: Sequence[Entry], network: Network, prices: EnergyPrices
) -> tuple[list[LayerSchedule], list[int]]:
    """Return what one core runs of a group of inputs, from a cold chip, and the cycles of each."""
    mapped = map_entries(entries, prices, network.fixed)
    ends = [0, *(item.end.end_cycle for item in mapped)]
    return [in_one(item.schedule) for item in mapped], [after - before for before, after in pairwise(ends)]


def _residency(
    hardware: HardwareConfig,
    network: Network,
    chip: HardwareConfig,
    stage_of: Sequence[int],
    limits: tuple[frozenset[str], Sequence[Together]],
) -> Residency:
    """Return what stays on chip; ``limits`` are the maps that never do, and the fused layers."""
    if hardware.memory == "ideal" or not hardware.mapping.keep_activations_on_chip:
        return Residency(frozenset(), (0,) * len(network.trace.layers))
    bits = activation_bits_of(network.plans, hardware)
    return stage_residency(network.trace, stage_of, bits, chip.activation_buffer.capacity_bytes, *limits)


def _never_kept(
    hardware: HardwareConfig, trace: LayerTrace, stage_of: Sequence[int], groups: Sequence[FusedGroup]
) -> frozenset[str]:
    """Return the maps that go through DRAM: those that later stages could not read on chip.

    A second operand is read in the order of its rows, not of transfers between cores; a network between cores carries
    tiles of whole layers, not what fused ones read and make.
    """
    crossing = frozenset(copies_of(trace, stage_of))
    if "activation_buffer" in hardware.share:
        return frozenset()
    if hardware.core_network is None:
        return crossing
    fused = [trace.layers[place] for group in groups for place in group.places]
    names = frozenset(name for layer in fused for name in (layer.name, *layer.inputs, *layer.residuals))
    return crossing & (second_operands(trace) | names)


def _crossing(
    hardware: HardwareConfig, task: LayerTask, trace: LayerTrace, stage_of: Sequence[int], residency: Residency
) -> list[tuple[str, float]]:
    """Return the share of a layer's inputs, and of its residuals, that lie in buffers of other cores."""
    if hardware.core_network is None:
        return []
    stage = {layer.name: stage_of[place] for place, layer in enumerate(trace.layers)}
    size = {layer.name: output_elements(layer) for layer in trace.layers}
    found = []
    for what, names, from_dram in (
        ("inputs", task.layer.inputs, task.dram_input_elements),
        ("residuals", task.layer.residuals, task.residual_dram_elements),
    ):
        held = [name for name in names if name in residency.on_chip]
        far = sum(size[name] for name in held if stage[name] != stage[task.layer.name])
        if far and not from_dram and (what == "inputs" or task.layer.uses_array):
            found.append((what, far / sum(size[name] for name in held)))
    return found


def _with_transfers(task: LayerTask, crossing: Sequence[tuple[str, float]]) -> LayerTask:
    """Return a layer whose tiles are fetched where they lie in other cores' buffers."""
    names = [name for name, _ in crossing]
    inputs = task.layer.dims.num_inputs if "inputs" in names else task.dram_input_elements
    residuals = task.residual_elements if "residuals" in names else task.residual_dram_elements
    return replace(task, dram_input_elements=inputs, residual_dram_elements=residuals)


def program_of(trace: LayerTrace, rounds: Sequence[Stages], num_cores: int) -> Program:
    """Return what the cores do: every layer of ``trace`` for one group of inputs after the other, in its stage."""
    order, first = _Order(rounds), rounds[0]
    slots = sorted(
        (order.slot(number, event) for number, own in enumerate(rounds) for event in range(len(own.schedules))),
        key=lambda slot: slot[0].begin_cycle or 0,
    )
    stored = dict(zip(first.places, (schedule.stored_bits for schedule in first.schedules), strict=True))  # by the last
    layers = tuple(
        WholeLayer(layer.name, layer.kind, layer_shape(layer), stored[place])
        for place, layer in enumerate(trace.layers)
    )
    traced: tuple[Mapping[int, TraceLayer], ...] = ()
    if first.fused:
        traced = tuple({min(slot.pieces): rounds[number].traced[event]} for slot, number, event in slots)
    return Program(
        slots=tuple(slot for slot, _, _ in slots),
        layer_of=tuple(rounds[number].places[event] for _, number, event in slots),
        layers=layers,
        divided=tuple(f"stage {stage}" for stage in first.stage_of),
        section_of=(0,) * len(slots),
        num_cores=num_cores,
        made_by="stages",
        round_of=tuple(number for _, number, _ in slots),
        fused=first.fused,
        traced=traced,
    )


class _Order:
    """Says what each piece waits for, and when it is expected to begin.

    Of each stage it knows the pieces, layers or parts of fused ones, by their places among those of the round.
    """

    def __init__(self, rounds: Sequence[Stages]) -> None:
        self.rounds, first = rounds, rounds[0]
        self.stage_of = first.stage_of
        self.place = {layer.name: place for place, layer in enumerate(first.trace.layers)}
        self.readers = self._readers(first)
        self.spans = [_Spans.of(stages) for stages in rounds]
        self.ended = [dict.fromkeys(self.stage_of, 0)]
        for spans in self.spans:
            self.ended.append({stage: count + len(spans.of_stage[stage]) for stage, count in self.ended[-1].items()})
        self.ends: dict[tuple[int, int], int] = {}

    def _readers(self, stages: Stages) -> dict[int, dict[int, int]]:
        """Return of each stage the stages that read its maps on chip, and how many inputs these may be behind."""
        copies = copies_of(stages.trace, stages.stage_of)
        found: dict[int, dict[int, int]] = {}
        for place, layer in enumerate(stages.trace.layers):
            if layer.name in copies and layer.name in stages.on_chip:
                stage, number = stages.stage_of[place], copies[layer.name]
                reader = stage + number - 1
                found.setdefault(stage, {})[reader] = number
        return found

    def slot(self, number: int, event: int) -> tuple[Slot, int, int]:
        """Return a piece of a round; to be asked for in the order of rounds and pieces."""
        stages, spans = self.rounds[number], self.spans[number]
        place = stages.places[event]
        stage, layer = self.stage_of[place], stages.trace.layers[place]
        own = spans.of_stage[stage]
        waited: set[tuple[int, int]] = set()
        if event == spans.of_layer[place].start:  # the pieces behind it follow in order
            made = {self.place[name] for name in (*layer.inputs, *layer.residuals) if name in self.place}
            waited = {(number, spans.of_layer[each].stop - 1) for each in made if self.stage_of[each] != stage}
        if event == own.start:
            for reader, behind in self.readers.get(stage, {}).items():
                if number >= behind:
                    waited.add((number - behind, self.spans[number - behind].of_stage[reader].stop - 1))
        before = (number, event - 1)
        if event == own.start:
            before = (number - 1, self.spans[number - 1].of_stage[stage].stop - 1)
        begin = max((self.ends[each] for each in (*waited, before) if each[0] >= 0), default=0)
        self.ends[number, event] = begin + stages.cycles[event]
        ended: dict[int, int] = {}
        for other, piece_of in waited:
            core = self.stage_of[self.rounds[other].places[piece_of]]
            count = self.ended[other][core] + piece_of - self.spans[other].of_stage[core].start + 1
            ended[core] = max(ended.get(core, 0), count)
        piece = Piece(stages.schedules[event], tuple(sorted(ended.items())), stages.from_cores[place])
        return Slot({stage: piece}, "nothing", begin), number, event


@dataclass(frozen=True, slots=True)
class _Spans:
    """Which of a round's pieces each stage runs, and which each layer has: from its first to its last."""

    of_stage: Mapping[int, range]
    of_layer: Mapping[int, range]

    @classmethod
    def of(cls, stages: Stages) -> _Spans:
        layers: dict[int, range] = {}
        found: dict[int, range] = {}
        for event, place in enumerate(stages.places):
            for spans, key in ((found, stages.stage_of[place]), (layers, place)):
                spans[key] = range(spans[key].start if key in spans else event, event + 1)
        return cls(found, layers)
