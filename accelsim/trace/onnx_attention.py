"""ONNX's operators of attention: heads are taken apart, earlier keys and values joined, then both products.

``Attention`` of opset 23 and those of ONNX Runtime (``com.microsoft``): ``MultiHeadAttention``, ``GroupQueryAttention``
(both also with queries, keys and values packed in one tensor), ``Attention`` and ``QAttention`` (which hold the weights
of the projection as well).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelsim.trace.onnx_ops import Node
from accelsim.trace.records import Record, Ref, Shape

Tensor = tuple[Ref, Shape]


@dataclass(frozen=True, slots=True)
class _Steps:
    """Steps of an operator before its last one; each makes a tensor of its own, or one of the operator's outputs."""

    node: Node
    records: list[Record] = field(default_factory=list)

    def add(
        self, target: str, arguments: dict[str, Any], name: str, shape: Shape, *, is_output: bool = False
    ) -> Tensor:
        full = name if is_output else f"{next(filter(None, self.node.proto.output), name)}.{name}"
        self.records.append(Record(target, arguments, ((full, shape),), self.node.place))
        return Ref(full), shape

    def given(self, place: int) -> Tensor:
        return Ref(self.node.name(place)), self.node.shape(place)

    def by_head(self, tensor: Tensor, name: str, heads: int) -> Tensor:
        """Return an operand as (batch, heads, tokens, features of a head)."""
        ref, shape = tensor
        if len(shape) == 3:  # noqa: PLR2004  (batch, tokens, features)
            wide = (*shape[:2], heads, shape[2] // heads)
            ref, shape = self.add("view", {"input": ref}, f"{name}.apart", wide)
            return self.turned((ref, shape), f"{name}.by_head")
        return ref, shape

    def turned(self, tensor: Tensor, name: str) -> Tensor:
        """Return a tensor of four axes with the middle ones exchanged."""
        ref, shape = tensor
        turned = (shape[0], shape[2], shape[1], shape[3])
        return self.add("permute", {"input": ref, "dims": [0, 2, 1, 3]}, name, turned)

    def one_of(self, tensor: Tensor, axis: int, index: int, name: str) -> Tensor:
        """Return one of several tensors that lie along an axis."""
        ref, shape = tensor
        rest = (*shape[:axis], *shape[axis + 1 :])
        return self.add("select", {"input": ref, "dim": axis, "index": index}, name, rest)

    def split(self, tensor: Tensor, widths: Sequence[int]) -> list[Tensor]:
        """Return the parts of the last axis."""
        ref, shape = tensor
        parts = [(f"{ref.name}.part{index}", (*shape[:-1], width)) for index, width in enumerate(widths)]
        arguments = {"input": ref, "dim": len(shape) - 1}
        self.records.append(Record("split", arguments, tuple(parts), self.node.place))
        return [(Ref(name), part) for name, part in parts]

    def joined(self, before: Tensor | None, tensor: Tensor, name: str) -> Tensor:
        """Return keys or values behind those of a cache."""
        if before is None or 0 in before[1]:
            return tensor
        shape = tensor[1]
        whole = (*shape[:2], shape[2] + before[1][2], shape[3])
        return self.add("cat", {"tensors": [before[0], tensor[0]]}, name, whole)

    def cache(self, places: tuple[int, int]) -> list[Tensor | None]:
        """Return the earlier keys and values, None where they are left out."""
        return [self.given(place) if self.node.name(place) else None for place in places]

    def output(self, place: int) -> str:
        outputs = self.node.proto.output
        return outputs[place] if place < len(outputs) else ""


def _attention(node: Node) -> list[Record]:
    """Return ``Attention`` of opset 23, or ONNX Runtime's operator of that name."""
    if node.proto.domain == "com.microsoft":
        return _with_weights(node, mask=3, past=4)
    steps = _Steps(node)
    heads = (node.integer("q_num_heads", 1), *[node.integer("kv_num_heads", 1)] * 2)
    operands = [
        steps.by_head(steps.given(place), name, num) for place, (name, num) in enumerate(zip("qkv", heads, strict=True))
    ]
    return _scaled(steps, operands, mask=_mask(node, 3, 2), past=steps.cache((4, 5)))


def _multi_head(node: Node) -> list[Record]:
    steps, heads = _Steps(node), node.integer("num_heads", 1)
    first = steps.given(0)
    if not node.name(1):  # (batch, tokens, heads, 3, features)
        operands = [steps.turned(steps.one_of(first, 3, index, name), f"{name}.by_head")
                    for index, name in enumerate("qkv")]  # fmt: skip
    elif not node.name(2):  # keys and values: (batch, tokens, heads, 2, features)
        packed = steps.given(1)
        operands = [steps.by_head(first, "q", heads)]
        operands += [steps.turned(steps.one_of(packed, 3, index, name), f"{name}.by_head")
                     for index, name in enumerate("kv")]  # fmt: skip
    else:
        operands = [steps.by_head(steps.given(place), name, heads) for place, name in enumerate("qkv")]
    return _scaled(steps, operands, mask=_mask(node, 5), past=steps.cache((6, 7)), is_flat=True)


def _group_query(node: Node) -> list[Record]:
    steps, heads, shared = _Steps(node), node.integer("num_heads", 1), node.integer("kv_num_heads", 1)
    given = [steps.given(0)]
    if node.name(1):
        given += [steps.given(1), steps.given(2)]
    else:
        wide = given[0][1][-1] // (heads + 2 * shared)
        given = steps.split(given[0], (heads * wide, shared * wide, shared * wide))
    operands = [
        steps.by_head(tensor, name, num)
        for tensor, name, num in zip(given, "qkv", (heads, shared, shared), strict=True)
    ]
    return _scaled(steps, operands, mask=_mask(node, 10), past=steps.cache((3, 4)), is_flat=True)


def _quantised(node: Node) -> list[Record]:
    return _with_weights(node, mask=5, past=8)


def _with_weights(node: Node, *, mask: int, past: int) -> list[Record]:
    """Return the projection to queries, keys and values, and the attention over them."""
    steps, heads = _Steps(node), node.integer("num_heads", 1)
    (source, shape), (weight, (_, columns)) = steps.given(0), steps.given(1)
    widths = node.attributes().get("qkv_hidden_sizes") or [columns // 3] * 3
    arguments = {**node.refs(bias=2), "input": source, "mat2": weight}
    target = "addmm" if node.name(2) else "matmul"
    projected = steps.add(target, arguments, "projected", (*shape[:-1], columns))
    parts = zip(steps.split(projected, widths), "qkv", strict=True)
    operands = [steps.by_head(part, name, heads) for part, name in parts]
    before: list[Tensor | None] = [None, None]
    if node.name(past):  # (2, batch, heads, tokens, features)
        both = steps.given(past)
        before = [steps.one_of(both, 0, index, f"past{index}") for index in range(2)]
    bias = _mask(node, 5) if mask != 5 else None  # noqa: PLR2004  where the quantised operator has its mask
    return _scaled(steps, operands, mask=bias or _mask(node, mask), past=before, is_flat=True, is_joined=True)


def _mask(node: Node, place: int, rank: int = 4) -> Ref | None:
    """Return what is added to the scores, if it has their axes (at least ``rank``); lengths cost next to nothing."""
    name = node.name(place)
    return Ref(name) if name and name not in node.static and len(node.shape(place)) >= rank else None


def _scaled(
    steps: _Steps,
    operands: list[Tensor],
    *,
    mask: Ref | None,
    past: list[Tensor | None],
    is_flat: bool = False,
    is_joined: bool = False,
) -> list[Record]:
    """Return both products; ``is_flat``: of the heads' results side by side, ``is_joined``: the cache is one tensor."""
    node = steps.node
    query, key, value = operands
    key, value = (steps.joined(before, new, name) for before, new, name in zip(past, (key, value), "kv", strict=True))
    if is_joined and steps.output(1):
        steps.add("stack", {"tensors": [key[0], value[0]]}, steps.output(1), (2, *key[1]), is_output=True)
    for place, (ref, shape) in enumerate((key, value), 1):
        if not is_joined and steps.output(place):
            steps.add("view", {"input": ref}, steps.output(place), shape, is_output=True)
    arguments: dict[str, Any] = {"query": query[0], "key": key[0], "value": value[0]}
    if mask is not None:
        arguments["attn_mask"] = mask
    shape = (*query[1][:3], value[1][3])
    if not is_flat and len(node.shape(0)) == len(shape):
        return [*steps.records, *node.record("scaled_dot_product_attention", arguments)]
    heads = steps.add("scaled_dot_product_attention", arguments, "heads", shape)
    last = node.record("view", {"input": steps.turned(heads, "turned")[0]})
    return [*steps.records, *last]


ATTENTION_OPERATORS: Mapping[str, Callable[[Node], list[Record]]] = {
    "Attention": _attention,
    "QAttention": _quantised,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _group_query,
}
