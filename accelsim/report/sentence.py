"""The sentences a user wants: what the storage format buys against others, what limits it, and what is left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelsim.cost.idealised import idealised_unit
from accelsim.report.labels import format_label, label
from accelsim.report.text import percent, printable, quantity, ratio, significant
from accelsim.results.compare import DENSE_RIVALS, bottleneck, generation_wait_fraction
from accelsim.results.model import EnergyByUnit, RunResult, Totals
from accelsim.storage.base import is_ticket_format
from accelsim.storage.chip_decoder import is_as_stated

_SEEN = 0.0005  # what would print as 0.1 %
_WORTH = 0.005
_REASON = 120  # characters
_FITTED = (
    "A format that regenerates no weights gets a decoder so wide that a wider one would save no time; @chip is the "
    "same format on the chip's own decoder."
)


@dataclass(frozen=True, slots=True)
class Ways:
    """What answers what a caveat leaves open: the option that names rivals, and how sure the energies are."""

    rivals: str
    sureness: str


RUN_WAYS = Ways("--compare", "--uncertainty says how sure the energies are")
COMPARE_WAYS = Ways("--storage", "accelsim report on the folder says how sure the energies are")


def closing(
    result: RunResult,
    comparison: Mapping[str, Totals],
    synthetic: Sequence[str] = (),
    ways: Ways = RUN_WAYS,
) -> list[str]:
    """Return the three sentences that a run ends in: the finding, the limit, the caveat.

    ``synthetic`` are the formats whose values or statistics stand in for ones that nobody has measured; ``ways`` is
    what answers the rest.
    """
    limits = " ".join([*(limits_line(result) or [_busy(result.totals)]), *untried_line(result)])
    return [finding(result, comparison), limits, caveat(result, comparison, synthetic, ways)]


def finding(result: RunResult, comparison: Mapping[str, Totals]) -> str:
    """Return what a run comes to in one sentence: against its first rival, and the one of least energy."""
    mine, first = result.totals, first_rival_name(comparison, result.storage)
    if first is None:
        return _alone(result)
    ours = format_label(result.storage)
    ours = f"the {ours}" if is_ticket_format(result.storage) else ours
    words = f"Against {format_label(first)}, {ours} needs {_energy_and_time(mine, comparison[first])}"
    nearest = nearest_rival_name(comparison, result.storage)
    if nearest not in (None, first):
        other = comparison[nearest or first]
        words += (
            f"; against {format_label(nearest or first)}, its rival of least energy, {_energy_and_time(mine, other)}"
        )
    return f"{words}."


def first_rival_name(comparison: Mapping[str, Totals], storage: str) -> str | None:
    """Return the format that ``storage`` is first compared with: dense int8, dense fp32, or the first that is there."""
    names = [name for name in comparison if name != storage]
    return next((name for name in DENSE_RIVALS if name in names), names[0] if names else None)


def nearest_rival_name(comparison: Mapping[str, Totals], storage: str) -> str | None:
    """Return the format of least energy among others that store no ticket; None if there is none."""
    names = [name for name in comparison if name != storage and not is_ticket_format(name)]
    return min(names, key=lambda name: comparison[name].energy_j) if names else None


def factor(mine: float, other: float, what: str) -> str:
    """Return how much less or more ``what``, as a factor with three digits."""
    if not mine or not other:
        return f"{significant(mine)} against {significant(other)} {what}"
    if "1.00x" in (ratio(mine, other), ratio(other, mine)):
        return f"the same {what}"
    return f"{ratio(other, mine)} less {what}" if mine < other else f"{ratio(mine, other)} more {what}"


def remarks(result: RunResult, comparison: Mapping[str, Totals]) -> list[str]:
    """Return what to know of a comparison: what generator and decoder cost, and which decoder rivals have."""
    if not any(name != result.storage for name in comparison):
        return area_lines(result.totals)
    return (
        area_lines(result.totals)
        + price_line(result.totals)
        + ([_FITTED] if any(is_as_stated(name) for name in comparison) else [])
    )


def left_out_words(results: Sequence[RunResult]) -> list[str]:
    """Return a line per workload of which operations are left out, with their counts; empty where none are."""
    lines = []
    for result in results:
        if result.skipped:
            listed = ", ".join(f"{count} x {printable(name)}" for name, count in result.skipped.items())
            lines.append(f"{printable(result.workload.name)}: left out: {listed}; every total is without that.")
    return list(dict.fromkeys(lines))


def limits_line(result: RunResult) -> list[str]:
    """Return what limits a run, most of the time first, and what twice as much of it would bring; none if unknown."""

    def line(limit: Limit) -> str:
        where = "" if limit.name.endswith(".capacity") else f" for {percent(limit.share)} of the time"
        return f"{limit.words}{where} ({limit.twice}: {saved(limit.gain)}{_next(result, limit)})"

    said = [line(limit) for limit in limits_of(result) if limit.is_worth_saying]
    return [f"Limited by {', '.join(said)}."] if said else []


def _next(result: RunResult, limit: Limit) -> str:
    """Return what limits the run once there is twice as much of a limit; nothing where that is not known."""
    following = result.next_limit
    if following is None or following.doubled != limit.name:
        return ""
    words = "still by it" if following.name == limit.name else f"by {_resource(following.name)}"
    return f", then {words} for {percent(following.share)}"


def untried_line(result: RunResult) -> list[str]:
    """Return why it was not tried what some resources cost a run, or all of them; none where all were tried."""
    by_reason: dict[str, list[str]] = {}
    for name, why in (result.limits_left_out or {}).items():
        by_reason.setdefault(why, []).append(name)
    if not by_reason:
        return []
    if not result.limits:
        return [f"What limits it was not tried: {printable('; '.join(by_reason), _REASON)}."]
    said = [f"{_resources(names)} ({printable(why, _REASON)})" for why, names in by_reason.items()]
    return [f"Not tried as limits: {'; '.join(said)}."]


def _resource(name: str) -> str:
    return f"the {label(name.replace('.', '_'))}"


def _resources(names: Sequence[str]) -> str:
    """Return what readers call resources; ports, or capacities, of several buffers are named as one."""
    words: dict[str, list[str]] = {}
    for name in names:
        unit, _, part = name.partition(".")
        words.setdefault(part or unit, []).append(name)
    plural = {"capacity": "the capacities of buffers", "ports": "the ports of buffers"}
    return ", ".join(plural[key] if len(same) > 1 else _resource(same[0]) for key, same in words.items())


@dataclass(frozen=True, slots=True)
class Limit:
    """What limits a run: for which share of the time, and what share of it twice as much of the limit would save."""

    name: str
    share: float
    gain: float

    @property
    def words(self) -> str:
        """Return what readers call it, with its article."""
        return _resource(self.name)

    @property
    def is_worth_saying(self) -> bool:
        """Return whether it limits the run visibly; what was tried to no effect is known too, but limits nothing."""
        return self.share >= _WORTH or self.gain >= _WORTH

    @property
    def twice(self) -> str:
        """Return what is tried: an array without the ports that feed it would be starved, whatever its size."""
        return "twice as much, with its ports" if self.name == "pe_array" else "twice as much"


def limits_of(result: RunResult) -> list[Limit]:
    """Return what limits a run, the limit of most of the time first; empty where that was not asked."""
    cycles = result.totals.latency_cycles
    if not cycles:
        return []
    known = [
        Limit(name, limit.share, 1 - limit.latency_cycles_with_twice / cycles) for name, limit in result.limits.items()
    ]
    return sorted(known, key=lambda limit: (-limit.share, -limit.gain, limit.name))


def saved(*gains: float) -> str:
    """Return how much less time shares of it are, from the least to the most: ``30.1 to 30.9 % less time``."""
    if max(gains) < _SEEN:
        return "no less time"
    return f"{percents(gains)} less time"


def percents(fractions: Sequence[float]) -> str:
    """Return fractions from the least to the largest as percentages: ``96.8 to 98.1 %``; one where they print alike."""
    low, high = percent(min(fractions)), percent(max(fractions))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def objective_line(storage: str, rival: str, energies_j: Mapping[str, tuple[float, float]]) -> str:
    """Return how the ratio of two formats' energies moves with the objective for which both are mapped."""
    ratios = ", ".join(f"{objective} {ratio(theirs, mine)}" for objective, (mine, theirs) in energies_j.items())
    return f"Energy of {format_label(rival)} over {format_label(storage)}, both mapped for {ratios}."


