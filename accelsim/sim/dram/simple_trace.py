"""Memory requests on the simple model: when each is served, and the gaps between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.config.dram import DramConfig
from accelsim.config.memory_device import device_of
from accelsim.errors import TraceError
from accelsim.sim.dram.build import address_mapping
from accelsim.sim.dram.trace_files import DramTrace
from accelsim.timing.memory import SimpleMemory
from accelsim.timing.power_states import DramActivity, activity_of, use_of_requests

Ints = npt.NDArray[np.int64]
CLOCK_MHZ = 100_000.0  # a hundredth of a nanosecond: no length is rounded that matters
OPENINGS_OF_A_STREAM = 0.1
BUSY = 0.5


@dataclass(frozen=True, slots=True)
class SimpleTraceResult:
    """What timed requests cost on the simple model.

    Attributes
    ----------
    time_ns
        Until the last data, or the stated end.
    read_bytes, written_bytes
        Whole bursts.
    achieved_gbps, fraction_of_peak
        Bytes by time, and that as a fraction of what the data buses can carry.
    mean_read_latency_ns, max_read_latency_ns
        From the arrival of a read to its last data; None without reads.
    activity
        What the memory's energy depends on.
    needs_banks
        The bus is busy with requests that open more rows than a stream does: their time is that of banks, which this
        model has not.
    """

    time_ns: float
    read_bytes: int
    written_bytes: int
    achieved_gbps: float
    fraction_of_peak: float
    mean_read_latency_ns: float | None
    max_read_latency_ns: float | None
    activity: DramActivity
    needs_banks: bool


def run_simply(config: DramConfig, trace: DramTrace) -> SimpleTraceResult:
    """Serve requests with sizes and times of arrival, one after another.

    Bursts that follow each other in one bank group hold the bus for tCCD_L.

    Raises
    ------
    TraceError
        They move nothing.
    """
    if trace.num_bytes is None or trace.arrivals is None or not int(trace.num_bytes.sum()):
        raise TraceError("trace: no request moves a byte; give at least one that does")
    moves = trace.num_bytes > 0
    burst = config.burst_bytes
    address = trace.addresses[moves].astype(np.int64) & np.int64((1 << 62) - 1)
    inside, sizes, writes = address % burst, trace.num_bytes[moves], trace.writes[moves]
    sizes = -(-(inside + sizes) // burst) * burst
    per_ns = CLOCK_MHZ / 1000
    arrival = np.ceil(trace.arrivals[moves] * per_ns - 1e-6).astype(np.int64)
    memory = SimpleMemory(config.model_copy(update={"burst_bytes": 8}), CLOCK_MHZ)  # the sizes are whole bursts
    held = sizes + _bytes_missed(config, address - inside, sizes)
    rows = zip(arrival.tolist(), held.tolist(), writes.tolist(), strict=True)
    done = np.array([memory.serve(at, 0, size, write).end_cycle for at, size, write in rows], dtype=np.int64)
    end = max(int(done.max()), math.ceil(trace.end_ns * per_ns - 1e-6))
    time_ns = end / per_ns
    use = use_of_requests(arrival, done, address - inside, sizes, 1 / per_ns, config)
    activity = activity_of(use, end, 1 / per_ns, config)
    read, written = int(sizes[~writes].sum()), int(sizes[writes].sum())
    latency = (done - arrival)[~writes] / per_ns
    share = (read + written) / time_ns / config.peak_bytes_per_ns
    often = activity.num_openings > OPENINGS_OF_A_STREAM * (read + written) / burst
    # Changes of direction keep the bus from others as data do.
    turns = np.count_nonzero(np.diff(writes)) * config.turnaround_ns
    busy = (int(held.sum()) / config.peak_bytes_per_ns + turns) / time_ns
    return SimpleTraceResult(
        time_ns=time_ns,
        read_bytes=read,
        written_bytes=written,
        achieved_gbps=(read + written) / time_ns,
        fraction_of_peak=share,
        mean_read_latency_ns=float(latency.mean()) if latency.size else None,
        max_read_latency_ns=float(latency.max()) if latency.size else None,
        activity=activity,
        needs_banks=bool(often and busy > BUSY),
    )


def _bytes_missed(config: DramConfig, address: Ints, sizes: Ints) -> Ints:
    """Return the bytes that could have moved, had no burst of a request gone to the bank group of the one before."""
    device = device_of(config.standard)
    longer = device.timing.ccd_l_cycles / device.timing.burst_cycles - 1
    if longer <= 0:
        return np.zeros_like(sizes)
    bursts = sizes // config.burst_bytes
    first = np.cumsum(bursts) - bursts
    within = np.arange(int(bursts.sum())) - np.repeat(first, bursts)
    places = np.repeat(address, bursts) + within * config.burst_bytes
    decoded = address_mapping(config, device).decode(places.astype(np.uint64))
    group = decoded.bank // device.organisation.num_banks_per_group
    stays = np.zeros(group.size, dtype=np.int64)
    stays[1:] = (group[1:] == group[:-1]) & (decoded.channel[1:] == decoded.channel[:-1])
    missed: Ints = np.round(np.add.reduceat(stays, first) * longer * config.burst_bytes / 8).astype(np.int64) * 8
    return missed
