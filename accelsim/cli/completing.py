"""Answers to a shell that asks what a word may become; no command is loaded for them."""

from __future__ import annotations

import os

import click
from click.shell_completion import ShellComplete, get_completion_class

from accelsim.cli import names
from accelsim.cli.environment import COMPLETION_VARIABLE
from accelsim.cli.words import command_of, words

_PROGRAM = "accelsim"
_ADD = "COMPREPLY+=($value)"


def answer() -> str:
    """Return what the shell is to read: its script, or the words that fit what was typed.

    `accelsim.cli.environment.unusable_environment` has checked the variables.
    """
    shell, _, action = os.environ[COMPLETION_VARIABLE].partition("_")
    completion = completion_of(shell)
    return completion_script(shell) if action == "source" else completion.complete() + "\n"


def completion_of(shell: str) -> ShellComplete:
    """Return what completes words in ``shell``: bash, zsh or fish."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}; give bash, zsh or fish")
    return kind(command_of(words()["command"], names), {}, _PROGRAM, COMPLETION_VARIABLE)


def completion_script(shell: str) -> str:
    """Return the script that a user's shell reads once."""
    source = completion_of(shell).source()
    # After "pe_array." and "pe_array.rows=" the word goes on: bash must not end it by a space.
    return source.replace(_ADD, f"{_ADD}\n            [[ $value == *[.=] ]] && compopt -o nospace")
