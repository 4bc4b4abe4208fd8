"""Sums of products that a program spells in other operators, brought to the ones that multiply matrices.

- A product by elements that goes only into a sum over axes (``(x * w).sum(-1)``, ``Mul`` and ``ReduceSum``, what
  torch's decompositions make of ``mv`` and ``dot``) is a matrix product. Between the two may stand views and factors
  that are numbers. A sum of squares, of a tensor times itself, is a norm and stays one.
- A chain of matrices (``multi_dot``) is multiplied two at a time, in the order that takes fewest multiplications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from accelsim.trace.layout import Layout
from accelsim.trace.products import LETTERS
from accelsim.trace.records import Program, Record, Ref, Shape
from accelsim.trace.values import whole
from accelsim.trace.views import is_view, view

_FACTORS = frozenset("mul multiply div divide true_divide".split())
_SUMS = frozenset("sum mean".split())
_CHAINS = frozenset("linalg_multi_dot chain_matmul".split())


def with_products(program: Program, askew: list[str] | None = None) -> Program:
    """Return the program with its sums of products as such; ``askew`` gains the places of those that stay as they are.

    These are the sums behind a view that cuts the axes of the product askew.
    """
    shapes: dict[str, Shape] = {**dict(program.inputs), **program.constants}
    for record in program.records:
        shapes.update((name, shape) for name, shape in record.outputs if name and shape is not None)
    found = _Sums(program, shapes)
    records: list[Record] = []
    dropped: set[int] = set()
    for record in program.records:
        steps, used = found.of(record)
        records += steps
        dropped.update(map(id, used))
    if askew is not None:
        askew += found.askew
    return replace(program, records=tuple(record for record in records if id(record) not in dropped))


@dataclass(frozen=True, slots=True)
class _Letters:
    """A product by elements whose axes are cut into letters: those of both operands and of the result, and sizes."""

    first: str
    second: str
    out: str
    sizes: Mapping[str, int]

    def shape(self, term: str) -> Shape:
        """Return the sizes of a term."""
        return tuple(self.sizes[letter] for letter in term)


class _Sums:
    """Finds what each sum of a program sums."""

    def __init__(self, program: Program, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes
        self._complex = program.complex_tensors
        self._makers = {name: record for record in program.records for name, _ in record.outputs if name}
        makers = [record for record in program.records if any(shape is not None for _, shape in record.outputs)]
        self._readers = Counter(name for record in makers for name in record.refs())  # a check of a type reads nothing
        self._readers.update(program.outputs)
        self.askew: list[str] = []
        self._live = {name for name, _ in program.inputs}
        for record in program.records:
            if not self._live.isdisjoint(record.refs()):
                self._live.update(name for name, _ in record.outputs)

    def of(self, record: Record) -> tuple[list[Record], list[Record]]:
        """Return what stands for a record, and the earlier ones that are then part of it."""
        if not any(name and shape is not None for name, shape in record.outputs):
            return [record], []  # of a damaged file: who reads the records says so
        if record.target in _CHAINS:
            return self._chain(record), []
        refs = record.refs()
        if record.target not in _SUMS or len(refs) != 1:
            return [record], []
        behind = self._behind(refs[0])
        if not behind:
            return [record], []
        letters = self._letters(record, behind)
        if letters is None:
            return [record], []
        return list(_einsum(record, behind[-1], letters)), behind

    def _behind(self, name: str) -> list[Record]:
        """Return the records from a sum back to the product that it sums; empty where it sums none."""
        behind: list[Record] = []
        while name in self._makers and self._readers[name] == 1:
            record = self._makers[name]
            behind.append(record)
            refs = record.refs()
            large = [ref for ref in refs if ref in self._live or prod(self._shapes.get(ref, ())) > 1]
            if record.target in ("mul", "multiply") and len(large) == len(set(large)) == 2:  # noqa: PLR2004
                is_fit = self._complex.isdisjoint(large) and not self._live.isdisjoint(large)
                return behind if is_fit else []
            is_factor = record.target in _FACTORS and len(large) == 1 and refs[0] == large[0]
            if not large or not (is_factor or (is_view(record.target) and len(record.outputs) == 1)):
                return []
            name = large[0]
        return []

    def _letters(self, record: Record, behind: list[Record]) -> _Letters | None:
        """Return the axes of a sum of products as letters; None where it is none, or its views cut its axes."""
        shape = self._shapes[behind[-1].outputs[0][0]]
        value = whole("", shape)
        for step in behind[-2::-1]:
            made = self._shapes[step.outputs[0][0]]
            if is_view(step.target):
                value = view(step, value, made, 0)
            if not value.is_followed or value.shape != made or value.num_distinct < prod(shape):
                self._note(record, behind[-1])
                return None
        rank = len(value.shape)
        axes = {axis % max(1, rank) for axis in record.integers("dim", ()) or range(rank)}
        runs = _runs(shape, value.layout)
        if runs is None:
            self._note(record, behind[-1])
            return None
        of_factor, sizes = runs
        first, second = (
            self._term(ref, shape, of_factor) for ref in behind[-1].refs() if ref in self._shapes
        )  # fmt: skip
        axes_letters = ["".join(of_factor[factor] for factor in axis) for axis in value.layout.axes]
        out = "".join(letters for axis, letters in enumerate(axes_letters) if axis not in axes)
        is_product = bool(set(first) & set(second) - set(out))
        return _Letters(first, second, out, sizes) if is_product else None

    def _note(self, record: Record, product: Record) -> None:
        """Remember a sum that stays one: of weights times activations it may be a matrix product."""
        if not self._live.issuperset(product.refs()):
            self.askew.append(record.place)

    def _term(self, name: str, shape: Shape, of_factor: Mapping[tuple[int, int], str]) -> str:
        """Return the letters of an operand: those of the axes along which it does not repeat."""
        have = (1,) * (len(shape) - len(self._shapes[name])) + self._shapes[name]
        axes = whole("", shape).layout.axes
        return "".join(of_factor[f] for axis, size in zip(axes, have, strict=True) if size > 1 for f in axis)

    def _chain(self, record: Record) -> list[Record]:
        """Return the products of a chain of matrices, the cheapest order first found."""
        names, steps = record.refs(), []
        output, shape = next((name, shape) for name, shape in record.outputs if name and shape is not None)
        shapes = [self._shapes[name] for name in names]
        for place, side in ((0, 0), (len(names) - 1, 1)):
            if len(shapes[place]) == 1:  # a vector at an end is a row or a column
                shapes[place] = (1, *shapes[place]) if side == 0 else (*shapes[place], 1)
                made = f"{output}.end{place}"
                steps.append(Record("view", {"input": Ref(names[place])}, ((made, shapes[place]),), record.place))
                names[place] = made
        sizes = [shapes[0][0], *(each[1] for each in shapes)]
        splits = _chain_order(sizes)

        def multiply(first: int, last: int) -> str:
            if first == last:
                return names[first]
            split = splits[first, last]
            left, right = multiply(first, split), multiply(split + 1, last)
            made = f"{output}.{first}to{last}"
            outputs = ((made, (sizes[first], sizes[last + 1])),)
            arguments = {"input": Ref(left), "mat2": Ref(right)}
            steps.append(Record("matmul", arguments, outputs, record.place, label=record.label or record.target))
            return made

        made = multiply(0, len(names) - 1)
        return [*steps, Record("view", {"input": Ref(made)}, ((output, shape),), record.place)]


def _chain_order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Return where to split each part of a chain of matrices of ``sizes[i]`` x ``sizes[i + 1]``."""
    count = len(sizes) - 1
    cost = {(place, place): 0 for place in range(count)}
    splits = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            costs = {
                split: cost[first, split] + cost[split + 1, last] + sizes[first] * sizes[split + 1] * sizes[last + 1]
                for split in range(first, last)
            }
            splits[first, last] = min(costs, key=lambda split: costs[split])
            cost[first, last] = costs[splits[first, last]]
    return splits


