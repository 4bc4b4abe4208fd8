"""Golden totals: small readable records of several networks on every chip; `make golden` writes them again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelsim
from accelsim.errors import AccelSimError
from accelsim.trace import TraceOptions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HWCONFIGS = ROOT / "hwconfigs"
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

VARIANTS = {"edge_timing": ("edge", ["dram.model=timing"])}
"""Committed chips with another setting: name of the record -> chip and overrides."""


def chips() -> list[str]:
    """Return the names of the committed chips and of the variants."""
    return sorted([path.stem for path in HWCONFIGS.glob("*.yaml")] + list(VARIANTS))


def record(chip: str, case: str) -> dict[str, Any]:
    """Return the totals of one run; where the chip cannot run the format, what it says."""
    name, overrides = VARIANTS.get(chip, (chip, []))
    workload = CASES[case].workload
    path = str(ROOT / workload) if workload.endswith(".pt") else workload
    try:
        result = accelsim.run(HWCONFIGS / f"{name}.yaml", path, CASES[case].storage, overrides, CASES[case].options)
    except AccelSimError as error:
        return {"refused": str(error).replace(f"{ROOT}/", "")}
    totals: dict[str, Any] = _rounded(result.totals.model_dump(exclude_none=True))
    totals["actions"] = {unit: counts for unit, counts in totals["actions"].items() if counts}
    return totals


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
        records = {case: record(chip, case) for case in CASES}
        path_of(chip).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
