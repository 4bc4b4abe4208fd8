"""``--tenants`` of ``run``: several networks at once, each on cores of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim import costed
from accelsim.cli.collect import read_workload
from accelsim.cli.common import write_stdout
from accelsim.cli.run_options import RunRequest
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.report.timeline_probe import TimelineProbe
from accelsim.results.store import check_file_place, check_folder_place, prepare_folder, write_text
from accelsim.storage.stated import with_layers

if TYPE_CHECKING:
    from accelsim.tenants import TenantsRun

_SET = "mapping.schedule=tenants"


def wants_tenants(ctx: click.Context, asked: RunRequest) -> bool:
    """Return whether networks share the chip; several without ``--tenants`` are a usage error."""
    wanted, workloads = asked.how.tenants, asked.workloads
    if len(workloads) > 1 and not wanted:
        raise click.UsageError(
            f"{workloads[1]}: a second workload; several run at once with --tenants, or one by one with compare", ctx
        )
    if wanted and len(workloads) < 2:  # noqa: PLR2004  one is no company
        raise click.UsageError("--tenants: give two workloads or more", ctx)
    return wanted


def run_together(ctx: click.Context, asked: RunRequest) -> None:
    """Simulate workloads side by side and print what each takes; with a folder, write ``tenants.json`` there.

    Raises
    ------
    AccelSimError
        What is wrong with the chip or a workload, or that they do not fit together.
    """
    from accelsim.pipeline import built_for, network_on_cores  # noqa: PLC0415  one network does not wait for it
    from accelsim.report.tenants import print_tenants, tenants_text  # noqa: PLC0415
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.tenants import run_tenants  # noqa: PLC0415

    others = {"--vary or --chip": asked.how.is_what_if, "--compare": asked.rivals is not None}
    single = [option for option in asked.how.of_one_run if option != "--timeline"]
    for option in (*single, *(option for option, is_given in others.items() if is_given)):
        raise click.UsageError(f"{option} is of one network; leave it out, or --tenants", ctx)
    chip = load_hardware(asked.hardware, (*asked.overrides, _SET))
    timeline = asked.how.timeline
    if timeline is not None:
        check_file_place(timeline, "--timeline")
    target = check_folder_place(asked.folder) if asked.folder is not None else None
    traces = [read_workload(ctx, workload, asked.stated) for workload in asked.workloads]
    formats = [with_layers(asked.storage or costed.default_storage(trace, chip), asked.storage_of) for trace in traces]
    built = _with_widest_decoder([built_for(chip.config, *each) for each in zip(traces, formats, strict=True)])
    networks = [network_on_cores(built, trace, name) for trace, name in zip(traces, formats, strict=True)]
    probe = TimelineProbe() if timeline is not None else None
    run = run_tenants(built, networks, probe)
    if probe is not None and timeline is not None:
        write_text(Path(timeline), _timeline_text(run, built, probe))
    text = tenants_text(run, built)
    if target is not None:
        write_text(Path(prepare_folder(target)) / "tenants.json", text)
    if asked.as_json:
        write_stdout(text)
    else:
        print_tenants(make_console(sys.stdout), run, built)


def _timeline_text(run: TenantsRun, hardware: HardwareConfig, probe: TimelineProbe) -> str:
    """Return the timeline of networks side by side."""
    from accelsim.report.timeline import Heading  # noqa: PLC0415  a run without pictures does not wait for them
    from accelsim.report.timeline_cores import CoresSeen, make_core_timeline  # noqa: PLC0415

    layers = [f"{each.name}: {layer.name}" for each in run.tenants for layer in each.counters.layers]
    names = {core: f"{each.name} as {each.storage}" for each in run.tenants for core in each.cores}
    words = ", ".join(each.name for each in run.tenants), ", ".join(each.storage for each in run.tenants)
    seen = CoresSeen(
        Heading(hardware.name, *words), hardware.clock_mhz, layers,
        [names.get(core, "nothing") for core in range(hardware.num_cores)],
    )  # fmt: skip
    return make_core_timeline(seen, probe).text


def _with_widest_decoder(chips: Sequence[HardwareConfig]) -> HardwareConfig:
    """Return the chip with the widest of the decoders that it is built with for each network."""
    decoders = [chip.mask_decoder for chip in chips if chip.mask_decoder is not None]
    if not decoders:
        return chips[0]
    widest = decoders[0].model_copy(
        update={
            "positions_per_cycle": max(each.positions_per_cycle for each in decoders),
            "symbols_per_cycle": max(each.symbols_per_cycle for each in decoders),
        }
    )
    return chips[0].model_copy(update={"mask_decoder": widest})
