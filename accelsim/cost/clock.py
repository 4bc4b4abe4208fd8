"""Energy of the clock: each flip-flop's clock pin and its share of the tree, in the cycles in which it is clocked.

``clock_gating`` of the chip says which stand still: ``none``; ``unit``, those of a unit without work in the cycle, and
of PEs that the passes of a row-stationary array leave out; ``lane``, those of any PE or lane without work. What is
gated still costs `clock_gated_fraction`: the gate's own clock pin and the tree above it.

The tree has leaf buffers, in proportion to the pins, and wire. Wire does not shrink as gates do; its length follows
from the standard-cell area that a flip-flop has in its unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from accelsim.cost.area import logic_areas
from accelsim.cost.inventory import FlipFlops, Logic, flip_flops_of, inventory
from accelsim.cost.terms import Price, joined, multiplied, resolve, scaled
from accelsim.cost.traits import Pricer
from accelsim.sim.counters import LayerCounters


@dataclass(frozen=True, slots=True)
class ClockedGroup:
    """Flip-flops of a unit with their price.

    In a cycle, in pJ of all of them: clocked, of which the network's part outside of the flip-flops, gated, and by how
    much clocked is more than gated.
    """

    unit: str
    flip_flops: FlipFlops
    clocked_pj: Price
    network_pj: Price
    gated_pj: Price
    more_pj: Price


_TRANSITIONS = 4  # of a clock, over those of a random bit: two in a cycle, not one in two


def flip_flop_cycle_pj(pricer: Pricer, area_um2: float = 0.0) -> Price:
    """Return what one flip-flop costs in a cycle in which it is clocked, in pJ: its inside and `network_cycle_pj`."""
    return joined([pricer.energy_pj("flip_flop_clock"), network_cycle_pj(pricer, area_um2)])


def network_cycle_pj(pricer: Pricer, area_um2: float = 0.0) -> Price:
    """Return what the clock network spends on a flip-flop in a cycle, in pJ: its pin, leaf buffers and wire.

    ``area_um2`` is the standard-cell area that it has in its unit; 0: without wire, as before placement.
    """
    return _network_pj(pricer.energy_pj("clock_pin"), pricer.wire_pj_per_bit_mm("wire_energy"), area_um2)


def _network_pj(pin: Price, wire_pj_per_mm: Price, area_um2: float) -> Price:
    # The clock net of a unit visits each flip-flop once: about an edge of the area that each one has.
    wire_mm = math.sqrt(area_um2) * 1e-3
    wire = scaled(wire_pj_per_mm, _TRANSITIONS * wire_mm, "clock_wire_factor")
    return joined([pin, scaled(pin, 1.0, "clock_buffer_share"), wire])


def clocked_groups(pricer: Pricer) -> tuple[ClockedGroup, ...]:
    """Return every flip-flop of the chip, by unit and by what clocks it."""
    values = pricer.tables.values  # a sampled area does not move the wires
    each = pricer.energy_pj("flip_flop_clock"), pricer.energy_pj("clock_pin"), pricer.wire_pj_per_bit_mm("wire_energy")
    groups: list[ClockedGroup] = []
    for unit, logic in sorted(inventory(pricer).items()):
        area_um2 = resolve(logic_areas(pricer)[unit], values) * 1e6
        of_one = area_um2 / resolve(flip_flops_of([logic]), values)
        groups += _groups_of(unit, logic, each, of_one)
    return tuple(groups)


# Along a sweep most units stay as they are.
@lru_cache(maxsize=512)
def _groups_of(
    unit: str, logic: Logic, prices: tuple[Price, Price, Price], area_um2: float
) -> tuple[ClockedGroup, ...]:
    """Return a unit's flip-flops, of which each has an area, at ``prices``: inside of one, its pin, a mm of wire."""
    inside, pin, wire = prices
    network = _network_pj(pin, wire, area_um2)
    groups, price = [], joined([inside, network])
    for each in logic.flip_flops:
        clocked = multiplied(each.count, price)
        if each.has_enable:
            clocked = joined([clocked, scaled(multiplied(each.count, inside), 1.0, "enable_clock_share")])
        gated = scaled(clocked, 1.0, "clock_gated_fraction")
        more = joined([clocked, scaled(gated, -1.0)])
        groups.append(ClockedGroup(unit, each, clocked, multiplied(each.count, network), gated, more))
    return tuple(groups)


