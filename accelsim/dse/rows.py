"""What is known of one evaluated point, flat: the columns of ``results.parquet`` and ``results.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from accelsim.cost.report import ENERGY_UNITS
from accelsim.results.compare import weight_bytes
from accelsim.results.model import RunResult
from accelsim.sim.counters import CAUSES

Fidelity = Literal["simulation", "closed_form", "priced"]
"""``priced`` is a simulation with its energy as sums of products of the cost tables' rows (`accelsim.dse.priced`)."""
Row = dict[str, str | int | float | bool | None]

# Column -> what it holds. The page docs/dse.md shows this table; a test compares the two.
METRICS: Final[dict[str, str]] = {
    "latency_cycles": "cycles of one run",
    "latency_s": "seconds of one run",
    "energy_j": "joules of one run",
    "average_power_w": "energy over latency",
    "area_mm2": "area of all units on the chip",
    "edp_js": "energy times latency",
    "tops": "dense operations a second, in 10^12",
    "tops_per_w": "the same per watt",
    "frames_per_s": "inputs a second",
    "tokens_per_s": "tokens a second, of a language model",
    "energy_j_per_token": "joules over its tokens",
    "time_to_first_token_s": "seconds until its first token is there",
    "latency_s_per_input": "seconds of one run over its batch",
    "energy_j_per_input": "joules of one run over its batch",
    "pe_utilization": "fraction of PE cycles with a multiply-accumulate",
    "macs": "dense multiply-accumulates",
    "effective_macs": "multiply-accumulates with a kept weight",
    "stored_bits": "bits stored for the weights, all classes",
    "weight_bytes": "DRAM bytes of weight data: mask, seed, scale, weight, index",
    "dram_bytes": "all DRAM bytes, read and written",
    "accuracy": "fraction right; of a real ticket in a format that stores it, else empty",
}
WORKLOAD_COLUMNS: Final[dict[str, str]] = {
    "network": "name of the network",
    "provenance": "searched, imported, synthetic or dense",
    "batch": "inputs of one run",
    "phase": "forward; of a language model prefill, decode or generate",
    "context_length": "tokens that it attends to at its end",
    "num_weights": "weights of the network",
    "sparsity": "fraction of zeros in the mask",
    "prune_ratio": "fraction of all weights that freezing pruned",
    "lock_ratio": "fraction of all weights that freezing locked",
    "freeze_ratio": "fraction of all weights that were frozen",
}
POINT_COLUMNS: Final[dict[str, str]] = {
    "point": "first 16 characters of the point's content address",
    "fidelity": "simulation, or closed_form",
    "status": "ok, or failed",
    "reason": "why it failed, in one line; empty otherwise",
    "hardware": "hardware description, as given",
    "workload": "workload, as given; the network's name where tickets are chosen by their ratios",
    "ticket": "file of the real ticket; empty where there is none",
    "storage": "storage format",
}
DETAIL_COLUMNS: Final[tuple[str, ...]] = (
    *(f"cycles_{cause}" for cause in CAUSES),
    *(f"energy_j_{unit}" for unit in ENERGY_UNITS),
)
MAXIMISED: Final[frozenset[str]] = frozenset(
    {"accuracy", "tops", "tops_per_w", "frames_per_s", "tokens_per_s", "pe_utilization"}
)


def result_row(result: RunResult) -> Row:
    """Return the figures of a simulated point."""
    totals, workload = result.totals, result.workload
    row: Row = {"status": "ok", "reason": "", "fidelity": "simulation"}
    row.update({name: getattr(workload, name) for name in WORKLOAD_COLUMNS if name != "network"})
    row["network"], row["accuracy"] = workload.name, workload.accuracy
    derived = {
        "stored_bits": sum(totals.stored_bits.model_dump().values()),
        "weight_bytes": weight_bytes(totals),
        "dram_bytes": totals.dram_read_bytes + totals.dram_write_bytes,
    }
    for name in METRICS:
        if name != "accuracy":
            row[name] = derived[name] if name in derived else getattr(totals, name)
    for cause in CAUSES:
        row[f"cycles_{cause}"] = getattr(totals.cycles_by_cause, cause)
    for unit in ENERGY_UNITS:
        row[f"energy_j_{unit}"] = getattr(totals.energy_j_by_unit, unit)
    return row


def failed_row(reason: str, fidelity: Fidelity) -> Row:
    """Return the row of a point that cannot be evaluated."""
    return {"status": "failed", "reason": " ".join(reason.split()), "fidelity": fidelity}


def figure(row: Mapping[str, object], metric: str) -> float | None:
    """Return a figure of a row as a float; None where it has none."""
    value = row.get(metric)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def cost_of(row: Mapping[str, object], metric: str) -> float | None:
    """Return a figure turned so that less is better."""
    value = figure(row, metric)
    return -value if value is not None and metric in MAXIMISED else value
