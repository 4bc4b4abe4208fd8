"""Timelines: the rules of the Trace Event format, every byte and cycle of a run, whole tiles of long ones."""

import itertools
import json
from collections import defaultdict

import numpy as np
import pytest

from accelsim import costed, flow
from accelsim.config.loader import load_hardware
from accelsim.report import timeline
from accelsim.report.gantt import gantt_figure
from accelsim.report.timeline_counters import Changes, level_points
from accelsim.report.timeline_probe import TimelineProbe
from accelsim.results.build import build_result
from accelsim.results.model import ResultError
from accelsim.trace import trace_workload

pytestmark = pytest.mark.usefixtures("first_choice_in_module")


def check_trace_events(document):
    """Raise where ``document`` breaks a rule of the format, or is one that a viewer would draw wrongly."""
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["displayTimeUnit"] == "ns"
    tracks, named, counters = defaultdict(list), set(), defaultdict(list)
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str)
        assert all(type(event[key]) is int for key in ("pid", "tid"))
        match event["ph"]:
            case "M":
                assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
                named |= {event["tid"]} if event["name"] == "thread_name" else set()
            case "X":
                assert event["ts"] >= 0 and event["dur"] >= 0
                tracks[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
            case "C":
                assert event["ts"] >= 0 and event["args"]
                assert all(type(value) in (int, float) and value >= 0 for value in event["args"].values())
                counters[event["name"]].append(event["ts"])
            case other:
                raise AssertionError(other)
    assert set(tracks) <= named
    for spans in tracks.values():
        assert all(first[1] <= second[0] + 1e-9 for first, second in itertools.pairwise(sorted(spans)))
    for times in counters.values():
        assert times == sorted(times)


def run(chip, network, storage, *overrides):
    hardware, trace, probe = load_hardware(chip, overrides), trace_workload(network), TimelineProbe()
    result = costed.simulate_format(hardware, trace, storage, exact=True, probe=probe).result
    text = flow.timeline_of(hardware, trace, result, probe, None).text
    return hardware.config, result, probe, json.loads(text)


@pytest.fixture(scope="module", params=["simple", "timing"])
def seen(request):
    return run("edge", "conv6_slt_f50", "slt", "dram.num_channels=2", f"dram.model={request.param}")


def spans(document, track):
    named = [event for event in document["traceEvents"] if event["name"] == "thread_name"]
    number = next(event["tid"] for event in named if event["args"]["name"].startswith(track))
    return [event for event in document["traceEvents"] if event["ph"] == "X" and event["tid"] == number]


def levels(document, counter, key):
    events = [event for event in document["traceEvents"] if event["ph"] == "C" and event["name"].startswith(counter)]
    return [(event["ts"], event["args"][key]) for event in events]


def test_the_file_keeps_the_rules_of_the_format(seen):
    check_trace_events(seen[3])


def test_every_byte_is_on_a_requestors_track_and_on_a_channels(seen):
    config, result, _, document = seen
    moved = result.totals.dram_read_bytes + result.totals.dram_write_bytes
    by_kind = {
        kind: sum(event["args"]["bytes"] for event in spans(document, f"dma {kind}"))
        for kind in ("weights", "inputs", "partial sums", "residuals", "stores")
    }
    by_channel = [
        sum(event["args"]["bytes"] for event in spans(document, f"dram channel {channel}"))
        for channel in range(config.dram.num_channels)
    ]

    assert sum(by_kind.values()) == moved
    assert by_kind["stores"] == result.totals.dram_write_bytes
    assert sum(by_channel) == moved
    assert min(by_channel) > 0.4 * moved


def test_bandwidth_adds_up_to_the_bytes_moved(seen):
    config, result, _, document = seen
    end_us = result.totals.latency_cycles / config.clock_mhz
    for key, expected in (("read", result.totals.dram_read_bytes), ("written", result.totals.dram_write_bytes)):
        points = [*levels(document, "memory bandwidth", key), (end_us, 0)]
        moved = sum(rate * 1e3 * (after[0] - begin) for (begin, rate), after in itertools.pairwise(points))
        assert moved == pytest.approx(expected, rel=2e-3, abs=64)


def test_buffers_fill_and_empty_and_never_hold_more_than_they_can(seen):
    config, _, _, document = seen
    for name in ("weight_buffer", "mask_buffer", "activation_buffer", "accumulator"):
        held = [level for _, level in levels(document, name, "bytes")]
        assert 0 < max(held) <= getattr(config, name).capacity_bytes
        assert held[-1] == 0


def test_waits_are_coloured_and_add_up_to_their_cause(seen):
    config, result, _, document = seen
    waits = [event for event in spans(document, "pe_array waits") if event["name"] == "wait_dram"]

    assert {event["cname"] for event in waits} == {"terrible"}
    assert sum(event["args"]["cycles"] for event in waits) == result.totals.cycles_by_cause.wait_dram


def test_slices_carry_their_place_in_the_loops(seen):
    tiles = spans(seen[3], "pe_array")
    split = [event["args"] for event in tiles if "loops" in event["args"]]

    assert split
    assert all(event["name"].startswith(f"tile {event['args']['tile']}") for event in tiles)
    assert all(event["name"].endswith(event["args"].get("loops", "")) for event in tiles)
    assert len({(args["layer"], args["loops"]) for args in split}) == len(split)


def test_a_long_run_draws_whole_tiles_of_both_ends_and_counts_all(monkeypatch, capsys, tmp_path):
    config, result, probe, whole = run("edge", "conv6_slt_f50", "slt")
    monkeypatch.setattr(timeline, "MAX_SLICES", 300)
    hardware, trace = load_hardware("edge"), trace_workload("conv6_slt_f50")

    made = flow.timeline_of(hardware, trace, result, probe, None)
    found = json.loads(made.text)

    check_trace_events(found)
    assert found["otherData"]["sampling"] == made.left_out
    assert "tiles are drawn, the first and the last" in made.left_out
    drawn = [event for event in found["traceEvents"] if event["ph"] == "X" and "tile" in event["args"]]
    assert len(drawn) <= 300
    assert any(event["name"].endswith("more, not drawn") for event in found["traceEvents"])
    counters = [[event for event in each["traceEvents"] if event["ph"] == "C"] for each in (whole, found)]
    assert counters[0] == counters[1]
    # Every unit's work for a drawn tile is drawn.
    tiles = {
        (event["args"]["layer"], event["args"]["tile"]) for event in spans(found, "pe_array") if "tile" in event["args"]
    }
    for track in ("weight_generator", "mask_decoder", "dma weights"):
        mine = [event["args"] for event in spans(whole, track)]
        shown = [event["args"] for event in spans(found, track) if "tile" in event["args"]]
        assert shown == [args for args in mine if (args["layer"], args["tile"]) in tiles]

    from accelsim.cli.main import main

    file = str(tmp_path / "t.json")
    assert main(["run", "edge", "conv6_slt_f50", "--compare", "none", "--json", "--timeline", file]) == 0
    assert capsys.readouterr().err == f"{file}: {made.left_out}; counters cover all of them\n"


def test_a_level_shows_each_change_or_the_peaks_of_windows():
    changes = Changes(np.array([3, 4, 4, 1000]), np.array([5, -5, 1, 2]))
    assert list(level_points(changes, 4000)) == [(0, 0), (3, 5), (4, 1), (1000, 3)]
    # Windows of 8 cycles.
    peaks = dict(level_points(changes, 4000, limit=1))
    assert (peaks[0], peaks[8], peaks[992], peaks[1000], peaks[4000]) == (5, 1, 1, 3, 3)


def test_gantt_draws_the_slowest_layer_or_the_one_that_is_named(sample_run):
    result = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    probe = TimelineProbe()
    for layer, start in ((0, 0), (1, 100)):
        probe.slice("pe_array", layer, "", 0, start, start + 60)
        probe.slice("stall", layer, "wait_dram", 0, start + 60, start + 90)

    slowest = gantt_figure(result, probe).decode()

    assert slowest == gantt_figure(result, probe, "second").decode()
    assert "second (linear, 10x10)" in slowest
    assert "first (conv2d" in gantt_figure(result, probe, "first").decode()
    with pytest.raises(ResultError, match="--gantt-layer: no layer 'third'; give one of first, second"):
        gantt_figure(result, probe, "third")
