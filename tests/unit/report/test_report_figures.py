from accelsim.report.figures import freezing_figure
from accelsim.results.build import build_result


def build(sample_run, freeze_ratio, storage, factor):
    run = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    work = run.workload.model_copy(
        update={"freeze_ratio": freeze_ratio, "path": f"t{freeze_ratio}.pt", "accuracy": 0.98 - 0.05 * freeze_ratio}
    )
    totals = run.totals.model_copy(update={"energy_j": run.totals.energy_j * factor})
    return run.model_copy(update={"workload": work, "storage": storage, "totals": totals})


def test_figure_depends_on_the_results_alone_and_shows_each_of_them(sample_run):
    runs = [build(sample_run, ratio, "slt", 1 - ratio / 2) for ratio in (0.0, 0.5, 0.9)]
    dense = [build(sample_run, ratio, "dense-int8", 3.0) for ratio in (0.0, 0.5, 0.9)]

    image = freezing_figure(runs + dense)

    assert image.startswith(b"\x89PNG")
    assert freezing_figure(runs + dense) == image
    assert freezing_figure(runs) != image
    assert b"matplotlib" not in image.lower()
