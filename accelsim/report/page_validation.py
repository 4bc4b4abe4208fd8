"""What the report says of the model's agreement with published figures: verdict and table, computed beforehand.

``python -m accelsim.report.page_validation`` computes it again (about half a minute), as ``make reports`` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.config.base import ConfigModel
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.text import percent
from accelsim.results.store import write_text

if TYPE_CHECKING:
    from accelsim.validation.rows import Agreement as RowAgreement
    from accelsim.validation.rows import ValidationRow

SHIPPED = Path(__file__).with_name("templates") / "validation.json"


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
    """Spearman's correlation between theirs and ours; null below three rows and among equal ones."""
    ratio_low: float | None = None
    """Of a reference without plain rows: the least that ours is of theirs."""
    ratio_high: float | None = None
    """The most."""

    @classmethod
    def of(
        cls, name: str, found: RowAgreement, source: str = "", ratios: tuple[float, float] | None = None
    ) -> Agreement:
        """Return the agreement ``found`` of a group of rows; ``ratios`` are the ends of ours over theirs."""
        errors = (found.mean_error, found.median_error, found.largest_error)
        mean, median, largest = (round(error, 4) if found.num_rows else None for error in errors)
        rank = None if found.rank_correlation is None else round(found.rank_correlation, 4)
        low, high = (None, None) if ratios is None else (round(end, 4) for end in ratios)
        return cls(
            reference=name, source=source, num_rows=found.num_rows, mean_error=mean, median_error=median,
            largest_error=largest, rank_correlation=rank, ratio_low=low, ratio_high=high,
        )  # fmt: skip


class VerdictPart(ConfigModel):
    """A part of the verdict."""

    heading: str
    """What its points have in common."""
    points: list[str]
    """Sentences, each about one measure."""


class Validation(ConfigModel):
    """What is shipped."""

    verdict: list[VerdictPart]
    """What to trust, to how much, and what not."""
    agreement: list[Agreement]
    """A row per reference."""


@cache
def shipped() -> Validation:
    """Return what is shipped with the package."""
    return Validation.model_validate_json(SHIPPED.read_text(encoding="utf-8"))


# Chip -> the reference that measured it, or the chip that it describes.
CHIP_REFERENCES = {
    "gemmini": "gemmini-rtl", "tpu_v1": "tpu-v1", "tpu_v3": "tpu-v3", "eyeriss": "eyeriss-v1", "hiddenite": "hiddenite",
}  # fmt: skip
_MEASURED = {
    "gemmini-rtl": "cycles of its RTL", "tpu-v1": "measured TOPS and stalls", "tpu-v3": "measured cycles",
    "eyeriss-v1": "measured times, traffic and power", "hiddenite": "published TOPS/W",
}  # fmt: skip


def chip_trust(chip: str) -> str:
    """Return how far the model is from what was measured of ``chip``, or that nothing was."""
    name = CHIP_REFERENCES.get(chip.removesuffix("_dense"), "")
    found = next((row for row in shipped().agreement if row.reference == name), None)
    if found is not None and found.mean_error is not None and found.largest_error is not None:
        return (
            f"Beside its {_MEASURED[name]}: {percent(found.mean_error)} mean error over {found.num_rows} figures, at "
            f"most {percent(found.largest_error)}."
        )
    if found is not None and found.ratio_low is not None and found.ratio_high is not None:
        ends = sorted((found.ratio_low - 1, found.ratio_high - 1))
        errors = " to ".join(f"{end:+.0%}".replace("%", " %") for end in dict.fromkeys(ends))
        return f"Beside its {_MEASURED[name]}: {errors}, in the middle of a range of assumptions."
    return "No chip like it was measured; the parts of the model were (see Validation)."


def agreement_table(rows: Sequence[Agreement]) -> PageTable:
    """Return the agreement with each reference as a table."""
    columns = ("reference", "rows", "mean error", "median", "largest", "rank correlation", "source")
    note = (
        "Nothing is fitted to these figures. Trend only: what was measured is not quite what is modelled (another "
        "mapping, parameters that are not public), so that directions are compared and no error is stated. accelsim "
        "validate prints every row, and docs/validation.md explains the gaps."
    )
    return PageTable(
        "Agreement with published figures",
        columns,
        tuple((*agreement_cells(row), Cell(row.source, row.source)) for row in rows),
        note,
    )


def agreements(rows: Sequence[ValidationRow]) -> list[Agreement]:
    """Return the agreement of each reference that ``rows`` have."""
    from accelsim.validation.rows import agreement  # noqa: PLC0415  a report must not wait for scipy
    from accelsim.validation.verdict import trend_ratios  # noqa: PLC0415

    groups = {name: [row for row in rows if row.reference == name] for name in dict.fromkeys(r.reference for r in rows)}
    return [
        Agreement.of(name, agreement(group), group[0].source, trend_ratios(group)) for name, group in groups.items()
    ]


def shipped_text(rows: Sequence[ValidationRow]) -> str:
    """Return what is to be shipped about the rows of every reference, as JSON."""
    from accelsim.validation.verdict import verdict  # noqa: PLC0415  a report must not wait for scipy

    parts = [VerdictPart(heading=part.heading, points=list(part.points)) for part in verdict(rows)]
    made = Validation(verdict=parts, agreement=agreements(rows))
    return json.dumps(made.model_dump(), indent=1, allow_nan=False) + "\n"


def agreement_cells(row: Agreement) -> tuple[Cell, ...]:
    """Return name, number of rows, errors and correlation as cells."""

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
    )


def main() -> None:
    """Write the shipped table again."""
    from accelsim.validation.compare import validate  # noqa: PLC0415  a report must not wait for scipy

    write_text(SHIPPED, shipped_text(validate()))


if __name__ == "__main__":
    main()
