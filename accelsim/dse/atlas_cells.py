"""The cells of an atlas, from the rows of what was simulated: who wins, by how much, and what turns the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from accelsim.cost.tables import CostTables
from accelsim.cost.terms import FloatArray, Price, joined, resolve
from accelsim.cost.uncertainty import sample
from accelsim.dse.atlas_space import AtlasSpace, Place, Ticket
from accelsim.dse.duels import Rule, find_rule
from accelsim.dse.priced import J_PER_PJ, Prices, parse_prices
from accelsim.dse.rows import Row, figure
from accelsim.sim.counters import CAUSES

Metric = Literal["time", "energy"]
METRICS: tuple[Metric, ...] = ("time", "energy")
AXES = ("bits_per_weight", "context", "batch", "bandwidth_gbps", "dram_pj_per_bit")
NUM_DRAWS = 1000
SEED = 0
SURE = 0.95
"""A winner is sure where it needs less energy in at least this share of the draws: the band of `accelsim run`."""
EQUAL = 0.01
"""Within a hundredth two figures count as equal: so near to its bound the mapper takes a tiling without looking on."""
WORTH = 1.1
"""Below this factor a winner is hardly worth a chip of its own: the second line of the maps."""
LEVELS = (1 - EQUAL, 1 + EQUAL, WORTH)
"""Factors whose crossings are told: the ticket falls behind, is ahead, is ahead by enough."""


class Contest(NamedTuple):
    """A cell's answer in one metric: the best rival, and its figure over the ticket's (above 1: the ticket wins)."""

    rival: str
    factor: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A ticket against all rivals at one place and one price of a DRAM bit.

    Attributes
    ----------
    dram_pj_per_bit
        The price as stated; None: that of the chip's own memory, ``dram_pj_per_bit_now``.
    latency_s, energy_j
        Storage format -> figure of the whole run (of all sequences), the ticket's first.
    num_tokens
        Tokens of the run: one a sequence of a decode, all of the prompts of a prefill.
    probability
        Share of draws of the cost constants in which the ticket needs less energy than every rival.
    by_policy
        Policy of the memory in words -> the factor of energy under it; the chip's own comes first.
    cause, cause_share
        What most of the ticket's cycles go to (`accelsim.sim.counters.CAUSES`), and which share of them.
    reason
        Why there is no answer; empty otherwise.
    """

    place: Place
    ticket: Ticket
    bits_per_weight: float
    dram_pj_per_bit: float | None
    dram_pj_per_bit_now: float
    latency_s: Mapping[str, float]
    energy_j: Mapping[str, float]
    num_tokens: int
    time: Contest
    energy: Contest
    probability: float
    by_policy: Mapping[str, float]
    command: str
    cause: str = ""
    cause_share: float = 0.0
    reason: str = ""

    def contest(self, metric: Metric) -> Contest:
        """Return the answer in a metric."""
        return self.time if metric == "time" else self.energy

    @property
    def is_unsure(self) -> bool:
        """Return whether the ranges of the cost constants leave open who needs less energy."""
        return not self.reason and 1 - SURE < self.probability < SURE

    @property
    def turns_with_policy(self) -> bool:
        """Return whether another policy of the memory makes another one win in energy."""
        return len({winner(factor) for factor in self.by_policy.values()}) > 1

    def axes(self) -> dict[str, float]:
        """Return where the cell is; the price of a bit is the one it has."""
        price = self.dram_pj_per_bit_now if self.dram_pj_per_bit is None else self.dram_pj_per_bit
        return dict(zip(AXES, (self.bits_per_weight, *self.place, price), strict=True))


def winner(factor: float) -> int:
    """Return 1 where the ticket wins, -1 where it loses, 0 where both are equal."""
    return 0 if abs(factor - 1) <= EQUAL else (1 if factor > 1 else -1)


def cells_of(space: AtlasSpace, rows: Mapping[tuple[Place, str, float], Row], tables: CostTables) -> tuple[Cell, ...]:
    """Return the cells, in the order of places, tickets and prices.

    Parameters
    ----------
    rows
        Place, format and freezing ratio -> the row of its run.
    """
    priced = {key: parse_prices(str(row["prices"])) for key, row in rows.items() if row["status"] == "ok"}
    energies = Energies(priced, tables)
    return tuple(
        _cell(space, (place, ticket, price), rows, energies)
        for place in space.places()
        for ticket in space.tickets
        for price in space.pj_per_bit
    )


Key = tuple[Place, str, float]


