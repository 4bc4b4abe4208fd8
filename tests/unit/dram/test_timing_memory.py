"""The timing model behind the interface of the chip."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.errors import ConfigError
from accelsim.sim.dram import timing_memory
from accelsim.sim.dram.build import build
from accelsim.sim.dram.memory import build_memory
from accelsim.timing.memory import ServedRequest

CONFIGS = Path(__file__).resolve().parents[3] / "hwconfigs" / "dram"
SHARED = "ramulator2_DDR4_8Gb_x8_2400R_1ch__RoBaRaCoCh"
KINDS = [
    SHARED,
    "dramsim3_DDR4_8Gb_x8_2400",
    "ramulator2_LPDDR5_16Gb_x16_6400_4ch__MOP4CLXOR",
    "dramsim3_HBM2_8Gb_x128",
]


def config_of(name: str) -> DramConfig:
    return load_section(CONFIGS / f"{name}.yaml", "dram", DramConfig)


def requests(num: int, gap: int) -> list[tuple[int, int, int, bool]]:
    return [(i * gap, ((i % 3) << 26) + i * 1920, 1920, i % 3 == 2) for i in range(num)]


def test_a_first_burst_takes_activate_and_read_latency() -> None:
    memory = build_memory(config_of(SHARED), 1000.0)
    t = build(config_of(SHARED)).table.timing
    read = (t.rcd_read_cycles + t.cl_cycles) * 0.833
    assert memory.serve(0, 0, 64, False) == ServedRequest(int(read), int(read + 4 * 0.833) + 1, 3)


def test_a_later_request_overlaps_with_the_data_of_an_earlier_one() -> None:
    alone = build_memory(config_of(SHARED), 1000.0)
    first = alone.serve(0, 0, 4096, False)
    after = alone.serve(first.end_cycle, 1 << 20, 4096, False)
    memory = build_memory(config_of(SHARED), 1000.0)
    memory.serve(0, 0, 4096, False)
    overlapped = memory.serve(1, 1 << 20, 4096, False)
    assert overlapped.end_cycle < after.end_cycle
    assert overlapped.end_cycle >= first.end_cycle


@pytest.mark.parametrize("name", KINDS)
def test_busy_cycles_never_exceed_the_time_and_requests_come_after_their_start(name: str) -> None:
    memory = build_memory(config_of(name), 500.0)
    busy = last = 0
    for start, address, size, is_write in requests(120, 20):
        served = memory.serve(start, address, size, is_write)
        busy, last = busy + served.busy_cycles, max(last, served.end_cycle)
        assert start <= served.first_data_cycle < served.end_cycle
        assert busy <= last
    assert busy > 0


@pytest.mark.parametrize("name", KINDS)
def test_forgetting_finished_bursts_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_served() -> list[ServedRequest]:
        memory = build_memory(config_of(name), 500.0)
        return [memory.serve(*request) for request in requests(80, 5)]

    kept = all_served()
    monkeypatch.setattr(timing_memory, "COMPACT_ROWS", 40)
    assert all_served() == kept


def test_reset_returns_to_the_cold_state() -> None:
    memory = build_memory(config_of(SHARED), 500.0)
    first = [memory.serve(*request) for request in requests(20, 10)]
    memory.reset()
    assert [memory.serve(*request) for request in requests(20, 10)] == first


def test_a_large_transfer_comes_close_to_the_trace_runner() -> None:
    memory = build_memory(config_of(SHARED), 1000 / 0.833)
    served = memory.serve(0, 0, 1 << 20, False)
    assert served.end_cycle == pytest.approx(87695, abs=2)  # the same 1 MB as a trace, in cycles of the memory


def test_no_bytes_cost_nothing_and_states_never_repeat() -> None:
    memory = build_memory(config_of(SHARED), 500.0)
    assert memory.serve(7, 0, 0, False) == ServedRequest(7, 7, 0)


def test_a_standard_without_a_table_is_refused_when_timing_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="dram.standard: 'DDR3-1000' has no timing table"):
        build_memory(DramConfig(model="timing", standard="DDR3-1000"), 500.0)


@pytest.mark.parametrize("name", KINDS)
def test_answers_of_one_direction_come_in_order(name: str) -> None:
    memory = build_memory(config_of(name), 500.0)
    last = {False: 0, True: 0}
    for start, address, size, is_write in requests(150, 3):
        end = memory.serve(start, address, size, is_write).end_cycle
        assert end >= last[is_write]
        last[is_write] = end
