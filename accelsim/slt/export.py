"""From a searched network to the ticket that is stored, and back to a network that computes with what is stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from accelsim.slt.batch import SearchData
from accelsim.slt.layers import EdgePopupLayer
from accelsim.slt.network import SearchNetwork, apply_weight, run_graph
from accelsim.slt.score import score
from accelsim.ticket.coats import with_coats
from accelsim.ticket.digest import filter_digests
from accelsim.ticket.graph import GraphNode
from accelsim.ticket.model import MaskCodec, Ticket, TicketLayer
from accelsim.ticket.pack import pack_layer, unpack_weights, with_input_density

_EXACT_BFLOAT16 = 256  # larger integers may be rounded in a search


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a ticket is as stored, and the density of each layer's input on the same data.

    ``accuracy`` is a fraction, of a text that of the next characters that are foreseen; ``bits_per_character`` is None
    for other data.
    """

    accuracy: float
    input_density: dict[str, float]
    bits_per_character: float | None = None


def export_ticket(network: SearchNetwork, codec: MaskCodec) -> Ticket:
    """Return the ticket of a searched network.

    The magnitude of the weights, their scaling and the running statistics of the normalisation behind a layer become
    one float16 scale and offset per output channel: y = scale x + offset, with x the sum of kept, signed inputs.
    """
    layers = []
    for name, layer in network.layers().items():
        scale = np.full(layer.shape[0], layer.scale)
        offset = np.zeros(layer.shape[0])
        norm_name = network.norm_of.get(name)
        if norm_name is not None:
            norm = network.norm(norm_name)
            assert norm.running_mean is not None and norm.running_var is not None
            deviation = np.sqrt(norm.running_var.double().numpy() + norm.eps)
            scale = scale / deviation
            offset = -norm.running_mean.double().numpy() / deviation
        packed = pack_layer(name, layer.shape, layer.source, layer.mask(), codec, scale, offset)
        if layer.num_coats > 1:
            packed = with_coats(packed, layer.kept.numpy(), layer.num_coats)
        layers.append(_with_digests(packed, layer))
    return Ticket(network.graph, tuple(layers), "searched")


def _with_digests(packed: TicketLayer, layer: EdgePopupLayer) -> TicketLayer:
    """Take the digests from the weights that were searched, not from those that the source would give again."""
    searched = layer.integer_weights() * layer.coat_sums().astype(np.int32)
    if np.abs(searched).max(initial=0) > _EXACT_BFLOAT16:
        return packed
    return replace(packed, digest_payload=filter_digests(searched))


class TicketNetwork:
    """A ticket as the hardware computes it: integer weights from the stored bits, then scale and offset, in float32.

    Normalisations are folded into the offset and scale of the layer before them and do nothing themselves.
    """

    def __init__(self, ticket: Ticket, neighbours: torch.Tensor | None = None) -> None:
        self.ticket = ticket
        self._neighbours = neighbours
        self._weights: dict[str, torch.Tensor] = {}
        self._scales: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for layer in ticket.layers:
            weights: npt.NDArray[np.signedinteger] = unpack_weights(layer)
            self._weights[layer.name] = torch.from_numpy(weights.astype(np.float32))
            self._scales[layer.name] = (
                torch.from_numpy(layer.scale_K.astype(np.float32)),
                torch.from_numpy(layer.offset_K.astype(np.float32)),
            )

    def run(self, inputs: torch.Tensor, num_nonzero: dict[str, list[int]] | None = None) -> torch.Tensor:
        """Return the class scores of [N, *shape]; ``num_nonzero`` collects [non-zero, all] inputs per layer."""

        def weighted(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
            if num_nonzero is not None:
                counts = num_nonzero.setdefault(node.name, [0, 0])
                counts[0] += int(torch.count_nonzero(x))
                counts[1] += x.numel()
            scale, offset = self._scales[node.name]
            per_channel = (-1, 1, 1) if node.kind != "linear" else (-1,)
            out = apply_weight(node, x, self._weights[node.name])
            return out * scale.view(per_channel) + offset.view(per_channel)

        with torch.inference_mode():
            return run_graph(self.ticket.graph, inputs, weighted, lambda node, x: x, self._neighbours)


def evaluate(ticket: Ticket, data: SearchData) -> Evaluation:
    """Return scores and input densities of a ticket on the test part of ``data``."""
    network = TicketNetwork(ticket, data.neighbours)
    counts: dict[str, list[int]] = {}
    found = score(data, lambda batch: batch.scores(network.run(batch.inputs, counts)))
    density = {name: nonzero / total for name, (nonzero, total) in counts.items()}
    return Evaluation(found.accuracy, density, found.bits_per_character)


def with_evaluation(ticket: Ticket, evaluation: Evaluation) -> Ticket:
    """Return the ticket with measured scores and densities in it."""
    layers = tuple(with_input_density(layer, evaluation.input_density[layer.name]) for layer in ticket.layers)
    return replace(
        ticket, layers=layers, accuracy=evaluation.accuracy, bits_per_character=evaluation.bits_per_character
    )
