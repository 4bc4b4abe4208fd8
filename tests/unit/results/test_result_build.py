import math

from accelsim.results.build import build_result
from accelsim.results.schema import sum_errors


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
