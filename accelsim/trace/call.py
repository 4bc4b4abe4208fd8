"""One operation of a program with the values that it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelsim.errors import TraceError
from accelsim.trace.emit import Emitter, Operation
from accelsim.trace.layout import Shape
from accelsim.trace.products import UnfitError
from accelsim.trace.records import Program, Record, Ref
from accelsim.trace.values import Value


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler of an operator gets."""

    program: Program
    record: Record
    emitter: Emitter

    @property
    def operation(self) -> Operation:
        """Return where the operation stands."""
        record = self.record
        return Operation(record.label or record.target, record.place, self.output)

    @property
    def output(self) -> str:
        """Return the name of the first output that somebody reads."""
        return next((name for name, shape in self.record.outputs if name and shape is not None), "")

    @property
    def shape(self) -> Shape:
        """Return the shape of that output."""
        return next((shape for name, shape in self.record.outputs if name and shape is not None), ())

    def values(self) -> list[Value]:
        """Return all operands."""
        return [self.emitter.value(name) for name in self.record.refs()]

    def live(self) -> list[Value]:
        """Return the operands that depend on the input."""
        return [value for value in self.values() if value.is_live]

    def first_live(self) -> Value:
        """Return the first operand that depends on the input."""
        return self.live()[0]

    def value(self, *names: str) -> Value | None:
        """Return the operand given under the first of ``names`` that is given, or None."""
        name = self.record.ref(*names)
        return None if name is None else self.emitter.value(name)

    def need(self, *names: str) -> Value:
        """Return the operand given under one of ``names``; `UnfitError` if there is none."""
        value = self.value(*names)
        if value is None:
            raise UnfitError(f"its operand {names[0]!r} is missing")
        return value

    def values_of(self, name: str) -> list[Value]:
        """Return the tensors of a list, or the only one."""
        given: Any = self.record.arguments.get(name) or []
        items = [given] if isinstance(given, Ref) else given
        return [self.emitter.value(item.name) for item in items if isinstance(item, Ref)]

    def flag(self, name: str) -> bool:
        """Return whether an argument is stated as true."""
        return self.record.arguments.get(name) is True

    def unfit(self, why: str = "") -> UnfitError:
        """Return what says that this operation has no place in a layer graph."""
        return UnfitError(why)

    def fail(self, problem: str) -> TraceError:
        """Return the error for this operation."""
        return self.emitter.fail(self.operation, problem)


Handler = Callable[[Call], None]
