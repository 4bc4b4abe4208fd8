"""How an exported module stores the weights of its layers: what its checkpoint and its graph need to meet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from accelsim.ticket.graph import NetworkGraph
from accelsim.trace.exported import read_pt2
from accelsim.trace.modules import graph_from_file
from accelsim.trace.records import Program, Record, Shape
from accelsim.trace.sums import with_products

_TURNS = frozenset("t numpy_T mT transpose permute swapaxes swapdims adjoint mH".split())
_VIEWS = frozenset("view reshape to _to_copy detach contiguous clone alias unsqueeze squeeze expand".split())
_PRODUCTS = frozenset("mm bmm matmul addmm baddbmm".split())
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_SUFFIXES = (".pt2", ".onnx")


@dataclass(frozen=True, slots=True)
class ExportedModule:
    """A layer graph, and what its layers' weights are in the module.

    ``transposed`` are the parameters that the module stores inputs first; ``names`` maps layers that are not called
    after their parameter to it: because it is ``computed`` (standardised, normalised), or because ONNX renames it.
    """

    graph: NetworkGraph
    transposed: frozenset[str]
    names: Mapping[str, str]
    computed: frozenset[str]


def is_exported_module(path: str) -> bool:
    """Return whether a path has the suffix of an exported module."""
    return Path(path).suffix.lower() in _SUFFIXES


def read_exported_module(
    path: str | os.PathLike[str], input_shape: Shape | None = None, *, skip_unsupported: bool = False
) -> ExportedModule:
    """Return graph and orientation of the weights of a ``.pt2`` or ``.onnx`` file.

    Raises
    ------
    TraceError
        See `accelsim.trace.modules.graph_from_file`.
    """
    graph = graph_from_file(path, skip_unsupported=skip_unsupported, input_shape=input_shape).graph
    if Path(path).suffix.lower() == ".onnx":
        return _of_onnx(path, graph)
    program = read_pt2(path)
    names = computed_weights(program)
    computed = frozenset({*names, *names.values(), *(name.removesuffix(".weight") for name in names.values())})
    return ExportedModule(graph, stored_inputs_first(program), names, computed)


def _of_onnx(path: str | os.PathLike[str], graph: NetworkGraph) -> ExportedModule:
    """Return what an ONNX file that PyTorch wrote says of its weights.

    A product whose second operand is called after a parameter reads it as (inputs, outputs); of a linear layer's weight
    the exporters make a turned copy with a name of its own ("onnx::MatMul_7", "val_3").
    """
    import onnx  # noqa: PLC0415  slow to import

    scopes: dict[str, str] = {}
    transposed: set[str] = set()
    for node in onnx.load(os.fspath(path), load_external_data=False).graph.node:
        noted = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES_KEY), "")
        modules = re.findall(r"'([^']*)'", noted)
        if len(modules) > 1 and modules[-2]:
            scopes[node.name] = modules[-2]
        if node.op_type == "MatMul":
            transposed.update(name for name in node.input[1:] if name.endswith(".weight"))
    return ExportedModule(graph, frozenset(transposed), scopes, frozenset())


def stored_inputs_first(program: Program) -> frozenset[str]:
    """Return the names of the parameters that a product uses as (inputs, outputs), not as a linear layer has them."""
    stored = {tensor: (name, False) for tensor, name in program.parameters.items()}
    found: set[str] = set()
    for record in with_products(program).records:
        source = next(iter(record.refs()), None)
        if source in stored and record.outputs:
            name, is_turned = stored[source]
            if record.target in _TURNS | _VIEWS:
                stored[record.outputs[0][0]] = (name, is_turned ^ (record.target in _TURNS))
        for tensor, uses_turned in _weights_of(record):
            if tensor in stored:
                name, is_turned = stored[tensor]
                found.update({name} if uses_turned ^ is_turned else ())
    return frozenset(found)


def computed_weights(program: Program) -> dict[str, str]:
    """Return the parameter behind each operation whose weight is computed from it, by the operation's result."""
    constant = {tensor: program.parameters.get(tensor, "") for tensor in program.constants}
    large = {tensor for tensor, shape in program.constants.items() if len(shape) > 1}
    found: dict[str, str] = {}
    for record in program.records:
        refs = record.refs()
        if refs and all(name in constant for name in refs):
            sources = [name for name in refs if name in large and constant[name]]
            for name, shape in record.outputs:
                constant[name] = constant[sources[0]] if sources else ""
                large.update({name} if shape is not None and len(shape) > 1 else ())
            continue
        for name in refs:
            if name in large and name not in program.parameters and constant.get(name) and record.outputs:
                found[record.outputs[0][0]] = constant[name]
    return found


def _weights_of(record: Record) -> Iterator[tuple[str, bool]]:
    """Yield the operands that may be weights, and whether the operation reads them as (inputs, outputs)."""
    if record.target == "linear" and (weight := record.ref("weight")) is not None:
        yield weight, False
    elif record.target in _PRODUCTS:
        skipped = record.ref("self", "input") if record.target in ("addmm", "baddbmm") else None
        operands = [name for name in record.refs() if name != skipped][-2:]
        if len(operands) == 2:
            yield from zip(operands, (False, True), strict=True)
    elif record.target == "einsum":
        yield from _einsum_weights(record, str(record.arguments.get("equation", "")))


def _einsum_weights(record: Record, equation: str) -> Iterator[tuple[str, bool]]:
    terms, _, out = equation.replace(" ", "").partition("->")
    for name, term in zip(record.refs(), terms.split(","), strict=False):
        if term:
            yield name, term[-1] in out
