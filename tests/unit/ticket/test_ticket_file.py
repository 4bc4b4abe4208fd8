import io
import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accelsim.errors import TicketError
from accelsim.prng import RandomSource, freezing_map, layer_seed
from accelsim.ticket.file import check_ticket, read_ticket, write_ticket
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import pack_layer, synthetic_mask, unpack_mask
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.torchfile import read_torch_file
from accelsim.ticket.zoo import build_network


def make_ticket(width: float = 0.125, codec: str = "raw") -> Ticket:
    graph = build_network("conv6", width_factor=width)
    layers = []
    for index, (name, shape) in enumerate(weight_shapes(graph).items()):
        source = RandomSource(seed=layer_seed(11, index), prune_threshold=1 << 15, lock_threshold=45875)
        mask = synthetic_mask(freezing_map(source, shape), 0.7, seed=index + 1)
        scale = np.full(shape[0], 0.1)
        layers.append(pack_layer(name, shape, source, mask, codec, scale, -scale, 0.25))
    return Ticket(graph, tuple(layers), "searched", "digits", 0.9, "accelsim search")


def edit(path: Path, **changes: object) -> None:
    document = torch.load(path, weights_only=True)
    document.update(changes)
    torch.save(document, path)


def edit_header(path: Path, before: str, after: str) -> None:
    text = zlib.decompress(bytes(torch.load(path, weights_only=True)["header"].tolist())).decode()
    assert before in text
    data = zlib.compress(text.replace(before, after, 1).encode())
    edit(path, header=torch.tensor(bytearray(data), dtype=torch.uint8))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "ticket.pt"
    write_ticket(target, make_ticket())
    return target


def refused(path: Path, match: str) -> None:
    with pytest.raises(TicketError, match=match) as caught:
        read_ticket(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("codec", ["raw", "entropy"])
def test_read_returns_what_was_written(tmp_path: Path, codec: str) -> None:
    ticket = make_ticket(codec=codec)
    write_ticket(tmp_path / "a.pt", ticket)
    again = read_ticket(tmp_path / "a.pt")
    assert again.graph == ticket.graph
    assert (again.provenance, again.dataset, again.accuracy, again.command) == (
        "searched",
        "digits",
        0.9,
        "accelsim search",
    )
    for before, after in zip(ticket.layers, again.layers, strict=True):
        assert after.source == before.source
        assert np.array_equal(after.offset_K, before.offset_K)
        assert np.array_equal(unpack_mask(after), unpack_mask(before))


def test_equal_tickets_give_equal_bytes(tmp_path: Path, path: Path) -> None:
    write_ticket(tmp_path / "other_name.pt", make_ticket())
    assert (tmp_path / "other_name.pt").read_bytes() == path.read_bytes()


def test_torch_reads_it_with_weights_only(path: Path) -> None:
    document = torch.load(path, weights_only=True)
    assert document["format"] == "accelsim-ticket"
    assert document["payload"].dtype == torch.uint8


def test_file_is_within_ten_percent_of_the_stored_bits(tmp_path: Path) -> None:
    ticket = make_ticket(width=1.0)
    write_ticket(tmp_path / "a.pt", ticket)
    stored = sum(layer.payload_bits + 32 + 32 * layer.scale_K.size for layer in ticket.layers)
    assert 8 * (tmp_path / "a.pt").stat().st_size < 1.10 * stored


def test_nothing_is_left_behind_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "taken.pt").mkdir()
    with pytest.raises(TicketError, match=r"taken\.pt: cannot be written"):
        write_ticket(tmp_path / "taken.pt", make_ticket())
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.pt"]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files_are_refused(path: Path, part: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(path, "cut off")


def test_a_flipped_payload_bit_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(path, "CRC")


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "No such file")
    refused(tmp_path, "not a regular file")


def test_code_in_the_file_is_named_and_not_run(path: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"format": "accelsim-ticket", "version": Evil()}, path)
    refused(path, "asks for 'posix.mkdir', which runs code")
    assert not (tmp_path / "ran").exists()


def test_compressed_records_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    refused(path, "is compressed")


def test_a_tensor_beyond_its_storage_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data[:-8] if name.endswith("data/1") else data)
    refused(path, "declared are")


