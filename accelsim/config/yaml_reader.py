"""Strict YAML: plain mappings, lists and scalars, with the line of every key; everything else is refused.

``safe_load`` would keep the last of two equal keys and follow aliases; here the node tree is walked instead, so a
duplicate key, an anchor, a tag or a merge key is an error with its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from accelsim.errors import ConfigError
from accelsim.names import suggest_file

MAX_FILE_BYTES = 1 << 20
MAX_NUMBER_CHARS = 64
MAX_DEPTH = 32
MOST_OPEN = 10 * MAX_DEPTH
MAX_ENTRIES = 20_000
KEPT_DOCUMENTS = 64

YamlValue = None | bool | int | float | str | list["YamlValue"] | dict[str, "YamlValue"]
YamlPath = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_BRACKET = re.compile(r"[\[\]{}]")
_INT = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)")


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A parsed file.

    Attributes
    ----------
    path
        As the user gave it; used in messages.
    content
        The bytes of the file.
    root
        The top-level mapping.
    lines
        Line number (from 1) of every key and list item.
    """

    path: str
    content: bytes
    root: dict[str, YamlValue]
    lines: dict[YamlPath, int]

    def line_of(self, location: YamlPath) -> int:
        """Return the line of ``location`` or of its nearest enclosing key; 1 for the whole file."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.lines:
                return self.lines[location[:length]]
        return 1


def read_yaml(path: str | Path) -> YamlDocument:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    ConfigError
        If the file is missing, a directory, larger than 1 MiB, not UTF-8, or uses anything but plain mappings, lists
        and scalars.
    """
    name = str(path)
    content = _read_bytes(name)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{_shown(name)}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from error
    lines: dict[YamlPath, int] = {}
    value = _parse(text, _shown(name), lines)
    if not isinstance(value, dict):
        found = "empty" if value is None else "not a mapping of keys to values"
        raise ConfigError(f"{_shown(name)}: the file is {found}; write keys such as 'name: value'")
    return YamlDocument(path=name, content=content, root=value, lines=lines)


def parse_value(text: str, where: str) -> YamlValue:
    """Return the value of a YAML fragment such as ``32``, ``null`` or ``{K: 16}``; ``where`` begins each message."""
    return _parse(text, where, {})


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _read_bytes(name: str) -> bytes:
    shown = _shown(name)
    try:
        path = Path(name)
        if path.is_dir():
            raise ConfigError(f"{shown}: is a directory; give a YAML file")
        if not path.is_file():
            found = "is not a regular file; " if path.exists() else f"no such file; {suggest_file(path)}"
            raise ConfigError(f"{shown}: {found}give the path of a YAML file")
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{shown}: cannot be read ({reason}); give the path of a readable YAML file") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{shown}: larger than 1 MiB; a description is at most {MAX_FILE_BYTES} bytes")
    return content


def _parse(text: str, where: str, lines: dict[YamlPath, int]) -> YamlValue:
    if text.count("\n") + text.count(",") > MAX_ENTRIES:
        # Parsing takes about 50 us an entry: a file that would keep the user waiting for long is refused at once.
        raise ConfigError(f"{where}: too many entries; use at most {MAX_ENTRIES} lines and commas")
    if _may_nest_deeply(text):
        raise ConfigError(f"{where}: nested too deeply; use at most {MAX_DEPTH} levels")
    try:
        node = _composed(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark is not None else ""
        problem = _one_line(error.problem or error.context or "cannot be parsed")
        raise ConfigError(f"{where}{at}: not valid YAML: {problem}; correct the syntax") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: nested too deeply; use at most {MAX_DEPTH} levels") from error
    except (YAMLError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{where}: not valid YAML: {_one_line(str(error))}; correct the syntax") from error
    return None if node is None else _build(node, (), where, lines)


def _may_nest_deeply(text: str) -> bool:
    """Return whether so many brackets are open at once that the parser, whose time grows as their square, must not try.

    Brackets in comments and quotes count too: no description has ten times the depth that is allowed open in those.
    """
    if text.count("[") + text.count("{") <= MOST_OPEN:
        return False
    depth = accumulate(1 if bracket in "[{" else -1 for bracket in _BRACKET.findall(text))
    return max(depth) > MOST_OPEN


@lru_cache(maxsize=KEPT_DOCUMENTS)
def _composed(text: str) -> Node | None:
    """Return the nodes of a text, which nobody changes: a process reads the same chips and tables again and again.

    The pure parser is slow but needs no compiled extension; descriptions are small.
    """
    return YAML(typ="safe", pure=True).compose(text)  # type: ignore[no-any-return]


def _one_line(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:200]


def _at(node: Node, where: str) -> str:
    return f"{where}:{node.start_mark.line + 1}"


def _build(node: Node, location: YamlPath, where: str, lines: dict[YamlPath, int]) -> YamlValue:
    if node.anchor:
        raise ConfigError(f"{_at(node, where)}: anchors and aliases are not allowed; write the value out")
    if len(location) > MAX_DEPTH:
        raise ConfigError(f"{_at(node, where)}: nested too deeply; use at most {MAX_DEPTH} levels")
    if isinstance(node, MappingNode) and str(node.tag) == f"{_TAG}map":
        return _build_mapping(node, location, where, lines)
    if isinstance(node, SequenceNode) and str(node.tag) == f"{_TAG}seq":
        items: list[YamlValue] = []
        for index, item in enumerate(node.value):
            lines[(*location, index)] = item.start_mark.line + 1
            items.append(_build(item, (*location, index), where, lines))
        return items
    if isinstance(node, ScalarNode):
        return _build_scalar(node, where)
    raise ConfigError(f"{_at(node, where)}: the tag {_one_line(str(node.tag))!r} is not allowed; write a plain value")


def _build_mapping(
    node: MappingNode, location: YamlPath, where: str, lines: dict[YamlPath, int]
) -> dict[str, YamlValue]:
    result: dict[str, YamlValue] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode) or str(key_node.tag) != f"{_TAG}str" or key_node.anchor:
            raise ConfigError(f"{_at(key_node, where)}: a key must be a plain word; quote it or write it out")
        key = str(key_node.value)
        inner = (*location, key)
        if key in result:
            dotted = _one_line(".".join(str(part) for part in inner))
            raise ConfigError(
                f"{_at(key_node, where)}: {dotted}: the key is given twice (first on line {lines[inner]}); keep one"
            )
        lines[inner] = key_node.start_mark.line + 1
        result[key] = _build(value_node, inner, where, lines)
    return result


def _build_scalar(node: ScalarNode, where: str) -> YamlValue:
    text = str(node.value)
    kind = str(node.tag).removeprefix(_TAG)
    if kind in {"str", "timestamp"}:
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in {"int", "float"}:
        return _number(node, kind, text, where)
    raise ConfigError(f"{_at(node, where)}: the tag {_one_line(str(node.tag))!r} is not allowed; write a plain value")


def _number(node: ScalarNode, kind: str, text: str, where: str) -> int | float:
    plain = text.replace("_", "")
    if len(text) > MAX_NUMBER_CHARS:
        raise ConfigError(f"{_at(node, where)}: a number of {len(text)} characters; use at most {MAX_NUMBER_CHARS}")
    try:
        if kind == "int" and _INT.fullmatch(plain):
            # YAML 1.2: leading zeros are decimal, octal is 0o17.
            base = 0 if "x" in plain or "o" in plain else 10
            return int(plain, base)
        return float(plain.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise ConfigError(f"{_at(node, where)}: {text!r} is not a number; write e.g. 32 or 0.5") from error
