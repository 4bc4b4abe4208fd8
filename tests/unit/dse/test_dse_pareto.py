import io

import numpy as np
import pytest

from accelsim.dse.constraints import parse_constraint
from accelsim.dse.pareto import pareto_front, rank_correlation, sensitivities
from accelsim.dse.progress import Progress


def test_the_front_is_what_brute_force_finds():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, size=(200, 3)).astype(float)
    values[17, 1] = np.nan

    beaten = [
        any((other <= row).all() and (other < row).any() for other in values) or np.isnan(row).any() for row in values
    ]

    assert pareto_front(values) == [index for index, lost in enumerate(beaten) if not lost]


def test_figures_within_a_thousandth_count_as_equal():
    # The second is 0.05 % slower and smaller; beside it the first is beaten, and so is what is worse by 0.2 %.
    assert pareto_front(np.array([[1.0, 2.0], [1.0005, 1.0], [1.002, 1.0]])) == [1]


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
    rows = [{"a": a, "b": b, "c": 1, "energy_j": float(a * b)} for a in (1, 10) for b in (1, 2)]

    of_a, of_b = sensitivities(["a", "b", "c"], rows, "energy_j", False)

    assert of_a.share + of_b.share == pytest.approx(1.0)
    assert (of_a.spread, of_b.spread) == (pytest.approx(10.0), pytest.approx(2.0))
    assert (of_a.variable, of_a.best, of_b.best) == ("a", 1, 1)


def test_sensitivity_is_not_deceived_by_points_in_which_variables_go_together():
    """Slow memories mostly on large chips, as among the best designs of a search: means would say slow is fast."""
    chips = [(64, 400)] * 9 + [(8, 3200)] * 9 + [(64, 3200), (8, 400)]
    rows = [{"rows": rows, "rate": rate, "latency_s": 1 / rows / rate**0.1} for rows, rate in chips]

    of_rows, of_rate = sensitivities(["rows", "rate"], rows, "latency_s", False)

    assert (of_rows.variable, of_rows.best, of_rows.spread) == ("rows", 64, pytest.approx(8.0))
    assert (of_rate.best, of_rate.spread) == (3200, pytest.approx(8**0.1))
    assert of_rows.share + of_rate.share == pytest.approx(1.0)


def test_progress_shows_rate_best_and_time_left(monkeypatch):
    clock = iter([0.0, 100.0, 101.0, 102.0, 102.1])
    monkeypatch.setattr("accelsim.dse.progress.time.monotonic", lambda: next(clock))
    progress = Progress(None, ["latency_s", "tops"], constraints=(parse_constraint("latency_s > 1", "here"),))
    progress.begin(10, [{"status": "ok", "latency_s": 9.0}, {"status": "ok", "latency_s": 1.0}])
    for value in (3.0, 2.0, 4.0):
        progress.add({"status": "ok", "latency_s": value, "tops": value})
    progress.add({"status": "failed", "reason": "x"})

    assert (
        progress.line(103.0)
        == "6/10 points, 1.00/s, 2 known before, 4 s left, 1 failed, best latency_s 2.00 s, best tops 4.00"
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_begins_at_once_and_never_wraps(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    progress = Progress(stream, ["latency_s"])
    progress.begin(2, [{"status": "ok", "latency_s": 1.0}])

    assert stream.getvalue() == "\r\x1b[K1/2 points, 1 known before, b"[: 4 + 29]
