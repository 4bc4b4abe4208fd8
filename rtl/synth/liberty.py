"""Liberty files: found by path, read into groups, and their tables looked up."""

from __future__ import annotations

import gzip
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accelsim.errors import ConfigError

_TOKEN = re.compile(r'/\*.*?\*/|\\\n|"[^"]*"|[{}();:,]|[^\s{}();:,"]+', re.S)
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_HEADER_CHARS = 20_000


@dataclass(slots=True)
class Group:
    """One group of a Liberty file, such as a cell or a pin.

    Attributes
    ----------
    kind, names
        ``pin`` and ``("A",)`` for ``pin (A) {``.
    values
        Simple attributes as text, and complex ones (``values (...)``) as the text between the brackets.
    """

    kind: str
    names: tuple[str, ...]
    values: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def of_kind(self, kind: str) -> Iterator[Group]:
        """Return the groups directly inside that are of one kind."""
        return (group for group in self.groups if group.kind == kind)

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]

    def number(self, key: str) -> float:
        """Return a simple attribute as a number; 0 where it is missing."""
        return float(self.values.get(key, "0"))

    def table(self, key: str = "values") -> list[float]:
        """Return the numbers of a complex attribute, in the order of the file."""
        return [float(number) for number in _NUMBER.findall(self.values.get(key, ""))]


def library_paths(given: str) -> list[Path]:
    """Return the Liberty files that ``given`` names: files and folders, separated by colons.

    Raises
    ------
    ConfigError
        There is nothing there.
    """
    paths: list[Path] = []
    for part in filter(None, given.split(":")):
        path = Path(part).expanduser()
        paths += sorted([*path.glob("*.lib"), *path.glob("*.lib.gz")]) if path.is_dir() else [path]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise ConfigError(
            f"LIBERTY: {missing[0] if missing else repr(given)} holds no Liberty file; give files or folders with .lib "
            "or .lib.gz, colons between them: sky130_fd_sc_hd or ASAP7 from their projects, OSU 180 nm from Debian's "
            "package qflow-tech-osu018"
        )
    return paths


def library_text(path: Path) -> str:
    """Return the text of a Liberty file, unpacked where it is packed."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as stream:
            return stream.read()
    return path.read_text(encoding="utf-8", errors="replace")


def library_name(text: str) -> str:
    """Return the name that a Liberty file gives itself; empty where it gives none."""
    found = re.search(r"^\s*library\s*\(\s*\"?([^\")\s]+)", text[:_HEADER_CHARS], re.M)
    return found.group(1) if found else ""


def parse(text: str) -> Group:
    """Return the library group of a Liberty text.

    Raises
    ------
    ConfigError
        The brackets do not match.
    """
    tokens = [found for found in _TOKEN.finditer(text) if not found.group().startswith(("/*", "\\"))]
    words = [found.group() for found in tokens]
    stack = [Group("file", ())]
    place = 0
    while place < len(words) - 1:
        word, following = words[place], words[place + 1]
        if word == "}":
            stack.pop()
            place += 1
        elif following == ":":
            stack[-1].values[word] = words[place + 2].strip('"')
            place += 3
        elif following == "(":
            end = words.index(")", place)
            if words[end + 1 : end + 2] == ["{"]:
                names = tuple(name.strip('"') for name in words[place + 2 : end] if name != ",")
                stack[-1].groups.append(Group(word, names))
                stack.append(stack[-1].groups[-1])
                place = end + 2
            else:
                stack[-1].values.setdefault(word, text[tokens[place + 1].end() : tokens[end].start()])
                place = end + 1
        else:
            place += 1
        if not stack:
            raise ConfigError("liberty: a closing bracket too many; give an unbroken Liberty file")
    libraries = list(stack[0].of_kind("library"))
    if not libraries:
        raise ConfigError("liberty: no library group; give a Liberty file")
    return libraries[0]


def merged(texts: list[str]) -> str:
    """Return one library with the cells of several files of a family, for a mapper that reads one file."""
    bodies = [text[text.index("{", text.index("library (")) + 1 : text.rindex("}")] for text in texts[1:]]
    first = texts[0]
    return "\n".join([first[: first.rindex("}")], *bodies, "}\n"])


@dataclass(frozen=True, slots=True)
class Table:
    """A table over slope and load, or over one of them; linear between its points and beyond them.

    Attributes
    ----------
    slopes, loads
        Its axes in the library's units; one point at 0 where there is no such axis.
    rows
        Values: a row a slope.
    """

    slopes: tuple[float, ...]
    loads: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def at(self, slope: float, load: float) -> float:
        """Return the value at a slope and a load."""
        row, part = _place(self.slopes, slope)
        values = self.rows[row] if not part else _between(self.rows[row], self.rows[row + 1], part)
        column, part = _place(self.loads, load)
        return values[column] + (part * (values[column + 1] - values[column]) if part else 0.0)


def _between(first: tuple[float, ...], second: tuple[float, ...], part: float) -> tuple[float, ...]:
    return tuple(left + part * (right - left) for left, right in zip(first, second, strict=True))


def _place(axis: tuple[float, ...], value: float) -> tuple[int, float]:
    if len(axis) < 2:
        return 0, 0.0
    left = min(max(bisect_right(axis, value) - 1, 0), len(axis) - 2)
    return left, (value - axis[left]) / (axis[left + 1] - axis[left])


def read_table(group: Group, templates: Mapping[str, Group]) -> Table:
    """Return the table in a group such as ``rise_power (name)``; its axes are its own, or its template's."""
    template = templates.get(group.name) if group.names else None
    axes: dict[str, tuple[float, ...]] = {}
    for axis in ("1", "2"):
        kind = template.values.get(f"variable_{axis}", "") if template else ""
        points = group.table(f"index_{axis}") or (template.table(f"index_{axis}") if template else [])
        if kind or points:
            axes["load" if "capacitance" in kind else "slope"] = tuple(points)
    values = group.table()
    slopes, loads = axes.get("slope", (0.0,)), axes.get("load", (0.0,))
    if len(values) == 1:
        return Table((0.0,), (0.0,), ((values[0],),))
    if next(iter(axes)) == "load":
        rows = tuple(tuple(values[place :: len(slopes)]) for place in range(len(slopes)))
    else:
        rows = tuple(tuple(values[place * len(loads) : (place + 1) * len(loads)]) for place in range(len(slopes)))
    return Table(slopes, loads, rows)
