"""Networks as torch modules, built from a layer graph: for the search, and as stored in a ticket."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from accelsim.errors import TicketError
from accelsim.prng import RandomSource
from accelsim.slt.layers import EdgePopupLayer, ScoreRank
from accelsim.slt.select import KeptMask, Scores, keep_best, keep_best_of_all, num_to_keep
from accelsim.slt.trained import TrainedLayer
from accelsim.ticket.graph import PARAMETRIC_KINDS, GraphNode, NetworkGraph

NodeOperation = Callable[[GraphNode, torch.Tensor], torch.Tensor]
SEARCHABLE_KINDS = frozenset({"conv2d", "linear"})


def run_graph(
    graph: NetworkGraph,
    inputs: torch.Tensor,
    weighted: NodeOperation,
    norm: NodeOperation,
    neighbours: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the output of the last node.

    Parameters
    ----------
    graph
        Nodes in execution order.
    inputs
        [N, *input shape], or [nodes, features] of one graph.
    weighted, norm
        What weighted nodes and batch normalisations do with their input.
    neighbours
        Sparse [nodes, nodes] for ``aggregate`` nodes.

    Raises
    ------
    TicketError
        A kind of node that this module cannot compute.
    """
    # Maps are dropped after their last user: a deep network's activations would not fit otherwise.
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    values: dict[str, torch.Tensor] = {graph.nodes[0].name: inputs}
    for index, node in enumerate(graph.nodes[1:], start=1):
        operands = [values[name] for name in node.inputs]
        if node.kind in PARAMETRIC_KINDS:
            values[node.name] = weighted(node, operands[0])
        elif node.kind == "norm" and node.function == "layer":
            values[node.name] = functional.layer_norm(operands[0], operands[0].shape[-1:])
        elif node.kind == "norm":
            values[node.name] = norm(node, operands[0])
        elif node.kind == "aggregate" and neighbours is not None:
            values[node.name] = torch.sparse.mm(neighbours, operands[0].float())
        else:
            values[node.name] = _plain(node, operands)
        for name in set(node.inputs):
            if last_use[name] == index:
                del values[name]
    return values[graph.nodes[-1].name]


