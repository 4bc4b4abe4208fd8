"""``accelsim verify`` as a user types it."""

import json

import pytest

from accelsim.cli.main import main
from accelsim.ticket.file import write_ticket
from accelsim.ticket.synth import synthesize

CHIP = "hwconfigs/edge.yaml"


@pytest.fixture(autouse=True)
def at_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_json_has_the_counts_of_every_layer(capsys):
    assert main(["verify", CHIP, "workloads/conv6_slt_f70.pt", "--images", "0", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["verified"], document["problem"], document["accuracy"]) == (True, None, None)
    assert document["total"]["num_weights"] == sum(layer["num_weights"] for layer in document["layers"]) == 2261184
    assert document["total"]["words"] > 0


def test_a_difference_is_one_line_and_status_2(tmp_path, capsys):
    paths = [tmp_path / "mine.pt", tmp_path / "other.pt"]
    for path, seed in zip(paths, (1, 2), strict=True):
        write_ticket(path, synthesize("conv2", sparsity=0.5, seed=seed))

    assert main(["verify", CHIP, str(paths[0]), "--reference", str(paths[1]), "--json"]) == 2

    out, error = capsys.readouterr()
    assert json.loads(out)["verified"] is False
    assert "layer 'convs.0': tile visit 0 (filters 0 to " in error
    assert error.count("\n") == 1
