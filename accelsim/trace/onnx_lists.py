"""Sequences of tensors in an ONNX graph, as exporters write lists and uneven splits: the tensors take their place.

A sequence that the graph makes itself, of a known number of tensors, is no more than names. What reads it becomes a
``Split``, ``Concat`` or the tensor itself. Sequences of inputs, loops and unknown places stay, and are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from accelsim.trace.onnx_fused import replace_nodes
from accelsim.trace.onnx_shapes import Known, known

_MAX_ROUNDS = 8
"""Each round takes what is known so far: a split of what another sequence was joined to needs another."""
_MAX_PARTS, _MAX_NAMES = 4096, 1 << 20
"""Tensors that all splits of a graph make, and tensors in all of its sequences: a few bytes of a file ask for each."""
_OPERANDS = 13
"""The version of ONNX from which sizes and axes are operands and no attributes."""
_MAKERS = frozenset({"SequenceConstruct", "SequenceEmpty", "SplitToSequence", "SequenceInsert", "SequenceErase"})
_READERS = frozenset({"SequenceAt", "ConcatFromSequence", "SequenceLength"})


def take_lists(model: onnx.ModelProto) -> None:
    """Replace what reads sequences by what reads their tensors; what is not known, or too much, stays."""
    left = _Left()
    for _ in range(_MAX_ROUNDS):
        if not any(node.op_type in _READERS for node in model.graph.node):
            return
        version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        lists = _Lists(model.graph, known(model), version, left)
        for node in model.graph.node:
            lists.visit(node)
        if not lists.num_read:
            return
        replace_nodes(model.graph, _used(lists.nodes, model.graph))


def _used(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes without those that make sequences which nobody reads any more."""
    read = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if node.op_type in _MAKERS and not read & set(node.output):
            continue
        kept.append(node)
        read.update(node.input)
        # What a branch or a loop holds may read any tensor.
        read.update(name for item in node.attribute for inner in item.g.node for name in inner.input)
    return kept[::-1]


@dataclass(slots=True)
class _Left:
    """What a graph may still ask for."""

    parts: int = _MAX_PARTS
    names: int = _MAX_NAMES


@dataclass(slots=True)
class _Lists:
    """The sequences made so far, by name, and the graph's nodes without readers of them."""

    graph: onnx.GraphProto
    facts: Known
    version: int
    left: _Left
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    num_read: int = 0
    _known: dict[str, list[str]] = field(default_factory=dict)

    def visit(self, node: onnx.NodeProto) -> None:
        """Take one node in the graph's order."""
        plain = node.domain in ("", "ai.onnx")
        if plain and node.op_type in _MAKERS:
            tensors = self._made(node)
            self.left.names -= len(tensors or ())
            if tensors is not None and self.left.names >= 0:
                self._known[node.output[0]] = tensors
            self.nodes.append(node)
        elif plain and node.op_type in _READERS and node.input[0] in self._known and self._read(node):
            self.num_read += 1
        else:
            self.nodes.append(node)

    def _made(self, node: onnx.NodeProto) -> list[str] | None:
        """Return the tensors of a sequence, None where they are not known."""
        if node.op_type == "SequenceConstruct":
            return list(node.input)
        if node.op_type == "SequenceEmpty":
            return []
        if node.op_type == "SplitToSequence":
            return self._split(node)
        before = self._known.get(node.input[0])
        operand = 2 if node.op_type == "SequenceInsert" else 1
        place = self._whole(node, operand)
        if before is None or (place is None and len(node.input) > operand and node.input[operand]):
            return None
        if node.op_type == "SequenceInsert":
            place = len(before) if place is None else place % max(1, len(before)) if place < 0 else place
            return [*before[:place], node.input[1], *before[place:]]
        place = -1 if place is None else place
        return [name for index, name in enumerate(before) if index != place % max(1, len(before))]

    def _split(self, node: onnx.NodeProto) -> list[str] | None:
        attributes = {item.name: item.i for item in node.attribute}
        shape = self.facts.shapes.get(node.input[0])
        if shape is None or not -len(shape) <= attributes.get("axis", 0) < len(shape):
            return None
        axis = attributes.get("axis", 0) % len(shape)
        is_stated = len(node.input) > 1 and bool(node.input[1])
        # One more than there may be: too many, without as many entries as a file cares to name.
        sizes = self._sizes(node.input[1], shape[axis]) if is_stated else [1] * min(shape[axis], _MAX_PARTS + 1)
        if sizes is None or sum(sizes) != shape[axis] or not 1 <= len(sizes) <= self.left.parts:
            return None
        self.left.parts -= len(sizes)
        name = node.output[0]
        parts = [f"{name}.{index}" for index in range(len(sizes))]
        self._add("Split", [node.input[0]], parts, split=sizes, axis=axis)
        if is_stated or attributes.get("keepdims", 1):
            return parts
        for part in parts:
            self._add("Squeeze", [part], [f"{part}.bare"], axes=[axis])
        return [f"{part}.bare" for part in parts]

    def _sizes(self, name: str, total: int) -> list[int] | None:
        stated = self.facts.values.get(name)
        if stated is None:
            return None
        sizes = [int(size) for size in np.atleast_1d(stated).reshape(-1)]
        if stated.ndim or sizes[0] < 1:
            return sizes if all(size >= 0 for size in sizes) else None
        whole, rest = divmod(total, sizes[0])
        return [sizes[0]] * min(whole, _MAX_PARTS) + [rest] * bool(rest)

    def _read(self, node: onnx.NodeProto) -> bool:
        """Replace a reader; return whether its place is known."""
        tensors = self._known[node.input[0]]
        if node.op_type == "SequenceLength":
            length = numpy_helper.from_array(np.array(len(tensors), dtype=np.int64), node.output[0])
            self.graph.initializer.append(length)
            return True
        if node.op_type == "SequenceAt":
            place = self._whole(node, 1)
            if place is None or not -len(tensors) <= place < len(tensors):
                return False
            self.nodes.append(helper.make_node("Identity", [tensors[place]], node.output))
            return True
        self.left.names -= len(tensors)
        if not tensors or self.left.names < 0:
            return False
        attributes = {item.name: item.i for item in node.attribute}
        axis = attributes.get("axis", 0)
        if attributes.get("new_axis", 0):
            self.left.parts -= len(tensors)
            if self.left.parts < 0:
                return False
            wide = [f"{node.output[0]}.{index}" for index in range(len(tensors))]
            for tensor, name in zip(tensors, wide, strict=True):
                self._add("Unsqueeze", [tensor], [name], axes=[axis])
            tensors = wide
        self.nodes.append(helper.make_node("Concat", tensors, node.output, name=node.name, axis=axis))
        return True

    def _whole(self, node: onnx.NodeProto, operand: int) -> int | None:
        """Return the whole number that an operand holds, None where it is left out or not known."""
        value = self.facts.values.get(node.input[operand]) if operand < len(node.input) else None
        return int(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **numbers: Any) -> None:
        """Add a node whose sizes or axes are attributes or operands, as its version of ONNX has them."""
        key = next(iter(numbers))
        if self.version >= _OPERANDS:
            values = numpy_helper.from_array(np.array(numbers.pop(key), dtype=np.int64), f"{outputs[0]}.{key}")
            self.graph.initializer.append(values)
            inputs = [*inputs, values.name]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **numbers))
