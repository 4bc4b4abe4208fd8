"""``accelsim inspect``."""

from __future__ import annotations

import os
import sys

import click

from accelsim.cli.common import common_options, examples, json_option, write_stdout
from accelsim.config.presets import TICKETS, preset_file
from accelsim.report.inspection import print_inspection
from accelsim.report.terminal import UNLIMITED_WIDTH, make_console
from accelsim.ticket.file import read_ticket
from accelsim.ticket.inspect import inspect


@click.command(
    "inspect",
    epilog=examples("accelsim inspect workloads/resnet_slt.pt", "accelsim inspect workloads/resnet_slt.pt --json"),
)
@click.argument("file")
@json_option
@common_options
def command(file: str, as_json: bool) -> None:
    """Show what the ticket FILE stores: per layer its shape, ratios and bits by class, and how small that is."""
    ticket = read_ticket(file)
    found = inspect(ticket, file_bytes=os.path.getsize(preset_file(file, TICKETS)))
    if as_json:
        write_stdout(found.to_json() + "\n")
    else:
        print_inspection(make_console(sys.stdout, UNLIMITED_WIDTH), found)
