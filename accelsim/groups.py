"""A batch goes through the chip in groups of inputs, one group after the other.

The layers of a group run one by one, each for all inputs of the group, so that weights are fetched and generated once a
group. The larger the group, the fewer weights; but the activations of all its inputs must stay on chip together, or go
to memory and come back. How many inputs make a group is therefore chosen, by the mapper's objective, and stretches of
layers may differ in it: all groups go through one stretch, whose results wait in memory, before the next one begins.

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
from accelsim.mapping.residency import last_uses, output_elements
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import WeightPlan
from accelsim.timing import power_states
from accelsim.trace.batch import in_copies
from accelsim.trace.model import LayerTrace, TraceLayer

# Inputs of a group at most: with more, weights are less than a thousandth, and the schedule of one group is long.
MAX_GROUP = 1024


@dataclass(frozen=True, slots=True)
class Group:
    """A network, or a stretch of its layers, for the inputs of one group, and how many such groups there are."""

    trace: LayerTrace
    times: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Successive layers, from ``first`` to before ``stop``, and the inputs of a group that goes through them."""

    first: int
    stop: int
    size: int


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


def groups_of_stretches(trace: LayerTrace, stretches: Sequence[Stretch]) -> tuple[Group, ...]:
    """Return the groups of one stretch of layers after the other."""
    return tuple(
        Group(_cut(group.trace, stretch), group.times)
        for stretch in stretches
        for group in groups_of_size(trace, stretch.size)
    )


def _cut(trace: LayerTrace, stretch: Stretch) -> LayerTrace:
    """Return a stretch of layers; what later ones read goes to memory, and what earlier ones made comes from there."""
    if (stretch.first, stretch.stop) == (0, len(trace.layers)):
        return trace
    later = {name for layer in trace.layers[stretch.stop :] for name in (*layer.inputs, *layer.residuals)}
    layers = trace.layers[stretch.first : stretch.stop]
    return replace(
        trace,
        layers=tuple(replace(layer, is_output=layer.is_output or layer.name in later) for layer in layers),
        part_of=trace,
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """How groups are compared: what a whole run costs, what each layer does, and a byte that goes to memory or back.

    ``layers`` and ``bytes_`` may be of several measures, each of which is tried.
    """

    cost: Callable[[Counters], float]
    layers: Callable[[Counters], Sequence[Sequence[float]]]
    bytes_: Callable[[Counters], Sequence[float]]


def best_groups(
    trace: LayerTrace, sizes: Sequence[int], simulate: Callable[[LayerTrace], Counters], prices: Prices
) -> tuple[tuple[Group, ...], Counters]:
    """Return the groups of least cost and their counters; of equal ones the largest.

    The whole network is tried with each size; from what each layer costs then follow stretches with sizes of their own,
    which are tried too.

    Raises
    ------
    AccelSimError
        No size fits; that of the smallest.
    """
    found: list[tuple[float, tuple[Group, ...], Counters]] = []
    failure: MappingError | None = None

    def tried(groups: tuple[Group, ...]) -> Counters | None:
        nonlocal failure
        try:
            counters = one_after_other([(simulate(group.trace), group.times) for group in groups], trace)
        except MappingError as error:
            failure = error
            return None
        found.append((prices.cost(counters), groups, counters))
        return counters

    by_size = {size: tried(groups_of_size(trace, size)) for size in sizes}
    known = {size: counters for size, counters in by_size.items() if counters is not None}
    if not known:
        raise failure or MappingError(f"{trace.name}: no group of its batch of {trace.batch} can be mapped")
    if len(known) > 1:
        for stretches in _worth_trying(trace, known, prices):
            tried(groups_of_stretches(trace, stretches))
    _, groups, counters = min(found, key=lambda each: each[0])
    return groups, counters


def _worth_trying(trace: LayerTrace, known: Mapping[int, Counters], prices: Prices) -> tuple[tuple[Stretch, ...], ...]:
    """Return divisions into stretches that the costs of the layers of whole runs speak for."""
    measured = {size: prices.layers(counters) for size, counters in known.items()}
    return divisions(trace, measured, prices.bytes_(next(iter(known.values()))))


def divisions(
    trace: LayerTrace, measured: Mapping[int, Sequence[Sequence[float]]], per_byte: Sequence[float]
) -> tuple[tuple[Stretch, ...], ...]:
    """Return divisions into stretches that the costs of single layers speak for.

    What lies between two stretches is written and read again, which may hide behind other work: with its price, and
    without.

    Parameters
    ----------
    measured
        Size of a group -> in each measure, what each layer costs for the whole batch.
    per_byte
        In each measure, what an activation costs that goes to memory or comes from there.
    """
    between = [2 * sum(sizes) for sizes in _elements_between(trace)]
    found: dict[tuple[Stretch, ...], None] = {}
    for measure, price in enumerate(per_byte):
        costs = {size: each[measure] for size, each in measured.items()}
        for share in (1.0, 0.0):
            stretches = _cheapest(costs, [share * price * elements for elements in between])
            if len(stretches) > 1:
                found[stretches] = None
    return tuple(found)


def _elements_between(trace: LayerTrace) -> list[list[int]]:
    """Return, for each layer, the elements that layers before it have made and it or a later one reads."""
    last = last_uses(trace)
    made = [(place, last.get(layer.name, -1), output_elements(layer)) for place, layer in enumerate(trace.layers)]
    return [[size for place, end, size in made if place < cut <= end] for cut in range(len(trace.layers))]


def _cheapest(costs: Mapping[int, Sequence[float]], between: Sequence[float]) -> tuple[Stretch, ...]:
    """Return the stretches of least cost, by the costs of layers in groups of each size and of a change before each."""
    best: dict[int, tuple[float, tuple[Stretch, ...]]] = {
        size: (each[0], (Stretch(0, 1, size),)) for size, each in costs.items()
    }
    for place in range(1, len(between)):
        total, way = min(best.values(), key=lambda each: each[0])
        for size, each in costs.items():
            stay, own = best[size]
            if stay <= total + between[place]:
                best[size] = stay + each[place], (*own[:-1], replace(own[-1], stop=place + 1))
            else:
                best[size] = total + between[place] + each[place], (*way, Stretch(place, place + 1, size))
    return min(best.values(), key=lambda each: each[0])[1]


def one_after_other(parts: Sequence[tuple[Counters, int]], trace: LayerTrace) -> Counters:
    """Return the counters of groups, each so many times, of the whole batch ``trace``.

    A part may have some of the layers; together they have all.
    """
    first = parts[0][0]
    if len(parts) == 1 and parts[0][1] == 1:
        return first
    places = {layer.name: place for place, layer in enumerate(trace.layers)}
    rows: list[list[tuple[LayerCounters, int]]] = [[] for _ in trace.layers]
    for counters, times in parts:
        start = 0 if len(counters.layers) == len(rows) else places[counters.layers[0].name]
        for place, row in enumerate(counters.layers, start):
            rows[place].append((row, times))
    known: dict[tuple[tuple[int, int], ...], LayerCounters] = {}  # equal rows are one object

    def summed(layer: TraceLayer, same: Sequence[tuple[LayerCounters, int]]) -> LayerCounters:
        key = tuple((id(row), times) for row, times in same)
        if key not in known:
            known[key] = _layer(layer, [row for row, _ in same], [times for _, times in same])
        return replace(known[key], name=layer.name)

    return replace(
        first,
        layers=tuple(map(summed, trace.layers, rows)),
        lower_bound_cycles=_total([counters.lower_bound_cycles for counters, _ in parts], [n for _, n in parts]),
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
