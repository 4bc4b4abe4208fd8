"""A row of the comparison, and what many of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.dse.pareto import rank_correlation


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """One figure of somebody else beside ours.

    Attributes
    ----------
    reference, source
        Short name and citation.
    quantity
        What is compared, with its unit.
    theirs, ours
        The two values; ``theirs`` is None where nothing was published.
    note
        What to know when reading the row.
    gap
        Whether the row counts as an error (False: a trend, a context, or a figure about the comparison itself).
    statistic
        Whether the row is a mean error, a correlation, a mean ratio or a range: its relative error says nothing.
    kinds
        Kinds of layer by which errors are reported; a row may be of several.
    """

    reference: str
    source: str
    quantity: str
    theirs: float | None
    ours: float
    note: str = ""
    gap: bool = True
    statistic: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """Return what is measured, which the quantity begins with: ``power in mW, CONV1`` is a ``power in mW``."""
        return self.quantity.partition(", ")[0]

    @property
    def relative_error(self) -> float | None:
        """Return (ours - theirs) / theirs; None for a statistic, without a counterpart, or where theirs is 0."""
        if self.statistic or self.theirs is None or self.theirs == 0:
            return None
        return (self.ours - self.theirs) / self.theirs


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a group of rows comes to: number, mean, median and largest absolute relative error, rank correlation."""

    num_rows: int
    mean_error: float
    median_error: float
    largest_error: float
    rank_correlation: float | None


def agreement(rows: Sequence[ValidationRow]) -> Agreement:
    """Return the agreement of the rows that have a relative error; the correlation is Spearman's, if there is one."""
    pairs = [(row.theirs, row.ours, row.relative_error) for row in rows if row.gap and row.relative_error is not None]
    errors = np.array([abs(error or 0.0) for _, _, error in pairs]) if pairs else np.zeros(1)
    correlation = rank_correlation([theirs or 0.0 for theirs, _, _ in pairs], [ours for _, ours, _ in pairs])
    return Agreement(len(pairs), float(errors.mean()), float(np.median(errors)), float(errors.max()), correlation)


def summary_rows(
    reference: str,
    source: str,
    what: str,
    rows: Sequence[ValidationRow],
    others: tuple[float | None, float | None],
    note: str,
) -> list[ValidationRow]:
    """Return mean error and, if any, rank correlation of ``rows``; ``others`` are the best of another simulator."""
    found = agreement(rows)
    text = f"{found.num_rows} rows, median {found.median_error:.3f}; theirs: {note}"
    rows = [statistic_row(reference, source, f"mean error of {what}", others[0], found.mean_error, text)]
    if found.rank_correlation is not None:
        quantity = f"rank correlation of {what}"
        rows.append(statistic_row(reference, source, quantity, others[1], found.rank_correlation, text))
    return rows


def statistic_row(
    reference: str, source: str, quantity: str, theirs: float | None, ours: float, note: str
) -> ValidationRow:
    """Return a row about many others."""
    return ValidationRow(reference, source, quantity, theirs, ours, note, gap=False, statistic=True)
