"""What the rows come to: what to trust, to how much, and what not. Every sentence is made from the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accelsim.validation.rows import Agreement, ValidationRow, agreement

TRUSTED, ESTIMATE = 0.15, 0.30
"""Mean errors up to which a figure is called trusted, or an estimate: 15 % is what the project calls a large gap, and
30 % is about what published simulators reach against RTL (Timeloop on Gemmini: 24.5 %)."""
_EQUAL = 0.0005
ORDERED, FEWEST_ORDERED = 0.9, 5
"""Rank correlation from which the order of cases is said to be right, and the fewest rows that can show it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a reference is about; ``by_measure`` where its rows have several measures, each with its own error."""

    what: str
    beside: str
    by_measure: bool = False


SUBJECTS = {
    "gemmini-rtl": Subject("cycles of layers under a stated mapping", "Gemmini's RTL"),
    "gemmini-rtl-our-mapper": Subject("cycles of the same layers as our mapper cuts them", "Gemmini's RTL"),
    "gemm-tilings-rtl": Subject("cycles of tiled matrix products", "RTL of a 16 x 16 array"),
    "tpu-v3": Subject("cycles of kernels", "a real TPU v3 core"),
    "tpu-v1": Subject("", "the real TPU v1", by_measure=True),
    "eyeriss-v1": Subject("", "the real Eyeriss chip", by_measure=True),
    "stonne-sparse-gemm": Subject("speed-up of sparse products", "STONNE, another kind of array"),
    "eie-products": Subject("time of sparse products", "EIE, as published"),
    "systolic-formulas": Subject("cycles of an array with ideal memory", "SCALE-Sim's formulas"),
    "dram-simulators": Subject("cycles of memory traces", "DRAMsim3 and Ramulator 2.1"),
    "real-masks": Subject("multiplications that masks leave", "counts of real masks"),
    "cacti-sram": Subject("SRAM", "CACTI at sizes left out of our grid", by_measure=True),
    "dram-energy": Subject("energy of memory traces", "DRAMPower"),
    "areas": Subject("area of blocks and chips", "published layouts"),
    "energy-7nm": Subject("at 7 nm:", "what the TPU's makers state", by_measure=True),
    "eie-pe": Subject("share of a PE's power by kind of cell", "EIE's PE after layout"),
    "masked-pe": Subject("energy of a masked PE over one that executes", "a synthesis to 45 nm cells"),
    "sparse-crossing": Subject("density at which skipping beats gating", "Sparseloop"),
    "frozen-sizes": Subject("stored size of frozen tickets", "arXiv 2402.14029"),
    "hiddenite": Subject("TOPS/W, middle of a range of assumptions", "Hiddenite, the one chip of this kind"),
    "decoders": Subject("tokens a second that the memory allows, or time a token", "published decoders"),
    "decoder-power": Subject(
        "power of a decode (of a GPU its memory alone), middle of a range of assumptions", "published decoders"
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """How far one measure of a reference is off; ``worst`` is the kind of layer with the largest mean error."""

    reference: str
    what: str
    beside: str
    found: Agreement
    worst: tuple[str, Agreement] | None = None

    @property
    def is_ordered(self) -> bool:
        """Return whether the order of its cases is right."""
        rank = self.found.rank_correlation
        return self.found.num_rows >= FEWEST_ORDERED and rank is not None and rank >= ORDERED


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A part of the verdict: a heading and its points."""

    heading: str
    points: tuple[str, ...]


def findings(rows: Sequence[ValidationRow]) -> list[Finding]:
    """Return a finding per reference, or per measure where it has several, in the order of the rows."""
    found = []
    for name, group in _by_reference(rows):
        subject = SUBJECTS.get(name, Subject(f"figures of {name}", group[0].source.partition(",")[0]))
        kinds = errors_by_kind(group)
        if subject.by_measure and kinds:
            for kind, each in kinds:
                what = f"{subject.what} {kind}".strip()
                found.append(Finding(name, what, subject.beside, each))
        elif (whole := agreement(group)).num_rows:
            worst = max(kinds, key=lambda kind: kind[1].mean_error) if len(kinds) > 1 else None
            found.append(Finding(name, subject.what, subject.beside, whole, worst))
    return found


