"""Cycles per layer and wall time against SCALE-Sim v3, both on the same topology table, array and ideal memory.

SCALE-Sim counts from cycle 0 to the last write, so that each of its rows is one cycle less; any other difference is an
error here (exit status 1). docs/benchmarks.md says how to install it.

Usage: python benchmarks/versus_scalesim.py [--python PATH] [--network NAME | --topology FILE] [--dataflow ws]
       [--array 32x32]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from peers import ROOT, Times, best_time, network_layers, parse_array, peer_python, run_driver, topology_text
from rich.console import Console
from rich.table import Table

from accelsim.config.loader import load_hardware
from accelsim.pipeline import simulate
from accelsim.sim.counters import LayerCounters
from accelsim.trace.model import LayerTrace
from accelsim.trace.topology import read_topology


@dataclass(frozen=True, slots=True)
class Comparison:
    """One layer; a depthwise layer is as many rows of SCALE-Sim's report as it has channels."""

    name: str
    shape: str
    num_rows: int
    cycles: int
    peer_cycles: int

    @property
    def agrees(self) -> bool:
        return self.cycles - self.peer_cycles == self.num_rows


@dataclass(frozen=True, slots=True)
class Setting:
    """The array that is compared."""

    dataflow: str
    rows: int
    cols: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols} {self.dataflow}"


def compare(python: str, table: str, setting: Setting) -> tuple[list[Comparison], Times, Times]:
    """Return the layers, our times and those of SCALE-Sim."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "topology.csv"
        path.write_text(table)
        trace, ours, times = _simulate(path, setting)
    request = {
        "chip": {"dataflow": setting.dataflow, "rows": setting.rows, "cols": setting.cols},
        "topology": table,
        "is_gemm": "ifmap" not in table.splitlines()[0].lower(),
    }
    peer, peer_times = run_driver(python, "scalesim_driver.py", request)
    if any(peer["stalls"]):
        sys.exit("SCALE-Sim stalled: its memory was not ideal, and the cycles cannot be compared")
    return _side_by_side(trace, ours, peer["cycles"]), times, peer_times


def _simulate(path: Path, setting: Setting) -> tuple[LayerTrace, tuple[LayerCounters, ...], Times]:
    overrides = [f"pe_array.rows={setting.rows}", f"pe_array.cols={setting.cols}"]
    hwconfig = ROOT / "hwconfigs" / f"systolic_32x32_{setting.dataflow}.yaml"

    def work() -> tuple[LayerTrace, tuple[LayerCounters, ...]]:
        trace = read_topology(path)
        return trace, simulate(load_hardware(hwconfig, overrides), trace, "dense-int8").layers

    (trace, layers), times = best_time(work)
    return trace, layers, times


def _side_by_side(trace: LayerTrace, ours: tuple[LayerCounters, ...], peer_cycles: list[int]) -> list[Comparison]:
    rows, place = [], 0
    for layer, counters in zip(trace.layers, ours, strict=True):
        dims, causes = layer.dims, counters.cycles_by_cause
        theirs = peer_cycles[place : place + dims.G]
        place += dims.G
        shape = f"{dims.C}x{dims.H}x{dims.W} * {dims.K}x{dims.R}x{dims.S} / {dims.stride[0]}"
        rows.append(
            Comparison(
                layer.name, shape, dims.G, causes["compute"] + causes["weight_load"] + causes["fill_drain"], sum(theirs)
            )
        )
    if place != len(peer_cycles):
        sys.exit(f"SCALE-Sim reports {len(peer_cycles)} rows, {place} were expected")
    return rows


def show(console: Console, setting: Setting, rows: list[Comparison], ours: Times, peer: Times) -> None:
    """Print one table."""
    table = Table("layer", "shape", "accelsim", "SCALE-Sim", "difference", title=f"{setting}: cycles, ideal memory")
    for row in rows:
        difference = row.cycles - row.peer_cycles
        mark = "" if row.agrees else f"  [red]expected +{row.num_rows}[/red]"
        table.add_row(row.name, row.shape, f"{row.cycles:,}", f"{row.peer_cycles:,}", f"{difference:+d}{mark}")
    console.print(table)
    agreeing = sum(row.agrees for row in rows)
    console.print(f"{agreeing} of {len(rows)} layers agree (one cycle per row of its report)")
    console.print(f"SCALE-Sim takes {peer.ratio(ours)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare cycles and wall time with SCALE-Sim v3.")
    parser.add_argument("--python", default=peer_python("scalesim"), help="its Python [default: that of make peers]")
    parser.add_argument("--network", default="resnet18-imagenet", help="a network of accelsim list")
    parser.add_argument("--contains", default="", help="only layers whose name contains this")
    parser.add_argument("--topology", type=Path, help="a topology table in place of the network")
    parser.add_argument("--dataflow", action="append", choices=("ws", "os", "is"), help="may be repeated; default: ws")
    parser.add_argument("--array", action="append", type=parse_array, help="ROWSxCOLS, may be repeated; default: 32x32")
    return parser.parse_args()


def main() -> int:
    """Compare every array and dataflow asked for."""
    arguments = _arguments()
    if arguments.python is None:
        print("versus_scalesim: left out; run make peers first (docs/benchmarks.md)")
        return 0
    if arguments.topology is not None:
        table = arguments.topology.read_text(encoding="utf-8")
    else:
        table = topology_text(network_layers(arguments.network, arguments.contains))
    console, agree = Console(width=120), True
    for rows, cols in arguments.array or [(32, 32)]:
        for dataflow in arguments.dataflow or ["ws"]:
            setting = Setting(dataflow, rows, cols)
            layers, ours, peer = compare(arguments.python, table, setting)
            show(console, setting, layers, ours, peer)
            agree = agree and all(layer.agrees for layer in layers)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
