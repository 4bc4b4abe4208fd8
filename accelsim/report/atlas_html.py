"""An atlas as one page: what was found, published quality beside it, and a small map for each batch and bandwidth."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import accelsim
from accelsim.dse.atlas import Atlas
from accelsim.dse.atlas_cells import EQUAL, NUM_DRAWS, SURE, WORTH, Cell, Crossing, Metric, Standing, winner
from accelsim.dse.quality import QUALITY
from accelsim.dse.summary_text import rule_words
from accelsim.report.atlas_words import finding, price_words, ticket_words
from accelsim.report.html import render
from accelsim.report.labels import label
from accelsim.report.page_charts import Chart
from accelsim.report.page_maps import MapCell, SmallMap, labels, map_svg
from accelsim.report.page_svg import NUM_COLOURS, BarPicture, BarRow, Segment
from accelsim.report.page_tables import Cell as TableCell
from accelsim.report.page_tables import PageTable
from accelsim.report.text import percent, printable, quantity, significant

_EQUAL_COLOUR = 9
_COLOURS = tuple(colour for colour in range(NUM_COLOURS) if colour != _EQUAL_COLOUR)
_AXIS_WORDS = {
    "bits_per_weight": "bits per weight", "context": "context", "batch": "batch",
    "bandwidth_gbps": "bandwidth (GB/s)", "dram_pj_per_bit": "pJ per DRAM bit", "format": "ticket",
}  # fmt: skip
_MAX_CROSSINGS = 400


@dataclass(frozen=True, slots=True)
class MapView:
    """A map of the page."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class PriceView:
    """The maps over the price of a bit at one bandwidth."""

    title: str
    is_own: bool
    maps: tuple[MapView, ...]


@dataclass(frozen=True, slots=True)
class AtlasPage:
    """Everything the page says."""

    title: str
    version: str
    hero: Chart
    finding: tuple[str, ...]
    standings: PageTable
    quality: PageTable
    winners: tuple[tuple[str, int], ...]
    time: tuple[MapView, ...]
    energy: tuple[MapView, ...]
    energy_note: str
    prices: tuple[PriceView, ...]
    crossings: PageTable
    command_begin: str
    command: str
    assumptions: tuple[str, ...]


def atlas_page(atlas: Atlas) -> str:
    """Return the page of an atlas as self-contained HTML; equal cells give equal bytes."""
    return render("atlas.html.j2", _page(atlas))


def _page(atlas: Atlas) -> AtlasPage:
    space = atlas.space
    begin = _common([cell.command for cell in atlas.cells])
    maps = _Maps(atlas, begin)
    first = space.pj_per_bit[0]
    phase = dict(space.run)["phase"]
    prices = tuple(
        PriceView(f"{significant(gbps)} GB/s", gbps == maps.own_gbps, tuple(maps.over_prices(gbps)))
        for gbps in space.bandwidths_gbps
    )
    return AtlasPage(
        title=printable(
            f"Where do tickets beat their rivals for {space.network} on {space.chip.config.name} ({phase})?", 120
        ),
        version=accelsim.__version__,
        hero=_standings_chart(atlas.standings),
        finding=tuple(finding(atlas)),
        standings=_standings_table(atlas.standings),
        quality=_quality_table(),
        winners=maps.winners,
        time=tuple(maps.over_contexts("time", first)),
        energy=tuple(maps.over_contexts("energy", first)),
        energy_note=_energy_note(first),
        prices=_one_chosen(prices) if len(space.pj_per_bit) > 1 else (),
        crossings=_crossings_table(atlas.crossings),
        command_begin=begin,
        command=atlas.cells[0].command,
        assumptions=_assumptions(atlas),
    )


def _common(commands: Sequence[str]) -> str:
    """Return the words with which all commands begin."""
    words = [shlex.split(command) for command in commands]
    return shlex.join(os.path.commonprefix(words))


def _one_chosen(views: Sequence[PriceView]) -> tuple[PriceView, ...]:
    if any(view.is_own for view in views):
        return tuple(views)
    return tuple(PriceView(view.title, number == 0, view.maps) for number, view in enumerate(views))


def _energy_note(price: float | None) -> str:
    at = "the price of a bit of the chip's own memory" if price is None else f"{price:g} pJ a DRAM bit"
    return (
        f"At {at}. Above 1 the ticket needs less energy. A winner is not sure where it needs less in fewer than "
        f"{SURE:.0%} of {NUM_DRAWS:,} draws of all cost constants within their ranges; the policies tried are those of "
        "accelsim run."
    )


