"""How the ratio of two formats' energies moves with what the memory does between requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.cost.dram import policies
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.report.labels import format_label
from accelsim.report.text import ratio
from accelsim.sim.counters import Counters

DENSE_STORAGE = "dense-int8"
MOST_RIVALS = 3


def policy_ratios(
    config: HardwareConfig, ticket: Counters, rivals: Mapping[str, Counters]
) -> dict[str, dict[str, float]]:
    """Return for each rival, by what the memory does while idle, its energy over the ticket's.

    The chip's own policy comes first. Times stay as they were simulated; exits from power-down are below a thousandth
    of them. An ideal memory has no policy.
    """
    if config.memory == "ideal":
        return {}

    def energy_j(counters: Counters, dram: DramConfig) -> float:
        cost = evaluate(counters, config.model_copy(update={"dram": dram}), load_tables())
        return sum(cost.energy_j_by_unit.values())

    chips = policies(config.dram)
    mine = {words: energy_j(ticket, dram) for words, dram in chips.items()}
    return {
        name: {words: energy_j(rival, dram) / mine[words] for words, dram in chips.items() if mine[words]}
        for name, rival in rivals.items()
    }


def policy_lines(config: HardwareConfig, ticket: Counters, rivals: Mapping[str, Counters]) -> list[str]:
    """Return one line: the ratio of each rival's energy with the chip's memory policy, and with others.

    Of many rivals those of dense int8 and of the least energy.
    """
    ratios = policy_ratios(config, ticket, rivals)
    if len(ratios) > MOST_RIVALS:
        least = min(ratios, key=lambda name: next(iter(ratios[name].values()), 0.0))
        ratios = {name: found for name, found in ratios.items() if name in (least, DENSE_STORAGE)}
    if not any(ratios.values()):
        return []
    first, *others = next(iter(ratios.values()))
    own = ", ".join(f"{format_label(name)} {ratio(of[first], 1)}" for name, of in ratios.items())
    said = [f"{words}: {', '.join(ratio(of[words], 1) for of in ratios.values())}" for words in others]
    return [
        f"Energy over {format_label(ticket.storage)} depends on what idle memory does. "
        + "; ".join([f"{first[:1].upper()}{first[1:]}: {own}", *said])
        + "."
    ]


def policies_words(ratios: Mapping[str, Mapping[str, float]]) -> str:
    """Return what the memory may do while idle, in the order of `policy_ratios`."""
    return "; ".join(next(iter(ratios.values()), {}))


def spread(ratios: Sequence[float]) -> str:
    """Return the least and the largest ratio: ``2.40x to 2.94x``; one figure where they print alike."""
    low, high = ratio(min(ratios), 1), ratio(max(ratios), 1)
    return low if low == high else f"{low} to {high}"
