"""Run the pieces of several cores and write down what each core, and the whole chip, has done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelsim.config.hardware import HardwareConfig
from accelsim.errors import SimulationError
from accelsim.sim.actions import counted
from accelsim.sim.core_memory import activity_of_system
from accelsim.sim.counters import TRAFFIC_CLASSES, CoreCounters, Counters, LayerCounters
from accelsim.sim.parts import Form
from accelsim.sim.processes import run_flat
from accelsim.sim.run import memory_of
from accelsim.storage.base import StoredBits
from accelsim.timing.accounts import CAUSES, WAIT_CORES, Account, LayerTiming, Probe, account, condensed, timings
from accelsim.timing.arbitration import arbitration_of
from accelsim.timing.core_pieces import CorePiece, Slot, core_name
from accelsim.timing.cores import System, build_system, solve_system, solved_pieces
from accelsim.timing.memory import MemoryModel
from accelsim.timing.power_states import DramActivity
from accelsim.timing.schedule import LayerSchedule
from accelsim.timing.solve import FlatTimes, SolvedLayer

MOST_EVENTS_AS_PROCESSES = 5_000  # a few tenths of a second: an arbiter waits for every cycle's end
WEIGHT_CLASSES = ("mask", "seed", "scale", "weight", "index")


@dataclass(frozen=True, slots=True)
class PieceRun:
    """A piece that has run: what it cost its core, without what another core has paid for."""

    piece: CorePiece
    account: Account
    timing: LayerTiming
    dram_bytes: Mapping[str, int]
    actions: Mapping[str, Mapping[str, int]]
    written_bytes: int


@dataclass(frozen=True, slots=True)
class SystemRun:
    """A run on several cores; ``end_cycle`` is that of the last core."""

    pieces: tuple[PieceRun, ...]
    end_cycle: int
    dram: DramActivity | None


def run_system(
    slots: Sequence[Slot],
    hardware: HardwareConfig,
    *,
    exact: bool = False,
    engine: str = "auto",
    probe: Probe | None = None,
    tap: Callable[[MemoryModel], MemoryModel] | None = None,
    layer_of: Sequence[int] | None = None,
) -> SystemRun:
    """Simulate what several cores do; parameters and errors as `accelsim.sim.run.run_schedule`.

    ``layer_of`` says which layer each slot belongs to, as a ``probe`` is told; else each is one of its own.
    """
    system = build_system(slots, hardware)
    memory = None
    if tap is not None or hardware.has_timed_dram:
        memory = memory_of(hardware)
        memory = memory if tap is None else tap(memory)
    times = _times(system, hardware, "processes" if exact else engine, memory)
    accounts = [
        _account(piece, one, hardware, _named(probe, piece.core), None if layer_of is None else layer_of[piece.slot])
        for piece, one in solved_pieces(system, times)
    ]
    return _system_run(system, times, accounts, hardware, memory)


def _account(
    piece: CorePiece,
    solved: SolvedLayer,
    hardware: HardwareConfig,
    probe: Probe | None = None,
    layer: int | None = None,
    is_charged: bool = True,
) -> Account:
    """Return the account of a piece, of work ahead alone one by one; ``is_charged`` as of `account`."""
    number = piece.slot if layer is None else layer
    one = account(piece.schedule, piece.stations, solved, hardware, probe, number, False, is_charged)
    return condensed(one, solved.start_cycle)


def _system_run(
    system: System,
    times: FlatTimes,
    accounts: Sequence[Account],
    hardware: HardwareConfig,
    memory: MemoryModel | None = None,
) -> SystemRun:
    by_core: dict[int, list[int]] = {}
    for place, piece in enumerate(system.pieces):
        by_core.setdefault(piece.core, []).append(place)
    measured: dict[int, LayerTiming] = {}
    for places in by_core.values():
        measured |= zip(places, timings([accounts[place] for place in places]), strict=True)
    runs = tuple(
        _piece_run(piece, one, measured[place], hardware)
        for place, (piece, one) in enumerate(zip(system.pieces, accounts, strict=True))
    )
    end = max((one.end_cycle for one in accounts), default=0)
    _check_bytes(system, runs)
    return SystemRun(runs, end, activity_of_system(system, times, end, hardware, memory))


@dataclass(frozen=True, slots=True)
class SystemTimes:
    """Slots that have been solved with the simple memory or the ideal one, of which only is made out what is asked."""

    system: System
    times: FlatTimes
    hardware: HardwareConfig

    @property
    def end_cycle(self) -> int:
        """Return the cycle in which the last core ends."""
        return _end(self.times)

    def of_layers(self, section_of: Sequence[int]) -> SystemRun:
        """Return the run with causes of waits for the core alone that ends last in each section.

        To find them takes longer than to solve the run, and latencies of layers follow from those alone
        (`accelsim.cores.run.counters_of`). ``section_of`` is the section of each slot.
        """
        last: dict[int, tuple[int, int]] = {}
        for piece, end in zip(self.system.pieces, self._ends(), strict=True):
            section = section_of[piece.slot]
            last[section] = max(last.get(section, (-1, 0)), (end, -piece.core))
        accounts = [
            _account(piece, one, self.hardware, is_charged=last[section_of[piece.slot]][1] == -piece.core)
            for piece, one in solved_pieces(self.system, self.times)
        ]
        return _system_run(self.system, self.times, accounts, self.hardware)

    def of_stages(self, slots: Sequence[Slot]) -> SystemRun:
        """Return the run of a pipeline with causes of waits for the pieces alone that its end waited for."""
        pieces, accounts = self.system.pieces, dict[int, Account]()
        solved = [one for _, one in solved_pieces(self.system, self.times)]

        def waits(place: int) -> int:
            accounts[place] = _account(pieces[place], solved[place], self.hardware)
            return accounts[place].causes.get(WAIT_CORES, 0)

        _waited_for(pieces, self._ends(), waits, slots)
        for place in {*range(len(pieces))} - {*accounts}:
            accounts[place] = _account(pieces[place], solved[place], self.hardware, is_charged=False)
        return _system_run(self.system, self.times, [accounts[place] for place in range(len(pieces))], self.hardware)

    def _ends(self) -> list[int]:
        """Return when each piece has ended."""
        return [
            int(self.times.reached[core_name(piece.core, "layers")][piece.base["layers"] + 1])
            for piece in self.system.pieces
        ]


def solved_slots(system: System, hardware: HardwareConfig) -> SystemTimes:
    """Return the times of a system that has been built, perhaps for a chip whose memory has another rate."""
    return SystemTimes(system, solve_system(system, hardware), hardware)


def _times(system: System, hardware: HardwareConfig, engine: str, memory: MemoryModel | None) -> FlatTimes:
    events = sum(station.cycles.size for station in system.stations)
    if engine == "processes" or (engine == "auto" and events <= MOST_EVENTS_AS_PROCESSES):
        memory = memory or memory_of(hardware)
        arbitration = arbitration_of(hardware, hardware.has_timed_dram)
        return run_flat(system.stations, system.number, system.words, arbitration, memory)
    form: Form = "python" if engine == "python" else "compiled" if engine == "compiled" else "auto"
    return solve_system(system, hardware, memory, form)


@dataclass(frozen=True, slots=True)
class SystemCost:
    """What slots cost by themselves, from a cold chip, without an account of their cycles.

    ``array_cycles``: those of all arrays at work. ``actions``: unit -> action -> count.
    """

    end_cycle: int
    dram_bytes: int
    array_cycles: int
    actions: Mapping[str, Mapping[str, int]]
    dram: DramActivity | None


def end_of_slots(slots: Sequence[Slot], hardware: HardwareConfig) -> int:
    """Return the cycle in which the last core ends, with the simple memory or the ideal one."""
    return _end(solve_system(build_system(slots, hardware, with_pieces=False), hardware))


def _end(times: FlatTimes) -> int:
    return max((int(cycles[-1]) for cycles in times.end.values() if cycles.size), default=0)


def cost_of_slots(slots: Sequence[Slot], hardware: HardwareConfig) -> SystemCost:
    """Return what slots by themselves take and do, with the simple memory or the ideal one."""
    system = build_system(slots, hardware)
    times = solve_system(system, hardware)
    end = _end(times)
    paid = [_paid(piece, hardware) for piece in system.pieces]
    dram = _sum([one for one, _ in paid])
    written = sum(int(piece.schedule.outputs.store_bytes.sum()) for piece in system.pieces)
    units = dict.fromkeys(unit for _, actions in paid for unit in actions)
    actions = {unit: _sum([one.get(unit, {}) for _, one in paid]) for unit in units}
    moved = sum(dram.values())
    return SystemCost(
        end, moved, sum(int(piece.schedule.array_cycles.sum()) for piece in system.pieces),
        counted(actions, moved - written, written), activity_of_system(system, times, end, hardware, None),
    )  # fmt: skip


class _CoreProbe:
    """Shows a probe the units of a core under its name."""

    def __init__(self, probe: Probe, core: int) -> None:
        self.probe, self.core = probe, core

    def slice(self, unit: str, layer: int, label: str, index: int, start_cycle: int, end_cycle: int) -> None:
        """See `Probe.slice`."""
        self.probe.slice(f"{self.core}/{unit}", layer, label, index, start_cycle, end_cycle)


def _named(probe: Probe | None, core: int) -> Probe | None:
    return None if probe is None else _CoreProbe(probe, core)


def _piece_run(piece: CorePiece, one: Account, timing: LayerTiming, hardware: HardwareConfig) -> PieceRun:
    """Return a piece's run; what it was given together with another core is counted there, but for the wires to it."""
    dram, actions = _paid(piece, hardware)
    busy = {unit: 0 if unit in piece.follows else cycles for unit, cycles in timing.busy_cycles.items()}
    written = int(piece.schedule.outputs.store_bytes.sum())
    return PieceRun(piece, one, replace(timing, busy_cycles=busy), dram, actions, written)


