"""The rows of `accelsim/cost/tables/gates.yaml` that follow from the results.

Rows that hold at every node (gate equivalents, flip-flops, activities) have sky130's value and the other libraries' as
their range. Rows of a node (area and energy of a gate, area and clock of a flip-flop) are brought to 45 nm. The scaling
equations are of transistors, and a library is a designer's choice: over the 18-fold span from 130 to 7 nm they miss by
several times. So the value lies between those that the nearest library on either side gives, in proportion to its
distance in log node, as `accelsim.cost.scaling` takes nodes between published ones; the range is that of all libraries.
So that a chip at the node of a library gets that library's own figure, and one between them its own place, such a row
carries the slope between the two as ``node_exponent``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelsim.cost import scaling
from accelsim.cost.tables import CostRow
from accelsim.errors import ConfigError
from accelsim.files import write_file
from accelsim.sim.actions import ARITHMETICS
from rtl.synth.cells import LEAF_FAN_OUT, ClockedCell
from rtl.synth.library import KNOWN, Known
from rtl.synth.measure import Measured

Results = Mapping[tuple[str, str], Measured]

PATH = Path(__file__).resolve().parents[2] / "accelsim" / "cost" / "tables" / "gates.yaml"
NODE_NM = 45.0
YARDSTICK = "add32"
_FIRST = KNOWN[0]  # the library whose figures are the values of rows that hold at every node
_COMMAND = "make synth"
_SOURCE = f"open synthesis of rtl/ ({_COMMAND}): sky130_fd_sc_hd, 130 nm, 1.8 V, typical"
_AT_NODE = f"open synthesis of rtl/ ({_COMMAND}): sky130_fd_sc_hd (130 nm, 1.8 V) and ASAP7 (7 nm, 0.70 and 0.77 V)"
_CELLS = f"Liberty power of cells ({_COMMAND}): sky130_fd_sc_hd (130 nm, 1.8 V) and ASAP7 (7 nm, 0.77 V)"
_DRAWN = (
    "two-input NAND of libraries by node (accelsim/cost/scaling.py): sky130_fd_sc_hd and ASAP7, the others recalled"
)
_FEWEST_TRACKS = 7 / 9
_ADDER_LEAKAGE_NW = 2250.0  # Aladdin, 40 nm, a 32-bit adder
_FLOATING_UM2 = {"fp32": 8970.0 + 4360.0, "fp16": 8970.0 * (11 / 24) ** 2 + 4360.0}  # Aladdin, 40 nm


@dataclass(frozen=True, slots=True)
class _Of:
    """Where a row belongs, and what it rests on."""

    unit_of_chip: str
    source: str


_SYNTHESISED = _Of("gate", _AT_NODE)
_CLOCKED = _Of("clock", _CELLS)


@dataclass(frozen=True, slots=True)
class Counted:
    """A unit whose gates, flip-flops and activity are rows.

    Attributes
    ----------
    name
        Of the unit and of its rows.
    per
        What the row's gates are per: a unit that is this many times what the row counts.
    action
        That the rows price, of ``unit_of_chip``.
    """

    name: str
    unit_of_chip: str
    action: str
    per: float
    note: str


_GENERATOR, _DECODER = "weight_generator", "mask_decoder"
COUNTED = (
    Counted("xorshift32", _GENERATOR, "words", 1, "one lane, 32 bits a word, loaded and held"),
    Counted("lfsr32", _GENERATOR, "words", 1, "32 shifts unrolled, mapped as deep chains that glitch"),
    Counted("lfsr16", _GENERATOR, "words", 1, "16 shifts unrolled, a 16-bit word"),
    Counted("philox4x32", _GENERATOR, "words", 4, "a block of four words a cycle, ten stages of one round"),
    Counted("freeze", _GENERATOR, "words", 1,
            "two comparisons per 16 bits of every word: an upper bound, words for weights need none"),
    Counted("seed_hash", _GENERATOR, "derived_seeds", 1, "one hash a seed, two 32-bit products in one cycle"),
    Counted("jump", _GENERATOR, "jumps", 1, "one matrix column a cycle; a jump takes jump_cycles of them"),
    Counted("raw_bits", _DECODER, "raw_bits", 64, "64 positions a cycle, with their window of two words"),
    Counted("rle_symbols", _DECODER, "rle_symbols", 1, "one stream: window, field, writer of runs of up to 16 bits"),
    Counted("golomb_symbols", _DECODER, "golomb_symbols", 1, "one stream: window, code word, writer of runs as rle"),
    Counted("entropy_symbols", _DECODER, "entropy_symbols", 1, "one stream: range of 64 bits, probability of 24"),
    Counted("csr_symbols", _DECODER, "csr_symbols", 1, "one entry a cycle into a chunk of 16 positions of 8 bits"),
    Counted("bitmap_bits", _DECODER, "bitmap_bits", 16, "16 positions of 8 bits a cycle, with two windows"),
    Counted("nm_symbols", _DECODER, "nm_symbols", 16, "2:4, eight 8-bit values to 16 places; energy is a value's"),
    Counted("positions", _DECODER, "positions", 64, "expander of 64 positions, four stages"),
)  # fmt: skip


def cost_rows(results: Results, cells: Mapping[str, ClockedCell]) -> dict[str, CostRow]:
    """Return the rows, by name and in their order."""
    rows = [*_node_rows(results), *_clock_rows(cells)]
    gate_um2 = rows[0].value
    for unit in COUNTED:
        rows += _counted_rows(results, unit)
    for arithmetic in (name for name in ARITHMETICS if name not in _FLOATING_UM2):
        bits = 32 if arithmetic.startswith("int") and arithmetic != "int4" else 24
        note = f"PE of one product a cycle and a {bits}-bit sum, without clock gates; its registers are counted apart"
        rows.append(_gates(results, f"mac_{arithmetic}_gates", f"pe_{arithmetic}", "pe_array", "area", 1, note))
    rows += [_floating(name, area, gate_um2) for name, area in _FLOATING_UM2.items()]
    note = "per PE that skips: first kept of 16, and the place of each among the kept ones"
    rows.append(_gates(results, "skip_window_gates", "skip_window", "pe_array", "area", 1, note))
    note = "16-bit multiplier and 32-bit adder"
    rows.append(_gates(results, "vector_lane_gates", "vector_lane", "vector_unit", "area", 1, note))
    lane = results[_FIRST.name, "vector_lane"]
    rows.append(_flip_flops("vector_lane_flip_flops", lane.flip_flops, "vector_unit", "area", "three 32-bit registers"))
    return {row.name: row for row in rows}


def at_node(
    known: Known, value: float, quantity: Literal["area", "energy", "register"], node_nm: float = NODE_NM
) -> float:
    """Return a library's area or energy at another node and that node's nominal supply."""
    if quantity == "area":
        return value * scaling.scale_cells(known.node_nm, node_nm)
    voltage = known.register_voltage_v if quantity == "register" else known.voltage_v
    return value * scaling.scale_energy(known.node_nm, voltage, node_nm, scaling.nominal_voltage_v(node_nm))


def between(values: Mapping[str, float], node_nm: float = NODE_NM) -> float:
    """Return the value at a node from the scaled values of libraries by name: between the nearest on either side.

    Linear in the logarithms of value and node; outside the libraries' nodes the nearest one's.
    """
    known = sorted((known for known in KNOWN if known.name in values), key=lambda each: each.node_nm)
    below = [each for each in known if each.node_nm <= node_nm] or known[:1]
    above = [each for each in known if each.node_nm >= node_nm] or known[-1:]
    low, high = below[-1], above[0]
    if low == high:
        return values[low.name]
    part = math.log(node_nm / low.node_nm) / math.log(high.node_nm / low.node_nm)
    return math.exp((1 - part) * math.log(values[low.name]) + part * math.log(values[high.name]))


def _exponent(values: Mapping[str, float]) -> float:
    """Return how the value between the libraries changes with the node beside the scaling equations, as a power."""
    low, high = (next(each for each in KNOWN if each.node_nm == node) for node in scaling.LIBRARY_NODES_NM)
    if not {low.name, high.name} <= values.keys():
        return 0.0
    return math.log(values[high.name] / values[low.name]) / math.log(high.node_nm / low.node_nm)


def _node_rows(results: Results) -> list[CostRow]:
    areas: dict[str, float] = {}
    registers: dict[str, float] = {}
    energies: dict[str, float] = {}
    for known in _measured(results, "xorshift32"):
        adder, register = results[known.name, YARDSTICK], results[known.name, "xorshift32"]
        areas[known.name] = at_node(known, adder.gate_area_um2 / adder.gate_equivalents, "area")
        registers[known.name] = at_node(known, register.register_area_um2 / register.flip_flops, "area")
        energies[known.name] = at_node(known, _gate_energy(results, known), "energy")
    adder = results[_FIRST.name, YARDSTICK]
    note = f"32-bit adder with random operands over its {adder.gate_equivalents:.0f} gates"
    gate = _at_node_row("gate_area", "area", areas, "um2", "NAND2")
    drawn = {
        "source": _DRAWN, "low": _rounded(gate.value * _FEWEST_TRACKS),
        "note": f"log of the area is linear in log of the node; brought to 45 nm: {_by_library(areas)}; "
        "low: cells of seven tracks instead of nine, high: the largest of these",
    }  # fmt: skip
    return [
        gate.model_copy(update=drawn),
        _at_node_row("gate_energy", "switch", energies, "pj", note),
        _at_node_row("register_area", "area", registers, "um2", "one flip-flop without reset or enable"),
        _leakage(adder.gate_equivalents),
    ]


def _clock_rows(cells: Mapping[str, ClockedCell]) -> list[CostRow]:
    """Return the rows of a flip-flop's clock: inside, pin, its part of a leaf buffer; and of a data input."""
    known = [each for each in KNOWN if each.name in cells]
    inside, pin, buffer, data = (
        {each.name: at_node(each, getattr(cells[each.name], name), "register") for each in known}
        for name in ("inside_pj", "pin_pj", "buffer_pj", "data_pj")
    )
    share = {name: buffer[name] / pin[name] for name in pin}
    cycles = "cycles of a flip-flop"
    inputs = {name: value / 2 for name, value in data.items()}
    return [
        _at_node_row("flip_flop_clock", cycles, inside, "pj",
                     "inside of the smallest flip-flop, a rise and a fall of its clock with still data", _CLOCKED),
        _at_node_row("clock_pin", cycles, pin, "pj", "C V^2 of its clock pin", _CLOCKED),
        CostRow(
            name="clock_buffer_share", unit_of_chip="clock", action=cycles, value=_rounded(between(share)),
            unit="factor", node_nm=None, voltage_v=None, low=_rounded(min(share.values()) / 2),
            high=_rounded(2 * max(share.values())), source=_CELLS,
            note=f"leaf buffers of {LEAF_FAN_OUT} flip-flops over clock_pin: {_by_library(share)}; between the "
            "first and ASAP7 in log node, at 45 nm; ranges are assumptions: half (flip-flops of several bits), twice "
            "(half the fan-out)",
        ),
        _at_node_row("register_input", "bits written to register memories, per word", inputs, "pj",
                     "the data bus of a register memory moves the D pin of every word, half of the bits change",
                     _CLOCKED),
    ]  # fmt: skip


