"""The answer of a report in words: what a ticket buys, how sure that is, and where it would change."""

from __future__ import annotations

import math
from collections.abc import Sequence

from accelsim.report.fused import fused_line
from accelsim.report.labels import format_label
from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.policies import policy_lines
from accelsim.report.sentence import (
    area_lines,
    factor,
    finding,
    first_rival_name,
    left_out_words,
    limits_line,
    nearest_rival_name,
    price_line,
    untried_line,
)
from accelsim.report.text import joined, percent, printable, quantity, ratio, significant
from accelsim.report.together import range_of
from accelsim.results.breakeven import equal_precision_bits, smaller_or_cheaper
from accelsim.results.compare import stored_bits, traffic_bytes
from accelsim.results.model import RunResult, Totals
from accelsim.storage.base import is_ticket_format

UNFROZEN_FORMAT = "slt-unfrozen"
NEARLY_NONE = 0.0005  # a freezing ratio that is shown as 0.0 %
SLOW_DECODER = 0.1  # fraction of the time from which a wait is worth a sentence


def headline(case: Case) -> str:
    """Return what the case is: network, chip, and what is known of the ticket that is looked into."""
    result = case.focus.main.result
    work, chip = result.workload, result.hardware
    parts = [f"{quantity(work.num_weights, '').strip()} weights, {work.provenance}"]
    if work.freeze_ratio:
        parts.append(f"{percent(work.freeze_ratio)} frozen")
    parts.append(f"sparsity {percent(work.sparsity)}")
    if work.accuracy is not None:
        parts.append(f"accuracy {percent(work.accuracy)} on {printable(work.dataset)}")
    if not work.regenerable:
        parts.append("an imported pattern that no generator makes")
    cores = f", {len(result.cores)} cores" if result.cores else ""
    place = f"{printable(case.chip)} ({chip.node_nm:g} nm, {chip.clock_mhz:g} MHz{cores})"
    return f"{printable(case.network)} on {place}: {', '.join(parts)}"


def first_rival(ticket: TicketRuns) -> PageRun | None:
    """Return the run that the first sentence compares with."""
    return _rival(ticket, first_rival_name(_totals(ticket), ticket.main.result.storage))


def nearest_rival(ticket: TicketRuns) -> PageRun | None:
    """Return the run of least energy among formats that store no ticket; None if there is none."""
    return _rival(ticket, nearest_rival_name(_totals(ticket), ticket.main.result.storage))


def _totals(ticket: TicketRuns) -> dict[str, Totals]:
    return {run.result.storage: run.result.totals for run in ticket.rivals}


def _rival(ticket: TicketRuns, name: str | None) -> PageRun | None:
    return next((run for run in ticket.rivals if run.result.storage == name), None)


def question(cases: Sequence[Case]) -> str:
    """Return what the cases answer, as the title of a page."""
    networks, chips = (
        joined(list(dict.fromkeys(printable(name) for name in names)))
        for names in ([case.network for case in cases], [case.chip for case in cases])
    )
    if all(first_rival(case.focus) is None for case in cases):
        return f"What does {networks} need on {chips}?"
    if all(is_ticket(case.focus) for case in cases):
        return f"What does strong-lottery-ticket storage buy {networks} on {chips}?"
    return f"Which storage of its weights suits {networks} on {chips}?"


def case_name(case: Case) -> str:
    """Return what a case is called: its network on its chip."""
    return f"{printable(case.network)} on {printable(case.chip)}"


def is_ticket(ticket: TicketRuns) -> bool:
    """Return whether the format in question stores a ticket."""
    return is_ticket_format(ticket.main.result.storage)


def lead(cases: Sequence[Case]) -> str:
    """Return the answer of all cases in one sentence."""
    if len(cases) > 1:
        return (overall(cases) or [f"{len(cases)} runs side by side; they have no rival in common."])[0]
    main = cases[0].focus.main.result
    said, work = finding(main, _totals(cases[0].focus)), main.workload
    if said and work.accuracy is not None and len(cases[0].freeze_ratios) > 1:
        chosen = f"{percent(work.freeze_ratio)} frozen, the most within a point of the best accuracy"
        return f"{chosen}: {said[0].lower()}{said[1:]}"
    return said


def run_label(run: PageRun) -> str:
    """Return what readers call the format of a run."""
    return format_label(run.result.storage)


def _subject(ticket: TicketRuns) -> str:
    """Return the format in question as the subject of a sentence."""
    return f"the {run_label(ticket.main)}" if is_ticket(ticket) else run_label(ticket.main)


