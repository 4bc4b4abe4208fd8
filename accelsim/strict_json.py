"""JSON as strictly as the program's YAML: no field twice, no number that is none, no depth without end."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any


class StrictJsonError(ValueError):
    """What is wrong with a text, without where it stands and what to do."""


def parse_json(text: str, most_fields: int | None = None) -> Any:
    """Return the value of a JSON text; raise `StrictJsonError` for what is none, or says a thing twice.

    An object of more than ``most_fields`` is refused too.
    """
    unique = partial(_unique, most_fields=most_fields)
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant, parse_float=_finite)
    except StrictJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictJsonError("not readable JSON") from error


def _unique(pairs: list[tuple[str, Any]], most_fields: int | None) -> dict[str, Any]:
    if most_fields is not None and len(pairs) > most_fields:
        raise StrictJsonError(f"a record has {len(pairs):,} fields, and {most_fields} at the most are allowed")
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise StrictJsonError(f"a field is given twice, {twice[:40]!r}")
    return values


def _no_constant(name: str) -> float:
    raise StrictJsonError(f"{name} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text[:40])
