"""What the commands do with runs, between what they read and what they print: compare, cost again, save, draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.config.loader import LoadedHardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import CostTables, load_tables
from accelsim.costed import CostedRun, Failure, simulate_format
from accelsim.groups import Group
from accelsim.mapping.fixed import load_fixed
from accelsim.pipeline import batch_groups, built_for, layer_plans, schedule_network
from accelsim.report.pictures import Pictures
from accelsim.results.breakeven import BreakEven, EqualEnergy, break_even, dram_energy_j, equal_energy
from accelsim.results.build import Hardware, workload_record
from accelsim.results.compare import same_network
from accelsim.results.model import ResultError, RunResult
from accelsim.results.store import (
    CountersFile,
    RecordedHardware,
    check_file_place,
    counters_text,
    own_folder,
    rebuild_result,
    write_bytes,
    write_run,
    write_text,
)
from accelsim.sim.counters import Counters
from accelsim.trace.model import LayerTrace

if TYPE_CHECKING:
    from accelsim.cost.uncertainty import UncertaintyReport
    from accelsim.report.timeline import Timeline
    from accelsim.report.timeline_probe import TimelineProbe
    from accelsim.sim.dram.recording import RequestLog

TICKET_STORAGE = "slt"
DENSE_STORAGE = "dense-int8"
RATIO_OBJECTIVES = ("latency", "edp", "energy")
_MAX_FOLDER_NAME = 200
_STORAGE_NAME = re.compile(r"\bstorage [a-z][a-z0-9:-]*[a-z0-9]")


def groups_of(hardware: LoadedHardware, trace: LayerTrace, storage: str, mapping: str | None) -> tuple[Group, ...]:
    """Return the groups in which `simulate_format` takes the batch of ``trace``."""
    return batch_groups(hardware.config, trace, storage, load_fixed(mapping, trace))


def cost_again(stored: CountersFile, hardware: RecordedHardware, tables: CostTables, where: str) -> RunResult:
    """Return the result of a saved run, and of the formats it was compared with, on ``hardware`` with ``tables``.

    Raises
    ------
    ResultError
        Counts that contradict each other or cannot be priced.
    """

    def result_of(counters: Counters) -> RunResult:
        try:
            cost = evaluate(counters, hardware.config, tables)
        except (ArithmeticError, LookupError) as error:
            problem = f"counts that cannot be priced ({type(error).__name__})"
            raise ResultError(f"{where}: {problem}; run it again with --out") from None
        return rebuild_result(stored.model_copy(update={"counters": counters}), hardware, cost, where)

    rivals = {name: result_of(counters).totals for name, counters in (stored.comparison or {}).items()}
    return result_of(stored.counters).model_copy(update={"comparison": rivals or None})


def uncertainty_again(stored: CountersFile, hardware: RecordedHardware, tables: CostTables) -> UncertaintyReport:
    """Return how sure the energies of a saved run and its rivals are on ``hardware`` with ``tables``."""
    from accelsim.cost.uncertainty import uncertainty  # noqa: PLC0415  a run without bands does not wait for it

    counters = {stored.counters.storage: stored.counters, **(stored.comparison or {})}
    return uncertainty(counters, hardware.config, tables)


def save_run(folder: Path, number: int, hardware: LoadedHardware, trace: LayerTrace, run: CostedRun) -> None:
    """Save the ``number``-th run of a comparison in its own folder below ``folder``, as ``run --out`` does."""
    stem = Path(trace.path or trace.name).stem
    batch = f"-batch{trace.num_inputs}" if trace.num_inputs > 1 else ""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", f"{number:03d}-{stem}{batch}-{run.result.storage}")[:_MAX_FOLDER_NAME]
    write_run(own_folder(folder / name), run.result, run_counters_text(hardware, trace, run.counters))


def by_ticket(runs: Sequence[CostedRun]) -> list[tuple[CostedRun, list[CostedRun]]]:
    """Return, for each network whose ticket was run with others beside it, the ticket's run and the others'."""
    found = []
    for run in runs:
        if run.result.storage == TICKET_STORAGE:
            rivals = [other for other in runs if same_network(other.result, run.result) and other is not run]
            if rivals:
                found.append((run, rivals))
    return found


def break_even_points(hardware: Hardware, ticket: CostedRun, rivals: Sequence[CostedRun]) -> list[BreakEven]:
    """Return where ``ticket`` and each of ``rivals`` change places."""
    tables = load_tables()
    ticket_j = dram_energy_j(ticket.counters, hardware.config, tables)
    return [
        break_even(ticket.result, rival.result, ticket_j, dram_energy_j(rival.counters, hardware.config, tables))
        for rival in rivals
    ]


def equal_precision(hardware: Hardware, ticket: CostedRun, rivals: Sequence[CostedRun]) -> EqualEnergy | None:
    """Return the weight precision at which dense storage would need the ticket's energy; None without such a rival."""
    for dense in rivals:
        if dense.result.storage == DENSE_STORAGE:
            joules = dram_energy_j(dense.counters, hardware.config, load_tables())
            return equal_energy(ticket.result, dense.result, joules)
    return None


