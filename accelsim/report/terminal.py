"""The tables that a run prints for people.

Colours and emphasis only where the stream is a terminal and NO_COLOR is not set. Plain ASCII is enough to read them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from accelsim.report.cores import cores_table, first_input_line
from accelsim.report.fused import fused_line
from accelsim.report.labels import label, phase_words
from accelsim.report.sentence import RUN_WAYS, area_lines, closing, finding, left_out_words, remarks
from accelsim.report.text import percent, printable, quantity, ratio, shape, significant
from accelsim.report.uncertainty import band_words, print_uncertainty
from accelsim.results.compare import (
    WEIGHT_CLASSES,
    batches,
    bottleneck,
    chip_labels,
    own_accuracy,
    stalled_share,
    stored_bits,
    traffic_bytes,
    weight_bytes,
)
from accelsim.results.model import CyclesByCause, EnergyByUnit, LayerRecord, Record, RunResult, Totals
from accelsim.storage.mixed import SIGN, format_of_layer

if TYPE_CHECKING:
    from accelsim.cost.uncertainty import UncertaintyReport

PIPE_WIDTH = 120
UNLIMITED_WIDTH = 100_000
SYNTHETIC_MARK = "*"
SYNTHETIC_WORDS = (
    "values or statistics are synthetic: they stand in for ones that nobody has measured (docs/storage.md)."
)


def make_console(stream: IO[str], pipe_width: int = PIPE_WIDTH) -> Console:
    """Return a console on ``stream``: as wide as the terminal; COLUMNS or ``pipe_width`` into a pipe or a file."""
    width = shutil.get_terminal_size((pipe_width, 24)).columns if not stream.isatty() else None
    return Console(
        file=stream,
        width=width,
        no_color=bool(os.environ.get("NO_COLOR")) or None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def print_run(  # noqa: PLR0913  each is a part of what is printed
    console: Console,
    result: RunResult,
    comparison: Mapping[str, Totals],
    sizes: str = "",
    more: Sequence[str] = (),
    folded: slice = slice(0, 0),
    synthetic: Sequence[str] = (),
    unsure: UncertaintyReport | None = None,
) -> None:
    """Print what a run found: layers, totals beside ``comparison``, where cycles and energy went.

    It ends in three sentences: the finding, the limit, the caveat. ``sizes`` says how large the network is, behind the
    headline; ``more`` remarks stand before the end. Of the layers at ``folded``, which are like others, only the number
    is shown. ``synthetic`` are the formats whose values stand in for ones that nobody has measured; ``unsure`` says how
    sure the energies are, where that was asked.
    """
    console.print(Text(headline(result), style="bold"))
    if sizes:
        console.print(Text(sizes))
    for line in left_out_words([result]):
        console.print(Text(line))
    layers = layer_table(result, console.width, folded=folded)
    console.print(layers.table)
    print_left_out(console, layers.left_out, ", --json, or layers.csv of --out")
    runs = {result.storage: result.totals, **comparison}
    for variants in (totals_table, cycles_table, energy_table):
        console.print(_fitting(console, variants, runs))
    if result.cores:
        console.print(cores_table(result))
        if (first := first_input_line(result)) is not None:
            console.print(first)
        if sum(core.num_layers > 0 for core in result.cores) == 1:
            console.print(Text("One core alone is best by the chip's objective; the others wait."))
    for line in [*fused_line(result), *remarks(result, comparison), *more]:
        console.print(Text(line))
    ways = RUN_WAYS
    if unsure is not None:
        print_uncertainty(console, unsure)
        ways = replace(ways, sureness=band_words(unsure))
    console.print()
    for line, style in zip(closing(result, comparison, synthetic, ways), ("bold", "", ""), strict=True):
        console.print(Text(line, style=style))


def _fitting(console: Console, table: Callable[..., Table], runs: Mapping[str, Totals]) -> Table:
    """Return the table of runs, or its narrow form where it is too wide: a unit is never parted from its figure."""
    whole = table(runs)
    is_wide = console.measure(whole, options=console.options.update(max_width=UNLIMITED_WIDTH)).maximum > console.width
    return table(runs, is_narrow=True) if is_wide else whole


def headline(result: RunResult) -> str:
    """Return the line that says which network runs on which chip, and what is known of the network."""
    work, chip = result.workload, result.hardware
    parts = [work.provenance, f"{quantity(work.num_weights, '').strip()} weights", f"sparsity {percent(work.sparsity)}"]
    if work.freeze_ratio:
        frozen = f"{percent(work.prune_ratio)} pruned + {percent(work.lock_ratio)} locked"
        parts.append(f"frozen {percent(work.freeze_ratio)} ({frozen})")
    if work.accuracy is not None:
        parts.append(f"accuracy {percent(work.accuracy)} on {printable(work.dataset)}")
    if not work.regenerable:
        parts.append(_not_regenerable(result))
    cores = f", {len(result.cores)} cores" if result.cores else ""
    where = f"{printable(chip.name)} ({chip.node_nm:g} nm, {chip.clock_mhz:g} MHz{cores})"
    name = printable(work.name) + phase_words(work) + (f", batch {work.batch:,}" if work.batch > 1 else "")
    return f"{name} [{', '.join(parts)}] on {where}, stored as {printable(result.storage)}"


def _not_regenerable(result: RunResult) -> str:
    """Return what an imported network's weights are on this chip: another generator's, or values that are stored."""
    bits = result.totals.stored_bits
    if bits.seed and bits.mask:
        return "not regenerable: an imported pattern, not one this generator makes"
    return "its weights are stored as values: none is regenerated"


_OPTIONAL_COLUMNS = (
    "shape",
    "bandwidth",
    "activations",
    "kind",
    "PE use",
    "stalled",
    "weights read",
    "time",
)


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table in as many columns as fit, and the titles of those that did not."""

    table: Table
    left_out: tuple[str, ...]


