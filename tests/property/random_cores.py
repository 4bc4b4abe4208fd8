"""Random networks on chips with several cores: who works on what, and what they share, is drawn."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from random_cases import Case, drawn_layer, make_case

from accelsim.config.hardware import CoreNetworkConfig, HardwareConfig
from accelsim.errors import MappingError
from accelsim.mapping.build import build_layer
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.cores import ALIKE, PARTS, split_task
from accelsim.mapping.loops import LOOPS, Tiling
from accelsim.mapping.network import network_tasks
from accelsim.mapping.residency import Residency
from accelsim.mapping.task import LayerTask
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.pipeline import layer_plans
from accelsim.sim.cores import SystemRun
from accelsim.timing.core_pieces import Piece, Slot
from accelsim.timing.schedule import LayerSchedule
from accelsim.trace.model import LayerTrace

ATTEMPTS = 100  # with one network
FAR_SEEDS = 1_000_003  # from one network of a case to the next: none that another case begins with


@dataclass(frozen=True)
class CoresCase:
    """A network on a chip with several cores: its slots, with the tilings of all parts."""

    hardware: HardwareConfig
    trace: LayerTrace
    slots: tuple[Slot, ...]


def make_cores(seed: int) -> CoresCase:
    """Return the chip and the network of case ``seed`` with cores, what they share, and who works on what, drawn."""
    return first_that_fits("cores", seed, _cores)


def first_that_fits(name: str, seed: int, make: Callable[[Case, random.Random], CoresCase]) -> CoresCase:
    """Return the first of the draws that ``make`` makes of case ``seed`` in which all parts fit in some way.

    A part of a shared buffer may be too small for a layer however cores are drawn: then another network is drawn.
    """
    for attempt in range(1000):
        network = seed + FAR_SEEDS * (attempt // ATTEMPTS)
        with suppress(MappingError):
            return make(make_case(network), random.Random(f"{name} {seed} {attempt}"))
    raise AssertionError(f"no case {seed}")


def _cores(case: Case, draw: random.Random) -> CoresCase:
    hardware = several_cores(draw, case.hardware)
    plans, ended = layer_plans(case.trace, case.storage), dict.fromkeys(range(hardware.num_cores), 0)
    nowhere = Residency(frozenset(), (0,) * len(case.trace.layers))
    slots = []
    for task in network_tasks(case.trace, plans, core_chip(hardware, 1, None), nowhere):
        by = draw.choice([*PARTS, "one core"])
        parts = None if by == "one core" else split_task(task, by, hardware.num_cores, case.trace.num_inputs)
        alike = ALIKE[by] if parts is not None else "nothing"
        chip = core_chip(hardware, 1, alike)
        own = [replace(part, hardware=chip) for part in parts or (task,)]
        tiling = drawn_layer(draw, own[0]).tiling if task.layer.uses_array else None
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
    return drawn_layer(draw, part)


def several_cores(draw: random.Random, hardware: HardwareConfig) -> HardwareConfig:
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
    has_one_queue = hardware.dram.model == "simple" and not hardware.dram.separate_write_bus
    policy = draw.choice(["oldest_first", "round_robin"]) if has_one_queue else "round_robin"  # these are rare
    dram = hardware.dram.model_copy(update={"arbitration": policy})
    return hardware.model_copy(update={**changed, "dram": dram})


def seen(run: SystemRun) -> list[Any]:
    """Return all integers of a run."""
    return [
        (
            one.piece.core, one.account.start_cycle, one.account.end_cycle, one.account.causes, one.timing.busy_cycles,
            {name: spans.tolist() for name, spans in one.account.spans.items()}, one.dram_bytes, one.actions,
        )
        for one in run.pieces
    ]  # fmt: skip
