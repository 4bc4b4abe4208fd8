"""A memory trace run alone: requests in order, in every cycle as many as the controller accepts, from a cold start."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelsim.config.dram import DramConfig
from accelsim.errors import ConfigError, TraceError
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory, build, new_requests
from accelsim.sim.dram.energy import DramEnergy, dram_energy
from accelsim.sim.dram.kernel import run

MAX_TRACE_BYTES = 1 << 26
_LINE = re.compile(rb"[ \t]*(?:0[xX])?([0-9a-fA-F]{1,16})[ \t]+([RW])[ \t]*")
_FILE = re.compile(rb"(?:[ \t]*(?:(?:0[xX])?[0-9a-fA-F]{1,16}[ \t]+[RW][ \t]*)?(?:\r?\n|\Z))*+")


@dataclass(frozen=True, slots=True)
class DramTrace:
    """Transactions in order: byte addresses (uint64) and whether each is a write (bool)."""

    addresses: NDArray[np.uint64]
    writes: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DramTraceResult:
    """What a trace cost.

    Attributes
    ----------
    cycles, time_ns
        Until the last read's data have returned and the last write is taken: by its command (``shared_queues``) or by
        the write queue, from which the last writes need not have gone (``bank_queues``, posted writes). Memory clock.
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
    energy_pj
        By cause; see `accelsim.sim.dram.energy`.
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
    energy_pj: DramEnergy

    def to_json(self) -> str:
        """Return all fields as a JSON object; ``energy_pj`` also gets its total."""
        fields = asdict(self)
        fields["energy_pj"] = {**asdict(self.energy_pj), "total": self.energy_pj.total}
        return json.dumps(fields, indent=2) + "\n"


def read_trace(path: str | Path) -> DramTrace:
    """Read a trace file: lines ``ADDRESS R`` or ``ADDRESS W``, the address in hexadecimal; empty lines are skipped.

    Raises
    ------
    TraceError
        If the file cannot be read, is too large or empty, or has a line of another form.
    """
    path = Path(path)
    try:
        if not path.is_file() and path.exists():
            raise TraceError(f"{path}: not a regular file; give a trace file")
        size = path.stat().st_size
        if size > MAX_TRACE_BYTES:
            raise TraceError(f"{path}: {size} bytes are more than {MAX_TRACE_BYTES}; split the trace")
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}); give a trace file") from error
    found = _FILE.match(data)
    if found is None or found.end() != len(data):
        raise TraceError(_complaint(path, data))
    addresses = np.fromiter((int(line[1], 16) for line in _LINE.finditer(data)), dtype=np.uint64)
    if len(addresses) == 0:
        raise TraceError(f"{path}: holds no requests; write lines such as '0x40 R'")
    return DramTrace(addresses, np.fromiter((line[2] == b"W" for line in _LINE.finditer(data)), dtype=np.bool_))


def _complaint(path: Path, data: bytes) -> str:
    """Return the message about the first line that is not a request."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if line.strip(b" \t") and not _LINE.fullmatch(line):
            shown = ascii(line[:40].decode("utf-8", "replace"))
            return f"{path}:{number}: {shown} is not 'ADDRESS R' or 'ADDRESS W' with a hexadecimal address; correct it"
    return f"{path}: is not a trace of lines 'ADDRESS R|W'; correct it"


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
    bank_queues = memory.config.controller == "bank_queues"
    # A request reaches queues that move it on each cycle (bank_queues) at the end of the cycle in which it is offered.
    req = new_requests(memory.mapping.decode(addresses), writes, 1 if bank_queues else 0)
    st, g = s.new_state(memory.dev), np.zeros(2, dtype=np.int64)
    log = s.new_log() if log is None else log
    run(memory.dev, st, req, g, log, s.NEVER, True)
    merged = req[:, s.R_PARENT] >= 0
    done = np.where(merged, req[req[:, s.R_PARENT], s.R_DONE], req[:, s.R_DONE])
    taken = req[:, s.R_ACCEPT] - 1 if bank_queues else done - memory.dev[s.P_WRITE_DONE]
    cycles = int(np.where(writes, taken, done).max())
    if bank_queues:
        run(memory.dev, st, req, g, log, cycles + 1, False)
    return _result(memory, st, cycles, writes)


def _result(memory: Memory, st: s.IntArray, cycles: int, writes: NDArray[np.bool_]) -> DramTraceResult:
    """Return the figures of a finished run."""
    last = cycles + (memory.config.controller == "bank_queues")  # there the cycle of the last data counts as well
    for rank in range(memory.num_ranks):
        still_open = st[:, s.OPEN_BANKS + rank] > 0
        st[still_open, s.N_ACTIVE_CYCLES] += np.maximum(0, last - st[still_open, s.OPEN_SINCE + rank])
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
        energy_pj=dram_energy(memory, counts, last),
    )


def load_memory(path: str | Path) -> DramConfig:
    """Return the ``dram:`` section of a file: one that holds nothing else, or a whole hardware file.

    Raises
    ------
    ConfigError
        If the file is wrong, or holds only a memory and asks for ``model: simple``, which has no banks. A hardware file
        may: its chip is simulated with that model, and a trace runs with the timing model all the same.
    """
    from accelsim.config.loader import load_hardware, load_section  # noqa: PLC0415  the model does not need the loader
    from accelsim.config.yaml_reader import read_yaml  # noqa: PLC0415

    keys = set(read_yaml(path).root)
    if "dram" not in keys:
        raise ConfigError(f"{path}: dram: is missing; write the memory's section, 'dram:' and below it model: timing")
    if len(keys) > 1:
        return load_hardware(path).config.dram
    config = load_section(path, "dram", DramConfig)
    if config.model != "timing":
        raise ConfigError(f"{path}: dram.model: {config.model!r} cannot run a trace; set it to 'timing'")
    return config


def run_dram_command(config_path: str | Path, trace_path: str | Path) -> DramTraceResult:
    """Run the trace file `trace_path` on the memory that the file `config_path` describes; see `load_memory`.

    Raises
    ------
    ConfigError
        If the configuration is wrong.
    TraceError
        If the trace is wrong.
    """
    config = load_memory(config_path)
    trace = read_trace(trace_path)
    try:
        return run_trace(config, trace.addresses, trace.writes)
    except ConfigError as error:
        raise ConfigError(f"{config_path}: {error}") from error
