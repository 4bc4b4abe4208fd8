"""Shapes of an ONNX graph that computes its own sizes, as attention and splits exported from torch do.

Inference over the whole graph does not follow sizes through ``Shape``, ``Gather``, ``Slice`` and the like. Here the
graph is walked once: small integers are computed with ONNX's reference evaluator, and each node whose shapes are not
known yet is inferred with the integers at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import onnx
from onnx import defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from accelsim.trace.onnx_contrib import TYPED_BY, own_shapes

Values = npt.NDArray[np.generic]

_MAX_VALUES = 4096
"""Elements of a tensor that can be a size; larger ones are data."""
_FOLDED = frozenset(
    "Gather Slice Concat Unsqueeze Squeeze Cast Add Sub Mul Div Mod Neg Abs Floor Ceil Sqrt Max Min Reshape Where "
    "Equal Greater Less Not And Or Identity ReduceProd ReduceSum ReduceMax Transpose Split Pow Flatten Scatter "
    "ScatterElements ScatterND".split()
)
_SIZED = frozenset({"ConstantOfShape", "Expand"})  # made as large as their last input says


def complete_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Add the shapes that are missing to the graph's ``value_info``; return the integers that it computes, by name."""
    walk = _walked(model)
    model.graph.value_info.extend(walk.added)
    return {
        name: [int(value) for value in values.reshape(-1)]
        for name, values in walk.values.items()
        if np.issubdtype(values.dtype, np.integer) and values.ndim <= 1
    }


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a graph's tensors, by name: small ones that do not depend on the input, and all shapes."""

    values: dict[str, Values]
    shapes: dict[str, tuple[int, ...]]


def known(model: onnx.ModelProto) -> Known:
    """Return what can be known of a graph before it is run."""
    walk = _walked(shape_inference.infer_shapes(model, data_prop=True))
    return Known(walk.values, walk.shapes())


def _walked(model: onnx.ModelProto) -> _Walk:
    walk = _Walk(model)
    for node in model.graph.node:
        walk.visit(node)
    return walk


def known_shape(kind: onnx.TypeProto) -> tuple[int, ...] | None:
    """Return the shape of a type whose sizes are all known, else None."""
    if not kind.tensor_type.HasField("shape"):
        return None
    sizes = kind.tensor_type.shape.dim
    return tuple(size.dim_value for size in sizes) if all(size.HasField("dim_value") for size in sizes) else None


class _Walk:
    """What is known of the tensors made so far: types with all sizes, and small values."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._types: dict[str, onnx.TypeProto] = {}
        self.values: dict[str, Values] = {}
        self.added: list[onnx.ValueInfoProto] = []
        graph = model.graph
        for tensor in graph.initializer:
            self._types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            if prod(tensor.dims) <= _MAX_VALUES and tensor.data_location != onnx.TensorProto.EXTERNAL:
                self._remember(tensor)
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.name not in self._types and known_shape(value.type) is not None:
                self._types[value.name] = value.type

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return all shapes that are known."""
        found = {name: known_shape(kind) for name, kind in self._types.items()}
        return {name: shape for name, shape in found.items() if shape is not None}

    def _remember(self, tensor: onnx.TensorProto) -> None:
        try:
            self.values[tensor.name] = numpy_helper.to_array(tensor)
        except ValueError:
            return  # its values are stripped: its shape is all there is

    def visit(self, node: onnx.NodeProto) -> None:
        """Learn what can be known of a node's outputs."""
        values = self._compute(node)
        for name, array in zip(node.output, values, strict=False):
            if array.size <= _MAX_VALUES:
                self.values[name] = array
            if name not in self._types:
                self._learn(
                    name, helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                )
        if any(name and name not in self._types for name in node.output):
            for name, kind in self._infer(node).items():
                if name not in self._types and known_shape(kind) is not None:
                    self._learn(name, kind)

    def _learn(self, name: str, kind: onnx.TypeProto) -> None:
        self._types[name] = kind
        self.added.append(helper.make_value_info(name, kind))

    def _compute(self, node: onnx.NodeProto) -> list[Values]:
        """Return the outputs of a node that computes sizes from sizes; none where it does not."""
        if node.op_type == "Shape":
            shape = known_shape(self._types[node.input[0]]) if node.input[0] in self._types else None
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            return (
                [] if shape is None else [np.array(shape[bounds.get("start", 0) : bounds.get("end")], dtype=np.int64)]
            )
        inputs = {name: self.values[name] for name in node.input if name in self.values}
        if any(name and name not in inputs for name in node.input) or not self._is_small(node, inputs):
            return []
        try:
            return [np.asarray(value) for value in ReferenceEvaluator(node, opsets=self._opsets).run(None, inputs)]
        except Exception:  # noqa: BLE001  a node that cannot be computed is inferred instead
            return []

    def _is_small(self, node: onnx.NodeProto, inputs: dict[str, Values]) -> bool:
        if node.op_type == "Constant":
            return all(prod(attribute.t.dims) <= _MAX_VALUES for attribute in node.attribute)
        if node.op_type in _SIZED:
            sizes = inputs[node.input[-1]]
            return sizes.ndim == 1 and prod(int(size) for size in sizes) <= _MAX_VALUES
        return node.op_type in _FOLDED and node.domain in ("", "ai.onnx")

    def _infer(self, node: onnx.NodeProto) -> dict[str, onnx.TypeProto]:
        types = {name: self._types[name] for name in node.input if name in self._types}
        domain = "" if node.domain == "ai.onnx" else node.domain
        kinds = {name: kind.tensor_type.elem_type for name, kind in types.items()}
        own = own_shapes(node, {name: known_shape(kind) for name, kind in types.items()}, kinds)
        if own:
            first = kinds.get(node.input[TYPED_BY.get(node.op_type, 0)], onnx.TensorProto.FLOAT)
            return {name: helper.make_tensor_type_proto(first, shape) for name, shape in own.items()}
        # An operator of another domain: its shape is a guess, for those who count it instead of refusing it.
        guess = {node.output[0]: types[node.input[0]]} if node.output and set(node.input[:1]) & set(types) else {}
        try:
            schema = defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain)
        except defs.SchemaError:
            return guess
        data = {name: numpy_helper.from_array(self.values[name], name) for name in node.input if name in self.values}
        opsets = [helper.make_opsetid(name, version) for name, version in self._opsets.items()]
        try:
            found = dict(shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=opsets))
            return found if any(map(known_shape, found.values())) or not domain else guess
        except Exception:  # noqa: BLE001  an input of unknown type, or arguments that do not fit: nothing is learnt
            return {}
