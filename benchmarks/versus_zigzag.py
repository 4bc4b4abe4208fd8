"""Cycles and wall time against ZigZag (KU Leuven): each tool maps the same layers to the same chip in its own way.

The chip is a hardware description of accelsim, told to ZigZag as a K x C array with the same buffers, ports and DRAM
bandwidth. The two models differ by design (see docs/benchmarks.md), so cycles are shown and not judged.

Usage: python benchmarks/versus_zigzag.py [--python PATH] [--network NAME] [--hardware hwconfigs/edge_dense.yaml]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import ROOT, Times, best_time, network_layers, peer_python, run_driver, topology_text
from rich.console import Console
from rich.table import Table

from accelsim.config.hardware import BufferConfig, HardwareConfig
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.pipeline import simulate
from accelsim.sim.counters import LayerCounters
from accelsim.trace.model import TraceLayer
from accelsim.trace.topology import read_topology

Record = dict[str, Any]  # ZigZag's own input format


def _memory(size_bits: int, bandwidth_bits: int, uses: Sequence[tuple[str, str]], served: Sequence[str]) -> Record:
    """Return a memory with a read and a write port; ``uses`` are (operand, direction), ``t*`` reads, ``f*`` writes."""
    kinds = {"r": "read", "w": "write"}
    ports = [
        {
            "name": f"{letter}_port_1",
            "type": kinds[letter],
            "bandwidth_min": 8,
            "bandwidth_max": bandwidth_bits,
            "allocation": [f"{operand}, {way}" for operand, way in uses if (way[0] == "t") == (letter == "r")],
        }
        for letter in "rw"
    ]
    return {
        "size": size_bits, "r_cost": 1.0, "w_cost": 1.0, "area": 0.0, "latency": 1,
        "operands": list(dict.fromkeys(operand for operand, _ in uses)), "ports": ports,
        "served_dimensions": list(served),
    }  # fmt: skip


def _buffer(config: BufferConfig, uses: Sequence[tuple[str, str]]) -> Record:
    bandwidth = config.width_bits * config.num_banks * config.num_ports
    return _memory(config.capacity_bytes * 8, bandwidth, uses, ("D1", "D2"))


_INPUT, _WEIGHT = (("I1", "fh"), ("I1", "tl")), (("I2", "fh"), ("I2", "tl"))
_OUTPUT = (("O", "fh"), ("O", "tl"), ("O", "fl"), ("O", "th"))


def zigzag_chip(config: HardwareConfig) -> Record:
    """Return the chip in ZigZag's format: weights in registers of the array, sums in the accumulator."""
    per_cycle = round(config.dram.peak_bytes_per_ns * 1000 / config.clock_mhz * 8)
    dram = _memory(1 << 36, per_cycle, _INPUT + _WEIGHT + _OUTPUT, ("D1", "D2"))
    everything = [port for each in dram["ports"] for port in each["allocation"]]
    dram["ports"] = [{**dram["ports"][0], "name": "rw_port_1", "type": "read_write", "allocation": everything}]
    return {
        "name": config.name,
        "memories": {
            "weight_register": _memory(16 if config.pe_array.weight_preload else 8, 8, _WEIGHT, ()),
            "accumulator": _buffer(config.accumulator, _OUTPUT),
            "weight_buffer": _buffer(config.weight_buffer, _WEIGHT),
            "activation_buffer": _buffer(config.activation_buffer, _INPUT + _OUTPUT),
            "dram": dram,
        },
        "operational_array": {
            "unit_energy": 1.0,
            "unit_area": 1.0,
            "dimensions": ["D1", "D2"],
            "sizes": [config.pe_array.cols, config.pe_array.rows],
        },
    }


def zigzag_mapping(config: HardwareConfig) -> list[Record]:
    """Return the weight-stationary mapping: output channels along the columns, input channels along the rows."""
    spatial = {"D1": [f"K, {config.pe_array.cols}"], "D2": [f"C, {config.pe_array.rows}"]}
    links = {"O": "O", "W": "I2", "I": "I1"}
    return [{"name": "default", "spatial_mapping": spatial, "memory_operand_links": links}]