def _runs(shape: Shape, seen: Layout) -> tuple[dict[tuple[int, int], str], dict[str, int]] | None:
    """Return the letters of each factor of a tensor's axes and of a view of it, and their sizes.

    A letter is what no axis of either cuts; None where they cut each other.
    """
    factors = [factor for layout in (whole("", shape).layout, seen) for axis in layout.axes for factor in axis]
    cuts = sorted({end for size, stride in factors for end in (stride, size * stride)})
    if any(after % before for before, after in pairwise(cuts)) or len(cuts) > len(LETTERS):
        return None
    letters = dict(zip(cuts, LETTERS, strict=False))
    sizes = {letters[before]: after // before for before, after in pairwise(cuts)}
    runs = {
        (size, stride): "".join(letters[cut] for cut in reversed(cuts) if stride <= cut < size * stride)
        for size, stride in factors
    }
    return runs, sizes


def _einsum(record: Record, product: Record, letters: _Letters) -> Iterator[Record]:
    """Yield a sum of products in index notation: its operands without repetition, then the sum, then its shape."""
    output, shape = next((name, shape) for name, shape in record.outputs if name and shape is not None)
    tensors = []
    for place, (name, term) in enumerate(zip(product.refs(), (letters.first, letters.second), strict=True)):
        tensors.append(Ref(f"{output}.operand{place}"))
        yield Record("view", {"input": Ref(name)}, ((tensors[-1].name, letters.shape(term)),), record.place)
    # What only one operand has is multiplied as it is written, and summed after that.
    alone = [letter for letter in letters.sizes if (letter in letters.first) != (letter in letters.second)]
    rest = "".join(letter for letter in alone if letter not in letters.out)
    equation = f"{letters.first},{letters.second}->{letters.out}{rest}"
    label, made = record.label or record.target, f"{output}.product"
    outputs = ((made, letters.shape(letters.out + rest)),)
    yield Record("einsum", {"equation": equation, "tensors": tensors}, outputs, record.place, label=label)
    if rest:
        summed = f"{output}.sum"
        axes = list(range(len(letters.out), len(letters.out + rest)))
        yield Record("sum", {"input": Ref(made), "dim": axes}, ((summed, letters.shape(letters.out)),), record.place)
        made = summed
    yield Record("view", {"input": Ref(made)}, ((output, shape),), record.place)


__all__ = ["with_products"]
