"""Wall time and memory of a run per network and chip: mapping, simulation, processes against the default.

Times are in process and without imports, those of a whole run the best of two; CPU seconds tell how busy the machine
was with other things; memory is the peak of a process that does this run alone, and what it was before the run. Tiles
are the steps of the array. Nothing here fails on time.

Usage: python benchmarks/networks.py [--network NAME ...] [--hardware FILE ...] [--set PATH=VALUE ...]
       [--input-size SIZE] [--without-exact]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from accelsim.config.loader import load_hardware
from accelsim.pipeline import run, schedule_network
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.ticket.zoo import list_networks
from accelsim.trace import TraceOptions, trace_network

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("resnet18-cifar", "resnet18-imagenet", "resnet50", "vgg16", "mobilenet_v2", "vit_small")
CHIPS = ("edge", "edge_dense", "systolic_32x32_ws", "hiddenite")
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.35, lock_ratio=0.15)
"""A synthetic ticket with half of the weights frozen."""
EXACT_LIMIT = 30_000
"""Steps above which the exact run is left out."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network on a chip."""

    network: str
    hardware: str
    input_size: int | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process found; times in seconds, memory in MiB.

    ``exact_s`` is None where the exact run was left out; ``deviation``: how far off the latency of the default run is,
    as a fraction, or None if all counters are the same.
    """

    num_tiles: int
    latency_cycles: int
    map_s: float
    run_s: float
    exact_s: float | None
    deviation: float | None
    whole_s: float
    whole_cpu_s: float
    base_mib: float
    peak_mib: float


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)  # bytes there, KiB elsewhere


def _latency(counters: Counters) -> int:
    return sum(layer.latency_cycles for layer in counters.layers)


def measure(case: Case, with_exact: bool) -> Measured:
    """Measure one case in this process."""
    hardware = load_hardware(case.hardware, case.overrides)
    ticket = hardware.config.weight_generator is not None
    options = TICKET if ticket else TraceOptions()
    storage = "slt" if ticket else "dense-int8"
    shape = None if case.input_size is None else (3, case.input_size, case.input_size)
    trace = trace_network(case.network, replace(options, input_shape=shape))
    base = _peak_mib()
    whole, whole_cpu = [], []
    for _ in range(2):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        run(hardware, trace, storage)
        whole.append(time.perf_counter() - begin)
        whole_cpu.append(time.process_time() - begin_cpu)
    begin = time.perf_counter()
    schedule, _ = schedule_network(hardware.config, trace, storage)
    map_s = time.perf_counter() - begin
    begin = time.perf_counter()
    counters = run_schedule(schedule, hardware.config)
    run_s = time.perf_counter() - begin
    peak = _peak_mib()
    tiles = sum(layer.num_steps for layer in schedule.layers)
    exact_s, deviation = None, None
    if with_exact and tiles <= EXACT_LIMIT:
        begin = time.perf_counter()
        exact = run_schedule(schedule, hardware.config, exact=True)
        exact_s = time.perf_counter() - begin
        deviation = None if exact == counters else _latency(counters) / _latency(exact) - 1
    latency = _latency(counters)
    return Measured(
        tiles, latency, map_s, run_s, exact_s, deviation, min(whole), min(whole_cpu), base, peak
    )  # fmt: skip


def measure_apart(case: Case, with_exact: bool) -> Measured | str:
    """Measure one case in a process of its own (for its peak memory); return the error's text if it fails."""
    request = json.dumps({"case": asdict(case), "with_exact": with_exact})
    done = subprocess.run([sys.executable, __file__, "--measure", request], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _row(case: Case, found: Measured | str) -> list[str]:
    name = case.network if case.input_size is None else f"{case.network} at {case.input_size}"
    chip = " ".join([Path(case.hardware).stem, *case.overrides])
    if isinstance(found, str):
        return [name, chip, "failed"]
    exact = "-" if found.exact_s is None else f"{found.exact_s:.3f}"
    if found.deviation is not None:
        exact += f" ({found.deviation:+.2%})"
    rate = found.num_tiles / found.run_s
    return [
        name, chip, f"{found.num_tiles:,}", f"{found.latency_cycles:,}", f"{found.map_s:.3f}",
        f"{found.run_s:.3f}", exact, f"{rate:,.0f}", f"{found.whole_s:.3f}",
        f"{found.whole_cpu_s:.3f}", f"{found.base_mib:.0f}", f"{found.peak_mib:.0f}",
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Wall time and memory per network and chip.")
    parser.add_argument("--network", action="append", choices=[info.name for info in list_networks()], metavar="NAME")
    parser.add_argument("--hardware", action="append", type=Path, metavar="FILE")
    parser.add_argument("--input-size", type=int, help="height and width of the input, of all networks chosen")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="as in accelsim run")
    parser.add_argument("--without-exact", action="store_true", help="leave out the runs that simulate every tile")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """Return what was asked for; else each network on one chip, and ResNet-50 on each chip, with timed DRAM, larger."""
    chips = arguments.hardware or [ROOT / "hwconfigs" / f"{name}.yaml" for name in CHIPS]
    overrides = tuple(arguments.set)
    if arguments.network or arguments.hardware or arguments.input_size or overrides:
        names = arguments.network or NETWORKS
        return [Case(name, str(chip), arguments.input_size, overrides) for name in names for chip in chips]
    cases = [Case(name, str(chips[0])) for name in NETWORKS]
    cases += [Case("resnet50", str(chip)) for chip in chips[1:]]
    cases.append(Case("resnet50", str(chips[0]), overrides=("dram.model=timing",)))
    return [*cases, Case("resnet50", str(chips[0]), 448)]


def main() -> None:
    """Print a table with a row per case."""
    arguments = _arguments()
    if arguments.measure:
        request = json.loads(arguments.measure)
        print(json.dumps(asdict(measure(Case(**request["case"]), request["with_exact"]))))
        return
    table = Table(
        "network", "chip", "tiles", "cycles", "map s", "simulate s", "exact s", "tiles/s", "run s",
        "run CPU s", "MiB before", "MiB peak",
        title="run = mapping, simulation, cost; exact = simulation of every tile",
    )  # fmt: skip
    failures = []
    for case in _cases(arguments):
        found = measure_apart(case, not arguments.without_exact)
        table.add_row(*_row(case, found))
        failures += [found] if isinstance(found, str) else []
    console = Console(width=160)
    console.print(table)
    console.print("\n".join(failures), markup=False, highlight=False)


if __name__ == "__main__":
    main()
