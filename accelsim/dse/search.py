"""Search a space: optuna proposes in generations, the closed form ranks, simulation decides.

A generation has a fixed size, whatever the number of workers, and its results are told in order: with the same seed a
search is the same on any machine, and one that was interrupted repeats its past from the store.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.dse.constraints import Constraint, holds
from accelsim.dse.engine import EvaluatedPoint, evaluate_points
from accelsim.dse.executors import Executor
from accelsim.dse.pareto import costs, pareto_front, rank_correlation
from accelsim.dse.points import Point, PointSource
from accelsim.dse.progress import Progress
from accelsim.dse.proposals import GENERATION, Algorithm, Picks, Proposer, open_study
from accelsim.dse.rows import Fidelity, Row, figure
from accelsim.dse.space import STORAGE, Value, Variable
from accelsim.dse.store import ResultStore
from accelsim.errors import ConfigError

UNIFORM = 128
PARTNERED = 12
WHOLE_AT_ONCE = 1024
# Over several workloads: times and energies add up, the chip is the largest that one of them needs.
_ADDED = (
    "latency_cycles", "latency_s", "energy_j", "macs", "effective_macs", "stored_bits", "weight_bytes", "dram_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Design:
    """A choice of chip and variables, with its points (one a workload), their rows and the figures over all of them.

    ``figures`` has status ``failed`` if one of the points failed.
    """

    hardware: int
    choice: tuple[Value, ...]
    evaluated: tuple[EvaluatedPoint, ...]
    figures: Row

    @property
    def is_ok(self) -> bool:
        """Return whether all points were evaluated."""
        return self.figures["status"] == "ok"


@dataclass(frozen=True, slots=True)
class Bench:
    """What evaluates designs."""

    source: PointSource
    store: ResultStore
    executor: Executor
    progress: Progress

    def evaluate(self, choices: Sequence[tuple[int, tuple[Value, ...]]], fidelity: Fidelity) -> list[Design]:
        """Return the designs of (chip, choice) pairs, in order."""
        number = len(self.source.workloads)
        points: list[Point] = [
            self.source.point(hardware, workload, choice, fidelity)
            for hardware, choice in choices
            for workload in range(number)
        ]
        found = evaluate_points(points, fidelity, self.store, self.executor, self.progress)
        return [
            Design(hardware, choice, part := tuple(found[index * number : (index + 1) * number]), combined(part))
            for index, (hardware, choice) in enumerate(choices)
        ]


def combined(evaluated: Sequence[EvaluatedPoint]) -> Row:
    """Return the figures of a design over all workloads: sums of time, energy and traffic, the largest area.

    Accuracy is the mean; rates follow from the sums. A failed point makes the design fail with its reason.
    """
    rows = [entry.row for entry in evaluated]
    for row in rows:
        if row["status"] != "ok":
            return row
    if len(rows) == 1:
        return rows[0]
    total: Row = {"status": "ok", "reason": "", "fidelity": rows[0]["fidelity"]}
    for name in _ADDED:
        values = [figure(row, name) for row in rows]
        added = None if None in values else math.fsum(value for value in values if value is not None)
        total[name] = added if added is None or name.endswith(("_s", "_j")) else round(added)
    total["area_mm2"] = max(figure(row, "area_mm2") or 0.0 for row in rows)
    accuracies = [figure(row, "accuracy") for row in rows]
    total["accuracy"] = None if None in accuracies else float(np.mean([value or 0.0 for value in accuracies]))
    time_s, energy_j = figure(total, "latency_s") or 0.0, figure(total, "energy_j") or 0.0
    macs = figure(total, "macs") or 0.0
    # Of the sums, not a sum of products: the networks run one after the other, as one job.
    total["edp_js"] = energy_j * time_s
    if time_s and energy_j:
        total["average_power_w"], total["tops"] = energy_j / time_s, 2 * macs / time_s / 1e12
        total["tops_per_w"] = 2 * macs / energy_j / 1e12
        # Rates do not add up, inputs do.
        frames = sum((figure(row, "frames_per_s") or 0.0) * (figure(row, "latency_s") or 0.0) for row in rows)
        total["frames_per_s"] = frames / time_s
    return total


def search(
    bench: Bench,
    objectives: Sequence[str],
    constraints: tuple[Constraint, ...],
    num_trials: int,
    algorithm: Algorithm,
    seed: int,
    fidelity: Fidelity = "closed_form",
) -> Ranking:
    """Return the designs that were tried, each once: ``num_trials`` of them, or the whole space where it is smaller.

    The first quarter of the trials (at least a generation, at most `UNIFORM`) is drawn at random, so that what is said
    of the whole space rests on designs from all over it. A proposal that was tried before is changed in one variable.

    Raises
    ------
    ConfigError
        optuna is not installed, or an objective has no figure in any design.
    """
    axes = list(bench.source.space.variables)
    if len(bench.source.bases) > 1:
        axes.insert(0, Variable("hardware", (), tuple(range(len(bench.source.bases)))))
    size = math.prod(len(axis.levels) for axis in axes)
    tried: dict[Picks, Design] = {}
    proposer: Proposer | None = None
    if size > num_trials:
        num_uniform = num_trials if algorithm == "random" else min(max(GENERATION, min(num_trials // 4, UNIFORM)), size)
        study = open_study(algorithm, seed, len(objectives))
        proposer = Proposer(axes, random.Random(seed), num_uniform, study)
    everything = itertools.product(*(range(len(axis.levels)) for axis in axes))
    while len(tried) < min(num_trials, size):
        number = min(GENERATION, num_trials - len(tried))
        chosen = (
            proposer.propose(number, tried, len(tried))
            if proposer
            else list(itertools.islice(everything, WHOLE_AT_ONCE))
        )
        choices = [_choice(picks, axes, len(bench.source.bases)) for picks in chosen]
        is_first = not tried
        for picks, design in zip(chosen, bench.evaluate(choices, fidelity), strict=True):
            tried[picks] = design
            bench.progress.remember(design.figures)
        if is_first:
            _check_figures(list(tried.values()), objectives, constraints)
        if proposer:
            proposer.tell(lambda picks: tried[picks].figures, objectives, constraints)
    designs = tuple(tried.values())
    return Ranking(designs, designs[: proposer.num_uniform] if proposer else designs, size)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Designs that were ranked, in order; those of them that lie evenly over the space; and how many it has."""

    designs: tuple[Design, ...]
    uniform: tuple[Design, ...]
    space_size: int


