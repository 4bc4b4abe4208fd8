"""Which designs a search tries next: optuna's proposals, none twice, after a beginning from all over the space."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from accelsim.dse.constraints import Constraint
from accelsim.dse.pareto import costs
from accelsim.dse.rows import Row
from accelsim.dse.space import Variable
from accelsim.errors import ConfigError

Algorithm = Literal["nsga2", "tpe", "random"]
ALGORITHMS: tuple[Algorithm, ...] = ("nsga2", "tpe", "random")
Picks = tuple[int, ...]
GENERATION = 32
_UNREACHABLE = 1e9
_DRAWS = 64


def open_study(algorithm: Algorithm, seed: int, num_objectives: int) -> Any:
    """Return optuna's study, or raise `ConfigError` where optuna is not installed; None for the random sampler."""
    if algorithm == "random":
        return None
    try:
        optuna = importlib.import_module("optuna")
    except ImportError:
        raise ConfigError(
            "explore: optuna is not installed; run pip install 'accelsim[dse]', or use --sampler random, or sweep"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = (
        optuna.samplers.TPESampler(n_startup_trials=GENERATION, multivariate=True, seed=seed)
        if algorithm == "tpe"
        else optuna.samplers.NSGAIISampler(population_size=GENERATION, seed=seed)
    )
    return optuna.create_study(directions=["minimize"] * num_objectives, sampler=sampler)


class Proposer:
    """Proposes designs that were not tried before; a study (None proposes at random) is told what they came to.

    Picks are numbers of values, in the order of the axes; numbers are counted by rank, so that neighbours are near.
    """

    def __init__(self, axes: Sequence[Variable], rng: random.Random, num_uniform: int, study: Any) -> None:
        self.num_uniform = num_uniform
        self._axes, self._rng, self._study = axes, rng, study
        self._varied = [place for place, axis in enumerate(axes) if len(axis.levels) > 1]
        self._asked: list[tuple[Any, Picks]] = []

    def propose(self, number: int, tried: Container[Picks], num_tried: int) -> list[Picks]:
        """Return so many new designs; fewer than all of the space have been tried."""
        fresh: dict[Picks, None] = {}
        while len(fresh) < number:
            if self._study is None or num_tried + len(fresh) < self.num_uniform:
                picks = self._new(None, tried, fresh)
                trial = self._ask(picks)
            else:
                trial, picks = self._asked_for()
                # The study is told of both, the one that is known already and the one in its place: it would propose
                # the first again and again, and a trial that is never told stays open in it.
                if picks in tried or picks in fresh:
                    self._asked.append((trial, picks))
                    picks = self._new(picks, tried, fresh)
                    trial = self._ask(picks)
            self._asked.append((trial, picks))
            fresh[picks] = None
        return list(fresh)

    def _new(self, known: Picks | None, tried: Container[Picks], fresh: Container[Picks]) -> Picks:
        """Return a new design beside a known one, or after a while, or without one, from anywhere."""
        for _ in range(_DRAWS if known is not None else 0):
            picks = self._beside(known or ())
            if picks not in tried and picks not in fresh:
                return picks
        while True:
            picks = self._anywhere()
            if picks not in tried and picks not in fresh:
                return picks

    def _anywhere(self) -> Picks:
        return tuple(self._rng.randrange(len(axis.levels)) for axis in self._axes)

    def _beside(self, picks: Picks) -> Picks:
        place = self._rng.choice(self._varied)
        return (*picks[:place], self._rng.randrange(len(self._axes[place].levels)), *picks[place + 1 :])

    def _ask(self, picks: Picks) -> Any:
        """Return a trial of the study for a design of ours; None without a study."""
        if self._study is None:
            return None
        wanted = {
            axis.name: order.index(pick) if (order := _order(axis)) else pick
            for axis, pick in zip(self._axes, picks, strict=True)
        }
        # A study learns only from trials that it has handed out: this one is put in front of its own.
        self._study.enqueue_trial(wanted)
        return self._asked_for()[0]

    def _asked_for(self) -> tuple[Any, Picks]:
        trial = self._study.ask()
        picks = []
        for axis in self._axes:
            last = len(axis.levels) - 1
            order = _order(axis)
            if order:
                picks.append(order[trial.suggest_int(axis.name, 0, last)])
            else:
                picks.append(trial.suggest_categorical(axis.name, list(range(last + 1))))
        return trial, tuple(picks)

    def tell(
        self, figures_of: Callable[[Picks], Row], objectives: Sequence[str], constraints: tuple[Constraint, ...]
    ) -> None:
        """Tell the study what the designs of the last call of `propose`, and those it proposed again, came to."""
        asked, self._asked = self._asked, []
        if self._study is None:
            return
        failed = importlib.import_module("optuna").trial.TrialState.FAIL
        for trial, picks in asked:
            figures = figures_of(picks)
            values = costs([figures], objectives)[0]
            for constraint in constraints:
                trial.set_constraint(constraint.text, min(constraint.violation(figures), _UNREACHABLE))
            if figures["status"] == "ok" and np.isfinite(values).all():
                self._study.tell(trial, values.tolist())
            else:
                self._study.tell(trial, state=failed)


@lru_cache(maxsize=64)
def _order_of(levels: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(np.argsort(np.array(levels, dtype=np.float64), kind="stable").tolist())


def _order(axis: Variable) -> tuple[int, ...]:
    """Return the places of an axis' values from the least to the largest; nothing for words."""
    return _order_of(axis.levels) if axis.is_numeric and axis.name != "hardware" else ()
