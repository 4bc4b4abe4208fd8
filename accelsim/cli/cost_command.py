"""``accelsim cost``."""

from __future__ import annotations

import hashlib
import sys

import click

from accelsim import flow
from accelsim.cli.collect import UNCERTAINTY_ROW
from accelsim.cli.common import common_options, examples, json_option, write_stdout
from accelsim.cli.names import complete_field
from accelsim.config.hardware import HardwareConfig
from accelsim.cost.evaluate import at_node
from accelsim.cost.scaling import nominal_voltage_v
from accelsim.cost.settings import time_remark, with_settings
from accelsim.cost.tables import load_tables
from accelsim.errors import ConfigError
from accelsim.report.policies import policy_lines
from accelsim.report.terminal import make_console, print_recost
from accelsim.report.uncertainty import print_uncertainty
from accelsim.results.store import (
    CountersFile,
    RecordedHardware,
    counters_text,
    prepare_folder,
    read_counters,
    result_text,
    write_run,
)

_OPTIONS = {"node_nm": "--node", "voltage_v": "--voltage"}


@click.command(
    "cost",
    epilog=examples("accelsim cost out/run --node 7", "accelsim cost out/run --set dram.power_down_after_ns=640"),
)
@click.argument("saved", metavar="DIR")
@click.option(
    "--node",
    "--node-nm",
    "node_nm",
    type=click.FLOAT,
    help="Technology node in nm, at its nominal supply unless --voltage says another (run --set node_nm=... keeps the "
    "supply of the file).",
)
@click.option("--voltage", "--voltage-v", "voltage_v", type=click.FLOAT, help="Core supply in V, not the chip's.")
@click.option(
    "--table",
    "--tables",
    "tables",
    multiple=True,
    metavar="FILE",
    help="Cost table whose rows replace the built-in ones.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=complete_field,
    help="Another setting that changes no time, e.g. dram.power_down_after_ns=640.",
)
@click.option("--out", "folder", metavar="DIR", help="Write the costed result there, as run does.")
@UNCERTAINTY_ROW.add_to
@json_option
@common_options
@click.pass_context
def command(  # noqa: PLR0913  each is an option
    ctx: click.Context,
    saved: str,
    *,
    node_nm: float | None,
    voltage_v: float | None,
    tables: tuple[str, ...],
    settings: tuple[str, ...],
    folder: str | None,
    uncertainty: bool,
    as_json: bool,
) -> None:
    """Cost the run saved in DIR (by run --out) again, without simulating: another node, supply, setting or cost table.

    The formats that run --compare named are costed again too.
    """
    stored = read_counters(saved)
    hardware = _changed(stored, node_nm, voltage_v, tables, settings)
    prices = load_tables(tables)
    if uncertainty and as_json and folder is None:
        raise click.UsageError("--uncertainty with --json needs --out: the bands go to its uncertainty.json", ctx)
    result = flow.cost_again(stored, hardware, prices, saved)
    report = flow.uncertainty_again(stored, hardware, prices) if uncertainty else None
    if folder is not None:
        target = prepare_folder(folder)
        counters = counters_text(hardware, stored.workload, stored.counters, stored.skipped, stored.comparison)
        write_run(target, result, counters)
        if report is not None:
            flow.write_uncertainty(target, report)
    if as_json:
        write_stdout(result_text(result))
        return
    before = flow.cost_again(stored, stored.hardware, load_tables(), saved)
    console = make_console(sys.stdout)
    print_recost(console, result, before.totals, _supply(hardware.config), _remarks(stored, hardware.config))
    if report is not None:
        print_uncertainty(console, report)


def _remarks(stored: CountersFile, chip: HardwareConfig) -> list[str]:
    """Return what to know of the costed runs: where times would change, and ratios by memory policy."""
    rivals = stored.comparison or {}
    times = (time_remark(counters, stored.hardware.config, chip) for counters in (stored.counters, *rivals.values()))
    return [*filter(None, times), *policy_lines(chip, stored.counters, rivals)]


def _supply(chip: HardwareConfig) -> str:
    """Return the node and supply that prices are scaled to."""
    if chip.voltage_v is not None:
        return f"costed at {chip.node_nm:g} nm and {chip.voltage_v:g} V"
    return f"costed at {chip.node_nm:g} nm and {nominal_voltage_v(chip.node_nm):g} V, the node's nominal supply"


def _changed(
    stored: CountersFile,
    node_nm: float | None,
    voltage_v: float | None,
    tables: tuple[str, ...],
    settings: tuple[str, ...],
) -> RecordedHardware:
    """Return the chip as it is costed now; its digest tells it from the one that was simulated."""
    given = [("node_nm", node_nm), ("voltage_v", voltage_v)]
    changes = [f"{name}={value}" for name, value in given if value is not None] + [f"tables={name}" for name in tables]
    changes += settings
    if not changes:
        return stored.hardware
    digest = hashlib.sha256("\n".join([stored.hardware.sha256, *changes]).encode()).hexdigest()
    try:
        config = at_node(with_settings(stored.hardware.config, settings), node_nm, voltage_v)
    except ConfigError as error:
        name, _, rest = str(error).partition(": ")
        raise ConfigError(f"{_OPTIONS.get(name, name)}: {rest}") from None
    return stored.hardware.model_copy(update={"config": config, "sha256": digest})
