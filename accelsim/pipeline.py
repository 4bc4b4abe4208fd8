"""The whole flow: a trace and a chip in, a result out. Read this first.

trace -> storage plans -> schedule -> simulation -> counters -> cost -> result

A batch goes through the middle of it in groups of inputs (`accelsim.groups`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError, TraceError
from accelsim.groups import Group, Prices, best_groups, group_sizes, one_after_other
from accelsim.mapping.fuse import choose_groups
from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import MappedLayer, forget_times, recalled
from accelsim.mapping.network import Shortlists, activation_bits_of, map_network
from accelsim.mapping.prices import EnergyPrices, objective
from accelsim.repeated import BlockNetwork, Map, Mapped, expanded, named, repeats, run_repeated
from accelsim.results.build import build_result
from accelsim.results.model import RunResult
from accelsim.rivals import with_fitting_decoder
from accelsim.sim.counters import Counters, DecoderWidth, Tokens
from accelsim.sim.parts import SolvedLayers
from accelsim.sim.run import UNWATCHED, Watch, run_schedule, run_solved
from accelsim.storage import get_format, plan_layers
from accelsim.storage.base import WeightPlan
from accelsim.timing.accounts import Probe
from accelsim.timing.memory import MemoryModel, bytes_per_cycle
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace

if TYPE_CHECKING:
    from accelsim.cores.program import Network
    from accelsim.cores.run import Best


def run(hardware: LoadedHardware, trace: LayerTrace, storage: str, *, exact: bool = False) -> RunResult:
    """Simulate a network on a chip in one storage format, and cost it.

    Raises
    ------
    AccelSimError
        The format cannot hold the network, or the chip cannot run it.
    """
    counters = simulate(hardware, trace, storage, exact=exact)
    cost = evaluate(counters, hardware.config, load_tables())
    return build_result(hardware, trace, counters, cost)


def simulate(
    hardware: LoadedHardware,
    trace: LayerTrace,
    storage: str,
    *,
    exact: bool = False,
    probe: Probe | None = None,
    fixed: Mapping[str, Tiling] | None = None,
    tap: Callable[[MemoryModel], MemoryModel] | None = None,
) -> Counters:
    """Return how often each unit did what, and where the cycles went; no energy yet.

    ``probe`` and ``tap`` see the first group of the batch, see `batch_groups`.
    """
    chip = built_for(hardware.config, trace, storage)
    if chip.num_cores > 1:
        return _with_decoder(_on_cores(chip, trace, storage, Watch(exact, probe, tap), fixed), chip, hardware.config)
    if trace.language is not None:
        run = _language_run(chip, trace, storage, fixed, Watch(exact, probe, tap))
        return _with_decoder(run, chip, hardware.config)
    groups, known = _groups(chip, trace, storage, fixed)
    if known is not None and not exact and probe is None and tap is None:
        return _with_decoder(known, chip, hardware.config)
    parts = []
    for number, group in enumerate(groups):
        schedule, _ = schedule_network(chip, group.trace, storage, fixed)
        seen = (probe, tap) if number == 0 else (None, None)
        parts.append((run_schedule(schedule, chip, exact=exact, probe=seen[0], tap=seen[1]), group.times))
    return _with_decoder(one_after_other(parts, trace), chip, hardware.config)


def _on_cores(
    chip: HardwareConfig, trace: LayerTrace, storage: str, watch: Watch, fixed: Mapping[str, Tiling] | None
) -> Counters:
    """Return the counters of a run on several cores (`accelsim.cores.run`); of a generation one run after the other."""
    from accelsim.cores.run import run_on_cores  # noqa: PLC0415  one core does not wait for it
    from accelsim.sim.cores import cores_after_each_other  # noqa: PLC0415

    steps = trace.steps
    every = [trace] if steps is None else [steps.trace(place) for place in range(len(steps))]
    runs = [
        run_on_cores(
            chip,
            network_on_cores(chip, part, storage, fixed),
            best_on_cores(chip, part, storage, fixed),
            watch if place == 0 else UNWATCHED,
        )
        for place, part in enumerate(every)
    ]
    counters = runs[0]
    if len(runs) > 1:
        whole = named(one_after_other([(run, 1) for run in runs], trace), trace)
        counters = replace(whole, cores=cores_after_each_other([run.cores for run in runs]), first_input_cycles=None)
    return replace(counters, tokens=tokens_of(trace, runs[0]))


def best_on_cores(
    chip: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None = None
) -> Best:
    """Return the best way to run a network on all cores, as `accelsim.cores.best_program`; the last two are kept.

    Raises
    ------
    MappingError
        The cores are for networks of their own.
    """
    from accelsim.cores.run import best_program  # noqa: PLC0415  one core does not wait for it

    if chip.mapping.schedule == "tenants":
        raise MappingError(
            f"{chip.name}: mapping.schedule: tenants: cores have networks of their own, and this is one; give two or "
            "more with run --tenants, or set mapping.schedule=layer_by_layer"
        )
    if fixed:
        return best_program(chip, network_on_cores(chip, trace, storage, fixed))
    return _known_best(chip.model_dump_json(), trace, storage)


@lru_cache(maxsize=2)
def _known_best(hardware_json: str, trace: LayerTrace, storage: str) -> Best:
    from accelsim.cores.run import best_program  # noqa: PLC0415

    chip = HardwareConfig.model_validate_json(hardware_json)
    return best_program(chip, network_on_cores(chip, trace, storage))


def network_on_cores(
    chip: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None = None
) -> Network:
    """Return a network in a storage format as `accelsim.cores.run` and `accelsim.tenants` take it.

    Raises
    ------
    MappingError
        What is run of it is many runs.
    """
    from accelsim.cores.program import Network  # noqa: PLC0415  one core does not wait for it

    if trace.steps is not None:
        raise MappingError(
            f"{chip.name}: num_cores: a generation is many runs, and this is one; state --phase prefill or decode"
        )

    def alone(core: HardwareConfig, part: LayerTrace, *, exact: bool = False) -> Counters:
        return simulate(LoadedHardware(core, "", ""), part, storage, exact=exact, fixed=fixed)

    def groups(core: HardwareConfig, part: LayerTrace) -> tuple[Group, ...]:
        return _groups(core, part, storage, fixed, stretches=False)[0]

    def fused(core: HardwareConfig, part: LayerTrace) -> tuple[FusedGroup, ...]:
        return fused_groups(core, part, storage, fixed)

    def cost(counters: Counters) -> float:
        return objective_of_run(counters, chip)

    return Network(trace, storage, layer_plans(trace, storage), alone, groups, fused, cost, fixed or {})


def _language_run(
    chip: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None, watch: Watch
) -> Counters:
    """Return the counters of a language model's run; blocks and layers that come again are mapped and solved once.

    Who watches, or states tilings, sees every layer run.
    """
    mapped, steps = mapper_of(chip, trace, storage, fixed), trace.steps
    prompt = planned_as(trace, 0)
    of_prompt = mapped if prompt is trace else mapper_of(chip, prompt, storage, fixed)
    solved = SolvedLayers(lambda layer, before: recalled(layer, before, chip))
    whole = BlockNetwork.of(trace)
    is_short = not fixed and watch == UNWATCHED and repeats(trace, layer_plans(trace, storage), chip)

    def one(network: BlockNetwork, place: int) -> Counters:
        way = mapped if place else of_prompt
        if not is_short:
            seen = (watch.probe, watch.tap) if place == 0 else (None, None)
            schedule = way(network.trace(network.num_blocks))[0]
            is_plain = watch == UNWATCHED and not chip.has_timed_dram and not schedule.layer_of
            if steps is not None and is_plain:  # else each step would run all layers
                return run_solved(schedule, chip, solved)
            return run_schedule(schedule, chip, exact=watch.exact, probe=seen[0], tap=seen[1])
        return expanded(run_repeated(network, chip, way, solved))

    runs = [one(whole, 0)] if steps is None else [
        one(BlockNetwork(whole.num_blocks, partial(steps.trace, place)), place) for place in range(len(steps))
    ]  # fmt: skip
    forget_times()
    counters = named(one_after_other([(run, 1) for run in runs], trace), trace)
    return replace(counters, tokens=tokens_of(trace, runs[0]))


def planned_as(trace: LayerTrace, place: int) -> LayerTrace:
    """Return the trace by which a step of a generation reads weights: a prompt hits more experts than one token."""
    if trace.steps is None or place or all(layer.weight_share is None for layer in trace.layers):
        return trace
    return trace.steps.trace(place)


def tokens_of(trace: LayerTrace, first: Counters) -> Tokens | None:
    """Return the tokens of a run of a language model whose first part (of a generation: the prompt) was ``first``."""
    language = trace.language
    if language is None:
        return None
    number, cycles = language.num_tokens * trace.num_inputs, sum(layer.latency_cycles for layer in first.layers)
    if language.phase == "generate":
        return Tokens(number + trace.num_inputs, number, cycles, cycles)
    return Tokens(number, number, 0, cycles if language.phase == "prefill" else None)


def built_for(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> HardwareConfig:
    """Return the chip as it is built for a storage format: a rival's decoder is wide enough (`accelsim.rivals`)."""
    return _built_for(hardware.model_dump_json(), trace.part_of or trace, storage)


