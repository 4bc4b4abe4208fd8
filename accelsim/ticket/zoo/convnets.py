"""Conv-2/4/6/8 of the lottery-ticket literature (Frankle & Carbin 2019; Ramanujan et al. 2020)."""

from __future__ import annotations

from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import NetworkGraph
from accelsim.ticket.zoo.spec import NetworkSpec, scaled

_BLOCKS = (64, 128, 256, 512)


def build_conv(num_blocks: int, spec: NetworkSpec) -> NetworkGraph:
    """Return Conv-2/4/6/8: blocks of two 3x3 convolutions and a 2x2 max pool, then three linear layers.

    Batch normalisation follows each convolution, none follows the linear layers, as in the code of arXiv 2402.14029.
    """
    builder = GraphBuilder(spec.name, spec.input_shape, trained=spec.trained)
    x, index = "input", 0
    for block in range(num_blocks):
        for _ in range(2):
            x = builder.conv(f"convs.{index}", x, scaled(_BLOCKS[block], spec.width_factor))
            x = builder.norm(f"bns.{index}", x)
            x = builder.activation(f"relus.{index}", x)
            index += 1
        x = builder.pool(f"pools.{block}", x, 2)
    x = builder.flatten("flatten", x)
    for position in range(2):
        x = builder.linear(f"linears.{position}", x, scaled(256, spec.width_factor))
        x = builder.activation(f"relus.{index + position}", x)
    builder.linear("linears.2", x, spec.num_classes)
    return builder.build()
