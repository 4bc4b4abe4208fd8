"""TPU v3: cycles of kernels on a real core. TPU v1: where its cycles went, and what a weight generator would change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from accelsim.config.loader import LoadedHardware
from accelsim.errors import ConfigError
from accelsim.mapping.loops import Tiling
from accelsim.pipeline import simulate
from accelsim.sim.counters import Counters
from accelsim.ticket.zoo import is_network
from accelsim.ticket.zoo.decoders import is_decoder
from accelsim.ticket.zoo.spec import NetworkSpec
from accelsim.ticket.zoo.transformer import TransformerShape, build_decoder_block
from accelsim.trace import trace_network
from accelsim.trace.batch import with_batch
from accelsim.trace.from_graph import trace_graph
from accelsim.trace.model import LayerTrace, LayerWeights, LoopDims, TraceLayer
from accelsim.trace.options import TraceOptions, stated_weights
from accelsim.trace.vector_ops import NORM_OPS, SOFTMAX_OPS
from accelsim.validation.own_rows import BATCH, MEASURED, MOST_SIZE, TEXT, Column, Columns
from accelsim.validation.reference import Row, Table, load_table, preset_path
from accelsim.validation.rows import ValidationRow, summary_rows
from accelsim.validation.runs import conv_dims, cycles, gemm_dims, layer, machine, network

MATRIX_UNIT = 256
WEIGHT_BOUND = ("MLP0", "MLP1", "LSTM0", "LSTM1")
SPARSITY, PRUNE_RATIO, LOCK_RATIO = 0.7, 0.5, 0.2  # a ticket frozen to 70 %, as in arXiv 2402.14029


COLUMNS = Columns(
    "tpu_v3", (Column("workload", TEXT), Column("batch", BATCH, optional=True), Column("cycles", MEASURED))
)
"""What rows of a user's own have."""


def validate_tpu_v3(own: Table | None = None) -> list[ValidationRow]:
    """Return a row per kernel, network or encoder block, and the summary."""
    table = own or load_table("tpu_v3")
    rows = []
    for row in table.rows:
        name = row.text("workload")
        # Kernels of vector operations alone are fp32 as their callers make them; products round operands to bfloat16.
        kind = _kind_of(name)
        width = {"activation_bits": 32} if kind in _VECTOR_KINDS else {}
        with row.named():
            counters = simulate(machine(preset_path("tpu_v3_dense"), width), _workload_of(row), "dense-fp16")
        batch = f", batch {_batch_of(row)}" if _batch_of(row) > 1 else ""
        quantity, ours = f"cycles of {name}{batch}", float(cycles(counters))
        rows.append(
            ValidationRow(table.name, table.source, quantity, row.number("cycles"), ours, kinds=(_KINDS[kind],))
        )
    scale_sim, note = (
        (0.55, "SCALE-Sim v3 on 16 kernels, of which these are a part") if own is None else (None, "none at hand")
    )
    return summary_rows(table.name, table.source, "cycles of the kernels", rows, (scale_sim, None), note) + rows


_KERNELS = {"gemm": 3, "conv": 8, "attention": 3, "layernorm": 2, "softmax": 2, "encoder": 3}
"""Numbers in the name of each kind of workload that is no network."""
_KINDS = {
    "gemm": "products", "conv": "convolutions", "attention": "attention", "layernorm": "layer normalisation",
    "softmax": "softmax", "encoder": "encoder blocks", "": "whole networks",
}  # fmt: skip
_VECTOR_KINDS = ("layernorm", "softmax")
_SIZES = re.compile(r"[0-9]{1,7}(x[0-9]{1,7})*")


def _kind_of(name: str) -> str:
    kind = name.partition("_")[0]
    return kind if kind in _KERNELS else ""


def _workload_of(row: Row) -> LayerTrace:
    """Return the trace of a network by name, of an encoder block or of a kernel, for a batch of inputs."""
    name = row.text("workload")
    kind = _kind_of(name)
    if kind == "encoder":
        trace = _encoder(*_sizes(name))
    elif kind:
        trace = network("validation", _kernel(name))
    else:
        of_imagenet = f"{name}-imagenet"  # where a plain name is that of the small images
        if not is_network(name):
            raise ConfigError(
                f"workload: {name[:60]!r} is no kernel and no network; write e.g. gemm_256x256x256, encoder_128x768x12 "
                "(tokens, width, heads), or a network that accelsim list names"
            )
        if is_decoder(name):
            raise ConfigError(
                f"workload: {name} is a language model, and a row has neither prompt nor phase; write its kernels or "
                "an encoder, e.g. encoder_128x768x12 (tokens, width, heads)"
            )
        trace = _with_softmax_kernels(trace_network(of_imagenet if is_network(of_imagenet) else name))
    return with_batch(trace, _batch_of(row))


def _batch_of(row: Row) -> int:
    return row.whole("batch") if "batch" in row.cells else 1


