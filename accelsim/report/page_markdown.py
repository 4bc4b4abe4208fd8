"""A report as Markdown: the same words and tables as the page, without figures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from accelsim.report.html import CaseView, Page
from accelsim.report.page_tables import PageTable

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def page_markdown(page: Page) -> str:
    """Return the report; names from files cannot form markup in it."""
    lines = [f"# {_plain(page.title)}", "", f"**{_plain(page.lead)}**", ""]
    lines += [line for sentence in page.overall for line in (_plain(sentence), "")]
    if page.answers.rows:
        lines += _table(page.answers)
    for case in page.cases:
        lines += _case(case)
    for study in page.studies:
        lines += [f"## {_plain(study.question)}", ""] if page.cases or study is not page.studies[0] else []
        lines += [*(f"- {_plain(text)}" for text in study.sentences), ""] if study.sentences else []
        for table in (*study.facts, study.table):
            lines += _table(table)
    lines += ["## How far the model is from what was measured", ""]
    for part in page.verdict:
        lines += [f"### {_plain(part.heading)}", "", *(f"- {_plain(text)}" for text in part.points), ""]
    lines += _table(page.validation)
    lines += ["## Assumptions and their sources", "", *(f"- {_plain(text)}" for text in page.assumptions), ""]
    if page.constants.rows:
        lines += _table(page.constants)
    lines.append(f"Written by accelsim {page.version} from saved results. Figures are in the HTML page.")
    return "\n".join(lines) + "\n"


def _case(case: CaseView) -> list[str]:
    lines = [f"## {_plain(case.name)}", "", f"{_plain(case.headline)}. {_plain(case.card.trust)}", ""]
    lines += [*(f"- {_plain(sentence)}" for sentence in case.sentences), "", *_table(case.runs)]
    for view in case.layers[:1]:
        lines += _table(view.table)
    return lines


def _table(saved: PageTable) -> Iterator[str]:
    table = saved.shown
    yield f"**{_plain(table.title)}**"
    yield ""
    yield _row(map(_plain, table.columns))
    numbers = [cell.is_number for cell in table.rows[0]] if table.rows else [False] * len(table.columns)
    yield _row("---:" if number else "---" for number in numbers)
    for row in table.rows:
        yield _row(_plain(cell.text) for cell in row)
    yield ""
    if table.note:
        yield from (_plain(table.note), "")


def _row(cells: Iterator[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;").replace("\\&", "&")
