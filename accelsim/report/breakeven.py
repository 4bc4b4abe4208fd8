"""What ``accelsim compare`` says in words: rivals that win, and where the ranking changes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.report.text import percent, printable, ratio, significant
from accelsim.results.breakeven import BreakEven, equal_precision_bits, smaller_or_cheaper
from accelsim.results.compare import stored_bits
from accelsim.results.model import RunResult


def print_break_even(
    console: Console, ticket: RunResult, rivals: Sequence[RunResult], points: Sequence[BreakEven]
) -> None:
    """Print, for one network, where ``ticket`` and each rival change places, and which rivals beat it in what.

    ``points`` belong to ``rivals``, in their order.
    """
    name = printable(ticket.workload.path or ticket.workload.name)
    now = significant(points[0].dram_pj_per_bit_now)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{name}: {ticket.storage} against", no_wrap=True, overflow="ellipsis")
    for title in ("stores", "energy", f"equal at pJ/bit (now {now})", "smaller from frozen"):
        table.add_column(title, justify="right")
    for rival, point in zip(rivals, points, strict=True):
        table.add_row(
            Text(printable(rival.storage)),
            ratio(stored_bits(rival.totals), stored_bits(ticket.totals)),
            ratio(rival.totals.energy_j, ticket.totals.energy_j),
            "never" if point.dram_pj_per_bit is None else significant(point.dram_pj_per_bit),
            _from(point.freeze_ratio),
        )
    console.print(table)
    bits = significant(equal_precision_bits(ticket))
    console.print(Text(f"Dense weights would need {bits} bits each to be stored as small."))
    for storage, better in smaller_or_cheaper(ticket, rivals):
        console.print(Text(f"{printable(storage)} {_join(better)} than {printable(ticket.storage)}."))


def print_assumption(console: Console) -> None:
    """Print what the comparison takes for granted."""
    console.print(Text("Pruned rivals keep the ticket's mask; that they reach its accuracy is an assumption."))


def _from(ratio_frozen: float | None) -> str:
    if ratio_frozen is None:
        return "never"
    return percent(ratio_frozen) if ratio_frozen else "always"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
