"""``accelsim dram``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import click

from accelsim.cli.common import common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_memory
from accelsim.results.store import check_file_place


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # which click finds in any range
        raise click.BadParameter("nan is not a number")
    return value


@click.command(
    "dram",
    epilog=examples(
        "accelsim dram hwconfigs/dram/dramsim3_DDR4_8Gb_x8_2400.yaml --trace requests.trace",
        "accelsim run edge resnet_slt --dram-trace out/requests.txt",
        "accelsim dram edge --requests out/requests.txt --set dram.power_down_after_ns=640",
    ),
)
@click.argument("config", shell_complete=complete_memory)
@click.option(
    "--trace",
    metavar="FILE",
    help="Requests: a line 'ADDRESS R' or 'ADDRESS W' each, or as DRAMsim3, Ramulator 2 and DRAMSys (.stl) have them.",
)
@click.option("--requests", metavar="FILE", help="Requests: a line 'ARRIVAL_NS R|W ADDRESS BYTES' each.")
@click.option("--commands", metavar="FILE", help="Write the commands that the memory gets there.")
@set_option("Change the memory, e.g. dram.model=simple.")
@click.option(
    "--player-mhz",
    type=click.FloatRange(0.001, 1e6),
    callback=_number,
    metavar="MHZ",
    help="Clock of the cycles in a DRAMSys trace [default: the memory's].",
)
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    config: str,
    trace: str | None,
    requests: str | None,
    commands: str | None,
    overrides: tuple[str, ...],
    player_mhz: float | None,
    as_json: bool,
) -> None:
    """Time memory requests on the memory that CONFIG describes; without requests, describe it.

    CONFIG is a YAML file with a dram section, alone or in a whole hardware file, or the name of a chip or memory
    (accelsim list).
    """
    if trace is not None and requests is not None:
        raise click.UsageError("--trace and --requests: both state requests; give one of them", ctx)
    given = requests if trace is None else trace
    if given is None and (commands is not None or player_mhz is not None):
        option = "--commands" if commands is not None else "--player-mhz"
        raise click.UsageError(f"{option} needs requests; give --trace or --requests", ctx)
    if commands is not None:
        check_file_place(commands, "--commands")
    _show(_described(config, overrides) if given is None else _timed(ctx, given, requests is not None), as_json)


def _described(config: str, overrides: Sequence[str]) -> dict[str, object]:
    """Return the figures of a memory."""
    from accelsim.cost.dram import price_figures  # noqa: PLC0415
    from accelsim.sim.dram.describe import describe_memory  # noqa: PLC0415  --help must not wait for numba
    from accelsim.sim.dram.trace import load_memory  # noqa: PLC0415

    memory = load_memory(config, overrides)
    return {**describe_memory(memory), **price_figures(memory)}


def _timed(ctx: click.Context, given: str, only_timed: bool) -> dict[str, object]:
    """Return what the requests in the file ``given`` cost."""
    from accelsim.cost.memory_trace import cost_requests  # noqa: PLC0415

    config, player_mhz = ctx.params["config"], ctx.params["player_mhz"]
    document, notes = cost_requests(
        config,
        given,
        overrides=ctx.params["overrides"],
        only_timed=only_timed,
        player_mhz=player_mhz,
        commands_path=ctx.params["commands"],
    )
    for note in notes:
        session(ctx).note(note)
    return document


def _show(document: dict[str, object], as_json: bool) -> None:
    if as_json:
        write_stdout(json.dumps(document, indent=2) + "\n")
        return
    lines = list(_lines(document.items()))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {value}")


def _lines(items: Iterable[tuple[str, object]], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in items:
        if isinstance(value, dict):
            yield from _lines(value.items(), f"{name}.")
        else:
            shown = (
                f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
            )
            yield f"{prefix}{name}", shown
