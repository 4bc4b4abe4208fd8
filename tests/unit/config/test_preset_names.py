"""Chips and tickets by bare name, from any folder."""

import pytest

from accelsim.config import presets
from accelsim.config.loader import load_hardware
from accelsim.errors import ConfigError
from accelsim.ticket.zoo import list_networks
from accelsim.trace import trace_workload

CHIP = "name: mine\nclock_mhz: 123\nnode_nm: 22\n"


def test_a_bare_name_is_a_preset_in_any_folder_and_recorded_as_given(tmp_path, monkeypatch):
    preset = load_hardware("hwconfigs/edge.yaml")
    ticket = trace_workload("workloads/conv6_slt_f50.pt")
    monkeypatch.chdir(tmp_path)

    loaded = load_hardware("edge")
    trace = trace_workload("conv6_slt_f50")

    assert (loaded.path, loaded.sha256, loaded.config) == ("edge", preset.sha256, preset.config)
    assert (trace.path, trace.sha256) == ("conv6_slt_f50", ticket.sha256)


def test_a_file_of_that_name_wins_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge").mkdir()
    (tmp_path / "resnet18").mkdir()
    assert load_hardware("edge").config.name == "edge"
    assert trace_workload("resnet18").path == "resnet18"

    (tmp_path / "hiddenite").write_text(CHIP)
    assert load_hardware("hiddenite").config.name == "mine"


def test_the_current_folders_presets_come_first_and_the_installed_ones_last(tmp_path, monkeypatch):
    installed = tmp_path / "share" / "accelsim" / "hwconfigs"
    installed.mkdir(parents=True)
    (installed / "made-up.yaml").write_text(CHIP)
    monkeypatch.setattr(presets.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load_hardware("made-up").config.clock_mhz == 123

    (tmp_path / "hwconfigs").mkdir()
    (tmp_path / "hwconfigs" / "made-up.yaml").write_text(CHIP.replace("123", "456"))
    assert load_hardware("made-up").config.clock_mhz == 456


@pytest.mark.parametrize("name", ["../edge", "/edge", "hwconfigs/edge", ".edge", ""])
def test_only_bare_names_are_looked_up(name):
    assert presets.find_preset(name, presets.CHIPS) is None


def test_no_ticket_hides_behind_a_networks_name():
    networks = {info.name.replace("_", "-") for info in list_networks()}

    assert networks.isdisjoint(name.replace("_", "-") for name in presets.preset_names(presets.TICKETS))


def test_a_missing_file_in_a_missing_folder_has_no_suggestion(tmp_path):
    with pytest.raises(ConfigError, match=r"x/y/zzz\.yaml: no such file; give the path of a YAML file"):
        load_hardware(tmp_path / "x" / "y" / "zzz.yaml")
