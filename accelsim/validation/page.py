"""What docs/validation.md has of the rows: verdict, agreement, errors by kind, and why gaps are above 15 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.validation.rows import Agreement, ValidationRow, agreement
from accelsim.validation.verdict import errors_by_kind, verdict

BLOCKS = {
    name: (f"<!-- begin of {name} made from the rows -->\n", f"<!-- end of {name} made from the rows -->\n")
    for name in ("the verdict", "the tables")
}
LARGE_GAP = 0.15
_STRIDED_GAP = 0.29


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why rows of a reference are off: whose quantity begins with ``start`` and whose error has the sign ``sign``.

    A sign of 0 stands for both.
    """

    reference: str
    start: str
    sign: int
    text: str


_REASONS = (
    _Reason("gemm-tilings-rtl", "cycles", -1, "tiles write more than they read, and the store is not overlapped there"),
    _Reason("tpu-v3", "cycles of gemm", -1, "tensors may be fp32 in memory there"),
    _Reason("tpu-v3", "cycles of conv", -1, "64 channels; padding in memory is modelled, the rest is not explained"),
    _Reason("tpu-v1", "share of cycles stalled on weights or", 1, "non-matrix cycles there are not modelled"),
    _Reason("tpu-v1", "share of cycles stalled on weights,", 1, "shifts behind a waiting array count as wait here"),
    _Reason("tpu-v1", "TOPS, LSTM", 1, "equal square layers fill the array better than the real ones"),
    _Reason("tpu-v1", "TOPS, CNN1", 1, "four fully connected layers there; equal layers never wait for weights"),
    _Reason("tpu-v1", "TOPS, CNN0", -1, "equal layers' channels do not fill 256 columns"),
    _Reason(
        "eyeriss-v1",
        "processing time",
        -1,
        "a block of sums that takes more channels in a pass than the chip's; see below",
    ),
    _Reason("eyeriss-v1", "latency", 1, "the link's clock is assumed"),
    _Reason("eyeriss-v1", "latency", -1, "results leave behind the next tile here; see below"),
    _Reason(
        "eyeriss-v1", "DRAM traffic", 0, "other blocks of sums than the chip's, or inputs read once more; see below"
    ),
    _Reason(
        "eyeriss-v1",
        "global-buffer",
        -1,
        "a block of sums that takes more channels in a pass than the chip's; see below",
    ),
    _Reason("eyeriss-v1", "power", 0, "an executed product takes less here, time more; see below"),
    _Reason("areas", "area in mm2, TPU v1, matrix", 1, "what a PE's registers are is an assumption; see below"),
    _Reason("eie-products", "time in us", -1, "waiting for the slowest PE is not modelled; zeros at random"),
    _Reason("eie-products", "time in us", 1, "zeros of real layers do not lie at random"),
    _Reason("areas", "area in mm2, TPU v1, unified buffer", -1, "theirs is a share of an upper bound; see below"),
    _Reason("areas", "area in mm2, TPU v1, accumulators", 1, "two ports in every bank is an assumption"),
    _Reason(
        "areas", "area in mm2, TPU v1, activation", -1, "a lane here scales and adds; pooling memories are not modelled"
    ),
    _Reason("areas", "area in mm2, TPU v1, control", -1, "a small sequencer here"),
    _Reason("areas", "area in mm2, Gemmini", 1, "sizes of logic are of another library"),
    _Reason("energy-7nm", "arithmetic", -1, "ASAP7, a predictive library, takes less"),
    _Reason("energy-7nm", "SRAM", -1, "small fast memories; ours are dense and slow; see below"),
    _Reason("eie-pe", "share of power, registers", 1, "flip-flops are counted from a description in words"),
    _Reason("masked-pe", "energy", 1, "the product is a bare operation of one source, the clock a cell library's"),
    _Reason("cacti-sram", "read energy", -1, "its neighbours, 8 and 256 KiB, are a factor of 32 apart; see below"),
    _Reason("cacti-sram", "area", 0, "CACTI changes its sub-arrays between sizes; see below"),
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
        if known.reference == row.reference and row.quantity.startswith(known.start) and known.sign * error >= 0:
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


def gap_groups(rows: Sequence[ValidationRow]) -> list[tuple[str, str, list[ValidationRow]]]:
    """Return the rows that are off by more than 15 %, by reference and reason, in the order of the rows."""
    found: dict[tuple[str, str], list[ValidationRow]] = {}
    for row in large_gaps(rows):
        found.setdefault((row.reference, reason(row) or "not explained"), []).append(row)
    return [(reference, why, group) for (reference, why), group in found.items()]


def page_verdict(rows: Sequence[ValidationRow]) -> str:
    """Return the verdict as Markdown."""
    return "\n".join(
        line
        for part in verdict(rows)
        for line in (f"**{part.heading}**", "", *(f"- {text}" for text in part.points), "")
    )


def page_tables(rows: Sequence[ValidationRow]) -> str:
    """Return agreement, errors by kind, gaps by reason, and other statistics as Markdown."""
    groups = {name: [row for row in rows if row.reference == name] for name in dict.fromkeys(r.reference for r in rows)}
    lines = ["| reference | rows | mean error | median | largest | rank correlation |", "|---|---|---|---|---|---|"]
    for name, group in groups.items():
        context = f"| `{name}` | {len(group)} (context) | - | - | - | - |"
        found = agreement(group)
        lines.append(_agreement_line(f"`{name}`", found) if found.num_rows else context)
    lines += ["", "Errors by kind of layer, or by measure:", ""]
    lines += [
        "| reference | kind | rows | mean error | median | largest | rank correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        _agreement_line(f"`{name}` | {kind}", found)
        for name, group in groups.items()
        for kind, found in errors_by_kind(group)
    ]
    lines += ["", "Rows that are off by more than 15 %, by what is known of the reason:", ""]
    lines += ["| reference | why | rows | from | to | the largest |", "|---|---|---|---|---|---|"]
    lines += [_gap_line(*group) for group in gap_groups(rows)]
    lines += ["", "Means, correlations and ranges:", "", "| reference | quantity | theirs | ours | note |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| `{row.reference}` | {row.quantity} | {_number(row.theirs)} | {_number(row.ours)} | {row.note} |"
        for row in rows
        if row.statistic
    ]
    return "\n".join(lines) + "\n"


def with_tables(page: str, rows: Sequence[ValidationRow]) -> str:
    """Return the page with its verdict and tables made anew."""
    for name, made in (("the verdict", page_verdict(rows)), ("the tables", page_tables(rows))):
        begin, end = BLOCKS[name]
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{made}{end}{rest.partition(end)[2]}"
    return page


def _agreement_line(names: str, found: Agreement) -> str:
    errors = (found.mean_error, found.median_error, found.largest_error)
    shown = " | ".join(f"{100 * error:.1f} %" for error in errors)
    rank = f"{found.rank_correlation:.3f}" if found.rank_correlation is not None else "-"
    return f"| {names} | {found.num_rows} | {shown} | {rank} |"


def _gap_line(reference: str, why: str, group: Sequence[ValidationRow]) -> str:
    ordered = sorted(group, key=lambda row: row.relative_error or 0.0)
    errors = [f"{100 * (row.relative_error or 0.0):+.0f} %" for row in (ordered[0], ordered[-1])]
    largest = max(group, key=lambda row: abs(row.relative_error or 0.0))
    return f"| `{reference}` | {why} | {len(group)} | {errors[0]} | {errors[1]} | {largest.quantity} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
