"""Every memory trace for which DRAMsim3 or Ramulator 2 gave a result, and every rule of Ramulator 2's presets."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ruamel.yaml import YAML

from accelsim.config.dram import DramConfig
from accelsim.config.loader import load_section
from accelsim.config.memory_device import DeviceTable, load_device
from accelsim.cost import dram
from accelsim.sim.dram import state as s
from accelsim.sim.dram.device import Rule, timing_rules
from accelsim.sim.dram.trace import DramTraceResult, run_trace

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "hwconfigs" / "dram"
REFERENCE = ROOT.parent / "shared" / "reference" / "dram"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference figures are not beside this tree")


def results(simulator: str) -> list[dict[str, str]]:
    path = REFERENCE / f"{simulator}_results.csv"
    return list(csv.DictReader(path.open())) if path.is_file() else []


@lru_cache(maxsize=1)
def traces() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_trace", REFERENCE / "make_trace.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def cases() -> dict[str, list[tuple[int, int, bool]]]:
    """Return for each trace its pieces: address, bytes, whether they are written."""
    return traces().cases()  # type: ignore[no-any-return]


def config_of(simulator: str, name: str) -> DramConfig:
    return load_section(CONFIGS / f"{simulator}_{name}.yaml", "dram", DramConfig)


def core_supply(device: DeviceTable) -> DeviceTable:
    """Return the device without VPP, which the simulator has not."""
    return device.model_copy(update={"power": device.power.model_copy(update={"supplies": device.power.supplies[:1]})})


def run_case(simulator: str, row: dict[str, str]) -> DramTraceResult:
    config = config_of(simulator, row["config"])
    tx = int(row["tx_bytes"])
    pieces = [(np.arange(a // tx * tx, a + n, tx), write) for a, n, write in cases()[row["case"]]]
    addresses = np.concatenate([piece for piece, _ in pieces]).astype(np.uint64)
    writes = np.concatenate([np.full(len(piece), write) for piece, write in pieces])
    return run_trace(config, addresses, writes)


@needs_reference
@pytest.mark.parametrize("row", results("dramsim3"), ids=lambda row: f"{row['config']}-{row['case']}")
def test_cycles_counts_and_energy_of_dramsim3(row: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_case("dramsim3", row)
    assert result.cycles == int(row["cycles"])
    assert result.row_hit_rate == pytest.approx(float(row["row_hit_rate"]), abs=1e-4)
    assert result.bus_bytes == int(row["bus_bytes"])
    commands = (result.activates, result.precharges, result.refreshes)
    assert commands == (int(row["act_cmds"]), int(row["pre_cmds"]), int(row["ref_cmds"]))
    if not row["config"].startswith("LPDDR4"):  # that preset has DDR4 currents, which are not used
        monkeypatch.setattr(dram, "device_of", lambda standard: core_supply(load_device(standard)))
        config, states = config_of("dramsim3", row["config"]), result.states
        closed = replace(states, num_precharges=states.num_activates)  # it books both with the activate
        energy = dram.component_pj(config, closed, dram.Traffic(*result.bus_bits))
        refresh_ns = (
            states.num_refreshes * load_device(config.standard).timing.rfc_cycles * result.time_ns / result.cycles
        )
        without = replace(states, active=states.active - refresh_ns, precharged=states.precharged + refresh_ns)
        background = dram.component_pj(config, without, dram.Traffic(0, 0))  # its tRFC has closed banks
        assert energy["act_pre"] == pytest.approx(float(row["act_pJ"]), rel=1e-6)
        assert energy["rd"] == pytest.approx(float(row["read_pJ"]), rel=1e-6)
        assert energy["wr"] == pytest.approx(float(row["write_pJ"]), rel=1e-6)
        assert energy["ref"] == pytest.approx(float(row["ref_pJ"]), rel=1e-6)
        last = 1e-6 if int(row["n_read_tx"]) else 1e-4  # writes alone: the simulator ticked on for two cycles
        assert background["active"] == pytest.approx(float(row["act_stb_pJ"]), rel=last)
        assert background["precharged"] == pytest.approx(float(row["pre_stb_pJ"]), rel=last)


@needs_reference
@pytest.mark.parametrize("row", results("ramulator2"), ids=lambda row: f"{row['config']}-{row['case']}")
def test_cycles_and_hits_of_ramulator2(row: dict[str, str]) -> None:
    result = run_case("ramulator2", row)
    assert result.cycles == int(row["cycles"])
    assert result.row_hit_rate == pytest.approx(float(row["row_hit_rate"]), abs=1e-4)
    assert result.bus_bytes == int(row["bus_bytes"])
    assert result.refreshes == int(row["maintenance_reqs"])


COMMANDS = {
    "LPDDR5": (s.ACT, None, s.PRE, s.PREA, None, None, s.RD, s.WR, s.RDA, s.WRA, s.REF, s.REFB),
    "HBM2": (s.ACT, s.PRE, s.PREA, s.RD, s.WR, s.RDA, s.WRA, s.REF, s.REFB),
    "DDR": (s.ACT, s.PRE, s.PREA, s.RD, s.WR, s.RDA, s.WRA, s.REF),
}
SCOPES = (s.SCOPE_CHANNEL, s.SCOPE_RANK, s.SCOPE_GROUP, s.SCOPE_BANK)
STANDARDS = {
    "DDR4_8Gb_x8_2400R_1ch__RoBaRaCoCh": "DDR4-2400R", "DDR5_16Gb_x8_4800BN_1ch__RoBaRaCoCh": "DDR5-4800BN",
    "HBM2_8Gb_2000Mbps_8ch__RoBaRaCoCh": "HBM2-2000", "LPDDR5_16Gb_x16_6400_1ch__RoBaRaCoCh": "LPDDR5-6400",
}  # fmt: skip


def preset_rules(name: str) -> set[Rule]:
    """Return the rules of a preset but for the activation window and those between ranks."""
    dram = YAML(typ="safe").load(REFERENCE / f"ramulator2_{name}.yaml")["memory_system"]["controllers"][0]["dram"]
    commands = COMMANDS.get(dram["impl"], COMMANDS["DDR"])
    rules = set()
    for level, before, after, cycles, *rest in dram["timing_constraints"]:
        window, sibling = [*rest, 1, False][:2] if len(rest) < 2 else rest
        if window != 1 or sibling:
            continue
        rules |= {
            (commands[b], SCOPES[level], commands[a], cycles)
            for b in before for a in after
            if commands[b] is not None and commands[a] is not None and cycles > 0
        }  # fmt: skip
    return rules


@needs_reference
@pytest.mark.parametrize("name", STANDARDS)
def test_rules_are_those_of_the_preset(name: str) -> None:
    """Refresh rules apart, of which some cannot bind; the data bus of the one rank is a rule of the rank here."""
    device = load_device(STANDARDS[name])
    mine = {r for r in timing_rules(device) if r[1] != s.SCOPE_OTHER_RANKS}
    theirs = preset_rules(name)
    refreshing = {s.REF, s.REFB}
    strongest: dict[tuple[int, int, int], int] = {}
    for before, scope, after, cycles in theirs:
        both_columns = {before, after} <= {s.RD, s.WR, s.RDA, s.WRA}
        data_bus = scope == s.SCOPE_CHANNEL and both_columns and cycles == device.timing.burst_cycles
        key = (before, s.SCOPE_RANK if data_bus else scope, after)
        strongest[key] = max(cycles, strongest.get(key, 0))
    expected = {(b, scope, a, cycles) for (b, scope, a), cycles in strongest.items()}
    odd = {r for r in mine ^ expected if r[0] not in refreshing and r[2] not in refreshing}
    assert odd == set()