def is_synthetic(trace: LayerTrace, storage: str) -> bool:
    """Return whether values or statistics stand in for ones that nobody has, in any layer stored so."""
    return any(plan.synthetic for plan in layer_plans(trace, storage).values())


def energy_by_objective(
    hardware: LoadedHardware, trace: LayerTrace, run: CostedRun, rival: CostedRun
) -> dict[str, tuple[float, float]]:
    """Return the energies of a run and a rival, in J, with both mapped for each of `RATIO_OBJECTIVES`."""

    def energy_j(each: CostedRun, objective: str) -> float:
        if objective != hardware.config.mapping.objective:
            each = simulate_format(with_objective(hardware, objective), trace, each.result.storage, exact=False)
        return each.result.totals.energy_j

    return {name: (energy_j(run, name), energy_j(rival, name)) for name in RATIO_OBJECTIVES}


def with_objective(hardware: LoadedHardware, objective: str) -> LoadedHardware:
    """Return the chip with another objective of its mapper."""
    mapping = hardware.config.mapping.model_copy(update={"objective": objective})
    return replace(hardware, config=hardware.config.model_copy(update={"mapping": mapping}))


def left_out_lines(trace: LayerTrace, failures: Sequence[Failure]) -> list[str]:
    """Return one line per reason for the formats that could not run."""
    formats: dict[str, list[str]] = {}
    for name, error in failures:
        message = str(error).removeprefix(f"{trace.path}: ")
        formats.setdefault(_STORAGE_NAME.sub("storage {}", message, count=1), []).append(name)
    return [f"{trace.name}: left out: {why.replace('{}', ', '.join(names), 1)}" for why, names in formats.items()]


def check_pictures(pictures: Pictures, requests_file: str | None) -> None:
    """Raise `ResultError` if a picture, or the file of requests, has no place where it could be written."""
    files = (("--timeline", pictures.timeline), ("--gantt", pictures.gantt), ("--dram-trace", requests_file))
    for option, file in files:
        if file is not None:
            check_file_place(file, option)


def check_seen(pictures: Pictures, requests_file: str | None, trace: LayerTrace, fuses: bool = False) -> None:
    """Raise `ResultError` if a picture or a file of requests is wanted that the run cannot give.

    The layer of a Gantt chart must be the network's, and a generation is many runs.
    """
    if pictures.gantt is not None and fuses:
        raise ResultError(
            "--gantt: a chart shows a layer that runs at a stretch, and fused ones do not; take --timeline, or --set "
            "mapping.fuse=none"
        )
    if trace.steps is not None and (pictures.are_wanted or requests_file is not None):
        raise ResultError(
            f"{trace.path}: --timeline, --gantt, --dram-trace: a generation is many runs; state --phase prefill or "
            "decode"
        )
    if pictures.gantt is not None and pictures.gantt_layer is not None:
        from accelsim.report.gantt import check_layer  # noqa: PLC0415  a run must not wait for matplotlib

        check_layer(trace, pictures.gantt_layer)


