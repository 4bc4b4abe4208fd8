"""The whole flow: a trace and a chip in, a result out. Read this first.

trace -> storage plans -> schedule -> simulation -> counters -> cost -> result
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError, TraceError
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import MappedLayer
from accelsim.mapping.network import map_network
from accelsim.results.build import build_result
from accelsim.results.model import RunResult
from accelsim.sim.counters import Counters
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
    """Return how often each unit did what, and where the cycles went; no energy yet."""
    schedule, _ = schedule_network(hardware.config, trace, storage, fixed)
    return run_schedule(schedule, hardware.config, exact=exact, probe=probe, tap=tap)


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
