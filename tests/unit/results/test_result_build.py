import math
from dataclasses import replace

from accelsim.results.build import build_result
from accelsim.results.schema import sum_errors
from accelsim.sim.counters import ResourceLimit


def build(sample_run, comparison=None):
    return build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost, comparison)


def test_totals_follow_their_definitions(sample_run):
    totals = build(sample_run).totals

    assert totals.latency_cycles == 400
    assert totals.latency_s == 400 / 500e6
    assert totals.energy_j == math.fsum([3e-9, 8e-9, 1e-10])
    assert totals.tops == 2 * 8000 / (400 / 500e6) / 1e12
    assert math.isclose(totals.tops_per_w, totals.tops / totals.average_power_w)
    assert math.isclose(totals.edp_js, totals.energy_j * totals.latency_s)
    assert totals.frames_per_s == 1 / totals.latency_s
    assert totals.area_mm2 == 0.75


def test_bandwidth_is_bytes_over_time_beside_the_peak_and_null_without_a_real_memory(sample_run):
    layer = build(sample_run).layers[0]
    peak = sample_run.hardware.config.dram.peak_bytes_per_ns

    assert (layer.average_bandwidth_gbps, layer.peak_bandwidth_gbps) == (166 / (100 / 500e6) / 1e9, peak)
    assert layer.bandwidth_share == layer.average_bandwidth_gbps / peak
    ideal = replace(sample_run.hardware, config=sample_run.hardware.config.model_copy(update={"memory": "ideal"}))
    totals = build(replace(sample_run, hardware=ideal)).totals
    assert (totals.average_bandwidth_gbps, totals.peak_bandwidth_gbps, totals.bandwidth_share) == (None, None, None)


def test_figures_of_a_batch_are_for_all_of_it_and_for_each_input(sample_run):
    first, second = sample_run.trace.layers
    layers = (replace(first, dims=replace(first.dims, N=4)), second)
    result = build(replace(sample_run, trace=replace(sample_run.trace, layers=layers)))

    assert result.workload.batch == 4
    assert result.totals.latency_s_per_input == result.totals.latency_s / 4
    assert result.totals.energy_j_per_input == result.totals.energy_j / 4
    assert result.totals.frames_per_s == 4 / result.totals.latency_s


def test_bounds_limits_ports_and_what_is_left_out_come_from_counters_and_trace(sample_run):
    first, second = sample_run.counters.layers
    causes = {"compute": 60, "buffer_ports": 10, "wait_dram": 30}
    counters = replace(
        sample_run.counters,
        layers=(replace(first, cycles_by_cause=causes, lower_bound_cycles=90, port_limit="accumulator"), second),
        lower_bound_cycles=380,
        limits={"dram": ResourceLimit(0.25, 350)},
    )
    trace = replace(sample_run.trace, skipped=(("aten.sort", 2),), num_parameters=210)
    result = build(replace(sample_run, counters=counters, trace=trace))

    assert [layer.lower_bound_cycles for layer in (*result.layers, result.totals)] == [90, None, 380]
    assert [layer.port_limit for layer in (*result.layers, result.totals)] == ["accumulator", None, "accumulator"]
    assert result.limits["dram"].latency_cycles_with_twice == 350
    assert (result.skipped, result.workload.num_parameters) == ({"aten.sort": 2}, None)  # some may have been in those
    assert list(sum_errors(result)) == []


def test_utilization_counts_dense_slots_at_most_once(sample_run):
    # 600 executed + 1500 gated slots, but only 2000 of them can be multiply-accumulates of the layer.
    assert build(sample_run).layers[0].pe_utilization == 2000 / (100 * 32)


def test_workload_ratios_are_over_all_weights(sample_run):
    workload = build(sample_run).workload

    assert workload.num_weights == 200
    assert (workload.sparsity, workload.prune_ratio, workload.lock_ratio, workload.freeze_ratio) == (0.7, 0.5, 0.2, 0.7)


def test_sums_hold_and_a_changed_figure_is_found(sample_run):
    result = build(sample_run)
    wrong = result.model_copy(update={"totals": result.totals.model_copy(update={"macs": 8001})})

    assert list(sum_errors(result)) == []
    assert list(sum_errors(wrong)) == ["totals.macs: 8001 is not the sum over layers, 8000"]
