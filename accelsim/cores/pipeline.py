"""Cores as stages of a pipeline: each works on a run of neighbouring layers, and the inputs of a batch stream through.

Runs are balanced by the closed form, then by what their layers took when they were mapped; the solver decides between
the two. A map that later stages read stays on chip where the cores' buffers are one, or have a network, and else goes
through DRAM. A stage begins with an input when the stages before have ended with it, and, where it writes to places on
chip, when what stood there has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.program import Network, Program
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.mapping.build import in_one, layer_shape
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import shares
from accelsim.mapping.mapper import forget_times
from accelsim.mapping.network import (
    DoesNotFitError,
    activation_bits_of,
    largest_live,
    map_alone,
    map_in_order,
    network_tasks,
    residency_of,
)
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import estimates
from accelsim.mapping.residency import Residency, output_elements
from accelsim.mapping.stages import balanced, beside_dram, copies_of, second_operands, stage_residency
from accelsim.mapping.task import LayerTask
from accelsim.sim.cores import WholeLayer
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.timing.schedule import LayerSchedule
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace

MOST_ROUNDS = 64  # one by one up to so many inputs, else in as many groups: a run is as long as it has groups


@dataclass(frozen=True, slots=True)
class Stages:
    """The layers of a group of inputs, with the stage, the schedule and the cycles of each.

    ``on_chip`` are the maps that do not go through DRAM; ``from_cores`` what comes from other cores (`Piece`).
    """

    trace: LayerTrace
    stage_of: tuple[int, ...]
    schedules: tuple[LayerSchedule, ...]
    cycles: tuple[int, ...]
    on_chip: frozenset[str]
    from_cores: tuple[tuple[tuple[str, float], ...], ...]


def by_stages(hardware: HardwareConfig, network: Network, cost: Callable[[Program], float]) -> Program:
    """Return the cores as a pipeline; ``cost`` says what a program costs.

    Tried are inputs one by one, and in so many groups that weights are fetched less often while the cores have enough
    to do; stages mapped for their share of the bandwidth, and for all of it.

    Raises
    ------
    MappingError
        A layer fits a core in no way.
    """
    found: list[Program] = []
    copies, cores = network.trace.copies, hardware.num_cores
    for number in dict.fromkeys(min(copies, rounds) for rounds in (MOST_ROUNDS, 2 * cores, cores)):
        for share in dict.fromkeys((min(cores, number, len(network.trace.layers)), 1)):
            chip = core_chip(hardware, share, "nothing")
            first = _rounds(hardware, network, chip, number, None)
            found.append(program_of(network.trace, first, cores))
            again = balanced(first[0].cycles, cores)
            if again != list(first[0].stage_of):
                found.append(program_of(network.trace, _rounds(hardware, network, chip, number, again), cores))
    forget_times()
    return found[0] if len(found) == 1 else min(found, key=cost)


def _rounds(
    hardware: HardwareConfig, network: Network, chip: HardwareConfig, number: int, stage_of: Sequence[int] | None
) -> list[Stages]:
    """Return the stages for each group of inputs, mapped for ``chip``; balanced by the closed form if not stated."""
    found: dict[int, Stages] = {}
    groups = shares(network.trace.copies, number)
    for size in dict.fromkeys(group.size for group in groups):  # the larger first
        trace = replace(in_copies(network.trace, size), copies=1)
        prices = mapping_prices(chip, load_tables())
        if stage_of is None:
            stage_of = balanced(_estimated(network, trace, chip, prices), hardware.num_cores)
        found[size] = _mapped(hardware, replace(network, trace=trace), chip, stage_of, prices)
    return [found[group.size] for group in groups]


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
    hardware: HardwareConfig, network: Network, chip: HardwareConfig, stage_of: Sequence[int], prices: EnergyPrices
) -> Stages:
    """Map the layers of each stage in order; where one does not fit, the largest map beside it leaves the chip."""
    trace, banned = network.trace, _never_kept(hardware, network.trace, stage_of)
    while True:
        residency = _residency(hardware, network, chip, stage_of, banned)
        apart = beside_dram(trace, residency.on_chip) & frozenset(copies_of(trace, stage_of))
        if hardware.core_network is not None and apart:
            banned |= apart
            continue
        tasks = network_tasks(trace, network.plans, chip, residency)
        crossing = [_crossing(hardware, task, trace, stage_of, residency) for task in tasks]
        tasks = [_with_transfers(task, names) for task, names in zip(tasks, crossing, strict=True)]
        first, schedules, cycles = 0, [], []
        try:
            while first < len(tasks):
                behind = first + stage_of.count(stage_of[first])
                mapped = map_in_order(tasks[first:behind], prices, network.fixed)
                ends = [0, *(item.end.end_cycle for item in mapped)]
                schedules += [in_one(item.schedule) for item in mapped]
                cycles += [after - before for before, after in zip(ends, ends[1:], strict=False)]
                first = behind
            break
        except DoesNotFitError as failure:
            crowded = largest_live(trace, residency, first + failure.position)
            if crowded is None:
                raise MappingError(str(failure)) from failure
            banned |= {crowded}
    return Stages(
        trace, tuple(stage_of), tuple(schedules), tuple(cycles), residency.on_chip, tuple(map(tuple, crossing))
    )


def _residency(
    hardware: HardwareConfig, network: Network, chip: HardwareConfig, stage_of: Sequence[int], banned: frozenset[str]
) -> Residency:
    if hardware.memory == "ideal" or not hardware.mapping.keep_activations_on_chip:
        return Residency(frozenset(), (0,) * len(network.trace.layers))
    bits = activation_bits_of(network.plans, hardware)
    return stage_residency(network.trace, stage_of, bits, chip.activation_buffer.capacity_bytes, banned)


def _never_kept(hardware: HardwareConfig, trace: LayerTrace, stage_of: Sequence[int]) -> frozenset[str]:
    """Return the maps that go through DRAM: those that later stages could not read on chip.

    A second operand is read in the order of its rows, not of transfers between cores.
    """
    crossing = frozenset(copies_of(trace, stage_of))
    if "activation_buffer" in hardware.share:
        return frozenset()
    if hardware.core_network is None:
        return crossing
    return crossing & second_operands(trace)


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
    order = _Order(rounds)
    slots = sorted(
        (order.slot(number, place) for number in range(len(rounds)) for place in range(len(rounds[0].schedules))),
        key=lambda slot: slot[0].begin_cycle or 0,
    )
    layers = tuple(
        WholeLayer(layer.name, layer.kind, layer_shape(layer), schedule.stored_bits)
        for layer, schedule in zip(trace.layers, rounds[0].schedules, strict=True)
    )
    return Program(
        slots=tuple(slot for slot, _, _ in slots),
        layer_of=tuple(place for _, _, place in slots),
        layers=layers,
        divided=tuple(f"stage {stage}" for stage in rounds[0].stage_of),
        section_of=(0,) * len(slots),
        num_cores=num_cores,
        made_by="stages",
        round_of=tuple(number for _, number, _ in slots),
    )


class _Order:
    """Says what each piece waits for, and when it is expected to begin."""

    def __init__(self, rounds: Sequence[Stages]) -> None:
        self.rounds, first = rounds, rounds[0]
        self.stage_of = first.stage_of
        self.first_of = {stage: self.stage_of.index(stage) for stage in self.stage_of}
        self.place = {layer.name: place for place, layer in enumerate(first.trace.layers)}
        self.readers = self._readers(first)
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

    def slot(self, number: int, place: int) -> tuple[Slot, int, int]:
        """Return a layer of a round; to be asked for in the order of rounds and layers."""
        stages, stage = self.rounds[number], self.stage_of[place]
        layer = stages.trace.layers[place]
        made = {self.place[name] for name in (*layer.inputs, *layer.residuals) if name in self.place}
        waited = {(number, each) for each in made if self.stage_of[each] != stage}
        if place == self.first_of[stage]:
            for reader, behind in self.readers.get(stage, {}).items():
                if number >= behind:
                    waited.add((number - behind, self._last_of(reader)))
        before = (number, place - 1) if place > self.first_of[stage] else (number - 1, self._last_of(stage))
        begin = max((self.ends[each] for each in (*waited, before) if each[0] >= 0), default=0)
        self.ends[number, place] = begin + stages.cycles[place]
        ended: dict[int, int] = {}
        for each in waited:
            core = self.stage_of[each[1]]
            ended[core] = max(ended.get(core, 0), self._ended(*each))
        piece = Piece(stages.schedules[place], tuple(sorted(ended.items())), stages.from_cores[place])
        return Slot({stage: piece}, "nothing", begin), number, place

    def _last_of(self, stage: int) -> int:
        return len(self.stage_of) - 1 - self.stage_of[::-1].index(stage)

    def _ended(self, number: int, place: int) -> int:
        """Return how many pieces of its core have ended with a layer of a round."""
        stage = self.stage_of[place]
        return number * self.stage_of.count(stage) + place - self.first_of[stage] + 1
