"""ONNX files as programs: each ONNX operator becomes the ATen operator of the same meaning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import shape_inference

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.torchfile import check_regular_file
from accelsim.trace.aten import is_supported
from accelsim.trace.exported import Program
from accelsim.trace.onnx_shapes import complete_shapes, known_shape
from accelsim.trace.records import Record, Ref, Shape

_MAX_FILE_BYTES = 2 << 30
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})

# Operators whose inputs keep their order and need no attributes here; the first input is "input".
_SAME = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Elu": "elu",
    "Selu": "selu", "HardSwish": "hardswish", "HardSigmoid": "hardsigmoid", "Gelu": "gelu", "Erf": "erf", "Exp": "exp",
    "Sqrt": "sqrt", "Pow": "pow", "Softplus": "softplus", "Mish": "mish", "Neg": "neg", "Abs": "abs", "Sign": "sign",
    "Clip": "hardtanh", "Log": "log", "Reciprocal": "reciprocal", "Softmax": "softmax", "LogSoftmax": "log_softmax",
    "Add": "add", "Sub": "sub", "Sum": "add", "Max": "maximum", "Min": "minimum", "Mul": "mul", "Div": "div",
    "Where": "where", "Resize": "upsample_nearest2d", "Upsample": "upsample_nearest2d", "Pad": "pad",
    "GlobalAveragePool": "adaptive_avg_pool2d", "GlobalMaxPool": "adaptive_max_pool2d",
}  # fmt: skip
# Of these only the first input is data; the rest says how to look at it.
_VIEWS = frozenset(
    "Reshape Flatten Transpose Squeeze Unsqueeze Slice Gather Split Identity Dropout Expand Cast DepthToSpace "
    "SpaceToDepth Tile CastLike".split()
)
_STATIC = frozenset("Shape Size Constant ConstantOfShape Range".split())
_NORMS = {
    "BatchNormalization": "batch_norm", "LayerNormalization": "layer_norm", "InstanceNormalization": "instance_norm",
    "GroupNormalization": "group_norm", "SimplifiedLayerNormalization": "rms_norm", "RMSNormalization": "rms_norm",
}  # fmt: skip
_REDUCTIONS = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceProd": "prod",
    "ArgMax": "argmax", "ArgMin": "argmin",
}  # fmt: skip


def read_onnx(path: str | os.PathLike[str], input_shape: Shape | None = None) -> Program:
    """Read the graph of an ONNX file; external data is not loaded.

    A dynamic first axis of the input is the batch and counts as 1; shapes are inferred. ``input_shape`` (without batch)
    is taken for other dynamic axes.

    Raises
    ------
    TraceError
        No such file, not ONNX, a size that is dynamic elsewhere, or a shape that cannot be inferred.
    """
    where = os.fspath(path)
    try:
        check_regular_file(path, _MAX_FILE_BYTES)
    except TicketError as error:
        raise TraceError(str(error)) from error
    try:
        model = onnx.load(where, load_external_data=False)
        _fix_sizes(where, model, input_shape)
        model = shape_inference.infer_shapes(model, data_prop=True)
        integers = complete_shapes(model)
    except TraceError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds on damaged files
        reason = " ".join(str(error).split())[:200]
        raise TraceError(f"{where}: not a readable ONNX file ({reason}); export it again") from error
    try:
        return _Reader(where, model.graph, integers).program()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise TraceError(f"{where}: a node's attributes do not fit its operator; export it again") from error


def _fix_sizes(where: str, model: onnx.ModelProto, input_shape: Shape | None) -> None:
    initialised = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in initialised:
            continue
        sizes = value.type.tensor_type.shape.dim
        for axis, size in enumerate(sizes):
            if size.HasField("dim_value") and size.dim_value > 0:
                continue
            if not axis:
                size.dim_value = 1
            elif input_shape is not None and len(input_shape) == len(sizes) - 1:
                size.dim_value = input_shape[axis - 1]
            else:
                raise TraceError(
                    f"{where}: input {value.name!r}: axis {axis} ({size.dim_param or 'unnamed'}) is dynamic; "
                    f"state its {len(sizes) - 1} sizes with --input-shape, without the batch"
                )
    # Stated shapes of the outputs may still name the batch; inference fills them in again.
    for value in (*model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.ClearField("dim_param")


class _Reader:
    """Walks an ONNX graph."""

    def __init__(self, where: str, graph: onnx.GraphProto, integers: Mapping[str, list[int]]) -> None:
        self._where = where
        self._graph = graph
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in self._initializers.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            shape = known_shape(value.type)
            if shape is not None:
                self._shapes.setdefault(value.name, shape)
        self._integers = dict(integers)
        self._parameters: dict[str, str] = {}
        self._static: set[str] = set(self._initializers)

    def program(self) -> Program:
        """Return the graph as a program."""
        inputs = []
        for value in self._graph.input:
            if value.name not in self._initializers:
                if value.name not in self._shapes:
                    raise TraceError(f"{self._where}: input {value.name!r} has no shape; export with fixed sizes")
                inputs.append((value.name, self._shapes[value.name]))
        records = [record for node in self._graph.node for record in self._records(node)]
        constants = {name: self._shapes[name] for name in self._initializers}
        outputs = tuple(value.name for value in self._graph.output)
        name, batch = Path(self._where).stem, inputs[0][1][0] if inputs and inputs[0][1] else 1
        return Program(name, tuple(inputs), constants, self._parameters, tuple(records), outputs, batch)

    def _records(self, node: onnx.NodeProto) -> list[Record]:
        place = node.name or (node.output[0] if node.output else node.op_type)
        if node.op_type == "Constant":
            shapes = (tuple(item.t.dims) for item in node.attribute if item.name == "value")
            self._shapes.update((node.output[0], shape) for shape in shapes)
        names = [name for name in node.input if name]
        if node.op_type in _STATIC or all(name in self._static for name in names):
            self._static.update(node.output)
            outputs = tuple((name, self._shapes.get(name, ())) for name in node.output if name)
            return [Record("static", {}, outputs, place)]
        target, arguments = self._translate(node, place)
        if not is_supported(target):  # without a shape of its own, its input's stands in: it is named or counted
            live = [name for name in names if name not in self._static]
            self._shapes.setdefault(node.output[0], self._shapes.get(live[0], ()))
        made = tuple((name, self._shape(name, node)) for name in node.output if name)
        padding = arguments.pop("before", None)
        if padding is None:
            return [Record(target, arguments, made, place)]
        padded = f"{made[0][0]}.padded"
        before = Record("pad", {"input": arguments["input"]}, ((padded, padding),), place)
        return [before, Record(target, {**arguments, "input": Ref(padded)}, made, place)]

    def _shape(self, name: str, node: onnx.NodeProto) -> Shape | None:
        if name not in self._shapes and name == node.output[0]:
            raise TraceError(
                f"{self._where}: {node.name or name}: the shape of {node.op_type}'s output cannot be inferred; "
                "export with fixed sizes"
            )
        return self._shapes.get(name)

    def _integer_input(self, name: str) -> list[int] | None:
        return self._integers.get(name)

    def _translate(self, node: onnx.NodeProto, place: str) -> tuple[str, dict[str, Any]]:
        if node.domain not in _DOMAINS:
            return f"{node.domain}.{node.op_type}", self._plain(node)
        if node.op_type in _VIEWS:
            live = [name for name in node.input if name and name not in self._static]
            return "view", {"input": Ref(live[0])}
        if node.op_type in _NORMS:
            # Without an affine part ONNX still has scales, all one; they count as trained.
            return _NORMS[node.op_type], {"input": Ref(node.input[0]), "weight": Ref(node.input[1])}
        if node.op_type in _REDUCTIONS:
            return _REDUCTIONS[node.op_type], self._reduction(node)
        special = _SPECIAL.get(node.op_type)
        if special is not None:
            return special(self, node, place)
        return _SAME.get(node.op_type, node.op_type), self._plain(node)

    @staticmethod
    def _plain(node: onnx.NodeProto) -> dict[str, Any]:
        return {("input" if index == 0 else str(index)): Ref(name) for index, name in enumerate(node.input) if name}

    def _reduction(self, node: onnx.NodeProto) -> dict[str, Any]:
        attributes = _attributes(node)
        axes = attributes.get("axes", [attributes["axis"]] if "axis" in attributes else None)
        if axes is None and len(node.input) > 1:
            axes = self._integer_input(node.input[1])
        return {"input": Ref(node.input[0]), "dim": axes}

    def weighted(self, node: onnx.NodeProto, place: str) -> dict[str, Any]:
        """Return input, weight and bias of a node with weights, and give the weight its module's name."""
        weight = node.input[1]
        self._parameters[weight] = _parameter_name(weight, node, place)
        arguments: dict[str, Any] = {"input": Ref(node.input[0]), "weight": Ref(weight)}
        if len(node.input) > 2 and node.input[2]:
            arguments["bias"] = Ref(node.input[2])
        return arguments

    def window(self, node: onnx.NodeProto, kernel: list[int]) -> dict[str, Any]:
        """Return stride, dilation and padding of a convolution or pool; uneven padding becomes a step before it."""
        attributes = _attributes(node)
        stride = attributes.get("strides") or [1] * len(kernel)
        dilation = attributes.get("dilations") or [1] * len(kernel)
        pads = attributes.get("pads") or [0] * (2 * len(kernel))
        have, out = self._shapes.get(node.input[0]), self._shapes.get(node.output[0])
        mode = attributes.get("auto_pad", "NOTSET")
        if mode.startswith("SAME") and have is not None and out is not None:
            pads = _same_pads(mode, (have[2:], out[2:]), (kernel, stride, dilation))
        begin, end = pads[: len(kernel)], pads[len(kernel) :]
        if begin == end:
            return {"stride": stride, "dilation": dilation, "padding": begin}
        if have is None:
            raise TraceError(f"{self._where}: {node.name}: uneven padding of an unknown shape; export with fixed sizes")
        sizes = (size + low + high for size, low, high in zip(have[2:], begin, end, strict=True))
        return {"stride": stride, "dilation": dilation, "padding": [0] * len(kernel), "before": (*have[:2], *sizes)}

    def kernel_of(self, weight: str) -> list[int]:
        """Return the kernel of a weight tensor."""
        return list(self._shapes.get(weight, ()))[2:]

    def remember_parameter(self, name: str, node: onnx.NodeProto, place: str) -> None:
        """Name a weight operand after its place where its own name says nothing."""
        if name in self._static:
            self._parameters[name] = _parameter_name(name, node, place)


