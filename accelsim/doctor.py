"""Is this installation sound? Versions, the chips at hand, and a self-test of the whole flow in a few seconds."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import accelsim
from accelsim.config.hardware import HardwareConfig
from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.config.presets import preset_folder
from accelsim.prng import RandomSource, words
from accelsim.results.schema import check_result
from accelsim.results.store import result_text
from accelsim.storage import list_formats
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

PACKAGES = (
    "numpy",
    "simpy",
    "pydantic",
    "click",
    "rich",
    "ruamel.yaml",
    "numba",
    "constriction",
    "torch",
    "matplotlib",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


def examine() -> Iterator[Finding]:
    """Yield what was found, one after the other; a broken part is a finding, never an exception."""
    yield Finding("accelsim", True, accelsim.__version__)
    yield Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.machine()}")
    for package in PACKAGES:
        yield _guard(package, lambda name=package: importlib.metadata.version(name))  # type: ignore[misc]
    for path in sorted(preset_folder("hwconfigs").glob("*.yaml")):
        yield _guard(path.as_posix(), lambda file=path: load_hardware(file).config.name)  # type: ignore[misc]
    yield _guard("weight generator", _known_answer)
    yield _guard("storage formats", lambda: f"{len(list_formats())} known")
    yield _guard("simulation", _simulate_twice)


def _guard(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _known_answer() -> str:
    found = [int(word) for word in words("xorshift32", np.array([1], dtype=np.uint32), 0, 3)[0]]
    # Marsaglia 2003, triple 13, 17, 5, from state 1.
    if found != [270369, 67634689, 2647435461]:
        raise ValueError(f"xorshift32 from 1 gives {found}")
    return "xorshift32 gives its published words"


def _simulate_twice() -> str:
    from accelsim.pipeline import run  # noqa: PLC0415  the rest is told even where the simulator is broken

    hardware, trace = self_test_chip(), self_test_trace()
    texts = [result_text(run(hardware, trace, "slt")) for _ in range(2)]
    result = check_result(texts[0], "self-test")
    if texts[0] != texts[1]:
        raise ValueError("two runs of the same network differ")
    return f"{len(trace.layers)} layers in {result.totals.latency_cycles:,} cycles, all sums hold, two runs agree"


def self_test_chip() -> LoadedHardware:
    """Return a small chip with a weight generator and a mask decoder."""
    description = {
        "name": "self-test",
        "clock_mhz": 500.0,
        "node_nm": 22.0,
        "pe_array": {"rows": 8, "cols": 8},
        "weight_generator": {},
        "mask_decoder": {},
    }
    return LoadedHardware(HardwareConfig.model_validate(description), "self-test", "")


def self_test_trace() -> LayerTrace:
    """Return a network of two layers with stated statistics of its mask."""
    source = RandomSource(prune_threshold=32768, lock_threshold=45875)
    conv = LayerWeights((16, 8, 3, 3), 346, 576, 230, 346, source=source, num_scale_bits=512)
    linear = LayerWeights((10, 16), 48, 80, 32, 48, source=source, num_scale_bits=320)
    layers = (
        TraceLayer(
            "conv",
            "conv2d",
            LoopDims(K=16, C=8, P=8, Q=8, R=3, S=3, H=8, W=8, padding=(1, 1)),
            ("input",),
            post_ops=("relu",),
            vector_ops=1024,
            num_outputs=1024,
            weights=conv,
        ),
        TraceLayer("linear", "linear", LoopDims(K=10, C=16, P=64), ("conv",), num_outputs=640, weights=linear),
    )
    return LayerTrace("self-test", layers, "synthetic")
