"""Atlases: cells that their commands give again, what marks them, break-even points, the page, and wrong input."""

import csv
import json
import re
import shlex
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from accelsim.cli.main import main
from accelsim.config.loader import load_hardware
from accelsim.cost.dram import policies
from accelsim.cost.evaluate import evaluate
from accelsim.cost.tables import load_tables
from accelsim.dse.atlas import make_atlas
from accelsim.dse.atlas_cells import Contest, Energies, crossings
from accelsim.dse.atlas_space import Place, atlas_space
from accelsim.dse.priced import parse_prices, priced_row
from accelsim.dse.store import ResultStore
from accelsim.dse.sweep import Places
from accelsim.pipeline import simulate
from accelsim.report.atlas_html import atlas_page
from accelsim.trace import TraceOptions, trace_workload

pytestmark = pytest.mark.usefixtures("first_choice_in_module")
SMALL = {
    "model_type": "llama", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 320, "max_position_embeddings": 512,
}  # fmt: skip
AXES = {
    "tickets": "slt:0,slt:0.7", "rivals": "ternary-1.58,int4-g128", "contexts": "20,400", "batches": "2",
    "bandwidths": "6.4,25.6", "pj_per_bit": "chip,10",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return an atlas of a network whose name must be escaped, and its folder."""
    folder = tmp_path_factory.mktemp("atlas")
    network = folder / "<b>net.json"
    network.write_text(json.dumps(SMALL))
    space = atlas_space("edge_llm", str(network), axes=AXES)
    return make_atlas(space, Places(folder / "out", num_workers=1)), folder / "out"


def test_a_cell_is_had_again_by_its_command(made, capsys):
    _, folder = made
    with open(folder / "atlas.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    # The last: rivals ran beside another ticket, with more channels, and the price of a bit is stated.
    row = rows[-1]
    assert (row["freeze_ratio"], row["bandwidth_gbps"], row["dram_pj_per_bit"]) == ("0.7", "25.6", "10.0")
    assert main(shlex.split(row["command"])[1:]) == 0
    found = json.loads(capsys.readouterr().out)
    runs = {"ticket": found["totals"]} | {name: found["comparison"][name] for name in AXES["rivals"].split(",")}
    for name, totals in runs.items():
        assert float(row[f"latency_s.{name}"]) == totals["latency_s"]
        assert float(row[f"energy_j.{name}"]) == pytest.approx(totals["energy_j"], rel=1e-12)


def test_an_atlas_resumes_and_reuses_what_it_has(made):
    atlas, folder = made
    before = {path.name: path.read_bytes() for path in folder.glob("atlas.*")}
    with ResultStore(folder / "results.sqlite") as store:
        count = store.count()
    assert count == 4 * (2 + 2)  # places; two tickets, and two rivals that freezing does not change
    make_atlas(atlas.space, Places(folder, num_workers=1))
    with ResultStore(folder / "results.sqlite") as store:
        assert store.count() == count
    assert {path.name: path.read_bytes() for path in folder.glob("atlas.*")} == before


@pytest.mark.parametrize("pj_per_bit", [None, 7.5])
def test_prices_are_those_of_a_run_that_is_costed_again(made, pj_per_bit):
    atlas, _ = made
    hardware = load_hardware("edge_llm", [])
    trace = trace_workload(atlas.space.network, TraceOptions(phase="decode", context=20))
    key = Place(20, 1, 12.8), "ternary-1.58", 0.0
    energies = Energies({key: parse_prices(str(priced_row(hardware, trace, key[1])["prices"]))}, load_tables())
    counters = simulate(hardware, trace, "ternary-1.58")
    for words, dram in policies(hardware.config.dram).items():
        stated = dram.model_copy(update={"traffic_pj_per_bit": pj_per_bit})
        cost = evaluate(counters, hardware.config.model_copy(update={"dram": stated}), load_tables())
        assert energies.value(key, words, pj_per_bit) == pytest.approx(sum(cost.energy_j_by_unit.values()), rel=1e-12)


def test_break_even_lies_on_the_line_between_two_cells(made):
    atlas, _ = made
    factors = {20: 2.02, 400: 0.505}  # twice as good as, and half of, the level of being ahead, 1.01
    cells = [replace(cell, time=Contest("int4-g128", factors[cell.place.context])) for cell in atlas.cells]
    found = [each for each in crossings(atlas.space, cells) if each.metric == "time" and each.level == 1.01]
    assert {each.axis for each in found} == {"context"}
    assert {round(each.at, 6) for each in found} == {round((20 * 400) ** 0.5, 6)}
    assert all(each.falls for each in found) and len(found) == 4  # two tickets at two bandwidths


def test_the_page_marks_what_is_not_sure_and_asks_the_network_for_nothing(made):
    atlas, _ = made
    plain = atlas_page(atlas)
    assert "<b>net" not in plain and "&lt;b&gt;net" in plain
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", plain)
    maps = [ElementTree.fromstring(text) for text in re.findall(r"<svg viewBox=\"0 0 262.*?</svg>", plain, re.DOTALL)]
    assert len(maps) == 2 + 2 + 4  # time and energy by bandwidth, energy over prices by bandwidth and context
    assert plain.count('class="hatch"') == plain.count('class="corner"') == 2  # those of the two keys
    marked = [replace(cell, probability=0.5, by_policy={"own": 1.2, "other": 0.8}) for cell in atlas.cells]
    page = atlas_page(replace(atlas, cells=tuple(marked)))
    assert page.count('class="hatch"') == page.count('class="corner"') == 2 + 8 + 16


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--tickets", "slt"], "--tickets: 'slt' is not FORMAT:FREEZING; give a fraction below 1, e.g. slt:0.7"),
        (["--tickets", "fp8:0"], "--tickets: fp8 stores no ticket; give it to --rivals, and here slt, mask-2bit, ..."),
        (["--rivals", "slt"], "--rivals: slt is one of --tickets; keep it in one of them"),
        (["--contexts", "1,x"], "--contexts: 'x' is no whole number from 0 on; give numbers by comma"),
        (["--contexts", "512"], "--context 512 with the token behind it: 513 positions are more than the 512"),
        (["--bandwidths", "0"], "--bandwidths: '0' is no positive number; give numbers by comma"),
        (["--bandwidths", "9999"], "--bandwidths: 9999 GB/s needs more than 64 channels; give less"),
        (["--set", "memory=ideal"], "an ideal memory has no bandwidth to vary; add --set memory=dram"),
    ],
)
def test_wrong_input_is_one_line(made, tmp_path, capsys, words, problem):
    atlas, _ = made
    assert main(["atlas", "edge_llm", atlas.space.network, "--out", str(tmp_path / "out"), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert problem in line
    assert not (tmp_path / "out").exists()


def test_other_networks_are_refused(tmp_path, capsys):
    assert main(["atlas", "edge_llm", "resnet18", "--out", str(tmp_path / "out")]) == 2
    assert "resnet18: is no language model" in capsys.readouterr().err
