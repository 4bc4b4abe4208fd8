"""Random networks whose layers are stages of a pipeline on the cores of a chip, with one to four inputs."""

import random

from random_cases import Case, drawn_layer
from random_cores import CoresCase, first_that_fits, several_cores

from accelsim.cores.pipeline import Stages, program_of
from accelsim.mapping.core_chip import core_chip
from accelsim.mapping.network import network_tasks
from accelsim.mapping.residency import Residency
from accelsim.mapping.vector_layer import build_vector_layer
from accelsim.pipeline import layer_plans


def make_pipeline(seed: int) -> CoresCase:
    """Return the chip and the network of case ``seed`` with its layers in stages, and one to four inputs, drawn."""
    return first_that_fits("pipeline", seed, _pipeline)


def _pipeline(case: Case, draw: random.Random) -> CoresCase:
    hardware = several_cores(draw, case.hardware)
    number = len(case.trace.layers)
    nowhere = Residency(frozenset(), (0,) * number)
    chip = core_chip(hardware, 1, "nothing")
    tasks = network_tasks(case.trace, layer_plans(case.trace, case.storage), chip, nowhere)
    schedules = tuple(drawn_layer(draw, task) if task.layer.uses_array else build_vector_layer(task) for task in tasks)
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
    program = program_of(case.trace, [stages] * draw.randint(1, 4), hardware.num_cores)
    return CoresCase(hardware, case.trace, program.slots)
