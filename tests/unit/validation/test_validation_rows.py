"""Rows of the comparison: errors, summaries, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.sparsity import effective_macs
from accelsim.validation import gemmini
from accelsim.validation.compare import rows_text, validate
from accelsim.validation.rows import ValidationRow, agreement, summary_rows


def row(theirs: float | None, ours: float, gap: bool = True) -> ValidationRow:
    return ValidationRow("ref", "source", "cycles", theirs, ours, gap=gap)


def test_agreement_of_three_rows():
    found = agreement([row(100, 110), row(200, 160), row(50, 50), row(None, 3), row(1, 9, gap=False)])

    assert (found.num_rows, found.median_error, found.largest_error) == (3, pytest.approx(0.1), pytest.approx(0.2))
    assert found.mean_error == pytest.approx(0.1)
    assert found.rank_correlation == pytest.approx(1.0)


def test_equal_figures_and_two_rows_have_no_rank_correlation():
    for cases in ([row(1, 2), row(2, 2), row(3, 2)], [row(1, 2), row(2, 3)]):
        assert agreement(cases).rank_correlation is None
        assert [each.quantity for each in summary_rows("ref", "source", "cycles", cases, (None, None), "none")] == [
            "mean error of cycles"
        ]


def test_summaries_are_no_cases_themselves():
    cases = [row(1, 2), row(2, 4), row(3, 6)]
    summary = summary_rows("ref", "source", "cycles", cases, (0.5, None), "another simulator")

    assert agreement(summary + cases).num_rows == 3
    assert summary[0].ours == pytest.approx(1.0)


def test_json_has_the_promised_fields():
    record = json.loads(rows_text([row(None, 3.0)]))["rows"][0]

    assert set(record) == {"reference", "source", "quantity", "theirs", "ours", "relative_error", "note"}
    assert record["theirs"] is record["relative_error"] is None


def test_real_masks_and_formulas_agree_exactly_or_within_a_cycle(reference_rows):
    rows = [*reference_rows("real-masks"), *reference_rows("systolic-formulas")]

    assert [entry.ours for entry in rows if entry.reference == "real-masks"] == [1_702_140, 1_677_684]
    assert all(abs(entry.ours - (entry.theirs or 0)) <= 1 for entry in rows)


def test_an_unknown_reference_is_refused():
    message = r"--reference: 'tpu' is unknown; did you mean 'tpu-v3'\? give one of gemmini-rtl"
    with pytest.raises(ConfigError, match=message):
        validate(["tpu"])


def test_effective_macs_count_pairs_that_meet():
    inputs = np.array([[1, 0, 1], [1, 1, 0]], dtype=bool)
    weights = np.array([[1, 1, 0]], dtype=bool)

    assert effective_macs(inputs, weights) == 3
    with pytest.raises(MappingError, match="give the masks of one layer"):
        effective_macs(inputs, weights[:, :2])


def test_a_statistic_has_no_relative_error():
    cases = [row(1, 2), row(2, 4), row(3, 6)]

    summary = summary_rows("ref", "source", "cycles", cases, (0.5, 0.9), "another simulator")

    assert [entry.relative_error for entry in summary] == [None, None]


def test_the_mappers_choice_is_a_reference_of_its_own(monkeypatch):
    monkeypatch.setattr(gemmini, "_chosen_row", lambda *_: row(100.0, 50.0, gap=False))

    rows = validate(["gemmini-rtl-our-mapper"])

    assert rows[0].ours == pytest.approx(0.5)
    assert rows[0].relative_error is None
    assert rows[1].relative_error == pytest.approx(-0.5)
