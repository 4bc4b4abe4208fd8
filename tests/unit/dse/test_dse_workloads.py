from dataclasses import replace

import pytest

from accelsim.dse.evaluate import evaluate_job
from accelsim.dse.points import address, open_source
from accelsim.dse.space import space_from_mapping
from accelsim.dse.workloads import load_trace, read_workloads, trace_for
from accelsim.errors import MappingError, TraceError

TICKETS = ("workloads/conv6_slt_f00.pt", "workloads/conv6_slt_f70.pt")
BASE = {"hardware": "hwconfigs/edge.yaml", "workloads": ["conv2"]}


@pytest.fixture(autouse=True)
def at_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_a_ratio_that_a_ticket_has_is_served_by_it_and_others_by_statistics():
    (workload,) = read_workloads(TICKETS, True)

    real = workload.choose({"freeze_ratio": 0.7})
    made_up = workload.choose({"freeze_ratio": 0.3})

    assert (workload.label, real.path) == ("conv6", TICKETS[1])
    assert not real.is_synthetic
    assert load_trace(real).provenance == "searched"
    trace = load_trace(made_up)
    assert (made_up.is_synthetic, trace.provenance, trace.accuracy) == (True, "synthetic", None)
    weights = [layer.weights for layer in trace.layers if layer.weights is not None]
    frozen = sum(entry.num_pruned + entry.num_locked for entry in weights) / sum(entry.num_weights for entry in weights)
    assert frozen == pytest.approx(0.3, abs=1e-3)
    measured = {layer.name: layer.input_density for layer in load_trace(real).layers if layer.input_density_measured}
    assert set(measured) == {layer.name for layer in trace.layers if layer.input_density_measured} != set()


def test_a_bare_name_is_the_ticket_it_stands_for():
    """By content, not by name: with the name alone a changed ticket would find the old results in a store."""
    (by_name,), (by_file,) = (read_workloads((path,), True) for path in ("conv6_slt_f70", TICKETS[1]))

    assert by_name.choose({}).identity() == by_file.choose({}).identity()
    assert by_name.choose({"freeze_ratio": 0.3}).is_synthetic
    assert (by_name.label, by_name.choose({}).label) == ("conv6_slt_f70", "conv6_slt_f70")


def test_accuracy_belongs_to_formats_that_store_the_ticket():
    space = space_from_mapping({**BASE, "workloads": TICKETS[1], "storage": ["slt-raw", "dense-int8", "mpt-binary"]})

    rows = [evaluate_job(point.job) for point in open_source(space).grid("closed_form")]

    assert [row["status"] for row in rows] == ["ok"] * 3
    assert rows[0]["accuracy"] > 0.9
    assert [row["accuracy"] for row in rows[1:]] == [None, None]


def test_streams_that_no_generator_can_follow_fail_in_both_fidelities():
    space = space_from_mapping({**BASE, "vary": {"weight_generator.kind": ["philox4x32"], "seeds": ["jump"]}})

    for fidelity in ("closed_form", "simulation"):
        (point,) = open_source(space).grid(fidelity)
        assert "seeds: jump needs one of lfsr16, lfsr32, xorshift32" in evaluate_job(point.job)["reason"]


def test_without_ticket_parameters_each_ticket_is_a_workload_of_its_own():
    labels = [workload.label for workload in read_workloads(TICKETS, False)]

    assert labels == list(TICKETS)


def test_synthetic_weights_come_from_the_chips_generator():
    (workload,) = read_workloads(("conv2",), True)
    spec = workload.choose({"sparsity": 0.6, "stream": "layer"})

    sources = {layer.weights.source for layer in trace_for(spec, "lfsr16").layers if layer.weights is not None}

    assert {(source.generator, source.stream) for source in sources} == {("lfsr16", "layer")}


def test_a_file_that_changed_is_refused(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("Layer, M, N, K,\nattn, 128, 512, 64,\n")
    (workload,) = read_workloads((str(path),), False)
    path.write_text("Layer, M, N, K,\nattn, 128, 512, 32,\n")
    load_trace.cache_clear()

    with pytest.raises(TraceError, match="has changed since the run began"):
        load_trace(workload.choose({}))


def test_the_address_is_that_of_the_content():
    space = space_from_mapping({**BASE, "vary": {"clock_mhz": [5, 6]}})
    slow, fast = (point.job for point in open_source(space).grid("simulation"))

    assert slow.key != fast.key
    renamed = slow.config.model_copy(update={"name": "another"})
    assert address(renamed, slow.workload, slow.storage, "simulation") == slow.key
    assert address(slow.config, slow.workload, "int4", "simulation") != slow.key
    assert address(slow.config, replace(slow.workload, stream="tile"), slow.storage, "simulation") != slow.key


def test_an_impossible_choice_is_a_point_with_its_reason():
    space = space_from_mapping({
        "hardware": "hwconfigs/edge_dense.yaml",
        "workloads": ["conv2"],
        "vary": {"weight_generator.num_lanes": [4], "pe_array.rows": [0, 4]},
    })  # fmt: skip
    reasons = [point.reason for point in open_source(space).grid("simulation")]

    assert reasons[0].startswith("weight_generator.num_lanes: the chip has no weight_generator")
    space = space_from_mapping({**BASE, "vary": {"pe_array.rows": [0]}})
    (point,) = open_source(space).grid("simulation")
    assert point.job is None
    assert point.reason.startswith("pe_array.rows: 0 is not >= 1")


def test_other_formats_for_some_layers_hold_for_every_format_of_a_space():
    space = space_from_mapping(BASE | {"storage": ["slt", "csr-int8"]})
    points = open_source(replace(space, storage_of=("linear=dense-int8",))).grid("closed_form")
    assert [point.storage for point in points] == ["slt+linear=dense-int8", "csr-int8+linear=dense-int8"]
    with pytest.raises(MappingError, match="--storage-of: no layer with weights is called 'nope'"):
        open_source(replace(space, storage_of=("nope=dense-int8",)))
