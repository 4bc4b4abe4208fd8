"""``accelsim report``."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import ConfigError
from accelsim.names import suggest
from accelsim.report.html import build_page, page_html
from accelsim.report.page_browser import printed_page, require_browser
from accelsim.report.page_designs import is_study, read_study
from accelsim.report.page_markdown import page_markdown
from accelsim.report.page_runs import read_results
from accelsim.results.store import check_file_place, write_bytes

FORMATS = ("html", "md", "pdf", "png")
_ENDS = ", ".join(f".{name}" for name in FORMATS)
SUFFIXES = {f".{name}": name for name in FORMATS} | {".htm": "html", ".markdown": "md"}


@click.command(
    "report",
    epilog=examples(
        "accelsim report out/run -o report.html",
        "accelsim report out/conv6 out/resnet --title 'Tickets on the edge chip' -o report.html",
        "accelsim report out/conv6 --format md -o report.md",
    ),
)
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option("-o", "--out", "target", required=True, metavar="FILE", help="Write the report there.")
@click.option(
    "--format",
    "kind",
    type=Choice(FORMATS),
    help="What to write; pdf and png need an installed Chromium [default: by the suffix of FILE; html without one].",
)
@click.option("--title", metavar="TEXT", help="Heading of the report [default: networks and chips].")
@common_options
@click.pass_context
def command(ctx: click.Context, results: tuple[str, ...], target: str, kind: str | None, title: str | None) -> None:
    """Write one page that explains RESULTS: the answer in words, figures, tables, assumptions.

    RESULTS are folders that run, compare, sweep or explore wrote, folders of runs, or summary.json files. The page is
    self-contained and needs no network.
    """
    check_file_place(target, "--out")
    kind = kind or _kind(target)
    if kind in ("pdf", "png"):
        require_browser(kind)
    studies = [read_study(path) for path in results if is_study(path)]
    runs = read_results([path for path in results if not is_study(path)])
    page = build_page(runs, title, studies)
    write_bytes(Path(target), page_markdown(page).encode() if kind == "md" else _rendered(page_html(page), kind))
    session(ctx).note(f"wrote {target}")


def _kind(target: str) -> str:
    """Return what to write by the name of the file; html where it has no suffix."""
    suffix = Path(target).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        hint = suggest(suffix, SUFFIXES)
        raise ConfigError(f"--out: {target}: a report is no {suffix} file; {hint}give {_ENDS}, or state --format")
    return SUFFIXES.get(suffix, "html")


def _rendered(html: str, kind: str) -> bytes:
    return html.encode() if kind == "html" else printed_page(html, kind)
