"""A network on several cores: who works on what, chosen by the closed form and decided by the solver.

Candidates are: all cores on one layer after the other, each layer divided by what its estimate likes best (or as the
chip's description says); the inputs of a batch divided, each core running the network for its own; and one core alone,
as on a chip that has no other, so that further cores make no run worse by the chip's objective. Where nothing but time
counts, the same is tried on fewer cores than there are, and what the chip would do with other objectives: layers are
chosen one by one, each from a cold chip, and one that moves fewer bytes leaves more of the memory to the next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.bound import LeastWork, least_work
from accelsim.cores.divider import Divider
from accelsim.cores.fusion import fused_by_layers
from accelsim.cores.layers import by_layers, divided_by, expected_cycles
from accelsim.cores.pipeline import by_stages
from accelsim.cores.program import ONE_CORE, MadeBy, Network, Program
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.groups import Group
from accelsim.mapping.build import in_one, layer_shape
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import shares
from accelsim.mapping.network import check_units, kinds_of, map_network, network_tasks
from accelsim.mapping.pieces import entries_of
from accelsim.mapping.residency import Residency
from accelsim.names import suggest
from accelsim.sim.cores import (
    PieceRun,
    SystemRun,
    SystemTimes,
    WholeLayer,
    core_counters,
    core_of_one,
    decisive,
    end_of_slots,
    run_system,
    solved_slots,
    whole_layer,
)
from accelsim.sim.counters import Counters
from accelsim.sim.run import UNWATCHED, Watch
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.timing.cores import build_system
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace, TraceLayer

__all__ = ["Network", "Program", "best_program", "by_layers", "counters_of", "run_on_cores", "whole_program"]


# With latency as objective a network is tried on fewer cores too: one less, powers of two, and all numbers up to FEW;
# after one that takes FAR times what is best, on powers of two alone, and after two on no more.
FEW, FAR = 8, 1.25
# A number of cores is left out too of which the closed form, as far off as on the number before, expects so many times
# the best: from 16 cores of edge_quad and server_16 down to 4, on ResNet-50, what was best was never left out so.
EXPECTED_FAR = 1.1
# Of one less than a power of two this is enough: on ResNet-50, ViT-S and GPT-2, dense and as masks, 15 cores were
# better than 16, by up to 5 %, where no more than 1.002 times as much was expected of them.
EXPECTED_FAR_OF_ONE_LESS = 1.005
# What other objectives choose is left out where the closed form expects so many times the cycles of it. From two to 16
# cores of edge_quad, what was faster on ResNet-50, ViT-S and GPT-2 was never left out so.
OTHER_OBJECTIVES: tuple[Literal["edp", "energy", "dram_bytes"], ...] = ("edp", "energy", "dram_bytes")
EXPECTED_FAR_OF_OTHERS = 1.1
# After so many numbers that were left out so, fewer cores are not looked at: what is expected of them is always more.
MOST_FAR = 2


_Found = tuple[float, Program | None, Counters | None]
"""What the objective says of a program, the program (None: one core alone), and its counters if they are known."""


Best = tuple[Program | None, Counters]
"""The best way to run a network on all cores (None: one core alone), and its counters."""


def run_on_cores(hardware: HardwareConfig, network: Network, best: Best, watch: Watch = UNWATCHED) -> Counters:
    """Return the counters of the ``best`` way to run a network on all cores, as who watches sees it."""
    program, counters = best
    if watch == UNWATCHED:
        return counters
    if program is None:
        return _seen_alone(hardware, network, counters, watch)
    seen = _counted(hardware, network, program, watch)
    return replace(seen, lower_bound_cycles=counters.lower_bound_cycles)


def _seen_alone(hardware: HardwareConfig, network: Network, counters: Counters, watch: Watch) -> Counters:
    """Return the counters of one core alone, which no other takes turns with: those of a chip that has no other."""
    chip = core_chip(hardware, 1, None)
    if watch.probe is not None or watch.tap is not None:  # they see the whole batch, group behind group
        whole = whole_program(chip, network)
        run_system(whole.slots, chip, exact=watch.exact, probe=watch.probe, tap=watch.tap, layer_of=whole.layer_of)
    if not watch.exact:
        return counters
    seen = core_of_one(network.alone(chip, network.trace, exact=True), hardware.num_cores)
    return replace(seen, lower_bound_cycles=counters.lower_bound_cycles)


def best_program(hardware: HardwareConfig, network: Network) -> Best:
    """Return what the cores do.

    With ``mapping.fuse: auto`` layers are fused where neither the objective nor the bytes of the run get worse. With
    the objective ``latency`` what other objectives give is tried too, unless far more cycles are expected of it.

    Raises
    ------
    MappingError
        A layer fits no core, or nothing can be divided as the chip's description says.
    """
    check_units(network.plans, network.storage, hardware)
    best = _by_objective(hardware, network)
    return best if hardware.mapping.objective != "latency" else _shortest(hardware, network, best)


def _shortest(hardware: HardwareConfig, network: Network, best: Best) -> Best:
    """Return the shortest of the best by latency and of what a chip with another objective would do."""
    bound, fewest = best[1].lower_bound_cycles, network.cost(best[1], hardware)
    expected = _expected(Divider(hardware, network))
    for objective in OTHER_OBJECTIVES:
        if bound is not None and fewest <= bound:
            break
        chip = hardware.model_copy(update={"mapping": hardware.mapping.model_copy(update={"objective": objective})})
        if expected and _expected(Divider(chip, network)) > EXPECTED_FAR_OF_OTHERS * expected:
            continue
        try:
            other = _by_objective(chip, network)
        except MappingError:
            continue
        cycles = network.cost(other[1], hardware)
        if cycles < fewest:
            best, fewest = other, cycles
    return best


def _by_objective(hardware: HardwareConfig, network: Network) -> Best:
    """Return the best by the chip's objective."""
    if hardware.mapping.fuse != "auto" or hardware.memory == "ideal":
        return _best(hardware, network)
    unfused = hardware.mapping.model_copy(update={"fuse": "none"})
    try:
        program, counters = _best(hardware.model_copy(update={"mapping": unfused}), network)
    except MappingError:
        return _best(hardware, network)
    try:
        fused, seen = _best(hardware, network, counters.moved_bytes)
    except MappingError:
        return program, counters
    is_better = seen.fused and network.cost(seen, hardware) <= network.cost(counters, hardware)
    return (fused, seen) if is_better else (program, counters)