def answer(case: Case) -> list[str]:
    """Return what stands behind the answer of a case; what its work lacks stands at the end."""
    ticket = case.focus
    rival = first_rival(ticket)
    missing = left_out_words([each.main.result for each in case.tickets])
    limits = [
        *limits_line(ticket.main.result),
        *untried_line(ticket.main.result),
        *area_lines(ticket.main.result.totals),
    ]
    if rival is None:
        fused = fused_line(ticket.main.result)
        return [*limits, *fused, "Nothing was compared: give runs of other storage formats too.", *missing]
    said = [*fused_line(ticket.main.result), *limits]
    sentences = [*said, *price_line(ticket.main.result.totals), *_winners(ticket)]
    sentences += policy_words(ticket, rival, nearest_rival(ticket)) + break_even_words(ticket)
    if len(case.tickets) > 1:
        sentences.append(_family(case))
    return sentences + missing


def policy_words(ticket: TicketRuns, *rivals: PageRun | None) -> list[str]:
    """Return how the ratio to each rival moves with what the memory does between requests, where counters are saved."""
    main = ticket.main.counters
    known = {run.counters.counters.storage: run.counters.counters for run in rivals if run and run.counters}
    return policy_lines(main.hardware.config, main.counters, known) if main is not None else []


def overall(cases: Sequence[Case]) -> list[str]:
    """Return the answer for all cases together, with its band and where it would turn; nothing for fewer than two."""
    pairs = [(case.focus, rival) for case in cases if (rival := first_rival(case.focus)) is not None]
    if len(cases) < 2 or len(pairs) < len(cases) or len({rival.result.storage for _, rival in pairs}) != 1:
        return []
    if len({ticket.main.result.storage for ticket, _ in pairs}) != 1:
        return []
    ours, name = _subject(pairs[0][0]), run_label(pairs[0][1])
    sentences = [f"Against {name}, {ours} needs {_spread(pairs)}."]
    nearest = [(case.focus, rival) for case in cases if (rival := nearest_rival(case.focus)) is not None]
    if len(nearest) == len(pairs) and any(
        rival is not first for (_, rival), (_, first) in zip(nearest, pairs, strict=True)
    ):
        others = joined(list(dict.fromkeys(run_label(rival) for _, rival in nearest)))
        sentences.append(f"Against the rival of least energy ({others}) it needs {_spread(nearest)}.")
    ratios = [pair.ratio for ticket, rival in pairs if (pair := ticket.comparison(rival.result.storage)) is not None]
    if len(ratios) == len(pairs):
        ends = min(each.p05 for each in ratios), max(each.p95 for each in ratios)
        sentences.append(
            f"Were every constant of the cost model drawn within its range, {name} would need "
            f"{significant(ends[0])} to {significant(ends[1])} times the energy in 90 % of the draws."
        )
    points = [point for ticket, rival in pairs if (point := ticket.break_even(rival)) is not None]
    if len(points) == len(pairs) and all(point.dram_pj_per_bit is None for point in points):
        sentences.append(f"No cost of a DRAM bit turns the ranking against {name} around.")
    return sentences


def _spread(pairs: Sequence[tuple[TicketRuns, PageRun]]) -> str:
    """Return how much less energy, time and storage tickets need than their rivals, from the least to the most."""
    totals = [(ticket.main.result.totals, rival.result.totals) for ticket, rival in pairs]
    energy = range_of("energy", [(mine.energy_j, theirs.energy_j) for mine, theirs in totals])
    time = range_of("time", [(mine.latency_s, theirs.latency_s) for mine, theirs in totals])
    stored = range_of("weight storage", [(stored_bits(mine), stored_bits(theirs)) for mine, theirs in totals])
    return joined([energy, time, stored])


