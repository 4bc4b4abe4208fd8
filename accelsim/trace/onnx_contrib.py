"""Shapes of operators that ONNX's own inference does not know, or does not follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx

Shape = tuple[int, ...]
Rule = Callable[[Mapping[str, Any], list[Shape | None]], list[Shape | None]]


TYPED_BY = {"GatherBlockQuantized": 2}
"""Which input has the type of the output, where that is not the first."""


def own_shapes(node: onnx.NodeProto, shapes: Mapping[str, Shape | None], kinds: Mapping[str, int]) -> dict[str, Shape]:
    """Return the shapes of the outputs that follow from the inputs' shapes and types; empty where no rule is known."""
    rule = _RULES.get(f"{node.domain}.{node.op_type}") or _RULES.get(node.op_type)
    inputs = [shapes.get(name) for name in node.input]
    if rule is None or not inputs or inputs[0] is None:
        return {}
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    attributes["kind"] = kinds.get(node.input[0])
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


def _gathered(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    """Return rows of a table in blocks; bytes hold several elements along the last axis."""
    data, indices, axis = list(_known(inputs[0])), _known(inputs[1]), int(attributes.get("gather_axis", 0))
    if attributes["kind"] == onnx.TensorProto.UINT8:
        data[-1] *= 8 // int(attributes.get("bits", 4))
    axis %= len(data)
    return [(*data[:axis], *indices, *data[axis + 1 :])]


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


def _heads(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    """Return output, keys and values of ``MultiHeadAttention``, whose operands may be packed."""
    num = int(attributes["num_heads"])
    first = _known(inputs[0])
    keys, values = [*inputs[1:3], None, None][:2]
    packed = first if keys is None else keys
    if values is None:  # (batch, tokens, heads, 2 or 3, features)
        packed = values = (packed[0], num, packed[1], packed[-1])
    return _attended(first[:2], num, _by_head(packed, num), _by_head(values, num), _past(inputs, 6))


def _by_head(shape: Shape, num: int) -> Shape:
    return shape if len(shape) == 4 else (shape[0], num, shape[1], shape[2] // num)  # noqa: PLR2004  by head already


def _past(inputs: list[Shape | None], place: int) -> int:
    earlier = inputs[place] if place < len(inputs) else None
    return earlier[-2] if earlier is not None else 0


def _attended(lead: Shape, num: int, key: Shape, value: Shape, past: int) -> list[Shape | None]:
    key, value = ((*shape[:2], past + shape[2], shape[3]) for shape in (key, value))
    return [(*lead, num * value[3]), key, value]


def _grouped(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    """Return output, keys and values of ``GroupQueryAttention``, whose operands may be packed."""
    num, shared = int(attributes["num_heads"]), int(attributes["kv_num_heads"])
    first = _known(inputs[0])
    wide = first[-1] // (num if inputs[1] is not None else num + 2 * shared)
    new = (first[0], shared, first[1], wide)
    return _attended(first[:2], num, new, new, _past(inputs, 3))


def _projected(past: int) -> Rule:
    """Return the rule of an attention that holds its projection: its keys and values are one tensor."""

    def rule(attributes: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
        first, columns, num = _known(inputs[0]), _known(inputs[1])[1], int(attributes["num_heads"])
        widths = attributes.get("qkv_hidden_sizes") or [columns // 3] * 3
        present = (2, first[0], num, first[1] + _past(inputs, past), widths[1] // num)
        return [(*first[:2], int(widths[2])), present]

    return rule


def _skip_norm(_: Mapping[str, Any], inputs: list[Shape | None]) -> list[Shape | None]:
    return [inputs[0], None, None, inputs[0]]


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), _packed),
    "GatherBlockQuantized": _gathered,
    **dict.fromkeys(("FusedMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _matmul),
    "QLinearMatMul": _quantised_matmul,
    "QGemm": _gemm,
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _broadcast),
    "QLinearConcat": _joined,
    "QLinearGlobalAveragePool": _global_pool,
    **dict.fromkeys(
        (
            "SimplifiedLayerNormalization", "FastGelu", "QuickGelu", "BiasGelu", "QLinearSigmoid",
            "QLinearLeakyRelu", "RotaryEmbedding", "GroupNormalization", "MeanVarianceNormalization", "Gelu",
        ),
        _same,
    ),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_norm),
    "com.microsoft.Attention": _projected(4),
    "QAttention": _projected(8),
    "MultiHeadAttention": _heads,
    "GroupQueryAttention": _grouped,
}  # fmt: skip
