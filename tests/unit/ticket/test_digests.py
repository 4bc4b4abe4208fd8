"""Digests of the searched weights: what they depend on, and that old files do without."""

from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import TicketError
from accelsim.ticket.digest import filter_digests
from accelsim.ticket.file import read_ticket, write_ticket
from accelsim.ticket.pack import unpack_weights
from accelsim.ticket.synth import synthesize


def test_a_digest_is_the_low_half_of_the_crc_of_int32_words():
    assert filter_digests(np.array([[1], [-1]], dtype=np.int8)) == filter_digests(np.array([[1], [-1]], dtype=np.int64))
    assert filter_digests(np.array([[-1]], dtype=np.int8)) == b"\xff\xff"  # CRC-32 ffffffff


def test_a_written_ticket_has_the_digests_of_its_weights(tmp_path):
    write_ticket(tmp_path / "a.pt", synthesize("conv2", sparsity=0.5, prune_ratio=0.2))

    for layer in read_ticket(tmp_path / "a.pt").layers:
        assert layer.digest_payload == filter_digests(unpack_weights(layer))


def test_a_file_without_digests_is_read(tmp_path):
    ticket = synthesize("conv2", sparsity=0.5)
    bare = replace(ticket, layers=tuple(replace(layer, digest_payload=b"") for layer in ticket.layers))
    write_ticket(tmp_path / "a.pt", bare)

    assert [layer.digest_payload for layer in read_ticket(tmp_path / "a.pt").layers] == [b""] * len(ticket.layers)


def test_digests_of_another_number_of_filters_are_refused(tmp_path):
    ticket = synthesize("conv2", sparsity=0.5)
    broken = replace(ticket, layers=(replace(ticket.layers[0], digest_payload=b"\0\0"), *ticket.layers[1:]))

    with pytest.raises(TicketError, match="'convs.0': 2 bytes of digests"):
        write_ticket(tmp_path / "a.pt", broken)
