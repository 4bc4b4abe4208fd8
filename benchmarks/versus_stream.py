"""Cycles of layers on two and four cores against Stream (KU Leuven): each tool divides and maps them in its own way.

The chip is Stream's own: TPU-like cores of 32 x 32 beside a memory of 64 bits a cycle, told to accelsim with the same
arrays, buffers and bandwidths. The models differ by design (docs/cores.md), so cycles are shown and not judged.

Usage: python benchmarks/versus_stream.py [--python PATH]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from peers import ROOT, peer_python, run_driver
from rich.console import Console
from rich.table import Table

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.pipeline import simulate
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

CORES = (2, 4)
# The 3 x 3 convolutions of ResNet-18's four stages, as they come again in each of them.
LAYERS = {"layer1": (64, 56), "layer2": (128, 28), "layer3": (256, 14), "layer4": (512, 7)}
# 2 MB of each core for weights, activations and sums (2,048 bits a cycle), 8 bytes of memory a cycle, no latency.
CHIP = (
    "dram.data_rate_mtps=1000", "dram.read_latency_ns=0", "dram.write_latency_ns=0", "dram.turnaround_ns=0",
    "dram.refresh=none", "weight_buffer.capacity_bytes=1048576",
    "accumulator.capacity_bytes=524288", "mapping.keep_activations_on_chip=false", "mapping.objective=latency",
)  # fmt: skip


def layer_trace(name: str, channels: int, rows: int) -> LayerTrace:
    """Return one convolution as a network."""
    dims = LoopDims(K=channels, C=channels, R=3, S=3, P=rows, Q=rows, H=rows, W=rows, padding=(1, 1))
    weights = LayerWeights((channels, channels, 3, 3), num_kept=dims.num_weights, num_free=dims.num_weights)
    layer = TraceLayer(name, "conv2d", dims, ("input",), num_outputs=dims.num_outputs, weights=weights, is_output=True)
    return LayerTrace(name, (layer,), "dense")


def cycles_of(hardware: LoadedHardware, trace: LayerTrace) -> int:
    """Return the latency of a network in int8."""
    return sum(layer.latency_cycles for layer in simulate(hardware, trace, "dense-int8").layers)


def chip(num_cores: int, *overrides: str) -> LoadedHardware:
    """Return the chip with so many cores."""
    return load_hardware(ROOT / "hwconfigs" / "edge_dense.yaml", (*CHIP, f"num_cores={num_cores}", *overrides))


def show(peer: dict[str, dict[str, float]], cores: Sequence[int] = CORES) -> None:
    """Print both tools side by side."""
    columns = ("layer", "cores", "all arrays full", "weights alone", "Stream", "by filters", "private, auto", "ratio")
    table = Table(*columns, title="cycles, each layer from memory to memory")
    for number in cores:
        for name, (channels, rows) in LAYERS.items():
            trace = layer_trace(name, channels, rows)
            dims, other = trace.layers[0].dims, peer[f"{name} on {number}"]["latency"]
            # Stream divides filters, and its bus hands inputs to all cores at once.
            shared = (
                "mapping.split=filters", "share=[activation_buffer]",
                f"activation_buffer.capacity_bytes={number << 19}", f"activation_buffer.num_banks={4 * number}",
            )  # fmt: skip
            stated = cycles_of(chip(number, *shared), trace)
            private = cycles_of(chip(number, "activation_buffer.capacity_bytes=524288"), trace)
            table.add_row(
                name, str(number), f"{dims.macs // (1024 * number):,}", f"{dims.num_weights // 8:,}", f"{other:,.0f}",
                f"{stated:,}", f"{private:,}", f"{stated / other:.2f}",
            )  # fmt: skip
        table.add_section()
    Console(width=120).print(table)


def main() -> int:
    """Run both tools on all layers."""
    parser = argparse.ArgumentParser(description="Compare cycles on several cores with Stream.")
    parser.add_argument("--python", default=peer_python("stream"), help="its Python [default: that of make peers]")
    python = parser.parse_args().python
    if python is None:
        print("versus_stream: left out; run make peers first (docs/cores.md)")
        return 0
    layers = [
        {"name": name, "K": channels, "C": channels, "R": 3, "P": rows, "H": rows, "stride": 1}
        for name, (channels, rows) in LAYERS.items()
    ]
    peer, _ = run_driver(python, "stream_driver.py", {"cores": list(CORES), "layers": layers})
    show(peer["layers"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
