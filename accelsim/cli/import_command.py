"""``accelsim import``."""

from __future__ import annotations

from typing import get_args

import click

from accelsim.cli.collect import OptionRow, collected, collecting, parse_shape
from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import TicketError
from accelsim.kinds import other_kind
from accelsim.results.store import check_file_place
from accelsim.ticket.file import write_ticket
from accelsim.ticket.importers import ImportOptions, import_checkpoint
from accelsim.ticket.model import MaskCodec


@click.command(
    "import",
    epilog=examples("accelsim import checkpoint.pt --network resnet18 --out imported.pt"),
)
@click.argument("checkpoint")
@click.option("-o", "--out", "output_path", required=True, metavar="FILE", help="Write the ticket there (.pt).")
@collecting(
    OptionRow("--network", click.STRING, "Name of the network [default: found from names and shapes]."),
    OptionRow("--width-factor", click.FLOAT, "Multiplies the hidden channels [default: found from shapes]."),
    OptionRow("--input-shape", click.STRING, "Input C,H,W, e.g. 3,32,32 [default: the network's own]."),
    OptionRow("--sparsity", click.FLOAT, "Fraction of zeros, which edge-popup checkpoints do not hold."),
    OptionRow("--codec", Choice(get_args(MaskCodec)), "How masks are packed. [default: raw]"),
)
@common_options
@click.pass_context
def command(ctx: click.Context, checkpoint: str, output_path: str) -> None:
    """Turn the torch CHECKPOINT of another program into a ticket.

    Partially frozen tickets, edge-popup and multi-prize tickets, and plain networks (dense, pruned, N:M) are read;
    nothing in the file is executed.
    """
    check_file_place(output_path, "--out")
    other = other_kind(checkpoint, is_import=True)
    if other is not None:
        raise TicketError(other)
    given = collected(ctx)
    options = ImportOptions(**{**given, "input_shape": parse_shape(ctx, given)})
    imported = import_checkpoint(checkpoint, options)
    write_ticket(output_path, imported.ticket)
    state = session(ctx)
    for note in imported.notes:
        state.note(f"note: {note}")
    state.note(f"wrote {output_path}: {imported.ticket.graph.name}, {len(imported.ticket.layers)} weighted layers")
