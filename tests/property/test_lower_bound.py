"""No mapping of a layer, however odd, takes less than the lower bound that is stated for it."""

import os
from collections.abc import Callable
from typing import Any

from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule

Cases = Callable[[int], Any]
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
SEEDS = [*range(200), *range(1000, 1100)] if IS_NIGHTLY else [*range(40), *range(1000, 1020)]


def test_no_mapping_is_below_the_bound_of_its_layer(random_case: Cases) -> None:
    closest = 0.0
    for seed in SEEDS:
        case = random_case(seed)
        for layer in case.schedule.layers:
            alone = Schedule(case.schedule.storage, (layer,), "int8", "none", False)
            cycles = run_schedule(alone, case.hardware, engine="python").layers[0].latency_cycles
            assert layer.lower_bound_cycles <= cycles, (seed, layer.name)
            closest = max(closest, layer.lower_bound_cycles / cycles)
    assert closest > 0.98  # a bound of 0 would be right, too
