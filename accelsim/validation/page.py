"""The tables of docs/validation.md: agreement per reference, and every gap above 15 % with the reason for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.validation.rows import ValidationRow, agreement

BEGIN, END = "<!-- begin of the tables made from the rows -->\n", "<!-- end of the tables made from the rows -->\n"
LARGE_GAP = 0.15
_STRIDED_GAP = 0.29


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why rows of a reference are off: whose quantity begins with ``start`` and whose error has the sign ``sign``."""

    reference: str
    start: str
    sign: int
    text: str


_REASONS = (
    _Reason("gemm-tilings-rtl", "cycles", -1, "tiles write more than they read, and the store is not overlapped there"),
    _Reason("tpu-v3", "cycles of gemm", -1, "tensors may be fp32 in memory there"),
    _Reason("tpu-v3", "cycles of conv", -1, "tensors of 64 channels are padded to 128 in memory there"),
    _Reason("tpu-v1", "share of cycles stalled on weights or", 1, "non-matrix cycles there are not modelled"),
    _Reason("tpu-v1", "share of cycles stalled on weights,", 1, "shifts behind a waiting array count as wait here"),
    _Reason("tpu-v1", "TOPS, LSTM", 1, "equal square layers fill the array better than the real ones"),
    _Reason("tpu-v1", "TOPS, CNN1", 1, "four fully connected layers there; equal layers never wait for weights"),
    _Reason("tpu-v1", "TOPS, CNN0", -1, "equal layers' channels do not fill 256 columns"),
    _Reason("eyeriss-v1", "processing time", -1, "not established; see below"),
    _Reason("eyeriss-v1", "latency", 1, "follows from DRAM traffic"),
    _Reason("eyeriss-v1", "latency", -1, "follows from the processing time; see below"),
    _Reason("eyeriss-v1", "DRAM traffic", 1, "no run-length coding here, and small tiles"),
    _Reason("eyeriss-v1", "DRAM traffic", -1, "every tensor moves about once here"),
    _Reason("eyeriss-v1", "global-buffer", -1, "tiles of more input channels bring fewer partial sums"),
    _Reason("eyeriss-v1", "global-buffer", 1, "11 filter rows are folded over 3"),
    _Reason("eyeriss-v1", "power", -1, "an executed product is 4.2 pJ here and about 6 there; see below"),
    _Reason("areas", "area in mm2, TPU v1, matrix", -1, "the die, and so its share, is an upper bound"),
    _Reason("areas", "area in mm2, TPU v1, accumulators", 1, "two ports in every bank is an assumption"),
    _Reason(
        "areas", "area in mm2, TPU v1, activation", -1, "a lane here scales and adds; pooling memories are not modelled"
    ),
    _Reason("areas", "area in mm2, TPU v1, control", -1, "a small sequencer here"),
    _Reason("areas", "area in mm2, Eyeriss", -1, "no network to the PEs and no queues in them"),
    _Reason("areas", "area in mm2, Gemmini", 1, "sizes of logic are of another library"),
    _Reason("eie-pe", "share of power, clock", -1, "flip-flops are counted from a description in words"),
    _Reason("stonne-sparse-gemm", "speed-up", 1, "distribution network and gathering of rows are not modelled"),
    _Reason("cacti-sram", "read energy", -1, "its neighbours, 8 and 256 KiB, are a factor of 32 apart; see below"),
    _Reason("cacti-sram", "area", -1, "CACTI changes its sub-arrays between sizes; see below"),
    _Reason("cacti-sram", "area", 1, "CACTI changes its sub-arrays between sizes; see below"),
    _Reason("sparse-crossing", "density", 1, "a gated step of a systolic array still moves operands and sums"),
)


def reason(row: ValidationRow) -> str | None:
    """Return why a row is off by more than 15 %, in a few words; None if nobody has said so."""
    error = row.relative_error or 0.0
    if row.reference == "gemmini-rtl":
        if error > 0:
            return "G3: short layers; what the caches hold when they begin is not known"
        return "G1: lines far apart miss both caches" if error < -_STRIDED_GAP else "G2: stores, short rows of lines"
    for known in _REASONS:
        if (
            known.reference == row.reference
            and row.quantity.startswith(known.start)
            and (error > 0) == (known.sign > 0)
        ):
            return known.text
    return None


def large_gaps(rows: Sequence[ValidationRow]) -> list[ValidationRow]:
    """Return the rows that are off by more than 15 %; those under our own mapper are a comparison, not an error."""
    return [
        row
        for row in rows
        if abs(row.relative_error or 0.0) > LARGE_GAP
        and not row.statistic
        and row.reference != "gemmini-rtl-our-mapper"
    ]


def page_tables(rows: Sequence[ValidationRow]) -> str:
    """Return the two tables as Markdown."""
    lines = ["| reference | rows | mean error | median | largest | rank correlation |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row.reference for row in rows):
        group = [row for row in rows if row.reference == name]
        found = agreement(group)
        if found.num_rows:
            errors = (found.mean_error, found.median_error, found.largest_error)
            shown = " | ".join(f"{100 * error:.1f} %" for error in errors)
            lines.append(f"| `{name}` | {found.num_rows} | {shown} | {found.rank_correlation:.3f} |")
        else:
            lines.append(f"| `{name}` | {len(group)} (context) | - | - | - | - |")
    lines += ["", "Every row that is off by more than 15 %:", ""]
    lines += ["| reference | quantity | theirs | ours | error | why |", "|---|---|---|---|---|---|"]
    lines += [_gap_line(row) for row in large_gaps(rows)]
    statistics = [row for row in rows if row.statistic]
    lines += ["", "Means, correlations and ranges:", "", "| reference | quantity | theirs | ours | note |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| `{row.reference}` | {row.quantity} | {_number(row.theirs)} | {_number(row.ours)} | {row.note} |"
        for row in statistics
    ]
    return "\n".join(lines) + "\n"


def with_tables(page: str, rows: Sequence[ValidationRow]) -> str:
    """Return the page with its tables made anew."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{page_tables(rows)}{END}{after}"


def _gap_line(row: ValidationRow) -> str:
    error = f"{100 * (row.relative_error or 0.0):+.0f} %"
    numbers = f"{_number(row.theirs)} | {_number(row.ours)} | {error}"
    return f"| `{row.reference}` | {row.quantity} | {numbers} | {reason(row) or 'not explained'} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
