"""A weight generator and a mask decoder, word by word: what one layer's lanes really do in the order of its tiles.

Written apart from `accelsim.prng` and `accelsim.mapping.generation`, which it checks: every lane holds a state per
domain, a word is one step, a Galois LFSR shifts bit by bit, and everything that happens is counted where it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from accelsim.sim.dram.jit import compiled_and_cached

P = ParamSpec("P")
R = TypeVar("R")
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


class _Lanes(NamedTuple):
    """All lanes' registers by stream, and what they did.

    ``made`` int64 [streams, 2]: words made in each domain (-1: no state); ``states`` uint64 [streams, 2]; ``seeds``
    uint64 [2, streams]; ``num`` int64 [5]: words, discarded, seeds, jumps, mask bits.
    """

    made: Ints
    states: npt.NDArray[np.uint64]
    seeds: npt.NDArray[np.uint64]
    num: Ints


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


def _inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a helper into its callers: calls would take more time than the work."""
    return cast("Callable[P, R]", numba.njit(inline="always")(function))


@_inlined
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


@_inlined
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


@_inlined
def _fetch(setup: WalkSetup, lanes: _Lanes, domain: int, stream: int, word: int) -> np.uint64:
    """Return a word of a stream from the lane that works on it."""
    made = lanes.made[stream, domain]
    if made == word + 1:  # most fields lie in the word at hand
        return lanes.states[stream, domain]  # type: ignore[no-any-return]
    if setup.kind == 3:
        if made < 0:
            lanes.num[2] += 1
        lanes.states[stream, domain] = _philox_word(lanes.seeds[domain, stream], word)
        lanes.made[stream, domain] = word + 1
        lanes.num[0] += 1
        return lanes.states[stream, domain]  # type: ignore[no-any-return]
    if made < 0 or word < made - 1:
        lanes.states[stream, domain] = lanes.seeds[domain, stream]
        made = 0
        lanes.num[2] += 1
    gap = word - made
    if gap > 0:
        if 0 <= setup.jump_words < gap:
            lanes.num[3] += 1
        else:
            lanes.num[1] += gap
        for _ in range(gap):
            lanes.states[stream, domain] = _step(setup.kind, lanes.states[stream, domain])
    lanes.states[stream, domain] = _step(setup.kind, lanes.states[stream, domain])
    lanes.num[0] += 1
    lanes.made[stream, domain] = word + 1
    return lanes.states[stream, domain]  # type: ignore[no-any-return]


@_inlined
def _field(setup: WalkSetup, lanes: _Lanes, domain: int, stream: int, place: int) -> int:
    bits = setup.weight_bits if domain == 0 else setup.threshold_bits
    # Unsigned numbers: the host divides them in fewer steps.
    per_word = np.uint64((16 if setup.kind == 1 else 32) // bits)
    index = np.uint64(place) // per_word
    word = _fetch(setup, lanes, domain, stream, np.int64(index))  # type: ignore[arg-type]
    shifted = word >> (np.uint64(bits) * (np.uint64(place) - index * per_word))
    return np.int64(shifted & ((_ONE << np.uint64(bits)) - _ONE))  # type: ignore[return-value]


@_inlined
def _weight(setup: WalkSetup, lanes: _Lanes, stream: int, place: int, stored_bit: int) -> tuple[int, int]:
    """Return one weight, masked, and 1 if the decoder took ``stored_bit`` for it."""
    frozen = 0
    if setup.threshold_bits > 0:
        word = _field(setup, lanes, 1, stream, place)
        frozen = -1 if word < setup.prune_threshold else (1 if word < setup.lock_threshold else 0)
    took = 1 if frozen == 0 else 0
    kept = frozen > 0 or (took == 1 and stored_bit == 1)
    value = 0
    if kept or setup.leaves_out == 0:
        for term in range(setup.terms):
            value += 2 * _field(setup, lanes, 0, stream, place * setup.terms + term) + 1 - (1 << setup.weight_bits)
    return (value if kept else 0), took


@_inlined
def _begin_pass(setup: WalkSetup, lanes: _Lanes, stream: int, holds: bool) -> None:
    """Forget the stream's states, or (counter-based, whose lanes share all words) its last word but not its key."""
    for domain in range(2):
        if not holds:
            lanes.made[stream, domain] = -1
        elif setup.kind == 3 and lanes.made[stream, domain] > 0:
            lanes.made[stream, domain] = 0


@compiled_and_cached
def _walk(
    setup: WalkSetup,
    lanes: _Lanes,
    tiles: Ints,
    bits: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.int32],
    productions: npt.NDArray[np.int32],
    mismatch: Ints,
) -> None:
    """Walk all passes over all tiles [events, 6]; fill ``productions`` and ``mismatch`` [5]."""
    held_first, held_num = -1, -1
    for event in range(tiles.shape[0]):
        first_filter, num_filters, first_weight, num_weights, passes, first_bit = tiles[event]
        first = first_filter // setup.per_stream
        num = (first_filter + num_filters - 1) // setup.per_stream - first + 1
        for _ in range(passes):
            holds = first == held_first and num == held_num and num <= setup.num_lanes
            held_first, held_num = first, num
            pointer = first_bit
            for filter_ in range(first_filter, first_filter + num_filters):
                stream = filter_ // setup.per_stream
                if filter_ == first_filter or filter_ % setup.per_stream == 0:
                    _begin_pass(setup, lanes, stream, holds)
                inside = (filter_ - stream * setup.per_stream) * setup.per_filter
                for weight in range(first_weight, first_weight + num_weights):
                    bit = bits[pointer] if pointer < bits.size else 0
                    value, took = _weight(setup, lanes, stream, inside + weight, bit)
                    pointer += took
                    lanes.num[4] += took
                    flat = filter_ * setup.per_filter + weight
                    productions[flat] += 1
                    if value != expected[flat] and mismatch[0] < 0:
                        mismatch[0], mismatch[1], mismatch[2] = event, filter_, weight
                        mismatch[3], mismatch[4] = value, expected[flat]


def walk(
    setup: WalkSetup,
    seeds: npt.NDArray[np.uint32],
    tiles: Ints,
    bits: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.int32],
) -> WalkResult:
    """Produce the weights of a layer tile by tile and compare each with ``expected``.

    Parameters
    ----------
    setup
        Generator and decoder.
    seeds
        uint32 [2, streams]: weights, freezing map.
    tiles
        int64 [events, 6]: first filter, filters, first weight, weights of each filter, how often the tile is
        generated, and where its stored bits begin.
    bits
        Stored mask bits, uint8 [num free] in the order of the tiles' first use.
    expected
        int32 [filters x weights of a filter].
    """
    productions = np.zeros(expected.size, dtype=np.int32)
    mismatch = np.full(5, -1, dtype=np.int64)
    num_streams = seeds.shape[1]
    lanes = _Lanes(
        made=np.full((num_streams, 2), -1, dtype=np.int64),
        states=np.zeros((num_streams, 2), dtype=np.uint64),
        seeds=seeds.astype(np.uint64),
        num=np.zeros(5, dtype=np.int64),
    )
    _walk(setup, lanes, tiles, bits, expected, productions, mismatch)
    words, discarded, starts, jumps, mask_bits = (int(value) for value in lanes.num)
    event, filter_, weight, got, want = (int(value) for value in mismatch)
    found = (event, filter_, weight, got, want) if event >= 0 else None
    return WalkResult(words, discarded, starts, jumps, mask_bits, productions, found)