class Energies:
    """Energies of runs at any price of a bit and under any policy, and their draws.

    A price of the tables is worked out once for each run: what is stated of a bit comes on top.
    """

    def __init__(self, priced: Mapping[Key, Prices], tables: CostTables) -> None:
        self._priced, self._values = priced, tables.values
        prices = [
            price
            for each in priced.values()
            for memory in each.memory.values()
            for price in (each.core, memory.traffic, memory.rest)
        ]
        products = sorted({term.constants for price in prices for term in price})
        names = sorted({name for product in products for name in product})
        draws = sample([tables.row(name) for name in names], NUM_DRAWS, SEED)
        self._places = {product: place for place, product in enumerate(products)}
        self._products = np.ones((len(products), NUM_DRAWS))
        for product, place in self._places.items():
            for name in product:
                self._products[place] *= draws[name]
        self._known: dict[tuple[Key, str], tuple[float, float]] = {}
        self._drawn: dict[Key, tuple[FloatArray, FloatArray]] = {}

    def policies(self, key: Key) -> list[str]:
        """Return the policies of the memory in words, the chip's own first."""
        return list(self._priced[key].memory)

    def value(self, key: Key, policy: str, pj_per_bit: float | None) -> float:
        """Return an energy in J; ``pj_per_bit`` None takes the price of a bit of the chip's memory."""
        if (key, policy) not in self._known:
            prices = self._priced[key]
            memory = prices.memory[policy]
            fixed = joined((prices.core, memory.rest))
            self._known[key, policy] = (resolve(fixed, self._values), resolve(memory.traffic, self._values))
        fixed_j, traffic_j = self._known[key, policy]
        return fixed_j + (traffic_j if pj_per_bit is None else self._stated_j(key, pj_per_bit))

    def draws(self, key: Key, pj_per_bit: float | None) -> FloatArray:
        """Return its draws under the chip's own policy; a stated price is exact."""
        if key not in self._drawn:
            prices = self._priced[key]
            memory = prices.memory[self.policies(key)[0]]
            self._drawn[key] = (self._draw(joined((prices.core, memory.rest))), self._draw(memory.traffic))
        fixed, traffic = self._drawn[key]
        return fixed + (traffic if pj_per_bit is None else self._stated_j(key, pj_per_bit))

    def own_pj_per_bit(self, key: Key) -> float:
        """Return what a bit costs in the chip's own memory, in pJ."""
        bits, traffic = self._priced[key].traffic_bits, self._priced[key].memory[self.policies(key)[0]].traffic
        return resolve(traffic, self._values) / J_PER_PJ / bits if bits else 0.0

    def _stated_j(self, key: Key, pj_per_bit: float) -> float:
        return self._priced[key].traffic_bits * pj_per_bit * J_PER_PJ

    def _draw(self, price: Price) -> FloatArray:
        weights = np.zeros(len(self._places))
        for term in price:
            weights[self._places[term.constants]] += term.coefficient
        found: FloatArray = weights @ self._products
        return found


def _cell(
    space: AtlasSpace,
    where: tuple[Place, Ticket, float | None],
    rows: Mapping[Key, Row],
    energies: Energies,
) -> Cell:
    place, ticket, price = where
    command = space.command(place, ticket, price)
    keys = {name: (place, name, ticket.freeze_ratio) for name in (ticket.storage, *space.rivals)}
    failed = [f"{name}: {rows[key]['reason']}" for name, key in keys.items() if rows[key]["status"] != "ok"]
    running = {name: key for name, key in keys.items() if rows[key]["status"] == "ok"}
    if ticket.storage not in running or len(running) < 2:
        none, nan = Contest("", math.nan), math.nan
        return Cell(place, ticket, nan, price, nan, {}, {}, 0, none, none, nan, {}, command, reason=failed[0])
    row, own = rows[keys[ticket.storage]], keys[ticket.storage]
    policies = energies.policies(own)
    by_policy = {
        words: {name: energies.value(key, words, price) for name, key in running.items()} for words in policies
    }
    latency_s = {name: figure(rows[key], "latency_s") or 0.0 for name, key in running.items()}
    energy_j = by_policy[policies[0]]
    cause = max(CAUSES, key=lambda name: figure(row, f"cycles_{name}") or 0.0)
    draws = {name: energies.draws(key, price) for name, key in running.items()}
    least = np.min([each for name, each in draws.items() if name != ticket.storage], axis=0)
    return Cell(
        place=place,
        ticket=ticket,
        bits_per_weight=(figure(row, "stored_bits") or 0.0) / (figure(row, "num_weights") or 1.0),
        dram_pj_per_bit=price,
        dram_pj_per_bit_now=energies.own_pj_per_bit(own),
        latency_s=latency_s,
        energy_j=energy_j,
        num_tokens=round((figure(row, "tokens_per_s") or 0.0) * latency_s[ticket.storage]),
        time=_best(latency_s, ticket.storage),
        energy=_best(energy_j, ticket.storage),
        probability=float(np.mean(draws[ticket.storage] < least)),
        by_policy={words: _best(found, ticket.storage).factor for words, found in by_policy.items()},
        command=command,
        cause=cause,
        cause_share=(figure(row, f"cycles_{cause}") or 0.0) / (figure(row, "latency_cycles") or 1.0),
    )


def _best(figures: Mapping[str, float], ticket: str) -> Contest:
    rival = min((name for name in figures if name != ticket), key=lambda name: figures[name])
    return Contest(rival, figures[rival] / figures[ticket])


