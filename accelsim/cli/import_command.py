"""``accelsim import``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import click

from accelsim.cli.collect import OptionRow, collecting, parse_shape
from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import TicketError
from accelsim.kinds import other_kind
from accelsim.results.store import check_file_place
from accelsim.ticket.file import write_ticket
from accelsim.ticket.importers import ImportOptions, KnownGraph, import_checkpoint
from accelsim.ticket.importers.mask_forms import MASK_FORMS
from accelsim.ticket.model import MaskCodec
from accelsim.trace.parameters import is_exported_module, read_exported_module


@click.command(
    "import",
    epilog=examples(
        "accelsim import checkpoint.pt --network resnet18 --out imported.pt",
        "accelsim import model.safetensors --graph model.pt2 --mask-key keep --out imported.pt",
    ),
)
@click.argument("checkpoint")
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@collecting(
    "given",
    OptionRow("--graph", click.STRING, "The module, exported (.pt2, .onnx), or the name of a network."),
    OptionRow("--network", click.STRING, "Name of the network [default: found from names and shapes]."),
    OptionRow("--width-factor", click.FLOAT, "Multiplies the hidden channels [default: found from shapes]."),
    OptionRow("--input-shape", click.STRING, "Input C,H,W, e.g. 3,32,32 [default: the network's own]."),
    OptionRow(
        "--part", click.STRING, "Which of several networks in the file: how its names begin, e.g. ema (. is none)."
    ),
    OptionRow(
        "--mask-key", click.STRING, "Endings of tensors that are masks (1 keeps), or their dictionary, by comma."
    ),
    OptionRow("--mask-form", Choice(MASK_FORMS), "How the masks of --mask-key are written. [default: kept: 1 keeps]"),
    OptionRow("--score-key", click.STRING, "Endings of tensors that are scores, by comma."),
    OptionRow("--threshold-key", click.STRING, "Endings of tensors above which |weight| is kept, by comma."),
    OptionRow("--score-rule", click.STRING, "Kept by scores: the largest magnitude, value, or above a number."),
    OptionRow("--ignore-key", click.STRING, "Endings of tensors that decide nothing, by comma."),
    OptionRow("--nm", click.STRING, "Kept are the N largest of M successive inputs, e.g. 2:4."),
    OptionRow("--sparsity", click.FLOAT, "Fraction of zeros, which files with scores do not hold."),
    OptionRow("--codec", Choice(get_args(MaskCodec)), "How masks are packed. [default: raw]"),
)
@common_options
@click.pass_context
def command(ctx: click.Context, checkpoint: str, output_path: str, given: Mapping[str, Any]) -> None:
    """Turn the CHECKPOINT of another program (torch.save, safetensors) into a ticket.

    Partially frozen tickets, edge-popup and multi-prize tickets, networks with masks, and plain ones (dense, pruned,
    N:M) are read; nothing in the file is executed. With --graph the network may have any architecture.
    """
    check_file_place(output_path, "--out")
    other = other_kind(checkpoint, is_import=True)
    if other is not None:
        raise TicketError(other)
    options = ImportOptions(
        **{**given, "input_shape": parse_shape(ctx, given), "nm": _pattern(ctx, given.get("nm")), "graph": None}
    )
    options = _with_graph(ctx, options, given.get("graph"))
    imported = import_checkpoint(checkpoint, options)
    write_ticket(output_path, imported.ticket)
    state = session(ctx)
    for note in imported.notes:
        state.note(f"note: {note}")
    state.note(f"wrote {output_path}: {imported.ticket.graph.name}, {len(imported.ticket.layers)} weighted layers")


def _pattern(ctx: click.Context, text: str | None) -> tuple[int, int] | None:
    """Return N and M of ``N:M``; a usage error if it is no pattern."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 4 for part in parts):
        raise click.UsageError(f"--nm: {text!r} is not a pattern; give N:M, e.g. 2:4", ctx)
    return int(parts[0]), int(parts[1])


def _with_graph(ctx: click.Context, options: ImportOptions, graph: str | None) -> ImportOptions:
    """Return the options with the graph that ``--graph`` names: an exported module, or a network by name."""
    if graph is None:
        return options
    for option, value in (("--network", options.network), ("--width-factor", options.width_factor)):
        if value is not None:
            raise click.UsageError(f"{option}: the graph says it; leave it out", ctx)
    if not is_exported_module(graph) and not os.path.exists(graph):
        return replace(options, network=graph)
    module = read_exported_module(graph, options.input_shape)
    return replace(options, graph=KnownGraph(module.graph, module.transposed, module.names, module.computed))
