"""``--vary`` and ``--chip`` of ``run``: a table with a row for each combination instead of one run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from accelsim import costed
from accelsim.cli.collect import of_one_run, read_workload, storage_of_option, wanted_workload
from accelsim.cli.common import session, write_stdout
from accelsim.cli.kept import kept_texts
from accelsim.cli.names import complete_chip, complete_variable
from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError

chips_option = kept_texts("--chip", "CHIP", "Another chip, beside HARDWARE; repeatable.", shell_complete=complete_chip)
vary_option = kept_texts(
    "--vary",
    "PATH=VALUE,...",
    "Values of a field of the chip, or of batch, storage, sparsity and so on as in a sweep: a table with a row for "
    "each; repeatable, for all combinations.",
    shell_complete=complete_variable,
)


def wants_what_if(ctx: click.Context) -> bool:
    """Return whether several runs are wanted."""
    return bool(vary_option.of(ctx) or chips_option.of(ctx))


def run_what_if(  # noqa: PLR0913  what `accelsim run` was given
    ctx: click.Context,
    hardware: str,
    workload: str,
    storage: str | None,
    rivals: Sequence[str] | None,
    overrides: Sequence[str],
    folder: str | None,
    as_json: bool,
) -> None:
    """Simulate each combination of ``--chip`` and ``--vary``, and print the table.

    With ``folder``, tables and summary are written there as ``sweep`` does; running again resumes.

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

    for option in of_one_run(ctx):
        raise click.UsageError(f"{option} is of one run; leave it out, or --vary and --chip", ctx)
    names = (hardware, *chips_option.of(ctx))
    chips = [load_hardware(name, overrides) for name in names]
    own = storage or costed.default_storage(read_workload(ctx, workload), chips[0])
    formats = tuple(dict.fromkeys((own, *(rivals or ()))))
    space = what_if_space(names, workload, formats, vary_option.of(ctx), storage_of_option.of(ctx))
    refuse_set_twice(space, overrides)
    source = open_source(space, overrides, wanted_workload(ctx))
    stream = sys.stderr if session(ctx).verbosity >= 0 and sys.stderr.isatty() else None
    if folder is not None:
        rows = list(sweep(space, Places(Path(folder), progress=stream), source=source).rows)
        session(ctx).note(f"wrote results.parquet, results.csv and summary.json in {folder}")
    else:
        progress = Progress(stream, objectives_of(space))
        rows = what_if(space, source, progress)
        progress.end()
    if all(row["status"] != "ok" for row in rows):
        raise ConfigError(f"{workload}: no combination can run; the first: {rows[0]['reason']}")
    if as_json:
        write_stdout(what_if_text(space, rows))
        return
    print_what_if(make_console(sys.stdout, UNLIMITED_WIDTH), space, rows, as_written(vary_option.of(ctx)))
