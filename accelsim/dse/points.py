"""A point of a space: one chip, one workload, one storage format; and its content address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import accelsim
from accelsim.config.dataflow import DATAFLOW_PATH, with_dataflow
from accelsim.config.explain import explain
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.config.ports import without_derived_ports
from accelsim.dse.rows import Fidelity
from accelsim.dse.space import RUN_PARAMETERS, STORAGE, DesignSpace, Value
from accelsim.dse.workloads import (
    DENSE_STORAGE,
    NOTHING_STATED,
    Workload,
    WorkloadSpec,
    default_storage,
    load_trace,
    read_workloads,
)
from accelsim.errors import AccelSimError
from accelsim.storage.stated import with_layers
from accelsim.trace.options import TraceOptions

_MODEL_PACKAGES = ("config", "cost", "dse", "mapping", "prng", "results", "sim", "storage", "ticket", "trace")


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker evaluates; picklable, and all that its result depends on."""

    key: str
    config: HardwareConfig
    hardware_path: str
    workload: WorkloadSpec
    storage: str
    fidelity: Fidelity


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the order of the space.

    Attributes
    ----------
    hardware, workload
        As given (a network's name for a group of tickets).
    choice
        The variables' values, in the space's order.
    job
        None where the point is impossible before anything is evaluated.
    reason
        Why it is impossible.
    """

    hardware: str
    workload: str
    storage: str
    choice: tuple[Value, ...]
    job: Job | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PointSource:
    """Turns choices into points: the chips' descriptions and the workloads, read once."""

    space: DesignSpace
    bases: tuple[dict[str, Any], ...]
    workloads: tuple[Workload, ...]

    def grid(self, fidelity: Fidelity) -> Iterator[Point]:
        """Yield all points in order: chips outermost, then workloads, then the variables."""
        for hardware in range(len(self.bases)):
            for workload in range(len(self.workloads)):
                for choice in self.space.choices():
                    yield self.point(hardware, workload, choice, fidelity)

    def point(self, hardware: int, workload: int, choice: tuple[Value, ...], fidelity: Fidelity) -> Point:
        """Return the point of a chip, a workload (by position) and the variables' values."""
        wanted: dict[str, Any] = dict(self.space.run)
        storage = self.space.storage
        root = dict(self.bases[hardware])
        path, label = self.space.hardware[hardware], self.workloads[workload].label
        reason = ""
        for variable, value in zip(self.space.variables, choice, strict=True):
            if variable.name == STORAGE:
                storage = str(value)
            elif not variable.paths:
                wanted[variable.name] = value
            for place in variable.paths:
                reason = reason or _set(root, place, value)
        paths = {place for variable in self.space.variables for place in variable.paths}
        if DATAFLOW_PATH in paths and not reason:
            stated = {place.removeprefix("pe_array.").split(".")[0] for place in paths if place.startswith("pe_array.")}
            root["pe_array"] = with_dataflow(root["pe_array"], self.bases[hardware]["pe_array"]["dataflow"], stated)
        try:
            spec = self.workloads[workload].choose(wanted)
        except AccelSimError as error:
            return Point(path, label, storage or "", choice, None, str(error))
        storage = with_layers(storage or default_storage(spec), self.space.storage_of)
        try:
            config = HardwareConfig.model_validate(root)
        except ValidationError as error:
            reason = reason or explain(error.errors()[0], HardwareConfig)
        if reason:
            return Point(path, label, storage, choice, None, reason)
        key = address(config, spec, storage, fidelity)
        return Point(path, label, storage, choice, Job(key, config, path, spec, storage, fidelity))


def open_source(
    space: DesignSpace, overrides: Sequence[str] = (), options: TraceOptions = NOTHING_STATED
) -> PointSource:
    """Read the chips and workloads of a space.

    ``overrides`` are texts ``path=value`` that change every chip, ``options`` what is stated of every workload.

    Raises
    ------
    AccelSimError
        What is wrong with a file.
    """
    bases = tuple(without_derived_ports(load_hardware(path, overrides).config) for path in space.hardware)
    workloads = read_workloads(space.workloads, space.varies_ticket, options)
    if space.storage_of:
        _check_layers(space, workloads)
    return PointSource(space, bases, workloads)


def _check_layers(space: DesignSpace, workloads: Sequence[Workload]) -> None:
    """Raise `MappingError` where ``storage_of`` names no layer and no kind of any workload of the space.

    What varies changes sizes and never names: the first values of what is run stand for all. A workload that cannot be
    read with these is the fault of its points, which say so.
    """
    varied = {variable.name: variable.levels[0] for variable in space.variables if variable.name in RUN_PARAMETERS}
    of_run = dict(space.run) | varied
    try:
        traces = [load_trace(workload.choose(of_run)) for workload in workloads]
    except AccelSimError:
        return
    with_layers(DENSE_STORAGE, space.storage_of, [layer for trace in traces for layer in trace.layers])


def _set(root: dict[str, Any], place: str, value: Value) -> str:
    """Set a field of a dumped description; return what is wrong, or an empty text.

    Sections on the way are copied, since the rest is shared with the description the point starts from.
    """
    *sections, last = place.split(".")
    inner = root
    for name in sections:
        found = inner.get(name)
        if not isinstance(found, dict):
            return f"{place}: the chip has no {name}; give it one in the hardware description"
        inner[name] = inner = dict(found)
    inner[last] = value
    return ""


def address(config: HardwareConfig, workload: WorkloadSpec, storage: str, fidelity: Fidelity) -> str:
    """Return the content address of a point: chip, workload, storage format, fidelity and version of the model."""
    parts = (
        config.model_dump_json(exclude={"name"}),
        _workload_text(workload),
        storage,
        fidelity,
        accelsim.__version__,
        model_digest(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _workload_text(workload: WorkloadSpec) -> str:
    return json.dumps(workload.identity(), sort_keys=True, separators=(",", ":"), default=str)


@lru_cache(maxsize=1)
def model_digest() -> str:
    """Return a digest of the source and tables of the model: results of another model are never mixed in."""
    root = Path(accelsim.__file__).parent
    digest = hashlib.sha256()
    files = [root / name for name in ("groups.py", "pipeline.py", "repeated.py", "rivals.py")]
    for package in _MODEL_PACKAGES:
        files += sorted(path for path in (root / package).rglob("*") if path.suffix in (".py", ".yaml"))
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