def _best(hardware: HardwareConfig, network: Network, most_bytes: float = math.inf) -> Best:
    """Return the best of what is tried, none of which moves more than ``most_bytes``."""
    least = least_work(hardware, network)
    found: list[_Found] = []
    failure: MappingError | None = None
    numbers = _numbers_tried(hardware)
    values: list[float] = []  # the best on each number of cores that was tried, or what is expected of it
    off = 0.0  # what was tried last over what the closed form expected of it; 0: unknown
    num_far = 0
    for number in numbers:
        if num_far == MOST_FAR or (values and least is not None and min(values) <= least.cycles(number)):
            break
        if _is_left_out(number, values):
            continue
        # Cores that are left out stand still: the others have what a chip of their number has.
        part = hardware if number == hardware.num_cores else hardware.model_copy(update={"num_cores": number})
        divider = Divider(part, network)
        expected = _expected(divider) if len(numbers) > 1 else 0.0
        is_one_less = number + 1 == hardware.num_cores > FEW and _is_power(number + 1)
        far = EXPECTED_FAR_OF_ONE_LESS if is_one_less else EXPECTED_FAR
        if values and off * expected > far * min(values):
            values.append(off * expected)
            num_far += not is_one_less
            continue
        num_far = 0
        more, problem = _tried(hardware, divider, most_bytes)
        found, failure = [*found, *more], failure or problem
        if more:
            values.append(min(value for value, _, _ in more))
            off = values[-1] / expected if expected else 0.0
    try:
        found += _alone(least, hardware, network, found)
    except MappingError as error:
        failure = failure or error
    found = [each for each in found if each[2] is None or each[2].moved_bytes <= most_bytes]
    if not found:
        raise failure or MappingError(f"{network.trace.name}: nothing to divide among {hardware.num_cores} cores")
    _, best, counters = min(found, key=lambda each: each[0])
    if counters is None:
        assert best is not None  # one core alone has its counters
        counters = _counted(hardware, network, best, UNWATCHED)
    bound = None if least is None else least.cycles(hardware.num_cores)
    return best, replace(counters, lower_bound_cycles=bound)


