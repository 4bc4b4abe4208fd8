from dataclasses import replace

import pytest

from accelsim.errors import TicketError
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.graph import GraphNode, NetworkGraph
from accelsim.ticket.shapes import check_graph
from accelsim.ticket.zoo import build_network


def edited(index: int, **changes: object) -> NetworkGraph:
    graph = build_network("conv2")
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return NetworkGraph("edited", tuple(nodes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ("relus.0",)}, "'convs.0'.*'relus.0' stands after it or forms a cycle"),
        ({"inputs": ("nowhere",)}, "'convs.0'.*'nowhere' does not exist"),
        ({"out_shape": (64, 31, 32)}, r"'convs.0'.*does not follow.*expected \(64, 32, 32\)"),
        ({"groups": 2}, "'convs.0'.*groups 2 does not divide 3"),
        ({"stride": (0, 1)}, "'convs.0'.*out of range"),
        ({"kind": "conv9d"}, "'convs.0'.*unknown kind 'conv9d'"),
        ({"name": "input"}, "'input'.*used twice"),
        ({"name": "a\nb"}, "control characters"),
        ({"out_channels": 1 << 40}, "out of range"),
    ],
)
def test_a_broken_node_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TicketError, match=message) as caught:
        check_graph(edited(1, **changes))
    assert "\n" not in str(caught.value)


def test_too_many_weights_are_refused() -> None:
    nodes = (GraphNode("input", "input", (), (1 << 21,)), GraphNode("a", "linear", ("input",), (1 << 21,), 1 << 21))
    with pytest.raises(TicketError, match="'a'.*passes 1099511627776 weights"):
        check_graph(NetworkGraph("huge", nodes))


def test_attention_shapes_chain() -> None:
    builder = GraphBuilder("attention", (10, 24))
    scores = builder.matmul("scores", "input", "input", heads=3, transpose_b=True)
    values = builder.matmul("values", scores, "input", heads=3)
    assert builder.shape(scores) == (3, 10, 10)
    assert builder.shape(values) == (10, 24)
    builder.build()


def test_transposed_convolution_shape_is_torchs() -> None:
    builder = GraphBuilder("up", (8, 4, 4))
    assert builder.shape(builder.conv_transpose("a", "input", 2, 4, stride=2, padding=1)) == (2, 8, 8)
