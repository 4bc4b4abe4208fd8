"""Conditions on a point such as ``area_mm2 <= 2``: parsed by a pattern, never evaluated as code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from accelsim.dse.rows import METRICS
from accelsim.errors import ConfigError
from accelsim.names import suggest

Sign = Literal["<", "<=", ">", ">=", "==", "!="]
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SIGN = "<=|>=|==|!=|<|>"
_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
_PATTERN = re.compile(rf"\s*(?:({_NUMBER})\s*({_SIGN})\s*)?({_NAME})\s*(?:({_SIGN})\s*({_NUMBER})\s*)?")
_MIRRORED: dict[Sign, Sign] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS: dict[str, Sign] = {sign: sign for sign in _MIRRORED}
_HOW = "write a metric, one of < <= > >= == !=, and a number: area_mm2 <= 2, or 0.5 <= area_mm2 <= 2"
# How far a figure counts as beyond a bound that it must not equal: searches rank by it, so it must not be 0.
_TOUCHES = 1e-12


@dataclass(frozen=True, slots=True)
class Bound:
    """A comparison with a number: the figure stands left of ``sign``."""

    sign: Sign
    number: float

    def violation(self, value: float) -> float:
        """Return how far a figure is beyond the bound, relative to it (absolute for 0); 0 or less where it holds."""
        excess = value - self.number
        if self.sign in (">", ">="):
            excess = -excess
        elif self.sign == "==":
            excess = abs(excess)
        elif self.sign == "!=":
            return 0.0 if excess else _TOUCHES
        beyond = excess / abs(self.number) if self.number else excess
        return _TOUCHES if beyond == 0 and self.sign in ("<", ">") else beyond


@dataclass(frozen=True, slots=True)
class Constraint:
    """``metric`` compared with one number, or with two: ``0.5 <= area_mm2 <= 2``."""

    text: str
    metric: str
    bounds: tuple[Bound, ...]

    def violation(self, row: Mapping[str, object]) -> float:
        """Return how far a row is beyond its bounds, relative to them; 0 or less where all hold, inf if unknown."""
        value = row.get(self.metric)
        if not isinstance(value, (int, float)) or math.isnan(value):
            return math.inf
        return max(bound.violation(value) for bound in self.bounds)


def parse_constraint(text: object, where: str) -> Constraint:
    """Return a condition; `ConfigError` beginning with ``where`` if it is none, or its metric is unknown."""
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None or not isinstance(text, str) or (match[2] is None and match[4] is None):
        raise ConfigError(f"{where}: {text!r} is no condition; {_HOW}")
    metric = check_metric(match[3], where)
    bounds = []
    if match[2] is not None:
        bounds.append(Bound(_MIRRORED[_SIGNS[match[2]]], float(match[1])))
    if match[4] is not None:
        bounds.append(Bound(_SIGNS[match[4]], float(match[5])))
    if not all(math.isfinite(bound.number) for bound in bounds):
        raise ConfigError(f"{where}: {text!r}: the number is too large; {_HOW}")
    _check_possible(bounds, text, where)
    return Constraint(" ".join(text.split()), metric, tuple(bounds))


def _check_possible(bounds: list[Bound], text: str, where: str) -> None:
    low = [bound.number for bound in bounds if bound.sign in (">", ">=", "==")]
    high = [bound.number for bound in bounds if bound.sign in ("<", "<=", "==")]
    if len(bounds) == 2 and (not low or not high or max(low) > min(high)):
        raise ConfigError(f"{where}: {text!r} is no range; write the smaller number first: 0.5 <= area_mm2 <= 2")


def check_metric(name: str, where: str) -> str:
    """Return ``name`` if it is a figure of a point, else raise `ConfigError`."""
    if name not in METRICS:
        hint = suggest(name, list(METRICS))
        raise ConfigError(f"{where}: {name!r} is not a metric; {hint}known are {', '.join(METRICS)}")
    return name


def holds(constraints: tuple[Constraint, ...], row: Mapping[str, object]) -> bool:
    """Return whether a row keeps all conditions."""
    return all(constraint.violation(row) <= 0 for constraint in constraints)
