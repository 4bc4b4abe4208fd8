"""OpenSTA: the delay of every cell and the longest path of a netlist; and what its own power report says."""

from __future__ import annotations

import re
from pathlib import Path

from accelsim.errors import SimulationError
from rtl.synth.library import Library
from rtl.synth.mapping import Netlist, run
from rtl.synth.simulate import Activity
from rtl.synth.verilog import driven_nets

_PATH = re.compile(r"^PATH (\S+)", re.M)
_TOTAL = re.compile(r"^Total +\S+ +\S+ +(\S+) +(\S+)", re.M)


def longest_path_ns(library: Library, netlist: Netlist, folder: Path) -> float:
    """Return the longest path in ns, set-up time included, and write ``delays.sdf`` into ``folder``.

    From an input or a flip-flop to an output or a flip-flop; inputs have no slope and outputs no load.
    """
    script = _design(library, netlist, folder, 1000.0) + (
        'puts "PATH [expr 1000 - [sta::worst_slack]]"\n' f"write_sdf {folder}/delays.sdf\n"
    )
    found = _PATH.search(_run(script, folder / "timing.tcl", f"timing of {netlist.top}"))
    if found is None:
        raise SimulationError(f"timing of {netlist.top}: OpenSTA printed no path; look at {folder}")
    return float(found.group(1))


def reported_w(library: Library, netlist: Netlist, activity: Activity, period_ns: float, folder: Path) -> float:
    """Return the power that OpenSTA's own report gives for the counted activity, without leakage.

    For comparison with others who use it, not for the tables: version 2.0.17 charges each edge with the energy of a
    rising and a falling one, does not normalise over a gate's inputs, and takes gated clocks as always on.
    """
    # A report before activities are set makes the tool keep them.
    lines = [_design(library, netlist, folder, period_ns), "set_power_activity -input -activity 0.0", "report_power"]
    for pin, net in driven_nets(netlist, library.outputs_of).items():
        lines.append(f"sta::set_power_pin_activity [get_pins {pin}] {_rate(activity, net)}")
    for name, nets in netlist.inputs():
        if name != "clk":
            lines += [f"sta::set_power_input_port_activity [get_ports {net}] {_rate(activity, net)}" for net in nets]
    printed = _run("\n".join([*lines, "report_power -digits 6"]), folder / "power.tcl", f"power of {netlist.top}")
    leakage, total = (float(text) for text in _TOTAL.findall(printed)[-1])
    return total - leakage


def _rate(activity: Activity, net: str) -> str:
    return f"{activity.toggles.get(net, 0) / activity.num_cycles:.6g} {activity.high.get(net, 0.0):.4f}"


def _design(library: Library, netlist: Netlist, folder: Path, period_ns: float) -> str:
    reads = "".join(f"read_liberty {path}\n" for path in library.unpacked)
    clock_net = next((nets[0] for name, nets in netlist.inputs() if name == "clk"), "")
    data = " ".join(net for name, nets in netlist.inputs() for net in nets if name != "clk")
    return (
        f"{reads}set_cmd_units -time ns -power W\nread_verilog {folder}/netlist.v\nlink_design {netlist.top}_gates\n"
        f"create_clock -name clk -period {period_ns} {f'[get_ports {clock_net}]' if clock_net else ''}\n"
        f"set_input_delay 0 -clock clk [get_ports {{{data}}}]\nset_output_delay 0 -clock clk [all_outputs]\n"
    )


def _run(script: str, path: Path, what: str) -> str:
    path.write_text(script + "\nexit\n")
    return run(["sta", "-exit", "-no_splash", "-no_init", path], what)
