"""``--vary`` and ``--chip`` of ``run``: a table with a row for each combination instead of one run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from accelsim import costed
from accelsim.cli.collect import read_workload
from accelsim.cli.common import session, write_stdout
from accelsim.cli.run_options import RunRequest
from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError


def run_what_if(ctx: click.Context, asked: RunRequest) -> None:
    """Simulate each combination of ``--chip`` and ``--vary``, and print the table.

    With a folder, tables and summary are written there as ``sweep`` does; running again resumes.

    Raises
    ------
    AccelSimError
        What is wrong with a chip, the workload or a variation; or no combination can run.
    """
    from accelsim.dse.points import open_source  # noqa: PLC0415  a plain run does not wait for the engine of sweeps
    from accelsim.dse.progress import Progress  # noqa: PLC0415
    from accelsim.dse.sweep import Places, objectives_of, sweep  # noqa: PLC0415
    from accelsim.dse.what_if import (  # noqa: PLC0415
        as_written,
        refuse_set_twice,
        what_if,
        what_if_space,
        what_if_text,
    )
    from accelsim.dse.what_if_text import print_what_if  # noqa: PLC0415
    from accelsim.report.terminal import UNLIMITED_WIDTH, make_console  # noqa: PLC0415

    for option in asked.how.of_one_run:
        raise click.UsageError(f"{option} is of one run; leave it out, or --vary and --chip", ctx)
    names, workload = (asked.hardware, *asked.how.chip), asked.workloads[0]
    chips = [load_hardware(name, asked.overrides) for name in names]
    own = asked.storage or costed.default_storage(read_workload(ctx, workload, asked.stated), chips[0])
    formats = tuple(dict.fromkeys((own, *(asked.rivals or ()))))
    space = what_if_space(names, workload, formats, asked.how.vary, asked.storage_of)
    refuse_set_twice(space, asked.overrides)
    source = open_source(space, asked.overrides, asked.stated)
    stream = sys.stderr if session(ctx).verbosity >= 0 and sys.stderr.isatty() else None
    if asked.folder is not None:
        rows = list(sweep(space, Places(Path(asked.folder), progress=stream), source=source).rows)
        session(ctx).note(f"wrote results.parquet, results.csv and summary.json in {asked.folder}")
    else:
        progress = Progress(stream, objectives_of(space))
        rows = what_if(space, source, progress)
        progress.end()
    if all(row["status"] != "ok" for row in rows):
        raise ConfigError(f"{workload}: no combination can run; the first: {rows[0]['reason']}")
    if asked.as_json:
        write_stdout(what_if_text(space, rows))
        return
    print_what_if(make_console(sys.stdout, UNLIMITED_WIDTH), space, rows, as_written(asked.how.vary))
