"""How sure the energies are: bands, comparisons and tornados, as tables and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.report.text import percent, printable, quantity, significant

if TYPE_CHECKING:
    from accelsim.cost.uncertainty import Band, Tornado, UncertaintyReport

_BARS_IN_TABLE = 5


def print_uncertainty(console: Console, report: UncertaintyReport) -> None:
    """Print the band of each format, how sure each comparison is, and the constants that matter most."""
    head = f"{report.num_draws:,} draws of every constant within its range, seed {report.seed}"
    console.print(Text(f"uncertainty: {head}", style="bold"))
    console.print(_bands(report))
    for pair in report.comparisons:
        sure = f"needs less energy than {printable(pair.second)} in {percent(pair.probability)} of the draws"
        band = f"{significant(pair.ratio.p05)} to {significant(pair.ratio.p95)} times"
        console.print(Text(f"{printable(pair.first)} {sure} ({band})."))
    for tornado in report.tornados[:1]:
        console.print(_constants(tornado))


def band_words(report: UncertaintyReport) -> str:
    """Return within which bounds the energy of the run is, as a caveat has it."""
    band = report.formats[0].energy_j
    low, high = quantity(band.p05, "J"), quantity(band.p95, "J")
    return f"the run's energy is {low} to {high} in 90 % of the draws of all constants"


def uncertainty_text(report: UncertaintyReport) -> str:
    """Return the content of ``uncertainty.json``."""
    return json.dumps(asdict(report), indent=2, allow_nan=False) + "\n"


def _bands(report: UncertaintyReport) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("format", no_wrap=True)
    for title in ("energy", "5 to 95 %", "area", "5 to 95 %"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in report.formats:
        area = each.area_mm2
        table.add_row(
            Text(printable(each.storage)),
            quantity(each.energy_j.value, "J"),
            _energy_range(each.energy_j),
            f"{significant(area.value)} mm2",
            f"{significant(area.p05)} - {significant(area.p95)} mm2",
        )
    return table


def _energy_range(band: Band) -> str:
    return f"{quantity(band.p05, 'J')} - {quantity(band.p95, 'J')}"


def _constants(tornado: Tornado) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"constants that move {printable(tornado.subject)} most", no_wrap=True, overflow="ellipsis")
    table.add_column("energy at its ends", justify="right", no_wrap=True)
    for bar in tornado.bars[:_BARS_IN_TABLE]:
        ends = f"{quantity(bar.at_low, 'J')} - {quantity(bar.at_high, 'J')}"
        table.add_row(Text(printable(bar.constant)), ends)
    return table
