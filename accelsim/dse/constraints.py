"""Conditions on a point such as ``area_mm2 <= 2``: parsed by a pattern, never evaluated as code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.dse.rows import METRICS
from accelsim.errors import ConfigError
from accelsim.names import suggest

_PATTERN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """``metric`` compared with ``bound``; a figure that equals it is allowed."""

    text: str
    metric: str
    is_upper: bool
    bound: float

    def violation(self, row: Mapping[str, object]) -> float:
        """Return how far a row is beyond the bound, relative to it; 0 or less where it holds, inf without a figure."""
        value = row.get(self.metric)
        if not isinstance(value, (int, float)) or math.isnan(value):
            return math.inf
        excess = value - self.bound if self.is_upper else self.bound - value
        return excess / abs(self.bound) if self.bound else excess


def parse_constraint(text: str, where: str) -> Constraint:
    """Return a condition; `ConfigError` beginning with ``where`` if it is none, or its metric is unknown."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(f"{where}: {text!r} is no condition; write a metric, <= or >=, and a number: area_mm2 <= 2")
    metric, sign, bound = match.groups()
    return Constraint(" ".join(text.split()), check_metric(metric, where), sign.startswith("<"), float(bound))


def check_metric(name: str, where: str) -> str:
    """Return ``name`` if it is a figure of a point, else raise `ConfigError`."""
    if name not in METRICS:
        hint = suggest(name, list(METRICS))
        raise ConfigError(f"{where}: {name!r} is not a metric; {hint}known are {', '.join(METRICS)}")
    return name


def holds(constraints: tuple[Constraint, ...], row: Mapping[str, object]) -> bool:
    """Return whether a row keeps all conditions."""
    return all(constraint.violation(row) <= 0 for constraint in constraints)
