"""Run a schedule and write down the counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.sim.actions import ACTIONS
from accelsim.sim.counters import TRAFFIC_CLASSES, Counters, LayerCounters
from accelsim.sim.dram.memory import build_memory
from accelsim.sim.processes import run_processes
from accelsim.timing.accounts import CAUSES, Account, LayerTiming, Probe, account, timings
from accelsim.timing.memory import IdealMemory, MemoryModel
from accelsim.timing.schedule import LayerSchedule, Schedule, first_weights_fit
from accelsim.timing.solve import Moment, SolvedLayer, flatten, solve_layer
from accelsim.timing.stations import Station, layer_stations

Engine = Literal["auto", "processes", "solver", "python", "compiled"]
MOST_EVENTS_AS_PROCESSES = 50_000  # about half a second of SimPy; the solver gives the same cycles


def run_schedule(
    schedule: Schedule,
    hardware: HardwareConfig,
    *,
    exact: bool = False,
    engine: Engine = "auto",
    probe: Probe | None = None,
    tap: Callable[[MemoryModel], MemoryModel] | None = None,
) -> Counters:
    """Simulate a schedule and return its counters.

    Parameters
    ----------
    exact
        Run the stations as SimPy processes, however many events there are.
    engine
        ``processes`` is the same; ``solver`` the longest path (`accelsim.timing.solve`), ``python`` and ``compiled``
        force its form; ``auto`` takes processes for a short run and for DRAM with its own timing. All give the same
        integers.
    probe
        Sees every slice of work and every wait of the array.
    tap
        Puts a memory in front of the chip's, which sees every request.

    Raises
    ------
    SimulationError
        The units wait for each other for ever, or the bytes moved are not those of the schedule.
    """
    measured = simulate_schedule(schedule, hardware, engine="processes" if exact else engine, probe=probe, tap=tap)
    layers = tuple(_layer_counters(layer, timing) for layer, timing in zip(schedule.layers, measured, strict=True))
    return Counters(
        storage=schedule.storage,
        layers=layers,
        arithmetic=schedule.arithmetic,
        uses_generator=schedule.uses_generator,
        decoder=schedule.decoder,
        lower_bound_cycles=schedule.lower_bound_cycles,
    )


def simulate_schedule(
    schedule: Schedule,
    hardware: HardwareConfig,
    *,
    engine: Engine = "auto",
    probe: Probe | None = None,
    tap: Callable[[MemoryModel], MemoryModel] | None = None,
) -> tuple[LayerTiming, ...]:
    """Return the timing of each layer; parameters and errors as `run_schedule`."""
    layers = schedule.layers
    tapped = None if tap is None else tap(_memory(hardware))
    if _takes_processes(schedule, hardware, engine):
        tables = [table_of(layers, place, hardware) for place in range(len(layers))]
        solved = run_processes(layers, tables, tapped or _memory(hardware))
        accounts = [
            account(layer, table, times, probe, place)
            for place, (layer, table, times) in enumerate(zip(layers, tables, solved, strict=True))
        ]
    else:
        accounts = _solve(layers, hardware, engine, probe, tapped)
    for layer, one in zip(layers, accounts, strict=True):
        _check_bytes(layer, one)
    return timings(accounts)


def table_of(layers: Sequence[LayerSchedule], place: int, hardware: HardwareConfig) -> tuple[Station, ...]:
    """Return the table of the layer at ``place`` of a network."""
    fits = place > 0 and first_weights_fit(layers[place - 1], layers[place], hardware)
    return layer_stations(layers[place], hardware, fits)


def _takes_processes(schedule: Schedule, hardware: HardwareConfig, engine: Engine) -> bool:
    if engine != "auto":
        return engine == "processes"
    if hardware.memory != "ideal" and hardware.dram.model == "timing":
        return True
    return sum(layer.num_events for layer in schedule.layers) <= MOST_EVENTS_AS_PROCESSES


def _memory(hardware: HardwareConfig) -> MemoryModel:
    return IdealMemory() if hardware.memory == "ideal" else build_memory(hardware.dram, hardware.clock_mhz)


def _solve(
    layers: Sequence[LayerSchedule],
    hardware: HardwareConfig,
    engine: Engine,
    probe: Probe | None,
    memory: MemoryModel | None,
) -> list[Account]:
    """Solve layer by layer; each is forgotten once its account is known."""
    if memory is None and hardware.memory != "ideal" and hardware.dram.model == "timing":
        memory = _memory(hardware)
    form: Literal["auto", "python", "compiled"] = engine if engine in ("python", "compiled") else "auto"
    moment, accounts = Moment(), []
    for place, layer in enumerate(layers):
        table = flatten(layer, table_of(layers, place, hardware))
        solved: SolvedLayer = solve_layer(table, hardware, moment, memory, form)
        accounts.append(account(layer, table.source, solved, probe, place))
        moment = solved.after
    return accounts


def _check_bytes(layer: LayerSchedule, one: Account) -> None:
    """Raise where the bytes that moved are not those of the schedule."""
    planned = sum(layer.dram_bytes.values())
    if sum(one.moved_bytes) != planned:
        raise SimulationError(f"{layer.name}: {sum(one.moved_bytes)} bytes moved, {planned} planned; please report it")


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
        lower_bound_cycles=layer.lower_bound_cycles,
    )