def break_even_words(ticket: TicketRuns) -> list[str]:
    """Return at which DRAM energy and which freezing ratio ticket and rivals would change places."""
    main = ticket.main.result
    ours = format_label(main.storage)
    same = [run for run in ticket.rivals if _is_same(main, run.result)]
    sentences = [f"{joined([run_label(run) for run in same])}: the same as {ours} here."] if same else []
    others = [run for run in ticket.rivals if run not in same]
    known = [(run.result, point) for run in others if (point := ticket.break_even(run)) is not None]
    if not known:
        return sentences
    now = significant(known[0][1].dram_pj_per_bit_now)
    for better in (True, False):
        names = [
            format_label(rival.storage)
            for rival, point in known
            if point.dram_pj_per_bit is None and (main.totals.energy_j <= rival.totals.energy_j) == better
        ]
        if names:
            word = "less" if better else "more"
            sentences.append(
                f"Break-even in memory energy: none against {joined(names)}; {ours} needs {word} energy whatever a "
                f"DRAM bit costs (here {now} pJ)."
            )
    for rival, point in known:
        if point.dram_pj_per_bit is not None:
            theirs, at = format_label(rival.storage), significant(point.dram_pj_per_bit)
            moves_less = traffic_bytes(main.totals) < traffic_bytes(rival.totals)
            frugal, mover = (ours, theirs) if moves_less else (theirs, ours)
            sentences.append(
                f"Break-even in memory energy: {frugal} needs less than {mover} where a DRAM bit costs more than {at} "
                f"pJ (here {significant(point.dram_pj_per_bit_now)})."
            )
    if not main.totals.stored_bits.mask:
        return sentences
    return [
        *sentences,
        *_freezing_words(
            ours, [(rival.storage, point.freeze_ratio) for rival, point in known if not point.freezes_too]
        ),
    ]


def _is_same(first: RunResult, second: RunResult) -> bool:
    """Return whether two formats come to the same bits, traffic and energy."""
    one, other = first.totals, second.totals
    same_bits = stored_bits(one) == stored_bits(other) and traffic_bytes(one) == traffic_bytes(other)
    return same_bits and math.isclose(one.energy_j, other.energy_j, rel_tol=1e-9)


def _freezing_words(ours: str, ratios: Sequence[tuple[str, float | None]]) -> list[str]:
    if not ratios:
        return []
    # The ticket with nothing frozen is equal where nothing is frozen, by definition, whatever rounding says.
    shares = [(format_label(name), NEARLY_NONE if name == UNFROZEN_FORMAT else share) for name, share in ratios]
    always = [name for name, share in shares if share == 0]
    never = [name for name, share in shares if share is None]
    parts = [f"than {joined(always)} at any freezing ratio"] if always else []
    parts += [f"than {name} once {_frozen(share)} frozen" for name, share in shares if share]
    parts += [f"than {joined(never)} at no freezing ratio"] if never else []
    return [f"Break-even in freezing: {ours} stores less {'; '.join(parts)}."]


def _frozen(share: float) -> str:
    return "anything is" if share <= NEARLY_NONE else f"{percent(share)} are"


def _winners(ticket: TicketRuns) -> list[str]:
    main = ticket.main.result
    rivals = [run.result for run in ticket.rivals]
    sentences = [
        f"{format_label(storage)} {joined(better)} than {format_label(main.storage)}."
        for storage, better in smaller_or_cheaper(main, rivals)
    ]
    if not sentences:
        sentences = ["No rival given here beats it in stored bits, traffic, energy, time or area."]
    sentences += _slow_decoders(rivals)
    if main.totals.stored_bits.mask:
        bits = significant(equal_precision_bits(main))
        sentences.append(f"Dense weights would need {bits} bits each to be stored as small.")
    return sentences


def _slow_decoders(rivals: Sequence[RunResult]) -> list[str]:
    waits = {
        format_label(rival.storage): rival.totals.cycles_by_cause.wait_decoder / max(1, rival.totals.latency_cycles)
        for rival in rivals
    }
    slow = [f"{name} ({percent(share)} of its time)" for name, share in waits.items() if share > SLOW_DECODER]
    if not slow:
        return []
    return [
        f"Waiting for the decoder of this chip, which was sized for masks: {joined(slow)}. A wider one "
        "(mask_decoder.symbols_per_cycle) would make that faster."
    ]


def _family(case: Case) -> str:
    first, focus = case.tickets[0].main.result, case.focus.main.result
    works = [ticket.main.result.workload for ticket in case.tickets]
    accuracies = [
        f"{percent(work.accuracy)} at {percent(work.freeze_ratio)}" for work in works if work.accuracy is not None
    ]
    if focus is first:
        words = f"Only the ticket {percent(first.workload.freeze_ratio)} frozen is within a point of the best accuracy"
    else:
        stored = ratio(stored_bits(first.totals), stored_bits(focus.totals))
        energy = factor(focus.totals.energy_j, first.totals.energy_j, "energy")
        words = (
            f"Freezing {percent(focus.workload.freeze_ratio)} (the most frozen ticket within a point of the best "
            f"accuracy) instead of {percent(first.workload.freeze_ratio)} stores {stored} less and needs {energy}"
        )
    return f"{words}. Accuracy when frozen: {', '.join(accuracies)}." if accuracies else f"{words}."
