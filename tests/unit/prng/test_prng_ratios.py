"""Per-layer ratios meet the network's."""

from math import prod

import pytest

from accelsim.errors import ConfigError
from accelsim.prng import layer_ratios, thresholds

SHAPES = [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 1, 1), (512, 512, 3, 3), (10, 512)]


@pytest.mark.parametrize("distribution", ["uniform", "erk", "epl"])
@pytest.mark.parametrize(("prune", "lock"), [(0.5, 0.2), (0.63, 0.27), (0.01, 0.0), (0.0, 0.3), (0.0, 0.0), (0.7, 0.3)])
def test_network_ratios_are_met_within_bounds(distribution, prune, lock):
    ratios = layer_ratios(SHAPES, prune, lock, distribution)
    total = sum(map(prod, SHAPES))
    for name, wanted in (("prune_ratio", prune), ("lock_ratio", lock)):
        met = sum(prod(shape) * getattr(ratio, name) for shape, ratio in zip(SHAPES, ratios, strict=True)) / total
        assert met == pytest.approx(wanted, abs=1e-12)
    assert all(0 <= ratio.prune_ratio and 0 <= ratio.lock_ratio and ratio.freeze_ratio <= 1 + 1e-12 for ratio in ratios)


def test_epl_leaves_equally_many_free_where_no_cap_binds():
    shapes = [(512, 512, 3, 3), (256, 512, 3, 3)]
    first, second = layer_ratios(shapes, 0.5, 0.2, "epl")
    assert prod(shapes[0]) * (1 - first.freeze_ratio) == pytest.approx(prod(shapes[1]) * (1 - second.freeze_ratio))


def test_erk_frees_thin_layers_more():
    ratios = layer_ratios(SHAPES, 0.5, 0.2, "erk")
    assert ratios[0].freeze_ratio == 0.0
    assert ratios[3].freeze_ratio > 0.7


def test_ratios_above_one_are_refused():
    with pytest.raises(
        ConfigError, match=r"prune_ratio 0\.8, lock_ratio 0\.3: must lie in 0 to 1 and sum to at most 1"
    ):
        layer_ratios(SHAPES, 0.8, 0.3, "uniform")


def test_thresholds_round_and_stay_within_the_word():
    assert thresholds(0.5, 0.2, 16) == (32768, 45875)
    assert thresholds(0.7, 0.3, 8) == (179, 256)
    assert thresholds(0.0, 0.0, 16) == (0, 0)
