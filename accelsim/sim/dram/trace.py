"""Memory requests run alone, from a cold start: in every cycle as many as the controller accepts of those at hand.

They come from a file (`accelsim.sim.dram.trace_files`) or as arrays; the commands that the memory gets can be logged.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelsim.config.base import ConfigModel
from accelsim.config.dram import DramConfig
from accelsim.config.presets import CHIPS, MEMORIES, preset_file, preset_names
from accelsim.errors import ConfigError, TraceError
from accelsim.files import write_file
from accelsim.names import suggest_file
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory, build, new_requests
from accelsim.sim.dram.kernel import run
from accelsim.sim.dram.mapping import DecodedAddresses
from accelsim.sim.dram.power import states_at
from accelsim.sim.dram.simple_trace import SimpleTraceResult, run_simply
from accelsim.sim.dram.trace_files import MAX_TIME_NS, DramTrace, read_trace
from accelsim.timing.power_states import DramStates

__all__ = [
    "DramTrace", "DramTraceResult", "commands_text", "load_memory", "read_trace", "run_read",
    "run_memory_trace", "run_requests", "run_trace",
]  # fmt: skip

MAX_BURSTS = 1 << 23
_RANK_COMMANDS = (s.PREA, s.REF, s.PDE, s.PDX, s.SRE, s.SRX)
_ROW_COMMANDS = (s.ACT, s.ACT2, s.RD, s.WR, s.RDA, s.WRA)


@dataclass(frozen=True, slots=True)
class DramTraceResult:
    """What a trace cost.

    Attributes
    ----------
    cycles, time_ns
        Until the last read's data have returned and the last write is taken: by its command (``shared_queues``), by
        the write queue, from which the last writes need not have gone (``bank_queues``, posted writes), or with its
        last data (``in_order``). Memory clock.
    read_bytes, written_bytes
        Bytes of the transactions, a burst each.
    bus_bytes
        Bytes that moved on the data buses by then: less where reads of one address were merged, reads answered from the
        write queue, writes coalesced, or posted writes still wait.
    achieved_gbps
        ``bus_bytes`` by time, in 1e9 bytes per second.
    fraction_of_peak
        The same as a fraction of what the data buses can carry.
    row_hit_rate
        Fraction of bursts that found their row open: when their first command issued (``shared_queues``), or when their
        column command did and it was not the first since the activate (``bank_queues``).
    activates, precharges, refreshes
        Commands; a precharge of all banks counts each bank it closes.
    states
        Commands and time by power state, of all ranks.
    bus_bits
        Bits read and written over the buses.
    mean_read_latency_ns, max_read_latency_ns
        From the arrival of a read burst to its data; None where the requests have no times of arrival.
    """

    cycles: int
    time_ns: float
    read_bytes: int
    written_bytes: int
    bus_bytes: int
    achieved_gbps: float
    fraction_of_peak: float
    row_hit_rate: float
    activates: int
    precharges: int
    refreshes: int
    states: DramStates
    bus_bits: tuple[int, int]
    mean_read_latency_ns: float | None = None
    max_read_latency_ns: float | None = None


def run_trace(config: DramConfig, addresses: NDArray[np.uint64], writes: NDArray[np.bool_]) -> DramTraceResult:
    """Run transactions of one burst each through the memory.

    Parameters
    ----------
    config
        The memory; ``model`` is ignored, the timing model runs.
    addresses, writes
        As in `DramTrace`, of equal length.

    Raises
    ------
    ConfigError
        If the configuration has no timing table or contradicts it.
    TraceError
        If there are no requests, or the two arrays differ in length.
    """
    if len(addresses) == 0 or len(addresses) != len(writes):
        raise TraceError(f"trace: {len(addresses)} addresses and {len(writes)} directions; give as many, at least one")
    return run_memory_trace(build(config), addresses, writes)


def run_memory_trace(
    memory: Memory, addresses: NDArray[np.uint64], writes: NDArray[np.bool_], log: s.IntArray | None = None
) -> DramTraceResult:
    """Run a trace on a built memory; see `run_trace`. Commands are logged into `log`, see `accelsim.sim.dram.state`."""
    bursts = _Bursts(memory.mapping.decode(addresses), writes)
    return _run(memory, bursts, s.new_log() if log is None else log)


@dataclass(frozen=True, slots=True)
class _Bursts:
    """Bursts by place: whether each is a write, the cycles of arrival (0: at once), and a cycle to go on to."""

    places: DecodedAddresses
    writes: NDArray[np.bool_]
    arrive_cycles: s.IntArray | None = None
    end_cycle: int = 0


def run_requests(
    memory: Memory, trace: DramTrace, player_mhz: float | None = None
) -> tuple[DramTraceResult, s.IntArray]:
    """Run the requests of a file on a built memory.

    Parameters
    ----------
    memory
        From `accelsim.sim.dram.build.build`.
    trace
        Requests; each becomes the bursts that it touches.
    player_mhz
        Clock of a DRAMSys trace's cycles; None takes the memory's.

    Returns
    -------
    What they cost, and the log of all commands, see `accelsim.sim.dram.state`.

    Raises
    ------
    TraceError
        They touch no burst or too many, or name a place that the memory has not.
    """
    bursts = _bursts_of(memory, trace, player_mhz)
    room = 4 * len(bursts.writes) + 4096
    while True:
        log = s.new_log(room)
        result = _run(memory, bursts, log)
        if log[0, 0] < room:
            return result, log[1 : log[0, 0] + 1]
        room *= 4  # a long pause has many refreshes


def _bursts_of(memory: Memory, trace: DramTrace, player_mhz: float | None) -> _Bursts:
    burst = memory.config.burst_bytes
    first = trace.addresses // np.uint64(burst)
    counts = np.ones(len(first), dtype=np.int64)
    if trace.num_bytes is not None:
        inside = (trace.addresses % np.uint64(burst)).astype(np.int64)
        sized = (inside + trace.num_bytes + burst - 1) // burst
        counts = np.where(trace.num_bytes > 0, sized, 0 if trace.unit == "ns" else 1)  # DRAMSys: no length is a burst
    total = int(counts.sum())
    if not 0 < total <= MAX_BURSTS:
        raise TraceError(f"trace: {total} bursts of {burst} bytes; 1 to {MAX_BURSTS} are simulated, split the trace")
    within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.repeat(first, counts) + within.astype(np.uint64)
    if trace.places is None:
        places = memory.mapping.decode(numbers * np.uint64(burst))
    else:
        places = _placed(memory, trace.places)
    arrivals = None
    if trace.arrivals is not None:
        arrivals = np.repeat(_cycles(memory, trace.arrivals, trace.unit, player_mhz), counts)
    end_cycle = int(_cycles(memory, np.array([trace.end_ns]), "ns", None)[0])
    return _Bursts(places, np.repeat(trace.writes, counts), arrivals, end_cycle)


def _cycles(memory: Memory, times: NDArray[np.float64], unit: str, player_mhz: float | None) -> s.IntArray:
    """Return times in whole cycles of the memory's clock, rounded up."""
    if unit == "player" and player_mhz is not None:
        times, unit = times * (1000 / player_mhz), "ns"
    cycles = times / memory.table.tck_ns if unit == "ns" else times
    whole: s.IntArray = np.ceil(cycles - 1e-6).astype(np.int64)
    if len(whole) and int(whole.max()) * memory.table.tck_ns > 2 * MAX_TIME_NS:
        raise TraceError(f"trace: cycle {int(whole.max())} is beyond {2 * MAX_TIME_NS:g} ns; split the trace")
    return whole