def _parameter_name(weight: str, node: onnx.NodeProto, place: str) -> str:
    """Return the weight's own name if it has one, else that of the module (``/block/conv/Conv`` is ``block.conv``)."""
    if weight.endswith(".weight"):
        return weight
    parts = place.strip("/").split("/")
    if len(parts) > 1 and parts[-1].startswith(node.op_type):
        parts.pop()
    return f"{'.'.join(parts)}.weight"


def _attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else list(value) if hasattr(value, "__iter__") else value
        for name, value in values.items()
        if not isinstance(value, onnx.TensorProto)
    }


def _same_pads(mode: str, sizes: tuple[Shape, Shape], window: tuple[list[int], list[int], list[int]]) -> list[int]:
    begin, end = [], []
    for have, out, kernel, stride, dilation in zip(*sizes, *window, strict=True):
        total = max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - have)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin + end


def _conv(reader: _Reader, node: onnx.NodeProto, place: str) -> tuple[str, dict[str, Any]]:
    kernel = reader.kernel_of(node.input[1])
    is_transposed = node.op_type == "ConvTranspose"
    arguments = {**reader.weighted(node, place), **reader.window(node, kernel)}
    arguments["groups"] = _attributes(node).get("group", 1)
    if is_transposed:
        arguments["output_padding"] = _attributes(node).get("output_padding") or [0] * len(kernel)
    name = "conv_transpose" if is_transposed else "conv"
    return f"{name}{len(kernel)}d", arguments


