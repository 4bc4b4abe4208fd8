"""``accelsim verify`` as a user types it."""

import json
import zlib

import pytest
import torch

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


def rewritten(source, target, change):
    """Write a ticket file again with a change of its payload; its header says where the scales of layers lie."""
    document = torch.load(source, weights_only=True)
    header = json.loads(zlib.decompress(document["header"].numpy().tobytes()))
    start, places = 0, []
    for layer in header["layers"]:
        start += layer["mask_bytes"]
        places.append(range(start, start + 4 * layer["num_scales"]))
        start += len(places[-1]) + layer["weight_bytes"] + layer["frozen_bytes"] + layer["digest_bytes"]
    change(document["payload"], header, places)
    compressed = zlib.compress(json.dumps(header).encode())
    document["header"] = torch.frombuffer(bytearray(compressed), dtype=torch.uint8)
    torch.save(document, target)


def one_scale(payload, _, places):
    payload[places[1][5]] ^= 2


def one_offset(payload, _, places):
    payload[places[2][-1]] ^= 1


def density(_, header, __):
    header["layers"][0]["input_density"] = 0.25


@pytest.mark.parametrize("change", [one_scale, one_offset, density])
def test_other_scales_offsets_and_densities_are_refused(tmp_path, capsys, change):
    rewritten("workloads/conv6_slt_f90.pt", tmp_path / "edited.pt", change)

    for command in (["verify", CHIP], ["run", CHIP], ["inspect"]):
        assert main([*command, str(tmp_path / "edited.pt")]) == 2
        assert "scales, offsets or input_density are not those that their digest was made of" in capsys.readouterr().err


def test_a_file_of_before_is_read_and_it_is_said(tmp_path, capsys):
    def without(_, header, __):
        for layer in header["layers"]:
            del layer["value_digest"]

    rewritten("workloads/conv6_slt_f90.pt", tmp_path / "old.pt", without)

    assert main(["verify", CHIP, str(tmp_path / "old.pt"), "--images", "0"]) == 0
    assert "scales, offsets and input densities: not checked: the file has no digest" in capsys.readouterr().out
