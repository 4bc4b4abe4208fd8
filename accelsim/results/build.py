"""From counters and their cost to a RunResult: sums and ratios, nothing that changes a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, Protocol, cast

import accelsim
from accelsim.config.hardware import HardwareConfig
from accelsim.cost.report import CostReport
from accelsim.results.model import (
    SCHEMA_VERSION,
    CoreRecord,
    CyclesByCause,
    DramBytesRecord,
    EnergyByUnit,
    FusedRecord,
    HardwareRecord,
    LayerRecord,
    LimitRecord,
    NextLimitRecord,
    PortLimit,
    Record,
    RunResult,
    StoredBitsRecord,
    Totals,
    WorkloadRecord,
)
from accelsim.sim.actions import ARITHMETICS
from accelsim.sim.counters import CAUSES, TRAFFIC_CLASSES, Counters, LayerCounters, Tokens
from accelsim.timing.schedule import FusedLayers
from accelsim.trace.model import LayerTrace
from accelsim.units import cycles_to_s

STORED_CLASSES = ("mask", "seed", "scale", "weight", "index")


class Hardware(Protocol):
    """A hardware description with the file it came from (what the configuration loader returns)."""

    @property
    def config(self) -> HardwareConfig:
        """The validated description."""
        ...

    @property
    def path(self) -> str:
        """The file, as given on the command line."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of the file and of the values set on the command line."""
        ...


def build_result(
    hardware: Hardware,
    trace: LayerTrace,
    counters: Counters,
    cost: CostReport,
    comparison: Mapping[str, Totals] | None = None,
) -> RunResult:
    """Return the result of one run.

    Parameters
    ----------
    hardware, trace, counters, cost
        What was simulated, on what, what was counted and what it cost; counters and cost have one entry per layer.
    comparison
        Storage format -> totals of the same network on the same chip; None leaves the key out of the result.
    """
    return assemble_result(hardware, workload_record(trace), counters, cost, dict(trace.skipped), comparison)


def assemble_result(  # noqa: PLR0913  each is a part of the result
    hardware: Hardware,
    workload: WorkloadRecord,
    counters: Counters,
    cost: CostReport,
    skipped: Mapping[str, int],
    comparison: Mapping[str, Totals] | None = None,
) -> RunResult:
    """Return the result from the recorded parts of a run (`build_result` for runs whose trace is at hand)."""
    config = hardware.config
    layers = tuple(
        _layer_record(layer, energy, states, config)
        for layer, energy, states in zip(
            counters.layers, cost.layer_energy_j_by_unit, cost.layer_dram_energy_j_by_state, strict=True
        )
    )
    return RunResult(
        schema_version=SCHEMA_VERSION,
        accelsim_version=accelsim.__version__,
        hardware=HardwareRecord(
            name=config.name,
            path=hardware.path,
            sha256=hardware.sha256,
            clock_mhz=float(config.clock_mhz),
            node_nm=float(config.node_nm),
        ),
        workload=workload,
        storage=counters.storage,
        totals=_totals(layers, counters, cost, config, workload.batch),
        **limits_of(counters),
        skipped=dict(sorted(skipped.items())),
        layers=layers,
        comparison=None if comparison is None else dict(comparison),
        first_input_latency_s=(
            None
            if counters.first_input_cycles is None
            else cycles_to_s(counters.first_input_cycles, hardware.config.clock_mhz)
        ),
        cores=tuple(CoreRecord(**asdict(core)) for core in counters.cores) or None,
        fused=tuple(_fused_record(group) for group in counters.fused) or None,
    )


def _fused_record(group: FusedLayers) -> FusedRecord:
    names = FusedRecord.model_fields
    return FusedRecord(**{name: value for name, value in asdict(group).items() if name in names})


def limits_of(counters: Counters) -> dict[str, Any]:
    """Return the fields of a result that say what limits the run."""
    following = counters.next_limit
    return {
        "limits": {name: LimitRecord(**asdict(limit)) for name, limit in sorted(counters.limits.items())},
        "limits_left_out": dict(sorted(counters.limits_left_out.items())) or None,
        "next_limit": None if following is None else NextLimitRecord(**asdict(following)),
    }


