"""One operation of an exported module, whichever file or object it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accelsim.errors import TraceError

Shape = tuple[int, ...]
ATTENTIONS = (
    "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_attention_math "
    "_scaled_dot_product_fused_attention_overrideable"
)
"""Operators of scaled dot-product attention."""
HELD = "held"
"""The argument of an unknown operator that lists where it holds tensors or graphs of its own."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor argument, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """An operation: operator (``conv2d``), arguments by name, outputs with shapes (None: no tensor), and place.

    An output that nobody reads may have the name "". ``macs`` are the multiply-accumulates that the operator's own
    shapes give, where the file that it came from has other shapes than the arguments; ``label`` is its name there.
    """

    target: str
    arguments: Mapping[str, Any]
    outputs: tuple[tuple[str, Shape | None], ...]
    place: str
    macs: int | None = None
    label: str = ""

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

    def first(self) -> Any:
        """Return the first argument, whatever its name."""
        return next(iter(self.arguments.values()), None)

    def sizes(self, name: str, rank: int, default: int) -> tuple[int, ...]:
        """Return an argument for each of ``rank`` spatial axes; a single number counts for all."""
        values = self.integers(name, ())
        if not values:
            return (default,) * rank
        if len(values) not in (1, rank):
            raise self._odd(name, list(values), f"one or {rank} whole numbers")
        return values * rank if len(values) == 1 else values

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        value = self.arguments.get(name)
        if value is None:
            return default
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(item, int) for item in items):
            raise self._odd(name, value, "a list of whole numbers")
        return tuple(items)

    def integer(self, name: str, default: int) -> int:
        """Return a whole number."""
        values = self.integers(name, (default,))
        if len(values) != 1:
            raise self._odd(name, list(values), "a whole number")
        return values[0]

    def _odd(self, name: str, value: Any, wanted: str) -> TraceError:
        return TraceError(f"{self.place}: {self.target}: {name}: {value!r} is not {wanted}; export the module again")


@dataclass(frozen=True, slots=True)
class Program:
    """A straight-line program: its inputs, the tensors that do not depend on them, and its operations.

    Attributes
    ----------
    constants
        Shapes by name.
    parameters
        Tensor name -> name in the module, of parameters and buffers; ``trained`` are the names of parameters, each with
        what holds its values: equal for tied ones.
    outputs
        The tensors it returns, or changes outside.
    batch
        The first axis of the first input that has two or more; 1 where that is dynamic: its example says nothing.
    num_parameters
        Elements of all trained tensors, tied ones once; None where it is not known which are.
    complex_tensors
        The tensors of complex numbers.
    open_input
        The first input whose dynamic first axis was taken for samples, because nothing is stated; "" if there is none.
    narrow
        Bits of an element, of the tensors that are integers of at most 8.
    """

    name: str
    inputs: tuple[tuple[str, Shape], ...]
    constants: Mapping[str, Shape]
    parameters: Mapping[str, str]
    records: tuple[Record, ...]
    outputs: tuple[str, ...]
    batch: int = 1
    num_parameters: int | None = None
    trained: frozenset[str] = field(default_factory=frozenset)
    complex_tensors: frozenset[str] = field(default_factory=frozenset)
    open_input: str = ""
    narrow: Mapping[str, int] = field(default_factory=dict)
