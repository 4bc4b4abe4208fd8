"""What an atlas found, in sentences: every figure is one of its cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accelsim.dse.atlas import Atlas
from accelsim.dse.atlas_cells import METRICS, SURE, Cell, Metric, one_price
from accelsim.dse.atlas_space import Place, Ticket
from accelsim.dse.quality import QUALITY
from accelsim.report.labels import label
from accelsim.report.text import percent, significant

_DOES = {"time": ("faster", "slower"), "energy": ("needs less energy", "needs more energy")}


def ticket_words(ticket: Ticket) -> str:
    """Return a ticket as people say it."""
    frozen = f"{percent(ticket.freeze_ratio)} frozen" if ticket.freeze_ratio else "nothing frozen"
    return f"{ticket.storage}, {frozen}"


def price_words(cell: Cell) -> str:
    """Return what a DRAM bit costs in a cell."""
    if cell.dram_pj_per_bit is None:
        return f"a DRAM bit costs {significant(cell.dram_pj_per_bit_now)} pJ, the chip's own"
    return f"a DRAM bit costs {cell.dram_pj_per_bit:g} pJ"


def finding(atlas: Atlas) -> list[str]:
    """Return the finding, the most important first: who wins where, where the gain ends, where tickets lose."""
    known = [cell for cell in atlas.cells if not cell.reason]
    lines = [_overall(atlas), *_extremes(known, atlas), *_walls(known, atlas), *_behind(atlas)]
    unsure, turned = sum(cell.is_unsure for cell in known), sum(cell.turns_with_policy for cell in known)
    lines.append(
        f"In energy {unsure:,} of {len(known):,} cells are not sure (the winner needs less in fewer than {SURE:.0%} of "
        f"the draws of all constants), and in {turned:,} another policy of the memory makes another one win."
    )
    failed = len(atlas.cells) - len(known)
    if failed:
        lines.append(f"{failed:,} cells have no answer; the maps say why.")
    return [*lines, _quality()]


def _overall(atlas: Atlas) -> str:
    parts = []
    for metric in METRICS:
        own = [each for each in atlas.standings if each.metric == metric]
        total = sum(each.num_cells for each in own)
        ahead, equal, behind = (sum(getattr(each, name) for each in own) for name in ("wins", "ties", "losses"))
        parts.append(f"in {metric} in {ahead:,} of {total:,} cells (equal in {equal:,}, behind in {behind:,})")
    return f"A ticket is ahead of every rival {' and '.join(parts)}."


def _extremes(known: Sequence[Cell], atlas: Atlas) -> Iterator[str]:
    for metric in METRICS:
        cells = sorted(one_price(atlas.space, known, metric), key=lambda cell: cell.contest(metric).factor)  # noqa: B023
        worst, best = cells[0], cells[-1]
        yield (
            f"Best rival over ticket in {metric}: at most {_times(best, metric)} ({_where(best, metric)}), at least "
            f"{_times(worst, metric)} ({_where(worst, metric)})."
        )


def _walls(known: Sequence[Cell], atlas: Atlas) -> Iterator[str]:
    """Yield how far a ticket's gain falls with context, batch and bandwidth, from where it is largest."""
    space = atlas.space
    own_gbps = space.chip.config.dram.peak_bytes_per_ns
    gbps = own_gbps if own_gbps in space.bandwidths_gbps else space.bandwidths_gbps[0]
    at = {(cell.place, cell.ticket): cell for cell in one_price(space, known, "time")}
    for ticket in _typical(known):
        begin = Place(space.contexts[0], space.batches[0], gbps)
        ends = {
            f"context {space.contexts[-1]:,}": begin._replace(context=space.contexts[-1]),
            f"batch {space.batches[-1]}": begin._replace(batch=space.batches[-1]),
            f"{significant(space.bandwidths_gbps[-1])} GB/s": begin._replace(bandwidth_gbps=space.bandwidths_gbps[-1]),
        }
        found = [
            (words, at[place, ticket]) for words, place in ends.items() if place != begin and (place, ticket) in at
        ]
        if (begin, ticket) not in at or not found:
            continue
        first = at[begin, ticket]
        turns = " ".join(f"With {words} {_both(cell)} ({_limit(cell)})." for words, cell in found)
        who = f"The ticket {ticket_words(ticket)} ({significant(first.bits_per_weight)} bits a weight)"
        yield f"{who} gains {_both(first)} at {_where_place(first)} ({_limit(first)}). {turns}"


def _typical(known: Sequence[Cell]) -> list[Ticket]:
    """Return the ticket in the middle by its bits, and the one with the most, among those of one bit or less."""
    tickets = sorted({(cell.bits_per_weight, cell.ticket) for cell in known if cell.ticket.storage.startswith("slt")})
    found = list(dict.fromkeys(ticket for _, ticket in tickets)) or [known[0].ticket]
    return list(dict.fromkeys((found[(len(found) - 1) // 2], found[-1])))


def _limit(cell: Cell) -> str:
    return f"{percent(cell.cause_share)} {label(cell.cause)}"


def _both(cell: Cell) -> str:
    return f"{_times(cell, 'time')} in time and {_times(cell, 'energy')} in energy"


def _behind(atlas: Atlas) -> Iterator[str]:
    """Yield for each ticket where it loses."""
    for each in atlas.standings:
        if not each.losses:
            continue
        cells = [cell for cell in atlas.cells if not cell.reason and cell.ticket == each.ticket]
        worst = min(cells, key=lambda cell: cell.contest(each.metric).factor)
        faster, slower = _DOES[each.metric]
        does = f"is {slower}" if each.metric == "time" else slower
        yield (
            f"The ticket {ticket_words(each.ticket)} {does} than a rival in {each.losses:,} of {each.num_cells:,} "
            f"cells, down to {_times(worst, each.metric)} against {worst.contest(each.metric).rival} "
            f"({_where_place(worst)})."
        )


def _quality() -> str:
    lost = [each for each in QUALITY if not each.ticket_wins]
    won = [each for each in QUALITY if each.ticket_wins]
    words = " ".join(
        f"{_begun(each.ticket)}: {each.ticket_value:g} against {each.rival_value:g} of {each.rival} ({each.measure})."
        for each in (*won, *lost)
    )
    return (
        f"Quality at equal memory, as published, less is better. {words} A factor buys nothing where the ticket is the "
        "worse model."
    )


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _times(cell: Cell, metric: Metric) -> str:
    return f"{significant(cell.contest(metric).factor)}x"


def _where(cell: Cell, metric: Metric) -> str:
    price = f"; {price_words(cell)}" if metric == "energy" else ""
    return f"{ticket_words(cell.ticket)}, against {cell.contest(metric).rival}; {_where_place(cell)}{price}"


def _where_place(cell: Cell) -> str:
    place = cell.place
    return f"context {place.context:,}, batch {place.batch}, {significant(place.bandwidth_gbps)} GB/s"
