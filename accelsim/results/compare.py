"""What is said of several runs: weight traffic, ratios, and the table with a row per run."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from accelsim.results.model import CyclesByCause, Record, ResultModel, RunResult, Totals
from accelsim.results.store import csv_row

WEIGHT_CLASSES = ("mask", "seed", "scale", "weight", "index")
GENERATION_CAUSES = ("wait_generator", "wait_decoder")
TICKET_FORMATS = ("slt", "slt-raw", "slt-rle", "slt-golomb", "slt-entropy")
"""Formats that hold the very ticket whose accuracy was measured; all others hold another network of its shape."""
DENSE_RIVALS = ("dense-int8", "dense-fp32")
"""What is compared with first, and without a ticket at all."""
FREEZING_FORMATS = (*TICKET_FORMATS, "slt-pruned", "folded")
"""Formats whose size falls with the freezing ratio, as the ticket's own does."""


def weight_bytes(record: Record) -> int:
    """Return the bytes of weight data that crossed the memory interface: mask, seed, scale, weight and index."""
    return sum(int(getattr(record.dram_bytes, name)) for name in WEIGHT_CLASSES)


def traffic_bytes(record: Record) -> int:
    """Return all bytes that crossed the memory interface, read and written."""
    return record.dram_read_bytes + record.dram_write_bytes


def stored_bits(record: Record) -> int:
    """Return the bits stored for the weights, all classes."""
    return sum(int(getattr(record.stored_bits, name)) for name in WEIGHT_CLASSES)


def batches(results: Sequence[RunResult]) -> list[int]:
    """Return the batches of runs, each once, in rising order; none where all runs take one input at a time."""
    found = sorted({run.workload.batch for run in results})
    return [] if found == [1] else found


def own_accuracy(run: RunResult) -> float | None:
    """Return the accuracy of what ``run`` stores; None where it is another network's, or was not measured."""
    is_own = run.workload.provenance == "dense" or run.storage in TICKET_FORMATS
    return run.workload.accuracy if is_own else None


def generation_wait_fraction(record: Record) -> float:
    """Return the fraction of the latency spent waiting for the weight generator or the mask decoder."""
    waited = sum(int(getattr(record.cycles_by_cause, cause)) for cause in GENERATION_CAUSES)
    return waited / record.latency_cycles if record.latency_cycles else 0.0


def same_network(one: RunResult, other: RunResult) -> bool:
    """Return whether two runs are of one network; a result of schema version 1 does not know the parameters."""
    works = [run.workload.model_copy(update={"num_parameters": None}) for run in (one, other)]
    return works[0] == works[1]


def chip_labels(results: Sequence[RunResult]) -> dict[str, str]:
    """Return by digest what to call each chip: its name, with the digest's beginning where two have the same."""
    names = {run.hardware.sha256: run.hardware.name for run in results}
    taken = list(names.values())
    return {digest: name if taken.count(name) == 1 else f"{name} {digest[:6]}" for digest, name in names.items()}


def runs_text(results: Sequence[RunResult], synthetic: Sequence[bool | None]) -> str:
    """Return CSV with one row per run: chip, network, storage format and the totals, columns named by their JSON path.

    ``hardware.name ... workload.name ... storage``, then every figure of the totals except action counts, then
    ``weight_bytes``: `weight_bytes` of the run, and ``synthetic``: its entry of ``synthetic``, empty where that is not
    known. ``workload.accuracy`` is empty where the format does not hold the ticket (`own_accuracy`).
    """
    units = sorted({"weight_generator", "mask_decoder"}.union(*(run.totals.area_mm2_by_unit for run in results)))
    columns = [
        "hardware.name",
        "hardware.path",
        "hardware.sha256",
        *(f"workload.{name}" for name in type(results[0].workload).model_fields if name != "sha256"),
        "storage",
        *(f"totals.{name}" for name in _total_columns()),
        *(f"totals.area_mm2_by_unit.{unit}" for unit in units),
        "weight_bytes",
        "synthetic",
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for result, is_synthetic in zip(results, synthetic, strict=True):
        row = csv_row(result.model_dump(), columns[:-2])
        accuracy = own_accuracy(result)
        row["workload.accuracy"] = "" if accuracy is None else str(accuracy)
        row["workload.regenerable"] = str(result.workload.regenerable).lower()
        row["weight_bytes"] = str(weight_bytes(result.totals))
        row["synthetic"] = "" if is_synthetic is None else str(is_synthetic).lower()
        writer.writerow(row)
    return stream.getvalue()


def _total_columns() -> list[str]:
    columns: list[str] = []
    for name, field in Totals.model_fields.items():
        kind = field.annotation
        if name in {"actions", "area_mm2_by_unit", "dram_energy_j_by_state"}:
            continue
        if isinstance(kind, type) and issubclass(kind, ResultModel):
            columns.extend(f"{name}.{key}" for key in kind.model_fields)
        else:
            columns.append(name)
    return columns


def bottleneck(record: Record) -> str:
    """Return the cause of most of a record's cycles, be it computing."""
    return max(CyclesByCause.model_fields, key=lambda name: int(getattr(record.cycles_by_cause, name)))


def stalled_share(record: Record) -> float:
    """Return the fraction of a record's cycles in which the array does not compute."""
    return 1 - record.cycles_by_cause.compute / record.latency_cycles if record.latency_cycles else 0.0
