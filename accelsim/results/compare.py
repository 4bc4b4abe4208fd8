"""What is said of several runs: weight traffic, ratios, and the table with a row per run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from accelsim.results.model import Record, ResultModel, RunResult, Totals
from accelsim.results.store import csv_row

WEIGHT_CLASSES = ("mask", "seed", "scale", "weight", "index")
GENERATION_CAUSES = ("wait_generator", "wait_decoder")


def weight_bytes(record: Record) -> int:
    """Return the bytes of weight data that crossed the memory interface: mask, seed, scale, weight and index."""
    return sum(int(getattr(record.dram_bytes, name)) for name in WEIGHT_CLASSES)


def traffic_bytes(record: Record) -> int:
    """Return all bytes that crossed the memory interface, read and written."""
    return record.dram_read_bytes + record.dram_write_bytes


def stored_bits(record: Record) -> int:
    """Return the bits stored for the weights, all classes."""
    return sum(int(getattr(record.stored_bits, name)) for name in WEIGHT_CLASSES)


def generation_wait_fraction(record: Record) -> float:
    """Return the fraction of the latency spent waiting for the weight generator or the mask decoder."""
    waited = sum(int(getattr(record.cycles_by_cause, cause)) for cause in GENERATION_CAUSES)
    return waited / record.latency_cycles if record.latency_cycles else 0.0


def runs_text(results: Sequence[RunResult]) -> str:
    """Return CSV with one row per run: chip, network, storage format and the totals, columns named by their JSON path.

    ``hardware.name ... workload.name ... storage``, then every figure of the totals except action counts and areas
    by unit, then ``weight_bytes``: `weight_bytes` of the run.
    """
    columns = [
        "hardware.name",
        "hardware.path",
        *(f"workload.{name}" for name in type(results[0].workload).model_fields if name != "sha256"),
        "storage",
        *(f"totals.{name}" for name in _total_columns()),
        "weight_bytes",
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = csv_row(result.model_dump(), columns[:-1])
        row["workload.accuracy"] = "" if result.workload.accuracy is None else str(result.workload.accuracy)
        row["workload.regenerable"] = str(result.workload.regenerable).lower()
        row["weight_bytes"] = str(weight_bytes(result.totals))
        writer.writerow(row)
    return stream.getvalue()


def _total_columns() -> list[str]:
    columns: list[str] = []
    for name, field in Totals.model_fields.items():
        kind = field.annotation
        if name in {"actions", "area_mm2_by_unit"}:
            continue
        if isinstance(kind, type) and issubclass(kind, ResultModel):
            columns.extend(f"{name}.{key}" for key in kind.model_fields)
        else:
            columns.append(name)
    return columns
