"""The examples of the how-to pages work as they stand."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
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


def test_the_chip_runs(tmp_path, monkeypatch, capsys, first_choice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mychip.yaml").write_text(block("chip.md", "yaml"), encoding="utf-8")

    assert main(["config", "check", "mychip.yaml"]) == 0
    assert main(["config", "diff", "mychip.yaml", "edge"]) == 0
    assert main(["run", "mychip.yaml", "conv6_slt_f90", "--compare", "none"]) == 0
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


def apply(patch, root):
    """Apply a patch by its text alone: line numbers may be out of date, what is replaced must be there once."""
    for part in re.split(r"^--- a/", patch, flags=re.MULTILINE)[1:]:
        header, *hunks = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
        file = root / re.search(r"^\+\+\+ b/(\S+)", header, flags=re.MULTILINE)[1]
        text = file.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = [line if line != "\n" else " \n" for line in hunk.splitlines(keepends=True)]
            old, new = ("".join(line[1:] for line in lines if line[0] in kinds) for kinds in (" -", " +"))
            assert text.count(old) == 1, f"{file.name}: {old}"
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")


# The copy keeps what Python has compiled of the program, but no machine code, whose key the changed files are.
MACHINE_CODE = shutil.ignore_patterns("*.nbc", "*.nbi")
# The machine code of `walk` is compiled anew in a copy of the program, which takes seconds.
IS_NIGHTLY = "ACCELSIM_NIGHTLY" in os.environ
ENGINES = ("processes", "python", "compiled") if IS_NIGHTLY else ("processes", "python")
RUNS_WITH_QUANTISER = f"""
ENGINES = {ENGINES}
import json
from accelsim.config.loader import load_hardware
from accelsim.pipeline import schedule_network
from accelsim.sim.run import run_schedule
from accelsim.trace import trace_network

trace, found = trace_network("conv2"), []
for changes in ([], ["quantiser={{}}"], ["quantiser={{}}", "quantiser.values_per_cycle=1"]):
    chip = load_hardware("edge_dense", changes).config
    schedule, _ = schedule_network(chip, trace, "dense-int8")
    runs = [run_schedule(schedule, chip, engine=engine) for engine in ENGINES]
    assert all(other == runs[0] for other in runs)
    found.append([layer.latency_cycles for layer in runs[0].layers])
print(json.dumps([sum(cycles) for cycles in found]))
"""


def test_the_unit_takes_time_in_a_copy_of_the_program(tmp_path):
    root = PAGES.parents[1]
    for folder in ("accelsim", "hwconfigs"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=MACHINE_CODE)
    apply(block("unit.md", "diff"), tmp_path)

    command = [sys.executable, "-c", RUNS_WITH_QUANTISER]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    without, usual, slow = json.loads(done.stdout)
    trace = trace_workload("conv2")
    values = sum(layer.vector_ops for layer in trace.layers)

    assert without < usual < slow
    assert slow > values  # one value a cycle


WORDS_OF_THE_GENERATOR = f"""
import json, sys
import numpy as np
from accelsim.cli.main import main
from accelsim.prng import RandomSource, layer_weights, words

state, expected = 0x9E3779B9, []
for _ in range(1000):
    state = (34038481 * state + 76625531) % 2**32
    expected.append(state)
seeds = np.array([0x9E3779B9, 7], dtype=np.uint32)
assert words("lcg32", seeds, 0, 1000)[0].tolist() == expected
assert words("lcg32", seeds, 600, 400)[0].tolist() == expected[600:]
source = RandomSource(generator="lcg32", weights="normal", weight_bits=8, normal_terms=4, seed=1)
weights = layer_weights(source, (8, 5000)).astype(float)
assert abs(np.mean(weights)) < 3 and abs(np.std(weights) / (2 * 147.8) - 1) < 0.01  # 147.8: QTIP's own figure
sys.path[:0] = ["rtl/tests"]
import benches
if {IS_NIGHTLY} and benches.simulators():
    benches.run("bench_generators", "cocotb_generators", environment={{"ACCELSIM_RTL_WORDS": "1024"}}, prefer="icarus")
if not {IS_NIGHTLY}:  # a ticket and a run take seconds
    sys.exit()
chip = ["--set", "weight_generator.kind=lcg32"]
ticket = ["--width-factor", "0.25", "--sparsity", "0.5", "--generator", "lcg32", "--out", "lcg.pt"]
assert main(["synth", "conv2", *ticket]) == 0
assert main(["run", "edge", "lcg.pt", *chip, "--compare", "none", "--json"]) == 0
"""


def test_the_generator_is_bit_exact_in_a_copy_of_the_program(tmp_path):
    root = PAGES.parents[1]
    for folder in ("accelsim", "hwconfigs", "rtl"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=MACHINE_CODE)
    apply(block("generator.md", "diff"), tmp_path)

    command = [sys.executable, "-c", WORDS_OF_THE_GENERATOR]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_files_that_a_page_names_exist(page):
    text = (PAGES / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:accelsim|mapping|hwconfigs)/[\w/.]*)`", text)
    root = PAGES.parents[1]
    missing = [name for name in named if not (root / name).exists() and not (root / "accelsim" / name).exists()]

    assert [name for name in missing if "mychip" not in name] == []
