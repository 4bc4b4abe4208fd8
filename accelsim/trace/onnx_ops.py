"""What each ONNX operator is in ATen's words: a target and arguments, sometimes after a step before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import onnx

from accelsim.errors import TraceError
from accelsim.trace.records import Record, Ref, Shape

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})
STATIC = frozenset(
    "Shape Size Constant ConstantOfShape Range EyeLike RandomNormal RandomUniform RandomNormalLike RandomUniformLike "
    "Bernoulli".split()
)

# Operators whose inputs keep their order and need no attributes here; the first input is "input".
_SAME = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Elu": "elu",
    "Selu": "selu", "HardSwish": "hardswish", "HardSigmoid": "hardsigmoid", "Gelu": "gelu", "Erf": "erf", "Exp": "exp",
    "Sqrt": "sqrt", "Pow": "pow", "Softplus": "softplus", "Mish": "mish", "Neg": "neg", "Abs": "abs", "Sign": "sign",
    "Clip": "hardtanh", "Log": "log", "Reciprocal": "reciprocal", "Celu": "celu", "ThresholdedRelu": "threshold",
    "Softsign": "softsign", "Shrink": "hardshrink", "Swish": "silu", "Sin": "sin", "Cos": "cos", "Tan": "tan",
    "Sinh": "sinh", "Cosh": "cosh", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Asinh": "asinh", "Acosh": "acosh",
    "Atanh": "atanh", "FastGelu": "gelu", "QuickGelu": "silu", "QLinearSigmoid": "sigmoid",
    "QLinearLeakyRelu": "leaky_relu",
    "Add": "add", "Sub": "sub", "Sum": "add", "Max": "maximum", "Min": "minimum", "Mul": "mul", "Div": "div",
    "Mean": "add", "Where": "where", "Resize": "upsample_nearest2d", "Upsample": "upsample_nearest2d",
    "GlobalAveragePool": "global_pool", "GlobalMaxPool": "global_pool", "GlobalLpPool": "global_pool",
    "QLinearGlobalAveragePool": "global_pool",
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "IsNaN": "isnan", "IsInf": "isinf", "Not": "logical_not",
    "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor", "Equal": "eq", "Greater": "gt", "Less": "lt",
    "GreaterOrEqual": "ge", "LessOrEqual": "le", "Mod": "fmod", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor", "BitwiseNot": "bitwise_not", "BitShift": "bitwise_left_shift", "CumSum": "cumsum",
    "OneHot": "one_hot", "LRN": "local_response_norm", "Trilu": "tril", "GridSample": "grid_sampler",
    "RoiAlign": "torchvision::roi_align", "Hardmax": "hardmax", "Unique": "sort", "MaxUnpool": "max_unpool",
    "DynamicQuantizeLinear": "dynamic_quantize", "LpNormalization": "normalize_minmax",
    "MeanVarianceNormalization": "layer_norm",
    "RotaryEmbedding": "rotary", "SoftmaxCrossEntropyLoss": "log_softmax", "ReverseSequence": "flip",
    "ScatterND": "scatter", "ScatterElements": "scatter", "Scatter": "scatter", "TensorScatter": "scatter",
    "Hardswish": "hardswish", "NonZero": "nonzero", "ReduceRows": "segment_reduce",
}  # fmt: skip
# Of these only the first input is data; the rest says how to look at it.
_VIEWS = frozenset("Reshape Flatten Squeeze Unsqueeze Identity Dropout Cast CastLike BitCast Optional".split())
_LOST = frozenset(
    "DepthToSpace SpaceToDepth CenterCropPad Compress Col2Im ReverseSequence GatherND GatherElements".split()
)
_NORMS = {
    "BatchNormalization": "batch_norm", "LayerNormalization": "layer_norm", "InstanceNormalization": "instance_norm",
    "GroupNormalization": "group_norm", "SimplifiedLayerNormalization": "rms_norm", "RMSNormalization": "rms_norm",
}  # fmt: skip
_REDUCTIONS = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceProd": "prod",
    "ArgMax": "argmax", "ArgMin": "argmin", "ReduceL1": "norm", "ReduceL2": "norm", "ReduceSumSquare": "norm",
    "ReduceLogSum": "logsumexp", "ReduceLogSumExp": "logsumexp",
}  # fmt: skip


_DFT_AXIS = 20
"""The version of ONNX from which on the axis of ``DFT`` is an input; left out, it is -2, before that 1."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of an ONNX graph, with what is known of its tensors."""

    where: str
    proto: onnx.NodeProto
    place: str
    shapes: Mapping[str, Shape]
    integers: Mapping[str, list[int]]
    static: frozenset[str]
    opset: int

    def name(self, index: int) -> str:
        """Return the name of an input, "" if it is left out."""
        return self.proto.input[index] if index < len(self.proto.input) else ""

    def shape(self, index: int) -> Shape:
        """Return the shape of an input; KeyError if it is not known."""
        return self.shapes[self.proto.input[index]]

    def shape_out(self) -> Shape:
        """Return the shape of the first output."""
        return self.shapes.get(self.proto.output[0], ())

    def refs(self, /, **places: int) -> dict[str, Any]:
        """Return the inputs at the given places under these names, without those that are left out."""
        return {key: Ref(self.name(place)) for key, place in places.items() if self.name(place)}

    def plain(self) -> dict[str, Any]:
        """Return all inputs in order; the first is called "input"."""
        return {
            ("input" if index == 0 else str(index)): Ref(name) for index, name in enumerate(self.proto.input) if name
        }

    def attributes(self) -> Mapping[str, Any]:
        """Return the attributes that are numbers, texts, and lists of them."""
        values = {item.name: onnx.helper.get_attribute_value(item) for item in self.proto.attribute}
        return {
            name: value.decode() if isinstance(value, bytes) else list(value) if hasattr(value, "__iter__") else value
            for name, value in values.items()
            if not isinstance(value, onnx.TensorProto | onnx.GraphProto | onnx.SparseTensorProto | str)
        } | {name: value for name, value in values.items() if isinstance(value, str)}

    def integer(self, name: str, default: int) -> int:
        """Return a whole number."""
        return int(self.attributes().get(name, default))

    def stated(self, attribute: str, index: int) -> list[int] | None:
        """Return whole numbers that older versions state as an attribute and newer ones as an input."""
        found = self.attributes().get(attribute)
        return found if found is not None else self.integers.get(self.name(index))

    def record(self, target: str, arguments: dict[str, Any]) -> list[Record]:
        """Return the only step of the operator."""
        return [Record(target, arguments, (), self.place)]

    def window(self, kernel: list[int]) -> dict[str, Any]:
        """Return stride, dilation and padding of a convolution or pool."""
        attributes, rank = self.attributes(), len(kernel)
        stride = attributes.get("strides") or [1] * rank
        dilation = attributes.get("dilations") or [1] * rank
        pads = attributes.get("pads") or [0] * (2 * rank)
        mode = attributes.get("auto_pad", "NOTSET")
        if mode.startswith("SAME"):
            is_upper = mode == "SAME_UPPER"
            have, out = self.shape(0)[2:], self.shape_out()[2:]
            if self.proto.op_type == "ConvTranspose":
                have, out = out, have
            pads = _same_pads((have, out), (kernel, stride, dilation), is_upper=is_upper)
        return {"stride": stride, "dilation": dilation, "padding": pads[:rank], "end_padding": pads[rank:]}


