"""A network for several inputs at once: each layer runs for all of them, so that its weights come once.

Every layer has the same weights for each input, and so one loop N more; a product of two activations shares nothing
between inputs, and so has one group (G) more for each.
"""

from __future__ import annotations

from dataclasses import replace

from accelsim.errors import TraceError
from accelsim.trace.model import LayerTrace, TraceLayer

MAX_BATCH = 1 << 16
MAX_MACS = 1 << 60


def batch_problem(batch: object) -> str | None:
    """Return what is wrong with a batch, or None."""
    if isinstance(batch, int) and not isinstance(batch, bool) and 1 <= batch <= MAX_BATCH:
        return None
    return f"batch: {batch} is not a whole number from 1 to {MAX_BATCH}; give how many inputs one run takes"


def with_batch(trace: LayerTrace, batch: int) -> LayerTrace:
    """Return the trace of ``batch`` times as many inputs.

    Raises
    ------
    TraceError
        No batch, or more work than can be counted.
    """
    problem = batch_problem(batch)
    if problem:
        raise TraceError(problem)
    if batch == 1:
        return trace
    if trace.language is not None:
        raise TraceError(f"batch: {trace.name} is a language model; state its batch where its trace is made")
    macs = sum(layer.dims.macs for layer in trace.layers) * batch
    if macs > MAX_MACS:
        raise TraceError(
            f"{trace.path or trace.name}: batch: {batch} inputs have {macs} multiply-accumulates; give a smaller batch"
        )
    return in_copies(trace, trace.copies * batch)


def in_copies(trace: LayerTrace, copies: int) -> LayerTrace:
    """Return the trace of ``copies`` times the workload's own inputs, in place of ``trace.copies`` times."""
    if copies == trace.copies:
        return trace
    now, inputs = trace.copies, trace.num_inputs

    def scaled(count: int) -> int:
        return count // now * copies  # every count is a multiple: `with_batch` made it so

    def of_layer(layer: TraceLayer) -> TraceLayer:
        dims, is_product = layer.dims, layer.kind == "matmul"
        return replace(
            layer,
            dims=replace(dims, G=scaled(dims.G)) if is_product else replace(dims, N=scaled(dims.N)),
            vector_ops=scaled(layer.vector_ops),
            num_outputs=scaled(layer.num_outputs),
            second_input_elements=scaled(layer.second_input_elements),
            input_elements=tuple(map(scaled, layer.input_elements)),
            cached_elements=None if layer.cached_elements is None else scaled(layer.cached_elements),
            cached_outputs=None if layer.cached_outputs is None else scaled(layer.cached_outputs),
        )

    return replace(
        trace,
        layers=tuple(map(of_layer, trace.layers)),
        batch=scaled(inputs),
        # A first axis of another size holds no inputs.
        input_shapes=tuple(
            (name, (scaled(shape[0]), *shape[1:]) if shape[:1] == (inputs,) else shape)
            for name, shape in trace.input_shapes
        ),
        copies=copies,
    )
