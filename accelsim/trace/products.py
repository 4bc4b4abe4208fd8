"""Sums of products of two tensors, in index notation: how they become heads, rows, columns and what is summed over.

Every matrix product, linear layer and attention is stated as two terms and a result, one letter an axis. Which axes
are heads follows from where the operands really lie: an axis along which one of them repeats (a stride of 0, as keys
and values that several query heads share) is no head, but more rows or columns of the other; so the repeated one is
read once, however the repetition is written.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.trace.layout import Factors, Layout, Shape, refined

LETTERS = string.ascii_letters


class UnfitError(Exception):
    """Operands that are no sum of products of two tensors."""


@dataclass(frozen=True, slots=True)
class Product:
    """``heads`` products of rows x inner by inner x columns; ``sample_letters`` are the result's, in order."""

    heads: int
    rows: int
    inner: int
    columns: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Letters of the axes of both operands and of the result."""

    first: str
    second: str
    out: str

    @property
    def inner(self) -> str:
        """Return the letters that are summed over."""
        return "".join(letter for letter in self.first if letter in self.second and letter not in self.out)


def plan_product(first: Layout, second: Layout, terms: Terms) -> Product:
    """Return the matrix products that give the result.

    Raises
    ------
    UnfitError
        A letter stands twice in a term, or in one operand alone, sizes differ, or nothing is summed.
    """
    mine = _axes(first, terms.first)
    other = _axes(second, terms.second)
    heads = rows = inner = columns = 1
    if not terms.inner or not set(terms.out) <= {*mine, *other}:
        raise UnfitError
    for letter in dict.fromkeys(terms.first + terms.second):
        a, b = _same_size(mine.get(letter), other.get(letter))
        if letter in terms.out and letter in mine and letter in other:
            # Axes whose factors cut each other have no common order: each is then a head.
            for size, step, other_step in refined(a, b) or [(_size(a), 1, 1)]:
                if step and other_step:
                    heads *= size
                elif other_step:
                    columns *= size
                else:
                    rows *= size
        elif letter in terms.out:
            rows, columns = rows * _size(a), columns * _size(b)
        elif letter in mine and letter in other:
            inner *= _size(a)
        else:
            raise UnfitError
    return Product(heads, rows, inner, columns)


def _axes(layout: Layout, term: str) -> dict[str, Factors]:
    if len(set(term)) != len(term) or len(term) != len(layout.axes):
        raise UnfitError
    return dict(zip(term, layout.axes, strict=True))


def _size(factors: Factors) -> int:
    size = 1
    for have, _ in factors:
        size *= have
    return size


def _same_size(first: Factors | None, second: Factors | None) -> tuple[Factors, Factors]:
    """Return both axes in one size: one of a single element repeats."""
    if first is None or second is None:
        return first or (), second or ()
    a, b = _size(first), _size(second)
    if a == b:
        return first, second
    if 1 not in (a, b):
        raise UnfitError
    return (first, ((a, 0),)) if b == 1 else (((b, 0),), second)


def matmul_terms(first: Shape, second: Shape) -> Terms:
    """Return the terms of torch's ``matmul``: vectors have no rows (columns), leading axes broadcast."""
    m, k, n = "M", "K", "N"
    rank = max(len(first), len(second)) - 2
    leading = string.ascii_lowercase[: max(rank, 0)]
    a = k if len(first) == 1 else leading[len(leading) - (len(first) - 2) :] + m + k
    b = k if len(second) == 1 else leading[len(leading) - (len(second) - 2) :] + k + n
    out = leading + (m if len(first) > 1 else "") + (n if len(second) > 1 else "")
    return Terms(a, b, out)


def linear_terms(source: Shape, weight: Shape) -> Terms:
    """Return the terms of ``linear``: the weight is (out features, in features), or (in features,)."""
    leading = string.ascii_lowercase[: len(source) - 1]
    has_rows = len(weight) > 1
    return Terms(leading + "K", "NK" if has_rows else "K", leading + ("N" if has_rows else ""))


def equation_terms(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the terms of an ``einsum`` equation and its result; dots become letters of their own.

    Raises
    ------
    UnfitError
        Another number of terms than operands.
    """
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise UnfitError
    free = [letter for letter in LETTERS if letter not in equation]
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term]
    dots = "".join(free[: max(widths, default=0)])
    if min(widths, default=0) < 0 or len(dots) < max(widths, default=0):
        raise UnfitError
    full = [
        term.replace("...", dots[len(dots) - (rank - len(term.replace("...", ""))) :] if "..." in term else "")
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        letters = "".join(full)
        out = dots + "".join(sorted(letter for letter in set(letters) - set(dots) if letters.count(letter) == 1))
    return full, out.replace("...", dots)


def shared_letters(terms: Sequence[str], out: str) -> list[str]:
    """Return the terms without the letters that stand in one of them alone and not in the result."""
    counts = Counter(letter for term in terms for letter in set(term))
    return ["".join(letter for letter in term if letter in out or counts[letter] > 1) for term in terms]
