"""Shapes of operators that ONNX's own inference does not know, or does not follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx

Shape = tuple[int, ...]
Rule = Callable[[Mapping[str, Any], list[Shape | None]], list[Shape | None]]


def own_shapes(node: onnx.NodeProto, shapes: Mapping[str, Shape | None]) -> dict[str, Shape]:
    """Return the shapes of the outputs that follow from the inputs' shapes; empty where no rule is known."""
    rule = _RULES.get(node.op_type)
    inputs = [shapes.get(name) for name in node.input]
    if rule is None or not inputs or inputs[0] is None:
        return {}
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    try:
        found = rule(attributes, inputs)
    except (TypeError, IndexError, ValueError, KeyError):
        return {}
    return {name: shape for name, shape in zip(node.output, found, strict=False) if name and shape is not None}


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise ValueError("a shape is not known")
    return shape


def _packed(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    return [(*_known(inputs[0])[:-1], int(attributes["N"]))]


def _product(first: Shape, second: Shape) -> Shape:
    longer = first if len(first) >= len(second) else second
    return (*longer[:-2], *first[-2:-1], *second[-1:])


def _turned(shape: Shape, *, is_turned: bool) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if is_turned else shape


def _matmul(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    first = _turned(_known(inputs[0]), is_turned=bool(attributes.get("transA")))
    return [_product(first, _turned(_known(inputs[1]), is_turned=bool(attributes.get("transB"))))]


def _quantised_matmul(_: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    return [_product(_known(inputs[0]), _known(inputs[3]))]


def _gemm(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    first = _turned(_known(inputs[0]), is_turned=bool(attributes.get("transA")))
    return [_product(first, _turned(_known(inputs[3]), is_turned=bool(attributes.get("transB"))))]


def _same(_: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    return [inputs[0]]


def _broadcast(_: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    first, second = _known(inputs[0]), _known(inputs[3])
    rank = max(len(first), len(second))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in (first, second)), strict=True)
    return [tuple(max(sizes) for sizes in columns)]


def _joined(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    parts = [_known(shape) for shape in inputs[2::3]]
    axis = int(attributes.get("axis", 1))
    out = list(parts[0])
    out[axis] = sum(shape[axis] for shape in parts)
    return [tuple(out)]


def _global_pool(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    shape = _known(inputs[0])
    if attributes.get("channels_last"):
        return [(shape[0], *([1] * (len(shape) - 2)), shape[-1])]
    return [(*shape[:2], *([1] * (len(shape) - 2)))]


def _heads(query: str, shared: str, past: tuple[int, int]) -> Rule:
    """Return the rule of an attention: its output is as wide as the values of all query heads."""

    def rule(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
        first, value = _known(inputs[0]), _known(inputs[2])
        earlier = inputs[past[1]] if past[1] < len(inputs) else None
        before = earlier[2] if earlier is not None else 0
        if len(first) == 4:  # noqa: PLR2004  (batch, heads, tokens, features)
            present = (*value[:2], before + value[2], value[3])
            key = (*present[:3], _known(inputs[1])[3])
            return [(*first[:3], value[3]), key, present]
        num, num_shared = int(attributes[query]), int(attributes[shared])
        wide = value[2] // num_shared
        present = (value[0], num_shared, before + value[1], wide)
        key = (*present[:3], _known(inputs[1])[2] // num_shared)
        return [(*first[:2], num * wide), key, present]

    return rule


_RULES: Mapping[str, Rule] = {
    "MatMulNBits": _packed,
    **dict.fromkeys(("FusedMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _matmul),
    "QLinearMatMul": _quantised_matmul,
    "QGemm": _gemm,
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _broadcast),
    "QLinearConcat": _joined,
    "QLinearGlobalAveragePool": _global_pool,
    **dict.fromkeys(
        (
            "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization", "FastGelu",
            "QuickGelu", "BiasGelu", "QLinearSigmoid", "QLinearLeakyRelu", "RotaryEmbedding",
        ),
        _same,
    ),
    "Attention": _heads("q_num_heads", "kv_num_heads", (4, 5)),
    "MultiHeadAttention": _heads("num_heads", "num_heads", (6, 7)),
    "GroupQueryAttention": _heads("num_heads", "kv_num_heads", (3, 4)),
}  # fmt: skip
