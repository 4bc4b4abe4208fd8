"""The open cell libraries that the script knows: node, supply, reference gate, clock gate; read from Liberty files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from accelsim.errors import ConfigError
from rtl.synth import liberty
from rtl.synth.liberty import Group


@dataclass(frozen=True, slots=True)
class Known:
    """What a Liberty file does not say of its library.

    Attributes
    ----------
    prefix
        Of the name that its files give themselves.
    node_nm, voltage_v, register_voltage_v
        Node, and the supply that combinational cells and flip-flops are characterised at.
    gate, buffer, buffer_ff
        The cell that one gate equivalent is, the smallest two-input NAND of ordinary strength; what drives inputs and
        loads outputs while the mapper sizes cells, and the load in fF.
    clock_gate
        The body of `rtl/clock_gate.sv` in cells of the library.
    clock_gate_model
        Behaviour of a cell that Yosys reads no function of.
    flip_flop, clock_buffer
        The smallest flip-flop without reset, and the buffer of a clock tree's leaves: of strength eight, or the
        library's smallest clock buffer.
    """

    name: str
    prefix: str
    node_nm: float
    voltage_v: float
    register_voltage_v: float
    gate: str
    buffer: str
    buffer_ff: float
    clock_gate: str
    clock_gate_model: str
    licence: str
    flip_flop: str
    clock_buffer: str


_GATING_CELL = """
module {cell}(input {clk}, input {enable}, {more}output {gated});
  reg held;
  always @* if (!{clk}) held = {enable};
  assign {gated} = {clk} & held;