def _tried(hardware: HardwareConfig, divider: Divider, most_bytes: float) -> tuple[list[_Found], MappingError | None]:
    """Return all programs for a divider's cores, some of the chip's, and why the first that is none is none.

    Where nothing but time counts, those on fewer cores, of which few are best, are timed without their counters; of
    several, the best alone needs them.
    """
    found: list[_Found] = []
    failure: MappingError | None = None
    network = divider.network
    is_time = divider.hardware.num_cores < hardware.num_cores and most_bytes == math.inf and _is_time_alone(hardware)
    candidates = _candidates(divider.hardware, network.trace)
    for make in candidates:
        try:
            program = make(divider)
        except MappingError as error:
            failure = failure or error
            continue
        if is_time:
            found.append((end_of_slots(program.slots, hardware), program, None))
            continue
        if len(candidates) > 1:
            value, moved = _priced(hardware, network, program)
            if moved <= most_bytes:
                found.append((value, program, None))
            continue
        counters = _counted(hardware, network, program, UNWATCHED)
        if counters.moved_bytes <= most_bytes:
            found.append((network.cost(counters, hardware), program, counters))
    return found, failure


def _is_time_alone(hardware: HardwareConfig) -> bool:
    """Return whether the objective is time, which a simple memory's requests are solved for without their counts."""
    return hardware.mapping.objective == "latency" and not hardware.has_timed_dram


def _expected(divider: Divider) -> float:
    """Return the cycles that the closed form expects of a network whose layers are divided; 0 where it cannot say."""
    if divider.network.trace.copies > 1:
        return 0.0
    try:
        return expected_cycles(divider)
    except MappingError:
        return 0.0


def _alone(
    least: LeastWork | None, hardware: HardwareConfig, network: Network, found: Sequence[_Found]
) -> list[_Found]:
    """Return one core alone, where it may be better than what has been found."""
    is_pipeline = hardware.mapping.schedule == "pipeline"
    if hardware.mapping.split != "auto" or is_pipeline or _is_beaten(least, hardware, found):
        return []
    counters = core_of_one(network.alone(core_chip(hardware, 1, None), network.trace), hardware.num_cores)
    return [(network.cost(counters, hardware), None, counters)]


def _numbers_tried(hardware: HardwareConfig) -> list[int]:
    """Return on how many cores a network is tried, all first: fewer where nothing but time counts.

    With other objectives a core that stands still has its price, and one alone is tried beside all of them.
    """
    number, mapping = hardware.num_cores, hardware.mapping
    if mapping.objective != "latency" or mapping.split != "auto" or mapping.schedule == "pipeline":
        return [number]
    return [each for each in range(number, 1, -1) if each <= FEW or each >= number - 1 or _is_power(each)]


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0


def _is_left_out(number: int, values: list[float]) -> bool:
    """Return whether a number of cores is not worth trying, after what larger ones took."""
    are_far = [value > FAR * min(values) for value in values[-2:]]
    return bool(are_far) and are_far[-1] and (all(are_far) or not _is_power(number))


def _is_beaten(least: LeastWork | None, hardware: HardwareConfig, found: Sequence[_Found]) -> bool:
    """Return whether one core alone cannot be better than what has been found, so that it need not be tried."""
    return least is not None and any(value <= least.value(hardware) for value, _, _ in found)


def _candidates(hardware: HardwareConfig, trace: LayerTrace) -> list[Callable[[Divider], Program]]:
    """Return what is tried, beside one core alone."""
    if hardware.mapping.schedule == "pipeline":
        return [_by_stages]
    split, has_inputs = hardware.mapping.split, trace.copies > 1
    words = (split,) if isinstance(split, str) else tuple(split.values())
    names = {layer.name for layer in trace.layers} | {"default"}
    unknown = [] if isinstance(split, str) else [name for name in split if name not in names]
    if unknown:
        hint = suggest(unknown[0], sorted(names))
        raise MappingError(
            f"{hardware.name}: mapping.split: {trace.name} has no layer {unknown[0]!r}; {hint}"
            "give names that accelsim trace shows, and default for the rest"
        )
    if "batch" in words and trace.num_inputs == 1:
        raise MappingError(
            f"{hardware.name}: mapping.split: batch: {trace.name} has one input; give --batch, or another split"
        )
    by_input: list[Callable[[Divider], Program]] = [
        lambda divider: by_inputs(divider.hardware, divider.network),
        lambda divider: by_inputs_at_full_rate(divider.hardware, divider.network),
    ]
    if split == "batch" and has_inputs:
        return by_input
    if split == "auto" and has_inputs:
        return [_by_layers, *by_input]
    return [_by_layers]


