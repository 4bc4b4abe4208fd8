"""What the search of a decoder has of its own: by how much the deviation of a layer's weights is not Kaiming's."""

from __future__ import annotations

from math import sqrt

from accelsim.slt.batch import ONES_PER_ROW
from accelsim.slt.config import QueryKeyScale
from accelsim.ticket.graph import PARAMETRIC_KINDS, NetworkGraph


def layer_gains(graph: NetworkGraph, query_key_scale: QueryKeyScale) -> dict[str, float]:
    """Return the factor on the Kaiming deviation sqrt(2 / fan in) of a layer's weights, by node name.

    - Where no ReLU follows, the 2 in Kaiming's deviation has no reason (He et al., ICCV 2015, section 2.2): it is 1.
    - The first layer reads rows with two ones: its fan in is 2, not the length of a row. With the latter the embedding
      is drowned by the first block's output.
    - ``head``: W_Q and W_K are multiplied by n_K^(1/4) each, n_K being the size of a head, so that the product of
      queries and keys is no longer divided by sqrt(n_K): what the proof of Otsuka et al., arXiv 2511.04217, asks of
      the random weights.
    """
    nodes = {node.name: node for node in graph.nodes}
    rectified = {node.inputs[0] for node in graph.nodes if node.kind == "activation"}
    gains = {}
    for node in graph.nodes:
        if node.kind in PARAMETRIC_KINDS:
            gains[node.name] = 1.0 if node.name in rectified else sqrt(0.5)
            if nodes[node.inputs[0]].kind == "input":
                gains[node.name] *= sqrt(graph.weight_shape(node)[-1] / ONES_PER_ROW)
        elif node.kind == "matmul" and node.transpose_b and query_key_scale == "head":
            head_size = nodes[node.inputs[0]].out_shape[-1] // node.num_heads
            for name in node.inputs:
                gains[name] *= head_size**0.25
    return gains
