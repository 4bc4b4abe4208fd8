"""Matrix products: RTL cycles of tilings on a systolic array, and the trend of sparse ones on a flexible array."""

from __future__ import annotations

from dataclasses import replace

from accelsim.errors import ConfigError
from accelsim.mapping.loops import Tiling
from accelsim.validation.own_rows import MEASURED, SIZE, Column, Columns
from accelsim.validation.reference import Row, Table, load_table, machine_path
from accelsim.validation.rows import ValidationRow, summary_rows
from accelsim.validation.runs import cycles, gemm_dims, layer, machine, run_layers

COLUMNS = Columns(
    "gemm_tilings_rtl",
    (
        *(Column(name, SIZE) for name in ("M", "N", "K")),
        *(Column(f"tile_{name}", SIZE, (f"tile{name}",)) for name in ("M", "N", "K")),
        Column("cycles", MEASURED, ("rtl_cycles",)),
    ),
)
"""What rows of a user's own have."""


def validate_gemm_tilings(own: Table | None = None) -> list[ValidationRow]:
    """Return a row per tiling and the summary; every tile is loaded again, partial sums stay while K is walked."""
    table = own or load_table("gemm_tilings_rtl")
    hardware = machine(machine_path("gemm_array_16x16.yaml"))
    rows = []
    for row in table.rows:
        # The M x K operand is the stationary one: M takes the place of output channels, N that of positions.
        _check_tile(row)
        dims = gemm_dims(rows=row.whole("N"), cols=row.whole("M"), depth=row.whole("K"))
        tiling = Tiling(
            N=1, G=1, K=row.whole("tile_M"), C=row.whole("tile_K"), P=row.whole("tile_N"), Q=1,
            order=("N", "G", "Q", "K", "P", "C"), keep="tile",
        )  # fmt: skip
        with row.named():
            ours = cycles(run_layers(hardware, [layer("gemm", dims, "linear")], "dense-fp16", {"gemm": tiling}))
        quantity = f"cycles of {_shape(row)}"
        rows.append(
            ValidationRow(table.name, table.source, quantity, row.number("cycles"), float(ours), kinds=(_kind(row),))
        )
    note = "none published for these tilings"
    return summary_rows(table.name, table.source, "cycles of the tilings", rows, (None, None), note) + rows


def _check_tile(row: Row) -> None:
    for size in ("M", "N", "K"):
        tile = row.whole(f"tile_{size}")
        if tile > row.whole(size):
            raise ConfigError(
                f"{row.table}: tile_{size}: {tile} is more than {size}, {row.whole(size)}; a tile is a part of it"
            )


def _kind(row: Row) -> str:
    rows, cols, depth = (row.whole(f"tile_{name}") for name in ("M", "N", "K"))
    return f"{'more' if rows * cols > (rows + cols) * depth else 'fewer'} outputs than inputs"


def _shape(row: Row) -> str:
    tile = "x".join(str(row.whole(name)) for name in ("tile_M", "tile_N", "tile_K"))
    return f"M{row.whole('M')} N{row.whole('N')} K{row.whole('K')} in tiles {tile}"


def validate_stonne() -> list[ValidationRow]:
    """Return the speed-up over the dense product at each sparsity: a trend, since the machines differ in kind."""
    table = load_table("stonne")
    rows = []
    for row in table.rows:
        if row.number("sparsity_percent") > 0:
            rows.append(_speedup(table, row))
    return rows


def _speedup(table: Table, row: Row) -> ValidationRow:
    dense = next(
        other for other in table.rows
        if other.number("sparsity_percent") == 0
        and all(other.cells[name] == row.cells[name] for name in ("M", "N", "K", "num_multipliers"))
    )  # fmt: skip
    theirs = dense.number("cycles") / row.number("cycles")
    ours = _flexible_cycles(dense) / _flexible_cycles(row)
    shape = f"{row.whole('M')}^3 on {row.whole('num_multipliers')} multipliers"
    name = f"speed-up of {shape} at {row.whole('sparsity_percent')} % zeros"
    note = "rows gathered and inputs distributed as there; executed multiplications fall by "
    note += f"{dense.number('multiplications') / row.number('multiplications'):.2f}"
    return ValidationRow(table.name, table.source, name, theirs, ours, note, gap=False)


def _flexible_cycles(row: Row) -> int:
    dims = gemm_dims(rows=row.whole("N"), cols=row.whole("M"), depth=row.whole("K"))
    item = layer("gemm", dims, "linear")
    kept = row.whole("multiplications") // row.whole("N")
    if item.weights is not None:
        item = replace(item, weights=replace(item.weights, num_kept=min(kept, dims.num_weights)))
    multipliers = row.whole("num_multipliers")
    hardware = machine(machine_path("flexible_128.yaml"), {"pe_array.unroll": f"{{C: {multipliers}}}"})
    whole = Tiling(N=1, G=1, K=dims.K, C=dims.C, P=dims.P, Q=1, order=("G", "N", "P", "Q", "K", "C"))
    return cycles(run_layers(hardware, [item], "bitmap-int8", {"gemm": whole}))  # rows are not cut there
