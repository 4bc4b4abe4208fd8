"""Results on disk: ``summary.json``, ``layers.csv`` and ``counters.json`` of one run in one folder.

A file appears whole or not at all: it is written under another name and then renamed. Equal results give equal bytes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.report import CostReport
from accelsim.files import (
    SPECIAL,
    is_special,
    nearest_folder,
    probe_folder,
    reason_of,
    removed_if_refused,
    write_file,
    write_files,
)
from accelsim.names import suggest_file
from accelsim.results.build import Hardware, assemble_result
from accelsim.results.convert import current_counters
from accelsim.results.model import (
    OPTIONAL_KEYS,
    SCHEMA_VERSION,
    Record,
    ResultError,
    ResultModel,
    RunResult,
    WorkloadRecord,
)
from accelsim.results.schema import check_result, sum_errors
from accelsim.sim.actions import ACTIONS
from accelsim.sim.counters import CAUSES, TRAFFIC_CLASSES, UNITS, Counters, LayerCounters

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

MAX_FILE_BYTES = 256 * 1024 * 1024
SUMMARY_NAME = "summary.json"
LAYERS_NAME = "layers.csv"
COUNTERS_NAME = "counters.json"


class RecordedHardware(ResultModel):
    """The chip of a run, whole: re-costing needs no other file."""

    path: str
    """As given on the command line."""
    sha256: str
    """Of the hardware file and the values set on the command line."""
    config: HardwareConfig
    """The description after the values set on the command line."""


class CountersFile(ResultModel):
    """``counters.json``: what a run counted and all that is needed to cost it again."""

    schema_version: Literal[2]
    """Version of this file format, that of the result."""
    hardware: RecordedHardware
    """The chip."""
    workload: WorkloadRecord
    """The network."""
    skipped: dict[str, int]
    """Operator -> how often it occurs among the operations of the workload that are left out."""
    counters: Counters
    """How often each unit did each action, per layer."""
    comparison: dict[str, Counters] | None = None
    """The same of the formats that the result is compared with; absent where there is no comparison."""


def result_text(result: RunResult) -> str:
    """Return the content of ``summary.json``: the result as JSON, two spaces of indent, a final newline."""
    return json.dumps(result_document(result), indent=2, allow_nan=False) + "\n"


def result_document(result: RunResult) -> dict[str, Any]:
    """Return the result as plain JSON values; optional keys are left out where there is nothing to say."""
    absent = {name for name in OPTIONAL_KEYS if getattr(result, name) is None}
    return result.model_dump(mode="json", exclude=absent)


def counters_text(
    hardware: Hardware,
    workload: WorkloadRecord,
    counters: Counters,
    skipped: Mapping[str, int],
    comparison: Mapping[str, Counters] | None = None,
) -> str:
    """Return the content of ``counters.json``; the key ``comparison`` is left out where there is none."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "hardware": {
            "path": hardware.path,
            "sha256": hardware.sha256,
            "config": hardware.config.model_dump(mode="json"),
        },
        "workload": workload.model_dump(mode="json"),
        "skipped": dict(sorted(skipped.items())),
        "counters": _counters_document(counters),
    }
    if comparison:
        document["comparison"] = {name: _counters_document(other) for name, other in comparison.items()}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _counters_document(counters: Counters) -> dict[str, Any]:
    """Return counters as plain JSON values; left out are those that not all runs have, where they are empty."""
    document: dict[str, Any] = _sorted_maps(asdict(counters))
    for name in ("cores", "fused", "limits_left_out", "next_limit"):
        if not getattr(counters, name):
            del document[name]
    if counters.first_input_cycles is None:
        del document["first_input_cycles"]
    return document


def layers_text(result: RunResult) -> str:
    """Return the content of ``layers.csv``: a row per layer, columns named by their path in the JSON."""
    columns = list(csv_columns())
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for layer in result.layers:
        writer.writerow(csv_row(layer.model_dump(), columns))
    return stream.getvalue()


def csv_columns() -> Iterator[str]:
    """Yield the columns of ``layers.csv``; every action that exists has one, whether or not it occurs.

    Other maps whose keys a run chooses have none.
    """
    yield from ("name", "kind", "shape")
    for name, field in Record.model_fields.items():
        if name == "actions":
            yield from (f"actions.{unit}.{action}" for unit in sorted(ACTIONS) for action in sorted(ACTIONS[unit]))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, ResultModel):
            yield from (f"{name}.{key}" for key in field.annotation.model_fields)
        elif name != "dram_energy_j_by_state":
            yield name


