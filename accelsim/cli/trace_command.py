"""``accelsim trace``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from accelsim.cli.collect import workload_options
from accelsim.cli.common import common_options, examples, json_option, session, write_stdout
from accelsim.report.network import print_trace
from accelsim.report.terminal import make_console
from accelsim.trace import TraceOptions, trace_workload
from accelsim.trace.model import LayerTrace, TraceLayer


@click.command(
    "trace",
    epilog=examples(
        "accelsim trace workloads/resnet_slt.pt", "accelsim trace mobilenet_v2 --input-shape 3x96x96 --json"
    ),
)
@click.argument("workload")
@workload_options()
@json_option
@common_options
@click.pass_context
def command(ctx: click.Context, workload: str, stated: TraceOptions, as_json: bool) -> None:
    """Show the layers of WORKLOAD as the hardware sees them.

    WORKLOAD is a ticket (.pt), an exported module (.pt2, .onnx), a topology (.csv) or the name of a network.
    """
    trace = trace_workload(workload, stated)
    for remark in trace.remarks:
        session(ctx).note(remark)
    if as_json:
        write_stdout(json.dumps(_document(trace), indent=2, allow_nan=False) + "\n")
        return
    print_trace(make_console(sys.stdout), trace)
    for operation, count in trace.skipped:
        click.echo(f"left out: {count} x {operation}")


def _document(trace: LayerTrace) -> dict[str, Any]:
    return {
        "skipped": dict(trace.skipped),
        "name": trace.name,
        "path": trace.path,
        "provenance": trace.provenance,
        "phase": "forward" if trace.language is None else trace.language.phase,
        "context_length": None if trace.language is None else trace.language.context_length,
        "layers": [_layer(layer) for layer in trace.layers],
    }


def _layer(layer: TraceLayer) -> dict[str, Any]:
    dims, weights = layer.dims, layer.weights
    names = ("N", "G", "K", "C", "P", "Q", "R", "S", "H", "W", "stride", "dilation", "padding", "slices")
    return {
        "name": layer.name,
        "kind": layer.kind,
        "inputs": layer.inputs,
        "residuals": layer.residuals,
        "post_ops": layer.post_ops,
        "dims": {name: getattr(dims, name) for name in names},
        "macs": dims.macs if layer.uses_array else 0,
        "vector_ops": layer.vector_ops,
        "num_outputs": layer.num_outputs,
        "num_weights": weights.num_weights if weights is not None else 0,
        "sparsity": weights.sparsity if weights is not None else 0.0,
        "weight_share": layer.weight_share,
        "cached_elements": layer.cached_elements,
        "caches": layer.caches,
        "input_density": layer.input_density,
        "input_density_measured": layer.input_density_measured,
    }