@dataclass(frozen=True, slots=True)
class Standing:
    """How a ticket does in a metric over its cells.

    Attributes
    ----------
    wins, ties, losses
        Cells in which it is better than every rival, equal to the best (within a hundredth), worse.
    below_worth
        Cells which it wins by less than `WORTH`.
    unsure, turned
        Cells (energy only) in which the constants' ranges, and other policies of the memory, turn the answer.
    loses_where
        What lost cells have in common; None where all or none are lost.
    """

    ticket: Ticket
    metric: Metric
    bits_per_weight: float
    num_cells: int
    wins: int
    ties: int
    losses: int
    below_worth: int
    unsure: int
    turned: int
    median: float
    best: float
    worst: float
    loses_where: Rule | None


def standings(space: AtlasSpace, cells: Sequence[Cell]) -> tuple[Standing, ...]:
    """Return the standing of each ticket in time and in energy; time does not depend on the price of a bit."""
    found = []
    for ticket in space.tickets:
        for metric in METRICS:
            own = [cell for cell in one_price(space, cells, metric) if cell.ticket == ticket and not cell.reason]
            if own:
                found.append(_standing(ticket, metric, own))
    return tuple(found)


def one_price(space: AtlasSpace, cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Return the cells that differ in a metric: time is the same at every price, so those at the first."""
    return [cell for cell in cells if metric == "energy" or cell.dram_pj_per_bit == space.pj_per_bit[0]]


def _standing(ticket: Ticket, metric: Metric, cells: Sequence[Cell]) -> Standing:
    factors = [cell.contest(metric).factor for cell in cells]
    winners = [winner(factor) for factor in factors]
    is_energy = metric == "energy"
    axes = [axis for axis in AXES[1:] if is_energy or axis != AXES[-1]]
    # The price of the chip's own memory differs a little from place to place; as a level it is one.
    rows: list[dict[str, Any]] = [cell.axes() | {AXES[-1]: cell.dram_pj_per_bit or 0.0} for cell in cells]
    return Standing(
        ticket=ticket,
        metric=metric,
        bits_per_weight=cells[0].bits_per_weight,
        num_cells=len(cells),
        wins=winners.count(1),
        ties=winners.count(0),
        losses=winners.count(-1),
        below_worth=sum(1 for factor in factors if winner(factor) == 1 and factor < WORTH),
        unsure=sum(cell.is_unsure for cell in cells) if is_energy else 0,
        turned=sum(cell.turns_with_policy for cell in cells) if is_energy else 0,
        median=float(np.median(factors)),
        best=max(factors),
        worst=min(factors),
        loses_where=find_rule(rows, [each == -1 for each in winners], axes),
    )


class Crossing(NamedTuple):
    """Where a factor passes ``level`` (one of `LEVELS`) along one axis, all else fixed.

    ``at`` is on the straight line between the two cells' logarithms; ``falls`` tells whether the factor is above the
    level before it.
    """

    metric: Metric
    level: float
    axis: str
    at: float
    falls: bool
    fixed: tuple[tuple[str, float | str | None], ...]


def crossings(space: AtlasSpace, cells: Sequence[Cell]) -> tuple[Crossing, ...]:
    """Return where factors pass `LEVELS`, along every axis; tickets of one format are one line."""
    found: list[Crossing] = []
    for metric in METRICS:
        shown = [cell for cell in one_price(space, cells, metric) if not cell.reason]
        for axis in AXES if metric == "energy" else AXES[:-1]:
            for fixed, line in _lines(shown, axis):
                for level in LEVELS:
                    found += _crossed(metric, level, axis, fixed, line)
    return tuple(found)


Fixed = tuple[tuple[str, float | str | None], ...]


def _lines(cells: Sequence[Cell], axis: str) -> Iterator[tuple[Fixed, list[Cell]]]:
    """Yield the lines of cells along an axis, in its order, with what is fixed; a price that is the chip's is None."""
    lines: dict[Fixed, list[Cell]] = {}
    for cell in cells:
        names = ("format", *AXES)
        values = (cell.ticket.storage, cell.bits_per_weight, *cell.place, cell.dram_pj_per_bit)
        fixed = tuple((name, value) for name, value in zip(names, values, strict=True) if name != axis)
        lines.setdefault(fixed, []).append(cell)
    for fixed, line in lines.items():
        if len(line) > 1:
            yield fixed, sorted(line, key=lambda cell: cell.axes()[axis])


def _crossed(metric: Metric, level: float, axis: str, fixed: Fixed, line: Sequence[Cell]) -> Iterator[Crossing]:
    points = [(cell.axes()[axis], cell.contest(metric).factor / level) for cell in line]
    for (x0, f0), (x1, f1) in zip(points, points[1:], strict=False):
        if (f0 > 1) == (f1 > 1) or f0 == f1:
            continue
        share = math.log(f0) / (math.log(f0) - math.log(f1))
        at = x0 * (x1 / x0) ** share if x0 > 0 else x0 + (x1 - x0) * share
        yield Crossing(metric, level, axis, at, f0 > 1, fixed)
