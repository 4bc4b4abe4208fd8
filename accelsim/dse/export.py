"""Evaluated points as flat tables: ``results.parquet`` and ``results.csv``, the same columns in the same order."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.dse.engine import EvaluatedPoint
from accelsim.dse.points import Point
from accelsim.dse.rows import DETAIL_COLUMNS, METRICS, POINT_COLUMNS, WORKLOAD_COLUMNS, Row
from accelsim.dse.space import STORAGE, DesignSpace
from accelsim.results.store import csv_name, write_bytes, write_text

RESULTS_NAME = "results"
_COUNTS = frozenset(
    {"latency_cycles", "macs", "effective_macs", "stored_bits", "weight_bytes", "dram_bytes", "num_weights"}
    | {name for name in DETAIL_COLUMNS if name.startswith("cycles_")}
)


def variable_columns(space: DesignSpace) -> list[str]:
    """Return the columns of the variables: ``vary.`` and the name; the storage format has a column of its own."""
    return [f"vary.{variable.name}" for variable in space.variables if variable.name != STORAGE]


def flat_rows(space: DesignSpace, evaluated: Sequence[EvaluatedPoint]) -> list[Row]:
    """Return one flat row a point, in order; keys stand in the order of the columns, wherever the row came from."""
    rows = []
    columns = all_columns(space)
    for entry in evaluated:
        point = entry.point
        row: Row = {
            "point": point.job.key[:16] if point.job is not None else "",
            "hardware": point.hardware,
            "workload": point.workload,
            "ticket": _ticket(point),
            "storage": point.storage,
        }
        for variable, value in zip(space.variables, point.choice, strict=True):
            if variable.name != STORAGE:
                row[f"vary.{variable.name}"] = value if isinstance(value, (bool, int, float, str)) else _text(value)
        merged = {**entry.row, **row}
        rows.append({name: merged[name] for name in columns if name in merged})
    return rows


def _ticket(point: Point) -> str:
    spec = point.job.workload if point.job is not None else None
    return spec.label if spec is not None and spec.kind == "ticket" and not spec.is_synthetic else ""


def all_columns(space: DesignSpace) -> list[str]:
    """Return all columns in order."""
    return [*POINT_COLUMNS, *variable_columns(space), *WORKLOAD_COLUMNS, *METRICS, *DETAIL_COLUMNS]


def table(space: DesignSpace, rows: Sequence[Row]) -> pd.DataFrame:
    """Return the table of flat rows; counts are whole numbers that may be missing."""
    columns = all_columns(space)
    frame = pd.DataFrame([{name: row.get(name) for name in columns} for row in rows], columns=columns)
    for name in columns:
        if name in _COUNTS:
            frame[name] = frame[name].astype("Int64")
        elif (
            name in METRICS
            or name in DETAIL_COLUMNS
            or name in ("sparsity", "prune_ratio", "lock_ratio", "freeze_ratio")
        ):
            frame[name] = frame[name].astype("float64")
        elif name.startswith("vary."):
            kinds = {type(value) for value in frame[name] if value is not None}
            if not (kinds <= {int, float} or kinds == {bool}):
                frame[name] = frame[name].map(_text).astype("string")
        else:
            frame[name] = frame[name].astype("string")
    return frame


def write_tables(folder: Path, frame: pd.DataFrame, name: str = RESULTS_NAME) -> None:
    """Write ``name.csv`` and ``name.parquet`` whole, or raise `accelsim.results.model.ResultError`."""
    safe = frame.copy()
    for column in frame.columns[frame.dtypes == "string"]:
        safe[column] = frame[column].map(csv_name, na_action="ignore")
    write_text(folder / f"{name}.csv", safe.to_csv(index=False, lineterminator="\n"))
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    write_bytes(folder / f"{name}.parquet", buffer.getvalue())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(entry)}" for key, entry in value.items()) + "}"
    return str(value)


def default_store(folder: Path) -> Path:
    """Return where a run keeps its results unless told otherwise."""
    return folder / f"results{os.extsep}sqlite"
