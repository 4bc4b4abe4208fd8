"""The three sentences that a comparison of many runs ends in: the finding, the limit, the caveat."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.report.labels import format_label, label
from accelsim.report.sentence import (
    COMPARE_WAYS,
    Limit,
    closing,
    factor,
    first_rival_name,
    joined_caveat,
    limits_of,
    percents,
    saved,
)
from accelsim.report.text import printable, quantity, significant
from accelsim.results.compare import bottleneck, own_accuracy, same_network
from accelsim.results.model import RunResult, Totals
from accelsim.storage.base import is_ticket_format
from accelsim.storage.chip_decoder import is_as_stated

TICKET_STORAGE = "slt"
Group = tuple[RunResult, dict[str, Totals]]


def closing_of(results: Sequence[RunResult], synthetic: Sequence[bool | None] = ()) -> list[str]:
    """Return what runs come to in three sentences: what each network's format needs against others, limit, caveat.

    ``synthetic`` says of which runs values stand in for ones that nobody has measured; None where that is not known.
    """
    groups = _groups(results)
    made_up = [run.storage for run, each in zip(results, synthetic, strict=False) if each]
    formats = list(dict.fromkeys(name for name in made_up if not is_as_stated(name)))
    if len(groups) == 1:
        return closing(*groups[0], formats, COMPARE_WAYS)
    return [_finding(groups), _limit([main for main, _ in groups]), _caveat(groups, formats)]


def range_of(what: str, values: Sequence[tuple[float, float]]) -> str:
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


def _groups(results: Sequence[RunResult]) -> list[Group]:
    """Return for each network on each chip the run of the format in question, and the totals of the others."""
    found: list[list[RunResult]] = []
    for run in results:
        for same in found:
            if same[0].hardware.sha256 == run.hardware.sha256 and same_network(same[0], run):
                same.append(run)
                break
        else:
            found.append([run])
    mains = [next((run for run in same if run.storage == TICKET_STORAGE), same[0]) for same in found]
    return [
        (main, {run.storage: run.totals for run in same if run is not main})
        for main, same in zip(mains, found, strict=True)
    ]


def _finding(groups: Sequence[Group]) -> str:
    ours = {main.storage for main, _ in groups}
    common = {name: totals for name, totals in groups[0][1].items() if all(name in rivals for _, rivals in groups)}
    mine = groups[0][0].storage
    first = first_rival_name(common, mine) if len(ours) == 1 else None
    if first is None:
        return _best([main for main, _ in groups])
    subject = f"{format_label(mine)} needs" if mine != TICKET_STORAGE else "the tickets need"
    words = f"Against {format_label(first)}, {subject} {_energy_and_time(groups, first)}"
    spent = {name: sum(rivals[name].energy_j for _, rivals in groups) for name in common if not is_ticket_format(name)}
    nearest = min(spent, key=lambda name: spent[name], default=first)  # the least over all networks together
    if nearest != first:
        words += f"; against {format_label(nearest)}, the rival of least energy, {_energy_and_time(groups, nearest)}"
    return f"{words}."


def _energy_and_time(groups: Sequence[Group], rival: str) -> str:
    pairs = [(main.totals, rivals[rival]) for main, rivals in groups]
    energy = range_of("energy", [(mine.energy_j, theirs.energy_j) for mine, theirs in pairs])
    return f"{energy} and {range_of('time', [(mine.latency_s, theirs.latency_s) for mine, theirs in pairs])}"


def _best(runs: Sequence[RunResult]) -> str:
    """Return which of runs that have no rival in common needs least, in energy and in time."""
    frugal, fast = min(runs, key=lambda run: run.totals.energy_j), min(runs, key=lambda run: run.totals.latency_s)
    least, short = quantity(frugal.totals.energy_j, "J"), quantity(fast.totals.latency_s, "s")
    if frugal is fast:
        return f"The least energy, {least}, and the least time, {short}, needs {_named(fast)}."
    return f"The least energy, {least}, needs {_named(frugal)}; the least time, {short}, {_named(fast)}."


def _named(run: RunResult) -> str:
    work = run.workload
    batch = f" (batch {work.batch:,})" if work.batch > 1 else ""
    return f"{printable(work.name)}{batch} on {printable(run.hardware.name)}, stored as {format_label(run.storage)}"


def _limit(mains: Sequence[RunResult]) -> str:
    """Return what limits the runs: of each limit in how many, for how much of the time, and what twice would bring."""
    known: dict[str, list[Limit]] = {}
    for main in mains:
        for limit in limits_of(main)[:1]:
            if limit.is_worth_saying:
                known.setdefault(limit.words, []).append(limit)
    counted = sum(map(len, known.values()))
    if counted < len(mains):
        causes = [label(bottleneck(main.totals)) for main in mains]
        said = [f"{cause} in {causes.count(cause)}" for cause in dict.fromkeys(causes)]
        return f"Most of the time is {', '.join(said)} of {len(mains)} runs."
    parts = []
    for words, limits in sorted(known.items(), key=lambda item: -len(item[1])):
        where = f" in {len(limits)} of {len(mains)}" if len(known) > 1 else ""
        share = percents([limit.share for limit in limits])
        parts.append(
            f"{words}{where} for {share} of the time ({limits[0].twice}: {saved(*(each.gain for each in limits))})"
        )
    return f"Limited by {', by '.join(parts)}."


def _caveat(groups: Sequence[Group], synthetic: Sequence[str]) -> str:
    found: dict[str, list[float]] = {}
    for main, _ in groups:
        accuracy = own_accuracy(main)
        if accuracy is not None:
            found.setdefault(printable(main.workload.dataset), []).append(accuracy)
    formats = list(dict.fromkeys(name for main, rivals in groups for name in (main.storage, *rivals)))
    said = ", ".join(f"{percents(each)} on {dataset}" for dataset, each in found.items())
    known = f"The accuracy, {said}, is that of tickets" if found else "No accuracy was measured for these networks"
    if any(rivals for _, rivals in groups):
        known += "; that of rivals is not simulated, and pruned ones keep the ticket's mask"
    return joined_caveat(known, formats, synthetic, COMPARE_WAYS)
