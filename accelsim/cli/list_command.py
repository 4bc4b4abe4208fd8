"""``accelsim list``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from accelsim.cli.common import Choice, common_options, examples, json_option, write_stdout
from accelsim.config.presets import preset_folder
from accelsim.report.text import quantity

# Each kind imports what it lists when it lists it: nobody who asks for tickets waits for NumPy.


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be named on a command line."""

    name: str
    summary: str


def chips() -> list[Item]:
    """Return the hardware files below ``hwconfigs/`` of the current folder, else those that were installed."""
    return [Item(path.as_posix(), _chip(path)) for path in sorted(preset_folder("hwconfigs").glob("*.yaml"))]


def memories() -> list[Item]:
    """Return the memory files below ``hwconfigs/dram/`` of the current folder, else those that were installed."""
    return [Item(path.as_posix(), "") for path in sorted(preset_folder("hwconfigs/dram").glob("*.yaml"))]


def networks() -> list[Item]:
    """Return the networks that ``synth`` and ``search`` know by name, and the language models."""
    from accelsim.ticket.zoo import list_networks  # noqa: PLC0415
    from accelsim.ticket.zoo.decoders import list_decoders  # noqa: PLC0415

    found = [Item(info.name, info.summary) for info in list_networks()]
    return found + [Item(shape.name, shape.summary) for shape in list_decoders()]


def formats() -> list[Item]:
    """Return the storage formats."""
    from accelsim.storage import get_format, list_formats  # noqa: PLC0415

    return [Item(name, get_format(name).summary) for name in list_formats()]


def tickets() -> list[Item]:
    """Return the ticket files below ``workloads/`` of the current folder, else those that were installed."""
    paths = sorted(preset_folder("workloads").glob("*.pt"))
    return [Item(path.as_posix(), quantity(path.stat().st_size, "B")) for path in paths]


KINDS: dict[str, Callable[[], list[Item]]] = {
    "chips": chips,
    "networks": networks,
    "formats": formats,
    "tickets": tickets,
    "memories": memories,
}
OTHER_WORDS = {"presets": "chips"}
"""Words that an earlier version had for a kind."""

_TITLES = {
    "chips": "chips (the name, or the path of hwconfigs/NAME.yaml)",
    "memories": "memories (for accelsim dram, which takes chips as well)",
    "tickets": "tickets (the name, or the path of workloads/NAME.pt)",
}


@click.command(
    "list",
    epilog=examples(
        "accelsim list chips",
        "accelsim list formats --json",
    ),
)
@click.argument("kind", required=False, metavar="[KIND]", type=Choice([*KINDS, *OTHER_WORDS]))
@json_option
@common_options
def command(kind: str | None, as_json: bool) -> None:
    """List what has a name: chips, networks, formats, tickets, memories; KIND is one of these words.

    presets is another word for chips.
    """
    wanted = list(KINDS) if kind is None else [kind]
    found = {name: KINDS[OTHER_WORDS.get(name, name)]() for name in wanted}
    if as_json:
        document = {name: [asdict(item) for item in items] for name, items in found.items()}
        write_stdout(json.dumps(document, indent=2) + "\n")
        return
    for name, items in found.items():
        kept = OTHER_WORDS.get(name, name)
        click.echo(f"{_TITLES.get(kept, kept)}:")
        short = [Path(item.name).stem if kept in _TITLES else item.name for item in items]
        width = max(map(len, short), default=0)
        for item, shown in zip(items, short, strict=True):
            click.echo(f"  {shown:<{width}}  {item.summary}".rstrip())
        if not items:
            click.echo("  none in this folder, and none installed")


def _chip(path: Path) -> str:
    from accelsim.config.loader import load_hardware  # noqa: PLC0415
    from accelsim.errors import ConfigError  # noqa: PLC0415

    try:
        config = load_hardware(path).config
    except ConfigError as error:
        return f"broken: {error}"
    return f"{config.node_nm:g} nm, {config.clock_mhz:g} MHz, {config.array_words}, {config.dram.standard}"
