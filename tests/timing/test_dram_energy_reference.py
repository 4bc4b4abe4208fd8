"""Energy and state times of both models against DRAMPower 6.2 on request patterns with power policies."""

from __future__ import annotations

import csv
import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.cost.dram import Traffic, component_pj
from accelsim.sim.dram.build import build
from accelsim.sim.dram.simple_trace import run_simply
from accelsim.sim.dram.trace import run_requests
from accelsim.sim.dram.trace_files import DramTrace
from accelsim.timing.power_states import DramStates

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "dram_energy"
CORE = ("act_pre", "rd", "wr", "ref", "active", "precharged", "pd", "apd", "sr")
LINES = ("dq", "strobe", "ca")
# The rows of these patterns take a few seconds together; the others are like them.
PATTERNS = (
    "seq25", "seq1", "gap1u", "gap10u", "gap100u", "mix1to1_5", "hit100", "hit75", "hit25", "hit50_10",
    "tile4k_1k_2us", "idle1ms", "edge_resnet_slt",
)  # fmt: skip
RANDOM = ("hit75", "hit25")  # at full rate: banks decide, the simple model says so
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference figures are not beside this tree")


@lru_cache(maxsize=1)
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_energy_trace", REFERENCE / "make_energy_trace.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    if REFERENCE.is_dir():
        lines = (REFERENCE / "dram_energy_shared.csv").read_text().splitlines()
        for row in csv.DictReader(line for line in lines if not line.startswith("#")):
            if row["pattern"] in PATTERNS:
                found[row["standard"]].append(row)
    return found


def memory(row: dict[str, str]) -> DramConfig:
    policy: dict[str, object] = {}
    for part in row["policy"].split("+"):
        kind, _, value = part.partition(":")
        if kind in ("pd", "apd"):
            policy |= {
                "power_down_after_ns": float(value),
                "power_down_kind": "active" if kind == "apd" else "precharge",
            }
        elif kind == "sr":
            policy["self_refresh_after_ns"] = float(value)
    path = ROOT / "hwconfigs" / "dram" / f"energy_{row['standard']}.yaml"
    return load_section(path, "dram", DramConfig).model_copy(update=policy)


@lru_cache(maxsize=64)
def trace(standard: str, pattern: str) -> DramTrace:
    name = f"file:{REFERENCE}/requests_{pattern}.txt" if pattern.startswith("edge") else pattern
    requests, end_ns = maker().requests(standard, name)
    arrival, is_write, address, num_bytes = zip(*requests, strict=True)
    return DramTrace(
        np.array(address, dtype=np.uint64), np.array(is_write, dtype=bool), np.array(num_bytes, dtype=np.int64),
        np.array(arrival, dtype=float), end_ns=end_ns,
    )  # fmt: skip


