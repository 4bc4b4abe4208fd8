"""Energy of a netlist under a counted activity, from the tables of its library.

Per edge of an output: the mean of the library's energies of a rising and a falling edge, over the inputs weighted with
their activity, at the input's slope and the output's load, and half of C V^2 for that load. Per edge of an input: its
own energy, where the library gives one. Energies under conditions are taken with equal weights. What the ground rail
sees is the same energy from its other end, and is left out. No wires: loads are pins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rtl.synth.liberty import Group, Table, read_table
from rtl.synth.library import Cell, Library, at_ground
from rtl.synth.mapping import Instance, Netlist
from rtl.synth.simulate import Activity
from rtl.synth.verilog import driven_nets


@dataclass(slots=True)
class Energy:
    """Energy over the counted cycles, in pJ.

    Attributes
    ----------
    logic, registers
        Combinational cells; data inputs and outputs of flip-flops.
    clock_pins, clock_gates
        Clock pins of flip-flops; clock gates with their pins.
    register_edges
        Rising edges of their clocks that flip-flops saw, summed over them.
    """

    logic: float = 0.0
    registers: float = 0.0
    clock_pins: float = 0.0
    clock_gates: float = 0.0
    register_edges: int = 0


@dataclass(slots=True)
class Tables:
    """The library's tables, each read once."""

    library: Library
    read: dict[int, Table] = field(default_factory=dict)

    def mean(self, cell: Cell, tables: Iterable[Group], slope: float, load: float) -> float:
        """Return the mean of several tables at a slope and a load."""
        values: list[float] = []
        for group in tables:
            if id(group) not in self.read:
                self.read[id(group)] = read_table(group, cell.templates)
            values.append(self.read[id(group)].at(slope, load))
        return sum(values) / len(values) if values else 0.0


def clock_cells(library: Library, netlist: Netlist) -> frozenset[str]:
    """Return the instances between the clock input and the flip-flops' clock pins."""
    driver = {net: pin.split("/")[0] for pin, net in driven_nets(netlist, library.outputs_of).items()}
    by_name = {instance.name: instance for instance in netlist.instances}
    waiting = [
        instance.pins[str(library.cells[instance.cell].clock)]
        for instance in netlist.instances
        if library.cells[instance.cell].is_register
    ]
    found: set[str] = set()
    while waiting:
        name = driver.get(waiting.pop())
        if name is None or name in found:
            continue
        found.add(name)
        instance = by_name[name]
        cell = library.cells[instance.cell]
        # A latch or a clock gate is entered at its clock pin, anything else at every input.
        inputs = [cell.clock] if cell.clock else [pin for pin in cell.pins if pin not in cell.outputs]
        waiting += [instance.pins[pin] for pin in inputs if pin in instance.pins]
    return frozenset(found)


def energy(library: Library, netlist: Netlist, activity: Activity) -> Energy:
    """Return the energy of a netlist over the counted cycles."""
    tables = Tables(library)
    loads = pin_loads(library, netlist)
    slopes = _slopes(library, netlist, loads, tables)
    gates = clock_cells(library, netlist)
    total = Energy()
    for instance in netlist.instances:
        cell = library.cells[instance.cell]
        by_pin = {pin: _pin_pj(library, instance, pin, activity, loads, slopes, tables) for pin in instance.pins}
        if cell.is_register:
            clock = str(cell.clock)
            edges = activity.toggles.get(instance.pins[clock], 0)
            own = edges * 0.5 * cell.pins[clock].number("capacitance") * library.capacitance_pf * cell.voltage_v**2
            total.clock_pins += by_pin.pop(clock) + own
            total.register_edges += edges // 2
            total.registers += sum(by_pin.values())
        elif instance.name in gates:
            total.clock_gates += sum(by_pin.values()) + _root_pj(library, instance, netlist, activity)
        else:
            total.logic += sum(by_pin.values())
    return total


