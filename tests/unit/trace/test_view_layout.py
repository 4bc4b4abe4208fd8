"""The layout of a view against NumPy's strides."""

import random

import numpy as np
import pytest

from accelsim.trace.layout import Layout, contiguous, refined


def places(layout: Layout) -> np.ndarray:
    """Return which element of the tensor each element of the view is."""
    out = np.zeros((1,) * len(layout.axes), dtype=np.int64)
    for axis, factors in enumerate(layout.axes):
        index = np.zeros(1, dtype=np.int64)
        for size, stride in factors:
            index = (index[:, None] + np.arange(size) * stride).reshape(-1)
        out = out + index.reshape([-1 if place == axis else 1 for place in range(len(layout.axes))])
    return out


@pytest.mark.parametrize("seed", range(40))
def test_any_chain_of_views_shows_what_numpy_shows(seed: int) -> None:
    draw = random.Random(seed)
    layout = contiguous((2, 3, 4, 6))
    values = np.arange(144).reshape(2, 3, 4, 6)
    for _ in range(6):
        match draw.choice(["permute", "expand", "reshape", "repeat", "cut"]):
            case "permute":
                order = draw.sample(range(values.ndim), values.ndim)
                layout, values = layout.permuted(order), values.transpose(order)
            case "expand":
                shape = (draw.choice([1, 2]), *values.shape)
                layout, values = layout.expanded(shape), np.broadcast_to(values, shape)
            case "reshape":
                merged = (values.shape[0] * values.shape[1], *values.shape[2:])
                found = layout.reshaped(merged)
                assert found is not None  # merging never cuts a factor
                layout, values = found, values.reshape(merged)
                if len(merged) < 2:
                    return
            case "repeat":
                layout, values = layout.repeated(1, 2, each=True), np.repeat(values, 2, axis=1)
            case "cut":
                found = layout.cut(0, 1)
                layout, values = found, values[:1]
        assert np.array_equal(places(layout), values)
        assert layout.num_distinct == len(np.unique(values))


def test_a_reshape_that_cuts_a_factor_is_not_followed() -> None:
    assert contiguous((4, 6)).permuted([1, 0]).reshaped((8, 3)) is None
    assert refined(((6, 1),), ((4, 1),)) is None
    # Four heads of queries share each of two heads of keys.
    assert refined(((8, 64),), ((2, 640), (4, 0))) == [(2, 256, 640), (4, 64, 0)]
