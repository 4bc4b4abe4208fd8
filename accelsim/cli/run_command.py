"""``accelsim run``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from accelsim.cli import flow
from accelsim.cli.collect import (
    exact_option,
    mapping_file,
    mapping_option,
    timeline_file,
    timeline_option,
    wanted_workload,
    wants_exact,
    workload_options,
)
from accelsim.cli.common import common_options, examples, json_option, write_stdout
from accelsim.config.loader import load_hardware
from accelsim.report.terminal import make_console, print_run
from accelsim.report.timeline import TimelineProbe, timeline_text
from accelsim.results.store import check_file_place, prepare_folder, result_text, write_run, write_text
from accelsim.trace import trace_workload

DEFAULT_COMPARE = "dense-int8,dense-fp32"


@click.command(
    "run",
    epilog=examples(
        "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt",
        "accelsim run hwconfigs/edge.yaml workloads/resnet_slt.pt --json --compare csr-int8",
        "accelsim run hwconfigs/edge.yaml resnet50 --sparsity 0.7 --prune-ratio 0.5 --lock-ratio 0.2",
    ),
)
@click.argument("hardware")
@click.argument("workload")
@click.option("--storage", metavar="FORMAT", help="Storage format [default: slt, or dense-int8 without a ticket].")
@click.option(
    "--compare",
    metavar="FORMATS",
    help=f"Formats to compare with, by comma, or none; given, the JSON has them [default: {DEFAULT_COMPARE}].",
)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change the chip, e.g. pe_array.rows=64.")
@click.option("--out", "folder", metavar="DIR", help="Write summary.json, layers.csv and counters.json there.")
@timeline_option
@mapping_option
@exact_option
@workload_options
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    hardware: str,
    workload: str,
    storage: str | None,
    compare: str | None,
    overrides: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> None:
    """Simulate WORKLOAD on HARDWARE: latency, energy, traffic, and where the cycles went.

    HARDWARE is a YAML file; WORKLOAD a ticket (.pt), a topology (.csv) or the name of a network.
    """
    exact = wants_exact(ctx)
    rivals = flow.parse_formats(DEFAULT_COMPARE if compare is None else compare, "--compare")
    if storage is not None:
        storage = flow.parse_format(storage, "--storage")
    chip = load_hardware(hardware, overrides)
    target = prepare_folder(folder) if folder is not None else None
    timeline = timeline_file(ctx)
    if timeline is not None:
        check_file_place(timeline, "--timeline")
    trace = trace_workload(workload, wanted_workload(ctx))
    probe = TimelineProbe(len(trace.layers)) if timeline is not None else None
    run = flow.simulate_format(chip, trace, storage or flow.default_storage(trace), exact, probe, mapping_file(ctx))
    result = run.result
    wanted = compare is not None or not as_json
    comparison = flow.simulate_totals(chip, trace, rivals, exact) if wanted else {}
    if compare is not None:
        result = result.model_copy(update={"comparison": comparison})
    if target is not None:
        write_run(target, result, flow.run_counters_text(chip, trace, run.counters))
    if timeline is not None and probe is not None:
        write_text(Path(timeline), timeline_text(result, probe))
    if as_json:
        write_stdout(result_text(result))
    else:
        print_run(make_console(sys.stdout), result, comparison)
