"""What the mapper's constants rest on: how well its closed form ranks tilings, and what other constants would choose.

First, of the 16 tilings that the closed form likes best in each layer (alone, from cold buffers), solved over estimated
objective: a row for each chip. Then the mapper itself with other constants of `mapping/mapper.py`,
`mapping/ranking.py` and `mapping/tile_table.py`, one changed at a time: tilings and events solved a layer, and by
how much its choice is above the best known tiling (of 40 finalists from a longer table, and of all that these mappers
solve): in the mean, in 99 of 100 layers, and at most. DRAM bytes are the mean of the choice over that of the constants
as they stand.

Every tiling is solved once a layer and remembered, so all mappers together take little longer than the most thorough of
them: 0.15 s of one core for a layer, two minutes in all.

Usage: python benchmarks/closed_form_error.py [--presets edge eyeriss ...] [--networks resnet18 ...] [--layers 14]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.cost.mapping_prices import mapping_prices
from accelsim.cost.tables import load_tables
from accelsim.errors import MappingError
from accelsim.mapping import mapper, ranking, tile_table
from accelsim.mapping.build import MOST_STEPS
from accelsim.mapping.loops import Tiling
from accelsim.mapping.mapper import ALONE, Run
from accelsim.mapping.network import network_tasks, residency_of
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.ranking import LayerForm, Ranked
from accelsim.mapping.task import LayerTask
from accelsim.pipeline import layer_plans
from accelsim.trace import TraceOptions, trace_network

HWCONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs"
PRESETS = ("cloud_hbm", "edge", "eyeriss", "gemmini", "hiddenite", "tpu_v1", "tpu_v3")
NETWORKS = {"resnet18": "slt", "resnet50": "dense-int8", "mobilenet_v2": "slt", "vit_tiny": "dense-int8"}
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)
FIRST = 16
THOROUGH, MOST_ENOUGH = 40, 384  # what the best known tiling of a layer is looked for among
AS_THEY_STAND = "as they stand"


@dataclass(frozen=True, slots=True)
class Variant:
    """The mapper with some constants changed."""

    name: str
    module: ModuleType | None = None
    values: dict[str, float] = field(default_factory=dict)


def _variants() -> list[Variant]:
    """Return the constants as they stand, and each of them changed."""
    found = [Variant(AS_THEY_STAND)]
    changes: tuple[tuple[ModuleType, str, tuple[float, ...]], ...] = (
        (mapper, "MOST_FINALISTS", (1, 4, 8, 16)),
        (mapper, "LEAST_SOLVED", (1, 2, 5)),
        (mapper, "DOUBT", (0.0, 0.25, 1.0)),
        (mapper, "TRUSTED", (7, 8, 99)),
        (mapper, "MOST_LIKE_BEST", (0, 2, 12)),
        (mapper, "AS_GOOD", (1.0, 1.01)),
        (mapper, "LEANER", (1.001, 1.1)),
        (ranking, "ABOUT", (1.0, 1.02)),
        (ranking, "LEANEST", (0, 4)),
        (ranking, "SIMPLEST", (0, 4, 18)),
        (ranking, "STEP_SHARE", (0.0, 2e-5)),
        (ranking, "SIMILAR", (4, 24)),
        (tile_table, "ENOUGH", (24, MOST_ENOUGH)),
    )
    for module, name, values in changes:
        found += [Variant(f"{name} = {value:g}", module, {name: value}) for value in values]
    return found


VARIANTS = _variants()


@dataclass(frozen=True, slots=True)
class Chosen:
    """What one mapper chose for a layer: objective and DRAM bytes, and the tilings and events that it solved."""

    value: float
    dram_bytes: int
    num_solved: int
    num_events: int


@dataclass(frozen=True, slots=True)
class Studied:
    """One layer on one chip: solved over estimated objective of the first tilings, and the choice of each variant."""

    preset: str
    ratios: list[float]
    best: float
    chosen: dict[str, Chosen]


class Solver:
    """Solves each tiling of a layer once; stands in for the mapper's own solving."""

    def __init__(self, task: LayerTask, prices: EnergyPrices) -> None:
        self.task, self.prices = task, prices
        self.found: dict[object, tuple[float, mapper._Found]] = {}
        self.num_solved = self.num_events = 0
        self._solve = mapper._solved
        self._forms: dict[int, LayerForm] = {}

    def form(self, task: LayerTask, prices: EnergyPrices, run: Run) -> LayerForm:
        """Return the closed form of the layer, made once for each length of the list of tilings."""
        enough = tile_table.ENOUGH
        if enough not in self._forms:
            self._forget_tables()
            self._forms[enough] = LayerForm(task, prices)
            self._forget_tables()
        return self._forms[enough]

    @staticmethod
    def _forget_tables() -> None:
        tile_table.tile_table.cache_clear()
        tile_table.skipped_fractions.cache_clear()
        tile_table._part.cache_clear()

    def value(self, tiling: Tiling) -> tuple[float, mapper._Found]:
        """Return the objective of a tiling and its end."""
        if tiling not in self.found:
            solved = self._solve(self.task, tiling, self.prices, ALONE, math.inf)
            if solved is None:
                raise MappingError(f"{self.task.layer.name}: {tiling} has no end")
            self.found[tiling] = solved
        return self.found[tiling]

    def solved(
        self,
        task: LayerTask,
        tiling: Tiling,
        prices: EnergyPrices,
        run: Run,
        best: float,
        estimate: float | None = None,
    ) -> tuple[float, mapper._Found] | None:
        """Answer as the mapper's own does, and count."""
        is_latency = task.hardware.mapping.objective == "latency"
        value, found = self.value(tiling)
        self.num_solved += 1
        self.num_events += found.item.schedule.num_events
        return None if is_latency and found.item.end.end_cycle > best else (value, found)

    def chosen(self, variant: Variant) -> Chosen:
        """Return what the mapper chooses with the constants of a variant."""
        self.num_solved = self.num_events = 0
        with _changed(variant), mock.patch.multiple(mapper, _solved=self.solved, _form=self.form):
            mapped = mapper.map_layer(self.task, self.prices)
        value, _ = self.found[mapped.schedule.tiling]
        return Chosen(value, sum(mapped.schedule.dram_bytes.values()), self.num_solved, self.num_events)