class _Maps:
    """Maps of an atlas, from its cells."""

    def __init__(self, atlas: Atlas, begin: str) -> None:
        self._space, self._begin = atlas.space, begin
        self.own_gbps = atlas.space.chip.config.dram.peak_bytes_per_ns
        self._cells = {(cell.place, cell.ticket, cell.dram_pj_per_bit): cell for cell in atlas.cells}
        self._colours = {name: _COLOURS[1 + n % (len(_COLOURS) - 1)] for n, name in enumerate(atlas.space.rivals)}
        bits = {cell.ticket: cell.bits_per_weight for cell in reversed(atlas.cells) if not cell.reason}
        self._tickets = sorted(atlas.space.tickets, key=lambda ticket: -bits.get(ticket, math.inf))
        self._rows = tuple(significant(bits[ticket]) if ticket in bits else "-" for ticket in self._tickets)
        self.winners = (("ticket", _COLOURS[0]), *self._colours.items())

    def over_contexts(self, metric: Metric, price: float | None) -> Iterator[MapView]:
        """Yield a map for each batch and bandwidth: tickets over contexts."""
        places = list(self._space.places())
        words = "context" if dict(self._space.run)["phase"] == "decode" else "tokens of the prompt"
        for batch in self._space.batches:
            for gbps in self._space.bandwidths_gbps:
                own = [place for place in places if (place.batch, place.bandwidth_gbps) == (batch, gbps)]
                columns = labels([place.context for place in own])
                rows = [[self._cells[place, ticket, price] for place in own] for ticket in self._tickets]
                yield self._map(f"batch {batch}, {significant(gbps)} GB/s", metric, (words, columns), rows)

    def over_prices(self, gbps: float) -> Iterator[MapView]:
        """Yield a map of energy for each batch and context: tickets over prices of a bit."""
        prices = self._space.pj_per_bit
        columns = tuple("chip" if price is None else significant(price) for price in prices)
        for place in self._space.places():
            if place.bandwidth_gbps == gbps:
                rows = [[self._cells[place, ticket, price] for price in prices] for ticket in self._tickets]
                title = f"batch {place.batch}, context {place.context:,}"
                yield self._map(title, "energy", ("pJ per DRAM bit", columns), rows)

    def _map(
        self, title: str, metric: Metric, axis: tuple[str, tuple[str, ...]], rows: Sequence[Sequence[Cell]]
    ) -> MapView:
        cells = tuple(tuple(self._map_cell(cell, metric) for cell in row) for row in rows)
        small = SmallMap(title, axis[0], "bits per weight", axis[1], self._rows, cells)
        return MapView(title, map_svg(small))

    def _map_cell(self, cell: Cell, metric: Metric) -> MapCell:
        command = cell.command.removeprefix(self._begin).strip()
        if cell.reason:
            return MapCell(math.nan, None, False, False, False, False, f"no answer: {cell.reason}", command)
        rival, factor = cell.contest(metric)
        won = winner(factor)
        colour = {1: _COLOURS[0], 0: None, -1: self._colours[rival]}[won]
        is_energy = metric == "energy"
        return MapCell(
            factor=factor,
            colour=colour,
            is_ahead=won == 1,
            is_worth=factor >= WORTH,
            is_unsure=is_energy and cell.is_unsure,
            turns=is_energy and cell.turns_with_policy,
            tip="\n".join(_tip(cell, metric)),
            command=command,
        )


def _tip(cell: Cell, metric: Metric) -> Iterator[str]:
    """Yield what is said of a cell, line by line."""
    rival, factor = cell.contest(metric)
    where = f"{ticket_words(cell.ticket)}, context {cell.place.context:,}, batch {cell.place.batch}"
    yield f"{where}, {significant(cell.place.bandwidth_gbps)} GB/s"
    figures, unit = (cell.latency_s, "s") if metric == "time" else (cell.energy_j, "J")
    mine, theirs = (quantity(figures[name] / max(1, cell.num_tokens), unit) for name in (cell.ticket.storage, rival))
    yield f"{mine} a token, best rival {rival} {theirs}: {significant(factor)}x"
    if metric == "time":
        yield f"{percent(cell.cause_share)} of the ticket's time is {label(cell.cause)}"
    else:
        yield f"{price_words(cell)}; less energy in {percent(cell.probability)} of the draws"
        if cell.turns_with_policy:
            yield "with other policies of the memory " + ", ".join(
                f"{significant(each)}x ({words})" for words, each in list(cell.by_policy.items())[1:]
            )


def _standings_chart(standings: Sequence[Standing]) -> Chart:
    """Return in how many of its cells each ticket is ahead of every rival, equal to the best, behind."""
    words = {"ahead": 2, "equal": _EQUAL_COLOUR, "behind": 1}
    rows = []
    for each in standings:
        name = f"{each.ticket.storage}, {each.ticket.freeze_ratio:.0%}, {each.metric}".replace("%", " %")
        counts = zip(words.items(), (each.wins, each.ties, each.losses), strict=True)
        segments = tuple(
            Segment(100 * count / each.num_cells, colour, f"{name}\n{word} in {count:,} of {each.num_cells:,} cells")
            for (word, colour), count in counts
        )
        rows.append(BarRow(name, segments, percent(each.wins / each.num_cells)))
    title = "Share of its cells in which each ticket, by its frozen share, is ahead of every rival"
    return Chart(title, BarPicture(title, rows, "share of cells", "%", list(words.items())))


