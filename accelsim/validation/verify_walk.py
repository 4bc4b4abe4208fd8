"""A weight generator and a mask decoder, word by word: what one layer's lanes really do in the order of its tiles.

Written apart from `accelsim.prng` and `accelsim.mapping.generation`, which it checks: every lane holds a state per
domain, a word is one step, a Galois LFSR shifts bit by bit, and everything that happens is counted where it happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.sim.dram.jit import compiled, compiled_and_cached

Ints = npt.NDArray[np.int64]
KIND_CODES = {"xorshift32": 0, "lfsr16": 1, "lfsr32": 2, "philox4x32": 3}
_LOW = np.uint64(0xFFFFFFFF)
_LFSR16_TAPS = np.uint64(0xB400)
_LFSR32_TAPS = np.uint64(0x80200003)
_ONE, _FIVE, _13, _17, _32 = np.uint64(1), np.uint64(5), np.uint64(13), np.uint64(17), np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


class WalkSetup(NamedTuple):
    """The generator and decoder of one layer, plain integers.

    ``jump_words``: a lane jumps over more words than these (-1: it never jumps); ``leaves_out``: 1 where words without
    a kept weight are not computed.
    """

    kind: int
    per_stream: int
    per_filter: int
    num_lanes: int
    terms: int
    weight_bits: int
    threshold_bits: int
    prune_threshold: int
    lock_threshold: int
    jump_words: int
    leaves_out: int


@dataclass(frozen=True, slots=True)
class WalkResult:
    """What the lanes did.

    Attributes
    ----------
    words, discarded_words, seeds, jumps
        Of all lanes and both domains; ``seeds`` counts every start of a stream, ``jumps`` those within streams.
    mask_bits
        Stored bits that the decoder consumed.
    productions
        int32 [num_weights]: how often each weight was produced.
    mismatch
        None, or (event, filter, weight within the filter, value produced, value expected) of the first difference.
    """

    words: int
    discarded_words: int
    seeds: int
    jumps: int
    mask_bits: int
    productions: npt.NDArray[np.int32]
    mismatch: tuple[int, int, int, int, int] | None


@compiled
def _step(kind: int, state: np.uint64) -> np.uint64:
    if kind == 0:
        state = state ^ ((state << _13) & _LOW)
        state = state ^ (state >> _17)
        return state ^ ((state << _FIVE) & _LOW)
    taps = _LFSR16_TAPS if kind == 1 else _LFSR32_TAPS
    for _ in range(16 if kind == 1 else 32):
        low = state & _ONE
        state = state >> _ONE
        if low == _ONE:
            state = state ^ taps
    return state


@compiled
def _philox_word(seed: np.uint64, word: int) -> np.uint64:
    block = word // 4
    c0, c1 = np.uint64(block) & _LOW, np.uint64(block) >> _32
    c2, c3 = np.uint64(0), np.uint64(0)
    k0, k1 = seed, np.uint64(0)
    for _ in range(10):
        low, high = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (high >> _32) ^ c1 ^ k0, high & _LOW, (low >> _32) ^ c3 ^ k1, low & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    place = word % 4
    if place == 0:
        return c0
    if place == 1:
        return c1
    return c2 if place == 2 else c3


@compiled
def _fetch(setup: WalkSetup, domain: int, stream: int, word: int, lane: Ints, states: npt.NDArray[np.uint64],
           seeds: npt.NDArray[np.uint64], count: Ints) -> np.uint64:  # fmt: skip
    """Return a word of a stream; ``lane`` [2] says how many words of each domain were made (-1: no state)."""
    made = lane[domain]
    if setup.kind == 3:
        if made < 0:
            count[2] += 1
        if made != word + 1:
            states[domain] = _philox_word(seeds[domain, stream], word)
            lane[domain] = word + 1
            count[0] += 1
        return states[domain]
    if made < 0 or word < made - 1:
        states[domain] = seeds[domain, stream]
        made = 0
        count[2] += 1
    gap = word - made
    if gap > 0:
        if 0 <= setup.jump_words < gap:
            count[3] += 1
        else:
            count[1] += gap
        for _ in range(gap):
            states[domain] = _step(setup.kind, states[domain])
    if gap >= 0:
        states[domain] = _step(setup.kind, states[domain])
        count[0] += 1
        made = word + 1
    lane[domain] = made
    return states[domain]


@compiled
def _field(setup: WalkSetup, domain: int, stream: int, place: int, bits: int, lane: Ints,
           states: npt.NDArray[np.uint64], seeds: npt.NDArray[np.uint64], count: Ints) -> int:  # fmt: skip
    per_word = (16 if setup.kind == 1 else 32) // bits
    word = _fetch(setup, domain, stream, place // per_word, lane, states, seeds, count)
    shifted = word >> np.uint64(bits * (place % per_word))
    return np.int64(shifted & ((_ONE << np.uint64(bits)) - _ONE))  # type: ignore[return-value]


@compiled
def _weight(setup: WalkSetup, stream: int, place: int, bits: npt.NDArray[np.uint8], pointer: int, lane: Ints,
            states: npt.NDArray[np.uint64], seeds: npt.NDArray[np.uint64], count: Ints) -> tuple[int, int]:  # fmt: skip
    """Return one weight, masked, and 1 if the decoder took a stored bit for it."""
    frozen = 0
    if setup.threshold_bits > 0:
        word = _field(setup, 1, stream, place, setup.threshold_bits, lane, states, seeds, count)
        frozen = -1 if word < setup.prune_threshold else (1 if word < setup.lock_threshold else 0)
    took = 1 if frozen == 0 else 0
    kept = frozen > 0
    if took == 1:
        kept = pointer < bits.size and bits[pointer] == 1
    value = 0
    if kept or setup.leaves_out == 0:
        for term in range(setup.terms):
            field = _field(setup, 0, stream, place * setup.terms + term, setup.weight_bits, lane, states, seeds, count)
            value += 2 * field + 1 - (1 << setup.weight_bits)
    return (value if kept else 0), took


@compiled_and_cached
def _walk(
    setup: WalkSetup,
    seeds: npt.NDArray[np.uint64],
    tiles: Ints,
    passes: Ints,
    bits: npt.NDArray[np.uint8],
    first_bit: Ints,
    expected: npt.NDArray[np.int32],
    productions: npt.NDArray[np.int32],
    count: Ints,
    mismatch: Ints,
) -> None:
    """Walk all passes over all tiles; fill ``productions``, ``count`` [5] and ``mismatch`` [5]."""
    made = np.full((seeds.shape[1], 2), -1, dtype=np.int64)
    states = np.zeros((seeds.shape[1], 2), dtype=np.uint64)
    held_first, held_num = -1, -1
    for event in range(tiles.shape[0]):
        first_filter, num_filters, first_weight, num_weights = tiles[event]
        first = first_filter // setup.per_stream
        num = (first_filter + num_filters - 1) // setup.per_stream - first + 1
        for _ in range(passes[event]):
            holds = first == held_first and num == held_num and num <= setup.num_lanes
            held_first, held_num = first, num
            pointer = first_bit[event]
            for filter_ in range(first_filter, first_filter + num_filters):
                stream = filter_ // setup.per_stream
                if not holds and (filter_ == first_filter or filter_ % setup.per_stream == 0):
                    made[stream, :] = -1
                lane, state = made[stream], states[stream]
                inside = (filter_ - stream * setup.per_stream) * setup.per_filter
                for weight in range(first_weight, first_weight + num_weights):
                    value, took = _weight(setup, stream, inside + weight, bits, pointer, lane, state, seeds, count)
                    pointer += took
                    count[4] += took
                    flat = filter_ * setup.per_filter + weight
                    productions[flat] += 1
                    if value != expected[flat] and mismatch[0] < 0:
                        mismatch[0], mismatch[1], mismatch[2] = event, filter_, weight
                        mismatch[3], mismatch[4] = value, expected[flat]


def walk(
    setup: WalkSetup,
    seeds: npt.NDArray[np.uint32],
    tiles: Ints,
    passes: Ints,
    bits: npt.NDArray[np.uint8],
    first_bit: Ints,
    expected: npt.NDArray[np.int32],
) -> WalkResult:
    """Produce the weights of a layer tile by tile and compare each with ``expected``.

    Parameters
    ----------
    setup
        Generator and decoder.
    seeds
        uint32 [2, streams]: weights, freezing map.
    tiles, passes
        int64 [events, 4]: first filter, filters, first weight, weights of each filter; and [events]: how often each
        is generated.
    bits, first_bit
        Stored mask bits, uint8 [num free] in the order of the tiles' first use, and [events] where a tile's begin.
    expected
        int32 [filters x weights of a filter].
    """
    productions = np.zeros(expected.size, dtype=np.int32)
    count, mismatch = np.zeros(5, dtype=np.int64), np.full(5, -1, dtype=np.int64)
    _walk(
        setup, seeds.astype(np.uint64), tiles, passes, bits, first_bit, expected, productions, count, mismatch
    )  # fmt: skip
    words, discarded, starts, jumps, mask_bits = (int(value) for value in count)
    event, filter_, weight, got, want = (int(value) for value in mismatch)
    found = (event, filter_, weight, got, want) if event >= 0 else None
    return WalkResult(words, discarded, starts, jumps, mask_bits, productions, found)
