"""The header of a topology table: which column is which, whatever its order and spelling.

A column is known by its name, never by its place. One that says nothing about the work (an output size, a note) is left
out, and the caller says so; one that would change the work, but not in a way that all tables share (padding, groups, a
repeat count), must hold the value that changes nothing, or the table is refused by that column's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from accelsim.errors import TraceError
from accelsim.kinds import READ_KINDS
from accelsim.names import suggest

CONV_COLUMNS = (
    "layer name", "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter", "strides",
)  # fmt: skip
GEMM_COLUMNS = ("layer", "m", "n", "k")
NAME, BATCH, SPARSITY, STRIDE_WIDTH = "layer name", "batch", "sparsity", "stride width"
_SIZES = {"conv": CONV_COLUMNS[1:], "gemm": GEMM_COLUMNS[1:]}
_TWINS = (("ifmap height", "ifmap width"), ("filter height", "filter width"))


def _spellings(things: str, *sides: str) -> set[str]:
    return {thing + side for thing in things.split() for side in sides}


# Compared without case, spaces, signs and plural.
_IFMAP, _FILTER = "ifmap input ifm in if i", "filter kernel filt weight f k"
_COMMON = {
    NAME: {"layer", "layername", "name", "l", "layerlabel"},
    BATCH: {"batch", "batchsize", "numbatch", "minibatch", "minibatchsize"},
    SPARSITY: {"sparsity", "nm", "sparsityratio", "sparsitypattern", "weightsparsity"},
}
_CONV = {
    "ifmap height": _spellings(_IFMAP, "height", "h", "row"),
    "ifmap width": _spellings(_IFMAP, "width", "w", "column", "col"),
    "filter height": _spellings(_FILTER, "height", "h", "row"),
    "filter width": _spellings(_FILTER, "width", "w", "column", "col"),
    "channels": {"channel", "numchannel", "cin", "ic", *_spellings("input in ifmap ifm num", "channel", "ch")},
    "num filter": {
        "filter", "numfilter", "nfilter", "filtercount", "filternum", "numkernel", "kernel", "cout", "oc",
        *_spellings("output out ofmap ofm", "channel", "ch"),
    },
    "strides": {"stride", "strideheight", "strideh", "heightstride"},
    STRIDE_WIDTH: {"stridewidth", "stridew", "widthstride"},
}  # fmt: skip
_GEMM = {"m": {"m", "dimm", "mrow"}, "n": {"n", "dimn", "ncol", "ncolumn"}, "k": {"k", "dimk"}}
_OUTPUT = {
    "P": _spellings("ofmap output out ofm of o", "height", "h", "row"),
    "Q": _spellings("ofmap output out ofm of o", "width", "w", "column", "col"),
}

_ANY_WORD = r"[a-z].*"
# A column whose name has such a word changes the work, unless its cells match what stands behind it.
_HARMLESS_CELLS = (
    (re.compile(r"transpos|deconv|depthwise|separable|upsampl|^(is)?dw$"), re.compile(r"0|n|no|f|false|none")),
    (
        re.compile(r"^num(block|stage|layer)$|multiplier|^(filter|kernel|ifmap|input|in)?depth$"),
        re.compile(rf"1|{_ANY_WORD}"),
    ),
    (re.compile(r"pad"), re.compile(r"0|none|valid")),
    (re.compile(r"dilat|group|repeat|count|^time$|occurrence|cop(y|ie)|multiplicity"), re.compile(rf"1|{_ANY_WORD}")),
    (re.compile(r"sparsity|prun"), re.compile(r"0|dense|none")),
    (re.compile(r"density"), re.compile(r"1|dense")),
    (
        re.compile(r"^((layer|op|operator)?(type|kind)|operation|operator|op)$"),
        re.compile(r"conv(2d)?|convolution(al)?|fc|linear|dense|gemm|matmul|fullyconnected|pointwise"),
    ),
    (re.compile(r"^.$"), re.compile(rf"1|{_ANY_WORD}")),  # a single letter may be anything
)
_FREE_WORDS = re.compile(r"mac|flop|param|mult(?!iplicity|iplier)|numop")
# A number under any other name may multiply the work (heads, frames, experts), unless the name says that it does not.
_HARMLESS_NAMES = re.compile(
    r"^num$|^of|out|^o(h|w)$|mem|byte|size|kb$|mb$|cycle|latenc|energy|power|util|index|idx|^id$|(layer|op)id|order|note|"
    r"comment|accurac|total|intensity|reuse|ratio|precision|bit|speed|bandwidth|area|score|stage|block"
)
_CHANGES_NOTHING = re.compile(rf"1|{_ANY_WORD}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is written: its place, its name in the file, and the plain name it is compared by."""

    index: int
    text: str
    plain: str

    @property
    def label(self) -> str:
        """Return how messages call it."""
        return self.text[:40] or f"column {self.index + 1} (no name)"

    def allows(self, value: str) -> bool:
        """Return whether a cell of this ``value``, a whole number or a plain word, leaves the work as it is."""
        if _FREE_WORDS.search(self.plain):
            return True
        cells = next((cells for word, cells in _HARMLESS_CELLS if word.search(self.plain)), None)
        if cells is None and (not self.plain or _HARMLESS_NAMES.search(self.plain)):
            return True
        return (cells or _CHANGES_NOTHING).fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Header:
    """What `resolve` found: kind of table, the known columns, the others, and remarks about how it was read."""

    kind: str
    num_columns: int
    known: dict[str, Column]
    others: tuple[Column, ...]
    outputs: dict[str, Column] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Return the number of cells up to the last known column."""
        return 1 + max(column.index for column in self.known.values())


def plain_name(text: str) -> str:
    """Return a column's name without case, spaces, signs, plural and what stands in brackets."""
    bare = re.sub(r"[(\[](?!(h|w|height|width|rows?|cols?)[)\]]).*?[)\]]", "", text, flags=re.IGNORECASE) or text
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", bare).lower())
    singular = (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in words
    )
    return "".join("num" if word in ("number", "no") else word for word in singular if word not in ("of", "the"))