def deviations(row: dict[str, str], energy: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    """Yield the core's deviation, then those of components with their share of the core."""
    core = float(row["e_core_nj"])
    yield "core", sum(energy[name] for name in CORE) / 1000 / core - 1, 1.0
    for name in (*CORE, *LINES):
        theirs = float(row[f"e_{name}_nj"])
        if theirs > 0:
            yield name, energy[name] / 1000 / theirs - 1, theirs / core


def failures(row: dict[str, str], energy: dict[str, float], core: float, part: float) -> list[str]:
    where = f"{row['pattern']} {row['policy']}"
    return [
        f"{where}: {name} {off:+.1%} (share {share:.0%})"
        for name, off, share in deviations(row, energy)
        if abs(off) > (core if name == "core" else part) and (name == "core" or share > 0.05)
    ]


@pytest.mark.parametrize("standard", rows())
def test_energy_of_the_rows_own_counts_and_times(standard: str) -> None:
    """But for commands on the bus, which depend on addresses; rows without a burst too many for the maker's counts."""
    for row in rows()[standard]:
        count = {name: int(row[f"n_{name}"]) for name in ("act", "rd", "wr", "ref")}
        if count["rd"] + count["wr"] > 2048:
            continue
        closed = maker().counts(standard, row["pattern"], row["policy"])["counts"].get("PRE", 0)
        times = [float(row[f"t_{name}_ns"]) for name in ("active", "precharged", "pd", "apd", "sr")]
        bits = memory(row).burst_bytes * 8
        states = DramStates(count["act"], closed, count["ref"], 0, 0, 0, *times)
        energy = component_pj(memory(row), states, Traffic(count["rd"] * bits, count["wr"] * bits))
        for name, off, _ in deviations(row, energy):
            assert name == "ca" or abs(off) < 0.005, f"{row['pattern']} {row['policy']}: {name} {off:+.2%}"


@pytest.mark.parametrize("standard", rows())
def test_the_timing_model_end_to_end(standard: str) -> None:
    wrong = []
    for row in rows()[standard]:
        result, _ = run_requests(build(memory(row)), trace(standard, row["pattern"]))
        energy = component_pj(memory(row), result.states, Traffic(*result.bus_bits))
        if standard == "HBM2" and row["pattern"] == "hit100":
            energy["ca"] = float(row["e_ca_nj"]) * 1000  # 5 % of the core; every address bit is 0, not half of them
        wrong += failures(row, energy, 0.03, 0.1)
    assert not wrong


@pytest.mark.parametrize("standard", rows())
def test_the_simple_model_end_to_end(standard: str) -> None:
    wrong = []
    for row in rows()[standard]:
        config = memory(row)
        result = run_simply(config, trace(standard, row["pattern"]))
        assert result.needs_banks == (row["pattern"] in RANDOM)
        if not result.needs_banks:
            traffic = Traffic(8 * result.read_bytes, 8 * result.written_bytes)
            energy = component_pj(config, result.activity.states(config), traffic)
            wrong += failures(row, energy, 0.1 if config.self_refresh_after_ns is not None else 0.05, 1.0)
    assert not wrong


# (a pattern of the maker, a policy) that no row has; both models, within the limits of the rows.
OTHERS = (
    ("seq10", "pd:100+sr:2000"), ("mix1to1_5", "apd:640+sr:20000"), ("gap10u", "apd:100"), ("seq1", "pd:640+sr:5000"),
)  # fmt: skip


@pytest.mark.parametrize("standard", ["LPDDR4-3200", "LPDDR5-6400", "DDR4-2400", "DDR4-3200", "HBM2"])
def test_memories_and_policies_without_rows(standard: str) -> None:
    """Against the counts of the maker's controller, priced by the currents of the tables."""
    for pattern, policy in OTHERS:
        config = memory({"standard": standard, "policy": policy})
        made = maker().counts(standard, pattern, policy)
        count, times = made["counts"], made["state_ns"]
        times["active"] += times.pop("refresh")
        refreshes = count.get("REFA", 0) + count.get("SREFEN", 0)
        states = DramStates(count["ACT"], count["PRE"], refreshes, 0, 0, 0, **times)
        bits = 8 * config.burst_bytes
        theirs = component_pj(config, states, Traffic(count["RD"] * bits, count.get("WR", 0) * bits))
        timed, _ = run_requests(build(config), trace(standard, pattern))
        simply = run_simply(config, trace(standard, pattern))
        simple_traffic = Traffic(8 * simply.read_bytes, 8 * simply.written_bytes)
        for limit, ours in (
            (0.03, component_pj(config, timed.states, Traffic(*timed.bus_bits))),
            (0.05, component_pj(config, simply.activity.states(config), simple_traffic)),
        ):
            off = sum(ours[name] for name in CORE) / sum(theirs[name] for name in CORE) - 1
            assert abs(off) < limit, f"{pattern} {policy}: {off:+.1%}"


def test_the_simple_model_warns_of_random_rows_where_changes_of_direction_keep_the_bus() -> None:
    device = maker().DEVICES["LPDDR5-6400"]
    requests, end_ns = maker()._hits(device, 0.75, 2048, 0.3, 0.3)
    arrival, is_write, address, num_bytes = zip(*requests, strict=True)
    mixed = DramTrace(
        np.array(address, dtype=np.uint64), np.array(is_write, dtype=bool), np.array(num_bytes, dtype=np.int64),
        np.array(arrival, dtype=float), end_ns=end_ns,
    )  # fmt: skip
    assert run_simply(memory({"standard": "LPDDR5-6400", "policy": "standby"}), mixed).needs_banks