def print_left_out(console: Console, titles: Sequence[str], elsewhere: str) -> None:
    """Print which columns did not fit ``console``, if any, and where else they are: ``, --json`` and so on."""
    if titles:
        what = f"Too narrow for {', '.join(titles)}: see a wider terminal{elsewhere}."
        console.print(Text(what, style="dim"))


def layer_table(result: RunResult, width: int, box: Box = SIMPLE_HEAD, folded: slice = slice(0, 0)) -> FittedTable:
    """Return the table with a row per layer and the total, in as many columns as fit ``width`` characters.

    The layers at ``folded`` are one row.
    """
    cycles = result.totals.latency_cycles
    total = _layer_cells(result.totals, cycles, ("total", "", ""))
    every = list(result.layers)
    num_folded = len(every[folded])
    del every[folded]
    rows = [_layer_cells(layer, cycles, (printable(layer.name, 40), layer.kind, shape(layer.shape))) for layer in every]
    if SIGN in result.storage:
        total["stored as"] = ""
        for layer, row in zip(every, rows, strict=True):
            row["stored as"] = format_of_layer(result.storage, layer.name, layer.kind) if stored_bits(layer) else "-"
    if num_folded:
        rows.insert(folded.start, dict.fromkeys(total, "") | {"layer": f"... {num_folded} layers like these"})
    table = Table(box=box, show_footer=True, pad_edge=False)
    titles = fitting_titles([*rows, total], _OPTIONAL_COLUMNS, width)
    for title in titles:
        left = title in {"layer", "kind", "shape", "bottleneck", "stored as"}
        justify: JustifyMethod = "left" if left else "right"
        table.add_column(title, footer=Text(total[title]), justify=justify, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[title]) for title in titles))
    return FittedTable(table, tuple(title for title in total if title not in titles))


