"""What every storage format must do with any tensor: decode to it, in exactly the bits that its plan states."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelsim.storage import get_format, tile_bits
from accelsim.storage.elsa import decode_levels, encode_levels
from accelsim.trace.model import LayerWeights

SHAPES = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)


@st.composite
def tensors(draw, low, high):
    """Integer tensors of any sparsity, with long runs of zeros among them."""
    values = draw(hnp.arrays(np.int16, draw(SHAPES), elements=st.integers(low, high), fill=st.just(0)))
    keep = draw(st.floats(0, 1))
    seed = draw(st.integers(0, 2**16))
    return np.where(np.random.default_rng(seed).random(values.shape) < keep, values, 0)


def network_weights(values):
    """The tensor as a layer of a pruned network without a ticket."""
    return LayerWeights(
        values.shape,
        int(np.count_nonzero(values)),
        num_free=values.size,
        load_mask=lambda: values != 0,
        load_sign=lambda: values.astype(np.int8),
    )


def check(name, values):
    storage_format = get_format(name)
    encoded = storage_format.encode(values)
    assert np.array_equal(storage_format.decode(encoded), values)
    for field in ("mask", "seed", "weight", "index", "scale"):
        assert len(getattr(encoded, field)) == -(-getattr(encoded.bits, field) // 8)
    assert storage_format.plan(network_weights(values)).stored_bits == encoded.bits


@pytest.mark.parametrize(
    "name", ["dense-fp32", "dense-fp16", "dense-int8", "csr-int8", "bitmap-int8", "rle-int8", "entropy-int8"]
)
@given(values=tensors(-127, 127))
@settings(max_examples=40, deadline=None)
def test_formats_of_eight_bits_and_more(name, values):
    check(name, values)


@pytest.mark.parametrize("name", ["dense-int4", "entropy-int4", "int4-g128", "fp8"])
@given(values=tensors(-7, 7))
@settings(max_examples=40, deadline=None)
def test_formats_of_four_bits(name, values):
    check(name, values)


@pytest.mark.parametrize("name", ["mpt-binary", "ternary-1.58", "ternary-2"])
@given(values=tensors(-1, 1))
@settings(max_examples=40, deadline=None)
def test_ternary_weights(name, values):
    check(name, values)


@given(values=tensors(-1, 1))
@settings(max_examples=40, deadline=None)
def test_dense_binary(values):
    check("dense-binary", np.where(values == 0, 1, values))


@pytest.mark.parametrize(
    ("name", "kept", "group"), [("nm-1:4-int8", 1, 4), ("nm-2:4-int8", 2, 4), ("nm-4:8-int8", 4, 8)]
)
@given(values=tensors(-127, 127))
@settings(max_examples=40, deadline=None)
def test_structured_formats(name, kept, group, values):
    # Zero all but the first `kept` of each group along channels, in plain loops.
    values = values.copy()
    for filter_values in values:
        rows = np.moveaxis(filter_values, 0, -1).reshape(-1).copy()
        for start in range(0, rows.size, group):
            places = [i for i in range(start, min(start + group, rows.size)) if rows[i]]
            rows[places[kept:]] = 0
        filter_values[...] = np.moveaxis(rows.reshape(*filter_values.shape[1:], filter_values.shape[0]), -1, 0)
    check(name, values)


@given(values=tensors(0, 3))
@settings(max_examples=40, deadline=None)
def test_multicoated_sums(values):
    storage_format = get_format("multicoat-3")
    encoded = storage_format.encode(values)
    assert np.array_equal(storage_format.decode(encoded), values)
    assert encoded.bits.mask == values.size + int((values >= 1).sum()) + int((values >= 2).sum())


@given(values=tensors(-127, 127), cuts=st.lists(st.floats(0, 1), max_size=3))
@settings(max_examples=40, deadline=None)
def test_nested_levels(values, cuts):
    counts = (*sorted(round(cut * values.size) for cut in cuts), values.size)
    pieces = encode_levels(values, counts)
    assert np.array_equal(decode_levels(pieces), values)
    for level, count in enumerate(counts):
        part = decode_levels(pieces[: level + 1])
        assert np.array_equal(part[part != 0], values[part != 0])
        assert np.count_nonzero(part) == min(count, np.count_nonzero(values))


@given(values=tensors(-127, 127), parts=st.lists(st.integers(0, 30), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_tiles_read_a_layer_once_within_a_bit_per_tile_and_class(values, parts):
    weights = replace(network_weights(values), num_scale_bits=32 * values.shape[0])
    plan = get_format("bitmap-int8").plan(weights)
    sizes = [*parts, 0]
    sizes[-1] = max(0, values.size - sum(parts))
    total = sum(sizes)
    bits = [tile_bits(plan, size * values.size // total, 0, weights) for size in sizes] if total else []
    exact = sum(size * values.size // total for size in sizes) if total else 0
    for name in ("mask", "weight"):
        share = getattr(plan.stored_bits, name) * exact / values.size
        assert share <= sum(getattr(tile, name) for tile in bits) + 1e-9 < share + len(sizes) + 1e-6
