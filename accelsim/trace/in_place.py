"""Operations that change a tensor in place: who reads it later reads the changed one.

Exported programs need not be functional: ``copy_`` into a slice of a cache changes the cache, ``relu_`` its argument.
The tensor that an operation changes, the one that it is a view of, and all other views of that one are bound anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from accelsim.trace.emit import Emitter, Operation
from accelsim.trace.layout import Shape
from accelsim.trace.records import Program, Record
from accelsim.trace.values import Value
from accelsim.trace.views import is_view

_COPIES = frozenset("clone contiguous to _to_copy repeat repeat_interleave tile".split())
"""Views for the reader of a graph that are tensors of their own for torch (``to`` and ``contiguous`` may be)."""

_WRITES = frozenset(
    "copy_ index_put_ _index_put_impl_ index_copy_ scatter_ masked_scatter_ index_add_ index_fill_".split()
)
"""What writes into an input that is kept, as a cache is; other operations that change one use it up."""


def works_in_place(target: str) -> bool:
    """Return whether an operator changes its first operand: ATen marks it with an underscore at the end."""
    return target.endswith("_") and not target.endswith("__")


def _bases(program: Program) -> Mapping[str, str]:
    """Return of each view the tensor that it is a view of."""
    bases: dict[str, str] = {}
    for record in program.records:
        names = record.refs()
        if not names:
            continue
        if (is_view(record.target) and record.target not in _COPIES) or works_in_place(record.target):
            base = bases.get(names[0], names[0])
            bases.update((name, base) for name, shape in record.outputs if name and shape is not None)
    return bases


def changed_bases(program: Program) -> frozenset[str]:
    """Return the tensors that a program changes in place, and all views of them."""
    bases = _bases(program)
    changed = {bases.get(name, name) for record in program.records if works_in_place(record.target)
               for name in record.refs()[:1]}  # fmt: skip
    return frozenset({*changed, *(view for view, base in bases.items() if base in changed)})


def with_state(program: Program) -> Program:
    """Return the program with buffers that it changes as inputs: they are read before and written after."""
    changed = changed_bases(program)
    state = tuple(
        (name, shape)
        for name, shape in program.constants.items()
        if name in changed and program.parameters.get(name, "") not in program.trained and prod(shape) > 1
    )
    if not state:
        return program
    kept = {name: shape for name, shape in program.constants.items() if name not in dict(state)}
    return replace(program, inputs=(*program.inputs, *state), constants=kept)


class Places:
    """Knows which tensors lie in which, while the operations of a program are emitted in order."""

    def __init__(self, program: Program) -> None:
        self._bases = _bases(program)
        self._views: dict[str, list[str]] = {}
        for name, base in self._bases.items():
            self._views.setdefault(base, []).append(name)
        self._inputs = dict(program.inputs)

    def follow(self, record: Record, emitter: Emitter) -> None:
        """Bind anew what an operation changed in place, if it did."""
        names = record.refs()
        made = next((name for name, shape in record.outputs if name and shape is not None), None)
        if not works_in_place(record.target) or made is None or not names or not emitter.has(made):
            return
        changed, value = names[0], emitter.value(made)
        if not value.is_live and not emitter.value(changed).is_live:
            return
        base = self._bases.get(changed, changed)
        if base != changed:
            self._update(record, emitter, base, value)
        current = emitter.value(base) if base != changed else value
        for view in (changed, *self._views.get(base, ())):
            if view != made and emitter.has(view):
                shape = emitter.value(view).shape
                emitter.alias(view, value if view == changed and shape == value.shape else _seen(current, shape))
        if base == changed:
            emitter.alias(base, value)
        if base in self._inputs and record.target in _WRITES:
            emitter.changed.append(base)

    def _update(self, record: Record, emitter: Emitter, base: str, value: Value) -> None:
        before = emitter.value(base)
        if prod(before.shape) == prod(value.shape):
            emitter.alias(base, _seen(value, before.shape))
            return
        operation = Operation(record.target, record.place, f"{base}.changed")
        emitter.concat(operation, [before, value], before.shape, update=True)
        emitter.alias(base, emitter.value(operation.output))


def _seen(value: Value, shape: Shape) -> Value:
    layout = value.layout.reshaped(shape) if prod(value.shape) == prod(shape) else None
    return value.viewed(layout, shape)
