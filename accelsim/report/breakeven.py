"""What ``accelsim compare`` says of tickets and their rivals: which wins in what, and where the ranking changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rich.console import Console
from rich.text import Text

from accelsim.report.page_words import UNFROZEN_FORMAT
from accelsim.report.policies import policies_words, spread
from accelsim.report.terminal import print_fitted
from accelsim.report.text import joined, percent, printable, quantity, ratio, significant
from accelsim.results.breakeven import BreakEven, EqualEnergy, equal_precision_bits, smaller_or_cheaper
from accelsim.results.compare import stored_bits
from accelsim.results.model import RunResult


@dataclass(frozen=True, slots=True)
class Family:
    """A ticket on a chip beside its rivals.

    Attributes
    ----------
    ticket, rivals
        Their runs.
    points
        Where the ticket and each rival change places, in the order of ``rivals``.
    by_policy
        Of each rival, by what idle memory does: its energy over the ticket's (`accelsim.report.policies`).
    precision
        The weight precision of equal energy; None where no dense rival ran.
    chip
        What the chip is called; empty where all families have the same.
    """

    ticket: RunResult
    rivals: tuple[RunResult, ...]
    points: tuple[BreakEven, ...]
    by_policy: Mapping[str, Mapping[str, float]]
    precision: EqualEnergy | None = None
    chip: str = ""

    @property
    def name(self) -> str:
        """Return what the ticket is called: its file, and its batch if it has one."""
        work = self.ticket.workload
        name = printable(PurePath(work.path or work.name).stem, 24)
        return f"{name}, batch {work.batch:,}" if work.batch > 1 else name


def print_break_even(console: Console, families: Sequence[Family]) -> None:
    """Print where tickets and each of their rivals change places, a row per pair, and which rivals win in what."""
    now = _range([point.dram_pj_per_bit_now for family in families for point in family.points])
    console.print(Text(f"Tickets against others; a DRAM bit costs {now} pJ here:", style="bold"))
    rows = [row for family in families for row in _rows(family)]
    print_fitted(
        console, rows, ("by idle memory", "stores"), frozenset({"chip", "ticket", "against"}), ", or break_even.json"
    )
    by_policy = next((family.by_policy for family in families if family.by_policy), {})
    if by_policy:
        console.print(
            Text(f"By idle memory: the ratio of energies from the least to the most of {policies_words(by_policy)}.")
        )
    bits = _range([equal_precision_bits(family.ticket) for family in families])
    console.print(Text(f"Dense weights would need {bits} bits each to be stored as small."))
    for line in [*_precision(families), *_winners(families)]:
        console.print(Text(line))


def break_even_text(families: Sequence[Family]) -> str:
    """Return the same as a JSON document: a list with an object per ticket and chip.

    ``rivals`` has for each format its ``stored_ratio`` and ``energy_ratio`` over the ticket's, the latter by what idle
    memory does (the chip's own policy first), ``equal_at_dram_pj_per_bit`` and ``stores_less_from_freeze_ratio``, which
    are null where there is no such point.
    """
    return json.dumps([_document(family) for family in families], indent=2, allow_nan=False) + "\n"


def _rows(family: Family) -> Iterator[dict[str, str]]:
    ticket = family.ticket
    for rival, point in zip(family.rivals, family.points, strict=True):
        ratios = family.by_policy.get(rival.storage, {})
        yield {
            **({"chip": printable(family.chip, 24)} if family.chip else {}),
            "ticket": family.name,
            "against": printable(rival.storage, 24),
            "stores": ratio(stored_bits(rival.totals), stored_bits(ticket.totals)),
            "energy": ratio(rival.totals.energy_j, ticket.totals.energy_j),
            **({"by idle memory": spread(list(ratios.values())) if ratios else "-"} if family.by_policy else {}),
            "equal at pJ/bit": "never" if point.dram_pj_per_bit is None else significant(point.dram_pj_per_bit),
            "stores less from frozen": _from(rival.storage, point),
        }


def _from(storage: str, point: BreakEven) -> str:
    if point.freezes_too:
        return "-"
    if storage == UNFROZEN_FORMAT:  # the ticket with nothing frozen: equal there by definition
        return "anything"
    if point.freeze_ratio is None:
        return "never"
    return percent(point.freeze_ratio) if point.freeze_ratio else "always"


def _precision(families: Sequence[Family]) -> Iterator[str]:
    """Yield at which weight precision dense rivals would need the tickets' energy."""
    known = [(family, family.precision) for family in families if family.precision is not None]
    never = [(family, point) for family, point in known if point.bits is None]
    if never:
        least = _range([point.fixed_j for _, point in never], "J")
        energy = _range([family.ticket.totals.energy_j for family, _ in never], "J")
        rival, ours = printable(never[0][1].rival), printable(never[0][0].ticket.storage)
        yield f"{rival} would need more energy at any weight precision: {least} without its weights, {ours} {energy}."
    bits = [point.bits for _, point in known if point.bits is not None]
    if bits:
        held = "linear in them through memory and weight buffer, all else as it was run"
        rival = printable(known[0][1].rival)
        yield f"{rival} would need {_range(bits)} bits per weight to need no more energy ({held})."


def _winners(families: Sequence[Family]) -> Iterator[str]:
    """Yield which rivals beat a ticket in what; each said once, with the tickets for which it holds if not for all."""
    found: dict[str, list[str]] = {}
    for family in families:
        for storage, better in smaller_or_cheaper(family.ticket, family.rivals):
            said = f"{printable(storage)} {joined(better)} than {printable(family.ticket.storage)}"
            found.setdefault(said, []).append(
                f"{family.name} on {printable(family.chip)}" if family.chip else family.name
            )
    for said, names in found.items():
        yield f"{said}." if len(names) == len(families) else f"{said} ({', '.join(names)})."


def _range(values: Sequence[float], unit: str = "") -> str:
    """Return the least and the largest value; one figure where they print alike."""
    low, high = (quantity(value, unit) if unit else significant(value) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _document(family: Family) -> dict[str, object]:
    ticket, precision = family.ticket, family.precision
    return {
        "hardware": ticket.hardware.name,
        "workload": ticket.workload.path or ticket.workload.name,
        "batch": ticket.workload.batch,
        "storage": ticket.storage,
        "dram_pj_per_bit": family.points[0].dram_pj_per_bit_now,
        "dense_bits_per_weight_of_equal_size": equal_precision_bits(ticket),
        "dense_bits_per_weight_of_equal_energy": precision.bits if precision is not None else None,
        "rivals": [
            {
                "storage": rival.storage,
                "stored_ratio": stored_bits(rival.totals) / max(1, stored_bits(ticket.totals)),
                "energy_ratio": rival.totals.energy_j / ticket.totals.energy_j if ticket.totals.energy_j else None,
                "energy_ratio_by_idle_memory": dict(family.by_policy.get(rival.storage, {})),
                "equal_at_dram_pj_per_bit": point.dram_pj_per_bit,
                "stores_less_from_freeze_ratio": None if point.freezes_too else point.freeze_ratio,
            }
            for rival, point in zip(family.rivals, family.points, strict=True)
        ],
    }
