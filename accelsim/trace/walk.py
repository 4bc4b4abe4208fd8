"""The walk over a layer graph that makes its layers; `accelsim.trace.from_graph` has the rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod

from accelsim.ticket.graph import PARAMETRIC_KINDS, GraphNode, NetworkGraph
from accelsim.ticket.shapes import Shape, check_graph
from accelsim.trace.dims import array_dims, pool_dims, vector_dims
from accelsim.trace.model import ARRAY_KINDS, LayerKind, LoopDims, TraceLayer
from accelsim.trace.vector_ops import GATES, SCALE_OPS, op_name, ops_per_output

_FUSABLE = frozenset({"norm", "activation", "softmax", "add", "multiply", "vector"})
_SCALED = (["scale"], ["norm"])
"""What a layer has done so far where a further factor and addend cost nothing: they fold into its own."""
_CONSTANTS = ("scalar", "constant")


@dataclass(slots=True)
class _Draft:
    """A layer that may still gain operations."""

    name: str
    kind: LayerKind
    dims: LoopDims
    operand: dict[str, int]
    num_outputs: int
    second: dict[str, int] = field(default_factory=dict)
    second_input_elements: int = 0
    residuals: list[str] = field(default_factory=list)
    post_ops: list[str] = field(default_factory=list)
    vector_ops: int = 0
    is_output: bool = False
    weights_of: str = ""
    cached_elements: int | None = None
    caches: bool = False
    cached_outputs: int = 0

    def freeze(self) -> TraceLayer:
        inputs = tuple(dict.fromkeys([*self.operand, *self.second]))
        return TraceLayer(
            self.name,
            self.kind,
            self.dims,
            inputs,
            tuple(self.residuals),
            tuple(self.post_ops),
            self.vector_ops,
            self.num_outputs,
            second_input_elements=self.second_input_elements,
            input_elements=tuple(self.operand.get(name, 0) for name in inputs),
            second_inputs=tuple(self.second),
            is_output=self.is_output,
            weights_of=self.weights_of,
            cached_elements=self.cached_elements,
            caches=self.caches,
            cached_outputs=self.cached_outputs if self.caches and self.cached_outputs < self.num_outputs else None,
        )


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a node's output lies: different elements of each owner, and whether it is all of the only one."""

    owners: dict[str, int]
    is_whole: bool

    def part(self, num_elements: int) -> _Tensor:
        """Return a part of so many elements; which owners they are of is not followed."""
        total = sum(self.owners.values())
        owners = {name: max(1, -(-held * num_elements // max(1, total))) for name, held in self.owners.items()}
        return _Tensor(owners, False)


def trace_layers(graph: NetworkGraph) -> tuple[TraceLayer, ...]:
    """Return the layers of a graph in execution order; the graph is checked here."""
    return _Walk(graph).run()


class _Walk:
    """Walks a checked graph once."""

    def __init__(self, graph: NetworkGraph) -> None:
        self._shapes = check_graph(graph)
        self._nodes = graph.nodes
        self._outputs = graph.outputs
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._uses.update(graph.outputs)
        self._readers: dict[str, list[GraphNode]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._tensors: dict[str, _Tensor] = {}
        self._drafts: dict[str, _Draft] = {}
        self._order: dict[str, int] = {}
        self._feeding: dict[tuple[str, bool], bool] = {}

    def run(self) -> tuple[TraceLayer, ...]:
        """Return the layers in execution order."""
        for node in self._nodes:
            self._tensors[node.name] = self._place(node)
        for name in self._outputs:
            for owner in self._tensors[name].owners:
                if owner in self._drafts:
                    self._drafts[owner].is_output = True
        self._find_caches()
        return tuple(draft.freeze() for draft in self._drafts.values())

    def _find_caches(self) -> None:
        """Mark caches of keys and values: a second operand that an input holds in part, and what is returned to it."""
        for draft in self._drafts.values():
            held = draft.second.get("input")
            made = {name: self._returned(name) for name in draft.second if name != "input"}
            if held is None or not made or None in made.values():
                continue
            new = sum(count for name, count in draft.second.items() if name != "input")
            draft.cached_elements = min(held, max(0, draft.second_input_elements - new))
            for name, each in made.items():
                if each is not None:
                    each.caches = True
                    each.cached_outputs += draft.second[name]

    def _returned(self, name: str) -> _Draft | None:
        """Return the layer whose outputs the network returns of what a layer makes: itself, or one that quantises it.

        That is work of the vector unit on nothing else, of as many results.
        """
        own = self._drafts.get(name)
        if own is None or own.is_output:
            return own
        return next(
            (
                each
                for each in self._drafts.values()
                if each.kind == "vector" and each.is_output and not each.residuals
                and list(each.operand) == [name] and each.num_outputs == own.num_outputs
            ),
            None,
        )  # fmt: skip

    def _place(self, node: GraphNode) -> _Tensor:
        if node.kind == "input":
            return _Tensor({"input": prod(node.out_shape)}, False)
        if node.kind == "reshape":
            source = self._tensors[node.inputs[0]]
            if node.function == "select":
                return source.part(prod(node.out_shape))
            is_alone = self._uses[node.inputs[0]] == 1 and not node.function
            return _Tensor(source.owners, source.is_whole and is_alone)
        if node.kind == "concat":
            return _Tensor(self._owners(node.inputs), False)
        if self._is_scaling(node):
            return _Tensor(self._owners(node.inputs), False)
        if node.kind in _FUSABLE and self._fuse(node):
            return _Tensor({self._latest(node)[1]: prod(node.out_shape)}, True)
        return self._start(node)

    def _is_scaling(self, node: GraphNode) -> bool:
        """Return whether a node scales what only products read: a constant factor is one of their sums.

        So a cache of keys that a program multiplies by a number before the product is still read once, from the cache;
        and so is one in integers that is scaled, each channel or head by its own factor perhaps, and shifted by a zero
        point on its way to products.
        """
        if node.kind == "multiply" and node.function == "scalar" and self._feeds_products(node.name):
            return True
        is_held = "input" in self._owners(node.inputs)
        return is_held and _dequantises(node) and self._feeds_products(node.name, is_held=True)

    def _feeds_products(self, name: str, *, is_held: bool = False) -> bool:
        """Return whether only products read a tensor; ``is_held``: behind joins and constants too."""
        known = self._feeding.get((name, is_held))
        if known is None:
            readers = self._readers.get(name, [])
            known = name not in self._outputs and bool(readers)
            known = known and all(self._hands_on(node, is_held=is_held) for node in readers)
            self._feeding[name, is_held] = known
        return known

    def _hands_on(self, node: GraphNode, *, is_held: bool) -> bool:
        """Return whether a node is a product, or hands its input on to products alone, scaled at most."""
        passes = node.kind == "reshape" or (node.kind == "multiply" and node.function == "scalar")
        passes = passes or (is_held and (node.kind == "concat" or _dequantises(node)))
        return node.kind == "matmul" or (passes and self._feeds_products(node.name, is_held=is_held))

    def _owners(self, names: tuple[str, ...]) -> dict[str, int]:
        owners: Counter[str] = Counter()
        for name in names:
            owners.update(self._tensors[name].owners)
        return dict(owners)

    def _latest(self, node: GraphNode) -> tuple[str, str]:
        """Return (input name, owner) of the input that is made last."""
        pairs = [(name, owner) for name in node.inputs for owner in self._tensors[name].owners]
        return max(pairs, key=lambda pair: self._order.get(pair[1], -1), default=("", ""))

    def _fuse(self, node: GraphNode) -> bool:
        name, owner = self._latest(node)
        if not name:
            return False
        tensor = self._tensors[name]
        same_size = prod(self._shapes[name]) == prod(node.out_shape) or node.function in GATES
        if not (tensor.is_whole and self._uses[name] == 1 and same_size):
            return False
        draft = self._drafts[owner]
        draft.residuals += self._owners(tuple(other for other in node.inputs if other != name))
        draft.num_outputs = prod(node.out_shape)
        self._count(draft, node, name)
        return True

    def _count(self, draft: _Draft, node: GraphNode, source: str) -> None:
        """Add a node's vector operations.

        A batch normalisation right behind the weights, and constant factors and addends, fold into their scale; a
        constant factor on a product of activations folds into the scale of an operand.
        """
        if node.kind == "norm" and node.function == "batch" and draft.post_ops == ["scale"]:
            draft.post_ops[0] = "norm"
            return
        if node.function == "scalar" and draft.kind in ARRAY_KINDS:
            if draft.post_ops in _SCALED or (node.kind == "multiply" and not draft.post_ops):
                return
        draft.post_ops.append(op_name(node))
        if node.kind == "vector":
            draft.vector_ops += node.num_ops
        else:
            draft.vector_ops += ops_per_output(node, self._shapes[source]) * prod(node.out_shape)

    def _start(self, node: GraphNode) -> _Tensor:
        draft = self._draft(node)
        self._order[node.name] = len(self._drafts)
        self._drafts[node.name] = draft
        return _Tensor({node.name: draft.num_outputs}, True)

    def _draft(self, node: GraphNode) -> _Draft:
        shapes = [self._shapes[name] for name in node.inputs]
        num_outputs = prod(node.out_shape)
        if node.kind in ARRAY_KINDS:
            return self._array_draft(node, shapes, num_outputs)
        if node.kind == "embedding":
            dims = vector_dims(node.out_shape, num_outputs)
            operand = self._tensors[node.inputs[0]].owners if node.inputs else {}
            return _Draft(node.name, "embedding", dims, operand, num_outputs, weights_of=node.weights_of)
        # The largest operand goes through, the others are added to it.
        main = max(node.inputs, key=lambda name: prod(self._shapes[name]))
        others = [name for name in node.inputs if name != main]
        operand = self._tensors[main].owners
        if node.kind in ("pool", "global_pool"):
            draft = _Draft(node.name, "pool", pool_dims(node, shapes[0]), operand, num_outputs)
        else:
            read = min(sum(operand.values()), prod(self._shapes[main]))
            draft = _Draft(node.name, "vector", vector_dims(node.out_shape, read), operand, num_outputs)
        draft.residuals += self._owners(tuple(others))
        self._count(draft, node, main)
        return draft

    def _array_draft(self, node: GraphNode, shapes: list[Shape], num_outputs: int) -> _Draft:
        dims = array_dims(node, shapes)
        operand = self._tensors[node.inputs[0]].owners
        draft = _Draft(node.name, _layer_kind(node, dims), dims, operand, num_outputs, weights_of=node.weights_of)
        if node.kind in PARAMETRIC_KINDS:
            draft.post_ops.append("scale")
            draft.vector_ops = SCALE_OPS * num_outputs
        elif node.kind == "matmul":
            draft.second = self._tensors[node.inputs[1]].owners
            draft.second_input_elements = min(prod(shapes[1]), sum(draft.second.values()))
        return draft


def _dequantises(node: GraphNode) -> bool:
    """Return whether a node multiplies by constants, or adds a number."""
    return node.function == "scalar" if node.kind == "add" else node.kind == "multiply" and node.function in _CONSTANTS


def _layer_kind(node: GraphNode, dims: LoopDims) -> LayerKind:
    match node.kind:
        case "conv2d":
            return "depthwise_conv2d" if dims.G > 1 and dims.C == 1 else "conv2d"
        case "conv_transpose2d" | "linear" | "matmul" | "aggregate":
            return node.kind
        case _:
            return "vector"
