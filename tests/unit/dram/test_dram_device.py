"""Device tables, their rules, and how tight the controllers keep to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.errors import ConfigError
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import build
from accelsim.sim.dram.device import device_names, load_device, parse_device, timing_rules
from accelsim.sim.dram.trace import run_memory_trace

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "hwconfigs" / "dram").glob("*.yaml"))
LPDDR4 = DramConfig(model="timing", standard="LPDDR4-3200", bus_width_bits=32, data_rate_mtps=3200.0, burst_bytes=64)


@pytest.mark.parametrize("name", device_names())
def test_every_table_is_complete_and_sourced(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert device.timing.rc_cycles >= device.timing.ras_cycles + device.timing.rp_cycles - 1  # rounded on their own
    assert device.timing.refi_cycles > device.timing.rfc_cycles
    assert timing_rules(device)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_fits_its_table(path: Path) -> None:
    memory = build(load_section(path, "dram", DramConfig))
    peak = memory.peak_bytes_per_cycle / memory.table.tck_ns
    assert peak == pytest.approx(memory.config.peak_bytes_per_ns, rel=0.01)


def test_nanoseconds_become_cycles_rounded_up() -> None:
    timing = load_device("LPDDR4-3200").timing  # tCK 0.625 ns
    assert (timing.rcd_read_cycles, timing.rp_all_cycles, timing.faw_cycles) == (29, 34, 64)
    assert (timing.rtp_cycles, timing.rfc_cycles, timing.refi_cycles) == (12, 448, 6247)


def test_an_unknown_standard_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"dram.standard: 'DDR9' has no timing table; .* DDR4-2400, .* LPDDR5-6400"):
        load_device("DDR9")


def test_a_table_without_a_source_is_refused() -> None:
    text = "name: X\ntck_ns: 1.0\norganisation: {}\ntiming: {}\npower: {}\n"
    with pytest.raises(ConfigError, match="memory table X: source: Field required; give the figure and its source"):
        parse_device(text, "X")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"burst_bytes": 32}, "dram.burst_bytes: 32 is not a burst of LPDDR4-3200 on 32 bits; set it to 64"),
        ({"data_rate_mtps": 2400.0}, "dram.data_rate_mtps: 2400 is not the rate of LPDDR4-3200; set it to 3200"),
        ({"num_channels": 3}, "dram: 3 channels are not a power of two"),
        ({"num_ranks": 32}, "dram.num_ranks: 32 makes 256 banks of LPDDR4-3200 in a channel"),
        ({"bus_width_bits": 8, "burst_bytes": 16}, "dram.bus_width_bits: 8 is no multiple of 16, the devices of"),
        ({"refresh_interval_ns": 500.0}, "500 leaves no time between refreshes; give at least 560"),
        (
            {
                "standard": "LPDDR5-6400",
                "bus_width_bits": 16,
                "burst_bytes": 32,
                "data_rate_mtps": 6400.0,
                "controller": "bank_queues",
            },
            "dram.controller: bank_queues cannot split activates in two commands, as LPDDR5-6400 does; use",
        ),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(LPDDR4.model_copy(update=change))
    assert message in str(error.value)


def test_per_bank_refresh_needs_a_device_that_has_it() -> None:
    config = load_section(CONFIGS[0].with_name("dramsim3_DDR4_8Gb_x8_2400.yaml"), "dram", DramConfig)
    with pytest.raises(ConfigError, match="the table of DDR4-2400 has no tRFCpb and tREFIpb, .*; use all_bank"):
        build(config.model_copy(update={"refresh": "per_bank"}))


def commands(name: str, places: list[tuple[int, int, int]], writes: list[bool]) -> list[tuple[int, str]]:
    """Return (cycle, command) of bursts given as (bank group, row, column) in bank 0 of a group, refresh off."""
    config = load_section(CONFIGS[0].with_name(f"{name}.yaml"), "dram", DramConfig)
    memory = build(config.model_copy(update={"refresh": "none"}))
    shift = {field: sum(bits for _, _, bits in memory.mapping.slices[:k])
             for k, (field, _, _) in enumerate(memory.mapping.slices)}  # fmt: skip
    numbers = [(g << shift["bg"]) + (r << shift["ro"]) + (c << shift["co"]) for g, r, c in places]
    log = s.new_log(100)
    addresses = (np.array(numbers) * config.burst_bytes).astype(np.uint64)
    run_memory_trace(memory, addresses, np.array(writes), log)
    return [(int(e[0]), s.COMMAND_NAMES[e[2]]) for e in log[1 : 1 + log[0, 0]]]


def gaps(name: str, places: list[tuple[int, int, int]], writes: list[bool]) -> dict[tuple[str, str], int]:
    """Return the cycles between each command and the one logged next."""
    log = commands(name, places, writes)
    return {(a[1], b[1]): b[0] - a[0] for a, b in zip(log[:-1], log[1:], strict=True)}


@pytest.mark.parametrize("name", ["dramsim3_DDR4_8Gb_x8_2400", "ramulator2_DDR4_8Gb_x8_2400R_1ch__RoBaRaCoCh"])
def test_commands_come_in_the_first_cycle_that_is_allowed(name: str) -> None:
    """Blocked a cycle before, ready then: each gap is the exact sum of its JEDEC distances."""
    t = build(load_section(CONFIGS[0].with_name(f"{name}.yaml"), "dram", DramConfig)).table.timing
    first = gaps(name, [(0, 0, 0), (0, 0, 1)], [False, False])
    assert first == {("ACT", "RD"): t.rcd_read_cycles, ("RD", "RD"): t.ccd_l_cycles}
    conflict = gaps(name, [(0, 0, 0), (0, 1, 0)], [False, False])
    assert conflict["RD", "PRE"] == max(t.rtp_cycles, t.ras_cycles - t.rcd_read_cycles)
    assert conflict["PRE", "ACT"] == t.rp_cycles
    other_group = commands(name, [(0, 0, 0), (1, 0, 0)], [False, False])
    acts = [clk for clk, cmd in other_group if cmd == "ACT"]
    reads = [clk for clk, cmd in other_group if cmd == "RD"]
    assert acts[1] - acts[0] == t.rrd_s_cycles
    assert reads[1] - reads[0] == max(t.ccd_s_cycles, acts[1] + t.rcd_read_cycles - reads[0])


def test_reads_and_writes_turn_the_bus_in_the_first_cycle_that_is_allowed() -> None:
    name = "ramulator2_DDR4_8Gb_x8_2400R_1ch__RoBaRaCoCh"
    t = load_device("DDR4-2400R").timing
    turned = gaps(name, [(0, 0, 0), (0, 0, 1)], [False, True])
    assert turned["RD", "WR"] == t.cl_cycles + t.burst_cycles + t.rtw_bubble_cycles - t.cwl_cycles
    back = gaps(name, [(0, 0, k) for k in range(27)] + [(0, 0, 40)], [True] * 27 + [False])
    assert back["WR", "RD"] == t.cwl_cycles + t.burst_cycles + t.wtr_l_cycles


def test_five_activates_need_the_activation_window() -> None:
    name = "ramulator2_DDR4_8Gb_x8_2400R_1ch__MOP4CLXOR"
    memory = build(load_section(CONFIGS[0].with_name(f"{name}.yaml"), "dram", DramConfig))
    log = s.new_log(100)
    run_memory_trace(memory, np.arange(32, dtype=np.uint64) * np.uint64(256), np.zeros(32, dtype=bool), log)
    acts = [int(e[0]) for e in log[1 : 1 + log[0, 0]] if e[2] == s.ACT]
    window = [later - earlier for earlier, later in zip(acts[:-4], acts[4:], strict=True)]
    assert min(window) == memory.table.timing.faw_cycles
