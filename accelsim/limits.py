"""What holds a run up: each resource's share of the time, and the time with twice as much of that resource.

The tilings of the run stay, but for a larger array, which they would not fill; the table of stations is made again for
a chip with twice as much of one resource, and solved. A larger array comes with the ports that feed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import AccelSimError
from accelsim.mapping.loops import Tiling
from accelsim.pipeline import batch_groups, built_for, schedule_network, simulate
from accelsim.results.build import build_result
from accelsim.results.model import RunResult
from accelsim.sim.counters import Counters, LayerCounters, ResourceLimit
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace

_CAUSES = {
    "memory_bandwidth": ("wait_dram",),
    "pe_array": ("compute", "weight_load", "fill_drain"),
    "weight_generator": ("wait_generator",),
    "mask_decoder": ("wait_decoder",),
    "vector_unit": ("wait_vector",),
}
BUFFERS = ("activation_buffer", "weight_buffer", "mask_buffer", "accumulator")
MOST_STEPS = 100_000  # of a network; ResNet-50 has some thousand, and solving it once takes a tenth of a second
_MADE = ("weight_generator", "mask_decoder")


def with_limits(
    counters: Counters, hardware: HardwareConfig, trace: LayerTrace, fixed: Mapping[str, Tiling] | None = None
) -> Counters:
    """Return the counters of a run of ``trace`` on ``hardware`` with what each resource costs it.

    Left out are resources that the run does not use and those of which a chip cannot have twice as much; all of them
    with DRAM that has its own timing, and above `MOST_STEPS`: each would take as long as the run. The share of a
    capacity is 0: what it costs shows as traffic.

    Parameters
    ----------
    fixed
        Tilings that the user states: they stay for a larger array too.
    """
    if hardware.memory == "dram" and hardware.dram.model == "timing":
        return counters
    storage, latency = counters.storage, sum(layer.latency_cycles for layer in counters.layers)
    groups = batch_groups(hardware, trace, storage, fixed)
    hardware = built_for(hardware, trace, storage)
    schedules = [schedule_network(hardware, group.trace, storage, fixed)[0] for group in groups]
    if sum(layer.num_steps for schedule in schedules for layer in schedule.layers) > MOST_STEPS:
        return counters
    tilings = [_tilings(schedule) for schedule in schedules]
    found: dict[str, ResourceLimit] = {}
    for name, change in _doubled(hardware):
        unit = name.partition(".")[0]
        if unit in _MADE and not any(layer.busy_cycles.get(unit) for layer in counters.layers):
            continue
        stay = [fixed] * len(groups) if name == "pe_array" else tilings
        try:
            twice = HardwareConfig.model_validate(_merged(hardware.model_dump(), change))
            cycles = sum(
                _cycles(twice, group.trace, storage, kept) * group.times
                for group, kept in zip(groups, stay, strict=True)
            )
        except (AccelSimError, ValidationError):
            continue
        share = sum(_cycles_of(name, layer) for layer in counters.layers) / latency if latency else 0.0
        found[name] = ResourceLimit(share, cycles)
    return replace(counters, limits=found)


def run_with_limits(hardware: LoadedHardware, trace: LayerTrace, storage: str, *, exact: bool = False) -> RunResult:
    """Simulate and cost a network as `accelsim.pipeline.run` does, with what each resource costs the run."""
    counters = with_limits(simulate(hardware, trace, storage, exact=exact), hardware.config, trace)
    return build_result(hardware, trace, counters, evaluate(counters, hardware.config, load_tables()))


def _tilings(schedule: Schedule) -> dict[str, Tiling]:
    return {layer.name: layer.tiling for layer in schedule.layers if layer.tiling is not None}


def _cycles(hardware: HardwareConfig, trace: LayerTrace, storage: str, tilings: Mapping[str, Tiling] | None) -> int:
    """Return when the last layer ends: the mapper has solved every one behind the layer before."""
    return schedule_network(hardware, trace, storage, tilings)[1][-1].end.end_cycle


def _cycles_of(name: str, layer: LayerCounters) -> int:
    """Return the cycles of a layer that are put down to a resource."""
    unit, _, part = name.partition(".")
    if part == "ports":
        return layer.cycles_by_cause.get("buffer_ports", 0) if layer.port_limit == unit else 0
    return sum(layer.cycles_by_cause.get(cause, 0) for cause in _CAUSES.get(name, ()))


def _doubled(hardware: HardwareConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each resource with what to change of the chip so that there is twice as much of it."""
    array = hardware.pe_array
    if hardware.memory != "ideal":
        yield "memory_bandwidth", {"dram": {"num_channels": 2 * hardware.dram.num_channels}}
    # An array without the ports that feed it would be starved, whatever its size.
    ports = {name: _twice_the_ports(getattr(hardware, name)) for name in BUFFERS}
    if array.dataflow == "spatial":
        widest = max(array.unroll, key=lambda loop: array.unroll[loop])
        yield "pe_array", ports | {"pe_array": {"unroll": array.unroll | {widest: 2 * array.unroll[widest]}}}
    else:
        yield "pe_array", ports | {"pe_array": {"cols": 2 * array.cols}}
    if hardware.weight_generator is not None:
        yield "weight_generator", {"weight_generator": {"num_lanes": 2 * hardware.weight_generator.num_lanes}}
    if hardware.mask_decoder is not None:
        decoder = hardware.mask_decoder
        rates = {name: 2 * getattr(decoder, name) for name in ("positions_per_cycle", "symbols_per_cycle")}
        yield "mask_decoder", {"mask_decoder": rates}
    yield "vector_unit", {"vector_unit": {"num_lanes": 2 * hardware.vector_unit.num_lanes}}
    if hardware.memory != "ideal":
        for name in BUFFERS:
            yield f"{name}.ports", {name: ports[name]}
            if name == "accumulator" and hardware.sums_in_activation_buffer:
                continue
            twice = {"capacity_bytes": 2 * getattr(hardware, name).capacity_bytes}
            shared = (
                {"accumulator": twice} if name == "activation_buffer" and hardware.sums_in_activation_buffer else {}
            )
            yield f"{name}.capacity", {name: twice} | shared


def _twice_the_ports(buffer: BufferConfig) -> dict[str, int]:
    bus = buffer.bus_bits_per_cycle
    return {"num_banks": 2 * buffer.num_banks} | ({} if bus is None else {"bus_bits_per_cycle": 2 * bus})


def _merged(tree: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return tree | {name: tree[name] | part if isinstance(part, dict) else part for name, part in change.items()}
