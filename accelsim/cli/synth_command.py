"""``accelsim synth``."""

from __future__ import annotations

from typing import cast, get_args

import click

from accelsim.cli.common import common_options, examples, session
from accelsim.prng import RatioDistribution
from accelsim.results.store import check_file_place
from accelsim.ticket.model import MaskCodec


@click.command(
    "synth",
    epilog=examples(
        "accelsim synth resnet50 --sparsity 0.7 --prune-ratio 0.5 --lock-ratio 0.2 --out resnet50.pt",
        "accelsim synth conv6 --sparsity 0.9 --codec entropy --out conv6.pt",
    ),
)
@click.argument("network")
@click.option("--sparsity", type=click.FLOAT, default=0.5, show_default=True, help="Fraction of zeros in the mask.")
@click.option("--prune-ratio", type=click.FLOAT, default=0.0, show_default=True, help="Fraction of all weights pruned.")
@click.option("--lock-ratio", type=click.FLOAT, default=0.0, show_default=True, help="Fraction of all weights locked.")
@click.option("--distribution", type=click.Choice(list(get_args(RatioDistribution))), default="uniform", show_default=True)
@click.option("--seed", type=click.INT, default=1, show_default=True, help="Seed of weights, freezing map and mask.")
@click.option("--codec", type=click.Choice(list(get_args(MaskCodec))), default="raw", show_default=True)
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    network: str,
    sparsity: float,
    prune_ratio: float,
    lock_ratio: float,
    distribution: str,
    seed: int,
    codec: str,
    output_path: str,
) -> None:
    """Make a ticket of NETWORK with stated statistics and a random mask; no accuracy is known of it."""
    from accelsim.ticket.file import write_ticket  # noqa: PLC0415  --help must not wait for torch
    from accelsim.ticket.synth import synthesize  # noqa: PLC0415
