"""A network of equal blocks with fewer of them, for whoever finds out that the rest are copies."""

from __future__ import annotations

from dataclasses import replace

from accelsim.trace.model import Blocks, LayerTrace, TraceLayer


def shortened(trace: LayerTrace, num_blocks: int) -> LayerTrace:
    """Return the trace with its first ``num_blocks`` blocks; what follows reads the last of these."""
    blocks = trace.blocks
    if blocks is None or num_blocks >= blocks.times:
        return trace
    end, stop = blocks.first + num_blocks * blocks.length, blocks.first + blocks.times * blocks.length
    kept, last = trace.layers[end - blocks.length : end], trace.layers[stop - blocks.length : stop]
    names = {of.name: to.name for of, to in zip(last, kept, strict=True)}

    def renamed(layer: TraceLayer) -> TraceLayer:
        inputs, residuals, second = (
            tuple(names.get(name, name) for name in each)
            for each in (layer.inputs, layer.residuals, layer.second_inputs)
        )
        return replace(layer, inputs=inputs, residuals=residuals, second_inputs=second)

    layers = (*trace.layers[:end], *map(renamed, trace.layers[stop:]))
    return replace(trace, layers=layers, blocks=Blocks(blocks.first, blocks.length, num_blocks), steps=None)