def _by_layers(divider: Divider) -> Program:
    """Return all cores on one layer, or fused group, after the other."""
    hardware, network = divider.hardware, divider.network
    if hardware.mapping.fuse == "none" or hardware.memory == "ideal":
        return divided_by(divider)

    return fused_by_layers(divider, lambda program: _priced(hardware, network, program))


def _by_stages(divider: Divider) -> Program:
    """Return the cores as a pipeline."""
    hardware, network = divider.hardware, divider.network

    def cost(program: Program) -> float:
        if _is_time_alone(hardware):
            return end_of_slots(program.slots, hardware)
        return _priced(hardware, network, program)[0]

    return by_stages(hardware, network, cost)


def counters_of_times(program: Program, timed: SystemTimes, hardware: HardwareConfig, network: Network) -> Counters:
    """Return the counters of a program that has been solved, with causes of waits where latencies need them alone."""
    run = timed.of_stages(program.slots) if program.round_of else timed.of_layers(program.section_of)
    return counters_of(program, run, hardware, network)


def _priced(hardware: HardwareConfig, network: Network, program: Program) -> tuple[float, int]:
    """Return what the objective says of a program, and the bytes that it moves: without what its counters need beside.

    They would say why each core waited, which takes longer to find than the run to solve.
    """
    if hardware.has_timed_dram:
        counters = _counted(hardware, network, program, UNWATCHED)
    else:
        timed = solved_slots(build_system(program.slots, hardware), hardware)
        counters = counters_of_times(program, timed, hardware, network)
    return network.cost(counters, hardware), counters.moved_bytes


def _counted(hardware: HardwareConfig, network: Network, program: Program, watch: Watch) -> Counters:
    run = run_system(
        program.slots, hardware, exact=watch.exact, probe=watch.probe, tap=watch.tap, layer_of=program.layer_of
    )
    return counters_of(program, run, hardware, network)


def counters_of(program: Program, run: SystemRun, hardware: HardwareConfig, network: Network) -> Counters:
    """Return the counters of a run on several cores.

    The layers of a section, behind which cores wait for each other, last as on the core that ends last with it: from
    the end of the section before. Those of a pipeline have the cycles in which the end of the run waited for them
    (`accelsim.sim.cores.decisive`).
    """
    every: list[list[PieceRun]] = [[] for _ in program.layers]
    own: list[list[PieceRun]] = [[] for _ in program.layers]
    sections: dict[int, list[PieceRun]] = {}
    for piece in run.pieces:
        sections.setdefault(program.section_of[piece.piece.slot], []).append(piece)
        every[program.layer_of[piece.piece.slot]].append(piece)
    if program.round_of:
        mine = decisive(run, program.slots)
    else:
        mine = [one for pieces in sections.values() for one in _of_last(pieces)]
    for one in mine:
        own[program.layer_of[one.piece.slot]].append(one)
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
        fused=program.fused,
        cores=core_counters(run, hardware.num_cores, {}),
        first_input_cycles=_first_input(program, run),
    )


def _of_last(pieces: Sequence[PieceRun]) -> list[PieceRun]:
    """Return the pieces of the core that ends last with some."""
    last = max(pieces, key=lambda one: (one.account.end_cycle, -one.piece.core)).piece.core
    return [one for one in pieces if one.piece.core == last]


def _first_input(program: Program, run: SystemRun) -> int | None:
    """Return when the first of the inputs that stream through a pipeline has left it; None: there are no others."""
    if not program.round_of or max(program.round_of) == 0:
        return None
    return max(one.account.end_cycle for one in run.pieces if program.round_of[one.piece.slot] == 0)


