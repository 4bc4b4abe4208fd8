"""Recurrent layers as their matrix products, step by step.

The products with the inputs of all steps are one layer; the product with the state is one layer a step, since it needs
the state of the step before: its weights are stored once and fetched at each step.

Vector operations per element of the state: LSTM 28 (four gates: add the input's part, three sigmoids of 4 and a tanh
of 4; cell: two products and a sum; its tanh; a product; peepholes: three products and sums more), GRU 18 (three gates:
add, two sigmoids and a tanh; three products and two sums), simple 5 (add, tanh).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from accelsim.trace.call import Call
from accelsim.trace.emit import Operation
from accelsim.trace.products import UnfitError, linear_terms
from accelsim.trace.values import Value

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_OPS = {"lstm": 28, "gru": 18, "rnn_tanh": 5, "rnn_relu": 2}
_PEEPHOLE_OPS = 6
MAX_STEPS = 4096


@dataclass(frozen=True, slots=True)
class Direction:
    """Weights of one layer in one direction: (gates x hidden, inputs), (gates x hidden, state), maybe a projection."""

    inputs: Value
    state: Value
    projection: Value | None
    has_bias: bool


@dataclass(frozen=True, slots=True)
class _Runner:
    call: Call
    kind: str
    batch: int
    steps: int

    def run(self, operation: Operation, source: Value, direction: Direction, first_state: Value | None) -> Value:
        """Emit one layer in one direction over (steps, batch, features); return its states (batch, steps, hidden).

        The order of steps and batch is not kept: a buffer can be read in any order.
        """
        emitter, gates = self.call.emitter, GATES[self.kind]
        hidden = direction.state.shape[0] // gates
        width = hidden if direction.projection is None else direction.projection.shape[0]
        wide = (*source.shape[:-1], direction.inputs.shape[0])
        fed = operation.part("inputs")
        emitter.product(
            fed, source, direction.inputs, linear_terms(source.shape, direction.inputs.shape), wide,
            bias=direction.has_bias,
        )  # fmt: skip
        total = emitter.value(fed.output)
        states: list[Value] = []
        state = first_state
        for step in range(self.steps):
            part = total.viewed(total.layout if self.steps == 1 else None, (self.batch, gates * hidden))
            state = self._step(operation.part(f"step{step}"), state, part, direction, (hidden, width))
            states.append(state)
        joined = operation.part("states")
        emitter.concat(joined, states, (self.batch, self.steps, width))
        return emitter.value(joined.output)

    def _step(
        self, operation: Operation, state: Value | None, fed: Value, direction: Direction, sizes: tuple[int, int]
    ) -> Value:
        """Emit a step; without a state of its own the first one multiplies zeros, as the operator does."""
        emitter, (hidden, width) = self.call.emitter, sizes
        before = fed.viewed(None, (self.batch, width)) if state is None else state
        summed, made = operation.part("sum"), operation.part("state")
        weight = direction.state
        wide = (self.batch, weight.shape[0])
        emitter.product(summed, before, weight, linear_terms(before.shape, weight.shape), wide, bias=direction.has_bias)
        ops = (_OPS[self.kind] + _PEEPHOLE_OPS * self.call.flag("has_peepholes")) * self.batch * hidden
        sources = [emitter.value(summed.output), fed]
        emitter.vector(made, sources, (self.batch, hidden), ops, self.kind.partition("_")[0])
        if direction.projection is None:
            return emitter.value(made.output)
        narrow, projection = operation.part("projected"), direction.projection
        source = emitter.value(made.output)
        terms = linear_terms(source.shape, projection.shape)
        emitter.product(narrow, source, projection, terms, (self.batch, width))
        return emitter.value(narrow.output)


def recurrent(call: Call) -> None:
    """Handle ``lstm``, ``gru`` and ``rnn`` of one or several layers and directions."""
    source = call.need("input")
    if "num_layers" not in call.record.arguments or len(source.shape) not in (2, 3):
        raise UnfitError("a packed sequence has no fixed steps; export it with a padded one")
    layers = _directions(call)
    batch, steps = (1, source.shape[0]) if len(source.shape) == 2 else source.shape[1::-1]  # noqa: PLR2004  no batch
    is_batch_first = call.flag("batch_first") and len(source.shape) == 3  # noqa: PLR2004  (batch, steps, features)
    if is_batch_first:
        batch, steps = steps, batch
    call.emitter.mix(source, [1 if is_batch_first else 0])  # steps are no samples
    if steps * sum(map(len, layers)) > MAX_STEPS:
        raise UnfitError(f"more than {MAX_STEPS} steps; give a shorter sequence")
    runner = _Runner(call, call.record.target, batch, steps)
    initial = _initial(call, batch, layers)
    last: list[Value] = []
    for number, directions in enumerate(layers):
        outs = []
        for side, direction in enumerate(directions):
            operation = call.operation.part(f"l{number}" + ("_reverse" if side else ""))
            outs.append(runner.run(operation, source, direction, initial))
        last += outs
        if len(outs) == 1:
            source = outs[0]
        else:
            joined = call.operation.part(f"l{number}.both")
            call.emitter.concat(joined, outs, (batch, steps, sum(out.shape[-1] for out in outs)))
            source = call.emitter.value(joined.output)
    results = [source, *[last[-1]] * 2]
    for (name, shape), value in zip(call.record.outputs, results, strict=False):
        if name and shape is not None:
            call.emitter.alias(name, value.viewed(None, shape))


def _initial(call: Call, batch: int, layers: Sequence[Sequence[Direction]]) -> Value | None:
    """Return one layer's first state, where it depends on the input."""
    values = call.values_of("hx")
    if not values or not values[0].is_live:
        return None
    width = prod(values[0].shape) // (sum(map(len, layers)) * batch)
    return values[0].viewed(None, (batch, width))


def _directions(call: Call) -> list[list[Direction]]:
    """Return the weights of each layer and direction from the flat list of parameters."""
    record = call.record
    params = call.values_of("params")
    num_layers, has_bias = record.integer("num_layers", 1), record.arguments.get("has_biases") is not False
    sides = 2 if call.flag("bidirectional") else 1
    each = len(params) // max(1, num_layers * sides)
    plain = 4 if has_bias else 2
    if each not in (plain, plain + 1) or each * num_layers * sides != len(params):
        raise UnfitError("its parameters are not those of its layers")
    groups = [params[start : start + each] for start in range(0, len(params), each)]
    found = [Direction(group[0], group[1], group[-1] if each > plain else None, has_bias) for group in groups]
    return [found[start : start + sides] for start in range(0, len(found), sides)]


def recurrent_cell(call: Call) -> None:
    """Handle one step of a recurrent layer."""
    source, inputs, state = call.need("input"), call.need("w_ih"), call.need("w_hh")
    kind = call.record.target.removesuffix("_cell")
    batch = prod(source.shape[:-1])
    runner = _Runner(call, kind, batch, 1)
    first = next((value for value in call.values_of("hx")[:1] if value.is_live), None)
    direction = Direction(inputs, state, None, call.record.ref("b_ih") is not None)
    flat = source.viewed(source.layout.reshaped((batch, source.shape[-1])), (batch, source.shape[-1]))
    made = runner.run(call.operation, flat, direction, None if first is None else first.viewed(None, (
        batch, state.shape[-1],
    )))  # fmt: skip
    for name, shape in call.record.outputs:
        if name and shape is not None:
            call.emitter.alias(name, made.viewed(None, shape))
