"""What all commands share: the overview that imports nothing, options, and one line per mistake."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from accelsim.cli.catalogue import GROUPS, CommandEntry
from accelsim.cli.names import complete_field
from accelsim.names import suggest

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_FIELD = re.compile(r"(?:\w+: |network '[^']*': )?(?P<field>[a-z_]+): ")
_JOINED_WORD = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


@dataclasses.dataclass(slots=True)
class Session:
    """How much the user wants to hear: 1 with ``-v`` (traceback on a fault), -1 with ``-q`` (results and errors).

    ``flags`` are the command's options that become fields of one value, by the fields' names.
    """

    verbosity: int = 0
    flags: dict[str, str] = dataclasses.field(default_factory=dict)

    def as_typed(self, message: str) -> str:
        """Return a message that begins with a field, ``kv_bits: 5 is not ...``, with options as the user types them."""
        found = _FIELD.match(message)
        if found is None or found["field"] not in self.flags:
            return message
        start, end = found.span("field")
        rest = _JOINED_WORD.sub(lambda word: self.flags.get(word[0], word[0]), message[end:])
        return f"{message[:start]}{self.flags[found['field']]}{rest}"

    def note(self, text: str) -> None:
        """Print a remark for people on the error stream, unless they asked for quiet."""
        if self.verbosity >= 0:
            click.echo(text, err=True)


def progress(items: Sequence[T], label: str, state: Session) -> Iterator[T]:
    """Yield ``items`` with a bar on the error stream, where that is a terminal and the user did not ask for quiet."""
    hidden = state.verbosity < 0 or not sys.stderr.isatty()
    with click.progressbar(items, label=label, file=sys.stderr, hidden=hidden) as bar:
        yield from bar


def session(ctx: click.Context) -> Session:
    """Return the session of this call."""
    return ctx.ensure_object(Session)


def _set_verbosity(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            session(ctx).verbosity = level

    return callback


def common_options(function: F) -> F:
    """Add ``-v`` and ``-q`` to a command."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_verbosity(-1), help="Results and errors only."
    )
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbosity(1), help="Traceback on a fault."
    )
    return verbose(quiet(function))


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, each on its own line."""
    # A lone backspace keeps click from joining the lines.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def set_option(help_text: str = "Change the chip, e.g. pe_array.rows=64.") -> Callable[[F], F]:
    """Add ``--set``, repeatable: the argument ``overrides``."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="PATH=VALUE", shell_complete=complete_field, help=help_text
    )


def json_option(function: F) -> F:
    """Add ``--json``: the machine-readable result and nothing else on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(function)


def write_stdout(text: str) -> None:
    """Write ``text`` to standard output as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Choice(click.Choice[str]):
    """One of some words; a usage error suggests the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return ``value`` if it is one of the words."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            words = [str(word) for word in self.choices]
            hint = suggest(str(value), words, cutoff=0.5)
            self.fail(f"{str(value)!r} is unknown; {hint}give one of {', '.join(words)}", param, ctx)


class Overview(click.Group):
    """The root command: it knows names and summaries, and loads a command's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the overview."""
        return [entry.name for _, entries in GROUPS for entry in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command called ``cmd_name``, loaded now; None if there is none."""
        for _, entries in GROUPS:
            for entry in entries:
                if entry.name == cmd_name:
                    module = importlib.import_module(f"accelsim.cli.{entry.module}_command")
                    command: click.Command = module.command
                    return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` name; a usage error suggests the nearest name."""
        return _resolve(self, ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands grouped by task, each with an example."""
        for title, entries in GROUPS:
            with formatter.section(title):
                formatter.write_dl([_overview_line(entry) for entry in entries], col_max=14)
        with formatter.section("Examples"):
            for _, entries in GROUPS:
                for entry in entries:
                    formatter.write(f"{'':{formatter.current_indent}}{entry.example}\n")


class SuggestingGroup(click.Group):
    """A group of subcommands that suggests the nearest name for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` name; a usage error suggests the nearest name."""
        return _resolve(self, ctx, args)


def _overview_line(entry: CommandEntry) -> tuple[str, str]:
    return entry.name, entry.summary


def _resolve(
    group: click.Group, ctx: click.Context, args: list[str]
) -> tuple[str | None, click.Command | None, list[str]]:
    name = args[0]
    found = group.get_command(ctx, name)
    if found is None and not ctx.resilient_parsing:
        known = group.list_commands(ctx)
        hint = suggest(name, known, cutoff=0.5).strip() or f"known are {', '.join(known)}"
        ctx.fail(f"no such command {name!r}; {hint}")
    return name if found else None, found, args[1:]