@contextmanager
def _changed(variant: Variant) -> Iterator[None]:
    if variant.module is None:
        yield
        return
    with mock.patch.multiple(variant.module, **variant.values):
        yield


def study(task: LayerTask, prices: EnergyPrices, preset: str) -> Studied:
    """Return how the closed form and all variants do on a layer."""
    solver = Solver(task, prices)
    first = _solvable(solver.form(task, prices, ALONE).ranked(None, FIRST))[:FIRST]
    ratios = [solver.value(finalist.tiling)[0] / finalist.value for finalist in first]
    with mock.patch.object(tile_table, "ENOUGH", MOST_ENOUGH):
        for finalist in _solvable(solver.form(task, prices, ALONE).ranked(None, THOROUGH)):
            solver.value(finalist.tiling)
    chosen = {variant.name: solver.chosen(variant) for variant in VARIANTS}
    return Studied(preset, ratios, min(value for value, _ in solver.found.values()), chosen)


def _solvable(finalists: list[Ranked]) -> list[Ranked]:
    """Return those that are solved as one: the mapper takes others as the closed form says."""
    return [finalist for finalist in finalists if finalist.num_tiles <= MOST_STEPS]


def tasks_of(hardware: HardwareConfig, network: str, storage: str, most: int) -> list[LayerTask]:
    """Return the distinct array layers of a network, at most so many of them, spread over the network."""
    trace = trace_network(network, TraceOptions() if storage.startswith("dense") else TICKET)
    plans = layer_plans(trace, storage)
    tasks = network_tasks(trace, plans, hardware, residency_of(trace, plans, hardware))
    found: dict[object, LayerTask] = {}
    for task in tasks:
        if task.layer.uses_array:
            where = task.dram_input_elements, task.output_to_dram, task.activation_capacity_bytes
            found.setdefault((task.layer.kind, task.layer.dims, *where), task)
    distinct = list(found.values())
    places = np.linspace(0, len(distinct) - 1, min(most, len(distinct))).round().astype(int)
    return [distinct[place] for place in np.unique(places).tolist()]


