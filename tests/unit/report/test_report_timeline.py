import json

import pytest

from accelsim.report import timeline
from accelsim.report.gantt import gantt_figure
from accelsim.results.build import build_result
from accelsim.results.model import ResultError


def document(sample_run, probe):
    result = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    return json.loads(timeline.timeline_text(result, probe))


def spans(found, track):
    number = timeline._TRACKS.index(track)
    return [event for event in found["traceEvents"] if event["ph"] == "X" and event["tid"] == number]


def test_slices_are_on_the_track_of_their_unit_in_microseconds(sample_run):
    probe = timeline.TimelineProbe(2)
    probe.slice("pe_array", 1, "", 7, 100, 150)
    probe.slice("dram", 0, "1", 0, 0, 25)
    probe.slice("stall", 0, "wait_dram", 0, 0, 30)

    found = document(sample_run, probe)

    # 500 MHz: 100 cycles are 0.2 us.
    tile = spans(found, "pe_array")[0]
    assert (tile["name"], tile["ts"], tile["dur"]) == ("tile 7", 0.2, 0.1)
    assert tile["args"] == {"layer": "second", "tile": 7, "cycles": 50}
    assert spans(found, "dram")[0]["name"] == "inputs"
    assert spans(found, "stall")[0]["cname"] == "terrible"
    assert [(span["name"], span["ts"]) for span in spans(found, "layers")] == [("first", 0.0), ("second", 0.2)]
    assert found["otherData"]["sampling"] == "every tile is drawn"


def test_a_long_run_keeps_whole_tiles_of_both_ends_and_says_so(sample_run, monkeypatch):
    monkeypatch.setattr(timeline, "MAX_SLICES", 8 * 2 * len(timeline._TRACKS))
    probe = timeline.TimelineProbe(1)
    for index in range(1000):
        probe.slice("pe_array", 0, "", index, 10 * index, 10 * index + 10)

    found = document(sample_run, probe)
    drawn = spans(found, "pe_array")

    assert len(drawn) == 17
    assert drawn[8]["name"] == "984 more, not drawn"
    assert (drawn[8]["ts"], drawn[8]["dur"]) == (80 / 500, 9840 / 500)
    assert drawn[-1]["name"] == "tile 999"
    assert found["otherData"]["sampling"] == "984 slices are summed up, not drawn"


def test_gantt_draws_the_slowest_layer_or_the_one_that_is_named(sample_run):
    result = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    probe = timeline.TimelineProbe(2)
    for layer, start in ((0, 0), (1, 100)):
        probe.slice("pe_array", layer, "", 0, start, start + 60)
        probe.slice("stall", layer, "wait_dram", 0, start + 60, start + 90)

    slowest = gantt_figure(result, probe).decode()

    assert slowest == gantt_figure(result, probe, "second").decode()
    assert "second (linear, 10x10)" in slowest
    assert "first (conv2d" in gantt_figure(result, probe, "first").decode()
    with pytest.raises(ResultError, match="--gantt-layer: no layer 'third'; give one of first, second"):
        gantt_figure(result, probe, "third")


def test_memory_is_as_busy_as_its_slices(sample_run):
    probe = timeline.TimelineProbe(1)
    probe.slice("dram", 0, "0", 0, 0, 200)

    busy = [event["args"]["busy"] for event in document(sample_run, probe)["traceEvents"] if event["ph"] == "C"]

    assert set(busy[:200]) == {100.0}
    assert set(busy[200:]) == {0.0}