def _placed(memory: Memory, places: s.IntArray) -> DecodedAddresses:
    """Return the bursts of stated places (channel, rank, bank group if there is one, bank, row, burst of the row)."""
    names = ("channel", "rank", "bank group", "bank", "row", "column")
    most = [1 << bits for bits in memory.mapping.field_bits]
    if places.shape[1] == len(names) - 1:
        if most[2] > 1:
            raise TraceError(
                f"trace: five numbers name no bank group, and the memory has {most[2]}; write {', '.join(names)}"
            )
        places = np.insert(places, 2, 0, axis=1)
    for column, (name, limit) in enumerate(zip(names, most, strict=True)):
        if int(places[:, column].max()) >= limit:
            raise TraceError(f"trace: {name} {int(places[:, column].max())} is beyond the memory's {limit}; correct it")
    return memory.mapping.placed(places)


def _run(memory: Memory, bursts: _Bursts, log: s.IntArray) -> DramTraceResult:
    bank_queues = memory.config.controller == "bank_queues"
    writes = bursts.writes
    # A request reaches queues that move it on each cycle (bank_queues) at the end of the cycle in which it is offered.
    arrive = np.zeros(len(writes), dtype=np.int64) if bursts.arrive_cycles is None else bursts.arrive_cycles
    req = new_requests(bursts.places, writes)
    req[:, s.R_ARRIVE] = arrive + (1 if bank_queues else 0)
    st, g = s.new_state(memory.dev), np.zeros(2, dtype=np.int64)
    run(memory.dev, st, req, g, log, s.NEVER, True)
    merged = req[:, s.R_PARENT] >= 0
    done = np.where(merged, req[req[:, s.R_PARENT], s.R_DONE], req[:, s.R_DONE])
    taken = req[:, s.R_ACCEPT] - 1 if bank_queues else done - memory.dev[s.P_WRITE_DONE]
    if memory.config.controller == "in_order":
        taken = done  # a run of the energy reference ends with the last data of either kind
    cycles = max(int(np.where(writes, taken, done).max()), bursts.end_cycle)
    if bank_queues or cycles == bursts.end_cycle:
        run(memory.dev, st, req, g, log, cycles + 1, False)
    result = _result(memory, st, cycles, writes)
    latencies = (done - arrive)[~writes] * memory.table.tck_ns
    if bursts.arrive_cycles is None or len(latencies) == 0:
        return result
    return replace(result, mean_read_latency_ns=float(latencies.mean()), max_read_latency_ns=float(latencies.max()))


