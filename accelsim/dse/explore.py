"""``accelsim explore``: search a space, simulate what matters, and say how far ranking and simulation agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from accelsim.dse.constraints import Constraint
from accelsim.dse.engine import EvaluatedPoint
from accelsim.dse.export import flat_rows, table, write_tables
from accelsim.dse.points import open_source
from accelsim.dse.progress import Progress
from accelsim.dse.proposals import Algorithm
from accelsim.dse.rows import Row
from accelsim.dse.search import Bench, Confirmation, Design, Ranking, confirm, search
from accelsim.dse.space import DesignSpace
from accelsim.dse.summary import Summary, count_reasons, summarise
from accelsim.dse.summary_text import counted, summary_text
from accelsim.dse.sweep import SUMMARY_NAME, Places, objectives_of, opened
from accelsim.errors import ConfigError
from accelsim.results.store import write_text

RANKED_NAME = "ranked"


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How to search.

    Attributes
    ----------
    objectives
        Metrics; accuracy, tops, tops_per_w, frames_per_s, tokens_per_s and pe_utilization are maximised, the rest
        minimised.
    num_trials
        Designs to rank, each once; a space that has no more is ranked whole.
    num_sample
        Designs besides the front that are simulated, at random.
    seed
        Of sampler and sample.
    """

    objectives: tuple[str, ...] = ()
    num_trials: int = 1000
    algorithm: Algorithm = "nsga2"
    constraints: tuple[Constraint, ...] = ()
    num_sample: int = 16
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ExploreResult:
    """The simulated designs as a table, the ranked ones as another, the summary of the simulated ones, the agreement.

    ``agreement`` are the keys ``search`` and ``agreement`` of ``summary.json``. With several workloads the summary is
    over the figures of whole designs, `accelsim.dse.search.combined`.
    """

    table: pd.DataFrame
    ranked: pd.DataFrame
    summary: Summary
    confirmation: Confirmation
    agreement: dict[str, Any]

    def __repr__(self) -> str:
        return f"<search of {len(self.ranked)} ranked points, {counted(self.summary)} simulated>"

    def _repr_html_(self) -> str:
        """Return the table of the simulated designs, as a notebook shows it."""
        return str(self.table.to_html(max_rows=20, max_cols=20))


def explore(space: DesignSpace, places: Places, plan: SearchPlan) -> ExploreResult:
    """Search the space with the closed form, and simulate its Pareto front and a random sample.

    ``results.parquet`` and ``.csv`` hold the simulated points, ``ranked.*`` all that were tried; ``summary.json`` the
    front of the simulated ones, and the rank correlation of both fidelities.

    Raises
    ------
    AccelSimError
        Space, folder, store or workers are not usable, or no design can be evaluated.
    """
    wanted = objectives_of(space, plan.objectives)
    constraints = (*space.constraints, *plan.constraints)
    source = open_source(space)
    with opened(places) as (folder, store, executor):
        number = len(source.workloads)
        size = len(source.bases) * space.num_choices
        expected = min(plan.num_trials, size) * number
        progress = Progress(places.progress, wanted, expected, constraints, adds_up=True)
        bench = Bench(source, store, executor, progress)
        ranking = search(bench, wanted, constraints, plan.num_trials, plan.algorithm, plan.seed)
        ranked = ranking.designs
        bench.progress.end()
        if not any(design.is_ok for design in ranked):
            raise ConfigError(f"{space.path}: no design can be evaluated; the first fails: {_reason(ranked)}")
        bench = replace(bench, progress=Progress(places.progress, wanted, 0, constraints, adds_up=True))
        confirmation = confirm(bench, ranked, wanted, constraints, plan.num_sample, plan.seed)
        bench.progress.end()
        frame = table(space, flat_rows(space, _points(confirmation.designs)))
        ranked_frame = table(space, flat_rows(space, _points(ranked)))
        rows = _design_rows(space, confirmation.designs)
        summary = summarise(space, rows, wanted, constraints, _design_rows(space, ranking.uniform))
        write_tables(folder, frame)
        write_tables(folder, ranked_frame, RANKED_NAME)
        agreement = agreement_document(confirmation, ranking, plan)
        write_text(folder / SUMMARY_NAME, summary_text(summary, agreement))
    return ExploreResult(frame, ranked_frame, summary, confirmation, agreement)


def agreement_document(confirmation: Confirmation, ranking: Ranking, plan: SearchPlan) -> dict[str, Any]:
    """Return what the summary says of the search and of the two fidelities."""
    reasons = count_reasons([design.figures for design in ranking.designs])
    return {
        "search": {
            "algorithm": plan.algorithm,
            "trials": plan.num_trials,
            "seed": plan.seed,
            "space": ranking.space_size,
            "ranked": len(ranking.designs),
            "failed": sum(reasons.values()),
            "reasons": reasons,
        },
        "agreement": {
            "simulated_front": confirmation.num_front,
            "simulated_sample": confirmation.num_sample,
            "simulated_partners": confirmation.num_partners,
            "rank_correlation": confirmation.correlations,
            "median_relative_error": confirmation.median_errors,
        },
    }


def _points(designs: Sequence[Design]) -> list[EvaluatedPoint]:
    return [entry for design in designs for entry in design.evaluated]


def _design_rows(space: DesignSpace, designs: Sequence[Design]) -> list[Row]:
    """Return one flat row a design: with one workload its point's, else the figures over all of them."""
    rows = []
    for design in designs:
        first = flat_rows(space, design.evaluated[:1])[0]
        if len(design.evaluated) > 1:
            first |= {**design.figures, "workload": f"{len(design.evaluated)} workloads"}
        rows.append(first)
    return rows


def _reason(designs: Sequence[Design]) -> str:
    return str(designs[0].figures["reason"]) if designs else "no trials"
