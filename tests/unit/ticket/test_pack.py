from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import TicketError
from accelsim.prng import RandomSource, freezing_map, layer_weights
from accelsim.ticket.codecs import MASK_CODECS
from accelsim.ticket.pack import (
    ImportedPattern,
    pack_imported_layer,
    pack_layer,
    synthetic_mask,
    unpack_mask,
    unpack_weights,
)

SHAPE = (16, 8, 3, 3)
SOURCE = RandomSource(seed=99, prune_threshold=1 << 15, lock_threshold=(1 << 15) + 13107)
SCALE = np.full(16, 0.25)


def packed(codec: str = "raw", mask: np.ndarray | None = None):
    chosen = synthetic_mask(freezing_map(SOURCE, SHAPE), 0.7, seed=5) if mask is None else mask
    return pack_layer("conv", SHAPE, SOURCE, chosen, codec, SCALE, SCALE, 0.5)


@pytest.mark.parametrize("codec", MASK_CODECS)
def test_unpack_returns_the_mask(codec: str) -> None:
    mask = synthetic_mask(freezing_map(SOURCE, SHAPE), 0.7, seed=5)
    assert np.array_equal(unpack_mask(packed(codec, mask)), mask)


def test_counts_are_those_of_the_freezing_map() -> None:
    frozen = freezing_map(SOURCE, SHAPE)
    layer = packed()
    assert layer.num_free == (frozen == 0).sum() == layer.payload_bits
    assert layer.num_locked == (frozen == 1).sum()
    assert layer.num_pruned == (frozen == -1).sum()
    assert layer.num_kept == round(0.3 * frozen.size)


def test_weights_are_regenerated_and_dropped_ones_are_zero() -> None:
    layer = packed()
    assert np.array_equal(unpack_weights(layer), layer_weights(SOURCE, SHAPE) * unpack_mask(layer))


def test_mask_against_the_freezing_map_is_refused() -> None:
    wrong = np.ones(SHAPE, dtype=bool)
    num_pruned = int((freezing_map(SOURCE, SHAPE) < 0).sum())
    with pytest.raises(TicketError, match=f"'conv': the mask contradicts the freezing map at {num_pruned} of 1152"):
        packed(mask=wrong)


def test_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(TicketError, match=r"mask has shape \(16, 8\)"):
        packed(mask=np.ones((16, 8), dtype=bool))


def test_a_wrong_seed_is_noticed() -> None:
    layer = packed()
    with pytest.raises(TicketError, match=r"'conv': the freezing map has \d+ free"):
        unpack_mask(replace(layer, source=replace(SOURCE, seed=98)))


def test_flipped_mask_bits_are_noticed() -> None:
    layer = packed()
    damaged = bytes([layer.mask_payload[0] ^ 0x80]) + layer.mask_payload[1:]
    with pytest.raises(TicketError, match="'conv': the mask keeps"):
        unpack_mask(replace(layer, mask_payload=damaged))


def test_scales_that_float16_cannot_hold_are_refused() -> None:
    with pytest.raises(TicketError, match="not finite in float16"):
        pack_layer("conv", SHAPE, SOURCE, freezing_map(SOURCE, SHAPE) > 0, "raw", np.full(16, 1e6), SCALE)


def test_imported_pattern_survives() -> None:
    rng = np.random.default_rng(0)
    frozen = rng.integers(-1, 2, SHAPE).astype(np.int8)
    sign = rng.choice(np.array([-1, 1], dtype=np.int8), SHAPE)
    mask = (frozen > 0) | ((frozen == 0) & (rng.random(SHAPE) < 0.4))
    layer = pack_imported_layer("conv", ImportedPattern(frozen, sign), mask, "entropy", SCALE, SCALE)
    assert layer.source is None
    assert np.array_equal(unpack_weights(layer), sign * mask)


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 0.5), (0.6, 0.4), (1.0, 0.2)])
def test_synthetic_mask_stays_within_the_freezing_map(sparsity: float, kept: float) -> None:
    frozen = freezing_map(SOURCE, SHAPE)
    mask = synthetic_mask(frozen, sparsity, seed=3)
    assert mask[frozen > 0].all()
    assert not mask[frozen < 0].any()
    assert abs(mask.mean() - kept) < 0.05
