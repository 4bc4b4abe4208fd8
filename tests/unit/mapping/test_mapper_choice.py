"""The mapper's choice against tilings that a person would write down, and its closed form against the simulation."""

import os
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import load_hardware
from accelsim.errors import MappingError
from accelsim.mapping import mapper
from accelsim.mapping.build import build_layer
from accelsim.mapping.kept import Kept
from accelsim.mapping.loops import Loop, Tiling
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.mapping.task import LayerTask
from accelsim.pipeline import layer_plans, schedule_network
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import LayerSchedule
from accelsim.trace import TraceOptions, trace_network
from accelsim.trace.model import LayerTrace, LoopDims, TraceLayer

IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
HWCONFIGS = Path(__file__).resolve().parents[3] / "hwconfigs"
PRICES = EnergyPrices()
TICKET = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)
K_OUTSIDE: tuple[Loop, ...] = ("G", "K", "N", "P", "Q", "C")
P_OUTSIDE: tuple[Loop, ...] = ("G", "N", "P", "Q", "K", "C")
C_OUTSIDE: tuple[Loop, ...] = ("G", "C", "K", "N", "P", "Q")


def chip(name: str) -> HardwareConfig:
    return load_hardware(HWCONFIGS / f"{name}.yaml", ("mapping.objective=latency",)).config


def by_hand(hardware: HardwareConfig, dims: LoopDims) -> list[Tiling]:
    """Return the whole layer, one array of weights at a time, rows of outputs; K, P or C outside."""
    array = hardware.pe_array
    one_k, one_c = (array.unroll.get("K", 1), array.unroll.get("C", 1)) if array.unroll else (array.cols, array.rows)
    k, c = min(dims.K, one_k), min(dims.C, one_c)
    sizes = [(dims.K, dims.C, dims.P), (k, c, dims.P), (k, c, 1), (dims.K, dims.C, 1), (k, dims.C, min(4, dims.P))]
    return [
        Tiling(dims.N, dims.G, *size, dims.Q, order) for size in sizes for order in (K_OUTSIDE, P_OUTSIDE, C_OUTSIDE)
    ]


def simulated(hardware: HardwareConfig, layer: TraceLayer, storage: str, fixed: Tiling | None) -> int:
    alone = replace(layer, inputs=("input",) * len(layer.inputs), residuals=())
    trace = LayerTrace("alone", (alone,), "synthetic")
    tilings = {} if fixed is None else {layer.name: fixed}
    schedule, _ = map_network(trace, layer_plans(trace, storage), storage, hardware, PRICES, tilings)
    return run_schedule(schedule, hardware, engine="solver").layers[0].latency_cycles


@pytest.mark.parametrize("name", ["edge", "hiddenite", "gemmini"])
def test_no_simple_tiling_is_faster(name: str) -> None:
    hardware = chip(name)
    for network_name, storage in (("resnet18", "slt"), ("mobilenet_v2", "dense-int8"), ("vit_tiny", "slt")):
        trace = trace_network(network_name, TICKET if storage == "slt" else TraceOptions())
        distinct = {layer.dims: layer for layer in trace.layers if layer.uses_array}
        for layer in list(distinct.values())[:: 1 if IS_NIGHTLY else max(1, len(distinct) // 3)]:
            chosen = simulated(hardware, layer, storage, None)
            for tiling in by_hand(hardware, layer.dims):
                if tiling.counts(layer.dims)["P"] * tiling.counts(layer.dims)["K"] > 1000:
                    continue
                try:
                    other = simulated(hardware, layer, storage, tiling)
                except MappingError:
                    continue
                assert chosen <= 1.002 * other, (network_name, layer.name, tiling)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", *["resnet50", "vgg16"] * IS_NIGHTLY])
@pytest.mark.parametrize("storage", ["slt", "dense-int8"])
def test_the_closed_form_is_within_five_percent_for_the_median_layer(name: str, storage: str) -> None:
    hardware = chip("edge")
    trace = trace_network(name, TICKET if storage == "slt" else TraceOptions())
    schedule, mapped = schedule_network(hardware, trace, storage)
    layers = run_schedule(schedule, hardware).layers
    errors = [
        abs(item.estimated_cycles / layer.latency_cycles - 1.0)
        for item, layer in zip(mapped, layers, strict=True)
        if item.schedule.tiling is not None
    ]
    assert median(errors) < 0.05


def test_a_tiling_of_equal_layers_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[LayerTask, Tiling]] = []

    def counted(task: LayerTask, tiling: Tiling) -> LayerSchedule:
        built.append((replace(task, layer=replace(task.layer, name="", inputs=())), tiling))
        return build_layer(task, tiling)

    monkeypatch.setattr(mapper, "build_layer", counted)
    trace = trace_network("vit_tiny", replace(TICKET, seed=77))
    schedule, _ = schedule_network(chip("edge"), trace, "slt")
    assert [layer.name for layer in schedule.layers] == [layer.name for layer in trace.layers]
    once = {(str(task.layer.dims), task.dram_input_elements, task.output_to_dram, tiling) for task, tiling in built}
    assert len(built) <= 2 * len(once)  # twelve equal blocks; equal dimensions may have other operations behind them


def test_what_is_kept_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    hardware, trace = chip("edge"), trace_network("resnet18", TICKET)
    first = schedule_network(hardware, trace, "slt")[0]
    slower = hardware.model_copy(update={"clock_mhz": 250.0})
    after_another_chip = (schedule_network(slower, trace, "slt"), schedule_network(hardware, trace, "slt")[0])[1]
    monkeypatch.setattr(mapper, "_kept_tables", Kept(0))
    fresh = schedule_network(hardware, trace, "slt")[0]
    for layer, again, anew in zip(first.layers, after_another_chip.layers, fresh.layers, strict=True):
        assert layer.tiling == again.tiling == anew.tiling
        assert layer.dram_bytes == again.dram_bytes == anew.dram_bytes


def test_the_objective_decides() -> None:
    base, trace = chip("edge"), trace_network("conv6", TICKET)
    small = base.model_copy(
        update={"activation_buffer": base.activation_buffer.model_copy(update={"capacity_bytes": 40000})}
    )
    figures = {}
    for objective in ("latency", "dram_bytes", "energy"):
        hardware = small.model_copy(update={"mapping": small.mapping.model_copy(update={"objective": objective})})
        schedule, _ = schedule_network(hardware, trace, "slt")
        layers = run_schedule(schedule, hardware).layers
        figures[objective] = (
            sum(layer.latency_cycles for layer in layers), sum(sum(layer.dram_bytes.values()) for layer in layers),
        )  # fmt: skip
    assert figures["latency"][0] <= min(cycles for cycles, _ in figures.values())
    assert figures["dram_bytes"][1] <= min(num_bytes for _, num_bytes in figures.values())
    assert figures["latency"] != figures["dram_bytes"]
