"""Fused chains, drawn: processes and solver agree, and all of the work of every layer is done, once or more."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from random_cores import seen, several_cores

from accelsim.config.hardware import HardwareConfig
from accelsim.cores.divider import Divider
from accelsim.cores.layers import divide
from accelsim.cores.program import Program
from accelsim.cores.run import counters_of
from accelsim.errors import MappingError
from accelsim.mapping.fusion import FusedGroup, why_apart
from accelsim.mapping.network import map_network
from accelsim.mapping.prices import EnergyPrices
from accelsim.pipeline import layer_plans, network_on_cores
from accelsim.sim.cores import run_system
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, LoopDims, TraceLayer

SEEDS = range(3000, 3024)
Cases = Callable[[int], Any]


@dataclass(frozen=True)
class Fused:
    hardware: HardwareConfig
    trace: LayerTrace
    group: FusedGroup
    fused: Schedule


@pytest.fixture(scope="module")
def cases(random_case: Cases, random_weights: Callable[..., Any]) -> list[Fused]:
    """Return a chip of `random_case` with a fused chain of its own for each seed; it has room for the maps."""
    return [_fused(seed, random_case(seed), random_weights) for seed in SEEDS]


def _fused(seed: int, case: Any, weights: Callable[..., Any]) -> Fused:
    for attempt in range(200):
        draw = random.Random(f"fused {seed} {attempt}")
        buffers = {
            name: getattr(case.hardware, name).model_copy(update={"capacity_bytes": 1 << draw.randint(*bits)})
            for name, bits in (("activation_buffer", (14, 17)), ("weight_buffer", (10, 14)))
        }
        if case.hardware.sums_in_activation_buffer:
            buffers = {}
        hardware = case.hardware.model_copy(update={"memory": "dram", **buffers})
        attends = draw.random() < 0.25
        layers = _attention(draw) if attends else _chain(draw)
        layers = tuple(
            layer
            if layer.kind in ("matmul", "pool", "vector")
            else replace(layer, weights=weights(draw, layer.dims, hardware.weight_generator.kind))
            for layer in layers
        )
        trace = LayerTrace("random", layers, "synthetic", batch=1)
        first = draw.randint(0, 1) if len(layers) > 2 else 0
        if why_apart(trace, first, len(layers)) is not None:
            continue
        heads = layers[0].dims.G if attends else 1
        group = FusedGroup(
            first, len(layers), draw.randint(1, layers[-1].dims.P), draw.choice(["kept", "recomputed"]),
            "heads" if heads > 1 else "none", heads, attends and draw.random() < 0.5,
        )  # fmt: skip
        try:
            plans = layer_plans(trace, case.storage)
            schedule, _ = map_network(trace, plans, case.storage, hardware, EnergyPrices(), None, (group,))
        except MappingError:
            continue  # it does not fit, or the format cannot hold it
        return Fused(hardware, trace, group, schedule)
    raise AssertionError(f"no case {seed}")


def _chain(draw: random.Random) -> tuple[TraceLayer, ...]:
    rows, columns, channels = draw.randint(6, 16), draw.randint(3, 9), draw.randint(1, 12)
    layers: list[TraceLayer] = []
    for number in range(draw.randint(2, 4)):
        kind = draw.choice(["conv2d", "conv2d", "conv2d", "depthwise_conv2d", "pool", "vector"])
        kernel, stride = (1, 1) if kind == "vector" else (draw.choice([1, 3, 3]), draw.choice([1, 1, 1, 2]))
        if min(rows, columns) < kernel:
            kernel = 1
        pad, made = kernel // 2, draw.randint(1, 12) if kind == "conv2d" else channels
        dims = LoopDims(
            G=1 if kind == "conv2d" else channels, K=made if kind == "conv2d" else 1,
            C=channels if kind == "conv2d" else 1, P=(rows + 2 * pad - kernel) // stride + 1,
            Q=(columns + 2 * pad - kernel) // stride + 1, R=kernel, S=kernel, H=rows, W=columns,
            stride=(stride, stride), padding=(pad, pad),
        )  # fmt: skip
        alike = [
            name
            for name, shape in [("input", (channels, rows, columns))] + [(each.name, _shape(each)) for each in layers]
            if layers and shape == (made, dims.P, dims.Q)
        ]
        residuals = (draw.choice(alike),) if alike and draw.random() < 0.6 else ()
        source = layers[-1].name if layers else "input"
        operations = dims.num_outputs * draw.randint(0, 2)
        layers.append(
            TraceLayer(
                f"layer{number}",
                kind,
                dims,
                (source,),
                residuals,
                vector_ops=operations,
                num_outputs=dims.num_outputs,  # type: ignore[arg-type]
            )
        )
        rows, columns, channels = dims.P, dims.Q, made
    return tuple(layers)


def _shape(layer: TraceLayer) -> tuple[int, int, int]:
    return layer.dims.G * layer.dims.K, layer.dims.P, layer.dims.Q


def _attention(draw: random.Random) -> tuple[TraceLayer, ...]:
    heads, keys, length, rows = draw.randint(1, 4), draw.randint(2, 20), draw.randint(1, 12), draw.randint(2, 20)
    scores = LoopDims(G=heads, K=keys, C=length, P=rows, H=rows)
    values = LoopDims(G=heads, K=length, C=keys, P=rows, H=rows)
    return (
        TraceLayer("scores", "matmul", scores, ("input", "keys"), (), ("softmax",), 3 * scores.num_outputs,
                   scores.num_outputs, second_input_elements=scores.num_weights, second_inputs=("keys",)),
        TraceLayer("context", "matmul", values, ("scores", "values"), (), (), 0, values.num_outputs,
                   second_input_elements=values.num_weights, second_inputs=("values",)),
    )  # fmt: skip


def test_the_solver_gives_the_integers_of_the_processes(cases: list[Fused]) -> None:
    for seed, case in zip(SEEDS, cases, strict=True):
        exact = run_schedule(case.fused, case.hardware, exact=True)
        for engine in ("python", "compiled") if seed % 8 == 0 else ("python",):
            assert run_schedule(case.fused, case.hardware, engine=engine) == exact, seed  # type: ignore[arg-type]


def test_all_work_is_done_and_everything_adds_up(cases: list[Fused]) -> None:
    for seed, case in zip(SEEDS, cases, strict=True):
        counters = run_schedule(case.fused, case.hardware, engine="solver")
        assert len(counters.layers) == len(case.trace.layers)
        for layer, traced in zip(counters.layers, case.trace.layers, strict=True):
            assert layer.name == traced.name
            assert layer.macs == (traced.dims.macs if traced.uses_array else 0), seed
            assert sum(layer.cycles_by_cause.values()) == layer.latency_cycles, seed
            assert sum(layer.dram_bytes.values()) == layer.dram_read_bytes + layer.dram_write_bytes, seed
            ops = layer.actions["vector_unit"]["ops"]
            once = max(traced.vector_ops, traced.dims.num_outputs)
            made = case.fused.fused[0]
            share = dict(zip(made.layers, made.rows_made, strict=True)).get(layer.name, 1.0)
            assert share >= 1, seed
            assert ops == once if share == 1 else ops >= once, seed
        assert case.group.halo == "recomputed" or set(case.fused.fused[0].rows_made) == {1.0}, seed


def test_maps_between_layers_move_no_byte(cases: list[Fused]) -> None:
    for seed, case in zip(SEEDS, cases, strict=True):
        counters = run_schedule(case.fused, case.hardware, engine="solver")
        for place in case.group.places[:-1]:
            assert counters.layers[place].dram_bytes["activation_out"] == 0, seed


@pytest.fixture(scope="module")
def on_cores(cases: list[Fused]) -> list[tuple[HardwareConfig, LayerTrace, FusedGroup, Program]]:
    """Return the chains of every other case on some cores that share what is drawn."""
    found = []
    for seed, case in list(zip(SEEDS, cases, strict=True))[::2]:
        draw = random.Random(f"fused on cores {seed}")
        chip = several_cores(draw, case.hardware).model_copy(update={"memory": "dram"})
        last = case.trace.layers[case.group.stop - 1].dims
        most = case.group.num_parts if case.group.num_parts > 1 else last.P
        number = min(chip.num_cores, most)
        stripes = min(case.group.num_stripes, last.P // (number if case.group.num_parts == 1 else 1))
        group = replace(case.group, num_cores=number, num_stripes=stripes)
        network = network_on_cores(chip, case.trace, case.fused.storage)
        try:
            found.append((chip, case.trace, group, divide(Divider(chip, network), (group,)).program()))
        except MappingError:
            continue  # a part of a shared buffer is too small for it
    assert len(found) > len(cases) // 4
    return found


def test_on_several_cores_too_processes_and_solver_agree_and_all_adds_up(
    on_cores: list[tuple[HardwareConfig, LayerTrace, FusedGroup, Program]],
) -> None:
    for chip, trace, group, program in on_cores:
        exact = run_system(program.slots, chip, exact=True, layer_of=program.layer_of)
        solved = run_system(program.slots, chip, engine="python", layer_of=program.layer_of)
        assert (seen(solved), solved.dram) == (seen(exact), exact.dram), group
        counters = counters_of(program, exact, chip, network_on_cores(chip, trace, "dense-int8"))
        assert [layer.macs for layer in counters.layers] == [
            layer.dims.macs if layer.uses_array else 0 for layer in trace.layers
        ], group
        assert sum(layer.latency_cycles for layer in counters.layers) == exact.end_cycle, group
        assert {sum(core.cycles_by_cause.values()) for core in counters.cores} == {exact.end_cycle}, group
        for layer in counters.layers:
            assert sum(layer.cycles_by_cause.values()) == layer.latency_cycles, group
        for place in group.places[:-1]:
            assert counters.layers[place].dram_bytes["activation_out"] == 0, group
