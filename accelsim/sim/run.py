"""Run a schedule and write down the counters."""

from __future__ import annotations

from accelsim.config.hardware import HardwareConfig
from accelsim.mapping.schedule import LayerSchedule, Schedule
from accelsim.sim.actions import ACTIONS
from accelsim.sim.chip import Probe
from accelsim.sim.counters import CAUSES, TRAFFIC_CLASSES, Counters, LayerCounters
from accelsim.sim.system import LayerTiming, simulate_schedule


def run_schedule(
    schedule: Schedule, hardware: HardwareConfig, *, exact: bool = False, probe: Probe | None = None
) -> Counters:
    """Simulate a schedule and return its counters; parameters and errors as `accelsim.sim.system.simulate_schedule`."""
    timings = simulate_schedule(schedule, hardware, exact=exact, probe=probe)
    layers = tuple(_layer_counters(layer, timing) for layer, timing in zip(schedule.layers, timings, strict=True))
    return Counters(
        storage=schedule.storage,
        layers=layers,
        arithmetic=schedule.arithmetic,
        uses_generator=schedule.uses_generator,
        decoder=schedule.decoder,
    )


def _layer_counters(layer: LayerSchedule, timing: LayerTiming) -> LayerCounters:
    written = int(layer.outputs.store_bytes.sum())
    read = sum(layer.dram_bytes.values()) - written
    actions: dict[str, dict[str, int]] = {"dram": {"read_bits": 8 * read, "write_bits": 8 * written}}
    for unit, counts in layer.actions.items():
        actions[unit] = {name: counts[name] for name in ACTIONS[unit] if counts.get(name)}
    return LayerCounters(
        name=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        latency_cycles=timing.latency_cycles,
        macs=layer.macs,
        effective_macs=layer.effective_macs,
        cycles_by_cause={cause: timing.cycles_by_cause.get(cause, 0) for cause in CAUSES},
        stored_bits=layer.stored_bits,
        dram_bytes={name: layer.dram_bytes.get(name, 0) for name in TRAFFIC_CLASSES},
        dram_read_bytes=read,
        dram_write_bytes=written,
        actions=actions,
        busy_cycles=timing.busy_cycles,
    )
