"""Activations that are padded in memory."""

import pytest

from accelsim.mapping.activation_code import padded_share


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        ((64, 56, 56, 64), 2.0),  # no dimension fills 128 lanes: 64 take twice their room
        ((64, 14, 14, 256), 1.0),
        ((1, 14, 14, 256), 16 / 14),  # positions take the place of images
        ((1, 1, 1, 512), 2.0),  # a vector fills a whole tile
        ((1, 1, 1, 1), 1024.0),
    ],
)
def test_the_two_dimensions_that_pad_least_are_tiled(sizes: tuple[int, ...], share: float) -> None:
    assert padded_share(sizes, (8, 128)) == pytest.approx(share)
