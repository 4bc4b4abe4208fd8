"""Several cores in a report: what each did, and what networks side by side cost each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.report.cores import shares_of_core
from accelsim.report.labels import format_label
from accelsim.report.page_charts import Chart
from accelsim.report.page_runs import Case
from accelsim.report.page_svg import BarPicture, BarRow, Segment
from accelsim.report.page_tables import Cell, PageTable
from accelsim.report.tenants import NOTICED, core_words
from accelsim.report.text import percent, printable, quantity, ratio
from accelsim.results.model import ResultError
from accelsim.strict_json import StrictJsonError, parse_json

TENANTS_NAME = "tenants.json"
MAX_FILE_BYTES = 1 << 22
MAX_TENANTS = 64
_NAMED = 3  # networks that the question names
_ALONE, _BESIDE = 0, 1  # colours
_COLUMNS = ("core", "layers", "MACs", "DRAM", "array", "memory", "generator, decoder", "other cores", "rest")


@dataclass(frozen=True, slots=True)
class TenantsView:
    """Networks side by side, as the page shows them: the question, the answer, a figure and the table."""

    question: str
    lead: str
    chart: Chart
    table: PageTable


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
    where = f"{printable(case.network)} on {printable(case.chip)} as {format_label(result.storage)}"
    note = "Shares of the run: the array at work, and what it waited for."
    if result.first_input_latency_s is not None:
        note += f" The first input has left the pipeline after {quantity(result.first_input_latency_s, 's')}."
    return PageTable(f"Cores: {where}", _COLUMNS, rows, note)


def is_tenants(path: str | Path) -> bool:
    """Return whether ``path`` is what `accelsim run --tenants --out` wrote, a folder or its file."""
    place = Path(path)
    return place.name == TENANTS_NAME if place.is_file() else (place / TENANTS_NAME).is_file()


def read_tenants(path: str | Path) -> TenantsView:
    """Return the networks of a run side by side.

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
        return _tenants_view(document)
    except (OSError, UnicodeError, StrictJsonError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(
            f"{file}: cannot be read ({type(error).__name__}); give a {TENANTS_NAME} that accelsim run --tenants wrote"
        ) from None


@dataclass(frozen=True, slots=True)
class _Tenant:
    """A network beside others: ``cores`` are the numbers of its cores."""

    network: str
    storage: str
    cores: tuple[int, ...]
    latency_s: float
    slow_down: float
    dram_bytes: int

    @property
    def alone_s(self) -> float:
        return self.latency_s / self.slow_down


def _tenants_view(document: dict[str, Any]) -> TenantsView:
    tenants = [_tenant(each) for each in document["tenants"][:MAX_TENANTS]]
    if not tenants:
        raise ValueError("no network in it")
    chip = printable(str(document["hardware"]))
    end, energy = quantity(float(document["latency_s"]), "s"), quantity(float(document["energy_j"]), "J")
    names = [each.network for each in tenants]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    *most, last = [*names[:_NAMED], *more]
    named = f"{', '.join(most)} and {last}" if most else last
    worst = max(tenants, key=lambda each: each.slow_down)
    pays = f"{worst.network} pays most: it takes {ratio(worst.slow_down, 1)} its time alone."
    first = pays if worst.slow_down > NOTICED else "No network is noticeably slower than alone."
    return TenantsView(
        f"What do {named} cost each other on {chip}?",
        f"{first} The last one ends after {end}, by when chip and memory have spent {energy}.",
        _tenants_chart(tenants),
        _tenants_table(tenants, chip),
    )


def _tenant(record: dict[str, Any]) -> _Tenant:
    slow_down = float(record["slow_down"])
    if not slow_down > 0:
        raise ValueError("slow_down")
    return _Tenant(
        printable(str(record["network"])),
        format_label(str(record["storage"])),
        tuple(int(core) for core in record["cores"]),
        float(record["latency_s"]),
        slow_down,
        int(record["dram_bytes"]),
    )


def _tenants_chart(tenants: Sequence[_Tenant]) -> Chart:
    """Return two bars for each network: its time alone, and beside the others."""
    rows = []
    for each in tenants:
        for label, words, seconds, colour in (
            (each.network, "alone", each.alone_s, _ALONE),
            ("", "beside the others", each.latency_s, _BESIDE),
        ):
            text = quantity(seconds, "s")
            rows.append(BarRow(label, (Segment(seconds, colour, f"{each.network}, {words}\n{text}"),), text))
    title = "Time of each network, alone and beside the others"
    key = [("alone", _ALONE), ("beside the others", _BESIDE)]
    return Chart(title, BarPicture(title, rows, "time", "s", key))


def _tenants_table(tenants: Sequence[_Tenant], chip: str) -> PageTable:
    columns = ("network", "stored as", "cores", "alone", "beside others", "slow-down", "memory traffic")
    rows = tuple(
        (
            Cell(each.network, each.network), Cell(each.storage, each.storage),
            Cell(core_words(each.cores), core_words(each.cores)),
            Cell(quantity(each.alone_s, "s"), each.alone_s), Cell(quantity(each.latency_s, "s"), each.latency_s),
            Cell(ratio(each.slow_down, 1), each.slow_down), Cell(quantity(each.dram_bytes, "B"), each.dram_bytes),
        )
        for each in tenants
    )  # fmt: skip
    return PageTable(f"Networks side by side on {chip}", columns, rows)
