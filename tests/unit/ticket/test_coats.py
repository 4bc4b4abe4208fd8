"""Multicoated masks: what is stored is what comes back, and nothing else is believed."""

from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import MappingError, TicketError
from accelsim.prng import RandomSource, freezing_map, layer_weights
from accelsim.storage import get_format
from accelsim.storage.default import default_format
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.coats import num_coat_bits, with_coats
from accelsim.ticket.file import read_ticket, write_ticket
from accelsim.ticket.header import dump_header, layer_header
from accelsim.ticket.inspect import inspect
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import pack_layer, unpack_weights
from accelsim.trace import trace_ticket

SHAPE = (8, 3, 3, 3)
SOURCE = RandomSource(seed=7, prune_threshold=20000, lock_threshold=30000)


def sums_and_layer(num_coats=3, source=SOURCE):
    frozen = freezing_map(source, SHAPE)
    sums = np.random.default_rng(0).integers(0, num_coats + 1, SHAPE).astype(np.uint8)
    sums[frozen < 0], sums[frozen > 0] = 0, 1
    layer = pack_layer("conv", SHAPE, source, sums > 0, "raw", np.ones(8), np.zeros(8))
    return sums, with_coats(layer, sums[frozen == 0], num_coats) if num_coats > 1 else layer


def ticket_of(layer):
    builder = GraphBuilder("one", (3, 8, 8))
    builder.conv("conv", "input", 8)
    return Ticket(builder.build(), (layer,), "searched")


@pytest.mark.parametrize("weights", [{}, {"weights": "uniform", "weight_bits": 6}])
def test_written_and_read_coats_give_the_sums(tmp_path, weights):
    source = replace(SOURCE, **weights)
    sums, layer = sums_and_layer(7, source)
    # The digests of a search are those of the sums.
    path = tmp_path / "t.pt"
    write_ticket(path, ticket_of(layer))
    stored = read_ticket(path).layers[0]
    assert stored.num_coats == 7
    assert np.array_equal(unpack_weights(stored), layer_weights(source, SHAPE).astype(np.int32) * sums)


def test_a_ticket_of_one_coat_says_nothing_of_coats():
    _, layer = sums_and_layer(1)
    assert "coat" not in dump_header(ticket_of(layer).graph, [layer_header(layer)])


def test_false_coats_are_refused(tmp_path):
    _, layer = sums_and_layer()
    first, second = layer.coat_kept
    flipped = bytes([layer.coat_payload[0] ^ 0x80]) + layer.coat_payload[1:]
    for change, said in (
        ({"coat_kept": (first, first + 1)}, "a coat keeps"),
        ({"coat_kept": (first, second, 0, 0, 0, 0, 0)}, "8 coats, more than 7"),
        ({"coat_kept": ()}, "bytes of coats without their counts"),
        ({"coat_payload": layer.coat_payload[:-1]}, "bytes of coats where"),
        ({"coat_payload": flipped}, "ones in coats that keep"),
    ):
        with pytest.raises(TicketError, match=said):
            write_ticket(tmp_path / "t.pt", ticket_of(replace(layer, **change)))
    swapped = replace(layer, coat_kept=(first - 1, second + 1))  # the sum and the sizes are right
    with pytest.raises(TicketError, match=r"a coat keeps \d+ weights, the ticket states|bytes of coats"):
        unpack_weights(swapped)
    with pytest.raises(TicketError, match="codec entropy: several coats are stored raw"):
        with_coats(replace(layer, codec="entropy"), [], 3)
    with pytest.raises(TicketError, match="the first one is the mask"):
        with_coats(layer, np.zeros(layer.num_free), 3)


def test_storage_is_counted_as_it_is_packed_and_formats_of_one_mask_refuse():
    sums, layer = sums_and_layer()
    trace = trace_ticket(ticket_of(layer))
    weights = trace.layers[0].weights
    plan = get_format("multicoat-3").plan(weights)
    free = sums[freezing_map(SOURCE, SHAPE) == 0]
    assert plan.stored_bits.mask == free.size + (free >= 1).sum() + (free >= 2).sum()
    assert plan.stored_bits.mask == layer.payload_bits + num_coat_bits(layer)
    assert plan.source == SOURCE
    assert not plan.synthetic
    assert default_format(trace) == "multicoat-3"
    for name, said in (
        ("slt", "holds one mask a layer, the ticket has 3 coats; choose multicoat-3"),
        ("slt-unfrozen", "holds one mask"),
        ("folded", "holds one mask"),
        ("mpt-binary", "holds one mask"),
        ("multicoat", "holds 2 coats, the ticket has 3; choose multicoat-3"),
    ):
        with pytest.raises(MappingError, match=said):
            get_format(name).plan(weights)
    assert get_format("csr-int8").plan(weights).num_nonzero == (sums > 0).sum()


def test_inspect_shows_the_coats_and_their_bits():
    sums, layer = sums_and_layer()
    shown = inspect(ticket_of(layer))
    assert shown.totals.stored_bits.mask == layer.payload_bits + num_coat_bits(layer)
    kept = ", ".join(str(number) for number in (layer.num_kept, *layer.coat_kept))
    assert f"3 coats, nested masks that are summed: they keep {kept} weights" in shown.measured
