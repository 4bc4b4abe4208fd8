"""The Python API: ``accelsim.run``, ``sweep``, ``explore`` and ``trace_module``, with the words of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.costed import (
    CostedRun,
    default_storage,
    parse_formats,
    run_with_limits,
    simulate_format,
    simulate_rivals,
    uncertainty_of,
)
from accelsim.dse.constraints import parse_constraint
from accelsim.dse.explore import ExploreResult, SearchPlan
from accelsim.dse.explore import explore as _explore
from accelsim.dse.proposals import ALGORITHMS, Algorithm
from accelsim.dse.rows import Fidelity
from accelsim.dse.space import DesignSpace, load_space, space_from_mapping, with_run
from accelsim.dse.sweep import Places, SweepResult
from accelsim.dse.sweep import sweep as _sweep
from accelsim.errors import ConfigError, TraceError
from accelsim.notebook import Run
from accelsim.report.page_runs import PageRun, TicketRuns
from accelsim.results.model import SCHEMA_VERSION
from accelsim.results.store import CountersFile, RecordedHardware
from accelsim.storage.stated import with_layers
from accelsim.trace import LayerTrace, TraceOptions, trace_workload, with_statistics
from accelsim.trace.model import Phase
from accelsim.trace.modules import trace_module as _trace_module

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True)
class OfRun:
    """The batch, and what is run of a language model, as `run`, `sweep` and `explore` take them."""

    batch: int | None
    phase: Phase | None
    context: int | None
    prompt: int | None
    tokens: int | None
    kv_bits: int | None

    def given(self) -> dict[str, Any]:
        """Return what is stated."""
        return {name: value for name, value in asdict(self).items() if value is not None}


Space = str | os.PathLike[str] | Mapping[str, Any]


def run(  # noqa: PLR0913  each is an option of the command
    hardware: str | os.PathLike[str],
    workload: str | os.PathLike[str] | LayerTrace,
    storage: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    options: TraceOptions | None = None,
    exact: bool = False,
    batch: int | None = None,
    *,
    compare: str | Sequence[str] = (),
    uncertainty: bool = False,
    phase: Phase | None = None,
    context: int | None = None,
    prompt: int | None = None,
    tokens: int | None = None,
    kv_bits: int | None = None,
    experts: tuple[int, ...] | None = None,
) -> Run:
    """Simulate a network on a chip, like ``accelsim run``.

    Parameters
    ----------
    hardware
        Path of a hardware description.
    workload
        Path of a ticket or topology, the name of a network, or a trace such as `trace_module` returns.
    storage
        Storage format; None takes slt for a ticket, else what `accelsim.storage.default.default_format` says.
    overrides
        Changes of the chip: ``{"pe_array.rows": 16}``, or texts ``pe_array.rows=16``.
    options
        Statistics of a workload without a ticket: of a network, an exported module, or a traced one.
    exact
        Simulate every tile.
    batch
        How many times the workload's inputs one run takes; None takes that of ``options``.
    compare
        Storage formats to run beside it: names, one text with commas, or ``all``; the result's ``comparison`` has their
        totals, its ``rivals`` all of them.
    uncertainty
        Sample the cost constants: the result's ``uncertainty`` has the bands of the energies, its figures whiskers.
    phase, context, prompt, tokens, kv_bits, experts
        What is run of a language model; None takes what ``options`` say. A trace has its own.

    Returns
    -------
    The result that ``accelsim run --json`` prints; it has tables (`to_frame`) and figures (``plot``) too.

    Raises
    ------
    accelsim.errors.AccelSimError
        Anything wrong with what was given, in one line.
    """
    chip = load_hardware(os.fspath(hardware), _texts(overrides))
    of_run = OfRun(batch, phase, context, prompt, tokens, kv_bits).given() | {"experts": experts}
    options = _with_run(options, of_run)
    trace = _trace(workload, options)
    return _run(chip, trace, (storage or default_storage(trace, chip), *_formats(compare)), exact, uncertainty)


def _run(chip: LoadedHardware, trace: LayerTrace, formats: Sequence[str], exact: bool, uncertainty: bool) -> Run:
    """Run the first of ``formats``, and the others beside it."""
    main = run_with_limits(chip, trace, simulate_format(chip, trace, formats[0], exact), None)
    rivals = simulate_rivals(chip, trace, [name for name in formats[1:] if name != formats[0]], exact)
    others = {name: run for name, run in rivals.items() if name != main.result.storage}
    bands = uncertainty_of(chip, main, others) if uncertainty else None
    pages = [_page(chip, trace, each) for each in (main, *others.values())]
    return Run.of(TicketRuns(pages[0], tuple(pages[1:]), bands))


def _trace(workload: str | os.PathLike[str] | LayerTrace, options: TraceOptions | None) -> LayerTrace:
    if isinstance(workload, LayerTrace):
        return with_statistics(workload, options) if options is not None else workload
    if not isinstance(workload, str | os.PathLike):
        kind = type(workload).__name__
        raise TraceError(
            f"{kind}: a module without an example input has no shapes; give accelsim.trace_module(module, "
            "example_input), a path or a name"
        )
    return trace_workload(os.fspath(workload), options)


def _formats(compare: str | Sequence[str]) -> tuple[str, ...]:
    text = compare if isinstance(compare, str) else ",".join(compare)
    return parse_formats(text, "compare") if compare else ()


def _page(chip: LoadedHardware, trace: LayerTrace, run: CostedRun) -> PageRun:
    """Return a run as a report has it: with its counters and the chip."""
    recorded = RecordedHardware(path=chip.path, sha256=chip.sha256, config=chip.config)
    counters = CountersFile.model_construct(
        schema_version=SCHEMA_VERSION, hardware=recorded, workload=run.result.workload, skipped=dict(trace.skipped),
        counters=run.counters, comparison=None,
    )  # fmt: skip
    return PageRun(run.result, counters)


def _texts(overrides: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return overrides as the command line has them."""
    if isinstance(overrides, Mapping):
        return [f"{path}={_yaml(value)}" for path, value in overrides.items()]
    return list(overrides)


