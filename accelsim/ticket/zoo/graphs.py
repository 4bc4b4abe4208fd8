"""Graph networks for OGBN-Arxiv (Hu et al. 2020): 169,343 nodes, 128 features, 1,166,243 edges, 40 classes."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

OGBN_ARXIV_SHAPE = (169_343, 128)
OGBN_ARXIV_EDGES = 1_166_243
OGBN_ARXIV_CLASSES = 40


@dataclass(frozen=True, slots=True)
class GraphNetShape:
    """Hidden features, layers, and edges of the graph; whether batch normalisation follows each GIN layer."""

    hidden: int
    num_layers: int
    num_edges: int = OGBN_ARXIV_EDGES
    has_norms: bool = True


def build_gin(shape: GraphNetShape, spec: NetworkSpec) -> NetworkGraph:
    """Return a GIN (Xu et al. 2019) as arXiv 2402.14029 uses it: 128-386-386-386-40 and a prediction layer 386-40.

    A layer adds the mean over the incoming edges to a node's own features before its linear layer. The output is the
    last layer's, plus the prediction layer's on the hidden features before it; halving the sum is part of the scales.
    """
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    hidden = scaled(shape.hidden, spec.width_factor)
    x, before_last = "input", "input"
    for index in range(shape.num_layers):
        before_last = x
        features = spec.num_classes if index == shape.num_layers - 1 else hidden
        neighbours = builder.aggregate(f"ginlayers.{index}.neigh", x, shape.num_edges, "mean")
        total = builder.add(f"ginlayers.{index}.add", neighbours, x)
        x = builder.linear(f"ginlayers.{index}.linear", total, features, bias=False)
        if shape.has_norms:
            x = builder.norm(f"norms.{index}", x)
        x = builder.activation(f"relus.{index}", x)
    prediction = builder.linear("linears_prediction", before_last, spec.num_classes, bias=False)
    builder.add("score_over_layer", prediction, x)
    return builder.build()


def build_gcn(shape: GraphNetShape, spec: NetworkSpec) -> NetworkGraph:
    """Return the GCN (Kipf & Welling 2017) of the OGB examples: 128-256-256-40, batch normalisation between."""
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x = "input"
    for index in range(shape.num_layers):
        is_last = index == shape.num_layers - 1
        features = spec.num_classes if is_last else scaled(shape.hidden, spec.width_factor)
        x = builder.linear(f"convs.{index}.lin", x, features)
        x = builder.aggregate(f"convs.{index}.sum", x, shape.num_edges)
        if not is_last:
            x = builder.norm(f"bns.{index}", x)
            x = builder.activation(f"relus.{index}", x)
    return builder.build()
