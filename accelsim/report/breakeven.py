"""What ``accelsim compare`` says in words: rivals that win, and where the ranking changes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.report.page_words import UNFROZEN_FORMAT
from accelsim.report.text import percent, printable, quantity, ratio, significant
from accelsim.results.breakeven import BreakEven, EqualEnergy, equal_precision_bits, smaller_or_cheaper
from accelsim.results.compare import stored_bits
from accelsim.results.model import RunResult


def print_break_even(
    console: Console,
    ticket: RunResult,
    rivals: Sequence[RunResult],
    points: Sequence[BreakEven],
    precision: EqualEnergy | None = None,
) -> None:
    """Print, for one network, where ``ticket`` and each rival change places, and which rivals beat it in what.

    ``points`` belong to ``rivals``, in their order; ``precision`` is that of equal energy, where a dense rival ran.
    """
    name = printable(ticket.workload.path or ticket.workload.name)
    name += f", batch {ticket.workload.batch:,}" if ticket.workload.batch > 1 else ""
    now = significant(points[0].dram_pj_per_bit_now)
    console.print(Text(f"{name}, {ticket.storage} against others; a DRAM bit costs {now} pJ here:", style="bold"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("against", no_wrap=True, overflow="ellipsis")
    for title in ("stores", "energy", "equal at pJ/bit", "stores less from frozen"):
        table.add_column(title, justify="right")
    for rival, point in zip(rivals, points, strict=True):
        table.add_row(
            Text(printable(rival.storage)),
            ratio(stored_bits(rival.totals), stored_bits(ticket.totals)),
            ratio(rival.totals.energy_j, ticket.totals.energy_j),
            "never" if point.dram_pj_per_bit is None else significant(point.dram_pj_per_bit),
            _from(rival.storage, point),
        )
    console.print(table)
    bits = significant(equal_precision_bits(ticket))
    console.print(Text(f"Dense weights would need {bits} bits each to be stored as small."))
    if precision is not None:
        console.print(Text(_precision(ticket, precision)))
    for storage, better in smaller_or_cheaper(ticket, rivals):
        console.print(Text(f"{printable(storage)} {_join(better)} than {printable(ticket.storage)}."))


def print_assumption(console: Console) -> None:
    """Print what the comparison takes for granted."""
    console.print(Text("Pruned rivals keep the ticket's mask; that any rival reaches its accuracy is an assumption."))


def _from(storage: str, point: BreakEven) -> str:
    if point.freezes_too:
        return "-"
    if storage == UNFROZEN_FORMAT:  # the ticket with nothing frozen: equal there by definition
        return "anything"
    if point.freeze_ratio is None:
        return "never"
    return percent(point.freeze_ratio) if point.freeze_ratio else "always"


def _precision(ticket: RunResult, point: EqualEnergy) -> str:
    dense, ours = printable(point.rival), printable(ticket.storage)
    if point.bits is None:
        least, energy = quantity(point.fixed_j, "J"), quantity(ticket.totals.energy_j, "J")
        return f"{dense} would need more energy at any weight precision: {least} without its weights, {ours} {energy}."
    held = "linear in them through memory and weight buffer, all else as it was run"
    return f"{dense} would need {significant(point.bits)} bits per weight to need no more energy ({held})."


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
