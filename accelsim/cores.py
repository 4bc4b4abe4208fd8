"""A network on several cores: who works on what, chosen by the closed form and decided by the solver.

Candidates are: all cores on one layer after the other, each layer divided by what its estimate likes best (or as the
chip's description says); the inputs of a batch divided, each core running the network for its own; and one core alone,
as on a chip that has no other, so that further cores never make a run slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.groups import Group
from accelsim.mapping.build import layer_shape
from accelsim.mapping.core_chip import compulsory_bytes, core_chip, with_turns
from accelsim.mapping.cores import ALIKE, PARTS, Part, shares, split_task
from accelsim.mapping.loops import LOOPS, Tiling
from accelsim.mapping.mapper import MappedLayer
from accelsim.mapping.network import (
    check_units,
    estimate_alone,
    kinds_of,
    map_alone,
    map_network,
    network_tasks,
    residency_of,
)
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.residency import Residency
from accelsim.mapping.task import LayerTask
from accelsim.names import suggest
from accelsim.sim.cores import (
    PieceRun,
    SystemRun,
    WholeLayer,
    core_counters,
    core_of_one,
    run_system,
    whole_layer,
)
from accelsim.sim.counters import Counters
from accelsim.storage.base import WeightPlan
from accelsim.timing.accounts import Probe
from accelsim.timing.cores import Alike, Piece, Slot
from accelsim.timing.memory import MemoryModel, bytes_per_cycle
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace

Plans = Mapping[str, WeightPlan]
ONE_CORE = "one core"


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to see a run, and whether it is one of processes."""

    exact: bool = False
    probe: Probe | None = None
    tap: Callable[[MemoryModel], MemoryModel] | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What the cores do.

    Attributes
    ----------
    slots, layer_of
        Slots in order, and the layer that each belongs to.
    layers, divided
        The whole layers, and by what each is divided (``one core``: by nothing).
    waits
        Whether all cores wait for each other behind each layer.
    """

    slots: tuple[Slot, ...]
    layer_of: tuple[int, ...]
    layers: tuple[WholeLayer, ...]
    divided: tuple[str, ...]
    waits: bool


@dataclass(frozen=True, slots=True)
class Network:
    """A network in a storage format, for a chip of several cores.

    Attributes
    ----------
    alone
        Runs a network on a chip of one core.
    groups
        Says in which groups of inputs a chip of one core takes a batch.
    cost
        What is to be least.
    """

    trace: LayerTrace
    storage: str
    plans: Plans
    alone: Callable[[HardwareConfig, LayerTrace], Counters]
    groups: Callable[[HardwareConfig, LayerTrace], tuple[Group, ...]]
    cost: Callable[[Counters], float]


def run_on_cores(hardware: HardwareConfig, network: Network, watch: Watch = Watch()) -> Counters:
    """Return the counters of the best way to run a network on all cores.

    Raises
    ------
    MappingError
        A layer fits no core, or nothing can be divided as the chip's description says.
    """
    program, counters = best_program(hardware, network)
    if watch == Watch():
        return counters
    return _counted(hardware, network, program or whole_program(core_chip(hardware, 1, None), network), watch)


def best_program(hardware: HardwareConfig, network: Network) -> tuple[Program | None, Counters]:
    """Return what the cores do, and its counters; None: one core alone is best. Raises as `run_on_cores`."""
    check_units(network.plans, network.storage, hardware)
    found: list[tuple[float, Program | None, Counters]] = []
    failure: MappingError | None = None
    for make in _candidates(hardware, network.trace):
        try:
            program = make(hardware, network)
        except MappingError as error:
            failure = error
            continue
        counters = _counted(hardware, network, program, Watch())
        found.append((network.cost(counters), program, counters))
    if hardware.mapping.split == "auto":
        try:
            counters = core_of_one(network.alone(core_chip(hardware, 1, None), network.trace), hardware.num_cores)
            found.append((network.cost(counters), None, counters))
        except MappingError as error:
            failure = failure or error
    if not found:
        raise failure or MappingError(f"{network.trace.name}: nothing to divide among {hardware.num_cores} cores")
    _, best, counters = min(found, key=lambda each: each[0])
    return best, counters


def _candidates(hardware: HardwareConfig, trace: LayerTrace) -> list[Callable[[HardwareConfig, Network], Program]]:
    """Return what is tried, beside one core alone."""
    split, has_inputs = hardware.mapping.split, trace.copies > 1
    words = (split,) if isinstance(split, str) else tuple(split.values())
    names = {layer.name for layer in trace.layers} | {"default"}
    unknown = [] if isinstance(split, str) else [name for name in split if name not in names]
    if unknown:
        hint = suggest(unknown[0], sorted(names)) or "accelsim trace shows its layers; "
        raise MappingError(
            f"{hardware.name}: mapping.split: {trace.name} has no layer {unknown[0]!r}; {hint}or give default"
        )
    if "batch" in words and trace.num_inputs == 1:
        raise MappingError(
            f"{hardware.name}: mapping.split: batch: {trace.name} has one input; give --batch, or another split"
        )
    if split == "batch" and has_inputs:
        return [by_inputs, by_inputs_at_full_rate]
    if split == "auto" and has_inputs:
        return [by_layers, by_inputs, by_inputs_at_full_rate]
    return [by_layers]


def _counted(hardware: HardwareConfig, network: Network, program: Program, watch: Watch) -> Counters:
    run = run_system(program.slots, hardware, exact=watch.exact, probe=watch.probe, tap=watch.tap)
    return counters_of(program, run, hardware, network)


def counters_of(program: Program, run: SystemRun, hardware: HardwareConfig, network: Network) -> Counters:
    """Return the counters of a run on several cores.

    Where cores wait for each other behind each layer, a layer lasts from the last core's end of the one before to the
    last core's own; where each runs for itself, layers last as on the core that ends last.
    """
    every: list[list[PieceRun]] = [[] for _ in program.layers]
    own: list[list[PieceRun]] = [[] for _ in program.layers]
    by_slot: list[list[PieceRun]] = [[] for _ in program.slots]
    for piece in run.pieces:
        by_slot[piece.piece.slot].append(piece)
    last = max(run.pieces, key=lambda one: (one.account.end_cycle, -one.piece.core)).piece.core
    for pieces, layer in zip(by_slot, program.layer_of, strict=True):
        every[layer] += pieces
        if program.waits:
            own[layer].append(max(pieces, key=lambda one: (one.account.end_cycle, -one.piece.core)))
        else:
            own[layer] += [one for one in pieces if one.piece.core == last]
    arithmetic, decoder, uses_generator = kinds_of(network.plans)
    return Counters(
        storage=network.storage,
        layers=tuple(
            whole_layer(pieces, mine, layer) for pieces, mine, layer in zip(every, own, program.layers, strict=True)
        ),
        arithmetic=arithmetic,
        uses_generator=uses_generator,
        decoder=decoder,
        dram=run.dram,
        cores=core_counters(run, hardware.num_cores, {}),
    )


def by_layers(hardware: HardwareConfig, network: Network) -> Program:
    """Return all cores on one layer after the other, each waiting for all others behind each layer."""
    whole = core_chip(hardware, 1, None)
    prices = mapping_prices(whole, load_tables())
    residency = _residency(hardware, network, whole)
    slots, layers = [], []
    divided: dict[str, tuple[str, int]] = {}
    ended = dict.fromkeys(range(hardware.num_cores), 0)
    for task in network_tasks(network.trace, network.plans, whole, residency):
        chosen = _chosen(task, hardware, prices, network.trace.num_inputs)
        divided[task.layer.name] = chosen.by, len(chosen.parts)
        if hardware.core_network is not None:
            chosen = _from_cores(task, chosen, divided, hardware.num_cores)
        needs = tuple((core, number) for core, number in ended.items() if number)
        pieces = {}
        for core, item in enumerate(chosen.mapped(hardware, prices)):
            named = replace(item.schedule, name=task.layer.name)
            others = tuple(each for each in needs if each[0] != core)
            pieces[core] = Piece(named, others, chosen.from_cores)
            ended[core] += 1
        slots.append(Slot(pieces, chosen.alike))
        layers.append(WholeLayer(task.layer.name, task.layer.kind, layer_shape(task.layer), task.stored_bits))
    return Program(
        tuple(slots), tuple(range(len(slots))), tuple(layers), tuple(by for by, _ in divided.values()), waits=True
    )


def _residency(hardware: HardwareConfig, network: Network, whole: HardwareConfig) -> Residency:
    """Return what stays on chip: in the buffer of all cores, or, with a network, spread over the buffers of each.

    A second operand is read by cores that did not make it in the order of its rows, not of transfers: it leaves.
    """
    if "activation_buffer" in hardware.share:
        return residency_of(network.trace, network.plans, whole)
    if hardware.core_network is None:
        return Residency(frozenset(), (0,) * len(network.trace.layers))
    number, buffer = hardware.num_cores, whole.activation_buffer
    together = buffer.model_copy(update={"capacity_bytes": buffer.capacity_bytes * number})
    seconds = frozenset(name for layer in network.trace.layers for name in layer.second_producers)
    spread = residency_of(
        network.trace, network.plans, whole.model_copy(update={"activation_buffer": together}), seconds
    )
    return replace(spread, resident_bytes=tuple(-(-count // number) for count in spread.resident_bytes))


def _from_cores(task: LayerTask, chosen: _Chosen, divided: Mapping[str, tuple[str, int]], number: int) -> _Chosen:
    """Return a layer's parts with the transfers of what lies on chip and was not made where it is read."""
    layer = task.layer
    found: dict[str, float] = {}
    on_chip = not task.dram_input_elements and layer.inputs and all(name in divided for name in layer.inputs)
    if on_chip:
        found["inputs"] = max(_share_of_others(chosen, divided[name], number) for name in layer.inputs)
    if layer.residuals and not task.residual_dram_elements and layer.uses_array:
        made = {divided[name] for name in layer.residuals if name in divided}
        found["residuals"] = 0.0 if made == {(chosen.by, len(chosen.parts))} else (number - 1) / number
    crossing = tuple((name, share) for name, share in found.items() if share > 0)
    names = [name for name, _ in crossing]

    def part(own: LayerTask) -> LayerTask:
        inputs = own.layer.dims.num_inputs if "inputs" in names else own.dram_input_elements
        residuals = own.residual_elements if "residuals" in names else own.residual_dram_elements
        return replace(own, dram_input_elements=inputs, residual_dram_elements=residuals)

    return replace(chosen, parts=tuple(map(part, chosen.parts)), from_cores=crossing)


