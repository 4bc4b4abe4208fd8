"""What the search of a decoder has of its own: how much the deviation of each layer's weights differs from Kaiming's."""

from __future__ import annotations

from math import sqrt

from accelsim.slt.batch import ONES_PER_ROW
from accelsim.slt.config import QueryKeyScale
from accelsim.ticket.graph import PARAMETRIC_KINDS, NetworkGraph


def layer_gains(graph: NetworkGraph, query_key_scale: QueryKeyScale) -> dict[str, float]:
    """Return the factor on the deviation of a layer's weights, by node name; layers that are not in it have 1.

    - The first layer reads rows with two ones: its fan in is 2, not the length of a row. With the latter the embedding
      is drowned by the first block's output.
    - ``head``: W_Q and W_K are multiplied by n_K^(1/4) each, n_K being the size of a head, so that the product of
      queries and keys is no longer divided by sqrt(n_K): what the proof of Otsuka et al., arXiv 2511.04217, asks of
      the random weights.
    """
    nodes = {node.name: node for node in graph.nodes}
    gains = {}
    for node in graph.nodes:
        if node.kind in PARAMETRIC_KINDS and nodes[node.inputs[0]].kind == "input":
            gains[node.name] = sqrt(graph.weight_shape(node)[-1] / ONES_PER_ROW)
        elif node.kind == "matmul" and node.transpose_b and query_key_scale == "head":
            head_size = nodes[node.inputs[0]].out_shape[-1] // node.num_heads
            gains.update(dict.fromkeys(node.inputs, head_size**0.25))
    return gains
