"""``accelsim report``."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.common import Choice, common_options, examples, session
from accelsim.errors import ConfigError
from accelsim.names import suggest
from accelsim.report.html import Page, build_page, page_html
from accelsim.report.page_browser import printed_page, require_browser
from accelsim.report.page_cores import is_tenants, read_tenants
from accelsim.report.page_markdown import page_markdown
from accelsim.report.page_paper import page_csv, page_figures, page_latex
from accelsim.report.page_runs import read_results
from accelsim.report.studies import is_study, read_study
from accelsim.results.store import check_file_place, check_folder_place, prepare_folder, write_bytes, write_text

FORMATS = ("html", "md", "latex", "pdf", "png")
_ENDS = ".html, .md, .tex, .pdf, .png"
SUFFIXES = {
    ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".tex": "latex", ".pdf": "pdf", ".png": "png",
}  # fmt: skip


@click.command(
    "report",
    epilog=examples(
        "accelsim report out/run -o report.html",
        "accelsim report out/conv6 out/resnet --title 'Tickets on the edge chip' -o report.html",
        "accelsim report out/conv6 --format md -o report.md",
        "accelsim report out/conv6 --format latex -o paper.tex --figures figures",
    ),
)
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option(
    "-o", "--out", "target", metavar="FILE", help="Write the report there; may be left out where --figures is given."
)
@click.option(
    "--format",
    "kind",
    type=Choice(FORMATS),
    help="What to write; pdf and png need an installed Chromium; latex is the tables, with a CSV file of each beside "
    "FILE [default: by the suffix of FILE; html without one].",
)
@click.option("--figures", "folder", metavar="DIR", help="Write every figure there, as PDF and as SVG.")
@click.option("--title", metavar="TEXT", help="Heading of the report [default: the question that it answers].")
@common_options
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  each is an option of the command
    ctx: click.Context,
    results: tuple[str, ...],
    target: str | None,
    kind: str | None,
    folder: str | None,
    title: str | None,
) -> None:
    """Write one page that explains RESULTS: the answer in words, figures, tables, assumptions.

    RESULTS are folders that run (with --tenants too), compare, sweep or explore wrote, folders of runs, or summary.json
    files. The page is self-contained and needs no network.
    """
    if target is None and folder is None:
        raise click.UsageError("missing option '-o' / '--out': give a file, or --figures and a folder", ctx)
    if target is not None:
        check_file_place(target, "--out")
        kind = kind or _kind(target)
    elif kind is not None:
        raise click.UsageError("--format: says how to write --out; give -o FILE too", ctx)
    if folder is not None:
        check_folder_place(folder, "--figures")
    if kind in ("pdf", "png"):
        require_browser(kind)
    studies = [read_study(path) for path in results if is_study(path)]
    beside = [read_tenants(path) for path in results if is_tenants(path)]
    runs = read_results([path for path in results if not is_study(path) and not is_tenants(path)])
    page = build_page(runs, title, studies, beside)
    if target is not None and kind is not None:
        session(ctx).note(_write_page(page, Path(target), kind))
    if folder is not None:
        session(ctx).note(_write_figures(page, prepare_folder(folder, "--figures")))


def _write_page(page: Page, target: Path, kind: str) -> str:
    """Write the report and return what was written."""
    if kind == "latex":
        write_bytes(target, page_latex(page).encode())
        tables = page_csv(page)
        for name, text in tables.items():
            write_text(target.with_name(f"{target.stem}-{name}.csv"), text)
        return f"wrote {target} and {len(tables)} tables as {target.stem}-*.csv beside it"
    write_bytes(target, page_markdown(page).encode() if kind == "md" else _rendered(page_html(page), kind))
    return f"wrote {target}"


def _write_figures(page: Page, folder: Path) -> str:
    """Write every figure of the report and return what was written."""
    from accelsim.report.drawing import FIGURE_FORMATS, figure_bytes  # noqa: PLC0415  a page must not wait for matplotlib

    figures = list(page_figures(page))
    for name, chart in figures:
        for kind in FIGURE_FORMATS:
            write_bytes(folder / f"{name}.{kind}", figure_bytes(chart.picture, kind))
    return f"wrote {len(figures)} figures to {folder}, each as PDF and SVG"


def _kind(target: str) -> str:
    """Return what to write by the name of the file; html where it has no suffix."""
    suffix = Path(target).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        hint = suggest(suffix, SUFFIXES)
        raise ConfigError(f"--out: {target}: a report is no {suffix} file; {hint}give {_ENDS}, or state --format")
    return SUFFIXES.get(suffix, "html")


def _rendered(html: str, kind: str) -> bytes:
    return html.encode() if kind == "html" else printed_page(html, kind)