def _share_of_others(chosen: _Chosen, made: tuple[str, int], number: int) -> float:
    """Return which share of its inputs a part gets from other cores."""
    is_alike = made == (chosen.by, len(chosen.parts))
    if is_alike and chosen.by == "positions":  # all but the rows of the halo are its own
        dims = chosen.largest.layer.dims
        rows, own = (dims.H, dims.P * dims.stride[0]) if dims.P >= dims.Q else (dims.W, dims.Q * dims.stride[1])
        return max(0.0, 1 - own / max(1, rows))
    if is_alike and chosen.by in ("batch", ONE_CORE):
        return 0.0
    return (number - 1) / number


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A layer's parts on the cores, by what they are divided, what they have alike, and what crosses between them."""

    parts: tuple[LayerTask, ...]
    by: str
    alike: Alike
    from_cores: tuple[tuple[str, float], ...] = ()

    @property
    def largest(self) -> LayerTask:
        """Return the part with most work, of equals that with most inputs."""
        return max(self.parts, key=lambda part: (part.layer.dims.macs, part.layer.dims.num_inputs))

    def mapped(self, hardware: HardwareConfig, prices: EnergyPrices) -> tuple[MappedLayer, ...]:
        """Return the parts mapped: the largest is, and all have its tiling where it fits.

        Where cores take turns at a shared unit, the largest is mapped for that unit as it is, and for one as slow as it
        is to one of them; of both tilings that is taken which lets the layer end first, by itself.
        """
        largest = self.largest
        tilings = [map_alone(task, prices).schedule.tiling for task in (largest, self.in_turn(largest, hardware))]
        found = [tuple(_with_tiling(part, each, prices) for part in self.parts) for each in dict.fromkeys(tilings)]
        if len(found) == 1:
            return found[0]

        def end_cycle(mapped: tuple[MappedLayer, ...]) -> int:
            pieces = {core: Piece(item.schedule, (), self.from_cores) for core, item in enumerate(mapped)}
            return run_system([Slot(pieces, self.alike)], hardware, engine="solver").end_cycle

        return min(found, key=end_cycle)

    def in_turn(self, part: LayerTask, hardware: HardwareConfig) -> LayerTask:
        """Return a part on a chip whose shared units are as slow as they are to one of those that take turns."""
        if self.alike == "weights":
            return part
        return replace(part, hardware=with_turns(part.hardware, hardware, len(self.parts)))


