"""How many cores one memory feeds, with and without masks: the figure of `docs/cores.md`.

The chip is `edge_quad` with 1 to 16 cores: one LPDDR4 package, one weight generator, one decoder and one mask buffer
as they stand for all of them, and 256 KiB of the shared activation buffer for each. Dense int8 against a ticket with
70 % of its weights dropped, half of all frozen. Speed-ups are over one core with the same format.

Usage: python benchmarks/core_scaling.py [--cores 1 2 4 8 16] [--figure docs/figures/core_scaling.svg]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from accelsim.config.loader import load_hardware
from accelsim.pipeline import simulate
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.model import LayerTrace

KIB = 1024
STATED = {"sparsity": 0.7, "prune_ratio": 0.35, "lock_ratio": 0.15}
NETWORKS = {
    "ResNet-50": ("resnet50", {}),
    "ViT-S": ("vit_small", {}),
    "GPT-2, one token at context 512": ("gpt2", {"phase": "decode", "context": 512}),
    "GPT-2, prompt of 128": ("gpt2", {"phase": "prefill", "prompt": 128}),
}
FORMATS = ("dense-int8", "slt")


def overrides(num_cores: int) -> list[str]:
    """Return what makes `edge_quad` a chip of so many cores."""
    shared = "[weight_generator, mask_decoder, mask_buffer, activation_buffer]" if num_cores > 1 else "[]"
    return [
        f"num_cores={num_cores}",
        f"share={shared}",
        f"activation_buffer.capacity_bytes={256 * KIB * num_cores}",
        f"activation_buffer.num_banks={4 * num_cores}",
    ]


def cycles(trace: LayerTrace, storage: str, num_cores: int) -> tuple[int, float]:
    """Return the latency of a run, and how long it took to find."""
    chip = load_hardware("edge_quad", overrides(num_cores))
    begin = time.process_time()
    counters = simulate(chip, trace, storage)
    return sum(layer.latency_cycles for layer in counters.layers), time.process_time() - begin


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    console, rows = Console(width=120), {}
    for name, (network, run) in NETWORKS.items():
        for storage in FORMATS:
            options = TraceOptions(**run, **(STATED if storage == "slt" else {}))
            trace = trace_workload(network, options)
            rows[name, storage] = [cycles(trace, storage, number) for number in given.cores]
            pairs = zip(given.cores, rows[name, storage], strict=True)
            words = ", ".join(f"{number}: {taken:,}" for number, (taken, _) in pairs)
            console.print(f"{name}, {storage}: cycles with cores {words}")
    table = Table(title="speed-up over one core with the same format")
    for heading in ("network", "storage", *map(str, given.cores), "s of CPU with most"):
        table.add_column(heading, justify="right")
    for (name, storage), found in rows.items():
        first = found[0][0]
        table.add_row(name, storage, *(f"{first / taken:.2f}" for taken, _ in found), f"{found[-1][1]:.1f}")
    console.print(table)
    if given.figure is not None:
        draw(given.figure, given.cores, {key: [taken for taken, _ in found] for key, found in rows.items()})


def draw(file: Path, cores: list[int], rows: dict[tuple[str, str], list[int]]) -> None:
    """Draw speed-up over cores, a panel for each network."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  the table needs none

    mpl.rcParams["svg.hashsalt"] = "accelsim"
    figure, axes = plt.subplots(1, len(NETWORKS), figsize=(11, 3.2), sharey=True, layout="constrained")
    for axis, name in zip(axes, NETWORKS, strict=True):
        axis.plot(cores, cores, color="0.8", linewidth=1, label="as many times as cores")
        for storage, colour in zip(FORMATS, ("#8a8a8a", "#1f6fb4"), strict=True):
            taken = rows[name, storage]
            axis.plot(
                cores, [rows[name, FORMATS[0]][0] / each for each in taken], marker="o", color=colour, label=storage
            )
        axis.set(xscale="log", yscale="log", title=name, xlabel="cores", xticks=cores, xticklabels=map(str, cores))
        axis.title.set_fontsize(9)
        axis.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("times faster than dense int8 on one core")
    axes[0].legend(fontsize=7)
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