def _same_pads(
    sizes: tuple[Shape, Shape], window: tuple[list[int], list[int], list[int]], *, is_upper: bool
) -> list[int]:
    begin, end = [], []
    for have, out, kernel, stride, dilation in zip(*sizes, *window, strict=True):
        total = max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - have)
        small, large = total // 2, total - total // 2
        begin.append(small if is_upper else large)
        end.append(large if is_upper else small)
    return begin + end


def translate(node: Node) -> list[Record]:
    """Return the steps of an operator; the last one has no outputs yet: they are the node's."""
    kind = node.proto.op_type
    if kind in _VIEWS:
        return node.record("view", _data(node))
    if kind in ("GatherND", "GatherElements") and node.name(0) in node.static:
        return node.record("index_select", node.refs(weight=0, indices=1))
    if kind in _LOST:
        return node.record("take", {"self": _data(node)["input"]})
    if kind in _NORMS:
        # Without an affine part ONNX still has scales, all one; they count as trained.
        arguments = node.refs(input=0, weight=1)
        if kind in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization") and node.name(1):
            arguments["normalized_shape"] = list(node.shape(1))
        return node.record(_NORMS[kind], arguments)
    if kind in _REDUCTIONS:
        return _reduction(node)
    special = _specials().get(kind)
    if special is not None:
        return special(node)
    if kind in _SAME:
        return node.record(_SAME[kind], node.plain())
    return node.record(kind if not node.proto.domain else f"{node.proto.domain}.{kind}", node.plain())


