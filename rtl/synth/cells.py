"""What the clock costs at one flip-flop, from a library's Liberty files alone: no unit has to be mapped for it.

Energies are of one cycle of the clock with data that stand still, at the library's supply. The slope is that of a leaf
buffer's output, so that inside and pin are those of a placed flip-flop, not of an ideal edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from rtl.synth.energy import Tables
from rtl.synth.liberty import Group
from rtl.synth.library import Cell, Library, at_ground

LEAF_FAN_OUT = 20  # flip-flops of a leaf buffer of eight times the smallest strength; clock_buffer_share has the range


@dataclass(frozen=True, slots=True)
class ClockedCell:
    """A library's smallest plain flip-flop and the buffer before it.

    Attributes
    ----------
    inside_pj
        What a rise and a fall of the clock cost inside of the flip-flop.
    pin_pj
        What its clock pin's charge costs.
    buffer_pj
        A flip-flop's part of a leaf buffer: its inside, and the charge of its input.
    data_pj
        What an edge of the data input costs: inside, and half of C V^2.
    """

    library: str
    flip_flop: str
    buffer: str
    inside_pj: float
    pin_pj: float
    buffer_pj: float
    data_pj: float


def clocked_cell(library: Library) -> ClockedCell:
    """Return the figures of a library."""
    known, tables = library.known, Tables(library)
    register, buffer = library.cells[known.flip_flop], library.cells[known.clock_buffer]
    clock = register.pins[str(register.clock)]
    load = LEAF_FAN_OUT * clock.number("capacitance")
    output = next(iter(buffer.outputs))
    edges = [
        table
        for arc in buffer.pins[output].of_kind("timing")
        for table in arc.groups
        if table.kind.endswith("_transition")
    ]
    slope = tables.mean(buffer, edges, 0.0, load)  # of the leaf buffer's own input: steep
    entry = next(pin for name, pin in buffer.pins.items() if name not in buffer.outputs)
    inside = 2 * _edge(tables, buffer, buffer.pins[output], slope, load)
    return ClockedCell(
        library=known.name, flip_flop=known.flip_flop, buffer=known.clock_buffer,
        inside_pj=2 * _edge(tables, register, clock, slope) * library.capacitance_pf,
        pin_pj=_charge_pj(library, register, clock),
        buffer_pj=(inside * library.capacitance_pf + _charge_pj(library, buffer, entry)) / LEAF_FAN_OUT,
        data_pj=_edge(tables, register, register.pins["D"], slope) * library.capacitance_pf
        + 0.5 * _charge_pj(library, register, register.pins["D"]),
    )  # fmt: skip


def _charge_pj(library: Library, cell: Cell, pin: Group) -> float:
    """Return C V^2 of a pin: what its two edges in a cycle of the clock take from its driver."""
    return pin.number("capacitance") * library.capacitance_pf * cell.voltage_v**2


def _edge(tables: Tables, cell: Cell, pin: Group, slope: float, load: float = 0.0) -> float:
    """Return the energy inside of a cell at an edge of a pin: the mean of rise and fall and of all states."""
    return tables.mean(cell, _still(pin), slope, load)


def _still(pin: Group) -> Iterable[Group]:
    """Return the tables of power from the supply in states in which the edge changes no output.

    Where it changes one, the library gives a single 0 here, and the energy with the output.
    """
    supply = (power for power in pin.of_kind("internal_power") if not at_ground(power))
    return chain.from_iterable(
        power.groups for power in supply if all(len(table.table()) > 1 for table in power.groups)
    )