def _energy_and_time(mine: Totals, theirs: Totals) -> str:
    return f"{factor(mine.energy_j, theirs.energy_j, 'energy')} and {factor(mine.latency_s, theirs.latency_s, 'time')}"


def _alone(result: RunResult) -> str:
    totals = result.totals
    spent = {name: float(getattr(totals.energy_j_by_unit, name)) for name in EnergyByUnit.model_fields}
    unit = max(spent, key=lambda name: spent[name])
    share = percent(spent[unit] / totals.energy_j) if totals.energy_j else "-"
    return (
        f"Stored as {format_label(result.storage)}, it takes {quantity(totals.latency_s, 's')} and "
        f"{quantity(totals.energy_j, 'J')}, {share} of which is {label(unit)}."
    )


def _busy(totals: Totals) -> str:
    """Return where most of the time goes, where it is not known what limits it."""
    most = bottleneck(totals)
    share = int(getattr(totals.cycles_by_cause, most)) / totals.latency_cycles if totals.latency_cycles else 0.0
    return f"{percent(share)} of its time is {label(most)}."


def area_lines(mine: Totals) -> list[str]:
    """Return a line on the unit that takes most of the chip without being array or buffer; none where none does."""
    found = idealised_unit(mine.area_mm2_by_unit)
    return [idealised_words(*found)] if found is not None else []


