from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelsim.errors import TraceError
from accelsim.trace import trace_graph
from accelsim.trace.model import TraceLayer
from accelsim.trace.modules import graph_from_file


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def save(path: Path, nodes, inputs, outputs, initializers) -> Path:
    def infos(items):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in items]

    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.op", 1)])
    onnx.save(model, path)
    return path


def conv_net(path: Path, size: object = 16, batch: object = "batch") -> Path:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "stem.weight"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "g", "b", "m", "v"], ["bn"], name="/bn"),
        node("Relu", ["bn"], ["r"]),
        node("Conv", ["r", "onnx::Conv_7"], ["c"], name="/block/conv/Conv", auto_pad="SAME_UPPER", group=8),
        node("Add", ["c", "r"], ["s"]),
        node("Concat", ["s", "r"], ["cat"], axis=1),
        node("MaxPool", ["cat"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("ConvTranspose", ["p", "up.weight"], ["u"], name="/up", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["u"], ["gap"]),
        node("Flatten", ["gap"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]  # fmt: skip
    initializers = [
        weight("stem.weight", 8, 3, 3, 3), *(weight(name, 8) for name in "gbmv"), weight("onnx::Conv_7", 8, 1, 3, 3),
        weight("up.weight", 16, 4, 2, 2), weight("fc.weight", 10, 4), weight("fc.bias", 10),
    ]  # fmt: skip
    return save(path, nodes, [("x", [batch, 3, size, 16])], [("y", [batch, 10])], initializers)


def layers_of(path: Path) -> dict[str, TraceLayer]:
    return {layer.name: layer for layer in trace_graph(graph_from_file(path).graph).layers}


def test_convolutional_network_with_a_dynamic_batch(tmp_path: Path) -> None:
    layers = layers_of(conv_net(tmp_path / "net.onnx"))
    assert layers["stem"].post_ops == ("norm", "relu")
    assert layers["stem"].dims.macs == 8 * 8 * 8 * 27
    assert layers["block.conv"].kind == "depthwise_conv2d"
    assert layers["block.conv"].residuals == ("stem",)
    assert layers["p"].inputs == ("block.conv", "stem")
    assert layers["up"].dims.macs == 16 * 4 * 4 * 16
    assert layers["gap"].num_outputs == 4
    assert layers["fc"].dims.macs == 40


def test_attention_with_reshapes(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "wq"], ["q0"], name="/attn/q/MatMul"),
        node("MatMul", ["x", "wk"], ["k0"], name="/attn/k/MatMul"),
        node("Reshape", ["q0", "split"], ["q1"]),
        node("Reshape", ["k0", "split"], ["k1"]),
        node("Transpose", ["q1"], ["q"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k1"], ["k"], perm=[0, 2, 3, 1]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Div", ["scores", "root"], ["scaled"]),
        node("Softmax", ["scaled"], ["p"], axis=-1),
        node("ReduceMean", ["p"], ["y"], axes=[2], keepdims=0),
    ]
    initializers = [weight("wq", 12, 12), weight("wk", 12, 12), integers("split", 1, 10, 3, 4), weight("root")]
    path = save(tmp_path / "attn.onnx", nodes, [("x", [1, 10, 12])], [("y", [1, 3, 10])], initializers)
    layers = layers_of(path)
    assert layers["attn.q"].dims.macs == 10 * 12 * 12
    assert layers["scores"].dims.macs == 3 * 10 * 10 * 4
    assert layers["scores"].inputs == ("attn.q", "attn.k")
    assert layers["scores"].post_ops == ("softmax",)  # a constant factor folds into the scale


def test_padding_is_made_where_it_is_read(tmp_path: Path) -> None:
    """Uneven padding, and padding that is written as an operator before the convolution, cost nothing."""
    node = helper.make_node
    pads = integers("pads", 0, 0, 0, 0, 0, 0, 1, 1)
    for name, nodes in {
        "same": [node("Conv", ["x", "w"], ["y"], name="c", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])],
        "pad": [
            node("Pad", ["x", "pads"], ["p"]),
            node("Conv", ["p", "w"], ["y"], name="c", kernel_shape=[3, 3], strides=[2, 2]),
        ],
    }.items():
        path = tmp_path / f"{name}.onnx"
        save(path, nodes, [("x", [1, 3, 16, 16])], [("y", [1, 4, 8, 8])], [weight("w", 4, 3, 3, 3), pads])
        layers = layers_of(path)
        assert set(layers) == {"c"}
        dims = layers["c"].dims
        assert (dims.H, dims.P, dims.padding) == (16, 8, (0, 0))


def test_dynamic_sizes_besides_the_batch_are_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"input 'x': axis 2 \(height\) is dynamic; .*--input-shape x=1x3xheightx16"):
        graph_from_file(conv_net(tmp_path / "net.onnx", size="height"))
    fixed = graph_from_file(conv_net(tmp_path / "net.onnx"))
    path = conv_net(tmp_path / "net.onnx", size="height")
    assert graph_from_file(path, input_shape=(3, 16, 16)).graph == fixed.graph
    assert graph_from_file(path, input_shapes=(("x", (1, 3, 16, 16)),)).graph == fixed.graph
    with pytest.raises(TraceError, match="it has no input 'y'; its inputs are x"):
        graph_from_file(path, input_shapes=(("y", (1,)),))
    with pytest.raises(TraceError, match="input 'x': axis 1 is fixed at 3, not 224 as in 1x224x16x3"):
        graph_from_file(path, input_shape=(224, 16, 3))