def _paid(piece: CorePiece, hardware: HardwareConfig) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Return the bytes of memory and the actions that a piece pays for."""
    schedule, follows, from_cores = piece.schedule, piece.follows, dict(piece.from_cores)
    hops = 0.0 if hardware.core_network is None else hardware.core_network.hops
    dram = dict(schedule.dram_bytes)
    actions = {unit: dict(counts) for unit, counts in schedule.actions.items() if unit not in follows}
    buffer, wires = actions.get("activation_buffer", {}), actions.setdefault("interconnect", {})
    unmoved = 0  # bytes that do not come over wires of the piece's own from the DMA engine to a buffer
    if "fetched" in follows:  # one buffer is filled; each decoder reads it
        unmoved += sum(dram.get(name, 0) for name in WEIGHT_CLASSES)
        dram |= dict.fromkeys(WEIGHT_CLASSES, 0)
        read = {} if "mask_decoder" in follows else {"read_bits": actions.get("mask_buffer", {}).get("read_bits", 0)}
        actions["mask_buffer"] = read
    if "inputs" in follows:
        common = int(schedule.inputs.fetch_bytes.sum())
        dram["activation_in"] -= common
        unmoved += common
        buffer["write_bits"] = max(0, buffer.get("write_bits", 0) - 8 * common)
    for name, held in _bytes_from_cores(schedule, from_cores).items():
        crossed = math.ceil(held * from_cores[name])
        dram["activation_in"] -= held
        unmoved += held - crossed
        # What is the core's own lies in its buffer already; what is not is read in another core's.
        buffer["write_bits"] = max(0, buffer.get("write_bits", 0) - 8 * (held - crossed))
        buffer["read_bits"] = buffer.get("read_bits", 0) + 8 * crossed
        wires["core_bit_hops"] = wires.get("core_bit_hops", 0) + round(8 * crossed * hops)
    wires["bits"] = max(0, wires.get("bits", 0) - 8 * unmoved)
    return dram, actions


def _bytes_from_cores(schedule: LayerSchedule, from_cores: Mapping[str, float]) -> dict[str, int]:
    """Return the bytes of inputs and residuals that lie in the cores' activation buffers."""
    every = {"inputs": schedule.inputs.fetch_bytes, "residuals": schedule.outputs.residual_bytes}
    return {name: int(every[name].sum()) for name in from_cores}


