"""Random networks on chips with one core, in random tilings.

A case does not depend on the mapper: its tilings are drawn, each until it fits, so that what a test recorded of a case
holds however the mapper's choice changes.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from random_chips import drawn_chip, with_more

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.bound import lower_bound
from accelsim.mapping.build import build_layer
from accelsim.mapping.loops import LOOPS, UNGROUPED_ORDERS, Loop, Tiling
from accelsim.mapping.network import check_units, largest_live, network_tasks, residency_of
from accelsim.mapping.task import LayerTask
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.pipeline import layer_plans
from accelsim.prng.source import GeneratorKind, RandomSource
from accelsim.timing.schedule import LayerSchedule, Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

MOST_STEPS = 1000  # of a layer, so that a case runs in milliseconds
PLAIN_CASES = 1000  # without the fields of `with_more`: what was recorded of them holds when fields are added there
TRIES = 8  # tilings drawn for a layer before something else must give way
STORAGE = (
    ["slt"] * 6 + ["slt-rle", "slt-entropy", "slt-unfrozen", "folded"]
    + ["dense-int8"] * 3 + ["dense-int4", "csr-int8", "bitmap-int8", "rle-int8", "entropy-int8", "nm-2:4-int8"]
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network on a chip, with the tilings of all its array layers."""

    hardware: HardwareConfig
    trace: LayerTrace
    storage: str
    schedule: Schedule

    def remap(self, hardware: HardwareConfig) -> Schedule:
        """Return the schedule of the same tilings on another chip."""
        fixed = {layer.name: layer.tiling for layer in self.schedule.layers if layer.tiling is not None}
        return schedule_with(hardware, self.trace, self.storage, fixed)

    def changed(self, unit: str, **values: object) -> HardwareConfig:
        """Return the chip with some values of one unit replaced."""
        return self.hardware.model_copy(update={unit: getattr(self.hardware, unit).model_copy(update=values)})


def schedule_with(hardware: HardwareConfig, trace: LayerTrace, storage: str, fixed: Mapping[str, Tiling]) -> Schedule:
    """Return the schedule of a network with the tilings of all its array layers given."""
    return _scheduled(hardware, trace, storage, lambda task: build_layer(task, fixed[task.layer.name]))


def _scheduled(
    hardware: HardwareConfig, trace: LayerTrace, storage: str, build: Callable[[LayerTask], LayerSchedule]
) -> Schedule:
    """Build layer by layer; where one does not fit beside what stays on chip, the largest of these leaves."""
    plans = layer_plans(trace, storage)
    check_units(plans, storage, hardware)
    banned: frozenset[str] = frozenset()
    while True:
        residency, layers = residency_of(trace, plans, hardware, banned), []
        try:
            for task in network_tasks(trace, plans, hardware, residency):
                layer = build(task) if task.layer.uses_array else build_vector_layer(task)
                layers.append(replace(layer, lower_bound_cycles=lower_bound(task).cycles))
            break
        except MappingError:
            crowded = largest_live(trace, residency, len(layers))
            if crowded is None:
                raise
            banned |= {crowded}
    return Schedule(
        storage=storage,
        layers=tuple(layers),
        arithmetic=min((plan.arithmetic for plan in plans.values()), default="int8"),
        decoder=min((plan.decoder for plan in plans.values() if plan.decoder != "none"), default="none"),
        uses_generator=any(plan.source is not None for plan in plans.values()),
    )


@lru_cache(maxsize=1000)
def make_case(seed: int) -> Case:
    """Return case ``seed``: chip, network, format and tilings, each drawn from a sequence of its own."""
    for attempt in range(1000):

        def draws(part: str, attempt: int = attempt) -> random.Random:
            return random.Random(f"{seed} {attempt} {part}")

        storage = draws("storage").choice(STORAGE)
        hardware = drawn_chip(draws("chip"))
        if seed >= PLAIN_CASES:
            hardware = with_more(draws("more"), hardware)
        num_layers = draws("network").randint(2, 5)
        layers = tuple(
            _layer(draws(f"layer {index}"), index, hardware.weight_generator.kind) for index in range(num_layers)
        )
        trace = LayerTrace("random", layers, "synthetic")
        try:
            schedule = _scheduled(
                hardware, trace, storage, lambda task: drawn_layer(draws(f"tiling {task.layer.name}"), task)
            )
        except MappingError:
            continue  # some layer fits in no way, or the format cannot hold it
        return Case(hardware, trace, storage, schedule)
    raise AssertionError(f"no case {seed}")