@lru_cache(maxsize=64)
def _built_for(hardware_json: str, trace: LayerTrace, storage: str) -> HardwareConfig:
    hardware, plans = HardwareConfig.model_validate_json(hardware_json), layer_plans(trace, storage)
    return with_fitting_decoder(hardware, trace, plans, storage, lambda chip: mapping_prices(chip, load_tables()))


def _with_decoder(counters: Counters, built: HardwareConfig, stated: HardwareConfig) -> Counters:
    """Return the counters with the width of the decoder that a rival was given."""
    decoder = built.mask_decoder
    if decoder is None or decoder == stated.mask_decoder:
        return counters
    return replace(counters, decoder_width=DecoderWidth(decoder.positions_per_cycle, decoder.symbols_per_cycle))


def batch_groups(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None = None
) -> tuple[Group, ...]:
    """Return how a batch goes through the chip; all at once where tilings are stated, for they state its part too.

    Several cores divide a batch as they like (`accelsim.cores.run`): to who runs or draws it, it is one group.
    """
    if hardware.num_cores > 1:
        return (Group(trace, 1),)
    return _groups(built_for(hardware, trace, storage), trace, storage, fixed)[0]


def _groups(
    hardware: HardwareConfig,
    trace: LayerTrace,
    storage: str,
    fixed: Mapping[str, Tiling] | None,
    *,
    stretches: bool = True,
) -> tuple[tuple[Group, ...], Counters | None]:
    if trace.copies == 1 or fixed:
        return (Group(trace, 1),), None
    stretches = stretches and hardware.mapping.fuse == "none"  # a fused group stays whole
    return _best_groups(hardware.model_dump_json(), trace, storage, stretches)


