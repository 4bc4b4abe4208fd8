"""Every command line that the help and the pages show is one that the program accepts."""

import re
import shlex
from pathlib import Path

import click
import pytest

from accelsim.cli.catalogue import GROUPS
from accelsim.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
ENTRIES = [entry for _, entries in GROUPS for entry in entries]


def shown_lines():
    lines = {entry.example for entry in ENTRIES}
    context = click.Context(cli)
    for entry in ENTRIES:
        command = cli.get_command(context, entry.name)
        lines.update(line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  "))
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        lines.update(re.findall(r"^(?: {4}|\$ )(accelsim .*)$", text, flags=re.MULTILINE))
    return sorted(re.sub(r'^eval "\$\((.*)\)"$', r"\1", line) for line in lines)


def parse(command, name, words, parent):
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        subname, subcommand, arguments = command.resolve_command(context, rest)
        parse(subcommand, subname, arguments, context)


@pytest.mark.parametrize("line", shown_lines())
def test_shown_command_lines_parse_and_name_existing_files(line):
    words = shlex.split(line.split(" > ")[0].split(" #")[0])
    assert words[0] == "accelsim"

    parse(cli, "accelsim", words[1:], None)

    for word in words:
        if word.startswith(("hwconfigs/", "workloads/")):
            assert list(ROOT.glob(word)), f"{word} does not exist"