def _sizes(name: str) -> list[int]:
    kind, _, text = name.partition("_")
    sizes = [int(part) for part in text.split("x")] if _SIZES.fullmatch(text) else []
    least = [0 if kind == "conv" and place == 7 else 1 for place in range(len(sizes))]  # a padding may be none
    if len(sizes) != _KERNELS[kind] or any(
        not low <= size <= MOST_SIZE for low, size in zip(least, sizes, strict=True)
    ):
        raise ConfigError(
            f"workload: {name[:60]!r} needs {_KERNELS[kind]} whole numbers from 1 to {MOST_SIZE} with x between; write "
            f"e.g. {_EXAMPLES[kind]}"
        )
    return sizes


_EXAMPLES = {
    "gemm": "gemm_256x256x256 (M, K, N)",
    "conv": "conv_64x56x56x64x64x3x1x1 (images, height, width, channels, filters, kernel, stride, padding)",
    "attention": "attention_16x512x64 (heads, tokens, width of a head)",
    "layernorm": "layernorm_2048x768 (rows, width)",
    "softmax": "softmax_2048x2048 (rows, width)",
    "encoder": "encoder_128x768x12 (tokens, width, heads)",
}


def _encoder(tokens: int, width: int, heads: int) -> LayerTrace:
    """Return a transformer block of one sequence, feed-forward four times as wide."""
    if width % heads:
        raise ConfigError(f"workload: encoder of width {width}: {heads} heads do not divide it; give a divisor")
    shape = TransformerShape(width, heads, num_blocks=1)
    return _with_softmax_kernels(
        trace_graph(build_decoder_block(shape, NetworkSpec("encoder", 1, (tokens, width))), provenance="dense")
    )


def _with_softmax_kernels(trace: LayerTrace) -> LayerTrace:
    """Return the trace with each softmax as a kernel of its own, which reads and writes the memory, as there."""
    layers: list[TraceLayer] = []
    renamed: dict[str, str] = {}
    for item in trace.layers:
        inputs = tuple(renamed.get(name, name) for name in item.inputs)
        if item.kind == "matmul" and item.vector_ops:
            renamed[item.name] = f"{item.name}.softmax"
            rows = item.num_outputs // item.dims.K
            layers.append(replace(item, inputs=inputs, vector_ops=0))
            layers.append(_elementwise(renamed[item.name], rows, item.dims.K, SOFTMAX_OPS, item.name))
        else:
            layers.append(replace(item, inputs=inputs))
    return replace(trace, layers=tuple(layers))


