"""``accelsim atlas``: simulate the places of an atlas once, and say of each cell who wins.

Places are evaluated as the points of a sweep are, and kept in the same kind of store: an atlas that was interrupted
goes on where it stopped, and one with more levels reuses what it has.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import accelsim
from accelsim.cost.tables import load_tables
from accelsim.dse.atlas_cells import (
    AXES,
    NUM_DRAWS,
    SEED,
    SURE,
    WORTH,
    Cell,
    Crossing,
    Standing,
    cells_of,
    crossings,
    standings,
)
from accelsim.dse.atlas_space import FIDELITY, AtlasSpace
from accelsim.dse.engine import evaluate_points
from accelsim.dse.progress import Progress
from accelsim.dse.quality import QUALITY
from accelsim.dse.sweep import Places, opened
from accelsim.errors import SimulationError
from accelsim.results.store import csv_name, write_text

CSV_NAME = "atlas.csv"
JSON_NAME = "atlas.json"
SCHEMA_VERSION = 1
_SHOWN = ("tokens_per_s", "energy_j")


@dataclass(frozen=True, slots=True)
class Atlas:
    """All cells, how each ticket does over them, and where factors pass break-even."""

    space: AtlasSpace
    cells: tuple[Cell, ...]
    standings: tuple[Standing, ...]
    crossings: tuple[Crossing, ...]


def make_atlas(space: AtlasSpace, places: Places) -> Atlas:
    """Simulate what a store does not have yet, and write ``atlas.csv`` and ``atlas.json``.

    The files do not depend on the number of workers, nor on earlier interruptions.

    Raises
    ------
    AccelSimError
        Folder, store or workers are not usable, or nothing could be simulated.
    """
    with opened(places) as (folder, store, executor):
        wanted = space.points()
        keys = {point.job.key for *_, point in wanted if point.job is not None}
        progress = Progress(places.progress, _SHOWN, len(keys))
        evaluated = evaluate_points([point for *_, point in wanted], FIDELITY, store, executor, progress)
        progress.end()
        rows = {
            (place, storage, ratio): entry.row
            for (place, storage, ratio, _), entry in zip(wanted, evaluated, strict=True)
        }
        cells = cells_of(space, rows, load_tables())
        if all(cell.reason for cell in cells):
            raise SimulationError(f"atlas: no cell has an answer; the first: {cells[0].reason}")
        found = Atlas(space, cells, standings(space, cells), crossings(space, cells))
        write_text(folder / CSV_NAME, atlas_csv(found))
        write_text(folder / JSON_NAME, json.dumps(atlas_document(found), indent=1, allow_nan=False) + "\n")
    return found


def atlas_csv(atlas: Atlas) -> str:
    """Return a row per cell: where it is, every format's time and energy, both answers, and its command."""
    formats = tuple(dict.fromkeys(("ticket", *atlas.space.rivals)))
    columns = [
        "storage", "freeze_ratio", *AXES, "is_own_price", "num_tokens",
        *(f"latency_s.{name}" for name in formats), *(f"energy_j.{name}" for name in formats),
        "time_rival", "time_factor", "energy_rival", "energy_factor", "energy_factor_least", "energy_factor_most",
        "energy_probability", "is_unsure", "turns_with_policy", "ticket_cause",
        "ticket_cause_share", "reason", "command",
    ]  # fmt: skip
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [csv_name(name) for name in columns], lineterminator="\n")
    writer.writeheader()
    for cell in atlas.cells:
        row = _csv_row(cell, formats)
        writer.writerow({csv_name(name): row.get(name, "") for name in columns})
    return stream.getvalue()


def _csv_row(cell: Cell, formats: Sequence[str]) -> dict[str, object]:
    row: dict[str, object] = {
        "storage": cell.ticket.storage,
        "freeze_ratio": cell.ticket.freeze_ratio,
        **{name: value for name, value in cell.axes().items() if not math.isnan(value)},
        "is_own_price": str(cell.dram_pj_per_bit is None).lower(),
        "reason": cell.reason,
        "command": cell.command,
    }
    if cell.reason:
        return row
    for name in formats:
        own = cell.ticket.storage if name == "ticket" else name
        row[f"latency_s.{name}"] = cell.latency_s.get(own, "")
        row[f"energy_j.{name}"] = cell.energy_j.get(own, "")
    return row | {
        "num_tokens": cell.num_tokens,
        "time_rival": cell.time.rival,
        "time_factor": cell.time.factor,
        "energy_rival": cell.energy.rival,
        "energy_factor": cell.energy.factor,
        "energy_factor_least": min(cell.by_policy.values()),
        "energy_factor_most": max(cell.by_policy.values()),
        "energy_probability": cell.probability,
        "is_unsure": str(cell.is_unsure).lower(),
        "turns_with_policy": str(cell.turns_with_policy).lower(),
        "ticket_cause": cell.cause,
        "ticket_cause_share": cell.cause_share,
    }


def atlas_document(atlas: Atlas) -> dict[str, Any]:
    """Return the content of ``atlas.json``; what is not known is null."""
    space = atlas.space
    return {
        "schema_version": SCHEMA_VERSION,
        "accelsim_version": accelsim.__version__,
        "hardware": {"name": space.chip.config.name, "path": space.chip.path, "sha256": space.chip.sha256},
        "network": space.network,
        "overrides": list(space.overrides),
        "run": dict(space.run),
        "sparsity": space.sparsity,
        "tickets": [ticket.label for ticket in space.tickets],
        "rivals": list(space.rivals),
        "levels": {
            "context": list(space.contexts),
            "batch": list(space.batches),
            "bandwidth_gbps": list(space.bandwidths_gbps),
            "dram_pj_per_bit": list(space.pj_per_bit),
        },
        "uncertainty": {"num_draws": NUM_DRAWS, "seed": SEED, "sure": SURE},
        "worth": WORTH,
        "standings": [_standing(each) for each in atlas.standings],
        "crossings": [{**each._asdict(), "fixed": dict(each.fixed)} for each in atlas.crossings],
        "quality": [asdict(each) for each in QUALITY],
        "cells": [_cell(cell) for cell in atlas.cells],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {**asdict(standing), "ticket": standing.ticket.label}


def _cell(cell: Cell) -> dict[str, Any]:
    where = {
        "storage": cell.ticket.storage,
        "freeze_ratio": cell.ticket.freeze_ratio,
        "bits_per_weight": None if cell.reason else cell.bits_per_weight,
        **cell.place._asdict(),
        "dram_pj_per_bit": cell.dram_pj_per_bit,
    }
    if cell.reason:
        return {**where, "reason": cell.reason, "command": cell.command}
    return {
        **where,
        "dram_pj_per_bit_now": cell.dram_pj_per_bit_now,
        "num_tokens": cell.num_tokens,
        "latency_s": dict(cell.latency_s),
        "energy_j": dict(cell.energy_j),
        "time": cell.time._asdict(),
        "energy": cell.energy._asdict(),
        "energy_probability": cell.probability,
        "is_unsure": cell.is_unsure,
        "energy_factor_by_policy": dict(cell.by_policy),
        "turns_with_policy": cell.turns_with_policy,
        "ticket_cause": cell.cause,
        "ticket_cause_share": cell.cause_share,
        "command": cell.command,
    }
