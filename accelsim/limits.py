"""What holds a run up: each resource's share of the time, and the time with twice as much of that resource.

The table of stations is made again for a chip with twice as much of one resource, and solved. The tilings of the run
stay, but for a larger array and for larger buffers, which they would not fill. A larger array comes with the ports that
feed it; rows or columns are doubled, whichever helps more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.errors import AccelSimError
from accelsim.mapping.bound import LowerBound, NetworkBound, lower_bound
from accelsim.mapping.fusion import FusedGroup, groups_of
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import forget_times
from accelsim.mapping.network import network_tasks, residency_of
from accelsim.pipeline import batch_groups, built_for, layer_plans, mapper_of, schedule_network
from accelsim.repeated import BlockNetwork, bound_repeated, map_repeated, repeats
from accelsim.sim.counters import Counters, LayerCounters, ResourceLimit
from accelsim.sim.run import run_schedule
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
MOST_TIMED_BYTES = 1 << 25
"""Of a run whose DRAM has its own timing: a megabyte takes up to 0.7 s, and each trial runs it again."""
MOST_STEPS = 100_000  # of a network; ResNet-50 has some thousand, and solving it once takes a tenth of a second
LITTLE = 0.005
_ALWAYS = ("memory_bandwidth", "pe_array")
"""Tried for language models too where hardly anything waits for them; each trial maps a large network again."""
MADE = ("weight_generator", "mask_decoder")


def with_limits(
    counters: Counters, hardware: HardwareConfig, trace: LayerTrace, fixed: Mapping[str, Tiling] | None = None
) -> Counters:
    """Return the counters of a run of ``trace`` on ``hardware`` with what each resource costs it.

    Left out are resources that the run does not use and those of which a chip cannot have twice as much, of a language
    model also those that hardly anything waits for, but for memory and array; all of them with DRAM that has its own
    timing above `MOST_TIMED_BYTES`, and above `MOST_STEPS`: each would take as long as the run. The share of a capacity
    is 0: what it costs shows as traffic and as filling of the array. Twice of anything never takes longer: half of it
    may lie idle. It is said to save nothing, untried, where the run takes 0.5 % longer at the most than what it cannot
    shorten: what memory or array need whatever the tilings, or the steps of the array with the tilings of the run. Of a
    generation the prompt and the token in the middle of the answer stand for all.

    Parameters
    ----------
    fixed
        Tilings that the user states: they stay for a larger array too.
    """
    moved = sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in counters.layers)
    if hardware.has_timed_dram and moved > MOST_TIMED_BYTES:
        return counters
    storage, latency = counters.storage, sum(layer.latency_cycles for layer in counters.layers)
    parts = _parts(hardware, trace, storage, fixed)
    hardware = built_for(hardware, trace, storage)
    mapped = [_mapped(hardware, part, storage, _Stated(fixed)) for part in parts]
    if sum(each.num_steps for each in mapped) > MOST_STEPS:
        return counters
    # Of a generation one step stands for all tokens: its cycles are those of the run in the mean only.
    whole = latency / max(1, sum(each.cycles * part.times for each, part in zip(mapped, parts, strict=True)))
    found: dict[str, ResourceLimit] = {}
    bound = NetworkBound()
    for each, part in zip(mapped, parts, strict=True):
        bound += each.bound.times(part.times)
    near = latency <= (1 + LITTLE) * bound.cycles  # what no tiling can beat, whatever the buffers
    for name, changes in doubled(hardware):
        unit, _, part_of_unit = name.partition(".")
        share = sum(cycles_of(name, layer) for layer in counters.layers) / latency if latency else 0.0
        if trace.language is not None and share < LITTLE and not always_tried(name):
            continue
        if unit in MADE and not any(layer.busy_cycles.get(unit) for layer in counters.layers):
            continue
        anew = name == "pe_array" or (part_of_unit == "capacity" and not near)
        if trace.steps is None and (_is_idle(name, bound, latency) or not may_help(name, counters, anew)):
            found[name] = ResourceLimit(share, latency)
            continue
        tilings = [_Stated(fixed if anew else each.tilings, each.groups) for each in mapped]
        times: list[int] = []
        for change in changes:
            # Fused layers move less than the bound of each knows of.
            is_bounded = anew and not any(each.groups for each in mapped)
            least = min(times, default=math.inf) if is_bounded else math.inf
            cycles = _cycles_with(hardware, change, parts, storage, tilings, least)
            times += [cycles] if cycles is not None else []
        if times:
            cycles = min(times) if trace.steps is None else round(min(times) * whole)
            found[name] = ResourceLimit(share, min(cycles, latency))
    forget_times()
    return replace(counters, limits=found)


def always_tried(name: str) -> bool:
    """Return whether a resource is tried wherever trials are long, though hardly anything waits for it."""
    return name in _ALWAYS


def _is_idle(name: str, bound: NetworkBound, latency: int) -> bool:
    """Return whether twice of a resource can hardly save time: the run is near what another one alone takes."""
    unit, _, part = name.partition(".")
    if latency <= (1 + LITTLE) * bound.dram_cycles:  # a larger buffer may hold what else goes to memory
        return unit != "memory_bandwidth" and part != "capacity"
    if latency <= (1 + LITTLE) * bound.array_cycles:  # with the ports that feed the array
        return unit in ("memory_bandwidth", "vector_unit", *MADE)
    return False


def may_help(name: str, counters: Counters, anew: bool) -> bool:
    """Return whether twice of a resource can save time; with the tilings of the run, where it is not mapped ``anew``.

    The array's steps, with the stalls at the ports that feed it, follow from the tilings alone, and are never shorter.
    Ports that cost no step a stall show nowhere else, but those of the activation buffer in layers on the vector unit,
    and those of the mask buffer in the decoder's time.
    """
    if name.startswith("mask_buffer.") and not any(layer.busy_cycles.get("mask_decoder") for layer in counters.layers):
        return False  # nothing is decoded, and nothing lies in it
    if anew:
        return True
    if name in ("weight_buffer.ports", "accumulator.ports") and not sum(
        layer.cycles_by_cause.get("buffer_ports", 0) for layer in counters.layers
    ):
        return False
    rest = _CAUSES["pe_array"] + ("call_overhead",) + (() if name.endswith(".ports") else ("buffer_ports",))
    least = sum(layer.cycles_by_cause.get(cause, 0) for layer in counters.layers for cause in rest)
    return sum(layer.latency_cycles for layer in counters.layers) > (1 + LITTLE) * least


@dataclass(frozen=True, slots=True)
class _Part:
    """What runs one after the other, and how often: groups of a batch, or the prompt and a token of an answer."""

    trace: LayerTrace
    times: int
    network: BlockNetwork | None = None


def _cycles_with(
    hardware: HardwareConfig,
    change: Mapping[str, Any],
    parts: Sequence[_Part],
    storage: str,
    tilings: Sequence[_Stated],
    least: float,
) -> int | None:
    """Return the cycles of all parts on a changed chip; None where there is no such chip, or it cannot run them.

    None too where no tiling could take less than ``least`` cycles.
    """
    try:
        changed = HardwareConfig.model_validate(merged(hardware.model_dump(), change))
        if least < math.inf and sum(_bound(changed, part, storage) * part.times for part in parts) >= least:
            return None
        return sum(
            _mapped(changed, part, storage, stated).cycles * part.times
            for part, stated in zip(parts, tilings, strict=True)
        )
    except (AccelSimError, ValidationError):
        return None


@dataclass(frozen=True, slots=True)
class _Stated:
    """What the mapper is told: tilings by layer, and which layers are fused (None: as the chip's description says)."""

    tilings: Mapping[str, Tiling] | None
    groups: tuple[FusedGroup, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A part as it is mapped: tilings by layer, fused layers, tiles of all that was mapped, its end, its bound."""

    tilings: dict[str, Tiling]
    groups: tuple[FusedGroup, ...]
    num_steps: int
    cycles: int
    bound: NetworkBound


def _parts(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling] | None
) -> list[_Part]:
    if trace.language is None:
        return [_Part(group.trace, group.times) for group in batch_groups(hardware, trace, storage, fixed)]
    whole, steps = BlockNetwork.of(trace), trace.steps
    is_short = not fixed and repeats(trace, layer_plans(trace, storage), hardware)
    if steps is None:
        return [_Part(trace, 1, whole if is_short else None)]
    number = len(steps)
    places = [(0, 1), (number // 2, number - 1)] if number > 1 else [(0, 1)]
    if not is_short:
        return [_Part(steps.trace(place), times) for place, times in places]
    return [_Part(trace, times, BlockNetwork(whole.num_blocks, partial(steps.trace, place))) for place, times in places]


def _mapped(hardware: HardwareConfig, part: _Part, storage: str, stated: _Stated) -> _Mapping:
    """Return how a part is mapped: the mapper has solved every layer behind the one before."""
    if part.network is None:
        schedule, mapped = schedule_network(hardware, part.trace, storage, stated.tilings, stated.groups)
        steps = sum(layer.num_steps for layer in schedule.layers)
        bound = NetworkBound.of(item.bound for item in mapped if item.bound is not None)
        # The mapper has solved it, but with the memory of one rate.
        cycles = mapped[-1].end.end_cycle
        if hardware.has_timed_dram:
            cycles = sum(layer.latency_cycles for layer in run_schedule(schedule, hardware).layers)
        return _Mapping(_tilings(schedule), groups_of(schedule.fused), steps, cycles, bound)
    found = map_repeated(part.network, mapper_of(hardware, part.trace, storage, stated.tilings))
    steps = sum(layer.num_steps for layer in found.schedule.layers)
    return _Mapping(_tilings(found.schedule), (), steps, found.cycles, found.bound)


def _bound(hardware: HardwareConfig, part: _Part, storage: str) -> int:
    """Return what no tiling of a part can beat."""
    plans = layer_plans(part.trace, storage)  # of the whole network: activations are as wide in each stretch of it

    def bounds(trace: LayerTrace) -> list[LowerBound]:
        tasks = network_tasks(trace, plans, hardware, residency_of(trace, plans, hardware))
        return [lower_bound(task) for task in tasks]

    if part.network is None:
        return NetworkBound.of(bounds(part.trace)).cycles
    return bound_repeated(part.network, bounds).cycles


def _tilings(schedule: Schedule) -> dict[str, Tiling]:
    """Return the tiling of each layer; of a fused one that of the piece with most rows, to which all others are cut."""
    found: dict[str, Tiling] = {}
    for layer in schedule.layers:
        known = found.get(layer.name)
        if layer.tiling is not None and (known is None or layer.tiling.P > known.P):
            found[layer.name] = layer.tiling
    return found


def cycles_of(name: str, layer: LayerCounters) -> int:
    """Return the cycles of a layer that are put down to a resource."""
    unit, _, part = name.partition(".")
    if part == "ports":
        return layer.cycles_by_cause.get("buffer_ports", 0) if layer.port_limit == unit else 0
    return sum(layer.cycles_by_cause.get(cause, 0) for cause in _CAUSES.get(name, ()))


def doubled(hardware: HardwareConfig) -> Iterator[tuple[str, tuple[dict[str, Any], ...]]]:
    """Yield each resource with what to change of the chip so that there is twice as much of it, each way to do so."""
    array = hardware.pe_array
    if hardware.memory != "ideal":
        yield "memory_bandwidth", ({"dram": {"num_channels": 2 * hardware.dram.num_channels}},)
    # An array without the ports that feed it would be starved, whatever its size.
    ports = {name: _twice_the_ports(getattr(hardware, name)) for name in BUFFERS}
    if array.dataflow == "spatial":
        widest = sorted(array.unroll, key=lambda loop: -array.unroll[loop])[:2]
        larger: list[dict[str, Any]] = [{"unroll": array.unroll | {loop: 2 * array.unroll[loop]}} for loop in widest]
    else:
        larger = [{"cols": 2 * array.cols}, {"rows": 2 * array.rows}]
    yield "pe_array", tuple(ports | {"pe_array": each} for each in larger)
    if hardware.weight_generator is not None:
        yield "weight_generator", ({"weight_generator": {"num_lanes": 2 * hardware.weight_generator.num_lanes}},)
    if hardware.mask_decoder is not None:
        decoder = hardware.mask_decoder
        rates = {name: 2 * getattr(decoder, name) for name in ("positions_per_cycle", "symbols_per_cycle")}
        yield "mask_decoder", ({"mask_decoder": rates},)
    yield "vector_unit", ({"vector_unit": {"num_lanes": 2 * hardware.vector_unit.num_lanes}},)
    if hardware.memory != "ideal":
        for name in BUFFERS:
            yield f"{name}.ports", ({name: ports[name]},)
            if name == "accumulator" and hardware.sums_in_activation_buffer:
                continue
            twice = {"capacity_bytes": 2 * getattr(hardware, name).capacity_bytes}
            shared = (
                {"accumulator": twice} if name == "activation_buffer" and hardware.sums_in_activation_buffer else {}
            )
            yield f"{name}.capacity", ({name: twice} | shared,)


def _twice_the_ports(buffer: BufferConfig) -> dict[str, int]:
    bus = buffer.bus_bits_per_cycle
    return {"num_banks": 2 * buffer.num_banks} | ({} if bus is None else {"bus_bits_per_cycle": 2 * bus})


def merged(tree: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chip's description with a change that `doubled` yields."""
    return tree | {name: tree[name] | part if isinstance(part, dict) else part for name, part in change.items()}
