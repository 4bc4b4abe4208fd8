"""``accelsim explore``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from accelsim.cli.collect import STORAGE_OF_ROW, OptionRow, collecting
from accelsim.cli.common import Choice, common_options, examples, json_option, session, write_stdout
from accelsim.cli.dse_options import SpaceCommand, names, place_options, read_space, refuse_all_failed, wanted_places

_SEARCH = (
    OptionRow("--trials", click.IntRange(1, 10_000_000), "Designs to rank by the closed form. [default: 1000]"),
    OptionRow("--sampler", Choice(["nsga2", "tpe", "random"]), "How designs are proposed. [default: nsga2]"),
    OptionRow("--sample", click.IntRange(0, 100_000), "Designs to simulate besides the front. [default: 16]"),
    OptionRow("--seed", click.IntRange(0, 2**32 - 1), "Seed of the search. [default: 1]"),
)


@click.command(
    "explore",
    cls=SpaceCommand,
    epilog=examples(
        "accelsim explore examples/edge_memory.yaml --objectives latency_s,energy_j --trials 200 --out out/explore",
        "accelsim explore examples/edge_memory.yaml --where 'area_mm2 <= 1.3' --trials 200 --out out/small",
    ),
)
@click.argument("space")
@click.option("--out", "folder", required=True, metavar="DIR", help="Write results, ranking and summary.json there.")
@click.option("--objectives", metavar="METRICS", help="By comma; what is better is known [default: the file's].")
@click.option("--where", "conditions", multiple=True, metavar="CONDITION", help="E.g. 'area_mm2 <= 2'; repeatable.")
@collecting("search", *_SEARCH)
@STORAGE_OF_ROW.add_to
@place_options
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option, or several that belong together
    ctx: click.Context,
    space: str,
    *,
    folder: str,
    objectives: str | None,
    conditions: tuple[str, ...],
    search: Mapping[str, Any],
    storage_of: tuple[str, ...],
    given: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Search the design space SPACE (a YAML file) for the Pareto set of the objectives.

    The closed form ranks all trials; the front and a random sample are simulated, and the rank correlation of both is
    reported. With several workloads times and energies add up.
    """
    from accelsim.dse.constraints import parse_constraint  # noqa: PLC0415
    from accelsim.dse.explore import SearchPlan, explore  # noqa: PLC0415
    from accelsim.dse.summary_text import agreement_lines, summary_lines, summary_text  # noqa: PLC0415

    plan = SearchPlan(
        objectives=names(objectives),
        num_trials=search.get("trials", 1000),
        algorithm=search.get("sampler", "nsga2"),
        constraints=tuple(parse_constraint(text, "--where") for text in conditions),
        num_sample=search.get("sample", 16),
        seed=search.get("seed", 1),
    )
    result = explore(read_space(space, given, storage_of), wanted_places(ctx, folder, given), plan)
    if as_json:
        write_stdout(summary_text(result.summary, result.agreement))
    else:
        for line in (*agreement_lines(result.agreement), *summary_lines(result.summary)):
            click.echo(line)
        session(ctx).note(f"wrote results.*, ranked.* and summary.json in {folder}")
    refuse_all_failed(result.summary, space)
