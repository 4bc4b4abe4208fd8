"""The page about costs lists the constants that the product uses."""

from __future__ import annotations

from pathlib import Path

from accelsim.cost.describe import tables_markdown
from accelsim.cost.tables import load_tables

PAGE = Path(__file__).resolve().parents[3] / "docs/cost.md"


def test_the_page_shows_the_tables_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.endswith(tables_markdown(load_tables()))
