"""The tables of a report: cells with a text for people and a value to sort and to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TypeVar
from urllib.parse import quote

from accelsim.config.base import ConfigModel
from accelsim.cost.area import area_prices
from accelsim.cost.evaluate import energy_lines
from accelsim.cost.tables import load_tables
from accelsim.cost.terms import constants_of
from accelsim.cost.traits import Pricer, run_traits
from accelsim.documented import documented
from accelsim.report.fused import fused_cells
from accelsim.report.labels import format_label, label
from accelsim.report.page_runs import Case, PageRun, TicketRuns
from accelsim.report.page_words import NEARLY_NONE, UNFROZEN_FORMAT
from accelsim.report.text import percent, printable, quantity, ratio, shape, significant
from accelsim.results.compare import bottleneck, own_accuracy, stalled_share, stored_bits, traffic_bytes, weight_bytes
from accelsim.storage.mixed import SIGN, format_of_layer

Value = str | int | float
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown, and the value behind it."""

    text: str
    value: Value

    @property
    def is_number(self) -> bool:
        """Return whether it is sorted by size."""
        return not isinstance(self.value, str)


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table: its title, column titles, rows of cells, and what to know when reading it.

    One that ``folds`` is shown in fewer columns than it is saved with, see `shown`.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    folds: bool = False

    @property
    def shown(self) -> PageTable:
        """Return the table as it is read: what all rows share stands below them, and a row alone is a list."""
        return _folded(self) if self.folds else self

    @property
    def number_columns(self) -> tuple[bool, ...]:
        """Return which columns hold numbers, whatever words stand among them."""
        return tuple(any(row[place].is_number for row in self.rows) for place in range(len(self.columns)))

    @property
    def csv_uri(self) -> str:
        """Return the table as a ``data:`` address of a CSV file."""
        return "data:text/csv;charset=utf-8," + quote(csv_text(self), safe="")


def _folded(table: PageTable) -> PageTable:
    if len(table.rows) == 1 and len(table.columns) > 2:
        rows = tuple((_text(column), cell) for column, cell in zip(table.columns, table.rows[0], strict=True))
        return replace(table, columns=("figure", "value"), rows=rows, folds=False)
    shared = [place for place in range(len(table.columns)) if len({row[place].text for row in table.rows}) == 1]
    if len(table.rows) < 2 or not shared or len(shared) == len(table.columns):
        return table
    said = [(table.columns[place], table.rows[0][place].text) for place in shared]
    words = "; ".join(f"{column}: {text}" for column, text in said if text not in ("", "-"))
    kept = [place for place in range(len(table.columns)) if place not in shared]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        folds=False,
        note=f"The same in all rows: {words}. {table.note}".strip() if words else table.note,
    )


