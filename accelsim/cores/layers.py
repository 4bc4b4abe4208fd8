"""All cores on one layer after the other: by what each layer is divided, and how its parts are mapped.

The closed form says what each division would take; of those that it likes about as much, the solver decides. Equal
layers are divided once, and equal parts are mapped once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.divider import Divided, Divider, NoRoomError
from accelsim.cores.program import Network, Program
from accelsim.errors import MappingError
from accelsim.mapping.build import layer_shape
from accelsim.mapping.core_groups import GroupOnCores
from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.mapper import forget_times
from accelsim.mapping.network import DoesNotFitError, made_room, network_tasks, residency_of, together_in
from accelsim.mapping.residency import Residency, Together, last_uses, output_elements
from accelsim.mapping.stages import beside_dram, second_operands
from accelsim.mapping.task import LayerTask
from accelsim.sim.cores import WholeLayer
from accelsim.timing.core_pieces import Alike, Piece, Slot
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.model import LayerTrace, TraceLayer
from accelsim.units import bits_to_bytes


def by_layers(hardware: HardwareConfig, network: Network) -> Program:
    """Return all cores on one layer after the other, each waiting for all others behind each layer.

    Where a layer fits in no way beside maps that stay on chip, the largest of these goes to DRAM, as on one core.

    Raises
    ------
    MappingError
        A layer fits a core in no way.
    """
    return divided_by(Divider(hardware, network))


def divided_by(divider: Divider) -> Program:
    """Return what `by_layers` does with a divider that may have ranked the layers already."""
    program = divide(divider).program()
    forget_times()
    return program


def expected_cycles(divider: Divider) -> float:
    """Return the cycles that the closed form expects of what the objective likes. Raises `MappingError` as it may."""
    return _expected(divider, divider.expected)


def expected_as_kept(divider: Divider) -> float:
    """Return the cycles that the closed form expects of a network whose layers are divided as the divider was told."""
    return _expected(divider, divider.expected_as_kept)


def _expected(divider: Divider, of_tasks: Callable[[Sequence[LayerTask]], float]) -> float:
    hardware, network = divider.hardware, divider.network
    tasks = network_tasks(
        network.trace, network.plans, divider.whole, residency_on_cores(hardware, network, divider.whole)
    )
    try:
        return of_tasks(tasks)
    except NoRoomError as failure:
        raise MappingError(str(failure)) from failure


@dataclass(frozen=True, slots=True)
class DividedNetwork:
    """Layers as the cores work on them: each by itself, or as one of a fused group, by the place of its first.

    ``tasks`` are whole layers, with the room that maps which stay on chip leave.
    """

    tasks: Sequence[LayerTask]
    made: Mapping[str, Divided]
    groups: Mapping[int, GroupOnCores]
    num_cores: int

    def steps(self, first: int, stop: int) -> Steps:
        """Return what the cores do for layers ``first`` up to ``stop`` alone."""
        steps = Steps(self.num_cores)
        place = first
        while place < stop:
            if place in self.groups:
                steps.add_group(self.groups[place])
                place += len(self.groups[place].fused.layers)
            else:
                steps.add_layer(place, self.made[self.tasks[place].layer.name])
                place += 1
        return steps

    def program(self) -> Program:
        """Return what the cores do: all wait for all behind each layer, and behind each group."""
        steps = self.steps(0, len(self.tasks))
        layers = tuple(
            WholeLayer(task.layer.name, task.layer.kind, layer_shape(task.layer), task.stored_bits)
            for task in self.tasks
        )
        fused = {name: group.fused for group in self.groups.values() for name in group.fused.layers}
        return Program(
            tuple(steps.slots),
            tuple(steps.layer_of),
            layers,
            tuple(_fused_word(fused[each.name]) if each.name in fused else self.made[each.name].by for each in layers),
            section_of=tuple(steps.section_of),
            num_cores=self.num_cores,
            made_by="layers",
            fused=tuple(group.fused for group in self.groups.values()),
            traced=tuple(steps.traced) if self.groups else (),
        )


def _fused_word(fused: FusedLayers) -> str:
    return f"fused {'rows' if fused.num_parts == 1 else fused.division}"


class Steps:
    """Puts slots together, with what each waits for."""

    def __init__(self, num_cores: int) -> None:
        self.slots: list[Slot] = []
        self.layer_of: list[int] = []
        self.section_of: list[int] = []
        self.traced: list[Mapping[int, TraceLayer]] = []
        self.ended = dict.fromkeys(range(num_cores), 0)

    def add_layer(self, place: int, chosen: Divided) -> None:
        """Add a layer that waits for all that has been added before."""
        name, needs = chosen.name, self._needs()
        pieces = {
            core: Piece(replace(schedule, name=name), needs, chosen.from_cores)
            for core, schedule in enumerate(chosen.schedules)
        }
        self._add(place, pieces, chosen.alike, len(self.slots), {})

    def add_group(self, group: GroupOnCores) -> None:
        """Add a group: each core begins when all has ended that was added before, and then waits for no other."""
        first, section, begun = self._needs(), len(self.slots), set[int]()
        for slot in group.slots:
            pieces = {
                core: Piece(schedule, () if core in begun else first) for core, schedule in slot.schedules.items()
            }
            begun |= set(pieces)
            self._add(slot.place, pieces, "weights", section, slot.layers)

    def _needs(self) -> tuple[tuple[int, int], ...]:
        return tuple((core, number) for core, number in self.ended.items() if number)

    def _add(
        self, place: int, pieces: Mapping[int, Piece], alike: Alike, section: int, layers: Mapping[int, TraceLayer]
    ) -> None:
        for core in pieces:
            self.ended[core] += 1
        self.slots.append(Slot(pieces, alike))
        self.layer_of.append(place)
        self.section_of.append(section)
        self.traced.append(layers)


def divide(divider: Divider, groups: Sequence[FusedGroup] = ()) -> DividedNetwork:
    """Return how cores work on a network of which some layers are fused; an error as of `by_layers`."""
    hardware, network, whole = divider.hardware, divider.network, divider.whole
    banned: frozenset[str] = frozenset()
    together = together_in(network.trace, network.plans, whole, groups)
    fused = {place for group in groups for place in group.places}
    while True:
        residency = residency_on_cores(hardware, network, whole, banned, together)
        tasks = network_tasks(network.trace, network.plans, whole, residency)
        made: dict[str, Divided] = {}
        try:
            alone = [task for place, task in enumerate(tasks) if place not in fused]
            divider.estimate(alone)
            for task in alone:
                made[task.layer.name] = replace(divider.divided(task, made), name=task.layer.name)
            on_cores = {group.first: divider.group(group, tasks) for group in groups}
            crowded = _without_room(hardware, network.trace, residency, made)
        except (NoRoomError, DoesNotFitError) as failure:
            place = failure.position if isinstance(failure, DoesNotFitError) else tasks.index(failure.task)
            crowded = made_room(network.trace, residency, place, failure)
        if crowded is None:
            return DividedNetwork(tasks, made, on_cores, hardware.num_cores)
        banned |= {crowded}


def residency_on_cores(
    hardware: HardwareConfig,
    network: Network,
    whole: HardwareConfig,
    banned: frozenset[str] = frozenset(),
    together: Sequence[Together] = (),
) -> Residency:
    """Return what stays on chip: in the buffer of all cores, or, with a network, spread over the buffers of each.

    A second operand is read by cores that did not make it in the order of its rows, not of transfers: it leaves, and
    with it all keys and values. So does what a layer reads beside a map in DRAM, and what fused layers, ``together``,
    read or make for others: the network carries tiles of whole layers.
    """
    trace = network.trace
    if "activation_buffer" in hardware.share:
        return residency_of(trace, network.plans, whole, banned, together)
    if hardware.core_network is None:
        return Residency(frozenset(), (0,) * len(trace.layers))
    number, buffer = hardware.num_cores, whole.activation_buffer
    of_all = buffer.model_copy(update={"capacity_bytes": buffer.capacity_bytes * number})
    chip = whole.model_copy(update={"activation_buffer": of_all})
    fused = [layer for group in together for layer in trace.layers[group.first : group.stop]]
    banned |= second_operands(trace)
    without_cache = replace(trace, language=None)
    banned |= frozenset(name for layer in fused for name in (layer.name, *layer.inputs, *layer.residuals))
    while True:
        spread = residency_of(without_cache, network.plans, chip, banned, together)
        apart = beside_dram(trace, spread.on_chip)
        if not apart:
            break
        banned |= apart
    return replace(spread, resident_bytes=tuple(-(-count // number) for count in spread.resident_bytes))


def _without_room(
    hardware: HardwareConfig, trace: LayerTrace, residency: Residency, made: Mapping[str, Divided]
) -> str | None:
    """Return the largest map that some core has no room for, since fewer cores made it than hold the others."""
    if hardware.core_network is None or not residency.on_chip:
        return None
    last, bits = last_uses(trace), hardware.activation_bits
    limit = hardware.activation_buffer.capacity_bytes * 3 // 4
    for place in range(len(trace.layers)):
        live = {
            layer.name: bits_to_bytes(output_elements(layer) * bits) / len(made[layer.name].schedules)
            for before, layer in enumerate(trace.layers[: place + 1])
            if layer.name in residency.on_chip and last[layer.name] >= place and before <= place
        }
        if sum(live.values()) > limit:  # the first core has a part of each
            return max(live, key=lambda name: live[name])
    return None
