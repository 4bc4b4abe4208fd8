"""The table of units in `docs/rtl.md`, from the results."""

from __future__ import annotations

from pathlib import Path

from accelsim.errors import ConfigError
from accelsim.files import write_file
from rtl.synth.library import KNOWN, Known
from rtl.synth.measure import Measured
from rtl.synth.rows import Results, at_node, between
from rtl.synth.units import UNITS

PATH = Path(__file__).resolve().parents[2] / "docs" / "rtl.md"
BEGIN, END = "<!-- units: written by python -m rtl.synth -->", "<!-- units: end -->"


def table_markdown(results: Results) -> str:
    """Return a row a unit: gates and flip-flops, then area, energy and clock in each library, and both at 45 nm."""
    libraries = [known for known in KNOWN if any(name == known.name for name, _ in results)]
    heads = ["unit", "an operation", "gates", "flip-flops"]
    for known in libraries:
        heads += [f"{known.node_nm:g} nm: um2", "fJ", "MHz"]
    heads += ["45 nm: um2", "fJ"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'--:|' * (len(heads) - 2)}"]
    for unit in UNITS:
        found = {
            known.name: results[known.name, unit.name] for known in libraries if (known.name, unit.name) in results
        }
        if libraries[0].name in found:
            lines.append(_line(unit.name, found, libraries))
    return "\n".join(lines) + "\n"


def _line(name: str, found: dict[str, Measured], libraries: list[Known]) -> str:
    first = found[libraries[0].name]
    cells = [f"`{name}`", first.operation, f"{first.gate_equivalents:,.0f}", str(first.flip_flops)]
    areas, energies = {}, {}
    for known in libraries:
        done = found.get(known.name)
        if done is None:
            cells += [""] * 3
            continue
        area = done.gate_area_um2 + done.register_area_um2
        energy_fj = 1e3 * (done.logic_pj + done.register_pj + done.clock_pj)
        cells += [_short(area), _short(energy_fj), f"{1e3 / done.path_ns:.0f}"]
        areas[known.name] = at_node(known, area, "area")
        energies[known.name] = at_node(known, 1e3 * done.logic_pj, "energy") + at_node(
            known, 1e3 * (done.register_pj + done.clock_pj), "register"
        )
    return f"| {' | '.join([*cells, _short(between(areas)), _short(between(energies))])} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_table(results: Results, path: Path = PATH) -> None:
    """Put the table between its two marks on the page.

    Raises
    ------
    ConfigError
        The page has no such marks.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if BEGIN not in text or END not in text:
        raise ConfigError(f"{path}: has no place for the table of units; put the lines {BEGIN} and {END} on the page")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_file(path, f"{before}{BEGIN}\n\n{table_markdown(results)}\n{END}{after}".encode())