def active_cycles(group: FlipFlops, gating: str, layer: LayerCounters) -> float:
    """Return the cycles of a layer in which a group is clocked; a part of a cycle where a part of it is."""
    cycles = float(layer.latency_cycles)
    if gating == "lane" and group.work is not None:
        # Several kinds of work may clock the same flip-flops; nothing is clocked oftener than every cycle.
        return min(cycles, sum(layer.actions.get(w.unit, {}).get(w.action, 0) * w.cycles for w in group.work))
    if gating == "none" or group.busy is None:
        return cycles
    busy = sum(layer.busy_cycles.get(unit, 0) for unit in group.busy) / group.copies
    if group.idle is not None:
        busy -= layer.actions.get(group.idle.unit, {}).get(group.idle.action, 0) * group.idle.cycles
    return min(cycles, max(0.0, busy))


def clock_price(groups: tuple[ClockedGroup, ...], gating: str, layer: LayerCounters) -> dict[str, Price]:
    """Return the clock's energy in a layer by the unit whose flip-flops they are, in pJ."""
    by_unit: dict[str, list[Price]] = {}
    for group in groups:
        active = active_cycles(group.flip_flops, gating, layer)
        parts = by_unit.setdefault(group.unit, [])
        parts += [scaled(group.clocked_pj, active), scaled(group.gated_pj, layer.latency_cycles - active)]
    return {unit: joined(parts) for unit, parts in by_unit.items()}


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """The clock for estimates before a run, in pJ: in every cycle, more where the array works in it, more an action.

    ``per_unit_pj``: more where a unit that makes weights works. Of other gated units that do not work with the array
    how long they work is not known, and the same in all tilings: they are taken as gated.
    """

    per_cycle_pj: Price
    per_busy_cycle_pj: Price
    per_action_pj: Mapping[tuple[str, str], Price]
    per_unit_pj: Mapping[str, Price]


_MAKERS = ("mask_decoder", "weight_generator")


def clock_estimate(pricer: Pricer) -> ClockEstimate:
    """Return what is known of the clock before a run."""
    gating = pricer.hardware.clock_gating
    every: list[Price] = []
    busy: list[Price] = []
    actions: dict[tuple[str, str], list[Price]] = {}
    units: dict[str, list[Price]] = {}
    for group in clocked_groups(pricer):
        made = group.flip_flops
        # What no unit's work can stop (control, the sequencer) is clocked in every cycle, whatever the gating.
        if gating == "none" or (made.busy is None and made.work is None):
            every.append(group.clocked_pj)
            continue
        every.append(group.gated_pj)
        more = group.more_pj
        if gating == "lane" and made.work is not None:
            for work in made.work:
                actions.setdefault((work.unit, work.action), []).append(scaled(more, work.cycles))
        elif "pe_array" in (made.busy or ()):
            busy.append(more)
            if made.idle is not None:
                action = (made.idle.unit, made.idle.action)
                # PEs that a pass leaves out stand still although the array works: their share is taken off again.
                actions.setdefault(action, []).append(scaled(more, -made.idle.cycles))
        elif made.busy and made.busy[0] in _MAKERS:
            units.setdefault(made.busy[0], []).append(more)
    return ClockEstimate(
        joined(every),
        joined(busy),
        {key: joined(parts) for key, parts in actions.items()},
        {unit: joined(parts) for unit, parts in units.items()},
    )
