"""``accelsim sweep``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from accelsim.cli.collect import STORAGE_OF_ROW
from accelsim.cli.common import common_options, examples, json_option, session, write_stdout
from accelsim.cli.dse_options import SpaceCommand, names, place_options, read_space, refuse_all_failed, wanted_places


@click.command(
    "sweep",
    cls=SpaceCommand,
    epilog=examples(
        "accelsim sweep examples/edge_memory.yaml --out out/edge_memory",
        "accelsim sweep examples/edge_memory.yaml --out out/edge_memory --scheduler tcp://10.0.0.1:8786",
    ),
)
@click.argument("space")
@click.option(
    "--out", "folder", required=True, metavar="DIR", help="Write results.parquet, results.csv and so on there."
)
@click.option("--objectives", metavar="METRICS", help="For the summary, by comma [default: the file's].")
@click.option("--closed-form", is_flag=True, help="Rank by the closed form instead of simulating: fast, approximate.")
@STORAGE_OF_ROW.add_to
@place_options
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    space: str,
    *,
    folder: str,
    objectives: str | None,
    closed_form: bool,
    storage_of: tuple[str, ...],
    given: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Simulate every point of the design space SPACE (a YAML file).

    Running again resumes: points that were done are not done again. A point that fails is a row with its reason; exit
    status 2 if all do. Where pe_array.dataflow varies, options of one dataflow follow it unless they vary too.
    """
    from accelsim.dse.summary_text import summary_lines, summary_text  # noqa: PLC0415
    from accelsim.dse.sweep import sweep  # noqa: PLC0415

    result = sweep(
        read_space(space, given, storage_of),
        wanted_places(ctx, folder, given),
        "closed_form" if closed_form else "simulation",
        names(objectives),
    )
    if as_json:
        write_stdout(summary_text(result.summary))
    else:
        for line in summary_lines(result.summary):
            click.echo(line)
        session(ctx).note(f"wrote results.parquet, results.csv and summary.json in {folder}")
    refuse_all_failed(result.summary, space)
