"""Turns good input files into broken ones. Every function draws from the ``Random`` it is given, from nothing else."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

# Values that a description may often hold: they reach what lies behind the checks.
NUMBERS = (
    "1 1 2 3 5 7 8 13 0 0.5 0.001 1.7 17 31 33 64 100 127 255 256 1000 1024 4095 4096 65535 65536 1048576 16777216 "
    "1000000000 1e-6 1e6 1e12 -1"
).split()
TOKENS = [
    *"-1 0 1 2 3 7 1.5 -0.0 1e-320 1e308 1e400 -1e400 .nan .inf -.inf NaN Infinity 2147483648 4294967296".split(),
    *"9223372036854775808 18446744073709551616 0x10 0o17 1_000 1e3 null ~ true no '' [] {} *a é 2:4 1:1".split(),
    *"999999999 16777216 16777217 65536 1000000 100000000 0.1 1e-9 1e9 1e15 /etc/passwd ../../x workload".split(),
    *"slt dense-fp32 csr-int8 spatial output_stationary input_stationary skip ideal timing simple buffer".split(),
    *("lfsr16", "philox4x32", "1" * 70, "", "[1, 2]", "{K: 1}", "{K: 0}", "{a: {b: {c: 1}}}", "&a 1", "x" * 3000),
    *("!!python/object/apply:os.system ['touch owned']", "!!binary aGk=", "'\\x1b[31m'", '"\\e[31m\\n"'),
    *("\u2028", "\u202e", "\x00", "\ufeff"),
]
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    17,
    1 << 31,
    1 << 40,
    1 << 63,
    1 << 64,
    10**30,
    -(10**30),
    -0.0,
    0.5,
    1.5,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "x" * 5000,
    "line\nbreak",
    "\x1b[31m",
    "\u2028",
    "<script>alert(1)</script>",
    "é",
    "../../owned",
    [],
    {},
    [[]],
    {"a": 1},
    [1] * 9,
    [0, 0],
    [-1, 1],
    [1 << 40] * 4,
    "input",
    "linear",
    "conv2d",
    "raw",
    "entropy",
    "jump",
    "philox4x32",
)


def damaged_bytes(draw: Random, data: bytes) -> bytes:
    """Return ``data`` with bits flipped, or a part cut off, taken out, doubled, moved or overwritten."""
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        if not result:
            return b""
        place = draw.randrange(len(result))
        length = draw.choice((1, 1, 2, 4, 8, 32, 300))
        match draw.randrange(7):
            case 0:
                result[place] ^= 1 << draw.randrange(8)
            case 1:
                del result[place:]
            case 2:
                del result[place : place + length]
            case 3:
                result[place:place] = result[place : place + length]
            case 4:
                result[place : place + length] = bytes(draw.randrange(256) for _ in range(min(length, 8)))
            case 5:
                fill = draw.choice((b"\x00", b"\xff", b"\x7f", b"\x80", b"\n", b"(", b"["))
                result[place : place + length] = fill * min(length, len(result) - place)
            case _:
                other = draw.randrange(len(result))
                result[place : place + length] = result[other : other + length]
    return bytes(result)


def damaged_lines(draw: Random, text: str, cell: str = r"(?<=[:,\[{] )[^,:#\[\]{}\n]+|[0-9.]+") -> str:
    """Return ``text`` with tokens replaced, or lines taken out, doubled, moved, indented or put in."""
    lines = text.split("\n")
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(len(lines))
        match draw.randrange(9):
            case 0:
                del lines[place]
                lines = lines or [""]
            case 1:
                lines.insert(draw.randrange(len(lines) + 1), lines[place])
            case 2:
                lines[place] = draw.choice(("  ", " ", "\t", "- ")) + lines[place]
            case 3:
                lines.insert(place, f"{draw.choice(TOKENS)}{draw.choice((': ', ',', ' '))}{draw.choice(TOKENS)}")
            case 4:
                other = draw.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case _:
                places = [found for found in re.finditer(cell, lines[place]) if found.group().strip()]
                if places:
                    found = draw.choice(places)
                    line = lines[place]
                    is_number = re.fullmatch(r"[0-9. ]+", found.group()) and draw.random() < 0.7
                    token = draw.choice(NUMBERS if is_number else TOKENS)
                    lines[place] = line[: found.start()] + token + line[found.end() :]
    return "\n".join(lines)


def damaged_tree(draw: Random, tree: Any) -> Any:
    """Return a copy of a JSON value with a few places replaced, removed, doubled, renamed or exchanged."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            return tree
        parent, key = draw.choice(places)
        match draw.randrange(8):
            case 0:
                del parent[key]
            case 1:
                other, name = draw.choice(places)
                if name in other if isinstance(other, dict) else name < len(other):
                    parent[key] = copy.deepcopy(other[name])
            case 2:
                _spread(draw, parent, key)
            case 3 if isinstance(parent[key], (int, float)):
                parent[key] = parent[key] * draw.choice((-1, 2, 1000, 1 << 33, 0.5)) + draw.choice((0, 1))
            case 4:
                for _ in range(draw.choice((3, 40, 300))):
                    parent[key] = [parent[key]]
            case _:
                parent[key] = draw.choice(VALUES)
    return tree


def _spread(draw: Random, parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[draw.choice(("", "x", "layers", "__class__"))] = parent.pop(key)


def _places(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)


def json_bytes(draw: Random, tree: Any) -> bytes:
    """Return damaged JSON: most often a wrong value in a right document."""
    if draw.random() < 0.15:
        return damaged_bytes(draw, json.dumps(tree).encode())
    return json.dumps(damaged_tree(draw, tree)).encode()


def yaml_bytes(draw: Random, text: str) -> bytes:
    """Return damaged YAML."""
    if draw.random() < 0.15:
        return damaged_bytes(draw, text.encode())
    if draw.random() < 0.05:
        return draw.choice(YAML_BOMBS)(text)
    return damaged_lines(draw, text).encode("utf-8", "surrogatepass")


YAML_BOMBS: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("utf-16"),
    lambda text: (text + "\nx: " + "[" * 2000).encode(),
    lambda text: (text + "\nx: " + "{a: " * 500 + "1" + "}" * 500).encode(),
    lambda text: b"a: &a [x, x]\n" + b"".join(b"a%d: &a%d [*a%s, *a%s]\n" % (n, n, p, p) for n, p in _chain(30)),
    lambda text: ("x: &x\n  <<: *x\n" + text).encode(),
    lambda text: b"- " * 3000,
    lambda text: b"? " * 3000,
    lambda text: b"a: 1\n" * 30_000,
    lambda text: b"#" * (1 << 20) + b"\n" + text.encode(),
    lambda text: ("---\n" + text + "\n---\n" + text).encode(),
    lambda text: b"x: '" + b"y" * 500_000,
    lambda text: b"x: " + b"1" * 500_000,
)


def _chain(length: int) -> list[tuple[int, bytes]]:
    return [(number, b"" if number == 0 else b"%d" % (number - 1)) for number in range(length)]


def csv_bytes(draw: Random, text: str) -> bytes:
    """Return a damaged table."""
    if draw.random() < 0.2:
        return damaged_bytes(draw, text.encode())
    return damaged_lines(draw, text, r"[^,\n]+").encode("utf-8", "surrogatepass")
