"""The words of the command line as a file: commands with their options, networks, formats, and fields of a chip.

A shell asks for completions at each press of a key. From this file they come without loading the commands, which takes
ten times as long. ``python -m accelsim.cli.words`` writes it again; a test compares it with the commands.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import click

WORDS_PATH = Path(__file__).with_name("words.json")


@cache
def words() -> dict[str, Any]:
    """Return the file's content.

    It has the ``command`` as `command_of` reads it, and ``networks``, ``formats``, ``fields`` of a chip, and
    ``variables``: what may vary beside fields.
    """
    content: dict[str, Any] = json.loads(WORDS_PATH.read_text("utf-8"))
    return content


def command_of(record: dict[str, Any], completers: Any) -> click.Command:
    """Return a command that has the options and arguments of ``record`` and does nothing.

    ``completers`` is the module whose functions complete values.
    """
    parameters = [_parameter_of(each, completers) for each in record["parameters"]]
    if "commands" not in record:
        return click.Command(record["name"], params=parameters, help=record["help"])
    inner = {each["name"]: command_of(each, completers) for each in record["commands"]}
    return click.Group(record["name"], params=parameters, help=record["help"], commands=inner)


def _parameter_of(record: dict[str, Any], completers: Any) -> click.Parameter:
    completer = getattr(completers, record["completer"]) if "completer" in record else None
    kind = click.Choice(record["choices"]) if "choices" in record else click.STRING
    if "flags" not in record:
        return click.Argument([record["name"]], nargs=record["nargs"], type=kind, shell_complete=completer)
    multiple, help_text = record["multiple"], record["help"]
    if record["is_switch"]:
        return click.Option([*record["flags"], record["name"]], is_flag=True, multiple=multiple, help=help_text)
    return click.Option(
        [*record["flags"], record["name"]], type=kind, multiple=multiple, help=help_text, shell_complete=completer
    )


def record_of(command: click.Command) -> dict[str, Any]:
    """Return what `command_of` makes a command from."""
    record: dict[str, Any] = {
        "name": command.name,
        "help": command.get_short_help_str(limit=80),
        "parameters": [_record_of_parameter(each) for each in command.params],
    }
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            found = [command.get_command(ctx, name) for name in command.list_commands(ctx)]
        record["commands"] = [record_of(each) for each in found if each is not None]
    return record


def _record_of_parameter(parameter: click.Parameter) -> dict[str, Any]:
    record: dict[str, Any] = {"name": parameter.name}
    completer = parameter._custom_shell_complete  # click has no other way to ask for it
    if completer is not None:
        record["completer"] = completer.__name__
    if isinstance(parameter.type, click.Choice):
        record["choices"] = [str(each) for each in parameter.type.choices]
    if isinstance(parameter, click.Option):
        is_switch = parameter.is_flag or parameter.is_eager
        shown = {"flags": parameter.opts, "is_switch": is_switch, "multiple": parameter.multiple}
        return record | shown | {"help": parameter.help or ""}
    return record | {"nargs": parameter.nargs}


def words_text() -> str:
    """Return the file's content as the program has it now."""
    from accelsim.cli.main import cli  # noqa: PLC0415  a completion loads none of this
    from accelsim.config.hardware import HardwareConfig  # noqa: PLC0415
    from accelsim.config.overrides import field_paths  # noqa: PLC0415
    from accelsim.dse.space import RUN_PARAMETERS, STORAGE, TICKET_PARAMETERS  # noqa: PLC0415
    from accelsim.storage import list_formats  # noqa: PLC0415
    from accelsim.ticket.zoo import list_networks  # noqa: PLC0415
    from accelsim.ticket.zoo.decoders import list_decoders  # noqa: PLC0415

    paths = field_paths(HardwareConfig)
    sections = {path.rpartition(".")[0] for path in paths}
    document = {
        "networks": [*(info.name for info in list_networks()), *(shape.name for shape in list_decoders())],
        "formats": list(list_formats()),
        "fields": [path for path in paths if path not in sections],
        "variables": [STORAGE, *RUN_PARAMETERS, *TICKET_PARAMETERS],
        "command": record_of(cli),
    }
    return json.dumps(document, indent=1) + "\n"


def main() -> None:
    """Write ``words.json`` again from the commands."""
    from accelsim.files import write_file  # noqa: PLC0415

    write_file(WORDS_PATH, words_text().encode())


if __name__ == "__main__":
    main()
