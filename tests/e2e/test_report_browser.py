"""The report in a real browser: a silent console, visible figures, hover and sort, no sideways scroll at 360 px."""

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest
from matplotlib.image import imread

from accelsim.cli.main import main
from accelsim.report.page_browser import find_browser, sandbox_options

ROOT = Path(__file__).resolve().parents[2]
BROWSER = find_browser()
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
    pytest.mark.usefixtures("first_choice_in_module"),
]

# Runs in the page after its own script, and leaves what it found in an attribute.
PROBE = """
<script>
const found = {};
try {
  const marks = [...document.querySelectorAll("[data-t]")].filter((mark) => mark.getClientRects().length);
  const box = (node) => node.getBoundingClientRect();
  found.width = window.innerWidth;
  found.scrollWidth = document.documentElement.scrollWidth;
  found.figures = [...document.querySelectorAll(".view:not([hidden]) svg, section > .figures svg")]
    .map((svg) => Math.round(box(svg).width * box(svg).height));
  const last = marks.at(-1);
  last.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: 5, clientY: 5 }));
  const tip = document.getElementById("tip");
  found.tip = tip.hidden ? null : tip.textContent;
  found.wanted = last.dataset.t;
  found.tipInside = box(tip).left >= 0 && box(tip).right <= window.innerWidth;
  document.body.dispatchEvent(new PointerEvent("pointermove", { bubbles: true }));
  found.tipGone = tip.hidden;
  const table = document.querySelector("#rivals table");
  const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "energy");
  const values = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].dataset.v));
  const button = table.tHead.rows[0].cells[column].firstElementChild;
  button.click();
  found.rising = values();
  button.click();
  found.falling = values();
  const select = document.querySelector("select");
  select.value = "1";
  select.dispatchEvent(new Event("change"));
  found.shownViews = [...document.querySelectorAll("#case-1-layers > .view")].map((view) => !view.hidden);
  found.csv = decodeURIComponent(document.querySelector("a.csv").href.split(",").slice(1).join(","));
} catch (error) { found.error = String(error); }
document.documentElement.dataset.found = JSON.stringify(found);
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    network = ["conv2", "conv4", "--sparsity", "0.7", "--prune-ratio", "0.5", "--lock-ratio", "0.2"]
    words = ["compare", "hwconfigs/edge.yaml", *network, "--storage", "slt,dense-int8,csr-int8", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert main(words) == 0
        assert main(["report", str(folder), "-o", str(folder / "page.html")]) == 0
    return folder / "page.html"


def browse(html, folder, *options):
    file = folder / "probed.html"
    file.write_text(html, encoding="utf-8")
    command = [
        BROWSER, "--headless=new", "--disable-gpu", "--no-first-run", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={folder}/profile", "--virtual-time-budget=3000", "--dump-dom",
        *sandbox_options(), *options, file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    report = re.search(r'data-found="([^"]*)"', done.stdout)
    assert report is not None, done.stderr
    return json.loads(unescape(report.group(1))), console


@pytest.fixture(scope="module")
def wide(page, tmp_path_factory):
    html = page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    return browse(html, tmp_path_factory.mktemp("wide"), "--window-size=1200,900")


def test_console_is_silent_and_figures_are_visible(wide):
    found, console = wide
    assert console == []
    assert "error" not in found
    assert len(found["figures"]) >= 14
    assert min(found["figures"]) > 10_000


def test_hover_shows_the_figures_of_a_mark(wide):
    found, _ = wide
    assert found["tip"] == found["wanted"]
    assert found["tipInside"]
    assert found["tipGone"]


def test_tables_sort_both_ways_and_download(wide):
    found, _ = wide
    assert len(found["rising"]) == 4
    assert found["rising"] == sorted(found["rising"]) != found["falling"]
    assert found["falling"] == sorted(found["rising"], reverse=True)
    assert found["csv"].startswith("network,chip,against,energy,")
    assert found["shownViews"] == [False, True, False]


def test_nothing_scrolls_sideways_at_360_pixels(page, tmp_path):
    # A frame of 360 pixels: a browser window may refuse to be that narrow.
    inner = page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    inner = inner.replace("document.documentElement.dataset.found", "parent.document.documentElement.dataset.found")
    frame = f'<iframe srcdoc="{escape(inner)}" style="width:360px;height:640px;border:0"></iframe>'
    found, console = browse(f"<!DOCTYPE html><html><body>{frame}</body></html>", tmp_path)

    assert console == []
    assert found["width"] == 360
    assert found["scrollWidth"] <= 360
    assert found["tipInside"]
    assert min(found["figures"]) > 10_000


def test_pdf_and_png_are_made_by_the_browser(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for kind, start in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        target = tmp_path / f"page.{kind}"
        assert main(["report", str(page.parent), "-o", str(target)]) == 0
        assert target.read_bytes().startswith(start)
        assert target.stat().st_size > 50_000
    # When it was made is all that differs between two PDFs of a page.
    assert (tmp_path / "page.pdf").read_bytes().count(b"Date (D:20000101000000+00'00')") == 2
    # The footer is followed by its 40 pixels of room and nothing else: tables that scroll on a screen stand whole.
    picture = imread(tmp_path / "page.png")
    lines = (abs(picture - picture[-1, 0]).sum(axis=(1, 2)) > 0.1).nonzero()[0]
    assert 30 <= picture.shape[0] - lines[-1] <= 80


def test_a_page_too_high_for_a_picture_is_one_line(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("accelsim.report.page_browser.MAX_HEIGHT", 2000)
    assert main(["report", str(page.parent), "-o", str(tmp_path / "page.png")]) == 2
    assert "a picture at most 2000; give fewer results, or --format pdf" in capsys.readouterr().err
