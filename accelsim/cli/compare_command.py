"""``accelsim compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import click

from accelsim.cli import flow
from accelsim.cli.collect import exact_option, read_workload, wants_exact, workload_options
from accelsim.cli.common import common_options, examples, json_option, progress, session, write_stdout
from accelsim.cli.names import complete_chip, complete_workload
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.errors import ConfigError, MappingError
from accelsim.report.breakeven import print_assumption, print_break_even
from accelsim.report.figures import freezing_figure
from accelsim.report.terminal import make_console, print_comparison
from accelsim.results.compare import runs_text
from accelsim.results.store import (
    prepare_folder,
    remove_runs,
    result_document,
    sole_writer,
    write_bytes,
    write_text,
)
from accelsim.trace.model import LayerTrace

VALUES_RIVAL = "entropy-int8"
TABLE_NAME = "compare.csv"
FIGURE_NAME = "compare.png"
RUNS_NAME = "runs"


@click.command(
    "compare",
    epilog=examples(
        "accelsim compare hwconfigs/edge.yaml workloads/conv6_slt_f*.pt --storage slt,dense-int8 --out out/conv6",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("workloads", nargs=-1, required=True, metavar="WORKLOAD...", shell_complete=complete_workload)
@click.option(
    "--storage", metavar="FORMATS", help="Formats, by comma, or all. [default: each workload's own, and dense-int8]"
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change the chip, e.g. pe_array.rows=64.")
@click.option("--out", "folder", required=True, metavar="DIR", help=f"Write {TABLE_NAME} and {FIGURE_NAME} there.")
@exact_option
@workload_options
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    workloads: tuple[str, ...],
    storage: str | None,
    overrides: tuple[str, ...],
    folder: str,
    as_json: bool,
) -> None:
    """Simulate each WORKLOAD in each storage format on HARDWARE.

    Writes a folder per run, a CSV file with a row per run, and a figure of energy, latency and weight traffic over the
    freezing ratio, with the accuracy of the tickets beside them.
    """
    stated = None if storage is None else flow.parse_formats(storage, "--storage")
    if stated is not None and not stated:
        raise click.UsageError("--storage: no format given; give at least one, e.g. slt", ctx)
    chip = load_hardware(hardware, overrides)
    target = prepare_folder(folder)
    ctx.with_resource(sole_writer(target))
    remove_runs(target / RUNS_NAME, TABLE_NAME, FIGURE_NAME)
    runs: list[flow.CostedRun] = []
    synthetic: list[bool] = []
    state = session(ctx)
    for workload in progress(workloads, "simulating", state):
        trace = read_workload(ctx, workload)
        formats = stated or _default_formats(trace)
        for run in _simulate(ctx, chip, trace, formats, leave_out=(storage or "").strip() == flow.ALL_FORMATS):
            flow.save_run(target / RUNS_NAME, len(runs), chip, trace, run)
            runs.append(run)
            synthetic.append(flow.is_synthetic(trace, run.result.storage))
    if not runs:
        raise MappingError(f"{hardware}: no storage format can run here; name one with --storage to see why")
    results = [run.result for run in runs]
    write_text(target / TABLE_NAME, runs_text(results, synthetic))
    write_bytes(target / FIGURE_NAME, freezing_figure(results))
    if as_json:
        write_stdout(json.dumps([result_document(result) for result in results], indent=2, allow_nan=False) + "\n")
        return
    console = make_console(sys.stdout)
    print_comparison(console, results, synthetic)
    families = flow.by_ticket(runs)
    for ticket, rivals in families:
        points = flow.break_even_points(chip, ticket, rivals)
        precision = flow.equal_precision(chip, ticket, rivals)
        print_break_even(console, ticket.result, [rival.result for rival in rivals], points, precision)
    if families:
        print_assumption(console)
    state.note(f"wrote {target / TABLE_NAME} and {target / FIGURE_NAME}")


def _default_formats(trace: LayerTrace) -> tuple[str, str]:
    """Return the format a network is kept in, and dense int8, or what rivals that."""
    own = flow.default_storage(trace)
    return own, flow.DENSE_STORAGE if own != flow.DENSE_STORAGE else VALUES_RIVAL


def _simulate(
    ctx: click.Context, chip: LoadedHardware, trace: LayerTrace, formats: Sequence[str], *, leave_out: bool
) -> Iterator[flow.CostedRun]:
    """Yield the run of ``trace`` in each of ``formats``; with ``leave_out`` note at the end those that cannot run."""
    failures: list[tuple[str, str]] = []
    for name in formats:
        try:
            yield flow.simulate_format(chip, trace, name, wants_exact(ctx))
        except (ConfigError, MappingError) as error:
            if not leave_out:
                raise
            failures.append((name, str(error).removeprefix(f"{trace.path}: ")))
    for line in flow.left_out_lines(trace.name, failures):
        session(ctx).note(line)
