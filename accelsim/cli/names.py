"""What a shell may complete: chips, tickets, networks, storage formats and fields of a chip by name, and files."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from accelsim.cli.words import words
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
    return _with_files(incomplete, [*preset_names(TICKETS), *words()["networks"]])


def complete_formats(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the storage formats that go on with the last name of a list by comma."""
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in words()["formats"] if name.startswith(last)]


def complete_field(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the fields of a chip that begin so, one section at a time: ``pe_array.``, then ``pe_array.rows=``."""
    return _paths(incomplete, words()["fields"])


def complete_variable(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what may vary and begins so: fields of a chip as `complete_field` has them, and parameters of a run."""
    return _paths(incomplete, [*words()["variables"], *words()["fields"]])


def _paths(incomplete: str, paths: Iterable[str]) -> list[CompletionItem]:
    found: dict[str, None] = {}
    for path in paths:
        if path.startswith(incomplete):
            section, dot, _ = path[len(incomplete) :].partition(".")
            found[f"{incomplete}{section}{dot or '='}"] = None
    return [CompletionItem(each) for each in found]


def _with_files(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    # Files first: bash forgets what came before them.
    items = [CompletionItem(incomplete, type="file")]
    return items + [CompletionItem(name) for name in names if name.startswith(incomplete)]
