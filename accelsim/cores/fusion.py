"""Which layers are fused on several cores: chosen as on one, with the costs of what all cores do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from accelsim.cores.divider import Divider, numbers_tried
from accelsim.cores.layers import DividedNetwork, Steps, divide, residency_on_cores
from accelsim.cores.program import Program
from accelsim.mapping.fuse import FusionCost, bytes_of_maps, chosen_by, with_lost
from accelsim.mapping.fusion import FusedGroup
from accelsim.mapping.mapper import forget_times
from accelsim.mapping.network import network_tasks, together_in
from accelsim.mapping.task import LayerTask
from accelsim.sim.cores import cost_of_slots
from accelsim.timing.core_pieces import Slot

Cost = Callable[[Program], tuple[float, int]]


def fused_by_layers(divider: Divider, cost: Cost) -> Program:
    """Return all cores on one layer, or one fused group, after the other.

    Parameters
    ----------
    cost
        What the objective says of a program, and the DRAM bytes that it moves: groups that are chosen make neither
        worse.

    Raises
    ------
    MappingError
        A layer fits a core in no way, or a group that is stated cannot be fused.
    """
    hardware, network = divider.hardware, divider.network
    costs = SeveralCores(divider)
    core = divider.chip(hardware.num_cores, "weights", hardware.num_cores)
    programs: dict[tuple[FusedGroup, ...], Program] = {(): costs.network.program()}

    def program_of(chosen: tuple[FusedGroup, ...]) -> Program:
        if chosen not in programs:
            programs[chosen] = divide(divider, chosen).program()
        return programs[chosen]

    found = program_of(chosen_by(costs, network.trace, core, divider.prices, lambda chosen: cost(program_of(chosen))))
    forget_times()
    return found


class SeveralCores:
    """The costs of layers on several cores, solved by themselves (`accelsim.mapping.fuse.GroupCosts`)."""

    def __init__(self, divider: Divider) -> None:
        self.divider, self.hardware = divider, divider.hardware
        self.network: DividedNetwork = divide(divider)
        self.numbers_of_cores = numbers_tried(self.hardware.num_cores)
        self.masks_once = "mask_buffer" in self.hardware.share
        self._seen: dict[int, Sequence[LayerTask]] = {}
        self._apart: dict[tuple[int, int], FusionCost] = {}

    def tasks(self, num_cores: int) -> Sequence[LayerTask]:
        """See `GroupCosts`."""
        if num_cores not in self._seen:
            chip = self.divider.chip(num_cores, "weights", num_cores)
            self._seen[num_cores] = [replace(task, hardware=chip) for task in self.network.tasks]
        return self._seen[num_cores]

    def apart(self, first: int, stop: int) -> FusionCost:
        """See `GroupCosts`."""
        if (first, stop) not in self._apart:
            self._apart[first, stop] = self._cost(self.network.steps(first, stop).slots)
        return self._apart[first, stop]

    def fused(self, group: FusedGroup) -> FusionCost:
        """See `GroupCosts`."""
        trace, plans, whole = self.divider.network.trace, self.divider.network.plans, self.divider.whole
        together = together_in(trace, plans, whole, (group,))
        before = residency_on_cores(self.hardware, self.divider.network, whole)
        after = residency_on_cores(self.hardware, self.divider.network, whole, together=together)
        tasks = network_tasks(trace, plans, whole, after)
        lost = bytes_of_maps(trace, tasks, before.on_chip - after.on_chip - together[0].inside)
        made = self.divider.group(group, tasks, quick=True)
        steps = Steps(self.hardware.num_cores)
        steps.add_group(made)
        return with_lost(self._cost(steps.slots), lost, self.hardware, self.divider.prices)

    def _cost(self, slots: Sequence[Slot]) -> FusionCost:
        cost = cost_of_slots(slots, self.hardware)
        return FusionCost(cost.end_cycle, self.divider.energy_pj(cost), cost.dram_bytes)
