"""Sizes and clocks with their units, ``64KiB`` and ``1GHz``, wherever a field states bytes or MHz as a plain number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_MAX_CHARS = 40  # a number of any length would take any time
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_TEXT = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a field counts, and the units in which a text may state it; metadata of the field's type.

    Attributes
    ----------
    kind
        What a text of these units is, in messages.
    plain
        The unit of a plain number, in the plural.
    factors
        Unit -> how many of the plain unit; spelled as the standards do, since ``mHz`` is not ``MHz``, and people mean
        either by ``KB``.
    is_whole
        Whether there are no parts of the plain unit.
    """

    kind: str
    plain: str
    factors: Mapping[str, Fraction]
    is_whole: bool
    example: str

    def number(self, value: Any) -> Any:
        """Return a text with a unit as a number of the plain unit; what is no text as it is.

        Raises
        ------
        ValueError
            A text that is not a number and one of the units.
        """
        if not isinstance(value, str):
            return value
        found = _TEXT.fullmatch(value) if len(value) <= _MAX_CHARS else None
        factor = self.factors.get(found[2]) if found is not None else None
        shown = value if value.isprintable() and len(value) <= _MAX_CHARS else f"{ascii(value)[1:38]}..."
        if found is None or factor is None:
            units = ", ".join(self.factors)
            raise ValueError(
                f"{shown!r} is not {self.kind}; give a number of {self.plain}, or one with a unit of {units}, "
                f"such as {self.example}"
            )
        number = Fraction(found[1]) * factor
        if number.denominator == 1:
            return number.numerator
        if self.is_whole:
            raise ValueError(f"{shown!r} is not a whole number of {self.plain}; give one that is")
        return float(number)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema that turns a text into a number before anything is checked."""
        return core_schema.no_info_before_validator_function(self.number, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON schema: a number, or a text with a unit, for editors."""
        pattern = f"^{_NUMBER} ?({'|'.join(self.factors)})$"
        return {"anyOf": [handler(schema), {"type": "string", "pattern": pattern}]}


SIZE = Quantity(
    kind="a size",
    plain="bytes",
    factors={
        "B": Fraction(1),
        **{f"{prefix}B": Fraction(1000**power) for power, prefix in enumerate("kMG", 1)},
        **{f"{prefix}iB": Fraction(1024**power) for power, prefix in enumerate("KMG", 1)},
    },
    is_whole=True,
    example="64KiB",
)
CLOCK = Quantity(
    kind="a clock",
    plain="MHz",
    factors={"Hz": Fraction(1, 10**6), "kHz": Fraction(1, 1000), "MHz": Fraction(1), "GHz": Fraction(1000)},
    is_whole=False,
    example="1GHz",
)

Bytes = Annotated[int, SIZE]
"""Type of every field that states bytes."""
Megahertz = Annotated[float, CLOCK]
"""Type of every field that states MHz."""
