"""A ticket file whose seed, bit or stream order was changed after the search does not verify, and it is said where."""

from dataclasses import replace

import pytest

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.prng import RandomSource
from accelsim.ticket import file as ticket_file
from accelsim.ticket.file import write_ticket
from accelsim.ticket.synth import synthesize
from accelsim.ticket.zoo import build_network
from accelsim.validation.verify import verify_weights

CHIP = "hwconfigs/edge.yaml"
LAYER = "convs.1"


@pytest.fixture(autouse=True)
def at_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


@pytest.fixture(scope="module", params=["frozen", "unfrozen"])
def ticket(request):
    ratios = {"prune_ratio": 0.3, "lock_ratio": 0.2} if request.param == "frozen" else {}
    return synthesize(
        build_network("conv2", width_factor=0.5), sparsity=0.6, **ratios, template=RandomSource(stream="filter")
    )


def edited(ticket, change):
    layers = tuple(change(layer) if layer.name == LAYER else layer for layer in ticket.layers)
    return replace(ticket, layers=layers)


def source_change(**values):
    return lambda layer: replace(layer, source=replace(layer.source, **values))


def one_bit(layer):
    payload = bytearray(layer.mask_payload)
    payload[300] ^= 0x10
    return replace(layer, mask_payload=bytes(payload))


def two_bits_swapped(layer):
    """Keep the number of kept weights: no count contradicts it."""
    payload = bytearray(layer.mask_payload)
    place = next(index for index in range(250, len(payload)) if payload[index] != payload[index + 1])
    payload[place], payload[place + 1] = payload[place + 1], payload[place]
    return replace(layer, mask_payload=bytes(payload))


def save_unchecked(monkeypatch, path, ticket):
    with monkeypatch.context() as patch:
        patch.setattr(ticket_file, "check_ticket", lambda *_: None)
        write_ticket(path, ticket)


EDITS = {
    "seed": source_change(seed=12345),
    "bit": one_bit,
    "bits": two_bits_swapped,
    "stream order": source_change(stream="layer"),
    "stream length": source_change(stream="tile", tile_filters=2),
    "seed policy": source_change(seeds="jump"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_fails_with_layer_tile_and_filter(tmp_path, monkeypatch, capsys, ticket, name):
    path = tmp_path / "edited.pt"
    save_unchecked(monkeypatch, path, edited(ticket, EDITS[name]))

    assert main(["verify", CHIP, str(path), "--images", "0"]) == 2

    error = capsys.readouterr().err
    assert f"layer '{LAYER}': tile visit " in error
    assert ": filter " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", EDITS)
def test_with_a_reference_the_weight_is_named(tmp_path, monkeypatch, capsys, ticket, name):
    path, reference = tmp_path / "edited.pt", tmp_path / "searched.pt"
    save_unchecked(monkeypatch, path, edited(ticket, EDITS[name]))
    write_ticket(reference, ticket)

    assert main(["verify", CHIP, str(path), "--images", "0", "--reference", str(reference)]) == 2

    error = capsys.readouterr().err
    assert f"layer '{LAYER}': tile visit " in error
    assert "weight [" in error


def test_a_threshold_that_contradicts_the_counts_is_walked(tmp_path, monkeypatch, capsys):
    searched = synthesize(build_network("conv2", width_factor=0.5), sparsity=0.6, prune_ratio=0.3, lock_ratio=0.2)
    threshold = searched.layer(LAYER).source.prune_threshold
    path = tmp_path / "edited.pt"
    save_unchecked(monkeypatch, path, edited(searched, source_change(prune_threshold=threshold - 9000)))

    assert main(["verify", CHIP, str(path), "--images", "0"]) == 2

    assert f"layer '{LAYER}': tile visit 0 (filters 0 to " in capsys.readouterr().err


def test_a_file_without_digests_says_that_it_was_compared_with_itself(tmp_path, capsys, ticket):
    bare = replace(ticket, layers=tuple(replace(layer, digest_payload=b"") for layer in ticket.layers))
    write_ticket(tmp_path / "bare.pt", bare)

    assert main(["verify", CHIP, str(tmp_path / "bare.pt"), "--images", "0"]) == 0

    assert "it has no digests of the search" in capsys.readouterr().out


def test_an_untouched_file_verifies_by_its_digests(tmp_path, capsys, ticket):
    write_ticket(tmp_path / "good.pt", ticket)

    assert main(["verify", CHIP, str(tmp_path / "good.pt"), "--images", "0"]) == 0

    assert "by its digest of every filter" in capsys.readouterr().out


def test_the_digests_of_every_cores_filters_are_checked(request, ticket):
    def last_digest(layer):
        return replace(layer, digest_payload=layer.digest_payload[:-1] + bytes([layer.digest_payload[-1] ^ 1]))

    chip = load_hardware(request.config.rootpath / CHIP, ("num_cores=4", "mapping.split=filters"))
    assert "filter 31: a weight" in verify_weights(chip, edited(ticket, last_digest)).problem
