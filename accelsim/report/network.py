"""The table of ``accelsim trace``: a network as hardware sees it."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from accelsim.report.terminal import print_fitted
from accelsim.report.text import percent, printable, quantity
from accelsim.trace.model import LayerTrace, TraceLayer


def print_trace(console: Console, trace: LayerTrace) -> None:
    """Print a row per layer and the totals."""
    macs = sum(layer.dims.macs for layer in trace.layers if layer.uses_array)
    weights = sum(layer.weights.num_weights for layer in trace.layers if layer.weights is not None)
    head = f"{printable(trace.name)} [{trace.provenance}]: {len(trace.layers)} layers, "
    sizes = f"{quantity(macs, '').strip()} MACs, {quantity(weights, '').strip()} weights"
    console.print(Text(head + sizes, style="bold"))
    rows = [_cells(layer) for layer in trace.layers]
    if not rows:
        return
    print_fitted(console, rows, ("then", "input", "sparsity", "reads", "weights"), frozenset({"kind", "reads", "then"}))


def _output(layer: TraceLayer) -> str:
    """Return channels x rows x columns of one sample; a transposed convolution's loops run over its smaller input."""
    dims = layer.dims
    channels = dims.G * dims.K
    pixels = layer.num_outputs // (dims.N * channels)
    times = math.isqrt(pixels // (dims.P * dims.Q))
    if layer.kind != "conv_transpose2d" or pixels == dims.P * dims.Q:
        return f"{channels}x{dims.P}x{dims.Q}"
    rows, columns = dims.P * times, dims.Q * times
    return f"{channels}x{rows}x{columns}" if rows * columns == pixels else f"{channels}x{pixels}"


def _cells(layer: TraceLayer) -> dict[str, str]:
    dims, weights = layer.dims, layer.weights
    return {
        "layer": printable(layer.name, 40),
        "kind": layer.kind,
        "reads": printable(", ".join([*layer.inputs, *layer.residuals]), 40),
        "output": _output(layer),
        "MACs": quantity(dims.macs, "").strip() if layer.uses_array else "-",
        "weights": f"{weights.num_weights:,}" if weights is not None else "-",
        "sparsity": percent(weights.sparsity) if weights is not None else "-",
        "input": percent(layer.input_density) + ("" if layer.input_density_measured else "?"),
        "then": " ".join(layer.post_ops),
    }
