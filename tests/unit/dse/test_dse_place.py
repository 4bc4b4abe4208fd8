"""What fails because of the place where it was tried is told, and tried again the next time."""

from dataclasses import replace

import pytest

from accelsim.dse.engine import evaluate_points
from accelsim.dse.evaluate import evaluate_batch
from accelsim.dse.executors import SerialExecutor
from accelsim.dse.points import open_source
from accelsim.dse.progress import Progress
from accelsim.dse.space import space_from_mapping
from accelsim.dse.store import ResultStore
from accelsim.dse.workloads import load_trace, trace_for

TEXT = "Layer, M, N, K,\nattn, 128, 512, 64,\n"


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(TEXT)
    yield path
    load_trace.cache_clear()
    trace_for.cache_clear()


@pytest.fixture
def points(network):
    space = space_from_mapping({"hardware": "edge_dense", "workloads": str(network), "vary": {"clock_mhz": [500, 600]}})
    found = list(open_source(space).grid("closed_form"))
    load_trace.cache_clear()
    trace_for.cache_clear()
    return found


def test_a_file_that_was_missing_is_read_the_next_time(points, network, tmp_path):
    network.unlink()
    with ResultStore(tmp_path / "store.sqlite") as store:
        first = evaluate_points(points, "closed_form", store, SerialExecutor(), Progress(None, ()))
        assert [one.row["status"] for one in first] == ["failed", "failed"]
        assert store.count() == 0

        network.write_text(TEXT)
        second = evaluate_points(points, "closed_form", store, SerialExecutor(), Progress(None, ()))
        assert [one.row["status"] for one in second] == ["ok", "ok"]
        assert store.count() == 2


def test_another_model_on_a_worker_is_not_taken_for_this_one(points):
    (result,) = evaluate_batch([replace(points[0].job, key="0" * 64)])

    assert "another accelsim" in result.row["reason"]
    assert not result.is_lasting
