"""The example script and the example space run as they are, and importing accelsim stays cheap."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from accelsim.dse.space import load_space

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_script_finds_chips_within_the_area(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("explore_edge", ROOT / "examples" / "explore_edge.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

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
