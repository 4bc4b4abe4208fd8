"""Results as a file: one row a library and unit, committed beside the script."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from accelsim.errors import ConfigError
from accelsim.files import write_file
from rtl.synth.measure import Measured

PATH = Path(__file__).with_name("results.csv")
_DIGITS = 6


def read_results(path: Path = PATH) -> dict[tuple[str, str], Measured]:
    """Return the results by library and unit.

    Raises
    ------
    ConfigError
        The file is missing, or its columns are others.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: is missing; write it with make synth LIBERTY=..., or take it from the repository")
    kinds = {field.name: field.type for field in fields(Measured)}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or set(rows[0]) != set(kinds):
        raise ConfigError(f"{path}: columns are not {', '.join(kinds)}; write it again with make synth")
    read = {"str": str, "int": int, "float": float}
    found = [Measured(**{name: read[str(kinds[name])](row[name]) for name in kinds}) for row in rows]
    return {(each.library, each.unit): each for each in found}


def write_results(results: Iterable[Measured], path: Path = PATH) -> None:
    """Write results, in the order that they come in, numbers with six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Measured)], lineterminator="\n")
    writer.writeheader()
    for each in results:
        writer.writerow(
            {key: f"{value:.{_DIGITS}g}" if isinstance(value, float) else value for key, value in asdict(each).items()}
        )
    write_file(path, text.getvalue().encode())
