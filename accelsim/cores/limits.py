"""What holds a run on several cores up: the verdict of `accelsim.limits`, for the division of work that was chosen.

Each resource is doubled by itself: a unit of each core, or the one that all share. Layers stay divided as they are,
with the tilings that they have; for a larger array, and where cores divide inputs or are a pipeline, they are mapped
anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.divider import Divider
from accelsim.cores.layers import divide, expected_as_kept
from accelsim.cores.pipeline import by_stages
from accelsim.cores.program import ONE_CORE, Network, Program
from accelsim.cores.run import by_inputs, by_inputs_at_full_rate, counters_of_times
from accelsim.errors import AccelSimError
from accelsim.limits import NO_CHIP, Again, Changes, Weighed, changed_chips, may_help, none_tried, tried, with_limits
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.fusion import groups_of
from accelsim.mapping.loops import Tiling
from accelsim.mapping.pieces import largest_tilings
from accelsim.pipeline import best_on_cores, built_for, network_on_cores
from accelsim.sim.cores import end_of_slots, solved_slots
from accelsim.sim.counters import Counters
from accelsim.timing.cores import System, build_system
from accelsim.trace.model import LayerTrace

LEAST_SHARE = 0.05
"""Of the time, that is put down to a resource: what waits for it less could save no more."""


def with_core_limits(
    counters: Counters, hardware: HardwareConfig, trace: LayerTrace, fixed: Mapping[str, Tiling] | None = None
) -> Counters:
    """Return the counters of a run of ``trace`` on several cores with what each resource costs it.

    Parameters are those of `accelsim.limits.with_limits`. A trial takes a good part of the time of the run: but for
    memory and array, resources that hardly anything waits for are left out, and so are capacities, of which nothing
    says so. None are worked out of a generation, which is a run for each token, nor where the memory has its own
    timing.
    """
    if trace.steps is not None:
        why = "a generation is a run for each token; ask --phase prefill, or decode"
        return none_tried(counters, hardware, why)
    if hardware.has_timed_dram:
        why = "cores share a memory with its own timing"
        return none_tried(counters, hardware, why)
    storage = counters.storage
    built = built_for(hardware, trace, storage)
    program, _ = best_on_cores(built, trace, storage, fixed)
    if program is None:
        alone = with_limits(counters, core_chip(built, 1, None), trace, fixed)
        return replace(
            counters, limits=alone.limits, limits_left_out=alone.limits_left_out, next_limit=alone.next_limit
        )
    network = network_on_cores(built, trace, storage, fixed)
    return tried(counters, built, _OnCores(counters, built, network, program))


@dataclass(frozen=True)
class _OnCores:
    """Trials of a program for a network on several cores."""

    counters: Counters
    hardware: HardwareConfig
    network: Network
    program: Program
    least_share: float = LEAST_SHARE

    def saves_nothing(self, name: str) -> bool:
        """Return whether the arrays' steps take the time; see `accelsim.limits.Trials`."""
        return not may_help(name, self.counters, name == "pe_array")

    def again(self, name: str, changes: Changes) -> Again | str:
        """Return the run on a changed chip; see `accelsim.limits.Trials`."""
        chips = [self._of_program(chip) for chip in changed_chips(self.hardware, changes)]
        if len(chips) > 1:
            chips.sort(key=self._estimated)
        for chip in chips:
            try:
                return self._on(chip, name)
            except AccelSimError:
                continue
        return NO_CHIP

    def _of_program(self, chip: HardwareConfig) -> HardwareConfig:
        return chip.model_copy(update={"num_cores": self.program.num_cores})

    def _estimated(self, chip: HardwareConfig) -> float:
        """Return the cycles of the network by the closed form, divided as it is; infinite where a layer does not fit.

        Where cores divide inputs, or are a pipeline, it is that of whole layers, one after the other.
        """
        program = self.program
        kept = {layer.name: (ONE_CORE, 1) for layer in program.layers}
        if program.made_by == "layers":
            kept = _kept(program)
        try:
            return expected_as_kept(Divider(chip, self.network, kept))
        except AccelSimError:
            return math.inf

    @cached_property
    def _system(self) -> System:
        """The stations of the run, which are the same whatever the memory's rate is."""
        return build_system(self.program.slots, self._of_program(self.hardware))

    def _on(self, chip: HardwareConfig, name: str) -> Again:
        program = self.program
        if name == "memory_bandwidth" and chip.dma.activation_codec == "none":
            timed = solved_slots(self._system, chip)
        else:
            program = _again(chip, self.network, program, name == "pe_array")
            timed = solved_slots(build_system(program.slots, chip), chip)

        def layers() -> Weighed:
            return [(layer, 1) for layer in counters_of_times(program, timed, chip, self.network).layers]

        return Again(timed.end_cycle, layers)


def _kept(program: Program) -> dict[str, tuple[str, int]]:
    """Return by what each layer is divided, and among how many cores."""
    kept = {layer.name: (shape, 0) for layer, shape in zip(program.layers, program.divided, strict=True)}
    for slot, place in zip(program.slots, program.layer_of, strict=True):
        name = program.layers[place].name
        kept[name] = program.divided[place], max(kept[name][1], len(slot.pieces))
    return kept


def _again(hardware: HardwareConfig, network: Network, program: Program, anew: bool) -> Program:
    """Return a program for a changed chip, divided as it is; with its tilings if layers are not mapped ``anew``."""
    match program.made_by:
        case "stages":
            return by_stages(hardware, network, lambda each: end_of_slots(each.slots, hardware), program)
        case "inputs":
            return by_inputs(hardware, network)
        case "inputs at full rate":
            return by_inputs_at_full_rate(hardware, network)
    tilings = largest_tilings(
        (program.layers[place].name, piece.schedule.tiling)
        for slot, place in zip(program.slots, program.layer_of, strict=True)
        for piece in slot.pieces.values()
    )
    fixed = network.fixed if anew else tilings
    return divide(Divider(hardware, replace(network, fixed=fixed), _kept(program)), groups_of(program.fused)).program()
