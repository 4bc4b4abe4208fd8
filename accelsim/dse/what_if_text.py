"""The table of a few runs beside each other, and the sentence below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from accelsim.config.explain import show_plain
from accelsim.dse.export import variable_columns
from accelsim.dse.pareto import EQUAL
from accelsim.dse.rows import Row, figure
from accelsim.dse.space import BATCH, STORAGE, DesignSpace, Value
from accelsim.dse.summary import count_reasons
from accelsim.dse.summary_text import short_names
from accelsim.report.labels import label
from accelsim.report.terminal import print_fitted
from accelsim.report.text import percent, printable, quantity, ratio, significant
from accelsim.sim.counters import CAUSES

FAILED = "cannot run"


def print_what_if(
    console: Console, space: DesignSpace, rows: Sequence[Row], written: Mapping[str, Mapping[Value, str]]
) -> None:
    """Print a row for each run: what varies, and what it comes to; below it the fastest and the most frugal.

    Where the batch varies, time and energy stand per input as well. ``written`` has for each column the values that
    were typed with a unit.
    """
    labels = [_labels(space, row, written) for row in rows]
    is_batched = any(variable.name == BATCH for variable in space.variables)
    cells = [label | _figures(row, is_batched) for label, row in zip(labels, rows, strict=True)]
    print_fitted(console, cells, ("PEs busy", "area", "DRAM traffic"), frozenset(labels[0]) | {"bottleneck"})
    for line in [*_reasons(rows), *_best_lines(labels, rows, is_batched)]:
        console.print(Text(line))


def _labels(space: DesignSpace, row: Row, written: Mapping[str, Mapping[Value, str]]) -> dict[str, str]:
    columns = variable_columns(space)
    names = short_names(columns)
    typed = {column: written.get(column, {}).get(row[column]) for column in columns}
    shown = {names[column]: printable(typed[column] or show_plain(row[column]), 40) for column in columns}
    if len(space.hardware) > 1 or not shown:
        shown = {"chip": printable(str(row["hardware"]), 30), **shown}
    if any(variable.name == STORAGE for variable in space.variables):
        shown[STORAGE] = str(row["storage"])
    return shown


def _figures(row: Row, is_batched: bool) -> dict[str, str]:
    cause = max(CAUSES, key=lambda name: figure(row, f"cycles_{name}") or 0.0)
    per_input = {
        "latency per input": quantity(_known(row, "latency_s_per_input"), "s"),
        "energy per input": quantity(_known(row, "energy_j_per_input"), "J"),
    }
    figures = {
        "latency": quantity(_known(row, "latency_s"), "s"),
        "energy": quantity(_known(row, "energy_j"), "J"),
        **(per_input if is_batched else {}),
        "DRAM traffic": quantity(_known(row, "dram_bytes"), "B"),
        "PEs busy": percent(_known(row, "pe_utilization")),
        "area": f"{significant(_known(row, 'area_mm2'))} mm2",
        "bottleneck": label(cause),
    }
    return figures if row["status"] == "ok" else dict.fromkeys(figures, "-") | {"latency": FAILED}


def _reasons(rows: Sequence[Row]) -> list[str]:
    return [f"{FAILED} ({number}): {printable(reason, 300)}" for reason, number in count_reasons(rows).items()]


def _known(row: Row, metric: str) -> float:
    value = figure(row, metric)
    return 0.0 if value is None else value


def _best_lines(labels: Sequence[dict[str, str]], rows: Sequence[Row], is_batched: bool) -> list[str]:
    """Return which row is fastest and which takes least energy, per input, against the first that runs."""
    good = [index for index, row in enumerate(rows) if row["status"] == "ok"]
    if len(good) < 2:
        return []
    parts, of_what = [], " per input" if is_batched else ""
    for words, metric, unit in (("fastest", "latency_s_per_input", "s"), ("least energy", "energy_j_per_input", "J")):
        values = {index: _known(rows[index], metric) for index in good}
        best = min(good, key=lambda index: values[index])
        alike = sum(value <= values[best] * (1 + EQUAL) for value in values.values())
        if alike == len(good):
            parts.append(f"{words}: all rows alike")
            continue
        label = ", ".join(f"{name} {value}" for name, value in labels[best].items())
        factor = f", {ratio(values[best], values[good[0]])} the first" if best != good[0] else ", the first"
        others = f"; {alike - 1} more alike" if alike > 1 else ""
        parts.append(f"{words}: {label} ({quantity(values[best], unit)}{of_what}{factor}{others})")
    return [f"{'; '.join(parts)}."]
