"""One unit in one library: mapped, timed, simulated at gate level, and its energy attributed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtl.synth import liberty, mapping, timing, verilog
from rtl.synth.energy import clock_cells, energy
from rtl.synth.library import Library
from rtl.synth.mapping import Netlist
from rtl.synth.simulate import Activity, Stimulus, simulate

_FS_PER_NS = 1e6
# The clock of the simulation: energies of edges do not depend on it, and every path has time to settle.
_SLACK = 1.5


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to measure.

    Attributes
    ----------
    name
        As the rows of the cost tables call it.
    top, parameters
        Its module.
    stimulus
        What it does, made when it is needed.
    operation
        What one operation is: ``word``, ``mask bit``, ``multiply-accumulate``.
    """

    name: str
    top: str
    parameters: Mapping[str, int]
    stimulus: Callable[[], Stimulus]
    operation: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What a unit is in a library. Energies are per operation; leakage and area are of all of it.

    Attributes
    ----------
    gate_area_um2, register_area_um2
        Combinational cells with the clock gates, and flip-flops.
    gate_equivalents
        ``gate_area_um2`` over that of the library's NAND.
    logic_pj, register_pj, clock_pj
        Combinational cells; flip-flops' data inputs and outputs; clock pins and clock gates.
    clocked
        Flip-flops that saw a clock edge, per operation.
    glitches
        Share of the combinational cells' edges that settle to nothing within the cycle.
    path_ns
        The longest path.
    """

    library: str
    unit: str
    operation: str
    cells: int
    flip_flops: int
    gate_area_um2: float
    register_area_um2: float
    gate_equivalents: float
    logic_pj: float
    register_pj: float
    clock_pj: float
    clocked: float
    glitches: float
    gate_leakage_nw: float
    register_leakage_nw: float
    path_ns: float


@dataclass(frozen=True, slots=True)
class Bench:
    """A library with the files that all units need, in a folder of its own."""

    library: Library
    folder: Path


def prepare(library: Library, folder: Path) -> Bench:
    """Return a bench: what the mapper and the simulator need of a library, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping.prepare(library, folder, liberty.merged(list(library.texts)))
    return Bench(library, folder)


def measure(bench: Bench, unit: Unit, sources: Sequence[Path]) -> Measured:
    """Return what one unit is in one library."""
    library = bench.library
    folder = bench.folder / unit.name
    folder.mkdir(exist_ok=True)
    sources = mapping.sources_of(unit.top, sources)
    netlist = mapping.synthesise(unit.top, unit.parameters, sources, bench.folder, folder)
    (folder / "netlist.v").write_text(verilog.netlist_text(netlist, library.outputs_of))
    path_ns = timing.longest_path_ns(library, netlist, folder)
    delays = verilog.read_delays_fs(folder / "delays.sdf", library.time_ns * _FS_PER_NS)
    # A gated clock arrives with the clock: a tree is balanced over its gates.
    gates = clock_cells(library, netlist)
    delays = {pin: delay for pin, delay in delays.items() if pin.split("/")[0] not in gates}
    text = verilog.netlist_text(netlist, library.outputs_of, delays)
    (folder / "gates.v").write_text(f"`timescale 1fs/1fs\n{text}")
    period_fs = round(_SLACK * path_ns * _FS_PER_NS / 1000 + 1) * 1000
    (folder / "models.v").write_text(mapping.models_of(netlist, bench.folder))
    files = [*sources, folder / "gates.v", folder / "models.v"]
    activity = simulate(netlist, unit.parameters, unit.stimulus(), files, folder, period_fs)
    return _attributed(library, unit, netlist, activity, path_ns)


def _attributed(library: Library, unit: Unit, netlist: Netlist, activity: Activity, path_ns: float) -> Measured:
    total = energy(library, netlist, activity)
    gates = clock_cells(library, netlist)
    areas, leakages, counts = [0.0, 0.0], [0.0, 0.0], [0, 0]
    edges = settled = 0
    for instance in netlist.instances:
        cell = library.cells[instance.cell]
        counts[cell.is_register] += 1
        areas[cell.is_register] += cell.area_um2
        leakages[cell.is_register] += library.leakage_of_nw(instance.cell)
        if not cell.is_register and instance.name not in gates:
            nets = [instance.pins[pin] for pin in cell.outputs & instance.pins.keys()]
            edges += sum(activity.toggles.get(net, 0) for net in nets)
            settled += sum(activity.settled.get(net, 0) for net in nets)
    done = activity.operations
    return Measured(
        library=library.known.name, unit=unit.name, operation=unit.operation, cells=sum(counts), flip_flops=counts[1],
        gate_area_um2=areas[0], register_area_um2=areas[1],
        gate_equivalents=areas[0] / library.cells[library.known.gate].area_um2, logic_pj=total.logic / done,
        register_pj=total.registers / done, clock_pj=(total.clock_pins + total.clock_gates) / done,
        clocked=total.register_edges / done, glitches=1 - settled / edges if edges else 0.0,
        gate_leakage_nw=leakages[0], register_leakage_nw=leakages[1], path_ns=path_ns,
    )  # fmt: skip
