"""``accelsim cost``."""

from __future__ import annotations

import hashlib
import sys

import click

from accelsim.cli.common import common_options, examples, json_option, write_stdout
from accelsim.cost.evaluate import at_node, evaluate
from accelsim.cost.tables import load_tables
from accelsim.report.terminal import make_console, print_recost
from accelsim.results.store import (
    CountersFile,
    RecordedHardware,
    counters_text,
    prepare_folder,
    read_counters,
    rebuild_result,
    result_text,
    write_run,
)


@click.command("cost", epilog=examples("accelsim cost out/run --node 7", "accelsim cost out/run --table my.yaml"))
@click.argument("saved", metavar="DIR")
@click.option("--node", "--node-nm", "node_nm", type=click.FLOAT, help="Technology node in nm, not the chip's.")
@click.option("--voltage", "--voltage-v", "voltage_v", type=click.FLOAT, help="Core supply in V, not the chip's.")
@click.option(
    "--table",
    "--tables",
    "tables",
    multiple=True,
    metavar="FILE",
    help="Cost table whose rows replace the built-in ones.",
)
@click.option("--out", "folder", metavar="DIR", help="Write the costed result there, as run does.")
@json_option
@common_options
def command(
    saved: str,
    node_nm: float | None,
    voltage_v: float | None,
    tables: tuple[str, ...],
    folder: str | None,
    as_json: bool,
) -> None:
    """Cost the run saved in DIR (by run --out) again, without simulating: another node, supply or cost table."""
    stored = read_counters(saved)
    hardware = _changed(stored, node_nm, voltage_v, tables)
    cost = evaluate(stored.counters, hardware.config, load_tables(tables))
    result = rebuild_result(stored, hardware, cost, saved)
    if folder is not None:
        counters = counters_text(hardware, stored.workload, stored.num_frames, stored.counters)
        write_run(prepare_folder(folder), result, counters)
    if as_json:
        write_stdout(result_text(result))
        return
    before = evaluate(stored.counters, stored.hardware.config, load_tables())
    print_recost(make_console(sys.stdout), result, rebuild_result(stored, stored.hardware, before, saved).totals)


def _changed(
    stored: CountersFile, node_nm: float | None, voltage_v: float | None, tables: tuple[str, ...]
) -> RecordedHardware:
    """Return the chip as it is costed now; its digest tells it from the one that was simulated."""
    given = [("node_nm", node_nm), ("voltage_v", voltage_v)]
    changes = [f"{name}={value}" for name, value in given if value is not None] + [f"tables={name}" for name in tables]
    if not changes:
        return stored.hardware
    digest = hashlib.sha256("\n".join([stored.hardware.sha256, *changes]).encode()).hexdigest()
    config = at_node(stored.hardware.config, node_nm, voltage_v)
    return stored.hardware.model_copy(update={"config": config, "sha256": digest})