def drawn_layer(draw: random.Random, task: LayerTask) -> LayerSchedule:
    """Return the layer in a random tiling, cut smaller until it fits."""
    dims = task.layer.dims
    for _ in range(TRIES):
        tiling = _tiling(draw, dims, may_split_window(task))
        while num_steps(tiling, dims) <= MOST_STEPS:
            try:
                return build_layer(task, tiling)
            except MappingError:
                divisible = [loop for loop in LOOPS if tiling.size(loop) > 1]
                if not divisible:
                    break
                loop = draw.choice(divisible)
                tiling = replace(tiling, **{loop: (tiling.size(loop) + 1) // 2})
    raise MappingError(f"{task.layer.name}: no tiling found")


def num_steps(tiling: Tiling, dims: LoopDims) -> int:
    product = 1
    for count in tiling.counts(dims).values():
        product *= count
    return product


def may_split_window(task: LayerTask) -> bool:
    """Return whether a tile may have a part of the filter: weights are no stream, and zeros are not skipped."""
    return not (task.decodes or task.regenerates or task.hardware.pe_array.zero_weights == "skip")


def _tiling(draw: random.Random, dims: LoopDims, splits_window: bool) -> Tiling:
    size = {
        loop: draw.choice([extent := getattr(dims, loop), max(1, extent // 2), draw.randint(1, extent)])
        for loop in LOOPS
    }
    order: tuple[Loop, ...] = draw.choice(UNGROUPED_ORDERS)
    if draw.random() < 0.4:
        order = tuple(draw.sample(LOOPS, len(LOOPS)))
    if splits_window and draw.random() < 0.3:
        size |= {"R": draw.randint(1, dims.R), "S": draw.randint(1, dims.S)}
    return Tiling(**size, order=order, keep="tile" if draw.random() < 0.1 else "buffers")


def _layer(draw: random.Random, index: int, generator: GeneratorKind) -> TraceLayer:
    kinds = ["conv2d"] * 4 + ["linear", "matmul", "pool", "vector", "depthwise_conv2d", "aggregate"]
    kind = draw.choice(kinds if index else ["conv2d", "linear"])
    dims = _dims(draw, kind)
    earlier = ["input", *(f"layer{before}" for before in range(index))]
    inputs = (earlier[-1] if draw.random() < 0.8 else draw.choice(earlier),)
    if kind == "matmul" or draw.random() < 0.1:
        inputs += (draw.choice(earlier),)
    weights = drawn_weights(draw, dims, generator) if kind in ("conv2d", "linear", "depthwise_conv2d") else None
    num_outputs = dims.num_outputs if draw.random() < 0.8 else max(1, dims.num_outputs // 4)
    residuals = tuple(_residuals(draw, earlier[1:]))
    operations, density = draw.choice([0, num_outputs, 3 * dims.num_outputs]), draw.choice([1.0, 0.5])
    return TraceLayer(
        f"layer{index}",
        kind,  # type: ignore[arg-type]
        dims,
        inputs,
        residuals=residuals,
        vector_ops=operations,
        num_outputs=num_outputs,
        weights=weights,
        input_density=density,
        input_density_measured=density < 1,
        second_input_elements=dims.num_weights if kind == "matmul" else 0,
    )


def _residuals(draw: random.Random, earlier: list[str]) -> Iterable[str]:
    if earlier and draw.random() < 0.35:
        yield draw.choice(earlier)
        if draw.random() < 0.2:
            yield draw.choice(earlier)


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
    if kind == "vector":
        dims = LoopDims(G=draw.randint(1, 40), P=draw.randint(1, 14), Q=draw.randint(1, 14))
        return replace(dims, H=dims.P, W=dims.Q)
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


def drawn_weights(draw: random.Random, dims: LoopDims, generator: GeneratorKind) -> LayerWeights:
    count = dims.num_weights
    num_kept = round(count * draw.choice([0.1, 0.3, 0.5]))
    num_locked, num_pruned = num_kept // 3, (count - num_kept) // 2
    weights = draw.choice(["signed_constant"] * 3 + ["uniform", "normal"])
    source = RandomSource(
        generator=generator, seed=5, stream=draw.choice(["layer", "filter", "tile"]),
        seeds=draw.choice(["stored", "derived"] if generator == "philox4x32" else ["stored", "derived", "jump"]),
        weights=weights, weight_bits=1 if weights == "signed_constant" else 4,
        normal_terms=4 if weights == "normal" else 1,
        prune_threshold=20000, lock_threshold=30000, tile_filters=draw.choice([2, 3, 4]),
    )  # fmt: skip
    shape = (dims.G * dims.K, dims.C, dims.R, dims.S)
    return LayerWeights(
        shape, num_kept, num_pruned=num_pruned, num_locked=num_locked, num_free=count - num_pruned - num_locked,
        source=source, codec=draw.choice(["raw", "entropy"]), num_scale_bits=draw.choice([0, 32 * shape[0]]),
    )  # fmt: skip