def csv_text(table: PageTable) -> str:
    """Return the values of ``table`` as CSV; a text that a spreadsheet would run as a formula gets an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_csv_value(cell.value) for cell in row] for row in table.rows)
    return stream.getvalue()


def answer_table(cases: Sequence[Case]) -> PageTable:
    """Return a row per case and rival: what the ticket in focus buys, how sure, and the break-even points."""
    columns = (
        "network", "chip", "against", "energy", "at least (5 %)", "at most (95 %)", "less in", "time", "weight traffic",
        "stored weights", "chip area", "equal at (pJ per DRAM bit)", "stores less from (frozen)",
    )  # fmt: skip
    rows = tuple(_answer_row(case, case.focus, rival) for case in cases for rival in case.focus.rivals)
    note = (
        "Factors by which the rival needs more than the format in question (above 1: that wins). At least and at most: "
        "the energy's factor in 5 and 95 % of 1,000 draws of every cost constant within its range; less in: the draws "
        "in which the format in question needs less. Times have no sampled constants."
    )
    return PageTable("The answer in figures", columns, rows, note, folds=True)


def runs_table(case: Case) -> PageTable:
    """Return a row per run of a case: the main totals."""
    columns: tuple[str, ...] = (
        "file", "stored as", "batch", "frozen", "accuracy", "time", "energy", "energy per input", "power",
        "weight traffic", "all traffic", "stored weights", "PE use", "TOPS", "TOPS/W", "chip area",
    )  # fmt: skip
    runs = [run for ticket in case.tickets for run in ticket.runs]
    rows = tuple(_run_row(run) for run in runs)
    if all(run.result.workload.batch == 1 for run in runs):
        place = columns.index("energy per input")
        columns, rows = _without(columns, place), tuple(_without(row, place) for row in rows)
    note = (
        "Figures are for the whole batch. Accuracy stands only where the very ticket is stored that was measured; that "
        "of others is not simulated."
    )
    return PageTable(
        f"All runs of {printable(case.network)} on {printable(case.chip)}", columns, rows, note, folds=True
    )


def layers_table(run: PageRun) -> PageTable:
    """Return a row per layer of one run."""
    columns: tuple[str, ...] = ("layer", "kind", "shape", "cycles", "PE use", "stalled", "bottleneck")
    columns += ("energy", "weights read", "activations", "stored weights")
    is_mixed = SIGN in run.result.storage
    columns += ("stored as",) if is_mixed else ()
    fused, rows = fused_cells(run.result), []
    columns += ("group: stripes",) if fused else ()
    for layer in run.result.layers:
        moved = weight_bytes(layer)
        cells = [_text(layer.name), _text(layer.kind), _text(shape(layer.shape)), _count(layer.latency_cycles)]
        cells += [
            _fraction(layer.pe_utilization),
            _fraction(stalled_share(layer)),
            _text(label(bottleneck(layer)) if layer.latency_cycles else "-"),
            _quantity(layer.energy_j, "J"),
            _quantity(moved, "B"),
            _quantity(traffic_bytes(layer) - moved, "B"),
            _quantity(stored_bits(layer) / 8, "B"),
        ]
        if is_mixed:
            own = format_of_layer(run.result.storage, layer.name, layer.kind) if stored_bits(layer) else "-"
            cells.append(_text(own))
        if fused:
            cells.append(_text(fused.get(layer.name, "-")))
        rows.append(tuple(cells))
    note = "Stalled: the cycles in which the array does not compute; the bottleneck is what most cycles are spent on."
    return PageTable(f"Layers, stored as {format_label(run.result.storage)}", columns, tuple(rows), note)


def constants_table(cases: Sequence[Case]) -> PageTable:
    """Return every constant behind an energy or an area of these runs, with its range and source."""
    tables = load_tables()
    used: set[str] = set()
    for run in (run for case in cases for ticket in case.tickets for run in ticket.runs):
        if run.counters is None:
            continue
        counters, config = run.counters.counters, run.counters.hardware.config
        used.update(name for line in energy_lines(counters, config, tables) for name in line.constants)
        area = area_prices(Pricer(config, tables, run_traits(counters)))
        used.update(name for price in area.values() for name in constants_of(price))
    rows = []
    for row in sorted((tables.row(name) for name in used), key=lambda each: (each.unit_of_chip, each.name)):
        spread = "exact" if row.low == row.high else f"{row.low:g} to {row.high:g}"
        place = "" if row.node_nm is None else f"{row.node_nm:g} nm"
        place += "" if row.voltage_v is None else f", {row.voltage_v:g} V"
        cells = (row.name, f"{row.unit_of_chip}: {row.action}")
        texts = (row.unit, spread, place, row.source, row.note)
        rows.append((*map(_text, cells), Cell(f"{row.value:g}", row.value), *map(_text, texts)))
    columns = ("constant", "prices", "value", "unit", "range", "holds at", "source", "how it was derived")
    note = (
        "SRAM energy, area and leakage come from a grid of CACTI 7 runs (docs/cost.md), times the sram_ factors here."
    )
    return PageTable("Constants of the cost model", columns, tuple(rows), note)


def chip_table(case: Case) -> PageTable | None:
    """Return every field of a chip as it was simulated; None without its description."""
    stored = next((run.counters for ticket in case.tickets for run in ticket.runs if run.counters is not None), None)
    if stored is None:
        return None
    rows = tuple(
        (_text(path), _text(value), _text(meaning)) for path, value, meaning in _fields(stored.hardware.config, "")
    )
    note = f"As simulated, from {printable(stored.hardware.path)}; the file says for each figure why."
    return PageTable(f"The chip {printable(case.chip)}", ("field", "value", "meaning"), rows, note)


def _answer_row(case: Case, ticket: TicketRuns, rival: PageRun) -> tuple[Cell, ...]:
    mine, theirs = ticket.main.result.totals, rival.result.totals
    pair, point = ticket.comparison(rival.result.storage), ticket.break_even(rival)
    unknown = _text("-")
    ends = () if pair is None else (pair.ratio.p05, pair.ratio.p95)
    band = [Cell(f"{significant(end)}x", end) for end in ends] or [unknown, unknown]
    at, frozen = unknown, unknown
    if point is not None:
        crossing, now = point.dram_pj_per_bit, significant(point.dram_pj_per_bit_now)
        at = _text(f"nowhere; now {now}") if crossing is None else Cell(f"{significant(crossing)}; now {now}", crossing)
        share = NEARLY_NONE if rival.result.storage == UNFROZEN_FORMAT else point.freeze_ratio
        if not point.freezes_too:
            frozen = _frozen(share)
    return (
        _text(case.network), _text(case.chip), _text(format_label(rival.result.storage)),
        _factor(theirs.energy_j, mine.energy_j), *band, unknown if pair is None else _fraction(pair.probability),
        _factor(theirs.latency_s, mine.latency_s), _factor(weight_bytes(theirs), weight_bytes(mine)),
        _factor(stored_bits(theirs), stored_bits(mine)), _factor(theirs.area_mm2, mine.area_mm2), at, frozen,
    )  # fmt: skip


def _frozen(share: float | None) -> Cell:
    """Return from which freezing ratio on the ticket stores less."""
    if share is None:
        return _text("never")
    if share <= NEARLY_NONE:
        return _text("anything" if share else "always")
    return Cell(percent(share), share)


def _without(items: tuple[T, ...], place: int) -> tuple[T, ...]:
    return items[:place] + items[place + 1 :]


def _both_names(storage: str) -> str:
    """Return what readers call a format, with the name that commands take where that is another."""
    name = format_label(storage)
    return name if name.replace(" ", "-") == storage else f"{name} ({printable(storage)})"


def _run_row(run: PageRun) -> tuple[Cell, ...]:
    work, totals, accuracy = run.result.workload, run.result.totals, own_accuracy(run.result)
    return (
        Cell(printable(PurePath(work.path or work.name).name), work.path or work.name),
        _text(_both_names(run.result.storage)),
        _count(work.batch),
        _fraction(work.freeze_ratio),
        _text("-") if accuracy is None else _fraction(accuracy),
        _quantity(totals.latency_s, "s"),
        _quantity(totals.energy_j, "J"),
        _quantity(totals.energy_j_per_input, "J"),
        _quantity(totals.average_power_w, "W"),
        _quantity(weight_bytes(totals), "B"),
        _quantity(traffic_bytes(totals), "B"),
        _quantity(stored_bits(totals) / 8, "B"),
        _fraction(totals.pe_utilization),
        Cell(significant(totals.tops), totals.tops),
        Cell(significant(totals.tops_per_w), totals.tops_per_w),
        Cell(f"{significant(totals.area_mm2)} mm2", totals.area_mm2),
    )


def _fields(model: ConfigModel, prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in documented(type(model)).model_fields.items():
        value = getattr(model, name)
        path = f"{prefix}{name}"
        if isinstance(value, ConfigModel):
            rows.extend(_fields(value, f"{path}."))
        else:
            rows.append((path, _plain(value), " ".join((field.description or "").split())))
    return rows


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _csv_value(value: Value) -> str:
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "@", "-", "\t") and text != "-" else text


def _text(text: str) -> Cell:
    clean = printable(text, 1000)
    return Cell(clean, clean)


def _count(value: int) -> Cell:
    return Cell(f"{value:,}", value)


def _fraction(value: float) -> Cell:
    return Cell(percent(value), value)


def _quantity(value: float, unit: str) -> Cell:
    return Cell(quantity(value, unit), value)


def _factor(theirs: float, mine: float) -> Cell:
    return Cell(ratio(theirs, mine), theirs / mine if mine else 0.0)
