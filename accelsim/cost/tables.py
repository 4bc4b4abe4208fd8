"""The cost tables: one constant a row, with value, unit, node, range and source; a row without a source is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from accelsim.config.base import ConfigModel
from accelsim.config.loader import load_config
from accelsim.config.quantities import Bytes
from accelsim.errors import ConfigError
from accelsim.files import write_file
from accelsim.names import suggest

RowUnit = Literal["pj", "pj_per_bit", "pj_per_bit_mm", "um2", "nw", "ge", "flip_flops", "factor"]
KEPT_NAME = "parsed.json"
TABLE_FILES = ("arithmetic.yaml", "clock.yaml", "gates.yaml", "memory.yaml", "sram.yaml", "wires.yaml")
_MIN_SOURCE = 10
_AT_A_NODE = frozenset({"pj", "pj_per_bit_mm", "um2", "nw"})
_AT_A_VOLTAGE = frozenset({"pj", "pj_per_bit_mm", "nw"})
_BETWEEN_LIBRARIES = frozenset({"pj", "um2"})  # units of rows that may have a node_exponent


class CostRow(ConfigModel):
    """One constant."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[a-z0-9_]+$")
    """Unique; a user's row replaces the built-in row of the same name."""
    unit_of_chip: str = Field(min_length=1, max_length=40)
    """The unit it belongs to."""
    action: str = Field(min_length=1, max_length=120)
    """The actions it prices, or ``area`` or ``leakage``."""
    value: float = Field(ge=0, le=1e9)
    """The constant."""
    unit: RowUnit
    """ge: gate equivalents (one NAND2); factor: a plain ratio."""
    node_nm: float | None = Field(None, ge=7, le=180)
    """Node at which it holds; null where it does not depend on one."""
    voltage_v: float | None = Field(None, gt=0.2, le=3.0)
    """Supply at which it holds."""
    node_exponent: float = Field(0.0, ge=-3, le=3)
    """At another node it also has the factor (node / node_nm) to this power, beside the published scaling, as far as
    7 and 130 nm: a value between cell libraries of those nodes is the library's own where the chip is at its node."""
    scales_as: str | None = Field(None, max_length=80)
    """A row whose ``node_exponent`` it takes instead: of published arithmetic, that of the gates it is made of."""
    low: float = Field(ge=0, le=1e9)
    """Low end of the range."""
    high: float = Field(ge=0, le=1e9)
    """High end of the range."""
    source: str = Field(max_length=400)
    """Where it comes from; rows with the same text vary together in the uncertainty analysis."""
    note: str = Field("", max_length=800)
    """How it was derived, and what the range means."""

    @field_validator("source")
    @classmethod
    def _says_something(cls, source: str) -> str:
        text = source.strip()
        if len(text) < _MIN_SOURCE:
            raise ValueError(f"the source {text!r} is shorter than {_MIN_SOURCE} characters; cite author and work")
        return source

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"{self.name}: {self.value} is not between low {self.low} and high {self.high}; widen them"
            )
        if self.value > 0 and self.low == 0:
            raise ValueError(f"{self.name}: low is 0; give a small positive number (ranges are sampled in logarithm)")
        if self.unit in _AT_A_NODE and self.node_nm is None:
            raise ValueError(f"{self.name}: node_nm is missing; a value in {self.unit} holds at a node")
        if self.node_exponent and self.unit not in _BETWEEN_LIBRARIES:
            raise ValueError(f"{self.name}: node_exponent is not for a value in {self.unit}; leave it out")
        if self.scales_as is not None and (self.node_exponent or self.unit != "pj"):
            raise ValueError(f"{self.name}: scales_as is for a value in pj without a node_exponent; leave it out")
        if self.unit in _AT_A_VOLTAGE and self.voltage_v is None:
            raise ValueError(f"{self.name}: voltage_v is missing; a value in {self.unit} holds at a supply")
        return self


class SramPoint(ConfigModel):
    """One SRAM macro of the grid over node x capacity x width."""

    node_nm: float = Field(ge=7, le=180)
    """Node."""
    voltage_v: float = Field(gt=0.2, le=3.0)
    """Supply."""
    capacity_bytes: Bytes = Field(ge=64, le=1 << 32)
    """Capacity of the one bank."""
    width_bits: int = Field(ge=1, le=65536)
    """Bits of one access."""
    read_pj: float = Field(gt=0)
    """Energy of one read."""
    write_pj: float = Field(gt=0)
    """Energy of one write."""
    area_um2: float = Field(gt=0)
    """Area."""
    leakage_mw: float = Field(gt=0)
    """Leakage power."""


class TableFile(ConfigModel):
    """A table file: rows, and in one file the SRAM grid."""

    rows: list[CostRow] = []
    """The constants."""
    sram_points: list[SramPoint] = []
    """A full grid: every node with every capacity with every width."""

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        seen: set[str] = set()
        for row in self.rows:
            if row.name in seen:
                raise ValueError(f"the row {row.name} is given twice; keep one")
            seen.add(row.name)
        return self

    @model_validator(mode="after")
    def _full_grid(self) -> Self:
        points = {(point.node_nm, point.capacity_bytes, point.width_bits) for point in self.sram_points}
        axes = [{getattr(point, axis) for point in self.sram_points} for axis in _GRID_AXES]
        if len(points) != len(self.sram_points) or len(points) != len(axes[0]) * len(axes[1]) * len(axes[2]):
            raise ValueError("sram_points is not a full grid; give every node x capacity x width once")
        if self.sram_points and (len(axes[1]) < 2 or len(axes[2]) < 2):
            raise ValueError("sram_points is too small; give at least two capacities and two widths")
        return self


