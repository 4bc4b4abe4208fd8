"""A batch goes through the chip in groups of inputs, one group after the other.

The layers of a group run one by one, each for all inputs of the group, so that weights are fetched and generated once a
group. The larger the group, the fewer weights; but the activations of all its inputs must stay on chip together, or go
to memory and come back. How many inputs make a group is therefore chosen, by the mapper's objective.

Groups do not overlap: the first layer of a group is not loaded while the last one of the group before computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.build import layer_shape
from accelsim.mapping.network import residency_of
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import WeightPlan
from accelsim.timing import power_states
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace, TraceLayer

# Inputs of a group at most: with more, weights are less than a thousandth, and the schedule of one group is long.
MAX_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Group:
    """A network for the inputs of one group, and how many such groups there are."""

    trace: LayerTrace
    times: int


def groups_of_size(trace: LayerTrace, size: int) -> tuple[Group, ...]:
    """Return the groups of ``size`` copies of the workload's inputs, and of the rest."""
    times, rest = divmod(trace.copies, size)
    parts = [(size, times), *([(rest, 1)] if rest else [])]
    # What is left of the batch is the workload itself, to whoever runs one group.
    return tuple(Group(replace(in_copies(trace, copies), copies=1), times) for copies, times in parts)


def group_sizes(trace: LayerTrace, plans: Mapping[str, WeightPlan], hardware: HardwareConfig) -> tuple[int, ...]:
    """Return the sizes worth trying, the largest first: all, one, what fits, and each power of two above that.

    What fits is the largest size at which the outputs stay on chip that stay there for one input. A larger batch has
    the sizes of a smaller one and larger ones, so that its groups are never smaller but for the rest.
    """
    most = min(trace.copies, MAX_GROUP)
    kept = residency_of(in_copies(trace, 1), plans, hardware).on_chip

    def fits(size: int) -> bool:
        return residency_of(in_copies(trace, size), plans, hardware).on_chip == kept

    fitting, too_many = 1, most + 1
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fitting, too_many = (middle, too_many) if fits(middle) else (fitting, middle)
    above = {1 << power for power in range(fitting.bit_length(), most.bit_length()) if 1 << power < most}
    return tuple(sorted({1, fitting, most} | above, reverse=True))


def best_groups(
    trace: LayerTrace,
    sizes: Sequence[int],
    simulate: Callable[[LayerTrace], Counters],
    cost: Callable[[Counters], float],
) -> tuple[tuple[Group, ...], Counters]:
    """Return the groups of least ``cost`` and their counters; of equal ones the largest.

    Raises
    ------
    AccelSimError
        No size fits; that of the smallest.
    """
    found: list[tuple[float, tuple[Group, ...], Counters]] = []
    failure: MappingError | None = None
    for size in sizes:
        groups = groups_of_size(trace, size)
        try:
            counters = one_after_other([(simulate(group.trace), group.times) for group in groups], trace)
        except MappingError as error:
            failure = error
            continue
        found.append((cost(counters), groups, counters))
    if not found:
        raise failure or MappingError(f"{trace.name}: no group of its batch of {trace.batch} can be mapped")
    _, groups, counters = min(found, key=lambda each: each[0])
    return groups, counters


def one_after_other(parts: Sequence[tuple[Counters, int]], trace: LayerTrace) -> Counters:
    """Return the counters of groups, each so many times, of the whole batch ``trace``."""
    first = parts[0][0]
    if len(parts) == 1 and parts[0][1] == 1:
        return first
    times = [number for _, number in parts]
    known: dict[tuple[int, ...], LayerCounters] = {}  # equal rows are one object

    def summed(layer: TraceLayer, same: Sequence[LayerCounters]) -> LayerCounters:
        key = tuple(map(id, same))
        if key not in known:
            known[key] = _layer(layer, same, times)
        return replace(known[key], name=layer.name)

    layers = zip(trace.layers, *(counters.layers for counters, _ in parts), strict=True)
    return replace(
        first,
        layers=tuple(summed(layer, same) for layer, *same in layers),
        lower_bound_cycles=_total([counters.lower_bound_cycles for counters, _ in parts], times),
        limits={},
        dram=power_states.one_after_other([(counters.dram, number) for counters, number in parts]),
    )


def _layer(whole: TraceLayer, same: Sequence[LayerCounters], times: Sequence[int]) -> LayerCounters:
    first = same[0]

    def total(value: Callable[[LayerCounters], int]) -> int:
        return sum(value(layer) * number for layer, number in zip(same, times, strict=True))

    def by_name(value: Callable[[LayerCounters], Mapping[str, int]]) -> dict[str, int]:
        return _sum((value(layer) for layer in same), times)

    units = dict.fromkeys(unit for layer in same for unit in layer.actions)
    return replace(
        first,
        shape=layer_shape(whole),
        latency_cycles=total(lambda layer: layer.latency_cycles),
        macs=total(lambda layer: layer.macs),
        effective_macs=total(lambda layer: layer.effective_macs),
        cycles_by_cause=by_name(lambda layer: layer.cycles_by_cause),
        dram_bytes=by_name(lambda layer: layer.dram_bytes),
        dram_read_bytes=total(lambda layer: layer.dram_read_bytes),
        dram_write_bytes=total(lambda layer: layer.dram_write_bytes),
        actions={unit: _sum((layer.actions.get(unit, {}) for layer in same), times) for unit in units},
        busy_cycles=by_name(lambda layer: layer.busy_cycles),
        lower_bound_cycles=_total([layer.lower_bound_cycles for layer in same], times),
        port_limit=next((layer.port_limit for layer in same if layer.port_limit), None),
    )


def _sum(counts: Iterable[Mapping[str, int]], times: Sequence[int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each, number in zip(counts, times, strict=True):
        for name, count in each.items():
            found[name] += count * number
    return dict(found)


def _total(values: Sequence[int | None], times: Sequence[int]) -> int | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return sum(value * number for value, number in zip(known, times, strict=True))
