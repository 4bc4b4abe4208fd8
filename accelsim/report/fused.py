"""Fused layers in words."""

from __future__ import annotations

from accelsim.report.text import printable
from accelsim.results.model import RunResult

MOST_GROUPS = 3  # that are named in a line


def fused_line(result: RunResult) -> list[str]:
    """Return the line that says which layers are fused; none where there are none."""
    if not result.fused:
        return []
    names = [f"{printable(group.layers[0])} to {printable(group.layers[-1])}" for group in result.fused]
    more = f" and {len(names) - MOST_GROUPS} more groups" if len(names) > MOST_GROUPS else ""
    return [f"Fused, with the maps between them on chip: {', '.join(names[:MOST_GROUPS])}{more} (accelsim map)."]


def fused_cells(result: RunResult) -> dict[str, str]:
    """Return by layer its group, and in how many stripes: ``2: 14``; parts stand before, ``1: 12 x 4``.

    Of rows that cores divide, these stand before: ``2: 4 cores x 14``.
    """
    found: dict[str, str] = {}
    for number, group in enumerate(result.fused or (), 1):
        parts = f"{group.num_parts} x " if group.num_parts > 1 else ""
        parts = f"{group.num_cores} cores x " if group.num_cores > group.num_parts else parts
        found |= dict.fromkeys(group.layers, f"{number}: {parts}{group.num_stripes}")
    return found
