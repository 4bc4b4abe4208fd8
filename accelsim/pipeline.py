"""The whole flow: a trace and a chip in, a result out. Read this first.

trace -> storage plans -> schedule -> simulation -> counters -> cost -> result

A batch goes through the middle of it in groups of inputs (`accelsim.groups`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError, TraceError
from accelsim.groups import Group, best_groups, group_sizes, one_after_other
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import MappedLayer
from accelsim.mapping.network import map_network
from accelsim.results.build import build_result
from accelsim.results.model import RunResult
from accelsim.rivals import with_fitting_decoder
from accelsim.sim.counters import Counters, DecoderWidth
from accelsim.sim.run import run_schedule
from accelsim.storage import get_format, plan_layers
from accelsim.storage.base import WeightPlan
from accelsim.timing.accounts import Probe
from accelsim.timing.memory import MemoryModel
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace


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
    groups, known = _groups(chip, trace, storage, fixed)
    if known is not None and not exact and probe is None and tap is None:
        return _with_decoder(known, chip, hardware.config)
    parts = []
    for number, group in enumerate(groups):
        schedule, _ = schedule_network(chip, group.trace, storage, fixed)
        seen = (probe, tap) if number == 0 else (None, None)
        parts.append((run_schedule(schedule, chip, exact=exact, probe=seen[0], tap=seen[1]), group.times))
    return _with_decoder(one_after_other(parts, trace), chip, hardware.config)


def built_for(hardware: HardwareConfig, trace: LayerTrace, storage: str) -> HardwareConfig:
    """Return the chip as it is built for a storage format: a rival's decoder is wide enough (`accelsim.rivals`)."""
    return _built_for(hardware.model_dump_json(), trace, storage)


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
    """Return how a batch goes through the chip; all at once where tilings are stated, for they state its part too."""
    return _groups(built_for(hardware, trace, storage), trace, storage, fixed)[0]


def _groups(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None
) -> tuple[tuple[Group, ...], Counters | None]:
    if trace.copies == 1 or fixed:
        return (Group(trace, 1),), None
    return _best_groups(hardware.model_dump_json(), trace, storage)


@lru_cache(maxsize=16)
def _best_groups(hardware_json: str, trace: LayerTrace, storage: str) -> tuple[tuple[Group, ...], Counters]:
    """Return the groups that the mapper's objective likes best, and their counters; the last few are kept."""
    hardware = HardwareConfig.model_validate_json(hardware_json)

    def counted(group: LayerTrace) -> Counters:
        return run_schedule(schedule_network(hardware, group, storage)[0], hardware)

    def cost(counters: Counters) -> float:
        objective = hardware.mapping.objective
        if objective == "dram_bytes":
            return sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in counters.layers)
        cycles = sum(layer.latency_cycles for layer in counters.layers)
        energy_j = 1.0
        if objective != "latency":
            energy_j = sum(evaluate(counters, hardware, load_tables()).energy_j_by_unit.values())
        return energy_j * (1 if objective == "energy" else cycles)

    return best_groups(trace, group_sizes(trace, layer_plans(trace, storage), hardware), counted, cost)


def schedule_network(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None = None
) -> tuple[Schedule, tuple[MappedLayer, ...]]:
    """Return the schedule of a network and the closed-form latency of each layer; an error names the network's file."""
    plans = layer_plans(trace, storage)
    try:
        return map_network(trace, plans, storage, hardware, mapping_prices(hardware, load_tables()), fixed)
    except MappingError as error:
        if any(str(error).startswith(f"{layer.name}: ") for layer in trace.layers):
            raise MappingError(f"{trace.path or trace.name}: {error}") from error
        raise


def layer_plans(trace: LayerTrace, storage: str) -> dict[str, WeightPlan]:
    """Return for each weighted layer how its weights are stored and reach the array."""
    if not trace.layers:
        raise TraceError(
            f"{trace.path or trace.name}: none of its operations computes anything; give a network that does"
        )
    plans = plan_layers(get_format(storage), trace.layers)
    return {layer.name: plan for layer, plan in zip(trace.layers, plans, strict=True) if plan is not None}
