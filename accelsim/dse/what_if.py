"""``accelsim run --vary`` and ``--chip``: a few points around one run, by the engine of sweeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelsim.config.explain import show_plain
from accelsim.config.hardware import HardwareConfig
from accelsim.config.overrides import parse_override
from accelsim.config.yaml_reader import parse_value
from accelsim.dse.engine import EvaluatedPoint, evaluate_points
from accelsim.dse.executors import SerialExecutor, open_executor
from accelsim.dse.export import flat_rows
from accelsim.dse.points import Point, PointSource
from accelsim.dse.progress import Progress
from accelsim.dse.rows import Row
from accelsim.dse.space import STORAGE, DesignSpace, Value, in_plain_units, space_from_mapping
from accelsim.dse.store import ResultStore
from accelsim.errors import ConfigError

OPTION = "--vary"
MAX_ROWS = 256
_IN_MEMORY = Path(":memory:")
_FEW_POINTS = 8  # starting worker processes takes longer than these


def what_if_space(
    hardware: Sequence[str],
    workload: str,
    storages: Sequence[str],
    variations: Sequence[str],
    storage_of: tuple[str, ...] = (),
) -> DesignSpace:
    """Return the space of the combinations of ``variations``, texts such as ``dram.data_rate_mtps=3200,6400``.

    ``storages`` are the formats, where no variation states them.

    Raises
    ------
    ConfigError
        A variation is no ``path=value,value``, its path or a value is not one that a sweep knows, one path varies
        twice, or the combinations are more than `MAX_ROWS`.
    """
    vary: dict[str, Value] = {}
    for text in variations:
        path, values = _variation(text)
        if path in vary:
            raise ConfigError(f"{OPTION} {path}: varies twice; give all its values in one {OPTION}, by comma")
        vary[path] = values
    root: dict[str, Any] = {"hardware": list(hardware), "workloads": [workload], "vary": vary}
    if STORAGE not in vary:
        root["storage"] = list(storages)
    try:
        space = space_from_mapping(root, OPTION)
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{OPTION}: vary.", f"{OPTION} ", 1)) from None
    number = len(space.hardware) * space.num_choices
    if number > MAX_ROWS:
        raise ConfigError(f"{OPTION}: {number} rows; at most {MAX_ROWS} make a table; use accelsim sweep for more")
    return replace(space, storage_of=storage_of)


def _variation(text: str) -> tuple[str, list[Value]]:
    path, equals, values = (part.strip() for part in text.partition("="))
    shown = text if text.isprintable() else repr(text)
    if not equals or not path or not values:
        raise ConfigError(f"{OPTION} {shown}: not path=value,value; write e.g. {OPTION} dram.data_rate_mtps=3200,6400")
    found = parse_value(f"[{values}]", f"{OPTION} {shown}")
    if not isinstance(found, list):
        raise ConfigError(f"{OPTION} {shown}: {values} is no list; give values by comma")
    return path, found


def as_written(variations: Sequence[str]) -> dict[str, dict[Value, str]]:
    """Return by column of a table the values of ``variations`` that have units, as they were typed: ``64KiB``."""
    found: dict[str, dict[Value, str]] = {}
    for text in variations:
        path, values = _variation(text)
        plain = in_plain_units(values, path, OPTION)
        column = f"vary.{'='.join(part.strip() for part in path.split(','))}"
        found[column] = {
            number: show_plain(typed) for number, typed in zip(plain, values, strict=True) if number != typed
        }
    return found


def refuse_set_twice(space: DesignSpace, overrides: Sequence[str]) -> None:
    """Raise `ConfigError` if an override states a field that varies: one of both would have no effect."""
    stated = {".".join(map(str, parse_override(text, HardwareConfig).location)): text for text in overrides}
    for variable in space.variables:
        for path in variable.paths:
            if path in stated:
                raise ConfigError(f"{OPTION} {path}: is set by --set {stated[path]} too; keep one of them")


def what_if(space: DesignSpace, source: PointSource, progress: Progress) -> list[Row]:
    """Return a row for each point, in the order of the space; a point that cannot run has its reason in it."""
    return flat_rows(space, evaluated_in_memory(list(source.grid("simulation")), progress))


def evaluated_in_memory(points: Sequence[Point], progress: Progress) -> list[EvaluatedPoint]:
    """Return the points with their rows, in order; nothing is kept."""
    executor = SerialExecutor() if len(points) <= _FEW_POINTS else open_executor(None, None, None)
    try:
        with ResultStore(_IN_MEMORY) as store:
            return evaluate_points(points, "simulation", store, executor, progress)
    finally:
        executor.close()


def what_if_text(space: DesignSpace, rows: Sequence[Row]) -> str:
    """Return the rows as JSON, with the names of what varies."""
    document = {"vary": [variable.name for variable in space.variables], "rows": list(rows)}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
