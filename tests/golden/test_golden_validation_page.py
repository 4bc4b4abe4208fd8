"""docs/validation.md has the figures of today's rows, and reasons for large gaps; `make golden` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelsim.validation.compare import REFERENCES
from accelsim.validation.page import large_gaps, reason, with_tables

PAGE = Path(__file__).resolve().parents[2] / "docs/validation.md"


@pytest.fixture(scope="module")
def rows(reference_rows):
    return [row for name in REFERENCES for row in reference_rows(name)]


def test_the_page_has_the_figures_of_the_rows(rows):
    text = PAGE.read_text(encoding="utf-8")
    made = with_tables(text, rows)
    if os.environ.get("ACCELSIM_REGENERATE"):
        PAGE.write_text(made, encoding="utf-8")
    else:
        assert text == made, "run `make golden` and review the difference"


def test_every_large_gap_has_a_reason(rows):
    assert [row.quantity for row in large_gaps(rows) if reason(row) is None] == []
