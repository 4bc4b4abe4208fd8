"""``accelsim run``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from accelsim import costed, flow
from accelsim.cli.collect import (
    exact_option,
    mapping_option,
    read_workload,
    requests_option,
    storage_of_option,
    timeline_option,
    uncertainty_option,
    wanted_pictures,
    workload_options,
)
from accelsim.cli.common import common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_formats, complete_workload
from accelsim.cli.tenants import run_together, tenants_option, wants_tenants
from accelsim.cli.what_if import chips_option, run_what_if, vary_option, wants_what_if
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
@storage_of_option
@tenants_option
@vary_option
@chips_option
@set_option()
@click.option("--out", "folder", metavar="DIR", help="Write summary.json, layers.csv and counters.json there.")
@timeline_option
@requests_option
@mapping_option
@uncertainty_option
@exact_option
@workload_options()
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    workloads: tuple[str, ...],
    storage: str | None,
    compare: str | None,
    overrides: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> None:
    """Simulate WORKLOAD on HARDWARE: latency, energy, traffic, and where the cycles went.

    HARDWARE is a YAML file or the name of a chip (accelsim list chips); WORKLOAD a ticket (.pt), an exported module
    (.pt2, .onnx), a topology (.csv), or the name of a ticket or network (accelsim list). Of a ticket its counts, shapes
    and scales are checked; whether its seeds and bits give the searched weights is for accelsim verify.

    With --vary or --chip, the runs of all combinations make one table, a row each; --out then gets what sweep writes.
    With --tenants, several workloads run at once.
    """
    exact, workload = exact_option.of(ctx), workloads[0]
    storage, asked = _formats(storage, compare)
    if wants_tenants(ctx, workloads):
        run_together(ctx, hardware, workloads, storage, overrides, folder, as_json)
        return
    if wants_what_if(ctx):
        run_what_if(ctx, hardware, workload, storage, asked, overrides, folder, as_json)
        return
    chip = _chip(ctx, hardware, overrides)
    target = check_folder_place(folder) if folder is not None else None
    if uncertainty_option.of(ctx) and as_json and target is None:
        raise click.UsageError("--uncertainty with --json needs --out: the bands go to its uncertainty.json", ctx)
    pictures = wanted_pictures(ctx)
    flow.check_pictures(pictures, requests_option.of(ctx))
    trace = read_workload(ctx, workload)
    flow.check_seen(pictures, requests_option.of(ctx), trace, chip.config.mapping.fuse != "none")
    probe = TimelineProbe() if pictures.are_wanted else None
    requests = RequestLog() if requests_option.of(ctx) is not None else None
    storage = with_layers(storage or costed.default_storage(trace, chip), storage_of_option.of(ctx), trace.layers)
    flow.check_first_group(chip, trace, storage, pictures, mapping_option.of(ctx))
    run = costed.simulate_format(chip, trace, storage, exact, probe, mapping_option.of(ctx), requests)
    run = costed.run_with_limits(chip, trace, run, mapping_option.of(ctx))
    unsure = uncertainty_option.of(ctx)
    runs = _rivals(ctx, chip, trace, storage, asked) if asked is not None or unsure or not as_json else {}
    recorded = {} if compare is None else runs
    result = run.result.model_copy(update={"comparison": costed.totals_of(recorded) or None})
    report = costed.uncertainty_of(chip, run, runs) if unsure else None
    if target is not None:
        # The summary has what --json prints, the counters all that was compared: a report shows it.
        write_run_to(target, result, flow.run_counters_text(chip, trace, run.counters, runs))
        if report is not None:
            flow.write_uncertainty(target, report)
    if requests is not None or probe is not None:
        _write_seen(ctx, chip, _first_group(ctx, chip, trace, result), probe, requests)
    if as_json:
        write_stdout(result_text(result))
        return
    _print(ctx, chip, trace, run, runs, report)


def _print(  # noqa: PLR0913  each is a part of what is printed
    ctx: click.Context,
    chip: LoadedHardware,
    trace: LayerTrace,
    run: costed.CostedRun,
    runs: Mapping[str, costed.CostedRun],
    unsure: UncertaintyReport | None,
) -> None:
    """Print a run beside ``runs`` of the formats that it is compared with."""
    console, result, comparison = make_console(sys.stdout, UNLIMITED_WIDTH), run.result, costed.totals_of(runs)
    words = groups_words(flow.groups_of(chip, trace, result.storage, mapping_option.of(ctx)))
    # Four mappings more, a third of a run's time: it says how sure the ratio is, and is asked for with the bands.
    remarks = _objectives(ctx, chip, trace, run, list(runs.values())) if unsure is not None else []
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


def _formats(storage: str | None, compare: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the formats of ``--storage`` and ``--compare``, None for what was not given."""
    asked = None if compare is None else costed.parse_formats(compare, "--compare")
    return None if storage is None else parse_format(storage, "--storage"), asked


