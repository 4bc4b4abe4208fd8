"""The mapper's choice against mappings that a person would state, layer by layer, each alone and from cold buffers.

Layers are random (one seed, one list: filters of 1x1 to 5x5, maps of 7 to 512, not square, 3 to 512 channels, some
strided, some depthwise), and those on which an earlier mapper was beaten. Weights are dense int8, and on a chip with a
weight generator also a synthetic ticket in `slt`. Stated are K and C of {all, half, one pass of the array}, P of {all,
four rows, the array's unrolling} and Q of {all, eight}, in the orders P Q K C and K P Q C, as far as they fit; of a
depthwise layer groups take the place of K and C. Both sides are simulated, and priced as a run is.

`worse` is choice / best stated mapping - 1, below 0 where the choice is better than all of them; `mean loss` counts
those as 0. `refused` are layers for which the mapper finds nothing although a stated mapping fits. The last column is
the CPU time of the mapper. Twenty layers with all objectives take ten minutes, two hundred an hour and a half.

Usage: python benchmarks/versus_stated_mappings.py [--presets edge eyeriss ...] [--layers 20] [--seed 0]
       [--objectives latency energy edp dram_bytes] [--skip-random] [--skip-known]
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import AccelSimError
from accelsim.mapping.fixed import MappingFile, TilingConfig, fixed_tilings
from accelsim.mapping.loops import LOOPS, Loop, Tiling
from accelsim.pipeline import schedule_network
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace import TraceOptions, trace_network
from accelsim.trace.model import LayerKind, LayerTrace, LoopDims, TraceLayer
from accelsim.trace.options import stated_weights

HWCONFIGS = Path(__file__).resolve().parents[1] / "hwconfigs"
OBJECTIVES = ("latency", "energy", "edp", "dram_bytes")
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)
DENSE = TraceOptions()
WORST_SHOWN = 5
Stated = dict[str, int | list[Loop]]
Figures = dict[str, float]  # by objective

ORDERS: tuple[list[Loop], ...] = (["P", "Q", "K", "C"], ["K", "P", "Q", "C"])
GROUP_ORDERS: tuple[list[Loop], ...] = (["P", "Q", "G"], ["G", "P", "Q"])

KNOWN_NETWORKS = ("resnet18", "vit_tiny", "mobilenet_v2")
KNOWN_CHIP = "eyeriss"
KNOWN_LAYER_CHIP = "eyeriss_dense"
KNOWN_DIMS = LoopDims(K=64, C=64, P=512, Q=512, R=3, S=3, H=512, W=512, padding=(1, 1))
KNOWN_STATED: Stated = {"K": 16, "C": 16, "P": 14, "Q": 8, "order": ["P", "Q", "K", "C"]}
"""3x3, 64 to 64 channels on 512 x 512: a mapper chose 819 M cycles where these tiles take 74 M."""


def schedule_alone(hardware: HardwareConfig, layer: TraceLayer, storage: str, stated: Stated | None) -> Schedule:
    """Return the schedule of a layer from cold buffers: as stated, or as the mapper chooses."""
    alone = replace(layer, inputs=("input",) * len(layer.inputs), residuals=())
    trace = LayerTrace("alone", (alone,), "synthetic")
    fixed = None
    if stated is not None:
        mapping = MappingFile(layers={layer.name: TilingConfig.model_validate(stated)})
        fixed = fixed_tilings(mapping, trace, "stated")
    return schedule_network(hardware, trace, storage, fixed)[0]


def figures_of(schedule: Schedule, hardware: HardwareConfig, needs_energy: bool) -> Figures:
    """Simulate a schedule of one layer, and price it where that is asked for."""
    counters = run_schedule(schedule, hardware, engine="solver")
    cycles = counters.layers[0].latency_cycles
    found = {"latency": float(cycles), "dram_bytes": float(sum(counters.layers[0].dram_bytes.values()))}
    if needs_energy:
        energy = math.fsum(evaluate(counters, hardware, load_tables()).energy_j_by_unit.values())
        found |= {"energy": energy, "edp": energy * cycles}
    return found


def random_layers(num: int, seed: int, options: TraceOptions) -> list[TraceLayer]:
    """Return the same list of layers for the same seed, with weights of the stated statistics."""
    return [_random_layer(random.Random(f"{seed} {index}"), f"random{index}", options) for index in range(num)]


def _random_layer(draw: random.Random, name: str, options: TraceOptions) -> TraceLayer:
    def between(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    depthwise = draw.random() < 0.15
    kernel = draw.choice([(1, 1)] * 3 + [(3, 3)] * 4 + [(5, 5), (2, 2), (1, 3), (3, 1), (4, 4), (1, 5)])
    if depthwise:
        kernel = draw.choice([(3, 3), (3, 3), (5, 5)])
    stride = draw.choice([1, 1, 1, 2])
    height, width = between(7, 512), between(7, 512)
    channels, filters = between(3, 512), between(3, 512)
    padding = (kernel[0] // 2, kernel[1] // 2)
    dims = LoopDims(
        G=channels if depthwise else 1, K=1 if depthwise else filters, C=1 if depthwise else channels,
        P=(height + 2 * padding[0] - kernel[0]) // stride + 1, Q=(width + 2 * padding[1] - kernel[1]) // stride + 1,
        R=kernel[0], S=kernel[1], H=height, W=width, stride=(stride, stride), padding=padding,
    )  # fmt: skip
    return layer_of(name, dims, options)


def layer_of(name: str, dims: LoopDims, options: TraceOptions) -> TraceLayer:
    """Return a convolution with one vector operation for each output."""
    shape = (dims.G * dims.K, dims.C, dims.R, dims.S)
    kind: LayerKind = "depthwise_conv2d" if dims.G > 1 and dims.C == 1 else "conv2d"
    return TraceLayer(
        name, kind, dims, ("input",), vector_ops=dims.num_outputs, num_outputs=dims.num_outputs,
        weights=stated_weights([shape], options)[0],
    )  # fmt: skip


def stated_mappings(hardware: HardwareConfig, dims: LoopDims) -> list[Stated]:
    """Return the stated mappings of a layer, each once."""
    array = hardware.pe_array
    spatial = array.dataflow == "spatial"
    one_k, one_c = (array.unroll.get("K", 1), array.unroll.get("C", 1)) if spatial else (array.cols, array.rows)
    one_p = array.unroll.get("P", 1) if spatial else 1

    def sizes(loop: str, one: int) -> list[int]:
        extent = getattr(dims, loop)
        return list(dict.fromkeys(min(extent, size) for size in (extent, max(1, extent // 2), one)))

    rows = list(dict.fromkeys(min(dims.P, size) for size in (dims.P, 4, one_p)))
    columns = list(dict.fromkeys(min(dims.Q, size) for size in (dims.Q, 8)))
    found: list[Stated] = []
    if dims.G > 1:
        for g, p, q in product(sizes("G", one_k), rows, columns):
            found += [{"G": g, "P": p, "Q": q, "order": order} for order in GROUP_ORDERS]
        return found
    for k, c, p, q in product(sizes("K", one_k), sizes("C", one_c), rows, columns):
        found += [{"K": k, "C": c, "P": p, "Q": q, "order": order} for order in ORDERS]
    return found


@dataclass
class Comparison:
    """One layer on one chip: the choice and the best stated mapping, by objective."""

    layer: TraceLayer
    chosen: dict[str, tuple[float, str]] = field(default_factory=dict)
    stated: dict[str, tuple[float, str]] = field(default_factory=dict)
    num_fitting: int = 0
    mapper_s: dict[str, float] = field(default_factory=dict)
    refusal: str = ""

    def worse(self, objective: str) -> float | None:
        """Return how much worse the choice is; None where no stated mapping fits, infinite where there is no choice."""
        if objective not in self.stated:
            return None
        if objective not in self.chosen:
            return math.inf
        return self.chosen[objective][0] / self.stated[objective][0] - 1


def compare(
    hardware: HardwareConfig, layer: TraceLayer, storage: str, objectives: Sequence[str], extra: Sequence[Stated] = ()
) -> Comparison:
    """Simulate the choice of each objective, and all stated mappings once."""
    result = Comparison(layer)
    needs_energy = bool({"energy", "edp"} & set(objectives))
    for objective in objectives:
        mapping = hardware.mapping.model_copy(update={"objective": objective})
        chip = hardware.model_copy(update={"mapping": mapping})
        began = time.process_time()
        try:
            schedule = schedule_alone(chip, layer, storage, None)
        except AccelSimError as error:
            result.refusal = str(error)
            continue
        finally:
            result.mapper_s[objective] = time.process_time() - began
        found = figures_of(schedule, chip, needs_energy)[objective]
        result.chosen[objective] = found, _text(schedule.layers[0].tiling, layer.dims)
    for stated in [*stated_mappings(hardware, layer.dims), *extra]:
        try:
            schedule = schedule_alone(hardware, layer, storage, stated)
        except AccelSimError:
            continue  # it does not fit
        result.num_fitting += 1
        found_by = figures_of(schedule, hardware, needs_energy)
        for objective in objectives:
            if objective not in result.stated or found_by[objective] < result.stated[objective][0]:
                result.stated[objective] = found_by[objective], _text(schedule.layers[0].tiling, layer.dims)
    return result


def _text(tiling: Tiling | None, dims: LoopDims) -> str:
    """Return the loops that a tiling splits, outermost first, with their sizes."""
    assert tiling is not None
    split = [loop for loop in tiling.order if loop in LOOPS and tiling.size(loop) < getattr(dims, loop)]
    return " ".join(f"{loop}{tiling.size(loop)}" for loop in split) or "whole"


def _dims_text(dims: LoopDims) -> str:
    channels = f"depthwise {dims.G}" if dims.G > 1 and dims.C == 1 else f"{dims.C}->{dims.K}"
    groups = f" x{dims.G}" if dims.G > 1 and dims.C > 1 else ""
    return f"{channels}{groups} {dims.R}x{dims.S}/{dims.stride[0]} on {dims.H}x{dims.W}"


class Page:
    """What is printed: a row for each chip, format and objective, and the worst layers below."""

    def __init__(self) -> None:
        self.console = Console(width=180)

    def show(self, title: str, comparisons: Sequence[Comparison], objectives: Sequence[str]) -> None:
        """Print the figures of one chip and format."""
        table = Table(title=title, title_justify="left")
        for name in (
            "objective",
            "layers",
            "mean worse",
            "mean loss",
            "most",
            "> 2 %",
            "> 5 %",
            "refused",
            "s a layer",
        ):
            table.add_column(name, justify="left" if name == "objective" else "right")
        for objective in objectives:
            self._row(table, comparisons, objective)
        self.console.print(table)
        for objective in objectives:
            for one in self._worst(comparisons, objective):
                self._layer(one, objective)

    def _row(self, table: Table, comparisons: Sequence[Comparison], objective: str) -> None:
        worse = [value for one in comparisons if (value := one.worse(objective)) is not None]
        finite = [value for value in worse if math.isfinite(value)]
        if not finite:
            return
        behind = [max(0.0, value) for value in finite]
        clearly, badly = (sum(value > least for value in finite) for least in (0.02, 0.05))
        seconds = [one.mapper_s[objective] for one in comparisons]
        table.add_row(
            objective, str(len(worse)), f"{sum(finite) / len(finite):+.2%}", f"{sum(behind) / len(behind):.2%}",
            f"{max(finite):+.1%}", str(clearly), str(badly),
            str(len(worse) - len(finite)), f"{sum(seconds) / len(seconds):.2f} (most {max(seconds):.2f})",
        )  # fmt: skip

    @staticmethod
    def _worst(comparisons: Sequence[Comparison], objective: str) -> list[Comparison]:
        behind = [one for one in comparisons if (one.worse(objective) or 0.0) > 0.02]
        return sorted(behind, key=lambda one: -(one.worse(objective) or 0.0))[:WORST_SHOWN]

    def _layer(self, one: Comparison, objective: str) -> None:
        best, stated = one.stated[objective]
        text = f"  {objective:10} {one.layer.name:12} {_dims_text(one.layer.dims):38} "
        if objective in one.chosen:
            value, choice = one.chosen[objective]
            text += f"{value:.4g} [{choice}] against {best:.4g} [{stated}]: {value / best - 1:+.1%}"
        else:
            text += f"refused, but [{stated}] fits: {one.refusal}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def formats(hardware: HardwareConfig) -> Iterator[tuple[str, TraceOptions]]:
    """Return the storage formats that a chip is tried with, and what weights they hold."""
    yield "dense-int8", DENSE
    if hardware.weight_generator is not None:
        yield "slt", TICKET


def run_known(page: Page, objectives: Sequence[str]) -> None:
    """Show the layers on which a mapper was beaten."""
    hardware = load_hardware(str(HWCONFIGS / f"{KNOWN_LAYER_CHIP}.yaml")).config
    layer = layer_of("known", KNOWN_DIMS, DENSE)
    compared = compare(hardware, layer, "dense-int8", objectives, [KNOWN_STATED])
    page.show(f"{KNOWN_LAYER_CHIP}, dense-int8, 3x3 of 64 to 64 channels on 512 x 512", [compared], objectives)
    hardware = load_hardware(str(HWCONFIGS / f"{KNOWN_CHIP}.yaml")).config
    for storage, options in formats(hardware):
        layers = [layer for name in KNOWN_NETWORKS for layer in trace_network(name, options).layers if layer.uses_array]
        distinct = {(layer.kind, layer.dims): layer for layer in layers}.values()
        found = [compare(hardware, layer, storage, objectives) for layer in distinct]
        page.show(f"{KNOWN_CHIP}, {storage}, distinct layers of {', '.join(KNOWN_NETWORKS)}", found, objectives)


def main() -> None:
    """Print one table for each chip and format."""
    presets = sorted(path.stem for path in HWCONFIGS.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=presets, default=presets, metavar="NAME")
    parser.add_argument("--layers", type=int, default=20, help="random layers (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=["latency"])
    parser.add_argument("--skip-random", action="store_true")
    parser.add_argument("--skip-known", action="store_true")
    arguments = parser.parse_args()
    page = Page()
    if not arguments.skip_known:
        run_known(page, arguments.objectives)
    for preset in [] if arguments.skip_random else arguments.presets:
        hardware = load_hardware(str(HWCONFIGS / f"{preset}.yaml")).config
        for storage, options in formats(hardware):
            layers = random_layers(arguments.layers, arguments.seed, options)
            found = [compare(hardware, layer, storage, arguments.objectives) for layer in layers]
            page.show(f"{preset}, {storage}, {arguments.layers} random layers", found, arguments.objectives)


if __name__ == "__main__":
    main()
