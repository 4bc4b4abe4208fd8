"""Saved files of earlier schema versions, turned into the present one when they are read; the only place that does so.

What a version did not know becomes null, an empty map, or a count of 0 where nothing of the kind could occur. Figures
stay as they were written. A file that was converted still goes through every check of the present version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from accelsim.results.model import SCHEMA_VERSION, ResultError

READ_VERSIONS = tuple(range(1, SCHEMA_VERSION + 1))
_CAUSES_OF_2 = {"weight_load": 0, "buffer_ports": 0, "call_overhead": 0}
_CLASSES_OF_2 = {"kv_read": 0, "kv_write": 0}
_RECORD_OF_2: dict[str, Any] = {
    "lower_bound_cycles": None, "average_bandwidth_gbps": None, "peak_bandwidth_gbps": None, "bandwidth_share": None,
    "dram_energy_j_by_state": None, "port_limit": None,
}  # fmt: skip
_TOKENS_OF_2 = {"tokens_per_s": None, "energy_j_per_token": None, "time_to_first_token_s": None}

Document = dict[str, Any]


def current_summary(text: str, where: str) -> str:
    """Return the content of a ``summary.json`` in the present schema version.

    Parameters
    ----------
    text
        As it was read: of a version in `READ_VERSIONS`, or broken in a way that the checks that follow find.
    where
        What to call it in an error: usually the path.

    Raises
    ------
    ResultError
        Not JSON, a version that is not known, or a field that its version does not have.
    """
    return _current(text, where, "summary.json", _summary_from_1)


def current_counters(text: str, where: str) -> str:
    """Return the content of a ``counters.json`` in the present schema version; as `current_summary`."""
    return _current(text, where, "counters.json", _counters_from_1)


def _current(text: str, where: str, name: str, from_1: Callable[[Document], Document]) -> str:
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or "schema_version" not in document:
            return text  # the checks of the present version name what is missing
        version = document["schema_version"]
        _check_version(version, where, name)
        return text if version == SCHEMA_VERSION else json.dumps({**from_1(document), "schema_version": SCHEMA_VERSION})
    except _UnknownFieldError as fault:
        raise ResultError(f"{where}: {fault}; give a {name} that accelsim wrote") from None
    except (ValueError, RecursionError) as fault:
        raise ResultError(f"{where}: not JSON ({fault}); give a {name} that accelsim wrote") from None


def _check_version(version: object, where: str, name: str) -> None:
    known = " and ".join(map(str, READ_VERSIONS))
    is_number = isinstance(version, int) and not isinstance(version, bool)
    if not is_number or version not in READ_VERSIONS:
        shown = f"{json.dumps(version):.40}"
        is_newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "update accelsim, or run it again with this one" if is_newer else f"give a {name} that accelsim wrote"
        raise ResultError(f"{where}: schema_version: {shown} is not known, this accelsim reads {known}; {remedy}")


class _UnknownFieldError(Exception):
    """A file has a field that came only with a later version than it says."""


def _with(part: Any, place: str, **fields: Any) -> Any:
    """Return a copy of ``part`` with further fields; what is no object stays, for the checks that follow."""
    if not isinstance(part, dict):
        return part
    for name in fields:
        if name in part:
            raise _UnknownFieldError(f"{place}.{name}: is not a field of schema version 1")
    return {**part, **fields}


def _with_parts(part: Any, place: str, **maps: dict[str, Any]) -> Any:
    """Return a copy of ``part`` in which each of some objects has further fields."""
    if not isinstance(part, dict):
        return part
    return {**part, **{name: _with(part[name], f"{place}.{name}", **maps[name]) for name in maps if name in part}}


def _summary_from_1(document: Document) -> Document:
    totals = document.get("totals")
    batch = _batch(totals)
    document = _with(document, "$", limits={}, skipped={})
    document["workload"] = _workload(document.get("workload"), batch)
    document["totals"] = _totals(totals, "totals", batch)
    layers, rivals = document.get("layers"), document.get("comparison")
    if isinstance(layers, list):
        document["layers"] = [_record(layer, f"layers.{number}") for number, layer in enumerate(layers)]
    if isinstance(rivals, dict):
        document["comparison"] = {name: _totals(each, f"comparison.{name}", batch) for name, each in rivals.items()}
    return document


def _counters_from_1(document: Document) -> Document:
    document = _with(document, "$", skipped={})
    document["workload"] = _workload(document.get("workload"), document.pop("num_frames", None))
    document["counters"] = _counters(document.get("counters"), "counters")
    rivals = document.get("comparison")
    if isinstance(rivals, dict):
        document["comparison"] = {name: _counters(each, f"comparison.{name}") for name, each in rivals.items()}
    return document


def _workload(workload: Any, batch: Any) -> Any:
    return _with(workload, "workload", batch=batch, phase="forward", num_parameters=None, context_length=None)


def _record(record: Any, place: str) -> Any:
    record = _with_parts(
        record, place, dram_bytes=_CLASSES_OF_2, cycles_by_cause=_CAUSES_OF_2, energy_j_by_unit={"clock": 0.0}
    )
    return _with(record, place, **_RECORD_OF_2)


def _totals(totals: Any, place: str, batch: int) -> Any:
    per_input = {f"{name}_per_input": _number(totals, name) / batch for name in ("latency_s", "energy_j")}
    return _with(_record(totals, place), place, **per_input, **_TOKENS_OF_2)


def _counters(counters: Any, place: str) -> Any:
    if not isinstance(counters, dict) or not isinstance(counters.get("layers"), list):
        return counters
    layers = [
        _with_parts(layer, f"{place}.layers.{number}", dram_bytes=_CLASSES_OF_2, cycles_by_cause=_CAUSES_OF_2)
        for number, layer in enumerate(counters["layers"])
    ]
    return {**counters, "layers": layers}


def _batch(totals: Any) -> int:
    """Return the inputs of a run by its rate and its time, the only places where version 1 has them."""
    product = _number(totals, "frames_per_s") * _number(totals, "latency_s")
    return round(product) if 1 <= product < 2**53 else 1


def _number(part: Any, name: str) -> float:
    value = part.get(name) if isinstance(part, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        return float(value) if math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0
