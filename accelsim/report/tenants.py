"""Several networks on one chip, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accelsim.config.hardware import HardwareConfig
from accelsim.report.text import printable, quantity, ratio
from accelsim.tenants import TenantsRun
from accelsim.units import cycles_to_s

_UNTRIED = "that is worked out for one network at a time; run each by itself"
NOTICED = 1.005
"""The slow-down from which a network is said to be slower than alone: less prints as 1.00x."""


def tenants_text(run: TenantsRun, hardware: HardwareConfig) -> str:
    """Return a run of several networks as JSON: each network, each core, and the chip until the last one ends."""
    energy_j = math.fsum(run.energy_j_by_unit.values())
    document = {
        "hardware": hardware.name,
        "latency_cycles": run.end_cycle,
        "latency_s": cycles_to_s(run.end_cycle, hardware.clock_mhz),
        "energy_j": energy_j,
        "energy_j_by_unit": dict(sorted(run.energy_j_by_unit.items())),
        "limits_left_out": _UNTRIED,
        "tenants": [
            {
                "network": each.name,
                "storage": each.storage,
                "cores": list(each.cores),
                "latency_cycles": each.latency_cycles,
                "latency_s": cycles_to_s(each.latency_cycles, hardware.clock_mhz),
                "alone_cycles": each.alone_cycles,
                "slow_down": each.slow_down,
                "macs": sum(layer.macs for layer in each.counters.layers),
                "dram_bytes": each.counters.moved_bytes,
                "cycles_by_cause": {
                    cause: sum(layer.cycles_by_cause[cause] for layer in each.counters.layers)
                    for cause in each.counters.layers[0].cycles_by_cause
                },
            }
            for each in run.tenants
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def core_words(cores: Sequence[int]) -> str:
    """Return which cores a network has, neighbours: ``2 to 3``."""
    return f"{cores[0]}" if len(cores) == 1 else f"{cores[0]} to {cores[-1]}"


def print_tenants(console: Console, run: TenantsRun, hardware: HardwareConfig) -> None:
    """Print a row per network, and what the chip takes and spends for all of them."""
    console.print(Text(f"{len(run.tenants)} networks on {printable(hardware.name)}", style="bold"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for heading in ("storage", "cores", "alone", "beside others", "slow-down", "DRAM"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in run.tenants:
        moved = each.counters.moved_bytes
        table.add_row(
            printable(each.name), each.storage, core_words(each.cores),
            quantity(cycles_to_s(each.alone_cycles, hardware.clock_mhz), "s"),
            quantity(cycles_to_s(each.latency_cycles, hardware.clock_mhz), "s"),
            ratio(each.slow_down, 1), quantity(moved, "B"),
        )  # fmt: skip
    console.print(table)
    worst = max(run.tenants, key=lambda each: each.slow_down)
    pays = f"{printable(worst.name)} pays most for what is shared: {ratio(worst.slow_down, 1)} of its time alone."
    first = pays if worst.slow_down > NOTICED else "None is noticeably slower than alone."
    energy_j = math.fsum(run.energy_j_by_unit.values())
    end = quantity(cycles_to_s(run.end_cycle, hardware.clock_mhz), "s")
    console.print(
        Text(
            f"{first} The last network ends after {end}, by when the chip and its memory have spent "
            f"{quantity(energy_j, 'J')}."
        )
    )
    console.print(Text(f"What limits them was not tried: {_UNTRIED}."))
