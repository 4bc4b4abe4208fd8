"""Figures and names as people read them: SI prefixes, ratios, and no control characters from a file's names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_PREFIXES = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
    (1e-9, "n"),
    (1e-12, "p"),
)

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%|(?:[pnumkMGT]?(?:J|s|B|W|Hz)|[KM]iB|MT/s|GB/s|mm2|nm|V)\b)")


def quantity(value: float, unit: str) -> str:
    """Return ``value`` with three significant digits and an SI prefix: ``0.00321, "s"`` -> ``3.21 ms``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    scale, prefix = prefix_of(value)
    if unit == "B" and scale < 1:
        scale, prefix = 1.0, ""
    return f"{significant(value / scale)} {prefix}{unit}"


def prefix_of(value: float) -> tuple[float, str]:
    """Return the SI prefix that suits ``value``, and its factor: ``0.00321`` -> ``(0.001, "m")``; none for zero."""
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    return next((pair for pair in _PREFIXES if abs(value) >= pair[0] * 0.9995), _PREFIXES[-1])


def significant(value: float) -> str:
    """Return ``value`` with three significant digits and no exponent: ``12.3``, ``0.123``, ``1230``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.2e}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(digits, 0)}f}"


def size_words(size: int) -> str:
    """Return a capacity in binary units: ``65536`` -> ``64 KiB``."""
    for factor, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= factor:
            return f"{size / factor:g} {unit}"
    return f"{size} B"


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with one decimal: ``0.704`` -> ``70.4 %``."""
    return f"{100 * fraction:.1f} %"


def ratio(numerator: float, denominator: float) -> str:
    """Return ``numerator / denominator`` as ``3.33x``; ``-`` where the denominator is zero."""
    return f"{significant(numerator / denominator)}x" if denominator else "-"


def unbroken(text: str) -> str:
    """Return ``text`` with spaces at which no line ends between numbers and their units."""
    return _BEFORE_UNIT.sub("\u00a0", text)


_METRIC_UNITS = {"latency_s": "s", "energy_j": "J", "edp_js": "Js", "average_power_w": "W", "weight_bytes": "B"}
_METRIC_UNITS |= {"dram_bytes": "B", "latency_s_per_input": "s", "energy_j_per_input": "J", "energy_j_per_token": "J"}


def metric_text(name: str, value: float) -> str:
    """Return a figure of a run by the name that it has in results and design spaces, with its unit."""
    if name == "area_mm2":
        return f"{significant(value)} mm2"
    if name in _METRIC_UNITS:
        return quantity(value, _METRIC_UNITS[name])
    return significant(value) if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def printable(text: str, limit: int = 60) -> str:
    """Return ``text`` without control characters and at most ``limit`` characters: names come from files."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def shape(dims: tuple[int, ...]) -> str:
    """Return a shape as ``64x3x3x3``."""
    return "x".join(map(str, dims))


def joined(parts: Sequence[str], word: str = "and") -> str:
    """Return ``parts``, at least one, as a sentence lists them: ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
