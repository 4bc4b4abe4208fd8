"""Where the elements of a view lie in the tensor that it shows.

Each axis is a list of factors (size, stride), outermost first; the element with the indices i_1 ... i_n of all factors
lies at the sum of i_k stride_k. A stride of 0 is a repetition: an expanded axis reads the same elements again. Reshapes
split and merge factors, so that what transposes, expansions and reshapes do stays known through any spelling. Offsets
are not kept: which part a slice is does not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]
Factor = tuple[int, int]
Factors = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The factors of each axis; an axis of one element has none."""

    axes: tuple[Factors, ...]

    @property
    def shape(self) -> Shape:
        """Return the sizes of the axes."""
        return tuple(prod(size for size, _ in axis) for axis in self.axes)

    @property
    def num_distinct(self) -> int:
        """Return how many different elements are read."""
        return prod(size for axis in self.axes for size, stride in axis if stride)

    def permuted(self, order: Sequence[int]) -> Layout:
        """Return the view with its axes in another order."""
        return Layout(tuple(self.axes[axis] for axis in order))

    def expanded(self, shape: Shape) -> Layout | None:
        """Return the view repeated to ``shape``, to which it must broadcast."""
        axes = ((),) * (len(shape) - len(self.axes)) + self.axes
        if len(axes) != len(shape):
            return None
        out = []
        for axis, have, size in zip(axes, Layout(axes).shape, shape, strict=True):
            if have not in (1, size):
                return None
            out.append(axis if have == size else ((size, 0),))
        return Layout(tuple(out))

    def reshaped(self, shape: Shape) -> Layout | None:
        """Return the view in another shape of as many elements; None where an axis would cut through a factor."""
        left = list(_merged([factor for axis in self.axes for factor in axis]))
        axes = []
        for wanted in shape:
            axis, size = [], wanted
            while size > 1:
                if not left:
                    return None
                (have, stride), *left = left
                if size % have == 0:
                    axis.append((have, stride))
                    size //= have
                elif have % size == 0:
                    axis.append((size, stride * (have // size)))
                    left.insert(0, (have // size, stride))
                    size = 1
                else:
                    return None
            axes.append(_merged(axis))
        return None if left else Layout(tuple(axes))

    def cut(self, axis: int, size: int, step: int = 1) -> Layout | None:
        """Return the view with ``size`` elements of an axis, ``step`` apart; None if the axis has several factors."""
        factors = self.axes[axis]
        if size == 1:
            return self._with(axis, ())
        if len(factors) != 1:
            return None
        return self._with(axis, ((size, factors[0][1] * step),))

    def repeated(self, axis: int, times: int, *, each: bool) -> Layout:
        """Return the view with an axis repeated: ``each`` element in turn, or all of them one after the other."""
        more = ((times, 0),) if times > 1 else ()
        factors = self.axes[axis]
        return self._with(axis, _merged([*factors, *more] if each else [*more, *factors]))

    def without(self, axis: int) -> Layout:
        """Return the view without an axis."""
        return Layout(self.axes[:axis] + self.axes[axis + 1 :])

    def holding(self, factor: Factor) -> int | None:
        """Return the axis in which a factor of the tensor lies, whole or merged with others; None if none has it."""
        size, stride = factor
        for axis, factors in enumerate(self.axes):
            if any(step and step <= stride and have * step >= size * stride for have, step in factors):
                return axis
        return None

    def _with(self, axis: int, factors: Factors) -> Layout:
        return Layout((*self.axes[:axis], factors, *self.axes[axis + 1 :]))


def contiguous(shape: Shape) -> Layout:
    """Return the layout of a whole tensor."""
    axes, stride = [], 1
    for size in reversed(shape):
        axes.append(((size, stride),) if size != 1 else ())
        stride *= max(1, size)
    return Layout(tuple(reversed(axes)))


def _merged(factors: Sequence[Factor]) -> Factors:
    out: list[Factor] = []
    for size, stride in factors:
        if out and out[-1][1] == size * stride:
            out[-1] = (out[-1][0] * size, stride)
        elif size != 1:
            out.append((size, stride))
    return tuple(out)


def refined(first: Factors, second: Factors) -> list[tuple[int, int, int]] | None:
    """Return two axes of one size as common factors (size, stride in the first, stride in the second).

    None where their factors cut each other.
    """
    out: list[tuple[int, int, int]] = []
    mine, other = list(first), list(second)
    while mine and other:
        (a, stride_a), (b, stride_b) = mine[-1], other[-1]
        size = min(a, b)
        if a % size or b % size:
            return None
        out.append((size, stride_a, stride_b))
        mine[-1:] = [(a // size, stride_a * size)] if a > size else []
        other[-1:] = [(b // size, stride_b * size)] if b > size else []
    return None if mine or other else out[::-1]
