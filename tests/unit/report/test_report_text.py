import pytest

from accelsim.report import text


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
