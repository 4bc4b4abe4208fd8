"""``accelsim sweep``: every point of a grid, once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

from accelsim.dse.constraints import check_metric
from accelsim.dse.engine import evaluate_points
from accelsim.dse.executors import Executor, open_executor
from accelsim.dse.export import default_store, flat_rows, table, write_tables
from accelsim.dse.points import PointSource, open_source
from accelsim.dse.progress import Progress
from accelsim.dse.rows import Fidelity, Row
from accelsim.dse.space import BATCH, DesignSpace
from accelsim.dse.store import ResultStore, StoreError, removed_store
from accelsim.dse.summary import Summary, summarise
from accelsim.dse.summary_text import counted, summary_text
from accelsim.errors import ConfigError, Interrupted
from accelsim.files import removed_if_refused
from accelsim.results.store import check_folder_place, prepare_folder, write_text

SUMMARY_NAME = "summary.json"
MAX_POINTS = 250_000
_POINTS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run evaluates, keeps and shows.

    Attributes
    ----------
    folder
        Gets the tables, the summary and, unless ``store`` says otherwise, the store.
    store
        SQLite file; several runs may share it.
    num_workers, scheduler, slurm_jobs
        Local processes (None: one a core), address of a Dask scheduler, or number of Slurm jobs; at most one of them.
    progress
        Stream for progress, or None.
    """

    folder: str | Path
    store: str | Path | None = None
    num_workers: int | None = None
    scheduler: str | None = None
    slurm_jobs: int | None = None
    progress: IO[str] | None = None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The rows (one a point, in grid order), also as a table, and what follows from them."""

    rows: tuple[Row, ...]
    table: pd.DataFrame
    summary: Summary

    def __repr__(self) -> str:
        return f"<sweep of {counted(self.summary)}>"

    def _repr_html_(self) -> str:
        """Return the table, as a notebook shows it."""
        return str(self.table.to_html(max_rows=20, max_cols=20))


@contextlib.contextmanager
def opened(places: Places) -> Iterator[tuple[Path, ResultStore, Executor]]:
    """Open folder, store and executor of a run, and close them again; a run that is refused leaves neither."""
    wanted = check_folder_place(places.folder)
    place = default_store(wanted) if places.store is None else Path(places.store)
    if places.store is None and place.is_symlink():  # --store may name a link; in a shared folder it may be planted
        raise StoreError(f"{place}: is a link, and is not written through unasked; remove it, or name it with --store")
    executor = open_executor(places.num_workers, places.scheduler, places.slurm_jobs)
    try:
        with removed_if_refused(wanted, ConfigError, StoreError), removed_store(place, ConfigError):
            folder = prepare_folder(wanted)
            with ResultStore(place) as store, _telling_what_is_kept(store):
                yield folder, store, executor
    finally:
        executor.close()


@contextlib.contextmanager
def _telling_what_is_kept(store: ResultStore) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = store.count()
        what = {0: "no point was done", 1: f"1 point is kept in {store.path}"}
        words = what.get(kept, f"{kept} points are kept in {store.path}")
        raise Interrupted(words, "goes on from there" if kept else "begins again") from None


def objectives_of(space: DesignSpace, stated: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the metrics to optimise, each once: those stated, those of the space, or time, energy and area.

    Where the batch varies, time and energy are those of an input: a run of fewer inputs is not a better one.

    Raises
    ------
    ConfigError
        A stated name is no metric.
    """
    each = "_per_input" if any(variable.name == BATCH for variable in space.variables) else ""
    names = stated or space.objectives or (f"latency_s{each}", f"energy_j{each}", "area_mm2")
    return tuple(dict.fromkeys(check_metric(name, "objectives") for name in names))


def sweep(
    space: DesignSpace,
    places: Places,
    fidelity: Fidelity = "simulation",
    objectives: Sequence[str] = (),
    source: PointSource | None = None,
) -> SweepResult:
    """Evaluate every point of the grid, and write the tables and the summary; ``source`` has read the space already.

    Running again resumes: what the store has is not evaluated again. The files do not depend on the number of workers.

    Raises
    ------
    AccelSimError
        Space, folder, store or workers are not usable. A point that fails is a row with its reason instead.
    """
    wanted = objectives_of(space, objectives)
    source = source or open_source(space)
    total = len(source.bases) * len(source.workloads) * space.num_choices
    if total > MAX_POINTS:
        raise ConfigError(
            f"{space.path}: vary: {total} points; at most {MAX_POINTS} are swept; give fewer values, or use explore"
        )
    with opened(places) as (folder, store, executor):
        progress = Progress(places.progress, wanted, total, space.constraints)
        grid = source.grid(fidelity)
        rows: list[Row] = []
        while points := list(itertools.islice(grid, _POINTS_AT_ONCE)):
            rows += flat_rows(space, evaluate_points(points, fidelity, store, executor, progress))
        progress.end()
        frame = table(space, rows)
        summary = summarise(space, rows, wanted, space.constraints)
        write_tables(folder, frame)
        write_text(folder / SUMMARY_NAME, summary_text(summary))
    return SweepResult(tuple(rows), frame, summary)
