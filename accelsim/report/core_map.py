"""Who works on what of several cores: a row per layer, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.cores.program import Program
from accelsim.mapping.loops import LOOPS
from accelsim.report.mapping import print_fused
from accelsim.report.text import printable
from accelsim.sim.counters import Counters
from accelsim.timing.schedule import FusedLayers


def core_map(program: Program, counters: Counters) -> list[dict[str, Any]]:
    """Return of each layer by what it is divided, on which cores, the largest part's tile, and the cycles."""
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for slot, layer in zip(program.slots, program.layer_of, strict=True):
        if layer in seen:  # inputs that a core takes one after the other are mapped alike
            continue
        seen.add(layer)
        largest = max(slot.pieces.values(), key=lambda piece: piece.schedule.macs).schedule
        tiling, counted = largest.tiling, counters.layers[layer]
        rows.append(
            {
                "name": counted.name,
                "kind": counted.kind,
                "divided_by": program.divided[layer],
                "cores": sorted(slot.pieces),
                "alike": slot.alike,
                "tile": None if tiling is None else {loop: tiling.size(loop) for loop in LOOPS},
                "order": None if tiling is None else list(tiling.order),
                "latency_cycles": counted.latency_cycles,
            }
        )
    return rows


def core_map_text(
    hardware: str, network: str, storage: str, rows: list[dict[str, Any]], fused: Iterable[FusedLayers]
) -> str:
    """Return the rows, and the layers that are fused, as JSON."""
    document = {"hardware": hardware, "network": network, "storage": storage, "layers": rows}
    document["fused"] = [asdict(group) for group in fused]
    return json.dumps(document, indent=2) + "\n"


def print_core_map(console: Console, title: str, rows: list[dict[str, Any]], fused: Sequence[FusedLayers]) -> None:
    """Print the layers that are fused, and the rows as a table."""
    console.print(Text(title, style="bold"))
    print_fused(console, fused)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for heading in ("divided by", "cores", "same for all", "tile of the largest part", "cycles"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        sizes = row["tile"] or {}
        tile = " ".join(f"{loop}{size}" for loop, size in sizes.items() if size > 1 or loop in "KCPQ") or "-"
        table.add_row(
            printable(row["name"]), row["divided_by"], str(len(row["cores"])), row["alike"], tile,
            f"{row['latency_cycles']:,}",
        )  # fmt: skip
    console.print(table)
