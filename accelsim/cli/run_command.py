"""``accelsim run``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from accelsim import costed, flow
from accelsim.cli.collect import STORAGE_OF_ROW, read_workload, workload_options
from accelsim.cli.common import common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_formats, complete_workload
from accelsim.cli.run_options import RunOptions, RunRequest, run_options
from accelsim.cli.tenants import run_together, wants_tenants
from accelsim.cli.what_if import run_what_if
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.config.ports import starved
from accelsim.report.batch import groups_words
from accelsim.report.network import network_sizes
from accelsim.report.policies import policy_lines
from accelsim.report.sentence import objective_line
from accelsim.report.terminal import UNLIMITED_WIDTH, make_console, print_run
from accelsim.report.timeline_probe import TimelineProbe
from accelsim.results.compare import DENSE_RIVALS
from accelsim.results.model import RunResult
from accelsim.results.store import check_folder_place, result_text, write_run_to
from accelsim.sim.dram.recording import RequestLog
from accelsim.storage.chip_decoder import is_as_stated
from accelsim.storage.stated import parse_format, with_layers
from accelsim.trace import TraceOptions
from accelsim.trace.model import LayerTrace

if TYPE_CHECKING:
    from accelsim.cost.uncertainty import UncertaintyReport


@click.command(
    "run",
    epilog=examples(
        "accelsim run edge resnet_slt",
        "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt --storage slt-golomb --uncertainty",
        "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt --json --compare csr-int8",
        "accelsim run edge_quad resnet18 vit_tiny --tenants --set share=[activation_buffer]",
        "accelsim run edge resnet_slt --vary dram.data_rate_mtps=3200,6400 --chip eyeriss",
        "accelsim run hwconfigs/edge.yaml resnet50 --sparsity 0.7 --prune-ratio 0.5 --lock-ratio 0.2",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("workloads", metavar="WORKLOAD", nargs=-1, required=True, shell_complete=complete_workload)
@click.option(
    "--storage",
    metavar="FORMAT",
    shell_complete=complete_formats,
    help="Storage format [default: slt, or dense-int8 without a ticket].",
)
@click.option(
    "--compare",
    metavar="FORMATS",
    shell_complete=complete_formats,
    help="Formats to compare with, by comma, or none; given, the JSON has them "
    f"[default: {','.join(costed.TICKET_RIVALS)}; without a ticket {','.join(DENSE_RIVALS)}].",
)
@STORAGE_OF_ROW.add_to
@set_option()
@click.option("--out", "folder", metavar="DIR", help="Write summary.json, layers.csv and counters.json there.")
@run_options
@workload_options()
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option, or several that belong together
    ctx: click.Context,
    hardware: str,
    workloads: tuple[str, ...],
    *,
    storage: str | None,
    compare: str | None,
    storage_of: tuple[str, ...],
    overrides: tuple[str, ...],
    folder: str | None,
    how: RunOptions,
    stated: TraceOptions,
    as_json: bool,
) -> None:
    """Simulate WORKLOAD on HARDWARE: latency, energy, traffic, and where the cycles went.

    HARDWARE is a YAML file or the name of a chip (accelsim list chips); WORKLOAD a ticket (.pt), an exported module
    (.pt2, .onnx), a topology (.csv), or the name of a ticket or network (accelsim list). Of a ticket its counts, shapes
    and scales are checked; whether its seeds and bits give the searched weights is for accelsim verify.

    With --vary or --chip, the runs of all combinations make one table, a row each; --out then gets what sweep writes.
    With --tenants, several workloads run at once.
    """
    formats = None if storage is None else parse_format(storage, "--storage")
    rivals = None if compare is None else costed.parse_formats(compare, "--compare")
    request = RunRequest(
        hardware, workloads, formats, storage_of, rivals, overrides, folder, as_json, how=how, stated=stated
    )
    if wants_tenants(ctx, request):
        run_together(ctx, request)
    elif how.is_what_if:
        run_what_if(ctx, request)
    else:
        _run(ctx, request)


def _run(ctx: click.Context, asked: RunRequest) -> None:
    """Simulate one network on one chip."""
    how, rivals = asked.how, asked.rivals
    chip = _chip(ctx, asked.hardware, asked.overrides)
    target = check_folder_place(asked.folder) if asked.folder is not None else None
    if how.uncertainty and asked.as_json and target is None:
        raise click.UsageError("--uncertainty with --json needs --out: the bands go to its uncertainty.json", ctx)
    flow.check_pictures(how.pictures, how.dram_trace)
    trace = read_workload(ctx, asked.workloads[0], asked.stated)
    flow.check_seen(how.pictures, how.dram_trace, trace, chip.config.mapping.fuse != "none")
    probe = TimelineProbe() if how.pictures.are_wanted else None
    requests = RequestLog() if how.dram_trace is not None else None
    storage = with_layers(asked.storage or costed.default_storage(trace, chip), asked.storage_of)
    flow.check_first_group(chip, trace, storage, how.pictures, how.mapping)
    run = costed.simulate_format(chip, trace, storage, how.exact, probe, how.mapping, requests)
    run = costed.run_with_limits(chip, trace, run, how.mapping)
    has_rivals = rivals is not None or how.uncertainty or not asked.as_json
    runs = _rivals(ctx, chip, trace, storage, rivals, how.exact) if has_rivals else {}
    recorded = {} if rivals is None else runs
    result = run.result.model_copy(update={"comparison": costed.totals_of(recorded) or None})
    report = costed.uncertainty_of(chip, run, runs) if how.uncertainty else None
    if target is not None:
        # The summary has what --json prints, the counters all that was compared: a report shows it.
        write_run_to(target, result, flow.run_counters_text(chip, trace, run.counters, runs))
        if report is not None:
            flow.write_uncertainty(target, report)
    if requests is not None or probe is not None:
        _write_seen(ctx, chip, _first_group(ctx, chip, trace, result, how), probe, requests, how)
    if asked.as_json:
        write_stdout(result_text(result))
        return
    _print(chip, trace, run, runs, report, how.mapping)


def _print(  # noqa: PLR0913  each is a part of what is printed
    chip: LoadedHardware,
    trace: LayerTrace,
    run: costed.CostedRun,
    runs: Mapping[str, costed.CostedRun],
    unsure: UncertaintyReport | None,
    mapping: str | None,
) -> None:
    """Print a run beside ``runs`` of the formats that it is compared with."""
    console, result, comparison = make_console(sys.stdout, UNLIMITED_WIDTH), run.result, costed.totals_of(runs)
    words = groups_words(flow.groups_of(chip, trace, result.storage, mapping))
    # Four mappings more, a third of a run's time: it says how sure the ratio is, and is asked for with the bands.
    asks = unsure is not None and mapping is None  # stated tilings are mapped for nothing
    remarks = _objectives(chip, trace, run, list(runs.values())) if asks else []
    rivals = {name: rival.counters for name, rival in runs.items() if name != result.storage}
    remarks += policy_lines(chip.config, run.counters, rivals)
    formats = filter(lambda name: not is_as_stated(name), (result.storage, *comparison))
    synthetic = [name for name in formats if flow.is_synthetic(trace, name)]
    print_run(console, result, comparison, network_sizes(trace) + words, remarks, trace.alike, synthetic, unsure)


def _chip(ctx: click.Context, hardware: str, overrides: Sequence[str]) -> LoadedHardware:
    """Return the chip; what its array will wait for by its description alone is noted."""
    chip = load_hardware(hardware, overrides)
    for line in starved(chip.config):
        session(ctx).note(f"{hardware}: {line}")
    return chip


def _objectives(
    chip: LoadedHardware, trace: LayerTrace, run: costed.CostedRun, rivals: Sequence[costed.CostedRun]
) -> list[str]:
    """Return the line that says how a ticket's energy against its best rival moves with what both are mapped for."""
    fitted = [each for each in rivals if not is_as_stated(each.result.storage)]
    if not fitted or not costed.is_ticket(trace, run.result.storage):
        return []
    best = min(fitted, key=lambda each: each.result.totals.energy_j)
    energies = flow.energy_by_objective(chip, trace, run, best)
    return [objective_line(run.result.storage, best.result.storage, energies)]


