"""What ONNX operators multiply, by hand; small graphs of one operator each."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelsim.errors import TraceError
from accelsim.trace.input_shapes import StatedShapes
from accelsim.trace.model import LayerTrace
from accelsim.trace.modules import graph_from_file
from accelsim.trace.onnx_graph import read_onnx

FLOAT, INT8, UINT8, INT64 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT64
Shapes = dict[str, list[Any]]


def save(path: Path, nodes: list[onnx.NodeProto], inputs: Shapes, weights: dict[str, Any], opset: int = 21) -> Path:
    """Write a graph whose output is y; a weight is a shape, or values."""
    made = [
        numpy_helper.from_array(value, name)
        if isinstance(value, np.ndarray)
        else helper.make_tensor(name, FLOAT, value, np.zeros(value).ravel())
        for name, value in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        made,
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains), path)
    return path


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, [name.strip() for name in inputs.split(",")], [output], **attributes)


def own(kind: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    return node(kind, inputs, domain="com.microsoft", **attributes)


def int8(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int8)


SCALES = {"s": np.ones(1, np.float32), "z": np.zeros(1, np.int8)}
ATTENTION = {"q": [1, 6, 64], "k": [1, 9, 16], "v": [1, 9, 16]}
# nodes, inputs, weights, multiply-accumulates
OPERATORS: dict[str, tuple[list[onnx.NodeProto], Shapes, dict[str, Any], int]] = {
    "Gemm, first operand transposed": ([node("Gemm", "x,w,b", transA=1)], {"x": [20, 5]},
                                       {"w": (20, 7), "b": (7,)}, 5 * 20 * 7),
    "Gemm of two activations": ([node("Gemm", "x,v,c", transB=1)], {"x": [5, 20], "v": [7, 20], "c": [5, 7]}, {},
                                5 * 20 * 7),
    "MatMul, weights of each head": ([node("MatMul", "x,w")], {"x": [2, 4, 9, 8]}, {"w": (4, 8, 5)}, 2 * 4 * 9 * 8 * 5),
    "MatMul, weights first": ([node("MatMul", "w,x")], {"x": [3, 8, 5]}, {"w": (6, 8)}, 3 * 6 * 8 * 5),
    "Conv, weights that are an input": ([node("Conv", "x,w")], {"x": [1, 3, 9, 9], "w": [8, 3, 3, 3]}, {}, 49 * 8 * 27),
    "Conv in three dimensions": ([node("Conv", "x,w", pads=[1] * 6)], {"x": [1, 2, 4, 5, 6]}, {"w": (3, 2, 3, 3, 3)},
                                 120 * 3 * 54),
    "ConvTranspose, same size": ([node("ConvTranspose", "x,w", auto_pad="SAME_UPPER", strides=[2, 2])],
                                 {"x": [1, 4, 5, 5]}, {"w": (4, 3, 4, 4)}, 4 * 3 * 16 * 25),
    "ConvInteger": ([node("QuantizeLinear", "x,s,z", "q"), node("ConvInteger", "q,w", "i"), node("Cast", "i", to=1)],
                    {"x": [1, 3, 9, 9]}, {"w": int8(8, 3, 3, 3), **SCALES}, 49 * 8 * 27),
    "MatMulInteger": ([node("QuantizeLinear", "x,s,z", "q"), node("MatMulInteger", "q,w", "i"),
                       node("Cast", "i", to=1)], {"x": [2, 9, 8]}, {"w": int8(8, 5), **SCALES}, 2 * 9 * 8 * 5),
    "QLinearMatMul": ([node("QuantizeLinear", "x,s,z", "q"), node("QLinearMatMul", "q,s,z,w,s,z,s,z", "i"),
                       node("DequantizeLinear", "i,s,z")], {"x": [2, 9, 8]}, {"w": int8(8, 5), **SCALES},
                      2 * 9 * 8 * 5),
    "quantised weights": ([node("DequantizeLinear", "w,s,z", "d"), node("Transpose", "d", "t", perm=[1, 0]),
                           node("MatMul", "x,t")], {"x": [2, 9, 8]}, {"w": int8(5, 8), **SCALES}, 2 * 9 * 8 * 5),
    "MatMulNBits": ([own("MatMulNBits", "x,w,s", K=64, N=32, bits=4, block_size=32)], {"x": [1, 50, 64]},
                    {"w": np.zeros((32, 2, 16), np.uint8), "s": (64,)}, 50 * 64 * 32),
    "FusedMatMul": ([own("FusedMatMul", "x,w", transA=1)], {"x": [2, 8, 9]}, {"w": (8, 5)}, 2 * 9 * 8 * 5),
    "LSTM": ([node("LSTM", "x,w,r,b", "h", hidden_size=4, direction="bidirectional"), node("Relu", "h")],
             {"x": [5, 2, 6]}, {"w": (2, 16, 6), "r": (2, 16, 4), "b": (2, 32)}, 5 * 2 * 2 * (6 * 16 + 4 * 16)),
    "GRU": ([node("GRU", "x,w,r", hidden_size=4)], {"x": [5, 2, 6]}, {"w": (1, 12, 6), "r": (1, 12, 4)},
            5 * 2 * 12 * (6 + 4)),
    "MultiHeadAttention": ([own("MultiHeadAttention", "x,x,x", num_heads=4)], {"x": [1, 9, 32]}, {}, 2 * 9 * 9 * 32),
    "GroupQueryAttention": ([own("GroupQueryAttention", "q,k,v", num_heads=8, kv_num_heads=2)], ATTENTION, {},
                            2 * 8 * 6 * 9 * 8),
    "MultiHeadAttention, packed": ([own("MultiHeadAttention", "x", num_heads=4)], {"x": [2, 6, 4, 3, 8]}, {},
                                   2 * 2 * 6 * 6 * 32),
    "MultiHeadAttention, keys and values packed": ([own("MultiHeadAttention", "x,v", num_heads=4)],
                                                   {"x": [2, 6, 32], "v": [2, 9, 4, 2, 8]}, {}, 2 * 2 * 6 * 9 * 32),
    "GroupQueryAttention, packed": ([own("GroupQueryAttention", "x,,,p,p", num_heads=8, kv_num_heads=2)],
                                    {"x": [2, 1, 96], "p": [2, 2, 7, 8]}, {}, 2 * 2 * 8 * 8 * 8),
    "Attention with its projection": ([own("Attention", "x,w,b,,p", num_heads=4)],
                                      {"x": [2, 1, 32], "p": [2, 2, 4, 7, 8]}, {"w": (32, 96), "b": (96,)},
                                      2 * 32 * 96 + 2 * 2 * 8 * 32),
    "QAttention": ([node("QuantizeLinear", "x,s,z", "q"), own("QAttention", "q,w,b,s,s,,z,z", num_heads=2)],
                   {"x": [1, 5, 8]}, {"w": int8(8, 24), "b": (24,), **SCALES}, 5 * 8 * 24 + 2 * 25 * 8),
    "FusedConv": ([own("FusedConv", "x,w,b,a", activation="Relu", kernel_shape=[3, 3])],
                  {"x": [1, 3, 8, 8], "a": [1, 4, 6, 6]}, {"w": (4, 3, 3, 3), "b": (4,)}, 36 * 4 * 27),
    "FusedGemm": ([own("FusedGemm", "x,w,b", transB=1, activation="Relu")], {"x": [9, 8]}, {"w": (5, 8), "b": (5,)},
                  9 * 8 * 5),
    "TransposeMatMul": ([own("TransposeMatMul", "x,w", transB=1)], {"x": [9, 8]}, {"w": (5, 8)}, 9 * 8 * 5),
    "SkipLayerNormalization and its sum": ([helper.make_node("SkipLayerNormalization", ["x", "x", "s"],
                                            ["n", "", "", "a"], domain="com.microsoft"), node("MatMul", "a,w")],
                                           {"x": [2, 6, 8]}, {"s": (8,), "w": (8, 3)}, 12 * 24),
    "GRU of which the last state is read": ([helper.make_node("GRU", ["x", "w", "r"], ["", "h"], hidden_size=4),
                                             node("Relu", "h")], {"x": [5, 2, 6]},
                                            {"w": (1, 12, 6), "r": (1, 12, 4)}, 5 * 2 * 12 * 10),
    "Conv, weights that are an input behind a cast": ([node("Cast", "w", "c", to=FLOAT), node("Conv", "x,c")],
                                                      {"x": [1, 3, 9, 9], "w": [8, 3, 3, 3]}, {}, 49 * 8 * 27),
    "LpPool": ([node("LpPool", "x", "p", kernel_shape=[2, 2]), node("Conv", "p,w")], {"x": [1, 3, 9, 9]},
               {"w": (4, 3, 1, 1)}, 64 * 12),
    "Einsum that sums an operand alone": ([node("Einsum", "x,w", equation="bij,jk->bk")], {"x": [2, 3, 4]},
                                          {"w": (4, 5)}, 2 * 4 * 5),
    "Einsum": ([node("Einsum", "x,w", equation="bhid,hde->bhie")], {"x": [2, 4, 9, 8]}, {"w": (4, 8, 5)},
               2 * 4 * 9 * 8 * 5),
    "Einsum of a diagonal": ([node("Einsum", "x,w", equation="bii,ij->bj")], {"x": [2, 8, 8]}, {"w": (8, 5)}, 80),
    "Mul and ReduceSum": ([node("Unsqueeze", "x,u", "q"), node("Mul", "q,w", "p"), node("ReduceSum", "p,a")],
                          {"x": [2, 9, 8]}, {"w": (5, 8), "u": np.array([2]), "a": np.array([-1])}, 2 * 9 * 8 * 5),
    "Mul and a ReduceSum that sums nothing": ([node("Mul", "x,w", "p"), node("ReduceSum", "p", noop_with_empty_axes=1)],
                                              {"x": [2, 8]}, {"w": (8,)}, 0),
    "MatMulBnb4": ([own("MatMulBnb4", "x,w,s", K=64, N=32, block_size=64, quant_type=1)], {"x": [1, 50, 64]},
                   {"w": np.zeros(1024, np.uint8), "s": (32,)}, 50 * 64 * 32),
    "LRN and norms of vectors": ([node("LRN", "x", "l", size=5), node("LpNormalization", "l", "n", axis=1),
                                  node("ReduceL2", "n", "r", keepdims=1), node("Conv", "n,w", "c"),
                                  node("Div", "c,r")], {"x": [1, 4, 6, 6]}, {"w": (3, 4, 1, 1)}, 36 * 12),
}  # fmt: skip


def read(path: Path, **options: Any) -> LayerTrace:
    return graph_from_file(path, **options).trace()


def macs(trace: LayerTrace) -> int:
    return sum(layer.dims.macs for layer in trace.layers if layer.uses_array)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_multiply_what_their_shapes_say(tmp_path: Path, name: str) -> None:
    nodes, inputs, weights, expected = OPERATORS[name]
    assert macs(read(save(tmp_path / "net.onnx", nodes, inputs, weights))) == expected


def test_attention_joins_a_cache_and_shares_heads(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], q_num_heads=8, kv_num_heads=2)
    ]
    inputs = {**ATTENTION, "pk": [1, 2, 11, 8], "pv": [1, 2, 11, 8]}
    trace = read(save(tmp_path / "net.onnx", nodes, inputs, {}, opset=23))
    assert macs(trace) == 2 * 8 * 6 * 20 * 8
    assert [layer.second_input_elements for layer in trace.layers] == [2 * 20 * 8] * 2


def test_tables_are_looked_up_by_the_row(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "i", to=INT64), node("Gather", "t,i", "e"), node("MatMul", "e,w")]
    trace = read(save(tmp_path / "net.onnx", nodes, {"x": [1, 6]}, {"t": (50, 8), "w": (8, 4)}))
    assert [(layer.kind, layer.num_outputs) for layer in trace.layers] == [("embedding", 48), ("linear", 24)]
    assert trace.num_parameters == 50 * 8 + 8 * 4


def test_tables_in_blocks_are_looked_up_by_the_row(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "i", to=INT64), own("GatherBlockQuantized", "t,i,s", bits=4, block_size=16)]
    nodes[-1].output[0] = "e"
    weights = {"t": np.zeros((50, 8), np.uint8), "s": (50, 1), "w": (16, 4)}
    trace = read(save(tmp_path / "net.onnx", [*nodes, node("MatMul", "e,w")], {"x": [1, 6]}, weights))
    assert [(layer.kind, layer.num_outputs) for layer in trace.layers] == [("embedding", 96), ("linear", 24)]
    assert trace.num_parameters == 50 * 16 + 16 * 4


@pytest.mark.parametrize(
    ("made", "shape", "opset", "ops"),
    [
        (node("DFT", "x"), [3, 64, 1], 17, 3 * 64 * 5 * 6),
        (node("DFT", "x"), [3, 6, 64, 2], 20, 18 * 64 * 5 * 6),
        (node("STFT", "x,n,w"), [3, 256, 1], 17, 3 * 13 * 64 * 5 * 6),
    ],
)
def test_fourier_transforms_are_work_of_the_vector_unit(
    tmp_path: Path, made: onnx.NodeProto, shape: list[int], opset: int, ops: int
) -> None:
    trace = read(save(tmp_path / "net.onnx", [made], {"x": shape}, {"n": np.array(16), "w": (64,)}, opset))
    assert [(layer.kind, layer.vector_ops) for layer in trace.layers] == [("vector", ops)]


def test_what_cannot_be_sized_behind_an_unknown_operator_names_that_operator(tmp_path: Path) -> None:
    nodes = [own("EmbedLayerNormalization", "x,,w"), node("MatMul", "t,w")]
    nodes[0].output[0] = "t"
    with pytest.raises(TraceError, match="t: operation EmbedLayerNormalization is not supported, and what reads it"):
        read(save(tmp_path / "net.onnx", nodes, {"x": [2, 4]}, {"w": (8, 8)}))


@pytest.mark.parametrize("how", ["Concat of Split", "Concat of Gather", "Gather", "Expand"])
def test_heads_that_a_graph_repeats_are_read_once(tmp_path: Path, how: str) -> None:
    cut = [helper.make_node("Split", ["k"], ["k0", "k1"], axis=1, num_outputs=2)]
    if how == "Concat of Gather":
        cut = [node("Gather", f"k,i{head}", f"k{head}", axis=1) for head in range(2)]
    nodes = {
        "Gather": [node("Gather", "k,heads", "wide", axis=1)],
        "Expand": [node("Reshape", "k,five", "k5"), node("Expand", "k5,four", "w5"), node("Reshape", "w5,all", "wide")],
    }.get(how, [*cut, node("Concat", "k0,k0,k0,k1,k1,k1", "wide", axis=1)])
    numbers = {"i0": [0], "i1": [1], "heads": [0] * 3 + [1] * 3, "five": [1, 2, 1, 64, 16], "four": [1, 2, 3, 64, 16],
               "all": [1, 6, 64, 16]}  # fmt: skip
    nodes += [node("Transpose", "wide", "turned", perm=[0, 1, 3, 2]), node("MatMul", "q,turned")]
    shapes = {"q": [1, 6, 1, 16], "k": [1, 2, 64, 16]}
    weights = {name: np.array(value) for name, value in numbers.items()}
    layer = read(save(tmp_path / "net.onnx", nodes, shapes, weights)).layers[-1]
    assert (layer.dims.G, layer.dims.macs, layer.second_input_elements) == (2, 6 * 64 * 16, 2 * 64 * 16)


@pytest.mark.parametrize(("kind", "sizes"), [("Expand", [5, 8, 6]), ("Tile", [5, 1, 1])])
def test_weights_that_a_graph_repeats_are_stored_once(tmp_path: Path, kind: str, sizes: list[int]) -> None:
    nodes = [node(kind, "w,s", "t"), node("MatMul", "x,t")]
    trace = read(save(tmp_path / "net.onnx", nodes, {"x": [5, 4, 8]}, {"w": (1, 8, 6), "s": np.array(sizes)}))
    assert (macs(trace), [layer.weights.num_weights for layer in trace.layers if layer.weights]) == (20 * 48, [48])


def branch(width: int) -> onnx.GraphProto:
    weights = numpy_helper.from_array(np.zeros((8, width), np.float32), "w")
    output = helper.make_tensor_value_info("out", FLOAT, None)
    return helper.make_graph([node("MatMul", "x,w", "out")], "branch", [], [output], [weights])


@pytest.mark.parametrize(("batch", "expected"), [(1, 8 * 4), (2, 2 * 8 * 5)])
def test_a_branch_that_a_stated_shape_decides_is_taken(tmp_path: Path, batch: int, expected: int) -> None:
    nodes = [node("Shape", "x", "s"), node("Gather", "s,i", "n"), node("Equal", "n,one", "c")]
    nodes += [node("If", "c", f"y{index}", then_branch=branch(4), else_branch=branch(5)) for index in range(2)]
    nodes.append(node("Add", "y0,y1"))
    weights = {"i": np.array(0), "one": np.array(1)}
    trace = read(save(tmp_path / "net.onnx", nodes, {"x": ["n", 8]}, weights), input_shape=(batch, 8))
    assert macs(trace) == 2 * expected


@pytest.mark.parametrize("kind", ["If", "Loop", "Scan"])
def test_control_flow_is_named_and_never_left_out(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "net.onnx", [node(kind, "x", name="here")], {"x": [1, 4]}, {})
    with pytest.raises(TraceError, match=f"here: {kind}: control flow is not followed; export"):
        read(path, skip_unsupported=True)


def test_products_of_other_domains_are_never_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", [own("Strange", "x,w", name="odd")], {"x": [1, 4]}, {"w": (4, 4)})
    with pytest.raises(TraceError, match=r"odd: operation com\.microsoft\.Strange is not supported, and its multiply"):
        read(path, skip_unsupported=True)


def test_steps_that_are_left_out_are_never_counted(tmp_path: Path) -> None:
    weights: dict[str, Any] = {"w": (1, 16, 6), "r": (1, 16, 4), "n": np.array([5, 3], np.int32)}
    nodes = [node("LSTM", "x,w,r,,n", "y", hidden_size=4, name="here")]
    with pytest.raises(TraceError, match=r"here: LSTM: its operand sequence_lens \('n'\) .* take it out"):
        read(save(tmp_path / "net.onnx", nodes, {"x": [5, 2, 6]}, weights))
    full = {**weights, "n": np.array([5, 5], np.int32)}
    assert macs(read(save(tmp_path / "net.onnx", nodes, {"x": [5, 2, 6]}, full))) == 5 * 2 * 16 * 10


def test_an_axis_that_inputs_share_has_one_size(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", [node("MatMul", "x,v")], {"x": ["n", "t", 8], "v": ["n", 8, "t"]}, {})
    with pytest.raises(TraceError, match="input 'v': axis 't' is 6 here and 5 elsewhere"):
        read(path, input_shape=(1, 5, 8), input_shapes=(("v", (1, 8, 6)),))


ATTENTION_OF_ROWS = [node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "x,t", "a"), node("MatMul", "a,x")]
LSTM = {"w": (1, 16, 6), "r": (1, 16, 4)}


@pytest.mark.parametrize(
    ("nodes", "shape", "weights"),
    [
        (ATTENTION_OF_ROWS, ["tokens", 8], {}),
        ([node("LSTM", "x,w,r", hidden_size=4)], ["s0", 2, 6], LSTM),
    ],
)
def test_a_dynamic_first_axis_across_which_operators_work_is_stated(
    tmp_path: Path, nodes: list[onnx.NodeProto], shape: list[Any], weights: dict[str, Any]
) -> None:
    path = save(tmp_path / "net.onnx", nodes, {"x": shape}, weights)
    with pytest.raises(TraceError, match=r"input 'x': axis 0 is dynamic and is no batch .*--input-shape x=\?x"):
        read(path)
    trace = read(path, input_shape=(5, *shape[1:]))
    assert macs(trace) == (5 * 2 * 16 * 10 if weights else 2 * 5 * 5 * 8)
    assert trace.batch == 1
    rows = save(tmp_path / "rows.onnx", [node("MatMul", "x,w")], {"x": ["s0", 8]}, {"w": (8, 4)})
    assert macs(read(rows)) == 32  # each row alone: one counts


def test_sparse_weights_are_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", [node("MatMul", "x,w")], {"x": [3, 8]}, {})
    model = onnx.load(path)
    places = numpy_helper.from_array(np.array([0, 9, 31]), "i")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(numpy_helper.from_array(np.ones(3, np.float32), "w"), places, [8, 4])
    )
    onnx.save(model, path)
    assert macs(read(path)) == 3 * 8 * 4


WEIGHTS_AND_PLACES = {"w": (8, 4), "sizes": np.array([2, 4]), "one": np.array(1)}


@pytest.mark.parametrize("opset", [11, 21])
@pytest.mark.parametrize(
    ("nodes", "rows"),
    [
        ([node("SplitToSequence", "x,sizes", "q"), node("SequenceAt", "q,one", "a")], 4),
        ([node("SplitToSequence", "x", "q", axis=0, keepdims=0),
          node("ConcatFromSequence", "q", "a", axis=0, new_axis=1)], 6),
        ([node("SequenceConstruct", "x,x", "q"), node("SequenceInsert", "q,x", "r"),
          node("ConcatFromSequence", "r", "b", axis=0), node("SplitToSequence", "b,one", "s"),
          node("SequenceErase", "s", "e"), node("ConcatFromSequence", "e", "a", axis=0)], 17),
    ],
)  # fmt: skip
def test_sequences_that_a_graph_makes_are_their_tensors(
    tmp_path: Path, nodes: list[onnx.NodeProto], rows: int, opset: int
) -> None:
    path = save(tmp_path / "net.onnx", [*nodes, node("MatMul", "a,w")], {"x": [6, 8]}, WEIGHTS_AND_PLACES, opset)
    assert macs(read(path)) == rows * 8 * 4


def test_a_place_in_a_sequence_that_depends_on_data_is_refused(tmp_path: Path) -> None:
    nodes = [node("SplitToSequence", "x,sizes", "q"), node("Cast", "v", "i", to=INT64), node("SequenceAt", "q,i", "a")]
    path = save(tmp_path / "net.onnx", [*nodes, node("MatMul", "a,w")], {"x": [6, 8], "v": []}, WEIGHTS_AND_PLACES)
    with pytest.raises(TraceError, match=r"q: the shape of SplitToSequence's output .* in place of sequences"):
        read(path)


def test_a_few_bytes_do_not_make_any_number_of_tensors(tmp_path: Path) -> None:
    splits = [node("SplitToSequence", "x", name, axis=0, keepdims=0) for name in ("q", "r", "s", "t", "u")]
    nodes = [*splits, node("SequenceAt", "u,one", "a"), node("MatMul", "a,w")]
    path = save(tmp_path / "net.onnx", nodes, {"x": [1024, 8]}, WEIGHTS_AND_PLACES)
    with pytest.raises(TraceError, match="SplitToSequence"):
        read(path)


def test_a_cache_of_no_tokens_is_stated(tmp_path: Path) -> None:
    nodes = [node("Concat", "x,p", "a", axis=1), node("MatMul", "a,w")]
    path = save(tmp_path / "net.onnx", nodes, {"x": [1, 3, 8], "p": [1, "past", 8]}, {"w": (8, 4)})
    assert macs(read(path, input_shapes=(("p", (1, 0, 8)),))) == 3 * 8 * 4


@pytest.mark.parametrize(
    ("nodes", "weights", "expected"),
    [
        ([own("MatMulNBits", "x,w,s", K=64, N=32, bits=4, block_size=32)],
         {"w": np.zeros((32, 2, 16), np.uint8), "s": (64,)}, 64 * 32),
        ([helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.zeros((64, 3), np.float32))),
          node("MatMul", "x,w")], {}, 64 * 3),
    ],
)  # fmt: skip
def test_parameters_are_weights_however_a_file_holds_them(
    tmp_path: Path, nodes: list[onnx.NodeProto], weights: dict[str, Any], expected: int
) -> None:
    assert read(save(tmp_path / "net.onnx", nodes, {"x": [1, 5, 64]}, weights)).num_parameters == expected


def test_stripped_weights_and_several_dynamic_inputs(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x,w", "a"), node("MatMul", "a,v")]
    path = save(tmp_path / "net.onnx", nodes, {"x": ["n", "t", 8], "v": ["n", 6, "s"]}, {"w": (8, 6)})
    model = onnx.load(path)
    model.graph.initializer[0].ClearField("float_data")
    onnx.save(model, path)
    with pytest.raises(TraceError, match=r"input 'x': axis 1 \(t\) is dynamic; .*--input-shape x=1xtx8"):
        read(path)
    trace = read(path, input_shape=(5, 8), input_shapes=(("v", (1, 6, 7)),))
    assert macs(trace) == 5 * 8 * 6 + 5 * 6 * 7
    assert read_onnx(path, StatedShapes((2, 5, 8), (("v", (2, 6, 7)),))).batch == 2
    with pytest.raises(TraceError, match="input 'x' has 3 axes, 5 has 1; give 3 sizes, or 2 without the batch"):
        read(path, input_shape=(5,))


@pytest.mark.parametrize(
    ("nodes", "inputs", "why"),
    [
        ([node("Scan2", "x,v", domain="my.op", name="odd")], {"x": [1, 5, 8], "v": [1, 5, 8]}, "two activations"),
        ([node("Foo", "x", domain="my.op", name="odd", blob=helper.make_tensor("b", FLOAT, [4], [0.0] * 4))],
         {"x": [1, 8]}, "it holds 'blob'"),
        ([node("SVMRegressor", "x", domain="ai.onnx.ml", name="odd")], {"x": [4, 8]}, "it multiplies"),
        ([node("AffineGrid", "x,n", name="odd")], {"x": [2, 2, 3]}, "it multiplies"),
    ],
)  # fmt: skip
def test_what_may_multiply_is_never_left_out(
    tmp_path: Path, nodes: list[onnx.NodeProto], inputs: Shapes, why: str
) -> None:
    path = save(tmp_path / "net.onnx", nodes, inputs, {"n": np.array([2, 1, 4, 4])})
    with pytest.raises(TraceError, match=rf"odd: operation \S+ is not supported, and its multiply.*{why}"):
        read(path, skip_unsupported=True)


def test_a_foreign_operator_without_products_is_left_out(tmp_path: Path) -> None:
    inputs = {"x": [1, 10, 4], "v": [1, 3, 10]}
    path = save(tmp_path / "net.onnx", [node("EfficientNMS_TRT", "x,v", domain="my.op")], inputs, {})
    assert dict(read(path, skip_unsupported=True).skipped) == {"my.op.EfficientNMS_TRT": 1}


def bag_loop() -> onnx.NodeProto:
    """Return the loop over bags that exporters write for an embedding bag."""
    nodes = [
        node("Gather", "starts,i", "start", axis=0), node("Gather", "ends,i", "end", axis=0),
        node("Unsqueeze", "start,zero", "first"), node("Unsqueeze", "end,zero", "behind"),
        node("Slice", "x,first,behind,zero", "numbers"), node("Gather", "table,numbers", "rows", axis=0),
        node("ReduceSum", "rows,zero", "row", keepdims=0), node("Cast", "go", "on", to=TensorProto.BOOL),
    ]  # fmt: skip
    scalar = [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, [])]
    made = [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("row", FLOAT, [8])]
    return node("Loop", "times,always", "bags", body=helper.make_graph(nodes, "body", scalar, made))


def test_bags_whose_padding_another_loop_leaves_out_read_rows_too(tmp_path: Path) -> None:
    info, flag = helper.make_tensor_value_info, TensorProto.BOOL
    step = [
        node("Gather", "x,j", "number"), node("Equal", "number,zero", "pads"),
        node("Concat", "had,zero", "has", axis=0),
    ]  # fmt: skip
    inputs = [info("j", INT64, []), info("more", flag, []), info("had", INT64, ["n"])]
    inner = helper.make_graph(step, "step", inputs, [info("pads", flag, []), info("has", INT64, ["m"])])
    loop = bag_loop()
    body = next(item.g for item in loop.attribute if item.name == "body")
    places = node("Loop", "zero,go,zero", "numbers", body=inner)
    kept = [each for each in body.node if each.op_type != "Slice"]
    del body.node[:]
    body.node.extend([*kept[:4], places, *kept[4:]])
    values = {"starts": np.array([0, 4]), "ends": np.array([4, 6]), "zero": np.array([0]), "times": np.array(2)}
    weights = {**values, "always": np.array(True), "all": (100, 8), "w": (8, 3)}
    nodes = [node("Gather", "all,x", "table"), loop, node("MatMul", "bags,w")]
    trace = read(save(tmp_path / "net.onnx", nodes, {"x": [6]}, weights))
    kinds = [(layer.kind, layer.num_outputs, layer.vector_ops) for layer in trace.layers[:2]]
    assert kinds == [("embedding", 6 * 8, 0), ("vector", 2 * 8, 6 * 8)]


def test_embedding_bags_that_are_written_as_loops_read_rows(tmp_path: Path) -> None:
    values = {"starts": np.array([0, 4]), "ends": np.array([4, 6]), "zero": np.array([0]), "times": np.array(2)}
    weights = {**values, "always": np.array(True), "table": (100, 8), "w": (8, 3)}
    trace = read(save(tmp_path / "net.onnx", [bag_loop(), node("MatMul", "bags,w")], {"x": [6]}, weights))
    kinds = [(layer.kind, layer.num_outputs, layer.vector_ops) for layer in trace.layers[:2]]
    assert kinds == [("embedding", 6 * 8, 0), ("vector", 2 * 8, 6 * 8)]
    assert (macs(trace), trace.num_parameters) == (2 * 8 * 3, 8 * 100 + 8 * 3)
