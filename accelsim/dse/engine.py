"""Evaluate points once: what the store has costs nothing, the rest goes to the executor in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelsim.dse.executors import Executor
from accelsim.dse.points import Job, Point
from accelsim.dse.progress import Progress
from accelsim.dse.rows import Fidelity, Row, failed_row
from accelsim.dse.store import ResultStore

# Points of one batch: few enough that a kill loses little, many enough that handing one out (about a millisecond) is
# below a twentieth of its work (a simulated point takes 20 to 500 ms, a ranked one 1 to 10 ms).
BATCH_POINTS = {"simulation": 4, "closed_form": 64, "priced": 4}


@dataclass(frozen=True, slots=True)
class EvaluatedPoint:
    """A point with what is known of it."""

    point: Point
    row: Row


def evaluate_points(
    points: Sequence[Point], fidelity: Fidelity, store: ResultStore, executor: Executor, progress: Progress
) -> list[EvaluatedPoint]:
    """Return all points with their rows, in the order given.

    The result does not depend on the number of workers, the order in which they finish, or earlier interruptions.
    Points with the same address are evaluated once.
    """
    jobs = {point.job.key: point.job for point in points if point.job is not None}
    known = store.get(list(jobs))
    impossible = [point for point in points if point.job is None]
    progress.begin(len(jobs) + len(impossible), list(known.values()))
    for point in impossible:
        progress.add(failed_row(point.reason, fidelity))
    missing = [job for key, job in jobs.items() if key not in known]
    for results in executor.run(batches(missing, fidelity, executor.num_workers)):
        store.put((result.key, result.row) for result in results if result.is_lasting)
        for result in results:
            known[result.key] = result.row
            progress.add(result.row)
    return [EvaluatedPoint(point, _row(point, known, fidelity)) for point in points]


def batches(jobs: Iterable[Job], fidelity: Fidelity, num_workers: int) -> list[list[Job]]:
    """Cut jobs into batches; jobs of one workload and chip stay together, since workers keep traces and tables."""
    waiting = list(jobs)
    # Four batches a worker where there are few points: the last to end must not keep the others waiting for long.
    size = max(1, min(BATCH_POINTS[fidelity], -(-len(waiting) // (4 * num_workers))))
    return [waiting[start : start + size] for start in range(0, len(waiting), size)]


def _row(point: Point, known: dict[str, Row], fidelity: Fidelity) -> Row:
    return known[point.job.key] if point.job is not None else failed_row(point.reason, fidelity)
