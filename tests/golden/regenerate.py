"""Golden records of several networks on every chip: totals, and the tilings that the mapper chooses; `make golden`
writes them again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from accelsim.config.loader import LoadedHardware, load_hardware
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.errors import AccelSimError
from accelsim.mapping.loops import LOOPS, UNGROUPED_ORDERS, Loop, Tiling
from accelsim.pipeline import schedule_network, simulate
from accelsim.results.build import build_result
from accelsim.sim.counters import Counters
from accelsim.sim.run import run_schedule
from accelsim.trace import LayerTrace, TraceOptions, trace_workload
from accelsim.trace.model import LoopDims

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HWCONFIGS = ROOT / "hwconfigs"
TILINGS = HERE / "tilings.txt"
SIGNIFICANT_DIGITS = 10  # of floats: what differs beyond is the order of a sum, not the model
STATISTICS = TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2)


@dataclass(frozen=True, slots=True)
class Case:
    """One network in one storage format."""

    workload: str
    storage: str
    options: TraceOptions | None = None


CASES = {
    "resnet18 slt": Case("resnet18", "slt", STATISTICS),
    "resnet18 dense-int8": Case("resnet18", "dense-int8"),
    "conv6_slt_f70 slt": Case("workloads/conv6_slt_f70.pt", "slt"),
    "conv6_slt_f70 bitmap-int8": Case("workloads/conv6_slt_f70.pt", "bitmap-int8"),
    "gin_slt_f50 slt": Case("workloads/gin_slt_f50.pt", "slt"),
    "mobilenet_v2 slt": Case(
        "mobilenet_v2",
        "slt",
        TraceOptions(input_shape=(3, 64, 64), sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2),
    ),
    "vit_tiny dense-int8": Case("vit_tiny", "dense-int8"),
}

ON_CORES = ("conv6_slt_f70 slt", "vit_tiny dense-int8")
"""Networks of chips with several cores, whose runs take seconds."""

VARIANTS = {"edge_timing": ("edge", ["dram.model=timing"])}
"""Committed chips with another setting: name of the record -> chip and overrides."""


def chips() -> list[str]:
    """Return the names of the committed chips and of the variants."""
    return sorted([path.stem for path in HWCONFIGS.glob("*.yaml")] + list(VARIANTS))


@cache
def cases(chip: str) -> tuple[str, ...]:
    """Return the networks that are recorded of a chip."""
    name, overrides = VARIANTS.get(chip, (chip, []))
    has_cores = load_hardware(str(HWCONFIGS / f"{name}.yaml"), overrides).config.num_cores > 1
    return ON_CORES if has_cores else tuple(CASES)


def load(chip: str, case: str) -> tuple[LoadedHardware, LayerTrace]:
    """Return the chip and the network of a case."""
    name, overrides = VARIANTS.get(chip, (chip, []))
    workload = CASES[case].workload
    path = str(ROOT / workload) if workload.endswith(".pt") else workload
    return load_hardware(str(HWCONFIGS / f"{name}.yaml"), overrides), trace_workload(path, CASES[case].options)


@cache
def _outcome(chip: str, case: str, is_stated: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Return the totals of a run and the tilings of its array layers, chosen or, where ``is_stated``, as reviewed."""
    hardware, trace = load(chip, case)
    if hardware.config.num_cores > 1:
        return _totals(hardware, trace, simulate(hardware, trace, CASES[case].storage)), []
    try:
        schedule, _ = schedule_network(
            hardware.config, trace, CASES[case].storage, _stated(chip, case, trace) if is_stated else None
        )
    except AccelSimError as error:
        return {"refused": str(error).replace(f"{ROOT}/", "")}, []
    totals = _totals(hardware, trace, run_schedule(schedule, hardware.config))
    tilings = [
        tiling_text(layer.tiling, entry.dims)
        for layer, entry in zip(schedule.layers, trace.layers, strict=True)
        if layer.tiling is not None
    ]
    return totals, tilings


def _totals(hardware: LoadedHardware, trace: LayerTrace, counters: Counters) -> dict[str, Any]:
    result = build_result(hardware, trace, counters, evaluate(counters, hardware.config, load_tables()))
    totals: dict[str, Any] = _rounded(result.totals.model_dump(exclude_none=True))
    totals["actions"] = {unit: counts for unit, counts in totals["actions"].items() if counts}
    return totals


def record(chip: str, case: str, is_stated: bool = False) -> dict[str, Any]:
    """Return the totals of one run, in reviewed tilings if they are stated; what the chip says if it cannot run it."""
    return _outcome(chip, case, is_stated)[0]


def tilings(chip: str, case: str) -> list[str]:
    """Return the tilings that the mapper chooses for the array layers of a network, as `tiling_text`."""
    return _outcome(chip, case)[1]


ORDERS = {"".join(loop for loop in order if loop in "KCP"): order for order in UNGROUPED_ORDERS}


def tiling_text(tiling: Tiling, dims: LoopDims) -> str:
    """Return the sizes along N G K C P Q, a dot for a whole loop, and the order of K, C and P."""
    sizes = ["." if tiling.size(loop) == getattr(dims, loop) else str(tiling.size(loop)) for loop in LOOPS]
    short = [name for name, order in ORDERS.items() if order == tiling.order]
    return " ".join([*sizes, *(short or ["".join(tiling.order)])])


def tiling_from(text: str, dims: LoopDims) -> Tiling:
    """Return the tiling that a `tiling_text` describes."""
    *texts, name = text.split()
    sizes = {loop: getattr(dims, loop) if size == "." else int(size) for loop, size in zip(LOOPS, texts, strict=True)}
    order: tuple[Loop, ...] = ORDERS.get(name) or tuple(loop for letter in name for loop in LOOPS if loop == letter)
    return Tiling(**sizes, order=order)


def _stated(chip: str, case: str, trace: LayerTrace) -> dict[str, Tiling]:
    layers = [layer for layer in trace.layers if layer.uses_array]
    texts = reviewed_tilings().get((chip, case), [])
    return {layer.name: tiling_from(text, layer.dims) for layer, text in zip(layers, texts, strict=bool(texts))}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def path_of(chip: str) -> Path:
    """Return the file of a chip's golden records."""
    return HERE / f"{chip}.json"


def main() -> None:
    """Write the records of all chips again."""
    for chip in chips():
        records = {case: record(chip, case) for case in cases(chip)}
        path_of(chip).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"{chip}: {case}: {'; '.join(found)}"
        for chip in chips()
        for case in cases(chip)
        if (found := tilings(chip, case))
    ]
    TILINGS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def reviewed_tilings() -> dict[tuple[str, str], list[str]]:
    """Return the recorded tilings of each chip and case; none where the chip refuses the case."""
    entries = [line.split(": ") for line in TILINGS.read_text(encoding="utf-8").splitlines()]
    return {(chip, case): found.split("; ") for chip, case, found in entries}


if __name__ == "__main__":
    main()