def whole_program(chip: HardwareConfig, network: Network) -> Program:
    """Return a network on the first core alone, in the groups of inputs that a chip with one core takes."""
    rounds = [{0: part} for part in _rounds(chip, network, network.trace)]
    return _of_rounds(rounds, network, ONE_CORE, (1, "nothing"))


def by_inputs(hardware: HardwareConfig, network: Network, share: int = 0) -> Program:
    """Return each core with inputs of its own, waiting for no other; mapped for its ``share`` of the bandwidth."""
    trace = network.trace
    num_active = min(hardware.num_cores, trace.copies)
    chip = core_chip(hardware, share or num_active, "weights", num_active)
    rounds: list[dict[int, _Round]] = []
    for core, part in enumerate(shares(trace.copies, hardware.num_cores)):
        for number, own in enumerate(_rounds(chip, network, in_copies(trace, part.size))):
            if number == len(rounds):
                rounds.append({})
            rounds[number][core] = own
    if any(len({own.layer_of for own in row.values()}) > 1 for row in rounds):
        raise MappingError(
            f"{hardware.name}: mapping.fuse: cores with unlike parts of a batch of {trace.num_inputs} fuse layers in "
            f"other pieces; take a batch that {hardware.num_cores} divides, or mapping.fuse none"
        )
    made_by: MadeBy = "inputs at full rate" if share else "inputs"
    return _of_rounds(rounds, network, "batch", (hardware.num_cores, made_by))


@dataclass(frozen=True, slots=True)
class _Round:
    """What a core does with a group of inputs: pieces in order, with the place of the layer of each.

    ``traced`` are the layers of pieces where layers are ``fused``; else none.
    """

    pieces: tuple[Piece, ...]
    layer_of: tuple[int, ...]
    traced: tuple[TraceLayer, ...]
    fused: tuple[FusedLayers, ...]


def _rounds(chip: HardwareConfig, network: Network, trace: LayerTrace) -> list[_Round]:
    """Return what one core does with each group of inputs that it takes, one after the other."""
    prices = mapping_prices(chip, load_tables())
    nowhere = Residency(frozenset(), (0,) * len(trace.layers))
    found: list[_Round] = []
    for group in network.groups(chip, trace) if trace.copies > 1 else (Group(trace, 1),):
        fused = network.fused(chip, group.trace)
        schedule, _ = map_network(group.trace, network.plans, network.storage, chip, prices, network.fixed, fused)
        tasks = network_tasks(group.trace, network.plans, chip, nowhere)
        one = _Round(
            tuple(Piece(in_one(layer)) for layer in schedule.layers),
            schedule.places,
            tuple(entry.task.layer for entry in entries_of(group.trace, tasks, fused)) if fused else (),
            schedule.fused,
        )
        found += [one] * group.times
    return found


def _of_rounds(
    rounds: Sequence[Mapping[int, _Round]], network: Network, divided: str, made: tuple[int, MadeBy]
) -> Program:
    first = next(iter(rounds[0].values()))
    stored = {place: piece.schedule for piece, place in zip(first.pieces, first.layer_of, strict=True)}
    layers = tuple(
        WholeLayer(whole.name, stored[place].kind, layer_shape(whole), stored[place].stored_bits)
        for place, whole in enumerate(network.trace.layers)
    )
    slots: list[Slot] = []
    order: list[int] = []
    traced: list[Mapping[int, TraceLayer]] = []
    for row in rounds:
        places = next(iter(row.values())).layer_of
        order += places
        for number in range(len(places)):
            slots.append(Slot({core: own.pieces[number] for core, own in row.items()}, "weights"))
            traced.append({core: own.traced[number] for core, own in row.items() if own.traced})
    return Program(
        tuple(slots), tuple(order), layers, (divided,) * len(layers), (0,) * len(slots), *made, fused=first.fused,
        traced=tuple(traced) if first.fused else (),
    )  # fmt: skip


def by_inputs_at_full_rate(hardware: HardwareConfig, network: Network) -> Program:
    """Return the same, each core mapped as if it had the memory for itself."""
    return by_inputs(hardware, network, share=1)
