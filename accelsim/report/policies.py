"""How the ratio of two formats' energies moves with what the memory does between requests."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.config.dram import DramConfig
from accelsim.config.hardware import HardwareConfig
from accelsim.cost.dram import policies
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.report.sentence import policy_line
from accelsim.sim.counters import Counters

DENSE_STORAGE = "dense-int8"
MOST_LINES = 3


def policy_lines(config: HardwareConfig, ticket: Counters, rivals: Mapping[str, Counters]) -> list[str]:
    """Return a line for each rival: the ratio of energies with the chip's memory policy, and with others.

    Of many rivals those of dense int8 and of the least energy.

    Times stay as they were simulated; exits from power-down are below a thousandth of them.
    """
    if config.memory == "ideal":
        return []

    def energy_j(counters: Counters, dram: DramConfig) -> float:
        cost = evaluate(counters, config.model_copy(update={"dram": dram}), load_tables())
        return sum(cost.energy_j_by_unit.values())

    chips = policies(config.dram)
    mine = {words: energy_j(ticket, dram) for words, dram in chips.items()}
    theirs = {name: {words: energy_j(rival, dram) for words, dram in chips.items()} for name, rival in rivals.items()}
    shown = list(theirs)
    if len(shown) > MOST_LINES:
        least = min(shown, key=lambda name: next(iter(theirs[name].values())))
        shown = [name for name in shown if name in (least, DENSE_STORAGE)]
    return [
        policy_line(ticket.storage, name, {words: (mine[words], theirs[name][words]) for words in chips})
        for name in shown
    ]
