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
@click.option("--all", "every_row", is_flag=True, help="Print every row, not only the summary and the largest gaps.")
@json_option
@common_options
def command(references: tuple[str, ...], every_row: bool, as_json: bool) -> None:
    """Compare the model with published silicon, RTL and other simulators.

    Nothing is fitted to these figures; docs/validation.md explains the gaps.
    """
    from accelsim.validation.compare import rows_text, validate  # noqa: PLC0415  --help must not wait for scipy

    rows = validate(references)
    if as_json:
        write_stdout(rows_text(rows))
        return
    from accelsim.report.terminal import make_console  # noqa: PLC0415
    from accelsim.report.validation import print_validation  # noqa: PLC0415

    print_validation(make_console(sys.stdout), rows, every_row)
