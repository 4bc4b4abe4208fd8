"""What each core did, as a table for people."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table

from accelsim.report.text import percent, printable, quantity
from accelsim.results.model import CoreRecord, RunResult

_WORK = ("compute", "weight_load", "fill_drain")
_MADE = ("wait_generator", "wait_decoder")


def shares_of_core(core: CoreRecord, latency_cycles: int) -> tuple[float, ...]:
    """Return the fractions of a run in which a core's array worked, waited for memory, words, others, and the rest."""
    shares = [
        sum(core.cycles_by_cause.get(name, 0) for name in names) / max(1, latency_cycles)
        for names in (_WORK, ("wait_dram",), _MADE, ("wait_cores",))
    ]
    return (*shares, max(0.0, 1 - sum(shares)))


def first_input_line(result: RunResult) -> str | None:
    """Return what a pipeline's first input takes, and the ones behind it; None of other runs."""
    first = result.first_input_latency_s
    if first is None:
        return None
    each = quantity(result.totals.latency_s_per_input, "s")
    return f"The first input has left the pipeline after {quantity(first, 's')}; in the mean there is one every {each}."


def cores_table(result: RunResult, box: Box = SIMPLE_HEAD) -> Table:
    """Return a row per core: what it did, and for what fraction of the run it worked or waited."""
    table = Table(title="what the cores did", title_justify="left", box=box, pad_edge=False)
    for heading in ("core", "layers", "MACs", "DRAM", "array", "memory", "generator, decoder", "others", "rest"):
        table.add_column(heading, justify="right", no_wrap=True)
    latency = max(1, result.totals.latency_cycles)
    for core in result.cores or ():
        name = f"{core.core} {printable(core.network)}".strip()
        table.add_row(
            name, str(core.num_layers), quantity(core.macs, ""), quantity(core.dram_bytes, "B"),
            *(percent(share) for share in shares_of_core(core, latency)),
        )  # fmt: skip
    return table