def _kernel(name: str) -> list[TraceLayer]:
    """Return the layers of a kernel such as ``gemm_256x256x256`` or ``conv_64x56x56x64x64x3x1x1``."""
    kind, size = _kind_of(name), _sizes(name)
    if kind == "gemm":
        return [layer(name, gemm_dims(rows=size[0], cols=size[2], depth=size[1]), "linear")]
    if kind == "conv":
        batch, height, width, channels, filters, kernel, stride, padding = size
        if kernel > min(height, width) + 2 * padding:
            raise ConfigError(
                f"workload: {name[:60]!r}: its kernel of {kernel} is larger than the padded input; correct it"
            )
        out = tuple((extent + 2 * padding - kernel) // stride + 1 for extent in (height, width))
        dims = conv_dims(
            channels=channels, filters=filters, out=(out[0], out[1]), window=(kernel, kernel), stride=stride,
            batch=batch, padding=padding,
        )  # fmt: skip
        return [layer(name, dims)]
    if kind == "attention":
        return _attention(heads=size[0], tokens=size[1], width=size[2])
    ops = NORM_OPS["layer"] if kind == "layernorm" else SOFTMAX_OPS
    return [_elementwise(name, rows=size[0], width=size[1], ops=ops)]


def _elementwise(name: str, rows: int, width: int, ops: int, source: str = "input") -> TraceLayer:
    dims = LoopDims(C=width, K=width, P=rows, H=rows)
    elements = rows * width
    return TraceLayer(
        name=name, kind="vector", dims=dims, inputs=(source,), num_outputs=elements, vector_ops=ops * elements
    )


def _attention(heads: int, tokens: int, width: int) -> list[TraceLayer]:
    """Return scores, softmax and weighted sum of one attention; both operands of the products are activations."""
    scores = LoopDims(G=heads, K=tokens, C=width, P=tokens, H=tokens)
    mixed = LoopDims(G=heads, K=width, C=tokens, P=tokens, H=tokens)
    operand = heads * tokens * width
    return [
        _product("scores", scores, "input", operand),
        _elementwise("softmax", heads * tokens, tokens, SOFTMAX_OPS, "scores"),
        _product("mixed", mixed, "softmax", operand),
    ]


def _product(name: str, dims: LoopDims, source: str, operand: int) -> TraceLayer:
    return TraceLayer(name, "matmul", dims, (source,), num_outputs=dims.num_outputs, second_input_elements=operand)


def validate_tpu_v1() -> list[ValidationRow]:
    """Return stall share and TOPS of six workloads, and TOPS of the weight-bound ones with a weight generator."""
    table = load_table("tpu_v1")
    dense, generating = machine(preset_path("tpu_v1_dense")), machine(preset_path("tpu_v1"))
    rows = []
    for row in table.rows:
        name, trace = row.text("workload"), _workload(row)
        counters = simulate(dense, trace, "dense-int8", fixed=_weight_tiles(trace))
        ours = _tops(counters, dense)
        note = "theirs includes the host link and instructions; layer sizes are not published: equal square layers here"
        if name in WEIGHT_BOUND:
            rows += _stall_rows(table, row, counters)
        rows.append(ValidationRow(table.name, table.source, f"TOPS, {name}", row.number("tops"), ours, note))
        if name in WEIGHT_BOUND:
            ticket = simulate(generating, _as_ticket(trace), "slt", fixed=_weight_tiles(trace))
            tops, what = _tops(ticket, generating), f"TOPS with a weight generator and a 70 % frozen ticket, {name}"
            text = f"{tops / ours:.2f} times the dense int8 chip above"
            rows.append(ValidationRow(table.name, table.source, what, None, tops, text, gap=False))
    return rows


def _stall_rows(table: Table, row: Row, counters: Counters) -> list[ValidationRow]:
    """Return the shares of cycles lost to weights: waiting for them, and waiting for or shifting them in."""
    total, name = cycles(counters), row.text("workload")
    waits = sum(item.cycles_by_cause["wait_dram"] for item in counters.layers) / total
    loads = [item.cycles_by_cause[cause] for item in counters.layers for cause in ("weight_load", "fill_drain")]
    shifts = sum(loads) / total
    stall, shift = row.number("weight_stall_percent") / 100, row.number("weight_shift_percent") / 100
    both = f"share of cycles stalled on weights or shifting them in, {name}"
    alone = "a shift behind a waiting array is a part of the wait here, and counted apart there"
    return [
        ValidationRow(table.name, table.source, f"share of cycles stalled on weights, {name}", stall, waits, alone),
        ValidationRow(
            table.name, table.source, both, stall + shift, waits + shifts, "theirs has non-matrix cycles too"
        ),
    ]


def _weight_tiles(trace: LayerTrace) -> dict[str, Tiling]:
    """Return tiles of 256 x 256 weights for linear layers, the chip's only size; one output stripe after another."""
    return {
        item.name: Tiling(
            N=item.dims.N, G=1, K=min(MATRIX_UNIT, item.dims.K), C=min(MATRIX_UNIT, item.dims.C), P=1, Q=1,
            order=("G", "N", "P", "Q", "K", "C"),
        )
        for item in trace.layers if item.kind == "linear"
    }  # fmt: skip


def _tops(counters: Counters, hardware: LoadedHardware) -> float:
    macs = sum(item.macs for item in counters.layers)
    return 2 * macs * hardware.config.clock_mhz * 1e6 / cycles(counters) / 1e12


def _workload(row: Row) -> LayerTrace:
    """Return a network with the published number of weights, layers and weight reuse, in equal layers."""
    num_fc, num_conv = row.whole("fc_layers"), row.whole("conv_layers")
    batch, weights = row.whole("batch"), row.number("weights_m") * 1e6
    layers: list[TraceLayer] = []
    if num_conv:
        positions = row.number("ops_per_weight_byte") / batch
        side = max(1, round(math.sqrt(positions)))
        channels = round(math.sqrt(weights / (num_conv + num_fc) / 9))
        dims = conv_dims(channels=channels, filters=channels, out=(side, side), window=(3, 3), batch=batch, padding=1)
        layers = [layer(f"conv{i}", dims, inputs=_previous("conv", i)) for i in range(num_conv)]
    else:
        width = round(math.sqrt(weights / num_fc))
        dims = LoopDims(N=batch, K=width, C=width)
        layers = [layer(f"fc{i}", dims, "linear", inputs=_previous("fc", i)) for i in range(num_fc)]
    return network(row.text("workload"), layers)


def _previous(stem: str, index: int) -> tuple[str, ...]:
    return (f"{stem}{index - 1}",) if index else ("input",)


def _as_ticket(trace: LayerTrace) -> LayerTrace:
    """Return the network with the statistics of a frozen ticket."""
    shapes = [item.weights.shape for item in trace.layers if item.weights is not None]
    options = TraceOptions(sparsity=SPARSITY, prune_ratio=PRUNE_RATIO, lock_ratio=LOCK_RATIO)
    weights = iter(stated_weights(shapes, options))
    layers = tuple(_with_weights(item, weights) for item in trace.layers)
    return LayerTrace(name=trace.name, layers=layers, provenance="synthetic")


def _with_weights(item: TraceLayer, weights: Iterator[LayerWeights]) -> TraceLayer:
    return replace(item, weights=next(weights)) if item.weights is not None else item
