"""Eyeriss v1: AlexNet's convolutions, measured per layer for a batch of four images."""

from __future__ import annotations

from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.mapping.residency import NETWORK_INPUT
from accelsim.sim.counters import Counters
from accelsim.trace.model import TraceLayer
from accelsim.units import cycles_to_s
from accelsim.validation.reference import Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow
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
    counters = run_layers(hardware, layers, "dense-fp16")
    power_w = _power_w(counters, hardware)
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
            ("power in mW", "power_mw", 1e3 * power_w[index], "chip without DRAM, as measured there"),
        ):
            rows.append(ValidationRow(table.name, table.source, f"{quantity}, {name}", row.number(column), ours, note))
    return rows


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


def _power_w(counters: Counters, hardware: LoadedHardware) -> list[float]:
    """Return the average on-chip power of each layer."""
    report = evaluate(counters, hardware.config, load_tables())
    powers = []
    for item, energy in zip(counters.layers, report.layer_energy_j_by_unit, strict=True):
        on_chip_j = sum(value for unit, value in energy.items() if unit != "dram")
        powers.append(on_chip_j / cycles_to_s(item.latency_cycles, hardware.config.clock_mhz))
    return powers
