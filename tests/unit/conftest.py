"""A hand-made run that the tests of results, reports and commands share: two layers, figures chosen by hand."""

from dataclasses import dataclass

import pytest

from accelsim.config.hardware import HardwareConfig
from accelsim.cost.report import CostReport
from accelsim.sim.counters import Counters, LayerCounters
from accelsim.storage.base import StoredBits
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer


@dataclass(frozen=True)
class SampleHardware:
    config: HardwareConfig
    path: str = "chips/sample.yaml"
    sha256: str = "c" * 64


@dataclass(frozen=True)
class SampleRun:
    hardware: SampleHardware
    trace: LayerTrace
    counters: Counters
    cost: CostReport


def _layer(name: str, kind: str, shape: tuple[int, ...], scale: int) -> LayerCounters:
    return LayerCounters(
        name=name,
        kind=kind,
        shape=shape,
        latency_cycles=100 * scale,
        macs=2000 * scale,
        effective_macs=600 * scale,
        cycles_by_cause={"compute": 60 * scale, "fill_drain": 10 * scale, "wait_dram": 30 * scale},
        stored_bits=StoredBits(mask=30 * scale, seed=32, scale=64),
        dram_bytes={"mask": 4 * scale, "seed": 4, "scale": 8, "activation_in": 100, "activation_out": 50},
        dram_read_bytes=4 * scale + 112,
        dram_write_bytes=50,
        actions={
            "pe_array": {"mac_ternary": 600 * scale, "mac_gated": 1500 * scale},
            "dram": {"read_bits": 8 * (4 * scale + 112), "write_bits": 400},
        },
        busy_cycles={"pe_array": 60 * scale},
    )


@pytest.fixture
def sample_run() -> SampleRun:
    config = HardwareConfig.model_validate(
        {"name": "sample", "clock_mhz": 500.0, "node_nm": 22.0, "pe_array": {"rows": 8, "cols": 4}}
    )
    weights = LayerWeights(shape=(10, 10), num_kept=30, num_pruned=50, num_locked=20, num_free=30)
    trace = LayerTrace(
        name="tiny",
        layers=(
            TraceLayer("first", "conv2d", LoopDims(K=10, C=10), ("input",), weights=weights),
            TraceLayer("second", "linear", LoopDims(K=10, C=10), ("first",), weights=weights),
        ),
        provenance="searched",
        path="tiny.pt",
        sha256="b" * 64,
        dataset="digits",
        accuracy=0.95,
    )
    counters = Counters(
        storage="slt",
        layers=(_layer("first", "conv2d", (10, 10, 1, 1), 1), _layer("second", "linear", (10, 10), 3)),
        arithmetic="ternary",
        uses_generator=True,
        decoder="raw",
    )
    layer_energy = ({"dram": 1e-9, "pe_array": 3e-9, "leakage": 1e-10}, {"dram": 2e-9, "pe_array": 5e-9})
    totals: dict[str, float] = {}
    for entry in layer_energy:
        for unit, energy_j in entry.items():
            totals[unit] = totals.get(unit, 0.0) + energy_j
    layer_states = tuple({"rd": entry["dram"] / 4, "active": entry["dram"] * 3 / 4} for entry in layer_energy)
    states = {name: sum(entry[name] for entry in layer_states) for name in ("rd", "active")}
    areas = {"pe_array": 0.25, "activation_buffer": 0.5}
    cost = CostReport(totals, layer_energy, areas, 1e-3, states, layer_states)
    return SampleRun(SampleHardware(config), trace, counters, cost)