def workload_record(trace: LayerTrace) -> WorkloadRecord:
    """Return what a result says of its network: counts over all weighted layers, whatever the storage format."""
    weights = [layer.weights for layer in trace.layers if layer.weights is not None and not layer.weights_of]
    total = sum(entry.num_weights for entry in weights)

    def fraction(count: int) -> float:
        return count / total if total else 0.0

    pruned = sum(entry.num_pruned for entry in weights)
    locked = sum(entry.num_locked for entry in weights)
    return WorkloadRecord(
        name=trace.name,
        path=trace.path,
        sha256=trace.sha256,
        provenance=cast(Literal["searched", "imported", "synthetic", "dense"], trace.provenance),
        dataset=trace.dataset,
        accuracy=trace.accuracy,
        batch=num_frames(trace),
        phase="forward" if trace.language is None else trace.language.phase,
        # Operations that are left out may have had parameters.
        num_parameters=None if trace.skipped else trace.num_parameters,
        context_length=None if trace.language is None else trace.language.context_length,
        num_weights=total,
        sparsity=fraction(total - sum(entry.num_kept for entry in weights)),
        prune_ratio=fraction(pruned),
        lock_ratio=fraction(locked),
        freeze_ratio=fraction(pruned + locked),
        regenerable=trace.regenerable,
    )


def num_frames(trace: LayerTrace) -> int:
    """Return the inputs that one run of ``trace`` processes: its batch."""
    return trace.num_inputs


def _layer_record(
    layer: LayerCounters, energy_j_by_unit: Mapping[str, float], states: dict[str, float], config: HardwareConfig
) -> LayerRecord:
    latency_s = cycles_to_s(layer.latency_cycles, config.clock_mhz)
    energy_j = math.fsum(energy_j_by_unit.values())
    return LayerRecord(
        name=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        latency_cycles=layer.latency_cycles,
        latency_s=latency_s,
        lower_bound_cycles=layer.lower_bound_cycles,
        energy_j=energy_j,
        average_power_w=energy_j / latency_s if latency_s else 0.0,
        macs=layer.macs,
        effective_macs=layer.effective_macs,
        pe_utilization=_utilization(_occupied_slots(layer), layer.latency_cycles, config),
        stored_bits=StoredBitsRecord(**asdict(layer.stored_bits)),
        dram_bytes=DramBytesRecord(**{name: layer.dram_bytes.get(name, 0) for name in TRAFFIC_CLASSES}),
        dram_read_bytes=layer.dram_read_bytes,
        dram_write_bytes=layer.dram_write_bytes,
        **_bandwidth(layer.dram_read_bytes + layer.dram_write_bytes, latency_s, config)._asdict(),
        energy_j_by_unit=EnergyByUnit(**{name: energy_j_by_unit.get(name, 0.0) for name in EnergyByUnit.model_fields}),
        dram_energy_j_by_state=states,
        cycles_by_cause=CyclesByCause(**{name: layer.cycles_by_cause.get(name, 0) for name in CAUSES}),
        port_limit=cast(PortLimit | None, layer.port_limit),
        actions=_sorted_actions([layer.actions]),
    )


def _totals(
    layers: tuple[LayerRecord, ...], counters: Counters, cost: CostReport, config: HardwareConfig, batch: int
) -> Totals:
    latency_cycles = sum(layer.latency_cycles for layer in layers)
    latency_s = cycles_to_s(latency_cycles, config.clock_mhz)
    energy_j = math.fsum(cost.energy_j_by_unit.values())
    power_w = energy_j / latency_s if latency_s else 0.0
    macs = sum(layer.macs for layer in layers)
    tops = 2 * macs / latency_s / 1e12 if latency_s else 0.0
    read_bytes = sum(layer.dram_read_bytes for layer in layers)
    write_bytes = sum(layer.dram_write_bytes for layer in layers)
    occupied = math.fsum(layer.pe_utilization * layer.latency_cycles for layer in layers)
    return Totals(
        latency_cycles=latency_cycles,
        latency_s=latency_s,
        lower_bound_cycles=counters.lower_bound_cycles,
        energy_j=energy_j,
        average_power_w=power_w,
        macs=macs,
        effective_macs=sum(layer.effective_macs for layer in layers),
        pe_utilization=min(1.0, occupied / latency_cycles) if latency_cycles else 0.0,
        stored_bits=StoredBitsRecord(
            **{name: sum(getattr(layer.stored_bits, name) for layer in layers) for name in STORED_CLASSES}
        ),
        dram_bytes=DramBytesRecord(
            **{name: sum(getattr(layer.dram_bytes, name) for layer in layers) for name in TRAFFIC_CLASSES}
        ),
        dram_read_bytes=read_bytes,
        dram_write_bytes=write_bytes,
        **_bandwidth(read_bytes + write_bytes, latency_s, config)._asdict(),
        energy_j_by_unit=EnergyByUnit(
            **{name: cost.energy_j_by_unit.get(name, 0.0) for name in EnergyByUnit.model_fields}
        ),
        dram_energy_j_by_state=cost.dram_energy_j_by_state,
        cycles_by_cause=CyclesByCause(
            **{name: sum(getattr(layer.cycles_by_cause, name) for layer in layers) for name in CAUSES}
        ),
        port_limit=_network_port_limit(layers),
        actions=_sorted_actions(layer.actions for layer in layers),
        tops=tops,
        tops_per_w=tops / power_w if power_w else 0.0,
        edp_js=energy_j * latency_s,
        frames_per_s=batch / latency_s if latency_s else 0.0,
        latency_s_per_input=latency_s / batch,
        energy_j_per_input=energy_j / batch,
        **_token_figures(counters.tokens, latency_cycles, energy_j, config)._asdict(),
        area_mm2=math.fsum(cost.area_mm2_by_unit.values()),
        area_mm2_by_unit=dict(sorted(cost.area_mm2_by_unit.items())),
    )