def csv_row(tree: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """Return the values of nested ``tree`` under dotted ``columns``.

    Absent counts are 0, null is empty, shapes read 64x3x3x3. A name that a spreadsheet would take for a formula gets an
    apostrophe before it.
    """
    row: dict[str, str] = {}
    for column in columns:
        value: Any = tree
        for key in column.split("."):
            value = value.get(key, 0) if isinstance(value, Mapping) else 0
        row[column] = _csv_cell(value)
    return row


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_name(value)
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def csv_name(text: str) -> str:
    """Return a table's cell, with an apostrophe before a text that a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def check_folder_place(folder: str | Path, option: str = "--out") -> Path:
    """Return ``folder`` if it can be made and written, and make nothing: long work is not begun in vain.

    Raises
    ------
    ResultError
        It is a file, or cannot be made or written.
    """
    return _folder(folder, option, make=False)


def prepare_folder(folder: str | Path, option: str = "--out") -> Path:
    """Return ``folder``, made if need be and proved writable.

    Raises
    ------
    ResultError
        It is a file, or cannot be made or written.
    """
    with removed_if_refused(Path(folder), ResultError):
        return _folder(folder, option, make=True)


def _folder(folder: str | Path, option: str, *, make: bool) -> Path:
    path = Path(folder)
    if not str(folder).strip():
        raise ResultError(f"{option}: an empty name; give the name of a folder")
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # a name that no folder can have is told here
            if not path.is_dir():
                raise FileExistsError
        probe_folder(path if make else nearest_folder(path))
    except FileExistsError:
        raise ResultError(f"{folder}: is a file, not a folder; give {option} the name of a folder") from None
    except (OSError, ValueError) as error:
        raise ResultError(
            f"{folder}: cannot be written ({reason_of(error)}); give {option} a folder you may write"
        ) from None
    return path


def own_folder(folder: Path) -> Path:
    """Return ``folder``, which the program itself names, made if need be; one that is a link is refused."""
    if folder.is_symlink():
        raise ResultError(
            f"{folder}: is a link, and runs are not written through one; remove it, or give another --out"
        )
    return prepare_folder(folder)


def check_file_place(path: str | Path, option: str) -> None:
    """Raise `ResultError` if ``path``, given with ``option``, is no place for a file (asked before long work)."""
    place = Path(path)
    if not str(path).strip():
        raise ResultError(f"{option}: an empty name; give the name of a file")
    try:
        if place.is_dir():
            raise ResultError(f"{option}: {path}: is a folder; give the name of a file")
        if is_special(place):
            raise ResultError(f"{option}: {path}: {SPECIAL}")
        if not place.parent.is_dir():
            raise ResultError(f"{option}: {path}: no folder {place.parent}; make it first")
        probe_folder(place.parent)
    except (OSError, ValueError) as error:
        reason = f"{place.parent} cannot be written ({reason_of(error)})"
        raise ResultError(f"{option}: {path}: {reason}; give a place you may write") from None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none: under a temporary name first, then renamed."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none; raise `ResultError` if the place cannot be written."""
    write_file(path, data, ResultError)


def write_run(folder: Path, result: RunResult, counters_json: str) -> None:
    """Write the three files of a run into ``folder``, which exists; ``summary.json`` is there only with its own others.

    Of several programs that write into one folder at once, one after the other does.
    """
    texts = ((COUNTERS_NAME, counters_json), (LAYERS_NAME, layers_text(result)), (SUMMARY_NAME, result_text(result)))
    with _locked(folder, wait=True):
        write_files([(folder / name, text.encode("utf-8")) for name, text in texts], ResultError)


def write_run_to(folder: str | Path, result: RunResult, counters_json: str) -> None:
    """Make ``folder`` if need be, and `write_run` there; folders that were made for a run that cannot be written go."""
    with removed_if_refused(Path(folder), ResultError):
        write_run(prepare_folder(folder), result, counters_json)


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep others that call this out of ``folder``; raise `ResultError` if one is in it already."""
    with _locked(folder, wait=False):
        yield


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process at the latest and leaves no file."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ResultError(
                f"{folder}: another accelsim is writing there; give each its own --out, or wait"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def remove_runs(folder: Path, *beside: str) -> None:
    """Remove the runs that an earlier comparison left in ``folder`` and its files ``beside`` it, and nothing else.

    Links are not followed: what they lead to is not the comparison's.
    """
    if folder.is_symlink():
        raise ResultError(
            f"{folder}: is a link, and runs are not written through one; remove it, or give another --out"
        )
    try:
        for name in beside:
            (folder.parent / name).unlink(missing_ok=True)
        for run in sorted(folder.iterdir()) if folder.is_dir() else ():
            if run.is_dir() and not run.is_symlink() and (run / SUMMARY_NAME).is_file():
                for name in (SUMMARY_NAME, LAYERS_NAME, COUNTERS_NAME):
                    (run / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # something else is in it: it stays
                    run.rmdir()
    except OSError as error:
        raise ResultError(
            f"{folder.parent}: an older comparison cannot be removed ({reason_of(error)}); give another --out"
        ) from None


def read_summary(path: str | Path) -> RunResult:
    """Return the result in ``path``, a ``summary.json`` or its folder, checked against the schema and its sums."""
    file = _file_in(path, SUMMARY_NAME)
    return check_result(_read(file), str(file))


def read_counters(path: str | Path) -> CountersFile:
    """Return the counters in ``path``, a ``counters.json`` or the folder that holds one; older versions are converted.

    Raises
    ------
    ResultError
        It is missing, too large, or not what `counters_text` writes.
    """
    file = _file_in(path, COUNTERS_NAME)
    try:
        stored = CountersFile.model_validate_json(current_counters(_read(file), str(file)))
    except ValidationError as error:
        raise ResultError(
            f"{file}: {_first_problem(error)}; give a counters.json that accelsim run --out wrote"
        ) from None
    for place, word in _unknown_words(stored.counters):
        raise ResultError(f"{file}: {place}: {word[:40]!r} is not known; give a counters.json that accelsim wrote")
    return stored


def _unknown_words(counters: Counters) -> Iterator[tuple[str, str]]:
    """Yield where a unit, an action, a cause or a class of traffic has a name that no run writes, and the name."""
    for index, layer in enumerate(counters.layers):
        place = f"counters.layers.{index}"
        for name, counts, words in _maps(layer):
            yield from ((f"{place}.{name}", word) for word in counts if word not in words)
        for unit, counts in layer.actions.items():
            allowed = ACTIONS.get(unit)
            if allowed is None:
                yield f"{place}.actions", unit
            else:
                yield from ((f"{place}.actions.{unit}", word) for word in counts if word not in allowed)


def _maps(layer: LayerCounters) -> tuple[tuple[str, Mapping[str, int], tuple[str, ...]], ...]:
    return (
        ("cycles_by_cause", layer.cycles_by_cause, CAUSES),
        ("dram_bytes", layer.dram_bytes, TRAFFIC_CLASSES),
        ("busy_cycles", layer.busy_cycles, UNITS),
    )


def rebuild_result(stored: CountersFile, hardware: Hardware, cost: CostReport, where: str) -> RunResult:
    """Return the result of recorded counters under another cost; impossible or contradictory ones: `ResultError`."""
    try:
        result = assemble_result(hardware, stored.workload, stored.counters, cost, stored.skipped)
    except (ValidationError, OverflowError) as error:
        problem = _first_problem(error) if isinstance(error, ValidationError) else "a count is beyond all bounds"
        raise ResultError(f"{where}: {problem}; the counters are inconsistent: run it again") from None
    for problem in sum_errors(result):
        raise ResultError(f"{where}: {problem}; the file was changed after it was written: run it again")
    return result


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"]) or "document"
    return f"{location}: {first['msg']}".replace("\n", " ")


def _file_in(path: str | Path, name: str) -> Path:
    given = Path(path)
    return given / name if given.is_dir() else given


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise ResultError(f"{path}: no such file; {suggest_file(path)}give a folder that accelsim run --out wrote")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ResultError(f"{path}: {size} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read ({reason_of(error)}); give a file that accelsim wrote") from None


def _sorted_maps(tree: Any) -> Any:
    """Return ``tree`` with the keys of counter maps sorted, so that equal counters give equal bytes."""
    if isinstance(tree, dict):
        fixed = {"storage", "layers", "latency_cycles"} & set(tree)
        items = tree.items() if fixed else sorted(tree.items())
        return {key: _sorted_maps(value) for key, value in items}
    return [_sorted_maps(entry) for entry in tree] if isinstance(tree, (list, tuple)) else tree
