"""CPU time and peak memory of the largest layers on every chip, each run a process of its own.

The layers are the output layer of a language model at 4,096 positions, the feed-forward of one with 405 B parameters
at 8,192, and a pointwise convolution on a map of 2160 x 4096. A run is `accelsim run CHIP LAYER --compare none`, the
start of the program included. Marked is what takes more than 10 s or 1 GiB; nothing here fails on it.

Usage: python benchmarks/largest_layers.py [--hardware NAME ...] [--layer NAME ...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

LAYERS = {
    "lm_head": "Layer,M,N,K,\nlm_head,4096,128256,4096,\n",
    "ffn": "Layer,M,N,K,\nffn,8192,53248,16384,\n",
    "pointwise": (
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
        "pointwise, 2160, 4096, 1, 1, 64, 256, 1,\n"
    ),
}
HWCONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs"
MOST_CPU_S, MOST_MIB = 10.0, 1024.0


def measure(chip: Path, layer: Path) -> tuple[float, float, str]:
    """Return CPU seconds and peak MiB of a run, and its error message (empty: there is none)."""
    command = [sys.executable, "-m", "accelsim", "run", str(chip), str(layer), "--compare", "none", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)  # the child's alone: RUSAGE_CHILDREN keeps the largest of all
    process.returncode = os.waitstatus_to_exitcode(status)
    peak_mib = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return used.ru_utime + used.ru_stime, peak_mib, message.strip() if process.returncode else ""


def main() -> None:
    """Print one row for each chip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hardware", nargs="+", default=[path.stem for path in sorted(HWCONFIGS.glob("*.yaml"))])
    parser.add_argument("--layer", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    given = parser.parse_args()
    console = Console()
    table = Table("chip", *(f"{name}, CPU s, MiB" for name in given.layer))
    with tempfile.TemporaryDirectory() as folder:
        for name in given.hardware:
            row = [name]
            for layer in given.layer:
                path = Path(folder) / f"{layer}.csv"
                path.write_text(LAYERS[layer])
                cpu_s, peak_mib, message = measure(HWCONFIGS / f"{name}.yaml", path)
                is_over = cpu_s > MOST_CPU_S or peak_mib > MOST_MIB
                row.append(message or f"{cpu_s:.1f} {peak_mib:.0f}{' over' if is_over else ''}")
                console.print(name, layer, row[-1])
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
