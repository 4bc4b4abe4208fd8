"""Properties of the memory: nothing is lost, and slower devices make slower memories.

Strict monotony holds for a fixed order of commands. A first-ready scheduler may choose another order when a distance
grows, and a greedy order may be the better one by luck (Graham's anomalies), so for whole traces it holds within a
tolerance. CL and CWL are left out: JEDEC's read-to-write gap shrinks with CWL, that between ranks with CL.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.config.memory_device import DeviceTable, Timing
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory, build
from accelsim.sim.dram.device import timing_rules
from accelsim.sim.dram.trace import run_memory_trace

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "hwconfigs" / "dram").glob("*.yaml"))
GAPS = (
    "rcd_read", "rcd_write", "rp", "rp_all", "ras", "rc", "ccd_s", "ccd_l", "ccd_write_s", "ccd_write_l", "rrd_s",
    "rrd_l", "faw", "wtr_s", "wtr_l", "wr", "rtp", "ppd", "rtw_bubble", "rank_switch", "rfc",
)  # fmt: skip
MIXED_TOLERANCE, SEQUENTIAL_TOLERANCE = 0.06, 0.01


@lru_cache(maxsize=32)
def memory_of(path: Path) -> Memory:
    return build(load_section(path, "dram", DramConfig))


def slower(table: DeviceTable, gap: str, more: int) -> DeviceTable:
    name = f"{gap}_cycles"
    timing = table.timing.model_copy(update={name: getattr(table.timing, name) + more})
    return table.model_copy(update={"timing": timing})


def mixed(memory: Memory, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct bursts: runs in a few rows, jumps, and two fifths writes."""
    rng = np.random.default_rng(seed)
    starts = (rng.integers(0, 6, num) << 22) // memory.config.burst_bytes + rng.integers(0, 256, num) * 8
    lengths, kinds = rng.integers(1, 9, num), rng.random(num) < 0.4
    numbers = np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths, strict=True)])
    index = np.sort(np.unique(numbers, return_index=True)[1])[:num]
    return (numbers[index] * memory.config.burst_bytes).astype(np.uint64), np.repeat(kinds, lengths)[index]


def as_soon_as_possible(table: DeviceTable, commands: np.ndarray, memory: Memory) -> np.ndarray:
    """Return when each command of a log issues if all keep their order and none waits longer than the rules ask."""
    rules: dict[int, list[tuple[int, int, int]]] = {}
    for before, scope, after, cycles in timing_rules(table):
        rules.setdefault(after, []).append((before, scope, cycles))
    last: dict[tuple[int, ...], int] = {}
    acts: dict[tuple[int, int], list[int]] = {}
    now, out = 0, []
    for _, ch, cmd, bank, _ in commands.tolist():
        rank, group = int(memory.dev[s.RANK_OF + bank]), int(memory.dev[s.GROUP_OF + bank])
        places = {s.SCOPE_CHANNEL: 0, s.SCOPE_RANK: rank, s.SCOPE_GROUP: group, s.SCOPE_BANK: bank}
        for before, scope, cycles in rules.get(cmd, []):
            if scope in places:
                now = max(now, last.get((ch, scope, places[scope], before), -cycles) + cycles)
        window = acts.setdefault((ch, rank), [])
        if cmd == s.ACT and len(window) >= 4:
            now = max(now, window[-4] + table.timing.faw_cycles)
        for scope, place in places.items():
            last[ch, scope, place, cmd] = now
        if cmd == s.ACT:
            window.append(now)
        out.append(now)
    return np.array(out)


