"""``accelsim report``: its files, its mistakes, and the committed examples."""

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.pipeline import run
from accelsim.report import drawing, page_browser
from accelsim.trace import trace_workload

ROOT = Path(__file__).resolve().parents[2]
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
EXAMPLES = sorted(ROOT.glob("reports/example_*.html"))
MAX_EXAMPLE_BYTES = 1_500_000


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    words = ["run", "hwconfigs/edge.yaml", "conv2", "--sparsity", "0.7", "--compare", "dense-int8", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert main([*words, "--out", str(folder / "run")]) == 0
    return folder


def test_another_process_with_another_hash_seed_writes_the_same_bytes(saved, monkeypatch):
    names = ["there.html", "there.md"]
    code = f"from accelsim.cli.main import main; print([main(['report', 'run', '-o', name]) for name in {names}])"
    environment = {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=saved, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("[0, 0]\n")
    monkeypatch.chdir(saved)
    for kind in ("html", "md"):
        assert main(["report", "run", "-o", f"here.{kind}"]) == 0
        page = (saved / f"here.{kind}").read_bytes()
        assert page == (saved / f"there.{kind}").read_bytes()
        assert str(saved).encode() not in page


def test_name_of_the_file_chooses_the_format(saved):
    assert main(["report", str(saved), "-o", str(saved / "a.md")]) == 0
    assert (
        (saved / "a.md")
        .read_text(encoding="utf-8")
        .startswith("# What does strong-lottery-ticket storage buy conv2 on edge?\n")
    )
    assert main(["report", str(saved), "-o", str(saved / "a.md"), "--format", "html"]) == 0
    assert (saved / "a.md").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_paper_gets_its_tables_and_every_figure(saved, monkeypatch):
    if not IS_NIGHTLY:  # two dozen figures take seconds; `tests/unit/report/test_paper.py` draws some
        monkeypatch.setattr(drawing, "figure_bytes", lambda _, kind: kind.encode())
    words = ["report", str(saved / "run"), "-o", str(saved / "paper.tex"), "--figures", str(saved / "figures")]
    assert main(words) == 0
    assert "dense int8 & " in (saved / "paper.tex").read_text(encoding="utf-8")
    assert (saved / "paper-answer.csv").read_text(encoding="utf-8").startswith("network,chip,against,")
    written = {path.name for path in (saved / "figures").iterdir()}
    assert {"conv2-on-edge-energy.pdf", "conv2-on-edge-energy.svg", "conv2-on-edge-roofline.pdf"} <= written
    assert len({name.partition(".")[0] for name in written}) == len(written) // 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere", "-o", "x.html"], "nowhere: no such file"),
        (
            ["nowhere", "-o", "x.docx"],
            "--out: x.docx: a report is no .docx file; give .html, .md, .tex, .pdf, .png, or state --format",
        ),
        (["docs", "-o", "x.html"], "docs: no summary.json in it; give a folder that"),
        (["README.md", "-o", "x.html"], "README.md: not JSON"),
        (["README.md", "-o", "nowhere/x.html"], "--out: nowhere/x.html: no folder nowhere"),
        (
            ["README.md", "-o", "x.pdf"],
            "--format pdf: no Chromium found; install chromium, or give --format html or md",
        ),
        (["README.md"], "missing option '-o' / '--out': give a file, or --figures and a folder"),
        (["README.md", "--figures", "f", "--format", "md"], "--format: says how to write --out; give -o FILE too"),
        (["README.md", "--figures", "README.md"], "README.md: is a file, not a folder; give --figures the name of a"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, line, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(page_browser, "BROWSERS", ())
    status = main(["report", *words])
    shown = capsys.readouterr()

    assert (status, shown.out) == (2, "")
    assert shown.err.count("\n") == 1, shown.err
    assert line in shown.err


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_committed_examples_are_small_and_whole(page):
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_EXAMPLE_BYTES
    assert text.rstrip().endswith("</html>")
    assert page.name in (ROOT / "reports" / "README.md").read_text(encoding="utf-8")


def test_committed_example_says_what_the_model_says_today(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "reports" / "example_resnet_slt.html").read_text(encoding="utf-8")
    address = re.search(r'download="answer\.csv" href="data:text/csv;charset=utf-8,([^"]*)"', page).group(1)
    rows = list(csv.DictReader(io.StringIO(unquote(address))))
    shown = next(row for row in rows if (row["chip"], row["against"]) == ("edge", "dense int8"))

    chip, trace = load_hardware("hwconfigs/edge.yaml", ()), trace_workload("workloads/resnet_slt.pt")
    ticket, dense = (run(chip, trace, storage).totals for storage in ("slt", "dense-int8"))
    hint = "the figures moved: run make reports, and say in CHANGELOG.md which and why"
    assert float(shown["energy"]) == pytest.approx(dense.energy_j / ticket.energy_j, rel=1e-9), hint
    assert float(shown["time"]) == pytest.approx(dense.latency_s / ticket.latency_s, rel=1e-9), hint