def _standings_table(standings: Sequence[Standing]) -> PageTable:
    columns = (
        "ticket", "bits per weight", "in", "cells", "ahead", "equal", "behind", "ahead by less than 1.1x", "not sure",
        "turned by policy", "median", "least", "most", "behind where",
    )  # fmt: skip
    rows = []
    for each in standings:
        counts = (each.num_cells, each.wins, each.ties, each.losses, each.below_worth, each.unsure, each.turned)
        factors = (each.median, each.worst, each.best)
        where = "-" if each.loses_where is None else rule_words(each.loses_where, _AXIS_WORDS)
        rows.append(
            (
                _text(ticket_words(each.ticket)),
                _number(each.bits_per_weight),
                _text(each.metric),
                *(TableCell(f"{count:,}", count) for count in counts),
                *(TableCell(f"{significant(factor)}x", float(f"{factor:.9g}")) for factor in factors),
                _text("everywhere" if each.losses == each.num_cells else where),
            )
        )
    note = (
        "Factors are best rival over ticket: above 1 the ticket is ahead. Time is counted once for all prices of a bit."
    )
    return PageTable("How each ticket does over its cells", columns, tuple(rows), note, folds=True)


def _quality_table() -> PageTable:
    columns = (
        "better",
        "setting",
        "measured (less is better)",
        "ticket",
        "ticket's",
        "rival",
        "rival's",
        "source",
        "beside",
    )
    rows = tuple(
        (
            _text("ticket" if each.ticket_wins else "rival"),
            _text(each.setting),
            _text(each.measure),
            _text(each.ticket),
            TableCell(f"{each.ticket_value:g}", each.ticket_value),
            _text(each.rival),
            TableCell(f"{each.rival_value:g}", each.rival_value),
            _text(each.source),
            _text(each.note),
        )
        for each in QUALITY
    )
    note = (
        "At equal bytes a chip that is bound by its memory takes equal time, so the better model is the one to build. "
        "A mask of 1 bit or less that is as good a language model as ternary weights of its size was not found."
    )
    return PageTable("Tickets and rivals of equal memory", columns, rows, note)


def _crossings_table(crossings: Sequence[Crossing]) -> PageTable:
    fixed = [name for name in _AXIS_WORDS if name != "format"]
    columns = ("in", "ticket", "passes", "along", "at", "way", *(_AXIS_WORDS[name] for name in fixed))
    words = {1 - EQUAL: "behind", 1 + EQUAL: "ahead", WORTH: f"ahead by {WORTH:g}x"}
    rows = []
    for each in crossings[:_MAX_CROSSINGS]:
        known = dict(each.fixed)
        rows.append(
            (
                _text(each.metric),
                _text(str(known["format"])),
                _text(words[each.level]),
                _text(_AXIS_WORDS[each.axis]),
                _number(each.at),
                _text("falls below" if each.falls else "rises above"),
                *(_fixed(known, name) for name in fixed),
            )
        )
    left = len(crossings) - len(rows)
    note = "Between two cells the logarithm of the factor is taken as a straight line over that of the axis."
    return PageTable(
        "Break-even points", columns, tuple(rows), note + (f" {left:,} more are in atlas.json." if left else "")
    )


def _fixed(known: dict[str, float | str | None], name: str) -> TableCell:
    value = known.get(name, "")
    if value is None:
        return _text("chip")
    return _number(value) if isinstance(value, (int, float)) else _text(value or "-")


def _assumptions(atlas: Atlas) -> tuple[str, ...]:
    space = atlas.space
    return (
        f"All tickets have {percent(space.sparsity)} zeros in their masks; freezing prunes and locks in the same "
        "proportion. That a network stays as good when more of it is frozen is an assumption: of language models "
        "no such figure was found.",
        "Rivals hold a network of the same shape with trained or computed weights, none of which counts as zero. On an "
        "array that gates zeros this favours the ticket in energy, most where batches make arithmetic count: about a "
        "third of trained ternary weights are zero. A rival that regenerates no weights gets a decoder as wide as it "
        "must be.",
        "Other bandwidths are the chip's memory with fewer or more channels (at most "
        f"{significant(_channel_gbps(atlas))} GB/s each) at a data rate that fits; standby grows with the channels. "
        "Array and buffers stay the chip's.",
        "A price of a DRAM bit replaces what rows, data and lines cost; tilings are chosen by the chip's own memory.",
        f"Within {EQUAL:.0%} two figures count as equal: so near to its bound the mapper takes a tiling.",
        "Whether the memory is large enough for weights and caches is not asked.",
    )


def _channel_gbps(atlas: Atlas) -> float:
    dram = atlas.space.chip.config.dram
    return dram.peak_bytes_per_ns / dram.num_channels


def _text(text: str) -> TableCell:
    clean = printable(text, 1000)
    return TableCell(clean, clean)


def _number(value: float) -> TableCell:
    return TableCell(f"{value:,.0f}" if abs(value) >= 1000 else significant(value), float(f"{value:.9g}"))