def _check_bytes(system: System, runs: Sequence[PieceRun]) -> None:
    """Raise where the bytes that moved are not those of the schedules."""
    moved = sum(int(each.requests.num_bytes.sum()) for each in system.stations if each.requests is not None)
    planned = sum(sum(run.dram_bytes.values()) for run in runs)
    if moved != planned:
        raise SimulationError(f"several cores: {moved} bytes moved, {planned} planned; please report it")


def decisive(run: SystemRun, slots: Sequence[Slot]) -> list[PieceRun]:
    """Return the pieces that the end of a run waited for, with the causes of those cycles alone.

    Back from the piece that ends last: a piece that waited for another core follows that core's piece, others the one
    before on their own core. The cycles of all of them add up to the run's.
    """
    accounts = [one.account for one in run.pieces]
    chain = _waited_for(
        [one.piece for one in run.pieces],
        [one.end_cycle for one in accounts],
        lambda place: accounts[place].causes.get(WAIT_CORES, 0),
        slots,
    )
    begins = [0, *(accounts[place].end_cycle for place in chain)]
    return [_since(run.pieces[place], begin) for place, begin in zip(chain, begins, strict=False)]


def _waited_for(
    pieces: Sequence[CorePiece], ends: Sequence[int], waits: Callable[[int], int], slots: Sequence[Slot]
) -> list[int]:
    """Return the places of the pieces that the end of a run waited for, the first one first; see `decisive`.

    ``waits`` says for how many cycles the piece at a place has waited for other cores.
    """
    by_core: dict[int, list[int]] = {}
    number: list[int] = []  # of each piece among those of its core
    for place, piece in enumerate(pieces):
        own = by_core.setdefault(piece.core, [])
        number.append(len(own))
        own.append(place)
    found: list[int] = []
    at: int | None = max(range(len(pieces)), key=lambda place: (ends[place], -pieces[place].core))
    while at is not None:
        piece = pieces[at]
        before = by_core[piece.core][number[at] - 1] if number[at] else None
        if waits(at):
            needs = slots[piece.slot].pieces[piece.core].needs
            others = [by_core[core][count - 1] for core, count in needs]
            before = max([*others, *([] if before is None else [before])], key=lambda place: ends[place])
        found.append(at)
        at = before
    return found[::-1]