def test_sizes_that_the_graph_computes_are_followed(tmp_path: Path) -> None:
    """One half of the channels gates the other, as ``chunk`` is exported: the cut is computed from the shape."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[1, 1]),
        node("Shape", ["c"], ["shape"]),
        node("Gather", ["shape", "one"], ["channels"]),
        node("Div", ["channels", "two"], ["half"]),
        node("Slice", ["c", "zero", "half", "one"], ["first"]),
        node("Slice", ["c", "half", "channels", "one"], ["second"]),
        node("Mul", ["first", "second"], ["y"]),
    ]
    sizes = [integers("zero", 0), integers("one", 1), integers("two", 2), weight("w", 8, 3, 1, 1)]
    path = save(tmp_path / "cut.onnx", nodes, [("x", ["b", 3, 4, 4])], [("y", ["b", 4, 4, 4])], sizes)
    layers = layers_of(path)
    assert (layers["conv"].dims.macs, layers["y"].num_outputs) == (8 * 3 * 16, 4 * 16)


def test_operators_of_another_domain_are_named_or_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="foo1", domain="my.op"),
        helper.make_node("Conv", ["a", "w"], ["y"], name="conv", kernel_shape=[1, 1]),
    ]
    values = [weight("w", 8, 3, 1, 1)]
    path = save(tmp_path / "own.onnx", nodes, [("x", [1, 3, 4, 4])], [("y", [1, 8, 4, 4])], values)
    with pytest.raises(TraceError, match=r"own\.onnx: foo1: operation my\.op\.Foo is not supported"):
        graph_from_file(path)
    found = graph_from_file(path, skip_unsupported=True)
    assert (found.skipped, trace_graph(found.graph).layers[0].dims.macs) == ({"my.op.Foo": 1}, 8 * 3 * 16)


def test_unsupported_operators_are_named_or_counted(tmp_path: Path) -> None:
    nodes = [helper.make_node("MelWeightMatrix", ["x"], ["y"], name="/odd")]
    path = save(tmp_path / "odd.onnx", nodes, [("x", [1, 4, 4])], [("y", [1])], [])
    with pytest.raises(TraceError, match=r"odd\.onnx: /odd: operation MelWeightMatrix is not supported"):
        graph_from_file(path)
    assert graph_from_file(path, skip_unsupported=True).skipped == {"MelWeightMatrix": 1}


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x00\xff no protobuf")
    with pytest.raises(TraceError, match=r"bad\.onnx: not a readable ONNX file"):
        graph_from_file(tmp_path / "bad.onnx")
    with pytest.raises(TraceError, match=r"none\.onnx: No such file"):
        graph_from_file(tmp_path / "none.onnx")
