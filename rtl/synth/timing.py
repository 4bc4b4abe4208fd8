"""OpenSTA: the delay of every cell and the longest path of a netlist.

Its power report is not used. Version 2.0.17 charges each edge of an output with the energy of a rising and of a falling
one, for each of a gate's inputs by half, and takes gated clocks as always on: `rtl.synth.energy` reads the same tables
itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from accelsim.errors import SimulationError
from rtl.synth.library import Library
from rtl.synth.mapping import Netlist, run

_PATH = re.compile(r"^PATH (\S+)", re.M)


def longest_path_ns(library: Library, netlist: Netlist, folder: Path) -> float:
    """Return the longest path in ns, set-up time included, and write ``delays.sdf`` into ``folder``.

    From an input or a flip-flop to an output or a flip-flop; inputs have no slope and outputs no load.
    """
    script = _design(library, netlist, folder) + (
        f'puts "PATH [expr 1000 - [sta::worst_slack]]"\nwrite_sdf {folder}/delays.sdf\n'
    )
    found = _PATH.search(_run(script, folder / "timing.tcl", f"timing of {netlist.top}"))
    if found is None:
        raise SimulationError(f"timing of {netlist.top}: OpenSTA printed no path; look at {folder}")
    return float(found.group(1))


def _design(library: Library, netlist: Netlist, folder: Path) -> str:
    reads = "".join(f"read_liberty {path}\n" for path in library.unpacked)
    clock_net = next((nets[0] for name, nets in netlist.inputs() if name == "clk"), "")
    # A latch that holds a clock's gate takes half a period, whatever the period is.
    latches = " ".join(
        instance.name
        for instance in netlist.instances
        if any(group.kind == "latch" for group in library.cells[instance.cell].group.groups)
    )
    data = " ".join(net for name, nets in netlist.inputs() for net in nets if name != "clk")
    return (
        f"{reads}set_cmd_units -time ns -power W\nread_verilog {folder}/netlist.v\nlink_design {netlist.top}_gates\n"
        f"create_clock -name clk -period 1000 {f'[get_ports {clock_net}]' if clock_net else ''}\n"
        f"set_input_delay 0 -clock clk [get_ports {{{data}}}]\nset_output_delay 0 -clock clk [all_outputs]\n"
        + "".join(f"set_false_path {way} [get_cells {{{latches}}}]\n" for way in ("-from", "-to") if latches)
    )


def _run(script: str, path: Path, what: str) -> str:
    path.write_text(script + "\nexit\n")
    return run(["sta", "-exit", "-no_splash", "-no_init", path], what)