def _with_tiling(part: LayerTask, tiling: Tiling | None, prices: EnergyPrices) -> MappedLayer:
    if tiling is None:
        return map_alone(part, prices)
    dims = part.layer.dims
    own = replace(tiling, **{loop: min(tiling.size(loop), getattr(dims, loop)) for loop in LOOPS})
    try:
        return map_alone(part, prices, own)
    except MappingError:
        return map_alone(part, prices)


def _chosen(task: LayerTask, hardware: HardwareConfig, prices: EnergyPrices, num_inputs: int) -> _Chosen:
    """Return how a layer is divided: as the chip's description says, else by what the closed form likes best."""
    split = hardware.mapping.split
    word = split if isinstance(split, str) else split.get(task.layer.name, split.get("default", "auto"))
    # A unit that serves cores in turn, or a map of few rows, may feed fewer cores better than all.
    numbers = _numbers(hardware.num_cores) if word == "auto" else (hardware.num_cores,)
    divided = (
        _divided(task, by, hardware, num_inputs, number) for by in PARTS if word in ("auto", by) for number in numbers
    )
    options = [each for each in divided if each is not None]
    if word == "auto" or not options:
        options.append(_Chosen((task,), ONE_CORE, "nothing"))
    if len(options) == 1:
        return options[0]
    found: list[tuple[float, _Chosen]] = []
    failure: MappingError | None = None
    for option in options:
        try:
            found.append((_value(option, hardware, prices), option))
        except MappingError as error:
            failure = error
    if not found:
        assert failure is not None  # one core was tried
        raise failure
    return min(found, key=lambda each: each[0])[1]