def _with_run(options: TraceOptions | None, of_run: Mapping[str, Any]) -> TraceOptions | None:
    """Return options with what is stated of a run."""
    given = {name: value for name, value in of_run.items() if value is not None}
    return replace(options or TraceOptions(), **given) if given else options


def trace_module(
    module: torch.nn.Module | ExportedProgram,
    example_input: torch.Tensor | tuple[torch.Tensor, ...] = (),
    *,
    name: str | None = None,
    skip_unsupported: bool = False,
) -> LayerTrace:
    """Return the layer trace of any torch module, as a dense network that `run` takes; like ``accelsim trace``.

    Parameters
    ----------
    module
        Exported with `torch.export`; nothing of it is trained or changed. An exported program is taken as it is.
    example_input
        One batch, or the tuple of arguments of ``forward``; its shapes are those of the trace.
    name
        Of the network; None takes the module's class.
    skip_unsupported
        Count unsupported operations that multiply nothing instead of refusing them; the trace's ``skipped`` has them.

    Raises
    ------
    accelsim.errors.TraceError
        An operation that is not supported, named with its place.
    """
    return _trace_module(module, example_input, name=name, skip_unsupported=skip_unsupported)


def sweep(  # noqa: PLR0913  each is an option of the command
    space: Space,
    out: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    slurm: int | None = None,
    closed_form: bool = False,
    objectives: str | Sequence[str] = (),
    storage_of: Sequence[str] = (),
    batch: int | None = None,
    phase: Phase | None = None,
    context: int | None = None,
    prompt: int | None = None,
    tokens: int | None = None,
    kv_bits: int | None = None,
    progress: bool = False,
) -> SweepResult:
    """Evaluate every point of a design space, like ``accelsim sweep``.

    Parameters
    ----------
    space
        Path of a YAML file, or a mapping with the same keys.
    out
        Folder for tables, summary and store.
    store, workers, scheduler, slurm
        As the options of the command; at most one of the last three.
    closed_form
        Rank instead of simulating.
    objectives
        Metrics of the summary, or one text with commas; empty takes the file's.
    storage_of
        Layers or kinds that are stored otherwise, each ``LAYER=FORMAT``.
    batch
        How many times a workload's inputs each run takes; None leaves it to the space.
    phase, context, prompt, tokens, kv_bits
        What is run of a language model; None leaves it to the space.
    progress
        Show progress on the error stream.
    """
    places = _places(out, store, (workers, scheduler, slurm), progress)
    of_run = OfRun(batch, phase, context, prompt, tokens, kv_bits)
    fidelity: Fidelity = "closed_form" if closed_form else "simulation"
    return _sweep(_space(space, storage_of, of_run), places, fidelity, _names(objectives))


