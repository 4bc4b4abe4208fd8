"""The notebooks run and show what is committed; ``ACCELSIM_REGENERATE=1`` writes their outputs anew."""

import ast
import base64
import contextlib
import io
import json
import os
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 120_000
QUICK = ("2_your_own_chip", "5_language_models")  # less than a second each; they tell where figures have moved
VARIES = "varies"  # tag of a cell whose figures depend on the machine's floating point


def run_cell(source, names):
    """Run a cell and return its outputs as a notebook stores them: what it printed, its last value, its figures."""
    tree = ast.parse(source)
    is_shown = bool(tree.body) and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = ast.Expression(tree.body.pop().value) if is_shown else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        value = None if last is None else eval(compile(last, "cell", "eval"), names)
    outputs = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(True)
        outputs.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    for number in pyplot.get_fignums():
        stream = io.BytesIO()
        pyplot.figure(number).savefig(stream, format="png", dpi=50, bbox_inches="tight", metadata={"Software": None})
        picture = base64.b64encode(stream.getvalue()).decode()
        outputs.append({"data": {"image/png": picture}, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return outputs


def words(outputs):
    """Return the text of outputs, and that there is a figure; the bytes of figures are matplotlib's."""
    return [
        "".join(each["text"]) if "text" in each else "".join(each["data"].get("text/plain", ["figure"]))
        for each in outputs
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_what_it_gives(path, tmp_path, monkeypatch):
    if path.stem not in QUICK and not {"ACCELSIM_NIGHTLY", "ACCELSIM_REGENERATE"} & set(os.environ):
        pytest.skip("seconds each; make nightly runs it")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        outputs = run_cell("".join(cell["source"]), names)
        if os.environ.get("ACCELSIM_REGENERATE"):
            cell["outputs"] = outputs
        elif VARIES in cell["metadata"].get("tags", ()):
            assert len(outputs) == len(cell["outputs"])
        else:
            assert words(outputs) == words(cell["outputs"])
    if os.environ.get("ACCELSIM_REGENERATE"):
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert path.stat().st_size < MAX_BYTES
