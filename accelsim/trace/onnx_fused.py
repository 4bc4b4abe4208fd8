"""ONNX graphs in plain terms, before they are read: fused operators are taken apart, constants are initialisers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

_FUSED = {"FusedConv": "Conv", "FusedGemm": "Gemm", "TransposeMatMul": "FusedMatMul"}
"""Operators of ONNX Runtime that are another one and, if stated, an addition and an activation."""
_ADDEND = 3
"""Where ``FusedConv`` has what is added before its activation."""


def in_plain_terms(model: onnx.ModelProto) -> frozenset[str]:
    """Take fused operators apart, and make initialisers of constants; return the names of these.

    Libraries of operators that a file does not declare are declared.
    """
    graph = model.graph
    moved: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            moved.add(tensor.name)
        else:
            nodes += _plain(node)
    replace_nodes(graph, nodes)
    stated = {entry.domain for entry in model.opset_import}
    unstated = dict.fromkeys(node.domain for node in nodes if node.domain and node.domain not in stated)
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in unstated)
    return frozenset(moved)


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Give a graph other nodes, some of which may be its own."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _plain(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    kind = _FUSED.get(node.op_type)
    if kind is None or node.domain != "com.microsoft":
        yield node
        return
    activation = next((item.s.decode() for item in node.attribute if item.name == "activation"), "")
    addend = node.input[_ADDEND] if kind == "Conv" and len(node.input) > _ADDEND else ""
    steps = [kind, *(["Add"] if addend else []), *([activation] if activation else [])]
    names = [*(f"{node.output[0]}.{step}" for step in steps[:-1]), node.output[0]]
    first = onnx.NodeProto()
    first.CopyFrom(node)
    del first.attribute[:]
    first.attribute.extend(item for item in node.attribute if not item.name.startswith("activation"))
    first.op_type, first.domain = kind, "com.microsoft" if kind == "FusedMatMul" else ""
    first.input[:] = node.input[:_ADDEND]
    first.output[:] = names[:1]
    yield first
    for step, source, made in zip(steps[1:], names, names[1:], strict=False):
        yield helper.make_node(step, [source, addend] if step == "Add" else [source], [made])
