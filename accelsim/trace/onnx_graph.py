"""ONNX files as programs: each ONNX operator becomes the ATen operator of the same meaning."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import inliner, shape_inference

from accelsim.errors import TicketError, TraceError
from accelsim.ticket.torchfile import check_regular_file
from accelsim.trace.aten import is_supported
from accelsim.trace.input_shapes import StatedShapes, Symbols, check_fixed
from accelsim.trace.onnx_branches import take_branches
from accelsim.trace.onnx_fused import in_plain_terms
from accelsim.trace.onnx_lists import take_lists
from accelsim.trace.onnx_loops import take_bags
from accelsim.trace.onnx_ops import CONTROL, DOMAINS, STATIC, Node, translate
from accelsim.trace.onnx_shapes import complete_shapes, known_shape
from accelsim.trace.onnx_work import node_macs
from accelsim.trace.records import HELD, Program, Record, Ref, Shape

_MAX_FILE_BYTES = 2 << 30
_MAX_KEPT_BYTES = 1 << 16
"""Content of a tensor that may be a size, a scale or an index; larger ones are weights, of which the shape suffices."""
_WEIGHT_PLACES = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1,), "QLinearConv": (3, 8), "DeformConv": (1,),
    "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2), "GroupNormalization": (1, 2), "Gemm": (2,),
    "RMSNormalization": (1,), "SimplifiedLayerNormalization": (1,), "PRelu": (1,), "MatMulNBits": (1, 2, 3),
    "QAttention": (1, 2), "MatMulBnb4": (1, 2), "GatherBlockQuantized": (0, 2, 3),
}  # fmt: skip
_STATISTICS = {
    "BatchNormalization": (3, 4), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "Clip": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7), "QLinearMatMul": (1, 2, 4, 5, 6, 7), "MatMulNBits": (2, 3),
    "MatMulBnb4": (2,), "GatherBlockQuantized": (2, 3), "ConvInteger": (2, 3), "MatMulInteger": (2, 3),
    "Resize": (1, 2), "Upsample": (1,), "Pad": (2,), "STFT": (2,),
}  # fmt: skip
_MAX_FLOATS, _MAX_TEXT = 16, 4096
"""Numbers and bytes of an attribute from which on it may be weights: anchors and factors are fewer."""
_SAMPLES = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)
"""What exporters call a dynamic axis of samples."""
_PASSING = frozenset("Identity Cast Transpose Reshape Squeeze Unsqueeze QuantizeLinear DequantizeLinear".split())
_WORKING = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Operators that work in each run whatever they read: positions that pass through a layer."""
_FLOATS = frozenset({
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16,
})  # fmt: skip

_SMALL_INTEGERS = {
    onnx.TensorProto.INT8: 8, onnx.TensorProto.UINT8: 8, onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4,
}  # fmt: skip
"""Bits of the integers in which weights and caches are quantised."""


