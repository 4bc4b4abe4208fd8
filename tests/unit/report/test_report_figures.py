import itertools

from accelsim.report.figures import MAX_SERIES, draw_comparison, draw_freezing, freezing_figure
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


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_of_many_formats_ticket_formats_and_the_best_rivals_are_drawn_in_colours_of_their_own(sample_run):
    names = ["slt", *(f"slt-{index}" for index in range(9)), *(f"rival-{index}" for index in range(24))]
    runs = [build(sample_run, ratio, name, 1 + index % 10) for ratio in (0, 0.5) for index, name in enumerate(names)]
    figure = draw_freezing(runs)

    assert legend_of(figure) == ["ticket", "slt-0", "slt-1", "slt-2", "rival-0", "rival-1", "rival-10", "rival-20"]
    assert figure.legends[0].get_title().get_text().startswith("26 of 34 series are left out")
    lines = figure.axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == MAX_SERIES
    assert legend_of(draw_freezing(runs[:MAX_SERIES])) == ["ticket", *names[1:MAX_SERIES]]
    assert draw_freezing(runs[:MAX_SERIES]).legends[0].get_title().get_text() == ""


def test_dense_int8_is_always_drawn(sample_run):
    names = ["slt", *(f"rival-{index}" for index in range(24)), "dense-int8"]
    runs = [build(sample_run, ratio, name, 1 + index) for ratio in (0, 0.5) for index, name in enumerate(names)]

    assert "dense int8" in legend_of(draw_freezing(runs))


def test_at_one_freezing_ratio_every_format_has_a_bar_and_the_title_says_the_finding(sample_run):
    names = ["slt", "dense-int8", *(f"rival-{index}" for index in range(32))]
    figure = draw_comparison([build(sample_run, 0.7, name, 1 + index) for index, name in enumerate(names)])
    figure.draw_without_rendering()

    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["ticket", "dense int8", *names[2:]]
    assert all(len(axis.patches) == 34 for axis in figure.axes)
    assert "dense int8 takes 2.00x the energy, 1.00x the latency" in figure.get_suptitle()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.x1 < figure.bbox.width for axis in figure.axes for box in [axis.texts[-1].get_window_extent()])


def test_legend_and_labels_of_accuracy_stay_inside_and_apart(sample_run):
    runs = []
    for index, freeze_ratio in itertools.product(range(6), (0.0, 0.02, 0.7)):
        run = build(sample_run, freeze_ratio, "slt", 1 + index)
        update = {
            "name": f"a-network-with-a-long-name-{index}",
            "path": f"{index}-{freeze_ratio}",
            "accuracy": 1 - index / 900,
        }
        runs.append(run.model_copy(update={"workload": run.workload.model_copy(update=update)}))
    figure = draw_freezing(runs)
    figure.draw_without_rendering()

    accuracy = figure.axes[3]
    assert accuracy.get_ylim()[1] == 100
    boxes = [text.get_window_extent() for text in accuracy.texts]
    assert len(boxes) >= 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width and legend.y0 >= 0
