"""What the property tests of mapping and simulation share; each family of random cases is a file beside this one."""

import random
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.loops import Tiling
from accelsim.prng.source import GeneratorKind
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims

sys.path.insert(0, str(Path(__file__).resolve().parent))

from random_cases import Case, drawn_weights, make_case, schedule_with  # noqa: E402
from random_cores import CoresCase, make_cores  # noqa: E402
from random_pipelines import make_pipeline  # noqa: E402


def run_exact(schedule: Schedule, hardware: HardwareConfig) -> Counters:
    """Return the counters of a schedule by the engine that gives the model its meaning: event by event."""
    return run_schedule(schedule, hardware, exact=True)


@pytest.fixture(scope="session")
def random_case() -> Callable[[int], Case]:
    """Return the function that turns a number into a case."""
    return make_case


@pytest.fixture(scope="session")
def random_cores() -> Callable[[int], CoresCase]:
    """Return the function that turns a number into a case with several cores."""
    return make_cores


@pytest.fixture(scope="session")
def random_pipeline() -> Callable[[int], CoresCase]:
    """Return the function that turns a number into a case with cores as stages of a pipeline."""
    return make_pipeline


@pytest.fixture(scope="session")
def random_weights() -> Callable[[random.Random, LoopDims, GeneratorKind], LayerWeights]:
    """Return the function that draws the weights of a layer."""
    return drawn_weights


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