def _check_figures(designs: Sequence[Design], objectives: Sequence[str], constraints: tuple[Constraint, ...]) -> None:
    """Refuse a search for what no design has, instead of trying them all in vain."""
    good = [design.figures for design in designs if design.is_ok]
    for name in (*objectives, *(constraint.metric for constraint in constraints)):
        if good and all(figure(row, name) is None for row in good):
            why = (
                "no workload is a real ticket in a format that stores it"
                if name == "accuracy"
                else "the closed form does not know it; use sweep, or another metric"
            )
            raise ConfigError(f"explore: {name}: no design has this figure: {why}")


def _choice(picks: Picks, axes: Sequence[Variable], num_hardware: int) -> tuple[int, tuple[Value, ...]]:
    values = tuple(axis.levels[pick] for axis, pick in zip(axes, picks, strict=True))
    return (int(values[0]), values[1:]) if num_hardware > 1 else (0, values)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Simulated designs, and how well ranking and simulation agree.

    Attributes
    ----------
    designs
        The front of the ranking, a random sample, and partners: chips of the front with the other storage formats.
    num_front, num_sample, num_partners
        How many of each.
    correlations
        Objective -> Spearman's rank correlation over front and sample; None with too few.
    median_errors
        Objective -> median of |closed form / simulation - 1|.
    """

    designs: tuple[Design, ...]
    num_front: int
    num_sample: int
    num_partners: int
    correlations: dict[str, float | None]
    median_errors: dict[str, float | None]


def confirm(
    bench: Bench,
    ranked: Sequence[Design],
    objectives: Sequence[str],
    constraints: tuple[Constraint, ...],
    num_sample: int,
    seed: int,
) -> Confirmation:
    """Simulate the feasible front of ``ranked``, a random sample of the rest, and what to compare the front with.

    A front holds no two designs that differ in the storage format alone, or hardly any: without partners nothing could
    be said of tickets against their rivals.
    """
    usable = [design for design in ranked if design.is_ok]
    feasible = [index for index, design in enumerate(usable) if holds(constraints, design.figures)]
    front = [feasible[place] for place in pareto_front(costs([usable[i].figures for i in feasible], objectives))]
    others = sorted(set(range(len(usable))) - set(front))
    # The sample is of the rest: a front alone lies so close together that ranks say nothing of the whole space.
    sample = sorted(random.Random(seed).sample(others, min(num_sample, len(others))))
    chosen = [usable[index] for index in (*front, *sample)]
    # Along the first objective, so that partners lie evenly between its ends.
    front.sort(key=lambda index: float(costs([usable[index].figures], objectives[:1])[0, 0]))
    partners = _partners(bench, [usable[index] for index in front], chosen)
    wanted = [*((design.hardware, design.choice) for design in chosen), *partners]
    simulated = bench.evaluate(wanted, "simulation")
    for design in simulated:
        bench.progress.remember(design.figures)
    correlations: dict[str, float | None] = {}
    errors: dict[str, float | None] = {}
    for name in objectives:
        pairs = [
            (first, second)
            for one, other in zip(chosen, simulated, strict=False)
            if (first := figure(one.figures, name)) is not None and (second := figure(other.figures, name)) is not None
        ]
        correlations[name] = rank_correlation([first for first, _ in pairs], [second for _, second in pairs])
        relative = [abs(first / second - 1) for first, second in pairs if second]
        errors[name] = float(np.median(relative)) if relative else None
    return Confirmation(tuple(simulated), len(front), len(sample), len(partners), correlations, errors)


def _partners(bench: Bench, front: Sequence[Design], chosen: Sequence[Design]) -> list[tuple[int, tuple[Value, ...]]]:
    """Return the chips of at most `PARTNERED` designs, evenly spread over the front, with the other storage formats."""
    place = next((i for i, axis in enumerate(bench.source.space.variables) if axis.name == STORAGE), None)
    if place is None or not front:
        return []
    known = {repr((design.hardware, design.choice)) for design in chosen}
    wanted: dict[str, tuple[int, tuple[Value, ...]]] = {}
    for index in sorted({round(i * (len(front) - 1) / (PARTNERED - 1)) for i in range(PARTNERED)}):
        design = front[index]
        for level in bench.source.space.variables[place].levels:
            other = design.hardware, (*design.choice[:place], level, *design.choice[place + 1 :])
            if repr(other) not in known:
                wanted[repr(other)] = other
    return list(wanted.values())
