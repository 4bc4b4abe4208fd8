"""Address mapping strings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.sim.dram.mapping import AddressMapping, FieldCounts, parse_mapping

COUNTS = FieldCounts(channels=2, ranks=2, bank_groups=4, banks=4, rows=1024, columns=128)


def mapping(text: str, xor_column: bool = False) -> AddressMapping:
    return parse_mapping(text, COUNTS, 64, xor_column=xor_column)


def place(m: AddressMapping, address: int) -> tuple[int, int, int, int]:
    d = m.decode(np.array([address], dtype=np.uint64))
    return int(d.channel[0]), int(d.bank[0]), int(d.row[0]), int(d.column[0])


def test_fields_run_from_the_highest_bit_to_the_lowest() -> None:
    m = mapping("rochrababgco")  # column 7 bits, group 2, bank 2, rank 1, channel 1, row 10, above 6 bits of a burst
    assert place(m, 5 << 6) == (0, 0, 0, 5)
    assert place(m, 3 << 13) == (0, 3 * 4, 0, 0)  # group 3, bank 0 of it
    assert place(m, 2 << 15) == (0, 2, 0, 0)
    assert place(m, 1 << 17) == (0, 16, 0, 0)
    assert place(m, 1 << 18) == (1, 0, 0, 0)
    assert place(m, 9 << 19) == (0, 0, 9, 0)


def test_a_field_may_be_split() -> None:
    m = mapping("rocobabgraco2ch")
    assert place(m, 1 << 6) == (1, 0, 0, 0)
    assert place(m, 3 << 7) == (0, 0, 0, 3)
    assert place(m, 1 << 9) == (0, 16, 0, 0)
    assert place(m, 1 << 14) == (0, 0, 0, 4)


def test_column_xor_spreads_banks_and_keeps_addresses_apart() -> None:
    m = mapping("rocobabgraco2ch", xor_column=True)
    assert place(m, 1 << 7) == (0, 16, 0, 1)  # column bit 0 flips the rank, bits 1 and 2 the group
    d = m.decode(np.arange(1 << 16, dtype=np.uint64) * np.uint64(64))
    assert len(set(zip(*(x.tolist() for x in (d.channel, d.bank, d.row, d.column)), strict=True))) == 1 << 16


def test_bits_above_the_capacity_are_ignored() -> None:
    m = mapping("rochrababgco")
    assert place(m, (1 << 40) + 64) == place(m, 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rochrababgxx",
            "dram.address_mapping: 'rochrababgxx' is not a string of fields; use each of ch ra bg ba ro co",
        ),
        ("rochrababgro", "field ro must appear and cover 10 bits"),
        ("rochrababg", "field co must appear and cover 7 bits"),
        ("roco9chrababg", "field co must appear and cover 7 bits"),
    ],
)
def test_wrong_strings_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        mapping(text)
    assert message in str(error.value)


def test_counts_must_be_powers_of_two() -> None:
    with pytest.raises(ConfigError, match="dram: 3 channels are not a power of two"):
        parse_mapping("rochrababgco", replace(COUNTS, channels=3), 64, xor_column=False)
