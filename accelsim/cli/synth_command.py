"""``accelsim synth``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import click

from accelsim.cli.collect import OptionRow, collecting, parse_shape
from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import TicketError
from accelsim.prng import GeneratorKind, RandomSource, RatioDistribution, SeedPolicy, StreamGranularity
from accelsim.results.store import check_file_place
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.model import MaskCodec
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network
from accelsim.trace.modules import graph_from_file
from accelsim.trace.parameters import is_exported_module

_NETWORK = (
    OptionRow("--num-classes", click.INT, "Classes, instead of the network's own."),
    OptionRow("--input-shape", click.STRING, "Input, instead of the network's own, e.g. 3x224x224."),
    OptionRow("--width-factor", click.FLOAT, "Multiplies the hidden channels. [default: 1.0]"),
    OptionRow("--skip-unsupported", click.BOOL, "Exported module: leave unknown operations out and count them."),
)
_STATISTICS = (
    OptionRow("--sparsity", click.FLOAT, "Fraction of zeros in the mask. [default: 0.5, or what the ratios allow]"),
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
        "accelsim synth model.pt2 --sparsity 0.7 --out model_slt.pt",
    ),
)
@click.argument("network")
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@collecting("given", *_STATISTICS, *_NETWORK, *_SOURCE)
@common_options
@click.pass_context
def command(ctx: click.Context, network: str, output_path: str, given: Mapping[str, Any]) -> None:
    """Make a ticket of NETWORK with stated statistics and a random mask; no accuracy is known of it.

    NETWORK is a name (accelsim list), or the file of an exported module (.pt2, .onnx).
    """
    from accelsim.ticket.file import write_ticket  # noqa: PLC0415  --help must not wait for torch

    check_file_place(output_path, "--out")
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given.items()]
    graph = _graph(ctx, network, given)
    chosen = {row.name: given[row.name] for row in _STATISTICS if row.name in given}
    template = RandomSource(**{row.name: given[row.name] for row in _SOURCE if row.name in given})
    ticket = synthesize(graph, **{"sparsity": _default_sparsity(given), **chosen}, template=template)
    ticket = replace(ticket, command=" ".join(["accelsim synth", shlex.quote(network), *words]))
    try:
        write_ticket(output_path, ticket)
    except OSError as error:
        raise TicketError(f"{output_path}: cannot be written ({error.strerror}); give a place you may write") from None
    session(ctx).note(f"wrote {output_path}: {ticket.graph.name}, {len(ticket.layers)} layers")


def _default_sparsity(given: Mapping[str, Any]) -> float:
    """Return half, or the nearest that the stated ratios allow: pruned weights are dropped and locked ones kept."""
    return float(max(min(0.5, 1.0 - given.get("lock_ratio", 0.0)), given.get("prune_ratio", 0.0)))


def _graph(ctx: click.Context, network: str, given: Mapping[str, Any]) -> NetworkGraph:
    """Return the graph of a network by name or of an exported module."""
    shape = parse_shape(ctx, given)
    if not is_exported_module(network):
        return build_network(
            network,
            num_classes=given.get("num_classes"),
            input_shape=shape,
            width_factor=given.get("width_factor", 1.0),
        )
    for option in ("num_classes", "width_factor"):
        if option in given:
            flag = option.replace("_", "-")
            raise click.UsageError(f"--{flag}: an exported module has its own; leave the option out", ctx)
    module = graph_from_file(network, input_shape=shape, skip_unsupported=given.get("skip_unsupported", False))
    for operation, count in module.skipped.items():
        session(ctx).note(f"{network}: left out: {count} x {operation}")
    return module.graph
