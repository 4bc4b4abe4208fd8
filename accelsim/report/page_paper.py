"""A report for papers: its tables as LaTeX and CSV, its figures as PDF and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from accelsim.report.html import CaseView, Page
from accelsim.report.page_charts import Chart
from accelsim.report.page_tables import PageTable, csv_text

MAX_CELL_CHARACTERS = 60
"""A table with a longer cell holds prose, too wide for a column of LaTeX: it is written as CSV alone."""
_MAX_ROWS = 40  # of a table on one page; longer ones go on
_MAX_COLUMNS = 7  # in the width of a column; wider ones are scaled
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def page_latex(page: Page) -> str:
    """Return the tables of a report as LaTeX, for booktabs; names from files cannot form commands in it."""
    tables = [(name, table.shown) for name, table in _tables(page)]
    prose = [name for name, table in tables if _is_prose(table)]
    lines = [
        f"% {_plain(page.title)}: written by accelsim {page.version} from saved results.",
        r"% In the preamble: \usepackage{booktabs,graphicx,longtable}",
        *(f"% {name}: holds prose and is in its CSV file alone" for name in prose),
    ]
    for name, table in tables:
        if name not in prose:
            lines += ["", *_latex_table(name, table)]
    return "\n".join(lines) + "\n"


def page_csv(page: Page) -> dict[str, str]:
    """Return the content of a CSV file for each table of a report, by the table's name."""
    return {name: csv_text(table) for name, table in _tables(page)}


def page_figures(page: Page) -> Iterator[tuple[str, Chart]]:
    """Yield every figure of a report with a name for its file, each name once."""
    taken: set[str] = set()
    hero = [("answer", page.hero)] if page.hero is not None and len(page.cases) > 1 else []
    for name, chart in chain(hero, *(_case_figures(case) for case in page.cases), _design_figures(page)):
        yield _free(name, taken), chart


def _case_figures(case: CaseView) -> Iterator[tuple[str, Chart]]:
    place = _slug(case.name)
    for what, chart in zip(("energy", "time", "traffic", "area"), case.overview, strict=True):
        yield f"{place}-{what}", chart
    for what, chart in zip(("energy", "latency", "weights", "accuracy"), case.freezing, strict=False):
        yield f"{place}-freezing-{what}", chart
    for view in case.layers:
        for what, chart in zip(("traffic", "time"), view.charts, strict=True):
            yield f"{place}-{_slug(view.label)}-layers-{what}", chart
    if case.roofline is not None:
        yield f"{place}-roofline", case.roofline


def _design_figures(page: Page) -> Iterator[tuple[str, Chart]]:
    for chart in page.pareto:
        yield f"pareto-{_slug(chart.title.partition(':')[0])}", chart
    for study in page.studies:
        for what, chart in zip(("energy-time", "energy-area"), study.designs, strict=False):
            yield f"{_slug(study.name)}-{what}", chart
        if study.shares is not None:
            yield f"{_slug(study.name)}-sensitivity", study.shares
    for tenants in page.tenants:
        yield _slug(tenants.table.title), tenants.chart


def _tables(page: Page) -> Iterator[tuple[str, PageTable]]:
    """Yield the tables that have rows, with a name for each, each name once."""
    named = [("answer", page.answers)]
    for case in page.cases:
        place = _slug(case.name)
        named.append((f"{place}-runs", case.runs))
        named += [(f"{place}-{_slug(view.label)}-layers", view.table) for view in case.layers]
    for study in page.studies:
        named += [(f"{_slug(study.name)}-{_slug(table.title)}", table) for table in study.facts]
        named.append((f"{_slug(study.name)}-designs", study.table))
    named += [(f"cores-{number}", table) for number, table in enumerate(page.cores, 1)]
    named += [("validation", page.validation), ("constants", page.constants)]
    named += [(_slug(table.title), table) for table in page.chips]
    taken: set[str] = set()
    for name, table in named:
        if table.rows:
            yield _free(name, taken), table


def _latex_table(name: str, table: PageTable) -> Iterator[str]:
    columns = "".join("r" if is_number else "l" for is_number in table.number_columns)
    head = _row(table.columns)
    caption = rf"\caption{{{_plain(table.title)}}}\label{{tab:{name}}}"
    rows = [_row(tuple(cell.text for cell in row)) for row in table.rows]
    if len(rows) > _MAX_ROWS:
        yield rf"{{\footnotesize\begin{{longtable}}{{{columns}}}"
        yield from (
            caption + r"\\",
            r"\toprule",
            head,
            r"\midrule\endfirsthead",
            r"\toprule",
            head,
            r"\midrule\endhead",
        )
        yield from (*rows, r"\bottomrule", r"\end{longtable}}")
        return
    is_wide = len(table.columns) > _MAX_COLUMNS
    yield from (r"\begin{table}", r"\centering", caption)
    yield (r"\resizebox{\linewidth}{!}{" if is_wide else "") + rf"\begin{{tabular}}{{{columns}}}"
    yield from (r"\toprule", head, r"\midrule", *rows, r"\bottomrule")
    yield r"\end{tabular}" + ("}" if is_wide else "")
    yield r"\end{table}"


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(_plain, cells)) + r" \\"


def _is_prose(table: PageTable) -> bool:
    return any(len(cell.text) > MAX_CELL_CHARACTERS for row in table.rows for cell in row)


def _plain(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _slug(text: str) -> str:
    """Return a name as part of a file's name, which LaTeX and every system take."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:80].strip("-") or "unnamed"


def _free(name: str, taken: set[str]) -> str:
    """Return ``name``, with a number where it is taken, and take it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