def _layer_cells(record: LayerRecord | Totals, total_cycles: int, names: tuple[str, str, str]) -> dict[str, str]:
    activations = traffic_bytes(record) - weight_bytes(record)
    return {
        "layer": names[0],
        "kind": names[1],
        "shape": names[2],
        "cycles": f"{record.latency_cycles:,}",
        "time": percent(record.latency_cycles / total_cycles) if total_cycles else "-",
        "stalled": percent(stalled_share(record)) if record.latency_cycles else "-",
        "bottleneck": label(bottleneck(record)) if record.latency_cycles else "-",
        "PE use": percent(record.pe_utilization) if record.macs else "-",
        "energy": quantity(record.energy_j, "J"),
        "weights read": quantity(weight_bytes(record), "B"),
        "activations": quantity(activations, "B"),
        "bandwidth": _bandwidth(record),
    }


def _bandwidth(record: Record) -> str:
    """Return the average memory bandwidth, and what share of the memory's peak that is."""
    if record.average_bandwidth_gbps is None or record.bandwidth_share is None:
        return "-"
    return f"{quantity(record.average_bandwidth_gbps * 1e9, 'B/s')} {percent(record.bandwidth_share)}"


def totals_table(runs: Mapping[str, Totals], box: Box = SIMPLE_HEAD, is_narrow: bool = False) -> Table:
    """Return the table of totals, a column per storage format; the first is the run, others carry their ratio to it.

    A narrow one has the ratios alone.
    """
    table = _run_table("total", list(runs), box)
    is_batched = any(run.latency_s != run.latency_s_per_input for run in runs.values())
    for row in _TOTAL_ROWS:
        if row.is_per_input and not is_batched:
            continue
        values = [row.value(run) or 0.0 for run in runs.values()]
        if row.is_of_tokens and not any(values):
            continue
        cells = [row.text(values[0])]
        for value in values[1:]:
            times = ratio(value, values[0])
            both = times if is_narrow else f"{row.text(value)} ({times})"
            cells.append(both if values[0] else row.text(value))
        table.add_row(row.title, *(Text(cell) for cell in cells))
    return table


@dataclass(frozen=True, slots=True)
class _TotalRow:
    title: str
    value: Callable[[Totals], float | None]
    text: Callable[[float], str]
    is_per_input: bool = False
    is_of_tokens: bool = False


_TOTAL_ROWS = (
    _TotalRow("latency", lambda run: run.latency_s, lambda value: quantity(value, "s")),
    _TotalRow("energy", lambda run: run.energy_j, lambda value: quantity(value, "J")),
    _TotalRow("latency per input", lambda run: run.latency_s_per_input, lambda value: quantity(value, "s"), True),
    _TotalRow("energy per input", lambda run: run.energy_j_per_input, lambda value: quantity(value, "J"), True),
    _TotalRow("energy x latency", lambda run: run.edp_js, lambda value: quantity(value, "Js")),
    _TotalRow("average power", lambda run: run.average_power_w, lambda value: quantity(value, "W")),
    _TotalRow("weight traffic", weight_bytes, lambda value: quantity(value, "B")),
    _TotalRow(
        "key and value traffic",
        lambda run: run.dram_bytes.kv_read + run.dram_bytes.kv_write,
        lambda value: quantity(value, "B"),
        is_of_tokens=True,
    ),
    _TotalRow("all memory traffic", traffic_bytes, lambda value: quantity(value, "B")),
    _TotalRow("stored weights", lambda run: stored_bits(run) / 8, lambda value: quantity(value, "B")),
    _TotalRow("tokens per second", lambda run: run.tokens_per_s, significant, is_of_tokens=True),
    _TotalRow(
        "energy per token", lambda run: run.energy_j_per_token, lambda value: quantity(value, "J"), is_of_tokens=True
    ),
    _TotalRow(
        "time to first token",
        lambda run: run.time_to_first_token_s,
        lambda value: quantity(value, "s"),
        is_of_tokens=True,
    ),
    _TotalRow("frames per second", lambda run: run.frames_per_s, significant),
    _TotalRow("TOPS", lambda run: run.tops, significant),
    _TotalRow("TOPS/W", lambda run: run.tops_per_w, significant),
    _TotalRow("chip area", lambda run: run.area_mm2, lambda value: f"{significant(value)} mm2"),
)


