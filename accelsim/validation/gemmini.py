"""Gemmini: RTL cycles of real layers under their own mappings and buffer sizes, and under our mapper's choice."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accelsim.errors import ConfigError
from accelsim.mapping.loops import ALL_LOOPS, Loop, Tiling
from accelsim.trace.model import TraceLayer
from accelsim.validation.reference import Row, load_table, preset_path
from accelsim.validation.rows import ValidationRow, statistic_row, summary_rows
from accelsim.validation.runs import conv_dims, cycles, layer, machine, run_layers

TIMELOOP = (0.245, 0.968)
CHOSEN = "gemmini-rtl-our-mapper"
# In the table P is the output's width and R the filter's: (P - 1) stride + R is the input's width in the data's code.
_TRANSPOSED: dict[Loop, Loop] = {"P": "Q", "Q": "P", "R": "S", "S": "R"}


@dataclass(frozen=True, slots=True)
class StatedMapping:
    """A mapping of the table: the tile below DRAM, and the loops over tiles, outermost first."""

    tile: dict[Loop, int]
    order: tuple[Loop, ...]


def parse_mapping(text: str) -> StatedMapping:
    """Return the tile and the outer loops of ``L3[WIO] K2 - L2[WI] N1 K16X - L1[O] C8 P16 C16X - L0[W] P8``.

    Raises
    ------
    ConfigError
        The text is not such a mapping.
    """
    tile: dict[Loop, int] = dict.fromkeys(ALL_LOOPS, 1)
    order: list[Loop] = []
    for part in text.split(" - "):
        level, *factors = part.split()
        for factor in factors:
            loop, size = _factor(factor, text)
            if level.startswith("L3"):
                order.extend([loop] if size > 1 else [])
            else:
                tile[loop] *= size
    return StatedMapping(tile, tuple(order) + tuple(loop for loop in ALL_LOOPS if loop not in order))


def _factor(text: str, where: str) -> tuple[Loop, int]:
    digits = text[1:].removesuffix("X")
    for loop in ALL_LOOPS:
        if loop == text[0] and digits.isdecimal():
            return loop, int(digits)
    raise ConfigError(f"{where}: {text!r} is not a loop and a size; write e.g. K16 or K16X")


def stated_rows() -> list[ValidationRow]:
    """Return a row per layer under its stated mapping."""
    table = load_table("gemmini_rtl")
    return [_row(table.source, row, *_run_stated(row)) for row in table.rows]


def validate_gemmini() -> list[ValidationRow]:
    """Return the summaries and a row per layer and mapping."""
    source, stated = load_table("gemmini_rtl").source, stated_rows()
    note = "Timeloop on the same data"
    return summary_rows("gemmini-rtl", source, "cycles under their mappings", stated, TIMELOOP, note) + stated


def validate_chosen() -> list[ValidationRow]:
    """Return a row per layer under our mapper, and their geometric mean."""
    table = load_table("gemmini_rtl")
    chosen = [_chosen_row(table.source, row) for row in table.rows]
    ratio = math.exp(sum(math.log(row.ours / (row.theirs or 1.0)) for row in chosen) / len(chosen))
    what = "cycles under our mapper's choice / under theirs, geometric mean"
    note = "ours simulated, theirs measured: below 1 where the mapper finds a better tiling"
    return [statistic_row(CHOSEN, table.source, what, 1.0, ratio, note), *chosen]


def _dims_of(row: Row) -> tuple[str, dict[Loop, int]]:
    sizes: dict[Loop, int] = {loop: row.whole(loop) for loop in ALL_LOOPS if loop != "G"}
    return "x".join(str(size) for size in sizes.values()), sizes


def _overrides(row: Row) -> dict[str, object]:
    """Return their buffer sizes: the table's are for one of two halves, and the scratchpad is shared by W and I."""
    scratchpad = 2 * row.whole("scratchpad_bytes")
    return {
        "activation_buffer.capacity_bytes": scratchpad,
        "weight_buffer.capacity_bytes": scratchpad,
        "accumulator.capacity_bytes": 2 * row.whole("accumulator_bytes"),
        "mapping.keep_activations_on_chip": False,
    }


def _run_stated(row: Row) -> tuple[str, int]:
    name, size = _dims_of(row)
    mapping = parse_mapping(row.text("mapping"))
    tile = {loop: min(mapping.tile[loop], size.get(loop, 1)) for loop in ALL_LOOPS}
    order = tuple(_TRANSPOSED.get(loop, loop) for loop in mapping.order)
    tiling = Tiling(
        N=tile["N"], G=1, K=tile["K"], C=tile["C"], P=tile["Q"], Q=tile["P"], order=order,
        R=tile["S"], S=tile["R"], keep="tile",
    )  # fmt: skip
    hardware = machine(preset_path("gemmini_dense"), _overrides(row))
    return name, cycles(run_layers(hardware, [_layer(row)], fixed={"layer": tiling}))


def _layer(row: Row) -> TraceLayer:
    dims = conv_dims(
        channels=row.whole("C"), filters=row.whole("K"), out=(row.whole("Q"), row.whole("P")),
        window=(row.whole("S"), row.whole("R")), stride=row.whole("stride"), batch=row.whole("N"),
    )  # fmt: skip
    return layer("layer", dims)


def _row(source: str, row: Row, name: str, ours: int) -> ValidationRow:
    return ValidationRow(
        "gemmini-rtl",
        source,
        f"cycles of {name} (N K C P Q R S), {row.text('mapping')}",
        row.number("rtl_cycles"),
        float(ours),
    )


def _chosen_row(source: str, row: Row) -> ValidationRow:
    name, _ = _dims_of(row)
    overrides = _overrides(row) | {"weight_buffer.capacity_bytes": row.whole("scratchpad_bytes")}
    overrides["activation_buffer.capacity_bytes"] = row.whole("scratchpad_bytes")
    ours = cycles(run_layers(machine(preset_path("gemmini_dense"), overrides), [_layer(row)]))
    default = row.whole("default_tiler_cycles")
    what = f"cycles of {name} (N K C P Q R S), our mapper's tiling"
    note = f"theirs: RTL under their mapping; its software's own tiling takes {default}"
    return ValidationRow(CHOSEN, source, what, row.number("rtl_cycles"), float(ours), note, gap=False)
