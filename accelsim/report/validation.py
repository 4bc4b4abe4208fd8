"""The comparison with published figures, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from accelsim.report.text import percent, significant
from accelsim.validation.rows import ValidationRow, agreement
from accelsim.validation.verdict import verdict

LONG = 16  # groups of more rows are summed up


def print_validation(console: Console, rows: Sequence[ValidationRow], every_row: bool) -> None:
    """Print the verdict, a table of agreement per reference, then the rows; of long groups only the notable ones."""
    for part in verdict(rows):
        console.print(Text(part.heading, style="bold"))
        for point in part.points:
            console.print(Padding(Text(f"- {point}"), (0, 0, 0, 2), expand=False))
    console.print()
    names = list(dict.fromkeys(row.reference for row in rows))
    groups = {name: [row for row in rows if row.reference == name] for name in names}
    console.print(_agreement_table(groups))
    for name, group in groups.items():
        shown = group if every_row or len(group) <= LONG else _notable(group)
        console.print(Text(f"{name}: {group[0].source}", style="bold"))
        console.print(_row_table(shown))
        if len(shown) < len(group):
            console.print(Text(f"{len(group) - len(shown)} more rows: --reference {name} --all or --json"))


def _notable(group: Sequence[ValidationRow]) -> list[ValidationRow]:
    """Return the rows that are no plain cases, and the five largest gaps."""
    plain = [row for row in group if row.gap]
    worst = sorted(plain, key=lambda row: -abs(row.relative_error or 0.0))[:5]
    special = [row for row in group if not row.gap][:4]
    return special + worst


def _agreement_table(groups: dict[str, list[ValidationRow]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("reference", no_wrap=True)
    for title in ("rows", "mean error", "median", "largest", "rank correlation"):
        table.add_column(title, justify="right")
    for name, group in groups.items():
        found = agreement(group)
        if not found.num_rows:
            table.add_row(name, str(len(group)), "-", "-", "-", "-")
            continue
        rank = found.rank_correlation
        table.add_row(
            name, str(found.num_rows), percent(found.mean_error), percent(found.median_error),
            percent(found.largest_error), "-" if rank is None else f"{rank:.3f}",
        )  # fmt: skip
    return table


def _row_table(rows: Sequence[ValidationRow]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("quantity", overflow="fold", ratio=3)
    for title in ("theirs", "ours", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("note", overflow="fold", ratio=2)
    for row in rows:
        error = row.relative_error
        table.add_row(
            Text(row.quantity),
            "-" if row.theirs is None else significant(row.theirs),
            significant(row.ours),
            "-" if error is None or (not row.gap and abs(error) > 99) else f"{100 * error:+.1f} %",
            Text(row.note),
        )
    return table