def _reduction(node: Node) -> list[Record]:
    attributes = node.attributes()
    axes = [attributes["axis"]] if "axis" in attributes else node.stated("axes", 1)
    if not axes and attributes.get("noop_with_empty_axes"):
        return node.record("view", node.refs(input=0))
    return node.record(_REDUCTIONS[node.proto.op_type], {"input": Ref(node.name(0)), "dim": axes})


def _data(node: Node) -> dict[str, Any]:
    names = [name for name in node.proto.input if name]
    live = [name for name in names if name not in node.static]
    return {"input": Ref((live or names)[0])}


def _softmax(node: Node) -> list[Record]:
    target = "log_softmax" if node.proto.op_type == "LogSoftmax" else "softmax"
    return node.record(target, {**node.refs(input=0), "dim": node.integer("axis", -1)})


def _transpose(node: Node) -> list[Record]:
    rank = len(node.shape(0))
    order = node.attributes().get("perm") or list(range(rank))[::-1]
    return node.record("permute", {**node.refs(input=0), "dims": order})


def _expand(node: Node) -> list[Record]:
    return node.record("expand", node.refs(input=0))


def _tile(node: Node) -> list[Record]:
    times = node.integers.get(node.name(1))
    target = "repeat" if times is not None else "take"
    return node.record(target, {**node.refs(self=0), "repeats": times})


def _slice(node: Node) -> list[Record]:
    have, out = node.shape(0), node.shape_out()
    cut = [axis for axis, (a, b) in enumerate(zip(have, out, strict=True)) if a != b]
    if not cut:
        return node.record("view", node.refs(input=0))
    if len(cut) > 1:
        return node.record("take", node.refs(self=0))
    steps = node.integers.get(node.name(4)) or [1]
    starts = node.stated("starts", 1)
    arguments = {**node.refs(input=0), "dim": cut[0], "start": starts, "step": abs(steps[0]) if len(steps) == 1 else 1}
    return node.record("slice", arguments)


def _split(node: Node) -> list[Record]:
    return node.record("split", {**node.refs(input=0), "dim": node.integer("axis", 0)})


def _gather(node: Node) -> list[Record]:
    axis = node.integer("axis", 0)
    index = node.name(1)
    if index in node.static and node.shapes.get(index) == ():
        return node.record("select", {**node.refs(input=0), "dim": axis, "index": node.integers.get(index)})
    if node.name(0) in node.static and axis == 0:
        return node.record("index_select", node.refs(weight=0, indices=1))
    picks = node.integers.get(index) if len(node.shapes.get(index, ())) == 1 else None
    return node.record("index_select", {**node.refs(self=0, index=1), "dim": axis, "picks": picks})


def _gather_quantised(node: Node) -> list[Record]:
    """Return a look-up in a table with scales of blocks: rows where the first axis is looked up."""
    if node.integer("gather_axis", 0) == 0 and node.name(0) in node.static:
        return node.record("embedding", node.refs(weight=0, indices=1))
    return node.record("index_select", node.refs(self=0, index=1))


