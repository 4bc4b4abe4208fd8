"""The export for papers: tables that LaTeX takes, and figures that say what the page says."""

import csv
import io
import re

from accelsim.report.drawing import FIGURE_FORMATS, figure_bytes
from accelsim.report.html import build_page
from accelsim.report.page_paper import page_csv, page_figures, page_latex
from accelsim.report.page_runs import PageRun
from accelsim.results.build import build_result


def page_of(sample_run, name="tiny"):
    run = build_result(sample_run.hardware, sample_run.trace, sample_run.counters, sample_run.cost)
    work = run.workload.model_copy(update={"name": name})
    runs = [PageRun(run.model_copy(update={"workload": work, "storage": storage}), None) for storage in ("slt", "csr")]
    return build_page(runs)


def test_each_row_of_a_latex_table_has_as_many_cells_as_the_table_has_columns(sample_run):
    page = page_of(sample_run)
    text = page_latex(page)
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) == 4  # the answer, the runs, and the layers of both formats
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) >= 2
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    runs = list(csv.DictReader(io.StringIO(page_csv(page)["tiny-on-sample-runs"])))
    assert [row["stored as"] for row in runs] == ["ticket (slt)", "csr"]


def test_a_name_from_a_file_is_no_command_of_latex_and_no_path(sample_run):
    page = page_of(sample_run, r"../\input{x}%$_^~&#")
    assert r"\input" not in page_latex(page)
    assert r"../\textbackslash{}input\{x\}\%\$\_\textasciicircum{}" in page_latex(page)
    names = [*page_csv(page), *(name for name, _ in page_figures(page))]
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert len(set(names)) == len(names)


def test_figures_have_the_same_bytes_each_time_and_no_date(sample_run):
    figures = dict(page_figures(page_of(sample_run)))
    assert {"tiny-on-sample-energy", "tiny-on-sample-ticket-layers-time"} <= set(figures)
    picture = figures["tiny-on-sample-energy"].picture
    for kind, magic in zip(FIGURE_FORMATS, (b"%PDF", b"<?xml"), strict=True):
        first = figure_bytes(picture, kind)
        assert first.startswith(magic)
        assert first == figure_bytes(picture, kind)
        assert b"Date" not in first
    assert b">ticket<" in first  # text stays text
