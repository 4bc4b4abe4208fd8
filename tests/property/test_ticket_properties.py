"""Packing is the identity, whatever the mask, the freezing map and the codec."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from accelsim.errors import TicketError
from accelsim.prng import RandomSource, freezing_map
from accelsim.ticket.codecs import MASK_CODECS, decode_mask, encode_mask
from accelsim.ticket.pack import pack_layer, random_mask, unpack_mask

CODECS = st.sampled_from(MASK_CODECS)


@settings(max_examples=150, deadline=None)
@given(bits=npst.arrays(np.bool_, st.integers(0, 600)), codec=CODECS)
def test_decode_inverts_encode(bits: np.ndarray, codec: str) -> None:
    encoded = encode_mask(codec, bits)
    assert 8 * len(encoded.payload) - 8 < encoded.payload_bits <= 8 * len(encoded.payload)
    assert np.array_equal(decode_mask(codec, encoded.payload, encoded.payload_bits, bits.size), bits)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
    generator=st.sampled_from(["philox4x32", "xorshift32", "lfsr16", "lfsr32"]),
    seed=st.integers(1, 2**32 - 1),
    ratios=st.tuples(st.integers(0, 128), st.integers(0, 128)),
    density=st.floats(0, 1),
    codec=CODECS,
)
def test_unpack_inverts_pack(shape, generator, seed, ratios, density, codec) -> None:
    source = RandomSource(
        generator=generator, seed=seed, threshold_bits=8, prune_threshold=ratios[0], lock_threshold=sum(ratios)
    )
    mask = random_mask(freezing_map(source, shape), density, seed)
    layer = pack_layer("layer", shape, source, mask, codec, np.ones(shape[0]), np.zeros(shape[0]))
    assert np.array_equal(unpack_mask(layer), mask)
    assert layer.num_free + layer.num_locked + layer.num_pruned == mask.size


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=40), codec=CODECS, num_bits=st.integers(0, 300), spare=st.integers(-9, 9))
def test_any_bytes_decode_or_are_refused(payload: bytes, codec: str, num_bits: int, spare: int) -> None:
    try:
        bits = decode_mask(codec, payload, max(0, 8 * len(payload) + spare), num_bits)
    except TicketError:
        return
    assert bits.shape == (num_bits,)
