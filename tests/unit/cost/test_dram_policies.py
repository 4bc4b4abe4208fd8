"""What a memory does between requests: costing a run again for another policy, and what is said of the ratio."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.cost.dram import COMPONENTS, policies
from accelsim.cost.settings import with_settings
from accelsim.errors import ConfigError

CHIP = load_hardware("edge").config


def test_a_saved_run_is_costed_again_as_the_run_with_that_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never, asleep = tmp_path / "never", tmp_path / "asleep"
    words = ["run", "edge", "conv2", "--compare", "none", "--set", "mapping.objective=latency"]
    assert main([*words, "--set", "dram.power_down_after_ns=null", "--out", str(never)]) == 0
    assert main([*words, "--set", "dram.power_down_after_ns=100", "--out", str(asleep)]) == 0
    capsys.readouterr()
    assert main(["cost", str(never), "--set", "dram.power_down_after_ns=100", "--json"]) == 0
    again, run = json.loads(capsys.readouterr().out), json.loads((asleep / "summary.json").read_text())
    before = json.loads((never / "summary.json").read_text())
    states = run["totals"]["dram_energy_j_by_state"]
    assert tuple(states) == COMPONENTS
    assert math.fsum(states.values()) == pytest.approx(run["totals"]["energy_j_by_unit"]["dram"], rel=1e-9)
    for name, energy_j in again["totals"]["dram_energy_j_by_state"].items():
        assert energy_j == pytest.approx(states[name], rel=0.01, abs=1e-9), name
    assert again["totals"]["energy_j"] < before["totals"]["energy_j"]
    assert main(["cost", str(never), "--set", "dram.power_down_after_ns=100"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "with this memory policy the run would be longer by at most" in shown


def test_what_changes_the_time_of_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set clock_mhz=900: clock_mhz is more than a setting of cost"):
        with_settings(CHIP, ["clock_mhz=900"])
    with pytest.raises(ConfigError, match=r"--set node_nm=7: node_nm is an option of its own here; give --node"):
        with_settings(CHIP, ["node_nm=7"])
    with pytest.raises(ConfigError, match=r"--set: dram\.power_down_kind: "):
        with_settings(CHIP, ["dram.power_down_kind=deep"])
    assert with_settings(CHIP, ["dram.clock_stop=never"]).dram.clock_stop == "never"


def test_the_usual_policies_stand_beside_the_chips_own_once_each() -> None:
    chips = CHIP.dram.model_copy(update={"power_down_after_ns": 640.0, "self_refresh_after_ns": None})
    never = chips.model_copy(update={"power_down_after_ns": None})
    assert list(policies(chips)) == [
        "power-down after 640 ns (this chip)", "never asleep", "power-down after 640 ns and self-refresh after 20 us",
    ]  # fmt: skip
    assert list(policies(never))[0] == "never asleep (this chip)" and len(policies(never)) == 3
    odd = chips.model_copy(update={"power_down_kind": "active"})
    assert list(policies(odd))[0] == "active power-down after 640 ns (this chip)" and len(policies(odd)) == 4
