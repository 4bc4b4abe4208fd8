"""Generators against published vectors, a plain-integer rewrite, and their periods."""

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.prng import generators as gen

# Random123 1.14, tests/kat_vectors: "philox4x32 10 counter key result".
PHILOX_VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
LINEAR = ["xorshift32", "lfsr16", "lfsr32"]


def _hex(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "expected"), PHILOX_VECTORS)
def test_philox_known_answers(counter, key, expected):
    assert gen.philox4x32(_hex(counter), _hex(key)).tolist() == _hex(expected).tolist()


def test_philox_words_are_the_blocks_of_key_seed_and_counter_index():
    drawn = gen.words("philox4x32", np.array([7, 9], dtype=np.uint32), 6, 5)
    blocks = [
        gen.philox4x32(np.array([block, 0, 0, 0], dtype=np.uint32), np.array([9, 0], dtype=np.uint32))
        for block in (1, 2)
    ]
    assert drawn[1].tolist() == np.concatenate(blocks)[2:7].tolist()


def test_xorshift32_published_start():
    # Marsaglia 2003, triple (13, 17, 5), from seed 1.
    assert gen.words("xorshift32", np.array([1], dtype=np.uint32), 0, 3).tolist() == [[270369, 67634689, 2647435461]]


def _plain(kind: str, state: int) -> int:
    if kind == "xorshift32":
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        return state ^ (state << 5 & 0xFFFFFFFF)
    taps, bits = {"lfsr16": (0xB400, 16), "lfsr32": (0x80200003, 32)}[kind]
    for _ in range(bits):
        state = (state >> 1) ^ (taps if state & 1 else 0)
    return state


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("num_streams", [1, 3])
def test_words_equal_stepping_one_by_one(kind, num_streams):
    seeds = np.array([1, 0xACE1, 77][:num_streams], dtype=np.uint32)
    expected = []
    for seed in seeds.tolist():
        row = [_plain(kind, seed)]
        while len(row) < 1000:
            row.append(_plain(kind, row[-1]))
        expected.append(row)
    assert gen.words(kind, seeds, 0, 1000).tolist() == expected
    assert gen.words(kind, seeds, 613, 20).tolist() == [row[613:633] for row in expected]


def test_lfsr16_visits_every_state():
    state, seen = 1, set()
    for _ in range(2**16 - 1):
        state = gen.lfsr_shift("lfsr16", state)
        seen.add(state)
    assert len(seen) == 2**16 - 1
    assert state == 1


@pytest.mark.parametrize("kind", ["xorshift32", "lfsr32"])
def test_period_of_32_bit_generators_is_maximal(kind):
    # The order of the transition matrix divides 2^32 - 1 = 3 x 5 x 17 x 257 x 65537, and none of its maximal divisors.
    identity = (np.uint32(1) << np.arange(32, dtype=np.uint32)).tolist()

    def power(steps: int) -> list[int]:
        columns, square = np.array(identity, dtype=np.uint32), gen._power_tables(kind, 1)
        while steps:
            if steps & 1:
                columns = gen._apply(square, columns)
            square = gen._tables(gen._apply(square, gen._columns(square)))
            steps >>= 1
        return columns.tolist()

    assert power(2**32 - 1) == identity
    for prime in (3, 5, 17, 257, 65537):
        assert power((2**32 - 1) // prime) != identity


@pytest.mark.parametrize("kind", LINEAR)
def test_jump_equals_stepping(kind):
    state = np.array([12345, 1], dtype=np.uint32)
    walked = state
    for _ in range(37):
        walked = gen.next_state(kind, walked)
    assert gen.jump(kind, state, 37).tolist() == walked.tolist()
    assert gen.jump(kind, state, 2 ** gen.WORD_BITS[kind] - 1 + 37).tolist() == walked.tolist()


def test_zero_seed_is_refused_in_one_line():
    with pytest.raises(
        ConfigError, match=r"^prng: seed 0: xorshift32 would stay at zero; give a seed from 1 to 2\^32 - 1$"
    ):
        gen.words("xorshift32", np.array([3, 0], dtype=np.uint32), 0, 1)


def test_philox_has_no_state_to_jump():
    with pytest.raises(ConfigError, match="not a sequential linear generator"):
        gen.jump("philox4x32", 1, 5)
