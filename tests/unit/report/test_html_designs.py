import pytest

from accelsim.report.html import build_page, page_html
from accelsim.report.page_designs import is_study, read_study, study_view
from accelsim.report.page_markdown import page_markdown
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


def test_study_draws_what_was_simulated_and_says_what_was_not(tmp_path):
    view = study_view(study(tmp_path))

    assert is_study(tmp_path)
    assert view.sentences[0] == (
        "Among 1 pairs of designs alike in all but storage, slt needs less energy than <b> in 1 (median 1.50x) "
        "and less time in 1 (median 2.00x)."
    )
    assert (
        view.sentences[1]
        == "3 designs were simulated; 1 could not be evaluated; 1 were only estimated and are left out."
    )
    assert view.sentences[2] == "Least energy: 1.00 J, 2.00 s, 0.500 mm2; storage: slt; rows: 16."
    # Two of three are on the front of energy and latency; the third and the key's markers are not hollow or hollow.
    assert view.charts[0].svg.count("hollow") == 1
    assert "chip.yaml" not in view.charts[0].svg, "what all designs share tells nothing"


def test_page_of_a_study_alone_has_no_answer_and_no_markup_of_others(tmp_path):
    page = build_page([], None, [study(tmp_path)])
    html, text = page_html(page), page_markdown(page)

    assert "<b>" not in html.split('id="pareto"')[1].split('id="validation"')[0]
    assert 'id="answer"' not in html
    assert "Design space" in text


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
