"""The multiply-accumulates of an operation from its own shapes alone: what the layers made of it are compared with.

Nothing here looks at the layer graph, so that a mistake in reading axes, views or groups shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Protocol

from accelsim.errors import TraceError
from accelsim.trace.emit import Work
from accelsim.trace.model import TraceLayer
from accelsim.trace.products import UnfitError, equation_terms, shared_letters
from accelsim.trace.records import ATTENTIONS, Record, Ref
from accelsim.trace.values import Value


class Values(Protocol):
    """What knows the tensors of a program."""

    def value(self, name: str) -> Value:
        """Return a tensor."""
        ...


def record_macs(record: Record, values: Values) -> int:
    """Return the multiply-accumulates of an operation; 0 for one that multiplies no matrices."""
    target = record.target
    if "conv" in target and "weight" in record.arguments:
        return _conv_macs(record, values)
    rule = _RULES.get(target)
    if rule is not None:
        return rule(record, values)
    place = _REDUCED.get(target)
    return 0 if place is None else prod(_out(record)) * values.value(record.refs()[place]).shape[-1]


_REDUCED = {
    **dict.fromkeys("mm bmm matmul mv dot vdot _int_mm _scaled_mm linear".split(), 0),
    **dict.fromkeys("_weight_int8pack_mm _weight_int4pack_mm packed_linear".split(), 0),
    **dict.fromkeys("_grouped_mm transformers::grouped_mm_fallback".split(), 0),
    **dict.fromkeys("addmm baddbmm addmv".split(), 1),
}
"""Products by matrices: which operand's last axis is summed over."""


def _out(record: Record) -> tuple[int, ...]:
    return next((shape for name, shape in record.outputs if name and shape is not None), ())


def _shape(record: Record, values: Values, *names: str) -> tuple[int, ...]:
    name = record.ref(*names)
    return values.value(name).shape if name is not None else ()


def _conv_macs(record: Record, values: Values) -> int:
    """Return outputs times weights of a filter; of a transposed convolution, inputs times those that they meet."""
    is_transposed = "transpose" in record.target or record.arguments.get("transposed") is True
    positions = _shape(record, values, "input", "self") if is_transposed else _out(record)
    return prod(positions) * prod(_shape(record, values, "weight")[1:])


def _attention_macs(record: Record, values: Values) -> int:
    query, key, value = (_shape(record, values, name) for name in ("query", "key", "value"))
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _einsum_macs(record: Record, values: Values) -> int:
    """Return the multiplications of an equation, its operands taken two at a time from the left."""
    shapes = [values.value(name).shape for name in record.refs()]
    try:
        terms, out = equation_terms(str(record.arguments.get("equation", "")), [len(shape) for shape in shapes])
    except UnfitError:
        return 0
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    terms = shared_letters(terms, out) if len(terms) > 1 else terms
    total, have = 0, set(terms[0])
    for index, term in enumerate(terms[1:], 1):
        both = have | set(term)
        left = both & set("".join([*terms[index + 1 :], out]))
        if both != left:
            total += prod(sizes[letter] for letter in both)
        have = left
    return total


def _recurrent_macs(record: Record, values: Values) -> int:
    """Return the products of all steps: every weight matrix meets each step of each sequence."""
    source = values.value(record.ref("input") or "").shape
    positions = prod(source[:-1])
    weights = record.arguments.get("params") or [record.arguments.get("w_ih"), record.arguments.get("w_hh")]
    shapes = [values.value(item.name).shape for item in weights if isinstance(item, Ref)]
    return positions * sum(prod(shape) for shape in shapes if len(shape) > 1)


_RULES: dict[str, Callable[[Record, Values], int]] = {
    "einsum": _einsum_macs,
    "addbmm": lambda record, values: prod(values.value(record.refs()[1]).shape) * _out(record)[-1],
    **dict.fromkeys(
        "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split(), _recurrent_macs
    ),
    **dict.fromkeys(ATTENTIONS.split(), _attention_macs),
}


def check_work(where: str, work: list[Work], layers: tuple[TraceLayer, ...]) -> None:
    """Compare the layers of each operation with what its own shapes give.

    Raises
    ------
    TraceError
        They multiply another number of times: a fault of the reader, never a result.
    """
    found: Mapping[str, TraceLayer] = {layer.name: layer for layer in layers}
    for entry in work:
        names = [name for name in entry.nodes if name in found]
        if entry.nodes and len(names) < len(entry.nodes):
            continue  # no output needs it
        macs = sum(found[name].dims.macs for name in names)
        if macs != entry.macs:
            place = entry.operation
            raise TraceError(
                f"{where}: {place.place}: {place.target} has {entry.macs} multiply-accumulates by its shapes, its "
                f"layers have {macs}; this is a fault of the reader: please report the operator with its shapes"
            )
