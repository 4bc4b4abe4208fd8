"""The sentence a user wants: what the storage format buys against others, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from accelsim.report.text import percent, printable, quantity, ratio, significant
from accelsim.results.compare import generation_wait_fraction, weight_bytes
from accelsim.results.model import LimitRecord, RunResult, Totals
from accelsim.storage.chip_decoder import is_as_stated

_FAIREST_RIVAL = (
    "Dense storage is not the fairest rival: pruned, quantised and entropy-coded weights can be smaller than a mask "
    "(--compare entropy-int8,entropy-int4)."
)


SAME = 1e-3
"""Figures within a thousandth of each other are called the same: no input of the model is known better."""
_SEEN = 0.0005  # what would print as 0.1 %
_WORTH = 0.005
_RESOURCES = {"pe_array": "PE array"}
_FITTED = (
    "A format that regenerates no weights gets a decoder so wide that a wider one would save no time; @chip is the "
    "same format on the chip's own decoder."
)


def verdict(result: RunResult, comparison: Mapping[str, Totals]) -> list[str]:
    """Return a line per format in ``comparison``, then what holds for all of them: accuracy and what was assumed.

    A line names the factor of weight traffic, energy and time, and the difference in chip area, in whichever direction
    they go. What the weight generator and the mask decoder cost in time, energy and area follows where they are used.
    """
    lines = [_against(result, name, other) for name, other in comparison.items() if name != result.storage]
    if not lines:
        return []
    price = _price(result.totals)
    if price:
        lines.append(price)
    if any(is_as_stated(name) for name in comparison):
        lines.append(_FITTED)
    lines.append(_accuracy(result))
    if not any(name.startswith("entropy-") for name in [result.storage, *comparison]):
        lines.append(_FAIREST_RIVAL)
    return lines


def closing(result: RunResult, comparison: Mapping[str, Totals]) -> list[str]:
    """Return the sentences in which a run's output ends: what was found, what limits the run, and what to beware of.

    What was found is said against the rival of the least energy; without one it is the run's own figures.
    """
    rivals = {name: other for name, other in comparison.items() if name != result.storage}
    if rivals:
        best = min(rivals, key=lambda name: rivals[name].energy_j)
        return [_against(result, best, rivals[best]), *limits_line(result), _accuracy(result)]
    totals, chip = result.totals, printable(result.hardware.name)
    found = (
        f"{printable(result.workload.name)} stored as {printable(result.storage)} takes "
        f"{quantity(totals.latency_s, 's')} and {quantity(totals.energy_j, 'J')} on {chip}."
    )
    beware = "Energies follow from constants that have ranges: --uncertainty says how sure they are."
    return [found, *limits_line(result), beware]


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
    cycles = result.totals.latency_cycles
    if not cycles:
        return []

    def gain(limit: LimitRecord) -> float:
        return limit.latency_cycles_with_twice / cycles - 1

    known = sorted(result.limits.items(), key=lambda item: (-item[1].share, gain(item[1]), item[0]))

    def line(name: str, limit: LimitRecord) -> str:
        what = _RESOURCES.get(name, name.replace("_", " ").replace(".", " "))
        brings = f"{gain(limit):+.1%}".replace("%", " %") if gain(limit) <= -_SEEN else "no gain"
        where = "" if name.endswith(".capacity") else f" in {percent(limit.share)} of the time"
        return f"{what}{where} (twice as much: {brings})"

    said = [line(name, limit) for name, limit in known if limit.share >= _WORTH or gain(limit) <= -_WORTH]
    return [f"Limited by {', '.join(said)}."] if said else []


def objective_line(storage: str, rival: str, energies_j: Mapping[str, tuple[float, float]]) -> str:
    """Return how the ratio of two formats' energies moves with the objective for which both are mapped."""
    ratios = ", ".join(f"{objective} {ratio(theirs, mine)}" for objective, (mine, theirs) in energies_j.items())
    return f"Energy of {printable(rival)} over {printable(storage)}, both mapped for {ratios}."


def policy_line(storage: str, rival: str, energies_j: Mapping[str, tuple[float, float]]) -> str:
    """Return how the ratio of two formats' energies moves with what the memory does between requests."""
    ratios = ", ".join(f"{ratio(theirs, mine)} {policy}" for policy, (mine, theirs) in energies_j.items())
    return f"Energy of {printable(rival)} over {printable(storage)} by what idle memory does: {ratios}."


def _against(result: RunResult, name: str, other: Totals) -> str:
    mine = result.totals
    gains = ", ".join(
        [
            _factor(weight_bytes(mine), weight_bytes(other), "weight traffic"),
            _factor(mine.energy_j, other.energy_j, "energy"),
            _factor(mine.latency_s, other.latency_s, "time"),
        ]
    )
    return f"{printable(result.storage)} against {printable(name)}: {gains}, {_area(mine.area_mm2, other.area_mm2)}."


def _factor(mine: float, other: float, what: str) -> str:
    if not mine or not other:
        return f"{what} {significant(mine)} against {significant(other)}"
    if math.isclose(mine, other, rel_tol=SAME):
        return f"the same {what}"
    return f"{ratio(other, mine)} less {what}" if mine < other else f"{ratio(mine, other)} more {what}"


def _area(mine_mm2: float, other_mm2: float) -> str:
    difference = mine_mm2 - other_mm2
    if not other_mm2 or not difference:
        return "the same chip area"
    direction = "more" if difference > 0 else "less"
    share = percent(abs(difference) / other_mm2)
    return f"{significant(abs(difference))} mm2 ({share}) {direction} chip area"


def _price(mine: Totals) -> str:
    energy = mine.energy_j_by_unit.weight_generator + mine.energy_j_by_unit.mask_decoder
    area = sum(mine.area_mm2_by_unit.get(unit, 0.0) for unit in ("weight_generator", "mask_decoder"))
    if not energy and not area:
        return ""
    shares = [
        f"{percent(generation_wait_fraction(mine))} of the time (waiting for them)",
        f"{percent(energy / mine.energy_j if mine.energy_j else 0.0)} of the energy",
        f"{percent(area / mine.area_mm2 if mine.area_mm2 else 0.0)} of the area",
    ]
    return f"Weight generator and mask decoder take {', '.join(shares[:2])} and {shares[2]}."


def _accuracy(result: RunResult) -> str:
    work = result.workload
    if work.accuracy is None:
        known = "No accuracy was measured for this network"
    else:
        known = f"The ticket reaches {percent(work.accuracy)} on {printable(work.dataset)}"
    return f"{known}; the formats compared store the same network shape, and their own accuracy is not simulated."
