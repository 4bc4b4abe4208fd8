"""Options that ``sweep`` and ``explore`` share: where points are evaluated and kept."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from accelsim.cli.collect import BATCH_ROW, PHASE_ROWS, OptionRow, collecting
from accelsim.cli.common import session
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.dse.space import DesignSpace
    from accelsim.dse.summary import Summary
    from accelsim.dse.sweep import Places

F = TypeVar("F", bound=Callable[..., Any])
_EXTRA = re.compile(r"unexpected extra arguments? \(([^ )]*)")

_PLACES = (
    OptionRow("--store", click.STRING, "SQLite file of results; runs may share it. [default: results.sqlite in --out]"),
    OptionRow("--workers", click.IntRange(1, 4096), "Local processes. [default: one a core]"),
    OptionRow("--scheduler", click.STRING, "Evaluate on the Dask cluster of this scheduler, tcp://HOST:PORT."),
    OptionRow("--slurm", click.IntRange(1, 100000), "Evaluate in so many Slurm jobs (needs dask-jobqueue)."),
)


class SpaceCommand(click.Command):
    """A command that takes the file of a design space, and says what to type where a chip and values were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words; ``CHIP NETWORK --vary`` is an error that names the command which takes them."""
        given = [word for word in args if word.partition("=")[0] in ("--vary", "--chip", "--set")]
        if given:
            self._refuse(ctx, given[0].partition("=")[0])
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            found = _EXTRA.search(error.format_message())
            if found is None:
                raise
            self._refuse(ctx, found[1])

    def _refuse(self, ctx: click.Context, what: str) -> NoReturn:
        raise click.UsageError(
            f"{what}: {self.name} takes chips, networks and what varies from the file SPACE; without a file: "
            "accelsim run CHIP NETWORK --vary PATH=VALUE,... --out DIR writes the same tables",
            ctx,
        )


def place_options(function: F) -> F:
    """Add the options: the argument ``given``, which `wanted_places` and `read_space` take."""
    return collecting("given", *_PLACES, BATCH_ROW, *PHASE_ROWS)(function)


def place_rows(function: F) -> F:
    """Add the options of `place_options` that say where, and not what is run: the argument ``places``."""
    return collecting("places", *_PLACES)(function)


def wanted_places(ctx: click.Context, folder: str, given: Mapping[str, Any]) -> Places:
    """Return where to evaluate, keep and show."""
    from accelsim.dse.sweep import Places  # noqa: PLC0415  --help must stay quick

    return Places(
        folder=Path(folder),
        store=given.get("store"),
        num_workers=given.get("workers"),
        scheduler=given.get("scheduler"),
        slurm_jobs=given.get("slurm"),
        progress=sys.stderr if session(ctx).verbosity >= 0 else None,
    )


def read_space(path: str, given: Mapping[str, Any], storage_of: tuple[str, ...]) -> DesignSpace:
    """Return the space of a file, with what options state of layers' formats and of each run."""
    from accelsim.dse.space import RUN_PARAMETERS, load_space, with_run  # noqa: PLC0415
    from accelsim.storage.stated import with_layers  # noqa: PLC0415

    run = {name: given[name] for name in RUN_PARAMETERS if name in given}
    space = replace(with_run(load_space(path), run), storage_of=storage_of)
    with_layers("slt", space.storage_of)  # a wrong one is told before anything is made
    return space


def refuse_all_failed(summary: Summary, space: str) -> None:
    """Raise `ConfigError`, with the most frequent reason, if not one point of ``space`` could be evaluated."""
    if summary.num_failed == summary.num_points:
        reason = next(iter(summary.reasons), "it has no point")
        raise ConfigError(f"{space}: not one of {summary.num_points} points can run; most often: {reason}")


def names(text: str | None) -> tuple[str, ...]:
    """Return the names of a list with commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