class _TokenFigures(NamedTuple):
    tokens_per_s: float | None = None
    energy_j_per_token: float | None = None
    time_to_first_token_s: float | None = None


def _token_figures(
    tokens: Tokens | None, latency_cycles: int, energy_j: float, config: HardwareConfig
) -> _TokenFigures:
    if tokens is None:
        return _TokenFigures()
    timed_s = cycles_to_s(latency_cycles - tokens.untimed_cycles, config.clock_mhz)
    first = tokens.first_cycles
    return _TokenFigures(
        tokens_per_s=tokens.timed / timed_s if tokens.timed and timed_s else None,
        energy_j_per_token=energy_j / tokens.counted,
        time_to_first_token_s=None if first is None else cycles_to_s(first, config.clock_mhz),
    )


class _Bandwidth(NamedTuple):
    average_bandwidth_gbps: float | None
    peak_bandwidth_gbps: float | None
    bandwidth_share: float | None


def _bandwidth(num_bytes: int, latency_s: float, config: HardwareConfig) -> _Bandwidth:
    if config.memory == "ideal":
        return _Bandwidth(None, None, None)
    average = num_bytes / latency_s / 1e9 if latency_s else 0.0
    peak = config.dram.peak_bytes_per_ns  # bytes per ns are 10^9 bytes per second
    return _Bandwidth(average, peak, average / peak)


def _network_port_limit(layers: Iterable[LayerRecord]) -> PortLimit | None:
    """Return the buffer whose ports cost most cycles over all layers; None where they cost none."""
    cycles: Counter[PortLimit] = Counter()
    for layer in layers:
        if layer.port_limit is not None and layer.cycles_by_cause.buffer_ports:
            cycles[layer.port_limit] += layer.cycles_by_cause.buffer_ports
    return max(sorted(cycles), key=lambda name: cycles[name], default=None)


def _occupied_slots(layer: LayerCounters) -> int:
    """Return the PE cycles that held a multiply-accumulate: executed or gated, never more than the dense ones.

    Gated slots also count PEs that are held while others of their group still work; those hold no operation.
    """
    array = layer.actions.get("pe_array", {})
    executed = sum(array.get(f"mac_{name}", 0) for name in ARITHMETICS)
    return min(layer.macs, executed + array.get("mac_gated", 0))


def _utilization(slots: int, latency_cycles: int, config: HardwareConfig) -> float:
    available = latency_cycles * config.num_pes
    return min(1.0, slots / available) if available else 0.0


def _sorted_actions(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Return the sum of action counts, units and actions in alphabetical order."""
    sums: dict[str, dict[str, int]] = {}
    for part in parts:
        for unit, actions in part.items():
            row = sums.setdefault(unit, {})
            for action, count in actions.items():
                row[action] = row.get(action, 0) + count
    return {unit: dict(sorted(row.items())) for unit, row in sorted(sums.items())}


__all__ = ["Hardware", "Record", "assemble_result", "build_result", "num_frames", "workload_record"]
