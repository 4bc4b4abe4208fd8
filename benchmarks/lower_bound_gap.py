"""How far the mapper's choice is from what no tiling can beat: each layer alone, from cold buffers.

For each chip, network and storage format: the array layers, the median and the largest gap of the chosen tiling's
cycles to the layer's lower bound, the gap of all cycles together, how many layers are more than 10 % above their bound,
and of what these lose there. A loss is told by the unit that bounds the layer: it has more ``work`` than the bound (the
memory reads an operand again, the array rounds its folds up in every tile); the array waits, by cause (``wait_dram``,
...); another unit begins only ``after`` others, ends ``before`` others do, or waits ``between``. The layer with the
largest gap follows with its own figures.

Layers count as often as the network has them. The objective is latency on every chip, whatever its file says: a chip
that saves energy does not try to come near the bound. Figures of `docs/mapping.md` are from a run without arguments,
which takes two minutes.

Usage: python benchmarks/lower_bound_gap.py [--presets edge eyeriss ...] [--networks resnet50 ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.mapping.bound import lower_bound
from accelsim.mapping.mapper import map_layer
from accelsim.mapping.network import network_tasks, residency_of
from accelsim.mapping.task import LayerTask
from accelsim.pipeline import layer_plans
from accelsim.timing.accounts import account
from accelsim.timing.moment import Moment
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import layer_table, solve_layer
from accelsim.trace import TraceOptions, trace_network

HWCONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs"
NETWORKS = ("resnet50", "mobilenet_v2", "vit_small")
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)
NOTABLE = 0.1


@dataclass(frozen=True, slots=True)
class LayerGap:
    """One layer of the network, alone: cycles, their lower bound and its limit, and where the rest goes, in cycles."""

    name: str
    times: int
    cycles: int
    bound: int
    bound_by: str
    losses: dict[str, int]

    @property
    def gap(self) -> float:
        """Return by which fraction of the bound the layer takes longer."""
        return self.cycles / self.bound - 1 if self.bound else 0.0

    @property
    def main_loss(self) -> str:
        """Return what most of the gap is."""
        return max(self.losses, key=lambda name: self.losses[name])


def tasks_of(hardware: HardwareConfig, network: str, storage: str) -> list[LayerTask]:
    """Return the layers of a network, as they find their operands in it."""
    trace = trace_network(network, TraceOptions() if storage.startswith("dense") else TICKET)
    plans = layer_plans(trace, storage)
    return network_tasks(trace, plans, hardware, residency_of(trace, plans, hardware))


def distinct(tasks: Sequence[LayerTask]) -> list[tuple[LayerTask, int]]:
    """Return layers that differ in more than their name, and how often each is there."""
    found: dict[object, list[LayerTask]] = {}
    for task in tasks:
        layer, plan = task.layer, task.plan
        stored = (plan.stored_bits, plan.num_nonzero) if plan is not None else None
        key = (
            layer.kind, layer.dims, layer.vector_ops, stored, task.dram_input_elements, task.output_to_dram,
            task.residual_dram_elements, task.activation_capacity_bytes, task.second_from_dram,
        )  # fmt: skip
        found.setdefault(key, []).append(task)
    return [(alike[0], len(alike)) for alike in found.values()]


def losses(schedule: LayerSchedule, hardware: HardwareConfig, unit: str, bound: int) -> dict[str, int]:
    """Return what a layer's gap is made of: that of the array by cause, else from the times of the unit that bounds."""
    table = layer_table(schedule, hardware, Moment())
    one = account(schedule, table.flat.source, solve_layer(table, hardware, Moment()), hardware)
    if unit not in one.spans or unit == "pe_array":
        waits = {cause: cycles for cause, cycles in one.causes.items() if cause.startswith("wait_")}
        return {"work": one.end_cycle - sum(waits.values()) - bound} | waits
    begin, end = one.spans[unit]
    begin, end = begin[end > begin], end[end > begin]
    busy, first, last = int((end - begin).sum()), int(begin.min(initial=0)), int(end.max(initial=0))
    return {"work": busy - bound, "after": first, "before": one.end_cycle - last, "between": last - first - busy}


def layer_gaps(hardware: HardwareConfig, network: str, storage: str) -> list[LayerGap]:
    """Return the gap of each distinct array layer."""
    prices = mapping_prices(hardware, load_tables())
    found = []
    tasks = [task for task in tasks_of(hardware, network, storage) if task.layer.uses_array]
    for task, times in distinct(tasks):
        mapped = map_layer(task, prices)
        bound, cycles = lower_bound(task), mapped.end.end_cycle
        parts = losses(mapped.schedule, hardware, bound.limit, bound.cycles)
        found.append(LayerGap(task.layer.name, times, cycles, bound.cycles, bound.limit, parts))
    return found


def row(preset: str, network: str, storage: str, gaps: Sequence[LayerGap], cpu_s: float) -> list[str]:
    """Return the row of a chip, network and format."""
    every = [one.gap for one in gaps for _ in range(one.times)]
    worst = max(gaps, key=lambda one: one.gap)
    cycles, bounds = (sum(one.times * value for one, value in values) for values in (
        [(one, one.cycles) for one in gaps], [(one, one.bound) for one in gaps],
    ))  # fmt: skip
    reasons: Counter[str] = Counter()
    for one in gaps:
        if one.gap > NOTABLE:
            reasons[f"{one.bound_by}: {one.main_loss}"] += one.times
    return [
        preset, storage, network, str(len(every)), f"{median(every):.1%}", f"{worst.gap:.0%}",
        f"{cycles / bounds - 1:.1%}", str(sum(reasons.values())),
        ", ".join(f"{name} {number}" for name, number in reasons.most_common(4)),
        f"{worst.name}: {worst.cycles:,} for {worst.bound:,} ({worst.bound_by})", f"{cpu_s:.0f}",
    ]  # fmt: skip


def formats(hardware: HardwareConfig) -> Iterator[str]:
    """Return the storage formats that a chip is tried with."""
    yield "dense-int8"
    if hardware.weight_generator is not None:
        yield "slt"


def main() -> None:
    """Print one row for each chip, format and network."""
    presets = sorted(path.stem for path in HWCONFIGS.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=presets, default=presets, metavar="NAME")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print every layer, a line for each row of the table")
    arguments = parser.parse_args()
    table = Table(title="Layers alone, from cold buffers, above their lower bound")
    for name in (
        "chip", "format", "network", "layers", "median", "largest", "all cycles", "above 10 %", "of these, by what",
        "largest gap in", "CPU s",
    ):  # fmt: skip
        table.add_column(name)
    for preset in arguments.presets:
        hardware = load_hardware(str(HWCONFIGS / f"{preset}.yaml"), ("mapping.objective=latency",)).config
        for storage in formats(hardware):
            for network in arguments.networks:
                began = time.process_time()
                gaps = layer_gaps(hardware, network, storage)
                cells = row(preset, network, storage, gaps, time.process_time() - began)
                table.add_row(*cells)
                if arguments.json:
                    layers = [asdict(one) for one in gaps]
                    print(json.dumps({"chip": preset, "format": storage, "network": network, "layers": layers}))
    if not arguments.json:
        Console(width=200).print(table)


if __name__ == "__main__":
    main()
