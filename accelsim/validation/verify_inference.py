"""Integer inference of a ticket: int8 activations, integer weights, int32 sums, float16 scales and offsets.

Every tensor that a weighted layer or a product of two activations reads, or that a residual addition takes, is int8
with one scale per tensor, the largest magnitude on training data over 127; symmetric, so 0 stays 0. The sums of
weighted layers are exact: they are computed in int8 (convolutions of small weights), in float32 where all of them stay
below 2^24, else in float64, and must fit int32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from accelsim.errors import ConfigError, TicketError
from accelsim.slt.batch import Batch, SearchData
from accelsim.slt.data import dataset_of, load_data
from accelsim.slt.export import TicketNetwork
from accelsim.slt.network import apply_weight, run_graph
from accelsim.ticket.graph import PARAMETRIC_KINDS, GraphNode, NetworkGraph
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import unpack_weights
from accelsim.validation.int8_sums import convolve, int8_matrix

LARGEST_CODE = 127
TOLERANCE = 0.01
_CALIBRATION_IMAGES = 100
"""Training images that set the scales. With 500, six committed tickets have the same accuracy within 0.9 points."""
_EXACT_FLOAT32 = 1 << 24
_EXACT_INT32 = 1 << 31
_MARK = "|int8"
_INPUTS_AT_ONCE = 20
"""Inputs that are computed together: their tensors stay in the host's caches. Of 5, 10, 25 and 50, 10 and 25 take least
processor time (ResNet-18 on digits)."""
_READ_AS_INT8 = PARAMETRIC_KINDS | {"add", "multiply", "concat", "matmul"}


@dataclass(frozen=True, slots=True)
class AccuracyVerification:
    """Integer inference beside what the ticket states.

    Attributes
    ----------
    num_images
        Test inputs that were classified; of a text windows, each with a label at every position.
    accuracy
        Fraction of the labels that integer inference gets right.
    reference_accuracy
        The ticket's stored accuracy; on a part of the test data that of float32 inference on the same part.
    stored_accuracy
        The ticket's stored accuracy. On a part with N labels it may differ by 0.01 and three deviations of a sample,
        3 sqrt(a (1 - a) / N), as well.
    num_changed
        Labels whose class differs from float32 inference; None where that was not computed.
    problem
        None, or how the accuracies differ.
    """

    num_images: int
    accuracy: float
    reference_accuracy: float
    stored_accuracy: float
    num_changed: int | None
    problem: str | None


class IntegerNetwork:
    """A ticket as integer hardware computes it; calibrated on construction's ``calibration`` batches.

    Raises
    ------
    TicketError
        A kind of layer that cannot be computed here, or sums beyond int32.
    """

    def __init__(self, ticket: Ticket, neighbours: torch.Tensor | None, calibration: list[Batch]) -> None:
        self._graph = _with_marks(ticket.graph)
        self._neighbours = neighbours
        self._weights: dict[str, torch.Tensor] = {}
        self._scales: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._matrices: dict[str, torch.Tensor | None] = {}
        for layer in ticket.layers:
            weights = unpack_weights(layer)
            bound = LARGEST_CODE * int(np.abs(weights.reshape(weights.shape[0], -1).astype(np.int64)).sum(axis=1).max())
            if bound >= _EXACT_INT32:
                raise TicketError(f"layer {layer.name!r}: sums of up to {bound} do not fit int32; use narrower weights")
            kind = torch.float32 if bound < _EXACT_FLOAT32 else torch.float64
            self._weights[layer.name] = torch.from_numpy(weights.astype(np.float32)).to(kind)
            self._matrices[layer.name] = int8_matrix(ticket.graph.node(layer.name), self._weights[layer.name])
            self._scales[layer.name] = (
                torch.from_numpy(layer.scale_K.astype(np.float32)),
                torch.from_numpy(layer.offset_K.astype(np.float32)),
            )
        self._largest: dict[str, float] = {}
        # Tensors that weighted layers alone read stay codes; the others are read at their values.
        others = {name for node in self._graph.nodes if node.kind not in PARAMETRIC_KINDS for name in node.inputs}
        self._codes = {node.name for node in self._graph.nodes if node.name.endswith(_MARK)} - others
        for batch in calibration:
            self._run_in_parts(batch.inputs, calibrate=True)

    def run(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the class scores of [N, *shape]."""
        return self._run_in_parts(inputs, calibrate=False)

    def _run_in_parts(self, inputs: torch.Tensor, calibrate: bool) -> torch.Tensor:
        """Compute a few inputs at a time; those of a graph are its nodes, and go together."""
        parts = [inputs] if self._neighbours is not None else torch.split(inputs, _INPUTS_AT_ONCE)
        return torch.cat([self._run(part, calibrate) for part in parts])

    def _run(self, inputs: torch.Tensor, calibrate: bool) -> torch.Tensor:
        def mark(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
            if not node.name.endswith(_MARK):
                return x
            if calibrate:
                least, most = (float(end) for end in torch.aminmax(x))
                self._largest[node.name] = max(self._largest.get(node.name, 0.0), -least, most)
                return x
            step = self._step(node.name)
            codes = (x / step).round_().clamp_(-LARGEST_CODE, LARGEST_CODE)
            return codes if node.name in self._codes else codes.mul_(step)

        def weighted(node: GraphNode, x: torch.Tensor) -> torch.Tensor:
            weight, source = self._weights[node.name], node.inputs[0]
            step = 1.0 if calibrate else self._step(source)
            codes = x if calibrate or source in self._codes else (x / step).round_()
            matrix = None if calibrate else self._matrices[node.name]
            if matrix is None:
                sums = apply_weight(node, codes.to(weight.dtype), weight).float()
            else:
                sums = convolve(node, codes, matrix).float()
            scale, offset = self._scales[node.name]
            per_channel = (-1, 1, 1) if node.kind != "linear" else (-1,)
            factor = (step * scale).view(per_channel)
            return torch.addcmul(offset.view(per_channel), sums, factor, out=sums)

        with torch.inference_mode():
            return run_graph(self._graph, inputs, weighted, mark, self._neighbours)

    def _step(self, name: str) -> float:
        return max(self._largest[name], 1e-30) / LARGEST_CODE


def _with_marks(graph: NetworkGraph) -> NetworkGraph:
    """Return the graph with a mark behind every tensor that is stored as int8, read in its place by all its users."""
    stored = {
        name
        for node in graph.nodes
        if node.kind in _READ_AS_INT8
        for name in node.inputs
    }  # fmt: skip
    nodes: list[GraphNode] = []
    for node in graph.nodes:
        nodes.append(replace(node, inputs=tuple(name + _MARK if name in stored else name for name in node.inputs)))
        if node.name in stored:
            nodes.append(GraphNode(node.name + _MARK, "norm", (node.name,), node.out_shape))
    return replace(graph, nodes=tuple(nodes))


def data_of(ticket: Ticket) -> SearchData | None:
    """Return the data a ticket's accuracy was measured on; None if it has none, or the data are not at hand."""
    if ticket.accuracy is None:
        return None
    name = dataset_of(ticket.graph)
    if name is None:
        return None
    try:
        data = load_data(name)
    except ConfigError:
        return None  # the package with the text is not installed
    fits = tuple(data.input_shape) == tuple(ticket.graph.nodes[0].out_shape)
    return data if fits and data.title == ticket.dataset else None


def verify_accuracy(ticket: Ticket, data: SearchData, num_images: int | None = None) -> AccuracyVerification:
    """Classify test inputs with integer arithmetic.

    Parameters
    ----------
    ticket
        With a stated accuracy on ``data``.
    num_images
        Only so many of the test inputs, at least one; None takes all. A network on one graph always takes all.
    """
    network = IntegerNetwork(ticket, data.neighbours, _calibration(data))
    batches = list(data.test_batches())
    total = sum(_num_inputs(data, batch) for batch in batches)
    wanted = total if num_images is None or data.neighbours is not None else min(num_images, total)
    plain = TicketNetwork(ticket, data.neighbours) if wanted < total else None
    right = plain_right = changed = done = num_labels = 0
    for batch in batches:
        take = min(_num_inputs(data, batch), wanted - done)
        if take <= 0:
            break
        inputs = batch.inputs if data.neighbours is not None else batch.inputs[:take]
        labels = batch.labels[: take * (len(batch.labels) // _num_inputs(data, batch))]
        classes = batch.scores(network.run(inputs)).argmax(dim=-1)
        right += int((classes == labels).sum())
        if plain is not None:
            plain_classes = batch.scores(plain.run(inputs)).argmax(dim=-1)
            plain_right += int((plain_classes == labels).sum())
            changed += int((plain_classes != classes).sum())
        done += take
        num_labels += len(labels)
    reference = (ticket.accuracy or 0.0) if plain is None else plain_right / num_labels
    accuracy = right / num_labels
    stored = ticket.accuracy or 0.0
    sampling = 0.0 if plain is None else 3 * math.sqrt(stored * (1 - stored) / num_labels)
    problem = _deviation(accuracy, reference, TOLERANCE, done) or _deviation(
        accuracy, stored, TOLERANCE + sampling, done
    )
    return AccuracyVerification(done, accuracy, reference, stored, None if plain is None else changed, problem)


def _num_inputs(data: SearchData, batch: Batch) -> int:
    """Return the inputs of a batch; of the one graph its nodes with labels."""
    return len(batch.labels) if data.neighbours is not None else len(batch.inputs)


def _deviation(accuracy: float, expected: float, allowed: float, num_images: int) -> str | None:
    if abs(accuracy - expected) <= allowed + 1e-9:
        return None
    return (
        f"integer inference gets {accuracy:.4f} of {num_images} test inputs right, the ticket {expected:.4f}; they may "
        f"differ by {allowed:.3g}: the weights are not those of the search, or int8 activations are too coarse for it"
    )


def _calibration(data: SearchData) -> list[Batch]:
    batches, number = [], 0
    for batch in data.calibration_batches():
        is_of_images = data.neighbours is None and len(batch.labels) == len(batch.inputs)
        batches.append(replace(batch, inputs=batch.inputs[: _CALIBRATION_IMAGES - number]) if is_of_images else batch)
        number += len(batch.labels)
        if number >= _CALIBRATION_IMAGES:
            break
    return batches
