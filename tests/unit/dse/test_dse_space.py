import re
from pathlib import Path

import numpy as np
import pytest

from accelsim.dse.constraints import holds, parse_constraint
from accelsim.dse.rows import METRICS, POINT_COLUMNS, WORKLOAD_COLUMNS
from accelsim.dse.space import load_space, space_from_mapping, with_run
from accelsim.errors import ConfigError

HEAD = "hardware: chip.yaml\nworkloads: [conv2]\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text):
        Path("space.yaml").write_text(text)
        return load_space("space.yaml")

    return read


def test_lists_ranges_and_joined_paths_become_axes_in_file_order(load):
    space = load(
        HEAD
        + "storage: [slt, dense-int8]\n"
        + "vary:\n"
        + "  pe_array.rows, pe_array.cols: [16, 32]\n"
        + "  clock_mhz: {from: 100, to: 400, num: 3}\n"
        + "  weight_buffer.capacity_bytes: {from: 1024, to: 16384, num: 3, scale: log}\n"
        + "  dram.data_rate_mtps: {from: 800, to: 2000, step: 400}\n"
        + "  freeze_ratio: {from: 0, to: 0.9, step: 0.3}\n"
    )

    assert [(axis.name, axis.levels) for axis in space.variables] == [
        ("pe_array.rows=pe_array.cols", (16, 32)),
        ("clock_mhz", (100, 250, 400)),
        ("weight_buffer.capacity_bytes", (1024, 4096, 16384)),
        ("dram.data_rate_mtps", (800, 1200, 1600, 2000)),
        ("freeze_ratio", (0.0, 0.3, 0.6, 0.9)),
        ("storage", ("slt", "dense-int8")),
    ]
    assert space.num_choices == 2 * 3 * 3 * 4 * 4 * 2
    assert space.varies_ticket


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hardwear: x\n", "space.yaml:3: hardwear: unknown key; did you mean 'hardware'? "),
        ("vary:\n  pe_array.row: [1]\n", "space.yaml:4: vary.pe_array.row: pe_array.row: unknown path; did you mean"),
        ("vary:\n  freezing_ratio: [0]\n", "freezing_ratio: unknown path; did you mean 'freeze_ratio'? "),
        ("vary:\n  codec: [raw]\n", "codec: unknown path; codecs are storage formats: vary storage: [slt-raw"),
        ("vary:\n  storage: [slt2]\n", "space.yaml:4: vary.storage: 'slt2'"),
        ("vary:\n  sparsity: [1.5]\n", "space.yaml:4: vary.sparsity: 1.5 is not a fraction; give numbers from 0 to 1"),
        ("vary:\n  seeds: [hashed]\n", "'hashed' is not allowed; give one of stored, derived, jump"),
        ("vary:\n  clock_mhz: 5\n", "5 is no list or range; give [a, b, c] or {from: a, to: b, num: n}"),
        ("vary:\n  clock_mhz: {from: 1, to: 2}\n", "a range needs either step or num; give one of them"),
        ("vary:\n  clock_mhz: {from: 0, to: 2, num: 3, scale: log}\n", "a log range needs from > 0"),
        ("vary:\n  clock_mhz: {from: 1, to: 1e9, step: 1}\n", "a range of more than 10000 values; give a larger step"),
        ("vary:\n  clock_mhz: [1]\n  clock_mhz: [2]\n", "space.yaml:5: vary.clock_mhz: the key is given twice"),
        ("vary:\n  pe_array.rows: [1]\n  pe_array.rows, pe_array.cols: [2]\n", "pe_array.rows: varies twice; keep one"),
        ("vary:\n  freeze_ratio: [0]\n  prune_ratio: [0]\n", "is prune_ratio + lock_ratio; vary either"),
        (
            "constraints: [area_mm2 = 2]\n",
            "space.yaml:3: constraints.0: 'area_mm2 = 2' is no condition; write a metric",
        ),
        ("constraints: 2 <= area_mm2 <= 1\n", "is no range; write the smaller number first: 0.5 <= area_mm2 <= 2"),
        ("constraints: [area < 2]\n", "space.yaml:3: constraints.0: 'area' is not a metric; did you mean 'area_mm2'? "),
        (
            "objectives: [latency]\n",
            "space.yaml:3: objectives.0: 'latency' is not a metric; did you mean 'latency_s'? ",
        ),
        ("storage: slt\nvary: {storage: [slt]}\n", "space.yaml:3: storage: stands beside vary.storage; keep one"),
        ("vary:\n  'clock_mhz,': [1]\n", "a name is missing beside a comma; write path, or path, path"),
        ("vary:\n  clock_mhz:\n    from: 8\n    to: 4\n    num: 2\n", "space.yaml:4: vary.clock_mhz: from 8 to 4 is"),
        ("vary:\n  clock_mhz:\n    from: 8\n    till: 9\n", "space.yaml:6: vary.clock_mhz.till: unknown key; "),
        (
            "vary:\n  weight_generator.kind: [xorshift]\n",
            "vary.weight_generator.kind: 'xorshift' is not allowed; did you mean",
        ),
        ("vary:\n  pe_array.rows: [sixteen]\n", "pe_array.rows: 'sixteen' is not a whole number"),
        ("vary:\n  mask_decoder: [null, {positions: 3}]\n", "mask_decoder.positions: unknown key; "),
        ("storage: []\n", "an empty list; give at least one name"),
    ],
)
def test_a_mistake_in_a_space_is_one_line_with_its_place(load, text, message):
    with pytest.raises(ConfigError) as caught:
        load(HEAD + text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_may_be_a_mapping():
    space = space_from_mapping({"hardware": "a.yaml", "workloads": ["conv2"], "vary": {"clock_mhz": [1, 2]}})

    assert (space.hardware, space.num_choices, space.storage) == (("a.yaml",), 2, None)


def test_options_state_the_batch_of_all_points():
    space = space_from_mapping({"hardware": "edge", "workloads": "gpt2", "vary": {"context": [3, 4]}})
    assert with_run(space, {"batch": 4, "phase": "decode"}).run == (("batch", 4), ("phase", "decode"))
    with pytest.raises(ConfigError, match="^--batch: 0 is not a whole number"):
        with_run(space, {"batch": 0})


def test_conditions_compare_figures_and_never_run_code():
    condition = parse_constraint(" area_mm2<=2e0 ", "here")

    assert condition.violation({"area_mm2": 2.0}) == 0
    assert condition.violation({"area_mm2": 3.0}) == pytest.approx(0.5)
    assert condition.violation({"area_mm2": None}) == float("inf")
    assert parse_constraint("accuracy >= 0.9", "here").violation({"accuracy": 0.45}) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="is no condition"):
        parse_constraint("__import__('os').system('id') <= 2", "here")


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("area_mm2 < 2", (1.9,), (2.0, 3.0)),
        ("area_mm2 > 2", (2.1,), (2.0, 1.0)),
        ("2 >= area_mm2", (2.0,), (2.1,)),
        ("area_mm2 == 2", (2.0,), (1.9, 2.1)),
        ("area_mm2 != 2", (1.9, 2.1), (2.0,)),
        ("1 <= area_mm2 < 2", (1.0, 1.9), (0.9, 2.0)),
        ("2 > area_mm2 >= 1", (1.0, 1.9), (0.9, 2.0)),
    ],
)
def test_conditions_hold_on_their_side_of_the_number(text, allowed, refused):
    condition = (parse_constraint(text, "here"),)

    assert [holds(condition, {"area_mm2": value}) for value in allowed] == [True] * len(allowed)
    assert [holds(condition, {"area_mm2": value}) for value in refused] == [False] * len(refused)


def test_one_name_needs_no_list_and_python_sequences_are_lists():
    space = space_from_mapping({
        "hardware": Path("a.yaml"), "workloads": "conv2", "storage": "slt, dense-int8", "objectives": "latency_s",
        "constraints": "area_mm2 <= 2",
        "vary": {"pe_array.rows": range(8, 32, 8), "pe_array.cols": (8, 16), "clock_mhz": np.array([100, 200])},
    })  # fmt: skip

    assert (space.hardware, space.workloads, space.objectives) == (("a.yaml",), ("conv2",), ("latency_s",))
    assert [axis.levels for axis in space.variables] == [(8, 16, 24), (8, 16), (100, 200), ("slt", "dense-int8")]
    assert space.constraints[0].metric == "area_mm2"


def test_the_page_lists_the_columns_and_no_others(request):
    page = (request.config.rootpath / "docs" / "dse.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", page.partition("| column | ")[2], re.MULTILINE))

    assert listed == {**POINT_COLUMNS, **WORKLOAD_COLUMNS, **METRICS}
