"""Yosys: a unit of `rtl/` to a netlist of a library's cells, flat, with one name per bit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import SimulationError
from rtl.synth.library import Library

TOOLS = ("yosys", "iverilog", "vvp", "sta")
_INSTALL = "install Yosys, Icarus Verilog and OpenSTA (Debian: apt-get install yosys iverilog opensta)"


@dataclass(frozen=True, slots=True)
class Instance:
    """A cell of the netlist: its type, and the net of each pin; constants are ``1'b0`` and ``1'b1``."""

    name: str
    cell: str
    pins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Netlist:
    """A mapped unit.

    Attributes
    ----------
    ports
        (name, direction, nets of its bits from the lowest).
    """

    top: str
    ports: tuple[tuple[str, str, tuple[str, ...]], ...]
    instances: tuple[Instance, ...]

    def inputs(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the input ports."""
        return ((name, nets) for name, direction, nets in self.ports if direction == "input")

    def outputs(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the output ports."""
        return ((name, nets) for name, direction, nets in self.ports if direction == "output")


def missing_tools() -> str | None:
    """Return a sentence that says which tools are missing and how to install them; None where all are there."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    return f"synthesis needs {', '.join(missing)}; {_INSTALL}" if missing else None


def check_tools() -> None:
    """Raise `SimulationError` where a tool is missing."""
    if (problem := missing_tools()) is not None:
        raise SimulationError(problem)


def run(command: Sequence[str | Path], what: str) -> str:
    """Run a tool and return what it printed.

    Raises
    ------
    SimulationError
        The tool failed.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = next(
            (line for line in lines if "ERROR" in line or "error" in line), lines[-1] if lines else "no message"
        )
        raise SimulationError(f"{what}: {words[0]} failed: {reason}; see the files beside {words[-1]}")
    return done.stdout


def prepare(library: Library, folder: Path, text: str) -> None:
    """Write what all units need of a library: one Liberty file, models of its cells, and its clock gate."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.lib").write_text(text)
    gate = f"module clock_gate(input clk, input enable, output gated);\n  {library.known.clock_gate}\nendmodule\n"
    (folder / "clock_gate.v").write_text(gate)
    known = library.known
    (folder / "abc.constr").write_text(f"set_driving_cell {known.buffer}\nset_load {known.buffer_ff}\n")
    # Yosys knows no functions of clock gates; their models are the library table's.
    read = f"read_liberty -ignore_miss_func -ignore_miss_data_latch {folder}/cells.lib"
    script = f"{read}; write_verilog -noattr {folder}/models.v"
    run(["yosys", "-q", "-p", script], f"models of {library.known.name}")
    # A flip-flop begins at 0: what is unknown before a unit is loaded would never leave the netlist, for a simulator
    # does not see that an unknown value and its complement cancel.
    models = re.sub(r"^  reg (\w+);", r"  reg \1 = 1'b0;", (folder / "models.v").read_text(), flags=re.M)
    (folder / "models.v").write_text(models + library.known.clock_gate_model)


def models_of(netlist: Netlist, prepared: Path) -> str:
    """Return the models of the cells that a netlist has; a simulator takes longer over a library than over a unit."""
    used = {instance.cell for instance in netlist.instances}
    text = (prepared / "models.v").read_text()
    modules = re.finditer(r"^module (\w+)\b.*?^endmodule$", text, flags=re.M | re.S)
    return "\n".join(module.group() for module in modules if module.group(1) in used) + "\n"


def sources_of(top: str, sources: Sequence[Path]) -> list[Path]:
    """Return the files that a module is made of.

    The mapper numbers what it reads, and where two cells would do, the numbers decide: a unit that read the others'
    files too would change with them.
    """
    text = {path: path.read_text() for path in sources}
    file_of = {name: path for path in sources for name in re.findall(r"^module (\w+)", text[path], flags=re.M)}
    found: list[Path] = []
    ahead = [file_of[top]]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.append(path)
            ahead += [
                file_of[word]
                for word in re.findall(r"^\s*(\w+)\s+(?:#\(|\w+\s*\()", text[path], flags=re.M)
                if word in file_of
            ]
    return sorted(found)


def synthesise(
    top: str, parameters: Mapping[str, int], sources: Sequence[Path], prepared: Path, folder: Path
) -> Netlist:
    """Map one unit and return its netlist: for area, then with the buffers and sizes that its loads need."""
    cells = prepared / "cells.lib"
    files = " ".join(str(path) for path in sources if path.name != "clock_gate.sv")
    script = "; ".join([
        f"read_liberty -lib -ignore_miss_func {cells}",
        f"read_verilog {prepared}/clock_gate.v",
        f"read_verilog -sv {files}",
        *(f"chparam -set {name} {value} {top}" for name, value in parameters.items()),
        f"synth -flatten -top {top}",
        f"dfflibmap -liberty {cells}",
        f"abc -liberty {cells} -constr {prepared}/abc.constr",
        "setundef -zero",
        "opt_clean -purge",
        f"write_json {folder}/netlist.json",
    ])  # fmt: skip
    (folder / "synth.ys").write_text(script.replace("; ", "\n") + "\n")
    run(["yosys", "-q", folder / "synth.ys"], f"synthesis of {top}")
    return read_netlist(json.loads((folder / "netlist.json").read_text()), top)


def read_netlist(design: dict[str, Any], top: str) -> Netlist:
    """Return the netlist in what Yosys' ``write_json`` wrote; nets are called n2, n3, ... and instances u0, u1, ..."""
    module = next(body for name, body in design["modules"].items() if body["attributes"].get("top"))
    ports = tuple(
        (name, str(port["direction"]), tuple(_net(bit) for bit in port["bits"]))
        for name, port in module["ports"].items()
    )
    instances = tuple(
        Instance(
            f"u{index}", str(cell["type"]), {pin: _net(bits[0]) for pin, bits in cell["connections"].items() if bits}
        )
        for index, cell in enumerate(module["cells"].values())
    )
    return Netlist(top, ports, instances)


def _net(bit: object) -> str:
    return f"n{bit}" if isinstance(bit, int) else f"1'b{1 if bit == '1' else 0}"
