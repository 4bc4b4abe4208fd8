"""A memory with a bus each for reads and writes."""

from __future__ import annotations

from accelsim.config.dram import DramConfig
from accelsim.sim.dram.memory import build_memory

CONFIG = DramConfig(
    bus_width_bits=64, data_rate_mtps=1000, burst_bytes=8, read_latency_ns=10, write_latency_ns=10, turnaround_ns=5,
    refresh="none",    separate_write_bus=True,
)  # fmt: skip


def test_reads_and_writes_do_not_wait_for_each_other():
    memory = build_memory(CONFIG, 1000)
    read = memory.serve(0, 0, 800, False)
    write = memory.serve(0, 0, 800, True)
    later = memory.serve(0, 0, 800, False)

    assert (read.end_cycle, write.end_cycle, later.end_cycle) == (110, 110, 210)
    assert read.busy_cycles + write.busy_cycles + later.busy_cycles == 200
