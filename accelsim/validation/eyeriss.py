"""Eyeriss v1: AlexNet's convolutions, measured per layer for a batch of four images."""

from __future__ import annotations

from accelsim.config.loader import LoadedHardware
from accelsim.errors import ConfigError
from accelsim.mapping.residency import NETWORK_INPUT
from accelsim.sim.counters import Counters
from accelsim.trace import trace_network
from accelsim.trace.model import LoopDims, TraceLayer
from accelsim.units import cycles_to_s
from accelsim.validation.eyeriss_power import Power, power_at, power_rows
from accelsim.validation.eyeriss_tilings import chip_tiling
from accelsim.validation.own_rows import BATCH as INPUTS
from accelsim.validation.own_rows import MEASURED, PERCENT, SIZE, TEXT, Column, Columns
from accelsim.validation.reference import Cell, Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow, statistic_row
from accelsim.validation.runs import conv_dims, layer, machine, run_layers

BATCH = 4
GROUPED = {("CONV2", 48), ("CONV4", 192), ("CONV5", 192)}  # AlexNet's layers of two groups, and channels of each
# What the array is at work on in our account of cycles.
_WORKING = ("compute", "weight_load", "fill_drain", "buffer_ports", "other")

IMAGE_CHANNELS = 3
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
        Column("groups", SIZE, optional=True),
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
    """Return latency, processing time, DRAM and global-buffer traffic and power of each layer, run alone as there.

    The array works in the chip's own tilings; what those of our mapper would take stands beside.
    """
    table = own or load_table("eyeriss")
    hardware = machine(preset_path("eyeriss_dense"))
    rows: list[ValidationRow] = []
    powers, free_cycles, cycles = [], 0, 0
    for row, after in zip(table.rows, (*table.rows[1:], None), strict=True):
        with row.named():
            layers = _layers(row, after)
            tiling = chip_tiling(layers[0].dims, hardware.config)
            counters = run_layers(hardware, layers, "dense-int16", {layers[0].name: tiling} if tiling else None)
            free_cycles += _working_cycles(run_layers(hardware, layers, "dense-int16"))
        cycles += _working_cycles(counters)
        powers.append(power_at(row, counters, hardware))
        rows += _rows_of(table, row, counters, hardware, powers[-1])
    mapped = statistic_row(
        table.name, table.source, "processing time with our mapper's tilings / with the chip's", None,
        free_cycles / cycles, f"all {len(powers)} layers; a comparison, not an error",
    )  # fmt: skip
    return [*power_rows(table, rows, powers), mapped, *rows]


def _working_cycles(counters: Counters) -> int:
    """Return the cycles in which the array is at work on the first layer."""
    return sum(counters.layers[0].cycles_by_cause[cause] for cause in _WORKING)


def _rows_of(table: Table, row: Row, counters: Counters, hardware: LoadedHardware, power: Power) -> list[ValidationRow]:
    item, name, clock = counters.layers[0], row.text("layer"), hardware.config.clock_mhz
    # What the array reads and writes; filling the buffer from DRAM is not in the published figures.
    moved_mb = (item.actions["activation_buffer"]["read_bits"] + sum(item.actions["accumulator"].values())) / 8e6
    dram_mb = (item.dram_read_bytes + item.dram_write_bytes) / 1e6
    latency_ms, working_ms = (
        1e3 * cycles_to_s(cycles, clock) for cycles in (item.latency_cycles, _working_cycles(counters))
    )
    return [
        ValidationRow(
            table.name, table.source, f"{quantity}, {name}", row.number(column), ours, note, kinds=(quantity,)
        )
        for quantity, column, ours, note in (
            ("latency in ms", "latency_ms", latency_ms, "the link's clock is assumed"),
            ("processing time in ms", "processing_ms", working_ms, "see docs/validation.md"),
            ("DRAM traffic in MB", "dram_mb", dram_mb, "run-length coded activations"),
            ("global-buffer traffic in MB", "buffer_mb", moved_mb, "inputs and partial sums of passes"),
            ("power in mW", "power_mw", power.total_mw, "at the measured times; chip without DRAM"),
        )
    ]


def _groups(row: Row) -> int:
    if "groups" in row.cells:
        return row.whole("groups")
    return 2 if (row.text("layer"), row.whole("C")) in GROUPED else 1


def _layers(row: Row, after: Row | None) -> list[TraceLayer]:
    """Return a row's layer and, where the next row reads what it writes, a layer that says how many zeros that has."""
    own = _layer(row)
    if after is None or after.whole("C") * _groups(after) != row.whole("M"):
        return [own]
    size = own.dims
    dims = LoopDims(N=size.N, G=size.G * size.K, P=size.P, Q=size.Q, H=size.P, W=size.Q)
    density = 1.0 - after.number("zeros_percent") / 100
    return [own, TraceLayer("after", "vector", dims, (own.name,), input_density=density, input_density_measured=True)]


def _layer(row: Row) -> TraceLayer:
    """Return a row's layer; with three channels it reads an image, else what a layer before it has written."""
    name, channels, out, groups = row.text("layer"), row.whole("C"), row.whole("E"), _groups(row)
    before = NETWORK_INPUT if channels * groups == IMAGE_CHANNELS else "before"
    if row.whole("M") % groups:
        raise ConfigError(f"M: {row.whole('M')} filters of {name} do not fall into its {groups} groups; correct it")
    batch = row.whole("batch") if "batch" in row.cells else BATCH
    window, stride = row.whole("R"), row.whole("stride")
    dims = conv_dims(
        channels=channels, filters=row.whole("M") // groups, out=(out, out), window=(window, window),
        stride=stride, batch=batch, groups=groups, padding=(window - 1) // 2 if stride == 1 else 0,
    )  # fmt: skip
    return layer(name, dims, inputs=(before,), input_density=1.0 - row.number("zeros_percent") / 100)