@settings(max_examples=40, deadline=None)
@given(path=st.sampled_from(CONFIGS), gap=st.sampled_from(GAPS), more=st.integers(1, 12), seed=st.integers(0, 50))
def test_fixed_commands_never_come_earlier_on_a_slower_device(path: Path, gap: str, more: int, seed: int) -> None:
    memory = memory_of(path)
    log = s.new_log(400)
    run_memory_trace(memory, *mixed(memory, 150, seed), log)
    commands = log[1 : 1 + log[0, 0]]
    commands = commands[commands[:, 2] < s.NUM_COMMANDS]
    slow = as_soon_as_possible(slower(memory.table, gap, more), commands, memory)
    assert np.all(slow >= as_soon_as_possible(memory.table, commands, memory))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(path=st.sampled_from(CONFIGS), gap=st.sampled_from(GAPS), more=st.integers(1, 12), seed=st.integers(0, 50))
def test_mixed_traffic_is_not_faster_on_a_slower_device(path: Path, gap: str, more: int, seed: int) -> None:
    memory = memory_of(path)
    trace = mixed(memory, 4000 * memory.config.num_channels, seed)
    slow = build(memory.config, slower(memory.table, gap, more))
    assert run_memory_trace(slow, *trace).cycles >= (1 - MIXED_TOLERANCE) * run_memory_trace(memory, *trace).cycles


@settings(max_examples=30, deadline=None, derandomize=True)
@given(path=st.sampled_from(CONFIGS), gap=st.sampled_from(GAPS), more=st.integers(1, 12), write=st.booleans())
def test_sequential_traffic_is_not_faster_on_a_slower_device(path: Path, gap: str, more: int, write: bool) -> None:
    memory = memory_of(path)
    addresses = np.arange(2000 * memory.config.num_channels, dtype=np.uint64) * np.uint64(memory.config.burst_bytes)
    trace = addresses, np.full(len(addresses), write)
    slow = build(memory.config, slower(memory.table, gap, more))
    assert run_memory_trace(slow, *trace).cycles >= (1 - SEQUENTIAL_TOLERANCE) * run_memory_trace(memory, *trace).cycles


@settings(max_examples=30, deadline=None)
@given(
    path=st.sampled_from(CONFIGS), seed=st.integers(0, 1000), page=st.sampled_from(["open", "closed"]),
    refresh=st.sampled_from(["all_bank", "none"]),
)  # fmt: skip
def test_every_burst_moves_once_and_only_between_activate_and_precharge(
    path: Path, seed: int, page: str, refresh: str
) -> None:
    config = memory_of(path).config.model_copy(
        update={"page_policy": page, "refresh": refresh, "num_write_drain_entries": 1}
    )
    memory = build(config)
    addresses, writes = mixed(memory, 600, seed)
    log = s.new_log(10_000)
    run_memory_trace(memory, addresses, writes, log)
    open_rows: dict[tuple[int, int], int] = {}
    moved: Counter[tuple[int, int, int, bool]] = Counter()
    for _, ch, cmd, bank, row in log[1 : 1 + log[0, 0]].tolist():
        if cmd == s.ACT:
            assert (ch, bank) not in open_rows
            open_rows[ch, bank] = row
        elif cmd in (s.RD, s.WR, s.RDA, s.WRA):
            assert open_rows[ch, bank] == row
            moved[ch, bank, row, cmd in (s.WR, s.WRA)] += 1
        if cmd in (s.PRE, s.RDA, s.WRA):
            del open_rows[ch, bank]
        elif cmd == s.PREA:
            rank = memory.dev[s.RANK_OF + bank]
            open_rows = {k: r for k, r in open_rows.items() if k[0] != ch or memory.dev[s.RANK_OF + k[1]] != rank}
    d = memory.mapping.decode(addresses)
    asked = Counter(zip(d.channel.tolist(), d.bank.tolist(), d.row.tolist(), writes.tolist(), strict=True))
    missing = asked - moved
    assert not moved - asked
    assert all(write for *_, write in missing)  # posted writes may still wait
    assert config.controller == "bank_queues" or not missing


def test_all_gaps_are_fields() -> None:
    assert {f"{gap}_cycles" for gap in GAPS} <= set(Timing.model_fields)
