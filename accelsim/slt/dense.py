"""The dense counterpart of a search: the same network, data and steps, but the weights are trained and all are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from accelsim.slt.batch import SearchData
from accelsim.slt.export import Evaluation
from accelsim.slt.network import SearchNetwork, apply_weight, run_graph
from accelsim.slt.score import score
from accelsim.ticket.graph import GraphNode
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import ImportedPattern, pack_imported_layer

_ROUNDED_BITS = (8, 4)


def evaluate_dense(network: SearchNetwork, data: SearchData, num_bits: int | None = None) -> Evaluation:
    """Return scores and input densities of a trained network in float32 on the test part of ``data``.

    With ``num_bits`` the weights of each output channel are rounded to nearest on a symmetric scale of so many bits.
    """
    weights = {name: _rounded(layer.scores.detach(), num_bits) for name, layer in network.trained_layers().items()}
    counts: dict[str, list[int]] = {}

    def weighted(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
        found = counts.setdefault(node.name, [0, 0])
        found[0] += int(torch.count_nonzero(x))
        found[1] += x.numel()
        return apply_weight(node, x, weights[node.name])

    with torch.inference_mode():
        result = score(
            data, lambda batch: batch.scores(run_graph(network.graph, batch.inputs, weighted, lambda node, x: x))
        )
    density = {name: nonzero / total for name, (nonzero, total) in counts.items()}
    return Evaluation(result.accuracy, density, result.bits_per_character)


def _rounded(weight: torch.Tensor, num_bits: int | None) -> torch.Tensor:
    if num_bits is None:
        return weight
    largest = 2 ** (num_bits - 1) - 1
    step = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / largest
    rounded: torch.Tensor = torch.round(weight / step) * step
    return rounded


def export_dense(network: SearchNetwork, data: SearchData) -> Ticket:
    """Return what a ticket file says of a trained network: graph, scores and densities; its values are not stored."""
    layers = []
    for name, layer in network.trained_layers().items():
        weight = layer.scores.detach().numpy()
        pattern = ImportedPattern(np.zeros(layer.shape, dtype=np.int8), np.ones(layer.shape, dtype=np.int8))
        scale = np.full(layer.shape[0], np.abs(weight).mean())
        mask = np.ones(layer.shape, dtype=np.bool_)
        packed = pack_imported_layer(name, pattern, mask, "entropy", scale, np.zeros(layer.shape[0]))
        layers.append(replace(packed, weight_payload=b""))
    rounded = {bits: evaluate_dense(network, data, bits).bits_per_character for bits in _ROUNDED_BITS}
    notes = (
        "the weights were trained and are not in this file: it states the network, its scores and input densities",
        *(
            f"weights rounded to {bits} bits, a scale per output channel: {found:.4f} bits per character"
            for bits, found in rounded.items()
            if found is not None
        ),
    )
    return Ticket(network.graph, tuple(layers), "dense", regenerable=False, notes=notes)
