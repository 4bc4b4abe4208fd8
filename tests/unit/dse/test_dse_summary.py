"""What is said of a run: where tickets lose, best of equals, each network by itself, and lines that fit a terminal."""

import pytest

from accelsim.dse.constraints import parse_constraint
from accelsim.dse.duels import find_rule
from accelsim.dse.space import space_from_mapping
from accelsim.dse.summary import summarise
from accelsim.dse.summary_text import agreement_lines, short_names, summary_lines

SPACE = space_from_mapping({
    "hardware": "edge.yaml",
    "workloads": ["one", "two"],
    "storage": ["slt", "dense-int8"],
    "vary": {"weight_generator.num_lanes": [1, 8, 16], "weight_buffer.capacity_bytes": [1, 2],
             "activation_buffer.capacity_bytes": [4]},
})  # fmt: skip


def row(lanes, storage, latency_s, area_mm2=1.0, network="n", **more):
    return {
        "status": "ok", "reason": "", "hardware": "edge.yaml", "workload": network, "storage": storage,
        "vary.weight_generator.num_lanes": lanes, "vary.weight_buffer.capacity_bytes": more.pop("buffer", 1),
        "vary.activation_buffer.capacity_bytes": 4, "network": network, "latency_s": latency_s, "energy_j": latency_s,
        "area_mm2": area_mm2, **more,
    }  # fmt: skip


def grid():
    rows = []
    for lanes in (1, 8, 16):
        for buffer in (1, 2):
            rows.append(row(lanes, "slt", 8.0 / lanes, buffer=buffer))
            rows.append(row(lanes, "dense-int8", 1.0, buffer=buffer))
    return rows


def test_a_duel_names_the_condition_that_decides():
    summary = summarise(SPACE, grid(), ["latency_s"], ())

    (duel,) = [entry for entry in summary.duels if entry.metric == "latency_s"]
    assert (duel.wins, duel.ties, duel.losses) == (2, 2, 2)
    assert (duel.best_ratio, duel.worst_ratio) == (2.0, 0.125)
    text = "\n".join(summary_lines(summary, 200))
    assert "slt against dense-int8, 6 pairs alike in all else:" in text
    assert "better in 2 (up to 2.00x), equal in 2, worse in 2 (down to 0.12x), median 1.00x" in text
    assert "worse exactly where num_lanes=1" in text


def test_a_rule_may_need_two_conditions_and_says_what_it_misses():
    rows = [{"a": a, "b": b} for a in (1, 2, 4, 8) for b in ("x", "y") for _ in range(4)]
    lost = [row["a"] >= 4 and row["b"] == "y" for row in rows]
    lost[0] = True

    rule = find_rule(rows, lost, ["a", "b"])

    assert {(condition.variable, condition.levels) for condition in rule.conditions} == {("a", (4, 8)), ("b", ("y",))}
    assert (rule.inside, rule.lost, rule.lost_outside) == (8, 8, 1)
    assert find_rule(rows, [False] * len(rows), ["a", "b"]) is None


def test_of_equal_points_the_best_is_one_that_nothing_beats():
    rows = [row(1, "slt", 1.0, area_mm2=2.0), row(8, "slt", 1.0, area_mm2=1.0)]

    summary = summarise(SPACE, rows, ["latency_s", "area_mm2"], ())

    assert summary.best["latency_s"]["vary.weight_generator.num_lanes"] == 8


def test_a_best_within_a_thousandth_is_one_that_nothing_beats():
    rows = [row(1, "slt", 1.0, area_mm2=2.0), row(8, "slt", 1.0004, area_mm2=1.0)]
    assert summarise(SPACE, rows, ["latency_s"], ()).best["latency_s"]["vary.weight_generator.num_lanes"] == 1
    best = summarise(SPACE, rows, ["latency_s", "area_mm2"], ()).best
    assert best["latency_s"]["vary.weight_generator.num_lanes"] == 8


def test_of_values_alike_a_variable_is_best_at_that_of_the_best_design():
    rows = [row(lanes, "slt", latency_s) for lanes, latency_s in ((1, 1.0004), (8, 1.0), (2, 1.5))]
    (moved,) = summarise(SPACE, rows, ["latency_s"], ()).sensitivities
    assert moved.best == summarise(SPACE, rows, ["latency_s"], ()).best["latency_s"][moved.variable] == 8


def test_no_best_is_named_where_most_points_failed():
    failed = [row(16, "slt", 1.0) | {"status": "failed", "reason": "no room"} for _ in range(3)]
    summary = summarise(SPACE, [*grid()[:2], *failed], ["latency_s"], ())

    assert not summary.best
    assert "Most points failed: no best is named, and what follows is of those that ran." in summary_lines(summary, 120)


def test_networks_have_their_own_front_and_best():
    rows = [row(8, "slt", 1.0, network="small"), row(8, "slt", 9.0, network="large")]

    summary = summarise(SPACE, rows, ["latency_s"], ())

    assert [entry["network"] for entry in summary.front] == ["large", "small"]
    assert summary.best["latency_s of large"]["latency_s"] == 9.0
    assert "Pareto set of large over latency_s: 1 point" in summary_lines(summary, 80)


def test_where_nothing_is_allowed_the_nearest_is_named():
    summary = summarise(SPACE, grid(), ["latency_s"], (parse_constraint("latency_s < 0.1", "here"),))

    assert "nearest to the constraints: latency_s 500 ms; storage=slt, num_lanes=16" in "\n".join(
        summary_lines(summary)
    )
    assert not summary.front


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal(width):
    summary = summarise(SPACE, grid(), ["latency_s", "energy_j", "area_mm2"], ())
    reasons = {"a long reason, as those of mappings are, with the layer and every buffer that is too small": 3}
    agreement = {
        "search": {
            "algorithm": "nsga2", "seed": 1, "space": 99, "ranked": 9, "trials": 9, "failed": 3, "reasons": reasons,
        },
        "agreement": {"simulated_front": 1, "simulated_sample": 2, "simulated_partners": 3,
                      "rank_correlation": {"latency_s": None}, "median_relative_error": {"latency_s": 0.01}},
    }  # fmt: skip
    lines = [*agreement_lines(agreement, width), *summary_lines(summary, width)]

    assert max(map(len, lines)) <= width
    assert "3 failed" in " ".join(" ".join(lines).split())


def test_names_are_as_short_as_they_stay_apart():
    names = short_names([
        "storage", "vary.pe_array.rows=vary.pe_array.cols", "vary.mask_buffer.capacity_bytes",
        "vary.weight_buffer.capacity_bytes", "vary.weight_buffer.ports",
    ])  # fmt: skip

    assert list(names.values()) == ["storage", "rows=cols", "mask_buffer", "weight_buffer.capacity_bytes", "ports"]
