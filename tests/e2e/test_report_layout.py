"""Pages measured in a real browser: the answer and one figure on the first screen, nothing cut, no row half empty."""

import json
from html import escape

import pytest

from accelsim.cli.main import main
from accelsim.report.html import build_page, page_html
from accelsim.report.page_browser import find_browser
from accelsim.report.page_runs import read_results
from accelsim.report.studies import read_study

from .test_report_browser import ROOT, browse

pytestmark = [
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed"),
    pytest.mark.usefixtures("first_choice_in_module"),
]

PROBE = """
<script>
const box = (node) => node.getBoundingClientRect();
const shown = (nodes) => [...nodes].filter((node) => node.getClientRects().length);
const found = { width: innerWidth, scrollWidth: document.documentElement.scrollWidth };
found.background = getComputedStyle(document.body).backgroundColor;
for (const part of document.querySelectorAll("details")) part.open = true;
dispatchEvent(new Event("resize"));
found.lead = box(document.querySelector(".lead")).bottom;
found.figure = box(document.querySelector("svg")).bottom;
found.cut = shown(document.querySelectorAll(".scroll")).filter((part) => part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.getAttribute("aria-label"));
// A row of figures or cards is full where its last one ends at the right edge.
found.halfEmpty = shown(document.querySelectorAll(".figures, .cards")).filter((row) => {
  const parts = shown(row.children);
  return parts.length && box(row).right - Math.max(...parts.filter((part) => box(part).top >= box(parts.at(-1)).top - 1)
    .map((part) => box(part).right)) > 40;
}).length;
found.figuresRoom = shown(document.querySelectorAll("svg")).map((svg) => {
  const bars = [...svg.querySelectorAll("rect.bar")].map((bar) => box(bar).right);
  const start = Math.min(...[...svg.querySelectorAll("rect.bar")].map((bar) => box(bar).left));
  return bars.length ? (Math.max(...bars) - start) / box(svg).width : 1;
});
const texts = shown(document.querySelectorAll("h1, h2, .lead, .first, li, p.note"))
  .filter((node) => !node.closest(".case ul, .case details, .views, #validation"))
  .map((node) => node.textContent.trim());
found.twice = texts.filter((text, place) => text.split(" ").length > 4 && texts.indexOf(text) < place);
document.documentElement.dataset.found = JSON.stringify(found);
</script>
"""
SUMMARY = {
    "objectives": ["latency_s", "energy_j"], "num_points": 4, "num_failed": 0,
    "best": {"latency_s": {"storage": "slt", "vary.pe_array.rows=pe_array.cols": 32, "latency_s": 1e-3}},
    "sensitivities": [
        {"variable": "vary.pe_array.rows=pe_array.cols", "metric": "energy_j", "share": 0.9, "spread": 2.0, "best": 16},
    ],
    "duels": [], "reasons": {},
}  # fmt: skip
DESIGNS = (
    "hardware,workload,storage,status,fidelity,vary.pe_array.rows=pe_array.cols,latency_s,energy_j,area_mm2\n"
    + "".join(
        f"hwconfigs/edge.yaml,conv6.pt,{storage},ok,simulation,{size},{16e-3 / size},{1e-4 * size},{size / 16}\n"
        for size in (16, 32)
        for storage in ("slt", "dense-int8")
    )
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a page of a single run with what it printed beside it, one of two chips, and one of a sweep."""
    folder = tmp_path_factory.mktemp("layout")
    (folder / "sweep").mkdir()
    (folder / "sweep" / "results.csv").write_text(DESIGNS, encoding="utf-8")
    (folder / "sweep" / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for chip in ("edge", "hiddenite"):
            assert main(["run", chip, "conv2", "--sparsity", "0.7", "--out", str(folder / chip)]) == 0
    return {
        "run": page_html(build_page(read_results([folder / "edge"]))),
        "chips": page_html(build_page(read_results([folder / "edge", folder / "hiddenite"]))),
        "sweep": page_html(build_page([], None, [read_study(folder / "sweep")])),
    }


def test_a_page_of_a_run_shows_the_comparisons_that_the_run_printed(pages):
    assert "Against dense int8, the ticket needs " in pages["run"]
    assert "; against entropy-coded int4, its rival of least energy, " in pages["run"]


@pytest.mark.parametrize("kind", ["run", "chips", "sweep"])
def test_the_first_screen_answers_and_nothing_is_cut(pages, kind, tmp_path):
    html = pages[kind].replace("</body>", PROBE + "</body>")
    found, console = browse(html, tmp_path, "--window-size=1280,900")

    assert console == []
    assert found["scrollWidth"] <= found["width"]
    assert found["lead"] < found["figure"] <= 900
    assert found["cut"] == []
    assert found["halfEmpty"] == 0
    assert found["twice"] == []
    assert min(found["figuresRoom"]) > 0.3


@pytest.mark.parametrize("kind", ["run", "chips", "sweep"])
def test_the_first_screen_of_a_phone_answers(pages, kind, tmp_path):
    inner = pages[kind].replace("</body>", PROBE + "</body>")
    inner = inner.replace("document.documentElement.dataset.found", "parent.document.documentElement.dataset.found")
    frame = f'<iframe srcdoc="{escape(inner)}" style="width:390px;height:844px;border:0"></iframe>'
    found, console = browse(f"<!DOCTYPE html><html><body>{frame}</body></html>", tmp_path)

    assert console == []
    assert found["scrollWidth"] <= found["width"] == 390
    assert found["lead"] < found["figure"] <= 844
    assert found["cut"] == []


def test_a_reader_who_asked_for_dark_gets_dark(pages, tmp_path):
    html = pages["run"].replace("</body>", PROBE + "</body>")
    found, _ = browse(html, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert found["background"] == "rgb(20, 23, 26)"
