"""How fast a design space is swept, and what the engine itself costs.

    python benchmarks/sweep_speed.py [--points 240] [--network conv6] [--no-wall]

Three figures, each from a sweep of the same space:

- the engine's own share: CPU time of the whole process less that inside evaluations; a busy machine changes it little;
- the speed of two workers over one, by wall clock: needs two idle cores, and says so where the load is higher;
- points a minute of the closed form on one core, by CPU time, for small and large networks.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from accelsim.dse.evaluate import Evaluated, evaluate_batch
from accelsim.dse.points import Job
from accelsim.dse.rows import Fidelity
from accelsim.dse.space import DesignSpace, space_from_mapping
from accelsim.dse.sweep import Places, sweep

ROWS, COLUMNS, RATES, LANES = (8, 16, 32, 64), (8, 16, 32, 64), (800, 1600, 3200), (8, 16, 32, 64)
BUFFERS = (65536, 131072, 196608, 262144, 393216)


@dataclass(slots=True)
class TimedExecutor:
    """Evaluates in this process and adds up the CPU time that this takes."""

    num_workers: int = 1
    inside_s: float = 0.0

    def run(self, batches: Sequence[Sequence[Job]]) -> Iterator[list[Evaluated]]:
        """Evaluate all batches."""
        for batch in batches:
            began = time.process_time()
            results = evaluate_batch(batch)
            self.inside_s += time.process_time() - began
            yield results

    def close(self) -> None:
        """Nothing to let go."""


def space_of(network: str, num_points: int) -> DesignSpace:
    """Return a space of five variables and two storage formats with at least ``num_points`` points."""
    smallest = 2 * len(ROWS) * len(COLUMNS) * len(RATES)
    buffers = min(len(BUFFERS), -(-num_points // smallest))
    lanes = min(len(LANES), -(-num_points // (smallest * buffers)))
    return space_from_mapping({
        "hardware": "edge",
        "workloads": network,
        "storage": ["slt", "dense-int8"],
        "vary": {
            "sparsity": [0.7],
            "pe_array.rows": list(ROWS),
            "pe_array.cols": list(COLUMNS),
            "dram.data_rate_mtps": list(RATES),
            "weight_buffer.capacity_bytes": list(BUFFERS[:buffers]),
            "weight_generator.num_lanes": list(LANES[:lanes]),
        },
    })  # fmt: skip


def accounted(space: DesignSpace, fidelity: Fidelity) -> tuple[int, float, float]:
    """Return points, CPU seconds inside evaluations and CPU seconds outside them, of a sweep in this process."""
    executor = TimedExecutor()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("accelsim.dse.sweep.open_executor", return_value=executor),
    ):
        began = time.process_time()
        result = sweep(space, Places(Path(folder)), fidelity)
        total_s = time.process_time() - began
    return len(result.table), executor.inside_s, total_s - executor.inside_s


def wall_s(space: DesignSpace, fidelity: Fidelity, workers: int) -> float:
    """Return the wall-clock seconds of a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        sweep(space, Places(Path(folder), num_workers=workers), fidelity)
        return time.perf_counter() - began


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=240)
    parser.add_argument("--network", default="conv6")
    parser.add_argument("--closed-form-networks", default="resnet18,resnet50,vit_base")
    parser.add_argument("--no-wall", action="store_true", help="leave out the two sweeps by wall clock")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    accounted(space_of("conv2", 1), "closed_form")  # what is loaded once, about 0.2 s, is no cost of a point
    space = space_of(options.network, options.points)
    number, inside_s, outside_s = accounted(space, "simulation")
    point_s, own_s = inside_s / number, outside_s / number
    print(f"simulation of {options.network}: {number} points, {point_s * 1e3:.1f} ms each")
    print(f"  the engine: {own_s * 1e3:.2f} ms a point, {100 * outside_s / (inside_s + outside_s):.1f} %")
    for assumed_s in (0.1, 0.02):
        print(f"  at {assumed_s} s a point: {100 * own_s / (assumed_s + own_s):.1f} %")

    for network in options.closed_form_networks.split(","):
        number, inside_s, outside_s = accounted(space_of(network, 4 * options.points), "closed_form")
        per_minute = 60 * number / (inside_s + outside_s)
        print(
            f"closed form of {network}: {number} points, {1e3 * inside_s / number:.2f} ms each and "
            f"{1e3 * outside_s / number:.2f} ms of the engine: {per_minute:.0f} a minute and core"
        )

    if options.no_wall:
        return
    load = os.getloadavg()[0]
    note = "" if load < 0.5 else f" (the machine is busy, load {load:.1f}: not to be relied on)"
    for fidelity in ("simulation", "closed_form"):
        one_s, two_s = wall_s(space, fidelity, 1), wall_s(space, fidelity, 2)
        print(f"{fidelity}: 1 worker {one_s:.1f} s, 2 workers {two_s:.1f} s: {one_s / two_s:.2f}x{note}")


if __name__ == "__main__":
    main()
