"""The answer of a report in words: what a ticket buys, how sure that is, and where it would change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.report.fused import fused_line
from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.policies import policy_lines
from accelsim.report.sentence import left_out_words, limits_line
from accelsim.report.text import percent, printable, quantity, ratio, significant
from accelsim.results.breakeven import equal_precision_bits, smaller_or_cheaper
from accelsim.results.compare import DENSE_RIVALS, generation_wait_fraction, stored_bits, traffic_bytes, weight_bytes
from accelsim.results.model import RunResult

TICKET_FORMATS = ("slt", "multicoat", "folded")
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
    """Return the run that the first sentence compares with: dense int8, dense fp32, or the first rival."""
    by_name = {run.result.storage: run for run in ticket.rivals}
    named = next((by_name[name] for name in DENSE_RIVALS if name in by_name), None)
    return named or (ticket.rivals[0] if ticket.rivals else None)


def nearest_rival(ticket: TicketRuns) -> PageRun | None:
    """Return the run of least energy among formats that store no ticket; None if there is none."""
    others = [run for run in ticket.rivals if not run.result.storage.startswith(TICKET_FORMATS)]
    return min(others, key=lambda run: run.result.totals.energy_j) if others else None


def answer(case: Case) -> list[str]:
    """Return the answer of a case, most important sentence first; what its work lacks stands at the end."""
    ticket = case.focus
    rival = first_rival(ticket)
    missing = left_out_words([each.main.result for each in case.tickets])
    if rival is None:
        alone = [_alone(ticket.main), "Nothing was compared: give runs of other storage formats too."]
        return [*alone, *fused_line(ticket.main.result), *missing]
    nearest = nearest_rival(ticket)
    sentences = [against(ticket, rival)]
    if nearest is not None and nearest is not rival:
        sentences.append(f"The rival of least energy: {_lower(against(ticket, nearest))}")
    sentences += [*fused_line(ticket.main.result), *limits_line(ticket.main.result)]
    sentences += [*_price(ticket.main), *_winners(ticket)]
    sentences += policy_words(ticket, rival, nearest) + break_even_words(ticket)
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
    ours, name = (printable(run.result.storage) for run in (pairs[0][0].main, pairs[0][1]))
    sentences = [f"Here {ours} needs {_spread(pairs, band=True)} than {name}."]
    nearest = [(case.focus, rival) for case in cases if (rival := nearest_rival(case.focus)) is not None]
    if len(nearest) == len(pairs) and any(
        rival is not first for (_, rival), (_, first) in zip(nearest, pairs, strict=True)
    ):
        others = _join(list(dict.fromkeys(printable(rival.result.storage) for _, rival in nearest)))
        sentences.append(f"Against the rival of least energy ({others}) it needs {_spread(nearest)}.")
    points = [point for ticket, rival in pairs if (point := ticket.break_even(rival)) is not None]
    if len(points) == len(pairs) and all(point.dram_pj_per_bit is None for point in points):
        sentences.append(f"No cost of a DRAM bit turns the ranking against {name} around.")
    return sentences


def _spread(pairs: Sequence[tuple[TicketRuns, PageRun]], *, band: bool = False) -> str:
    """Return how much less energy, time and storage tickets need than their rivals, from the least to the most."""
    totals = [(ticket.main.result.totals, rival.result.totals) for ticket, rival in pairs]
    energy = _range("energy", [(mine.energy_j, theirs.energy_j) for mine, theirs in totals])
    ratios = [pair.ratio for ticket, rival in pairs if (pair := ticket.comparison(rival.result.storage)) is not None]
    if band and len(ratios) == len(pairs):
        ends = min(each.p05 for each in ratios), max(each.p95 for each in ratios)
        energy += f" (5 to 95 % of the draws of all constants: {significant(ends[0])}x to {significant(ends[1])}x)"
    time = _range("time", [(mine.latency_s, theirs.latency_s) for mine, theirs in totals])
    stored = _range("weight storage", [(stored_bits(mine), stored_bits(theirs)) for mine, theirs in totals])
    return _join([energy, time, stored])


def _range(what: str, values: Sequence[tuple[float, float]]) -> str:
    """Return ``1.92x to 3.97x less energy`` of (mine, theirs) pairs."""
    known = sorted(theirs / mine for mine, theirs in values if mine and theirs)
    if not known:
        return f"no comparable {what}"
    low, high = (1.0 if 0.995 <= end < 1.005 else end for end in (known[0], known[-1]))
    if significant(low) == significant(high):
        return factor(1.0, low, what)
    if low >= 1:
        return f"{'up' if low == 1 else f'{significant(low)}x'} to {significant(high)}x less {what}"
    if high <= 1:
        return f"{'up' if high == 1 else f'{significant(1 / high)}x'} to {significant(1 / low)}x more {what}"
    return f"between {significant(1 / low)}x more and {significant(high)}x less {what}"


def against(ticket: TicketRuns, rival: PageRun) -> str:
    """Return what the format in question buys against ``rival``: energy with its band, time, traffic, area."""
    mine, theirs = ticket.main.result.totals, rival.result.totals
    ours, name = printable(ticket.main.result.storage), printable(rival.result.storage)
    parts = [
        factor(mine.energy_j, theirs.energy_j, "energy") + _sureness(ticket, rival),
        factor(mine.latency_s, theirs.latency_s, "time"),
        factor(weight_bytes(mine), weight_bytes(theirs), "weight traffic"),
        _area(mine.area_mm2, theirs.area_mm2),
    ]
    return f"Stored as {ours}, it needs {', '.join(parts[:-1])} and {parts[-1]} than as {name}."


def factor(mine: float, other: float, what: str) -> str:
    """Return how much less or more ``what``, as a factor with three digits."""
    if not mine or not other:
        return f"{significant(mine)} against {significant(other)} {what}"
    if "1.00x" in (ratio(mine, other), ratio(other, mine)):
        return f"the same {what}"
    return f"{ratio(other, mine)} less {what}" if mine < other else f"{ratio(mine, other)} more {what}"


def break_even_words(ticket: TicketRuns) -> list[str]:
    """Return at which DRAM energy and which freezing ratio ticket and rivals would change places."""
    main = ticket.main.result
    ours = printable(main.storage)
    same = [run for run in ticket.rivals if _is_same(main, run.result)]
    sentences = [f"{_join([printable(run.result.storage) for run in same])}: the same as {ours} here."] if same else []
    others = [run for run in ticket.rivals if run not in same]
    known = [(run.result, point) for run in others if (point := ticket.break_even(run)) is not None]
    if not known:
        return sentences
    now = significant(known[0][1].dram_pj_per_bit_now)
    for better in (True, False):
        names = [
            printable(rival.storage)
            for rival, point in known
            if point.dram_pj_per_bit is None and (main.totals.energy_j <= rival.totals.energy_j) == better
        ]
        if names:
            word = "less" if better else "more"
            sentences.append(
                f"Break-even in memory energy: none against {_join(names)}; {ours} needs {word} energy whatever a DRAM "
                f"bit costs (here {now} pJ)."
            )
    for rival, point in known:
        if point.dram_pj_per_bit is not None:
            theirs, at = printable(rival.storage), significant(point.dram_pj_per_bit)
            moves_less = traffic_bytes(main.totals) < traffic_bytes(rival.totals)
            frugal, mover = (ours, theirs) if moves_less else (theirs, ours)
            sentences.append(
                f"Break-even in memory energy: {frugal} needs less than {mover} where a DRAM bit costs more than {at} "
                f"pJ (here {significant(point.dram_pj_per_bit_now)})."
            )
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
    shares = [(printable(name), NEARLY_NONE if name == UNFROZEN_FORMAT else share) for name, share in ratios]
    always = [name for name, share in shares if share == 0]
    never = [name for name, share in shares if share is None]
    parts = [f"than {_join(always)} at any freezing ratio"] if always else []
    parts += [f"than {name} once {_frozen(share)} frozen" for name, share in shares if share]
    parts += [f"than {_join(never)} at no freezing ratio"] if never else []
    return [f"Break-even in freezing: {ours} stores less {'; '.join(parts)}."]


def _frozen(share: float) -> str:
    return "anything is" if share <= NEARLY_NONE else f"{percent(share)} are"


def _sureness(ticket: TicketRuns, rival: PageRun) -> str:
    pair = ticket.comparison(rival.result.storage)
    if pair is None:
        return " (no band: its counters are not saved)"
    less = pair.ratio.value >= 1
    ends = sorted((pair.ratio.p05, pair.ratio.p95) if less else (1 / pair.ratio.p95, 1 / pair.ratio.p05))
    chance = pair.probability if less else 1 - pair.probability
    word = "less" if less else "more"
    return f" (5 to 95 %: {significant(ends[0])}x to {significant(ends[1])}x; {word} in {percent(chance)} of the draws)"


def _area(mine_mm2: float, other_mm2: float) -> str:
    difference = mine_mm2 - other_mm2
    if not other_mm2 or not difference:
        return "the same chip area"
    direction = "more" if difference > 0 else "less"
    return f"{significant(abs(difference))} mm2 ({percent(abs(difference) / other_mm2)}) {direction} chip area"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _area_share(mine_mm2: float, other_mm2: float) -> str:
    if not other_mm2 or mine_mm2 == other_mm2:
        return "the same"
    return f"{percent(abs(mine_mm2 - other_mm2) / other_mm2)} {'more' if mine_mm2 > other_mm2 else 'less'}"


def _price(run: PageRun) -> list[str]:
    totals = run.result.totals
    energy_j = totals.energy_j_by_unit.weight_generator + totals.energy_j_by_unit.mask_decoder
    area_mm2 = sum(totals.area_mm2_by_unit.get(unit, 0.0) for unit in ("weight_generator", "mask_decoder"))
    if not energy_j and not area_mm2:
        return []
    shares = (
        f"{percent(generation_wait_fraction(totals))} of the time (waiting for them), "
        f"{percent(energy_j / totals.energy_j if totals.energy_j else 0.0)} of the energy and "
        f"{percent(area_mm2 / totals.area_mm2 if totals.area_mm2 else 0.0)} of the area"
    )
    return [f"Its price, weight generator and mask decoder, is {shares}."]


def _winners(ticket: TicketRuns) -> list[str]:
    main = ticket.main.result
    rivals = [run.result for run in ticket.rivals]
    sentences = [
        f"{printable(storage)} {_join(better)} than {printable(main.storage)}."
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
        printable(rival.storage): rival.totals.cycles_by_cause.wait_decoder / max(1, rival.totals.latency_cycles)
        for rival in rivals
    }
    slow = [f"{name} ({percent(share)} of its time)" for name, share in waits.items() if share > SLOW_DECODER]
    if not slow:
        return []
    return [
        f"Waiting for the decoder of this chip, which was sized for masks: {_join(slow)}. A wider one "
        "(mask_decoder.symbols_per_cycle) would make that faster."
    ]


def _family(case: Case) -> str:
    first, focus = case.tickets[0].main.result, case.focus.main.result
    works = [ticket.main.result.workload for ticket in case.tickets]
    stored = ratio(stored_bits(first.totals), stored_bits(focus.totals))
    accuracies = [
        f"{percent(work.accuracy)} at {percent(work.freeze_ratio)}" for work in works if work.accuracy is not None
    ]
    energy = factor(focus.totals.energy_j, first.totals.energy_j, "energy")
    words = (
        f"Freezing {percent(focus.workload.freeze_ratio)} (the most frozen ticket within a point of the best accuracy) "
        f"instead of {percent(first.workload.freeze_ratio)} stores {stored} less and needs {energy}"
    )
    return f"{words}. Accuracy when frozen: {', '.join(accuracies)}." if accuracies else f"{words}."


def _alone(run: PageRun) -> str:
    totals = run.result.totals
    return (
        f"Stored as {printable(run.result.storage)}, it needs {quantity(totals.energy_j, 'J')}, "
        f"{quantity(totals.latency_s, 's')}, {quantity(traffic_bytes(totals), 'B')} of memory traffic and "
        f"{significant(totals.area_mm2)} mm2."
    )


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


@dataclass(frozen=True, slots=True)
class Card:
    """The answer in a few figures: the large one, how sure it is, and labelled others."""

    figure: str
    caption: str
    band: str
    facts: tuple[tuple[str, str], ...]


def card(case: Case) -> Card:
    """Return the figures that a reader should see first."""
    ticket = case.focus
    main, rival = ticket.main.result, first_rival(ticket)
    accuracy = () if main.workload.accuracy is None else (("accuracy", percent(main.workload.accuracy)),)
    if rival is None:
        facts = (("latency", quantity(main.totals.latency_s, "s")), *accuracy)
        return Card(quantity(main.totals.energy_j, "J"), "energy", "nothing compared", facts)
    mine, theirs = main.totals, rival.result.totals
    less = mine.energy_j <= theirs.energy_j
    value = ratio(theirs.energy_j, mine.energy_j) if less else ratio(mine.energy_j, theirs.energy_j)
    caption = f"{'less' if less else 'more'} energy than {printable(rival.result.storage)}"
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
        *accuracy,
    )
    return Card(value, caption, band, tuple((name, text.strip()) for name, text in facts))


def _break_even_facts(ticket: TicketRuns, rival: PageRun) -> list[tuple[str, str]]:
    """Return at which DRAM energy and from which freezing ratio the ticket wins against ``rival``."""
    point = ticket.break_even(rival)
    if point is None:
        return []
    now, crossing = f"now {significant(point.dram_pj_per_bit_now)}", point.dram_pj_per_bit
    at = "none" if crossing is None else f"{significant(crossing)} pJ/bit"
    facts = [("break-even DRAM energy", f"{at} ({now})")]
    if not point.freezes_too:
        share = point.freeze_ratio
        text = "never" if share is None else f"from {percent(share)} frozen" if share else "at any freezing"
        facts.append(("stores less", text))
    return facts


def _nearest_fact(ticket: TicketRuns, shown: PageRun) -> list[tuple[str, str]]:
    nearest = nearest_rival(ticket)
    if nearest is None or nearest is shown:
        return []
    mine, theirs = ticket.main.result.totals.energy_j, nearest.result.totals.energy_j
    return [(f"against {printable(nearest.result.storage)}", factor(mine, theirs, "energy"))]
