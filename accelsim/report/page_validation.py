"""What the report says of the model's agreement with published figures: a table that was computed beforehand.

``python -m accelsim.report.page_validation`` computes it again (about half a minute), as ``make reports`` does.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter

from accelsim.config.base import ConfigModel
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.text import percent
from accelsim.results.store import write_text

TABLE_NAME = "validation.json"


class Agreement(ConfigModel):
    """How far the model is from one reference; the errors are null where the reference has no plain rows."""

    reference: str
    """Short name, as ``accelsim validate --reference`` takes it."""
    source: str
    """Citation."""
    num_rows: int
    """Rows that count as errors."""
    mean_error: float | None
    """Mean of the absolute relative errors."""
    median_error: float | None
    """Their median."""
    largest_error: float | None
    """The largest."""
    rank_correlation: float | None
    """Spearman's correlation between theirs and ours."""


def validation_table() -> PageTable:
    """Return the table that is shipped with the package."""
    text = (resources.files("accelsim.report") / "templates" / TABLE_NAME).read_text(encoding="utf-8")
    rows = TypeAdapter(list[Agreement]).validate_json(text)
    columns = ("reference", "rows", "mean error", "median", "largest", "rank correlation", "source")
    note = (
        "Nothing is fitted to these figures. Trend only: what was measured is not quite what is modelled (another "
        "mapping, parameters that are not public), so that directions are compared and no error is stated. accelsim "
        "validate prints every row, and docs/validation.md explains the gaps."
    )
    return PageTable("agreement with published figures", columns, tuple(map(_cells, rows)), note)


def computed() -> list[Agreement]:
    """Return the agreement with every reference, computed now."""
    from accelsim.validation.compare import validate  # noqa: PLC0415  a report must not wait for scipy
    from accelsim.validation.rows import agreement  # noqa: PLC0415

    rows = validate()
    found = []
    for name in dict.fromkeys(row.reference for row in rows):
        group = [row for row in rows if row.reference == name]
        each = agreement(group)
        errors = (each.mean_error, each.median_error, each.largest_error, each.rank_correlation)
        shown = [round(error, 4) if each.num_rows else None for error in errors]
        found.append(
            Agreement(
                reference=name,
                source=group[0].source,
                num_rows=each.num_rows,
                mean_error=shown[0],
                median_error=shown[1],
                largest_error=shown[2],
                rank_correlation=shown[3],
            )
        )
    return found


def _cells(row: Agreement) -> tuple[Cell, ...]:
    def error(value: float | None) -> Cell:
        return Cell("-", "-") if value is None else Cell(percent(value), value)

    rank = row.rank_correlation
    return (
        Cell(row.reference, row.reference),
        Cell(str(row.num_rows), row.num_rows) if row.num_rows else Cell("trend only", "trend only"),
        error(row.mean_error),
        error(row.median_error),
        error(row.largest_error),
        Cell("-", "-") if rank is None else Cell(f"{rank:.3f}", rank),
        Cell(row.source, row.source),
    )


def main() -> None:
    """Write the shipped table again."""
    text = json.dumps([row.model_dump() for row in computed()], indent=1, allow_nan=False)
    write_text(Path(__file__).with_name("templates") / TABLE_NAME, text + "\n")


if __name__ == "__main__":
    main()