@lru_cache(maxsize=16)
def _best_groups(
    hardware_json: str, trace: LayerTrace, storage: str, stretches: bool = True
) -> tuple[tuple[Group, ...], Counters]:
    """Return the groups that the mapper's objective likes best, and their counters; the last few are kept.

    Without ``stretches`` all layers have groups of one size.
    """
    hardware = HardwareConfig.model_validate_json(hardware_json)

    def counted(group: LayerTrace) -> Counters:
        return run_schedule(schedule_network(hardware, group, storage)[0], hardware)

    prices = Prices(
        lambda counters: objective_of_run(counters, hardware),
        lambda counters: _layer_costs(counters, hardware),
        lambda counters: _byte_costs(counters, hardware, trace, storage),
    )
    if not stretches:
        prices = replace(prices, layers=lambda _: (), bytes_=lambda _: ())
    return best_groups(trace, group_sizes(trace, layer_plans(trace, storage), hardware), counted, prices)


def _layer_costs(counters: Counters, hardware: HardwareConfig) -> tuple[list[float], ...]:
    """Return what each layer of a run costs, in the measures that make up the mapper's objective."""
    cycles: list[float] = [layer.latency_cycles for layer in counters.layers]
    match hardware.mapping.objective:
        case "latency":
            return (cycles,)
        case "dram_bytes":
            return ([layer.dram_read_bytes + layer.dram_write_bytes for layer in counters.layers],)
    by_layer = evaluate(counters, hardware, load_tables()).layer_energy_j_by_unit
    energies = [sum(units.values()) for units in by_layer]
    return (energies,) if hardware.mapping.objective == "energy" else (energies, cycles)


def _byte_costs(counters: Counters, hardware: HardwareConfig, trace: LayerTrace, storage: str) -> tuple[float, ...]:
    """Return what an activation costs that goes to memory or comes from there, in the measures of `_layer_costs`."""
    size = activation_bits_of(layer_plans(trace, storage), hardware) / 8
    cycles = size / float(bytes_per_cycle(hardware.dram, hardware.clock_mhz)) if hardware.memory != "ideal" else 0.0
    match hardware.mapping.objective:
        case "latency":
            return (cycles,)
        case "dram_bytes":
            return (size,)
    moved = counters.moved_bytes
    energy_j = evaluate(counters, hardware, load_tables()).energy_j_by_unit["dram"] / max(1, moved) * size
    return (energy_j,) if hardware.mapping.objective == "energy" else (energy_j, cycles)


