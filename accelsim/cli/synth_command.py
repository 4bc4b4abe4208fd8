"""``accelsim synth``."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import get_args

import click

from accelsim.cli.collect import OptionRow, collected, collecting, parse_shape
from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import TicketError
from accelsim.prng import GeneratorKind, RandomSource, RatioDistribution, SeedPolicy, StreamGranularity
from accelsim.results.store import check_file_place
from accelsim.ticket.model import MaskCodec
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network

_NETWORK = (
    OptionRow("--num-classes", click.INT, "Classes, instead of the network's own."),
    OptionRow("--input-shape", click.STRING, "Input, instead of the network's own, e.g. 3x224x224."),
    OptionRow("--width-factor", click.FLOAT, "Multiplies the hidden channels. [default: 1.0]"),
)
_STATISTICS = (
    OptionRow("--sparsity", click.FLOAT, "Fraction of zeros in the mask. [default: 0.5]"),
    OptionRow("--prune-ratio", click.FLOAT, "Fraction of all weights that freezing prunes. [default: 0.0]"),
    OptionRow("--lock-ratio", click.FLOAT, "Fraction of all weights that freezing locks. [default: 0.0]"),
    OptionRow("--distribution", Choice(get_args(RatioDistribution)), "How ratios are spread. [default: uniform]"),
    OptionRow("--seed", click.INT, "Seed of weights, freezing map and mask. [default: 1]"),
    OptionRow("--codec", Choice(get_args(MaskCodec)), "How masks are packed. [default: raw]"),
)
_SOURCE = (
    OptionRow("--generator", Choice(get_args(GeneratorKind)), "Weight generator. [default: xorshift32]"),
    OptionRow("--stream", Choice(get_args(StreamGranularity)), "One stream per what. [default: filter]"),
    OptionRow("--tile-filters", click.IntRange(1), "Filters per stream where --stream is tile. [default: 1]"),
    OptionRow("--seeds", Choice(get_args(SeedPolicy)), "Where stream seeds come from. [default: derived]"),
    OptionRow("--threshold-bits", click.IntRange(1, 32), "Bits of a freezing word. [default: 16]"),
)


@click.command(
    "synth",
    epilog=examples(
        "accelsim synth resnet50 --sparsity 0.7 --prune-ratio 0.5 --lock-ratio 0.2 --out resnet50.pt",
        "accelsim synth conv6 --sparsity 0.9 --codec entropy --out conv6.pt",
    ),
)
@click.argument("network")
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@collecting(*_STATISTICS, *_NETWORK, *_SOURCE)
@common_options
@click.pass_context
def command(ctx: click.Context, network: str, output_path: str) -> None:
    """Make a ticket of NETWORK with stated statistics and a random mask; no accuracy is known of it."""
    from accelsim.ticket.file import write_ticket  # noqa: PLC0415  --help must not wait for torch

    check_file_place(output_path, "--out")
    given = collected(ctx)
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given.items()]
    shape = parse_shape(ctx, given)
    graph = build_network(
        network,
        num_classes=given.get("num_classes"),
        input_shape=shape,
        width_factor=given.get("width_factor", 1.0),
    )
    chosen = {row.name: given[row.name] for row in _STATISTICS if row.name in given}
    template = RandomSource(**{row.name: given[row.name] for row in _SOURCE if row.name in given})
    ticket = synthesize(graph, **{"sparsity": 0.5, **chosen}, template=template)
    ticket = replace(ticket, command=" ".join(["accelsim synth", shlex.quote(network), *words]))
    try:
        write_ticket(output_path, ticket)
    except OSError as error:
        raise TicketError(f"{output_path}: cannot be written ({error.strerror}); give a place you may write") from None
    session(ctx).note(f"wrote {output_path}: {ticket.graph.name}, {len(ticket.layers)} layers")
