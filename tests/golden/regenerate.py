"""Golden totals: small readable records of a synthetic ResNet-18 on every chip; `make golden` writes them again."""

from __future__ import annotations

import json
from pathlib import Path

from accelsim.config.loader import load_hardware
from accelsim.errors import MappingError
from accelsim.pipeline import schedule_network
from accelsim.sim.run import run_schedule
from accelsim.trace import TraceOptions, trace_network

HERE = Path(__file__).resolve().parent
HWCONFIGS = HERE.parents[1] / "hwconfigs"
NETWORK = "resnet18"
STORAGES = {"slt": TraceOptions(sparsity=0.7, prune_ratio=0.5, lock_ratio=0.2), "dense-int8": TraceOptions()}


def chips() -> list[str]:
    """Return the names of the committed chips."""
    return sorted(path.stem for path in HWCONFIGS.glob("*.yaml"))


def record(chip: str, storage: str) -> dict[str, object]:
    """Return the totals of one run; where the chip cannot run the format, what it says."""
    hardware = load_hardware(HWCONFIGS / f"{chip}.yaml").config
    try:
        schedule, _ = schedule_network(hardware, trace_network(NETWORK, STORAGES[storage]), storage)
    except MappingError as error:
        return {"refused": str(error)}
    layers = run_schedule(schedule, hardware).layers
    causes: dict[str, int] = {}
    traffic: dict[str, int] = {}
    actions: dict[str, dict[str, int]] = {}
    for layer in layers:
        for name, count in layer.cycles_by_cause.items():
            causes[name] = causes.get(name, 0) + count
        for name, count in layer.dram_bytes.items():
            traffic[name] = traffic.get(name, 0) + count
        for unit, counts in layer.actions.items():
            for name, count in counts.items():
                of_unit = actions.setdefault(unit, {})
                of_unit[name] = of_unit.get(name, 0) + count
    return {
        "latency_cycles": sum(layer.latency_cycles for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "effective_macs": sum(layer.effective_macs for layer in layers),
        "cycles_by_cause": causes,
        "dram_bytes": traffic,
        "dram_read_bytes": sum(layer.dram_read_bytes for layer in layers),
        "dram_write_bytes": sum(layer.dram_write_bytes for layer in layers),
        "actions": {unit: counts for unit, counts in actions.items() if counts},
    }


def path_of(chip: str) -> Path:
    """Return the file of a chip's golden records."""
    return HERE / f"{NETWORK}_{chip}.json"


def main() -> None:
    """Write the records of all chips again."""
    for chip in chips():
        records = {storage: record(chip, storage) for storage in STORAGES}
        path_of(chip).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