def idealised_words(unit: str, share: float) -> str:
    """Return what a unit's ``share`` of the area says of a chip's area and leakage."""
    return (
        f"The {label(unit)} takes {percent(share)} of the chip area, more than array and buffers together: it is "
        "idealised, and area, leakage and clock energy are not those of a chip that would be built."
    )


def price_line(mine: Totals) -> list[str]:
    """Return what weight generator and mask decoder cost in time, energy and area; none where neither is used."""
    energy = mine.energy_j_by_unit.weight_generator + mine.energy_j_by_unit.mask_decoder
    area = sum(mine.area_mm2_by_unit.get(unit, 0.0) for unit in ("weight_generator", "mask_decoder"))
    if not energy and not area:
        return []
    shares = [
        f"{percent(generation_wait_fraction(mine))} of the time (waiting for them)",
        f"{percent(energy / mine.energy_j if mine.energy_j else 0.0)} of the energy",
        f"{percent(area / mine.area_mm2 if mine.area_mm2 else 0.0)} of the area",
    ]
    return [f"Weight generator and mask decoder take {', '.join(shares[:2])} and {shares[2]}."]


def caveat(result: RunResult, comparison: Mapping[str, Totals], synthetic: Sequence[str], ways: Ways) -> str:
    """Return what the finding leaves open: accuracy, fairer rivals, synthetic values, the cost constants."""
    rivals = [name for name in comparison if name != result.storage]
    work = result.workload
    known = "No accuracy was measured for this network"
    if work.accuracy is not None:
        known = f"The accuracy, {percent(work.accuracy)} on {printable(work.dataset)}, is the ticket's"
    return joined_caveat(
        f"{known}; that of rivals is not simulated" if rivals else known, [result.storage, *rivals], synthetic, ways
    )


def joined_caveat(known: str, formats: Sequence[str], synthetic: Sequence[str], ways: Ways) -> str:
    """Return what is ``known`` of the accuracy, and what else a comparison of ``formats`` leaves open."""
    parts = [known]
    if len(formats) > 1 and not any(name.startswith("entropy-") for name in formats):
        parts.append(f"pruned, entropy-coded weights can be smaller still ({ways.rivals} entropy-int8,entropy-int4)")
    if synthetic:
        parts.append(f"values of {', '.join(map(format_label, synthetic))} are synthetic")
    parts.append(ways.sureness)
    return f"{'; '.join(parts)}."
