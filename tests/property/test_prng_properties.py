"""What holds of every random source."""

from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.prng import (
    GeneratorKind,
    RandomSource,
    StreamGranularity,
    freezing_map,
    freezing_slice,
    jump,
    layer_weights,
    words,
)

KINDS = get_args(GeneratorKind)
LINEAR_KINDS = [kind for kind in KINDS if kind != "philox4x32"]
SEEDS = st.lists(st.integers(1, 2**16 - 1), min_size=1, max_size=5)


@given(
    kind=st.sampled_from(KINDS),
    seeds=SEEDS,
    start=st.integers(0, 10**12),
    lengths=st.tuples(*2 * [st.integers(0, 300)]),
)
@settings(max_examples=60, deadline=None)
def test_words_are_the_same_however_they_are_asked_for(kind, seeds, start, lengths):
    keys = np.array(seeds, dtype=np.uint32)
    whole = words(kind, keys, start, sum(lengths))
    parts = [words(kind, keys, start, lengths[0]), words(kind, keys, start + lengths[0], lengths[1])]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))


@given(
    kind=st.sampled_from(LINEAR_KINDS), seed=st.integers(1, 2**16 - 1), steps=st.tuples(*2 * [st.integers(0, 2**40)])
)
@settings(max_examples=60, deadline=None)
def test_jumps_add_up(kind, seed, steps):
    state = np.uint32(seed)
    assert jump(kind, jump(kind, state, steps[0]), steps[1]) == jump(kind, state, sum(steps))


@given(
    kind=st.sampled_from(KINDS),
    stream=st.sampled_from(get_args(StreamGranularity)),
    tile_filters=st.integers(1, 9),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 3)),
    threshold_bits=st.integers(1, 16),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_part_equals_the_part_of_the_whole(kind, stream, tile_filters, shape, threshold_bits, data):
    lock = data.draw(st.integers(0, 1 << threshold_bits))
    source = RandomSource(
        generator=kind,
        seed=data.draw(st.integers(1, 2**32 - 1)),
        stream=stream,
        tile_filters=tile_filters,
        threshold_bits=threshold_bits,
        prune_threshold=data.draw(st.integers(0, lock)),
        lock_threshold=lock,
    )
    frozen, weights = freezing_map(source, shape), layer_weights(source, shape)
    assert frozen.shape == weights.shape == shape
    assert set(np.unique(weights)) <= {-1, 1}
    first = data.draw(st.integers(0, shape[0] - 1))
    begin = data.draw(st.integers(0, shape[1] * shape[2] - 1))
    count = data.draw(st.integers(0, shape[1] * shape[2] - begin))
    part = freezing_slice(source, shape, slice(first, None), begin, count)
    assert np.array_equal(part, frozen.reshape(shape[0], -1)[first:, begin : begin + count])
