"""What holds a run on several cores up: the verdict of `accelsim.limits`, for the division of work that was chosen.

Each resource is doubled by itself: a unit of each core, or the one that all share. Layers stay divided as they are,
with the tilings that they have; for a larger array, and where cores divide inputs or are a pipeline, they are mapped
anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.divider import Divider
from accelsim.cores.layers import divide
from accelsim.cores.pipeline import by_stages
from accelsim.cores.program import Network, Program
from accelsim.cores.run import by_inputs, by_inputs_at_full_rate
from accelsim.errors import AccelSimError
from accelsim.limits import MADE, always_tried, cycles_of, doubled, may_help, merged, with_limits
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.fusion import groups_of
from accelsim.mapping.loops import LOOPS, Tiling
from accelsim.pipeline import best_on_cores, built_for, network_on_cores
from accelsim.sim.cores import end_of_slots
from accelsim.sim.counters import Counters, ResourceLimit
from accelsim.trace.model import LayerTrace

LEAST_SHARE = 0.05
"""Of the time, that is put down to a resource: what waits for it less could save no more."""


def with_core_limits(
    counters: Counters, hardware: HardwareConfig, trace: LayerTrace, fixed: Mapping[str, Tiling] | None = None
) -> Counters:
    """Return the counters of a run of ``trace`` on several cores with what each resource costs it.

    Parameters are those of `accelsim.limits.with_limits`. A trial takes a good part of the time of the run: but for
    memory and array, resources that hardly anything waits for are left out, and so are capacities, of which nothing
    says so. None are worked out of a generation, which is a run for each token.
    """
    if trace.steps is not None or hardware.has_timed_dram:
        return counters
    storage = counters.storage
    built = built_for(hardware, trace, storage)
    program, _ = best_on_cores(built, trace, storage, fixed)
    if program is None:
        alone = with_limits(counters, core_chip(built, 1, None), trace, fixed)
        return replace(counters, limits=alone.limits)
    network = network_on_cores(built, trace, storage, fixed)
    latency = sum(layer.latency_cycles for layer in counters.layers)
    found: dict[str, ResourceLimit] = {}
    for name, changes in doubled(built):
        share = sum(cycles_of(name, layer) for layer in counters.layers) / latency if latency else 0.0
        if share < LEAST_SHARE and not always_tried(name):
            continue
        if name in MADE and not any(layer.busy_cycles.get(name) for layer in counters.layers):
            continue
        if not may_help(name, counters, name == "pe_array"):
            found[name] = ResourceLimit(share, latency)
            continue
        times = [cycles for change in changes if (cycles := _cycles_with(built, change, network, program, name))]
        if times:
            found[name] = ResourceLimit(share, min(*times, latency))
    return replace(counters, limits=found)


def _cycles_with(
    hardware: HardwareConfig, change: Mapping[str, Any], network: Network, program: Program, name: str
) -> int | None:
    """Return the cycles of a program on a changed chip; None where there is no such chip, or it cannot run it."""
    try:
        changed = HardwareConfig.model_validate(merged(hardware.model_dump(), change))
        changed = changed.model_copy(update={"num_cores": program.num_cores})
        slots = program.slots
        if name != "memory_bandwidth" or hardware.dma.activation_codec != "none":
            slots = _again(changed, network, program, name == "pe_array").slots
        return end_of_slots(slots, changed)
    except (AccelSimError, ValidationError):
        return None


def _size(tiling: Tiling) -> int:
    return math.prod(tiling.size(loop) for loop in LOOPS)


def _again(hardware: HardwareConfig, network: Network, program: Program, anew: bool) -> Program:
    """Return a program for a changed chip, divided as it is; with its tilings if layers are not mapped ``anew``."""
    match program.made_by:
        case "stages":
            return by_stages(hardware, network, lambda each: end_of_slots(each.slots, hardware))
        case "inputs":
            return by_inputs(hardware, network)
        case "inputs at full rate":
            return by_inputs_at_full_rate(hardware, network)
    kept = {program.layers[place].name: (program.divided[place], 0) for place in range(len(program.layers))}
    tilings: dict[str, Tiling] = {}
    for slot, place in zip(program.slots, program.layer_of, strict=True):
        name = program.layers[place].name
        kept[name] = program.divided[place], max(kept[name][1], len(slot.pieces))
        for piece in slot.pieces.values():
            tiling, known = piece.schedule.tiling, tilings.get(name)
            if tiling is not None and (known is None or _size(tiling) > _size(known)):
                tilings[name] = tiling
    fixed = network.fixed if anew else tilings
    return divide(Divider(hardware, replace(network, fixed=fixed), kept), groups_of(program.fused)).program()
