"""The JSON schema of a result, and the check that a document satisfies it and its sums."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accelsim.documented import documented
from accelsim.files import write_file
from accelsim.results.convert import current_summary
from accelsim.results.model import (
    OPTIONAL_KEYS,
    SCHEMA_VERSION,
    CyclesByCause,
    DramBytesRecord,
    Record,
    ResultError,
    RunResult,
    Totals,
)

SCHEMA_PATH = Path(__file__).with_name("schema.json")
RELATIVE_TOLERANCE = 1e-9


def result_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of ``summary.json``, made from the result model."""
    schema = documented(RunResult).model_json_schema()
    for name in OPTIONAL_KEYS:  # what is absent is absent, never null
        field = schema["properties"][name]
        mapping = field.pop("anyOf")[0]
        field.pop("default", None)
        schema["properties"][name] = {**mapping, "description": field["description"]}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"accelsim:result:{SCHEMA_VERSION}"}
    return {**head, **schema}


def schema_text() -> str:
    """Return the schema as it is committed."""
    return json.dumps(result_schema(), indent=2) + "\n"


def check_result(text: str, where: str = "result") -> RunResult:
    """Return the result in ``text`` after checking it against the committed schema and all sums of a result.

    Parameters
    ----------
    text
        Content of ``summary.json``, of this or an earlier schema version.
    where
        What to call it in an error: usually the path.

    Raises
    ------
    ResultError
        With the first thing that is wrong.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415  a run never needs it

    text = current_summary(text, where)
    validator = Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    for error in validator.iter_errors(json.loads(text)):
        message = str(error.message)
        short = message if len(message) <= 160 else message[:157] + "..."
        raise ResultError(f"{where}: {error.json_path}: {short}; give a summary.json that accelsim wrote")
    try:
        result = RunResult.model_validate_json(text)
    except ValidationError as fault:
        # The schema takes 1.0 for a whole number, as JSON does; the model does not.
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise ResultError(f"{where}: {place}: {first['msg']}; give a summary.json that accelsim wrote") from None
    for problem in sum_errors(result):
        raise ResultError(f"{where}: {problem}; the file was changed after it was written: run it again")
    return result


def sum_errors(result: RunResult) -> Iterator[str]:
    """Yield every sum of a result that does not hold: layers to totals, causes to latency, classes to bytes."""
    for name, record in [("totals", result.totals), *((f"layers.{layer.name}", layer) for layer in result.layers)]:
        causes = sum(getattr(record.cycles_by_cause, cause) for cause in CyclesByCause.model_fields)
        if causes != record.latency_cycles:
            yield f"{name}.cycles_by_cause: {causes} is not latency_cycles {record.latency_cycles}"
        classes = sum(getattr(record.dram_bytes, key) for key in DramBytesRecord.model_fields)
        if classes != record.dram_read_bytes + record.dram_write_bytes:
            yield f"{name}.dram_bytes: {classes} is not read plus written bytes"
        energy_j = math.fsum(record.energy_j_by_unit.model_dump().values())
        if not math.isclose(energy_j, record.energy_j, rel_tol=RELATIVE_TOLERANCE):
            yield f"{name}.energy_j_by_unit: {energy_j} is not energy_j {record.energy_j}"
        if record.dram_energy_j_by_state is not None:
            energy_j, dram_j = math.fsum(record.dram_energy_j_by_state.values()), record.energy_j_by_unit.dram
            if not math.isclose(energy_j, dram_j, rel_tol=RELATIVE_TOLERANCE):
                yield f"{name}.dram_energy_j_by_state: {energy_j} is not energy_j_by_unit.dram {dram_j}"
    yield from _layer_sum_errors(result)
    for key in ("latency_s", "energy_j"):
        total, share = getattr(result.totals, key), getattr(result.totals, f"{key}_per_input")
        if not math.isclose(share * result.workload.batch, total, rel_tol=RELATIVE_TOLERANCE):
            yield f"totals.{key}_per_input: {share} times workload.batch is not {key} {total}"
    yield from _core_sum_errors(result)
    areas = math.fsum(result.totals.area_mm2_by_unit.values())
    if not math.isclose(areas, result.totals.area_mm2, rel_tol=RELATIVE_TOLERANCE):
        yield f"totals.area_mm2_by_unit: {areas} is not area_mm2 {result.totals.area_mm2}"


def _core_sum_errors(result: RunResult) -> Iterator[str]:
    """Yield where several cores do not add up to the run."""
    if result.cores is None:
        return
    for core in result.cores:
        causes = sum(core.cycles_by_cause.values())
        if causes != result.totals.latency_cycles:
            yield f"cores.{core.core}.cycles_by_cause: {causes} is not totals.latency_cycles"
    moved = result.totals.dram_read_bytes + result.totals.dram_write_bytes
    for name, total in (("macs", result.totals.macs), ("dram_bytes", moved)):
        summed = sum(getattr(core, name) for core in result.cores)
        if summed != total:
            yield f"cores.{name}: {summed} over all cores is not that of totals, {total}"


def _layer_sum_errors(result: RunResult) -> Iterator[str]:
    totals = dict(_numbers(result.totals.model_dump(exclude=_NOT_SUMMED)))
    sums: dict[str, list[float]] = {key: [] for key in totals}
    for layer in result.layers:
        for key, value in _numbers(layer.model_dump(exclude=_NOT_SUMMED | {"name", "kind", "shape"})):
            sums.setdefault(key, []).append(value)
    for key, values in sums.items():
        total = totals.get(key, 0)
        exact = all(isinstance(value, int) for value in values)
        summed = sum(values) if exact else math.fsum(values)
        if not (summed == total if exact else math.isclose(summed, total, rel_tol=RELATIVE_TOLERANCE)):
            yield f"totals.{key}: {total} is not the sum over layers, {summed}"


_NOT_SUMMED = {
    "average_power_w", "pe_utilization", "lower_bound_cycles", "average_bandwidth_gbps", "peak_bandwidth_gbps",
    "bandwidth_share", "port_limit",
} | (set(Totals.model_fields) - set(Record.model_fields))  # fmt: skip


def _numbers(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def main() -> None:
    """Write ``schema.json`` again from the model."""
    write_file(SCHEMA_PATH, schema_text().encode())


if __name__ == "__main__":
    main()