def _objectives(
    ctx: click.Context,
    chip: LoadedHardware,
    trace: LayerTrace,
    run: costed.CostedRun,
    rivals: Sequence[costed.CostedRun],
) -> list[str]:
    """Return the line that says how a ticket's energy against its best rival moves with what both are mapped for.

    Stated tilings are mapped for nothing.
    """
    fitted = [each for each in rivals if not is_as_stated(each.result.storage)]
    if not fitted or mapping_option.of(ctx) is not None or not costed.is_ticket(trace, run.result.storage):
        return []
    best = min(fitted, key=lambda each: each.result.totals.energy_j)
    energies = flow.energy_by_objective(chip, trace, run, best)
    return [objective_line(run.result.storage, best.result.storage, energies)]


def _rivals(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, storage: str, asked: Sequence[str] | None
) -> dict[str, costed.CostedRun]:
    """Return the runs to compare with; of those that nobody asked for, what cannot run is left out and noted."""
    default = costed.TICKET_RIVALS if costed.is_ticket(trace, storage) else DENSE_RIVALS
    formats = default if asked is None else asked
    found, failures = costed.simulate_possible(chip, trace, formats, asked or (), exact_option.of(ctx))
    for line in flow.left_out_lines(trace, failures):
        session(ctx).note(line)
    return found


def _first_group(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, result: RunResult
) -> tuple[LayerTrace, RunResult]:
    """Return the network and result of the first group of a batch: what probe and request log have seen."""
    groups = flow.groups_of(chip, trace, result.storage, mapping_option.of(ctx))
    if sum(group.times for group in groups) == 1:
        return trace, result
    words = groups_words(groups).removeprefix(",")
    session(ctx).note(f"pictures and memory requests are those of the first group; the batch runs{words}")
    first = groups[0].trace
    return first, costed.simulate_format(chip, first, result.storage, exact_option.of(ctx)).result


def _write_seen(
    ctx: click.Context,
    chip: LoadedHardware,
    seen: tuple[LayerTrace, RunResult],
    probe: TimelineProbe | None,
    requests: RequestLog | None,
) -> None:
    """Write what probe and request log have seen, where they are wanted."""
    trace, result = seen
    if requests is not None:
        flow.write_requests(str(requests_option.of(ctx)), requests, chip, result)
    if probe is not None:
        _write_pictures(ctx, chip, trace, result, probe)


def _write_pictures(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, result: RunResult, probe: TimelineProbe
) -> None:
    """Write the timeline and the Gantt chart that are wanted, and say what does not fit into the timeline."""
    pictures = wanted_pictures(ctx)
    wanted = pictures.timeline is not None
    timeline = flow.timeline_of(chip, trace, result, probe, mapping_option.of(ctx)) if wanted else None
    flow.write_pictures(pictures, result, probe, timeline)
    if timeline is not None and timeline.left_out:
        session(ctx).note(f"{pictures.timeline}: {timeline.left_out}; counters cover all of them")
