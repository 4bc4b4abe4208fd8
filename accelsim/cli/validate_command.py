"""``accelsim validate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import common_options, examples, json_option, progress, session, write_stdout
from accelsim.files import write_files
from accelsim.results.model import ResultError
from accelsim.results.store import check_folder_place, prepare_folder

if TYPE_CHECKING:
    from accelsim.validation.rows import ValidationRow

PAGE_NAME, CSV_NAME = "validation.html", "validation.csv"


@click.command(
    "validate",
    epilog=examples(
        "accelsim validate",
        "accelsim validate --reference gemmini-rtl --all",
        "accelsim validate --out out/validation   # the page with a plot per reference, and every row as CSV",
        "accelsim validate --reference tpu-v3 --rows examples/kernels.csv",
        "accelsim validate --json",
    ),
)
@click.option("--reference", "references", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--rows", "own", metavar="FILE", help="A table with measurements of your own for one --reference.")
@click.option("--all", "every_row", is_flag=True, help="Print every row, not only the summary and the largest gaps.")
@click.option("--out", "folder", metavar="DIR", help="Write DIR/validation.html and DIR/validation.csv.")
@json_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    references: tuple[str, ...],
    own: str | None,
    every_row: bool,
    folder: str | None,
    as_json: bool,
) -> None:
    """Compare the model with published silicon, RTL and other simulators.

    First comes what to trust, and to how much. Nothing is fitted to these figures; docs/validation.md explains the
    gaps, and has the columns of each reference for --rows. Such a file for tpu-v3 (examples/kernels.csv):

    \b
      workload,batch,cycles
      gemm_512x512x512,,10240
      encoder_128x768x12,4,310000
      resnet18,1,520000
    """  # noqa: D301  a backspace keeps click from joining the lines
    from accelsim.validation.compare import (  # noqa: PLC0415  --help must not wait for scipy
        REFERENCES,
        check_references,
        rows_text,
        validate,
        validate_rows,
    )

    if folder is not None:
        check_folder_place(folder)
    if own is None:
        check_references(references)
        names = [name for name in REFERENCES if not references or name in references]
        rows = [row for name in progress(names, "comparing", session(ctx)) for row in validate([name])]
    else:
        rows = validate_rows(references, own)
    if folder is not None:
        _write(folder, rows, ctx)
    if as_json:
        write_stdout(rows_text(rows))
        return
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.report.validation import print_validation  # noqa: PLC0415

    print_validation(make_console(sys.stdout), rows, every_row)


def _write(folder: str, rows: Sequence[ValidationRow], ctx: click.Context) -> None:
    from accelsim.report.validation_html import rows_csv, validation_page  # noqa: PLC0415

    place = prepare_folder(folder)
    write_files(
        [
            (place / CSV_NAME, rows_csv(rows).encode()),
            (place / PAGE_NAME, validation_page(rows, CSV_NAME).encode()),
        ],
        ResultError,
    )
    session(ctx).note(f"wrote {place / PAGE_NAME} and {place / CSV_NAME}")