def objective_of_run(counters: Counters, hardware: HardwareConfig) -> float:
    """Return what the mapper's objective says of a run: the less the better."""

    def energy_j() -> float:
        return sum(evaluate(counters, hardware, load_tables()).energy_j_by_unit.values())

    cycles = sum(layer.latency_cycles for layer in counters.layers)
    return objective(hardware.mapping.objective, cycles, counters.moved_bytes, energy_j)


def schedule_network(
    hardware: HardwareConfig,
    trace: LayerTrace,
    storage: str,
    fixed: Mapping[str, Tiling] | None = None,
    groups: tuple[FusedGroup, ...] | None = None,
    shortlists: Shortlists | None = None,
) -> tuple[Schedule, tuple[MappedLayer, ...]]:
    """Return the schedule of a network and the closed-form latency of each layer; an error names the network's file.

    ``groups`` are layers that are fused; None: as the chip's description says. ``shortlists`` as of `map_network`.
    """
    made = layer_plans(trace, storage), mapping_prices(hardware, load_tables())
    return _mapped(hardware, trace, storage, made, fixed, groups, shortlists)


def mapper_of(
    hardware: HardwareConfig,
    trace: LayerTrace,
    storage: str,
    fixed: Mapping[str, Tiling] | None = None,
    shortlists: Shortlists | None = None,
) -> Map:
    """Return what schedules parts of a network: `schedule_network` for many traces that have their layers of it."""
    plans, prices = layer_plans(trace, storage), mapping_prices(hardware, load_tables())

    def mapped(part: LayerTrace) -> Mapped:
        own = {layer.name: plans[layer.name] for layer in part.layers if layer.name in plans}
        return _mapped(hardware, part, storage, (own, prices), fixed, None, shortlists)

    return mapped


def _mapped(
    hardware: HardwareConfig,
    trace: LayerTrace,
    storage: str,
    made: tuple[Mapping[str, WeightPlan], EnergyPrices],
    fixed: Mapping[str, Tiling] | None,
    groups: tuple[FusedGroup, ...] | None = None,
    shortlists: Shortlists | None = None,
) -> Mapped:
    try:
        if groups is None:
            groups = fused_groups(hardware, trace, storage, fixed)
        return map_network(trace, made[0], storage, hardware, made[1], fixed, groups, shortlists)
    except MappingError as error:
        if any(str(error).startswith(f"{layer.name}: ") for layer in trace.layers):
            raise MappingError(f"{trace.path or trace.name}: {error}") from error
        raise


def fused_groups(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None = None
) -> tuple[FusedGroup, ...]:
    """Return the layers that are fused, as the chip's description says; ``auto``: no group that is no better.

    Better is a run with a lower objective and no more DRAM bytes.

    Raises
    ------
    MappingError
        A group that is stated cannot be fused, or does not fit.
    """
    if hardware.mapping.fuse == "none" or hardware.memory == "ideal":
        return ()
    if fixed:
        return _fused_groups(hardware, trace, storage, fixed)
    return _known_groups(hardware.model_dump_json(), trace, storage)


@lru_cache(maxsize=32)
def _known_groups(hardware_json: str, trace: LayerTrace, storage: str) -> tuple[FusedGroup, ...]:
    return _fused_groups(HardwareConfig.model_validate_json(hardware_json), trace, storage, None)


def _fused_groups(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None
) -> tuple[FusedGroup, ...]:
    plans, prices = layer_plans(trace, storage), mapping_prices(hardware, load_tables())

    def cost(each: tuple[FusedGroup, ...]) -> tuple[float, int]:
        schedule, _ = map_network(trace, plans, storage, hardware, prices, fixed, each)
        counters = run_schedule(schedule, hardware, engine="solver")
        return objective_of_run(counters, hardware), counters.moved_bytes

    return choose_groups(trace, plans, hardware, prices, cost, fixed)


def layer_plans(trace: LayerTrace, storage: str) -> dict[str, WeightPlan]:
    """Return for each weighted layer how its weights are stored and reach the array; a part has its network's."""
    trace = trace.part_of or trace
    if not trace.layers:
        raise TraceError(
            f"{trace.path or trace.name}: none of its operations computes anything; give a network that does"
        )
    return dict(_plans(trace, storage))


@lru_cache(maxsize=64)
def _plans(trace: LayerTrace, storage: str) -> tuple[tuple[str, WeightPlan], ...]:
    plans = plan_layers(get_format(storage), trace.layers)
    return tuple((layer.name, plan) for layer, plan in zip(trace.layers, plans, strict=True) if plan is not None)
