"""Address mapping: which bits of an address name the channel, rank, bank group, bank, row and column."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError
from accelsim.sim.dram.state import IntArray

FIELDS = ("ch", "ra", "bg", "ba", "ro", "co")
_TOKEN = re.compile(r"(ch|ra|bg|ba|ro|co)(\d{0,2})")


@dataclass(frozen=True, slots=True)
class DecodedAddresses:
    """One entry per burst: channel, bank counted over the channel's ranks and groups, row, column, and burst number."""

    channel: IntArray
    bank: IntArray
    row: IntArray
    column: IntArray
    key: IntArray


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """How many of each an address chooses from: ranks of a channel, banks of a group, columns in bursts."""

    channels: int
    ranks: int
    bank_groups: int
    banks: int
    rows: int
    columns: int

    def bits(self) -> dict[str, int]:
        """Return the address bits of each of `FIELDS`.

        Raises
        ------
        ConfigError
            If a count is no power of two.
        """
        counts = (self.channels, self.ranks, self.bank_groups, self.banks, self.rows, self.columns)
        names = ("channels", "ranks", "bank groups", "banks of a group", "rows", "bursts of a row")
        return {field: _log2(name, count) for field, name, count in zip(FIELDS, names, counts, strict=True)}


@dataclass(frozen=True, slots=True)
class AddressMapping:
    """A mapping for one memory.

    Attributes
    ----------
    slices
        (field, first bit inside the field, bits), from the lowest address bit above the burst's bytes to the highest.
    field_bits
        Bits per field, in the order of `FIELDS`.
    burst_bytes
        Bytes of a burst; lower address bits are ignored.
    xor_column
        Whether rank, bank group, bank and row are XORed with successive column bits, the lowest first: the
        permutation-based interleaving that Ramulator 2 calls MOP4CLXOR when it follows ``rocobabgraco2ch``.
    """

    slices: tuple[tuple[str, int, int], ...]
    field_bits: tuple[int, ...]
    burst_bytes: int
    xor_column: bool

    def decode(self, addresses: NDArray[np.uint64]) -> DecodedAddresses:
        """Return the place of each byte address; bits above the memory's capacity are ignored."""
        key = (addresses // np.uint64(self.burst_bytes)).astype(np.int64)
        rest = key.copy()
        fields = {name: np.zeros(len(key), dtype=np.int64) for name in FIELDS}
        for name, first, bits in self.slices:
            fields[name] |= (rest & ((1 << bits) - 1)) << first
            rest >>= bits
        bits_of = dict(zip(FIELDS, self.field_bits, strict=True))
        if self.xor_column:
            # A stride of a whole row would meet one bank only: column bits spread it, and XOR keeps places apart.
            first = 0
            for name in ("ra", "bg", "ba", "ro"):
                fields[name] ^= (fields["co"] >> first) & ((1 << bits_of[name]) - 1)
                first += bits_of[name]
        return self._decoded(fields, key)

    def placed(self, places: IntArray) -> DecodedAddresses:
        """Return the bursts of stated places, a column for each of `FIELDS`; equal places are the same burst."""
        fields = {name: np.ascontiguousarray(places[:, column]) for column, name in enumerate(FIELDS)}
        key = np.zeros(len(places), dtype=np.int64)
        for name, bits in zip(FIELDS, self.field_bits, strict=True):
            key = (key << bits) | fields[name]
        return self._decoded(fields, key)

    def _decoded(self, fields: dict[str, IntArray], key: IntArray) -> DecodedAddresses:
        bits_of = dict(zip(FIELDS, self.field_bits, strict=True))
        bank = (((fields["ra"] << bits_of["bg"]) | fields["bg"]) << bits_of["ba"]) | fields["ba"]
        return DecodedAddresses(fields["ch"], bank, fields["ro"], fields["co"], key)


def _log2(name: str, value: int) -> int:
    if value < 1 or value & (value - 1):
        raise ConfigError(f"dram: {value} {name} are not a power of two; the timing model needs one")
    return value.bit_length() - 1


def parse_mapping(text: str, counts: FieldCounts, burst_bytes: int, *, xor_column: bool) -> AddressMapping:
    """Return the mapping that a string of fields describes.

    Parameters
    ----------
    text
        Fields from the highest to the lowest bit, such as ``rochrababgco``; ``co2`` is a part of two bits.
    counts
        What the fields choose from.
    burst_bytes
        Bytes of a burst.
    xor_column
        See `AddressMapping`.

    Raises
    ------
    ConfigError
        If a field is unknown, missing, or given a wrong number of bits, or a count is no power of two.
    """
    bits_of = counts.bits()
    _log2("bytes of a burst", burst_bytes)
    tokens = _TOKEN.findall(text)
    if "".join(name + digits for name, digits in tokens) != text:
        raise ConfigError(f"dram.address_mapping: {text!r} is not a string of fields; use each of {' '.join(FIELDS)}")
    for name in FIELDS:
        _check_field(text, name, [digits for token, digits in tokens if token == name], bits_of[name])
    used = dict.fromkeys(FIELDS, 0)
    slices: list[tuple[str, int, int]] = []
    for name, digits in reversed(tokens):
        fixed = sum(int(other) for token, other in tokens if token == name and other)
        bits = int(digits) if digits else bits_of[name] - fixed
        slices.append((name, used[name], bits))
        used[name] += bits
    return AddressMapping(tuple(slices), tuple(bits_of[name] for name in FIELDS), burst_bytes, xor_column)


def _check_field(text: str, name: str, parts: list[str], bits: int) -> None:
    """Refuse a field that is missing or does not add up to its bits."""
    fixed = sum(int(part) for part in parts if part)
    open_parts = parts.count("")
    if not parts or open_parts > 1 or fixed > bits or (open_parts == 0 and fixed != bits):
        raise ConfigError(
            f"dram.address_mapping: {text!r}: field {name} must appear and cover {bits} bits; "
            f"name it once, or in parts such as {name}2 with one part left open"
        )
