"""Measure the units in open cell libraries, and write what follows from the results.

``python -m rtl.synth LIBERTY``: `results.csv` and `cells.csv` of the libraries whose files LIBERTY names (files and
folders, separated by colons), then as with ``--rows``: the rows of `accelsim/cost/tables/gates.yaml` and the table in
`docs/rtl.md`, from the results alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from accelsim.errors import AccelSimError
from rtl.synth import mapping, measure, results, rows, table
from rtl.synth.cells import clocked_cell
from rtl.synth.library import read_libraries
from rtl.synth.units import UNITS

RTL = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m rtl.synth", description=__doc__)
    parser.add_argument("liberty", nargs="?", default="", help="Liberty files and folders, separated by colons")
    parser.add_argument("--rows", action="store_true", help="only what follows from the committed results")
    parser.add_argument("--units", default="", help="names of units, separated by commas; else all")
    parser.add_argument("--keep", type=Path, help="folder for netlists, test benches and reports; else a temporary one")
    options = parser.parse_args(arguments)
    try:
        if not options.rows:
            with tempfile.TemporaryDirectory() as temporary:
                measure_all(
                    options.liberty, set(filter(None, options.units.split(","))), options.keep or Path(temporary)
                )
        found = results.read_results()
        rows.write_rows(found, results.read_cells())
        table.write_table(found)
    except AccelSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure_all(given: str, names: set[str], folder: Path) -> None:
    """Measure units in libraries and put the results in the place of earlier ones."""
    mapping.check_tools()
    sources = sorted(RTL.glob("*.sv"))
    libraries = read_libraries(given, folder)
    cells = results.read_cells() if results.CELLS_PATH.is_file() else {}
    results.write_cells((cells | {library.known.name: clocked_cell(library) for library in libraries}).values())
    for library in libraries:
        bench = measure.prepare(library, folder / library.known.name)
        for unit in UNITS:
            if names and unit.name not in names:
                continue
            done = measure.measure(bench, unit, sources)
            print(
                f"{done.library:10} {done.unit:24} {done.gate_equivalents:9.0f} GE {done.flip_flops:5d} flip-flops "
                f"{done.logic_pj + done.register_pj + done.clock_pj:9.4f} pJ a {done.operation}, {done.path_ns:.2f} ns",
                flush=True,
            )
            found = results.read_results() if results.PATH.is_file() else {}
            found[done.library, done.unit] = done
            results.write_results(found.values())


if __name__ == "__main__":
    sys.exit(main())
