"""The tables of ``accelsim inspect``."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from accelsim.report.terminal import fitting_titles, print_left_out
from accelsim.report.text import percent, printable, quantity, shape, significant
from accelsim.ticket.inspect import InspectedLayer, InspectedTotals, Inspection

# What goes first where the terminal is narrow; the layer and its mask bits stay.
_OPTIONAL_COLUMNS = (
    "input", "scale", "seed", "shape", "locked", "pruned", "codec", "sparsity", "free", "weights",
)  # fmt: skip
_LEFT_COLUMNS = {"shape", "codec"}


def print_inspection(console: Console, inspection: Inspection) -> None:
    """Print what a ticket stores per layer and in total, how much smaller that is, and what is measured or assumed."""
    console.print(Text(_headline(inspection), style="bold"))
    table, left_out = _layer_table(inspection, console.width)
    console.print(table)
    print_left_out(console, left_out, " or --json")
    for line in _size_lines(inspection):
        console.print(Text(line))
    for title, sentences in (
        ("measured", inspection.measured),
        ("assumed", inspection.assumed),
        ("import", inspection.notes),
    ):
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
        bits = inspection.bits_per_character
        score = "" if bits is None else f"{bits:.3f} bits per character, "
        parts.append(f"{score}accuracy {percent(inspection.accuracy)} on {printable(inspection.dataset)}")
    if not inspection.regenerable:
        is_trained = all(layer.stored_bits.weight for layer in inspection.layers)
        parts.append("trained values" if is_trained else "not regenerable")
    return f"{printable(inspection.network)} [{', '.join(parts)}]"


def _layer_table(inspection: Inspection, width: int) -> tuple[Table, list[str]]:
    """Return the table in the columns that fit ``width`` characters, and those that do not."""
    total = {"layer": "total", **_total_cells(inspection.totals)}
    rows = [{"layer": printable(layer.name, 40), **_layer_cells(layer)} for layer in inspection.layers]
    titles = fitting_titles([*rows, total], _OPTIONAL_COLUMNS, width)
    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
    # Names may break over lines where even two columns are too many; figures may not.
    table.add_column("layer", footer="total", overflow="fold")
    for title in titles[1:]:
        justify: JustifyMethod = "left" if title in _LEFT_COLUMNS else "right"
        table.add_column(title, footer=total[title], justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[title]) for title in titles))
    return table, [title for title in total if title not in titles]


def _layer_cells(layer: InspectedLayer) -> dict[str, str]:
    return {
        "shape": shape(layer.shape),
        "weights": f"{layer.num_weights:,}",
        "sparsity": percent(layer.sparsity),
        "pruned": percent(layer.prune_ratio),
        "locked": percent(layer.lock_ratio),
        "free": f"{layer.num_free:,}",
        "codec": layer.codec,
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
        "codec": "",
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
    values = totals.stored_bits.weight
    classes = f"mask, seed and scale, and {values:,} of values" if values else "mask, seed and scale"
    lines = [f"stored: {quantity(stored_bytes, 'B')} ({totals.stored_bits_total:,} bits of {classes})"]
    lines.append(f"generator: {_generators(inspection)}")
    if inspection.file_bytes is not None and values:
        lines.append(f"file: {quantity(inspection.file_bytes, 'B')}, without the values of trained layers")
    elif inspection.file_bytes is not None and stored_bytes:
        excess = percent(inspection.file_bytes / stored_bytes - 1)
        lines.append(f"file: {quantity(inspection.file_bytes, 'B')}, {excess} more than what it stores")
    lines.append(_comparisons(totals))
    bound = totals.entropy_bound_bits
    if bound and inspection.layers:
        over = percent(totals.stored_bits.mask / bound - 1)
        lines.append(f"entropy bound of the mask: {quantity(bound / 8, 'B')}; the mask as stored is {over} above it")
    return lines


def _comparisons(totals: InspectedTotals) -> str:
    parts = [
        f"against dense fp32 {_times(totals.times_smaller_than_fp32)}",
        f"dense int8 {_times(totals.times_smaller_than_int8)}",
    ]
    if totals.num_free == totals.num_weights:
        return f"{', '.join(parts)}; nothing is frozen"
    unfrozen = _times(totals.times_smaller_than_without_freezing)
    mask = _times(totals.mask_times_smaller_than_without_freezing)
    return f"{', '.join(parts)} and the same ticket without freezing {unfrozen} (mask alone {mask})"


def _times(ratio: float) -> str:
    if f"{ratio:.3g}" == "1" or not ratio:
        return "no smaller"
    return f"{significant(ratio)}x smaller" if ratio > 1 else f"{significant(1 / ratio)}x larger"