def _gemm(reader: _Reader, node: onnx.NodeProto, place: str) -> tuple[str, dict[str, Any]]:
    return "linear", reader.weighted(node, place)


def _matmul(reader: _Reader, node: onnx.NodeProto, place: str) -> tuple[str, dict[str, Any]]:
    for name in node.input:
        reader.remember_parameter(name, node, place)
    return "matmul", {"input": Ref(node.input[0]), "mat2": Ref(node.input[1])}


def _pool(reader: _Reader, node: onnx.NodeProto, _: str) -> tuple[str, dict[str, Any]]:
    kernel = _attributes(node)["kernel_shape"]
    target = "max_pool" if node.op_type == "MaxPool" else "avg_pool"
    return f"{target}{len(kernel)}d", {
        "input": Ref(node.input[0]),
        "kernel_size": kernel,
        **reader.window(node, kernel),
    }


def _einsum(_: _Reader, node: onnx.NodeProto, __: str) -> tuple[str, dict[str, Any]]:
    tensors = [Ref(name) for name in node.input if name]
    return "einsum", {"equation": _attributes(node).get("equation", ""), "tensors": tensors}


_SPECIAL: dict[str, Callable[[_Reader, onnx.NodeProto, str], tuple[str, dict[str, Any]]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "Einsum": _einsum,
    "Concat": lambda _, node, __: ("cat", {"tensors": [Ref(name) for name in node.input if name]}),
}
