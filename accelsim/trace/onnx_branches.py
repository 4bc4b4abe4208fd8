"""Branches of an ONNX graph whose condition does not depend on the input: the one that is taken joins the graph.

Exporters write such conditions where they could not decide them: a flag, or a comparison of sizes that a stated shape
settles. A branch may hold weights, nodes, and branches of its own.
"""

from __future__ import annotations

import onnx
from onnx import helper

from accelsim.trace.onnx_fused import replace_nodes
from accelsim.trace.onnx_shapes import known

_MAX_ROUNDS = 32
"""Each round takes what is decided so far; branches within branches need another."""


def take_branches(model: onnx.ModelProto) -> None:
    """Replace each ``If`` with a known condition by its branch; what is not known stays."""
    for _ in range(_MAX_ROUNDS):
        if not any(node.op_type == "If" for node in model.graph.node):
            return
        values = known(model).values
        taken = {
            index: bool(values[node.input[0]].reshape(-1)[0])
            for index, node in enumerate(model.graph.node)
            if node.op_type == "If" and node.input[0] in values and values[node.input[0]].size == 1
        }
        if not taken:
            return
        nodes: list[onnx.NodeProto] = []
        for index, node in enumerate(model.graph.node):
            nodes += _branch(model.graph, node, is_then=taken[index]) if index in taken else [node]
        replace_nodes(model.graph, nodes)


def _branch(graph: onnx.GraphProto, node: onnx.NodeProto, *, is_then: bool) -> list[onnx.NodeProto]:
    """Return the nodes of a branch under names that are free, and add its initialisers to the graph."""
    wanted = "then_branch" if is_then else "else_branch"
    branch = next(item.g for item in node.attribute if item.name == wanted)
    used = {value.name for value in (*graph.initializer, *graph.input)}
    used.update(name for other in graph.node for name in other.output)
    made = [*(tensor.name for tensor in branch.initializer), *(name for part in branch.node for name in part.output)]
    names = {name: f"{node.name or node.output[0]}.{name}" for name in made if name in used}
    _rename(branch, names)
    graph.initializer.extend(branch.initializer)
    ends = [
        helper.make_node("Identity", [names.get(value.name, value.name)], [output], name=output)
        for value, output in zip(branch.output, node.output, strict=True)
        if output
    ]
    return [*branch.node, *ends]


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