def ratio_table(studied: Sequence[Studied]) -> Table:
    """Return how far off the closed form is, chip by chip."""
    table = Table(title=f"Solved over estimated objective, the first {FIRST} tilings of each layer")
    for name in ("chip", "layers", "least", "1 %", "5 %", "median", "95 %", "99 %", "most", "spread in a layer"):
        table.add_column(name, justify="left" if name == "chip" else "right")
    for preset in [*dict.fromkeys(one.preset for one in studied), "all"]:
        layers = [one for one in studied if preset in ("all", one.preset)]
        ratios = np.concatenate([one.ratios for one in layers])
        parts = np.percentile(ratios, (0, 1, 5, 50, 95, 99, 100)).tolist()
        spread = float(np.median([max(one.ratios) - min(one.ratios) for one in layers]))
        table.add_row(preset, str(len(layers)), *(f"{part:.3f}" for part in parts), f"{spread:.3f}")
    return table


def variant_table(studied: Sequence[Studied]) -> Table:
    """Return what each variant loses and costs."""
    table = Table(title="The mapper with one constant changed: its choice above the best known tiling")
    for name in (
        "constants",
        "solved a layer",
        "events a layer",
        "mean",
        "99 %",
        "most",
        "> 1 %",
        "> 5 %",
        "DRAM bytes",
    ):
        table.add_column(name, justify="left" if name == "constants" else "right")
    for variant in VARIANTS:
        chosen = [one.chosen[variant.name] for one in studied]
        loss = np.array([one.value / layer.best - 1 for one, layer in zip(chosen, studied, strict=True)])
        usual = [one.chosen[AS_THEY_STAND].dram_bytes for one in studied]
        dram = np.mean([one.dram_bytes / there if there else 1.0 for one, there in zip(chosen, usual, strict=True)])
        table.add_row(
            variant.name, f"{np.mean([one.num_solved for one in chosen]):.1f}",
            f"{np.mean([one.num_events for one in chosen]):,.0f}", f"{loss.mean():.3%}",
            f"{np.percentile(loss, 99):.2%}", f"{loss.max():.1%}", str(int((loss > 0.01).sum())),
            str(int((loss > 0.05).sum())), f"{dram:.4f}",
        )  # fmt: skip
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), metavar="NAME")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--objectives", nargs="+", default=["latency", "edp"], metavar="NAME")
    parser.add_argument("--layers", type=int, default=14, help="most layers of each network (default: 14)")
    arguments = parser.parse_args()
    console = Console(width=140)
    studied: list[Studied] = []
    began = time.process_time()
    for preset in arguments.presets:
        for objective in arguments.objectives:
            changes = (f"mapping.objective={objective}",)
            hardware = load_hardware(str(HWCONFIGS / f"{preset}.yaml"), changes).config
            prices = mapping_prices(hardware, load_tables())
            for network in arguments.networks:
                storage = NETWORKS[network] if hardware.weight_generator is not None else "dense-int8"
                tasks = tasks_of(hardware, network, storage, arguments.layers)
                studied += [study(task, prices, preset) for task in tasks]
    console.print(ratio_table(studied))
    console.print(variant_table(studied))
    console.print(f"{len(studied)} layers, {time.process_time() - began:.0f} s of CPU time")


if __name__ == "__main__":
    main()