def _since(one: PieceRun, begin: int) -> PieceRun:
    """Return a piece with the causes of its cycles from ``begin`` on."""
    causes = {cause: one.account.causes.get(cause, 0) for cause in CAUSES}
    more = one.account.end_cycle - begin - sum(causes.values())
    if more > 0:
        causes["other"] += more
    for cause in sorted(CAUSES, key=lambda name: not name.startswith("wait")):  # waits may have begun before
        less = min(causes[cause], max(0, -more))
        causes[cause] -= less
        more += less
    return replace(one, account=replace(one.account, causes=causes))


def _sum(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class WholeLayer:
    """What a result says of a layer, however it is divided."""

    name: str
    kind: str
    shape: tuple[int, ...]
    stored_bits: StoredBits


def whole_layer(runs: Sequence[PieceRun], own: Sequence[PieceRun], layer: WholeLayer) -> LayerCounters:
    """Return the counters of a layer that several cores have worked on.

    Latency and causes are those of ``own``, the pieces of the core that the others wait for, less what it has waited
    for them before; work, bytes and busy cycles are sums over ``runs``, all pieces.
    """
    mine = _sum([one.account.causes for one in own])
    causes = {cause: mine.get(cause, 0) for cause in CAUSES}
    dram = _sum([run.dram_bytes for run in runs])
    written = sum(run.written_bytes for run in runs)
    read = sum(dram.values()) - written
    units = dict.fromkeys(unit for run in runs for unit in run.actions)
    actions = {unit: _sum([run.actions.get(unit, {}) for run in runs]) for unit in units}
    ports = [run.piece.schedule for run in runs if run.piece.schedule.port_limit]
    return LayerCounters(
        name=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        latency_cycles=sum(causes.values()),
        macs=sum(run.piece.schedule.macs for run in runs),
        effective_macs=sum(run.piece.schedule.effective_macs for run in runs),
        cycles_by_cause=causes,
        stored_bits=layer.stored_bits,
        dram_bytes={name: dram.get(name, 0) for name in TRAFFIC_CLASSES},
        dram_read_bytes=read,
        dram_write_bytes=written,
        actions=counted(actions, read, written),
        busy_cycles=_sum([run.timing.busy_cycles for run in runs]),
        port_limit=max(ports, key=lambda one: int(one.stall_cycles.sum())).port_limit if ports else None,
    )


def core_of_one(counters: Counters, num_cores: int) -> Counters:
    """Return the counters of a run on one core of a chip whose other cores wait."""
    latency = sum(layer.latency_cycles for layer in counters.layers)
    causes = _sum([layer.cycles_by_cause for layer in counters.layers])
    idle = {**dict.fromkeys(CAUSES, 0), WAIT_CORES: latency}
    first = CoreCounters(
        core=0,
        network="",
        end_cycle=latency,
        num_layers=len(counters.layers),
        macs=sum(layer.macs for layer in counters.layers),
        effective_macs=sum(layer.effective_macs for layer in counters.layers),
        dram_bytes=sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in counters.layers),
        cycles_by_cause={**{cause: causes.get(cause, 0) for cause in CAUSES}, WAIT_CORES: 0},
    )
    others = (CoreCounters(core, "", 0, 0, 0, 0, 0, dict(idle)) for core in range(1, num_cores))
    return replace(counters, cores=(first, *others))