def pin_loads(library: Library, netlist: Netlist) -> dict[str, float]:
    """Return the load of every net, in the library's unit; clock pins of flip-flops are charged by themselves."""
    loads: dict[str, float] = defaultdict(float)
    for instance in netlist.instances:
        cell = library.cells[instance.cell]
        for pin, net in instance.pins.items():
            if pin not in cell.outputs and not (cell.is_register and pin == cell.clock):
                loads[net] += cell.pins[pin].number("capacitance")
    return loads


def _root_pj(library: Library, instance: Instance, netlist: Netlist, activity: Activity) -> float:
    """Return what the clock input's own edges cost at a clock gate's pins; other nets are charged by their drivers."""
    root = next(nets[0] for name, nets in netlist.inputs() if name == "clk")
    cell = library.cells[instance.cell]
    pins = [cell.pins[pin] for pin, net in instance.pins.items() if net == root]
    charge = sum(pin.number("capacitance") for pin in pins) * library.capacitance_pf
    return activity.toggles.get(root, 0) * 0.5 * charge * cell.voltage_v**2


def _pin_pj(
    library: Library,
    instance: Instance,
    pin: str,
    activity: Activity,
    loads: Mapping[str, float],
    slopes: Mapping[str, float],
    tables: Tables,
) -> float:
    cell, net = library.cells[instance.cell], instance.pins[pin]
    edges = activity.toggles.get(net, 0)
    if not edges:
        return 0.0
    load = loads.get(net, 0.0) if pin in cell.outputs else 0.0
    by_related: dict[str, list[float]] = defaultdict(list)
    for power in cell.pins[pin].of_kind("internal_power"):
        if at_ground(power):
            continue
        related = power.values.get("related_pin", pin).split()[0]
        slope = slopes.get(instance.pins.get(related, ""), 0.0)
        by_related[related].append(tables.mean(cell, power.groups, slope, load))
    means = {related: sum(values) / len(values) for related, values in by_related.items()}
    weights = {related: activity.toggles.get(instance.pins.get(related, ""), 0) for related in means}
    whole = sum(weights.values())
    internal = sum(mean * (weights[related] / whole if whole else 1 / len(means)) for related, mean in means.items())
    switching = 0.5 * load * cell.voltage_v**2 if pin in cell.outputs else 0.0
    return edges * (internal + switching) * library.capacitance_pf


def _slopes(library: Library, netlist: Netlist, loads: Mapping[str, float], tables: Tables) -> dict[str, float]:
    """Return the slope of every net in the library's unit, the worst arc's mean over both edges; 0 at inputs."""
    slopes: dict[str, float] = {}
    waiting: dict[str, int] = {}
    readers: dict[str, list[Instance]] = defaultdict(list)
    ready: list[Instance] = []
    driven = set(driven_nets(netlist, library.outputs_of).values())
    for instance in netlist.instances:
        cell = library.cells[instance.cell]
        # Flip-flops and latches end a path: their outputs follow their clocks.
        before = [
            net for pin, net in instance.pins.items() if pin not in cell.outputs and net in driven and not cell.clock
        ]
        waiting[instance.name] = len(before)
        for net in before:
            readers[net].append(instance)
        if not before:
            ready.append(instance)
    while ready:
        instance = ready.pop()
        cell = library.cells[instance.cell]
        for pin in cell.outputs & instance.pins.keys():
            net = instance.pins[pin]
            slopes[net] = _slope(cell, instance, pin, loads.get(net, 0.0), slopes, tables)
            for reader in readers.get(net, ()):
                waiting[reader.name] -= 1
                if not waiting[reader.name]:
                    ready.append(reader)
    return slopes


def _slope(cell: Cell, instance: Instance, pin: str, load: float, slopes: Mapping[str, float], tables: Tables) -> float:
    worst = 0.0
    for timing in cell.pins[pin].of_kind("timing"):
        related = timing.values.get("related_pin", "").split()
        edges = [table for table in timing.groups if table.kind.endswith("_transition")]
        if related and edges:
            slope = slopes.get(instance.pins.get(related[0], ""), 0.0)
            worst = max(worst, tables.mean(cell, edges, slope, load))
    return worst
