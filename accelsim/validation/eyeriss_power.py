"""Eyeriss' power: the work of a layer in the time that was measured for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean

from accelsim.config.loader import LoadedHardware
from accelsim.cost.clock import active_cycles, clocked_groups
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, run_traits
from accelsim.sim.counters import Counters
from accelsim.validation.reference import Row, Table
from accelsim.validation.rows import ValidationRow, agreement, statistic_row


@dataclass(frozen=True, slots=True)
class Power:
    """Average power of a layer on the chip, in mW: all of it, the clock network's, and that of the arithmetic."""

    total_mw: float
    network_mw: float
    arithmetic_mw: float


def power_at(row: Row, counters: Counters, hardware: LoadedHardware) -> Power:
    """Return the power of the first layer's work in the time that was measured for it, with the array busy as there."""
    item = counters.layers[0]
    chip, tables = hardware.config, load_tables()
    cycles, busy = (round(row.number(name) * 1e3 * chip.clock_mhz) for name in ("latency_ms", "processing_ms"))
    # PEs that the mapping leaves out stand still for as long as the others work.
    array = item.actions["pe_array"]
    idle = round(array.get("idle_pe_cycles", 0) * busy / max(1, item.busy_cycles["pe_array"]))
    layer = replace(
        item, latency_cycles=cycles, busy_cycles=item.busy_cycles | {"pe_array": busy},
        actions=item.actions | {"pe_array": array | {"idle_pe_cycles": idle}},
    )  # fmt: skip
    alone = replace(counters, layers=(layer,))
    energy = evaluate(alone, chip, tables).energy_j_by_unit
    pricer = Pricer(chip, tables, run_traits(alone))
    network_pj = sum(
        resolve(group.network_pj, tables.values) * active_cycles(group.flip_flops, chip.clock_gating, layer)
        for group in clocked_groups(pricer)
    )
    # Inputs that are all zeros leave no product to execute.
    executed = layer.actions["pe_array"].get("mac_int16", 0)
    arithmetic_pj = executed * resolve(pricer.energy_pj("mac_int16"), tables.values)
    time_ms = row.number("latency_ms")
    on_chip_j = sum(value for unit, value in energy.items() if unit != "dram")
    return Power(on_chip_j * 1e6 / time_ms, network_pj * 1e-6 / time_ms, arithmetic_pj * 1e-6 / time_ms)


def power_rows(table: Table, rows: list[ValidationRow], powers: list[Power]) -> list[ValidationRow]:
    """Return what the power rows come to: mean error, and the shares of clock network and arithmetic."""
    found = agreement([row for row in rows if row.quantity.startswith("power")])
    shares = [power.network_mw / power.total_mw for power in powers]
    alus = [power.arithmetic_mw / power.total_mw for power in powers]
    return [
        statistic_row(
            table.name, table.source, "mean error of power at the measured times", None, found.mean_error,
            f"{found.num_rows} layers; aim: 0.10 for AlexNet, 0.12 for VGG-16",
        ),
        statistic_row(
            table.name, table.source, "clock network's share of power, mean of layers", 0.39, mean(shares),
            f"{min(shares):.2f} to {max(shares):.2f} without the inside of flip-flops; theirs 0.33 to 0.45",
        ),
        statistic_row(
            table.name, table.source, "arithmetic's share of power, largest of layers", 0.1, max(alus), "theirs below"
        ),
    ]  # fmt: skip
