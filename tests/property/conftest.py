"""Random chips, layers and tilings that the property tests of mapping and simulation share.

A case does not depend on the mapper: its tilings are drawn, each until it fits, so that what a test recorded of a case
holds however the mapper's choice changes.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pytest

from accelsim.config.dram import TIMING_STANDARDS
from accelsim.config.hardware import CoreNetworkConfig, HardwareConfig
from accelsim.config.memory_device import load_device
from accelsim.core_pipeline import Stages, program_of
from accelsim.errors import MappingError
from accelsim.mapping.bound import lower_bound
from accelsim.mapping.build import build_layer
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import ALIKE, PARTS, split_task
from accelsim.mapping.loops import LOOP_ORDERS, LOOPS, Loop, Tiling
from accelsim.mapping.network import check_units, largest_live, network_tasks, residency_of
from accelsim.mapping.residency import Residency
from accelsim.mapping.task import LayerTask
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.pipeline import layer_plans
from accelsim.prng.source import GeneratorKind, RandomSource
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.timing.schedule import LayerSchedule, Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

MOST_STEPS = 1000  # of a layer, so that a case runs in milliseconds
PLAIN_CASES = 1000  # without the fields of `_with_more`: what was recorded of them holds when fields are added there
TRIES = 8  # tilings drawn for a layer before something else must give way
LONGEST_NS = 1000  # of every latency
STORAGE = (
    ["slt"] * 6 + ["slt-rle", "slt-entropy", "slt-unfrozen", "folded"]
    + ["dense-int8"] * 3 + ["dense-int4", "csr-int8", "bitmap-int8", "rle-int8", "entropy-int8", "nm-2:4-int8"]
)  # fmt: skip
MEMORIES = ["ideal"] + ["simple"] * 10 + ["split"] * 3 + ["timing"]  # that of a device takes ten times as long
ADDRESS_MAPPINGS = ["robabgracoch", "rochrababgco", "rocorababgch"]


def run_exact(schedule: Schedule, hardware: HardwareConfig) -> Counters:
    """Return the counters of a schedule by the engine that gives the model its meaning: event by event."""
    return run_schedule(schedule, hardware, exact=True)


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


@pytest.fixture(scope="session")
def random_case() -> Callable[[int], Case]:
    """Return the function that turns a number into a case."""
    return make_case


@dataclass(frozen=True)
class CoresCase:
    """A network on a chip with several cores: its slots, with the tilings of all parts."""

    hardware: HardwareConfig
    trace: LayerTrace
    slots: tuple[Slot, ...]


@pytest.fixture(scope="session")
def random_cores() -> Callable[[int], CoresCase]:
    """Return the function that turns a number into a case with several cores."""
    return make_cores


def make_cores(seed: int) -> CoresCase:
    """Return the chip and the network of case ``seed`` with cores, what they share, and who works on what, drawn."""
    for attempt in range(1000):
        try:
            return _cores(make_case(seed), random.Random(f"cores {seed} {attempt}"))
        except MappingError:
            continue  # some part fits in no way
    raise AssertionError(f"no case {seed}")


def _cores(case: Case, draw: random.Random) -> CoresCase:
    hardware = _several_cores(draw, case.hardware)
    plans, ended = layer_plans(case.trace, case.storage), dict.fromkeys(range(hardware.num_cores), 0)
    nowhere = Residency(frozenset(), (0,) * len(case.trace.layers))
    slots = []
    for task in network_tasks(case.trace, plans, core_chip(hardware, 1, None), nowhere):
        by = draw.choice([*PARTS, "one core"])
        parts = None if by == "one core" else split_task(task, by, hardware.num_cores, case.trace.num_inputs)
        alike = ALIKE[by] if parts is not None else "nothing"
        chip = core_chip(hardware, 1, alike)
        own = [replace(part, hardware=chip) for part in parts or (task,)]
        tiling = _drawn(draw, own[0]).tiling if task.layer.uses_array else None
        cores = draw.sample(range(hardware.num_cores), len(own))
        waits = draw.random() < 0.8
        pieces = {}
        for core, part in zip(cores, own, strict=True):
            needs = tuple((other, number) for other, number in ended.items() if number and other != core and waits)
            crossing = ()
            if hardware.core_network is not None and draw.random() < 0.6:
                crossing = tuple((name, draw.random()) for name in ("inputs", "residuals") if draw.random() < 0.7)
            pieces[core] = Piece(_of_part(draw, part, tiling), needs, crossing)
        for core in cores:
            ended[core] += 1
        slots.append(Slot(pieces, alike))
    return CoresCase(hardware, case.trace, tuple(slots))


@pytest.fixture(scope="session")
def random_pipeline() -> Callable[[int], CoresCase]:
    """Return the function that turns a number into a case with cores as stages of a pipeline."""
    return make_pipeline


def make_pipeline(seed: int) -> CoresCase:
    """Return the chip and the network of case ``seed`` with its layers in stages, and one to four inputs, drawn."""
    for attempt in range(1000):
        try:
            return _pipeline(make_case(seed), random.Random(f"pipeline {seed} {attempt}"))
        except MappingError:
            continue  # some layer fits in no way
    raise AssertionError(f"no case {seed}")


def _pipeline(case: Case, draw: random.Random) -> CoresCase:
    hardware = _several_cores(draw, case.hardware)
    number = len(case.trace.layers)
    nowhere = Residency(frozenset(), (0,) * number)
    chip = core_chip(hardware, 1, "nothing")
    tasks = network_tasks(case.trace, layer_plans(case.trace, case.storage), chip, nowhere)
    schedules = tuple(_drawn(draw, task) if task.layer.uses_array else build_vector_layer(task) for task in tasks)
    cuts = sorted(draw.choices(range(hardware.num_cores), k=number))
    stage_of = tuple(sorted(set(cuts)).index(stage) for stage in cuts)
    crossing = tuple(
        tuple((name, draw.random()) for name in ("inputs", "residuals") if draw.random() < 0.3)
        if hardware.core_network is not None
        else ()
        for _ in schedules
    )
    on_chip = frozenset(layer.name for layer in case.trace.layers if draw.random() < 0.5)
    cycles = tuple(int(schedule.array_cycles.sum()) + draw.randint(0, 500) for schedule in schedules)
    stages = Stages(case.trace, stage_of, schedules, cycles, on_chip, crossing)
    program = program_of(case.trace, [stages] * draw.randint(1, 4))
    return CoresCase(hardware, case.trace, program.slots)


def _of_part(draw: random.Random, part: LayerTask, tiling: Tiling | None) -> LayerSchedule:
    if tiling is None:
        return build_vector_layer(part)
    dims = part.layer.dims
    own = replace(tiling, **{loop: min(tiling.size(loop), getattr(dims, loop)) for loop in LOOPS})
    if draw.random() < 0.7:  # cores with the same tiles can be given the same words
        try:
            return build_layer(part, own)
        except MappingError:
            pass
    return _drawn(draw, part)


def _several_cores(draw: random.Random, hardware: HardwareConfig) -> HardwareConfig:
    units = [name for name in ("weight_generator", "mask_decoder", "activation_buffer") if draw.random() < 0.5]
    units = [name for name in units if getattr(hardware, name) is not None]
    if "mask_decoder" in units or draw.random() < 0.4:
        units.append("mask_buffer")
    network = CoreNetworkConfig(bytes_per_cycle=draw.choice([1, 8, 64]), hops=2.5, hop_cycles=draw.randint(0, 9))
    has_network = "activation_buffer" not in units and draw.random() < 0.6
    changed = {
        "num_cores": draw.randint(2, 5), "share": units, "cache": None,
        "core_network": network if has_network else None,
    }  # fmt: skip
    has_one_bus = hardware.dram.model == "simple" and not hardware.dram.separate_write_bus
    policy = draw.choice(["oldest_first", "round_robin"]) if has_one_bus else "oldest_first"
    dram = hardware.dram.model_copy(update={"arbitration": policy})
    return hardware.model_copy(update={**changed, "dram": dram})


@pytest.fixture(scope="session")
def random_weights() -> Callable[[random.Random, LoopDims, GeneratorKind], LayerWeights]:
    """Return the function that draws the weights of a layer."""
    return _weights


@pytest.fixture(scope="session")
def exactly(random_case: Callable[[int], Case]) -> Callable[[int], Counters]:
    """Return the function that runs a case event by event, once for all who ask."""
    return lru_cache(maxsize=None)(lambda seed: run_exact(random_case(seed).schedule, random_case(seed).hardware))


@pytest.fixture(scope="session")
def simulate_exactly() -> Callable[[Schedule, HardwareConfig], Counters]:
    """Return the function that runs a schedule event by event."""
    return run_exact


@pytest.fixture(scope="session")
def with_tilings() -> Callable[[HardwareConfig, LayerTrace, str, Mapping[str, Tiling]], Schedule]:
    """Return the function that schedules a network with given tilings."""
    return schedule_with


@lru_cache(maxsize=1000)
def make_case(seed: int) -> Case:
    """Return case ``seed``: chip, network, format and tilings, each drawn from a sequence of its own."""
    for attempt in range(1000):

        def draws(part: str, attempt: int = attempt) -> random.Random:
            return random.Random(f"{seed} {attempt} {part}")

        storage = draws("storage").choice(STORAGE)
        hardware = _hardware(draws("chip"))
        if seed >= PLAIN_CASES:
            hardware = _with_more(draws("more"), hardware)
        num_layers = draws("network").randint(2, 5)
        layers = tuple(
            _layer(draws(f"layer {index}"), index, hardware.weight_generator.kind) for index in range(num_layers)
        )
        trace = LayerTrace("random", layers, "synthetic")
        try:
            schedule = _scheduled(
                hardware, trace, storage, lambda task: _drawn(draws(f"tiling {task.layer.name}"), task)
            )
        except MappingError:
            continue  # some layer fits in no way, or the format cannot hold it
        return Case(hardware, trace, storage, schedule)
    raise AssertionError(f"no case {seed}")


def _drawn(draw: random.Random, task: LayerTask) -> LayerSchedule:
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
    order: tuple[Loop, ...] = draw.choice(LOOP_ORDERS)
    if draw.random() < 0.4:
        order = tuple(draw.sample(LOOPS, len(LOOPS)))
    if splits_window and draw.random() < 0.3:
        size |= {"R": draw.randint(1, dims.R), "S": draw.randint(1, dims.S)}
    return Tiling(**size, order=order, keep="tile" if draw.random() < 0.1 else "buffers")


def _hardware(draw: random.Random) -> HardwareConfig:
    clock_mhz = draw.choice([200.0, 333.0, 500.0, 1000.0])

    def latency(*usual: int, least: int = 0) -> int:
        """Return a latency in cycles: a usual one, or any up to that of `LONGEST_NS`."""
        longest = int(LONGEST_NS * clock_mhz / 1000)
        return draw.choice(usual) if draw.random() < 0.6 else _spread(draw, longest, least)

    def buffer(low: int, high: int) -> dict[str, object]:
        return {
            "capacity_bytes": int(2 ** draw.uniform(low, high)), "width_bits": draw.choice([16, 64, 256]),
            "num_banks": draw.choice([1, 4]), "num_ports": draw.choice([1, 1, 2]),
            "double_buffered": draw.random() < 0.6,
        }  # fmt: skip

    values: dict[str, object] = {
        "name": "random",
        "clock_mhz": clock_mhz,
        "node_nm": 22,
        "activation_bits": draw.choice([8, 8, 8, 4, 16]),
        "accumulator_bits": draw.choice([32, 32, 16]),
        **_memory(draw),
        "pe_array": _array(draw) | {"pipeline_latency_cycles": latency(0, 3)},
        "activation_buffer": buffer(10, 15),
        "weight_buffer": buffer(8, 13),
        "mask_buffer": buffer(6, 11),
        "accumulator": buffer(8, 13),
        "weight_generator": {
            "kind": draw.choice(["xorshift32", "philox4x32", "lfsr16", "lfsr32"]),
            "num_lanes": draw.choice([1, 4, 32]),
            "words_per_lane_per_cycle": draw.choice([1, 1, 4]),
            "weights": draw.choice(["regenerate", "buffer"]),
            "latency_cycles": latency(0, 2, 50),
            "seed_cycles": latency(0, 1, 9),
            "jump_cycles": latency(1, 32, least=1),
        },
        "mask_decoder": {
            "positions_per_cycle": draw.choice([1, 16, 64]),
            "symbols_per_cycle": draw.choice([1, 8]),
            "latency_cycles": latency(0, 4, 40),
        },
        "vector_unit": {"num_lanes": draw.choice([1, 8, 64]), "latency_cycles": latency(0, 4, 30)},
        "mapping": {
            "keep_activations_on_chip": draw.random() < 0.5,
            "prefetch_next_layer": draw.random() < 0.6,
        },
    }
    return HardwareConfig.model_validate(values)


def _with_more(draw: random.Random, hardware: HardwareConfig) -> HardwareConfig:
    """Return a chip with some of the rarer fields."""
    values = hardware.model_dump(exclude_unset=True)
    array = values["pe_array"]
    array["call_cycles"] = draw.choice([0, 0, 50, 700])
    if array["dataflow"] in ("weight_stationary", "input_stationary"):
        array["fold_taps"] = draw.choice([True, False, "row"])
    if array.get("weight_preload") and array["preload_with"] == "instruction":
        array |= {"min_instruction_rows": draw.choice([1, 3]), "instruction_interval_cycles": draw.choice([1.0, 2.6])}
    is_plain = array["dataflow"] == "weight_stationary" and array["preload_with"] == "fold"
    if is_plain and "skip" not in (array["zero_weights"], array["zero_activations"]):
        array["num_arrays"] = draw.choice([1, 2, 3])
    values["dma"] = {"request_cycles": draw.choice([0, 3]), "loads_ahead": draw.random() < 0.5}
    if draw.random() < 0.3:
        _make_row_stationary(draw, array)
    elif array["dataflow"] == "spatial":
        array["distribution_words_per_cycle"] = draw.choice([None, 2, 8])
        if "K" not in array["unroll"]:
            array |= {"zero_weights": "skip", "zero_activations": "gate", "skip_group": "packed"}
    _share_buffers(draw, values)
    values["vector_unit"]["rereads_inputs"] = draw.random() < 0.5
    values["dram"]["num_outstanding_requests"] = draw.choice([None, 1, 4])
    if values["dram"].get("model") != "timing" and draw.random() < 0.5:
        values["cache"] = {
            "capacity_bytes": draw.choice([1024, 8192]), "line_bytes": draw.choice([16, 64]),
            "num_ways": draw.choice([1, 4]), "width_bits": draw.choice([32, 256]),
        }  # fmt: skip
    elif draw.random() < 0.7:
        values["dma"] |= {"activation_codec": "rle", "codec_elements_per_cycle": draw.choice([1, 8])}
        values["activation_bits"] = 16  # half of the activations are zero: the code of narrower ones is no shorter
    return HardwareConfig.model_validate(values)


def _make_row_stationary(draw: random.Random, array: dict[str, object]) -> None:
    pads = ("input_words", "weight_words", "sum_words", "words_per_cycle")
    kept = {name: array[name] for name in ("rows", "cols", "call_cycles", "pipeline_latency_cycles")}
    array.clear()
    array |= kept | {"dataflow": "row_stationary", "scratch_pads": {name: draw.choice([1, 4, 24]) for name in pads}}
    array["zero_weights"] = draw.choice(["none", "gate"])


def _share_buffers(draw: random.Random, values: dict[str, Any]) -> None:
    """Let PEs copy weights, buffers have a bus, and partial sums lie in the activation buffer, now and then."""
    values["weight_buffer"]["is_copied"] = draw.random() < 0.3
    for name in ("activation_buffer", "weight_buffer", "accumulator"):
        values[name]["bus_bits_per_cycle"] = draw.choice([None, None, 32])
    if draw.random() < 0.3:
        shared = {"capacity_bytes": values["activation_buffer"]["capacity_bytes"], "double_buffered": False}
        values["activation_buffer"] |= shared | {"num_banks": draw.choice([2, 8])}
        values["accumulator"] |= shared
        values["sums_in_activation_buffer"] = True


def _spread(draw: random.Random, most: int, least: int = 0) -> int:
    """Return a number up to ``most``, of any magnitude."""
    return max(least, min(most, int((most + 1) ** draw.random()) - (draw.random() < 0.1)))


def _array(draw: random.Random) -> dict[str, object]:
    dataflow = draw.choice(["weight_stationary", "output_stationary", "input_stationary", "spatial"])
    array: dict[str, object] = {
        "dataflow": dataflow, "rows": draw.choice([2, 4, 8]), "cols": draw.choice([2, 4, 8]),
        "zero_weights": draw.choice(["none", "gate", "skip"]),
        "zero_activations": draw.choice(["none", "gate", "skip"]),
        "skip_group": draw.choice(["rows", "columns", "array"]),
    }  # fmt: skip
    if dataflow == "spatial":
        array["unroll"] = draw.choice(
            [{"K": 4, "C": 4}, {"K": 2, "C": 2, "P": 2, "Q": 2}, {"C": 4, "R": 3}, {"N": 2, "K": 4}]
        )
        array["operand_registers"] = draw.random() < 0.3
    if dataflow == "weight_stationary":
        array["weight_preload"] = draw.random() < 0.5
        array["preload_with"] = draw.choice(["fold", "instruction"])
    return array


def _memory(draw: random.Random) -> dict[str, object]:
    """Return the fields ``memory`` and ``dram`` of a chip, for each kind of memory that there is."""

    def latency_ns(*usual: float) -> float:
        return draw.choice(usual) if draw.random() < 0.4 else float(_spread(draw, 10 * LONGEST_NS)) / 10

    kind = draw.choice(MEMORIES)
    dram: dict[str, object] = {
        "num_channels": draw.choice([1, 1, 2]),
        "data_rate_mtps": draw.choice([200.0, 800.0, 3200.0]),
        "bus_width_bits": draw.choice([8, 32]),
        "burst_bytes": draw.choice([8, 64]),
        "read_latency_ns": latency_ns(0.0, 50.0, 1000.0),
        "write_latency_ns": latency_ns(0.0, 20.0, 1000.0),
        "turnaround_ns": latency_ns(0.0, 10.0, 1000.0),
        "separate_write_bus": kind == "split",
    }
    if kind == "timing":
        dram |= _timing_dram(draw)
    if kind != "ideal":
        dram |= _sleep(random.Random(str(dram)), is_timing=kind == "timing")  # leaves the draws of all else as they are
    return {"memory": "ideal" if kind == "ideal" else "dram", "dram": dram}


def _sleep(draw: random.Random, is_timing: bool) -> dict[str, object]:
    """Return what a memory does between requests, and now and then a controller that serves in order."""
    own: dict[str, object] = {
        "power_down_after_ns": draw.choice([None, 0.0, 30.0, 640.0]),
        "power_down_kind": draw.choice(["precharge", "active"]),
        "self_refresh_after_ns": draw.choice([None, None, 100.0, 3000.0]),
    }
    if own["power_down_after_ns"] == 640.0 and own["self_refresh_after_ns"] == 100.0:
        # Refused: no power-down would come.
        own["self_refresh_after_ns"] = 3000.0
    if is_timing and draw.random() < 0.25:
        own |= {"controller": "in_order", "page_policy": "open"}
    return own


def _timing_dram(draw: random.Random) -> dict[str, object]:
    """Return a memory with the timing of a standard: one device on the bus of a channel."""
    standard = draw.choice(TIMING_STANDARDS)
    device = load_device(standard)
    organisation, timing = device.organisation, device.timing
    refreshes = ["all_bank", "none"] + ["per_bank"] * (timing.refi_bank_cycles > 0)
    # Activates in two commands, as LPDDR5 has them, are refused with a queue per bank.
    controllers = ["shared_queues"] + ["bank_queues"] * (timing.split_activate_cycles == 0)
    return {
        "model": "timing", "standard": standard,
        "bus_width_bits": organisation.num_pseudo_channels * organisation.device_width_bits,
        "burst_bytes": organisation.device_width_bits * organisation.burst_length // 8,
        "data_rate_mtps": organisation.burst_length / timing.burst_cycles / device.tck_ns * 1000,
        "num_ranks": draw.choice([1, 1, 2]), "address_mapping": draw.choice(ADDRESS_MAPPINGS),
        "address_xor": draw.choice(["none", "column"]), "controller": draw.choice(controllers),
        "page_policy": draw.choice(["open", "closed"]), "refresh": draw.choice(refreshes),
        "num_read_queue_entries": draw.choice([4, 32]), "num_write_queue_entries": draw.choice([4, 32]),
    }  # fmt: skip


def _layer(draw: random.Random, index: int, generator: GeneratorKind) -> TraceLayer:
    kinds = ["conv2d"] * 4 + ["linear", "matmul", "pool", "vector", "depthwise_conv2d", "aggregate"]
    kind = draw.choice(kinds if index else ["conv2d", "linear"])
    dims = _dims(draw, kind)
    earlier = ["input", *(f"layer{before}" for before in range(index))]
    inputs = (earlier[-1] if draw.random() < 0.8 else draw.choice(earlier),)
    if kind == "matmul" or draw.random() < 0.1:
        inputs += (draw.choice(earlier),)
    weights = _weights(draw, dims, generator) if kind in ("conv2d", "linear", "depthwise_conv2d") else None
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


def _weights(draw: random.Random, dims: LoopDims, generator: GeneratorKind) -> LayerWeights:
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
