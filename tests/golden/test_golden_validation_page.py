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
CSV = ROOT / "reports/validation.csv"
IS_WHOLE = bool({"ACCELSIM_NIGHTLY", "ACCELSIM_REGENERATE"} & set(os.environ))
# half of the time; the golden totals of their chips move before them
SLOW = ("hiddenite", "gemmini-rtl-our-mapper", "decoder-power")
MADE = {
    ROOT / "docs/validation.md": with_tables,
    SHIPPED: lambda _, rows: shipped_text(rows),
    ROOT / "reports/validation.html": lambda _, rows: validation_page(rows, "validation.csv"),
    CSV: lambda _, rows: rows_csv(rows),
}


@pytest.fixture(scope="module")
def rows(reference_rows):
    return [row for name in REFERENCES if IS_WHOLE or name not in SLOW for row in reference_rows(name)]


def test_the_table_has_the_rows(rows):
    committed = CSV.read_text(encoding="utf-8").splitlines()
    moved = [line for line in rows_csv(rows).splitlines() if line not in committed]
    assert os.environ.get("ACCELSIM_REGENERATE") or not moved, "run `make golden` and review the difference"


@pytest.mark.skipif(not IS_WHOLE, reason="needs the slow references too; make nightly compares the pages")
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