def zigzag_workload(layers: Sequence[TraceLayer], config: HardwareConfig) -> list[Record]:
    """Return the layers as a chain in ZigZag's format."""
    records = []
    for index, layer in enumerate(layers):
        dims = layer.dims
        sizes = {"B": dims.N, "K": dims.K, "OX": dims.Q, "OY": dims.P, "C": dims.C, "FX": dims.S, "FY": dims.R}
        records.append(
            {
                "id": index,
                "name": layer.name,
                "operator_type": "Conv",
                "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
                "dimension_relations": [f"ix={dims.stride[1]}*ox+1*fx", f"iy={dims.stride[0]}*oy+1*fy"],
                "loop_dims": list(sizes),
                "loop_sizes": list(sizes.values()),
                "operand_precision": {
                    "W": 8, "I": config.activation_bits,
                    "O": config.accumulator_bits, "O_final": config.activation_bits,
                },
                "operand_source": {"W": index, "I": max(0, index - 1)},
            }
        )  # fmt: skip
    return records


def _simulate(layers: Sequence[TraceLayer], hardware: LoadedHardware) -> tuple[tuple[LayerCounters, ...], Times]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "topology.csv"
        path.write_text(topology_text(layers))
        return best_time(lambda: simulate(hardware, read_topology(path), "dense-int8").layers)


def show(layers: Sequence[TraceLayer], ours: Sequence[LayerCounters], peer: Record) -> None:
    """Print cycles side by side, and their sums."""
    console = Console(width=120)
    columns = ("layer", "MACs", "accelsim", "on the array", "ZigZag", "on the array", "latency ratio")
    table = Table(*columns, title="cycles")
    sums = [0.0, 0.0]
    for layer, counters in zip(layers, ours, strict=True):
        causes, other = counters.cycles_by_cause, peer[layer.name]
        array = causes["compute"] + causes["weight_load"] + causes["fill_drain"]
        sums[0] += counters.latency_cycles
        sums[1] += other["latency"]
        table.add_row(
            layer.name, f"{layer.dims.macs:,}", f"{counters.latency_cycles:,}", f"{array:,}",
            f"{other['latency']:,.0f}", f"{other['compute']:,.0f}", f"{counters.latency_cycles / other['latency']:.2f}",
        )  # fmt: skip
    table.add_section()
    table.add_row("all", "", f"{sums[0]:,.0f}", "", f"{sums[1]:,.0f}", "", f"{sums[0] / sums[1]:.2f}")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare cycles and wall time with ZigZag.")
    parser.add_argument("--python", default=peer_python("zigzag"), help="its Python [default: that of make peers]")
    parser.add_argument("--network", default="resnet18-imagenet", help="a network of accelsim list")
    parser.add_argument("--contains", default="", help="only layers whose name contains this")
    parser.add_argument(
        "--hardware", type=Path, default=ROOT / "hwconfigs" / "edge_dense.yaml", help="weight stationary"
    )
    return parser.parse_args()


def main() -> int:
    """Run both tools on all layers."""
    arguments = _arguments()
    if arguments.python is None:
        print("versus_zigzag: left out; run make peers first (docs/benchmarks.md)")
        return 0
    hardware = load_hardware(arguments.hardware)
    if hardware.config.pe_array.dataflow != "weight_stationary" or hardware.config.memory != "dram":
        sys.exit(f"{arguments.hardware}: not weight stationary with DRAM; give a chip like hwconfigs/edge_dense.yaml")
    layers = network_layers(arguments.network, arguments.contains)
    ours, times = _simulate(layers, hardware)
    request = {
        "chip": zigzag_chip(hardware.config),
        "mapping": zigzag_mapping(hardware.config),
        "workload": zigzag_workload(layers, hardware.config),
    }
    peer, peer_times = run_driver(arguments.python, "zigzag_driver.py", request)
    show(layers, ours, peer["layers"])
    print(f"ZigZag takes {peer_times.ratio(times)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
