import pytest

from accelsim.report import text
from accelsim.report.labels import with_unit


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.00321, "s", "3.21 ms"),
        (1234567, "B", "1.23 MB"),
        (0.5, "B", "0.500 B"),
        (999.96, "B", "1.00 kB"),
        (0, "J", "0 J"),
        (2.5e-13, "J", "0.250 pJ"),
    ],
)
def test_quantity_has_three_digits_and_a_prefix(value, unit, expected):
    assert text.quantity(value, unit) == expected


def test_names_from_files_cannot_steer_the_terminal():
    assert text.printable("a\x1b[31mb\n") == "a?[31mb?"
    assert len(text.printable("x" * 1000)) == 60


def test_no_line_of_a_page_ends_between_a_number_and_its_unit():
    assert text.unbroken("70.0 % of 64 KiB at 3200 MT/s in 2 designs") == (
        "70.0\u00a0% of 64\u00a0KiB at 3200\u00a0MT/s in 2 designs"
    )
    assert with_unit("weight_buffer.capacity_bytes", "65536") == "64 KiB"
    assert with_unit("weight_buffer.capacity_bytes", "1000") == "1000 B"