def resolve(where: str, cells: Sequence[str]) -> Header:
    """Return which column is which.

    Raises
    ------
    TraceError
        A column is missing or stands there twice; the text names it.
    """
    columns = [Column(index, cell, plain_name(cell)) for index, cell in enumerate(cells)]
    remarks: list[str] = []
    found = {kind: _matched(columns, {**_COMMON, **names}) for kind, names in (("conv", _CONV), ("gemm", _GEMM))}
    _untwin(found["conv"], remarks)
    kinds = [kind for kind, sizes in _SIZES.items() if all(size in found[kind] for size in sizes)]
    if len(kinds) != 1:
        raise TraceError(f"{where}: {_wrong_header(columns, found, kinds)}")
    matched = found[kinds[0]]
    _name_column(matched, columns)
    for name, twins in matched.items():
        if len(twins) > 1:
            both = " and ".join(str(twin.index + 1) for twin in twins)
            raise TraceError(f"{where}: columns {both} are both {name!r}; leave one of them")
    known = {name: twins[0] for name, twins in matched.items()}
    taken = {column.index for column in known.values()}
    others = tuple(column for column in columns if column.index not in taken)
    outputs = {}
    for side, names in _OUTPUT.items() if kinds[0] == "conv" else ():
        same = [column for column in others if column.plain in names]
        if len(same) == 1:
            outputs[side] = same[0]
    return Header(kinds[0], len(cells), known, others, outputs, tuple(remarks))


def _matched(columns: Iterable[Column], names: dict[str, set[str]]) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for column in columns:
        for name, spellings in names.items():
            if column.plain in spellings:
                found.setdefault(name, []).append(column)
    return found


def _untwin(found: dict[str, list[Column]], remarks: list[str]) -> None:
    """Read a name that stands twice, where its twin stands nowhere, as the height and the width: a known slip."""
    for height, width in _TWINS:
        for given, absent in ((height, width), (width, height)):
            if len(found.get(given, ())) == 2 and absent not in found:
                first, second = found[given]
                found[height], found[width] = [first], [second]
                remarks.append(
                    f"{given!r} stands twice: column {first.index + 1} is read as the height, "
                    f"column {second.index + 1} as the width"
                )


def _name_column(found: dict[str, list[Column]], columns: Sequence[Column]) -> None:
    """Settle which column names the layers: of several the first; of none the first column, if it has no title."""
    if NAME in found:
        found[NAME] = sorted(found[NAME], key=lambda column: column.plain not in ("layername", "name"))[:1]
    elif columns and not columns[0].plain:
        found[NAME] = [columns[0]]


def _wrong_header(columns: Sequence[Column], found: dict[str, dict[str, list[Column]]], kinds: Sequence[str]) -> str:
    allowed = f"{', '.join(CONV_COLUMNS)} or {', '.join(GEMM_COLUMNS)} (in any order; commas, tabs or semicolons)"
    if len(kinds) > 1:
        return f"column {found['gemm']['m'][0].text!r}: a table has sizes of convolutions or M, N, K, not both"
    if not any(size in found[kind] for kind, sizes in _SIZES.items() for size in sizes):
        return f"no header; the first row must name the columns {allowed}; {READ_KINDS}"
    likely = max(_SIZES, key=lambda kind: sum(size in found[kind] for size in _SIZES[kind]) / len(_SIZES[kind]))
    letters = [column.text for column in columns if len(column.plain) == 1 and column.plain not in "mnkl"]
    if len(letters) > 1:
        return f"columns {', '.join(letters)}: tools mean different sizes by a letter; name each in full: {allowed}"
    missing = next(size for size in _SIZES[likely] if size not in found[likely])
    hint = suggest(missing, [column.text for column in columns if column.text], cutoff=0.75).replace(
        "did you mean", "is it"
    )
    return f"the header has no column {missing!r}; {hint}it must have {allowed}"
