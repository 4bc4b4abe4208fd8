"""The compiled memory model gives the same commands in the same cycles as a plain one, and breaks no timing rule."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.sim.dram import state as s
from accelsim.sim.dram.build import Memory, build
from accelsim.sim.dram.trace import run_memory_trace

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "hwconfigs" / "dram").glob("*.yaml"))
MORE = 2 if "ACCELSIM_NIGHTLY" in os.environ else 1


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


plain_dram = _load("plain_dram")


def mixed_trace(memory: Memory, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return runs in few rows, jumps between rows of one bank, and writes; no address twice."""
    rng = np.random.default_rng(seed)
    burst = memory.config.burst_bytes
    starts = rng.integers(0, 6, num) * (1 << 22) + rng.integers(0, 256, num) * burst * 8
    lengths = rng.integers(1, 9, num)
    kinds = rng.random(num) < 0.4
    numbers = np.concatenate(
        [start // burst + np.arange(length) for start, length in zip(starts, lengths, strict=True)]
    )
    writes = np.repeat(kinds, lengths)
    _, index = np.unique(numbers, return_index=True)
    index.sort()
    index = index[:num]
    return (numbers[index] * burst).astype(np.uint64), writes[index]


def often_refreshed(path: Path) -> Memory:
    """Return a memory of hwconfigs whose refresh interval is short enough to matter in a short trace."""
    config = load_section(path, "dram", DramConfig)
    memory = build(config)
    interval = 3.1 * memory.table.timing.rfc_cycles * memory.table.tck_ns * memory.num_ranks
    return build(config.model_copy(update={"refresh_interval_ns": interval}))


def fast_run(memory: Memory, addresses: np.ndarray, writes: np.ndarray) -> tuple[int, list[tuple[int, int, str, int]]]:
    log = s.new_log(100_000)
    result = run_memory_trace(memory, addresses, writes, log)
    commands = [(int(e[0]), int(e[1]), s.COMMAND_NAMES[e[2]], int(e[3])) for e in log[1 : 1 + log[0, 0]]]
    return result.cycles, commands


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_fast_model_issues_the_commands_of_the_plain_one(path: Path) -> None:
    memory = often_refreshed(path)
    addresses, writes = mixed_trace(memory, 60 * MORE * memory.config.num_channels, 7)
    cycles, plain = plain_dram.plain_run(memory, addresses, writes)
    fast_cycles, commands = fast_run(memory, addresses, writes)
    last = plain[-1][0]
    fast = sorted(c for c in commands if c[2] not in ("ACT2", "CAS") and c[0] <= last)
    assert [c for c in plain if c[0] <= fast_cycles] == [c for c in fast if c[0] <= fast_cycles]
    assert fast_cycles == cycles


@pytest.mark.parametrize("path", CONFIGS[:: 4 - MORE], ids=lambda path: path.stem)
@pytest.mark.parametrize("entries", [1, 2, 7])
def test_the_two_agree_with_short_queues_and_more_ranks(path: Path, entries: int) -> None:
    memory = often_refreshed(path)
    pseudo = memory.table.organisation.num_pseudo_channels > 1
    changes = {
        "num_read_queue_entries": entries, "num_write_queue_entries": entries, "num_bank_queue_entries": entries,
        "num_write_drain_entries": 1, "num_row_hits_before_precharge": entries, "num_channels": 2,
        "num_ranks": 1 if pseudo else 2, "write_high_watermark": 0.5, "write_low_watermark": 0.45,
    }  # fmt: skip
    memory = build(memory.config.model_copy(update=changes))
    for seed in range(MORE):
        trace = mixed_trace(memory, 150, seed)
        cycles, plain = plain_dram.plain_run(memory, *trace)
        fast_cycles, commands = fast_run(memory, *trace)
        last = min(cycles, plain[-1][0])
        fast = sorted(c for c in commands if c[2] not in ("ACT2", "CAS"))
        assert [c for c in plain if c[0] <= last] == [c for c in fast if c[0] <= last]
        assert fast_cycles == cycles


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_command_breaks_a_timing_rule(path: Path) -> None:
    memory = often_refreshed(path)
    addresses, writes = mixed_trace(memory, 500 * (1 + memory.config.num_channels), 3)
    _, commands = fast_run(memory, addresses, writes)
    assert {c[2] for c in commands} >= {"ACT", "RD", "WR", "REF"}
    for channel in range(memory.config.num_channels):
        device = plain_dram.PlainDevice(memory)
        for clk, _, cmd, bank in [c for c in commands if c[1] == channel and c[2] not in ("ACT2", "CAS")]:
            assert device.earliest(cmd, bank) <= clk, (cmd, bank, clk)
            if cmd == "ACT":
                assert bank not in device.rows
            elif cmd in plain_dram.COLUMN:
                assert bank in device.rows
            elif cmd == "REF":
                assert not [b for b in device.rows if device.rank(b) == device.rank(bank)]
            device.issue(cmd, bank, 0, clk)
    assert sum(c[2] in plain_dram.READS for c in commands) == np.count_nonzero(~writes)
