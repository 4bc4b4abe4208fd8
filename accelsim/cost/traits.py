"""What of a run and a chip the prices depend on, and the scaling of table rows to that chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from accelsim.config.hardware import HardwareConfig
from accelsim.cost import scaling
from accelsim.cost.tables import CostRow, CostTables
from accelsim.cost.terms import Price, Term
from accelsim.sim.actions import ARITHMETICS
from accelsim.sim.counters import Counters, DecoderWidth

Made = TypeVar("Made")
_LAYOUT = ("placement_overhead", "repair_and_test_area", "chip_layout_overhead")


@dataclass(frozen=True, slots=True)
class RunTraits:
    """What the storage format and the network make a chip contain; see `accelsim.sim.counters.Counters`.

    ``more_arithmetics`` are those that layers needed besides ``arithmetic``: a ticket of a transformer also multiplies
    activations by activations. ``decoder_fronts`` are the counted actions of the decoder, one for each kind of code
    that layers are stored in; ``decoder_width`` is the decoder's where it is not what the description states.
    """

    arithmetic: str
    decoder: str
    uses_generator: bool
    uses_jumps: bool = False
    uses_derived_seeds: bool = False
    more_arithmetics: tuple[str, ...] = ()
    decoder_fronts: tuple[str, ...] = ()
    decoder_width: DecoderWidth | None = None

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """Return every arithmetic that the PEs are built for."""
        return (self.arithmetic, *self.more_arithmetics)


def run_traits(counters: Counters) -> RunTraits:
    """Return the traits of a run."""
    generator = [layer.actions.get("weight_generator", {}) for layer in counters.layers]
    return RunTraits(
        arithmetic=counters.arithmetic,
        decoder=counters.decoder,
        uses_generator=counters.uses_generator,
        uses_jumps=any(actions.get("jumps", 0) for actions in generator),
        uses_derived_seeds=any(actions.get("derived_seeds", 0) for actions in generator),
        more_arithmetics=tuple(sorted(_arithmetics(counters) - {counters.arithmetic})),
        decoder_fronts=tuple(sorted(_decoder_actions(counters) - {"positions"})),
        decoder_width=counters.decoder_width,
    )


def _decoder_actions(counters: Counters) -> set[str]:
    counted = [layer.actions.get("mask_decoder", {}) for layer in counters.layers]
    return {name for actions in counted for name, count in actions.items() if count}


def _arithmetics(counters: Counters) -> set[str]:
    counted = [layer.actions.get("pe_array", {}) for layer in counters.layers]
    return {name for name in ARITHMETICS if any(actions.get(f"mac_{name}", 0) for actions in counted)}


@dataclass(frozen=True, slots=True)
class Pricer:
    """A chip's node and supply with the tables; turns a row into a price at that node.

    Every method returns a sum of products (see `accelsim.cost.terms`) in the unit that it names.
    """

    hardware: HardwareConfig
    tables: CostTables
    traits: RunTraits
    # See `once`; factors of energy rows too.
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def node_nm(self) -> float:
        """Return the chip's node."""
        return self.hardware.node_nm

    @property
    def voltage_v(self) -> float:
        """Return the chip's supply: the one given, else the node's nominal one."""
        given = self.hardware.voltage_v
        if given is None:
            return scaling.nominal_voltage_v(self.node_nm)
        scaling.check_supply(self.node_nm, given)
        return given

    def factor(self, name: str, coefficient: float = 1.0) -> Price:
        """Return a row that needs no scaling, times ``coefficient``."""
        return (Term(coefficient, (self.tables.row(name).name,)),)

    def energy_pj(self, name: str, coefficient: float = 1.0) -> Price:
        """Return an energy row, scaled to the chip, in pJ."""
        factor = self.known.get(name)
        if factor is None:
            row = self.tables.row(name)
            node_nm, voltage_v = _conditions(row)
            factor = scaling.scale_energy(node_nm, voltage_v, self.node_nm, self.voltage_v)
            factor *= scaling.between_libraries(node_nm, self.node_nm, self.tables.node_exponent(row))
            self.known[name] = factor
        return (Term(coefficient * factor, (name,)),)

    def wire_pj_per_bit_mm(self, name: str) -> Price:
        """Return a wire energy row, scaled to the chip's supply, in pJ per bit and mm."""
        return (Term(scaling.scale_wire_energy(_conditions(self.tables.row(name))[1], self.voltage_v), (name,)),)

    def area_um2(self, name: str, coefficient: float = 1.0) -> Price:
        """Return an area row of standard cells, scaled to the chip, placed and routed, in um2."""
        row = self.tables.row(name)
        node_nm = row.node_nm or self.node_nm
        factor = scaling.scale_cells(node_nm, self.node_nm)
        factor *= scaling.between_libraries(node_nm, self.node_nm, row.node_exponent)
        return (Term(coefficient * factor, (name, *_LAYOUT)),)

    def leakage_w(self, name: str, coefficient: float = 1.0) -> Price:
        """Return a leakage row of general-purpose cells in nW, scaled to the chip and its class of cells, in W."""
        node_nm, voltage_v = _conditions(self.tables.row(name))
        factor = scaling.scale_leakage(node_nm, voltage_v, self.node_nm, self.voltage_v)
        is_low = self.hardware.leakage_class == "low_power"
        return (Term(coefficient * factor * 1e-9, (name, "low_power_leakage") if is_low else (name,)),)

    def sram_leakage_w(self, leakage_w: float) -> Price:
        """Return the leakage of a memory of the grid's cells, which are low-power ones, at the chip's class."""
        is_low = self.hardware.leakage_class == "low_power"
        names = ("sram_leakage_factor",) if is_low else ("sram_leakage_factor", "sram_general_leakage")
        return (Term(leakage_w, names),)


def once(function: Callable[[Pricer], Made]) -> Callable[[Pricer], Made]:
    """Let a function of a pricer alone be computed once for it; what it returns is not to be changed."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def kept(pricer: Pricer) -> Made:
        if name not in pricer.known:
            pricer.known[name] = function(pricer)
        made: Made = pricer.known[name]
        return made

    return kept


def _conditions(row: CostRow) -> tuple[float, float]:
    """Return node and supply of a row whose unit needs both; the loader has seen to it that they are there."""
    if row.node_nm is None or row.voltage_v is None:
        raise TypeError(f"{row.name} has no node or voltage")
    return row.node_nm, row.voltage_v
