"""What the comparisons with other simulators share: the same layers for both, and the other tool in its own process.

The other tool has its own virtual environment (see docs/benchmarks.md); a driver beside this file runs in it and prints
one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelsim.trace import trace_network
from accelsim.trace.model import LoopDims, TraceLayer

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = Path(__file__).resolve().parent
CONV_HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a run without imports: on the clock, and of the processor (children included)."""

    wall_s: float
    cpu_s: float

    def ratio(self, ours: Times) -> str:
        """Return how often ``ours`` fits into this."""
        wall, cpu = self.wall_s / ours.wall_s, self.cpu_s / ours.cpu_s
        return (
            f"{self.wall_s:.2f} s against {ours.wall_s:.3f} s of accelsim: {wall:,.0f} times "
            f"(CPU {self.cpu_s:.2f} s against {ours.cpu_s:.3f} s: {cpu:,.0f} times)"
        )


def peer_python(tool: str) -> str | None:
    """Return the interpreter of the environment that ``make peers`` makes for a tool; None without it."""
    path = ROOT / "out" / "peers" / tool / "bin" / "python"
    return str(path) if path.exists() else None


def network_layers(name: str, contains: str = "") -> list[TraceLayer]:
    """Return the dense convolutions of a network whose name has ``contains`` in it, and its linear layers."""
    return [
        layer
        for layer in trace_network(name).layers
        if layer.kind in ("conv2d", "linear") and layer.dims.G == 1 and contains in layer.name
    ]


def topology_text(layers: Sequence[TraceLayer]) -> str:
    """Return a topology table of layers with the same outputs; padding becomes a larger input (the format has none)."""
    return "\n".join([CONV_HEADER, *(_row(layer.name, layer.dims) for layer in layers)]) + "\n"


def _row(name: str, dims: LoopDims) -> str:
    height = (dims.P - 1) * dims.stride[0] + dims.R
    width = (dims.Q - 1) * dims.stride[1] + dims.S
    return f"{name}, {height}, {width}, {dims.R}, {dims.S}, {dims.C}, {dims.K}, {dims.stride[0]},"


def run_driver(python: str, driver: str, request: dict[str, Any]) -> tuple[dict[str, Any], Times]:
    """Run a driver with another interpreter in an empty folder; return its answer and its own times."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="accelsim-peer-") as folder:
        done = subprocess.run(
            [os.path.abspath(python), "-I", "-W", "ignore", str(DRIVERS / driver)],
            input=json.dumps(request), capture_output=True, text=True, cwd=folder, env=environment, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(f"{driver}: {python} failed: {last}; see docs/benchmarks.md for the versions that work")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer, Times(**answer.pop("times"))


def best_time(work: Callable[[], T], repeats: int = 3) -> tuple[T, Times]:
    """Return the result of ``work`` and its shortest times."""
    wall, cpu = [], []
    for _ in range(repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    return result, Times(min(wall), min(cpu))


def parse_array(text: str) -> tuple[int, int]:
    """Return rows and columns of ``32x32``."""
    rows, _, cols = text.partition("x")
    return int(rows), int(cols)
