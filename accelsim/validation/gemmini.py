"""Gemmini: RTL cycles of real layers under their own mappings and buffer sizes, and under our mapper's choice."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from accelsim.errors import ConfigError
from accelsim.mapping.loops import ALL_LOOPS, Loop, Tiling
from accelsim.trace.model import TraceLayer
from accelsim.validation.own_rows import BYTES, MEASURED, SIZE, TEXT, Column, Columns
from accelsim.validation.reference import Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow, agreement, statistic_row, summary_rows
from accelsim.validation.runs import conv_dims, cycles, layer, machine, run_layers

_LEVEL = re.compile(r"L[0-3]\[[WIO]+\]")
_SIZE = re.compile(r"[1-9][0-9]{0,6}")
_EXAMPLE = "L3[WIO] K2 - L2[WI] N1 K16X - L1[O] K4 C8 P8 C16X - L0[W] P16"
_STORED = 4 << 20  # bytes of outputs: more than the last-level cache of the measured machine
KINDS: dict[str, Callable[[Row], bool]] = {
    "maps of at most 7 x 7": lambda row: row.whole("P") <= 7,
    "maps up to 56 x 56": lambda row: 7 < row.whole("P") <= 56 and row.whole("Q") > 1,
    "maps of 100 x 100 and more": lambda row: row.whole("P") >= 100 and row.whole("Q") > 1,
    "products": lambda row: row.whole("Q") == 1,
    "fewer than 16 channels": lambda row: row.whole("C") < 16,
    "stride above 1": lambda row: row.whole("stride") > 1,
    "tiles of at most 32 of more filters": lambda row: _tile_filters(row) < min(33, row.whole("K")),
    "outputs above 4 MiB": lambda row: row.whole("K") * row.whole("P") * row.whole("Q") > _STORED,
}
"""Kinds of layers by which errors are reported, beside the mean over all."""
CHOSEN = "gemmini-rtl-our-mapper"
COLUMNS = Columns(
    "gemmini_rtl",
    (
        *(Column(name, SIZE) for name in ("C", "K", "N", "P", "Q", "R", "S", "stride")),
        Column("accumulator_bytes", BYTES, ("acc_bytes",)),
        Column("scratchpad_bytes", BYTES, ("spad_bytes",)),
        Column("mapping", TEXT),
        Column("rtl_cycles", MEASURED, ("rtl_cycles_this_mapping",)),
        Column("timeloop_cycles", MEASURED, optional=True),
    ),
)
"""What rows of a user's own have."""
# In the table P is the output's width and R the filter's: (P - 1) stride + R is the input's width in the data's code.
_TRANSPOSED: dict[Loop, Loop] = {"P": "Q", "Q": "P", "R": "S", "S": "R"}


@dataclass(frozen=True, slots=True)
class StatedMapping:
    """A mapping of the table: the tile below DRAM, the loops over tiles, outermost first, and how many of each."""

    tile: dict[Loop, int]
    order: tuple[Loop, ...]
    outer: dict[Loop, int]


def parse_mapping(text: str) -> StatedMapping:
    """Return the tile and the outer loops of ``L3[WIO] K2 - L2[WI] N1 K16X - L1[O] C8 P16 C16X - L0[W] P8``.

    Raises
    ------
    ConfigError
        The text is not such a mapping.
    """
    tile: dict[Loop, int] = dict.fromkeys(ALL_LOOPS, 1)
    outer = tile.copy()
    order: list[Loop] = []
    for part in text.split(" - "):
        level, *factors = part.split() or [""]
        if not _LEVEL.fullmatch(level):
            raise ConfigError(f"mapping: {level[:60]!r} is no level; write e.g. {_EXAMPLE}")
        for factor in factors:
            loop, size = _factor(factor)
            if level.startswith("L3"):
                order.extend([loop] if size > 1 else [])
                outer[loop] *= size
            else:
                tile[loop] *= size
    return StatedMapping(tile, tuple(order) + tuple(loop for loop in ALL_LOOPS if loop not in order), outer)


def _factor(text: str) -> tuple[Loop, int]:
    for loop in ALL_LOOPS:
        if loop == text[0] and _SIZE.fullmatch(text[1:].removesuffix("X")):
            return loop, int(text[1:].removesuffix("X"))
    raise ConfigError(f"mapping: {text[:60]!r} is not a loop and a size; write e.g. K16 or K16X")


def _mapping_of(row: Row) -> StatedMapping:
    """Return the mapping of a row, which must cover its loops; a `ConfigError` says which one it does not."""
    mapping = parse_mapping(row.text("mapping"))
    for loop, size in _dims_of(row)[1].items():
        covered = mapping.tile[loop] * mapping.outer[loop]
        if covered < size:
            raise ConfigError(
                f"mapping: its factors of {loop} come to {covered}, column {loop} has {size}; correct one"
            )
    return mapping


def stated_rows(table: Table) -> list[ValidationRow]:
    """Return a row per layer under its stated mapping."""
    return [_stated_row(table.source, row) for row in table.rows]


def validate_gemmini(own: Table | None = None) -> list[ValidationRow]:
    """Return the summaries and a row per layer and mapping; Timeloop's error where the table has its cycles."""
    table = own or load_table("gemmini_rtl")
    stated = stated_rows(table)
    timeloop = [
        replace(ours, ours=row.number("timeloop_cycles"))
        for ours, row in zip(stated, table.rows, strict=True)
        if "timeloop_cycles" in row.cells
    ]
    has_timeloop = len(timeloop) == len(stated)
    theirs = agreement(timeloop) if has_timeloop else None
    others = (theirs.mean_error, theirs.rank_correlation) if theirs is not None else (None, None)
    of = "Timeloop on the same rows" if has_timeloop else "none at hand"
    what = "cycles under their mappings"
    found = summary_rows("gemmini-rtl", table.source, what, stated, others, of)
    for kind in KINDS:
        chosen = [place for place, row in enumerate(stated) if kind in row.kinds]
        if chosen:
            ours = agreement([stated[place] for place in chosen])
            other = agreement([timeloop[place] for place in chosen]).mean_error if has_timeloop else None
            note = f"{ours.num_rows} rows, median {ours.median_error:.3f}; theirs: {of}"
            quantity = f"mean error, {kind}"
            found.append(statistic_row("gemmini-rtl", table.source, quantity, other, ours.mean_error, note))
    return found + stated


def _tile_filters(row: Row) -> int:
    return parse_mapping(row.text("mapping")).tile["K"]


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
    mapping = _mapping_of(row)
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


def _stated_row(source: str, row: Row) -> ValidationRow:
    with row.named():
        name, ours = _run_stated(row)
    return ValidationRow(
        "gemmini-rtl",
        source,
        f"cycles of {name} (N K C P Q R S), {row.text('mapping')}",
        row.number("rtl_cycles"),
        float(ours),
        kinds=tuple(kind for kind, is_of in KINDS.items() if is_of(row)),
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
