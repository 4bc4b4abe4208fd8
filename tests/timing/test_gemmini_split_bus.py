"""A memory with a bus each for reads and writes."""

from __future__ import annotations

from accelsim.config.dram import DramConfig
from accelsim.sim.dram.memory import build_memory

CONFIG = DramConfig(
    bus_width_bits=64, data_rate_mtps=1000, burst_bytes=8, read_latency_ns=10, write_latency_ns=10, turnaround_ns=5,
    separate_write_bus=True,
)  # fmt: skip


def test_reads_and_writes_do_not_wait_for_each_other():
    memory = build_memory(CONFIG, 1000)
    read = memory.serve(0, 0, 800, False)
    write = memory.serve(0, 0, 800, True)
    later = memory.serve(0, 0, 800, False)

    assert (read.end_cycle, write.end_cycle, later.end_cycle) == (110, 110, 210)
    assert read.busy_cycles + write.busy_cycles + later.busy_cycles == 200


def test_state_and_leap_leave_the_future_as_it_was():
    still, moved = build_memory(CONFIG, 1000), build_memory(CONFIG, 1000)
    for memory in (still, moved):
        memory.serve(0, 0, 800, False)
        memory.serve(0, 0, 80, True)
    moved.leap(1000)

    assert still.state(50) == moved.state(1050)
    ours, theirs = moved.serve(1050, 0, 80, True), still.serve(50, 0, 80, True)
    assert ours.end_cycle - 1000 == theirs.end_cycle
    assert ours.busy_cycles == theirs.busy_cycles