def explore(  # noqa: PLR0913  each is an option of the command
    space: Space,
    out: str | os.PathLike[str],
    *,
    objectives: str | Sequence[str] = (),
    trials: int = 1000,
    sampler: Algorithm = "nsga2",
    where: str | Sequence[str] = (),
    sample: int = 16,
    seed: int = 1,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    slurm: int | None = None,
    storage_of: Sequence[str] = (),
    batch: int | None = None,
    phase: Phase | None = None,
    context: int | None = None,
    prompt: int | None = None,
    tokens: int | None = None,
    kv_bits: int | None = None,
    progress: bool = False,
) -> ExploreResult:
    """Search a design space for the Pareto set of the objectives, like ``accelsim explore``.

    ``where`` are conditions such as ``"area_mm2 <= 2"``, or one of them; the other parameters are those of `sweep` and
    the options of the command.
    """
    if sampler not in ALGORITHMS:
        raise ConfigError(f"sampler: {sampler!r} is not allowed; give one of {', '.join(ALGORITHMS)}")
    for name, value, least in (("trials", trials, 1), ("sample", sample, 0), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name}: {value} is not >= {least}; give at least {least}")
    if seed >= 1 << 32:
        raise ConfigError(f"seed: {seed} has more than 32 bits; give 0 to {(1 << 32) - 1}")
    plan = SearchPlan(
        objectives=_names(objectives),
        num_trials=trials,
        algorithm=sampler,
        constraints=tuple(parse_constraint(text, "where") for text in ([where] if isinstance(where, str) else where)),
        num_sample=sample,
        seed=seed,
    )
    places = _places(out, store, (workers, scheduler, slurm), progress)
    return _explore(_space(space, storage_of, OfRun(batch, phase, context, prompt, tokens, kv_bits)), places, plan)


def _space(space: Space, storage_of: Sequence[str], of_run: OfRun) -> DesignSpace:
    with_layers("slt", storage_of)  # a wrong one is told before anything is made
    read = space_from_mapping(dict(space)) if isinstance(space, Mapping) else load_space(os.fspath(space))
    return replace(with_run(read, of_run.given()), storage_of=tuple(storage_of))


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for part in names.split(",")) if isinstance(names, str) else tuple(names)


def _places(
    out: str | os.PathLike[str],
    store: str | os.PathLike[str] | None,
    where: tuple[int | None, str | None, int | None],
    progress: bool,
) -> Places:
    workers, scheduler, slurm = where
    for name, value in (("workers", workers), ("slurm", slurm)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: {value} is not >= 1; give at least 1, or leave it out")
    stream = sys.stderr if progress else None
    return Places(Path(out), Path(store) if store is not None else None, workers, scheduler, slurm, stream)


def _yaml(value: Any) -> str:
    """Return a Python value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(entry)}" for key, entry in value.items()) + "}"
    return str(value)