def _numbers(num_cores: int) -> tuple[int, ...]:
    """Return how many cores a layer is tried on: all, half of them, and a quarter."""
    return tuple(dict.fromkeys(number for number in (num_cores, num_cores // 2, num_cores // 4) if number > 1))


def _divided(task: LayerTask, by: Part, hardware: HardwareConfig, num_inputs: int, number: int) -> _Chosen | None:
    """Return the parts of a layer as the mapper of a core sees them; None where it cannot be divided so."""
    parts = split_task(task, by, number, num_inputs)
    if parts is None or (len(parts) < number < hardware.num_cores):
        return None
    alike = ALIKE[by]
    chip = core_chip(hardware, 1 if _comes_once(alike, parts[0], hardware) else len(parts), alike)
    room = task.activation_capacity_bytes
    if chip.activation_buffer.capacity_bytes < hardware.activation_buffer.capacity_bytes:
        room //= hardware.num_cores
    return _Chosen(tuple(replace(part, hardware=chip, activation_capacity_bytes=room) for part in parts), by, alike)


def _comes_once(alike: Alike, part: LayerTask, hardware: HardwareConfig) -> bool:
    """Return whether what all cores need alike comes from DRAM once."""
    if alike == "weights":
        return "mask_buffer" in hardware.share and part.decodes
    return alike == "inputs" and "activation_buffer" in hardware.share


def _value(chosen: _Chosen, hardware: HardwareConfig, prices: EnergyPrices) -> float:
    """Return the objective of a layer by the closed form of its largest part: no less than the memory takes for all."""
    part, number = chosen.in_turn(chosen.largest, hardware), len(chosen.parts)
    cycles, value = estimate_alone(part, prices)
    objective = hardware.mapping.objective
    if objective == "dram_bytes":
        return value * (1 if _comes_once(chosen.alike, part, hardware) else number)
    if hardware.memory != "ideal":
        once, each = compulsory_bytes(part, chosen.alike)
        once *= 1 if _comes_once(chosen.alike, part, hardware) else number
        rate = float(bytes_per_cycle(hardware.dram, hardware.clock_mhz))
        cycles = max(cycles, (once + each * number) / rate)
    if objective == "latency" or prices.are_none or not part.layer.uses_array:
        return cycles
    energy = (value if objective == "energy" else value / max(1.0, cycles)) * number
    energy += (hardware.num_cores - number) * prices.static_pj_per_cycle * cycles
    return energy if objective == "energy" else energy * cycles


def whole_program(chip: HardwareConfig, network: Network) -> Program:
    """Return a network on the first core alone, in the groups of inputs that a chip with one core takes."""
    rounds = [{0: pieces} for pieces in _rounds(chip, network, network.trace)]
    return _of_rounds(rounds, network, ONE_CORE)


def by_inputs(hardware: HardwareConfig, network: Network, share: int = 0) -> Program:
    """Return each core with inputs of its own, waiting for no other; mapped for its ``share`` of the bandwidth."""
    trace = network.trace
    chip = core_chip(hardware, share or min(hardware.num_cores, trace.copies), "weights")
    rounds: list[dict[int, tuple[Piece, ...]]] = []
    for core, part in enumerate(shares(trace.copies, hardware.num_cores)):
        for number, pieces in enumerate(_rounds(chip, network, in_copies(trace, part.size))):
            if number == len(rounds):
                rounds.append({})
            rounds[number][core] = pieces
    return _of_rounds(rounds, network, "batch")


def _rounds(chip: HardwareConfig, network: Network, trace: LayerTrace) -> list[tuple[Piece, ...]]:
    """Return the layers of each group of inputs that one core takes, one group after the other."""
    prices = mapping_prices(chip, load_tables())
    groups = network.groups(chip, trace) if trace.copies > 1 else (Group(trace, 1),)
    found: list[tuple[Piece, ...]] = []
    for group in groups:
        schedule, _ = map_network(group.trace, network.plans, network.storage, chip, prices)
        found += [tuple(Piece(layer) for layer in schedule.layers)] * group.times
    return found


def _of_rounds(rounds: list[dict[int, tuple[Piece, ...]]], network: Network, divided: str) -> Program:
    layers = tuple(
        WholeLayer(piece.schedule.name, piece.schedule.kind, layer_shape(whole), piece.schedule.stored_bits)
        for piece, whole in zip(rounds[0][0], network.trace.layers, strict=True)
    )
    slots = tuple(
        Slot({core: pieces[place] for core, pieces in row.items()}, "weights")
        for row in rounds
        for place in range(len(layers))
    )
    order = tuple(place for _ in rounds for place in range(len(layers)))
    return Program(slots, order, layers, (divided,) * len(layers), waits=False)


def by_inputs_at_full_rate(hardware: HardwareConfig, network: Network) -> Program:
    """Return the same, each core mapped as if it had the memory for itself."""
    return by_inputs(hardware, network, share=1)
