"""Run a schedule and write down the counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.sim.actions import counted
from accelsim.sim.counters import TRAFFIC_CLASSES, Counters, LayerCounters
from accelsim.sim.dram.memory import build_memory
from accelsim.sim.parts import Form, LayerRun, SolvedLayers, Sums, solve_layers, sums_of
from accelsim.sim.processes import run_processes
from accelsim.timing.accounts import CAUSES, Account, LayerTiming, Probe, account, joined, joined_timing, timings
from accelsim.timing.memory import IdealMemory, MemoryModel
from accelsim.timing.moment import Moment
from accelsim.timing.power_states import DramActivity, MemoryUse, activity_of, joined_use
from accelsim.timing.schedule import LayerSchedule, Schedule, first_weights_fit
from accelsim.timing.stations import Station, layer_stations

Engine = Literal["auto", "processes", "solver", "python", "compiled"]
MOST_STEPS_AS_PROCESSES = 10_000_000  # all parts of a layer are held at once: some 8 GB
MOST_EVENTS_AS_PROCESSES = 50_000  # about half a second of SimPy; the solver gives the same cycles


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to see a run, and whether it is one of processes."""

    exact: bool = False
    probe: Probe | None = None
    tap: Callable[[MemoryModel], MemoryModel] | None = None


UNWATCHED = Watch()


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
        force its form; ``auto`` takes processes for a short run and for DRAM with its own timing, but for layers in
        parts. All give the same integers.
    probe
        Sees every slice of work and every wait of the array.
    tap
        Puts a memory in front of the chip's, which sees every request.

    Raises
    ------
    SimulationError
        The units wait for each other for ever, or the bytes moved are not those of the schedule.
    """
    runs, memory = _run_layers(schedule, hardware, "processes" if exact else engine, probe, tap)
    measured = zip(schedule.layers, runs, timings([run.account for run in runs]), strict=True)
    rows = [(layer, run.sums, timing) for layer, run, timing in measured]
    if schedule.layer_of:
        rows = _by_layer(schedule, rows)
    return _counters(schedule, tuple(_layer_counters(*row) for row in rows), _activity(runs, hardware, memory))


_Row = tuple[LayerSchedule, Sums, LayerTiming]


def _by_layer(schedule: Schedule, rows: Sequence[_Row]) -> list[_Row]:
    """Return what the pieces of each layer of the network add up to, under the figures that its last one has.

    A layer lasts as long as its pieces, which lie between those of others. It has no bound of its own: what it reads
    and where that lies is the group's doing.
    """
    by_layer: dict[int, list[_Row]] = {}
    for place, row in zip(schedule.places, rows, strict=True):
        by_layer.setdefault(place, []).append(row)
    found = []
    for place in sorted(by_layer):
        own = by_layer[place]
        if len(own) == 1:
            found += own
            continue
        last = replace(own[-1][0], lower_bound_cycles=None, bound_by="")
        sums = Sums({}, {})
        for _, one, _ in own:
            sums.join(one)
        found.append((last, sums, joined_timing([timing for _, _, timing in own])))
    return found


@dataclass(frozen=True, slots=True)
class SolvedRun:
    """A schedule that has been solved layer by layer; ``after`` is how each layer leaves the chip."""

    layers: tuple[LayerCounters, ...]
    uses: tuple[MemoryUse, ...]
    after: tuple[Moment, ...]


def solve_schedule(schedule: Schedule, hardware: HardwareConfig, solved: SolvedLayers) -> SolvedRun:
    """Return what `run_schedule` counts, layer by layer, for a chip whose memory has no timing of its own.

    Raises
    ------
    SimulationError
        As `run_schedule`.
    """
    runs = list(solve_layers(schedule.layers, hardware, "auto", None, None, solved))
    for layer, run in zip(schedule.layers, runs, strict=True):
        _check_bytes(layer, run)
    measured = zip(schedule.layers, runs, timings([run.account for run in runs]), strict=True)
    return SolvedRun(
        tuple(solved.counted(layer, run, timing, _layer_counters) for layer, run, timing in measured),
        tuple(run.memory for run in runs),
        tuple(run.after for run in runs if run.after is not None),
    )


def run_solved(schedule: Schedule, hardware: HardwareConfig, solved: SolvedLayers) -> Counters:
    """Return the counters of a schedule as `solve_schedule` finds them."""
    run, dram = solve_schedule(schedule, hardware, solved), None
    if hardware.memory != "ideal":
        end = run.after[-1].end_cycle
        dram = activity_of(joined_use(run.uses), end, 1000 / hardware.clock_mhz, hardware.dram)
    return _counters(schedule, run.layers, dram)


def _counters(schedule: Schedule, layers: tuple[LayerCounters, ...], dram: DramActivity | None) -> Counters:
    return Counters(
        storage=schedule.storage,
        layers=layers,
        arithmetic=schedule.arithmetic,
        uses_generator=schedule.uses_generator,
        decoder=schedule.decoder,
        lower_bound_cycles=schedule.lower_bound_cycles,
        dram=dram,
        fused=schedule.fused,
    )


def _activity(runs: Sequence[LayerRun], hardware: HardwareConfig, memory: MemoryModel | None) -> DramActivity | None:
    """Return what the run made of its memory; None of an ideal one."""
    if hardware.memory == "ideal" or not runs:
        return None
    end = runs[-1].end_cycle
    use = joined_use([run.memory for run in runs])
    measured = None if memory is None else memory.states(end)
    return activity_of(use, end, 1000 / hardware.clock_mhz, hardware.dram, measured)


def simulate_schedule(
    schedule: Schedule,
    hardware: HardwareConfig,
    *,
    engine: Engine = "auto",
    probe: Probe | None = None,
    tap: Callable[[MemoryModel], MemoryModel] | None = None,
) -> tuple[LayerTiming, ...]:
    """Return the timing of each layer; parameters and errors as `run_schedule`."""
    return timings([run.account for run in _run_layers(schedule, hardware, engine, probe, tap)[0]])


def _run_layers(
    schedule: Schedule,
    hardware: HardwareConfig,
    engine: Engine,
    probe: Probe | None,
    tap: Callable[[MemoryModel], MemoryModel] | None,
) -> tuple[list[LayerRun], MemoryModel | None]:
    layers = schedule.layers
    in_parts = next((layer for layer in layers if layer.parts is not None), None)
    if probe is not None and in_parts is not None:
        raise SimulationError(
            f"{in_parts.name}: {in_parts.num_steps} tiles are too many for a timeline or a Gantt chart; leave it out, "
            "or state larger tiles with --mapping FILE"
        )
    memory = None if tap is None else tap(memory_of(hardware))
    if _takes_processes(schedule, hardware, engine):
        memory = memory or memory_of(hardware)
        runs = _run_processes(layers, hardware, probe, memory)
    else:
        if memory is None and hardware.has_timed_dram:
            memory = memory_of(hardware)
        form: Form = engine if engine in ("python", "compiled") else "auto"
        # The stripes of a fused layer are alike.
        known = SolvedLayers() if schedule.layer_of and probe is None and memory is None else None
        runs = list(solve_layers(layers, hardware, form, probe, memory, known))
    for layer, run in zip(layers, runs, strict=True):
        _check_bytes(layer, run)
    return runs, memory


def _run_processes(
    layers: Sequence[LayerSchedule], hardware: HardwareConfig, probe: Probe | None, memory: MemoryModel
) -> list[LayerRun]:
    """Run layers as SimPy processes; parts of a layer are layers to them."""
    for layer in layers:
        if layer.num_steps > MOST_STEPS_AS_PROCESSES:
            raise SimulationError(
                f"{layer.name}: {layer.num_steps} tiles are more than the {MOST_STEPS_AS_PROCESSES} that run one by "
                "one; leave --exact out, or state larger tiles with --mapping FILE"
            )
    pieces = [(place, piece) for place, layer in enumerate(layers) for piece in layer.pieces()]
    schedules = tuple(piece for _, piece in pieces)
    tables = [table_of(schedules, place, hardware) for place in range(len(schedules))]
    solved = run_processes(schedules, tables, memory)
    rows: list[list[tuple[LayerSchedule, Account]]] = [[] for _ in layers]
    for (place, piece), table, times in zip(pieces, tables, solved, strict=True):
        rows[place].append((piece, account(piece, table, times, hardware, probe, place)))
    return [
        LayerRun(row[0][1] if len(row) == 1 else joined([one for _, one in row]), sums_of([piece for piece, _ in row]))
        for row in rows
    ]


def table_of(layers: Sequence[LayerSchedule], place: int, hardware: HardwareConfig) -> tuple[Station, ...]:
    """Return the table of the layer at ``place`` of a network."""
    fits = place > 0 and first_weights_fit(layers[place - 1], layers[place], hardware)
    return layer_stations(layers[place], hardware, fits)


def _takes_processes(schedule: Schedule, hardware: HardwareConfig, engine: Engine) -> bool:
    if engine != "auto":
        return engine == "processes"
    if any(layer.parts is not None for layer in schedule.layers):
        return False
    if hardware.has_timed_dram:
        return True
    return sum(layer.num_events for layer in schedule.layers) <= MOST_EVENTS_AS_PROCESSES


def memory_of(hardware: HardwareConfig) -> MemoryModel:
    """Return the chip's memory as an object, in its cold state."""
    return IdealMemory() if hardware.memory == "ideal" else build_memory(hardware.dram, hardware.clock_mhz)


