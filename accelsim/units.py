"""Unit conversions; the only place where a clock meets a nanosecond.

Names carry their unit everywhere else, so a factor of 1000 can only be wrong here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache


def ceil_div(numerator: int, denominator: int) -> int:
    """Return the integer ceiling of ``numerator / denominator`` (both integers, denominator > 0)."""
    return -(-numerator // denominator)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of ``multiple`` that is not below ``value``."""
    return ceil_div(value, multiple) * multiple


def bits_to_bytes(bits: int) -> int:
    """Return the bytes that hold ``bits`` bits."""
    return ceil_div(bits, 8)


@lru_cache(maxsize=256)
def ns_to_cycles(time_ns: float, clock_mhz: float) -> int:
    """Return the first whole core cycle that is not before ``time_ns``."""
    return math.ceil(Fraction(time_ns).limit_denominator(10**6) * Fraction(clock_mhz).limit_denominator(10**6) / 1000)


def cycles_to_s(cycles: int, clock_mhz: float) -> float:
    """Return the seconds that ``cycles`` take at ``clock_mhz``."""
    return cycles / (clock_mhz * 1e6)
