"""The bit-exact word generators: Philox4x32-10, xorshift32, and Galois LFSRs of 16 and 32 bits.

Integer arithmetic only, vectorised across streams; the linear generators are also vectorised along a stream, by
jumping to evenly spaced places of it with powers of their transition matrix over GF(2).

A word is what a hardware generator hands over per step: the state after a full xorshift step, or after as many single
shifts as an LFSR has bits (a leap-forward register), so that no two words share bits. Word 0 of a sequential stream
is the state *after* the first step from its seed.

Every seed of a linear generator starts somewhere on its one cycle. The cycle of ``lfsr16`` has 65,535 words, so that
the streams of a large layer overlap, as they would on such a chip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from accelsim.errors import ConfigError
from accelsim.prng.source import GeneratorKind

Words = npt.NDArray[np.uint32]

WORD_BITS: Final[dict[GeneratorKind, int]] = {"philox4x32": 32, "xorshift32": 32, "lfsr16": 16, "lfsr32": 32}
"""Random bits in one word of each generator."""

LINEAR_KINDS: Final[frozenset[GeneratorKind]] = frozenset({"xorshift32", "lfsr16", "lfsr32"})
"""Sequential generators that are linear over GF(2), with period 2^bits - 1."""

# Feedback masks of maximal-length registers: taps 16, 14, 13, 11 and 32, 22, 2, 1 (Xilinx XAPP 052, 1996, table 3).
LFSR_TAPS: Final[dict[GeneratorKind, int]] = {"lfsr16": 0xB400, "lfsr32": 0x80200003}

# Philox4x32: multipliers and Weyl increments of Salmon et al., SC 2011, section 3.4 and Random123.
_PHILOX_M0: Final = np.uint64(0xD2511F53)
_PHILOX_M1: Final = np.uint64(0xCD9E8D57)
_PHILOX_W0: Final = 0x9E3779B9
_PHILOX_W1: Final = 0xBB67AE85
_LOW32: Final = np.uint64(0xFFFFFFFF)
_SHIFT32: Final = np.uint64(32)
_PHILOX_CHUNK_BLOCKS: Final = 1 << 14  # blocks computed at once: the temporaries stay in the second-level cache
_LANES: Final = 1 << 13  # sequential streams are split until about this many run side by side


def words(kind: GeneratorKind, seeds: Words, start: int, count: int) -> Words:
    """Return words ``start`` to ``start + count - 1`` of every stream.

    Parameters
    ----------
    kind
        Generator; the counter-based one reaches ``start`` directly, a sequential one by a matrix jump.
    seeds
        uint32 [n], one per stream: the key of Philox, the state before word 0 of a sequential generator (then not
        zero).
    start, count
        Words.

    Returns
    -------
    uint32 [n, count]; the words of ``lfsr16`` have 16 bits.

    Raises
    ------
    ConfigError
        Negative range or a zero seed of a linear generator (its state would stay zero for ever).
    """
    if start < 0 or count < 0:
        raise ConfigError(
            f"prng: words {start} to {start + count}: must not be negative; give start >= 0 and count >= 0"
        )
    seeds = np.atleast_1d(np.asarray(seeds, dtype=np.uint32))
    if kind == "philox4x32":
        return _philox_words(seeds, start, count)
    _check_states(kind, seeds)
    return _linear_words(kind, seeds, start, count)


def next_state(kind: GeneratorKind, state: npt.ArrayLike) -> Words:
    """Return the states one word later (and, for these generators, that word); uint32, same shape as ``state``."""
    states = np.asarray(state, dtype=np.uint32)
    _check_states(kind, states)
    out = np.atleast_1d(states).copy()
    _step(kind, out)
    return out.reshape(states.shape)


def jump(kind: GeneratorKind, state: npt.ArrayLike, steps: int) -> Words:
    """Return the states ``steps`` words later, by one multiplication with a power of the transition matrix.

    Parameters
    ----------
    kind
        A linear generator; Philox needs no jump (`words` takes any start), so it is refused.
    state
        uint32, any shape, not zero.
    steps
        Words; may exceed the period.
    """
    states = np.asarray(state, dtype=np.uint32)
    _check_states(kind, states)
    period = (1 << WORD_BITS[kind]) - 1
    return _apply(_power_tables(kind, steps % period), states)


def transition_columns(kind: GeneratorKind, steps: int = 1) -> Words:
    """Return the columns (images of each bit) of the transition matrix of ``steps`` words; uint32 [word bits]."""
    return jump(kind, np.uint32(1) << np.arange(WORD_BITS[kind], dtype=np.uint32), steps)


def lfsr_shift(kind: GeneratorKind, state: int) -> int:
    """Return the state of a Galois LFSR after one single shift (a word is as many shifts as the register has bits)."""
    return (state >> 1) ^ (LFSR_TAPS[kind] if state & 1 else 0)


def philox4x32(counters: Words, keys: Words) -> Words:
    """Return the Philox4x32-10 blocks of ``counters`` [..., 4] under ``keys`` [..., 2] (broadcast); uint32 [..., 4]."""
    counters = np.asarray(counters, dtype=np.uint32)
    keys = np.asarray(keys, dtype=np.uint32)
    c0, c1, c2, c3 = (counters[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (keys[..., i].astype(np.uint64) for i in range(2))
    for _ in range(10):
        low = c0 * _PHILOX_M0
        high = c2 * _PHILOX_M1
        c0 = (high >> _SHIFT32) ^ c1 ^ k0
        c2 = (low >> _SHIFT32) ^ c3 ^ k1
        c1 = high & _LOW32
        c3 = low & _LOW32
        k0 = (k0 + np.uint64(_PHILOX_W0)) & _LOW32
        k1 = (k1 + np.uint64(_PHILOX_W1)) & _LOW32
    out = np.empty((*np.broadcast_shapes(c0.shape, k0.shape), 4), dtype=np.uint32)
    for i, value in enumerate((c0, c1, c2, c3)):
        out[..., i] = value
    return out


def _philox_words(seeds: Words, start: int, count: int) -> Words:
    """Key = (seed, 0), counter = (block low, block high, 0, 0); word i is element i mod 4 of block i // 4."""
    first_block, last_block = start // 4, -(-(start + count) // 4)
    num_blocks = last_block - first_block
    out = np.empty((seeds.size, num_blocks, 4), dtype=np.uint32)
    blocks_at_once = min(max(num_blocks, 1), _PHILOX_CHUNK_BLOCKS)
    streams_at_once = max(1, _PHILOX_CHUNK_BLOCKS // blocks_at_once)
    for stream in range(0, seeds.size, streams_at_once):
        keys = np.zeros((seeds[stream : stream + streams_at_once].size, 1, 2), dtype=np.uint32)
        keys[:, 0, 0] = seeds[stream : stream + streams_at_once]
        for block in range(0, num_blocks, blocks_at_once):
            stop = min(block + blocks_at_once, num_blocks)
            index = np.arange(first_block + block, first_block + stop, dtype=np.uint64)
            counters = np.zeros((1, index.size, 4), dtype=np.uint32)
            counters[0, :, 0] = index & _LOW32
            counters[0, :, 1] = index >> _SHIFT32
            out[stream : stream + streams_at_once, block:stop] = philox4x32(counters, keys)
    skipped = start - 4 * first_block
    return out.reshape(seeds.size, -1)[:, skipped : skipped + count]


def _linear_words(kind: GeneratorKind, seeds: Words, start: int, count: int) -> Words:
    """Split each stream into equal blocks whose first states are reached by jumps; step all blocks together."""
    if count == 0 or seeds.size == 0:
        return np.empty((seeds.size, count), dtype=np.uint32)
    # A sequential generator is stepped in many places at once; below 16 words a block its jump would cost more.
    num_blocks = max(1, min(_LANES // seeds.size, count // 16))
    block_words = -(-count // num_blocks)
    num_blocks = -(-count // block_words)
    state = _block_starts(kind, jump(kind, seeds, start), num_blocks, block_words)
    stepped = np.empty((block_words, *state.shape), dtype=np.uint32)
    flat = state.reshape(-1)
    # Words lie in the first axis: a step then writes one line of memory, and only the result is turned.
    for word in range(block_words):
        _step(kind, flat)
        stepped[word] = flat.reshape(state.shape)
    return np.ascontiguousarray(stepped.transpose(1, 2, 0)).reshape(seeds.size, -1)[:, :count]


def _block_starts(kind: GeneratorKind, seeds: Words, num_blocks: int, block_words: int) -> Words:
    """Return uint32 [n, num_blocks]: the states ``block_words`` words apart, by doubling."""
    starts = np.empty((seeds.size, num_blocks), dtype=np.uint32)
    starts[:, 0] = seeds
    done = 1
    while done < num_blocks:
        more = min(done, num_blocks - done)
        starts[:, done : done + more] = jump(kind, starts[:, :more], done * block_words)
        done += more
    return starts


def _step(kind: GeneratorKind, state: Words) -> None:
    """Advance uint32 [n] by one word, in place."""
    if kind == "xorshift32":
        state ^= state << np.uint32(13)
        state ^= state >> np.uint32(17)
        state ^= state << np.uint32(5)
    else:
        state[:] = _apply(_power_tables(kind, 1), state)


def _apply(tables: Words, states: Words) -> Words:
    """Multiply every state with a matrix given as four tables of the images of each byte; uint32 [4, 256]."""
    # The map is linear over GF(2): the image of a state is the XOR of the images of its four bytes.
    octets = np.ascontiguousarray(states, dtype="<u4").reshape(-1).view(np.uint8).reshape(-1, 4)
    out: Words = tables[0].take(octets[:, 0])
    for place in range(1, 4):
        out ^= tables[place].take(octets[:, place])
    return out.reshape(states.shape)


@lru_cache(maxsize=512)
def _power_tables(kind: GeneratorKind, steps: int) -> Words:
    """Return the byte tables, uint32 [4, 256], of the transition matrix to the power ``steps``."""
    if steps == 0:
        return _tables(np.uint32(1) << np.arange(32, dtype=np.uint32))
    if steps == 1:
        return _tables(_one_step_columns(kind))
    # Squaring: a jump of any length takes some 60 products of matrices, and halves are kept for other lengths.
    half = _power_tables(kind, steps // 2)
    columns = _apply(half, _columns(half))
    if steps % 2:
        columns = _apply(_power_tables(kind, 1), columns)
    return _tables(columns)


def _one_step_columns(kind: GeneratorKind) -> Words:
    """Return the images of the 32 unit states after one word (bits that the register does not have map to zero)."""
    columns = np.zeros(32, dtype=np.uint32)
    for bit in range(WORD_BITS[kind]):
        if kind == "xorshift32":
            state = np.array([1 << bit], dtype=np.uint32)
            _step(kind, state)
            columns[bit] = state[0]
            continue
        value = 1 << bit
        for _ in range(WORD_BITS[kind]):
            value = lfsr_shift(kind, value)
        columns[bit] = value
    return columns


def _columns(tables: Words) -> Words:
    """Return the 32 columns of a matrix from its byte tables."""
    return tables[:, 1 << np.arange(8)].reshape(32)


def _tables(columns: Words) -> Words:
    """Return the byte tables of a matrix from its 32 columns, read-only."""
    tables = np.zeros((4, 256), dtype=np.uint32)
    for bit in range(8):
        has_bit = (np.arange(256) >> bit) & 1 == 1
        tables[:, has_bit] ^= columns.reshape(4, 8)[:, bit : bit + 1]
    tables.setflags(write=False)
    return tables


def _check_states(kind: GeneratorKind, states: Words) -> None:
    """Refuse generators that have no state, and states a linear generator cannot leave or hold."""
    if kind not in LINEAR_KINDS:
        allowed = ", ".join(sorted(LINEAR_KINDS))
        raise ConfigError(f"prng: {kind}: is not a sequential linear generator; use one of {allowed}")
    if not np.all(states):
        raise ConfigError(f"prng: seed 0: {kind} would stay at zero; give a seed from 1 to 2^{WORD_BITS[kind]} - 1")
    if states.size and int(states.max()) >> WORD_BITS[kind]:
        limit = WORD_BITS[kind]
        raise ConfigError(
            f"prng: seed {int(states.max())}: {kind} holds {limit} bits; give a seed from 1 to 2^{limit} - 1"
        )
