"""A price as a sum of products of named constants, so that every joule can be traced and every constant varied.

``price = sum over terms of coefficient x constant x constant ...``: the coefficient holds what is exact (scaling, bit
counts), the constants are rows of the cost tables. Evaluating with the rows' values gives the cost, with sampled values
its uncertainty; both use the same terms, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class Term(NamedTuple):
    """One product: ``coefficient`` times the named constants."""

    coefficient: float
    constants: tuple[str, ...]


Price = tuple[Term, ...]
_PAIR = 2  # fewer constants are in order as they are


def scaled(price: Price, factor: float, *constants: str) -> Price:
    """Return ``price`` times ``factor`` and times further constants."""
    return tuple([Term(coefficient * factor, own + constants) for coefficient, own in price])


def multiplied(first: Price, second: Price) -> Price:
    """Return the product of two sums."""
    return tuple(
        Term(one.coefficient * other.coefficient, (*one.constants, *other.constants))
        for one in first
        for other in second
    )


def joined(prices: Iterable[Price]) -> Price:
    """Return the sum of ``prices``: equal products merged in order of first appearance, zero ones left out."""
    total: dict[tuple[str, ...], float] = {}
    for price in prices:
        for coefficient, constants in price:
            key = constants if len(constants) < _PAIR else tuple(sorted(constants))
            total[key] = total.get(key, 0.0) + coefficient
    return tuple([Term(coefficient, constants) for constants, coefficient in total.items() if coefficient != 0.0])


def resolve(price: Price, values: Mapping[str, float]) -> float:
    """Return the price for one value of every constant."""
    total = 0.0
    for coefficient, constants in price:
        product = coefficient
        for name in constants:
            product *= values[name]
        total += product
    return total


def resolve_draws(price: Price, draws: Mapping[str, FloatArray], num_draws: int) -> FloatArray:
    """Return the price for each draw; ``draws`` maps a constant to its ``num_draws`` samples."""
    total = np.zeros(num_draws)
    for term in price:
        product = np.full(num_draws, term.coefficient)
        for name in term.constants:
            product *= draws[name]
        total += product
    return total


def constants_of(price: Price) -> tuple[str, ...]:
    """Return the names of all constants in ``price``, sorted."""
    return tuple(sorted({name for term in price for name in term.constants}))
