"""``accelsim dram``."""

from __future__ import annotations

import json

import click

from accelsim.cli.common import common_options, examples, json_option, session, write_stdout


@click.command(
    "dram", epilog=examples("accelsim dram hwconfigs/dram/dramsim3_DDR4_8Gb_x8_2400.yaml --trace requests.trace")
)
@click.argument("config")
@click.option(
    "--trace", "trace", required=True, metavar="FILE", help="Requests: a line 'ADDRESS R' or 'ADDRESS W' each."
)
@json_option
@common_options
@click.pass_context
def command(ctx: click.Context, config: str, trace: str, as_json: bool) -> None:
    """Time the memory requests of a trace on the memory that CONFIG describes.

    CONFIG is a YAML file with a dram section, alone or in a whole hardware file.
    """
    from accelsim.sim.dram.trace import load_memory, run_dram_command  # noqa: PLC0415  --help must not wait for numba

    result = run_dram_command(config, trace)
    model = load_memory(config).model
    if model != "timing":
        session(ctx).note(f"{config}: dram.model: the chip has {model!r}; a trace needs banks, so 'timing' ran here")
    document = json.loads(result.to_json())
    if as_json:
        write_stdout(json.dumps(document, indent=2) + "\n")
        return
    energies = document.pop("energy_pj")
    lines = [*document.items(), *((f"energy_pj.{cause}", value) for cause, value in energies.items())]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {f'{value:,.4g}' if isinstance(value, float) else f'{value:,}'}")
