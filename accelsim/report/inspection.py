"""The tables of ``accelsim inspect``."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.report.text import percent, printable, quantity, shape, significant
from accelsim.ticket.inspect import InspectedLayer, InspectedTotals, Inspection

_WIDE = 110


def print_inspection(console: Console, inspection: Inspection) -> None:
    """Print what a ticket stores per layer and in total, how much smaller that is, and what is measured or assumed."""
    console.print(Text(_headline(inspection), style="bold"))
    console.print(_layer_table(inspection, wide=console.width >= _WIDE))
    for line in _size_lines(inspection):
        console.print(Text(line))
    for title, sentences in (("measured", inspection.measured), ("assumed", inspection.assumed)):
        for sentence in sentences:
            console.print(Text(f"{title}: {printable(sentence, 400)}"))
    if inspection.command:
        console.print(Text(f"made by: {printable(inspection.command, 1000)}"))


def _headline(inspection: Inspection) -> str:
    totals = inspection.totals
    parts = [
        inspection.provenance,
        f"{quantity(totals.num_weights, '').strip()} weights",
        f"sparsity {percent(totals.sparsity)}",
        f"frozen {percent(totals.freeze_ratio)}",
    ]
    if inspection.accuracy is not None:
        parts.append(f"accuracy {percent(inspection.accuracy)} on {printable(inspection.dataset)}")
    if not inspection.regenerable:
        parts.append("not regenerable")
    return f"{printable(inspection.network)} [{', '.join(parts)}]"


def _layer_table(inspection: Inspection, wide: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
    total = _total_cells(inspection.totals)
    table.add_column("layer", footer="total", overflow="ellipsis", no_wrap=True)
    columns = list(total) if wide else ["weights", "sparsity", "free", "mask bits"]
    for column in columns:
        table.add_column(column, footer=total[column], justify="left" if column == "shape" else "right", no_wrap=True)
    for layer in inspection.layers:
        cells = _layer_cells(layer)
        table.add_row(Text(printable(layer.name, 40)), *(Text(cells[column]) for column in columns))
    return table


def _layer_cells(layer: InspectedLayer) -> dict[str, str]:
    return {
        "shape": shape(layer.shape),
        "weights": f"{layer.num_weights:,}",
        "sparsity": percent(layer.sparsity),
        "pruned": percent(layer.prune_ratio),
        "locked": percent(layer.lock_ratio),
        "free": f"{layer.num_free:,}",
        "mask bits": f"{layer.stored_bits.mask:,}",
        "seed": f"{layer.stored_bits.seed:,}",
        "scale": f"{layer.stored_bits.scale:,}",
        "input": "-" if layer.input_density is None else percent(layer.input_density),
    }


def _total_cells(totals: InspectedTotals) -> dict[str, str]:
    return {
        "shape": "",
        "weights": f"{totals.num_weights:,}",
        "sparsity": percent(totals.sparsity),
        "pruned": percent(totals.prune_ratio),
        "locked": percent(totals.lock_ratio),
        "free": f"{totals.num_free:,}",
        "mask bits": f"{totals.stored_bits.mask:,}",
        "seed": f"{totals.stored_bits.seed:,}",
        "scale": f"{totals.stored_bits.scale:,}",
        "input": "",
    }


def _generators(inspection: Inspection) -> str:
    kinds = {
        f"{layer.generator}, a stream per {layer.stream}, seeds {layer.seeds}"
        for layer in inspection.layers
        if layer.generator
    }
    return "; ".join(sorted(kinds)) or "none"


def _size_lines(inspection: Inspection) -> list[str]:
    totals = inspection.totals
    stored_bytes = totals.stored_bits_total / 8
    lines = [f"stored: {quantity(stored_bytes, 'B')} ({totals.stored_bits_total:,} bits of mask, seed and scale)"]
    codecs = ", ".join(dict.fromkeys(layer.codec for layer in inspection.layers))
    lines.append(f"mask codec: {codecs}; generator: {_generators(inspection)}")
    if inspection.file_bytes is not None and stored_bytes:
        excess = percent(inspection.file_bytes / stored_bytes - 1)
        lines.append(f"file: {quantity(inspection.file_bytes, 'B')}, {excess} more than what it stores")
    lines.append(
        f"smaller than dense fp32 by {significant(totals.times_smaller_than_fp32)}x, than dense int8 by "
        f"{significant(totals.times_smaller_than_int8)}x, than the same ticket without freezing by "
        f"{significant(totals.times_smaller_than_without_freezing)}x "
        f"(mask alone {significant(totals.mask_times_smaller_than_without_freezing)}x)"
    )
    bound = totals.entropy_bound_bits
    if bound and inspection.layers:
        over = percent(totals.stored_bits.mask / bound - 1)
        lines.append(f"entropy bound of the mask: {quantity(bound / 8, 'B')}; the mask as stored is {over} above it")
    return lines
