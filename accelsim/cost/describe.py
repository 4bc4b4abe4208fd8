"""The cost tables as a page for people: every constant with its range and source."""

from __future__ import annotations

from accelsim.cost.tables import CostRow, CostTables

_UNITS = {
    "pj": "pJ", "pj_per_bit": "pJ/bit", "pj_per_bit_mm": "pJ/bit/mm", "um2": "um2", "nw": "nW", "ge": "GE",
    "flip_flops": "flip-flops", "factor": "",
}  # fmt: skip


def tables_markdown(tables: CostTables) -> str:
    """Return one Markdown table row per constant, grouped by the unit of the chip; ends with a newline."""
    lines = ["| constant | prices | value | range | holds at | source |", "|---|---|---|---|---|---|"]
    lines += [_line(row) for row in sorted(tables.rows.values(), key=lambda row: (row.unit_of_chip, row.name))]
    return "\n".join(lines) + "\n"


def _line(row: CostRow) -> str:
    value = f"{row.value:g} {_UNITS[row.unit]}".strip()
    spread = "exact" if row.low == row.high else f"{row.low:g} to {row.high:g}"
    place = f"{row.node_nm:g} nm" if row.node_nm is not None else ""
    if row.voltage_v is not None:
        place += f", {row.voltage_v:g} V"
    cells = (row.name, f"{row.unit_of_chip}: {row.action}", value, spread, place, row.source)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
