import numpy as np
import pytest

from accelsim.prng import RandomSource, freezing_map, layer_weights
from accelsim.ticket.builder import GraphBuilder
from accelsim.ticket.model import Ticket
from accelsim.ticket.pack import pack_layer, synthetic_mask
from accelsim.ticket.shapes import weight_shapes
from accelsim.ticket.zoo import build_network
from accelsim.trace import trace_graph, trace_ticket
from accelsim.trace.model import LayerTrace, TraceLayer

SOURCE = RandomSource(seed=3, prune_threshold=1 << 15, lock_threshold=45875)


def by_name(trace: LayerTrace) -> dict[str, TraceLayer]:
    return {layer.name: layer for layer in trace.layers}


def make_ticket(graph) -> Ticket:
    layers = []
    for name, shape in weight_shapes(graph).items():
        mask = synthetic_mask(freezing_map(SOURCE, shape), 0.7, seed=2)
        filters = graph.node(name).out_channels
        layers.append(pack_layer(name, shape, SOURCE, mask, "raw", np.ones(filters), np.zeros(filters), 0.5))
    return Ticket(graph, tuple(layers), "searched", "digits", 0.5)


@pytest.mark.parametrize(
    ("name", "macs"),
    [("resnet18", 555_422_720), ("resnet50", 4_089_184_256), ("resnet18-imagenet", 1_814_073_344)],
)
def test_macs_are_those_of_the_network(name: str, macs: int) -> None:
    layers = trace_graph(build_network(name)).layers
    assert sum(layer.dims.macs for layer in layers if layer.uses_array) == macs


def test_norm_activation_and_residual_join_the_producing_layer() -> None:
    layers = by_name(trace_graph(build_network("resnet18")))
    second = layers["layer1.0.conv2"]
    assert second.post_ops == ("norm", "add", "relu")
    assert second.residuals == ("conv1",)
    assert second.vector_ops == 65_536 * (2 + 1 + 1)
    shortcut = layers["layer2.0.shortcut.0"]
    assert shortcut.inputs == ("layer1.1.conv2",)
    assert shortcut.residuals == ("layer2.0.conv2",)
    assert layers["avgpool"].kind == "pool"
    assert layers["linear"].inputs == ("avgpool",)


def test_what_two_layers_read_is_not_changed_in_place() -> None:
    builder = GraphBuilder("branch", (4, 8, 8))
    conv = builder.conv("conv", "input", 4)
    relu = builder.activation("relu", conv)
    builder.add("sum", conv, relu)
    layers = by_name(trace_graph(builder.build()))
    assert layers["conv"].post_ops == ("scale",)
    assert layers["relu"].kind == "vector"
    assert layers["relu"].post_ops == ("relu", "add")
    assert layers["relu"].residuals == ("conv",)


def test_concatenation_moves_nothing_and_names_all_producers() -> None:
    builder = GraphBuilder("concat", (4, 8, 8))
    first = builder.conv("first", "input", 4)
    second = builder.conv("second", "input", 2)
    builder.conv("third", builder.concat("concat", first, second), 3, 1)
    layers = by_name(trace_graph(builder.build()))
    assert set(layers) == {"first", "second", "third"}
    assert layers["third"].inputs == ("first", "second")
    assert layers["third"].dims.C == 6


def test_attention_products() -> None:
    builder = GraphBuilder("attention", (10, 24))
    q, k, v = (builder.linear(name, "input", 24) for name in "qkv")
    scores = builder.softmax("softmax", builder.matmul("scores", q, k, heads=3, transpose_b=True))
    builder.matmul("context", scores, v, heads=3)
    layers = by_name(trace_graph(builder.build()))
    assert layers["scores"].dims.macs == 3 * 10 * 10 * 8
    assert layers["scores"].second_input_elements == 240
    assert layers["scores"].post_ops == ("softmax",)
    assert layers["context"].inputs == ("scores", "v")
    assert layers["context"].num_outputs == 240
    assert layers["context"].weights is None


def test_grouped_and_depthwise_convolutions() -> None:
    builder = GraphBuilder("groups", (8, 6, 6))
    depthwise = builder.conv("depthwise", "input", 8, groups=8)
    builder.conv("grouped", depthwise, 4, groups=2, stride=2)
    layers = by_name(trace_graph(builder.build()))
    assert layers["depthwise"].kind == "depthwise_conv2d"
    assert (layers["depthwise"].dims.G, layers["depthwise"].dims.C) == (8, 1)
    assert (layers["grouped"].dims.G, layers["grouped"].dims.K, layers["grouped"].dims.C) == (2, 2, 4)
    assert layers["grouped"].dims.num_weights == 4 * 4 * 9


def test_transposed_convolution_counts_no_inserted_zeros() -> None:
    builder = GraphBuilder("up", (8, 4, 4))
    builder.conv_transpose("up", "input", 6, 4, stride=2, padding=1)
    ticket = make_ticket(builder.build())
    layer = trace_ticket(ticket).layers[0]
    assert layer.dims.macs == 8 * 6 * 16 * 16
    assert layer.num_outputs == 6 * 8 * 8
    assert layer.weights is not None
    assert layer.weights.shape == (6, 8, 4, 4)
    assert layer.weights.load_sign is not None
    expected = (
        layer_weights(SOURCE, (8, 6, 4, 4)) * synthetic_mask(freezing_map(SOURCE, (8, 6, 4, 4)), 0.7, 2)
    ).swapaxes(0, 1)
    assert np.array_equal(layer.weights.load_sign(), expected)


def test_aggregation_adds_features_over_edges() -> None:
    builder = GraphBuilder("graph", (100, 16))
    builder.linear("linear", builder.aggregate("sum", "input", 700), 8)
    layers = by_name(trace_graph(builder.build()))
    assert layers["sum"].dims.macs == 700 * 16
    assert layers["sum"].dims.num_inputs == layers["sum"].num_outputs == 1600
    assert layers["linear"].dims.macs == 100 * 16 * 8


def test_ticket_counts_and_lazy_masks() -> None:
    ticket = make_ticket(build_network("conv2", width_factor=0.125))
    trace = trace_ticket(ticket, "a.pt", "00")
    layer = by_name(trace)["convs.1"]
    assert layer.weights is not None
    assert layer.weights.load_mask is not None
    mask = layer.weights.load_mask()
    assert mask.sum() == layer.weights.num_kept == round(0.3 * mask.size)
    assert layer.weights.load_mask() is mask
    assert layer.weights.num_scale_bits == 32 * 8
    assert (layer.input_density, layer.input_density_measured) == (0.5, True)
    assert (trace.path, trace.sha256, trace.dataset, trace.provenance) == ("a.pt", "00", "digits", "searched")


def test_dense_graph_keeps_all_weights() -> None:
    weights = trace_graph(build_network("conv2")).layers[0].weights
    assert weights is not None
    assert weights.num_kept == weights.num_free == weights.num_weights == 1728
    assert weights.load_mask is None