_GRID_AXES = ("node_nm", "capacity_bytes", "width_bits")


@dataclass(frozen=True, eq=False)
class CostTables:
    """All constants of the cost model, built-in rows with a user's rows laid over them; equal only to itself."""

    rows: Mapping[str, CostRow]
    sram_points: tuple[SramPoint, ...]

    def row(self, name: str) -> CostRow:
        """Return the row called ``name``; KeyError if there is none."""
        return self.rows[name]

    def node_exponent(self, row: CostRow) -> float:
        """Return the ``node_exponent`` of a row, its own or that at the end of ``scales_as``."""
        while row.scales_as is not None:
            row = self.rows[row.scales_as]
        return row.node_exponent

    @cached_property
    def values(self) -> Mapping[str, float]:
        """The value of every row."""
        return {name: row.value for name, row in self.rows.items()}


def load_tables(paths: Sequence[str | Path] = ()) -> CostTables:
    """Return the built-in tables with the rows of the user's files laid over them, in order.

    Raises
    ------
    ConfigError
        As `accelsim.config.loader.load_hardware`; also if a user's row has no built-in row of its name to replace.
    """
    tables = _built_in()
    rows = dict(tables.rows)
    points = tables.sram_points
    for path in paths:
        content = load_config(path, TableFile).config
        for row in content.rows:
            _check_replaces(row, rows, str(path))
            rows[row.name] = _as_replaced(row, rows[row.name])
        for row in content.rows:
            _check_scales(row, rows, str(path))
        if content.sram_points:
            points = tuple(content.sram_points)
    return CostTables(rows=rows, sram_points=points) if paths else tables


def _check_replaces(row: CostRow, rows: Mapping[str, CostRow], path: str) -> None:
    if row.name not in rows:
        hint = suggest(row.name, rows, cutoff=0.5).strip() or f"the names are those of {', '.join(TABLE_FILES)}"
        raise ConfigError(f"{path}: rows: {row.name!r} replaces no built-in row; {hint}")
    for field in ("unit", "unit_of_chip", "action"):
        given, needed = getattr(row, field), getattr(rows[row.name], field)
        if given != needed:
            raise ConfigError(
                f"{path}: rows: {row.name}: {field} {given!r} is not allowed; give {needed!r} as the row replaced"
            )


def _check_scales(row: CostRow, rows: Mapping[str, CostRow], path: str) -> None:
    """Refuse a row whose ``scales_as`` leads to no energy, or back to where it came from."""
    place = f"{path}: rows: {row.name}: scales_as {row.scales_as!r}"
    passed = {row.name}
    while row.scales_as is not None:
        if row.scales_as not in rows:
            raise ConfigError(f"{place} is no row; give a name of the tables")
        row = rows[row.scales_as]
        if row.unit != "pj":
            raise ConfigError(f"{place} is in {row.unit}; give a row in pj, such as 'gate_energy'")
        if row.name in passed:
            raise ConfigError(
                f"{place} leads back to {row.name}; give that row a node_exponent, or another to scale as"
            )
        passed.add(row.name)


def _as_replaced(row: CostRow, replaced: CostRow) -> CostRow:
    """Return a user's row that scales as the one it replaces, unless it says how it does."""
    if row.model_fields_set & {"node_exponent", "scales_as"} or row.unit not in _BETWEEN_LIBRARIES:
        return row
    return row.model_copy(update={"node_exponent": replaced.node_exponent, "scales_as": replaced.scales_as})


@lru_cache(maxsize=1)
def _built_in() -> CostTables:
    content = _kept() or _parsed()
    return CostTables({row.name: row for row in content.rows}, tuple(content.sram_points))


def _parsed() -> TableFile:
    """Return the rows and points of all built-in files."""
    rows: list[CostRow] = []
    points: list[SramPoint] = []
    for name in TABLE_FILES:
        with resources.as_file(_folder() / name) as path:
            content = load_config(path, TableFile).config
        rows += {row.name: row for row in content.rows}.values()
        points += content.sram_points
    return TableFile.model_construct(rows=rows, sram_points=points)


def _folder() -> Traversable:
    return resources.files("accelsim.cost") / "tables"


def _digest() -> str:
    digest = hashlib.sha256()
    for name in TABLE_FILES:
        digest.update((_folder() / name).read_bytes())
    return digest.hexdigest()


def _kept() -> TableFile | None:
    """Return what `KEPT_NAME` holds; None if the files have changed since it was written.

    Parsing the YAML takes every start of the program a tenth of a second, reading this a hundredth.
    """
    try:
        head, _, body = (_folder() / KEPT_NAME).read_text("utf-8").partition("\n")
    except FileNotFoundError:
        return None
    return TableFile.model_validate_json(body) if head == _digest() else None


def kept_text() -> str:
    """Return the content of `KEPT_NAME`: a digest of the YAML files, and below it all they say as JSON."""
    return f"{_digest()}\n{_parsed().model_dump_json(exclude_defaults=True)}\n"


def main() -> None:
    """Write `KEPT_NAME` again from the YAML files."""
    with resources.as_file(_folder()) as folder:
        write_file(folder / KEPT_NAME, kept_text().encode())


if __name__ == "__main__":
    main()