def apply_weight(node: GraphNode, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the convolution or linear map of a node with ``weight``."""
    if node.kind == "linear":
        return functional.linear(x, weight)
    if node.kind == "conv_transpose2d":
        return functional.conv_transpose2d(
            x, weight, None, node.stride, node.padding, node.output_padding, node.groups, node.dilation
        )
    return functional.conv2d(x, weight, None, node.stride, node.padding, node.dilation, node.groups)


def folded_norms(graph: NetworkGraph) -> dict[str, str]:
    """Return, for each batch normalisation, the weighted node it is folded into.

    A layer normalisation without trained parameters needs nothing stored: it is computed from the input at hand.

    Raises
    ------
    TicketError
        A normalisation with trained parameters, or a batch normalisation that is not the only user of a weighted node:
        a ticket has no place for it.
    """
    users: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users[name] = users.get(name, 0) + 1
    folded = {}
    for node in graph.nodes:
        if node.kind != "norm" or (node.function == "layer" and not node.affine):
            continue
        producer = graph.node(node.inputs[0])
        foldable = producer.kind in PARAMETRIC_KINDS and users[producer.name] == 1
        if not foldable or node.function != "batch" or node.affine:
            raise TicketError(
                f"{graph.name}: {node.name}: only norms without affine parameters, batch norms alone behind a weighted "
                "layer, can be searched and stored; use a network of that form"
            )
        folded[node.name] = producer.name
    return folded


def with_sign_activations(graph: NetworkGraph) -> NetworkGraph:
    """Return the graph with ``sign`` in the place of every activation."""
    nodes = tuple(replace(node, function="sign") if node.kind == "activation" else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


class _Sign(torch.autograd.Function):
    """Sign without 0; the gradient passes where the input lies within -1 to 1 (Hubara et al., NeurIPS 2016, eq. 4)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Return +1 where ``x`` >= 0, else -1."""
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the input."""
        (x,) = ctx.saved_tensors
        passed: torch.Tensor = grads[0] * (x.abs() <= 1)
        return passed


def sign_of(x: torch.Tensor) -> torch.Tensor:
    """Return +1 where ``x`` >= 0, else -1; its gradient is that of `_Sign`."""
    out: torch.Tensor = _Sign.apply(x)  # type: ignore[no-untyped-call]
    return out


class SearchNetwork(nn.Module):
    """A network under search: edge-popup layers and non-affine batch normalisation.

    Parameters
    ----------
    graph
        The network.
    sources
        Random source of each weighted node; None trains the weights and keeps all of them.
    rng
        Draws the first scores, in graph order.
    dtype
        Arithmetic of the weights.
    neighbours
        For networks on a graph, see `run_graph`.
    rank
        What of a score the threshold compares.
    num_coats
        Nested masks of each layer, summed.
    gains
        What the deviation of a layer's weights is multiplied by, where that is not 1.
    """

    def __init__(  # noqa: PLR0913  each is a choice of the search
        self,
        graph: NetworkGraph,
        sources: dict[str, RandomSource] | None,
        rng: np.random.Generator,
        dtype: torch.dtype = torch.float32,
        neighbours: torch.Tensor | None = None,
        rank: ScoreRank = "value",
        num_coats: int = 1,
        gains: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.graph = graph
        gains = gains or {}
        self.neighbours = neighbours
        self._num_coats = num_coats
        batch_norms = folded_norms(graph)
        self.norm_of = {producer: norm for norm, producer in batch_norms.items()}
        self._layers = nn.ModuleDict()
        self._norms = nn.ModuleDict()
        for node in graph.nodes:
            if node.kind in PARAMETRIC_KINDS:
                if node.kind not in SEARCHABLE_KINDS or node.bias:
                    raise TicketError(
                        f"{graph.name}: {node.name}: a search takes conv2d and linear without bias; use another network"
                    )
                shape, gain = graph.weight_shape(node), gains.get(node.name, 1.0)
                if sources is None:
                    self._layers[_key(node.name)] = TrainedLayer(shape, rng, dtype, gain)
                    continue
                layer = EdgePopupLayer(sources[node.name], shape, rng, dtype, rank, num_coats)
                layer.base_scale *= gain
                layer.scale = layer.base_scale
                self._layers[_key(node.name)] = layer
            elif node.name in batch_norms:
                is_map = len(node.out_shape) == 3
                kind, channels = (nn.BatchNorm2d, 0) if is_map else (nn.BatchNorm1d, -1)
                self._norms[_key(node.name)] = kind(node.out_shape[channels], affine=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the class scores, [N, classes]."""
        return run_graph(
            self.graph,
            inputs,
            lambda node, x: apply_weight(node, x, self._layers[_key(node.name)]()),
            lambda node, x: self.norm(node.name)(x),
            self.neighbours,
        )

    def layer(self, name: str) -> EdgePopupLayer:
        """Return the edge-popup layer of a weighted node."""
        layer = self._layers[_key(name)]
        assert isinstance(layer, EdgePopupLayer)
        return layer

    def norm(self, name: str) -> nn.BatchNorm1d | nn.BatchNorm2d:
        """Return the batch normalisation of a node."""
        norm = self._norms[_key(name)]
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        return norm

    def layers(self) -> dict[str, EdgePopupLayer]:
        """Return the edge-popup layers by node name, in graph order; none of a trained network."""
        found = {node.name: self._layers[_key(node.name)] for node in self._weighted_nodes()}
        return {name: layer for name, layer in found.items() if isinstance(layer, EdgePopupLayer)}

    def trained_layers(self) -> dict[str, TrainedLayer]:
        """Return the trained layers by node name, in graph order; none of a network under search."""
        found = {node.name: self._layers[_key(node.name)] for node in self._weighted_nodes()}
        return {name: layer for name, layer in found.items() if isinstance(layer, TrainedLayer)}

    def _weighted_nodes(self) -> list[GraphNode]:
        return [node for node in self.graph.nodes if node.kind in PARAMETRIC_KINDS]

    def norms(self) -> dict[str, nn.BatchNorm1d | nn.BatchNorm2d]:
        """Return the batch normalisations by node name, in graph order."""
        return {name: self.norm(name) for name in self.norm_of.values()}

    def update_masks(self, sparsity: float, scope: Literal["layer", "network"]) -> None:
        """Keep the best free weights so that, with the locked ones, a fraction 1 - ``sparsity`` is kept.

        Exact to one weight, over each layer or over the network; where freezing alone locks more or leaves fewer, the
        nearest that can be reached. Each further coat keeps the same fraction of what the coat before keeps.
        """
        layers = list(self.layers().values())
        if not layers:
            return
        scores = [layer.ranks() for layer in layers]
        if scope == "layer":
            wanted = [num_to_keep(layer.num_weights, sparsity) - layer.num_locked for layer in layers]
            kept = [keep_best(score, number) for score, number in zip(scores, wanted, strict=True)]
        else:
            total = num_to_keep(sum(layer.num_weights for layer in layers), sparsity)
            kept = keep_best_of_all(scores, total - sum(layer.num_locked for layer in layers))
        if self._num_coats > 1:
            self._add_coats(scores, kept, sparsity, scope)
        for layer, mask in zip(layers, kept, strict=True):
            layer.kept = torch.from_numpy(mask)

    def _add_coats(
        self, scores: list[Scores], kept: list[KeptMask], sparsity: float, scope: Literal["layer", "network"]
    ) -> None:
        """Put in the place of the masks how many coats keep each free weight, uint8."""
        sums = [mask.astype(np.uint8) for mask in kept]
        groups = [[index] for index in range(len(kept))] if scope == "layer" else [list(range(len(kept)))]
        for group in groups:
            number = sum(int(np.count_nonzero(kept[index])) for index in group)
            for _ in range(1, self._num_coats):
                # Coats are nested: one threshold orders the scores, so that fewer kept are a part of those kept before.
                number = num_to_keep(number, sparsity)
                for index, mask in zip(group, keep_best_of_all([scores[i] for i in group], number), strict=True):
                    sums[index] += mask
        kept[:] = sums  # type: ignore[assignment]  # a mask of several coats is their sum

    def update_scales(self, rule: Literal["none", "static", "dynamic"], sparsity: float) -> None:
        """Compensate dropped weights by 1 / sqrt of the kept fraction, the wanted one or each layer's present one.

        With several coats the present one is the mean square of how often a weight counts: the deviation of the
        weights stays that of the source network. The wanted one is that of the first coat, as the authors' code has it.
        """
        for layer in self.layers().values():
            fraction = 1.0
            if rule == "static":
                fraction = 1.0 - sparsity
            elif rule == "dynamic":
                fraction = layer.mean_square
            layer.scale = layer.base_scale / max(fraction, 1.0 / layer.num_weights) ** 0.5


def _key(name: str) -> str:
    """Return a node name as a module key, which must not hold dots."""
    return name.replace(".", "/")


def _plain(node: GraphNode, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Compute a node without weights."""
    operation = _PLAIN.get((node.kind, node.function), _PLAIN.get((node.kind, "")))
    if operation is None:
        known = ", ".join(sorted({kind for kind, _ in _PLAIN}))
        raise TicketError(f"{node.name}: {node.kind} {node.function}: cannot be computed in torch here; known: {known}")
    return operation(node, inputs)


def _pool(node: GraphNode, inputs: list[torch.Tensor]) -> torch.Tensor:
    if node.function == "max":
        return functional.max_pool2d(inputs[0], node.kernel, node.stride, node.padding)
    return functional.avg_pool2d(inputs[0], node.kernel, node.stride, node.padding)


def _sum(node: GraphNode, inputs: list[torch.Tensor]) -> torch.Tensor:
    total = inputs[0]
    for other in inputs[1:]:
        total = total + other
    return total


def _matmul(node: GraphNode, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Return the product per head of [N, rows, heads * columns] or [N, heads, rows, columns].

    Queries and keys (``transpose_b``) are divided by sqrt of the head size here; on the chip that is part of the
    softmax.
    """
    first, second = (_split_heads(x, node.num_heads) for x in inputs)
    if node.transpose_b:
        return torch.matmul(first * first.shape[-1] ** -0.5, second.transpose(-2, -1))
    return torch.matmul(first, second).transpose(1, 2).flatten(2)


def _split_heads(x: torch.Tensor, num_heads: int) -> torch.Tensor:
    return x if x.ndim == 4 else x.view(*x.shape[:-1], num_heads, -1).transpose(1, 2)


def _causal_softmax(node: GraphNode, inputs: list[torch.Tensor]) -> torch.Tensor:
    future = torch.full(inputs[0].shape[-2:], -math.inf, dtype=inputs[0].dtype).triu(1)
    return functional.softmax(inputs[0] + future, dim=-1)


_PLAIN: dict[tuple[str, str], Callable[[GraphNode, list[torch.Tensor]], torch.Tensor]] = {
    ("activation", "relu"): lambda node, inputs: functional.relu(inputs[0]),
    ("activation", "gelu"): lambda node, inputs: functional.gelu(inputs[0]),
    ("activation", "silu"): lambda node, inputs: functional.silu(inputs[0]),
    ("activation", "sigmoid"): lambda node, inputs: torch.sigmoid(inputs[0]),
    ("activation", "tanh"): lambda node, inputs: torch.tanh(inputs[0]),
    ("activation", "sign"): lambda node, inputs: sign_of(inputs[0]),
    ("pool", "max"): _pool,
    ("pool", "avg"): _pool,
    ("global_pool", ""): lambda node, inputs: inputs[0].mean(dim=(-2, -1) if inputs[0].ndim == 4 else 1),
    ("add", ""): _sum,
    ("concat", ""): lambda node, inputs: torch.cat(inputs, dim=1),
    ("matmul", ""): _matmul,
    ("softmax", "causal"): _causal_softmax,
    ("softmax", ""): lambda node, inputs: functional.softmax(inputs[0], dim=-1),
    ("reshape", ""): lambda node, inputs: inputs[0].reshape(len(inputs[0]), *node.out_shape),
}