def cycles_table(runs: Mapping[str, Totals], box: Box = SIMPLE_HEAD, is_narrow: bool = False) -> Table:
    """Return the table of causes: what fraction of the latency each took, per storage format."""
    table = _run_table("time by cause", list(runs), box)
    for cause in CyclesByCause.model_fields:
        shares = [_share(getattr(run.cycles_by_cause, cause), run.latency_cycles) for run in runs.values()]
        if any(shares):
            table.add_row(label(cause), *(percent(share) for share in shares))
    return table


def energy_table(runs: Mapping[str, Totals], box: Box = SIMPLE_HEAD, is_narrow: bool = False) -> Table:
    """Return the table of units: what each spent and its fraction of the energy, per storage format.

    A narrow one leaves the fractions out.
    """
    table = _run_table("energy by unit", list(runs), box)
    for unit in EnergyByUnit.model_fields:
        spent = [float(getattr(run.energy_j_by_unit, unit)) for run in runs.values()]
        if any(spent):
            table.add_row(label(unit), *_spent_cells(spent, runs, is_narrow))
        if unit == "dram":
            _add_states(table, runs, is_narrow)
    return table


def _spent_cells(spent: Sequence[float], runs: Mapping[str, Totals], is_narrow: bool) -> list[str]:
    pairs = zip(spent, runs.values(), strict=True)
    if is_narrow:
        return [quantity(used, "J") for used, _ in pairs]
    return [f"{quantity(used, 'J')} {percent(_share(used, run.energy_j)):>7}" for used, run in pairs]


_RESIDUE = 1e-12  # what is left of a difference of times


def _add_states(table: Table, runs: Mapping[str, Totals], is_narrow: bool) -> None:
    """Add a row for each component of the memory's energy that is spent anywhere."""
    known = [run.dram_energy_j_by_state or {} for run in runs.values()]
    for state in dict.fromkeys(name for states in known for name in states):
        every = [(states.get(state, 0.0), run.energy_j) for states, run in zip(known, runs.values(), strict=True)]
        spent = [0.0 if _share(used, energy_j) < _RESIDUE else used for used, energy_j in every]
        if not any(spent):
            continue
        table.add_row(f"  {label(state)}", *_spent_cells(spent, runs, is_narrow))


def print_recost(console: Console, result: RunResult, before: Totals, supply: str, more: Sequence[str] = ()) -> None:
    """Print the totals and the energy of a run that was costed again, beside those it was saved with and its rivals.

    ``supply`` says for which node and supply; ``more`` remarks stand at the end.
    """
    console.print(Text(headline(result), style="bold"))
    console.print(Text(supply))
    runs = {"costed again": result.totals, "as it was run": before}
    console.print(totals_table(runs))
    console.print(energy_table(runs))
    for line in area_lines(result.totals):
        console.print(Text(line))
    if result.comparison:
        formats = {result.storage: result.totals, **result.comparison}
        console.print(totals_table(formats))
        console.print(energy_table(formats))
        console.print(Text(finding(result, result.comparison)))
    for line in more:
        console.print(Text(line))


def print_comparison(console: Console, results: Sequence[RunResult], synthetic: Sequence[bool | None] = ()) -> None:
    """Print what runs come to, and below it what each reads from memory and needs to decode and generate.

    A row per run, in as many columns as fit; the accuracy is the ticket's and stands only where that is what is stored.
    ``synthetic`` says of which runs the values or statistics are synthetic. Several chips are named in each row.
    """
    marks = [SYNTHETIC_MARK if each else "" for each in synthetic] or [""] * len(results)
    labels = chip_labels(results)
    heads = [{"chip": printable(labels[run.hardware.sha256], 24)} if len(labels) > 1 else {} for run in results]
    if batches(results):
        heads = [head | {"batch": f"{run.workload.batch:,}"} for head, run in zip(heads, results, strict=True)]
    marked = list(zip(results, marks, heads, strict=True))
    names, files = frozenset({"chip", "workload", "storage"}), ", compare.csv, or --json"
    totals = [_comparison_cells(run, mark, head) for run, mark, head in marked]
    print_fitted(console, totals, ("weights read", "area", "accuracy", "frozen"), names, files)
    traffic = [head | _traffic_cells(run, mark) for run, mark, head in marked]
    if len({run.workload.path or run.workload.name for run in results}) == 1:
        traffic = [{title: cell for title, cell in row.items() if title != "workload"} for row in traffic]
    print_fitted(
        console, traffic, ("activations", "seed", "scale", "index", "generator mm2", "decoder mm2"), names, files
    )
    if any(marks):
        console.print(Text(f"{SYNTHETIC_MARK} {SYNTHETIC_WORDS}"))
    dominated = (line for run in results for line in area_lines(run.totals))
    for line in [*left_out_words(results), *dict.fromkeys(dominated)]:
        console.print(Text(line))