def _by_library(values: Mapping[str, float]) -> str:
    return ", ".join(f"{known.name} {values[known.name]:.3g}" for known in KNOWN if known.name in values)


def _at_node_row(
    name: str, action: str, values: Mapping[str, float], unit: Literal["um2", "pj"], note: str, of: _Of = _SYNTHESISED
) -> CostRow:
    voltage = scaling.nominal_voltage_v(NODE_NM) if unit == "pj" else None
    note += f"; brought to 45 nm: {_by_library(values)}; "
    note += "between the first and ASAP7 in log node, also at a chip's node; range over all"
    return CostRow(
        name=name, unit_of_chip=of.unit_of_chip, action=action, value=_rounded(between(values)), unit=unit,
        node_nm=NODE_NM, voltage_v=voltage, node_exponent=_rounded(_exponent(values)),
        low=_rounded(min(values.values())), high=_rounded(max(values.values())), source=of.source, note=note,
    )  # fmt: skip


def _counted_rows(results: Results, unit: Counted) -> list[CostRow]:
    measured = _measured(results, unit.name)
    first = results[_FIRST.name, unit.name]
    gates = _gates(results, f"{unit.name}_gates", unit.name, unit.unit_of_chip, unit.action, unit.per, unit.note)
    activities = []
    for known in measured:
        done = results[known.name, unit.name]
        activities.append(done.logic_pj / (done.gate_equivalents / unit.per * _gate_energy(results, known)))
    note = f"energy of its gates over that of as many of an adder; {first.glitches:.0%} of the edges are glitches"
    activity = _row(f"{unit.name}_activity", unit.unit_of_chip, unit.action, "factor", activities, note)
    flip_flops = _flip_flops(
        f"{unit.name}_flip_flops", first.flip_flops / unit.per, unit.unit_of_chip, unit.action, "those of the same unit"
    )
    has_flip_flops = first.flip_flops > 0 or unit.unit_of_chip == _DECODER
    return [gates, *([flip_flops] if has_flip_flops else []), activity]


