"""What each core did, as a table for people."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table

from accelsim.report.text import percent, printable, quantity
from accelsim.results.model import RunResult

_WORK = ("compute", "weight_load", "fill_drain")
_MADE = ("wait_generator", "wait_decoder")


def cores_table(result: RunResult, box: Box = SIMPLE_HEAD) -> Table:
    """Return a row per core: what it did, and for what fraction of the run it worked or waited."""
    table = Table(title="what the cores did", title_justify="left", box=box, pad_edge=False)
    for heading in ("core", "layers", "MACs", "DRAM", "array", "memory", "generator, decoder", "others", "rest"):
        table.add_column(heading, justify="right", no_wrap=True)
    latency = max(1, result.totals.latency_cycles)
    for core in result.cores or ():
        causes = core.cycles_by_cause
        shares = [
            sum(causes.get(name, 0) for name in names) / latency
            for names in (_WORK, ("wait_dram",), _MADE, ("wait_cores",))
        ]
        name = f"{core.core} {printable(core.network)}".strip()
        table.add_row(
            name, str(core.num_layers), quantity(core.macs, ""), quantity(core.dram_bytes, "B"),
            *(percent(share) for share in (*shares, max(0.0, 1 - sum(shares)))),
        )  # fmt: skip
    return table