def check_first_group(
    hardware: LoadedHardware, trace: LayerTrace, storage: str, pictures: Pictures, mapping: str | None
) -> None:
    """Raise `ResultError` if a Gantt chart is wanted of a layer that the first group of a batch does not go through."""
    if pictures.gantt is None or pictures.gantt_layer is None:
        return
    names = [layer.name for layer in groups_of(hardware, trace, storage, mapping)[0].trace.layers]
    if pictures.gantt_layer not in names:
        raise ResultError(
            f"--gantt-layer: {pictures.gantt_layer}: a chart shows the first group of the batch, and this one goes "
            f"through the layers up to {names[-1]} alone; give one of these, or leave --batch out"
        )


def timeline_of(
    hardware: LoadedHardware, trace: LayerTrace, result: RunResult, probe: TimelineProbe, mapping: str | None
) -> Timeline:
    """Return the timeline of a run that `simulate_format` made with the same arguments."""
    from accelsim.report.timeline import make_timeline  # noqa: PLC0415  a run without pictures does not wait for them
    from accelsim.report.timeline_cores import CoresSeen, make_core_timeline  # noqa: PLC0415
    from accelsim.report.timeline_tiles import tile_map  # noqa: PLC0415

    if hardware.config.num_cores > 1:
        return make_core_timeline(CoresSeen.of(result, hardware.config.num_cores), probe)
    chip, plans = built_for(hardware.config, trace, result.storage), layer_plans(trace, result.storage)
    schedule, _ = schedule_network(chip, trace, result.storage, load_fixed(mapping, trace))
    held: tuple[int, ...] = ()
    if schedule.layer_of:
        from accelsim.fused_view import as_pieces  # noqa: PLC0415

        pieces = as_pieces(hardware, chip, trace, schedule, result)
        trace, result, held = pieces.trace, pieces.result, pieces.held_bytes
    widths = {plan.activation_bits for plan in plans.values() if plan.activation_bits is not None}
    bits = max(widths, default=chip.activation_bits)
    return make_timeline(result, probe, tile_map(schedule, trace, chip, held), trace, bits)


def write_pictures(pictures: Pictures, result: RunResult, probe: TimelineProbe, timeline: Timeline | None) -> None:
    """Write the timeline and the Gantt chart that are wanted."""
    if pictures.timeline is not None and timeline is not None:
        write_text(Path(pictures.timeline), timeline.text)
    if pictures.gantt is not None:
        from accelsim.report.gantt import gantt_figure  # noqa: PLC0415  a run must not wait for matplotlib

        write_bytes(Path(pictures.gantt), gantt_figure(result, probe, pictures.gantt_layer))


def write_requests(file: str, requests: RequestLog, hardware: LoadedHardware, result: RunResult) -> None:
    """Write what the memory was asked, in the form that ``accelsim dram --requests`` reads."""
    write_text(Path(file), requests.text(hardware.config.clock_mhz, result.totals.latency_cycles))


def write_uncertainty(folder: Path, report: UncertaintyReport) -> None:
    """Write ``uncertainty.json`` and ``uncertainty.png`` into ``folder``."""
    from accelsim.report.tornado import tornado_figure  # noqa: PLC0415  a run must not wait for matplotlib
    from accelsim.report.uncertainty import uncertainty_text  # noqa: PLC0415

    write_text(folder / "uncertainty.json", uncertainty_text(report))
    write_bytes(folder / "uncertainty.png", tornado_figure(report))


def run_counters_text(
    hardware: LoadedHardware, trace: LayerTrace, counters: Counters, rivals: Mapping[str, CostedRun] | None = None
) -> str:
    """Return the content of ``counters.json`` of a run and the ``rivals`` that its result is compared with."""
    comparison = {name: rival.counters for name, rival in (rivals or {}).items()}
    return counters_text(hardware, workload_record(trace), counters, dict(trace.skipped), comparison)
