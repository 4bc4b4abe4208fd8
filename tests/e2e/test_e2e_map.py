"""``accelsim map`` and ``accelsim run --mapping``, as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from accelsim.cli.main import main

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
DOC = Path("docs/mapping.md").read_text(encoding="utf-8")


@pytest.fixture
def stated(tmp_path) -> str:
    """Return the path of the mapping file that docs/mapping.md shows."""
    path = tmp_path / "mapping.yaml"
    found = re.search(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert found
    path.write_text(found.group(1), encoding="utf-8")
    return str(path)


def layers(capsys, *arguments: str):
    assert main(["map", "hwconfigs/edge.yaml", "resnet18", "--json", *arguments]) == 0
    return {layer["name"]: layer for layer in json.loads(capsys.readouterr().out)["layers"]}


def test_the_mapping_file_of_the_page_is_followed(capsys, stated):
    shown = layers(capsys, "--mapping", stated)

    assert shown["layer1.0.conv1"]["tile"] == {"N": 1, "G": 1, "K": 32, "C": 64, "P": 8, "Q": 16, "R": 3, "S": 3}
    assert shown["layer1.0.conv1"]["loop_order"] == ["P", "K", "Q"]
    assert shown["layer1.0.conv2"]["num_tiles"]["R"] == 3
    assert shown["layer4.1.conv2"]["tile"]["P"] == 4


def test_fractions_of_pe_cycles_add_up_and_cycles_are_those_of_a_run(capsys, tmp_path):
    shown = layers(capsys)
    assert main(["run", "hwconfigs/edge.yaml", "resnet18", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)

    for record in run["layers"]:
        if record["name"] in shown:
            layer = shown[record["name"]]
            use = layer["utilization"]
            total = use["used"] + use["lost_shape"] + use["lost_fill_drain"] + sum(use["lost_stalls"].values())
            assert layer["simulated_cycles"] == record["latency_cycles"]
            assert total == pytest.approx(1.0)
            assert use["used"] == pytest.approx(record["pe_utilization"], rel=1e-3)
            assert all(buffer["fraction"] <= 1 for buffer in layer["buffers"].values())


def test_a_layer_alone_stands_beside_its_lower_bound(capsys, monkeypatch):
    arguments = ["map", "eyeriss_dense", "conv2", "--set", "mapping.objective=latency"]
    assert main([*arguments, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(arguments) == 0
    text = capsys.readouterr().out

    first = shown["layers"][0]
    assert first["alone_cycles"] == first["simulated_cycles"]  # nothing stands before it
    for layer in shown["layers"]:
        assert layer["alone_cycles"] >= layer["lower_bound_cycles"] > 0
        assert layer["gap"] == pytest.approx(layer["alone_cycles"] / layer["lower_bound_cycles"] - 1)
        cells = [layer["name"], f"{layer['alone_cycles']:,}", f"{layer['lower_bound_cycles']:,}", layer["bound_by"]]
        assert re.search(r"\s+".join([*cells[:3], r"[\d.]+ %", *cells[3:]]), text)
    assert shown["lower_bound_cycles"] < sum(layer["simulated_cycles"] for layer in shown["layers"])


def test_a_run_with_a_mapping_differs_from_one_without(capsys, stated):
    cycles = []
    for extra in ([], ["--mapping", stated]):
        assert main(["run", "hwconfigs/edge.yaml", "resnet18", "--json", *extra]) == 0
        cycles.append(json.loads(capsys.readouterr().out)["totals"]["latency_cycles"])

    assert cycles[1] > cycles[0]


def test_an_unknown_layer_is_one_line(capsys):
    assert main(["map", "hwconfigs/edge.yaml", "resnet18", "--layer", "conv"]) == 2
    assert capsys.readouterr().err == "accelsim: --layer: resnet18 has no array layer 'conv'; did you mean 'conv1'?\n"


def test_validate_prints_json_only(capsys):
    assert main(["validate", "--reference", "real-masks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["relative_error"] for row in rows] == [0.0, 0.0]
