"""A network for several inputs at once: each layer runs for all of them, so that its weights come once.

Every layer has the same weights for each input, and so one loop N more; a product of two activations shares nothing
between inputs, and so has one group (G) more for each.
"""

from __future__ import annotations

from dataclasses import replace

from accelsim.errors import TraceError
from accelsim.trace.model import LayerTrace, TraceLayer

MAX_BATCH = 1 << 20
_MAX_MACS = 1 << 60


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
    macs = sum(layer.dims.macs for layer in trace.layers) * batch
    if macs > _MAX_MACS:
        raise TraceError(
            f"{trace.path or trace.name}: batch: {batch} inputs have {macs} multiply-accumulates; give a smaller batch"
        )
    inputs = trace.num_inputs
    return replace(
        trace,
        layers=tuple(_times(layer, batch) for layer in trace.layers),
        batch=inputs * batch,
        # A first axis of another size holds no inputs.
        input_shapes=tuple(
            (name, (shape[0] * batch, *shape[1:]) if shape[:1] == (inputs,) else shape)
            for name, shape in trace.input_shapes
        ),
        copies=trace.copies * batch,
    )


def _times(layer: TraceLayer, batch: int) -> TraceLayer:
    dims = layer.dims
    return replace(
        layer,
        dims=replace(dims, G=dims.G * batch) if layer.kind == "matmul" else replace(dims, N=dims.N * batch),
        vector_ops=layer.vector_ops * batch,
        num_outputs=layer.num_outputs * batch,
        second_input_elements=layer.second_input_elements * batch,
        input_elements=tuple(count * batch for count in layer.input_elements),
    )
