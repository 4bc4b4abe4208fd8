"""The examples of the how-to pages work as they stand."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from accelsim.cli.main import main
from accelsim.storage import get_format
from accelsim.ticket.shapes import count_parameters
from accelsim.ticket.zoo.spec import NetworkSpec
from accelsim.trace import trace_workload

PAGES = Path(__file__).resolve().parents[2] / "docs" / "howto"


def block(page, language):
    text = (PAGES / page).read_text(encoding="utf-8")
    return re.search(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[1]


def load(page, tmp_path, monkeypatch):
    name = f"howto_{page.removesuffix('.md')}"
    file = tmp_path / f"{name}.py"
    file.write_text(block(page, "python"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_chip_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mychip.yaml").write_text(block("chip.md", "yaml"), encoding="utf-8")

    assert main(["config", "check", "mychip.yaml"]) == 0
    assert main(["config", "diff", "mychip.yaml", "edge"]) == 0
    assert main(["run", "mychip.yaml", "resnet_slt", "--compare", "none"]) == 0
    assert "on mychip (28 nm, 400 MHz), stored as slt" in " ".join(capsys.readouterr().out.split())


def test_the_network_has_the_papers_parameters(tmp_path, monkeypatch):
    module = load("network.md", tmp_path, monkeypatch)
    graph = module.build_lenet(NetworkSpec("lenet", 10, (1, 28, 28), trained=True))

    assert count_parameters(graph) == 61_706


def test_the_format_plans_as_it_encodes(tmp_path, monkeypatch):
    form = load("format.md", tmp_path, monkeypatch).FORMATS[0]
    values = np.array([[-1, 0, 1, 1], [0, 0, -1, 1]], dtype=np.int8)
    encoded = form.encode(values)
    weights = next(layer.weights for layer in trace_workload("conv6_slt_f50").layers if layer.weights is not None)

    assert np.array_equal(form.decode(encoded), values)
    assert encoded.bits.weight == 2 * values.size
    assert form.plan(weights).stored_bits.weight == 2 * weights.num_weights
    assert form.plan(weights).arithmetic == get_format("slt").plan(weights).arithmetic


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_files_that_a_page_names_exist(page):
    text = (PAGES / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:accelsim|mapping|hwconfigs)/[\w/.]*)`", text)
    root = PAGES.parents[1]
    missing = [name for name in named if not (root / name).exists() and not (root / "accelsim" / name).exists()]

    assert [name for name in missing if "mychip" not in name] == []
