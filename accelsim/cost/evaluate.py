"""From counters to joules and square millimetres: pure functions, so one run can be priced again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ValidationError

from accelsim.config.explain import explain
from accelsim.config.hardware import HardwareConfig
from accelsim.cost.area import area_prices, leakage_prices
from accelsim.cost.clock import active_cycles, clock_price, clocked_groups
from accelsim.cost.dram import BY_TRAFFIC, layer_shares, run_energy
from accelsim.cost.energy import ActionKey, energy_prices
from accelsim.cost.report import ENERGY_UNITS, CostReport
from accelsim.cost.tables import CostTables
from accelsim.cost.terms import Price, constants_of, joined, resolve, scaled
from accelsim.cost.traits import Pricer, run_traits
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.units import cycles_to_s

_J_PER_PJ = 1e-12


@dataclass(frozen=True, slots=True)
class EnergyLine:
    """One line of the energy account: what was counted, what it costs, and where the price comes from.

    ``constants`` names the table rows behind the price; `sources` are theirs, without repetition.
    """

    unit: str
    action: str
    count: int
    price_pj: float
    energy_j: float
    constants: tuple[str, ...]
    sources: tuple[str, ...]


def evaluate(counters: Counters, hardware: HardwareConfig, tables: CostTables) -> CostReport:
    """Return the energy per unit and layer, the area per unit and the leakage of a run.

    Energy = sum over actions of count x price, plus the chip's leakage power times time; the memory's is that of its
    commands and states (`accelsim.cost.dram`), the clock's that of flip-flops (`accelsim.cost.clock`).

    Raises
    ------
    ConfigError
        If the node or supply is outside the tables, or the run needs a unit that ``hardware`` lacks.
    """
    pricer = Pricer(hardware, tables, run_traits(counters))
    prices = energy_prices(pricer)
    action_pj = {key: resolve(price, tables.values) for key, price in prices.action_pj.items()}
    memory = {
        name: resolve(line.energy_pj, tables.values) * _J_PER_PJ
        for name, line in run_energy(counters, hardware).items()
    }
    # math.fsum: sum() of floats is another number from Python 3.12 on.
    leakage_w = math.fsum(resolve(price, tables.values) for price in leakage_prices(pricer).values())
    by_state = tuple(
        {name: energy_j * (traffic if name in BY_TRAFFIC else time) for name, energy_j in memory.items()}
        for traffic, time in layer_shares(counters)
    )
    clock = _Clock(pricer)
    layers = tuple(
        _layer_energy_j(layer, hardware.clock_mhz, action_pj, leakage_w)
        | {"dram": math.fsum(states.values()), "clock": clock.energy_j(layer)}
        for layer, states in zip(counters.layers, by_state, strict=True)
    )
    return CostReport(
        energy_j_by_unit={unit: math.fsum(layer[unit] for layer in layers) for unit in ENERGY_UNITS},
        layer_energy_j_by_unit=layers,
        area_mm2_by_unit={unit: resolve(price, tables.values) for unit, price in sorted(area_prices(pricer).items())},
        leakage_w=leakage_w,
        dram_energy_j_by_state={name: math.fsum(states[name] for states in by_state) for name in memory},
        layer_dram_energy_j_by_state=by_state,
    )


def recost(
    counters: Counters,
    hardware: HardwareConfig,
    tables: CostTables,
    node_nm: float | None = None,
    voltage_v: float | None = None,
) -> CostReport:
    """Return the cost of a finished run at another node or supply, without simulating again.

    Cycles and clock stay as they were simulated. A new node without a supply takes that node's nominal one; DRAM stays.
    Raises as `evaluate`.
    """
    return evaluate(counters, at_node(hardware, node_nm, voltage_v), tables)


def at_node(hardware: HardwareConfig, node_nm: float | None, voltage_v: float | None) -> HardwareConfig:
    """Return ``hardware`` at another node or supply; None keeps what is there.

    Raises
    ------
    ConfigError
        If the node or the supply is not one that a hardware description may have.
    """
    changed: dict[str, float | None] = {}
    if node_nm is not None:
        changed = {"node_nm": node_nm, "voltage_v": None}
    if voltage_v is not None:
        changed["voltage_v"] = voltage_v
    try:
        return HardwareConfig.model_validate(hardware.model_dump() | changed)
    except ValidationError as error:
        raise ConfigError(explain(error.errors()[0], HardwareConfig)) from error


def energy_lines(counters: Counters, hardware: HardwareConfig, tables: CostTables) -> tuple[EnergyLine, ...]:
    """Return the energy account of a run, dearest line first; the lines sum to its energy. Raises as `evaluate`."""
    lines = [
        EnergyLine(
            unit=unit,
            action=action,
            count=count,
            price_pj=resolve(price, tables.values),
            energy_j=resolve(price, tables.values) * count * _J_PER_PJ,
            constants=constants_of(price),
            sources=tuple(dict.fromkeys(tables.row(name).source for name in constants_of(price))),
        )
        for (unit, action), count, price in _counted(counters, hardware, tables)
    ]
    return tuple(sorted(lines, key=lambda line: (-line.energy_j, line.unit, line.action)))


def energy_price_j(counters: Counters, hardware: HardwareConfig, tables: CostTables) -> dict[str, Price]:
    """Return the energy of a run per unit as sums of products of table rows, in J. Raises as `evaluate`."""
    by_unit: dict[str, list[Price]] = {unit: [] for unit in ENERGY_UNITS}
    for (unit, _), count, price in _counted(counters, hardware, tables):
        by_unit[unit].append(scaled(price, count * _J_PER_PJ))
    return {unit: joined(prices) for unit, prices in by_unit.items()}


def _counted(counters: Counters, hardware: HardwareConfig, tables: CostTables) -> list[tuple[ActionKey, int, Price]]:
    """Return every counted action with its price in pJ; leakage counts cycles, the memory has its own lines."""
    pricer = Pricer(hardware, tables, run_traits(counters))
    prices = energy_prices(pricer)
    counts: dict[ActionKey, int] = {}
    for layer in counters.layers:
        for unit, actions in layer.actions.items():
            for action, count in actions.items() if unit != "dram" else ():
                counts[unit, action] = counts.get((unit, action), 0) + count
    cycles = sum(layer.latency_cycles for layer in counters.layers)
    pj_per_cycle_and_w = cycles_to_s(1, hardware.clock_mhz) / _J_PER_PJ
    counted = [(key, count, prices.action_pj[key]) for key, count in sorted(counts.items())]
    counted += [
        (("dram", name), line.count, scaled(line.energy_pj, 1 / line.count))
        for name, line in run_energy(counters, hardware).items()
    ]
    counted += _clock_lines(counters, pricer)
    leakage = joined(leakage_prices(pricer).values())
    counted.append((("leakage", "cycles"), cycles, scaled(leakage, pj_per_cycle_and_w)))
    return counted


def _clock_lines(counters: Counters, pricer: Pricer) -> list[tuple[ActionKey, int, Price]]:
    """Return the clock by the unit whose flip-flops they are; what is counted are the cycles of the run."""
    groups, gating = clocked_groups(pricer), pricer.hardware.clock_gating
    by_unit: dict[str, list[Price]] = {}
    for layer in counters.layers:
        for unit, price in clock_price(groups, gating, layer).items():
            by_unit.setdefault(unit, []).append(price)
    cycles = max(1, sum(layer.latency_cycles for layer in counters.layers))
    return [(("clock", unit), cycles, scaled(joined(parts), 1 / cycles)) for unit, parts in by_unit.items()]


class _Clock:
    """The clock of a chip at the tables' values."""

    def __init__(self, pricer: Pricer) -> None:
        values = pricer.tables.values
        self._gating = pricer.hardware.clock_gating
        self._groups = [
            (each.flip_flops, resolve(each.clocked_pj, values), resolve(each.gated_pj, values))
            for each in clocked_groups(pricer)
        ]

    def energy_j(self, layer: LayerCounters) -> float:
        """Return the clock's energy in a layer."""
        energies = []
        for group, clocked_pj, gated_pj in self._groups:
            active = active_cycles(group, self._gating, layer)
            energies.append(clocked_pj * active + gated_pj * (layer.latency_cycles - active))
        return math.fsum(energies) * _J_PER_PJ


def _layer_energy_j(
    layer: LayerCounters, clock_mhz: float, action_pj: dict[ActionKey, float], leakage_w: float
) -> dict[str, float]:
    energy_j = dict.fromkeys(ENERGY_UNITS, 0.0)
    for unit, actions in layer.actions.items():
        energy_j[unit] += math.fsum(count * action_pj[unit, action] for action, count in actions.items()) * _J_PER_PJ
    time_s = cycles_to_s(layer.latency_cycles, clock_mhz)
    energy_j["leakage"] += leakage_w * time_s
    return energy_j
