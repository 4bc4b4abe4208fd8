import numpy as np
import pytest

from accelsim.dse.pareto import pareto_front, rank_correlation, sensitivity
from accelsim.dse.progress import Progress


def test_the_front_is_what_brute_force_finds():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, size=(200, 3)).astype(float)
    values[17, 1] = np.nan

    beaten = [
        any((other <= row).all() and (other < row).any() for other in values) or np.isnan(row).any() for row in values
    ]

    assert pareto_front(values) == [index for index, lost in enumerate(beaten) if not lost]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([1, 2, 3, 9], [10, 20, 30, 31], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2, 3], [1, 2, 3, 4], 0.9486832980505138),
    ],
)
def test_rank_correlation_is_spearmans(first, second, wanted):
    assert rank_correlation(first, second) == pytest.approx(wanted)


def test_rank_correlation_needs_three_different_values():
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_sensitivity_splits_the_variance_of_a_product():
    rows = [{"energy_j": float(a * b)} for a in (1, 10) for b in (1, 2)]

    of_a = sensitivity("a", [1, 1, 10, 10], rows, "energy_j", False)
    of_b = sensitivity("b", [1, 2, 1, 2], rows, "energy_j", False)

    assert of_a.share + of_b.share == pytest.approx(1.0)
    assert (of_a.spread, of_b.spread) == (pytest.approx(10.0), pytest.approx(2.0))
    assert (of_a.best, of_b.best) == (1, 1)


def test_progress_shows_rate_best_and_time_left():
    progress = Progress(None, ["latency_s", "tops"])
    progress.begin(10, 2)
    for value in (3.0, 2.0, 4.0):
        progress.add({"status": "ok", "latency_s": value, "tops": value})
    progress.add({"status": "failed", "reason": "x"})

    assert (
        progress.line(2.0)
        == "6/10 points, 2.00/s, 2 known before, 2 s left, 1 failed, best latency_s 2.00, best tops 4.00"
    )
