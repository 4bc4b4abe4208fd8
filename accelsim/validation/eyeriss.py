"""Eyeriss v1: AlexNet's convolutions, measured per layer for a batch of four images."""

from __future__ import annotations

from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import ConfigError
from accelsim.sim.counters import Counters
from accelsim.trace import trace_network
from accelsim.trace.model import TraceLayer
from accelsim.units import cycles_to_s
from accelsim.validation.own_rows import BATCH as INPUTS
from accelsim.validation.own_rows import MEASURED, PERCENT, SIZE, TEXT, Column, Columns
from accelsim.validation.reference import Cell, Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow
from accelsim.validation.runs import conv_dims, layer, machine, run_layers

BATCH = 4
GROUPED = {("CONV2", 48), ("CONV4", 192), ("CONV5", 192)}  # AlexNet's layers of two groups, and channels of each
_ROW_STATIONARY = "row-stationary there; the nearest unrolling here: see docs/validation.md"
# What the array is at work on in our account of cycles.
_WORKING = ("compute", "weight_load", "fill_drain", "buffer_ports", "other")

_VGG_BATCH = 3  # Table VI there


def _published() -> dict[str, dict[str, Cell]]:
    """Return shape and batch of the layers that were published: AlexNet's, and VGG-16's as CONV1-1 to CONV5-3."""
    known: dict[str, dict[str, Cell]] = {
        row.text("layer"): {name: row.cells[name] for name in ("R", "E", "C", "M", "stride")} | {"batch": BATCH}
        for row in load_table("eyeriss").rows
    }
    block, place = 1, 0
    for item in trace_network("vgg16").layers:
        if item.kind == "pool":
            block, place = block + 1, 0
        elif item.kind == "conv2d":
            place += 1
            size = item.dims
            known[f"CONV{block}-{place}"] = {
                "R": size.R, "E": size.P, "C": size.C, "M": size.K, "stride": size.stride[0], "batch": _VGG_BATCH,
            }  # fmt: skip
    return known


COLUMNS = Columns(
    "eyeriss",
    (
        Column("layer", TEXT),
        Column("batch", INPUTS, optional=True),
        Column("R", SIZE, ("R_S",)),
        Column("E", SIZE, ("E_F",)),
        Column("C", SIZE),
        Column("M", SIZE),
        Column("stride", SIZE, ("U_stride",)),
        Column("power_mw", MEASURED, ("power_mW",)),
        Column("latency_ms", MEASURED, ("total_latency_ms",)),
        Column("processing_ms", MEASURED, ("processing_latency_ms",)),
        Column("zeros_percent", PERCENT, ("zeros_in_ifmap_pct",)),
        Column("buffer_mb", MEASURED, ("global_buffer_access_MB",)),
        Column("dram_mb", MEASURED, ("dram_access_MB",)),
    ),
    published=_published,
    sums=frozenset({"Total"}),
)
"""What rows of a user's own have."""


def validate_eyeriss(own: Table | None = None) -> list[ValidationRow]:
    """Return latency, processing time, DRAM and global-buffer traffic and power of each layer."""
    table = own or load_table("eyeriss")
    hardware = machine(preset_path("eyeriss_dense"))
    layers: list[TraceLayer] = []
    for row in table.rows:
        with row.named():
            layers.append(_layer(row))
            if any(other.name == layers[-1].name for other in layers[:-1]):
                raise ConfigError(f"layer: {layers[-1].name!r} is the name of two rows; give each its own")
    with table.named():
        counters = run_layers(hardware, layers, "dense-fp16")
    power_w = _power_w(counters, hardware)
    rows: list[ValidationRow] = []
    for index, row in enumerate(table.rows):
        item, name = counters.layers[index], row.text("layer")
        clock = hardware.config.clock_mhz
        working = sum(item.cycles_by_cause[cause] for cause in _WORKING)
        # Partial sums between passes, here in the accumulators, are in the global buffer there.
        buffers = [item.actions[unit] for unit in ("activation_buffer", "accumulator")]
        moved_mb = sum(count for actions in buffers for count in actions.values()) / 8e6
        dram_mb = (item.dram_read_bytes + item.dram_write_bytes) / 1e6
        for quantity, column, ours, note in (
            ("latency in ms", "latency_ms", 1e3 * cycles_to_s(item.latency_cycles, clock), _ROW_STATIONARY),
            ("processing time in ms", "processing_ms", 1e3 * cycles_to_s(working, clock), _ROW_STATIONARY),
            ("DRAM traffic in MB", "dram_mb", dram_mb, "run-length coded activations there, 16 bits each here"),
            ("global-buffer traffic in MB", "buffer_mb", moved_mb, "inputs and partial sums of passes"),
            ("power in mW", "power_mw", 1e3 * power_w[index], "chip without DRAM, as measured there"),
        ):
            rows.append(ValidationRow(table.name, table.source, f"{quantity}, {name}", row.number(column), ours, note))
    return rows


def _layer(row: Row) -> TraceLayer:
    name, channels, out = row.text("layer"), row.whole("C"), row.whole("E")
    groups = 2 if (name, channels) in GROUPED else 1
    if row.whole("M") % groups:
        raise ConfigError(f"M: {row.whole('M')} filters of {name} do not fall into its {groups} groups; correct it")
    batch = row.whole("batch") if "batch" in row.cells else BATCH
    dims = conv_dims(
        channels=channels, filters=row.whole("M") // groups, out=(out, out), window=(row.whole("R"), row.whole("R")),
        stride=row.whole("stride"), batch=batch, groups=groups,
    )  # fmt: skip
    return layer(name, dims, input_density=1.0 - row.number("zeros_percent") / 100)


def _power_w(counters: Counters, hardware: LoadedHardware) -> list[float]:
    """Return the average on-chip power of each layer."""
    report = evaluate(counters, hardware.config, load_tables())
    powers = []
    for item, energy in zip(counters.layers, report.layer_energy_j_by_unit, strict=True):
        on_chip_j = sum(value for unit, value in energy.items() if unit != "dram")
        powers.append(on_chip_j / cycles_to_s(item.latency_cycles, hardware.config.clock_mhz))
    return powers
