"""``accelsim completion``."""

from __future__ import annotations

import click

from accelsim.cli.common import Choice, common_options, examples, write_stdout
from accelsim.cli.completing import completion_script


@click.command(
    "completion",
    epilog=examples(
        'eval "$(accelsim completion bash)"',
    ),
)
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]))
@common_options
def command(shell: str) -> None:
    """Print the completion script of SHELL."""
    write_stdout(completion_script(shell))