endmodule
"""

# ASAP7: the measured files are of a fast corner and of two supplies, as their headers say: 0.70 V and 25 C for the
# simple cells, 0.77 V and 0 C for the others. Its AO cells were missing, so mapping did without them.
KNOWN = (
    Known(
        "sky130_hd", "sky130_fd_sc_hd", 130.0, 1.8, 1.8, "sky130_fd_sc_hd__nand2_1",
        "sky130_fd_sc_hd__buf_2", 10.0,
        "sky130_fd_sc_hd__dlclkp_1 gate(.CLK(clk), .GATE(enable), .GCLK(gated));",
        _GATING_CELL.format(cell="sky130_fd_sc_hd__dlclkp_1", clk="CLK", enable="GATE", more="", gated="GCLK"),
        "Apache-2.0", "sky130_fd_sc_hd__dfxtp_1", "sky130_fd_sc_hd__clkbuf_8",
    ),
    Known(
        "osu018", "osu018_stdcells", 180.0, 1.8, 1.8, "NAND2X1", "BUFX2", 40.0,
        "wire opposite, held; INVX1 turn(.A(clk), .Y(opposite)); LATCH hold(.CLK(opposite), .D(enable), .Q(held)); "
        "AND2X1 gate(.A(clk), .B(held), .Y(gated));",
        "", "as Debian's qflow-tech-osu018", "DFFPOSX1", "CLKBUF1",
    ),
    Known(
        "asap7_rvt", "asap7sc7p5t", 7.0, 0.7, 0.77, "NAND2xp5_ASAP7_75t_R",
        "BUFx2_ASAP7_75t_R", 2.0,
        "ICGx1_ASAP7_75t_R gate(.CLK(clk), .ENA(enable), .SE(1'b0), .GCLK(gated));",
        _GATING_CELL.format(cell="ICGx1_ASAP7_75t_R", clk="CLK", enable="ENA", more="input SE, ", gated="GCLK"),
        "BSD-3-Clause", "DFFHQNx1_ASAP7_75t_R", "BUFx8_ASAP7_75t_R",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell with what its file says of all cells: the templates of its tables, and the supply in volts."""

    group: Group
    templates: Mapping[str, Group]
    voltage_v: float

    @cached_property
    def pins(self) -> dict[str, Group]:
        """Every pin by its name."""
        return {pin.name: pin for pin in self.group.of_kind("pin")}

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The names of its output pins."""
        return frozenset(name for name, pin in self.pins.items() if pin.values.get("direction") == "output")

    @cached_property
    def clock(self) -> str | None:
        """The name of its clock pin; None if it has none."""
        return next((name for name, pin in self.pins.items() if pin.values.get("clock") == "true"), None)

    @cached_property
    def is_register(self) -> bool:
        """Whether it is a flip-flop."""
        return any(group.kind == "ff" for group in self.group.groups)

    @property
    def area_um2(self) -> float:
        """Its area."""
        return self.group.number("area")


@dataclass(frozen=True)
class Library:
    """A library with its files, which are at ``paths`` as they were given and at ``unpacked``."""

    known: Known
    texts: tuple[str, ...]
    unpacked: tuple[Path, ...]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every file, parsed."""
        return tuple(liberty.parse(text) for text in self.texts)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Every cell by its name."""
        found: dict[str, Cell] = {}
        for group in self.groups:
            templates = {table.name: table for table in group.groups if table.kind.endswith("_template")}
            voltage = group.number("nom_voltage") or self.known.voltage_v
            found.update({cell.name: Cell(cell, templates, voltage) for cell in group.of_kind("cell")})
        return found

    @cached_property
    def outputs_of(self) -> dict[str, frozenset[str]]:
        """The output pins of every cell."""
        return {name: cell.outputs for name, cell in self.cells.items()}

    @cached_property
    def _units(self) -> tuple[float, float, float]:
        values = self.groups[0].values
        size, unit = values["capacitive_load_unit"].replace('"', "").split(",")
        time, leakage = values["time_unit"].lower(), values["leakage_power_unit"].lower()
        return (
            float(size) * {"ff": 1e-3, "pf": 1.0}[unit.strip().lower()],
            float(time[:-2]) * {"ps": 1e-3, "ns": 1.0}[time[-2:]],
            float(leakage[:-2]) * {"pw": 1e-3, "nw": 1.0, "uw": 1e3}[leakage[-2:]],
        )

    @property
    def capacitance_pf(self) -> float:
        """The library's unit of capacitance; with a supply of 1 V also that of internal energy, in pJ."""
        return self._units[0]

    @property
    def time_ns(self) -> float:
        """The library's unit of time."""
        return self._units[1]

    @property
    def leakage_nw(self) -> float:
        """The library's unit of leakage."""
        return self._units[2]

    def leakage_of_nw(self, cell: str) -> float:
        """Return a cell's leakage: the figure for the cell, else the mean over its states."""
        group = self.cells[cell].group
        if "cell_leakage_power" in group.values:
            return group.number("cell_leakage_power") * self.leakage_nw
        states = [state.number("value") for state in group.of_kind("leakage_power") if not at_ground(state)]
        return self.leakage_nw * sum(states) / len(states) if states else 0.0


def at_ground(group: Group) -> bool:
    """Return whether a group is of the ground rail, which sees the same energy as the supply from its other end."""
    return group.values.get("related_pg_pin", "").upper() in ("VSS", "GND", "VGND")


def read_libraries(given: str, folder: Path) -> list[Library]:
    """Return the libraries whose files ``given`` names (see `library_paths`), each with all its files.

    They are unpacked into ``folder``.

    Raises
    ------
    ConfigError
        A file is of no library that the script knows.
    """
    found: dict[str, list[tuple[str, Path]]] = {}
    for path in liberty.library_paths(given):
        text = liberty.library_text(path)
        name = liberty.library_name(text)
        known = next((known for known in KNOWN if name.startswith(known.prefix)), None)
        if known is None:
            raise ConfigError(
                f"{path}: library {name!r} is not known; give one of {', '.join(known.prefix for known in KNOWN)}, "
                "or add it to KNOWN in rtl/synth/library.py"
            )
        unpacked = folder / known.name / path.name.removesuffix(".gz")
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        unpacked.write_text(text)
        found.setdefault(known.name, []).append((text, unpacked))
    return [
        Library(known, tuple(text for text, _ in found[known.name]), tuple(path for _, path in found[known.name]))
        for known in KNOWN
        if known.name in found
    ]
