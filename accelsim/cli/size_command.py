"""``accelsim size``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from accelsim import costed
from accelsim.cli.collect import STORAGE_OF_ROW, read_workload, workload_options
from accelsim.cli.common import Choice, common_options, examples, json_option, session, set_option, write_stdout
from accelsim.cli.names import complete_chip, complete_formats, complete_workload
from accelsim.config.loader import load_hardware
from accelsim.config.ports import ALL_BUFFERS
from accelsim.config.quantities import SIZE
from accelsim.errors import ConfigError
from accelsim.storage.stated import parse_format
from accelsim.trace import TraceOptions

TABLE_NAME = "size.csv"
FIGURE_NAME = "size.png"


class SizeType(click.ParamType[int]):
    """Bytes, or a size such as 64KiB."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        text = str(value)
        try:
            return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else int(SIZE.number(text))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    "size",
    epilog=examples(
        "accelsim size edge conv6_slt_f70",
        "accelsim size edge conv6_slt_f70 --buffer weight_buffer --from 4KiB --to 256KiB --out out/size",
    ),
)
@click.argument("hardware", shell_complete=complete_chip)
@click.argument("workload", shell_complete=complete_workload)
@click.option("--buffer", "buffers", type=Choice(ALL_BUFFERS), multiple=True, help="Of one; repeatable [default: all].")
@click.option("--from", "first", type=SizeType(), help="Least capacity [default: a sixteenth of the chip's].")
@click.option("--to", "last", type=SizeType(), help="Largest capacity [default: sixteen times the chip's].")
@click.option(
    "--storage",
    metavar="FORMAT",
    shell_complete=complete_formats,
    help="Storage format [default: slt, or dense-int8 without a ticket].",
)
@STORAGE_OF_ROW.add_to
@set_option()
@click.option("--out", "folder", metavar="DIR", help=f"Write {TABLE_NAME} and the figure {FIGURE_NAME} there.")
@workload_options()
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option
    ctx: click.Context,
    hardware: str,
    workload: str,
    *,
    buffers: tuple[str, ...],
    first: int | None,
    last: int | None,
    storage: str | None,
    storage_of: tuple[str, ...],
    overrides: tuple[str, ...],
    folder: str | None,
    stated: TraceOptions,
    as_json: bool,
) -> None:
    """How much buffer does HARDWARE need for WORKLOAD? Traffic and energy over the capacity of each.

    One buffer changes at a time, by powers of two; ports and all else stay as they are, and layers are mapped again.
    The knee is the smallest capacity from which on traffic is within 5 % of the least.
    """
    from accelsim.dse.capacities import Span, capacity_curves  # noqa: PLC0415  --help must stay quick
    from accelsim.dse.progress import Progress  # noqa: PLC0415
    from accelsim.report.capacities import capacities_document, capacities_text, print_capacities  # noqa: PLC0415
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.results.store import check_folder_place, prepare_folder, write_bytes, write_text  # noqa: PLC0415

    chip = load_hardware(hardware, overrides)
    target = None if folder is None else check_folder_place(folder)
    wanted = None if storage is None else parse_format(storage, "--storage")
    trace = read_workload(ctx, workload, stated)
    is_shown = session(ctx).verbosity >= 0 and sys.stderr.isatty()
    progress = Progress(sys.stderr if is_shown else None, ())
    curves = capacity_curves(
        (hardware, chip.config), workload, wanted or costed.default_storage(trace, chip), progress,
        overrides=overrides, options=stated, storage_of=storage_of,
        buffers=tuple(dict.fromkeys(buffers)) or ALL_BUFFERS, span=Span(first, last),
    )  # fmt: skip
    progress.end()
    if not any(curve.good for curve in curves):
        raise ConfigError(f"{workload}: no capacity can run; the first: {curves[0].points[0].reason}")
    if target is not None:
        from accelsim.report.capacity_figure import capacity_figure  # noqa: PLC0415

        write_text(prepare_folder(target) / TABLE_NAME, capacities_text(curves))
        write_bytes(target / FIGURE_NAME, capacity_figure(f"{trace.name} on {chip.config.name}", curves))
    if as_json:
        write_stdout(json.dumps(capacities_document(curves), indent=2, allow_nan=False) + "\n")
    else:
        print_capacities(make_console(sys.stdout), curves)
    if target is not None:
        session(ctx).note(f"wrote {target / TABLE_NAME} and {target / FIGURE_NAME}")
