"""``--tenants`` of ``run``: several networks at once, each on cores of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from accelsim.cli import flow
from accelsim.cli.collect import mapping_file, read_workload, requests_file, wanted_pictures, wants_uncertainty
from accelsim.cli.common import write_stdout
from accelsim.cli.what_if import wants_what_if
from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError
from accelsim.results.store import check_folder_place, prepare_folder, write_text

F = TypeVar("F", bound=Callable[..., Any])
_KEY = "accelsim.tenants"
_SET = "mapping.schedule=tenants"


def tenants_option(function: F) -> F:
    """Add ``--tenants``; `wants_tenants` tells whether it was given."""
    return click.option(
        "--tenants",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _, value: ctx.meta.update({_KEY: value}),
        help="Run several WORKLOADs at once, each on its share of the chip's cores (sets mapping.schedule=tenants).",
    )(function)


def wants_tenants(ctx: click.Context, workloads: Sequence[str]) -> bool:
    """Return whether networks share the chip; several without ``--tenants`` are a usage error."""
    wanted = bool(ctx.meta.get(_KEY))
    if len(workloads) > 1 and not wanted:
        raise click.UsageError(
            f"{workloads[1]}: a second workload; several run at once with --tenants, or one by one with compare", ctx
        )
    if wanted and len(workloads) < 2:  # noqa: PLR2004  one is no company
        raise click.UsageError("--tenants: give two workloads or more", ctx)
    return wanted


def run_together(  # noqa: PLR0913  what `accelsim run` was given
    ctx: click.Context,
    hardware: str,
    workloads: Sequence[str],
    storage: str | None,
    overrides: Sequence[str],
    folder: str | None,
    as_json: bool,
) -> None:
    """Simulate workloads side by side and print what each takes; with ``folder``, write ``tenants.json`` there.

    Raises
    ------
    AccelSimError
        What is wrong with the chip or a workload, or that they do not fit together.
    """
    from accelsim.pipeline import network_on_cores  # noqa: PLC0415  one network does not wait for it
    from accelsim.report.tenants import print_tenants, tenants_text  # noqa: PLC0415
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.tenants import run_tenants  # noqa: PLC0415

    if mapping_file(ctx) or wanted_pictures(ctx).are_wanted or requests_file(ctx) or wants_uncertainty(ctx):
        raise ConfigError(
            "--tenants: --mapping, --timeline, --gantt, --dram-trace and --uncertainty are for one workload; leave "
            "them out"
        )
    if wants_what_if(ctx) or ctx.params.get("compare") is not None:
        raise ConfigError("--tenants: --vary, --chip and --compare are for one workload; leave them out")
    chip = load_hardware(hardware, (*overrides, _SET))
    target = check_folder_place(folder) if folder is not None else None
    traces = [read_workload(ctx, workload) for workload in workloads]
    run = run_tenants(
        chip.config,
        [network_on_cores(chip.config, trace, storage or flow.default_storage(trace, chip)) for trace in traces],
    )
    text = tenants_text(run, chip.config)
    if target is not None:
        write_text(Path(prepare_folder(target)) / "tenants.json", text)
    if as_json:
        write_stdout(text)
    else:
        print_tenants(make_console(sys.stdout), run, chip.config)
