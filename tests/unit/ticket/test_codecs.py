import numpy as np
import pytest

from accelsim.errors import TicketError
from accelsim.ticket.codecs import MASK_CODECS, decode_mask, encode_mask, entropy_bound_bits


def bernoulli(density: float, size: int) -> np.ndarray:
    return np.random.default_rng(7).random(size) < density


@pytest.mark.parametrize("density", [0.0, 0.02, 1 / 3, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("codec", MASK_CODECS)
def test_round_trip(codec: str, density: float) -> None:
    bits = bernoulli(density, 40_001)
    encoded = encode_mask(codec, bits)
    assert len(encoded.payload) == -(-encoded.payload_bits // 8)
    assert np.array_equal(decode_mask(codec, encoded.payload, encoded.payload_bits, bits.size), bits)


@pytest.mark.parametrize("density", [0.02, 0.1, 1 / 3, 0.5])
def test_entropy_coded_size_is_within_two_percent_of_the_bound(density: float) -> None:
    bits = bernoulli(density, 20_000)
    bound = entropy_bound_bits(int(bits.sum()), bits.size)
    assert bound <= encode_mask("entropy", bits).payload_bits <= 1.02 * bound + 24


def test_raw_takes_one_bit_a_weight() -> None:
    assert encode_mask("raw", bernoulli(0.3, 1001)).payload_bits == 1001


# Runs of 4 and 1 zeros, then zeros that no code word needs.
BY_HAND = np.array([0, 0, 0, 0, 1, 0, 1, 0, 0], dtype=bool)


def test_rle_code_by_hand() -> None:
    # Fields of 2 bits: 3 continues the run of 4, then 1; the run of 1.
    encoded = encode_mask("rle", BY_HAND)
    assert encoded.payload == bytes([2, 0b11_01_01_00])
    assert encoded.payload_bits == 8 + 6


def test_golomb_code_by_hand() -> None:
    # Divisor 2^1: 4 is quotient 2 (110) and remainder 0; 1 is quotient 0 (0) and remainder 1.
    encoded = encode_mask("golomb", BY_HAND)
    assert encoded.payload == bytes([1, 0b1100_01_00])
    assert encoded.payload_bits == 8 + 6


def test_sparse_codecs_beat_raw_on_sparse_masks() -> None:
    bits = bernoulli(0.02, 50_000)
    bound = entropy_bound_bits(int(bits.sum()), bits.size)
    assert encode_mask("golomb", bits).payload_bits < 1.03 * bound
    assert encode_mask("rle", bits).payload_bits < 1.10 * bound


@pytest.mark.parametrize("codec", MASK_CODECS)
def test_cut_off_payload_is_refused(codec: str) -> None:
    encoded = encode_mask(codec, bernoulli(0.3, 5000))
    with pytest.raises(TicketError, match=f"{codec} mask"):
        decode_mask(codec, encoded.payload[:-40], encoded.payload_bits, 5000)


@pytest.mark.parametrize("codec", ["rle", "golomb"])
def test_runs_beyond_the_layer_are_refused(codec: str) -> None:
    encoded = encode_mask(codec, bernoulli(0.3, 5000))
    with pytest.raises(TicketError, match="pass 100 free weights"):
        decode_mask(codec, encoded.payload, encoded.payload_bits, 100)


def test_unknown_codec_lists_the_known() -> None:
    with pytest.raises(TicketError, match="'zip' is unknown; use one of raw, entropy, rle, golomb"):
        encode_mask("zip", bernoulli(0.5, 8))
