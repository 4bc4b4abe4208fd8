"""How much buffer: traffic and energy over the capacity of each buffer, and the knee, for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.console import Console
from rich.text import Text

from accelsim.report.terminal import print_fitted
from accelsim.report.text import percent, printable, quantity, ratio, significant, size_words

KNEE_TOLERANCE = 0.05
"""What traffic may be above the least: less is not worth twice the memory to anybody, and below the bands of the
energy model (a DRAM bit alone is known to about a fifth)."""

_LEAST_GAIN = 0.001  # what a percentage with one decimal shows


@dataclass(frozen=True, slots=True)
class CapacityPoint:
    """What a run comes to with one capacity; zeros, and the reason, where it cannot run."""

    capacity_bytes: int
    dram_bytes: int = 0
    energy_j: float = 0.0
    latency_s: float = 0.0
    area_mm2: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """The runs over one buffer's capacity, rising; all else is as on the chip.

    ``now_bytes`` is the chip's own capacity.
    """

    buffer: str
    now_bytes: int
    points: tuple[CapacityPoint, ...]

    @property
    def good(self) -> tuple[CapacityPoint, ...]:
        """Return the points that run."""
        return tuple(point for point in self.points if not point.reason)

    @property
    def knee(self) -> CapacityPoint | None:
        """Return the smallest capacity from which on traffic stays within `KNEE_TOLERANCE` of the least.

        None where traffic is so at every capacity: a curve that is flat has no knee.
        """
        if not self.good or not self.has_effect:
            return None
        found = None
        most = min((point.dram_bytes for point in self.good), default=0) * (1 + KNEE_TOLERANCE)
        for point in reversed(self.good):
            if point.dram_bytes > most:
                break
            found = point
        return found

    @property
    def least_energy(self) -> CapacityPoint | None:
        """Return the capacity of least energy, of equal ones the smallest."""
        return min(self.good, key=lambda point: (point.energy_j, point.capacity_bytes), default=None)

    @property
    def has_effect(self) -> bool:
        """Return whether the capacity moves traffic by more than the tolerance, or decides whether anything runs."""
        traffic = [point.dram_bytes for point in self.good]
        return len(self.good) < len(self.points) or max(traffic) > min(traffic) * (1 + KNEE_TOLERANCE)


def print_capacities(console: Console, curves: Sequence[CapacityCurve]) -> None:
    """Print a table for each buffer, and a sentence below it."""
    for curve in curves:
        print_fitted(console, [_cells(curve, point) for point in curve.points], ("area", "latency"), frozenset({""}))
        for line in _sentences(curve):
            console.print(Text(line))


def _cells(curve: CapacityCurve, point: CapacityPoint) -> dict[str, str]:
    marks = [
        word
        for word, marked in (
            ("now", curve.now_bytes),
            ("knee", curve.knee.capacity_bytes if curve.knee else None),
            ("least energy", curve.least_energy.capacity_bytes if curve.least_energy else None),
        )
        if marked == point.capacity_bytes
    ]
    head = {curve.buffer: size_words(point.capacity_bytes)}
    if point.reason:
        return {**head, "DRAM traffic": "cannot run", "energy": "-", "latency": "-", "area": "-", "": ", ".join(marks)}
    return {
        **head,
        "DRAM traffic": quantity(point.dram_bytes, "B"),
        "energy": quantity(point.energy_j, "J"),
        "latency": quantity(point.latency_s, "s"),
        "area": f"{significant(point.area_mm2)} mm2",
        "": ", ".join(marks),
    }


def _sentences(curve: CapacityCurve) -> list[str]:
    failed = next((point for point in curve.points if point.reason), None)
    lines = [] if failed is None else [f"{size_words(failed.capacity_bytes)}: {printable(failed.reason, 300)}"]
    knee, best = curve.knee, curve.least_energy
    if best is None or len(curve.good) == 1:
        return lines
    first, last = (size_words(point.capacity_bytes) for point in (curve.points[0], curve.points[-1]))
    if knee is None:
        words = f"{curve.buffer}: from {first} to {last} traffic changes by less than {percent(KNEE_TOLERANCE)}"
    else:
        words = f"{curve.buffer}: the knee is {size_words(knee.capacity_bytes)}"
        if knee is curve.good[-1] and len(curve.good) > 1:
            words += ", the largest tried: traffic still falls, try more (--to)"
        else:
            words += f"; more saves less than {percent(KNEE_TOLERANCE)} of the traffic"
    now = next((point for point in curve.good if point.capacity_bytes == curve.now_bytes), None)
    return [
        *lines,
        f"{words}. Least energy at {size_words(best.capacity_bytes)}{_gain_words(best, now)}.{_slow_words(curve)}",
    ]


def _slow_words(curve: CapacityCurve) -> str:
    """Return below which capacity the run takes longer by more than the tolerance; nothing where it never does."""
    most = min(point.latency_s for point in curve.good) * (1 + KNEE_TOLERANCE)
    slow = [place for place, point in enumerate(curve.good) if point.latency_s > most]
    if not slow or slow[-1] + 1 == len(curve.good):
        return ""
    enough, least = curve.good[slow[-1] + 1], curve.good[0]
    times = ratio(least.latency_s, enough.latency_s)
    return f" Below {size_words(enough.capacity_bytes)} it takes longer, {times} at {size_words(least.capacity_bytes)}."


def _gain_words(best: CapacityPoint, now: CapacityPoint | None) -> str:
    if now is None or now is best:
        return ""
    gain = 1 - best.energy_j / now.energy_j
    return f", {percent(gain)} below now" if gain >= _LEAST_GAIN else ", no less than now to a thousandth"


def capacities_document(curves: Sequence[CapacityCurve]) -> list[dict[str, Any]]:
    """Return the curves as plain values for JSON."""
    return [
        {
            **asdict(curve),
            "knee_bytes": curve.knee.capacity_bytes if curve.knee else None,
            "least_energy_bytes": curve.least_energy.capacity_bytes if curve.least_energy else None,
        }
        for curve in curves
    ]


def capacities_text(curves: Sequence[CapacityCurve]) -> str:
    """Return CSV with a row for each capacity of each buffer."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["buffer", *(field.name for field in fields(CapacityPoint))], lineterminator="\n")
    writer.writeheader()
    for curve in curves:
        writer.writerows({"buffer": curve.buffer, **asdict(point)} for point in curve.points)
    return stream.getvalue()
