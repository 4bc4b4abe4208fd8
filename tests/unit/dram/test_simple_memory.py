"""The simple memory: bandwidth, pipelined latency, turnaround."""

from __future__ import annotations

import pytest

from accelsim.config.dram import DramConfig
from accelsim.sim.dram.memory import build_memory
from accelsim.timing.memory import ServedRequest

DRAM = DramConfig(
    bus_width_bits=32,
    data_rate_mtps=2000,
    burst_bytes=64,
    read_latency_ns=50,
    write_latency_ns=20,
    turnaround_ns=10,
    refresh="none",
)  # 8 bytes a cycle at 1 GHz


def test_request_takes_its_rounded_bytes_after_the_latency() -> None:
    memory = build_memory(DRAM, 1000.0)
    assert memory.serve(5, 0, 65, False) == ServedRequest(55, 71, 16)


def test_latency_hides_behind_a_busy_bus() -> None:
    memory = build_memory(DRAM, 1000.0)
    memory.serve(0, 0, 4096, False)
    assert memory.serve(1, 4096, 64, False) == ServedRequest(562, 570, 8)


def test_a_change_of_direction_costs_the_turnaround() -> None:
    memory = build_memory(DRAM, 1000.0)
    memory.serve(0, 0, 4096, False)
    assert memory.serve(1, 0, 64, True) == ServedRequest(572, 580, 18)


def test_core_cycles_round_up_when_the_clocks_do_not_divide() -> None:
    memory = build_memory(DRAM, 700.0)  # 80/7 bytes a cycle
    assert memory.serve(0, 0, 64, False) == ServedRequest(35, 41, 6)


def test_reset_forgets_the_bus() -> None:
    memory = build_memory(DRAM, 1000.0)
    first = memory.serve(0, 0, 4096, True)
    memory.reset()
    assert memory.serve(0, 0, 4096, True) == first


def test_no_bytes_cost_nothing() -> None:
    assert build_memory(DRAM, 1000.0).serve(7, 0, 0, False) == ServedRequest(7, 7, 0)


def test_refresh_lengthens_transfers_by_its_share() -> None:
    memory = build_memory(DRAM.model_copy(update={"refresh": "all_bank"}), 1000.0)
    assert memory.serve(0, 0, 1 << 20, False).busy_cycles == pytest.approx((1 << 17) / (1 - 280 / 3904), rel=1e-4)
    per_bank = build_memory(DRAM.model_copy(update={"refresh": "per_bank"}), 1000.0)
    assert per_bank.serve(0, 0, 1 << 20, False).busy_cycles == 1 << 17


def test_a_request_that_finds_the_memory_asleep_waits_for_the_exit() -> None:
    policy = {"power_down_after_ns": 100.0, "self_refresh_after_ns": 1000.0}
    memory = build_memory(DRAM.model_copy(update=policy), 1000.0)
    ends, now = [], 0
    for gap in (0, 100, 101, 1000, 1001):
        end = memory.serve(now + gap, 0, 64, False).end_cycle
        ends.append(end - now - gap)
        now = end
    assert ends == [58, 58, 58 + 8, 58 + 8, 58 + 288]  # tXP 7.5 ns, tXSR 287.5