def _fourier(node: Node) -> list[Record]:
    """Return Fourier transforms with their length and the complex numbers of all; the last axis holds the two parts."""
    have, made = node.shape(0), node.shape_out()
    if node.proto.op_type == "STFT":
        size = node.shape(2)[0] if node.name(2) else node.integers[node.name(3)][0]
        return node.record("fourier", {**node.refs(input=0), "size": size, "num": prod(made[:-2]) * size})
    stated = (
        node.integers[node.name(2)] if node.name(2) else [node.integer("axis", 1 if node.opset < _DFT_AXIS else -2)]
    )
    axis = stated[0] % len(have)
    size = max(have[axis], made[axis])
    return node.record("fourier", {**node.refs(input=0), "size": size, "num": prod(have[:-1]) // have[axis] * size})


def _pad(node: Node) -> list[Record]:
    pads = node.stated("pads", 1) or node.stated("paddings", 1)
    have, out = node.shape(0), node.shape_out()
    axes = node.integers.get(node.name(3))
    rank = len(have)
    before, after = [0] * rank, [b - a for a, b in zip(have, out, strict=True)]
    if pads is not None:
        count = len(pads) // 2
        for place in range(count):
            axis = axes[place] if axes is not None else place
            before[axis], after[axis] = pads[place], pads[place + count]
    order = [size for axis in range(rank - 1, -1, -1) for size in (before[axis], after[axis])]
    return node.record("pad", {**node.refs(input=0), "pad": order})


def _conv(node: Node) -> list[Record]:
    is_quantised = node.proto.op_type == "QLinearConv"
    weight = 3 if is_quantised else 1
    kernel = list(node.shape(weight))[2:]
    arguments = {**node.refs(input=0, weight=weight), **node.window(kernel), "groups": node.integer("group", 1)}
    bias = 8 if is_quantised else 2
    if node.name(bias) and node.proto.op_type != "ConvInteger":
        arguments["bias"] = Ref(node.name(bias))
    name = "conv"
    if node.proto.op_type == "ConvTranspose":
        name = "conv_transpose"
        arguments["output_padding"] = node.attributes().get("output_padding") or [0] * len(kernel)
    return node.record(f"{name}{len(kernel)}d", arguments)


def _deform_conv(node: Node) -> list[Record]:
    return node.record("torchvision::deform_conv2d", node.refs(input=0, weight=1, offset=2, bias=3, mask=4))


def _gemm(node: Node) -> list[Record]:
    """Return ``Gemm`` in index notation, and the addition of an activation."""
    first = "km" if node.integer("transA", 0) else "mk"
    second = "nk" if node.integer("transB", 0) else "kn"
    places = (0, 3, 6) if node.proto.op_type == "QGemm" else (0, 1, 2)
    refs = [Ref(node.name(place)) for place in places[:2]]
    addend = node.name(places[2])
    product = {"equation": f"{first},{second}->mn", "tensors": refs, "bias": bool(addend) and addend in node.static}
    if not addend or addend in node.static:
        return node.record("einsum", product)
    inner = f"{node.proto.output[0]}.product"
    step = Record("einsum", product, ((inner, node.shape_out()),), node.place)
    return [step, *node.record("add", {"input": Ref(inner), "other": Ref(addend)})]


def _matmul(node: Node) -> list[Record]:
    places = {"QLinearMatMul": (0, 3)}.get(node.proto.op_type, (0, 1))
    arguments: dict[str, Any] = {"input": Ref(node.name(places[0])), "mat2": Ref(node.name(places[1]))}
    steps = []
    for key, attribute, place in (("input", "transA", places[0]), ("mat2", "transB", places[1])):
        if node.proto.op_type == "FusedMatMul" and node.integer(attribute, 0):
            turned = f"{node.proto.output[0]}.{key}"
            shape = node.shape(place)
            made = ((turned, (*shape[:-2], shape[-1], shape[-2])),)
            steps.append(Record("mT", {"input": arguments[key]}, made, node.place))
            arguments[key] = Ref(turned)
    return [*steps, *node.record("matmul", arguments)]


def _packed(node: Node) -> list[Record]:
    return node.record("packed_linear", node.refs(input=0, weight=1, bias=5))


def _pool(node: Node) -> list[Record]:
    kernel = node.attributes()["kernel_shape"]
    kind = {"MaxPool": "max", "LpPool": "lp"}.get(node.proto.op_type, "avg")
    arguments = {**node.refs(input=0), "kernel_size": kernel, **node.window(kernel)}
    return node.record(f"{kind}_pool{len(kernel)}d", arguments)


def _global_pool(node: Node) -> list[Record]:
    rank = len(node.shape(0)) - 2
    kind = "max" if "Max" in node.proto.op_type else "avg"
    return node.record(f"adaptive_{kind}_pool{min(rank, 3)}d", node.refs(input=0))


def _einsum(node: Node) -> list[Record]:
    tensors = [Ref(name) for name in node.proto.input if name]
    return node.record("einsum", {"equation": node.attributes().get("equation", ""), "tensors": tensors})


def _concat(node: Node) -> list[Record]:
    tensors = [Ref(name) for name in node.proto.input if name]
    return node.record("cat", {"tensors": tensors, "dim": node.integer("axis", 0)})


def _qlinear_concat(node: Node) -> list[Record]:
    return node.record("cat", {"tensors": [Ref(name) for name in list(node.proto.input)[2::3]]})


def _qlinear_pair(node: Node) -> list[Record]:
    target = "mul" if "Mul" in node.proto.op_type else "add"
    return node.record(target, node.refs(input=0, other=3))


def _quantize(node: Node) -> list[Record]:
    return node.record("dequantize", node.refs(input=0))


def _topk(node: Node) -> list[Record]:
    kept = node.integers.get(node.name(1))
    return node.record("topk", {**node.refs(input=0), "k": kept[0] if kept else None})


def _skip_norm(node: Node) -> list[Record]:
    """Return an addition and the normalisation of its sum, which is the fourth output."""
    summed = node.proto.output[3] if len(node.proto.output) > 3 else ""  # noqa: PLR2004
    summed = summed or f"{node.proto.output[0]}.sum"
    target = "rms_norm" if "Simplified" in node.proto.op_type else "layer_norm"
    added = Record("add", node.refs(input=0, other=1), ((summed, node.shape(0)),), node.place)
    return [added, *node.record(target, {"input": Ref(summed), **node.refs(weight=2)})]


def _bias_gelu(node: Node) -> list[Record]:
    summed = f"{node.proto.output[0]}.sum"
    added = Record("add", node.refs(input=0, other=1), ((summed, node.shape(0)),), node.place)
    return [added, *node.record("gelu", {"input": Ref(summed)})]


@lru_cache(maxsize=1)
def _specials() -> Mapping[str, Callable[[Node], list[Record]]]:
    from accelsim.trace.onnx_sequences import SEQUENCES  # noqa: PLC0415  it needs `Node`

    return {
        **dict.fromkeys("Conv ConvTranspose ConvInteger QLinearConv".split(), _conv),
        "DeformConv": _deform_conv,
        **dict.fromkeys("Gemm QGemm".split(), _gemm),
        **dict.fromkeys(
            "MatMul MatMulInteger QLinearMatMul FusedMatMul DynamicQuantizeMatMul MatMulIntegerToFloat".split(), _matmul
        ),
        **dict.fromkeys("MatMulNBits MatMulBnb4".split(), _packed),
        "GatherBlockQuantized": _gather_quantised,
        **dict.fromkeys("DFT STFT".split(), _fourier),
        **dict.fromkeys("MaxPool AveragePool LpPool".split(), _pool),
        **dict.fromkeys("GlobalAveragePool GlobalMaxPool GlobalLpPool QLinearGlobalAveragePool".split(), _global_pool),
        **dict.fromkeys("Softmax LogSoftmax".split(), _softmax),
        "Transpose": _transpose,
        "Expand": _expand,
        "Tile": _tile,
        "Slice": _slice,
        "Split": _split,
        "Gather": _gather,
        "Pad": _pad,
        "Einsum": _einsum,
        "Concat": _concat,
        "QLinearConcat": _qlinear_concat,
        **dict.fromkeys("QLinearAdd QLinearMul".split(), _qlinear_pair),
        **dict.fromkeys("QuantizeLinear DequantizeLinear".split(), _quantize),
        "TopK": _topk,
        **dict.fromkeys("SkipLayerNormalization SkipSimplifiedLayerNormalization".split(), _skip_norm),
        "BiasGelu": _bias_gelu,
        **SEQUENCES,
    }


__all__ = ["CONTROL", "DOMAINS", "STATIC", "Node", "TraceError", "translate"]
