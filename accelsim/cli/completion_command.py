"""``accelsim completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from accelsim.cli.common import Choice, common_options, examples, write_stdout


@click.command(
    "completion",
    epilog=examples(
        'eval "$(accelsim completion bash)"',
    ),
)
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        ctx.fail(f"no completion for {shell}; give bash, zsh or fish")
    write_stdout(kind(ctx.find_root().command, {}, "accelsim", "_ACCELSIM_COMPLETE").source())
