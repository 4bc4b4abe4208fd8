"""The verdict follows from the rows: which part a measure falls into, and what is said of it."""

from __future__ import annotations

import csv

from accelsim.report.validation_html import rows_csv, validation_page
from accelsim.validation.page import BLOCKS, with_tables
from accelsim.validation.rows import ValidationRow, statistic_row
from accelsim.validation.verdict import verdict


def rows(reference: str, errors: tuple[float, ...], kinds: tuple[str, ...] = ()) -> list[ValidationRow]:
    return [
        ValidationRow(reference, "who, where", f"cycles of <{i}>", 10.0 * i, 10.0 * i * (1 + error), kinds=kinds)
        for i, error in enumerate(errors, start=1)
    ]


def points(found: list[ValidationRow]) -> dict[str, tuple[str, ...]]:
    return {part.heading.partition(":")[0]: part.points for part in verdict(found)}


def test_a_measure_falls_where_its_mean_error_is():
    found = points(
        rows("tpu-v3", (0.1, -0.2, 0.13)) + rows("gemm-tilings-rtl", (0.29,) * 5) + rows("new", (0.31, -0.31))
    )

    assert found["Trust"] == ("cycles of kernels: 14 % beside a real TPU v3 core (only 3 rows, worst 20 %)",)
    (estimate,) = found["Take as an estimate"]
    assert estimate.endswith("(5 rows, half within 29 %, worst 29 %); their order is right (rank correlation 1.00)")
    assert found["Do not trust as a figure"] == ("figures of new: 31 % beside who (only 2 rows, worst 31 %)",)


def test_measures_are_judged_apart_and_a_bad_kind_of_layer_is_named():
    apart = points(
        [ValidationRow("eyeriss-v1", "", f"{what}, CONV1", 1.0, ours) for what, ours in (("a", 1.0), ("b", 2.0))]
    )
    (named,) = points(rows("tpu-v3", (0.0,) * 4, ("easy",)) + rows("tpu-v3", (0.4,), ("hard",)))["Trust"]

    assert list(apart) == ["Trust", "Do not trust as a figure"]
    assert named.endswith("; 40 % for hard (1 row)")


def test_what_has_no_plain_rows_is_a_direction_and_equal_rows_are_called_equal():
    found = points([*rows("systolic-formulas", (0.0, 0.0)), statistic_row("hiddenite", "who", "TOPS/W", 10.0, 5.0, "")])

    assert found["Trust"] == ("cycles of an array with ideal memory: equal to SCALE-Sim's formulas (2 rows)",)
    assert "ours is 0.50 times" in found["Directions only"][0]


def test_page_and_csv_have_verdict_plot_and_every_row():
    found = rows("tpu-v3", (0.1, -0.2, 0.4), ("<b>",)) + [statistic_row("tpu-v3", "who", "mean", None, 0.2, "=1+1")]
    page = validation_page(found, "rows.csv")

    assert page == validation_page(found, "rows.csv")
    assert "<b>" not in page.split("<main>")[1]
    assert page.count('class="mark') == 3 + 1  # and one in the key
    lines = list(csv.DictReader(rows_csv(found).splitlines()))
    assert [line["relative_error"][:4] for line in lines] == ["0.1", "-0.2", "0.4", ""]
    assert lines[3]["note"] == "'=1+1"


def test_the_page_of_the_documentation_is_made_between_its_marks():
    begins = "".join(f"text\n{begin}old{end}" for begin, end in BLOCKS.values())
    made = with_tables(begins, rows("tpu-v3", (0.1,)))

    assert "old" not in made
    assert made.count("text") == len(BLOCKS)
    assert with_tables(made, rows("tpu-v3", (0.1,))) == made
