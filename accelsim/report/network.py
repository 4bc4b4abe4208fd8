"""The table of ``accelsim trace``: a network as hardware sees it."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from accelsim.report.terminal import print_fitted
from accelsim.report.text import percent, printable, quantity
from accelsim.trace.model import LanguageRun, LayerTrace, TraceLayer


def print_trace(console: Console, trace: LayerTrace) -> None:
    """Print a row per layer and the totals."""
    head = f"{printable(trace.name)} [{trace.provenance}]: {len(trace.layers)} layers, "
    console.print(Text(head + network_sizes(trace), style="bold"))
    rows = [_cells(layer) for layer in trace.layers]
    if not rows:
        return
    print_fitted(console, rows, ("then", "input", "sparsity", "reads", "weights"), frozenset({"kind", "reads", "then"}))


def network_sizes(trace: LayerTrace) -> str:
    """Return input shapes, multiply-accumulates, weights and parameters of a network in words."""
    macs = sum(layer.dims.macs for layer in trace.layers if layer.uses_array)
    weights = sum(
        layer.weights.num_weights for layer in trace.layers if layer.weights is not None and not layer.weights_of
    )
    parts = [f"{_count(macs)} MACs", f"{_count(weights)} weights"]
    if trace.num_parameters is not None:
        parts.append(f"{_count(trace.num_parameters)} parameters")
    if trace.language is not None:
        return ", ".join([_language_words(trace, trace.language), *parts])
    shapes = [f"{printable(name, 20)} {'x'.join(map(str, shape)) or '1'}".strip() for name, shape in trace.input_shapes]
    if shapes:
        more = f" and {len(shapes) - _MOST_INPUTS} more" if len(shapes) > _MOST_INPUTS else ""
        parts.insert(0, f"input {', '.join(shapes[:_MOST_INPUTS])}{more}")
    return ", ".join(parts)


def _language_words(trace: LayerTrace, run: LanguageRun) -> str:
    """Return what a run of a language model works on, and how wide its cache is."""
    _, (batch, positions) = trace.input_shapes[0]
    before = run.context_length - run.num_tokens
    match run.phase:
        case "generate":
            words = f"a prompt of {positions:,} tokens and an answer of {run.num_tokens + 1:,}"
        case "decode":
            words = f"one token behind {before:,} in the cache"
        case _:
            words = f"a prompt of {positions:,} tokens" + (f" behind {before:,} in the cache" if before else "")
    cache = "as activations" if run.cache_bits is None else f"in {run.cache_bits} bits"
    return (
        f"{words}, {batch:,} at a time, keys and values {cache}" if batch > 1 else f"{words}, keys and values {cache}"
    )


_MOST_INPUTS = 3


def _count(number: int) -> str:
    return quantity(number, "").strip()


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