def _check_bytes(layer: LayerSchedule, run: LayerRun) -> None:
    """Raise where the bytes that moved are not those of the schedule."""
    moved, planned = sum(run.account.moved_bytes), sum(run.sums.dram_bytes.values())
    if moved != planned:
        raise SimulationError(f"{layer.name}: {moved} bytes moved, {planned} planned; please report it")


def _layer_counters(layer: LayerSchedule, sums: Sums, timing: LayerTiming) -> LayerCounters:
    written = sums.written_bytes
    read = sum(sums.dram_bytes.values()) - written
    return LayerCounters(
        name=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        latency_cycles=timing.latency_cycles,
        macs=layer.macs,
        effective_macs=layer.effective_macs,
        cycles_by_cause={cause: timing.cycles_by_cause.get(cause, 0) for cause in CAUSES},
        stored_bits=layer.stored_bits,
        dram_bytes={name: sums.dram_bytes.get(name, 0) for name in TRAFFIC_CLASSES},
        dram_read_bytes=read,
        dram_write_bytes=written,
        actions=counted(sums.actions, read, written),
        busy_cycles=timing.busy_cycles,
        lower_bound_cycles=layer.lower_bound_cycles,
        port_limit=max(sums.port_cycles, key=lambda name: sums.port_cycles[name], default=None),
    )
