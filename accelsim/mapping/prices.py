"""Prices by which the mapper weighs traffic, work and time against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.timing.power_states import DramStates

Cost = TypeVar("Cost", float, npt.NDArray[np.float64])
TIE = 1e-6  # of equally fast ways that with less traffic is better, and of those with equal traffic the faster one


def objective(wanted: str, cycles: Cost, dram_bytes: Cost, energy: Callable[[], Cost], tie: float = 0.0) -> Cost:
    """Return what ``mapping.objective`` makes of cycles, DRAM bytes and energy, which is asked for where it counts."""
    if wanted == "dram_bytes":
        return dram_bytes + tie * cycles
    if wanted == "latency":
        return cycles + tie * dram_bytes
    return energy() if wanted == "energy" else energy() * cycles


@dataclass(frozen=True, slots=True)
class EnergyPrices:
    """What the objectives ``energy`` and ``edp`` count; it comes from the cost tables.

    Attributes
    ----------
    action_pj
        Unit, action and pJ per count, of every action that costs something.
    static_pj_per_cycle
        What flows in every cycle: leakage, and the clock that is not gated.
    busy_pj_per_cycle
        The clock of the array, beyond what it draws when gated, in each cycle in which the array works.
    unit_pj_per_cycle
        Unit and pJ of its clock, beyond what it draws when gated, in each cycle in which decoder or generator works.
    dram
        pJ of each command of the memory, and per ns of one rank in each state; None where memory is ideal.
    """

    action_pj: tuple[tuple[str, str, float], ...] = ()
    static_pj_per_cycle: float = 0.0
    busy_pj_per_cycle: float = 0.0
    unit_pj_per_cycle: tuple[tuple[str, float], ...] = ()
    dram: DramStates | None = None
    by_action: Mapping[tuple[str, str], float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A look-up by ``action_pj`` itself would hash all of it each time.
        table = {(unit, action): price for unit, action, price in self.action_pj}
        object.__setattr__(self, "by_action", table)

    @property
    def are_none(self) -> bool:
        """Return whether nothing has a price: the objectives of energy then ask for the least latency."""
        return not self.action_pj and not self.static_pj_per_cycle and self.dram is None

    def objective(self, wanted: str, cycles: Cost, dram_bytes: Cost, energy_pj: Callable[[], Cost]) -> Cost:
        """Return `objective` with ties broken; without prices that of energy is latency's."""
        known = "latency" if self.are_none and wanted != "dram_bytes" else wanted
        return objective(known, cycles, dram_bytes, energy_pj, TIE)

    def pj(self, unit: str, action: str) -> float:
        """Return the price of an action; 0 where it costs nothing."""
        return self.by_action.get((unit, action), 0.0)

    def of_making(self, *, decodes: bool, generates: bool) -> float:
        """Return the pJ of the clock in a cycle in which a layer's weights are made, by the units that do it."""
        at_work = {"mask_decoder": decodes, "weight_generator": generates}
        return sum(price for unit, price in self.unit_pj_per_cycle if at_work[unit])

    def of_actions(self, actions: Mapping[str, Mapping[str, int]]) -> float:
        """Return the pJ of counts: unit -> action -> count."""
        return sum(
            count * self.pj(unit, action) for unit, counts in actions.items() for action, count in counts.items()
        )