def test_foreign_content_is_refused(path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(3)}}, path)
    refused(path, "not a ticket; import checkpoints")
    torch.save([1, 2], path)
    refused(path, "not a ticket")
    path.write_bytes(b"#!/bin/sh\nexit 0\n" * 99)
    refused(path, "not a file of torch.save")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": 2}, r"ticket\.version: 2 is not 1"),
        ({"provenance": "found"}, r"ticket\.provenance: 'found' is not one of searched"),
        ({"accuracy": float("nan")}, r"ticket\.accuracy: nan"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({f"extra{number}": 1 for number in range(64)}, "unknown field 'extra0'"),
        ({"header": torch.zeros(9, dtype=torch.uint8)}, "not zlib text"),
        ({"payload": torch.zeros(9, dtype=torch.uint8)}, "fewer than declared"),
        ({"payload": torch.zeros(9)}, "not a flat uint8 tensor"),
    ],
)
def test_wrong_values_are_refused_by_key(path: Path, changes: dict[str, object], match: str) -> None:
    edit(path, **changes)
    refused(path, match)


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        ('"payload_bits":', '"payload_bits":1', "'convs.0'"),
        ('"prune_threshold":32768', '"prune_threshold":1000', "'convs.0': .* pruned weights where the thresholds"),
        ('"generator":"xorshift32"', '"generator":"mersenne"', r"source\.generator: 'mersenne' is not one of"),
        ('"shape":[8,3,3,3]', '"shape":[8,3,3,2]', r"'convs.0': shape \(8, 3, 3, 2\) is not \(8, 3, 3, 3\)"),
        ('"inputs":["input"]', '"inputs":["relus.1"]', "cycle"),
        ('"input_density":0.25', '"input_density":NaN', "NaN is not a finite number"),
        ('"num_locked":', '"num_lucked":', "'num_locked' is missing"),
        ('"nodes":', f'"outputs":[{"1," * 99999}1],"nodes":', r"header\.outputs\.0: 1 is not a valid string"),
        ('"layers":', ",".join(f'"{place}":1' for place in range(99)) + ',"layers":', "102 fields, and 64 at the most"),
        ('"name":"conv6"', '"name":"a","name":"b"', "given twice"),
    ],
)
def test_a_tampered_header_is_refused(path: Path, before: str, after: str, match: str) -> None:
    edit_header(path, before, after)
    refused(path, match)


def test_a_header_bomb_is_refused(path: Path) -> None:
    bomb = zlib.compress(b" " * (17 << 20), 9)
    edit(path, header=torch.tensor(bytearray(bomb), dtype=torch.uint8))
    refused(path, "above 16777216 bytes")


def test_flipped_mask_is_noticed_by_its_popcount(path: Path) -> None:
    payload = torch.load(path, weights_only=True)["payload"]
    payload[0] ^= 0x80
    edit(path, payload=payload)
    refused(path, "'convs.0': .* ones in the mask")


def test_infinite_scales_are_refused() -> None:
    ticket = make_ticket()
    broken = replace(ticket.layers[0], scale_K=np.full(8, np.inf, dtype=np.float16))
    with pytest.raises(TicketError, match="'convs.0': scale_K has a value that is not finite"):
        check_ticket(replace(ticket, layers=(broken, *ticket.layers[1:])))


def test_missing_layers_are_named() -> None:
    ticket = make_ticket()
    with pytest.raises(TicketError, match="'linears.2' differs from the graph"):
        check_ticket(Ticket(NetworkGraph("x", ticket.graph.nodes), ticket.layers[:-1], "searched"))


def test_old_torch_format_is_read_and_checked(path: Path) -> None:
    document = torch.load(path, weights_only=True)
    document["extra"] = torch.arange(12, dtype=torch.bfloat16).reshape(3, 4).T
    torch.save(document, path, _use_new_zipfile_serialization=False)
    content = read_torch_file(path)
    assert content["payload"].tolist() == document["payload"].tolist()
    assert content["extra"].tolist() == document["extra"].tolist()
    refused(path, "unknown field 'extra'")
    data = path.read_bytes()
    for end in (20, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        refused(path, "cut off|damaged|declare")


def test_old_torch_format_declaring_too_much_is_refused(path: Path) -> None:
    torch.save({"a": torch.zeros(77, dtype=torch.uint8)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"cpuq\x06KM") == 1
    path.write_bytes(data.replace(b"cpuq\x06KM", b"cpuq\x06J\xff\xff\xff\x7f"))
    refused(path, "declare 2147483647 bytes")


def test_newer_pickle_protocols_are_read(path: Path) -> None:
    document = torch.load(path, weights_only=True)
    buffer = io.BytesIO()
    torch.save(document, buffer, pickle_protocol=4)
    path.write_bytes(buffer.getvalue())
    assert read_ticket(path).dataset == "digits"