def print_fitted(
    console: Console,
    rows: Sequence[Mapping[str, str]],
    optional: Sequence[str],
    left: frozenset[str] = frozenset(),
    elsewhere: str = " or --json",
) -> None:
    """Print ``rows`` in as many columns as fit, and which are left out; the first column and those of ``left`` flush.

    ``optional`` columns give way in their order; ``elsewhere`` says where else they are.
    """
    titles = fitting_titles(rows, [title for title in optional if title in rows[0]], console.width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        is_left = title in left or title == titles[0]
        table.add_column(title, justify="left" if is_left else "right", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[title]) for title in titles))
    console.print(table)
    print_left_out(console, [title for title in rows[0] if title not in titles], elsewhere)


def fitting_titles(rows: Sequence[Mapping[str, str]], optional: Sequence[str], width: int) -> list[str]:
    """Return the titles of ``rows`` that fit ``width`` characters; ``optional`` ones are left out in their order."""
    sizes = {title: max(len(title), *(len(row[title]) for row in rows)) for title in rows[0]}
    titles = list(sizes)
    for title in optional:
        if sum(sizes[kept] + 3 for kept in titles) > width:
            titles.remove(title)
    return titles


def _comparison_cells(run: RunResult, mark: str, head: Mapping[str, str]) -> dict[str, str]:
    work, totals, accuracy = run.workload, run.totals, own_accuracy(run)
    per_input = {"energy per input": quantity(totals.energy_j_per_input, "J")} if "batch" in head else {}
    return {
        **head,
        "workload": printable(work.path or work.name, 40),
        "storage": f"{printable(run.storage, 24)}{mark}",
        "frozen": percent(work.freeze_ratio),
        "accuracy": "-" if accuracy is None else percent(accuracy),
        "latency": quantity(totals.latency_s, "s"),
        "energy": quantity(totals.energy_j, "J"),
        **per_input,
        "stored": quantity(stored_bits(totals) / 8, "B"),
        "weights read": quantity(weight_bytes(totals), "B"),
        "area": f"{significant(totals.area_mm2)} mm2",
    }


def _traffic_cells(run: RunResult, mark: str) -> dict[str, str]:
    totals = run.totals
    read = {name: int(getattr(totals.dram_bytes, name)) for name in WEIGHT_CLASSES}
    area = {unit: totals.area_mm2_by_unit.get(unit, 0.0) for unit in ("mask_decoder", "weight_generator")}
    return {
        "workload": printable(PurePath(run.workload.path or run.workload.name).stem, 24),
        "storage": f"{printable(run.storage, 24)}{mark}",
        **{name: quantity(number, "B") if number else "-" for name, number in read.items()},
        "activations": quantity(traffic_bytes(totals) - weight_bytes(totals), "B"),
        "decoder mm2": significant(area["mask_decoder"]) if area["mask_decoder"] else "-",
        "generator mm2": significant(area["weight_generator"]) if area["weight_generator"] else "-",
    }


def _run_table(title: str, names: Sequence[str], box: Box) -> Table:
    table = Table(box=box, pad_edge=False)
    table.add_column(title, no_wrap=True)
    for name in names:
        table.add_column(Text(printable(name)), justify="right", no_wrap=True)
    return table


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
