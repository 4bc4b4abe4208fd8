"""Random chips, layers and tilings that the property tests of mapping and simulation share."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.mapper import EnergyPrices
from accelsim.mapping.network import map_network
from accelsim.pipeline import layer_plans
from accelsim.prng.source import GeneratorKind, RandomSource
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

PRICES = EnergyPrices(20.0, 0.1, 0.01)
MOST_STEPS = 2000


@dataclass(frozen=True)
class Case:
    """A network on a chip: some layers in tilings drawn at random, the others as the mapper has them."""

    hardware: HardwareConfig
    trace: LayerTrace
    storage: str
    tilings: dict[str, Tiling]
    schedule: Schedule

    def remap(self, hardware: HardwareConfig) -> Schedule:
        """Return the schedule of the same tilings, of all layers, on another chip."""
        fixed = {layer.name: layer.tiling for layer in self.schedule.layers if layer.tiling is not None}
        return schedule_with(hardware, self.trace, self.storage, fixed)

    def changed(self, unit: str, **values: object) -> HardwareConfig:
        """Return the chip with some values of one unit replaced."""
        return self.hardware.model_copy(update={unit: getattr(self.hardware, unit).model_copy(update=values)})


def schedule_with(hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling]) -> Schedule:
    return map_network(trace, layer_plans(trace, storage), storage, hardware, PRICES, fixed)[0]


@pytest.fixture(scope="session")
def random_case() -> Callable[[int], Case]:
    """Return the function that turns a number into a case."""
    return make_case


def make_case(seed: int) -> Case:
    draw = random.Random(seed)
    while True:
        hardware = _hardware(draw)
        kind = hardware.weight_generator.kind if hardware.weight_generator is not None else "xorshift32"
        layers = tuple(_layer(draw, index, kind) for index in range(draw.randint(1, 3)))
        trace = LayerTrace("random", layers, "synthetic")
        storage = draw.choice(["slt", "slt", "dense-int8", "csr-int8", "bitmap-int8"])
        tilings = {
            layer.name: _tiling(draw, layer.dims) for layer in layers if layer.uses_array and draw.random() < 0.8
        }
        case = _fitting(hardware, trace, storage, tilings)
        if case is not None:
            return case


def _fitting(hardware: HardwareConfig, trace: LayerTrace, storage: str, tilings: dict[str, Tiling]) -> Case | None:
    """Return the case, with as many of the tilings as fit the buffers."""
    dims = {layer.name: layer.dims for layer in trace.layers}
    fixed = {name: tiling for name, tiling in tilings.items() if num_steps(tiling, dims[name]) <= MOST_STEPS}
    while True:
        try:
            return Case(hardware, trace, storage, fixed, schedule_with(hardware, trace, storage, fixed))
        except MappingError:
            if not fixed:
                return None
            fixed.popitem()


def num_steps(tiling: Tiling, dims: LoopDims) -> int:
    product = 1
    for count in tiling.counts(dims).values():
        product *= count
    return product


def _tiling(draw: random.Random, dims: LoopDims) -> Tiling:
    size = {
        loop: draw.choice([extent := getattr(dims, loop), max(1, extent // 2), draw.randint(1, extent)])
        for loop in LOOPS
    }
    order: tuple[Loop, ...] = draw.choice(LOOP_ORDERS)
    if draw.random() < 0.4:
        order = tuple(draw.sample(LOOPS, len(LOOPS)))
    return Tiling(**size, order=order)


def _hardware(draw: random.Random) -> HardwareConfig:
    dataflow = draw.choice(["weight_stationary", "output_stationary", "input_stationary", "spatial"])

    def buffer(low: int, high: int) -> dict[str, object]:
        return {
            "capacity_bytes": int(2 ** draw.uniform(low, high)), "width_bits": draw.choice([16, 64, 256]),
            "num_banks": draw.choice([1, 4]), "double_buffered": draw.random() < 0.6,
        }  # fmt: skip

    array: dict[str, object] = {
        "dataflow": dataflow, "rows": draw.choice([2, 4, 8]), "cols": draw.choice([2, 4, 8]),
        "pipeline_latency_cycles": draw.choice([0, 3]), "zero_weights": draw.choice(["none", "gate", "skip"]),
        "zero_activations": draw.choice(["none", "gate", "skip"]),
        "skip_group": draw.choice(["rows", "columns", "array"]),
    }  # fmt: skip
    if dataflow == "spatial":
        array["unroll"] = draw.choice(
            [{"K": 4, "C": 4}, {"K": 2, "C": 2, "P": 2, "Q": 2}, {"C": 4, "R": 3}, {"N": 2, "K": 4}]
        )
    if dataflow == "weight_stationary":
        array["weight_preload"] = draw.random() < 0.5
    return HardwareConfig.model_validate(
        {
            "name": "random",
            "clock_mhz": draw.choice([200.0, 500.0, 1000.0]),
            "node_nm": 22,
            "memory": draw.choice(["dram"] * 8 + ["ideal"]),
            "dram": {
                "data_rate_mtps": draw.choice([200.0, 800.0, 3200.0]),
                "bus_width_bits": draw.choice([8, 32]),
                "burst_bytes": draw.choice([8, 64]),
            },
            "pe_array": array,
            "activation_buffer": buffer(10, 15),
            "weight_buffer": buffer(8, 13),
            "mask_buffer": buffer(6, 11),
            "accumulator": buffer(8, 13),
            "weight_generator": {
                "kind": draw.choice(["xorshift32", "philox4x32", "lfsr16"]),
                "num_lanes": draw.choice([1, 4, 32]),
                "weights": draw.choice(["regenerate", "buffer"]),
                "latency_cycles": draw.choice([0, 2, 50]),
                "seed_cycles": draw.choice([0, 1, 9]),
            },
            "mask_decoder": {
                "positions_per_cycle": draw.choice([1, 16, 64]),
                "symbols_per_cycle": draw.choice([1, 8]),
                "latency_cycles": draw.choice([0, 4, 40]),
            },
            "vector_unit": {"num_lanes": draw.choice([1, 8, 64]), "latency_cycles": draw.choice([0, 4, 30])},
            "mapping": {
                "keep_activations_on_chip": draw.random() < 0.5,
                "prefetch_next_layer": draw.random() < 0.6,
            },
        }  # fmt: skip
    )


def _layer(draw: random.Random, index: int, generator: GeneratorKind) -> TraceLayer:
    kinds = ["conv2d"] * 4 + ["linear", "matmul", "pool", "depthwise_conv2d", "aggregate"]
    kind = draw.choice(kinds if index else ["conv2d", "linear"])
    dims = _dims(draw, kind)
    before = (f"layer{index - 1}",) if index else ("input",)
    weights = _weights(draw, dims, generator) if kind in ("conv2d", "linear", "depthwise_conv2d") else None
    num_outputs = dims.num_outputs if draw.random() < 0.8 else max(1, dims.num_outputs // 4)
    return TraceLayer(
        f"layer{index}",
        kind,  # type: ignore[arg-type]
        dims,
        before * 2 if kind == "matmul" else before,
        residuals=(f"layer{draw.randrange(index)}",) if index and draw.random() < 0.3 else (),
        vector_ops=draw.choice([0, num_outputs, 3 * dims.num_outputs]),
        num_outputs=num_outputs,
        weights=weights,
        input_density=draw.choice([1.0, 0.5]),
        second_input_elements=dims.num_weights if kind == "matmul" else 0,
    )


def _dims(draw: random.Random, kind: str) -> LoopDims:
    if kind == "linear":
        dims = LoopDims(N=draw.randint(1, 4), K=draw.randint(1, 60), C=draw.randint(1, 80), P=draw.randint(1, 9))
        return replace(dims, H=dims.P)
    if kind == "matmul":
        dims = LoopDims(G=draw.randint(1, 4), K=draw.randint(1, 20), C=draw.randint(1, 20), P=draw.randint(1, 20))
        return replace(dims, H=dims.P)
    if kind == "aggregate":
        features = draw.randint(1, 8)
        return LoopDims(P=draw.randint(1, 12), Q=features, H=draw.randint(1, 12), W=features)
    if kind == "pool":
        dims = LoopDims(G=draw.randint(1, 16), P=draw.randint(1, 10), Q=draw.randint(1, 10), R=2, S=2, stride=(2, 2))
        return replace(dims, H=2 * dims.P, W=2 * dims.Q)
    kernel, stride, dilation = draw.choice([1, 3, 3, 5]), draw.choice([1, 1, 2]), draw.choice([1, 1, 2])
    span = (kernel - 1) * dilation + 1
    padding = draw.choice([0, span // 2])
    height, width = span + draw.randint(1, 14), span + draw.randint(1, 14)
    depthwise = kind == "depthwise_conv2d"
    return LoopDims(
        N=draw.choice([1, 1, 2]), G=draw.randint(1, 24) if depthwise else draw.choice([1, 1, 1, 2, 4]),
        K=1 if depthwise else draw.randint(1, 40), C=1 if depthwise else draw.randint(1, 40),
        P=(height + 2 * padding - span) // stride + 1, Q=(width + 2 * padding - span) // stride + 1,
        R=kernel, S=kernel, H=height, W=width, stride=(stride, stride), dilation=(dilation, dilation),
        padding=(padding, padding),
    )  # fmt: skip


def _weights(draw: random.Random, dims: LoopDims, generator: GeneratorKind) -> LayerWeights:
    count = dims.num_weights
    num_kept = round(count * draw.choice([0.1, 0.3, 0.5]))
    num_locked, num_pruned = num_kept // 3, (count - num_kept) // 2
    source = RandomSource(
        generator=generator, seed=5, stream=draw.choice(["layer", "filter", "tile"]),
        seeds=draw.choice(["stored", "derived"] if generator == "philox4x32" else ["stored", "derived", "jump"]),
        prune_threshold=20000, lock_threshold=30000, tile_filters=draw.choice([2, 3, 4]),
    )  # fmt: skip
    shape = (dims.G * dims.K, dims.C, dims.R, dims.S)
    return LayerWeights(
        shape, num_kept, num_pruned=num_pruned, num_locked=num_locked, num_free=count - num_pruned - num_locked,
        source=source, codec=draw.choice(["raw", "entropy"]), num_scale_bits=draw.choice([0, 32 * shape[0]]),
    )  # fmt: skip
