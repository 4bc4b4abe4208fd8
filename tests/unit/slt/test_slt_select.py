"""The threshold keeps exactly as many as it should, and the best ones."""

import math

import numpy as np
import pytest

from accelsim.slt.select import keep_best, keep_best_of_all, num_to_keep


def test_best_scores_are_kept():
    scores = np.random.default_rng(0).normal(size=1001).astype(np.float32)
    kept = keep_best(scores, 300)
    assert kept.sum() == 300
    assert scores[kept].min() > scores[~kept].max()


def test_equal_scores_win_in_order_of_place():
    scores = np.array([1, 2, 2, 2, 3], dtype=np.float32)
    assert keep_best(scores, 3).tolist() == [False, True, True, False, True]


def test_bounds_and_signs():
    scores = np.array([-2, -1], dtype=np.float32)
    assert keep_best(scores, 5).tolist() == [True, True]
    assert keep_best(scores, -1).tolist() == [False, False]
    assert keep_best(scores, 1).tolist() == [False, True]


def test_network_wide_threshold_ignores_layer_bounds():
    parts = [np.array([5, 1], dtype=np.float32), np.array([4, 3, 2], dtype=np.float32)]
    kept = keep_best_of_all(parts, 3)
    assert [part.tolist() for part in kept] == [[True, False], [True, True, False]]


@pytest.mark.parametrize("sparsity", [0.0, 0.29, 0.5, 0.7, 0.9, 0.999])
def test_as_many_are_kept_as_lie_above_the_kth_smallest(sparsity):
    for number in (1, 9, 10, 100, 101, 1728, 36864):
        scores = np.random.default_rng(number).permutation(number).astype(np.float32)
        exact = math.floor(round(1000 * sparsity) * number / 1000)  # in whole numbers
        above = int((scores > np.sort(scores)[exact - 1]).sum()) if exact else number
        assert num_to_keep(number, sparsity) == above