def _result(memory: Memory, st: s.IntArray, cycles: int, writes: NDArray[np.bool_]) -> DramTraceResult:
    """Return the figures of a finished run."""
    last = cycles + (memory.config.controller == "bank_queues")  # there the cycle of the last data counts as well
    states = states_at(memory, st, last)
    counts = st.sum(axis=0)
    burst = memory.config.burst_bytes
    time_ns = cycles * memory.table.tck_ns
    bus_bytes = int(counts[s.N_RD] + counts[s.N_WR]) * burst
    return DramTraceResult(
        cycles=cycles,
        time_ns=time_ns,
        read_bytes=int(np.count_nonzero(~writes)) * burst,
        written_bytes=int(np.count_nonzero(writes)) * burst,
        bus_bytes=bus_bytes,
        achieved_gbps=bus_bytes / time_ns if cycles else 0.0,
        fraction_of_peak=bus_bytes / (cycles * memory.peak_bytes_per_cycle) if cycles else 0.0,
        row_hit_rate=float(counts[s.N_HITS] / counts[s.N_COLUMN]) if counts[s.N_COLUMN] else 0.0,
        activates=int(counts[s.N_ACT]),
        precharges=int(counts[s.N_PRE]),
        refreshes=int(counts[s.N_REF] + counts[s.N_REFB]),
        states=states,
        bus_bits=(int(counts[s.N_RD]) * burst * 8, int(counts[s.N_WR]) * burst * 8),
    )


class MemoryFile(ConfigModel):
    """A file that describes a memory alone."""

    dram: DramConfig
    """The memory."""


