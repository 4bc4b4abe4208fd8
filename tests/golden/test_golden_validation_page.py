"""Pages about the agreement with published figures have today's rows; `make golden` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelsim.report.page_validation import SHIPPED, shipped_text
from accelsim.report.validation_html import rows_csv, validation_page
from accelsim.validation.compare import REFERENCES
from accelsim.validation.page import large_gaps, reason, with_tables

ROOT = Path(__file__).resolve().parents[2]
MADE = {
    ROOT / "docs/validation.md": with_tables,
    SHIPPED: lambda _, rows: shipped_text(rows),
    ROOT / "reports/validation.html": lambda _, rows: validation_page(rows, "validation.csv"),
    ROOT / "reports/validation.csv": lambda _, rows: rows_csv(rows),
}


@pytest.fixture(scope="module")
def rows(reference_rows):
    return [row for name in REFERENCES for row in reference_rows(name)]


@pytest.mark.parametrize("page", MADE, ids=lambda page: page.name)
def test_the_page_has_the_figures_of_the_rows(rows, page):
    text = page.read_text(encoding="utf-8")
    made = MADE[page](text, rows)
    if os.environ.get("ACCELSIM_REGENERATE"):
        page.write_text(made, encoding="utf-8")
    else:
        assert text == made, "run `make golden` and review the difference"


def test_every_large_gap_has_a_reason(rows):
    assert [row.quantity for row in large_gaps(rows) if reason(row) is None] == []
