"""Wrap the text of Markdown pages at 100 columns: ``python docs/hooks/wrap.py`` writes all pages again.

Only running text and items of lists are wrapped. Code, tables, headings, comments, lines of HTML, and what the program
itself writes between ``<!-- begin ... -->`` and ``<!-- end ... -->`` stay as they are; a word, a link's target or a
piece of code that is longer than a line stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 100
_FENCE = re.compile(r"\s*(```|~~~|<!-- begin )")
_CLOSES = {"<!-- begin ": "<!-- end "}
_ITEM = re.compile(r"(\s*)([-*+]|\d+[.)])(\s+)")
_VERBATIM = re.compile(r"\s*(\||#{1,6}\s|<|!\[|>|:::|\[[^\]]+\]:)|(\s*[-*_]){3,}\s*$")
# A word keeps the spaces inside of code and inside of a link's target.
_WORD = re.compile(r"(?:`[^`]*`|\]\([^)]*\)|[^\s`])+|`")
# What would begin a list, a heading, a quotation or a table if a line began with it.
_OPENS = re.compile(r"([-+*>|]|#{1,6}|\d+[.)]|=+|-+)$")


def pages() -> list[Path]:
    """Return the pages of the repository."""
    beside = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    folders = [ROOT / name / "README.md" for name in ("hwconfigs", "workloads", "reports")]
    return [*beside, *folders, *sorted((ROOT / "docs").rglob("*.md"))]


def wrapped(text: str) -> str:
    """Return a page with its text wrapped."""
    return "\n".join(_blocks(text.split("\n")))


def _blocks(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a page: paragraphs and items wrapped, everything else as it is."""
    fence, inside, open_text = "", 0, list[str]()  # `inside`: columns of the item that the line belongs to
    for line in lines:
        opened = None if fence else _FENCE.match(line)
        item = _ITEM.match(line)
        indent = len(line) - len(line.lstrip())
        is_code = not open_text and indent >= inside + 4
        if fence or opened or is_code or not line.strip() or _VERBATIM.match(line):
            yield from _paragraph(open_text)
            open_text = []
            yield line
            if opened:
                fence = _CLOSES.get(opened[1], opened[1])
            elif fence and line.lstrip().startswith(fence):
                fence = ""
            if not indent and line.strip() and not fence:
                inside = 0
        elif item:
            yield from _paragraph(open_text)
            open_text, inside = [line], item.end()
        elif open_text:
            open_text.append(line)
        else:
            inside = min(inside, indent)
            open_text = [line]
    yield from _paragraph(open_text)


def _paragraph(lines: list[str]) -> Iterator[str]:
    """Yield a paragraph or an item, wrapped; its further lines stand under the first one's text."""
    if not lines:
        return
    item = _ITEM.match(lines[0])
    first = item[0] if item else lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    text = " ".join([lines[0][len(first) :], *(line.strip() for line in lines[1:])])
    line, further = first, " " * len(first)
    for word in _WORD.findall(text):
        is_begun = line.strip() and line not in (first, further)
        if is_begun and len(line) + 1 + len(word) > WIDTH and not _OPENS.match(word):
            yield line
            line = further + word
        else:
            line += (" " if is_begun else "") + word
    yield line


if __name__ == "__main__":
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = wrapped(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
