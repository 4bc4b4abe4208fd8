"""``accelsim validate``."""

from __future__ import annotations

import sys

import click

from accelsim.cli.common import common_options, examples, json_option, write_stdout


@click.command(
    "validate",
    epilog=examples("accelsim validate", "accelsim validate --reference gemmini-rtl --all", "accelsim validate --json"),
)
@click.option("--reference", "references", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--rows", "own", metavar="FILE", help="A CSV file with measurements of your own for one --reference.")
@click.option("--all", "every_row", is_flag=True, help="Print every row, not only the summary and the largest gaps.")
@json_option
@common_options
def command(references: tuple[str, ...], own: str | None, every_row: bool, as_json: bool) -> None:
    """Compare the model with published silicon, RTL and other simulators.

    Nothing is fitted to these figures; docs/validation.md explains the gaps.
    """
    from accelsim.validation.compare import rows_text, validate, validate_rows  # noqa: PLC0415  --help must not wait for scipy

    rows = validate(references) if own is None else validate_rows(references, own)
    if as_json:
        write_stdout(rows_text(rows))
        return
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.report.validation import print_validation  # noqa: PLC0415

    print_validation(make_console(sys.stdout), rows, every_row)