def _gates(results: Results, name: str, unit: str, unit_of_chip: str, action: str, per: float, note: str) -> CostRow:
    values = [results[known.name, unit].gate_equivalents / per for known in _measured(results, unit)]
    return _row(name, unit_of_chip, action, "ge", values, note)


def _row(
    name: str, unit_of_chip: str, action: str, unit: Literal["ge", "factor"], values: list[float], note: str
) -> CostRow:
    return CostRow(
        name=name, unit_of_chip=unit_of_chip, action=action, value=_rounded(values[0]), unit=unit,
        node_nm=None, voltage_v=None, low=_rounded(min(values)), high=_rounded(max(values)), source=_SOURCE,
        note=f"{note}; range over libraries",
    )  # fmt: skip


def _flip_flops(name: str, count: float, unit_of_chip: str, action: str, note: str) -> CostRow:
    exact = _rounded(count)
    return CostRow(
        name=name, unit_of_chip=unit_of_chip, action=action, value=exact, unit="flip_flops", node_nm=None,
        voltage_v=None, low=exact, high=exact, source=_SOURCE, note=note,
    )  # fmt: skip


def _floating(name: str, area_um2: float, gate_um2: float) -> CostRow:
    gates = area_um2 * scaling.scale_cells(40.0, NODE_NM) / gate_um2
    how = "multiplier 8,970" if name == "fp32" else "assumption: multiplier x (11/24)^2 of the significand"
    return CostRow(
        name=f"mac_{name}_gates", unit_of_chip="pe_array", action="area", value=_rounded(gates), unit="ge",
        node_nm=None, voltage_v=None, low=_rounded(gates / 2), high=_rounded(1.25 * gates),
        source="Aladdin, ISCA 2014, through hwcomponents-library 1.0.58",
        note=f"{how} + adder 4,360 um2 at 40 nm, brought to 45 nm, over gate_area; range: half to 1.25, an assumption",
    )  # fmt: skip


