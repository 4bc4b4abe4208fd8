"""Operators that are sums of products in other words, brought to index notation (``einsum``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from accelsim.trace.products import LETTERS
from accelsim.trace.records import Record, Ref, Shape

Equation = Callable[[Record, Sequence[Shape]], str]


def in_index_notation(record: Record, shape_of: Callable[[str], Shape]) -> Record:
    """Return the operation as an ``einsum`` where it is one, else as it is; a constant addend is its ``bias``."""
    equation = _EQUATIONS.get(record.target)
    if equation is None:
        return record
    names = [name for key in record.arguments if key != "bias" and (name := record.ref(key)) is not None]
    if record.target == "bilinear":
        names = [names[0], names[2], names[1]]  # the weights meet the first input, then the second
    arguments = {
        "equation": equation(record, [shape_of(name) for name in names]),
        "tensors": [Ref(name) for name in names],
        "bias": record.ref("bias") is not None,
    }
    return replace(record, target="einsum", arguments=arguments, label=record.label or record.target)


def _outer(_: Record, __: Sequence[Shape]) -> str:
    return "a,b->ab"


def _inner(_: Record, shapes: Sequence[Shape]) -> str:
    first, second = (len(shape) - 1 for shape in shapes)
    a, b = LETTERS[:first], LETTERS[first : first + second]
    return f"{a}Z,{b}Z->{a}{b}"


def _vecdot(record: Record, shapes: Sequence[Shape]) -> str:
    rank = max(map(len, shapes))
    letters = LETTERS[:rank]
    summed = letters[record.integer("dim", -1) % rank]
    first, second = (letters[rank - len(shape) :] for shape in shapes)
    return f"{first},{second}->{letters.replace(summed, '')}"


def _tensordot(record: Record, shapes: Sequence[Shape]) -> str:
    first, second = shapes
    mine = [axis % len(first) for axis in record.integers("dims_self", ())]
    other = [axis % len(second) for axis in record.integers("dims_other", ())]
    a, b = list(LETTERS[: len(first)]), list(LETTERS[len(first) : len(first) + len(second)])
    for left, right in zip(mine, other, strict=True):
        b[right] = a[left]
    out = [letter for letter in a + b if not (letter in a and letter in b)]
    return f"{''.join(a)},{''.join(b)}->{''.join(out)}"


def _bilinear(_: Record, shapes: Sequence[Shape]) -> str:
    lead = LETTERS[: len(shapes[0]) - 1]
    return f"{lead}X,NXY,{lead}Y->{lead}N"


def _trilinear(record: Record, shapes: Sequence[Shape]) -> str:
    """Return the product of three tensors, each with axes of one element put in: what ``bilinear`` decomposes to."""
    places = [record.integers(f"expand{index}", ()) for index in (1, 2, 3)]
    rank = len(shapes[0]) + len(places[0])
    terms = ["".join(letter for axis, letter in enumerate(LETTERS[:rank]) if axis not in put_in) for put_in in places]
    summed = record.integers("sumdim", ())
    return f"{','.join(terms)}->{''.join(letter for axis, letter in enumerate(LETTERS[:rank]) if axis not in summed)}"


_EQUATIONS: dict[str, Equation] = {
    **dict.fromkeys(("outer", "ger"), _outer),
    "inner": _inner,
    "linalg_vecdot": _vecdot,
    "tensordot": _tensordot,
    "bilinear": _bilinear,
    "_trilinear": _trilinear,
}