def read_onnx(path: str | os.PathLike[str], stated: StatedShapes | None = None) -> Program:
    """Read the graph of an ONNX file; external data is not loaded, and of weights only the shapes are kept.

    A dynamic first axis of the input is the batch and counts as 1; shapes are inferred. ``stated`` shapes are taken for
    dynamic axes.

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
        if model.functions:
            model = inliner.inline_local_functions(model)
        moved = in_plain_terms(model)
        _drop_weights(model)
        open_input = _fix_sizes(where, model, stated or StatedShapes())
        take_branches(model)
        take_bags(model)
        take_lists(model)
        _refuse_control_flow(where, model.graph)
        model = shape_inference.infer_shapes(model, data_prop=True)
        integers = complete_shapes(model)
    except TraceError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds on damaged files
        reason = " ".join(str(error).split())[:200]
        raise TraceError(f"{where}: not a readable ONNX file ({reason}); export it again") from error
    try:
        program = _Reader(where, model, integers, moved).program()
        return replace(program, open_input=open_input)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise TraceError(f"{where}: a node's attributes do not fit its operator; export it again") from error


def _refuse_control_flow(where: str, graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type in CONTROL and node.domain in DOMAINS:
            raise TraceError(
                f"{where}: {_place(node)}: {node.op_type}: control flow is not followed; export the module with the "
                "branch that is taken, or unrolled"
            )


def _drop_weights(model: onnx.ModelProto) -> None:
    """Forget the values of large tensors: several copies of the model are made, and shapes suffice."""
    for sparse in model.graph.sparse_initializer:
        model.graph.initializer.add(
            name=sparse.values.name, dims=sparse.dims, data_type=sparse.values.data_type,
            data_location=onnx.TensorProto.EXTERNAL,
        )  # fmt: skip
    model.graph.ClearField("sparse_initializer")
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _MAX_KEPT_BYTES:
            shape, kind, name = list(tensor.dims), tensor.data_type, tensor.name
            tensor.Clear()
            tensor.dims.extend(shape)
            tensor.data_type, tensor.name = kind, name
            tensor.data_location = onnx.TensorProto.EXTERNAL


def _fix_sizes(where: str, model: onnx.ModelProto, stated: StatedShapes) -> str:
    """Give all dynamic axes of inputs their sizes; return the first input whose first axis counts as samples, or ""."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    stated.check_names(where, [value.name for value in inputs])
    shapes: dict[str, Shape] = {}
    symbols = Symbols(where)
    for index, value in enumerate(inputs):
        sizes = value.type.tensor_type.shape.dim
        batch = sizes[0].dim_value if sizes and sizes[0].dim_value > 0 else 1
        shape = stated.of(where, value.name, len(sizes), is_first=index == 0, batch=batch)
        if shape is None:
            continue
        shapes[value.name] = shape
        for size, chosen in zip(sizes, shape, strict=True):
            _state_size(size, chosen, value.name, symbols)
    opened = [
        value.name
        for value in inputs
        if value.name not in shapes and _fix_input(where, value, symbols.sizes, stated.samples)
    ]
    check_fixed(where, shapes, {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inputs})
    # Stated shapes of the outputs may still name the batch; inference fills them in again.
    for value in (*model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if not size.HasField("dim_value") or size.dim_value <= 0:
                size.Clear()
    return next(iter(opened), "")


def _state_size(size: Any, chosen: int, name: str, symbols: Symbols) -> None:
    """Give an axis the stated size if it is dynamic."""
    if not size.HasField("dim_value") or size.dim_value <= 0:
        if size.dim_param:
            symbols.state(size.dim_param, chosen, name)
        size.dim_value = chosen


def _fix_input(where: str, value: onnx.ValueInfoProto, symbols: Mapping[str, int], samples: int) -> bool:
    """Give the dynamic axes of an input their sizes: those of the same name elsewhere, else ``samples`` for the first.

    Return whether the first axis counts as samples although its name does not say so.
    """
    sizes = value.type.tensor_type.shape.dim
    dynamic = {axis: size for axis, size in enumerate(sizes) if not size.HasField("dim_value") or size.dim_value <= 0}
    known = {axis: symbols.get(size.dim_param) if size.dim_param else None for axis, size in dynamic.items()}
    for axis, size in dynamic.items():
        if known[axis] is None and axis:
            shown = [str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in sizes]
            example = "x".join([shown[0] if _SAMPLES.search(shown[0]) is None else "1", *shown[1:]])
            raise TraceError(
                f"{where}: input {value.name!r}: axis {axis} ({size.dim_param or 'unnamed'}) is dynamic; "
                f"state its sizes with --input-shape {value.name}={example}"
            )
    is_open = 0 in known and known[0] is None and _SAMPLES.search(dynamic[0].dim_param) is None
    for axis, size in dynamic.items():
        size.dim_value = known[axis] or samples
    return is_open


class _Reader:
    """Walks an ONNX graph."""

    def __init__(
        self, where: str, model: onnx.ModelProto, integers: Mapping[str, list[int]], moved: frozenset[str]
    ) -> None:
        self._where = where
        self._graph = graph = model.graph
        self._opset = max((entry.version for entry in model.opset_import if not entry.domain), default=1)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in self._initializers.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            shape = known_shape(value.type)
            if shape is not None:
                self._shapes.setdefault(value.name, shape)
        self._integers = dict(integers)
        self._moved = moved
        self._parameters: dict[str, str] = {}
        self._origins = {name: name for name in self._initializers}
        self._static: set[str] = set(self._initializers)
        self._guessed: set[str] = set()

    def program(self) -> Program:
        """Return the graph as a program."""
        weights = self._weights_among_inputs()
        inputs = []
        for value in self._graph.input:
            if value.name not in self._initializers and value.name not in weights:
                if value.name not in self._shapes:
                    raise TraceError(f"{self._where}: input {value.name!r} has no shape; export with fixed sizes")
                inputs.append((value.name, self._shapes[value.name]))
        self._static |= weights
        self._origins.update((name, name) for name in weights)
        records = [record for node in self._graph.node for record in self._records(node)]
        constants = {name: self._shapes[name] for name in (*self._initializers, *sorted(weights))}
        parameters = {name: self._parameters.get(name, name) for name in constants}
        batch = next((shape[0] for _, shape in inputs if len(shape) > 1), 1)
        trained = self._trained(weights)
        return Program(
            Path(self._where).stem,
            tuple(inputs),
            constants,
            parameters,
            tuple(records),
            tuple(value.name for value in self._graph.output),
            batch,
            sum(self._packed().get(name) or prod(self._shapes[name]) for name in trained),
            frozenset(parameters[name] for name in trained),
            narrow={
                value.name: _SMALL_INTEGERS[value.type.tensor_type.elem_type]
                for value in self._graph.input
                if value.type.tensor_type.elem_type in _SMALL_INTEGERS
            },
        )

    def _weights_among_inputs(self) -> set[str]:
        """Return the inputs that are read only where an operator has its weights: files may leave their values out.

        Between an input and its operator may be what keeps the weights as they are, such as a cast.
        """
        places: dict[str, set[bool]] = {}
        for node in reversed(self._graph.node):
            passes = node.op_type in _PASSING and places.get(node.output[0]) == {True}
            for place, name in enumerate(node.input):
                is_weight = place in _WEIGHT_PLACES.get(node.op_type, ()) or (passes and not place)
                places.setdefault(name, set()).add(is_weight)
        given = {value.name for value in self._graph.input} - set(self._initializers)
        return {name for name in given if places.get(name) == {True}}

    def _trained(self, weights: set[str]) -> set[str]:
        """Return the initialisers that are trained: floats or quantised weights, no statistics, scales and numbers."""
        others = {
            name
            for node in self._graph.node
            for place, name in enumerate(node.input)
            if place in _STATISTICS.get(node.op_type, ())
        }
        used = {
            self._origins.get(node.input[place])
            for node in self._graph.node
            for place in self._trained_places(node)
            if place < len(node.input)
        }
        found = {
            name
            for name, tensor in self._initializers.items()
            if (tensor.data_type in _FLOATS and prod(tensor.dims) > 1 and name not in self._moved) or name in used
        }
        return (found | weights) - others

    def _trained_places(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Return which operands are trained, whatever their type, if they are initialisers."""
        if node.op_type == "Gather":
            return (0,) if self._is_table(node.input[0]) else ()
        dequantised = (0,) if node.op_type == "DequantizeLinear" else ()
        return (*_WEIGHT_PLACES.get(node.op_type, ()), *_OPERANDS.get(node.op_type, ()), *dequantised)

    def _is_table(self, name: str) -> bool:
        """Return whether an initialiser is a trained table of rows; tables of wide integers are indices."""
        tensor = self._initializers.get(name)
        return tensor is not None and len(tensor.dims) == 2 and tensor.data_type in {*_FLOATS, *_SMALL_INTEGERS}  # noqa: PLR2004

    def _packed(self) -> dict[str, int]:
        """Return how many weights each initialiser has that holds several in a byte."""
        sizes: dict[str, int] = {}
        for node in self._graph.node:
            if node.op_type in ("MatMulNBits", "MatMulBnb4"):
                numbers = {item.name: item.i for item in node.attribute}
                sizes[node.input[1]] = numbers.get("K", 0) * numbers.get("N", 0)
            elif node.op_type == "GatherBlockQuantized" and node.output[0] in self._shapes:
                rows, columns = self._shapes[node.input[0]][0], self._shapes[node.output[0]][-1]
                sizes[node.input[0]] = rows * columns
        return sizes

    def _records(self, proto: onnx.NodeProto) -> list[Record]:
        place = _place(proto)
        node = Node(self._where, proto, place, self._shapes, self._integers, frozenset(self._static), self._opset)
        label = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        if proto.op_type == "Constant":
            shapes = (tuple(item.t.dims) for item in proto.attribute if item.name == "value")
            self._shapes.update((proto.output[0], shape) for shape in shapes)
        names = [name for name in proto.input if name]
        if proto.op_type in STATIC or (all(name in self._static for name in names) and proto.op_type not in _WORKING):
            return self._static_records(node, names)
        self._name_weights(proto, place)
        records = self._translated(node, label)
        outputs = [(name, self._shape(name, proto)) for name in proto.output]
        last = records[-1]
        if not last.outputs:
            records[-1] = Record(last.target, last.arguments, tuple(outputs), place, node_macs(node), label)
        return records

    def _translated(self, node: Node, label: str) -> list[Record]:
        proto = node.proto
        if proto.domain not in DOMAINS:
            records = [Record(label, {**node.plain(), HELD: _held(proto)}, (), node.place)]
        else:
            records = translate(node)
        if not is_supported(records[-1].target):  # without a shape of its own, its input's stands in
            live = [name for name in proto.input if name and name not in self._static]
            self._guessed.update(proto.output)
            self._shapes.setdefault(proto.output[0], self._shapes.get(live[0], ()))
        return records

    def _static_records(self, node: Node, names: list[str]) -> list[Record]:
        """Return a record of tensors that do not depend on the input: which trained one they are made of is kept."""
        proto = node.proto
        self._static.update(proto.output)
        outputs = tuple((name, self._shapes.get(name, ())) for name in proto.output if name)
        origin = max(
            (self._origins[name] for name in names if name in self._origins),
            key=lambda name: prod(self._shapes.get(name, ())),
            default=None,
        )
        if origin is not None:
            self._origins.update((name, origin) for name in proto.output)
        records = translate(node) if proto.domain in DOMAINS and proto.op_type not in STATIC else []
        target, arguments = "static", {name: Ref(name) for name in names if name in self._origins}
        if len(records) == 1 and records[0].target in ("view", "permute", "dequantize", "expand", "repeat"):
            target, arguments = records[0].target, dict(records[0].arguments)
        if proto.op_type == "Gather" and self._is_table(names[0]) and self._shapes.get(names[1], ()) != ():
            target, arguments = "embedding", {"weight": Ref(names[0]), "indices": Ref(names[1])}
            self._static.difference_update(proto.output)  # its rows are read in each run
        return [Record(target, arguments, outputs, node.place)]

    def _shape(self, name: str, node: onnx.NodeProto) -> Shape | None:
        if name and name not in self._shapes and name == next(filter(None, node.output)):
            first = self._first_unknown(node)
            is_list = "Sequence" in first.op_type
            if first is not node and not is_list and self._guessed.intersection(first.output):
                raise TraceError(
                    f"{self._where}: {_place(first)}: operation {first.op_type} is not supported, and what reads it "
                    "has other shapes than its input; export without fused operators, or cut the module there"
                )
            remedy = "with tensors in place of sequences" if is_list else "with fixed sizes"
            raise TraceError(
                f"{self._where}: {_place(first)}: the shape of {first.op_type}'s output cannot be inferred; "
                f"export {remedy}"
            )
        return self._shapes.get(name)

    def _first_unknown(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return why the shape of ``node`` is not known: the operator behind it that reads nothing of unknown shape."""
        makers = {name: other for other in self._graph.node for name in other.output if name}
        seen: set[str] = set()
        while True:
            known = self._shapes.keys() - self._guessed
            unknown = [name for name in node.input if name in makers and name not in known and name not in seen]
            if not unknown:
                return node
            seen.add(unknown[0])
            node = makers[unknown[0]]

    def _name_weights(self, node: onnx.NodeProto, place: str) -> None:
        """Name weights after their operator's place where their own name says nothing."""
        for index in (*_WEIGHT_PLACES.get(node.op_type, ())[:1], *_OPERANDS.get(node.op_type, ())):
            if index < len(node.input) and node.input[index] in self._origins:
                origin = self._origins[node.input[index]]
                self._parameters.setdefault(origin, _parameter_name(origin, node, place))


def _place(node: onnx.NodeProto) -> str:
    """Return how messages call a node: its name, or that of its first output."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def _held(node: onnx.NodeProto) -> list[str]:
    """Return the attributes in which an operator holds tensors, graphs, or as many numbers."""
    kinds = ("t", "g", "sparse_tensor")
    return [
        item.name
        for item in node.attribute
        if any(item.HasField(kind) for kind in kinds)
        or item.tensors
        or item.graphs
        or len(item.floats) > _MAX_FLOATS
        or len(item.s) > _MAX_TEXT
    ]


_OPERANDS = {
    "Gemm": (0, 1), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3), "Einsum": (0, 1),
    "FusedMatMul": (0, 1), "DynamicQuantizeMatMul": (1,),
    "MatMulIntegerToFloat": (1,), "QGemm": (3,), "LSTM": (2,), "GRU": (2,), "RNN": (2,), "Attention": (1,),
    "QAttention": (1,),
}  # fmt: skip


def _parameter_name(weight: str, node: onnx.NodeProto, place: str) -> str:
    """Return the weight's own name if it has one, else that of the module (``/block/conv/Conv`` is ``block.conv``)."""
    if weight.endswith(".weight") or node.op_type in ("LSTM", "GRU", "RNN"):
        return weight
    parts: list[Any] = place.strip("/").split("/")
    if len(parts) > 1 and parts[-1].startswith(node.op_type):
        parts.pop()
    return f"{'.'.join(parts)}.weight"