def _rivals(
    ctx: click.Context,
    chip: LoadedHardware,
    trace: LayerTrace,
    storage: str,
    asked: Sequence[str] | None,
    exact: bool,
) -> dict[str, costed.CostedRun]:
    """Return the runs to compare with; of those that nobody asked for, what cannot run is left out and noted."""
    default = costed.TICKET_RIVALS if costed.is_ticket(trace, storage) else DENSE_RIVALS
    formats = default if asked is None else asked
    found, failures = costed.simulate_possible(chip, trace, formats, asked or (), exact)
    for line in flow.left_out_lines(trace, failures):
        session(ctx).note(line)
    return found


def _first_group(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, result: RunResult, how: RunOptions
) -> tuple[LayerTrace, RunResult]:
    """Return the network and result of the first group of a batch: what probe and request log have seen."""
    groups = flow.groups_of(chip, trace, result.storage, how.mapping)
    if sum(group.times for group in groups) == 1:
        return trace, result
    words = groups_words(groups).removeprefix(",")
    session(ctx).note(f"pictures and memory requests are those of the first group; the batch runs{words}")
    first = groups[0].trace
    return first, costed.simulate_format(chip, first, result.storage, how.exact).result


def _write_seen(
    ctx: click.Context,
    chip: LoadedHardware,
    seen: tuple[LayerTrace, RunResult],
    probe: TimelineProbe | None,
    requests: RequestLog | None,
    how: RunOptions,
) -> None:
    """Write what probe and request log have seen, where they are wanted."""
    trace, result = seen
    if requests is not None:
        flow.write_requests(str(how.dram_trace), requests, chip, result)
    if probe is not None:
        _write_pictures(ctx, chip, trace, result, probe, how)


def _write_pictures(
    ctx: click.Context,
    chip: LoadedHardware,
    trace: LayerTrace,
    result: RunResult,
    probe: TimelineProbe,
    how: RunOptions,
) -> None:
    """Write the timeline and the Gantt chart that are wanted, and say what does not fit into the timeline."""
    pictures = how.pictures
    timeline = flow.timeline_of(chip, trace, result, probe, how.mapping) if pictures.timeline is not None else None
    flow.write_pictures(pictures, result, probe, timeline)
    if timeline is not None and timeline.left_out:
        session(ctx).note(f"{pictures.timeline}: {timeline.left_out}; counters cover all of them")
