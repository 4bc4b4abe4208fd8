"""``accelsim search``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from pydantic import ValidationError

from accelsim.cli.collect import model_options
from accelsim.cli.common import common_options, examples, session
from accelsim.config.explain import explain
from accelsim.errors import ConfigError
from accelsim.results.store import check_file_place
from accelsim.slt.config import SearchConfig


@click.command(
    "search",
    epilog=examples(
        "accelsim search conv6 --sparsity 0.7 --prune-ratio 0.35 --lock-ratio 0.15 --out conv6.pt",
        "accelsim search char_decoder --dataset kjv --optimizer adam --sparsity 0.5 --out decoder.pt",
        "accelsim search resnet18 --prune-ratio 0.5 --lock-ratio 0.2 --out r.pt --checkpoint-path r.ckpt --resume",
    ),
)
@click.argument("network")
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint-path.")
@model_options("given", SearchConfig, without=frozenset({"network", "output_path"}))
@common_options
@click.pass_context
def command(ctx: click.Context, network: str, output_path: str, resume: bool, given: Mapping[str, Any]) -> None:
    """Search the supermask of NETWORK on a data set, with a part of its random weights frozen."""
    try:
        config = SearchConfig.model_validate({"network": network, "output_path": output_path, **given})
    except ValidationError as error:
        raise ConfigError(f"search: {explain(error.errors()[0], SearchConfig)}") from None
    check_file_place(output_path, "--out")
    if config.checkpoint_path is not None:
        check_file_place(config.checkpoint_path, "--checkpoint-path")
    from rich.console import Console  # noqa: PLC0415  --help must not wait for torch

    from accelsim.slt.search import search  # noqa: PLC0415

    quiet = session(ctx).verbosity < 0
    ticket = search(config, resume=resume, console=Console(stderr=True, quiet=quiet))
    bits = ticket.bits_per_character
    score = "" if bits is None else f", {bits:.4f} bits per character"
    session(ctx).note(f"wrote {output_path}: {ticket.graph.name}, accuracy {ticket.accuracy}{score}")
