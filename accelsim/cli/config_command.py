"""``accelsim config show | check | schema | diff``."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import click

from accelsim.cli.common import SuggestingGroup, common_options, examples, json_option, set_option, write_stdout
from accelsim.cli.names import complete_chip
from accelsim.config.loader import hardware_json_schema, load_hardware
from accelsim.config.ports import starved
from accelsim.config.presets import CHIPS, preset_file
from accelsim.config.yaml_reader import read_yaml
from accelsim.cost.idealised import idealised_of
from accelsim.errors import ConfigError
from accelsim.report.sentence import idealised_words
from accelsim.sim.dram.trace import load_memory


@click.group(
    "config",
    cls=SuggestingGroup,
    no_args_is_help=False,
    epilog=examples(
        "accelsim config show hwconfigs/edge.yaml --set pe_array.rows=64",
        "accelsim config check hwconfigs/*.yaml",
        "accelsim config schema > hardware.schema.json",
        "accelsim config diff hwconfigs/edge.yaml hwconfigs/hiddenite.yaml",
    ),
)
def command() -> None:
    """Show, check or compare hardware files."""


@command.command("show")
@click.argument("hardware", shell_complete=complete_chip)
@set_option("Change a value first; repeatable.")
@json_option
@common_options
def show(hardware: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print HARDWARE with every default filled in, as YAML."""
    config = load_hardware(hardware, overrides).config.model_dump(mode="json")
    write_stdout(json.dumps(config, indent=2) + "\n" if as_json else _yaml(config))


@command.command("check", short_help="Check hardware and memory files.")
@click.argument("files", nargs=-1, required=True, shell_complete=complete_chip)
@set_option("Change a value first; repeatable.")
@common_options
@click.pass_context
def check(ctx: click.Context, files: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check hardware FILES (or memory files with only a dram section); exit status 2 if one is wrong."""
    wrong = 0
    for file in files:
        try:
            click.echo(f"{file}: ok: {_summary(file, overrides)}")
            for line in _notes(file, overrides):
                click.echo(f"{file}: note: {line}")
        except ConfigError as error:
            wrong += 1
            click.echo(f"accelsim: {error}", err=True)
    if wrong:
        ctx.exit(2)


@command.command("schema")
@common_options
def schema() -> None:
    """Print the JSON schema of a hardware file, for editors."""
    write_stdout(json.dumps(hardware_json_schema(), indent=2) + "\n")


@command.command("diff", short_help="Print what differs between two hardware files.")
@click.argument("first", shell_complete=complete_chip)
@click.argument("second", shell_complete=complete_chip)
@json_option
@common_options
def diff(first: str, second: str, as_json: bool) -> None:
    """Print what differs between two hardware files, defaults filled in."""
    flat = [dict(_leaves(load_hardware(path).config.model_dump(mode="json"))) for path in (first, second)]
    paths = [path for path in {**flat[0], **flat[1]} if flat[0].get(path) != flat[1].get(path)]
    if as_json:
        document = {path: {"first": flat[0].get(path), "second": flat[1].get(path)} for path in paths}
        write_stdout(json.dumps(document, indent=2) + "\n")
        return
    width = max(map(len, paths), default=0)
    for path in paths:
        click.echo(f"{path:<{width}}  {_value(flat[0].get(path))} -> {_value(flat[1].get(path))}")
    if not paths:
        click.echo(f"{first} and {second} describe the same chip")


def _summary(file: str, overrides: tuple[str, ...]) -> str:
    place = preset_file(file, CHIPS)
    if os.path.exists(place) and set(read_yaml(place).root) == {"dram"}:
        dram = load_memory(place, overrides)
        return f"memory {dram.standard}, {dram.num_channels} x {dram.bus_width_bits} bits"
    config = load_hardware(file, overrides).config
    return f"{config.name}, {config.node_nm:g} nm, {config.clock_mhz:g} MHz, {config.array_words}"


def _notes(file: str, overrides: tuple[str, ...]) -> Iterator[str]:
    """Yield what is odd about a chip that is right: ports that starve the array, a unit that is most of the area."""
    if set(read_yaml(preset_file(file, CHIPS)).root) == {"dram"}:
        return
    config = load_hardware(file, overrides).config
    yield from starved(config)
    found = idealised_of(config)
    if found is not None:
        yield idealised_words(*found)


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any) -> str:
    return "(none)" if value is None else str(value)


def _yaml(tree: dict[str, Any]) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415  only this subcommand writes YAML

    stream = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.dump(tree, stream)
    return stream.getvalue()
