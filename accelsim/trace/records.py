"""One operation of an exported module, whichever file or object it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.errors import TraceError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor argument, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """An operation: operator (``conv2d``), arguments by name, outputs with shapes (None: no tensor), and place."""

    target: str
    arguments: Mapping[str, Any]
    outputs: tuple[tuple[str, Shape | None], ...]
    place: str

    def refs(self) -> list[str]:
        """Return the names of all tensor arguments."""
        found = []
        for value in self.arguments.values():
            items = value if isinstance(value, list | tuple) else [value]
            found += [item.name for item in items if isinstance(item, Ref)]
        return found

    def ref(self, *names: str) -> str | None:
        """Return the tensor given under the first of ``names`` that is given, or None."""
        for name in names:
            value = self.arguments.get(name)
            if isinstance(value, Ref):
                return value.name
        return None

    def pair(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        """Return an argument for both axes; a single number counts for both, one-dimensional ones for the width."""
        value = self.arguments.get(name)
        if value is None or value == []:
            return default
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not 1 <= len(items) <= 2 or not all(isinstance(item, int) for item in items):
            raise self._odd(name, value, "one or two whole numbers")
        if len(items) == 1:
            return (default[0], items[0]) if self.target.endswith("1d") else (items[0], items[0])
        return items[0], items[1]

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self.arguments.get(name)
        if value is None:
            return default
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(item, int) for item in items):
            raise self._odd(name, value, "a list of whole numbers")
        return tuple(items)

    def _odd(self, name: str, value: Any, wanted: str) -> TraceError:
        return TraceError(f"{self.place}: {self.target}: {name}: {value!r} is not {wanted}; export the module again")
