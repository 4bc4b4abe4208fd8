"""A network on several cores: who works on what, chosen by the closed form and decided by the solver.

Candidates are: all cores on one layer after the other, each layer divided by what its estimate likes best (or as the
chip's description says); the inputs of a batch divided, each core running the network for its own; and one core alone,
as on a chip that has no other, so that further cores make no run worse by the chip's objective. Where nothing but time
counts, the same is tried on fewer cores than there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelsim.config.hardware import HardwareConfig
from accelsim.core_bound import LeastWork, least_work
from accelsim.core_layers import by_layers
from accelsim.core_pipeline import by_stages
from accelsim.core_program import ONE_CORE, Network, Program
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.groups import Group
from accelsim.mapping.build import in_one, layer_shape
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import shares
from accelsim.mapping.network import check_units, kinds_of, map_network
from accelsim.names import suggest
from accelsim.sim.cores import (
    PieceRun,
    SystemRun,
    WholeLayer,
    core_counters,
    core_of_one,
    decisive,
    run_system,
    whole_layer,
)
from accelsim.sim.counters import Counters
from accelsim.sim.run import UNWATCHED, Watch
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace

__all__ = ["Network", "Program", "Watch", "best_program", "by_layers", "counters_of", "run_on_cores", "whole_program"]


# With latency as objective a network is tried on fewer cores too: one less, powers of two, and all numbers up to FEW;
# after one that takes FAR times what is best, on powers of two alone, and after two on no more.
FEW, FAR = 8, 1.25


def run_on_cores(hardware: HardwareConfig, network: Network, watch: Watch = UNWATCHED) -> Counters:
    """Return the counters of the best way to run a network on all cores.

    Raises
    ------
    MappingError
        A layer fits no core, or nothing can be divided as the chip's description says.
    """
    program, counters = best_program(hardware, network)
    if watch == UNWATCHED:
        return counters
    seen = _counted(hardware, network, program or whole_program(core_chip(hardware, 1, None), network), watch)
    return replace(seen, lower_bound_cycles=counters.lower_bound_cycles)


def best_program(hardware: HardwareConfig, network: Network) -> tuple[Program | None, Counters]:
    """Return what the cores do, and its counters; None: one core alone is best. Raises as `run_on_cores`."""
    check_units(network.plans, network.storage, hardware)
    least = least_work(hardware, network)
    found: list[tuple[float, Program | None, Counters]] = []
    failure: MappingError | None = None
    values: list[float] = []  # the best on each number of cores that was tried
    for number in _numbers_tried(hardware):
        if values and least is not None and min(values) <= least.cycles(number):
            break
        if _is_left_out(number, values):
            continue
        # Cores that are left out stand still: the others have what a chip of their number has.
        part = hardware if number == hardware.num_cores else hardware.model_copy(update={"num_cores": number})
        before = len(found)
        for make in _candidates(part, network.trace):
            try:
                program = make(part, network)
            except MappingError as error:
                failure = failure or error
                continue
            counters = _counted(hardware, network, program, UNWATCHED)
            found.append((network.cost(counters), program, counters))
        values += [min(value for value, _, _ in found[before:])] if len(found) > before else []
    is_pipeline = hardware.mapping.schedule == "pipeline"
    if hardware.mapping.split == "auto" and not is_pipeline and not _is_beaten(least, hardware, found):
        try:
            counters = core_of_one(network.alone(core_chip(hardware, 1, None), network.trace), hardware.num_cores)
            found.append((network.cost(counters), None, counters))
        except MappingError as error:
            failure = failure or error
    if not found:
        raise failure or MappingError(f"{network.trace.name}: nothing to divide among {hardware.num_cores} cores")
    _, best, counters = min(found, key=lambda each: each[0])
    bound = None if least is None else least.cycles(hardware.num_cores)
    return best, replace(counters, lower_bound_cycles=bound)


def _numbers_tried(hardware: HardwareConfig) -> list[int]:
    """Return on how many cores a network is tried, all first: fewer where nothing but time counts.

    With other objectives a core that stands still has its price, and one alone is tried beside all of them.
    """
    number, mapping = hardware.num_cores, hardware.mapping
    if mapping.objective != "latency" or mapping.split != "auto" or mapping.schedule == "pipeline":
        return [number]
    return [each for each in range(number, 1, -1) if each <= FEW or each >= number - 1 or each & (each - 1) == 0]


def _is_left_out(number: int, values: list[float]) -> bool:
    """Return whether a number of cores is not worth trying, after what larger ones took."""
    are_far = [value > FAR * min(values) for value in values[-2:]]
    return bool(are_far) and are_far[-1] and (all(are_far) or number & (number - 1) != 0)


def _is_beaten(
    least: LeastWork | None, hardware: HardwareConfig, found: list[tuple[float, Program | None, Counters]]
) -> bool:
    """Return whether one core alone cannot be better than what has been found, so that it need not be tried."""
    return least is not None and any(value <= least.value(hardware) for value, _, _ in found)


def _candidates(hardware: HardwareConfig, trace: LayerTrace) -> list[Callable[[HardwareConfig, Network], Program]]:
    """Return what is tried, beside one core alone."""
    if hardware.mapping.schedule == "pipeline":
        return [_by_stages]
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


def _by_stages(hardware: HardwareConfig, network: Network) -> Program:
    """Return the cores as a pipeline."""
    return by_stages(hardware, network, lambda program: network.cost(_counted(hardware, network, program, UNWATCHED)))


def _counted(hardware: HardwareConfig, network: Network, program: Program, watch: Watch) -> Counters:
    run = run_system(
        program.slots, hardware, exact=watch.exact, probe=watch.probe, tap=watch.tap, layer_of=program.layer_of
    )
    return counters_of(program, run, hardware, network)


def counters_of(program: Program, run: SystemRun, hardware: HardwareConfig, network: Network) -> Counters:
    """Return the counters of a run on several cores.

    Where cores wait for each other behind each layer, a layer lasts from the last core's end of the one before to the
    last core's own; where each runs for itself, layers last as on the core that ends last; those of a pipeline have the
    cycles in which the end of the run waited for them (`accelsim.sim.cores.decisive`).
    """
    every: list[list[PieceRun]] = [[] for _ in program.layers]
    own: list[list[PieceRun]] = [[] for _ in program.layers]
    by_slot: list[list[PieceRun]] = [[] for _ in program.slots]
    for piece in run.pieces:
        by_slot[piece.piece.slot].append(piece)
        every[program.layer_of[piece.piece.slot]].append(piece)
    last = max(run.pieces, key=lambda one: (one.account.end_cycle, -one.piece.core)).piece.core
    if program.round_of:
        for one in decisive(run, program.slots):
            own[program.layer_of[one.piece.slot]].append(one)
    elif program.waits:
        for pieces, layer in zip(by_slot, program.layer_of, strict=True):
            own[layer].append(max(pieces, key=lambda one: (one.account.end_cycle, -one.piece.core)))
    else:
        for one in run.pieces:
            if one.piece.core == last:
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
        cores=core_counters(run, hardware.num_cores, {}),
        first_input_cycles=_first_input(program, run),
    )


def _first_input(program: Program, run: SystemRun) -> int | None:
    """Return when the first of the inputs that stream through a pipeline has left it; None: there are no others."""
    if not program.round_of or max(program.round_of) == 0:
        return None
    return max(one.account.end_cycle for one in run.pieces if program.round_of[one.piece.slot] == 0)


def whole_program(chip: HardwareConfig, network: Network) -> Program:
    """Return a network on the first core alone, in the groups of inputs that a chip with one core takes."""
    rounds = [{0: pieces} for pieces in _rounds(chip, network, network.trace)]
    return _of_rounds(rounds, network, ONE_CORE)


def by_inputs(hardware: HardwareConfig, network: Network, share: int = 0) -> Program:
    """Return each core with inputs of its own, waiting for no other; mapped for its ``share`` of the bandwidth."""
    trace = network.trace
    num_active = min(hardware.num_cores, trace.copies)
    chip = core_chip(hardware, share or num_active, "weights", num_active)
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
        schedule, _ = map_network(group.trace, network.plans, network.storage, chip, prices, network.fixed)
        found += [tuple(Piece(in_one(layer)) for layer in schedule.layers)] * group.times
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
