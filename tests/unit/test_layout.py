"""The tree keeps its promises: imports that stay cheap, modules and functions that stay readable."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "accelsim"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
OPTIONS = ("weights_only", "shell")


@cache
def nodes_of(path: Path) -> list[ast.FunctionDef | ast.Call]:
    """Return the functions and calls of a module, for which it is gone through once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Call)]


def dotted(node: ast.expr) -> str:
    """Return a name as it is written, e.g. ``torch.load``; of what is no name, its last part."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
    return ""


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys, contextlib, io\n"
        "from accelsim.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        "print([name for name in ('torch', 'numpy', 'pydantic', 'rich', 'matplotlib', 'simpy') if name in sys.modules])"
    )
    assert run_python(code) == "[]\n"


def test_a_run_on_one_core_loads_neither_torch_nor_what_several_cores_need():
    code = (
        "import sys, contextlib, io\n"
        "from accelsim.cli.main import main\n"
        "words = ['run', 'edge', 'conv6_slt_f90', '--compare', 'none']\n"
        "with contextlib.redirect_stdout(io.StringIO()): status = main(words)\n"
        "heavy = ('torch', 'accelsim.cores.run', 'accelsim.report.timeline')\n"
        "print(status, [name for name in heavy if name in sys.modules])"
    )
    assert run_python(code) == "0 []\n"


def test_importing_the_simulation_path_does_not_load_torch():
    packages = ("sim", "mapping", "storage", "cost", "dse", "prng", "config", "results", "trace")
    paths = [path for package in packages for path in sorted((PACKAGE / package).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(name)"
    )
    assert run_python(code) == ""


def test_modules_and_functions_stay_short():
    long = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        if len(text.splitlines()) > MAX_MODULE_LINES:
            long.append(name)
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES:
                long.append(f"{name}:{node.lineno} {node.name}")
    assert long == []


def test_files_of_others_are_never_executed():
    banned = {"eval", "exec", "os.system", "pickle.load", "pickle.loads", "marshal.loads"}
    found = []
    for path in MODULES:
        for node in nodes_of(path):
            if not isinstance(node, ast.Call):
                continue
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg in OPTIONS}
            called = dotted(node.func)
            unsafe_load = called == "torch.load" and options.get("weights_only") != "True"
            if called in banned or unsafe_load or "shell" in options:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_test_file_names_are_unique():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
