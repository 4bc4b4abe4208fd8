"""What has a closed form or a grid: systolic folds, SRAM macros, effective MACs of real masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.cost.sram import sram_bank
from accelsim.cost.tables import SramPoint
from accelsim.errors import ConfigError
from accelsim.mapping.sparsity import effective_macs
from accelsim.validation.reference import Row, load_table, preset_path, table_path
from accelsim.validation.rows import ValidationRow, summary_rows
from accelsim.validation.runs import conv_dims, layer, machine, run_layers

MASKS_SOURCE = "Sparseloop, MICRO 2022 artifact @de0374a, fig. 12: masks of sparse MobileNet-0.5-128, counted exactly"
MASKED_LAYERS = {"L07": (64, 1_702_140), "L21": (256, 1_677_684)}


def validate_systolic() -> list[ValidationRow]:
    """Return compute + weight_load + fill_drain cycles of layers beside the published formula."""
    table = load_table("systolic")
    rows = []
    for row in table.rows:
        hardware = machine(preset_path(f"systolic_32x32_{row.text('dataflow')}"))
        dims = conv_dims(
            channels=row.whole("C"), filters=row.whole("K"), out=(row.whole("P"), row.whole("Q")),
            window=(row.whole("R"), row.whole("S")),
        )  # fmt: skip
        causes = run_layers(hardware, [layer("layer", dims)]).layers[0].cycles_by_cause
        shape = "x".join(str(row.whole(name)) for name in ("C", "K", "P", "Q", "R", "S"))
        ours = float(causes["compute"] + causes["weight_load"] + causes["fill_drain"])
        what = f"cycles of {shape} (C K P Q R S), {row.text('dataflow')}"
        rows.append(
            ValidationRow(table.name, table.source, what, row.number("cycles"), ours, "agrees within one cycle")
        )
    return rows


def validate_sram() -> list[ValidationRow]:
    """Return energies and areas of sizes that are left out of the grid: how good interpolation is."""
    table = load_table("cacti")
    points = [_point(row) for row in table.rows]
    capacities = sorted({point.capacity_bytes for point in points})
    rows = []
    for point in points:
        if point.capacity_bytes not in capacities[1:-1]:
            continue
        rest = [other for other in points if other.capacity_bytes != point.capacity_bytes]
        bank = sram_bank(rest, point.capacity_bytes, point.width_bits, point.node_nm, point.voltage_v)
        name = f"{point.capacity_bytes // 1024} KiB x {point.width_bits} at {point.node_nm:g} nm"
        for quantity, theirs, ours in (
            ("read energy in pJ", point.read_pj, bank.read_pj),
            ("area in um2", point.area_um2, bank.area_um2),
        ):
            what, note = f"{quantity}, {name}", "left out of the grid"
            rows.append(ValidationRow(table.name, table.source, what, theirs, ours, note))
    note = "the tables hold every point, so the model meets it exactly; here each size is left out and interpolated"
    return summary_rows(table.name, table.source, "interpolated sizes", rows, (None, None), note) + rows


def _point(row: Row) -> SramPoint:
    node_nm = row.number("node_nm")
    return SramPoint(
        node_nm=node_nm, voltage_v=1.0, capacity_bytes=row.whole("capacity_bytes"), width_bits=row.whole("width_bits"),
        read_pj=row.number("read_pj"), write_pj=row.number("write_pj"), area_um2=row.number("area_um2"),
        leakage_mw=row.number("leakage_mw"),
    )  # fmt: skip


def validate_effective_macs() -> list[ValidationRow]:
    """Return the effective MACs of two real layers, and what independent densities would give."""
    rows = []
    for name, (channels, theirs) in MASKED_LAYERS.items():
        inputs, weights = real_masks(name, channels)
        exact = effective_macs(inputs, weights)
        independent = inputs.mean() * weights.mean() * inputs.shape[0] * weights.size
        note = f"independent densities give {independent / theirs - 1:+.1%}"
        rows.append(
            ValidationRow("real-masks", MASKS_SOURCE, f"effective MACs of {name}", float(theirs), float(exact), note)
        )
    return rows


def real_masks(name: str, channels: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return input mask [positions, channels] and weight mask [filters, channels] of a layer of the table.

    Raises
    ------
    ConfigError
        The file is missing or damaged.
    """
    path = table_path("mobilenet_masks.npz")
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed = archive[f"{name}_inputs"], archive[f"{name}_weights"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); install the package again") from error
    inputs, weights = (np.unpackbits(array, axis=1)[:, :channels].astype(bool) for array in packed)
    return inputs, weights
