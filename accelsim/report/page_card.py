"""The answer of a case in a few figures, with how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.page_validation import chip_trust
from accelsim.report.page_words import first_rival, nearest_rival, run_label
from accelsim.report.sentence import factor
from accelsim.report.text import percent, quantity, ratio, significant
from accelsim.results.compare import weight_bytes
from accelsim.results.model import RunResult


@dataclass(frozen=True, slots=True)
class Card:
    """The answer of a case in a few figures: the large one, how sure it is, others by name, how far to trust it."""

    figure: str
    caption: str
    band: str
    facts: tuple[tuple[str, str], ...]
    trust: str


def card(case: Case) -> Card:
    """Return the figures that a reader should see first."""
    ticket = case.focus
    main, rival = ticket.main.result, first_rival(ticket)
    trust = chip_trust(main.hardware.name)
    own = _own_facts(main)
    if rival is None:
        return Card(quantity(main.totals.energy_j, "J"), "energy", "nothing compared", own, trust)
    mine, theirs = main.totals, rival.result.totals
    less = mine.energy_j <= theirs.energy_j
    value = ratio(theirs.energy_j, mine.energy_j) if less else ratio(mine.energy_j, theirs.energy_j)
    caption = f"{'less' if less else 'more'} energy than {run_label(rival)}"
    pair = ticket.comparison(rival.result.storage)
    band = "no band: counters are not saved"
    if pair is not None:
        ends = sorted((pair.ratio.p05, pair.ratio.p95) if less else (1 / pair.ratio.p95, 1 / pair.ratio.p05))
        band = f"5 to 95 %: {significant(ends[0])}x to {significant(ends[1])}x"
    facts = (
        ("time", factor(mine.latency_s, theirs.latency_s, "")),
        ("weight traffic", factor(weight_bytes(mine), weight_bytes(theirs), "")),
        ("chip area", _area_share(mine.area_mm2, theirs.area_mm2)),
        *_nearest_fact(ticket, rival),
        *_break_even_facts(ticket, rival),
        *own,
    )
    return Card(value, caption, band, tuple((name, text.strip()) for name, text in facts), trust)


def _own_facts(result: RunResult) -> tuple[tuple[str, str], ...]:
    """Return what a run needs by itself."""
    totals, work = result.totals, result.workload
    facts = [("its time and energy", f"{quantity(totals.latency_s, 's')}, {quantity(totals.energy_j, 'J')}")]
    if totals.tokens_per_s is not None:
        facts.append(("its tokens per second", significant(totals.tokens_per_s)))
    if totals.energy_j_per_token is not None:
        facts.append(("its energy per token", quantity(totals.energy_j_per_token, "J")))
    facts.append(("its chip area", f"{significant(totals.area_mm2)} mm2"))
    if work.accuracy is not None:
        facts.append(("accuracy of the ticket", percent(work.accuracy)))
    return tuple(facts)


def _break_even_facts(ticket: TicketRuns, rival: PageRun) -> list[tuple[str, str]]:
    """Return at which DRAM energy and from which freezing ratio the ticket wins against ``rival``."""
    point = ticket.break_even(rival)
    if point is None:
        return []
    now, crossing = significant(point.dram_pj_per_bit_now), point.dram_pj_per_bit
    at = "none" if crossing is None else f"at {significant(crossing)}"
    facts = [("break-even", f"{at}; a DRAM bit is {now} pJ")]
    if not point.freezes_too and ticket.main.result.totals.stored_bits.mask:
        share = point.freeze_ratio
        text = "never" if share is None else f"from {percent(share)} frozen" if share else "at any freezing"
        facts.append(("stores less", text))
    return facts


def _nearest_fact(ticket: TicketRuns, shown: PageRun) -> list[tuple[str, str]]:
    nearest = nearest_rival(ticket)
    if nearest is None or nearest is shown:
        return []
    mine, theirs = ticket.main.result.totals.energy_j, nearest.result.totals.energy_j
    return [(f"against {run_label(nearest)}", factor(mine, theirs, "energy"))]


def _area_share(mine_mm2: float, other_mm2: float) -> str:
    if not other_mm2 or mine_mm2 == other_mm2:
        return "the same"
    return f"{percent(abs(mine_mm2 - other_mm2) / other_mm2)} {'more' if mine_mm2 > other_mm2 else 'less'}"
