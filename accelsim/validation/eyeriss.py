"""Eyeriss v1: AlexNet's convolutions, measured per layer for a batch of four images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean

from accelsim.config.loader import LoadedHardware
from accelsim.cost.clock import active_cycles, clocked_groups
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import resolve
from accelsim.cost.traits import Pricer, run_traits
from accelsim.mapping.residency import NETWORK_INPUT
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.trace.model import TraceLayer
from accelsim.units import cycles_to_s
from accelsim.validation.reference import Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow, agreement, statistic_row
from accelsim.validation.runs import conv_dims, layer, machine, run_layers

BATCH = 4
GROUPED = {("CONV2", 48), ("CONV4", 192), ("CONV5", 192)}  # AlexNet's layers of two groups, and channels of each
# What the array is at work on in our account of cycles.
_WORKING = ("compute", "weight_load", "fill_drain", "buffer_ports", "other")


def validate_eyeriss(own: Table | None = None) -> list[ValidationRow]:
    """Return latency, processing time, DRAM and global-buffer traffic and power of each layer."""
    table = own or load_table("eyeriss")
    hardware = machine(preset_path("eyeriss_dense"))
    layers: list[TraceLayer] = []
    for row in table.rows:  # each reads what the one before has written
        layers.append(_layer(row, layers[-1].name if layers else NETWORK_INPUT))
    counters = run_layers(hardware, layers, "dense-int16")
    powers = [power_at(item, row, counters, hardware) for item, row in zip(counters.layers, table.rows, strict=True)]
    rows: list[ValidationRow] = []
    for index, row in enumerate(table.rows):
        item, name = counters.layers[index], row.text("layer")
        clock = hardware.config.clock_mhz
        working = sum(item.cycles_by_cause[cause] for cause in _WORKING)
        # What the array reads and writes; filling the buffer from DRAM is not in the published figures.
        moved_mb = (item.actions["activation_buffer"]["read_bits"] + sum(item.actions["accumulator"].values())) / 8e6
        dram_mb = (item.dram_read_bytes + item.dram_write_bytes) / 1e6
        for quantity, column, ours, note in (
            (
                "latency in ms",
                "latency_ms",
                1e3 * cycles_to_s(item.latency_cycles, clock),
                "the link's clock is assumed",
            ),
            ("processing time in ms", "processing_ms", 1e3 * cycles_to_s(working, clock), "see docs/validation.md"),
            ("DRAM traffic in MB", "dram_mb", dram_mb, "run-length coded activations"),
            ("global-buffer traffic in MB", "buffer_mb", moved_mb, "inputs and partial sums of passes"),
            ("power in mW", "power_mw", powers[index].total_mw, "at the measured times; chip without DRAM"),
        ):
            rows.append(ValidationRow(table.name, table.source, f"{quantity}, {name}", row.number(column), ours, note))
    return power_rows(table, rows, powers) + rows


def _layer(row: Row, before: str) -> TraceLayer:
    name, channels, out = row.text("layer"), row.whole("C"), row.whole("E")
    groups = 2 if (name, channels) in GROUPED else 1
    batch = row.whole("batch") if "batch" in row.cells else BATCH
    window, stride = row.whole("R"), row.whole("stride")
    dims = conv_dims(
        channels=channels, filters=row.whole("M") // groups, out=(out, out), window=(window, window),
        stride=stride, batch=batch, groups=groups, padding=(window - 1) // 2 if stride == 1 else 0,
    )  # fmt: skip
    return layer(name, dims, inputs=(before,), input_density=1.0 - row.number("zeros_percent") / 100)


@dataclass(frozen=True, slots=True)
class Power:
    """Average power of a layer on the chip, in mW: all of it, the clock network's, and that of the arithmetic."""

    total_mw: float
    network_mw: float
    arithmetic_mw: float


def power_at(item: LayerCounters, row: Row, counters: Counters, hardware: LoadedHardware) -> Power:
    """Return the power of a layer's work in the time that was measured for it: the array works as long as there."""
    chip, tables = hardware.config, load_tables()
    cycles, busy = (round(row.number(name) * 1e3 * chip.clock_mhz) for name in ("latency_ms", "processing_ms"))
    layer = replace(item, latency_cycles=cycles, busy_cycles=item.busy_cycles | {"pe_array": busy})
    alone = replace(counters, layers=(layer,))
    energy = evaluate(alone, chip, tables).energy_j_by_unit
    pricer = Pricer(chip, tables, run_traits(alone))
    network_pj = sum(
        resolve(group.network_pj, tables.values) * active_cycles(group.flip_flops, chip.clock_gating, layer)
        for group in clocked_groups(pricer)
    )
    arithmetic_pj = layer.actions["pe_array"]["mac_int16"] * resolve(pricer.energy_pj("mac_int16"), tables.values)
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
