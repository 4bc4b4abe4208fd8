"""Points of a sweep over dataflows, and what a sweep says when few or none can run."""

import pytest

from accelsim.cli.main import main
from accelsim.dse.points import open_source
from accelsim.dse.space import space_from_mapping

DATAFLOWS = ["weight_stationary", "output_stationary", "input_stationary", "spatial"]


def arrays(hardware, **vary):
    space = space_from_mapping(
        {"hardware": hardware, "workloads": "conv2", "vary": {f"pe_array.{k}": v for k, v in vary.items()}}
    )
    points = list(open_source(space).grid("closed_form"))
    return [point.job.config.pe_array if point.job else point.reason for point in points]


@pytest.mark.parametrize("hardware", ["edge", "gemmini", "hiddenite"])
def test_options_of_one_dataflow_follow_it(hardware):
    found = arrays(hardware, dataflow=DATAFLOWS)
    assert [array.dataflow for array in found] == DATAFLOWS
    assert len({array.num_pes for array in found}) == 1


def test_what_varies_beside_the_dataflow_does_not_follow_it():
    kept, refused = arrays("edge", dataflow=["weight_stationary", "output_stationary"], weight_preload=[True])
    assert kept.weight_preload
    assert "weight_preload is for dataflow weight_stationary only" in refused


def test_a_sweep_in_which_nothing_runs_ends_with_2_and_most_failing_names_no_best(tmp_path, capsys):
    space = tmp_path / "space.yaml"
    words = ["-q", "sweep", str(space), "--out", str(tmp_path / "o"), "--workers", "1", "--closed-form"]
    head = "hardware: edge\nworkloads: conv2\n"

    space.write_text(head + "vary: {pe_array.rows: [0, -1]}\n")
    assert main(words) == 2
    assert "no point can run; the first: pe_array.rows: 0 is not >= 1" in capsys.readouterr().err

    space.write_text(head + "vary: {pe_array.rows: [0, -1, 16]}\n")
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "most points failed, so none is called the best" in shown
    assert "best latency_s" not in shown
