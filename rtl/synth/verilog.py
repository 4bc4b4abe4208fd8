"""Verilog of a mapped netlist: as the timing tool reads it, and with a delay on every cell as the simulator runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rtl.synth.mapping import Netlist

_INSTANCE = re.compile(r"\(INSTANCE (\S+)\)")
_PATH = re.compile(r"\(IOPATH (?:\(\w+ \S+\)|\S+) (\S+) ((?:\([-\d.:]*\) ?)+)\)")
_NUMBER = re.compile(r"[-\d.]+")


def netlist_text(
    netlist: Netlist, outputs_of: Mapping[str, frozenset[str]], delays_fs: Mapping[str, int] | None = None
) -> str:
    """Return the module ``<top>_gates``: an input a net, an output a port ``<name>_<bit>``.

    Parameters
    ----------
    outputs_of
        Output pins of each cell type.
    delays_fs
        Delay of each instance's output pins (``u0/Y``); with them the module is for simulation: a pulse shorter than
        the delay of the cell behind it is swallowed, as `assign #` does.
    """
    ins = [net for _, nets in netlist.inputs() for net in nets]
    outs = [(f"{name}_{bit}", net) for name, nets in netlist.outputs() for bit, net in enumerate(nets)]
    lines = [f"module {netlist.top}_gates({', '.join([*ins, *(name for name, _ in outs)])});"]
    lines += [f"input {net};" for net in ins] + [f"output {name};" for name, _ in outs]
    lines += [f"wire {net};" for net in sorted(driven_nets(netlist, outputs_of).values())]
    for instance in netlist.instances:
        pins: list[str] = []
        for pin, net in instance.pins.items():
            delay = delays_fs.get(f"{instance.name}/{pin}", 0) if delays_fs is not None else 0
            if delay and pin in outputs_of[instance.cell]:
                raw = f"{instance.name}_{pin}"
                lines += [f"wire {raw};", f"assign #{delay} {net} = {raw};"]
                pins.append(f".{pin}({raw})")
            else:
                pins.append(f".{pin}({net})")
        lines.append(f"{instance.cell} {instance.name}({', '.join(pins)});")
    lines += [f"assign {name} = {net};" for name, net in outs]
    return "\n".join([*lines, "endmodule", ""])


def driven_nets(netlist: Netlist, outputs_of: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """Return the net that each driver pin (``u0/Y``) drives."""
    return {
        f"{instance.name}/{pin}": net
        for instance in netlist.instances
        for pin, net in instance.pins.items()
        if pin in outputs_of[instance.cell] and net.startswith("n")
    }


def read_delays_fs(path: Path, unit_fs: float) -> dict[str, int]:
    """Return the mean delay to each output pin of each instance in an SDF file, over its inputs and both edges."""
    delays: dict[str, list[float]] = {}
    instance = ""
    for line in path.read_text().splitlines():
        if found := _INSTANCE.search(line):
            instance = found.group(1)
        elif found := _PATH.search(line):
            times = [float(number) for number in _NUMBER.findall(found.group(2))]
            delays.setdefault(f"{instance}/{found.group(1)}", []).extend(times)
    return {pin: max(1, round(unit_fs * sum(times) / len(times))) for pin, times in delays.items()}
