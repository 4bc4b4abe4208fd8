"""The comparison with published figures as one page: verdict, a plot per reference, errors by kind, every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import accelsim
from accelsim.report.html import once, render
from accelsim.report.page_charts import Chart
from accelsim.report.page_svg import NUM_COLOURS, Axis, BarPicture, BarRow, Mark, PointPicture, Segment, Series
from accelsim.report.page_tables import Cell, PageTable, csv_text
from accelsim.report.page_validation import Agreement, agreement_cells, agreement_table, agreements
from accelsim.report.text import percent, printable, significant
from accelsim.validation.page import LARGE_GAP, gap_groups
from accelsim.validation.rows import Agreement as RowAgreement
from accelsim.validation.rows import ValidationRow, agreement
from accelsim.validation.verdict import (
    ESTIMATE,
    TRUSTED,
    Finding,
    Paragraph,
    errors_by_kind,
    findings,
    kinds_of,
    verdict,
)

_LINE_COLOUR = 9
_COLOURS = tuple(colour for colour in range(NUM_COLOURS) if colour != _LINE_COLOUR)
_LONGEST_BAR = 1.0
_FEW_ROWS = 12  # that stand whole beside a plot
_ROOM = 1.3
"""Factor of free space around the marks of a logarithmic plot."""


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """One reference, as the page shows it."""

    name: str
    source: str
    chart: Chart | None
    kinds: PageTable | None
    tables: tuple[PageTable, ...]

    @property
    def beside(self) -> PageTable | None:
        """Return the table beside the chart, so that its row is full: the errors by kind, or the first that is."""
        return self.kinds or next(iter(self.tables), None)

    @property
    def below(self) -> tuple[PageTable, ...]:
        """Return the other tables."""
        return self.tables if self.kinds else self.tables[1:]


@dataclass(frozen=True, slots=True)
class ValidationPage:
    """Everything the page says; ``csv_name`` is what the link to every row saves."""

    title: str
    version: str
    lead: str
    hero: Chart
    trends: tuple[Paragraph, ...]
    verdict: tuple[Paragraph, ...]
    agreement: PageTable
    parts: tuple[ReferenceView, ...]
    rows: PageTable
    csv_name: str


def validation_page(rows: Sequence[ValidationRow], csv_name: str) -> str:
    """Return the page about ``rows`` as self-contained HTML; equal rows give equal bytes."""
    names, said = dict.fromkeys(row.reference for row in rows), set[str]()
    parts = verdict(rows)
    page = ValidationPage(
        title="How far is the model from what was measured?",
        version=accelsim.__version__,
        lead=". ".join(part.heading for part in parts if "measures" in part.heading) + ".",
        hero=_errors_chart(findings(rows)),
        trends=tuple(part for part in parts if "measures" not in part.heading),
        verdict=tuple(part for part in parts if "measures" in part.heading),
        agreement=agreement_table(agreements(rows)),
        parts=tuple(_view(name, [row for row in rows if row.reference == name], said) for name in names),
        rows=rows_table(rows),
        csv_name=csv_name,
    )
    return render("validation.html.j2", page)


def rows_csv(rows: Sequence[ValidationRow]) -> str:
    """Return every row as CSV; their sources stand in the table of agreement."""
    return csv_text(rows_table(rows))


def rows_table(rows: Sequence[ValidationRow]) -> PageTable:
    """Return every row as a table."""
    columns = ("reference", "quantity", "theirs", "ours", "relative_error", "kinds", "note")
    cells = []
    for row in rows:
        error = row.relative_error
        numbers = (
            _number(row.theirs),
            _number(row.ours),
            _none() if error is None else Cell(f"{100 * error:+.1f} %", _rounded(error)),
        )
        kinds = "; ".join(kinds_of(row))
        cells.append((_text(row.reference), _text(row.quantity), *numbers, _text(kinds), _text(row.note)))
    return PageTable("all rows", columns, tuple(cells))


def _errors_chart(found: Sequence[Finding]) -> Chart:
    """Return the mean error of each measure; bars of large ones end at `_LONGEST_BAR`."""
    rows = []
    for each in sorted(found, key=lambda each: each.found.mean_error):
        error = each.found.mean_error
        colour = 2 if error <= TRUSTED else 4 if error <= ESTIMATE else 1
        words = f"{each.what}\n{percent(error)} beside {each.beside}, {each.found.num_rows} rows"
        rows.append(BarRow(each.what, (Segment(100 * min(error, _LONGEST_BAR), colour, words),), percent(error)))
    key = [("trust", 2), ("estimate", 4), ("do not trust", 1)]
    title = "Mean error of each measure"
    is_cut = any(each.found.mean_error > _LONGEST_BAR for each in found)
    note = f"Bars end at {100 * _LONGEST_BAR:.0f} %. " * is_cut + "Point at one for what it is measured beside."
    return Chart(title, BarPicture(title, rows, "mean error", "%", key), note)


def _view(name: str, rows: Sequence[ValidationRow], said: set[str]) -> ReferenceView:
    kinds, gaps = errors_by_kind(rows), gap_groups(rows)
    tables = [
        *([_gaps_table(gaps)] if gaps else []),
        *([_context_table(rows)] if any(row.statistic for row in rows) else []),
    ]
    pairs = [row for row in rows if not row.statistic]
    if not kinds and not tables and len(pairs) <= _FEW_ROWS:
        tables = [_pairs_table(pairs)]
    charts = once(filter(None, [_chart(rows)]), said)
    return ReferenceView(
        name, rows[0].source, next(iter(charts), None), _kinds_table(kinds) if kinds else None, tuple(tables)
    )


def _kinds_table(kinds: Sequence[tuple[str, RowAgreement]]) -> PageTable:
    columns = ("kind", "rows", "mean error", "median", "largest")
    cells = tuple(agreement_cells(Agreement.of(kind, found))[: len(columns)] for kind, found in kinds)
    return PageTable("Errors by kind of layer, or by measure", columns, cells)


def _context_table(rows: Sequence[ValidationRow]) -> PageTable:
    columns = ("quantity", "theirs", "ours", "note")
    cells = tuple(
        (_text(row.quantity), _number(row.theirs), _number(row.ours), _text(row.note)) for row in rows if row.statistic
    )
    return PageTable("Means, correlations and ranges", columns, cells)


def _pairs_table(rows: Sequence[ValidationRow]) -> PageTable:
    columns = ("quantity", "theirs", "ours")
    cells = tuple((_text(row.quantity), _number(row.theirs), _number(row.ours)) for row in rows)
    return PageTable("All rows", columns, cells)


def _gaps_table(gaps: Sequence[tuple[str, str, Sequence[ValidationRow]]]) -> PageTable:
    columns = ("why", "rows", "from", "to", "the largest")
    cells = []
    for _, why, group in gaps:
        errors = sorted(row.relative_error or 0.0 for row in group)
        largest = max(group, key=lambda row: abs(row.relative_error or 0.0))
        ends = (Cell(f"{100 * error:+.0f} %", _rounded(error)) for error in (errors[0], errors[-1]))
        cells.append((_text(why), Cell(str(len(group)), len(group)), *ends, _text(largest.quantity)))
    return PageTable(f"Rows off by more than {percent(LARGE_GAP)}, by reason", columns, tuple(cells))


def _chart(rows: Sequence[ValidationRow]) -> Chart | None:
    """Return theirs against ours, both logarithmic, in a series per kind; None without a pair."""
    shown = [row for row in rows if not row.statistic] or list(rows)
    pairs = [(row, row.theirs) for row in shown if row.theirs is not None and row.theirs > 0 and row.ours > 0]
    if not pairs:
        return None
    places = [value for row, theirs in pairs for value in (theirs, row.ours)]
    low, high = min(places) / _ROOM, max(places) * _ROOM
    kinds: dict[str, list[Mark]] = {}
    for row, theirs in pairs:
        kinds.setdefault(next(iter(kinds_of(row)), ""), []).append(_mark(row, theirs))
    series = [Series(kind, _COLOURS[n % len(_COLOURS)], tuple(marks)) for n, (kind, marks) in enumerate(kinds.items())]
    unit = "cycles" if all("cycles of" in row.quantity for row, _ in pairs) else "each row in its unit"
    found = agreement(rows)
    title = "Theirs and ours" + (f": mean error {percent(found.mean_error)}" if found.num_rows else "")
    picture = PointPicture(
        title,
        Axis(f"theirs ({unit}), logarithmic", log=True, low=low, high=high),
        Axis(f"ours ({unit}), logarithmic", log=True, low=low, high=high),
        [*series, *_lines(low, high)],
        height=380,
    )
    return Chart(title, picture, f"Lines: equal, and {percent(LARGE_GAP)} more and less.")


def _lines(low: float, high: float) -> Iterator[Series]:
    """Yield the lines of equal figures and of large gaps, within the square from ``low`` to ``high``."""
    for factor in (1.0, 1.0 + LARGE_GAP, 1.0 - LARGE_GAP):
        ends = (max(low, low / factor), min(high, high / factor))
        yield Series("", _LINE_COLOUR, tuple(Mark(x, x * factor, "") for x in ends), joined=True, plain=True)


def _mark(row: ValidationRow, theirs: float) -> Mark:
    error = "" if row.relative_error is None else f", {100 * row.relative_error:+.1f} %"
    return Mark(theirs, row.ours, f"{row.quantity}\ntheirs {significant(theirs)}, ours {significant(row.ours)}{error}")


def _number(value: float | None) -> Cell:
    if value is None:
        return _none()
    return Cell(f"{value:,.0f}" if abs(value) >= 1000 else significant(value), _rounded(value))


def _rounded(value: float) -> float:
    """Return nine digits: the last ones of a mean depend on the version of NumPy."""
    return float(f"{value:.9g}")


def _none() -> Cell:
    return Cell("-", "")


def _text(text: str) -> Cell:
    clean = printable(text, 1000)
    return Cell(clean, clean)
