"""ONNX operators over sequences: recurrent layers and attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelsim.trace.onnx_ops import Node
from accelsim.trace.records import Record, Ref, Shape


def _recurrent(node: Node) -> list[Record]:
    """Return the weights of both directions one by one, and the layer; its input is (steps, batch, features)."""
    kind = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}[node.proto.op_type]
    directions = node.shape(1)[0]
    steps: list[Record] = []
    params: list[Ref] = []
    for side in range(directions):
        for place in (1, 2):
            name = f"{node.name(place)}[{side}]"
            source = {"input": Ref(node.name(place)), "dim": 0, "index": side}
            steps.append(Record("select", source, ((name, node.shape(place)[1:]),), node.place))
            params.append(Ref(name))
        if node.name(3):
            params += [Ref(node.name(3))] * 2
    arguments: dict[str, Any] = {
        **node.refs(input=0, hx=5),
        "params": params,
        "has_biases": bool(node.name(3)),
        "num_layers": 1,
        "bidirectional": directions > 1,
        "batch_first": bool(node.integer("layout", 0)),
    }
    return [*steps, *node.record(kind, arguments)]


def _attention(node: Node) -> list[Record]:
    """Return ``Attention`` of opset 23: heads are taken apart, earlier keys and values joined, then both products."""
    if node.proto.domain == "com.microsoft":
        return node.record("com.microsoft.Attention", node.plain())
    heads = (node.integer("q_num_heads", 1), node.integer("kv_num_heads", 1), node.integer("kv_num_heads", 1))
    return _scaled(node, heads, mask=3, past=(4, 5), present=(1, 2))


def _multi_head(node: Node) -> list[Record]:
    heads = node.integer("num_heads", 1)
    if not node.name(1) or len(node.shape(0)) != 3:  # noqa: PLR2004  packed in one tensor of five axes
        return node.record("com.microsoft.MultiHeadAttention of packed operands", node.plain())
    return _scaled(node, (heads, heads, heads), mask=5, past=(6, 7), present=(1, 2))


def _group_query(node: Node) -> list[Record]:
    shared = node.integer("kv_num_heads", 1)
    if not node.name(1):
        return node.record("com.microsoft.GroupQueryAttention of packed operands", node.plain())
    return _scaled(node, (node.integer("num_heads", 1), shared, shared), mask=-1, past=(3, 4), present=(1, 2))


def _scaled(
    node: Node, heads: tuple[int, int, int], *, mask: int, past: tuple[int, int], present: tuple[int, int]
) -> list[Record]:
    output = node.proto.output[0]
    steps: list[Record] = []
    operands: list[tuple[Ref, Shape]] = []
    for place, num_heads in enumerate(heads):
        operands.append(_by_head(node, place, num_heads, steps))
    for index, place in ((1, past[0]), (2, past[1])):
        (ref, shape), joined = operands[index], f"{output}.joined{index}"
        has_past = place > 0 and bool(node.name(place)) and 0 not in node.shape(place)
        if has_past:
            before = node.shape(place)
            whole = (*shape[:2], shape[2] + before[2], shape[3])
            steps.append(Record("cat", {"tensors": [Ref(node.name(place)), ref]}, ((joined, whole),), node.place))
            operands[index] = (Ref(joined), whole)
        made = present[index - 1]
        if made < len(node.proto.output) and node.proto.output[made]:
            ref, shape = operands[index]
            steps.append(Record("view", {"input": ref}, ((node.proto.output[made], shape),), node.place))
    (query, of_query), (key, _), (value, of_value) = operands
    arguments: dict[str, Any] = {"query": query, "key": key, "value": value}
    if mask > 0 and node.name(mask):
        arguments["attn_mask"] = Ref(node.name(mask))
    shape = (*of_query[:3], of_value[3])
    if len(node.shape(0)) == len(shape):
        return [*steps, *node.record("scaled_dot_product_attention", arguments)]
    by_head, turned = f"{output}.heads", f"{output}.turned"
    steps.append(Record("scaled_dot_product_attention", arguments, ((by_head, shape),), node.place))
    back = (shape[0], shape[2], shape[1], shape[3])
    steps.append(Record("permute", {"input": Ref(by_head), "dims": [0, 2, 1, 3]}, ((turned, back),), node.place))
    return [*steps, *node.record("view", {"input": Ref(turned)})]


def _by_head(node: Node, place: int, heads: int, steps: list[Record]) -> tuple[Ref, Shape]:
    """Return an operand as (batch, heads, tokens, features of a head)."""
    name, shape = node.name(place), node.shape(place)
    if len(shape) != 3:  # noqa: PLR2004  (batch, tokens, features)
        return Ref(name), shape
    batch, tokens, features = shape
    apart, turned = f"{node.proto.output[0]}.apart{place}", f"{node.proto.output[0]}.by_head{place}"
    wide = (batch, tokens, heads, features // heads)
    steps.append(Record("view", {"input": Ref(name)}, ((apart, wide),), node.place))
    by_head = (batch, heads, tokens, features // heads)
    steps.append(Record("permute", {"input": Ref(apart), "dims": [0, 2, 1, 3]}, ((turned, by_head),), node.place))
    return Ref(turned), by_head


SEQUENCES: Mapping[str, Callable[[Node], list[Record]]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Attention": _attention,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _group_query,
}
