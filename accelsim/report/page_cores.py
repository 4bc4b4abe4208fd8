"""Several cores in a report: what each did, and what networks side by side cost each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelsim.report.cores import shares_of_core
from accelsim.report.page_runs import Case
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.text import percent, printable, quantity, ratio
from accelsim.results.model import ResultError
from accelsim.strict_json import StrictJsonError, parse_json

TENANTS_NAME = "tenants.json"
MAX_FILE_BYTES = 1 << 22
MAX_TENANTS = 64
_SLOW_DOWN = 5  # its column in the table of networks side by side
_COLUMNS = ("core", "layers", "MACs", "DRAM", "array", "memory", "generator, decoder", "other cores", "rest")


def core_tables(cases: Sequence[Case]) -> tuple[PageTable, ...]:
    """Return what each core did, of each case on a chip with several."""
    return tuple(_core_table(case) for case in cases if case.focus.main.result.cores)


def _core_table(case: Case) -> PageTable:
    result = case.focus.main.result
    rows = tuple(
        (
            Cell(str(core.core), core.core), Cell(str(core.num_layers), core.num_layers),
            Cell(quantity(core.macs, ""), core.macs), Cell(quantity(core.dram_bytes, "B"), core.dram_bytes),
            *(Cell(percent(share), share) for share in shares_of_core(core, result.totals.latency_cycles)),
        )
        for core in result.cores or ()
    )  # fmt: skip
    where = f"{printable(case.network)} on {printable(case.chip)} as {printable(result.storage)}"
    note = "Shares of the run: the array at work, and what it waited for."
    if result.first_input_latency_s is not None:
        note += f" The first input has left the pipeline after {quantity(result.first_input_latency_s, 's')}."
    return PageTable(f"Cores: {where}", _COLUMNS, rows, note)


def is_tenants(path: str | Path) -> bool:
    """Return whether ``path`` is what `accelsim run --tenants --out` wrote, a folder or its file."""
    place = Path(path)
    return place.name == TENANTS_NAME if place.is_file() else (place / TENANTS_NAME).is_file()


def read_tenants(path: str | Path) -> PageTable:
    """Return the networks of a run side by side, as a table.

    Raises
    ------
    ResultError
        The file is too large, or not one that ``--tenants`` writes.
    """
    given = Path(path)
    file = given / TENANTS_NAME if given.is_dir() else given
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ResultError(f"{file}: larger than {MAX_FILE_BYTES} bytes; at most that is read")
        document = parse_json(file.read_text(encoding="utf-8"))
        return _tenants_table(document)
    except (OSError, UnicodeError, StrictJsonError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(
            f"{file}: cannot be read ({type(error).__name__}); give a {TENANTS_NAME} that accelsim run --tenants wrote"
        ) from None


def tenants_lead(table: PageTable) -> str:
    """Return in a sentence what networks side by side cost each other."""
    cells = [row[_SLOW_DOWN] for row in table.rows]
    most = max(cells, key=lambda cell: float(cell.value), default=None)
    return f"Side by side no network takes more than {most.text} the time that it takes alone." if most else ""


def _tenants_table(document: dict[str, Any]) -> PageTable:
    rows = []
    for each in document["tenants"][:MAX_TENANTS]:
        alone_s = float(each["latency_s"]) / max(1e-12, float(each["slow_down"]))
        cores = [int(core) for core in each["cores"]]
        rows.append((
            Cell(printable(str(each["network"])), printable(str(each["network"]))),
            Cell(printable(str(each["storage"])), printable(str(each["storage"]))),
            Cell(str(len(cores)), len(cores)),
            Cell(quantity(alone_s, "s"), alone_s),
            Cell(quantity(float(each["latency_s"]), "s"), float(each["latency_s"])),
            Cell(ratio(float(each["slow_down"]), 1), float(each["slow_down"])),
            Cell(quantity(int(each["dram_bytes"]), "B"), int(each["dram_bytes"])),
        ))  # fmt: skip
    end, energy = quantity(float(document["latency_s"]), "s"), quantity(float(document["energy_j"]), "J")
    return PageTable(
        f"Networks side by side on {printable(str(document['hardware']))}",
        ("network", "storage", "cores", "alone", "beside others", "slow-down", "DRAM"),
        tuple(rows),
        f"The last one ends after {end}, by when chip and memory have spent {energy}.",
    )
