"""Search a space: optuna proposes in generations, the closed form ranks, simulation decides.

A generation has a fixed size, whatever the number of workers, and its results are told in order: with the same seed a
search is the same on any machine, and one that was interrupted repeats its past from the store.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from accelsim.dse.constraints import Constraint, holds
from accelsim.dse.engine import EvaluatedPoint, evaluate_points
from accelsim.dse.executors import Executor
from accelsim.dse.pareto import costs, pareto_front, rank_correlation
from accelsim.dse.points import Point, PointSource
from accelsim.dse.progress import Progress
from accelsim.dse.rows import Fidelity, Row, figure
from accelsim.dse.space import Value, Variable
from accelsim.dse.store import ResultStore
from accelsim.errors import ConfigError

Algorithm = Literal["nsga2", "tpe", "random"]
ALGORITHMS: tuple[Algorithm, ...] = ("nsga2", "tpe", "random")
GENERATION = 32
_UNREACHABLE = 1e9
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
    total["edp_js"] = energy_j * time_s
    if time_s and energy_j:
        total["average_power_w"], total["tops"] = energy_j / time_s, 2 * macs / time_s / 1e12
        total["tops_per_w"] = 2 * macs / energy_j / 1e12
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
) -> list[Design]:
    """Return the designs that were tried, in order, each once.

    Raises
    ------
    ConfigError
        optuna is not installed.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * len(objectives), sampler=_sampler(optuna, algorithm, seed))
    axes = list(bench.source.space.variables)
    if len(bench.source.bases) > 1:
        axes.insert(0, Variable("hardware", (), tuple(range(len(bench.source.bases)))))
    tried: dict[str, Design] = {}
    for start in range(0, num_trials, GENERATION):
        trials = [study.ask() for _ in range(min(GENERATION, num_trials - start))]
        choices = [_choice(trial, axes, len(bench.source.bases)) for trial in trials]
        for trial, design in zip(trials, bench.evaluate(choices, fidelity), strict=True):
            tried.setdefault(repr((design.hardware, design.choice)), design)
            _tell(optuna, study, trial, design, (objectives, constraints))
    return list(tried.values())


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise ConfigError("explore: optuna is not installed; run pip install 'accelsim[dse]', or use sweep") from None


def _sampler(optuna: Any, algorithm: Algorithm, seed: int) -> Any:
    if algorithm == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if algorithm == "tpe":
        return optuna.samplers.TPESampler(n_startup_trials=GENERATION, multivariate=True, seed=seed)
    return optuna.samplers.NSGAIISampler(population_size=GENERATION, seed=seed)


def _choice(trial: Any, axes: Sequence[Variable], num_hardware: int) -> tuple[int, tuple[Value, ...]]:
    """Return what a trial proposes: numbers by their rank, so that neighbours are near; words as categories."""
    picks = []
    for axis in axes:
        last = len(axis.levels) - 1
        if axis.is_numeric and axis.name != "hardware":
            order = np.argsort(np.array(axis.levels, dtype=np.float64), kind="stable").tolist()
            picks.append(order[trial.suggest_int(axis.name, 0, last)])
        else:
            picks.append(trial.suggest_categorical(axis.name, list(range(last + 1))))
    values = tuple(axis.levels[pick] for axis, pick in zip(axes, picks, strict=True))
    return (int(values[0]), values[1:]) if num_hardware > 1 else (0, values)


def _tell(
    optuna: Any, study: Any, trial: Any, design: Design, goal: tuple[Sequence[str], tuple[Constraint, ...]]
) -> None:
    objectives, constraints = goal
    values = costs([design.figures], objectives)[0]
    for constraint in constraints:
        trial.set_constraint(constraint.text, min(constraint.violation(design.figures), _UNREACHABLE))
    if design.is_ok and np.isfinite(values).all():
        study.tell(trial, values.tolist())
    else:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Simulated designs: the front of the ranking and a random sample, and how well ranking and simulation agree.

    ``correlations``: objective -> Spearman's rank correlation over all simulated designs that the closed form also
    ranked; None with too few. ``median_errors``: objective -> median of |closed form / simulation - 1|.
    """

    designs: tuple[Design, ...]
    num_front: int
    num_sample: int
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
    """Simulate the feasible front of ``ranked`` and a random sample of the rest."""
    usable = [design for design in ranked if design.is_ok]
    feasible = [index for index, design in enumerate(usable) if holds(constraints, design.figures)]
    front = [feasible[place] for place in pareto_front(costs([usable[i].figures for i in feasible], objectives))]
    others = sorted(set(range(len(usable))) - set(front))
    sample = sorted(random.Random(seed).sample(others, min(num_sample, len(others))))
    chosen = [usable[index] for index in (*front, *sample)]
    simulated = bench.evaluate([(design.hardware, design.choice) for design in chosen], "simulation")
    correlations: dict[str, float | None] = {}
    errors: dict[str, float | None] = {}
    for name in objectives:
        pairs = [
            (first, second)
            for one, other in zip(chosen, simulated, strict=True)
            if (first := figure(one.figures, name)) is not None and (second := figure(other.figures, name)) is not None
        ]
        correlations[name] = rank_correlation([first for first, _ in pairs], [second for _, second in pairs])
        relative = [abs(first / second - 1) for first, second in pairs if second]
        errors[name] = float(np.median(relative)) if relative else None
    return Confirmation(tuple(simulated), len(front), len(sample), correlations, errors)