def load_memory(path: str | Path, overrides: Sequence[str] = ()) -> DramConfig:
    """Return the ``dram:`` section of a file: one that holds nothing else, or a whole hardware file.

    The name of a chip or of a memory that came with the program stands for its file; ``overrides`` are texts
    ``dram.key=value``.

    Raises
    ------
    ConfigError
        If the file is wrong.
    """
    from accelsim.config.loader import load_config, load_hardware  # noqa: PLC0415  the model does not need the loader
    from accelsim.config.yaml_reader import read_yaml  # noqa: PLC0415

    path = _named(path)
    keys = set(read_yaml(path).root)
    if "dram" not in keys:
        raise ConfigError(f"{path}: dram: is missing; write the memory's section, 'dram:' and below it model: timing")
    if len(keys) > 1:
        return load_hardware(path, overrides).config.dram
    return load_config(path, MemoryFile, overrides).config.dram


def _named(path: str | Path) -> str:
    """Return the file of a chip or memory by name; what names none, and is no file, is refused with a near miss."""
    text = str(path)
    for folder in (CHIPS, MEMORIES):
        found = preset_file(text, folder)
        if os.path.isfile(found):
            return found
    if os.path.lexists(text):
        return text
    known = [*preset_names(CHIPS), *preset_names(MEMORIES)]
    hint = suggest_file(text, known)
    raise ConfigError(
        f"{text}: no such file; {hint}give a YAML file with a dram section, or a name that accelsim list memories or "
        "accelsim list chips shows"
    )


def run_read(
    config: DramConfig,
    trace: DramTrace,
    paths: tuple[str | Path, str | Path],
    *,
    player_mhz: float | None = None,
    commands_path: str | Path | None = None,
) -> DramTraceResult | SimpleTraceResult:
    """Run requests that are read already on a memory.

    The timing model runs unless the configuration asks for ``simple`` and the requests have times of arrival.

    Parameters
    ----------
    paths
        Where memory and requests come from, for what is said of them.
    player_mhz
        See `run_requests`.
    commands_path
        Gets the commands of the memory, see `commands_text`.

    Raises
    ------
    ConfigError
        If the configuration is wrong, or its model has no commands to write.
    TraceError
        If the trace is wrong.
    """
    config_path, trace_path = paths
    if config.model == "simple" and trace.is_timed_in_ns:
        if commands_path is not None:
            raise ConfigError(
                f"{config_path}: dram.model: 'simple' has no commands; set it to 'timing', e.g. --set dram.model=timing"
            )
        return run_simply(config, trace)
    try:
        memory = build(config)
    except ConfigError as error:
        raise ConfigError(f"{config_path}: {error}") from error
    try:
        result, log = run_requests(memory, trace, player_mhz)
    except TraceError as error:
        raise TraceError(f"{trace_path}: {str(error).removeprefix('trace: ')}") from None
    if commands_path is not None:
        write_file(commands_path, commands_text(memory, log).encode("ascii"))
    return result


def commands_text(memory: Memory, log: s.IntArray) -> str:
    """Return a command log as lines ``CYCLE COMMAND CHANNEL RANK GROUP BANK ROW``, in the order of issue.

    ``-`` stands for what a command does not name: the bank of one that goes to a rank, the row of one that opens and
    uses none.
    """
    dev = memory.dev
    per_group = memory.table.organisation.num_banks_per_group
    num_groups = memory.table.organisation.num_bank_groups
    lines = ["# cycle command channel rank bank_group bank row"]
    for cycle, channel, command, bank, row in log.tolist():
        rank = int(dev[s.RANK_OF + bank])
        group, inside = bank // per_group % num_groups, bank % per_group
        place = "- -" if command in _RANK_COMMANDS else f"{group} {inside}"
        shown = str(row) if command in _ROW_COMMANDS else "-"
        lines.append(f"{cycle} {s.COMMAND_NAMES[command]} {channel} {rank} {place} {shown}")
    return "\n".join(lines) + "\n"