def _leakage(adder_gates: float) -> CostRow:
    gate_nw = _ADDER_LEAKAGE_NW / adder_gates
    return CostRow(
        name="gate_leakage", unit_of_chip="gate", action="leakage", value=_rounded(gate_nw), unit="nw", node_nm=40.0,
        voltage_v=0.9, low=_rounded(gate_nw / 20), high=_rounded(2 * gate_nw),
        source="Aladdin, ISCA 2014, 40 nm, leakage",
        note=f"32-bit adder 2.25 uW / {adder_gates:.0f} gates of ours; general-purpose cells. low: a twentieth, "
        "low-standby-power cells, and high: twice, hot silicon, are assumptions",
    )  # fmt: skip


def _gate_energy(results: Results, known: Known) -> float:
    adder = results[known.name, YARDSTICK]
    return adder.logic_pj / adder.gate_equivalents


def _measured(results: Results, unit: str = YARDSTICK) -> list[Known]:
    """Return the libraries that a unit was measured in, sky130 first, which must be among them."""
    if (_FIRST.name, unit) not in results:
        raise ConfigError(f"results.csv: {unit} of {_FIRST.name} is missing; measure it with {_COMMAND} LIBERTY=...")
    return [known for known in KNOWN if (known.name, unit) in results and (known.name, YARDSTICK) in results]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def write_rows(results: Results, cells: Mapping[str, ClockedCell], path: Path = PATH) -> None:
    """Put the rows into a table file, each in the place of the row of its name, else behind the one before it."""
    text = path.read_text(encoding="utf-8")
    end = text.index("rows:\n") + len("rows:\n")
    for row in cost_rows(results, cells).values():
        found = re.search(rf"^  - \{{name: {row.name}, .*?\}}\n", text, re.M | re.S)
        start, stop = found.span() if found else (end, end)
        written = row_text(row)
        text = text[:start] + written + text[stop:]
        end = start + len(written)
    write_file(path, text.encode())


def row_text(row: CostRow) -> str:
    """Return a row as the table files have it."""
    place = "" if row.node_nm is None else f", node_nm: {row.node_nm:g}"
    place += "" if row.voltage_v is None else f", voltage_v: {row.voltage_v:.1f}"
    place += f", node_exponent: {row.node_exponent:g}" if row.node_exponent else ""
    action = f'"{row.action}"' if "," in row.action else row.action
    return (
        f"  - {{name: {row.name}, unit_of_chip: {row.unit_of_chip}, action: {action}, value: {row.value:g}, "
        f"unit: {row.unit}{place}, low: {row.low:g}, high: {row.high:g},\n"
        f'     source: "{row.source}", note: "{row.note}"}}\n'
    )