def kinds_of(row: ValidationRow) -> tuple[str, ...]:
    """Return by what the errors of a reference are reported: its measures, or its kinds of layer."""
    subject = SUBJECTS.get(row.reference)
    return (row.measure,) if subject is not None and subject.by_measure else row.kinds


def errors_by_kind(rows: Sequence[ValidationRow]) -> list[tuple[str, Agreement]]:
    """Return the agreement of each kind, see `kinds_of`, of the rows of one reference."""
    names = dict.fromkeys(kind for row in rows for kind in kinds_of(row))
    found = [(name, agreement([row for row in rows if name in kinds_of(row)])) for name in names]
    return [(name, each) for name, each in found if each.num_rows]


def verdict(rows: Sequence[ValidationRow]) -> list[Paragraph]:
    """Return what to trust, to how much, and what not, as the rows have it; parts without points are left out."""
    every = findings(rows)
    groups: tuple[tuple[str, str, str, float, float], ...] = (
        ("Trust", f"a mean error up to {_share(TRUSTED)}", "", -1.0, TRUSTED),
        (
            "Take as an estimate",
            f"a mean error up to {_share(ESTIMATE)}",
            f"one up to {_share(ESTIMATE)}",
            TRUSTED,
            ESTIMATE,
        ),
        ("Do not trust as a figure", f"a mean error above {_share(ESTIMATE)}", "a larger one", ESTIMATE, math.inf),
    )
    parts: list[Paragraph] = []
    for heading, error, behind_another, above, most in groups:
        points = tuple(_point(each) for each in every if above < each.found.mean_error <= most)
        if points:
            count = f"{len(points)} of {len(every)} measures {'has' if len(points) == 1 else 'have'}"
            parts.append(Paragraph(f"{heading}: {count} {behind_another if parts else error}", points))
    trends = tuple(_trends(rows))
    if trends:
        parts.append(Paragraph("Directions only: what was measured is not quite what is modelled", trends))
    return parts


def _point(finding: Finding) -> str:
    found = finding.found
    spread = f"{_rows(found.num_rows)}, half within {_share(found.median_error)}, worst {_share(found.largest_error)}"
    if found.largest_error < _EQUAL:
        return f"{finding.what}: equal to {finding.beside} ({_rows(found.num_rows)})"
    if found.num_rows < FEWEST_ORDERED:
        spread = f"only {_rows(found.num_rows)}, worst {_share(found.largest_error)}"
    text = f"{finding.what}: {_share(found.mean_error)} beside {finding.beside} ({spread})"
    if found.mean_error > TRUSTED and finding.is_ordered:
        text += f"; their order is right (rank correlation {found.rank_correlation:.2f})"
    if finding.worst is not None and finding.worst[1].mean_error > max(TRUSTED, found.mean_error):
        kind, worst = finding.worst
        text += f"; {_share(worst.mean_error)} for {kind} ({_rows(worst.num_rows)})"
    return text


def _trends(rows: Sequence[ValidationRow]) -> Iterator[str]:
    """Yield a point per reference without plain rows: by what factor ours is theirs."""
    for name, group in _by_reference(rows):
        ratios = trend_ratios(group)
        if ratios is None:
            continue
        subject = SUBJECTS.get(name, Subject(f"figures of {name}", "theirs"))
        span = " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in ratios))
        yield f"{subject.what}: ours is {span} times that of {subject.beside}"


def trend_ratios(group: Sequence[ValidationRow]) -> tuple[float, float] | None:
    """Return the least and the most that ours is of theirs, for a reference without plain rows; None for others."""
    pairs = [(row.theirs, row.ours) for row in group if row.theirs and row.statistic == group[0].statistic]
    if agreement(group).num_rows or not pairs:
        return None
    factors = sorted(ours / theirs for theirs, ours in pairs)
    return factors[0], factors[-1]


def _by_reference(rows: Sequence[ValidationRow]) -> list[tuple[str, list[ValidationRow]]]:
    names = dict.fromkeys(row.reference for row in rows)
    return [(name, [row for row in rows if row.reference == name]) for name in names]


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _share(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.1f} %" if percent < 9.95 and round(percent, 1) != round(percent) else f"{percent:,.0f} %"
