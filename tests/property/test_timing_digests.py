"""The net below the timing model: what the simulation event by event says of 1,000 random cases and of all golden ones.

A digest has three parts, so that a difference says where it is: times (latency and busy cycles), causes, and bytes,
each layer by layer. Neither the mapper nor the default engine has a part in it. `make golden` writes the file again;
`make nightly` checks all of it (half a minute), the suite an eighth of the random cases and a few golden ones.
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.loops import ALL_LOOPS, Loop, Tiling
from accelsim.prng.source import RandomSource
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.sim.run import run_schedule
from accelsim.timing.schedule import Schedule
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer

HERE = Path(__file__).resolve().parent
DIGESTS = HERE / "digests.txt"
NUM_CASES = 1000
PARTS = ("times", "causes", "bytes")
FEW_GOLDEN = {
    ("edge", "resnet18 slt"),
    ("edge_timing", "mobilenet_v2 slt"),
    ("eyeriss_dense", "conv6_slt_f70 bitmap-int8"),
    ("hiddenite", "conv6_slt_f70 slt"),
    ("systolic_32x32_ws", "mobilenet_v2 slt"),
    ("tpu_v3", "gin_slt_f50 slt"),
}
Runs = Callable[[Schedule, HardwareConfig], Counters]
Scheduler = Callable[[HardwareConfig, LayerTrace, str, Mapping[str, Tiling]], Schedule]
every_digest = "ACCELSIM_NIGHTLY" in os.environ


def _golden() -> Any:
    spec = importlib.util.spec_from_file_location("golden_regenerate", HERE.parent / "golden/regenerate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


golden = _golden()


def figures(layer: LayerCounters) -> dict[str, Any]:
    """Return what a run says of a layer's time and traffic; what is 0 is left out, as if it had no name yet."""
    named = {"cycles_by_cause": layer.cycles_by_cause, "busy_cycles": layer.busy_cycles, "dram_bytes": layer.dram_bytes}
    return {"latency_cycles": layer.latency_cycles} | {
        name: {key: int(value) for key, value in sorted(values.items()) if value} for name, values in named.items()
    }


def digest(counters: Counters) -> str:
    found = [figures(layer) for layer in counters.layers]
    parts = (
        [[layer["latency_cycles"], layer["busy_cycles"]] for layer in found],
        [layer["cycles_by_cause"] for layer in found],
        [layer["dram_bytes"] for layer in found],
    )
    return " ".join(hashlib.sha256(json.dumps(part).encode()).hexdigest()[:8] for part in parts)


def golden_cases() -> Iterator[tuple[str, str]]:
    yield from golden.reviewed_tilings()


def golden_digest(chip: str, case: str, with_tilings: Scheduler, simulate_exactly: Runs) -> str:
    hardware, trace = golden.load(chip, case)
    layers = [layer for layer in trace.layers if layer.uses_array]
    texts = golden.reviewed_tilings()[chip, case]
    tilings = {layer.name: golden.tiling_from(text, layer.dims) for layer, text in zip(layers, texts, strict=True)}
    schedule = with_tilings(hardware.config, trace, golden.CASES[case].storage, tilings)
    return digest(simulate_exactly(schedule, hardware.config))


@pytest.fixture(scope="module")
def reviewed(exactly: Callable[[int], Counters], with_tilings: Scheduler, simulate_exactly: Runs) -> dict[str, str]:
    """Return the reviewed digests by case: a number, or chip and workload."""
    if os.environ.get("ACCELSIM_REGENERATE"):
        lines = []
        for number in range(NUM_CASES):
            lines.append(f"{number}: {digest(exactly(number))}")
        for chip, name in golden_cases():
            lines.append(f"{chip}, {name}: {golden_digest(chip, name, with_tilings, simulate_exactly)}")
        DIGESTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return dict(line.split(": ") for line in DIGESTS.read_text(encoding="utf-8").splitlines())


def differing(expected: str, found: str) -> list[str]:
    return [part for part, *pair in zip(PARTS, expected.split(), found.split(), strict=True) if pair[0] != pair[1]]


def test_random_cases_run_as_they_did(exactly: Callable[[int], Counters], reviewed: dict[str, str]) -> None:
    moved = {}
    for number in range(NUM_CASES if every_digest else NUM_CASES // 8):
        parts = differing(reviewed[str(number)], digest(exactly(number)))
        if parts:
            moved[number] = parts
    assert not moved, "run `make golden` if that is meant, and say in the changelog why"


@pytest.mark.parametrize(("chip", "name"), [case for case in golden_cases() if every_digest or case in FEW_GOLDEN])
def test_golden_cases_run_as_they_did(
    chip: str, name: str, with_tilings: Scheduler, simulate_exactly: Runs, reviewed: dict[str, str]
) -> None:
    found = golden_digest(chip, name, with_tilings, simulate_exactly)
    assert differing(reviewed[f"{chip}, {name}"], found) == []


def _layer(entry: dict[str, Any]) -> TraceLayer:
    entry = {key: value for key, value in entry.items() if key != "tiling"}
    dims = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.pop("dims").items()}
    weights = entry.pop("weights")
    weights |= {"shape": tuple(weights["shape"]), "source": RandomSource(**weights["source"])}
    inputs = tuple(entry.pop("inputs"))
    return TraceLayer(**entry, dims=LoopDims(**dims), inputs=inputs, weights=LayerWeights(**weights))


def _tiling(text: str) -> Tiling:
    *sizes, letters = text.split()
    order: tuple[Loop, ...] = tuple(loop for letter in letters for loop in ALL_LOOPS if loop == letter)
    return Tiling(*map(int, sizes), order=order)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["exact", "python", "compiled"])
def test_long_read_latency_behind_short_steps(engine: Any, with_tilings: Scheduler, simulate_exactly: Runs) -> None:
    """A memory whose latency spans many steps: two layers, all written out in long_latency.json."""
    case = json.loads((HERE / "long_latency.json").read_text(encoding="utf-8"))
    hardware = HardwareConfig.model_validate(case["hardware"])
    trace = LayerTrace("long_latency", tuple(_layer(entry) for entry in case["layers"]), "synthetic")
    tilings = {entry["name"]: _tiling(entry["tiling"]) for entry in case["layers"]}
    schedule = with_tilings(hardware, trace, case["storage"], tilings)
    counters = (
        simulate_exactly(schedule, hardware) if engine == "exact" else run_schedule(schedule, hardware, engine=engine)
    )
    assert [figures(layer) for layer in counters.layers] == case["expected"]
    assert sum(layer.latency_cycles for layer in counters.layers) == 174_923


def test_entries_of_the_memory_stay_taken_behind_a_layer_without_requests(random_case: Any) -> None:
    """Between two layers with requests, four of which may be under way, one has none (a chip with a cache)."""
    case = random_case(71_089)
    exact = run_schedule(case.schedule, case.hardware, exact=True)
    assert run_schedule(case.schedule, case.hardware, engine="python").dram == exact.dram
