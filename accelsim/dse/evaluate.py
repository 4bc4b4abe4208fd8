"""Evaluate points: by simulation, or by the closed form that only ranks. A failing point is a row with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from accelsim.config.loader import LoadedHardware
from accelsim.dse.closed_form import estimate
from accelsim.dse.points import Job, address
from accelsim.dse.priced import priced_row
from accelsim.dse.rows import WORKLOAD_COLUMNS, Row, failed_row, result_row
from accelsim.dse.workloads import PlaceError, holds_ticket, trace_for
from accelsim.errors import AccelSimError
from accelsim.pipeline import run
from accelsim.results.build import workload_record
from accelsim.storage.default import default_format
from accelsim.trace.model import LayerTrace


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The row of a job; ``is_lasting`` where it says something of the point, not of the place where it was tried."""

    key: str
    row: Row
    is_lasting: bool = True


def evaluate_batch(jobs: Sequence[Job]) -> list[Evaluated]:
    """Return what each job gives, in order; this is what workers run."""
    return [_evaluated(job) for job in jobs]


def _evaluated(job: Job) -> Evaluated:
    try:
        if address(job.config, job.workload, job.storage, job.fidelity) != job.key:
            raise PlaceError("a worker runs another accelsim than this command; install the same on both")
        return Evaluated(job.key, evaluate_job(job))
    except PlaceError as error:
        return Evaluated(job.key, failed_row(str(error), job.fidelity), is_lasting=False)
    except MemoryError:
        reason = "the memory of this machine is not enough; use fewer --workers, or a larger one"
        return Evaluated(job.key, failed_row(reason, job.fidelity), is_lasting=False)


def evaluate_job(job: Job) -> Row:
    """Return the row of one point; every mistake that a user can cause is its reason, and so is a fault of the model.

    A fault is caught because one odd point must not end a run of many thousands; its reason begins with ``fault``.

    Raises
    ------
    PlaceError, MemoryError
        It could be evaluated elsewhere.
    """
    try:
        generator = job.config.weight_generator
        trace = trace_for(job.workload, generator.kind if generator is not None else None)
        if job.fidelity == "closed_form":
            row = _estimated(job, trace)
        elif job.fidelity == "priced":
            row = priced_row(LoadedHardware(job.config, job.hardware_path, ""), trace, job.storage)
        else:
            row = result_row(run(LoadedHardware(job.config, job.hardware_path, ""), trace, job.storage))
        if holds_ticket(trace) and not job.storage.startswith("slt") and job.storage != default_format(trace):
            row["accuracy"] = None  # measured on the ticket; nobody trained or searched its rival
        return row
    except PlaceError:
        raise
    except AccelSimError as error:
        return failed_row(str(error), job.fidelity)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return failed_row(f"fault: {type(error).__name__}: {error}", job.fidelity)


def _estimated(job: Job, trace: LayerTrace) -> Row:
    figures = estimate(job.config, trace, job.storage)
    return {"status": "ok", "reason": "", "fidelity": "closed_form", **_workload_columns(trace), **figures}


@lru_cache(maxsize=64)
def _workload_columns(trace: LayerTrace) -> Row:
    record = workload_record(trace)
    columns = {name: getattr(record, name) for name in WORKLOAD_COLUMNS if name != "network"}
    return columns | {"network": record.name, "accuracy": record.accuracy}
