"""What a shell may complete: chips, tickets, networks and storage formats by name, and files."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from accelsim.config.presets import CHIPS, MEMORIES, TICKETS, preset_names


def complete_chip(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the chips whose name begins so, and files."""
    return _with_files(incomplete, preset_names(CHIPS))


def complete_memory(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the memories and chips whose name begins so, and files."""
    return _with_files(incomplete, [*preset_names(MEMORIES), *preset_names(CHIPS)])


def complete_ticket(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the tickets whose name begins so, and files."""
    return _with_files(incomplete, preset_names(TICKETS))


def complete_workload(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the tickets and networks whose name begins so, and files."""
    from accelsim.ticket.zoo import list_networks  # noqa: PLC0415  other commands do not wait for it
    from accelsim.ticket.zoo.decoders import list_decoders  # noqa: PLC0415

    known = [info.name for info in list_networks()] + [shape.name for shape in list_decoders()]
    return _with_files(incomplete, [*preset_names(TICKETS), *known])


def complete_formats(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the storage formats that go on with the last name of a list by comma."""
    from accelsim.storage import list_formats  # noqa: PLC0415  other commands do not wait for it

    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in list_formats() if name.startswith(last)]


def _with_files(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    # Files first: bash forgets what came before them.
    items = [CompletionItem(incomplete, type="file")]
    return items + [CompletionItem(name) for name in names if name.startswith(incomplete)]