def cores_after_each_other(runs: Sequence[Sequence[CoreCounters]]) -> tuple[CoreCounters, ...]:
    """Return what each core has done in runs one behind the other."""
    found, before = list(runs[0]), sum(runs[0][0].cycles_by_cause.values())
    for cores in runs[1:]:
        found = [
            replace(
                one, end_cycle=before + more.end_cycle if more.num_layers else one.end_cycle,
                num_layers=one.num_layers + more.num_layers, macs=one.macs + more.macs,
                effective_macs=one.effective_macs + more.effective_macs, dram_bytes=one.dram_bytes + more.dram_bytes,
                cycles_by_cause=_sum([one.cycles_by_cause, more.cycles_by_cause]),
            )
            for one, more in zip(found, cores, strict=True)
        ]  # fmt: skip
        before += sum(cores[0].cycles_by_cause.values())
    return tuple(found)


def core_counters(run: SystemRun, num_cores: int, names: Mapping[int, str]) -> tuple[CoreCounters, ...]:
    """Return what each core has done; ``names`` says which network it worked on, where there are several.

    A core's causes add up to the run's latency: what is left behind its last layer is waiting for the others.
    """
    found = []
    for core in range(num_cores):
        own = [one for one in run.pieces if one.piece.core == core]
        causes = {cause: sum(one.account.causes.get(cause, 0) for one in own) for cause in (*CAUSES, WAIT_CORES)}
        end = max((one.account.end_cycle for one in own), default=0)
        causes[WAIT_CORES] += run.end_cycle - end
        found.append(
            CoreCounters(
                core=core,
                network=names.get(core, ""),
                end_cycle=end,
                num_layers=len(own),
                macs=sum(one.piece.schedule.macs for one in own),
                effective_macs=sum(one.piece.schedule.effective_macs for one in own),
                dram_bytes=sum(sum(one.dram_bytes.values()) for one in own),
                cycles_by_cause=causes,
            )
        )
    return tuple(found)
