"""Loops of an ONNX graph that sum rows bag by bag, as exporters write embedding bags: one reduction joins the graph.

Such a loop makes one row a pass: it cuts the rows of a bag out of a tensor (or cuts out the numbers of the rows, and
looks these up in a table) and takes their sum, mean or maximum. Over all passes each row is read once, whatever the
bags' sizes are. Other loops stay, and are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

from accelsim.trace.onnx_fused import replace_nodes
from accelsim.trace.onnx_shapes import Known, known

_REDUCE_ROWS = "ReduceRows"
"""The operator that stands for such a loop: rows in, one row a bag out."""
_REDUCTIONS = frozenset({"ReduceSum", "ReduceMean", "ReduceMax"})
_LIGHT = frozenset(
    "Constant Cast CastLike Identity Reshape Squeeze Unsqueeze Add Sub Div Equal Greater Less And Not If Slice Gather "
    "Shape ConstantOfShape Expand SequenceInsert Mul Loop Size Concat".split()
)
"""What surrounds the reduction: places of bags and rows, how many, a branch for empty ones, a loop over padding."""
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class _Bags:
    """A loop over bags: whose rows, by which numbers and weights, how many bags, and the name of its result."""

    rows: str
    numbers: str
    weights: str
    count: int
    result: str


def take_bags(model: onnx.ModelProto) -> None:
    """Replace each loop that reduces bags of rows; the others stay."""
    if not any(_may_be_bags(node) for node in model.graph.node):
        return
    facts = known(model)
    nodes: list[onnx.NodeProto] = []
    skipped: set[str] = set()
    for node in model.graph.node:
        if any(name in skipped for name in node.output):
            continue
        bags = _bags_of(model.graph, node, facts) if _may_be_bags(node) else None
        nodes += [node] if bags is None else _reduction(model.graph, bags, facts)
        if bags is not None:
            skipped.add(bags.result)
    replace_nodes(model.graph, nodes)
    _drop_ones(model.graph)


def _may_be_bags(node: onnx.NodeProto) -> bool:
    """Return whether a node is a loop that reduces something, and does nothing else but cut it out."""
    bodies = [item.g for item in node.attribute if item.name == "body"]
    kinds = {each.op_type for body in bodies for each in _nodes(body)}
    return node.op_type == "Loop" and bool(kinds & _REDUCTIONS) and kinds <= _LIGHT | _REDUCTIONS


def _bags_of(graph: onnx.GraphProto, node: onnx.NodeProto, facts: Known) -> _Bags | None:
    body = next(item.g for item in node.attribute if item.name == "body")
    inside = list(_nodes(body))
    made = {name: each for each in inside for name in each.output}
    count, result = _count(node, body, made, facts), _result(graph, node)
    tables = {each.input[0] for each in inside if each.op_type == "Gather" and _is_matrix(each.input[0], facts)}
    cut = [each for each in inside if each.op_type == "Slice" and each.input[0] not in made]
    scaled = [made[name] for each in inside if each.op_type == "Mul" for name in each.input if name in made]
    if count is None or result is None or len(tables) > 1:
        return None
    if not tables:
        rows = {each.input[0] for each in cut if _is_matrix(each.input[0], facts)}
        return None if len(rows) != 1 or scaled else _Bags(rows.pop(), "", "", count, result)
    looked_up = [each for each in inside if each.op_type == "Gather" and each.input[0] in tables]
    if any(made[each.input[1]].op_type == "Loop" for each in looked_up if each.input[1] in made):
        return _Bags(tables.pop(), "", "", count, result)  # rows that are no padding: each at most once
    numbers = {made[each.input[1]].input[0] for each in looked_up if each.input[1] in made}
    weights = {each.input[0] for each in cut} - numbers
    has_weights = any(each.op_type == "Mul" for each in inside)
    if len(numbers) != 1 or len(weights) != has_weights:
        return None
    return _Bags(tables.pop(), numbers.pop(), weights.pop() if has_weights else "", count, result)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield all nodes, those of branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _is_matrix(name: str, facts: Known) -> bool:
    return len(facts.shapes.get(name, ())) == _MATRIX


def _count(node: onnx.NodeProto, body: onnx.GraphProto, made: dict[str, onnx.NodeProto], facts: Known) -> int | None:
    """Return the number of passes: stated, or the number below which the next place must be."""
    stated = node.input[0]
    if not stated:
        last = made.get(body.output[0].name)
        stated = last.input[1] if last is not None and last.op_type == "Less" else ""
    value = facts.values.get(stated)
    return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _result(graph: onnx.GraphProto, node: onnx.NodeProto) -> str | None:
    """Return the tensor of all passes' rows: an output of the loop, or what joins its sequence."""
    readers = [each for each in graph.node if node.output[0] in each.input]
    if len(readers) == 1 and readers[0].op_type == "ConcatFromSequence":
        return str(readers[0].output[0])
    return str(node.output[0]) if len(node.output) == 1 else None


def _reduction(graph: onnx.GraphProto, bags: _Bags, facts: Known) -> list[onnx.NodeProto]:
    nodes, rows, columns = [], bags.rows, facts.shapes[bags.rows][-1]
    if bags.numbers:
        looked_up = f"{bags.result}.rows"
        nodes.append(helper.make_node("Gather", [rows, bags.numbers], [looked_up], name=looked_up, axis=0))
        rows = looked_up
    if bags.weights:
        axes, factors, weighted = (f"{bags.result}.{part}" for part in ("axes", "factors", "weighted"))
        graph.initializer.append(helper.make_tensor(axes, onnx.TensorProto.INT64, [1], [1]))
        nodes.append(helper.make_node("Unsqueeze", [bags.weights, axes], [factors], name=factors))
        nodes.append(helper.make_node("Mul", [rows, factors], [weighted], name=weighted))
        rows = weighted
    made = helper.make_tensor_value_info(bags.result, onnx.TensorProto.FLOAT, [bags.count, columns])
    graph.value_info.append(made)
    nodes.append(helper.make_node(_REDUCE_ROWS, [rows], [bags.result], name=bags.result))
    return nodes


def _drop_ones(graph: onnx.GraphProto) -> None:
    """Leave out the weight of 1 that an exporter gives each row of a bag that has none: it is not trained."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    reduced = {node.input[0] for node in graph.node if node.op_type == _REDUCE_ROWS}
    for node in graph.node:
        if node.op_type == "Mul" and node.output[0] in reduced and node.input[1] in constants:
            weights = constants[node.input[1]]
            if list(weights.dims[1:]) == [1] and sum(weights.name in each.input for each in graph.node) == 1:
                node.op_type = "Identity"
                del node.input[1:]
                graph.initializer.remove(weights)
