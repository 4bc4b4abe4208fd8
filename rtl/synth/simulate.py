"""Gate-level simulation: Icarus runs a unit and its netlist side by side, and every edge is counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accelsim.errors import SimulationError
from rtl.synth.mapping import Netlist, run

_LEAD = 2  # periods before the first edge, in which the logic settles
_DONE = re.compile(r"^DONE operations=(\d+) mismatches=(\d+) compared=(\d+)", re.M)


@dataclass(frozen=True, slots=True)
class Channel:
    """Values for some inputs, one a cycle, or one whenever a condition held at the clock's edge.

    Attributes
    ----------
    ports
        Input ports, the first in the highest bits.
    words
        Values of all the ports together; the last one stays when they are used up.
    advance
        Verilog condition over the unit's ports (``in_ready``, ``take != 0``).
    """

    ports: tuple[str, ...]
    words: Sequence[int]
    advance: str = "1"


@dataclass(frozen=True, slots=True)
class Stimulus:
    """What a unit does while it is measured.

    Attributes
    ----------
    operations
        Verilog expression over the unit's ports: how many operations a cycle's edge completes.
    warm_cycles, num_cycles
        Cycles before counting, and cycles counted.
    """

    channels: tuple[Channel, ...]
    operations: str
    num_cycles: int
    warm_cycles: int = 8


@dataclass(slots=True)
class Activity:
    """What was counted.

    Attributes
    ----------
    operations, num_cycles
        In the counted cycles.
    toggles, settled, high
        Of each net: edges, those of them that a simulation without delays would show, and the share of time at 1.
    """

    operations: int
    num_cycles: int
    toggles: dict[str, int] = field(default_factory=dict)
    settled: dict[str, int] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)


def simulate(
    netlist: Netlist,
    parameters: Mapping[str, int],
    stimulus: Stimulus,
    files: Sequence[Path],
    folder: Path,
    period_fs: int,
) -> Activity:
    """Return the activity of a netlist whose text is among ``files``.

    Raises
    ------
    SimulationError
        The netlist's outputs differ from the unit's, or nothing was done.
    """
    for index, channel in enumerate(stimulus.channels):
        (folder / f"channel{index}.hex").write_text("".join(f"{word:x}\n" for word in channel.words))
    bench = folder / "bench.v"
    bench.write_text(bench_text(netlist, parameters, stimulus, folder, period_fs))
    run(
        ["iverilog", "-g2012", "-o", folder / "bench.vvp", "-s", "bench", bench, *files], f"simulation of {netlist.top}"
    )
    printed = run(["vvp", folder / "bench.vvp"], f"simulation of {netlist.top}")
    found = _DONE.search(printed)
    operations, mismatches, compared = (int(text) for text in found.groups()) if found else (0, 0, 0)
    if not operations or mismatches or not compared:
        raise SimulationError(
            f"{netlist.top}: {operations} operations; its netlist differs from the unit in {mismatches} of {compared} "
            f"outputs; look at {folder}"
        )
    activity = Activity(operations, stimulus.num_cycles)
    start_fs = (_LEAD + stimulus.warm_cycles) * period_fs
    count_edges(folder / "edges.vcd", activity, start_fs, start_fs + stimulus.num_cycles * period_fs)
    return activity


def bench_text(
    netlist: Netlist, parameters: Mapping[str, int], stimulus: Stimulus, folder: Path, period_fs: int
) -> str:
    """Return the test bench. Inputs change a twentieth of a period behind the edge that they answer to."""
    ports = [(name, direction, nets) for name, direction, nets in netlist.ports if name != "clk"]
    lines = [
        "`timescale 1fs/1fs",
        "module bench;",
        "reg clk = 0;",
        "integer operations = 0, mismatches = 0, compared = 0, cycle = 0;",
    ]
    lines += [
        f"{'reg' if way == 'input' else 'wire'} [{len(nets) - 1}:0] {name}{' = 0' if way == 'input' else ''};"
        for name, way, nets in ports
    ]
    lines += [f"wire [{len(nets) - 1}:0] {name}_of_gates;" for name, way, nets in ports if way == "output"]
    settings = ", ".join(f".{name}({value})" for name, value in parameters.items())
    clock = [".clk(clk)"] if any(name == "clk" for name, _, _ in netlist.ports) else []
    names = ", ".join([*clock, *(f".{name}({name})" for name, _, _ in ports)])
    lines.append(f"{netlist.top} #({settings}) unit({names});" if settings else f"{netlist.top} unit({names});")
    nets = [f".{net}({name}[{bit}])" for name, way, bits in ports if way == "input" for bit, net in enumerate(bits)]
    nets += [
        f".{name}_{bit}({name}_of_gates[{bit}])"
        for name, way, bits in ports
        if way == "output"
        for bit in range(len(bits))
    ]
    nets += [f".{bits[0]}(clk)" for name, _, bits in netlist.ports if name == "clk"]
    lines.append(f"{netlist.top}_gates gates({', '.join(nets)});")
    lines += _cycles(stimulus, ports, folder, period_fs)
    return "\n".join([*lines, "endmodule", ""])


def _cycles(
    stimulus: Stimulus, ports: Sequence[tuple[str, str, tuple[str, ...]]], folder: Path, period_fs: int
) -> list[str]:
    """Return the part of the test bench that clocks, drives, compares and counts."""
    lines: list[str] = []
    for index, channel in enumerate(stimulus.channels):
        width = sum(len(bits) for name, _, bits in ports if name in channel.ports)
        lines += [
            f"reg [{width - 1}:0] words{index} [0:{len(channel.words) - 1}];",
            f"integer at{index} = 0; reg go{index} = 0;",
        ]
    lines.append("initial begin")
    lines += [f'  $readmemh("{folder}/channel{index}.hex", words{index});' for index in range(len(stimulus.channels))]
    lines += [_drive(index, channel) for index, channel in enumerate(stimulus.channels)]
    end = stimulus.warm_cycles + stimulus.num_cycles
    half_fs = period_fs // 2
    lines += [
        f'  $dumpfile("{folder}/edges.vcd"); $dumpvars(1, gates);',
        f"  #{_LEAD * period_fs + half_fs} forever begin clk = 1; #{half_fs} clk = 0; #{period_fs - half_fs}; end",
        "end",
        "always @(posedge clk) begin",
        f"  if (cycle >= {stimulus.warm_cycles}) operations = operations + ({stimulus.operations});",
        *(f"  if (cycle >= {stimulus.warm_cycles} && ^{name} !== 1'bx) begin compared = compared + 1; "
          f"mismatches = mismatches + ({name} !== {name}_of_gates); end"
          for name, way, _ in ports if way == "output"),
        *(f"  go{index} = {channel.advance};" for index, channel in enumerate(stimulus.channels)),
        "  cycle = cycle + 1;",
        f"  if (cycle == {end}) begin",
        '    $display("DONE operations=%0d mismatches=%0d compared=%0d", operations, mismatches, compared);',
        "    $finish;",
        "  end",
        f"  #{period_fs // 20};",
        *(f"  if (go{index} && at{index} < {len(channel.words) - 1}) at{index} = at{index} + 1;"
          f"{_drive(index, channel)}"
          for index, channel in enumerate(stimulus.channels)),
        "end",
    ]  # fmt: skip
    return lines


def _drive(index: int, channel: Channel) -> str:
    return f"  {{{', '.join(channel.ports)}}} = words{index}[at{index}];"


class _Counter:
    """Counts edges while a VCD file of one scope goes by; what is settled is what a period leaves behind."""

    def __init__(self, start_fs: int, end_fs: int, period_fs: int) -> None:
        self.start_fs, self.end_fs, self.period_fs = start_fs, end_fs, period_fs
        self.now, self.boundary = 0, period_fs // 2
        self.value: dict[str, str] = {}
        self.since: dict[str, int] = {}
        self.before: dict[str, str] = {}  # of what has changed in this period
        self.edges: Counter[str] = Counter()
        self.settled: Counter[str] = Counter()
        self.high: Counter[str] = Counter()

    def at(self, now: int) -> None:
        """Go on to a time."""
        self.now = now
        if now < self.boundary:
            return
        if self.boundary > self.start_fs:
            self.settled.update(key for key, old in self.before.items() if self.value[key] != old)
        self.before.clear()
        self.boundary += self.period_fs * ((now - self.boundary) // self.period_fs + 1)

    def change(self, key: str, new: str) -> None:
        """Give a net another value."""
        old = self.value.get(key, "x")
        if old == new:
            return
        self._leave(key, old)
        if self.start_fs <= self.now < self.end_fs and old in "01" and new in "01":
            self.edges[key] += 1
            self.before.setdefault(key, old)
        self.value[key], self.since[key] = new, self.now

    def close(self) -> None:
        """End the count at its end."""
        self.now = self.end_fs
        for key, value in self.value.items():
            self._leave(key, value)

    def _leave(self, key: str, value: str) -> None:
        if value == "1":
            self.high[key] += max(0, min(self.now, self.end_fs) - max(self.since[key], self.start_fs))


def count_edges(path: Path, activity: Activity, start_fs: int, end_fs: int) -> None:
    """Add the edges between two times in a VCD file of one scope to ``activity``, whose cycles divide that time."""
    counter = _Counter(start_fs, end_fs, (end_fs - start_fs) // activity.num_cycles)
    names: dict[str, str] = {}
    with path.open() as stream:
        for line in stream:
            first = line[0]
            if first == "#":
                counter.at(int(line[1:]))
            elif first in "01xz" and len(line) > 1:
                counter.change(line[1:-1], first)
            elif line.startswith("$var"):
                words = line.split()
                names[words[3]] = words[4]
    counter.close()
    for key, name in names.items():
        if name.startswith("n"):
            activity.toggles[name] = counter.edges[key]
            activity.settled[name] = min(counter.settled[key], counter.edges[key])
            activity.high[name] = counter.high[key] / (end_fs - start_fs)
