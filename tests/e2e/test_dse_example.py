"""The example script and the example space run as they are, and importing accelsim stays cheap."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import accelsim
from accelsim.cli.explore_command import command as explore_command
from accelsim.cli.sweep_command import command as sweep_command
from accelsim.dse.space import load_space
from accelsim.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"out", "json", "quiet", "verbose", "help", "version"}


def test_the_example_script_finds_chips_within_the_area(tmp_path, monkeypatch, capsys, first_choice):
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("explore_edge", ROOT / "examples" / "explore_edge.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    explore = accelsim.explore
    monkeypatch.setattr(
        accelsim, "explore", lambda *words, **options: explore(*words, **options | {"trials": 20, "sample": 2})
    )
    module.main(tmp_path)

    out = capsys.readouterr().out
    assert "one run: ticket" in out
    areas = [float(line.split()[-2]) for line in out.splitlines() if line.endswith("mm2")]
    assert areas
    assert max(areas) <= 0.7


def test_the_example_space_is_sound(monkeypatch):
    monkeypatch.chdir(ROOT)

    assert load_space("examples/edge_memory.yaml").num_choices == 32


def test_import_is_cheap():
    code = (
        "import sys, accelsim; accelsim.__version__; print(sorted({'numpy', 'pydantic', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.strip() == "[]"


def test_a_sweep_of_names_does_not_import_torch(tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("hardware: hwconfigs/edge.yaml\nworkloads: [conv2]\nvary: {sparsity: [0.5]}\n")
    code = (
        "import sys; from accelsim.cli.main import main; "
        f"main(['-q', 'sweep', {str(space)!r}, '--out', {str(tmp_path / 'o')!r}, '--workers', '1']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: 0 is not >= 1; give at least 1, or leave it out"),
        ({"slurm": 0}, "slurm: 0 is not >= 1"),
        ({"slurm": 2, "workers": 2}, "--workers and --slurm: both say where to evaluate"),
        ({"objectives": "speed"}, "'speed' is not a metric"),
    ],
)
def test_python_options_have_the_words_and_limits_of_the_commands(tmp_path, options, message):
    space = {"hardware": "edge", "workloads": "conv2"}

    with pytest.raises(ConfigError, match=re.escape(message)):
        accelsim.sweep(space, tmp_path, **options)
    with pytest.raises(ConfigError, match=re.escape(message)):
        accelsim.explore(space, tmp_path, **options)


def test_python_and_command_line_have_the_same_options():
    """``--where 'x'`` is ``where=["x"]``, ``-q`` is the absence of ``progress``."""
    for function, command in ((accelsim.sweep, sweep_command), (accelsim.explore, explore_command)):
        given = set(inspect.signature(function).parameters) - {"space", "out", "progress"}
        shown = re.findall(r"^  (?:-\w, )?--([a-z-]+)", CliRunner().invoke(command, ["--help"]).output, re.MULTILINE)
        assert {name.replace("-", "_") for name in shown} - COMMON == given
