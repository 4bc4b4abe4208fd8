"""The density at which coordinate lists with skipping begin to cost less energy than bitmaps with gating."""

from __future__ import annotations

from dataclasses import replace

from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.timing.tiling import Tiling
from accelsim.validation.reference import load_table, machine_path, preset_path
from accelsim.validation.rows import ValidationRow
from accelsim.validation.runs import cycles, gemm_dims, layer, machine, run_layers

SOURCE = (
    "Y. N. Wu et al., Sparseloop, MICRO 2022: a bitmap design that gates against a coordinate-list design that skips"
)
RANGE = (0.04, 0.08)
DENSITIES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
SIZE = 256
DECODER = "{positions_per_cycle: 64, symbols_per_cycle: 8, latency_cycles: 4, fits_rivals: false}"


def validate_crossing() -> list[ValidationRow]:
    """Return the density of the crossing, for both operands of a product on the edge chip at equal density."""
    differences = [_energy_j(d, "bitmap-int8", "gate") - _energy_j(d, "csr-int8", "skip") for d in DENSITIES]
    crossing = _zero(differences)
    note = f"theirs lies between {RANGE[0]} and {RANGE[1]}; ours on the edge chip, {SIZE}-cubed product, chip and DRAM"
    return [
        ValidationRow(
            "sparse-crossing", SOURCE, "density of equal energy, bitmap with gating / coordinate list with skipping",
            sum(RANGE) / 2, crossing, note,
        )
    ]  # fmt: skip


def validate_eie_products() -> list[ValidationRow]:
    """Return the time of EIE's nine sparse products."""
    table, rows = load_table("eie_products"), []
    hardware = machine(machine_path("eie.yaml"))
    for row in table.rows:
        dims = gemm_dims(rows=1, cols=row.whole("outputs"), depth=row.whole("inputs"))
        item = layer("product", dims, "linear", input_density=row.number("activations_percent") / 100)
        if item.weights is not None:
            kept = round(row.number("weights_percent") / 100 * dims.num_weights)
            item = replace(item, weights=replace(item.weights, num_kept=kept))
        whole = Tiling(N=1, G=1, K=dims.K, C=dims.C, P=1, Q=1, order=("G", "N", "P", "Q", "K", "C"))
        ours = cycles(run_layers(hardware, [item], "rle-int8", {"product": whole})) / hardware.config.clock_mhz
        rows.append(
            ValidationRow(
                table.name, table.source, f"time in us, {row.text('layer')}", row.number("time_us"), ours,
                "zeros at random; queues of inputs taken as endless", kinds=("time in us",),
            )
        )  # fmt: skip
    return rows


def _zero(differences: list[float]) -> float:
    """Return the density at which the difference changes its sign, linear between the tried ones."""
    for index in range(1, len(DENSITIES)):
        before, after = differences[index - 1], differences[index]
        if before > 0 >= after:
            share = before / (before - after)
            return DENSITIES[index - 1] + share * (DENSITIES[index] - DENSITIES[index - 1])
    return DENSITIES[0] if differences[0] <= 0 else DENSITIES[-1]


def _energy_j(density: float, storage: str, policy: str) -> float:
    """Return the energy of a sparse product, chip and DRAM."""
    hardware = machine(
        preset_path("edge_dense"),
        {"pe_array.zero_weights": policy, "pe_array.zero_activations": policy, "mask_decoder": DECODER},
    )
    item = layer("product", gemm_dims(SIZE, SIZE, SIZE), "linear", input_density=density)
    if item.weights is not None:
        item = replace(item, weights=replace(item.weights, num_kept=round(density * item.weights.num_weights)))
    counters = run_layers(hardware, [item], storage)
    return sum(evaluate(counters, hardware.config, load_tables()).energy_j_by_unit.values())
