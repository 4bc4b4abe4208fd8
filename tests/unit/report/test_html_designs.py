import json

import pytest

from accelsim.report.html import build_page, page_html
from accelsim.report.page_designs import study_view
from accelsim.report.page_markdown import page_markdown
from accelsim.report.studies import is_study, read_study
from accelsim.results.model import ResultError

HEAD = "hardware,workload,storage,status,fidelity,vary.rows,latency_s,energy_j,area_mm2\n"
ROWS = (
    "chip.yaml,t.pt,slt,ok,simulation,16,2.0,1.0,0.5\n"
    "chip.yaml,t.pt,slt,ok,simulation,32,1.0,2.0,0.9\n"
    "chip.yaml,t.pt,<b>,ok,simulation,32,2.0,3.0,0.9\n"
    "chip.yaml,t.pt,slt,ok,closed_form,64,1.0,1.0,1.0\n"
    "chip.yaml,t.pt,slt,failed,simulation,0,,,\n"
)


def study(tmp_path, text=HEAD + ROWS):
    (tmp_path / "results.csv").write_text(text, encoding="utf-8")
    return read_study(tmp_path)


SUMMARY = {
    "objectives": ["latency_s", "energy_j"], "num_points": 5, "num_failed": 1, "num_feasible": 4,
    "best": {
        "latency_s": {"storage": "slt", "vary.rows": 32, "latency_s": 1.0, "energy_j": 2.0, "area_mm2": 0.9},
        "energy_j": {"storage": "slt", "vary.rows": 16, "latency_s": 2.0, "energy_j": 1.0, "area_mm2": 0.5},
    },
    "sensitivities": [
        {"variable": "vary.rows", "metric": "energy_j", "share": 0.9, "spread": 2.0, "best": 16, "network": ""},
        {"variable": "storage", "metric": "energy_j", "share": -9.0, "spread": 1.0, "best": "slt", "network": ""},
        {"variable": "storage", "metric": "energy_j", "share": 0.001, "spread": 1.0, "best": "slt", "network": ""},
    ],
    "duels": [], "reasons": {"rows: 0 is not >= 1": 1},
}  # fmt: skip


def test_study_says_what_was_swept_what_matters_and_what_was_chosen(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    view = study_view(study(tmp_path))
    swept, chosen, matters = view.facts

    assert is_study(tmp_path)
    assert view.question == "Which variant of chip serves t best?"
    assert view.lead == "Least time: 1.00 s; stored as ticket, rows 32."
    assert [tuple(cell.text for cell in row) for row in swept.rows] == [
        ("network", "t"), ("chip", "chip"), ("stored as", "ticket, <b>"), ("rows", "0, 16, 32, 64"),
    ]  # fmt: skip
    assert [row[0].text for row in chosen.rows] == ["time", "energy"]
    assert [[cell.text for cell in row] for row in matters.rows] == [["energy", "rows", "90.0 %", "2.00x", "16"]]
    assert view.sentences == (
        "1 of 4 designs cannot run: rows: 0 is not >= 1.", "1 were only estimated and are left out.",
    )  # fmt: skip
    # Two of three are on the front of energy and latency; the third and the key's markers are not hollow or hollow.
    assert view.charts[0].svg.count("hollow") == 1
    assert "chip.yaml" not in view.charts[0].svg, "what all designs share tells nothing"


def test_no_winner_of_designs_most_of_which_failed(tmp_path):
    text = json.dumps(SUMMARY | {"best": {}, "num_failed": 4})
    (tmp_path / "summary.json").write_text(text, encoding="utf-8")
    assert study_view(study(tmp_path)).lead == "No best is named: 4 of 5 points failed."


def test_where_no_design_keeps_the_constraints_the_nearest_is_named(tmp_path):
    more = {"best": {}, "nearest": SUMMARY["best"]["energy_j"], "constraints": ["area_mm2 <= 0.4"]}
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY | more), encoding="utf-8")
    assert study_view(study(tmp_path)).lead == (
        "No design keeps area_mm2 <= 0.4. The nearest: stored as ticket, rows 16; "
        "time 2.00 s, energy 1.00 J, chip area 0.500 mm2."
    )


def test_where_the_batch_varies_designs_are_compared_by_an_input(tmp_path):
    head = HEAD.replace("vary.rows", "vary.batch").replace("\n", ",latency_s_per_input,energy_j_per_input\n")
    rows = "c,t,slt,ok,simulation,1,1.0,1.0,1,1.0,1.0\nc,t,slt,ok,simulation,4,2.0,2.0,1,0.5,0.5\n"
    view = study_view(study(tmp_path, head + rows))
    assert view.charts[0].title == "Energy per input and time per input of 2 designs: 1 on the front"
    assert len(view.designs) == 1, "all have the same area"


def test_a_summary_of_another_kind_is_one_line(tmp_path):
    (tmp_path / "summary.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ResultError, match="not the summary of a sweep"):
        study(tmp_path)


def test_page_of_a_study_alone_begins_with_its_answer_and_has_no_markup_of_others(tmp_path):
    page = build_page([], None, [study(tmp_path)])
    html, text = page_html(page), page_markdown(page)

    assert "<b>" not in html.split('id="answer"')[1].split('id="validation"')[0]
    assert text.startswith("# Which variant of chip serves t best?\n\n**3 designs were simulated.**")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", "no column hardware"),
        (HEAD, "no simulated point"),
        (HEAD + "c,t,slt,ok,simulation,1,nan,1.0,1.0\n", "latency_s: 'nan' is not a number above 0"),
        (HEAD + "c,t,slt,ok,simulation,1,1.0,one,1.0\n", "energy_j: 'one' is not a number above 0"),
    ],
)
def test_a_table_of_another_kind_is_one_line(tmp_path, text, line):
    with pytest.raises(ResultError, match=line):
        study(tmp_path, text)
